//! Beside step 5: every witness has a thread that asks it for its cosignature of the newest recorded checkpoint.
//!
//! The publisher *offers* a checkpoint once it is recorded, and looks at the *tally* whenever somebody reports. A witness
//! that hangs, lies or asks to be left alone costs its own thread one time limit and a counted failure, and nobody else
//! anything. What a witness says about our past (`confirmed`, `contradicts`) is weighed by the publisher.

mod ask;
mod seat;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use glasslog_client::witness::{Cosigned, Refusal, Witness};
use glasslog_core::{
    checkpoint::{Checkpoint, VerifiedCheckpoint},
    note::{Signature, VerifierKey},
    policy::Policy,
};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::{Failure, Log, shared::Shared, workers::Worker};
pub use seat::WitnessStatus;
use seat::{Heard, Seat, Standing};

/// Who cosigns a log's checkpoints, and how they are asked.
pub struct Witnessing {
    /// Which witnesses, and how many of them must have cosigned before a checkpoint is public.
    pub policy: Policy,
    /// The same as a c2sp.org/tlog-policy text, for those who ask.
    pub policy_text: String,
    /// How they are reached.
    pub transport: Arc<dyn Transport>,
    /// How long one answer may take (`WITNESS_TIMEOUT`), and how long a checkpoint waits for its quorum before the next one is cut.
    pub timeout: Duration,
    /// After this time a cosignature of an idle log's checkpoint is asked for again, so that it says "still now".
    pub refresh_interval: Duration,
    /// Acknowledge and sign before a quorum has confirmed the last recorded checkpoint (`--start-unconfirmed`).
    pub start_unconfirmed: bool,
}

/// How witnesses are reached: HTTP, without following redirects. Calls block.
pub trait Transport: Send + Sync {
    /// Sends one request and reads its answer, up to [`glasslog_client::witness::MAX_ANSWER_BYTES`] of it, within `timeout`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unreachable`], [`Refusal::TooLong`].
    fn exchange(&self, request: Exchange<'_>, timeout: Duration) -> Result<Received, Refusal>;

    /// Lets every call that is under way, and every later one, fail at once: the log is ending.
    fn close(&self);
}

/// A request to a witness.
#[derive(Clone, Copy, Debug)]
pub enum Exchange<'a> {
    /// `POST` of an `add-checkpoint` body.
    Submit {
        /// The address.
        url: &'a str,
        /// The body.
        body: &'a [u8],
    },
    /// `GET` of what a witness shows of a log.
    Look {
        /// The address.
        url: &'a str,
    },
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// The status code.
    pub status: u16,
    /// `Content-Type`; empty if there is none.
    pub content_type: String,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

impl Log {
    /// The witness policy in force, as a c2sp.org/tlog-policy text; `None` if no witness is asked.
    #[must_use]
    pub fn policy_text(&self) -> Option<Arc<str>> {
        self.shared.panel.as_ref().map(Panel::policy_text)
    }

    /// Each witness that is asked: what it holds, and what it answered.
    #[must_use]
    pub fn witnesses(&self) -> Vec<WitnessStatus> {
        self.shared.panel.as_ref().map(Panel::status).unwrap_or_default()
    }

    /// Lets another policy hold from now on, for the newest recorded checkpoint too. Gives `false` when this log was started
    /// without witnesses: whether it has any is decided then.
    ///
    /// # Errors
    ///
    /// [`Failure::System`] when a thread cannot be started.
    pub fn replace_policy(&self, policy: Policy, text: &str) -> Result<bool, Failure> {
        let Some(panel) = &self.shared.panel else { return Ok(false) };
        panel.replace_policy(policy, text);
        Panel::start(&self.shared)?;
        self.shared.progress.wake();
        Ok(true)
    }
}

/// A recorded checkpoint on its way to a quorum.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) text: String,
    /// Signed by the log alone.
    pub(crate) note: Bytes,
}

/// How the newest offer stands.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Whether the cosignatures fill the policy's quorum.
    pub(crate) filled: bool,
    /// Their lines, in the order of the policy.
    pub(crate) lines: Vec<Signature>,
    /// Whether a quorum has confirmed what this process went on from.
    pub(crate) confirmed: bool,
    /// Whether every witness has answered something, or failed to.
    pub(crate) all_heard: bool,
    /// When the last of those that asked to be left alone may be asked again, if the quorum waits for them.
    pub(crate) held_up_until: Option<Instant>,
    /// What would be a fork of this log, if it is true.
    pub(crate) contradiction: Option<Contradiction>,
}

/// What witnesses say against the log.
#[derive(Clone, Debug)]
pub(crate) struct Contradiction {
    /// In words, with names.
    pub(crate) what: String,
    /// Whether it was proven with our own signature, or leaves no quorum.
    pub(crate) decisive: bool,
}

/// Every witness, and the checkpoint that they are asked about.
pub(crate) struct Panel {
    inner: Mutex<Inner>,
    /// Somebody has something new to do.
    changed: Condvar,
    transport: Arc<dyn Transport>,
    timeout: Duration,
    refresh_interval: Duration,
    threads: Mutex<Vec<Worker<()>>>,
}

struct Inner {
    policy: Policy,
    policy_text: Arc<str>,
    seats: Vec<Seat>,
    next_seat: u64,
    offer: Option<Arc<Offer>>,
    /// How often anything changed that a tally depends on.
    reports: u64,
    ended: bool,
}

impl Panel {
    pub(crate) fn new(witnessing: Witnessing) -> Panel {
        let Witnessing { policy, policy_text, transport, timeout, refresh_interval, .. } = witnessing;
        let mut inner = Inner {
            policy: policy.clone(),
            policy_text: policy_text.into(),
            seats: Vec::new(),
            next_seat: 0,
            offer: None,
            reports: 0,
            ended: false,
        };
        inner.seat(&policy);
        let (changed, threads) = Default::default();
        Panel { inner: Mutex::new(inner), changed, transport, timeout, refresh_interval, threads }
    }

    /// Starts a thread for each witness that has none.
    pub(crate) fn start(log: &Arc<Shared>) -> Result<(), Failure> {
        let Some(panel) = &log.panel else { return Ok(()) };
        let new: Vec<u64> = panel.lock().seats.iter_mut().filter_map(Seat::take_start).collect();
        for seat in new {
            let asker = ask::Asker::new(Arc::clone(log), seat);
            let thread = crate::workers::spawn("witness client", log, move || asker.run())?;
            let mut threads = panel.threads.lock();
            // Of witnesses that a policy has dropped: what is not joined keeps its stack.
            threads.retain(|thread| !thread.is_finished());
            threads.push(thread);
        }
        Ok(())
    }

    /// Another policy holds from now on; witnesses that it shares with the old one keep what is known of them.
    pub(crate) fn replace_policy(&self, policy: Policy, text: &str) {
        let mut inner = self.lock();
        inner.seat(&policy);
        (inner.policy, inner.policy_text) = (policy, text.into());
        inner.reports += 1;
        self.changed.notify_all();
    }

    /// Asks every witness about this checkpoint from now on, and no longer about the one before.
    pub(crate) fn offer(&self, offer: Offer) {
        let mut inner = self.lock();
        inner.offer = Some(Arc::new(offer));
        inner.seats.iter_mut().for_each(Seat::forget_cosignatures);
        inner.reports += 1;
        self.changed.notify_all();
    }

    /// Grows whenever a new tally may differ from the last.
    pub(crate) fn reports(&self) -> u64 {
        self.lock().reports
    }

    /// How the newest offer stands now.
    pub(crate) fn tally(&self) -> Tally {
        let inner = self.lock();
        let (now, now_s) = (Instant::now(), unix_time_s());
        let verified: Vec<_> = inner.cosigned().map(|cosigned| cosigned.verified.clone()).collect();
        let filled = inner.policy.evaluate(&verified, now_s).filled;
        let cosigned_by = |key: &VerifierKey| verified.iter().any(|cosignature| cosignature.key() == key);
        let limited: Vec<&Seat> = inner.seats.iter().filter(|seat| seat.is_limited(now)).collect();
        let limits = |key: &VerifierKey| limited.iter().any(|seat| seat.witness.keys.contains(key));
        let waits = !filled && inner.policy.is_filled_by(|key| cosigned_by(key) || limits(key));
        let held_up_until = limited.iter().filter_map(|seat| seat.limited_until).max().filter(|_| waits);
        let in_order =
            inner.policy.witnesses().iter().filter_map(|witness| {
                inner.cosigned().find(|cosigned| *cosigned.verified.key() == witness.key)
            });
        Tally {
            filled,
            lines: in_order.map(|cosigned| cosigned.line.clone()).collect(),
            confirmed: inner
                .policy
                .is_filled_by(|key| inner.stands(key, |s| matches!(s, Standing::Confirmed))),
            all_heard: inner.seats.iter().all(Seat::was_heard),
            held_up_until,
            contradiction: inner.contradiction(),
        }
    }

    /// Whether the cosignatures that `note` carries, a checkpoint of the log `origin` with `log_keys`, fill the quorum.
    pub(crate) fn is_filled_by(&self, note: &[u8], origin: &str, log_keys: &[VerifierKey]) -> bool {
        let policy = self.lock().policy.clone();
        VerifiedCheckpoint::open_with_witnesses(note, origin, log_keys, &policy.witness_keys())
            .is_ok_and(|opened| policy.evaluate(opened.cosignatures(), unix_time_s()).filled)
    }

    /// Whose failures keep the quorum away, in words.
    pub(crate) fn troubles(&self) -> String {
        let inner = self.lock();
        let words: Vec<String> = inner.seats.iter().filter_map(Seat::trouble).collect();
        if words.is_empty() { "no answer yet".into() } else { words.join("; ") }
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn policy_text(&self) -> Arc<str> {
        Arc::clone(&self.lock().policy_text)
    }

    /// Each witness, as an operator wants to see it.
    pub(crate) fn status(&self) -> Vec<WitnessStatus> {
        self.lock().seats.iter().map(Seat::status).collect()
    }

    /// Nobody is asked any more; waits for the threads to end.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
        self.transport.close();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            let _reported_by_the_thread = crate::workers::join(thread);
        }
    }

    /// Waits until this seat has something to ask; `None` when it has nothing to ask any more, ever.
    fn next(&self, seat: u64) -> Option<seat::Task> {
        let mut inner = self.lock();
        loop {
            if inner.ended {
                return None;
            }
            let offer = inner.offer.clone();
            let seat = inner.seats.iter().find(|known| known.id == seat)?;
            let wake_at = match offer {
                None => None,
                Some(offer) => match seat.due_at(self.refresh_interval) {
                    Some(due_at) if due_at > Instant::now() => Some(due_at),
                    Some(_) | None => return Some(seat.task(offer)),
                },
            };
            match wake_at {
                None => self.changed.wait(&mut inner),
                Some(at) => {
                    let _either_way = self.changed.wait_until(&mut inner, at);
                }
            }
        }
    }

    /// The newest checkpoint that was offered.
    fn newest(&self) -> Option<Arc<Offer>> {
        self.lock().offer.clone()
    }

    /// Notes what a witness answered.
    fn report(&self, seat: u64, offer: &Arc<Offer>, heard: Heard) {
        let mut inner = self.lock();
        inner.reports += 1;
        let current = inner.offer.as_ref().is_some_and(|newest| Arc::ptr_eq(newest, offer));
        if let Some(seat) = inner.seats.iter_mut().find(|known| known.id == seat) {
            seat.note(heard, current);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

impl Inner {
    /// Gives each witness of `policy` a seat; one that is the same as before keeps its own.
    fn seat(&mut self, policy: &Policy) {
        let mut old = std::mem::take(&mut self.seats);
        for witness in Witness::of_policy(policy) {
            let kept =
                old.iter().position(|seat| *seat.witness == witness).map(|place| old.swap_remove(place));
            self.seats.push(kept.unwrap_or_else(|| Seat::new(self.next_seat, witness)));
            self.next_seat += 1;
        }
    }

    fn cosigned(&self) -> impl Iterator<Item = &Cosigned> {
        self.seats.iter().flat_map(|seat| &seat.cosigned)
    }

    fn stands(&self, key: &VerifierKey, how: impl Fn(&Standing) -> bool) -> bool {
        self.seats.iter().any(|seat| seat.witness.keys.contains(key) && how(&seat.standing))
    }

    /// DESIGN §3, Start: evidence, or a lost quorum, is decisive; one bare word is not.
    fn contradiction(&self) -> Option<Contradiction> {
        let against = |seat: &&Seat| matches!(seat.standing, Standing::Contradicts { .. });
        let against: Vec<&Seat> = self.seats.iter().filter(against).collect();
        let evidence = against.iter().find_map(|seat| match &seat.standing {
            Standing::Contradicts { evidence, .. } => evidence.as_ref(),
            _ => None,
        });
        if let Some(evidence) = evidence {
            let what = format!(
                "witness {} shows a checkpoint of size {} that carries this log's own signature and is not one that \
                 this state has recorded",
                evidence.witness, evidence.size
            );
            return Some(Contradiction { what, decisive: true });
        }
        let words: Vec<String> = against.iter().filter_map(|seat| seat.trouble()).collect();
        let left = |standing: &Standing| !matches!(standing, Standing::Contradicts { .. });
        let decisive = !self.policy.is_filled_by(|key| self.stands(key, left));
        (!words.is_empty()).then(|| Contradiction {
            what: format!("{}, and the other witnesses cannot make the quorum", words.join("; ")),
            decisive,
        })
    }
}

/// Seconds since 1970; 0 where the clock says that it is earlier.
pub(crate) fn unix_time_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
