//! Step 3, *integrate*: sequenced slots are hashed into tiles and bundles, which are made durable.

use std::sync::Arc;

use bytes::Bytes;
use glasslog_core::{Hash, LeafIndex, TreeSize, tile::Edge};
use glasslog_store::{
    log_state::{Batch, Slot, StateError, Watermarks},
    objects::{Existing, NewObject},
};

use crate::{Failure, shared::Shared};

/// How much is read from the log state at once.
const READ_BYTES: usize = 8 << 20;
/// Full objects are written when this many have filled: one barrier for all of them.
const OBJECTS_PER_WRITE: usize = 64;
/// Or when they have so many bytes.
const BYTES_PER_WRITE: usize = 16 << 20;

/// Grows the tree. Reads from the log state alone, so that another process could do it.
pub(crate) struct Integrator {
    log: Arc<Shared>,
    edge: Edge,
    /// Full tiles and bundles that are not written yet, and their bytes.
    filled: Vec<NewObject>,
    filled_bytes: usize,
    /// Bytes of entries that were hashed and whose objects were not all written.
    grown_bytes: u64,
    /// Below this size an unclean stop may have left objects that only *read* as if they were durable.
    doubtful_below: TreeSize,
    /// [`Existing::Rewrite`] until a barrier at or above that size has returned (storage.md §4).
    existing: Existing,
}

impl Integrator {
    pub(crate) fn new(log: Arc<Shared>, edge: Edge, doubtful_below: TreeSize) -> Integrator {
        let existing = if edge.size() < doubtful_below { Existing::Rewrite } else { Existing::Trust };
        Integrator {
            log,
            edge,
            filled: Vec::new(),
            filled_bytes: 0,
            grown_bytes: 0,
            doubtful_below,
            existing,
        }
    }

    /// The size of the tree so far.
    pub(crate) fn size(&self) -> TreeSize {
        self.edge.size()
    }

    /// The root of the tree so far.
    pub(crate) fn root(&self) -> Hash {
        self.edge.root(self.log.config.hasher)
    }

    /// Hashes every slot below `target` into the tree, and writes objects as they fill.
    pub(crate) fn integrate_to(&mut self, target: TreeSize) -> Result<(), Failure> {
        while self.size() < target {
            let batches = self.log.state.batches(self.size().next_index(), READ_BYTES)?;
            let next = batches.first().filter(|batch| batch.first_index.0 <= self.size().0);
            if next.is_none() {
                return Err(Failure::Contradiction(format!(
                    "index {} is sequenced, and the log state no longer holds its batch",
                    self.size()
                )));
            }
            for batch in &batches {
                // Before growing, so that a full disk that refuses the write also ends the growth.
                if self.filled.len() >= OBJECTS_PER_WRITE || self.filled_bytes >= BYTES_PER_WRITE {
                    self.write_filled()?;
                }
                self.grow(batch, target)?;
            }
        }
        Ok(())
    }

    /// The barrier: when it returns, every byte that a checkpoint of this size implies is durable and readable.
    pub(crate) fn barrier(&mut self) -> Result<Watermarks, Failure> {
        self.write_filled()?;
        let partials: Vec<_> = self
            .edge
            .partials()
            .into_iter()
            .map(|(path, bytes)| NewObject { path: path.to_string(), bytes: Bytes::from(bytes) })
            .collect();
        self.log.objects.create(&partials, self.existing)?;
        if self.size() >= self.doubtful_below {
            self.existing = Existing::Trust;
        }
        Ok(Watermarks { objects_durable: self.size(), trim_below: TreeSize::ZERO })
    }

    fn grow(&mut self, batch: &Batch, target: TreeSize) -> Result<(), Failure> {
        let mut leaves = Vec::with_capacity(batch.slots.len());
        let mut entries = Vec::with_capacity(batch.slots.len());
        let size = self.size();
        let wanted = |index: LeafIndex| target.contains(index) && !size.contains(index);
        for (index, slot) in batch.indexed().filter(|(index, _)| wanted(*index)) {
            let (leaf_hash, bytes) = match slot {
                Slot::Entry { bytes, leaf_hash, .. } => {
                    self.grown_bytes += bytes.len() as u64;
                    (*leaf_hash, bytes.clone())
                }
                Slot::Anchor => self.anchor(index)?,
            };
            leaves.push(leaf_hash);
            entries.push(bytes);
        }
        let mut filled = Vec::new();
        self.edge.grow(&leaves, entries.iter().map(AsRef::as_ref), self.log.config.hasher, &mut filled)?;
        for (path, bytes) in filled {
            self.filled_bytes += bytes.len();
            self.filled.push(NewObject { path: path.to_string(), bytes: Bytes::from(bytes) });
        }
        self.log.progress.set_integrated(self.size());
        Ok(())
    }

    /// The bytes that were fixed for an anchor slot (invariant 4: fixed before any byte derived from them is written).
    fn anchor(&self, position: LeafIndex) -> Result<(Hash, Bytes), Failure> {
        let bytes = self.log.state.filled(position)?.ok_or_else(|| StateError::Corrupt {
            place: format!("the anchor slot at index {position}"),
            why: "it is to be integrated and its bytes are not fixed yet".into(),
        })?;
        Ok((glasslog_core::hash::leaf_hash(&bytes), bytes))
    }

    fn write_filled(&mut self) -> Result<(), Failure> {
        // Kept until the write has succeeded: on a full disk the same objects are tried again.
        self.log.objects.create(&self.filled, self.existing)?;
        self.filled.clear();
        self.filled_bytes = 0;
        self.log.progress.left_backlog(std::mem::take(&mut self.grown_bytes));
        Ok(())
    }
}
