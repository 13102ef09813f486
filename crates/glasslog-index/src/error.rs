//! Why an index could not do what it was asked.

use glasslog_core::{LeafIndex, TreeSize};
use glasslog_store::runs::RunError;

/// Why an index could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// An entry was left out: the keys of every entry come in order.
    #[error("the index covers {next} entries, and the keys of entry {given} were given next")]
    Gap {
        /// How many entries it covers.
        next: TreeSize,
        /// The entry that was given.
        given: LeafIndex,
    },
    /// The files: [`RunError::Corrupt`] asks for [`crate::Index::reset`] and a rebuild, [`RunError::Full`] for patience.
    #[error(transparent)]
    Runs(#[from] RunError),
}

impl IndexError {
    /// What is stored is not what was written: reset and rebuild.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        matches!(self, IndexError::Runs(RunError::Corrupt { .. }))
    }

    /// There is no room. Nothing changed; a later call may succeed.
    #[must_use]
    pub fn is_full_disk(&self) -> bool {
        matches!(self, IndexError::Runs(RunError::Full { .. }))
    }
}
