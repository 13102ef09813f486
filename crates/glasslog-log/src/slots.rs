//! What stands at each index, in order: from the log state, or from the entry bundles where its batch has left.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    anchor::{Anchor, parse_anchor},
    hash::BatchHasher,
    tile::{BundleId, ResourcePath},
};
use glasslog_store::{
    LogState, Objects,
    log_state::{Batch, Slot},
};
use memchr::memmem;

use crate::{
    Failure,
    recover::{entries_of_bundle, get_or_full},
    shared::{LogConfig, Shared, Stores},
};

/// How much is read from the log state at once.
const READ_BYTES: usize = 1 << 20;
/// In every anchor, and in nearly nothing else.
const ANCHOR_MARK: &[u8] = b",\"type\":\"vindex-root\",\"v\":1}";

/// Reads the slots of one log.
#[derive(Clone)]
pub(crate) struct Slots {
    objects: Arc<dyn Objects>,
    state: Arc<dyn LogState>,
    hasher: &'static dyn BatchHasher,
}

/// Consecutive slots.
pub(crate) enum Read {
    /// From the log state: an anchor's bytes are elsewhere ([`Slots::at`]).
    Batches(Vec<Arc<Batch>>),
    /// From a bundle.
    Bundle(Vec<(LeafIndex, Vec<u8>)>),
}

impl Slots {
    pub(crate) fn of(log: &Shared) -> Slots {
        Slots { objects: Arc::clone(&log.objects), state: Arc::clone(&log.state), hasher: log.config.hasher }
    }

    pub(crate) fn of_stores(config: &LogConfig, stores: &Stores) -> Slots {
        Slots {
            objects: Arc::clone(&stores.objects),
            state: Arc::clone(&stores.state),
            hasher: config.hasher,
        }
    }

    /// Slots from `from` on, and perhaps some before it. `recorded` is asked after the log state was, for only what is below it
    /// leaves that.
    pub(crate) fn read(&self, from: TreeSize, recorded: impl Fn() -> TreeSize) -> Result<Read, Failure> {
        let batches = self.state.batches(from.next_index(), READ_BYTES)?;
        if batches.first().is_some_and(|batch| batch.first_index.0 <= from.0) {
            return Ok(Read::Batches(batches));
        }
        let recorded = recorded();
        if from >= recorded {
            return Err(Failure::Contradiction(format!(
                "index {from} is neither in the log state nor below the recorded checkpoint"
            )));
        }
        self.bundle(from.0 / 256, recorded).map(Read::Bundle)
    }

    /// The entries of a bundle of the tree of `size`, which hash to what its tile says: a damaged one is no reason to doubt the index.
    pub(crate) fn bundle(&self, bundle: u64, size: TreeSize) -> Result<Vec<(LeafIndex, Vec<u8>)>, Failure> {
        let entries = entries_of_bundle(self.objects.as_ref(), bundle, size)?;
        let id = BundleId::at(size, bundle)
            .ok_or_else(|| Failure::Contradiction(format!("a tree of size {size} has no bundle {bundle}")))?;
        let path = ResourcePath::Tile(id.leaf_tile());
        let tile = get_or_full(self.objects.as_ref(), path)?
            .ok_or_else(|| Failure::Contradiction(format!("{path} is missing")))?;
        let mut leaves = vec![Hash::EMPTY_ROOT; entries.len()];
        let bytes: Vec<&[u8]> = entries.iter().map(|(_, entry)| entry.as_slice()).collect();
        self.hasher.leaves(&bytes, &mut leaves);
        let agrees =
            tile.chunks_exact(Hash::LEN).zip(&leaves).filter(|(found, leaf)| *found == leaf.0).count();
        if agrees != entries.len() {
            return Err(Failure::Contradiction(format!(
                "the entries of bundle {bundle} do not hash to what {path} says"
            )));
        }
        Ok(entries)
    }

    /// The bytes at `index`, if they are fixed: of an entry, or of an anchor slot that is filled. `recorded` as in [`Slots::read`].
    pub(crate) fn at(
        &self,
        index: LeafIndex,
        recorded: impl Fn() -> TreeSize,
    ) -> Result<Option<Bytes>, Failure> {
        if let Some(filled) = self.state.filled(index)? {
            return Ok(Some(filled));
        }
        let batches = self.state.batches(index, 0)?;
        let slot = batches.first().and_then(|batch| batch.indexed().find(|(at, _)| *at == index));
        match slot {
            Some((_, Slot::Entry { bytes, .. })) => Ok(Some(bytes.clone())),
            _ => self.entry(index, recorded()),
        }
    }

    /// The entry at `index`, if that is below `size`.
    pub(crate) fn entry(&self, index: LeafIndex, size: TreeSize) -> Result<Option<Bytes>, Failure> {
        if !size.contains(index) {
            return Ok(None);
        }
        let entries = self.bundle(index.0 / 256, size)?;
        Ok(entries.into_iter().find(|(at, _)| *at == index).map(|(_, entry)| Bytes::from(entry)))
    }

    /// The entries of anchor form in a bundle of the tree of `size`.
    pub(crate) fn anchors_of_bundle(
        &self,
        bundle: u64,
        size: TreeSize,
    ) -> Result<Vec<(LeafIndex, Anchor)>, Failure> {
        let Some(id) = BundleId::at(size, bundle) else { return Ok(Vec::new()) };
        let bytes = get_or_full(self.objects.as_ref(), ResourcePath::Bundle(id))?;
        // Most bundles of most logs have none, and none need be taken apart to say so.
        if bytes.is_some_and(|bytes| memmem::find(&bytes, ANCHOR_MARK).is_none()) {
            return Ok(Vec::new());
        }
        let entries = self.bundle(bundle, size)?;
        Ok(entries.iter().filter_map(|(index, entry)| Some((*index, parse_anchor(entry)?))).collect())
    }

    /// The newest anchor with a root among the entries `range` of the tree of `size`.
    pub(crate) fn newest_root(
        &self,
        range: Range<TreeSize>,
        size: TreeSize,
    ) -> Result<Option<(LeafIndex, Hash)>, Failure> {
        let bundles = range.start.0 / 256..range.end.0.div_ceil(256);
        for bundle in bundles.rev() {
            let anchors = self.anchors_of_bundle(bundle, size)?;
            let inside = anchors
                .into_iter()
                .rev()
                .filter(|(index, _)| (range.start.0..range.end.0).contains(&index.0));
            let newest = inside.filter_map(|(index, anchor)| Some((index, anchor.root?))).next();
            if newest.is_some() {
                return Ok(newest);
            }
        }
        Ok(None)
    }
}

/// The newest anchor slot in the batches that hold `[from, head)`.
pub(crate) fn newest_slot(
    state: &dyn LogState,
    from: TreeSize,
    head: TreeSize,
) -> Result<Option<LeafIndex>, Failure> {
    let (mut at, mut newest) = (from, None);
    while at < head {
        let batches = state.batches(at.next_index(), READ_BYTES)?;
        let Some(end) = batches.last().map(|batch| batch.end()) else { break };
        let slots = batches.iter().flat_map(|batch| batch.indexed());
        let anchors = slots.filter(|(index, slot)| index.0 >= from.0 && **slot == Slot::Anchor);
        newest = anchors.map(|(index, _)| index).last().or(newest);
        at = end;
    }
    Ok(newest)
}
