//! Which index is the latest of an identity: what an exact answer to "is this a duplicate?" rests on (DESIGN §3).
//!
//! The knowledge lies in two places. [`Recent`] holds, in memory, what was sequenced lately; [`Table`] holds everything
//! before that in sorted runs. Both are derived from the log: when the table is missing or damaged it
//! is opened empty, says so, and is filled again from the log's batches and bundles.
//!
//! A submission is looked up in the table *before* it enters the pool, by a [`TableView`], which says how much of the
//! log it covers. The sequencer then asks [`Recent`] for what came since, if
//! [`Recent::from`] is not above that; a view that is older than this must be asked again.

mod recent;
mod table;

pub use recent::{Frozen, Recent};
pub use table::{Table, TableView};

pub use crate::runs::{Cancel, MergeRate, RunError};
