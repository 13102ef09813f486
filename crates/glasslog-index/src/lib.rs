//! The verifiable index of one log: which entries map to a key, and the trie root that an anchor puts into the log.
//!
//! One thread owns the [`Index`] and feeds it the keys of every entry, in order. At an anchor it takes a [`Revision`]: the
//! index over the entries below it, immutable, from which any thread proves. Everything here is derived from the log (invariant
//! 9): what is missing, damaged, of another log or map function is opened empty, and is built again from the entries.
//!
//! The index is layers of sorted rows (`row`): a run on disk (`run`), and above it slices in memory (`slice`, `delta`), newest
//! first. Keys are taken in by the batch (`update`): the buckets of keys that it touches are read, compared with their hashes in
//! the `tree`, and hashed again, and the new rows are the next slice. The [`Keeper`] writes slices out (*spill*), each ending
//! where an anchor stands, and merges them into the run. [`Bulk`] sorts everything into a new run.
//!
//! [`audit`] is for everybody else: it builds the index again from a log's entries and compares every anchor with it.
#![forbid(unsafe_code)]

pub mod audit;
mod buckets;
mod bulk;
mod delta;
mod error;
mod index;
mod keeper;
mod layers;
mod manifest;
mod merge;
mod open;
mod place;
mod revision;
mod row;
mod run;
mod slice;
mod tree;
mod update;

pub use bulk::Bulk;
pub use error::IndexError;
pub use index::{Binding, Durable, Index, Opened, Options, Stats};
pub use keeper::Keeper;
pub use revision::Revision;
