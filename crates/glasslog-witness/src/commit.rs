//! Group commit: one thread takes every swap that waits, commits them in one transaction, and only then says so.

use std::{io, sync::Arc, thread::JoinHandle, time::Instant};

use tokio::sync::{mpsc, oneshot};

use crate::{
    metrics::Metrics,
    state::{StateError, Swap, SwapOutcome, WitnessState},
};

/// The most swaps of one transaction.
const MAX_BATCH: usize = 512;

/// Why a swap has no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CommitError {
    /// Nothing was written; it may work later.
    Refused(String),
    /// It may or may not be durable, or nobody is there to make it so: nothing that rests on it may leave.
    Stopped,
}

/// Hands swaps to the committing thread. The thread ends when the last clone is gone.
#[derive(Clone)]
pub(crate) struct Committer {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    /// `None` only asks whether the state takes changes.
    swap: Option<Swap>,
    done: oneshot::Sender<Result<SwapOutcome, CommitError>>,
}

/// The thread, for whoever supervises it.
pub(crate) struct Committing {
    thread: JoinHandle<()>,
    /// How it ended: an error here must end the process.
    pub(crate) ended: oneshot::Receiver<Result<(), StateError>>,
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    pub(crate) fn start(
        state: Arc<dyn WitnessState>,
        metrics: Arc<Metrics>,
        queue: usize,
    ) -> io::Result<(Committer, Committing)> {
        let (jobs, waiting) = mpsc::channel(queue.max(1));
        let (end, ended) = oneshot::channel();
        let work = move || {
            let outcome = commit_all(&*state, &metrics, waiting).and_then(|()| state.close());
            // Nobody listens any more only when the witness is gone.
            let _ = end.send(outcome);
        };
        let thread = std::thread::Builder::new().name("witness-commit".into()).spawn(work)?;
        Ok((Committer { jobs }, Committing { thread, ended }))
    }

    /// Commits one swap, together with whatever else waits. Only one swap of a log may wait at a time.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub(crate) async fn commit(&self, swap: Swap) -> Result<SwapOutcome, CommitError> {
        self.send(Some(swap)).await
    }

    /// Asks whether the state takes changes, without one.
    ///
    /// # Errors
    ///
    /// [`CommitError`].
    pub(crate) async fn probe(&self) -> Result<(), CommitError> {
        self.send(None).await.map(|_| ())
    }

    async fn send(&self, swap: Option<Swap>) -> Result<SwapOutcome, CommitError> {
        let (done, outcome) = oneshot::channel();
        self.jobs.send(Job { swap, done }).await.map_err(|_| CommitError::Stopped)?;
        outcome.await.unwrap_or(Err(CommitError::Stopped))
    }
}

impl Committing {
    /// Waits for the thread, which ends once every [`Committer`] is gone.
    pub(crate) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the committing thread failed; this is a bug, please report it");
        }
    }
}

fn commit_all(
    state: &dyn WitnessState,
    metrics: &Metrics,
    mut waiting: mpsc::Receiver<Job>,
) -> Result<(), StateError> {
    while let Some(first) = waiting.blocking_recv() {
        let mut jobs = vec![first];
        while jobs.len() < MAX_BATCH
            && let Ok(job) = waiting.try_recv()
        {
            jobs.push(job);
        }
        let (mut swaps, mut done, mut probes) = (Vec::new(), Vec::new(), Vec::new());
        for Job { swap, done: tell } in jobs {
            match swap {
                Some(swap) => {
                    swaps.push(swap);
                    done.push(tell);
                }
                None => probes.push(tell),
            }
        }
        let started = Instant::now();
        let outcomes = state.swap(&swaps);
        metrics.committed(swaps.len(), started.elapsed());
        match outcomes {
            Ok(outcomes) => {
                let probed = std::iter::repeat_n(SwapOutcome::Swapped, probes.len());
                let outcomes = outcomes.into_iter().chain(probed);
                // Who does not wait any more has no need to know.
                done.into_iter().chain(probes).zip(outcomes).for_each(|(done, outcome)| {
                    let _ = done.send(Ok(outcome));
                });
            }
            Err(StateError::Refused(why)) => {
                tracing::error!(%why, "the witness state refused a change: nothing is cosigned until it takes one");
                done.into_iter().chain(probes).for_each(|done| {
                    let _ = done.send(Err(CommitError::Refused(why.to_string())));
                });
            }
            // Dropping what waits tells it that no answer may leave.
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
