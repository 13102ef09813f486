//! The threads of a log: started together, watched, and stopped in order.

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Instant,
};

use glasslog_core::TreeSize;
use glasslog_store::duplicates::Recent;
use tokio::sync::watch;

use crate::{
    Failure, chain,
    housekeeping::{Chore, Housekeeper},
    integrate::Integrator,
    latest::Duplicates,
    pool::Pool,
    publish::Publisher,
    read::Reader,
    recover::{Recovered, recover},
    sequence::Sequencer,
    shared::{Counters, LogConfig, Shared, Stores},
};

/// The running threads of a log. To be kept, watched ([`Workers::failed`]) and stopped ([`Workers::stop`]).
pub struct Workers {
    log: Arc<Shared>,
    sequencer: Worker<Recent>,
    publisher: Worker<()>,
    housekeeper: Worker<()>,
    chores: mpsc::Sender<Chore>,
    /// The first failure of any of them.
    failed: watch::Receiver<Option<Arc<str>>>,
}

type Worker<T> = JoinHandle<Option<T>>;

/// How far a log was when it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The size of the last recorded checkpoint.
    pub recorded: TreeSize,
    /// The size of the public checkpoint.
    pub published: TreeSize,
}

/// Recovers the log and starts its threads.
pub(crate) fn start(config: LogConfig, stores: Stores) -> Result<(Arc<Shared>, Workers), Failure> {
    let Recovered { view, public, edge, recent, backlog_bytes } = recover(&config, &stores)?;
    let epoch = stores.state.lease(&format!("pid {}", std::process::id()))?;
    let (chores, chores_to_do) = mpsc::channel();
    let log = Arc::new(Shared {
        duplicates: Duplicates::new(stores.duplicates, Arc::clone(&stores.objects), chores.clone()),
        pool: Pool::new(config.pool_max_bytes, config.batch_max_age, config.batch_max_size),
        progress: Counters::default(),
        reader: Reader::new(Arc::clone(&stores.objects), config.hasher),
        objects: stores.objects,
        state: stores.state,
        config,
    });
    log.progress.start_at(view.head, edge.size(), backlog_bytes);

    let doubtful_below = if view.unclean { view.head } else { TreeSize::ZERO };
    let mut publisher = Publisher {
        integrator: Integrator::new(Arc::clone(&log), edge, doubtful_below),
        epoch,
        recorded: view.recorded,
        public,
        due_at: Instant::now(),
        chores: chores.clone(),
        log: Arc::clone(&log),
    };
    publisher.resume()?;

    let (failure, failed) = watch::channel(None);
    let sequencer = Sequencer::new(Arc::clone(&log), recent, view.head);
    let housekeeper = Housekeeper::new(Arc::clone(&log), chores_to_do);
    let workers = Workers {
        sequencer: spawn("sequencer", &log, &failure, move || sequencer.run())?,
        publisher: spawn("publisher", &log, &failure, move || publisher.run())?,
        housekeeper: spawn("housekeeper", &log, &failure, move || housekeeper.run())?,
        chores,
        failed,
        log: Arc::clone(&log),
    };
    Ok((log, workers))
}

impl Workers {
    /// Returns the reason once any thread has failed. Who supervises a log then ends the process (invariant 7).
    pub async fn failed(&mut self) -> Arc<str> {
        match self.failed.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => why,
            // All threads ended without a failure: only `stop` does that, and it consumes `self`.
            _ => std::future::pending().await,
        }
    }

    /// Stops the log in order: no new adds, what waits is committed, integrated and published, everything is handed to
    /// the duplicates table, the state is closed. Blocks; call it off the async threads.
    ///
    /// # Errors
    ///
    /// Why a thread failed. What was acknowledged is durable all the same.
    pub fn stop(self) -> Result<Stopped, Arc<str>> {
        self.log.pool.close();
        let recent = join(self.sequencer);
        self.log.progress.drain();
        let published = join(self.publisher);
        self.log.duplicates.cancel_merges();
        let _it_has_ended = self.chores.send(Chore::End);
        let kept = join(self.housekeeper);
        let stopped =
            Stopped { recorded: self.log.progress.recorded(), published: self.log.progress.published() };
        match (self.failed.borrow().clone(), recent, published, kept) {
            (None, Some(recent), Some(()), Some(())) => {
                close(&self.log, recent, stopped.recorded).map_err(|why| Arc::<str>::from(chain(&why)))?;
                Ok(stopped)
            }
            (why, ..) => Err(why.unwrap_or_else(|| "a worker of the log panicked".into())),
        }
    }
}

fn close(log: &Shared, recent: Recent, recorded: TreeSize) -> Result<(), Failure> {
    log.duplicates.absorb_all(recent, recorded)?;
    Ok(log.state.close()?)
}

/// A thread whose failure, or panic, stops the log.
fn spawn<T: Send + 'static>(
    name: &'static str,
    log: &Arc<Shared>,
    failure: &watch::Sender<Option<Arc<str>>>,
    run: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<Worker<T>, Failure> {
    let log = Arc::clone(log);
    let failure = failure.clone();
    let supervised = move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let why: Arc<str> = match outcome {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(why)) => chain(&why).into(),
            Err(_panic) => format!("the {name} panicked").into(),
        };
        tracing::error!(worker = name, why = &*why, "the log stops");
        log.fail(&why);
        failure.send_if_modified(|first| first.is_none().then(|| *first = Some(why)).is_some());
        None
    };
    thread::Builder::new()
        .name(name.into())
        .spawn(supervised)
        .map_err(|why| Failure::other("cannot start a thread", why))
}

fn join<T>(worker: Worker<T>) -> Option<T> {
    worker.join().ok().flatten()
}
