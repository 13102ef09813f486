//! Anchors that the log itself says are wrong (FORMATS §2, `glasslog index disavow`).

use std::collections::HashSet;

use glasslog_core::{LeafIndex, TreeSize, anchor::parse_disavow};
use glasslog_store::log_state::Slot;

use crate::{
    Failure,
    shared::Shared,
    slots::{Read, Slots},
};

/// What was found of disavow entries so far: they are looked for only when an anchor is wrong.
#[derive(Default)]
pub(crate) struct Disavowed {
    positions: HashSet<LeafIndex>,
    read_to: TreeSize,
}

impl Disavowed {
    /// Whether a later entry of the log disavows the anchor at `position`.
    pub(crate) fn contains(
        &mut self,
        log: &Shared,
        slots: &Slots,
        position: LeafIndex,
    ) -> Result<bool, Failure> {
        let mut at = self.read_to.max(TreeSize(position.0 + 1));
        let sequenced = log.progress.sequenced();
        while at < sequenced {
            match slots.read(at, || log.progress.recorded())? {
                Read::Batches(batches) => {
                    for (index, slot) in batches.iter().flat_map(|batch| batch.indexed()) {
                        if let Slot::Entry { bytes, .. } = slot {
                            self.note(bytes);
                        }
                        at = at.max(TreeSize(index.0 + 1));
                    }
                }
                Read::Bundle(entries) => {
                    for (index, entry) in &entries {
                        self.note(entry);
                        at = at.max(TreeSize(index.0 + 1));
                    }
                }
            }
        }
        self.read_to = at;
        let disavowed = self.positions.contains(&position);
        if disavowed {
            tracing::warn!(position = position.0, "the log disavows this anchor, whose root is wrong");
        }
        Ok(disavowed)
    }

    fn note(&mut self, entry: &[u8]) {
        self.positions.extend(parse_disavow(entry).unwrap_or_default());
    }
}
