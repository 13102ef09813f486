//! Few threads for what reads storage: proofs and lookups.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Runs what blocks on the blocking pool, by few threads that go on while anyone waits: making a proof takes
/// microseconds, waking a thread for each takes ten times as long, and a publication wakes all waiters at once.
#[derive(Default)]
pub(crate) struct Readers {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Work>,
    threads: usize,
}

type Work = Box<dyn FnOnce() + Send>;

/// The thread that was to do it has panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unanswered;

impl Readers {
    /// Enough that one slow read from storage does not hold up everyone.
    const THREADS: usize = 4;

    /// What `read` gives. Nothing is read for a caller who has gone away before its turn.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let (answer, answered) = oneshot::channel();
        let work = Box::new(move || {
            if !answer.is_closed() {
                // Who asked may have gone away meanwhile.
                let _ = answer.send(read());
            }
        });
        let needs_thread = {
            let mut queue = self.queue.lock();
            queue.waiting.push_back(work);
            let needs_thread = queue.threads < Readers::THREADS;
            queue.threads += usize::from(needs_thread);
            needs_thread
        };
        if needs_thread {
            let thread = Thread { readers: Arc::clone(self), counted: true };
            tokio::task::spawn_blocking(move || thread.work());
        }
        answered.await.map_err(|_| Unanswered)
    }
}

/// A thread at work; it is counted until it ends, however it ends.
struct Thread {
    readers: Arc<Readers>,
    counted: bool,
}

impl Thread {
    fn work(mut self) {
        while let Some(work) = self.next() {
            work();
        }
    }

    /// Stops counting under the same lock that found nothing to do: nobody can queue for a thread that is leaving.
    fn next(&mut self) -> Option<Work> {
        let mut queue = self.readers.queue.lock();
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
            self.readers.queue.lock().threads -= 1;
        }
    }
}
