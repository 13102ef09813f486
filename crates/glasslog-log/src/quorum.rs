//! Between *recorded* and *public*: cosignatures are gathered to the quorum, and what witnesses know of our past is heeded.

use std::time::Instant;

use bytes::Bytes;
use glasslog_client::witness::with_cosignatures;
use glasslog_core::{
    TreeSize,
    checkpoint::Checkpoint,
    cosignature::cosign,
    note::{Note, Signature},
};
use glasslog_store::log_state::StateError;

use crate::{
    Failure,
    publish::Publisher,
    sign::cosignatures,
    witnesses::{Contradiction, Offer, Panel, Tally, unix_time_s},
};

/// What the publisher knows of cosignatures.
#[derive(Default)]
pub(crate) struct Quorum {
    /// The reports that `tally` was made from.
    reports: Option<u64>,
    tally: Option<Tally>,
    /// Whether the public checkpoint has the policy's quorum by itself: its cosignatures may be older than this process.
    public_is_filled: bool,
    /// When the recorded checkpoint was first offered.
    offered_at: Option<Instant>,
    /// Whether its wait had ended when it was last looked at.
    saw_end_of_wait: bool,
    own: Option<OwnCosignatures>,
    /// Whether anything has changed since the public checkpoint was last put in place.
    pub(crate) is_new: bool,
    /// The newest time that a cosigner of our own has signed for, in seconds since 1970.
    own_time_s: u64,
}

/// A recorded checkpoint: signed by the log alone.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub(crate) size: TreeSize,
    pub(crate) text: String,
    pub(crate) note: Bytes,
}

/// A public checkpoint, with its cosignatures.
pub(crate) struct Public {
    pub(crate) size: TreeSize,
    pub(crate) text: String,
    pub(crate) note: Bytes,
}

/// Lines of the log's own cosigners.
struct OwnCosignatures {
    text: String,
    lines: Vec<Signature>,
    signed_at: Instant,
}

impl Quorum {
    /// At a start: what an own cosigner has said before, as `public` shows, must not be taken back by a clock that went back.
    pub(crate) fn after(public: Option<&Public>, origin: &str) -> Quorum {
        let lines = public.and_then(|public| cosignatures(&public.note).ok()).unwrap_or_default();
        let own = lines.iter().filter(|line| line.name() == origin);
        let times = own.filter_map(|line| line.bytes().first_chunk().map(|time| u64::from_be_bytes(*time)));
        Quorum { own_time_s: times.max().unwrap_or(0), ..Quorum::default() }
    }
}

impl Publisher {
    /// Lets the witnesses be asked about the recorded checkpoint.
    pub(crate) fn offer(&mut self) -> Result<(), Failure> {
        self.quorum.offered_at = Some(Instant::now());
        self.quorum.saw_end_of_wait = false;
        self.quorum.is_new = true;
        if let (Some(panel), Some(recorded)) = (&self.log.panel, &self.recorded) {
            let Recorded { size, text, note } = recorded.clone();
            let checkpoint = Checkpoint::parse(&text).map_err(|why| unreadable(size, &why))?;
            panel.offer(Offer { checkpoint, text, note });
        }
        Ok(())
    }

    /// Whether anything may be signed: nothing, before a quorum has confirmed what this process goes on from.
    pub(crate) fn may_sign(&self) -> bool {
        self.log.progress.unconfirmed().is_none()
    }

    /// When the next checkpoint may be cut. One is in flight: the next comes when the last recorded one has its quorum, or
    /// has waited for it long enough; a budget of a witness that the quorum needs stretches the interval.
    pub(crate) fn next_cut_at(&self) -> Instant {
        if self.is_public() {
            return self.due_at;
        }
        let held_up_until = self.quorum.tally.as_ref().and_then(|tally| tally.held_up_until);
        [Some(self.due_at), self.wait_ends_at(), held_up_until]
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(self.due_at)
    }

    /// Whether the recorded checkpoint has waited for its quorum as long as a checkpoint may.
    pub(crate) fn has_waited(&self) -> bool {
        self.wait_ends_at().is_none_or(|end| end <= Instant::now())
    }

    fn wait_ends_at(&self) -> Option<Instant> {
        let panel = self.log.panel.as_ref()?;
        self.quorum.offered_at?.checked_add(panel.timeout())
    }

    /// Moments at which something is to be done though nobody reports: the end of the wait, a signature of our own.
    pub(crate) fn quorum_deadlines(&self) -> impl Iterator<Item = Instant> {
        let end_of_wait = self.wait_ends_at().filter(|_| !self.quorum.saw_end_of_wait);
        deadlines(self.is_public(), end_of_wait, self.own_refresh_at())
    }

    /// The recorded checkpoint as it may be public now, with its cosignatures; `None` while it has no quorum, and when it is
    /// public already and nothing is new.
    pub(crate) fn with_quorum(&mut self, recorded: &Recorded) -> Result<Option<Bytes>, Failure> {
        self.look_at_reports()?;
        let (is_public, has_waited) = (self.is_public(), self.has_waited());
        self.quorum.saw_end_of_wait = has_waited;
        self.open_the_gate(has_waited);
        let filled = self.quorum.tally.as_ref().is_none_or(|tally| tally.filled);
        // DESIGN §3, Publish: of a new log, size 0 becomes public without a quorum, and no other checkpoint does.
        let is_first = recorded.size == TreeSize::ZERO && self.public.is_none();
        // Until it has waited, what was said of the checkpoint before it holds.
        let is_there = filled || (is_public && self.quorum.public_is_filled);
        if is_there || has_waited {
            self.note_quorum(is_there);
        }
        if !(filled || is_public || (is_first && has_waited)) {
            return Ok(None);
        }
        self.sign_for_ourselves(recorded)?;
        if is_public && !self.quorum.is_new {
            return Ok(None);
        }
        let own = self.quorum.own.iter().flat_map(|own| &own.lines);
        let others = self.quorum.tally.iter().flat_map(|tally| &tally.lines);
        // What is public keeps its cosignatures: a refreshed one replaces that key's.
        let kept = match &self.public {
            Some(public) if is_public => cosignatures(&public.note),
            _ => Ok(Vec::new()),
        };
        let unreadable = |why| unreadable(recorded.size, &why);
        let kept = kept.map_err(unreadable)?;
        let note =
            with_cosignatures(&recorded.note, kept.iter().chain(own).chain(others)).map_err(unreadable)?;
        self.quorum.is_new = self.public.as_ref().is_none_or(|public| public.note != note);
        Ok(self.quorum.is_new.then(|| Bytes::from(note)))
    }

    /// Takes in what witnesses have said since the last look.
    fn look_at_reports(&mut self) -> Result<(), Failure> {
        let Some(panel) = &self.log.panel else { return Ok(()) };
        let reports = panel.reports();
        if self.quorum.reports == Some(reports) {
            return Ok(());
        }
        let tally = panel.tally();
        if let Some(contradiction) = &tally.contradiction {
            self.heed(contradiction)?;
        }
        self.quorum.public_is_filled = tally.filled
            || self.public.as_ref().filter(|_| self.is_public()).is_some_and(|public| {
                let keys = self.log.config.signers.iter().map(|signer| signer.verifier_key().clone());
                panel.is_filled_by(&public.note, &self.log.config.origin, &keys.collect::<Vec<_>>())
            });
        (self.quorum.reports, self.quorum.tally) = (Some(reports), Some(tally));
        self.quorum.is_new = true;
        Ok(())
    }

    /// Lets the log sign once a quorum has confirmed what it goes on from, and everyone else has had the time to contradict: one
    /// witness may hold a checkpoint, offered when the others were away, that no quorum has seen.
    fn open_the_gate(&self, has_waited: bool) {
        let confirmed = self
            .quorum
            .tally
            .as_ref()
            .is_some_and(|tally| tally.confirmed && (tally.all_heard || has_waited));
        if confirmed && !self.may_sign() {
            tracing::info!("a quorum of witnesses has confirmed the last recorded checkpoint");
            self.log.progress.set_unconfirmed(false);
        }
    }

    /// A witness knows of something else: either another process has gone on, or this state is behind.
    fn heed(&self, contradiction: &Contradiction) -> Result<(), Failure> {
        let recorded = self.log.state.view()?.recorded.map(|recorded| recorded.size);
        if recorded > self.recorded.as_ref().map(|recorded| recorded.size) {
            return Err(Failure::State(StateError::Fenced));
        }
        if contradiction.decisive {
            return Err(Failure::Behind { evidence: contradiction.what.clone() });
        }
        Ok(())
    }

    /// Says it loudly when the quorum is lost, and when it is back.
    fn note_quorum(&self, there: bool) {
        let was_missing = self.log.progress.set_without_quorum(!there);
        match (&self.log.panel, was_missing, there) {
            (Some(panel), false, false) => tracing::error!(
                why = panel.troubles(),
                "no quorum of witnesses: nothing is published until there is one; entries are accepted all the same"
            ),
            (_, true, true) => tracing::info!("the quorum of witnesses is there again"),
            _ => {}
        }
    }

    /// Lets the log's own cosigners sign a checkpoint that becomes public, and again when their time is too old.
    fn sign_for_ourselves(&mut self, recorded: &Recorded) -> Result<(), Failure> {
        let cosigners = &self.log.config.cosigners;
        let is_of_this = self.quorum.own.as_ref().is_some_and(|own| own.text == recorded.text);
        let is_old = self.own_refresh_at().is_some_and(|at| at <= Instant::now());
        if cosigners.is_empty() || (is_of_this && !is_old) {
            return Ok(());
        }
        // A clock that was set back must not take a statement back.
        let time_s = unix_time_s().max(self.quorum.own_time_s);
        let lines = cosigners.iter().map(|signer| cosign(&recorded.text, time_s, signer.as_ref()));
        let lines = lines.collect::<Result<_, _>>().map_err(Failure::Sign)?;
        self.quorum.own_time_s = time_s;
        self.quorum.own =
            Some(OwnCosignatures { text: recorded.text.clone(), lines, signed_at: Instant::now() });
        self.quorum.is_new = true;
        Ok(())
    }

    fn own_refresh_at(&self) -> Option<Instant> {
        self.quorum.own.as_ref()?.signed_at.checked_add(self.log.config.refresh_interval)
    }
}

impl Recorded {
    /// What the log state has recorded.
    pub(crate) fn of(sized: glasslog_store::log_state::SizedNote) -> Result<Recorded, Failure> {
        let note = Note::parse(&sized.note).map_err(|why| unreadable(sized.size, &why))?;
        Ok(Recorded { size: sized.size, text: note.text().to_owned(), note: sized.note })
    }
}

impl Public {
    /// What stands at the public path.
    pub(crate) fn of(note: Bytes) -> Result<Public, Failure> {
        let unreadable = |why: &dyn std::fmt::Display| {
            Failure::Contradiction(format!("the public checkpoint cannot be read: {why}"))
        };
        let text = Note::parse(&note).map_err(|why| unreadable(&why))?.text().to_owned();
        let size = Checkpoint::parse(&text).map_err(|why| unreadable(&why))?.size;
        Ok(Public { size, text, note })
    }
}

/// Sets the gate of the start: with witnesses, nothing is acknowledged before a quorum has confirmed.
pub(crate) fn close_the_gate(
    panel: Option<&Panel>,
    start_unconfirmed: bool,
    progress: &crate::shared::Counters,
) {
    let Some(panel) = panel else { return };
    if start_unconfirmed {
        tracing::warn!(
            "started unconfirmed: if this state is behind what witnesses have seen, the log forks with the next checkpoint"
        );
    } else {
        progress.set_unconfirmed(!panel.tally().confirmed);
    }
}

/// When the publisher is to look again: never a moment that is past and at which nothing would be done, or it would not rest.
/// The end of the wait counts until it has been seen, since it may pass between a look and the rest that follows.
fn deadlines(
    is_public: bool,
    unseen_end_of_wait: Option<Instant>,
    own_refresh_at: Option<Instant>,
) -> impl Iterator<Item = Instant> {
    // Nothing of ours signs what is not public.
    unseen_end_of_wait.into_iter().chain(own_refresh_at.filter(|_| is_public))
}

fn unreadable(size: TreeSize, why: &dyn std::fmt::Display) -> Failure {
    Failure::Contradiction(format!("the recorded checkpoint of size {size} cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A log with a cosigner of its own and no quorum must rest, however long ago it signed for itself; and an end of the wait
    /// that passed just after it was looked for must still wake the publisher.
    #[test]
    fn the_publisher_rests_until_something_can_be_done() {
        let now = Instant::now();
        let (past, later) =
            (now.checked_sub(Duration::from_millis(1)).unwrap(), now + Duration::from_secs(9));
        let next = |is_public, end, own| deadlines(is_public, end, own).min();
        assert_eq!(next(false, None, Some(past)), None, "nothing of ours is signed while nothing is public");
        assert_eq!(next(false, Some(later), Some(past)), Some(later));
        assert_eq!(next(false, Some(past), None), Some(past), "nobody has seen it");
        assert_eq!(next(true, None, Some(past)), Some(past));
        assert_eq!(next(true, None, None), None);
    }
}
