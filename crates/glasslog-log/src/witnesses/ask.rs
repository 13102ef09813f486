//! One conversation with one witness: the checkpoint, a proof from what it holds, and one retry.

use std::{sync::Arc, time::Instant};

use glasslog_client::witness::{Answer, Cosigned, Evidence, Refusal};
use glasslog_core::{TreeSize, witness::AddCheckpoint};

use super::{Exchange, Panel, Received, seat::Heard, seat::Task, unix_time_s};
use crate::{Failure, read::ReadError, shared::Shared};

/// The thread of one witness.
pub(super) struct Asker {
    log: Arc<Shared>,
    seat: u64,
}

impl Asker {
    pub(super) fn new(log: Arc<Shared>, seat: u64) -> Asker {
        Asker { log, seat }
    }

    /// Asks whenever there is something to ask, until the witness has no seat any more.
    pub(super) fn run(self) -> Result<(), Failure> {
        let log = Arc::clone(&self.log);
        let Some(panel) = &log.panel else { return Ok(()) };
        while let Some(task) = panel.next(self.seat) {
            let begun = Instant::now();
            let mut held = task.held.filter(|held| *held <= task.offer.checkpoint.size);
            let answer = match self.converse(panel, &task, &mut held) {
                Ok(answer) => answer,
                Err(ReadError::Contradiction(what)) => return Err(Failure::Contradiction(what)),
                Err(ReadError::Storage(why)) => {
                    Err(Refusal::Unreachable(format!("our own tiles cannot be read now: {why}")))
                }
            };
            let latency = begun.elapsed();
            let evidence = match &answer {
                Err(Refusal::Ahead(_) | Refusal::Inconsistent) => self.evidence(panel, &task),
                _ => None,
            };
            panel.report(self.seat, &task.offer, Heard { held, answer, evidence, latency });
            self.log.progress.wake();
        }
        Ok(())
    }

    /// "If a client doesn't have information on the latest cosigned checkpoint, it MAY initially make a request with a old
    /// size of zero to obtain it"; a 409 is followed by one retry with the size that it names.
    fn converse(
        &self,
        panel: &Panel,
        task: &Task,
        held: &mut Option<TreeSize>,
    ) -> Result<Result<Vec<Cosigned>, Refusal>, ReadError> {
        let old = held.unwrap_or(TreeSize::ZERO);
        let mut answer = self.submit(panel, task, old)?;
        if let Err(Refusal::Holds(size)) = &answer
            && *size != old
        {
            *held = Some(*size);
            answer = self.submit(panel, task, *size)?;
        }
        match &answer {
            Ok(_) => *held = Some(task.offer.checkpoint.size),
            Err(Refusal::Ahead(size)) => *held = Some(*size),
            // It holds something else than it was asked from: the next time it is asked what.
            Err(Refusal::Holds(_)) => *held = None,
            Err(_) => {}
        }
        Ok(answer)
    }

    fn submit(
        &self,
        panel: &Panel,
        task: &Task,
        old_size: TreeSize,
    ) -> Result<Result<Vec<Cosigned>, Refusal>, ReadError> {
        let checkpoint = &task.offer.checkpoint;
        // Verified before it is sent: a 422 to it is then no mistake of ours.
        let proof = self.log.reader.consistency(old_size, checkpoint.size, &checkpoint.root)?;
        let body = AddCheckpoint { old_size, proof, note: task.offer.note.to_vec() }.to_bytes();
        let request = Exchange::Submit { url: &task.witness.submission_url(), body: &body };
        let received = match panel.transport.exchange(request, panel.timeout) {
            Ok(received) => received,
            Err(refusal) => return Ok(Err(refusal)),
        };
        Ok(task.witness.judge(&answer(&received), &task.offer.text, checkpoint.size, unix_time_s()))
    }

    /// Whether the witness shows our own signature over what we did not sign. A witness that shows nothing proves nothing.
    fn evidence(&self, panel: &Panel, task: &Task) -> Option<Evidence> {
        let url = task.witness.monitoring_url(&self.log.config.origin);
        let shown = panel.transport.exchange(Exchange::Look { url: &url }, panel.timeout).ok()?;
        if shown.status != 200 {
            return None;
        }
        // The newest, not the one that it was asked about: it may have been shown that one by way of another address.
        let newest = panel.newest()?;
        let ours = &newest.checkpoint;
        let signers = &self.log.config.signers;
        let keys: Vec<_> = signers.iter().map(|signer| signer.verifier_key().clone()).collect();
        let root_at = |size| self.log.reader.root_at(size, ours.size);
        task.witness.evidence(&shown.body, ours, &keys, root_at).ok().flatten()
    }
}

fn answer(received: &Received) -> Answer<'_> {
    Answer {
        status: received.status,
        content_type: &received.content_type,
        retry_after_s: received.retry_after_s,
        body: &received.body,
    }
}
