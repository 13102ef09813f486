//! What an ecosystem adds to a log: which bytes are entries, and what counts as the same thing.

use alloc::{string::String, vec::Vec};

use crate::Hash;

/// What duplicates are counted by: the first 16 bytes of a SHA-256.
///
/// A collision of two prefixes costs an extra entry and never hides one, because a duplicate is only
/// called so when the full leaf hash agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub [u8; 16]);

impl Identity {
    /// The prefix of `hash`: the identity of an entry in a log without a schema is its leaf hash.
    #[must_use]
    pub fn from_hash(hash: &Hash) -> Identity {
        let mut prefix = [0; 16];
        prefix.copy_from_slice(&hash.0[..16]);
        Identity(prefix)
    }
}

/// What an accepted entry is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryIdentity {
    /// The entry shares an identity with every other version of the same thing.
    Named(Identity),
    /// The entry is only ever the same as itself: its leaf hash is its identity.
    LeafHash,
}

/// Why bytes are not an entry of this log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEntry {
    /// What is wrong, where (member or byte offset) and what to do, in one line.
    pub message: String,
    /// The canonical form, when the bytes differ from an acceptable entry in their spelling alone.
    pub canonical: Option<Vec<u8>>,
}

/// The rules of one ecosystem, for example conda.
pub trait Personality: Send + Sync {
    /// The value of `ENTRY_SCHEMA` that names these rules, for example `conda-1`.
    fn name(&self) -> &'static str;

    /// Accepts `entry`, giving its identity, or says why the log must refuse it.
    ///
    /// # Errors
    ///
    /// [`InvalidEntry`] when the bytes are not exactly one valid canonical entry of the schema.
    fn validate(&self, entry: &[u8]) -> Result<EntryIdentity, InvalidEntry>;
}
