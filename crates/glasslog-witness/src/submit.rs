//! The way of a checkpoint: `POST /add-checkpoint`.
//!
//! 1. The body is read within its bounds ([`add_checkpoint`]). From here on a task of its own does the work, so that a
//!    client who leaves cannot stop it between two steps.
//! 2. It is parsed, and the log's signatures are verified, beside the async threads ([`App::verify`]).
//! 3. It is judged against a snapshot of what is held. Most of what is refused ends here, without a lock or a commit, and
//!    so does what was cosigned within the same second.
//! 4. The log's slot is locked; it is judged again, for good; the text is cosigned; the committing thread compares and
//!    swaps the log's record, durably ([`App::cosign`]).
//! 5. Only then do the cosignatures leave.

use std::{
    fmt::Write as _,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use glasslog_core::{
    checkpoint::Checkpoint,
    cosignature,
    note::{Algorithm, Note, SignError, Signature},
    witness::{AddCheckpoint, MAX_ADD_CHECKPOINT_BYTES, origin_hash},
};
use glasslog_http::{
    answer::{Answer, TEXT, uncached},
    body,
    client::client_address,
};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::SemaphorePermit;

use crate::{
    app::App,
    commit::CommitError,
    decide::{Contradiction, Cosign, Held, Signed, Submission},
    logs::{Entry, Use},
    metrics::Outcome,
    refusal::Refusal,
    slots::Slot,
    state::{Record, Swap, SwapOutcome},
};

/// A body up to this is what logs send; of longer ones only a few are read at once.
const SMALL_BODY_BYTES: usize = 32 << 10;

/// How often a decision is made anew because another process on the same state was faster.
const MAX_ROUNDS: usize = 3;

/// Answers `add-checkpoint`, and counts it.
pub(crate) async fn add_checkpoint(
    app: &Arc<App>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let started = Instant::now();
    let outcome = answer(app, peer, request).await;
    let counted = match &outcome {
        Ok(cosigned) if cosigned.refreshed => Outcome::Refreshed,
        Ok(_) => Outcome::Cosigned,
        Err(refusal) => refusal.outcome,
    };
    app.metrics.answered(counted, started.elapsed());
    outcome.map(|cosigned| uncached(TEXT, cosigned.lines))
}

/// What may leave.
struct Cosigned {
    /// The signature lines.
    lines: String,
    refreshed: bool,
}

async fn answer(app: &Arc<App>, peer: IpAddr, request: Request<Incoming>) -> Result<Cosigned, Refusal> {
    let (bytes, large) = receive(app, peer, request).await?;
    let answered = tokio::time::timeout(app.limits.answer_timeout, decide(app, bytes)).await;
    drop(large);
    match answered {
        Ok(outcome) => outcome,
        Err(_) => Err(Refusal::unavailable(
            "the decision took too long; it may have been made: ask for the size held",
            Duration::from_secs(5),
        )),
    }
}

/// Waits for room, then lets a task of its own decide: whoever stops waiting does not stop it.
async fn decide(app: &Arc<App>, body: Bytes) -> Result<Cosigned, Refusal> {
    let in_flight = app.in_flight.clone().acquire_owned().await.map_err(|_| Refusal::stopping())?;
    let work = app.clone();
    let task = tokio::spawn(async move {
        let _in_flight = in_flight;
        work.submit(body).await
    });
    task.await.unwrap_or_else(|error| {
        tracing::error!(%error, "deciding on a checkpoint failed; this is a bug, please report it");
        let message = "this witness could not decide; its operator has been told";
        Err(Refusal::unavailable(message, Duration::from_secs(10)))
    })
}

/// Counts the request, and reads its body within its bounds; while what is given besides is kept, few other long bodies
/// are read.
pub(crate) async fn receive<'a>(
    app: &'a App,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Result<(Bytes, Option<SemaphorePermit<'a>>), Refusal> {
    app.admit_client(client_address(peer, request.headers(), &app.trusted_proxies))?;
    let leave = || {
        app.large_bodies.try_acquire().map_err(|_| {
            Refusal::unavailable("too many long requests at once; try again", Duration::from_secs(1))
        })
    };
    let within = app.limits.body_timeout;
    body::read_with_leave(request.into_body(), SMALL_BODY_BYTES, MAX_ADD_CHECKPOINT_BYTES, within, leave)
        .await
}

impl App {
    async fn submit(self: Arc<App>, body: Bytes) -> Result<Cosigned, Refusal> {
        let app = self.clone();
        let (entry, signed) = self.beside(move || app.verify(&body)).await??;
        let signed = Arc::new(signed);
        let slot = self.slots.get_or_make(origin_hash(entry.log.keys.origin()));
        let record = slot.record();
        let cosign = self.judge(&entry, &signed, record.as_deref())?;
        if let Some(lines) = record.and_then(|record| self.again(&cosign, &record)) {
            return Ok(Cosigned { lines, refreshed: true });
        }
        let _waiting = slot.waiting.try_acquire().map_err(|_| {
            let message = "too many checkpoints of this log at once; try again";
            Refusal::unavailable(message, Duration::from_secs(1))
        })?;
        let _deciding = slot.deciding.lock().await;
        for _ in 0..MAX_ROUNDS {
            if let Some(cosigned) = self.cosign(&entry, &signed, &slot).await? {
                return Ok(cosigned);
            }
        }
        let message = "another process is changing this log's record; try again";
        Err(Refusal::unavailable(message, Duration::from_secs(1)))
    }

    /// Parses, finds the log, and verifies its signatures.
    fn verify(&self, body: &[u8]) -> Result<(Arc<Entry>, Signed), Refusal> {
        let request = AddCheckpoint::parse(body)?;
        let submission = Submission::read(&request)?;
        let entry = self.log(submission.origin())?;
        if entry.log.disabled {
            return Err(Refusal::disabled(entry.log.keys.origin()));
        }
        let signed = submission.verify(&entry.log.keys)?;
        Ok((entry, signed))
    }

    fn judge(&self, entry: &Entry, signed: &Signed, record: Option<&Record>) -> Result<Cosign, Refusal> {
        let held = record.map(|record| &record.held);
        signed.judge(held, (self.clock)()).map_err(|refused| {
            if let Some(contradiction) = signed.contradicts(held) {
                self.note_contradiction(entry, signed, record, contradiction);
            }
            Refusal::from(refused)
        })
    }

    /// The cosignatures that are held, if they are what would be made: the same text within the same second. Anybody can
    /// send a public checkpoint again; this bounds what it costs.
    fn again(&self, cosign: &Cosign, record: &Record) -> Option<String> {
        (record.held == cosign.next).then(|| self.lines_held(cosign, record)).flatten()
    }

    /// The cosignatures that are held, if they are of the same text and of all keys that can sign it.
    fn lines_held(&self, cosign: &Cosign, record: &Record) -> Option<String> {
        let note = Note::parse(&record.note).ok().filter(|note| note.text() == cosign.text)?;
        let covered_by_all = Checkpoint::parse(&cosign.text).ok()?.extensions.is_empty();
        let mut lines = String::new();
        for signer in self.signers.iter() {
            let key = signer.verifier_key();
            if key.algorithm() == Algorithm::MlDsa44 && !covered_by_all {
                continue;
            }
            let made = note.signatures().iter().find(|line| line.is_of(key))?;
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{made}");
        }
        Some(lines).filter(|lines| !lines.is_empty())
    }

    /// One round, by the holder of the slot's lock. `None`: another process changed the record in between.
    async fn cosign(&self, entry: &Entry, signed: &Signed, slot: &Slot) -> Result<Option<Cosigned>, Refusal> {
        let record = slot.record();
        let held = record.as_ref().map(|record| record.held);
        let cosign = self.judge(entry, signed, record.as_deref())?;
        // Of equal refreshes that waited for the lock together, the first was enough.
        if let Some(lines) = record.as_deref().and_then(|record| self.again(&cosign, record)) {
            return Ok(Some(Cosigned { lines, refreshed: true }));
        }
        let refreshes = held.is_some_and(|held| held.size == cosign.next.size);
        // Not before: of equal requests that arrived together one is cosigned, and only that one counts.
        let budget = match self.admit_log(entry, if refreshes { Use::Refresh } else { Use::Growth }) {
            Ok(budget) => budget,
            Err(limited) => {
                // Whoever used up the refreshes made these cosignatures. A 429 would keep the log from growing as well.
                let lines = record.as_deref().and_then(|record| self.lines_held(&cosign, record));
                return lines.map(|lines| Some(Cosigned { lines, refreshed: true })).ok_or(limited);
            }
        };
        let cosigned = self.sign_and_commit(entry, slot, held, cosign).await;
        if !matches!(cosigned, Ok(Some(_))) {
            budget.give_back();
        }
        cosigned
    }

    /// Signs what was decided, and makes it durable. `None` as for [`App::cosign`].
    async fn sign_and_commit(
        &self,
        entry: &Entry,
        slot: &Slot,
        held: Option<Held>,
        cosign: Cosign,
    ) -> Result<Option<Cosigned>, Refusal> {
        let next = cosign.next;
        self.note_lead(entry, next.time);
        let signers = self.signers.clone();
        let (note, cosignatures) = self.beside(move || cosign_with(&signers, cosign)).await??;
        let lines = cosignatures.iter().map(|line| format!("{line}\n")).collect();
        let origin = entry.log.keys.origin();
        let record = Record { origin: origin.to_owned(), held: next, note: Bytes::from(note.to_text()) };
        match self.committer.commit(Swap { expected: held, next: record.clone() }).await {
            Ok(SwapOutcome::Swapped) => {
                self.taken();
                self.logs.holds(origin, record.note.clone());
                slot.set(Some(record));
                self.metrics.cosignatures.inc_by(u64::try_from(cosignatures.len()).unwrap_or(0));
                Ok(Some(Cosigned { lines, refreshed: held.is_some_and(|held| held.size == next.size) }))
            }
            Ok(SwapOutcome::Conflict(found)) => {
                slot.set(found);
                Ok(None)
            }
            Err(CommitError::Refused(why)) => {
                self.refused(&why);
                let message = "this witness cannot record anything now, so it cosigns nothing; its operator has been told";
                Err(Refusal::unavailable(message, Duration::from_secs(10)))
            }
            Err(CommitError::Stopped) => Err(Refusal::stopping()),
        }
    }

    /// Times do not go back, so after a clock that was ahead they stand still; verifiers refuse what is far ahead of theirs.
    fn note_lead(&self, entry: &Entry, time: u64) {
        const MAX_LEAD_SECONDS: u64 = 300;
        let lead = time.saturating_sub((self.clock)());
        if lead > MAX_LEAD_SECONDS && self.admit_report() {
            let origin = entry.log.keys.origin();
            tracing::warn!(
                origin,
                lead_seconds = lead,
                "the clock is behind the last cosignature, whose time is kept"
            );
        }
    }

    /// What the log signed is evidence against it, for whoever reads the operator's log.
    fn note_contradiction(
        &self,
        entry: &Entry,
        signed: &Signed,
        record: Option<&Record>,
        contradiction: Contradiction,
    ) {
        const MAX_LOGGED_BYTES: usize = 16 << 10;
        self.metrics.contradicted(contradiction);
        if !self.admit_evidence(entry) {
            return;
        }
        let bounded =
            |note: &[u8]| String::from_utf8_lossy(note.get(..MAX_LOGGED_BYTES).unwrap_or(note)).into_owned();
        tracing::error!(
            origin = entry.log.keys.origin(),
            ?contradiction,
            signed = bounded(signed.note().to_text().as_bytes()),
            held = record.map(|record| bounded(&record.note)),
            "a log contradicts itself: keep both checkpoints as evidence, and publish them"
        );
    }
}

/// The note with the cosignatures of all keys that can sign it, and these cosignatures alone.
fn cosign_with(
    signers: &[Arc<dyn glasslog_core::note::Signer>],
    cosign: Cosign,
) -> Result<(Note, Vec<Signature>), Refusal> {
    let Cosign { text, mut note, next } = cosign;
    let mut cosignatures = Vec::with_capacity(signers.len());
    for signer in signers {
        match cosignature::cosign(&text, next.time, &**signer) {
            Ok(line) => cosignatures.push(line),
            // ML-DSA-44 cosignatures do not cover extension lines, so none is made over a text that has them.
            Err(SignError::NotCovered { .. }) => {}
            Err(error) => return Err(Refusal::cannot_cosign(&error)),
        }
    }
    if cosignatures.is_empty() {
        let message = "no key of this witness can cosign a checkpoint with extension lines";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, Outcome::Malformed, message));
    }
    cosignatures.iter().cloned().for_each(|line| note.put(line));
    Ok((note, cosignatures))
}
