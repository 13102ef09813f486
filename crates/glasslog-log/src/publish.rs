//! Step 5, *publish*: cut, sign, record, offer to witnesses (`quorum`), make public.

use std::{
    io::ErrorKind,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use glasslog_core::{TreeSize, checkpoint::Checkpoint, note, tile::Edge};
use glasslog_store::{
    log_state::{Epoch, SizedNote, StateError, Watermarks},
    objects::ObjectError,
    runs::RunError,
};

use crate::{
    Failure,
    anchors::Cuts,
    housekeeping::Chore,
    integrate::Integrator,
    quorum::{Public, Quorum, Recorded},
    shared::Shared,
};

/// How long to wait before a full disk is tried again.
pub(crate) const FULL_DISK_PAUSE: Duration = Duration::from_secs(1);

/// The one thread that integrates and signs. Holds the lease.
pub(crate) struct Publisher {
    pub(crate) log: Arc<Shared>,
    pub(crate) integrator: Integrator,
    pub(crate) epoch: Epoch,
    /// The last recorded checkpoint.
    pub(crate) recorded: Option<Recorded>,
    /// What stands at the public path.
    pub(crate) public: Option<Public>,
    /// When the next checkpoint may be made.
    pub(crate) due_at: Instant,
    /// What witnesses have said of the recorded checkpoint.
    pub(crate) quorum: Quorum,
    /// The anchors that checkpoints end in.
    pub(crate) cuts: Cuts,
    /// Superseded partial objects go there.
    pub(crate) chores: std::sync::mpsc::Sender<Chore>,
}

impl Publisher {
    /// Integrates and publishes until the log is drained.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        loop {
            let seen = self.log.progress.wakes_seen();
            if self.log.progress.stopped().is_some() {
                return Ok(());
            }
            let draining = self.log.progress.draining();
            match self.step(draining) {
                Ok(()) => {}
                // Invariant 7: a write that fails before its commit is tried again; adds go on while there is room.
                Err(full) if full.is_full_disk() && !draining => {
                    tracing::warn!(error = %crate::shared::chain(&full), "integration waits for disk space");
                    self.log.progress.pause(FULL_DISK_PAUSE);
                    continue;
                }
                Err(fatal) => return Err(fatal),
            }
            if draining && self.is_drained() {
                return Ok(());
            }
            self.log.progress.wait(seen, self.look_again_at(draining));
        }
    }

    /// What a start does before anything is acknowledged: the last recorded checkpoint is offered or made public,
    /// unchanged; a new log records its first, of size 0. What is sequenced beyond it is left to the ordinary path
    /// (invariant 5).
    pub(crate) fn resume(&mut self) -> Result<(), Failure> {
        if self.recorded.is_none() {
            self.record(TreeSize::ZERO)?;
        } else {
            self.sign_by_todays_keys()?;
            self.offer()?;
        }
        // The file was replaced and the process died: what only this process knows is still to be said.
        if let Some(public) = &self.public {
            self.announce(SizedNote { size: public.size, note: public.note.clone() })?;
        }
        self.make_public()
    }

    /// One look at what there is to do.
    fn step(&mut self, draining: bool) -> Result<(), Failure> {
        self.integrator.integrate_to(self.integrable())?;
        self.make_public()?;
        if self.may_sign()
            && let Some(cut) = self.cut(draining)?
        {
            self.record(cut)?;
            self.make_public()?;
        }
        Ok(())
    }

    /// The place where the next checkpoint ends, when it is time for one: with an index, behind an anchor that the sequencer
    /// reserved a slot for; else behind every entry sequenced so far. Never what merely happens to be integrated.
    fn cut(&mut self, draining: bool) -> Result<Option<TreeSize>, Failure> {
        if let Some(anchors) = self.log.anchors.clone() {
            return self.anchored_cut(&anchors, draining);
        }
        if !self.behind() || !(draining || Instant::now() >= self.next_cut_at()) {
            return Ok(None);
        }
        self.due_at = next_due(self.due_at, self.log.config.checkpoint_interval);
        Ok(Some(self.log.progress.sequenced()))
    }

    /// Whether entries are sequenced that no recorded checkpoint covers.
    fn behind(&self) -> bool {
        self.recorded.as_ref().is_none_or(|recorded| recorded.size < self.log.progress.sequenced())
    }

    /// Whether the recorded checkpoint is the public one.
    pub(crate) fn is_public(&self) -> bool {
        let recorded = self.recorded.as_ref().map(|recorded| &recorded.text);
        recorded == self.public.as_ref().map(|public| &public.text)
    }

    /// Whether nothing is left to be done that could be done.
    fn is_drained(&self) -> bool {
        let done = !self.behind() && (self.is_public() || self.has_waited());
        done || !self.may_sign()
    }

    /// When to look again, if nobody reports before.
    fn look_again_at(&self, draining: bool) -> Option<Instant> {
        let cut_at = match &self.log.anchors {
            _ if !self.may_sign() => None,
            Some(anchors) => self.slot_at(anchors, draining),
            None => self.behind().then(|| if draining { Instant::now() } else { self.next_cut_at() }),
        };
        cut_at.into_iter().chain(self.quorum_deadlines()).min()
    }

    /// Makes everything below the cut durable, signs, and records the checkpoint before anyone sees it.
    fn record(&mut self, cut: TreeSize) -> Result<(), Failure> {
        self.integrator.integrate_to(cut)?;
        // Invariant 3: first the objects, then the record, and only then the world.
        let durable = self.integrator.barrier()?;
        self.log.state.advance(self.epoch, durable)?;
        let checkpoint =
            Checkpoint::new(&self.log.config.origin, self.integrator.size(), self.integrator.root());
        let signers: Vec<_> = self.log.config.signers.iter().map(AsRef::as_ref).collect();
        let text = checkpoint.to_text();
        let note = Bytes::from(note::sign(&text, &signers).map_err(Failure::Sign)?);
        let previous = self.recorded.as_ref().map(|previous| previous.size);
        let sized = SizedNote { size: checkpoint.size, note: note.clone() };
        self.log.state.record_checkpoint(self.epoch, previous, sized)?;
        self.log.progress.set_recorded(checkpoint.size);
        self.recorded = Some(Recorded { size: checkpoint.size, text, note });
        self.anchor_is_recorded();
        self.offer()?;
        self.trim()
    }

    /// Lets go of batches whose every entry lies elsewhere, durably (invariant 11).
    fn trim(&mut self) -> Result<(), Failure> {
        let objects_durable = self.integrator.size();
        let trim_below = objects_durable.min(self.log.duplicates.covered());
        Ok(self.log.state.advance(self.epoch, Watermarks { objects_durable, trim_below })?)
    }

    /// Puts the recorded checkpoint at the public path once it has its quorum, and again with what is cosigned later.
    fn make_public(&mut self) -> Result<(), Failure> {
        let Some(recorded) = self.recorded.clone() else { return Ok(()) };
        let Some(note) = self.with_quorum(&recorded)? else { return Ok(()) };
        let standing = self.public.as_ref().map(|public| &public.note);
        self.log.objects.swap_checkpoint(standing.map(Bytes::as_ref), &note)?;
        // Only now: on a full disk the same cosignatures are tried again.
        self.quorum.is_new = false;
        let Recorded { size, text, .. } = recorded;
        self.public = Some(Public { size, text, note: note.clone() });
        self.announce(SizedNote { size, note })
    }

    /// Says that a checkpoint is public: to the counters, the housekeeper, and everyone who waits for publication.
    fn announce(&mut self, public: SizedNote) -> Result<(), Failure> {
        let paths = Edge::objects_at(public.size).map(|path| path.to_string()).collect();
        let _the_housekeeper_has_ended = self.chores.send(Chore::Published { paths });
        self.log.progress.set_published(public.size);
        // Before whoever waits is woken: what they were told is public can be looked up.
        self.log.served.published(public.clone());
        Ok(self.log.state.record_public(self.epoch, public)?)
    }
}

/// An interval after the moment the last checkpoint was *due*, so that intervals do not stretch by what publishing
/// costs; after a pause, an interval from now.
pub(crate) fn next_due(last: Instant, interval: Duration) -> Instant {
    let now = Instant::now();
    Some(last + interval).filter(|next| *next > now).unwrap_or(now + interval)
}

impl Failure {
    /// Whether nothing was committed and nothing is in doubt: there is merely no room.
    pub(crate) fn is_full_disk(&self) -> bool {
        match self {
            Failure::Objects(ObjectError::Full { .. }) | Failure::Duplicates(RunError::Full { .. }) => true,
            Failure::State(StateError::Refused(why)) => {
                matches!(why.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
            }
            Failure::Index(error) => error.is_full_disk(),
            _ => false,
        }
    }
}
