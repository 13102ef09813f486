//! Anchors: with the index on, every checkpoint ends in an entry that commits to the index over everything before it
//! (FORMATS §2).
//!
//! The publisher asks the sequencer for a *slot* at the end of a batch ([`Publisher::anchored_cut`]); the indexer says when
//! it has the root over everything before it; the publisher fixes the slot's bytes in the log state, with that root, or
//! without one when the index is late, and only then goes on as with any cut. Nothing here waits for the index: adds
//! never do.

pub(crate) mod start;
pub(crate) mod status;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use glasslog_core::{LeafIndex, TreeSize, anchor::anchor};
use glasslog_index::{Options, Revision};
use glasslog_store::{
    disk::Disk,
    log_state::{Batch, Epoch, Slot, StateError},
};
use glasslog_vindex::MapFunction;
use parking_lot::Mutex;

use crate::{
    Failure,
    publish::{FULL_DISK_PAUSE, Publisher, next_due},
    sequence::{new_batch, settle},
    shared::Shared,
};
use status::Account;

/// The verifiable index of a log.
#[derive(Clone)]
pub struct IndexConfig {
    /// Gives the keys of an entry. Its name stands in every anchor; once a log has one, no other function is accepted.
    pub map_fn: Arc<dyn MapFunction>,
    /// Whether the log is indexed. Without, `map_fn` is only for a slot that was left unfilled when the index was switched off.
    pub enabled: bool,
    /// How long a checkpoint waits for the index before its anchor is void.
    pub anchor_timeout: Duration,
    /// So many entries behind what is recorded, the index is built by sorting them all instead of taking them in one by one.
    pub bulk_from: u64,
    /// What the index writes through.
    pub disk: Arc<dyn Disk>,
    /// Where it lies: a directory of its own.
    pub dir: PathBuf,
    /// How it behaves.
    pub options: Options,
}

impl IndexConfig {
    /// The time that a checkpoint waits for the index unless told otherwise (FORMATS §2).
    pub const ANCHOR_TIMEOUT: Duration = Duration::from_secs(10);
    /// From so many entries on, sorting is faster.
    pub const BULK_FROM: u64 = 200_000;
}

/// What sequencer, publisher and indexer tell each other.
pub(crate) struct Anchors {
    pub(crate) map_fn: Arc<dyn MapFunction>,
    timeout: Duration,
    /// The position of the unfilled slot and 1; 0: there is none.
    unfilled: AtomicU64,
    /// Every slot below this is indexed.
    indexed: AtomicU64,
    /// Whether the newest anchor is void: then the publisher waits for the index to catch up.
    last_is_void: AtomicBool,
    /// Whether the sequencer could not append a slot.
    refused: AtomicBool,
    /// Whether nothing more will be sequenced.
    ended: AtomicBool,
    /// Whether nothing more will be indexed.
    closing: AtomicBool,
    told: Mutex<Told>,
    to_keep: mpsc::Sender<LeafIndex>,
    pub(crate) account: Account,
}

#[derive(Default)]
struct Told {
    /// The index over everything before the slot at this position.
    reached: Option<(LeafIndex, Arc<Revision>)>,
    /// Why no slot need wait for the index.
    hopeless: Option<Arc<str>>,
    /// Why the index cannot be believed.
    corrupt: Option<String>,
}

impl Anchors {
    pub(crate) fn new(
        config: &IndexConfig,
        unfilled: Option<LeafIndex>,
        last_is_void: bool,
    ) -> (Anchors, mpsc::Receiver<LeafIndex>) {
        let (to_keep, kept) = mpsc::channel();
        let anchors = Anchors {
            map_fn: Arc::clone(&config.map_fn),
            timeout: config.anchor_timeout,
            unfilled: AtomicU64::new(unfilled.map_or(0, |position| position.0 + 1)),
            indexed: AtomicU64::new(0),
            last_is_void: AtomicBool::new(last_is_void),
            refused: AtomicBool::default(),
            ended: AtomicBool::default(),
            closing: AtomicBool::default(),
            told: Mutex::default(),
            to_keep,
            account: Account::default(),
        };
        (anchors, kept)
    }

    /// The slot whose bytes are not fixed. Whoever has read a sequenced size before sees every slot below it.
    pub(crate) fn unfilled(&self) -> Option<LeafIndex> {
        self.unfilled.load(Ordering::Acquire).checked_sub(1).map(LeafIndex)
    }

    /// The indexer has come to the unfilled slot.
    pub(crate) fn reach(&self, position: LeafIndex, revision: Arc<Revision>) {
        self.told.lock().reached = Some((position, revision));
    }

    /// Every slot below `size` is indexed; says whether the publisher waits to hear that.
    pub(crate) fn set_indexed(&self, size: TreeSize) -> bool {
        let before = self.indexed.swap(size.0, Ordering::AcqRel);
        before != size.0 && self.last_is_void.load(Ordering::Acquire)
    }

    /// Why slots need not wait for the index, if they need not; says whether that has changed.
    pub(crate) fn set_hopeless(&self, why: Option<&str>) -> bool {
        let mut told = self.told.lock();
        let changed = told.hopeless.as_deref() != why;
        if changed {
            told.hopeless = why.map(Arc::from);
        }
        changed
    }

    pub(crate) fn is_hopeless(&self) -> bool {
        self.told.lock().hopeless.is_some()
    }

    /// Whoever finds that the index is not what it was when it was built says so: it is built again.
    pub(crate) fn is_corrupt(&self, why: String) {
        self.told.lock().corrupt = Some(why);
    }

    pub(crate) fn take_corrupt(&self) -> Option<String> {
        self.told.lock().corrupt.take()
    }

    /// Forgets what was reached, for an index that is emptied.
    pub(crate) fn forget_reached(&self) {
        self.told.lock().reached = None;
        self.indexed.store(0, Ordering::Release);
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(crate) fn closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn reached(&self, position: LeafIndex) -> Option<Arc<Revision>> {
        let told = self.told.lock();
        told.reached.as_ref().filter(|(at, _)| *at == position).map(|(_, revision)| Arc::clone(revision))
    }

    fn has_caught_up(&self, sequenced: TreeSize) -> bool {
        self.indexed.load(Ordering::Acquire) >= sequenced.0 && !self.is_hopeless()
    }
}

impl Shared {
    /// A batch is durable. A slot in it must be known before it counts as sequenced: it must not be integrated.
    pub(crate) fn committed(&self, batch: &Batch, bytes: u64) {
        if let (Some(anchors), Some(Slot::Anchor)) = (&self.anchors, batch.slots.last()) {
            anchors.unfilled.store(batch.end().0, Ordering::Release);
        }
        self.progress.committed(batch, bytes);
    }

    /// The disk refused a batch with a slot.
    pub(crate) fn slot_refused(&self, cut: Option<Epoch>) {
        if let (Some(anchors), Some(_)) = (&self.anchors, cut) {
            anchors.refused.store(true, Ordering::Release);
            self.progress.wake();
        }
    }
}

/// What the publisher knows of anchors.
#[derive(Default)]
pub(crate) struct Cuts {
    /// The newest slot that is filled.
    pub(crate) last: Option<LastAnchor>,
    /// Whether the sequencer was asked for a slot and has not answered.
    asked: bool,
    /// Since when the unfilled slot waits.
    waits_since: Option<Instant>,
}

/// The newest anchor of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastAnchor {
    pub(crate) position: LeafIndex,
    pub(crate) is_void: bool,
    /// Whether the entry before it is an anchor too: then it was the one attempt to follow a void one.
    pub(crate) follows_anchor: bool,
}

impl LastAnchor {
    /// The size of the checkpoint that it ends.
    fn size(&self) -> TreeSize {
        TreeSize(self.position.0 + 1)
    }
}

impl Publisher {
    /// How far the tree may grow: not over a slot that is not filled, nor, before that is recorded, over one that is.
    pub(crate) fn integrable(&self) -> TreeSize {
        let sequenced = self.log.progress.sequenced();
        let Some(anchors) = &self.log.anchors else { return sequenced };
        let unfilled = anchors.unfilled().map(|position| TreeSize(position.0));
        let to_record = self.unrecorded_anchor().map(LastAnchor::size);
        unfilled.into_iter().chain(to_record).min().map_or(sequenced, |end| end.min(sequenced))
    }

    /// The next cut: the place behind a slot that is filled. Fills the one that waits; asks for one that is due.
    pub(crate) fn anchored_cut(
        &mut self,
        anchors: &Anchors,
        draining: bool,
    ) -> Result<Option<TreeSize>, Failure> {
        if let Some(position) = anchors.unfilled() {
            self.cuts.asked = false;
            if !self.fill(anchors, position)? {
                return Ok(None);
            }
        }
        if let Some(last) = self.unrecorded_anchor() {
            return Ok(Some(last.size()));
        }
        if anchors.refused.swap(false, Ordering::AcqRel) {
            self.cuts.asked = false;
            self.due_at = Instant::now() + FULL_DISK_PAUSE;
        }
        if self.slot_is_due(anchors) && (draining || Instant::now() >= self.next_cut_at()) {
            self.ask_for_slot(draining)?;
        }
        Ok(None)
    }

    /// When [`Publisher::anchored_cut`] has something to do, if nobody wakes the publisher before.
    pub(crate) fn slot_at(&self, anchors: &Anchors, draining: bool) -> Option<Instant> {
        match self.cuts.waits_since {
            Some(since) if anchors.unfilled().is_some() => since.checked_add(anchors.timeout),
            _ if !self.slot_is_due(anchors) => None,
            _ if draining => Some(Instant::now()),
            _ => (!self.cuts.asked).then(|| self.next_cut_at()),
        }
    }

    /// A checkpoint is recorded: the index at its anchor may become durable.
    pub(crate) fn anchor_is_recorded(&self) {
        if let (Some(anchors), Some(last)) = (&self.log.anchors, &self.cuts.last)
            && !last.is_void
        {
            let _the_indexer_has_ended = anchors.to_keep.send(last.position);
            self.log.progress.wake();
        }
    }

    fn unrecorded_anchor(&self) -> Option<&LastAnchor> {
        let recorded = self.recorded.as_ref().map_or(TreeSize::ZERO, |recorded| recorded.size);
        self.cuts.last.as_ref().filter(|last| last.size() > recorded)
    }

    /// FORMATS §2: an ordinary entry came since the last anchor, or that is void and the index has caught up since: then
    /// once, whatever becomes of it.
    fn slot_is_due(&self, anchors: &Anchors) -> bool {
        let sequenced = self.log.progress.sequenced();
        match &self.cuts.last {
            None => sequenced > TreeSize::ZERO,
            Some(last) if sequenced > last.size() => true,
            Some(last) => last.is_void && !last.follows_anchor && anchors.has_caught_up(sequenced),
        }
    }

    fn ask_for_slot(&mut self, draining: bool) -> Result<(), Failure> {
        if draining {
            // The sequencer has ended, and nobody else appends.
            return self.append_slot();
        }
        if !self.cuts.asked {
            self.cuts.asked = true;
            self.due_at = next_due(self.due_at, self.log.config.checkpoint_interval);
            self.log.pool.ask_for_slot(self.epoch);
        }
        Ok(())
    }

    fn append_slot(&self) -> Result<(), Failure> {
        let turn = self.log.state.turn(self.log.progress.sequenced())?;
        let mut batch = new_batch(turn.head())?;
        batch.slots.push(Slot::Anchor);
        let batch = Arc::new(batch);
        settle(self.log.state.as_ref(), turn, &batch, Some(self.epoch))?.map_err(StateError::Refused)?;
        self.log.committed(&batch, 0);
        Ok(())
    }

    /// Fixes the bytes of the slot: with the root, if the index has it; without, if it need not be waited for. Says
    /// whether they are fixed.
    fn fill(&mut self, anchors: &Anchors, position: LeafIndex) -> Result<bool, Failure> {
        let since = *self.cuts.waits_since.get_or_insert_with(Instant::now);
        let reached = anchors.reached(position);
        let why_void = match &reached {
            Some(_) => None,
            None => match self.why_void(anchors, since) {
                None => return Ok(false),
                why => why,
            },
        };
        let root = reached.as_ref().map(|revision| revision.root());
        let entry = anchor(anchors.map_fn.name(), root.as_ref(), TreeSize(position.0));
        self.log.state.fill(self.epoch, position, Bytes::from(entry))?;
        let before = self.cuts.last;
        let follows_anchor = before.is_some_and(|last| last.size().0 == position.0);
        self.cuts.last = Some(LastAnchor { position, is_void: root.is_none(), follows_anchor });
        self.cuts.waits_since = None;
        anchors.last_is_void.store(root.is_none(), Ordering::Release);
        anchors.unfilled.store(0, Ordering::Release);
        anchors.account.filled(position, why_void.as_deref());
        if let Some(revision) = reached {
            self.log.served.anchored(position, revision);
        }
        Ok(true)
    }

    fn why_void(&self, anchors: &Anchors, since: Instant) -> Option<Arc<str>> {
        if let Some(why) = &anchors.told.lock().hopeless {
            return Some(Arc::clone(why));
        }
        if since.elapsed() >= anchors.timeout {
            return Some("the index did not come so far in time".into());
        }
        let half = self.log.config.backlog_max_bytes / 2;
        (self.log.progress.backlog_bytes() > half)
            .then(|| "the backlog is half full, and integration waits for the index".into())
    }
}
