//! The index that grows.

use std::{path::Path, sync::Arc};

use glasslog_core::{Hash, LeafIndex, TreeSize};
use glasslog_store::{disk::Disk, runs::Cancel};
use glasslog_vindex::Key;

use crate::{
    IndexError, Revision,
    bulk::Bulk,
    delta::{Delta, Part},
    keeper::{Done, Into, Keeper, Merge, Shared, Spill},
    layers::Layers,
    manifest::{Manifest, State},
    open::{self, Loaded},
    place::{bits_for, cell},
    run::Run,
    slice::Slice,
    tree::Tree,
    update::{rehash, update},
};

/// Keys that are taken in together.
const BATCH: usize = 4096;
/// Keys a bucket from which on there are to be more buckets.
const CROWDED: u64 = 24;
/// The least that is worth a merge.
const LEAST_MERGE: u64 = 4 << 20;
/// Spills of which one is made if they are not worth a merge.
const MANY_SPILLS: usize = 32;

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
    /// Bytes of memory for what is not in the base run yet, at most 1 GiB.
    pub delta_max_bytes: usize,
    /// From so many keys in the base run on, a run of up to a quarter of its size stands between it and the delta, so that
    /// not every merge writes all of it anew.
    pub middle_from_keys: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { snapshot_interval: 32_768, delta_max_bytes: 128 << 20, middle_from_keys: 20_000_000 }
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
    pub(crate) shared: Arc<Shared>,
    options: Options,
    pub(crate) next: TreeSize,
    /// Keys of the newest entries, that no layer holds yet.
    pending: Vec<(Key, u64)>,
    /// On disk, oldest first.
    pub(crate) runs: Vec<Arc<Run>>,
    pub(crate) delta: Delta,
    pub(crate) tree: Tree,
    pub(crate) keys: u64,
    pub(crate) postings: u64,
    newest: Option<Arc<Revision>>,
    /// It is to become durable next, once it is kept.
    candidate: Option<Candidate>,
    /// It will be instead if the anchor of that one was passed over.
    other: Option<Candidate>,
    is_leaving: bool,
    /// The newest that was kept.
    kept: TreeSize,
    /// No entry from here on has keys.
    filled: TreeSize,
    durable: State,
    is_merging: bool,
}

/// A revision that may become durable.
struct Candidate {
    state: State,
    tree: Tree,
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
        let (loaded, emptied_because) = open::open(&*disk, dir, binding)?;
        let Loaded { manifest, runs, slices, tree } = loaded;
        let spills = manifest.runs.iter().filter(|run| run.is_spill).copied().collect();
        let state = manifest.state;
        let shared = Arc::new(Shared::new(disk, dir, binding, manifest));
        let index = Index {
            shared: Arc::clone(&shared),
            options: Options { delta_max_bytes: options.delta_max_bytes.min(1 << 30), ..options },
            next: state.size,
            pending: Vec::new(),
            runs,
            delta: Delta::of(slices, spills)?,
            tree,
            keys: state.keys,
            postings: state.postings,
            newest: None,
            candidate: None,
            other: None,
            is_leaving: false,
            kept: TreeSize::ZERO,
            filled: state.size,
            durable: state,
            is_merging: false,
        };
        Ok(Opened { index, keeper: Keeper { shared }, emptied_because })
    }

    /// The entries below this are covered.
    #[must_use]
    pub fn next(&self) -> TreeSize {
        self.next
    }

    /// What a restart would begin with; `None` if with nothing.
    #[must_use]
    pub fn durable(&self) -> Option<Durable> {
        let state = self.shared.desk.lock().spilled.map_or(self.durable, |spilled| spilled.state);
        (state.size > TreeSize::ZERO).then_some(Durable { size: state.size, root: state.root })
    }

    /// Takes in the keys of the next entry (ascending and each once, as `keys_of` gives them). What is covered already is
    /// passed over.
    ///
    /// # Errors
    ///
    /// [`IndexError::Gap`]; [`IndexError::Runs`] when keys are written out between entries: the entry is taken in nevertheless,
    /// and what failed is tried again with the next.
    pub fn apply(&mut self, index: LeafIndex, keys: &[Key]) -> Result<(), IndexError> {
        if self.next.contains(index) {
            return Ok(());
        }
        if index.0 != self.next.0 {
            return Err(IndexError::Gap { next: self.next, given: index });
        }
        self.pending.extend(keys.iter().map(|key| (*key, index.0)));
        self.next = TreeSize(index.0 + 1);
        if !keys.is_empty() {
            self.filled = self.next;
        }
        if self.pending.len() < BATCH {
            return Ok(());
        }
        self.absorb()?;
        self.flush()
    }

    /// The index over everything that was applied.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn revision(&mut self) -> Result<Arc<Revision>, IndexError> {
        self.absorb()?;
        self.flush()?;
        let revision = match &self.newest {
            Some(newest) if newest.size() == self.next => Arc::clone(newest),
            _ => Arc::new(Revision::new(self.state(), self.layers(), self.tree.clone())),
        };
        self.newest = Some(Arc::clone(&revision));
        if !self.is_leaving {
            self.nominate()?;
        }
        Ok(revision)
    }

    /// Says that the last revision of `size` entries is anchored at that index by a recorded checkpoint: from now on it
    /// may become durable, and does if that is due. Its work is done by the [`Keeper`].
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn keep(&mut self, size: TreeSize) -> Result<(), IndexError> {
        self.absorb()?;
        if size <= self.next {
            self.kept = self.kept.max(size);
        }
        if self.is_leaving {
            return Ok(());
        }
        // Those that were passed over will never be kept: what they added leaves with the one that is.
        if self.candidate.as_ref().is_some_and(|candidate| candidate.state.size < size) {
            self.delta.mark(Part::Next, Part::Leaving);
            self.candidate = self.other.take();
        }
        let Some(candidate) = &self.candidate else {
            self.delta.mark(Part::Leaving, Part::New);
            return Ok(());
        };
        if candidate.state.size == size {
            let spill =
                Arc::new(spill_of(candidate.state, &candidate.tree, self.delta.slices(Part::Leaving)));
            self.shared.hand_over(|desk| desk.spill = Some(spill));
            self.is_leaving = true;
            self.other = None;
            self.delta.mark(Part::Next, Part::New);
        } else if candidate.state.size < size {
            self.candidate = None;
            self.delta.mark(Part::Leaving, Part::New);
        }
        Ok(())
    }

    /// Whether it should not take in more until something is kept and merged. If nothing that was applied is anchored, so that
    /// there is nothing to wait for, [`Index::bulk`] makes room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let desk = self.shared.desk.lock();
        // What has been done in the background is seen by the next call that changes something.
        desk.spilled.is_none() && desk.merged.is_none() && self.delta_bytes() >= self.options.delta_max_bytes
    }

    /// How large it is.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let runs: usize = self.runs.iter().map(|run| run.memory()).sum();
        let (files, disk_bytes) = self.shared.totals();
        Stats {
            keys: self.keys,
            postings: self.postings,
            disk_bytes,
            memory_bytes: (runs + self.delta_bytes() + self.tree.memory()) as u64,
            runs: files,
        }
    }

    /// Begins to take in many entries at once, by sorting: faster than [`Index::apply`], and nothing can be asked meanwhile.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn bulk(&mut self) -> Result<Bulk<'_>, IndexError> {
        self.absorb()?;
        self.flush()?;
        Ok(Bulk::new(self))
    }

    /// Forgets everything, durably.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn reset(&mut self) -> Result<(), IndexError> {
        let shared = Arc::clone(&self.shared);
        shared.with_files(|files| {
            shared.change(files, Manifest::default())?;
            self.replace(State::default(), Vec::new(), Tree::new(bits_for(0)));
            Ok(())
        })
    }

    /// Makes the newest kept revision durable if no entry with keys was applied after it. The [`Keeper`] must have ended before.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`]; the next start has more to replay.
    pub fn close(mut self) -> Result<(), IndexError> {
        self.absorb()?;
        let shared = Arc::clone(&self.shared);
        if self.kept >= self.filled && self.kept > self.durable.size {
            self.flush()?;
            let slices = [Part::Leaving, Part::Next, Part::New].map(|part| self.delta.slices(part)).concat();
            let spill = spill_of(State { size: self.kept, ..self.state() }, &self.tree, slices);
            shared.with_files(|files| shared.spill(files, &spill))?;
        } else if let Some(candidate) = self.candidate.filter(|_| self.is_leaving) {
            let spill = spill_of(candidate.state, &candidate.tree, self.delta.slices(Part::Leaving));
            shared.with_files(|files| shared.spill(files, &spill))?;
        }
        Ok(())
    }

    /// Takes over what the keeper has done, and hands over what is due next.
    pub(crate) fn absorb(&mut self) -> Result<(), IndexError> {
        let (spilled, merged) = {
            let mut desk = self.shared.desk.lock();
            (desk.spilled.take(), desk.merged.take())
        };
        if let Some(spilled) = spilled {
            self.durable = spilled.state;
            self.candidate = None;
            self.is_leaving = false;
            self.delta.mark(Part::Leaving, Part::Durable);
            self.delta.spills.extend(spilled.run);
            self.delta.compact(Part::Durable)?;
        }
        if let Some(done) = merged {
            self.is_merging = false;
            self.newest = None;
            match done {
                Done::Run(run, tree) => {
                    self.runs.truncate(self.delta.runs_below);
                    self.runs.push(run);
                    self.delta.remove(Part::Merging);
                    if let Some(tree) = tree.filter(|tree| tree.bits() > self.tree.bits()) {
                        self.widen(tree)?;
                    }
                }
                Done::Spill(run) => {
                    self.delta.mark(Part::Merging, Part::Durable);
                    self.delta.spills.insert(0, run);
                }
            }
            self.delta.compact(Part::Durable)?;
        }
        if !self.is_merging {
            self.merge_if_due();
        }
        Ok(())
    }

    /// Takes over the tree of more buckets over the runs alone.
    fn widen(&mut self, mut tree: Tree) -> Result<(), IndexError> {
        let layers = self.layers();
        rehash(&layers, &mut tree, &layers.slices)?;
        if tree.root() != self.tree.root() {
            return Err(layers.damaged("its rows do not give the root that they gave".into()).into());
        }
        self.tree = tree;
        Ok(())
    }

    /// Makes a layer of what is pending. If it fails, nothing has changed.
    pub(crate) fn flush(&mut self) -> Result<(), IndexError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.keys > CROWDED << self.tree.bits() && bits_for(self.keys) > self.tree.bits() {
            self.tree = open::hash_all(&self.layers(), bits_for(self.keys), &self.shared.dir)?;
        }
        self.pending.sort_unstable();
        self.pending.dedup();
        let update = update(&self.layers(), &self.tree, &self.pending)?;
        self.tree.set(&update.hashes);
        self.keys += update.new_keys;
        self.postings += self.pending.len() as u64;
        self.pending.clear();
        self.delta.push(update.slice)?;
        Ok(())
    }

    /// Everything is now in these runs, and durable. To be called while the files are held: nobody works for what was before.
    pub(crate) fn replace(&mut self, state: State, runs: Vec<Arc<Run>>, tree: Tree) {
        self.shared.hand_over(|desk| {
            (desk.spill, desk.merge, desk.spilled, desk.merged) = (None, None, None, None);
        });
        self.next = state.size;
        self.pending = Vec::new();
        self.runs = runs;
        self.delta = Delta::default();
        self.tree = tree;
        (self.keys, self.postings) = (state.keys, state.postings);
        self.newest = None;
        (self.candidate, self.other, self.is_leaving) = (None, None, false);
        (self.kept, self.filled) = (TreeSize::ZERO, state.size);
        self.durable = state;
        self.is_merging = false;
    }

    pub(crate) fn layers(&self) -> Layers {
        Layers { runs: self.runs.clone(), slices: self.delta.all() }
    }

    pub(crate) fn state(&self) -> State {
        State { size: self.next, root: self.tree.root(), keys: self.keys, postings: self.postings }
    }

    fn delta_bytes(&self) -> usize {
        self.delta.memory() + self.pending.capacity() * size_of::<(Key, u64)>()
    }

    fn is_due(&self) -> bool {
        let entries = self.next.0.saturating_sub(self.durable.size.0);
        entries > 0
            && (entries >= self.options.snapshot_interval
                || self.delta_bytes() >= self.options.delta_max_bytes / 2)
    }

    /// Makes the present state, of which a revision was just taken, one that may become durable, if it is time for it.
    ///
    /// Usually the first one is kept. If its anchor is passed over, the newest after it is there instead.
    fn nominate(&mut self) -> Result<(), IndexError> {
        let candidate = Candidate { state: self.state(), tree: self.tree.clone() };
        match &self.candidate {
            None if self.is_due() => {
                self.delta.mark(Part::New, Part::Leaving);
                self.candidate = Some(candidate);
            }
            Some(first) if first.state.size < self.next => {
                self.delta.mark(Part::Next, Part::New);
                self.delta.compact(Part::New)?;
                self.delta.mark(Part::New, Part::Next);
                self.other = Some(candidate);
            }
            _ => {}
        }
        Ok(())
    }

    /// Hands over a merge of the durable slices if there are enough.
    fn merge_if_due(&mut self) {
        let slices = self.delta.slices(Part::Durable);
        if slices.is_empty() {
            return;
        }
        let bytes = self.delta.memory_of(Part::Durable) as u64;
        let on_disk: u64 = self.runs.iter().map(|run| run.meta.bytes()).sum();
        let most = (self.options.delta_max_bytes / 2) as u64;
        // A merge is also the time for more buckets.
        let bits = self.tree.bits().max(bits_for(self.keys));
        let is_worth = bytes >= (on_disk / 4).max(LEAST_MERGE).min(most);
        if !is_worth && self.delta.spills.len() < MANY_SPILLS {
            return;
        }
        let files = self.delta.spills.iter().chain(self.runs.last().map(|run| &run.meta));
        let same_bits = files.into_iter().all(|run| run.bits == bits);
        let (below, into) = match self.runs.as_slice() {
            _ if !is_worth && same_bits => (self.runs.len(), Into::Spill),
            [base, middle @ ..] if same_bits && base.meta.heads > self.options.middle_from_keys => {
                let heads: u64 = middle.iter().map(|run| run.meta.heads).sum();
                let delta: u64 = slices.iter().map(|slice| slice.heads.len() as u64).sum();
                (usize::from(heads + delta < base.meta.heads / 4), Into::Run)
            }
            _ => (0, Into::Run),
        };
        let (below, runs) = self.runs.split_at(below.min(self.runs.len()));
        self.delta.runs_below = below.len();
        let merge = Merge {
            below: below.to_vec(),
            runs: runs.to_vec(),
            slices,
            spills: std::mem::take(&mut self.delta.spills),
            bits,
            into,
        };
        self.delta.mark(Part::Durable, Part::Merging);
        self.is_merging = true;
        self.shared.hand_over(|desk| desk.merge = Some(Arc::new(merge)));
    }
}

/// What makes `state` durable, of which the newest layers are these.
fn spill_of(state: State, tree: &Tree, slices: Vec<Arc<Slice>>) -> Spill {
    let bits = tree.bits();
    let keys = slices.iter().flat_map(|slice| &slice.heads.keys);
    let mut buckets: Vec<usize> = keys.map(|key| cell(key, bits)).collect();
    buckets.sort_unstable();
    buckets.dedup();
    let hash = |bucket: usize| Some((u32::try_from(bucket).ok()?, tree.bucket(bucket)));
    let hashes = buckets.into_iter().filter_map(hash).collect();
    let slices = slices.into_iter().filter(|slice| !slice.is_empty()).collect();
    Spill { state, slices, bits, hashes }
}

/// Whether `cancel` has been called.
pub(crate) fn is_cancelled(cancel: &Cancel) -> bool {
    cancel.wait_until(std::time::Instant::now())
}
