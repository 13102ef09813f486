//! HTTP for a log: c2sp.org/tlog-tiles reads, `POST /add`, proofs, metrics, tokens and limits.
//!
//! To follow an entry, begin at [`add`](crate) (`add.rs`) and go on in `glasslog_log`. To see what stands at which
//! path, read `app.rs`: one `match`, no middleware. Connections are accepted in `glasslog_http`; immutable objects are
//! answered from memory in `object.rs`.
//!
//! What is absent: TLS and HTTP/2 (a proxy's work), sessions, and any state that a restart would miss.
#![forbid(unsafe_code)]

mod add;
mod answer;
mod app;
mod batch;
mod checkpoint;
mod config;
mod encoding;
mod gate;
mod metrics;
mod object;
mod openapi;
mod outgoing;
mod page;
mod proof;
mod range;
mod readers;
mod status;
mod tokens;
mod vindex;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch, task::JoinSet};

pub use glasslog_http::rate::Rate;
use glasslog_http::serve::serve;

use crate::app::{Access, App, Door};
pub use crate::{
    config::{Limits, Mount, ServerConfig},
    openapi::openapi_json,
    tokens::Tokens,
};

/// Why a server could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The listener has no address.
    #[error("the listener cannot be used")]
    Listener(#[from] std::io::Error),
    /// Two logs at one place, or a place that is no path.
    #[error("a log cannot stand at {prefix:?}: {why}")]
    Prefix {
        /// The prefix concerned.
        prefix: String,
        /// What is wrong and what to do.
        why: &'static str,
    },
    /// A worker ended although nobody had asked it to: a bug. The process should end with it.
    #[error("the worker `{worker}` ended unexpectedly; restart the server and report this")]
    WorkerEnded {
        /// Its name.
        worker: &'static str,
    },
}

/// Serves `mounts` on `listener` until `shutdown` completes and open connections have been drained.
///
/// The logs are left running: whoever started them stops them afterwards.
///
/// # Errors
///
/// [`ServerError`] when it cannot start, or when one of its workers ends before it was asked to.
pub async fn run(
    mut config: ServerConfig,
    mounts: Vec<Mount>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    check_prefixes(&mounts)?;
    let (stop, stopping) = watch::channel(false);
    let metrics_listener = config.metrics_listener.take();
    let app = Arc::new(App::new(
        config,
        mounts,
        listener.local_addr()?,
        metrics_listener.is_none(),
        stopping.clone(),
    ));

    let limits = app.limits.connection_limits();
    let door = |access| Arc::new(Door { app: app.clone(), access });
    let mut workers = JoinSet::new();
    let mut supervise = |name: &'static str, worker: Worker| {
        workers.spawn(async move {
            worker.await;
            name
        });
    };
    supervise("listener", Box::pin(serve(door(Access::Public), listener, limits.clone(), stopping.clone())));
    supervise("sweeper", Box::pin(sweep(app.clone(), stopping.clone())));
    if let Some(listener) = metrics_listener {
        supervise("metrics listener", Box::pin(serve(door(Access::Metrics), listener, limits, stopping)));
    }

    tokio::select! {
        ended = workers.join_next() => {
            // A worker that failed cannot say its name; the panic itself was reported with it.
            let worker = ended.and_then(Result::ok).unwrap_or("that panicked");
            return Err(ServerError::WorkerEnded { worker });
        }
        () = shutdown => {}
    }
    stop.send_replace(true);
    while let Some(ended) = workers.join_next().await {
        if ended.is_err() {
            return Err(ServerError::WorkerEnded { worker: "that panicked" });
        }
    }
    Ok(())
}

type Worker = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Forgets idle clients every few seconds.
async fn sweep(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    const PERIOD: Duration = Duration::from_secs(10);
    while tokio::time::timeout(PERIOD, stop.wait_for(|stop| *stop)).await.is_err() {
        app.gate.forget_idle();
        app.metrics.rate_buckets.set(i64::try_from(app.gate.remembered_clients()).unwrap_or(i64::MAX));
    }
}

/// Prefixes are compared with paths as they are sent, so only characters that no client encodes may be in them.
fn check_prefixes(mounts: &[Mount]) -> Result<(), ServerError> {
    let segment = |segment: &str| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    for (n, mount) in mounts.iter().enumerate() {
        let prefix = &mount.prefix;
        let refused = |why| Err(ServerError::Prefix { prefix: prefix.clone(), why });
        if !prefix.is_empty() && !prefix.strip_prefix('/').is_some_and(|path| path.split('/').all(segment)) {
            return refused(
                "a prefix is empty, or like /conda-forge: letters, digits and -._~ between slashes",
            );
        }
        if mounts[..n].iter().any(|other| other.prefix == *prefix) {
            return refused("another log stands there already; give each its own prefix");
        }
    }
    Ok(())
}
