//! The threads of a log: started together, watched, and stopped in order.

use std::{
    sync::{Arc, Weak, mpsc},
    thread::{self, JoinHandle},
    time::Instant,
};

use bytes::Bytes;
use glasslog_core::{TreeSize, tile::Edge};
use glasslog_store::{
    duplicates::Recent,
    log_state::{Epoch, StateView},
};
use tokio::sync::watch;

use crate::{
    Failure,
    anchors::{self, Cuts},
    housekeeping::{Chore, Housekeeper},
    indexer::IndexWorkers,
    integrate::Integrator,
    latest::Duplicates,
    pool::Pool,
    publish::Publisher,
    quorum::{self, Public, Quorum, Recorded},
    read::Reader,
    recover::{Recovered, recover},
    sequence::Sequencer,
    served::Served,
    shared::{Counters, LogConfig, Shared, Stores, chain},
    witnesses::{Panel, Witnessing},
};

/// The running threads of a log. To be kept, watched ([`Workers::failed`]) and stopped ([`Workers::stop`]).
pub struct Workers {
    log: Arc<Shared>,
    sequencer: Worker<Recent>,
    publisher: Worker<()>,
    housekeeper: Worker<()>,
    index: Option<IndexWorkers>,
    chores: mpsc::Sender<Chore>,
    /// Why the log has stopped by itself.
    failed: watch::Receiver<Option<Arc<str>>>,
}

pub(crate) type Worker<T> = JoinHandle<Option<T>>;

/// How far a log was when it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The size of the last recorded checkpoint.
    pub recorded: TreeSize,
    /// The size of the public checkpoint.
    pub published: TreeSize,
}

/// Recovers the log and starts its threads.
pub(crate) fn start(
    config: LogConfig,
    stores: Stores,
    witnessing: Option<Witnessing>,
) -> Result<(Arc<Shared>, Workers), Failure> {
    let start_unconfirmed = witnessing.as_ref().is_some_and(|witnessing| witnessing.start_unconfirmed);
    let Recovered { view, public, edge, recent, backlog_bytes } = recover(&config, &stores)?;
    let (ready, cuts) = anchors::start::open(&config, &stores, &view)?;
    let epoch = stores.state.lease(&format!("pid {}", std::process::id()))?;
    if ready.is_none() {
        anchors::start::fill_what_is_left(&config, &stores, &view, epoch)?;
    }
    let (chores, chores_to_do) = mpsc::channel();
    let log = Arc::new_cyclic(|log: &Weak<Shared>| Shared {
        duplicates: Duplicates::new(stores.duplicates, Arc::clone(&stores.objects), chores.clone()),
        pool: Pool::new(config.pool_max_bytes, config.batch_max_age, config.batch_max_size),
        progress: Counters::default(),
        reader: Reader::new(Arc::clone(&stores.objects), config.hasher),
        served: Served::new(config.index.as_ref(), Weak::clone(log)),
        objects: stores.objects,
        state: stores.state,
        failure: watch::Sender::new(None),
        panel: witnessing.map(Panel::new),
        anchors: ready.as_ref().map(|ready| Arc::clone(&ready.anchors)),
        config,
    });
    let head = view.head;
    log.progress.start_at(head, edge.size(), backlog_bytes);
    quorum::close_the_gate(log.panel.as_ref(), start_unconfirmed, &log.progress);

    let mut publisher = publisher(&log, epoch, view, (edge, public, cuts), chores.clone())?;
    publisher.resume()?;
    Panel::start(&log)?;

    let sequencer = Sequencer::new(Arc::clone(&log), recent, head);
    let housekeeper = Housekeeper::new(Arc::clone(&log), chores_to_do);
    let workers = Workers {
        sequencer: spawn("sequencer", &log, move || sequencer.run())?,
        publisher: spawn("publisher", &log, move || publisher.run())?,
        housekeeper: spawn("housekeeper", &log, move || housekeeper.run())?,
        index: ready.map(|ready| IndexWorkers::start(&log, ready)).transpose()?,
        chores,
        failed: log.failure.subscribe(),
        log: Arc::clone(&log),
    };
    Ok((log, workers))
}

/// The publisher, as it goes on from what was recorded and is public.
fn publisher(
    log: &Arc<Shared>,
    epoch: Epoch,
    view: StateView,
    (edge, public, cuts): (Edge, Option<Bytes>, Cuts),
    chores: mpsc::Sender<Chore>,
) -> Result<Publisher, Failure> {
    let doubtful_below = if view.unclean { view.head } else { TreeSize::ZERO };
    let public = public.map(Public::of).transpose()?;
    Ok(Publisher {
        integrator: Integrator::new(Arc::clone(log), edge, doubtful_below),
        epoch,
        recorded: view.recorded.map(Recorded::of).transpose()?,
        due_at: Instant::now(),
        quorum: Quorum::after(public.as_ref(), &log.config.origin),
        public,
        cuts,
        chores,
        log: Arc::clone(log),
    })
}

impl Workers {
    /// Returns the reason once the log has stopped by itself. Who supervises a log then ends the process (invariant 7).
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
        if let Some(panel) = &self.log.panel {
            panel.end();
        }
        let indexed = self.index.map_or(Some(()), |index| index.stop(&self.log));
        self.log.duplicates.cancel_merges();
        let _it_has_ended = self.chores.send(Chore::End);
        let kept = join(self.housekeeper);
        let stopped =
            Stopped { recorded: self.log.progress.recorded(), published: self.log.progress.published() };
        match (self.failed.borrow().clone(), recent, published, indexed, kept) {
            (None, Some(recent), Some(()), Some(()), Some(())) => {
                close(&self.log, recent, stopped.recorded).map_err(|why| Arc::<str>::from(chain(&why)))?;
                Ok(stopped)
            }
            (why, ..) => Err(why.unwrap_or_else(|| "a worker of the log panicked".into())),
        }
    }
}

fn close(log: &Shared, recent: Recent, recorded: TreeSize) -> Result<(), Failure> {
    match log.duplicates.absorb_all(recent, recorded) {
        Err(full) if full.is_full_disk() => {
            tracing::warn!(error = %chain(&full), "the next start will replay what the duplicates table lacks");
        }
        other => other?,
    }
    Ok(log.state.close()?)
}

/// A thread whose failure, or panic, stops the log.
pub(crate) fn spawn<T: Send + 'static>(
    name: &'static str,
    log: &Arc<Shared>,
    run: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<Worker<T>, Failure> {
    let log = Arc::clone(log);
    let supervised = move || {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(failure)) => log.fail(&failure),
            Err(_panic) => log.stop_because(&format!("the {name} panicked")),
        }
        None
    };
    thread::Builder::new()
        .name(name.into())
        .spawn(supervised)
        .map_err(|why| Failure::other("cannot start a thread", why))
}

pub(crate) fn join<T>(worker: Worker<T>) -> Option<T> {
    worker.join().ok().flatten()
}
