//! Log state that lives and dies with the process: for tests, and the naive model that the others are judged by.

use std::{collections::VecDeque, io, sync::Arc};

use bytes::Bytes;
use glasslog_core::{Hash, LeafIndex, TreeSize, personality::Identity};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::{
    Batch, BatchId, CommitOutcome, Epoch, LogState, SizedNote, StateError, StateView, Turn, Watermarks,
    identities_since,
    small::{Change, SmallState},
};

/// [`LogState`] in memory. Nothing survives the process, but [`MemoryLogState::restarted`] gives what a durable
/// state would hold after a restart.
pub struct MemoryLogState {
    /// Held for the length of a turn; taken before `inner`.
    head: Mutex<()>,
    inner: Mutex<Inner>,
    published: watch::Sender<Option<SizedNote>>,
}

#[derive(Clone, Default)]
struct Inner {
    small: SmallState,
    batches: VecDeque<Arc<Batch>>,
    /// Watermarks and public note as of the last change that syncs: the others ride along, and a crash loses them.
    synced: (Watermarks, Option<SizedNote>),
    unclean: bool,
    closed: bool,
}

impl MemoryLogState {
    /// Fresh state, bound to no log.
    #[must_use]
    pub fn new() -> MemoryLogState {
        MemoryLogState::from_inner(Inner::default())
    }

    /// What the next process would find: the same after [`LogState::close`], else without the watermarks and the
    /// public note that no later change made durable, and `unclean`.
    #[must_use]
    pub fn restarted(&self) -> MemoryLogState {
        let mut inner = self.inner.lock().clone();
        inner.unclean = !inner.closed && inner.small != SmallState::default();
        if !inner.closed {
            (inner.small.watermarks, inner.small.public) = inner.synced.clone();
        }
        inner.closed = false;
        MemoryLogState::from_inner(inner)
    }

    /// Another state with the same content; from then on each goes its own way.
    #[must_use]
    pub fn copied(&self) -> MemoryLogState {
        MemoryLogState::from_inner(self.inner.lock().clone())
    }

    fn from_inner(inner: Inner) -> MemoryLogState {
        let published = watch::Sender::new(inner.small.public.clone());
        MemoryLogState { head: Mutex::new(()), inner: Mutex::new(inner), published }
    }

    /// Checks a change against the state and makes it, all under one lock.
    fn change(
        &self,
        syncs: bool,
        check: impl FnOnce(&SmallState) -> Result<Option<Change>, StateError>,
    ) -> Result<(), StateError> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(StateError::Refused(closed()));
        }
        let Some(change) = check(&inner.small)? else { return Ok(()) };
        inner.small.apply(change);
        if syncs {
            inner.mark_synced();
        }
        Ok(())
    }
}

impl Default for MemoryLogState {
    fn default() -> MemoryLogState {
        MemoryLogState::new()
    }
}

impl Inner {
    fn mark_synced(&mut self) {
        self.synced = (self.small.watermarks, self.small.public.clone());
        // Only now may batches leave: a crash would bring an unsynced watermark back down.
        let trim_below = self.small.watermarks.trim_below;
        while self.batches.front().is_some_and(|batch| batch.end() <= trim_below) {
            self.batches.pop_front();
        }
        let first_kept = self.batches.front().map_or(self.small.head.next_index(), |batch| batch.first_index);
        self.small.forget_fills_below(first_kept);
    }
}

struct MemoryTurn<'a> {
    state: &'a MemoryLogState,
    _head: MutexGuard<'a, ()>,
    at: TreeSize,
    appended: Vec<(Identity, LeafIndex, Hash)>,
}

impl Turn for MemoryTurn<'_> {
    fn head(&self) -> TreeSize {
        self.at
    }

    fn appended(&self) -> &[(Identity, LeafIndex, Hash)] {
        &self.appended
    }

    fn commit(self: Box<Self>, batch: Arc<Batch>, cut: Option<Epoch>) -> CommitOutcome {
        let mut inner = self.state.inner.lock();
        if inner.closed {
            return CommitOutcome::Refused(closed());
        }
        if let Err(outcome) = inner.small.check_batch(&batch, cut) {
            return outcome;
        }
        inner.small.apply_batch(&batch);
        inner.batches.push_back(batch);
        inner.mark_synced();
        CommitOutcome::Committed
    }
}

impl LogState for MemoryLogState {
    fn bind(&self, origin: &str, vkeys: &[String]) -> Result<(), StateError> {
        self.change(true, |small| small.check_bind(origin, vkeys))
    }

    fn view(&self) -> Result<StateView, StateError> {
        let inner = self.inner.lock();
        Ok(inner.small.view(inner.unclean))
    }

    fn turn<'a>(&'a self, known: TreeSize) -> Result<Box<dyn Turn + 'a>, StateError> {
        let head = self.head.lock();
        let inner = self.inner.lock();
        let appended = identities_since(known, inner.batches.iter().map(AsRef::as_ref));
        Ok(Box::new(MemoryTurn { state: self, _head: head, at: inner.small.head, appended }))
    }

    fn was_committed(&self, id: BatchId) -> Result<bool, StateError> {
        let _head = self.head.lock();
        Ok(self.inner.lock().batches.iter().any(|batch| batch.id == id))
    }

    fn batches(&self, from: LeafIndex, max_bytes: usize) -> Result<Vec<Arc<Batch>>, StateError> {
        let inner = self.inner.lock();
        let first = inner.batches.partition_point(|batch| !batch.end().contains(from));
        let mut bytes = 0;
        let mut found = Vec::new();
        for batch in inner.batches.range(first..) {
            if bytes > max_bytes {
                break;
            }
            bytes += batch.entry_bytes();
            found.push(Arc::clone(batch));
        }
        Ok(found)
    }

    fn lease(&self, holder: &str) -> Result<Epoch, StateError> {
        self.change(true, |small| small.check_lease(holder).map(Some))?;
        Ok(Epoch(self.inner.lock().small.epoch))
    }

    fn record_checkpoint(
        &self,
        epoch: Epoch,
        previous: Option<TreeSize>,
        checkpoint: SizedNote,
    ) -> Result<(), StateError> {
        self.change(true, |small| small.check_checkpoint(epoch, previous, checkpoint).map(Some))
    }

    fn record_public(&self, epoch: Epoch, checkpoint: SizedNote) -> Result<(), StateError> {
        self.change(false, |small| small.check_public(epoch, checkpoint))?;
        self.published.send_replace(self.inner.lock().small.public.clone());
        Ok(())
    }

    fn fill(&self, epoch: Epoch, position: LeafIndex, bytes: Bytes) -> Result<(), StateError> {
        self.change(true, |small| small.check_fill(epoch, position, bytes).map(Some))
    }

    fn filled(&self, position: LeafIndex) -> Result<Option<Bytes>, StateError> {
        Ok(self.inner.lock().small.fills.get(&position.0).cloned())
    }

    fn advance(&self, epoch: Epoch, watermarks: Watermarks) -> Result<(), StateError> {
        self.change(false, |small| small.check_advance(epoch, watermarks))
    }

    fn adopt(&self, epoch: Epoch, checkpoint: SizedNote) -> Result<(), StateError> {
        self.change(true, |small| small.check_adopt(epoch, checkpoint).map(Some))
    }

    fn published(&self) -> watch::Receiver<Option<SizedNote>> {
        self.published.subscribe()
    }

    fn close(&self) -> Result<(), StateError> {
        let mut inner = self.inner.lock();
        inner.mark_synced();
        inner.closed = true;
        Ok(())
    }
}

fn closed() -> io::Error {
    io::Error::other("the log state is closed")
}
