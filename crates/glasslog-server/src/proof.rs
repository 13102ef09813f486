//! `GET /proof/{index}`: one entry, provably in a public checkpoint (c2sp.org/tlog-proof).

use std::{collections::VecDeque, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use glasslog_core::LeafIndex;
use glasslog_http::answer::uncached;
use glasslog_log::{Log, ReadError};
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    add::{canonical_number, unanswered},
    answer::{Answer, Refusal},
    app::{App, Site},
};

const TLOG_PROOF: HeaderValue = HeaderValue::from_static("text/x.tlog.proof; charset=utf-8");

/// Proves that an entry is in the log.
#[utoipa::path(
    get,
    path = "/proof/{index}",
    params(("index" = u64, Path, description = "the entry's index, in decimal without leading zeros")),
    responses(
        (status = 200, description = "a c2sp.org/tlog-proof under the newest public checkpoint", body = String, content_type = "text/x.tlog.proof"),
        (status = 404, description = "no such entry; with Retry-After when it is acknowledged and not public yet", body = String, content_type = "text/plain"),
        (status = 429, description = "too many, see Retry-After", body = String, content_type = "text/plain"),
    ),
)]
pub(crate) async fn proof(
    app: &App,
    site: &Site,
    peer: IpAddr,
    headers: &HeaderMap,
    index: &str,
) -> Result<Answer, Refusal> {
    let index = LeafIndex(canonical_number(index).ok_or_else(Refusal::not_found)?);
    app.gate.admit_reader(peer, headers)?;
    match app.in_time(proof_answer(site, index)).await?? {
        Some(answer) => Ok(answer),
        None => Err(not_covered(site, index)),
    }
}

/// The proof of the entry at `index`, or `None` while no public checkpoint covers it.
pub(crate) async fn proof_answer(site: &Site, index: LeafIndex) -> Result<Option<Answer>, Refusal> {
    let proof = site.prover.prove(index).await?;
    Ok(proof.map(|proof| uncached(TLOG_PROOF, proof)))
}

/// Makes proofs on the blocking pool, by few threads that go on while anyone waits: making a proof takes
/// microseconds, waking a thread for each takes ten times as long, and a publication wakes all waiters at once.
pub(crate) struct Prover {
    log: Log,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    threads: usize,
}

impl Prover {
    /// Enough that one slow read from storage does not hold up everyone.
    const THREADS: usize = 4;

    pub(crate) fn new(log: Log) -> Arc<Prover> {
        Arc::new(Prover { log, queue: Mutex::default() })
    }

    async fn prove(self: &Arc<Self>, index: LeafIndex) -> Result<Option<Bytes>, Refusal> {
        let (answer, answered) = oneshot::channel();
        let needs_thread = {
            let mut queue = self.queue.lock();
            queue.waiting.push_back((index, answer));
            let needs_thread = queue.threads < Prover::THREADS;
            queue.threads += usize::from(needs_thread);
            needs_thread
        };
        if needs_thread {
            let thread = Thread { prover: Arc::clone(self), counted: true };
            tokio::task::spawn_blocking(move || thread.work());
        }
        Ok(answered.await.map_err(|_| unanswered())??)
    }
}

type Waiting = (LeafIndex, oneshot::Sender<Result<Option<Bytes>, ReadError>>);

/// A thread at work; it is counted until it ends, however it ends.
struct Thread {
    prover: Arc<Prover>,
    counted: bool,
}

impl Thread {
    fn work(mut self) {
        while let Some((index, answer)) = self.next() {
            if !answer.is_closed() {
                // Who asked may have gone away meanwhile.
                let _ = answer.send(self.prover.log.prove(index));
            }
        }
    }

    /// Stops counting under the same lock that found nothing to do: nobody can queue for a thread that is leaving.
    fn next(&mut self) -> Option<Waiting> {
        let mut queue = self.prover.queue.lock();
        let next = queue.waiting.pop_front();
        if next.is_none() {
            queue.threads -= 1;
            self.counted = false;
        }
        next
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if self.counted {
            self.prover.queue.lock().threads -= 1;
        }
    }
}

fn not_covered(site: &Site, index: LeafIndex) -> Refusal {
    if site.log.progress().sequenced.contains(index) {
        let message = "this entry is in the log and no public checkpoint covers it yet; ask again soon";
        Refusal { retry_after: Some(Duration::from_secs(1)), ..Refusal::new(StatusCode::NOT_FOUND, message) }
    } else {
        Refusal::new(StatusCode::NOT_FOUND, "the log has no entry at this index yet")
    }
}
