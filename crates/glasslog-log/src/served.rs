//! What lookups are answered from: a public checkpoint and the state of the index that it anchors, always a matching pair
//! (FORMATS §3, Serving).
//!
//! The publisher says what is public, the indexer which states of the index are anchored; whoever comes second builds the
//! next [`Pair`] and swaps it in. Requests only load it.

mod pair;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use glasslog_core::{LeafIndex, TreeSize};
use glasslog_index::{IndexError, Revision};
use glasslog_store::log_state::SizedNote;
use glasslog_vindex::{Key, Lookup, MapFunction, Question, lookup::MAX_TAIL_ENTRIES};
use parking_lot::Mutex;

pub use pair::{Page, Pair, Wanted};

use crate::{
    Failure, IndexConfig, IndexStatus, Log, ReadError,
    read::{Reader, Signed},
    shared::{Shared, chain},
};
use pair::Anchored;

/// So many states that are not public yet are kept: one is in flight and one being made, the rest is for what waits for a quorum.
const KEPT: usize = 4;

/// Why a lookup was not answered.
#[derive(Debug, thiserror::Error)]
pub enum IndexReadError {
    /// The tiles or bundles that the proof needs.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The files of the index cannot be read now.
    #[error("the index cannot be read")]
    Index(#[source] IndexError),
    /// The index does not say what the log has anchored: nothing of it is served until it has been built again.
    #[error("the index is damaged and is built again: {0}")]
    Corrupt(String),
}

impl From<IndexError> for IndexReadError {
    fn from(error: IndexError) -> IndexReadError {
        if error.is_corrupt() { IndexReadError::Corrupt(chain(&error)) } else { IndexReadError::Index(error) }
    }
}

/// What is served of an index.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Why nothing is, if the index was withdrawn and is being built again.
    pub withdrawn: Option<Arc<str>>,
    /// How often the index was found to be damaged by a reader, since the start.
    pub corruptions: u64,
}

/// A state of the index that nothing vouches for: what it says is a hint.
#[derive(Clone)]
pub struct Hints {
    revision: Arc<Revision>,
}

impl Hints {
    /// How many entries it covers.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.revision.size()
    }
}

/// What is served.
pub(crate) struct Served {
    map_fn: Option<Arc<dyn MapFunction>>,
    log: Weak<Shared>,
    pair: ArcSwapOption<Pair>,
    hints: ArcSwapOption<Revision>,
    /// Held while storage is read; the rest is for whoever must not wait.
    known: Mutex<Known>,
    withdrawn: Mutex<Option<Arc<str>>>,
    corruptions: AtomicU64,
}

/// What a pair can be made of.
#[derive(Default)]
struct Known {
    published: Option<SizedNote>,
    /// By ascending index: the newest one that is public, and the newest of those that are not.
    anchors: VecDeque<(LeafIndex, Arc<Revision>)>,
    /// No index state before this one can be served: an anchor with a root stands here in the public log.
    newest_seen: Option<LeafIndex>,
    /// Goes up when the index is withdrawn: nothing that was made before is believed any more.
    generation: u64,
    /// What a reader found, until the indexer has been told.
    corrupt: Option<Arc<str>>,
    /// Storage failed while a pair was made.
    retry: bool,
}

impl Served {
    pub(crate) fn new(index: Option<&IndexConfig>, log: Weak<Shared>) -> Served {
        Served {
            map_fn: index.map(|index| Arc::clone(&index.map_fn)),
            log,
            pair: ArcSwapOption::empty(),
            hints: ArcSwapOption::empty(),
            known: Mutex::default(),
            withdrawn: Mutex::default(),
            corruptions: AtomicU64::new(0),
        }
    }

    /// Says that `revision` is the index over the entries below `at`, and that the anchor at `at` has its root.
    pub(crate) fn anchored(&self, at: LeafIndex, revision: Arc<Revision>) {
        let mut known = self.known.lock();
        self.hints.store(Some(Arc::clone(&revision)));
        known.keep(at, revision);
        self.make_pair(&mut known);
    }

    /// Says that a checkpoint is public, or that the public one has more cosignatures.
    pub(crate) fn published(&self, note: SizedNote) {
        let mut known = self.known.lock();
        if known.published.as_ref().is_none_or(|published| published.size <= note.size) {
            known.published = Some(note);
            self.make_pair(&mut known);
        }
    }

    /// Takes back everything that was said to be anchored: the index is being built again.
    pub(crate) fn withdraw(&self, why: &str) {
        let mut known = self.known.lock();
        self.withdraw_known(&mut known, why);
        // Of an empty log the checkpoint says all.
        self.make_pair(&mut known);
    }

    /// Says what is in the index now, though nothing vouches for it: hints while it is being built.
    pub(crate) fn hint(&self, revision: Arc<Revision>) {
        self.hints.store(Some(revision));
    }

    /// What a reader found to be wrong with the index, once. It has been withdrawn already; the index is to be reset and
    /// built again.
    pub(crate) fn take_corruption(&self) -> Option<Arc<str>> {
        self.known.lock().corrupt.take()
    }

    /// Tries again what failed for want of storage; to be called now and then.
    pub(crate) fn retry(&self) {
        let mut known = self.known.lock();
        if known.retry {
            self.make_pair(&mut known);
        }
    }

    /// Notes what reading from `pair` found to be wrong, and wakes the indexer.
    fn corrupt(&self, generation: u64, why: &str) {
        let mut known = self.known.lock();
        // Of an index that is being built again already, nothing new is learned.
        if known.generation != generation {
            return;
        }
        tracing::error!(why, "the index is damaged and is built again");
        self.corruptions.fetch_add(1, Ordering::Relaxed);
        self.withdraw_known(&mut known, why);
        known.corrupt = Some(why.into());
        drop(known);
        if let Some(log) = self.log.upgrade() {
            log.progress.wake();
        }
    }

    fn withdraw_known(&self, known: &mut Known, why: &str) {
        known.anchors.clear();
        known.generation += 1;
        *self.withdrawn.lock() = Some(why.into());
        self.pair.store(None);
        self.hints.store(None);
    }

    /// Makes the pair that is due and swaps it in; the last one stays when that cannot be.
    fn make_pair(&self, known: &mut Known) {
        let (Some(map_fn), Some(log)) = (&self.map_fn, self.log.upgrade()) else { return };
        known.retry = false;
        match self.next_pair(known, map_fn, &log.reader) {
            Ok(None) => {}
            Ok(Some(pair)) => {
                *self.withdrawn.lock() = None;
                self.pair.store(Some(Arc::new(pair)));
            }
            Err(IndexReadError::Read(ReadError::Contradiction(what))) => {
                log.fail(&Failure::Contradiction(what));
            }
            Err(IndexReadError::Corrupt(why)) => {
                tracing::error!(why, "the index is damaged and is built again");
                self.corruptions.fetch_add(1, Ordering::Relaxed);
                self.withdraw_known(known, &why);
                known.corrupt = Some(why.into());
                log.progress.wake();
            }
            Err(passing) => {
                tracing::warn!(error = %chain(&passing), "lookups stay at the last checkpoint for now");
                known.retry = true;
            }
        }
    }

    /// The newest public checkpoint with its newest anchor that has a root; `None` if that is not known, is served already,
    /// or is too far back.
    fn next_pair(
        &self,
        known: &mut Known,
        map_fn: &Arc<dyn MapFunction>,
        reader: &Reader,
    ) -> Result<Option<Pair>, IndexReadError> {
        let Some(published) = &known.published else { return Ok(None) };
        let signed = reader.signed(published)?;
        let pair = |signed: Arc<Signed>, anchored| {
            Some(Pair::new(signed, anchored, Arc::clone(map_fn), known.generation))
        };
        let size = signed.checkpoint.size;
        let served = self.pair.load_full();
        if let Some(served) = served.as_ref().filter(|served| served.size() == size) {
            // In one tree there is one newest anchor: only cosignatures can be new.
            let changed = served.note() != &signed.note;
            return Ok(pair(signed, served.anchored()).filter(|_| changed));
        }
        if size == TreeSize::ZERO {
            return Ok(pair(signed, None));
        }
        let last = served.as_ref().and_then(|served| served.anchored());
        let newest = known.anchors.iter().rfind(|(at, _)| size.contains(*at)).cloned();
        let last_one = last.as_ref().map(|last| (last.at(), Arc::clone(last.revision())));
        let Some((at, revision)) = newest.or(last_one) else { return Ok(None) };
        if size.0 - at.0 - 1 > MAX_TAIL_ENTRIES as u64 || known.newest_seen.is_some_and(|seen| seen > at) {
            return Ok(None);
        }
        match Anchored::make(at, revision, &signed.checkpoint, last.as_deref(), map_fn.as_ref(), reader)? {
            pair::Made::Whole(anchored) => Ok(pair(signed, Some(Arc::new(anchored)))),
            pair::Made::TailTooLong => Ok(None),
            pair::Made::NewerAnchor(seen) => {
                known.newest_seen = Some(seen);
                Ok(None)
            }
        }
    }
}

impl Known {
    /// Adds an anchor, and drops what no public checkpoint will need.
    fn keep(&mut self, at: LeafIndex, revision: Arc<Revision>) {
        while self.anchors.back().is_some_and(|(last, _)| *last >= at) {
            self.anchors.pop_back();
        }
        self.anchors.push_back((at, revision));
        let public = self.published.as_ref().map_or(TreeSize::ZERO, |published| published.size);
        let superseded = self.anchors.iter().filter(|(at, _)| public.contains(*at)).count().saturating_sub(1);
        self.anchors.drain(..superseded);
        let first_waiting = self.anchors.iter().take_while(|(at, _)| public.contains(*at)).count();
        while self.anchors.len() > first_waiting + KEPT {
            self.anchors.remove(first_waiting);
        }
    }
}

impl Log {
    /// The map function of its index, if it has one.
    #[must_use]
    pub fn map_fn(&self) -> Option<Arc<dyn MapFunction>> {
        self.shared.anchors.as_ref().map(|anchors| Arc::clone(&anchors.map_fn))
    }

    /// How far its index is, if it has one.
    #[must_use]
    pub fn index_status(&self) -> Option<IndexStatus> {
        self.shared.anchors.as_ref().map(|anchors| anchors.status(self.shared.progress.sequenced()))
    }

    /// What lookups are answered from now; `None` while there is nothing, and in a log without an index.
    #[must_use]
    pub fn served(&self) -> Option<Arc<Pair>> {
        self.shared.served.pair.load_full()
    }

    /// What is served of the index, and what is not.
    #[must_use]
    pub fn serving(&self) -> Serving {
        let served = &self.shared.served;
        let corruptions = served.corruptions.load(Ordering::Relaxed);
        Serving { withdrawn: served.withdrawn.lock().clone(), corruptions }
    }

    /// The newest state of the index, whether or not anything vouches for it.
    #[must_use]
    pub fn hints(&self) -> Option<Hints> {
        self.shared.served.hints.load_full().map(|revision| Hints { revision })
    }

    /// What `pair` holds about `key`, which is that of `question`, with proof: checked against the pair's own root before it
    /// is returned. Blocks on storage.
    ///
    /// # Errors
    ///
    /// [`IndexReadError`]; an index that does not prove what is anchored has been withdrawn, a contradiction has stopped the log.
    pub fn lookup(
        &self,
        pair: &Pair,
        question: Question,
        key: &Key,
        wanted: &Wanted,
    ) -> Result<Lookup, IndexReadError> {
        self.reported(pair.generation(), pair.lookup(question, key, wanted, &self.shared.reader))
    }

    /// At most `limit` elements of the list of `key`, from position `start` on, those after the anchor included. `found` is
    /// what [`Log::lookup`] gave for the same pair and key. Blocks on storage.
    ///
    /// # Errors
    ///
    /// As [`Log::lookup`].
    pub fn page(
        &self,
        pair: &Pair,
        key: &Key,
        found: &Lookup,
        start: u64,
        limit: usize,
    ) -> Result<Page, IndexReadError> {
        self.reported(pair.generation(), pair.page(key, found, start, limit))
    }

    /// As [`Log::page`], and nothing vouches for it. Blocks on storage.
    ///
    /// # Errors
    ///
    /// As [`Log::lookup`].
    pub fn hinted_page(
        &self,
        hints: &Hints,
        key: &Key,
        start: u64,
        limit: usize,
    ) -> Result<Page, IndexReadError> {
        pair::page_of_revision(&hints.revision, key, start, limit)
    }

    fn reported<T>(&self, generation: u64, read: Result<T, IndexReadError>) -> Result<T, IndexReadError> {
        match &read {
            Err(IndexReadError::Read(ReadError::Contradiction(what))) => {
                self.shared.fail(&Failure::Contradiction(what.clone()));
            }
            Err(IndexReadError::Corrupt(why)) => self.shared.served.corrupt(generation, why),
            _ => {}
        }
        read
    }
}

#[cfg(test)]
mod tests;
