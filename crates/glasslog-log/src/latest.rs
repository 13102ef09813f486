//! Which entry of an identity is the latest: a derived table on disk behind a filter, and what is too recent for it.

use std::sync::{Arc, mpsc};

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    personality::Identity,
    tile::{ResourcePath, TileId},
};
use glasslog_store::{
    Objects,
    duplicates::{Frozen, Recent, Table},
    runs::{Cancel, MergeRate, RunError},
};

use crate::{Failure, Submission, housekeeping::Chore, pool::Logged};

/// Recent entries that are handed to the table at once: 2.9 MB of rows, and as many batches kept in the log state.
pub(crate) const ROWS_PER_SPILL: usize = 1 << 17;

/// Merges write at most so much, so that no barrier finds a disk full of dirt before it (storage.md §5).
const MERGE_BYTES_PER_S: u64 = 40 << 20;

/// The duplicates table, read by every request and fed by the sequencer.
pub(crate) struct Duplicates {
    table: Arc<Table>,
    objects: Arc<dyn Objects>,
    chores: mpsc::Sender<Chore>,
    cancel: Cancel,
}

impl Duplicates {
    pub(crate) fn new(
        table: Arc<Table>,
        objects: Arc<dyn Objects>,
        chores: mpsc::Sender<Chore>,
    ) -> Duplicates {
        Duplicates { table, objects, chores, cancel: Cancel::default() }
    }

    /// Every entry below this size is in the table, durably.
    pub(crate) fn covered(&self) -> TreeSize {
        self.table.covered()
    }

    /// Whether looking these entries up would read from the disk; without IO, and wrong only on the safe side.
    pub(crate) fn may_know(&self, entries: &[Submission]) -> bool {
        entries.iter().any(|entry| self.table.may_contain(&entry.identity))
    }

    /// For each entry the latest of its identity that the table knows. Blocks on storage.
    pub(crate) fn look_up(
        &self,
        entries: &[Submission],
        recorded: TreeSize,
    ) -> Result<Vec<Option<Logged>>, Failure> {
        let look_up = |entry: &Submission| {
            if !self.table.may_contain(&entry.identity) {
                return Ok(None);
            }
            let Some(index) = self.latest(&entry.identity)? else { return Ok(None) };
            Ok(Some(Logged { index, leaf_hash: self.leaf_hash(index, recorded)? }))
        };
        entries.iter().map(look_up).collect()
    }

    /// Makes the table take over what was frozen, and merges its runs. Blocks, for seconds when a large merge is due.
    pub(crate) fn absorb(&self, frozen: &Frozen) -> Result<(), Failure> {
        self.table.spill(frozen.rows(), frozen.up_to())?;
        while self.table.merge_step(MergeRate::BytesPerSecond(MERGE_BYTES_PER_S), &self.cancel)? {}
        Ok(())
    }

    /// Ends a merge that is under way; the table stays as it was before it.
    pub(crate) fn cancel_merges(&self) {
        self.cancel.cancel();
    }

    /// Hands what has become numerous in `recent` to the housekeeper, and drops what the table has taken over.
    ///
    /// Only entries below `recorded` go: their leaf hashes can be read from tiles.
    pub(crate) fn rotate(&self, recent: &mut Recent, recorded: TreeSize) {
        let covered = self.table.covered();
        recent.drop_frozen(covered);
        let waiting = recent.len() - recent.active_len();
        if waiting == 0 && recent.active_len() >= ROWS_PER_SPILL && recorded > covered {
            let _the_housekeeper_has_ended = self.chores.send(Chore::Absorb(recent.freeze_below(recorded)));
        }
    }

    /// Hands everything over, so that the next start has nothing to replay.
    pub(crate) fn absorb_all(&self, mut recent: Recent, recorded: TreeSize) -> Result<(), Failure> {
        recent.drop_frozen(self.table.covered());
        let waiting = recent.len() - recent.active_len();
        if waiting == 0 && recent.active_len() > 0 {
            let frozen = recent.freeze_below(recorded);
            self.table.spill(frozen.rows(), frozen.up_to())?;
        }
        Ok(())
    }

    /// Invariant 9: a damaged table is emptied, and rebuilt by the next start; this process cannot go on without it.
    fn latest(&self, identity: &Identity) -> Result<Option<LeafIndex>, Failure> {
        let latest = self.table.latest(identity);
        if let Err(RunError::Corrupt { .. }) = &latest {
            self.table.reset()?;
        }
        Ok(latest?)
    }

    /// The leaf hash at an index below `recorded`, from its level-0 tile.
    fn leaf_hash(&self, index: LeafIndex, recorded: TreeSize) -> Result<Hash, Failure> {
        let (tile, position) = TileId::of_leaf(recorded, index).ok_or_else(|| {
            Failure::Contradiction(format!("index {index} is beyond the recorded size {recorded}"))
        })?;
        let start = (position * Hash::LEN) as u64;
        let range = Some(start..start + Hash::LEN as u64);
        // The partial tile may have been superseded since `recorded` was read: the full one begins alike.
        for tile in [tile, tile.full()] {
            let path = ResourcePath::Tile(tile).to_string();
            let found = self.objects.get(&path, range.clone())?;
            if let Some(hash) = found.as_deref().and_then(Hash::from_slice) {
                return Ok(hash);
            }
        }
        Err(Failure::Contradiction(format!("{} is missing or too short", ResourcePath::Tile(tile))))
    }
}
