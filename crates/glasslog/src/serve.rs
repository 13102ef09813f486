//! `glasslog serve`: a running log. An empty directory is enough.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::{
    exit::{Exit, Failed, OrExit, Outcome},
    logging,
    output::{Output, Tone},
    service::{Ended, Reloader, Served, Service},
    settings::{DEFAULT_DIR, DEFAULT_FILE, LogSettings, SettingFlags, Settings, layers::Layers},
    signals,
};

/// Arguments of `glasslog serve`.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArgs {
    /// Where the log keeps everything [default: ./glasslog-data]
    #[arg(long, value_name = "DIR", help = format!("Where the log keeps everything [default: {DEFAULT_DIR}]"))]
    pub dir: Option<PathBuf>,
    /// Settings file
    #[arg(long, value_name = "FILE", help = format!("Settings file [default: {DEFAULT_FILE}, if there is one]"))]
    pub config: Option<PathBuf>,
    /// One flag for each setting.
    #[command(flatten)]
    pub settings: SettingFlags,
}

impl ServeArgs {
    /// What was given, by whom.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64.
    pub fn layers(&self) -> Result<Layers, Failed> {
        Layers::collect(&self.settings, &|name| std::env::var(name).ok(), self.file()).or_exit(Exit::Usage)
    }

    /// The settings file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        let in_place = Path::new(DEFAULT_FILE);
        self.config.as_deref().or_else(|| in_place.exists().then_some(in_place))
    }

    /// What it comes to.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64.
    pub fn resolve(&self) -> Result<Settings, Failed> {
        Settings::resolve(&self.layers()?, self.dir.as_deref()).or_exit(Exit::Usage)
    }

    /// The one log that a command is about. When the settings file has several, `--dir` is the directory of the one that is
    /// meant.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64, also when it is not clear which.
    pub fn one_log(&self) -> Result<LogSettings, Failed> {
        let layers = self.layers()?;
        let dir = self.dir.as_deref();
        let logs_below = |base| Settings::resolve(&layers, base).or_exit(Exit::Usage).map(|all| all.logs);
        if layers.logs.len() <= 1 {
            let one = logs_below(dir)?.pop();
            return one.ok_or_else(|| Failed::usage("the settings have no log"));
        }
        // They may be served below any `--dir`, which is not said here.
        for base in [None, dir.and_then(Path::parent)] {
            let meant = |log: &LogSettings| dir.is_some_and(|dir| is_same_dir(&log.dir, dir));
            if let Some(log) = logs_below(base)?.into_iter().find(meant) {
                return Ok(log);
            }
        }
        let dirs: Vec<_> = logs_below(None)?.iter().map(|log| log.dir.display().to_string()).collect();
        let dirs = dirs.join(", ");
        Err(Failed::usage(format!(
            "the settings file has several logs; name the directory of one of them: {dirs}"
        )))
    }
}

fn is_same_dir(one: &Path, other: &Path) -> bool {
    let resolved = |dir: &Path| dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    resolved(one) == resolved(other)
}

/// Runs until SIGTERM or SIGINT, then drains: what was acknowledged is integrated and published before it ends.
///
/// # Errors
///
/// [`Failed`] with 64 for settings, 5 when a log cannot start or stopped for its own safety.
pub async fn run(args: ServeArgs, out: &Output) -> Outcome {
    let settings = args.resolve()?;
    logging::init(settings.log_format);
    let shutdown = signals::shutdown()?;
    // From the beginning: whoever sends SIGHUP while a log recovers must not end it.
    let hangup = signals::reread()?;
    let in_memory = settings.logs.iter().any(|log| log.state == crate::settings::values::StatePlace::Memory);
    let without_tokens = settings.api_keys.is_empty();
    let service = Service::start(settings).await?;
    announce(&service, out);
    if in_memory {
        out.warn(
            "DATABASE_URL=sqlite::memory: keeps the log in memory; everything is gone when this process ends",
        );
    }
    reread(hangup, args, service.reloader(), without_tokens);
    let logs = service.logs.clone();
    for (log, ended) in logs.iter().zip(service.run(shutdown).await?) {
        farewell(log, ended, out);
    }
    Ok(Exit::Ok)
}

#[derive(Serialize)]
struct Started<'a> {
    url: &'a str,
    logs: &'a [Served],
}

/// What a script needs stands on the first line of stdout: `listening on URL`.
fn announce(service: &Service, out: &Output) {
    out.json(&Started { url: &service.url, logs: &service.logs });
    out.line(format_args!("listening on {}", out.paint(Tone::Strong, &service.url)));
    for log in &service.logs {
        let state = if log.new { "new log".to_owned() } else { format!("{} entries", log.size) };
        out.line(format_args!(
            "  origin  {}  ({state}, in {})",
            out.paint(Tone::Strong, &log.origin),
            log.dir
        ));
        for vkey in &log.vkeys {
            out.line(format_args!("  vkey    {vkey}"));
        }
        if let Some(map_fn) = &log.map_fn {
            out.line(format_args!("  indexed by {map_fn}"));
        }
        for vkey in &log.cosigners {
            out.line(format_args!("  cosigns its own checkpoints  {vkey}"));
        }
        for witness in &log.witnesses {
            out.line(format_args!("  witness {witness}"));
        }
        match log.schema {
            None => out.note(format_args!("Try:  curl -d hello '{}/add?wait=published'", log.url)),
            Some(_) => {
                out.note(format_args!(
                    "Try:  glasslog ingest conda REPODATA --repo NAME --log-url {}",
                    log.url
                ));
            }
        }
    }
}

fn farewell(log: &Served, ended: Ended, out: &Output) {
    if ended.published < ended.recorded {
        out.warn(format_args!(
            "{}: {} entries are recorded, {} are public; the next start publishes the rest",
            log.origin, ended.recorded, ended.published
        ));
    } else {
        out.note(format_args!("{}: stopped, all {} entries are public", log.origin, ended.published));
    }
}

/// On SIGHUP reads tokens and witness policies again, from wherever they came. What cannot be read leaves the old ones.
fn reread(
    mut hangup: tokio::signal::unix::Signal,
    args: ServeArgs,
    reloader: Reloader,
    without_tokens: bool,
) {
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let (args, reloader) = (args.clone(), reloader.clone());
            let reread = tokio::task::spawn_blocking(move || {
                let settings = args.resolve()?;
                // Whether writes need a token was decided at the start, and so must not change under the operator.
                if settings.api_keys.is_empty() != without_tokens {
                    tracing::warn!(
                        "tokens were added or removed altogether: restart to make that take effect"
                    );
                    return Ok(());
                }
                reloader.reload(&settings)?;
                tracing::info!("tokens and witness policies read again");
                Ok::<_, Failed>(())
            });
            if let Ok(Err(failed)) = reread.await {
                tracing::warn!(why = format!("{:#}", failed.error), "the old settings stay");
            }
        }
    });
}
