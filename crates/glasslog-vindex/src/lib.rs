//! The verifiable index: what does the log hold about this name, with proof, including "nothing".
//!
//! The format is that of `docs/spec/vindex.md`, and the modules follow it: a [`map`](mod@map) function gives the [`Key`]s of
//! an entry; the [`list`](mod@list) of a key's indices is committed to by a [`Value`]; the values hang in a [`trie`](mod@trie),
//! whose root an anchor puts into the log. A [`lookup`](mod@lookup) is verified against a checkpoint with [`Lookup::verify`];
//! [`Lookup::parse`] reads one from a file. [`misbehaviour`](mod@misbehaviour) proves to anybody that a log anchored a wrong index.
//!
//! Nothing here does IO, reads a clock or draws randomness. What was parsed ([`Lookup`], [`MisbehaviourProof`]) and what was
//! verified ([`VerifiedLookup`], [`ProvenMisbehaviour`]) are different types.

mod bytes;
mod file;
mod key;
pub mod list;
pub mod lookup;
pub mod map;
pub mod misbehaviour;
pub mod trie;

pub use bytes::DecodeError;
pub use file::{FileError, MAX_NAME_BYTES, Question};
pub use key::Key;
pub use list::{List, Value};
pub use lookup::{Answer, Evidence, Given, ListEnd, Lookup, LookupError, Pinned, Present, VerifiedLookup};
pub use map::{JsonField, KindError, MapFunction, is_reserved, keys_of};
pub use misbehaviour::{
    Element, Fault, ListFault, Misbehaviour, MisbehaviourError, MisbehaviourProof, ProvenMisbehaviour,
    find_list_fault,
};
pub use trie::{Absence, Presence, Proof, RootBuilder, Step, Steps, TrieProofError, prove};
