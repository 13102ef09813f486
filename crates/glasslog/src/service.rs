//! A process that serves logs: opened, listening, supervised, stopped in order.

use std::{future::Future, net::SocketAddr, sync::Arc, task::Poll};

use anyhow::Context;
use glasslog_core::{
    TreeSize,
    note::{Note, VerifierKey},
};
use glasslog_log::{Failure, Log, Workers};
use glasslog_server::{Limits, Mount, Rate, ServerConfig, Tokens};
use glasslog_store::lock::LockFile;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    exit::{Exit, Failed},
    log_dir::{self, OpenDir},
    settings::{LogSettings, Settings},
    witnesses,
};

/// Open files that are kept from connections: segments, sorted runs, objects on their way.
pub(crate) const FILES_OF_THE_LOG: usize = 256;

/// Logs that run, and the listener that will answer for them.
pub struct Service {
    /// Where it listens, as an address that this machine can use: `http://127.0.0.1:2025`.
    pub url: String,
    /// Each log, as the operator is told.
    pub logs: Vec<Served>,
    /// The tokens for writes; they may be replaced while it runs.
    pub tokens: Tokens,
    server: ServerConfig,
    mounts: Vec<Mount>,
    listener: TcpListener,
    running: Vec<Running>,
}

/// One log, as the operator is told.
#[derive(Clone, Debug, Serialize)]
pub struct Served {
    /// Its origin.
    pub origin: String,
    /// The keys that sign its checkpoints.
    pub vkeys: Vec<String>,
    /// Where it answers.
    pub url: String,
    /// Where it lies.
    pub dir: String,
    /// Whether it was made by this start.
    pub new: bool,
    /// How many entries it holds.
    pub size: u64,
    /// The schema of its entries; without one any bytes are taken.
    pub schema: Option<&'static str>,
    /// The map function of its index, if it has one.
    pub map_fn: Option<String>,
    /// The keys of its own cosigners.
    pub cosigners: Vec<String>,
    /// Name and address of each witness that is asked.
    pub witnesses: Vec<String>,
}

/// What is needed to read a log's witness policy again.
#[derive(Clone)]
struct PolicySource {
    /// Which of the settings' logs it is.
    prefix: String,
    log_keys: Vec<VerifierKey>,
}

/// Replaces what may change while a service runs.
#[derive(Clone)]
pub struct Reloader {
    tokens: Tokens,
    logs: Vec<(Log, PolicySource)>,
}

impl Reloader {
    /// Tokens and witness policies as `settings` say now. Blocks on files.
    ///
    /// # Errors
    ///
    /// What [`witnesses::policy`] says of the first policy that cannot be used; nothing is replaced then.
    pub fn reload(&self, settings: &Settings) -> Result<(), Failed> {
        let mut policies = Vec::new();
        for (log, source) in &self.logs {
            let told = settings.logs.iter().find(|told| told.prefix == source.prefix);
            let Some(told) = told else { continue };
            match (witnesses::policy(&told.witnesses, &source.log_keys)?, log.policy_text()) {
                (Some(policy), Some(_)) => policies.push((log, policy)),
                (None, None) => {}
                _ => tracing::warn!(
                    log = log.origin(),
                    "witnesses were added or removed altogether: restart to make that take effect"
                ),
            }
        }
        self.tokens.replace(settings.api_keys.iter().map(|key| key.as_bytes()));
        for (log, (policy, text)) in policies {
            log.replace_policy(policy, &text)?;
        }
        Ok(())
    }
}

/// A log's threads, and the locks that they write under.
struct Running {
    log: Log,
    workers: Workers,
    policy: PolicySource,
    _locks: Vec<LockFile>,
}

impl Service {
    /// Listens, then opens each log: a port that is in use is found before anything is written.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64 for settings that contradict a directory, else 5.
    pub async fn start(settings: Settings) -> Result<Service, Failed> {
        let mut limits = Limits::default();
        limits.connections = limits.connections.min(open_files().saturating_sub(FILES_OF_THE_LOG));
        let listener = listen(settings.listen).await?;
        let url = format!("http://{}", reachable(listener.local_addr()?));
        let metrics_listener = match settings.metrics_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let (mut logs, mut mounts, mut running) = (Vec::new(), Vec::new(), Vec::new());
        for log in settings.logs {
            let base = format!("{url}{}", log.prefix);
            let (served, mount, threads) = tokio::task::spawn_blocking(move || open(log, base)).await??;
            logs.push(served);
            mounts.push(mount);
            running.push(threads);
        }
        let tokens = Tokens::new(settings.api_keys.iter().map(|key| key.as_bytes()));
        let server = ServerConfig {
            public_url: settings.public_url,
            tokens: tokens.clone(),
            anonymous_writes: settings.anonymous_writes,
            rate: settings.rate.and_then(|(per_second, burst)| Rate::new(per_second, burst)),
            trusted_proxies: settings.trusted_proxies,
            metrics_listener,
            limits,
        };
        Ok(Service { url, logs, tokens, server, mounts, listener, running })
    }

    /// What SIGHUP needs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        let logs = self.running.iter().map(|running| (running.log.clone(), running.policy.clone())).collect();
        Reloader { tokens: self.tokens.clone(), logs }
    }

    /// Answers until `shutdown` turns true or a worker fails; then stops each log in order.
    ///
    /// Gives what was recorded and published when it was asked to stop.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 5 when the server or a log failed.
    pub async fn run(self, shutdown: watch::Receiver<bool>) -> Result<Vec<Ended>, Failed> {
        let Service { server, mounts, listener, mut running, .. } = self;
        let asked = until(shutdown.clone());
        let serve = glasslog_server::run(server, mounts, listener, asked);
        tokio::select! {
            served = serve => served?,
            why = first_failure(&mut running) => {
                return Err(Failed::new(Exit::OwnFailure, format!("the log stopped for its own safety: {why}")));
            }
        }
        let mut ended = Vec::new();
        for log in running {
            // Each is stopped in order, whatever became of the one before.
            ended.push(tokio::task::spawn_blocking(move || stop(log)).await?);
        }
        ended.into_iter().collect()
    }
}

/// Connections and files share one limit, which many systems set at 1,024: raises it as far as this process may, so that
/// idle connections cannot take from the log the files that it writes. Gives the limit that holds.
pub(crate) fn open_files() -> usize {
    let raised = Rlimit { current: getrlimit(Resource::Nofile).maximum, ..getrlimit(Resource::Nofile) };
    if let Err(why) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%why, "the limit on open files stays as it is");
    }
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// How far a log was when it ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Entries that were acknowledged and are under a recorded checkpoint.
    pub recorded: TreeSize,
    /// Entries that the public checkpoint covers.
    pub published: TreeSize,
}

/// Completes when `shutdown` turns true.
pub async fn until(mut shutdown: watch::Receiver<bool>) {
    if shutdown.wait_for(|asked| *asked).await.is_err() {
        // Nobody is left who could ask.
        std::future::pending::<()>().await;
    }
}

pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Failed> {
    let context =
        || format!("cannot listen on {address}; is another process there? Choose another with --listen");
    Ok(TcpListener::bind(address).await.with_context(context)?)
}

/// The address under which this machine reaches a listener that listens on every address.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback =
            if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    address
}

/// Opens one log and sets its threads going. Blocks on the disk.
fn open(settings: LogSettings, url: String) -> Result<(Served, Mount, Running), Failed> {
    let OpenDir { config, stores, policy, is_new, locks } = log_dir::open(&settings)?;
    let cosigners = config.cosigners.iter().map(|signer| signer.verifier_key().to_string()).collect();
    let log_keys = config.signers.iter().map(|signer| signer.verifier_key().clone()).collect();
    let opened = match policy {
        None => {
            let public = stores.objects.checkpoint().ok().flatten();
            let note = public.and_then(|note| Note::parse(&note).ok());
            if note.is_some_and(|note| witnesses::have_cosigned(&note, &config.origin)) {
                tracing::warn!(
                    log = config.origin,
                    "witnesses have cosigned this log, and it starts without any: nobody who asks for their cosignatures will \
                     believe what it publishes from now on"
                );
            }
            Log::open(config, stores)
        }
        Some(policy) => {
            Log::open_witnessed(config, stores, witnesses::witnessing(&settings.witnesses, policy)?)
        }
    };
    let (log, workers) = opened.map_err(|failure| refused(failure, &settings))?;
    let served = Served {
        origin: log.origin().to_owned(),
        vkeys: log.vkeys(),
        url,
        dir: settings.dir.display().to_string(),
        new: is_new,
        size: log.progress().sequenced.0,
        schema: log.schema(),
        map_fn: log.map_fn().map(|map_fn| map_fn.name().to_owned()),
        cosigners,
        witnesses: log
            .witnesses()
            .into_iter()
            .map(|witness| format!("{}  {}", witness.name, witness.url))
            .collect(),
    };
    let mount = Mount { prefix: settings.prefix, repos: settings.repos, ..Mount::at_root(log.clone()) };
    let policy = PolicySource { prefix: mount.prefix.clone(), log_keys };
    Ok((served, mount, Running { log, workers, policy, _locks: locks }))
}

/// A directory of another log is a matter of settings; everything else is trouble of this machine.
fn refused(failure: Failure, settings: &LogSettings) -> Failed {
    let exit = match &failure {
        Failure::State(glasslog_store::log_state::StateError::OtherLog { .. }) | Failure::Anchors(_) => {
            Exit::Usage
        }
        _ => Exit::OwnFailure,
    };
    let context = format!("the log in {} does not start", settings.dir.display());
    Failed { exit, error: anyhow::Error::new(failure).context(context) }
}

/// Completes with the reason when any thread of any log fails (invariant 7: the process ends with it).
async fn first_failure(running: &mut [Running]) -> Arc<str> {
    let mut failures: Vec<_> = running.iter_mut().map(|log| Box::pin(log.workers.failed())).collect();
    std::future::poll_fn(|context| {
        failures
            .iter_mut()
            .map(|failure| failure.as_mut().poll(context))
            .find(Poll::is_ready)
            .unwrap_or(Poll::Pending)
    })
    .await
}

fn stop(running: Running) -> Result<Ended, Failed> {
    let origin = running.log.origin().to_owned();
    let stopped = running.workers.stop().map_err(|why| {
        Failed::new(
            Exit::OwnFailure,
            format!("{origin} did not stop in order: {why}; what was acknowledged is durable"),
        )
    })?;
    Ok(Ended { recorded: stopped.recorded, published: stopped.published })
}
