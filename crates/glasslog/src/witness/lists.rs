//! Which logs a witness knows: those of its settings, and those of lists, which are read again and again.
//!
//! Lists only add (`LogTable::merge_list`). A list that cannot be read changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use glasslog_core::note::VerifierKey;
use glasslog_witness::{
    decide::LogKeys,
    list::{self, LogList, MAX_LIST_BYTES},
    logs::{KnownLog, LogTable, Source},
};
use url::{Host, Url};

use crate::{
    exit::{Exit, Failed, OrExit},
    fetch::{HttpSource, read_at_most},
    settings::witness::WitnessSettings,
};

/// How often lists are read.
pub(super) const LIST_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// How long a list may take to arrive.
const LIST_TIMEOUT: Duration = Duration::from_secs(120);

/// What settings and lists say about logs.
pub(super) struct Logs {
    table: LogTable,
    told: Vec<KnownLog>,
    lists: Vec<String>,
    disabled: BTreeSet<String>,
    /// Logs of lists that the operator has disabled.
    refused: BTreeMap<String, KnownLog>,
}

impl Logs {
    /// The logs of `settings`, in a table that requests are judged by.
    pub(super) fn new(table: LogTable, settings: &WitnessSettings) -> Result<Logs, Failed> {
        let mut logs = Logs {
            table,
            told: Vec::new(),
            lists: Vec::new(),
            disabled: BTreeSet::new(),
            refused: BTreeMap::new(),
        };
        logs.set(settings)?;
        Ok(logs)
    }

    /// Replaces what settings said before; when that is not possible, nothing changes.
    pub(super) fn set(&mut self, settings: &WitnessSettings) -> Result<(), Failed> {
        for list in &settings.lists {
            check_place(list)?;
        }
        let disabled: BTreeSet<String> = settings.disabled.iter().cloned().collect();
        let told = told(&settings.logs, &disabled)?;
        // A log that a list named once is refused at once, whether or not that list can be read and still names it.
        let known = self.table.logs().into_iter().filter(|log| matches!(log.source, Source::List(_)));
        let known = known.chain(self.refused.values().cloned());
        let refused = known.filter(|log| disabled.contains(log.keys.origin())).map(|log| {
            let origin = log.keys.origin().to_owned();
            (origin, KnownLog { disabled: true, source: Source::Settings, ..log })
        });
        let refused = refused.collect();
        let next = Logs { table: self.table.clone(), told, lists: settings.lists.clone(), disabled, refused };
        next.configure()?;
        *self = next;
        Ok(())
    }

    fn configure(&self) -> Result<(), Failed> {
        let told = |origin: &String| self.told.iter().any(|log| log.keys.origin() == origin);
        let refused = self.refused.iter().filter(|(origin, _)| !told(origin)).map(|(_, log)| log.clone());
        self.table.configure(self.told.iter().cloned().chain(refused).collect()).or_exit(Exit::Usage)
    }

    /// Reads every list that is a file: at a start, one that is wrong is a mistake of the operator.
    pub(super) async fn read_files(&mut self) -> Result<(), Failed> {
        for place in self.lists.clone().iter().filter(|place| !is_url(place)) {
            let list = read(place).await.with_context(|| format!("cannot take the list {place}"))?;
            self.take(place, list)?;
        }
        Ok(())
    }

    /// Reads every list. What cannot be read is told, and changes nothing.
    pub(super) async fn read_all(&mut self) {
        for place in self.lists.clone() {
            let taken = match read(&place).await {
                Ok(list) => self.take(&place, list).map_err(|failed| failed.error),
                Err(why) => Err(why),
            };
            if let Err(why) = taken {
                tracing::warn!(
                    list = place,
                    why = format!("{why:#}"),
                    "a list of logs cannot be read; what is known stays"
                );
            }
        }
    }

    fn take(&mut self, place: &str, list: LogList) -> Result<(), Failed> {
        for (line, why) in &list.skipped {
            tracing::warn!(list = place, line, why, "an entry of a list of logs was left out");
        }
        let (refused, listed): (Vec<_>, Vec<_>) =
            list.logs.into_iter().partition(|log| self.disabled.contains(log.keys.origin()));
        let known = self.refused.len();
        for log in refused {
            let origin = log.keys.origin().to_owned();
            let log =
                KnownLog { keys: log.keys, qpd: Some(log.qpd), disabled: true, source: Source::Settings };
            self.refused.entry(origin).or_insert(log);
        }
        if self.refused.len() > known {
            self.configure()?;
        }
        let merged = self.table.merge_list(place, listed);
        let (added, changed) = (merged.added, merged.key_changes.len());
        tracing::info!(list = place, added, known = merged.known, key_changes = changed, "list of logs read");
        Ok(())
    }
}

/// The logs of the settings, each with all its keys.
fn told(given: &[(String, VerifierKey)], disabled: &BTreeSet<String>) -> Result<Vec<KnownLog>, Failed> {
    let mut keys: BTreeMap<&str, Vec<VerifierKey>> = BTreeMap::new();
    for (origin, key) in given {
        let of_log = keys.entry(origin).or_default();
        if !of_log.contains(key) {
            of_log.push(key.clone());
        }
    }
    let known = |(origin, keys)| {
        let keys = LogKeys::new(origin, keys).context("WITNESS_LOGS").or_exit(Exit::Usage)?;
        Ok(KnownLog { keys, qpd: None, disabled: disabled.contains(origin), source: Source::Settings })
    };
    keys.into_iter().map(known).collect()
}

fn is_url(place: &str) -> bool {
    place.contains("://")
}

/// Over the network a list must come by https: whoever is on the way could add logs to it.
fn check_place(place: &str) -> Result<(), Failed> {
    if !is_url(place) {
        return Ok(());
    }
    let loopback = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match Url::parse(place) {
        Ok(url) if url.scheme() == "https" || (url.scheme() == "http" && loopback(&url)) => Ok(()),
        _ => Err(Failed::usage(format!(
            "{place}: a list of logs is a file, or comes by https (by http from this machine alone)"
        ))),
    }
}

async fn read(place: &str) -> anyhow::Result<LogList> {
    if is_url(place) {
        let bytes = download(place).await?;
        return Ok(tokio::task::spawn_blocking(move || list::parse(&bytes)).await??);
    }
    let path = PathBuf::from(place);
    let read = move || {
        let bytes = read_at_most(&path, MAX_LIST_BYTES as u64).map_err(|failed| failed.error)?;
        anyhow::Ok(list::parse(&bytes)?)
    };
    tokio::task::spawn_blocking(read).await?
}

async fn download(place: &str) -> anyhow::Result<Bytes> {
    // The last part of the address, below the rest of it.
    let url = Url::parse(place)?;
    let last = url.path().rsplit('/').next().unwrap_or_default();
    let query = url.query().map_or(String::new(), |query| format!("?{query}"));
    let name = format!("./{last}{query}");
    let source = HttpSource::new(url.join(".")?.as_str())?;
    let fetched = tokio::time::timeout(LIST_TIMEOUT, source.get(&name, MAX_LIST_BYTES)).await;
    fetched.context("it does not arrive in time")??.context("there is no such file")
}
