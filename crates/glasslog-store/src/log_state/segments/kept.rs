//! The batches that have not left yet: where each lies, and the newest of them in memory.

use std::{collections::VecDeque, sync::Arc};

use glasslog_core::{LeafIndex, TreeSize};

use super::{StateError, corrupt, file::Segment, record::Item};
use crate::log_state::{Batch, BatchId, Slot};

/// A batch and its place.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) id: BatchId,
    pub(super) first: LeafIndex,
    pub(super) end: TreeSize,
    /// Bytes of its entries.
    pub(super) bytes: usize,
    segment: Arc<Segment>,
    /// Of the record that holds it.
    offset: u64,
    cached: Option<Arc<Batch>>,
}

impl Kept {
    pub(super) fn new(batch: Arc<Batch>, segment: Arc<Segment>, offset: u64) -> Kept {
        let (id, first, end) = (batch.id, batch.first_index, batch.end());
        Kept { id, first, end, bytes: batch.entry_bytes(), segment, offset, cached: Some(batch) }
    }

    /// The batch itself, from memory or from its segment.
    pub(super) fn load(&self) -> Result<Arc<Batch>, StateError> {
        if let Some(batch) = &self.cached {
            return Ok(Arc::clone(batch));
        }
        let record = self.segment.read(self.offset).map_err(StateError::Io)?;
        let (_, payload, _) = record.ok_or_else(|| self.damaged())?;
        let items = self.segment.items(self.offset, payload)?;
        let found = items.into_iter().find_map(|item| match item {
            Item::Batch(batch) | Item::Copied(batch) if batch.first_index == self.first => Some(batch),
            _ => None,
        });
        found.map(Arc::new).ok_or_else(|| self.damaged())
    }

    fn damaged(&self) -> StateError {
        corrupt(&self.segment.path, self.offset, "a batch that was read at the start can no longer be read")
    }

    /// What it costs to keep it in memory.
    fn memory(&self) -> usize {
        let slots = usize::try_from(self.end.0 - self.first.0).unwrap_or(usize::MAX);
        self.bytes.saturating_add(slots.saturating_mul(size_of::<Slot>()))
    }
}

/// The kept batches, ascending and without a gap.
pub(super) struct KeptBatches {
    batches: VecDeque<Kept>,
    /// How many, at the back, are in memory, and what they cost.
    cached: usize,
    cached_bytes: usize,
    cache_limit: usize,
}

impl KeptBatches {
    pub(super) fn new(cache_limit: usize) -> KeptBatches {
        KeptBatches { batches: VecDeque::new(), cached: 0, cached_bytes: 0, cache_limit }
    }

    pub(super) fn push(&mut self, kept: Kept) {
        self.cached_bytes += kept.memory();
        self.cached += 1;
        self.batches.push_back(kept);
        // The newest stays whatever its size: it is the one that is wanted next.
        while self.cached_bytes > self.cache_limit && self.cached > 1 {
            let oldest = self.batches.len() - self.cached;
            if let Some(kept) = self.batches.get_mut(oldest) {
                kept.cached = None;
                self.cached_bytes -= kept.memory();
            }
            self.cached -= 1;
        }
    }

    /// Lets go of the batches that end at or below `below`.
    pub(super) fn trim(&mut self, below: TreeSize) {
        while self.batches.front().is_some_and(|kept| kept.end <= below) {
            let Some(kept) = self.batches.pop_front() else { return };
            if kept.cached.is_some() {
                self.cached_bytes -= kept.memory();
                self.cached -= 1;
            }
        }
    }

    /// Those from the one that holds `from` on, or from the first, until their bytes exceed `max_bytes`.
    pub(super) fn from(&self, from: LeafIndex, max_bytes: usize) -> Vec<Kept> {
        let first = self.batches.partition_point(|kept| !kept.end.contains(from));
        let mut bytes: usize = 0;
        let enough = |kept: &&Kept| {
            let wanted = bytes <= max_bytes;
            bytes = bytes.saturating_add(kept.bytes);
            wanted
        };
        self.batches.range(first..).take_while(enough).cloned().collect()
    }

    pub(super) fn contains(&self, id: BatchId) -> bool {
        self.batches.iter().rev().any(|kept| kept.id == id)
    }

    pub(super) fn first_index(&self) -> Option<LeafIndex> {
        self.batches.front().map(|kept| kept.first)
    }

    pub(super) fn oldest_segment(&self) -> Option<u64> {
        self.batches.front().map(|kept| kept.segment.number)
    }

    /// The segments that hold any of them, ascending.
    pub(super) fn segments(&self) -> VecDeque<Arc<Segment>> {
        let mut segments: VecDeque<Arc<Segment>> = VecDeque::new();
        for kept in &self.batches {
            if segments.back().is_none_or(|last| last.number != kept.segment.number) {
                segments.push_back(Arc::clone(&kept.segment));
            }
        }
        segments
    }

    /// Takes out the batches of the segments from `number` on.
    pub(super) fn split_off_segment(&mut self, number: u64) -> Vec<Kept> {
        let keep = self.batches.partition_point(|kept| kept.segment.number < number);
        let taken = self.batches.split_off(keep);
        for kept in &taken {
            if kept.cached.is_some() {
                self.cached_bytes -= kept.memory();
                self.cached -= 1;
            }
        }
        taken.into()
    }

    /// Where the first gap is, if there is one between `below` and `head`.
    pub(super) fn gap(&self, below: TreeSize, head: TreeSize) -> Option<(TreeSize, TreeSize)> {
        let mut reached = below;
        for kept in &self.batches {
            if kept.first.0 > reached.0 {
                return Some((reached, TreeSize(kept.first.0)));
            }
            reached = reached.max(kept.end);
        }
        (reached != head).then_some((reached, head))
    }
}
