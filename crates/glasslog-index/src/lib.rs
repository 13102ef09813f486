//! The verifiable index of one log: which entries map to a key, and the trie root that an anchor puts into the log.
//!
//! One thread owns the [`Index`] and feeds it the keys of every entry, in order. At an anchor it takes a [`Revision`]: the
//! index over the entries below it, immutable, from which any thread proves. Everything here is derived from the log (invariant
//! 9): what is missing, damaged, of another log or map function is opened empty, and is built again from the entries.
//!
//! [`audit`] is for everybody else: it builds the index again from a log's entries and compares every anchor with it.
#![forbid(unsafe_code)]

pub mod audit;
mod error;
mod index;
mod revision;

pub use error::IndexError;
pub use index::{Binding, Bulk, Durable, Index, Keeper, Opened, Options, Stats};
pub use revision::Revision;
