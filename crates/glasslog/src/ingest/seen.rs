//! What was sent last from each source, so that older repodata never follows newer (FORMATS §4): a stale mirror or a
//! cache that wakes up would otherwise roll packages back.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::{Channel, fetch::Fetched};
use crate::{
    exit::{Exit, Failed},
    fetch::state_directory,
};

/// How many earlier contents are remembered.
const MAX_EARLIER: usize = 1024;

/// The memory of one source of one log.
#[derive(Debug)]
pub(super) struct Seen {
    path: PathBuf,
    record: Record,
}

/// Its file. The source is not named in it: a URL may hold credentials.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    log: String,
    repo: String,
    subdir: String,
    last: Option<Mark>,
    /// Digests of what came before `last`, oldest first.
    earlier: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    /// SHA-256 of the source as served.
    digest: String,
    /// Its `Last-Modified`, in seconds since the Unix epoch.
    modified: Option<i64>,
    /// Whether all of it was sent. What was begun counts as sent too: some of its records may be logged.
    complete: bool,
}

impl Seen {
    /// What is remembered; nothing, the first time.
    pub(super) fn load(dir: Option<&Path>, log: &str, channel: &Channel) -> Result<Seen, Failed> {
        let dir = dir.map(Path::to_owned).or_else(state_directory).ok_or_else(|| {
            Failed::usage("there is no home directory to remember in what was sent: give --state-dir")
        })?;
        let (repo, subdir) = (channel.repo.to_string(), channel.subdir.to_string());
        let identity = [log, &repo, &subdir, &channel.location].join("\0");
        let name = digest::digest(&digest::SHA256, identity.as_bytes());
        let name = const_hex::encode(name.as_ref().get(..16).unwrap_or_default());
        let path = dir.join("ingest").join(format!("{name}.json"));
        let record = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged; remove it to start without it", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Record { log: log.to_owned(), repo, subdir, ..Record::default() }
            }
            Err(error) => {
                return Err(anyhow::Error::new(error)
                    .context(format!("cannot read {}", path.display()))
                    .into());
            }
        };
        Ok(Seen { path, record })
    }

    /// Refuses what is older than the last, or came before it.
    pub(super) fn refuse_if_older(&self, fetched: &Fetched, location: &str) -> Result<(), Failed> {
        let Some(last) = &self.record.last else { return Ok(()) };
        let digest = const_hex::encode(fetched.digest);
        if digest == last.digest {
            return Ok(());
        }
        let why = if self.record.earlier.contains(&digest) {
            "was sent before, and something newer since"
        } else if matches!((fetched.modified, last.modified), (Some(now), Some(then)) if now < then) {
            "is older than what was sent last"
        } else {
            return Ok(());
        };
        let message = format!("{location} {why}: it would roll packages back; --force sends it all the same");
        Err(Failed { exit: Exit::Stale, error: anyhow!(message) })
    }

    /// Remembers, before anything is sent, that this content follows the last.
    pub(super) fn begin(&mut self, fetched: &Fetched) -> Result<(), Failed> {
        let digest = const_hex::encode(fetched.digest);
        self.record.earlier.retain(|earlier| *earlier != digest);
        if let Some(last) = self.record.last.take().filter(|last| last.digest != digest) {
            self.record.earlier.push(last.digest);
        }
        let surplus = self.record.earlier.len().saturating_sub(MAX_EARLIER);
        self.record.earlier.drain(..surplus);
        self.record.last = Some(Mark { digest, modified: fetched.modified, complete: false });
        self.save()
    }

    /// Remembers that all of it was sent.
    pub(super) fn complete(mut self) -> Result<(), Failed> {
        if let Some(last) = &mut self.record.last {
            last.complete = true;
        }
        self.save()
    }

    fn save(&self) -> Result<(), Failed> {
        let write = || {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            fs::create_dir_all(dir)?;
            let temporary = self.path.with_extension(format!("{}.tmp", std::process::id()));
            let mut file = File::create(&temporary)?;
            file.write_all(&serde_json::to_vec(&self.record)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            File::open(dir)?.sync_all()
        };
        Ok(write().with_context(|| format!("cannot remember in {} what was sent", self.path.display()))?)
    }
}

#[cfg(test)]
mod tests {
    use glasslog_conda::names::{Repo, Subdir};

    use super::*;

    fn channel() -> Channel {
        Channel {
            location: "https://example.org/noarch/repodata.json".into(),
            repo: Repo::parse("c").unwrap(),
            subdir: Subdir::parse("noarch").unwrap(),
        }
    }

    fn content(digest: u8, modified: Option<i64>) -> Fetched {
        Fetched { file: tempfile::tempfile().unwrap(), digest: [digest; 32], modified }
    }

    /// Runs `begin` for each content in turn, and says which were refused.
    fn refused(contents: &[(u8, Option<i64>)]) -> Vec<bool> {
        let dir = tempfile::tempdir().unwrap();
        let one = |&(digest, modified): &(u8, Option<i64>)| {
            let mut seen = Seen::load(Some(dir.path()), "example.org/log", &channel()).unwrap();
            let content = content(digest, modified);
            let refused = seen.refuse_if_older(&content, "it").is_err();
            if !refused {
                seen.begin(&content).unwrap();
            }
            refused
        };
        contents.iter().map(one).collect()
    }

    #[test]
    fn what_came_before_the_last_is_refused() {
        assert_eq!(refused(&[(1, None), (2, None), (1, None), (2, None)]), [false, false, true, false]);
    }

    #[test]
    fn what_is_older_is_refused() {
        assert_eq!(
            refused(&[(1, Some(100)), (2, Some(99)), (3, Some(100)), (4, None)]),
            [false, true, false, false]
        );
    }

    /// Some of its records may be logged, so what it replaced must not come back.
    #[test]
    fn what_was_only_begun_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = Seen::load(Some(dir.path()), "l", &channel()).unwrap();
        seen.begin(&content(1, None)).unwrap();
        seen.begin(&content(2, None)).unwrap();
        let seen = Seen::load(Some(dir.path()), "l", &channel()).unwrap();
        assert!(seen.refuse_if_older(&content(1, None), "it").is_err());
        assert!(!seen.record.last.unwrap().complete);
    }

    #[test]
    fn another_log_is_another_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = Seen::load(Some(dir.path()), "one", &channel()).unwrap();
        seen.begin(&content(1, Some(5))).unwrap();
        let other = Seen::load(Some(dir.path()), "other", &channel()).unwrap();
        assert!(other.refuse_if_older(&content(2, Some(1)), "it").is_ok());
    }
}
