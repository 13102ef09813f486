//! The durable part: identity → latest index, in sorted runs.

use std::{path::Path, sync::Arc};

use glasslog_core::{LeafIndex, TreeSize, personality::Identity};

use crate::{
    disk::Disk,
    runs::{Cancel, Keep, MergeRate, RunError, RunSet, Shape, View},
};

/// A row is the identity and the index in 40 bits, big-endian: rows of one identity are in the order of their indices.
const SHAPE: Shape = Shape { row_bytes: 21, key_bytes: 16, keep: Keep::LastOfKey };
/// Indices are below this (40 bits).
const INDEX_LIMIT: u64 = 1 << 40;

/// The latest index of every identity among the entries below [`Table::covered`].
///
/// Costs, per row: 21.1 bytes on disk for the row and 2.1 for the filter, of which the latter and 0.1 for page keys are in
/// memory too. A lookup of what is absent costs no IO but for one in a thousand.
pub struct Table {
    runs: RunSet,
    emptied_because: Option<String>,
}

/// The table of one moment.
#[derive(Clone)]
pub struct TableView(Arc<View>);

impl Table {
    /// Opens the table in `dir`, which is its alone, and removes what a crash left there.
    ///
    /// A table that is missing, damaged or of a newer format is opened empty ([`Table::covered`] is 0);
    /// [`Table::emptied_because`] says why.
    ///
    /// # Errors
    ///
    /// [`RunError::Io`], [`RunError::Full`], [`RunError::Durability`]: the directory cannot be used now.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Table, RunError> {
        let (runs, emptied_because) = RunSet::open(disk, dir, SHAPE)?;
        Ok(Table { runs, emptied_because })
    }

    /// Why what was found at `open` could not be used; worth a warning. `None` if it could, or if nothing was there.
    #[must_use]
    pub fn emptied_because(&self) -> Option<&str> {
        self.emptied_because.as_deref()
    }

    /// Every entry below this is in the table, durably.
    #[must_use]
    pub fn covered(&self) -> TreeSize {
        self.runs.with_view(View::covered)
    }

    /// The table as of now: several questions to one view have one [`TableView::covered`].
    #[must_use]
    pub fn view(&self) -> TableView {
        TableView(self.runs.view())
    }

    /// Whether `identity` may be in the table; `false` is certain. No IO and no locks: may be called on any thread.
    #[must_use]
    pub fn may_contain(&self, identity: &Identity) -> bool {
        self.runs.with_view(|view| view.may_contain(&identity.0))
    }

    /// The latest index of `identity` below [`Table::covered`]. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`RunError::Corrupt`]: [`Table::reset`] and fill it again. [`RunError::Io`].
    pub fn latest(&self, identity: &Identity) -> Result<Option<LeafIndex>, RunError> {
        self.view().latest(identity)
    }

    /// Adds the entries `[covered, up_to)`, given by identity and index in any order; of several with one identity the largest
    /// index counts. Durable on return. Rows below `covered` are left out, they are held already; that there is no gap
    /// is the caller's business. Does nothing if `up_to` is covered already.
    ///
    /// # Errors
    ///
    /// [`RunError::Full`] and [`RunError::Io`] with nothing changed; [`RunError::Row`] for an index that is not below `up_to`
    /// and 2^40, and when merges do not keep up; [`RunError::Durability`].
    pub fn spill(&self, rows: Vec<(Identity, LeafIndex)>, up_to: TreeSize) -> Result<(), RunError> {
        let covered = self.covered();
        let mut sorted = Vec::with_capacity(rows.len());
        for (identity, index) in rows {
            if !up_to.contains(index) || index.0 >= INDEX_LIMIT {
                return Err(RunError::Row(format!(
                    "index {index} cannot be in a duplicates table up to {up_to}"
                )));
            }
            if !covered.contains(index) {
                sorted.push(row(&identity, index));
            }
        }
        sorted.sort_unstable();
        self.runs.spill(&sorted, sorted.len() as u64, up_to)
    }

    /// Merges runs if enough of like size are there: `true` if there may be more to do. For a background thread; neither readers
    /// nor spills wait for it.
    ///
    /// # Errors
    ///
    /// [`RunError::Corrupt`]: [`Table::reset`] and fill it again. [`RunError::Full`] and [`RunError::Io`] with nothing changed;
    /// [`RunError::Durability`].
    pub fn merge_step(&self, rate: MergeRate, cancel: &Cancel) -> Result<bool, RunError> {
        self.runs.merge_step(rate, cancel)
    }

    /// Forgets everything, durably, so that the table can be filled again from the log's beginning.
    ///
    /// # Errors
    ///
    /// [`RunError::Full`] and [`RunError::Io`] with nothing changed; [`RunError::Durability`].
    pub fn reset(&self) -> Result<(), RunError> {
        self.runs.reset()
    }
}

impl TableView {
    /// Every entry below this is in this view.
    #[must_use]
    pub fn covered(&self) -> TreeSize {
        self.0.covered()
    }

    /// As [`Table::may_contain`].
    #[must_use]
    pub fn may_contain(&self, identity: &Identity) -> bool {
        self.0.may_contain(&identity.0)
    }

    /// As [`Table::latest`].
    ///
    /// # Errors
    ///
    /// [`RunError::Corrupt`], [`RunError::Io`].
    pub fn latest(&self, identity: &Identity) -> Result<Option<LeafIndex>, RunError> {
        Ok(self.0.newest_of_key(&identity.0)?.as_deref().and_then(index_of))
    }

    /// How many rows and runs there are, for metrics.
    #[must_use]
    pub fn size(&self) -> (u64, usize) {
        (self.0.rows(), self.0.runs())
    }
}

fn row(identity: &Identity, index: LeafIndex) -> [u8; 21] {
    let mut row = [0; 21];
    row[..16].copy_from_slice(&identity.0);
    row[16..].copy_from_slice(&index.0.to_be_bytes()[3..]);
    row
}

fn index_of(row: &[u8]) -> Option<LeafIndex> {
    let [b0, b1, b2, b3, b4] = *row.get(16..)?.as_array()?;
    Some(LeafIndex(u64::from_be_bytes([0, 0, 0, b0, b1, b2, b3, b4])))
}
