//! The log that is written to: how far it is, and what it takes at once.

use std::time::{Duration, Instant};

use glasslog_core::{TreeSize, checkpoint::Checkpoint, note::Note};
use reqwest::Client;
use serde::Deserialize;
use url::Url;

use crate::{
    cli::LogArgs,
    exit::{Exit, Failed, OrExit},
    fetch::{HttpSource, Source, Target},
    output::Output,
};

/// How long a last batch may take to become public before the user is told to look later.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A log over HTTP.
pub(super) struct Log {
    /// The first line of its checkpoints, as served: a name for what is remembered, not a proof.
    pub(super) origin: String,
    /// What it takes at once.
    pub(super) bounds: Bounds,
    /// Whether it knows what a conda record is, and so which records are of the same file.
    pub(super) knows_conda: bool,
    pub(super) client: Client,
    pub(super) add_batch: Url,
    pub(super) api_key: Option<String>,
    source: Source,
}

/// How much one batch may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes, framing included.
    pub(super) bytes: usize,
    /// Entries.
    pub(super) entries: usize,
}

impl Bounds {
    /// Without a log: what one would be sent.
    pub(super) const DRY: Bounds = Bounds { bytes: 1 << 20, entries: 2048 };

    /// Ours, or what the log says it takes if that is less.
    fn of(limits: &Limits, anonymous: bool) -> Bounds {
        let burst = limits.rate_burst.filter(|_| anonymous);
        let entries =
            [limits.batch_entries, burst].into_iter().flatten().fold(Bounds::DRY.entries, usize::min);
        // One entry always fits: 65,535 bytes and its length.
        let bytes = limits.batch_bytes.unwrap_or(Bounds::DRY.bytes).clamp(65_537, Bounds::DRY.bytes);
        Bounds { bytes, entries: entries.max(1) }
    }
}

/// What `/log.json` says; a log that says nothing is asked with our own limits.
#[derive(Debug, Default, Deserialize)]
struct Described {
    personality: Option<String>,
    #[serde(default)]
    limits: Limits,
}

#[derive(Debug, Default, Deserialize)]
struct Limits {
    batch_bytes: Option<usize>,
    batch_entries: Option<usize>,
    rate_burst: Option<usize>,
}

impl Log {
    /// Asks the log what it is.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64 when no log is named, 4 when it cannot be reached or serves no checkpoint.
    pub(super) async fn connect(args: &LogArgs) -> Result<Log, Failed> {
        let api_key = args.token()?;
        let target = Target::of(args)?;
        let http = HttpSource::new(target.url()?).or_exit(Exit::Usage)?;
        let (client, add_batch) = (http.client().clone(), http.url("add-batch"));
        let source = Source::Http(http);
        let checkpoint = checkpoint(&source).await?;
        let described = source.log_json().await.or_exit(Exit::LogFailure)?.unwrap_or_default();
        // Nothing here is trusted: limits are only ever made smaller, and the schema only decides about a warning.
        let described: Described = serde_json::from_slice(&described).unwrap_or_default();
        let bounds = Bounds::of(&described.limits, api_key.is_none());
        let knows_conda = described.personality.is_some_and(|schema| schema.starts_with("conda-"));
        Ok(Log { origin: checkpoint.origin, bounds, knows_conda, client, add_batch, api_key, source })
    }

    /// The size of the public checkpoint. It is not verified: a wrong one makes the log refuse, or guard less than it
    /// could, which the log itself could do anyway.
    pub(super) async fn published(&self) -> Result<TreeSize, Failed> {
        checkpoint(&self.source).await.map(|checkpoint| checkpoint.size)
    }

    /// Waits until a public checkpoint covers `last`: from then on others can verify what was sent, and the next run
    /// is not mistaken for another writer. A checkpoint that cannot be read is waited for like one that is too small:
    /// everything is acknowledged by now.
    pub(super) async fn wait_until_public(&self, last: u64, out: &Output) {
        let begun = Instant::now();
        loop {
            let why = match self.published().await {
                Ok(size) if size.0 > last => return,
                Ok(size) => format!("the log has published {size} entries"),
                Err(failed) => format!("{:#}", failed.error),
            };
            if begun.elapsed() > PATIENCE {
                let waited = PATIENCE.as_secs();
                out.warn(format_args!(
                    "everything is logged (up to index {last}), but not public after {waited} s: {why}"
                ));
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn checkpoint(source: &Source) -> Result<Checkpoint, Failed> {
    let note = source.checkpoint().await.or_exit(Exit::LogFailure)?;
    let note = Note::parse(&note).or_exit(Exit::LogFailure)?;
    Checkpoint::parse(note.text()).or_exit(Exit::LogFailure)
}
