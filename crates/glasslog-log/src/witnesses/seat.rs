//! What is known of one witness.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use glasslog_client::witness::{Cosigned, Evidence, Refusal, Witness};
use glasslog_core::TreeSize;

use super::Offer;

/// The pauses after one failure, two, three …: doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A witness that asks to be left alone for longer is asked again after this time all the same.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// One witness: what it answered, and when it may be asked again.
pub(super) struct Seat {
    pub(super) id: u64,
    pub(super) witness: Arc<Witness>,
    /// Whether a thread has been started for it.
    started: bool,
    pub(super) standing: Standing,
    /// The size that it holds, as far as is known.
    held: Option<TreeSize>,
    /// Over the newest offer.
    pub(super) cosigned: Vec<Cosigned>,
    /// When they were heard.
    cosigned_at: Option<Instant>,
    pub(super) limited_until: Option<Instant>,
    /// Not to be asked before: back-off, or its own wish.
    not_before: Option<Instant>,
    failures_in_a_row: u32,
    answers: BTreeMap<&'static str, u64>,
    last_refusal: Option<Refusal>,
    last_time_s: Option<u64>,
    latency: Option<Duration>,
}

/// What a witness says about the checkpoint that this process went on from.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// Nothing yet.
    Unknown,
    /// It cosigned it or one that followed, or has never seen the log.
    Confirmed,
    /// It holds a larger size, or says that ours does not continue what it holds.
    Contradicts {
        /// Our own signature over something else.
        evidence: Option<Evidence>,
    },
}

/// What is to be asked.
pub(super) struct Task {
    pub(super) witness: Arc<Witness>,
    pub(super) offer: Arc<Offer>,
    pub(super) held: Option<TreeSize>,
}

/// What was heard.
pub(super) struct Heard {
    /// The size that it holds now, as far as is known after the conversation.
    pub(super) held: Option<TreeSize>,
    pub(super) answer: Result<Vec<Cosigned>, Refusal>,
    pub(super) evidence: Option<Evidence>,
    pub(super) latency: Duration,
}

/// A witness as an operator sees it.
#[derive(Clone, Debug)]
pub struct WitnessStatus {
    /// What the policy calls it.
    pub name: String,
    /// Where it is asked.
    pub url: String,
    /// The size that it holds, as far as is known.
    pub held: Option<TreeSize>,
    /// The time of its last cosignature that counted, in seconds since 1970.
    pub cosigned_at_unix_s: Option<u64>,
    /// Whether it has cosigned the newest recorded checkpoint.
    pub has_cosigned: bool,
    /// Whether it says that this log is not what it has seen.
    pub contradicts: bool,
    /// Why its last answer was no cosignature, if it was none.
    pub trouble: Option<String>,
    /// How often it answered what: `cosigned`, or the label of a [`Refusal`].
    pub answers: Vec<(&'static str, u64)>,
    /// How long its last answer took.
    pub latency: Option<Duration>,
}

impl Seat {
    pub(super) fn new(id: u64, witness: Witness) -> Seat {
        Seat {
            id,
            witness: Arc::new(witness),
            started: false,
            standing: Standing::Unknown,
            held: None,
            cosigned: Vec::new(),
            cosigned_at: None,
            limited_until: None,
            not_before: None,
            failures_in_a_row: 0,
            answers: BTreeMap::new(),
            last_refusal: None,
            last_time_s: None,
            latency: None,
        }
    }

    /// Its number, the first time.
    pub(super) fn take_start(&mut self) -> Option<u64> {
        (!std::mem::replace(&mut self.started, true)).then_some(self.id)
    }

    /// A new checkpoint is offered.
    pub(super) fn forget_cosignatures(&mut self) {
        self.cosigned.clear();
        self.cosigned_at = None;
    }

    /// When it is to be asked about the newest offer; `None`: at once.
    pub(super) fn due_at(&self, refresh_interval: Duration) -> Option<Instant> {
        let refresh_at = self.cosigned_at.and_then(|at| at.checked_add(refresh_interval));
        self.not_before.max(refresh_at)
    }

    pub(super) fn task(&self, offer: Arc<Offer>) -> Task {
        Task { witness: Arc::clone(&self.witness), offer, held: self.held }
    }

    /// Whether it has been asked, whatever came of it.
    pub(super) fn was_heard(&self) -> bool {
        self.latency.is_some()
    }

    /// Whether it asked to be left alone and the time has not come.
    pub(super) fn is_limited(&self, now: Instant) -> bool {
        self.limited_until.is_some_and(|until| until > now)
    }

    /// Notes an answer. If a newer checkpoint has been offered meanwhile (`current` is false), it says nothing of that one.
    pub(super) fn note(&mut self, heard: Heard, current: bool) {
        self.latency = Some(heard.latency);
        self.held = heard.held;
        let label = heard.answer.as_ref().map_or_else(Refusal::label, |_| "cosigned");
        *self.answers.entry(label).or_default() += 1;
        match heard.answer {
            Ok(cosigned) => {
                (self.failures_in_a_row, self.not_before, self.limited_until) = (0, None, None);
                if let Some(refusal) = self.last_refusal.take() {
                    tracing::info!(witness = self.witness.name, after = %refusal, "the witness cosigns again");
                }
                self.last_time_s = cosigned.iter().map(|cosigned| cosigned.verified.time()).max();
                if !self.has_evidence() {
                    self.standing = Standing::Confirmed;
                }
                if current {
                    self.cosigned = cosigned;
                    self.cosigned_at = Some(Instant::now());
                }
            }
            // Somebody has told it of a newer checkpoint of ours meanwhile; evidence is against every one of them.
            Err(Refusal::Ahead(_) | Refusal::Inconsistent | Refusal::Holds(_))
                if !current && heard.evidence.is_none() => {}
            Err(refusal) => self.refused(refusal, heard.evidence),
        }
    }

    fn refused(&mut self, refusal: Refusal, evidence: Option<Evidence>) {
        let name = &self.witness.name;
        if self.last_refusal.as_ref().map(Refusal::label) != Some(refusal.label()) {
            tracing::warn!(witness = name, why = %refusal, "no cosignature");
        }
        match &refusal {
            Refusal::UnknownLog if !matches!(self.standing, Standing::Contradicts { .. }) => {
                self.standing = Standing::Confirmed;
            }
            Refusal::Ahead(_) | Refusal::Inconsistent => {
                if !matches!(self.standing, Standing::Contradicts { .. }) {
                    tracing::error!(witness = name, why = %refusal, "a witness contradicts this log");
                }
                if let Some(evidence) = &evidence {
                    tracing::error!(
                        witness = name,
                        note = evidence.note,
                        "and shows a checkpoint that we signed"
                    );
                }
                if !self.has_evidence() {
                    self.standing = Standing::Contradicts { evidence };
                }
            }
            _ => {}
        }
        let pause = match refusal {
            Refusal::Budget { retry_after_s } => {
                let pause = Duration::from_secs(retry_after_s.max(1)).min(LONGEST_RETRY_AFTER);
                self.limited_until = Instant::now().checked_add(pause);
                pause
            }
            _ => {
                let doublings = self.failures_in_a_row.min(16);
                self.failures_in_a_row += 1;
                (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE)
            }
        };
        self.not_before = Instant::now().checked_add(pause);
        self.last_refusal = Some(refusal);
    }

    /// Whether it has shown our own signature over something else: nothing that it says later takes that back.
    fn has_evidence(&self) -> bool {
        matches!(self.standing, Standing::Contradicts { evidence: Some(_) })
    }

    /// Its last refusal, with its name.
    pub(super) fn trouble(&self) -> Option<String> {
        self.last_refusal.as_ref().map(|refusal| format!("{}: {refusal}", self.witness.name))
    }

    pub(super) fn status(&self) -> WitnessStatus {
        WitnessStatus {
            name: self.witness.name.clone(),
            url: self.witness.url.clone(),
            held: self.held,
            cosigned_at_unix_s: self.last_time_s,
            has_cosigned: !self.cosigned.is_empty(),
            contradicts: matches!(self.standing, Standing::Contradicts { .. }),
            trouble: self.last_refusal.as_ref().map(ToString::to_string),
            answers: self.answers.iter().map(|(label, count)| (*label, *count)).collect(),
            latency: self.latency,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The publisher may look only after the witness has been asked again.
    #[test]
    fn evidence_stays() {
        let witness = Witness { name: "w".into(), url: "http://w.example".into(), keys: Vec::new() };
        let mut seat = Seat::new(0, witness);
        let evidence = Evidence { witness: "w".into(), size: TreeSize(9), note: String::new() };
        let mut hear = |answer, evidence| {
            seat.note(Heard { held: None, answer, evidence, latency: Duration::ZERO }, true);
            seat.has_evidence()
        };
        assert!(!hear(Err(Refusal::Ahead(TreeSize(9))), None));
        assert!(hear(Err(Refusal::Ahead(TreeSize(9))), Some(evidence)));
        assert!(hear(Err(Refusal::Inconsistent), None), "it shows nothing any more");
        assert!(hear(Ok(Vec::new()), None), "it cosigns");
    }
}
