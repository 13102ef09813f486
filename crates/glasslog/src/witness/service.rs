//! A process that witnesses: opened, listening, supervised, stopped in order.

use std::{convert::Infallible, ffi::OsStr, path::Path, sync::Arc};

use anyhow::Context;
use glasslog_core::note::{Signer, VerifierKey};
use glasslog_store::{
    disk::{Disk, RealDisk},
    lock::LockFile,
};
use glasslog_witness::{
    About, Limits, Rate, WitnessConfig,
    bastion::Bastions,
    logs::LogTable,
    state::{MemoryWitnessState, SqliteOptions, SqliteWitnessState, WitnessState},
    system_clock,
};
use tokio::{signal::unix::Signal, sync::watch};

use super::{
    Told,
    bastions::{ToldBastion, bastions},
    lists::{LIST_INTERVAL, Logs},
    signers::signers,
};
use crate::{
    exit::Failed,
    keys::{KEY_FILE, ML_DSA},
    service::{FILES_OF_THE_LOG, listen, open_files, reachable, until},
    settings::witness::WitnessSettings,
    signals,
};

/// What SIGHUP does. To be made before a start that takes time: without a handler the signal ends the process.
pub struct Reread {
    hangup: Signal,
    settings: Box<dyn Fn() -> Result<WitnessSettings, Failed> + Send + Sync>,
}

impl Reread {
    /// `settings` reads them again.
    ///
    /// # Errors
    ///
    /// When the operating system refuses the handler.
    pub fn new(
        settings: impl Fn() -> Result<WitnessSettings, Failed> + Send + Sync + 'static,
    ) -> std::io::Result<Reread> {
        Ok(Reread { hangup: signals::reread()?, settings: Box::new(settings) })
    }
}

/// A witness that listens, and will answer once it is run.
pub struct WitnessService {
    /// What the operator is told.
    pub told: Told,
    config: WitnessConfig,
    logs: Logs,
    /// Held as long as the witness runs.
    _lock: Option<LockFile>,
}

impl WitnessService {
    /// Listens, then opens keys and memory: a port that is in use is found before anything is written.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64 for settings that contradict each other or the directory, else 5.
    pub async fn start(
        settings: WitnessSettings,
        accept_older_state: bool,
    ) -> Result<WitnessService, Failed> {
        let listener = listen(settings.listen).await?;
        let url = format!("http://{}", reachable(listener.local_addr()?));
        let metrics_listener = match settings.metrics_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let opening = tokio::task::spawn_blocking(move || {
            let opened = open(&settings, accept_older_state)?;
            Ok::<_, Failed>((settings, opened))
        });
        let (settings, Opened { signers, keys, state, bastions, told_bastions, is_new, lock }) =
            opening.await??;
        let table = LogTable::new(&keys, Some(&ML_DSA));
        let mut logs = Logs::new(table.clone(), &settings)?;
        logs.read_files().await?;
        let told = Told {
            url,
            public_url: public_url(&settings, &told_bastions),
            bastions: told_bastions,
            name: keys.first().map_or("", |key| key.name()).to_owned(),
            vkeys: keys.iter().map(ToString::to_string).collect(),
            database: settings.database.as_ref().map(|path| path.display().to_string()),
            new: is_new,
            logs: table.len(),
        };
        let config = WitnessConfig {
            listener,
            metrics_listener,
            bastions,
            signers,
            state,
            logs: table,
            about: about(&settings, &told),
            limits: limits(&settings),
            trusted_proxies: settings.trusted_proxies,
            clock: system_clock(),
        };
        Ok(WitnessService { told, config, logs, _lock: lock })
    }

    /// The table of its logs, which may be changed while it runs.
    #[must_use]
    pub fn logs(&self) -> LogTable {
        self.config.logs.clone()
    }

    /// Answers until `shutdown` turns true or a worker fails. Lists are read every 15 minutes and, with `reread`, settings
    /// and lists on SIGHUP.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 5 when the witness failed.
    pub async fn run(self, shutdown: watch::Receiver<bool>, reread: Option<Reread>) -> Result<(), Failed> {
        let serving = glasslog_witness::run(self.config, until(shutdown));
        tokio::select! {
            served = serving => served.context("the witness stopped for its own safety")?,
            never = keep_reading(self.logs, reread) => match never {},
        }
        Ok(())
    }
}

/// Never ends.
async fn keep_reading(mut logs: Logs, mut reread: Option<Reread>) -> Infallible {
    loop {
        logs.read_all().await;
        let hung_up = async {
            match &mut reread {
                Some(reread) => reread.hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(LIST_INTERVAL) => {}
            _ = hung_up => {
                let Some(reread) = &reread else { continue };
                match (reread.settings)().and_then(|settings| logs.set(&settings)) {
                    Ok(()) => tracing::info!("logs read again"),
                    Err(failed) => tracing::warn!(why = format!("{:#}", failed.error), "the old logs stay"),
                }
            }
        }
    }
}

struct Opened {
    signers: Vec<Arc<dyn Signer>>,
    keys: Vec<VerifierKey>,
    bastions: Option<Bastions>,
    told_bastions: Vec<ToldBastion>,
    state: Arc<dyn WitnessState>,
    is_new: bool,
    lock: Option<LockFile>,
}

/// Opens keys and memory, making what a new witness needs. Blocks on the disk.
fn open(settings: &WitnessSettings, accept_older_state: bool) -> Result<Opened, Failed> {
    let disk = RealDisk::private();
    let make = |dir: &Path| {
        disk.create_dir_all(dir).with_context(|| format!("cannot use the directory {}", dir.display()))
    };
    // A mark without its memory is no new witness: the memory was lost.
    let mark = |path: &Path| [path.as_os_str(), OsStr::new(".mark")].join(OsStr::new(""));
    let is_new =
        settings.database.as_ref().is_none_or(|path| !path.exists() && !Path::new(&mark(path)).exists());
    if settings.dir.join(KEY_FILE).exists() {
        return Err(Failed::usage(format!(
            "{} is the directory of a log: give the witness one of its own with --dir",
            settings.dir.display()
        )));
    }
    let lock = if settings.private_keys.is_none() {
        make(&settings.dir)?;
        Some(LockFile::acquire(&settings.dir.join("lock"))?)
    } else {
        None
    };
    let signers = signers(settings, is_new)?;
    let keys: Vec<_> = signers.iter().map(|signer| signer.verifier_key().clone()).collect();
    let (bastions, told_bastions) = bastions(settings, &keys)?;
    let state: Arc<dyn WitnessState> = match &settings.database {
        None => Arc::new(MemoryWitnessState::default()),
        Some(path) => {
            make(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
            let opened = SqliteWitnessState::open(path, SqliteOptions { accept_older_state });
            Arc::new(
                opened
                    .with_context(|| format!("the witness in {} does not start", settings.dir.display()))?,
            )
        }
    };
    Ok(Opened { signers, keys, bastions, told_bastions, state, is_new, lock })
}

/// Where the world reaches it: a bastion, unless it was said otherwise.
fn public_url(settings: &WitnessSettings, bastions: &[ToldBastion]) -> Option<String> {
    settings.public_url.clone().or_else(|| bastions.first().map(|bastion| bastion.url.clone()))
}

fn about(settings: &WitnessSettings, told: &Told) -> About {
    // On loopback the address that it listens on is the one that there is; elsewhere the world may know it by another.
    let local = || settings.listen.ip().is_loopback().then(|| told.url.clone());
    About {
        submission_url: told.public_url.clone().or_else(local),
        monitoring_url: None,
        // A file's name says nothing to the world.
        lists: settings.lists.iter().filter(|list| list.contains("://")).cloned().collect(),
        list_interval: (!settings.lists.is_empty()).then_some(LIST_INTERVAL),
        contact: settings.contact.clone(),
    }
}

fn limits(settings: &WitnessSettings) -> Limits {
    let mut limits = Limits::default();
    let connections = &mut limits.connections.connections;
    *connections = (*connections).min(open_files().saturating_sub(FILES_OF_THE_LOG));
    limits.client_rate = settings.rate.and_then(|(per_second, burst)| Rate::new(per_second, burst));
    limits.global_rate = settings.global_rate.and_then(|per_second| Rate::new(per_second, per_second));
    limits
}
