//! The thread that feeds the index: every sequenced slot, in order, ahead of the tree; and the thread that works for it.
//!
//! The index is derived (invariant 9) and nobody waits for it: what is wrong with its files ends in building it again, a full
//! disk in waiting, both with void anchors meanwhile. Only an index that was built from nothing and contradicts an anchor stops
//! the log (invariant 7).

mod build;
mod disavowed;

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use glasslog_core::{LeafIndex, TreeSize, anchor::parse_anchor};
use glasslog_index::{Index, Keeper, Revision};
use glasslog_store::{
    log_state::Slot,
    runs::{Cancel, MergeRate},
};
use glasslog_vindex::{is_reserved, keys_of};

use crate::{
    Failure,
    anchors::{Anchors, IndexConfig, start::Ready, status::OfIndex},
    shared::{Shared, chain},
    slots::{Read, Slots},
    workers::{Worker, join, spawn},
};
pub(crate) use build::refuse_right_anchors;
pub use build::{BuiltIndex, rebuild_index};
use disavowed::Disavowed;

/// So many entries behind, a checkpoint need not wait: the index comes too late anyway.
const FAR_BEHIND: u64 = 1 << 16;
/// An index that has been full for so long is not waiting for a merge: there is nothing that could become durable.
const FULL_FOR: Duration = Duration::from_secs(60);
/// How long to wait before a full disk, or one that cannot be read, is tried again; then twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);
/// But no longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often an index that is full looks whether it still is, and the keeper whether it is to end.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Merges write at most so much, so that no barrier finds a disk full of dirt before it (storage.md §5).
const MERGE_BYTES_PER_S: u64 = 40 << 20;

/// Follows the log.
pub(crate) struct Indexer {
    log: Arc<Shared>,
    anchors: Arc<Anchors>,
    slots: Slots,
    index: Index,
    /// The next slot to look at. [`Index::next`] stays behind it at an anchor, which maps to nothing, until an entry follows:
    /// so the index ends at an anchor when the log does.
    at: TreeSize,
    /// Anchors whose checkpoint is not recorded yet, and of which a revision was taken.
    taken: Vec<LeafIndex>,
    recorded_anchors: mpsc::Receiver<LeafIndex>,
    /// Whether all of it was built by this process.
    fresh: bool,
    /// Why it is to be emptied.
    doubt: Option<String>,
    disavowed: Disavowed,
    unmapped: u64,
    bulk_from: u64,
    full_since: Option<Instant>,
    patience: Patience,
    cancel: Arc<Cancel>,
}

/// How long to wait after a failure. What is tried again begins anew, and until it fails it takes the room that the log itself
/// needs: that must not go on without a rest.
struct Patience(Duration);

impl Default for Patience {
    fn default() -> Patience {
        Patience(PAUSE)
    }
}

impl Patience {
    fn next(&mut self) -> Duration {
        let longer = (self.0 * 2).min(LONGEST_PAUSE);
        std::mem::replace(&mut self.0, longer)
    }
}

/// The threads of an index.
pub(crate) struct IndexWorkers {
    indexer: Worker<Index>,
    keeper: Worker<()>,
    anchors: Arc<Anchors>,
    cancel: Arc<Cancel>,
}

impl IndexWorkers {
    pub(crate) fn start(log: &Arc<Shared>, ready: Ready) -> Result<IndexWorkers, Failure> {
        let Ready { anchors, index, keeper, recorded_anchors } = ready;
        let cancel = Arc::new(Cancel::default());
        let indexer = Indexer {
            slots: Slots::of(log),
            at: index.next(),
            fresh: index.next() == TreeSize::ZERO,
            index,
            recorded_anchors,
            cancel: Arc::clone(&cancel),
            log: Arc::clone(log),
            anchors: Arc::clone(&anchors),
            taken: Vec::new(),
            doubt: None,
            disavowed: Disavowed::default(),
            unmapped: 0,
            bulk_from: log.config.index.as_ref().map_or(IndexConfig::BULK_FROM, |index| index.bulk_from),
            full_since: None,
            patience: Patience::default(),
        };
        let (for_keeper, its_anchors, its_cancel) =
            (Arc::clone(log), Arc::clone(&anchors), Arc::clone(&cancel));
        Ok(IndexWorkers {
            indexer: spawn("indexer", log, move || indexer.run())?,
            keeper: spawn("index keeper", log, move || {
                keep(&for_keeper, &its_anchors, &keeper, &its_cancel)
            })?,
            anchors,
            cancel,
        })
    }

    /// Lets the index come to the end of the log, which no longer grows, and closes it there. `None` if a thread has failed.
    pub(crate) fn stop(self, log: &Shared) -> Option<()> {
        let IndexWorkers { indexer, keeper, anchors, cancel } = self;
        anchors.end();
        if log.progress.stopped().is_some() || anchors.is_hopeless() {
            cancel.cancel();
        }
        log.progress.wake();
        let index = join(indexer);
        anchors.close();
        cancel.cancel();
        log.progress.wake();
        join(keeper)?;
        let index = index?;
        if log.progress.stopped().is_none()
            && let Err(why) = index.close()
        {
            tracing::warn!(error = %chain(&why), "the next start has a part of the index to build again");
        }
        Some(())
    }
}

impl Indexer {
    /// Feeds the index until the log has ended or stopped.
    fn run(mut self) -> Result<Index, Failure> {
        if self.at > TreeSize::ZERO
            && let Ok(revision) = self.index.revision()
        {
            self.log.served.hint(revision);
        }
        loop {
            let seen = self.log.progress.wakes_seen();
            if self.log.progress.stopped().is_some() {
                return Ok(self.index);
            }
            let ended = self.anchors.ended();
            match self.step() {
                Ok(more) => {
                    self.patience = Patience::default();
                    if more && !(ended && self.anchors.is_hopeless()) {
                        continue;
                    }
                }
                Err(failure) => {
                    let pause = self.heed(failure)?;
                    self.log.progress.pause_unless(pause, || self.anchors.ended());
                    if !ended {
                        continue;
                    }
                }
            }
            if ended {
                return Ok(self.index);
            }
            let look_again = self.index.is_full().then(|| Instant::now() + LOOK_AGAIN);
            self.log.progress.wait(seen, look_again);
        }
    }

    /// Takes in some slots: whether there may be more.
    fn step(&mut self) -> Result<bool, Failure> {
        let found = self.log.served.take_corruption().map(|why| why.to_string());
        if let Some(why) = found.or(self.anchors.take_corrupt()).or(self.doubt.take()) {
            self.start_over(why)?;
        }
        self.keep_what_is_recorded()?;
        let (recorded, sequenced) = (self.log.progress.recorded(), self.log.progress.sequenced());
        let behind = recorded.0.saturating_sub(self.at.0);
        // Asked each time: it has to see when the index is full no longer.
        let is_stuck = self.is_stuck();
        if behind >= self.bulk_from || (behind > 0 && is_stuck) {
            return self.take_in_bulk(recorded);
        }
        let lag = sequenced.0.saturating_sub(self.at.0);
        let why_not = if self.index.is_full() {
            Some("the index is full until some of it is written out")
        } else {
            (lag >= FAR_BEHIND).then_some("the index is far behind")
        };
        self.set_hopeless(why_not);
        if lag == 0 || self.index.is_full() {
            self.report();
            return Ok(false);
        }
        self.take_in(sequenced)?;
        self.report();
        Ok(true)
    }

    /// Whether the index is full and will remain so: nothing in it is anchored, for example because the log has had void anchors
    /// for very long.
    fn is_stuck(&mut self) -> bool {
        if !self.index.is_full() {
            self.full_since = None;
            return false;
        }
        self.full_since.get_or_insert_with(Instant::now).elapsed() >= FULL_FOR
    }

    /// Takes in what can be read at once, up to a doubt about the index.
    fn take_in(&mut self, sequenced: TreeSize) -> Result<(), Failure> {
        let log = Arc::clone(&self.log);
        match self.slots.read(self.at, || log.progress.recorded())? {
            Read::Batches(batches) => {
                let slots = batches.iter().flat_map(|batch| batch.indexed());
                for (index, slot) in slots.filter(|(index, _)| sequenced.contains(*index)) {
                    let take = |indexer: &mut Indexer| match slot {
                        Slot::Entry { bytes, .. } => indexer.take(index, bytes),
                        Slot::Anchor => indexer.come_to_slot(index),
                    };
                    self.advance(index, take)?;
                }
            }
            Read::Bundle(entries) => {
                for (index, entry) in &entries {
                    self.advance(*index, |indexer| indexer.take(*index, entry))?;
                }
            }
        }
        Ok(())
    }

    /// Goes over the slot at `index`, if that is the next one and the index is not in doubt.
    fn advance(
        &mut self,
        index: LeafIndex,
        take: impl FnOnce(&mut Indexer) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if index.0 != self.at.0 || self.doubt.is_some() {
            return Ok(());
        }
        take(self)?;
        self.at = TreeSize(index.0 + 1);
        Ok(())
    }

    /// Takes in the bytes at `index`.
    fn take(&mut self, index: LeafIndex, entry: &[u8]) -> Result<(), Failure> {
        if parse_anchor(entry).is_some() {
            return self.come_to_anchor(index, entry);
        }
        let keys = keys_of(self.anchors.map_fn.as_ref(), entry);
        // Anchors before it, which were not taken in yet.
        while self.index.next().0 < index.0 {
            self.index.apply(self.index.next().next_index(), &[])?;
        }
        self.index.apply(index, &keys)?;
        self.unmapped += u64::from(keys.is_empty() && !is_reserved(entry));
        Ok(())
    }

    /// Comes to a slot of the log state. One that is not filled is what the publisher waits for.
    fn come_to_slot(&mut self, position: LeafIndex) -> Result<(), Failure> {
        if self.log.state.filled(position)?.is_none() && self.anchors.unfilled() == Some(position) {
            let revision = self.revision(position)?;
            self.taken.push(position);
            self.anchors.reach(position, revision);
            self.log.progress.wake();
            return Ok(());
        }
        let entry = self.slots.at(position, || self.log.progress.recorded())?.ok_or_else(|| {
            Failure::Contradiction(format!(
                "the bytes of the anchor at index {position} are nowhere to be found"
            ))
        })?;
        self.come_to_anchor(position, &entry)
    }

    /// Comes to an anchor whose bytes are fixed: the index must say the same.
    fn come_to_anchor(&mut self, position: LeafIndex, entry: &[u8]) -> Result<(), Failure> {
        let Some(anchored) = parse_anchor(entry) else {
            return Err(Failure::Contradiction(format!("the entry at index {position} is no anchor")));
        };
        let Some(root) = anchored.root else { return Ok(()) };
        let revision = self.revision(position)?;
        let same_size = anchored.tree_size.0 == position.0;
        if same_size && revision.root() == root && anchored.map_fn == self.anchors.map_fn.name() {
            self.taken.push(position);
            if self.log.progress.recorded().contains(position) {
                self.keep(position)?;
            }
            self.anchors.account.matched(position);
            self.log.served.anchored(position, revision);
            return Ok(());
        }
        if self.disavowed.contains(&self.log, &self.slots, position)? {
            return Ok(());
        }
        let difference = Failure::WrongAnchor { position, anchored: root, recomputed: revision.root() };
        if self.fresh {
            return Err(difference);
        }
        // First the index on disk is suspected, not what the log has said.
        self.doubt = Some(format!("it contradicts the anchor at index {position}"));
        Ok(())
    }

    /// The index over everything before `position`.
    fn revision(&mut self, position: LeafIndex) -> Result<Arc<Revision>, Failure> {
        while self.index.next().0 < position.0 {
            self.index.apply(self.index.next().next_index(), &[])?;
        }
        Ok(self.index.revision()?)
    }

    fn keep_what_is_recorded(&mut self) -> Result<(), Failure> {
        while let Ok(position) = self.recorded_anchors.try_recv() {
            self.keep(position)?;
        }
        Ok(())
    }

    /// The checkpoint over the anchor at `position` is recorded, so the index there may become durable.
    fn keep(&mut self, position: LeafIndex) -> Result<(), Failure> {
        if self.taken.contains(&position) {
            self.taken.retain(|taken| taken.0 > position.0);
            self.index.keep(TreeSize(position.0))?;
        }
        Ok(())
    }

    /// What is to be done about a failure, and when to try again.
    fn heed(&mut self, failure: Failure) -> Result<Duration, Failure> {
        let why = chain(&failure);
        match &failure {
            Failure::Index(error) if error.is_corrupt() => {
                self.doubt.get_or_insert(why);
                self.set_hopeless(Some("the index is being built again"));
                return Ok(Duration::ZERO);
            }
            _ if failure.is_full_disk() => self.set_hopeless(Some("the disk is full")),
            _ if failure.is_passing() => self.set_hopeless(Some("the index cannot be read or written")),
            _ => return Err(failure),
        }
        tracing::warn!(error = why, "the index waits, anchors are void meanwhile");
        Ok(self.patience.next())
    }

    /// Why slots need not wait for the index, if they need not. One that waits hears of it.
    fn set_hopeless(&self, why: Option<&str>) {
        if self.anchors.set_hopeless(why) {
            self.log.progress.wake();
        }
    }

    /// Forgets everything, to build it again from the entries.
    fn start_over(&mut self, why: String) -> Result<(), Failure> {
        tracing::error!(
            why,
            "the index is emptied and built again; the log goes on, with void anchors meanwhile"
        );
        self.set_hopeless(Some("the index is being built again"));
        self.anchors.forget_reached();
        self.log.served.withdraw(&why);
        self.taken.clear();
        // What was looked through for them lies behind what is read again.
        self.disavowed = Disavowed::default();
        if let Err(error) = self.index.reset() {
            self.doubt = Some(why);
            return Err(error.into());
        }
        self.anchors.account.emptied();
        (self.at, self.fresh, self.unmapped) = (self.index.next(), true, 0);
        Ok(())
    }

    /// Says how far the index is, and wakes the publisher if it waits for that.
    fn report(&self) {
        self.anchors.account.set_index(OfIndex {
            next: self.at,
            durable: self.index.durable().map_or(TreeSize::ZERO, |durable| durable.size),
            full: self.index.is_full(),
            unmapped: self.unmapped,
            stats: self.index.stats(),
        });
        if self.anchors.set_indexed(self.at) {
            self.log.progress.wake();
        }
    }
}

/// Works for the index in the background until it is cancelled.
fn keep(log: &Shared, anchors: &Anchors, keeper: &Keeper, cancel: &Cancel) -> Result<(), Failure> {
    let mut patience = Patience::default();
    while log.progress.stopped().is_none() && !anchors.closing() {
        match keeper.step(MergeRate::BytesPerSecond(MERGE_BYTES_PER_S), cancel).map_err(Failure::from) {
            Ok(true) => {
                if anchors.account.set_no_room(false) {
                    tracing::info!("the index is written out again");
                }
                patience = Patience::default();
                // The indexer says how far the index is, also if no entry follows.
                log.progress.wake();
                continue;
            }
            Ok(false) => {
                keeper.wait(LOOK_AGAIN);
                continue;
            }
            Err(Failure::Index(error)) if error.is_corrupt() => {
                anchors.is_corrupt(chain(&error));
                log.progress.wake();
            }
            Err(failure) if failure.is_full_disk() || failure.is_passing() => {
                let is_full = failure.is_full_disk();
                if anchors.account.set_no_room(is_full) || !is_full {
                    tracing::warn!(error = %chain(&failure), "the index is not written out for now");
                }
            }
            Err(failure) => return Err(failure),
        }
        log.progress.pause_unless(patience.next(), || anchors.closing());
    }
    Ok(())
}
