//! The pair of published checkpoint and revision that lookups are answered from.

use std::sync::Arc;

use glasslog_core::LeafIndex;
use glasslog_index::Revision;
use glasslog_store::log_state::SizedNote;

/// What lookups are answered from.
#[derive(Default)]
pub(crate) struct Served {}

impl Served {
    /// The anchor at `position` has the root of `revision`, for ever.
    pub(crate) fn anchored(&self, position: LeafIndex, revision: Arc<Revision>) {
        let _ = (position, revision);
    }

    /// A checkpoint is public, or has more cosignatures than before.
    pub(crate) fn published(&self, checkpoint: SizedNote) {
        let _ = checkpoint;
    }

    /// The index is being built again: nothing may be answered from what it was.
    pub(crate) fn withdraw(&self, why: &str) {
        let _ = why;
    }
}
