//! Step 4, *publish*: cut, sign, record, make public.

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

use crate::{Failure, housekeeping::Chore, integrate::Integrator, sequence, shared::Shared};

/// How long to wait before a full disk is tried again.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(1);

/// The one thread that integrates and signs. Holds the lease.
pub(crate) struct Publisher {
    pub(crate) log: Arc<Shared>,
    pub(crate) integrator: Integrator,
    pub(crate) epoch: Epoch,
    /// The last recorded checkpoint.
    pub(crate) recorded: Option<SizedNote>,
    /// What stands at the public path.
    pub(crate) public: Option<Bytes>,
    /// When the next checkpoint may be made.
    pub(crate) due_at: Instant,
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
            let mut look_again_at = match self.step(draining) {
                Ok(()) => self.behind().then_some(self.due_at),
                // Invariant 7: a write that fails before its commit is tried again; adds go on while there is room.
                Err(full) if full.is_full_disk() && !draining => {
                    tracing::warn!(error = %crate::shared::chain(&full), "integration waits for disk space");
                    self.log.progress.pause(FULL_DISK_PAUSE);
                    continue;
                }
                Err(fatal) => return Err(fatal),
            };
            if draining {
                if !self.behind() {
                    return Ok(());
                }
                look_again_at = Some(Instant::now());
            }
            self.log.progress.wait(seen, look_again_at);
        }
    }

    /// What a start does before anything is acknowledged: the last recorded checkpoint is made public, unchanged; a new
    /// log records its first, of size 0. What is sequenced beyond it is left to the ordinary path (invariant 5).
    pub(crate) fn resume(&mut self) -> Result<(), Failure> {
        if self.recorded.is_none() {
            self.record(TreeSize::ZERO)?;
        }
        self.sign_by_todays_keys()?;
        match self.recorded.clone() {
            // The file was replaced and the process died: what only this process knows is still to be said.
            Some(recorded) if self.public.as_ref() == Some(&recorded.note) => self.announce(recorded),
            _ => self.make_public(),
        }
    }

    /// One look at what there is to do.
    fn step(&mut self, draining: bool) -> Result<(), Failure> {
        self.integrator.integrate_to(self.log.progress.sequenced())?;
        if self.behind() && (draining || Instant::now() >= self.due_at) {
            self.due_at = next_due(self.due_at, self.log.config.checkpoint_interval);
            self.record(sequence::cut(&self.log))?;
        }
        self.make_public()
    }

    /// Whether entries are sequenced that no recorded checkpoint covers.
    fn behind(&self) -> bool {
        self.recorded.as_ref().is_none_or(|recorded| recorded.size < self.log.progress.sequenced())
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
        let note = note::sign(&checkpoint.to_text(), &signers).map_err(Failure::Sign)?;
        let recorded = SizedNote { size: checkpoint.size, note: Bytes::from(note) };
        let previous = self.recorded.as_ref().map(|previous| previous.size);
        self.log.state.record_checkpoint(self.epoch, previous, recorded.clone())?;
        self.log.progress.set_recorded(recorded.size);
        self.recorded = Some(recorded);
        self.trim()
    }

    /// Lets go of batches whose every entry lies elsewhere, durably (invariant 11).
    fn trim(&mut self) -> Result<(), Failure> {
        let objects_durable = self.integrator.size();
        let trim_below = objects_durable.min(self.log.duplicates.covered());
        Ok(self.log.state.advance(self.epoch, Watermarks { objects_durable, trim_below })?)
    }

    /// Puts the recorded checkpoint at the public path, unless it stands there.
    fn make_public(&mut self) -> Result<(), Failure> {
        let Some(recorded) = self.recorded.clone() else { return Ok(()) };
        if self.public.as_ref() == Some(&recorded.note) {
            return Ok(());
        }
        self.log.objects.swap_checkpoint(self.public.as_deref(), &recorded.note)?;
        self.public = Some(recorded.note.clone());
        self.announce(recorded)
    }

    /// Says that a checkpoint is public: to the counters, the housekeeper, and everyone who waits for publication.
    fn announce(&mut self, recorded: SizedNote) -> Result<(), Failure> {
        let paths = Edge::objects_at(recorded.size).map(|path| path.to_string()).collect();
        let _the_housekeeper_has_ended = self.chores.send(Chore::Published { paths });
        self.log.progress.set_published(recorded.size);
        Ok(self.log.state.record_public(self.epoch, recorded)?)
    }
}

/// An interval after the moment the last checkpoint was *due*, so that intervals do not stretch by what publishing
/// costs; after a pause, an interval from now.
fn next_due(last: Instant, interval: Duration) -> Instant {
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
            _ => false,
        }
    }
}
