//! Which entry of an identity is the latest: a derived table on disk behind a filter, and what is too recent for it.

use std::sync::{Arc, mpsc};

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    tile::{ResourcePath, TileId},
};
use glasslog_store::{
    Objects,
    duplicates::{Frozen, Recent, Table, TableView},
    runs::{Cancel, MergeRate},
};

use parking_lot::Mutex;

use crate::{Failure, Submission, housekeeping::Chore, pool::Logged, shared::Counters};

/// Recent entries that are handed to the table at once: 2.9 MB of rows, and as many batches kept in the log state.
pub(crate) const ROWS_PER_SPILL: usize = 1 << 17;
/// Or when they have so many bytes: their batches stay in the log state until the table covers them.
pub(crate) const BYTES_PER_SPILL: u64 = 256 << 20;

/// Beyond this many recent entries adds are pushed back: the table cannot take them over, for example on a full disk.
pub(crate) const MAX_RECENT: usize = 8 * ROWS_PER_SPILL;

/// Merges write at most so much, so that no barrier finds a disk full of dirt before it (storage.md §5).
const MERGE_BYTES_PER_S: u64 = 40 << 20;

/// The duplicates table, read by every request and fed by the sequencer.
pub(crate) struct Duplicates {
    table: Arc<Table>,
    objects: Arc<dyn Objects>,
    chores: mpsc::Sender<Chore>,
    cancel: Cancel,
    /// Whether the table was emptied: nothing may be put into it after that, for it would have a gap.
    emptied: Mutex<bool>,
}

impl Duplicates {
    pub(crate) fn new(
        table: Arc<Table>,
        objects: Arc<dyn Objects>,
        chores: mpsc::Sender<Chore>,
    ) -> Duplicates {
        Duplicates { table, objects, chores, cancel: Cancel::default(), emptied: Mutex::new(false) }
    }

    /// Every entry below this size is in the table, durably.
    pub(crate) fn covered(&self) -> TreeSize {
        self.table.covered()
    }

    /// The table as it is now. Several questions to one view have one [`TableView::covered`].
    pub(crate) fn view(&self) -> TableView {
        self.table.view()
    }

    /// For each entry the latest of its identity that `view` knows. Blocks on storage.
    pub(crate) fn look_up(
        &self,
        view: &TableView,
        entries: &[Submission],
        progress: &Counters,
    ) -> Result<Vec<Option<Logged>>, Failure> {
        // Read after the view was taken: whatever is in the table was below a recorded checkpoint before it got there.
        let recorded = progress.recorded();
        let look_up = |entry: &Submission| {
            if !view.may_contain(&entry.identity) {
                return Ok(None);
            }
            let Some(index) = view.latest(&entry.identity)? else { return Ok(None) };
            Ok(Some(Logged { index, leaf_hash: self.leaf_hash(index, recorded)? }))
        };
        entries.iter().map(look_up).collect()
    }

    /// Makes the table take over what was frozen.
    pub(crate) fn absorb(&self, frozen: &Frozen) -> Result<(), Failure> {
        let emptied = self.emptied.lock();
        if *emptied {
            return Ok(());
        }
        Ok(self.table.spill(frozen.rows(), frozen.up_to())?)
    }

    /// Merges the runs of the table. Blocks, for seconds when a large merge is due.
    pub(crate) fn merge(&self) -> Result<(), Failure> {
        while self.table.merge_step(MergeRate::BytesPerSecond(MERGE_BYTES_PER_S), &self.cancel)? {}
        Ok(())
    }

    /// Invariant 9: a damaged table is emptied, and rebuilt by the next start. To be called when the log has stopped:
    /// until then an empty table would hide every duplicate.
    pub(crate) fn empty(&self) {
        let mut emptied = self.emptied.lock();
        *emptied = true;
        if let Err(why) = self.table.reset() {
            tracing::error!(%why, "the damaged duplicates table cannot be emptied: remove its directory");
        }
    }

    /// Ends a merge that is under way; the table stays as it was before it.
    pub(crate) fn cancel_merges(&self) {
        self.cancel.cancel();
    }

    /// Hands what is in `recent` to the housekeeper, unless he has some already, and drops what the table has taken over.
    ///
    /// Only entries below `recorded` go: their leaf hashes can be read from tiles.
    pub(crate) fn rotate(&self, recent: &mut Recent, recorded: TreeSize) {
        let covered = self.table.covered();
        recent.drop_frozen(covered);
        let waiting = recent.len() - recent.active_len();
        if waiting == 0 && recorded > covered {
            let _the_housekeeper_has_ended = self.chores.send(Chore::Absorb(recent.freeze_below(recorded)));
        }
    }

    /// Hands everything over, so that the next start has nothing to replay.
    pub(crate) fn absorb_all(&self, mut recent: Recent, recorded: TreeSize) -> Result<(), Failure> {
        recent.drop_frozen(self.table.covered());
        let waiting = recent.len() - recent.active_len();
        if waiting == 0 && recent.active_len() > 0 {
            self.absorb(&recent.freeze_below(recorded))?;
        }
        Ok(())
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
