//! A witness for transparency logs (c2sp.org/tlog-witness): it cosigns a log's checkpoint if that is consistent with every
//! one that it cosigned before, and remembers it before anybody sees the cosignature.
//!
//! To follow a checkpoint, read `submit.rs`, whose first lines name the steps; the verdict itself is a pure function,
//! [`decide::decide`]; what must not be forgotten stands behind [`state::WitnessState`].
//!
//! What is absent: TLS on a listener (a proxy's work), fetching lists of logs (the command's), reading settings.
#![forbid(unsafe_code)]

mod about;
mod app;
pub mod bastion;
mod commit;
mod config;
pub mod decide;
pub mod list;
pub mod logs;
mod metrics;
mod refusal;
mod sign_subtree;
mod slots;
pub mod state;
mod submit;

pub use config::{About, Clock, Limits, WitnessConfig, system_clock};
pub use glasslog_http::{rate::Rate, serve::ConnectionLimits};

use std::{future::Future, pin::Pin, sync::Arc};

use glasslog_core::{
    checkpoint::{Checkpoint, CheckpointError},
    note::Note,
    witness::origin_hash,
};
use glasslog_http::serve::serve;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::{
    app::{Access, App, Door, Parts},
    bastion::Bastions,
    commit::{Committer, Committing},
    logs::LogTable,
    metrics::Metrics,
    slots::Slots,
    state::{Record, StateError, WitnessState},
};

/// Why a witness could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// Nobody would cosign.
    #[error("a witness needs at least one key")]
    NoSigner,
    /// A 0x01 key.
    #[error("the key {name} signs notes (type 0x01); a witness's keys have type 0x04 or 0x06")]
    NotACosigner {
        /// Its name.
        name: String,
    },
    /// One public key, twice.
    #[error("the key {name} is given twice, perhaps under another name; each key of a witness is its own")]
    SharedKey {
        /// Its name.
        name: String,
    },
    /// The state could not be read, or could not be made durable: nothing that rested on it has left.
    #[error("the witness cannot rely on its state")]
    State(#[source] StateError),
    /// A thread could not be started.
    #[error("cannot start the committing thread")]
    Thread(#[source] std::io::Error),
    /// A worker ended although nobody had asked it to: a bug. The process should end with it.
    #[error("the worker `{worker}` ended unexpectedly; restart the witness and report this")]
    WorkerEnded {
        /// Its name.
        worker: &'static str,
    },
}

/// Runs a witness until `shutdown` completes, open connections have been drained and every decision is durable.
///
/// # Errors
///
/// [`WitnessError`] when it cannot start; when the state cannot be made durable; when a worker ends before it was asked to.
/// The process should end then: what it holds in memory is not to be relied on.
pub async fn run(
    config: WitnessConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), WitnessError> {
    let WitnessConfig {
        listener,
        metrics_listener,
        bastions,
        signers,
        state,
        logs,
        about,
        limits,
        trusted_proxies,
        clock,
    } = config;
    let keys = logs.checking(config::check_signers(&signers)?);
    let slots = load(state.clone(), &logs).await?;
    let metrics = Metrics::new();
    let (committer, committing) =
        Committer::start(state, metrics.clone(), limits.in_flight).map_err(WitnessError::Thread)?;
    let public_metrics = metrics_listener.is_none();
    let parts = Parts {
        signers,
        keys,
        logs,
        slots,
        committer,
        metrics,
        about,
        trusted_proxies,
        clock,
        public_metrics,
    };
    let app = Arc::new(App::new(parts, limits));

    let (stop, stopping) = watch::channel(false);
    let mut workers = Workers::default();
    open_doors(&app, &mut workers, listener, metrics_listener, bastions, &stopping);
    workers.supervise("sweeper", sweep(app.clone(), stopping));
    supervise(app, workers, committing, stop, shutdown).await
}

/// Starts whatever requests come in by.
fn open_doors(
    app: &Arc<App>,
    workers: &mut Workers,
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
    bastions: Option<Bastions>,
    stopping: &watch::Receiver<bool>,
) {
    let door = |access| Arc::new(Door { app: app.clone(), access });
    let serving =
        |access, listener| serve(door(access), listener, app.limits.connections.clone(), stopping.clone());
    workers.supervise("listener", serving(Access::Public, listener));
    if let Some(listener) = metrics_listener {
        workers.supervise("metrics listener", serving(Access::Metrics, listener));
    }
    if let Some(bastions) = bastions {
        workers.supervise("bastions", bastions.serve(door(Access::Bastion), stopping.clone()));
    }
}

/// Ends in the order in which things rest on each other: connections, decisions, the committing thread.
async fn supervise(
    app: Arc<App>,
    mut workers: Workers,
    mut committing: Committing,
    stop: watch::Sender<bool>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), WitnessError> {
    tokio::select! {
        biased;
        ended = &mut committing.ended => return Err(committing_ended(ended)),
        worker = workers.next() => return Err(WitnessError::WorkerEnded { worker }),
        () = shutdown => {}
    }
    stop.send_replace(true);
    tokio::select! {
        ended = &mut committing.ended => return Err(committing_ended(ended)),
        all = workers.all() => all?,
    }
    // Decisions outlive their connections: when all permits are here, none is left.
    let in_flight: Arc<Semaphore> = app.in_flight.clone();
    let every = u32::try_from(app.limits.in_flight).unwrap_or(u32::MAX);
    tokio::select! {
        ended = &mut committing.ended => return Err(committing_ended(ended)),
        _ = in_flight.acquire_many_owned(every) => {}
    }
    drop(app);
    match (&mut committing.ended).await {
        Ok(Ok(())) => {
            committing.join();
            Ok(())
        }
        ended => Err(committing_ended(ended)),
    }
}

fn committing_ended(
    ended: Result<Result<(), StateError>, tokio::sync::oneshot::error::RecvError>,
) -> WitnessError {
    match ended {
        Ok(Err(error)) => WitnessError::State(error),
        Ok(Ok(())) | Err(_) => WitnessError::WorkerEnded { worker: "committing thread" },
    }
}

/// Reads what is held of every log.
async fn load(state: Arc<dyn WitnessState>, logs: &LogTable) -> Result<Slots, WitnessError> {
    let loaded = tokio::task::spawn_blocking(move || state.load_all()).await;
    let records =
        loaded.map_err(|_| WitnessError::WorkerEnded { worker: "loading" })?.map_err(WitnessError::State)?;
    let slots = Slots::default();
    for record in records {
        check(&record).map_err(WitnessError::State)?;
        logs.holds(&record.origin, record.note.clone());
        slots.get_or_make(origin_hash(&record.origin)).set(Some(record));
    }
    Ok(slots)
}

/// A database does not notice a bit that turned over. What is held stands in it twice: as it is compared, and as it was
/// signed.
fn check(record: &Record) -> Result<(), StateError> {
    let Record { origin, held, note } = record;
    let checkpoint = Note::parse(note).map_err(CheckpointError::from);
    let why = match checkpoint.and_then(|note| Checkpoint::parse(note.text())) {
        Ok(shown) if (&shown.origin, shown.size, shown.root) == (origin, held.size, held.root) => {
            return Ok(());
        }
        Ok(_) => "it is not what the checkpoint beside it says".to_owned(),
        Err(error) => format!("its checkpoint cannot be read: {error}"),
    };
    let why = format!("{why}; the file is damaged: put a newer state back if there is one");
    Err(StateError::Corrupt { place: format!("the record of the log {origin:?}"), why })
}

/// Every few seconds: idle clients are forgotten, and a state that took no changes is asked again.
async fn sweep(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let period = app.limits.sweep_period;
    while tokio::time::timeout(period, stop.wait_for(|stop| *stop)).await.is_err() {
        app.forget_idle();
        app.ask_again().await;
    }
}

/// Tasks that run as long as the witness does.
#[derive(Default)]
struct Workers {
    tasks: JoinSet<&'static str>,
}

impl Workers {
    fn supervise(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let work: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(work);
        self.tasks.spawn(async move {
            work.await;
            name
        });
    }

    /// The name of the first that ends. One that failed cannot say its name; the panic itself was reported with it.
    async fn next(&mut self) -> &'static str {
        self.tasks.join_next().await.and_then(Result::ok).unwrap_or("that panicked")
    }

    async fn all(&mut self) -> Result<(), WitnessError> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(|_| WitnessError::WorkerEnded { worker: "that panicked" })?;
        }
        Ok(())
    }
}
