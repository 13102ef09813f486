//! Repodata to batches, on a thread of its own: the parser blocks when the log is slower, so memory stays bounded.

use std::{
    collections::HashSet,
    convert::Infallible,
    fs::{File, Permissions},
    io::{self, BufWriter, Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use glasslog_conda::{
    decompress::decompress,
    repodata::{self, Event, Fault, RecordEntry, Section},
};
use indicatif::ProgressBar;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use super::{Channel, Flagged, connect::Bounds, fetch::Fetched};
use crate::exit::Failed;

/// Entries in the framing of `application/vnd.glasslog.entries`.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    /// Each entry after its length in 16 bits, big-endian.
    pub(super) framed: Bytes,
    /// How many.
    pub(super) entries: usize,
}

/// One reading of one source.
pub(super) struct Reading {
    pub(super) channel: Channel,
    pub(super) fetched: Fetched,
    pub(super) bounds: Bounds,
    pub(super) limit: Option<u64>,
    pub(super) jsonl: Option<Jsonl>,
    pub(super) batches: mpsc::Sender<Batch>,
    pub(super) progress: ProgressBar,
}

/// What was found, beside the batches.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) records: u64,
    pub(super) refused: Vec<(String, String)>,
    pub(super) conflicts: Vec<String>,
    pub(super) unknown_keys: Vec<String>,
    pub(super) flagged: Flagged,
    /// Why the source could not be read to its end.
    pub(super) incomplete: Option<String>,
}

/// How a reading ended.
pub(super) struct Ended {
    pub(super) found: Found,
    pub(super) jsonl: Option<Jsonl>,
    /// Trouble of this machine, for example a full disk below `--jsonl-out`.
    pub(super) failed: Option<Failed>,
}

/// Why the visitor ends a reading.
#[derive(Debug)]
enum Stop {
    /// `--limit` records were read.
    Limit,
    /// Nobody takes batches any more: the sender has failed, and says why itself.
    NobodyListens,
    /// The entries cannot be written out.
    Jsonl(io::Error),
}

impl Reading {
    /// Reads the source to its end, or as far as it goes.
    pub(super) fn run(self) -> Ended {
        let Reading { channel, mut fetched, bounds, limit, jsonl, batches, progress } = self;
        let mut visitor = Visitor {
            found: Found::default(),
            forming: Vec::with_capacity(bounds.bytes),
            entries: 0,
            bounds,
            limit,
            overridden: HashSet::new(),
            jsonl,
            batches,
            progress,
        };
        let looked = overridden(&mut fetched.file, &channel);
        let opened = looked.and_then(|overridden| Ok((overridden, decompress(fetched.file)?)));
        let plain = match opened {
            Ok((overridden, (_, plain))) => {
                visitor.overridden = overridden;
                plain
            }
            Err(error) => {
                return visitor
                    .end(Some(anyhow!(error).context(format!("cannot read {}", channel.location)).into()));
            }
        };
        let read = repodata::read(plain, &channel.repo, &channel.subdir, |event| visitor.visit(event));
        let summary = read.as_ref().unwrap_or_else(|stopped| &stopped.before);
        visitor.found.flagged.unwatched = summary.unwatched;
        let failed = match read {
            Ok(_) => None,
            Err(stopped) => match &stopped.fault {
                Fault::Visitor(Stop::Limit | Stop::NobodyListens) => None,
                Fault::Visitor(Stop::Jsonl(error)) => {
                    Some(anyhow!("cannot write --jsonl-out: {error}").into())
                }
                Fault::Io(error) => {
                    visitor.found.incomplete = Some(format!("{stopped}: {error}"));
                    None
                }
                Fault::Truncated | Fault::Malformed(_) => {
                    visitor.found.incomplete = Some(stopped.to_string());
                    None
                }
            },
        };
        visitor.end(failed)
    }
}

/// Files that v3 lists with another record than `packages` or `packages.conda` before it: v3's is logged and no other
/// (FORMATS §4). Both would be appended by every run, each as the successor of the other.
///
/// A source that cannot be read to its end gives what comes before; the second reading ends there too, and says why.
fn overridden(file: &mut File, channel: &Channel) -> io::Result<HashSet<String>> {
    let mut files = HashSet::new();
    let (_, plain) = decompress(&*file)?;
    let _told_by_the_second_reading = repodata::read(plain, &channel.repo, &channel.subdir, |event| {
        if let Event::Record(record) = event
            && record.overrides
        {
            files.insert(record.path.to_owned());
        }
        Ok::<_, Infallible>(())
    });
    file.rewind()?;
    Ok(files)
}

struct Visitor {
    found: Found,
    forming: Vec<u8>,
    entries: usize,
    bounds: Bounds,
    limit: Option<u64>,
    /// Paths whose record outside v3 is not to be logged.
    overridden: HashSet<String>,
    jsonl: Option<Jsonl>,
    batches: mpsc::Sender<Batch>,
    progress: ProgressBar,
}

impl Visitor {
    fn visit(&mut self, event: Event<'_>) -> Result<(), Stop> {
        match event {
            Event::Record(record) => self.record(&record)?,
            Event::Refused { name, why, offset } => {
                self.found.refused.push((name.to_owned(), format!("{why} (at byte {offset})")));
            }
            Event::Conflict { file, .. } => self.found.conflicts.push(file.to_owned()),
            Event::UnknownKey { key } => self.found.unknown_keys.push(key.to_owned()),
            // What is gone becomes a tombstone once channels are followed; one look alone cannot tell.
            Event::Removed { .. } => {}
        }
        Ok(())
    }

    fn record(&mut self, record: &RecordEntry<'_>) -> Result<(), Stop> {
        if record.section != Section::V3 && self.overridden.contains(record.path) {
            return Ok(());
        }
        if self.limit.is_some_and(|limit| self.found.records >= limit) {
            return Err(Stop::Limit);
        }
        // The parser never makes an entry that does not fit its length.
        let Ok(length) = u16::try_from(record.entry.len()) else {
            self.found.refused.push((record.path.to_owned(), "the entry is longer than 65,535 bytes".into()));
            return Ok(());
        };
        if let Some(jsonl) = &mut self.jsonl {
            jsonl.write(record.entry).map_err(Stop::Jsonl)?;
        }
        let full = self.entries >= self.bounds.entries
            || self.forming.len() + 2 + record.entry.len() > self.bounds.bytes;
        if full {
            self.hand_over()?;
        }
        self.forming.extend_from_slice(&length.to_be_bytes());
        self.forming.extend_from_slice(record.entry);
        self.entries += 1;
        self.found.records += 1;
        let flagged = &mut self.found.flagged;
        flagged.hashless += u64::from(record.hashless);
        flagged.md5_only += u64::from(record.md5_only);
        flagged.meta_raw += u64::from(record.meta_raw.is_some());
        self.progress.inc(1);
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), Stop> {
        if self.entries == 0 {
            return Ok(());
        }
        let framed = Bytes::from(std::mem::replace(&mut self.forming, Vec::with_capacity(self.bounds.bytes)));
        let batch = Batch { framed, entries: std::mem::take(&mut self.entries) };
        self.batches.blocking_send(batch).map_err(|_| Stop::NobodyListens)
    }

    fn end(mut self, failed: Option<Failed>) -> Ended {
        // What was read before the trouble is as good as any other record, and is sent.
        let _nobody_listens = self.hand_over();
        Ended { found: self.found, jsonl: self.jsonl, failed }
    }
}

/// `--jsonl-out`: every entry on a line of its own. The file appears when it is complete; until then it is a temporary
/// one beside its place, which goes when this is dropped.
pub(super) struct Jsonl {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl Jsonl {
    /// Begins the file beside its place.
    pub(super) fn create(path: &Path) -> Result<Jsonl, Failed> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new()
            .prefix(".glasslog-jsonl-")
            // What the umask leaves of it: entries are no secret.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(dir)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Jsonl { file: BufWriter::new(file), path: path.to_owned() })
    }

    /// How far it is, in bytes.
    pub(super) fn position(&mut self) -> io::Result<u64> {
        self.file.stream_position()
    }

    /// Takes back what was written after `position`.
    pub(super) fn truncate(&mut self, position: u64) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(position))?;
        self.file.get_ref().as_file().set_len(position)
    }

    fn write(&mut self, entry: &[u8]) -> io::Result<()> {
        self.file.write_all(entry)?;
        self.file.write_all(b"\n")
    }

    /// Puts the file in its place.
    pub(super) fn finish(self) -> Result<(), Failed> {
        let Jsonl { file, path } = self;
        let put = || {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)
        };
        put().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use glasslog_conda::names::{Repo, Subdir};
    use glasslog_core::entry_bundle::EntryBundle;

    use super::*;

    fn read(repodata: &str, bounds: Bounds, limit: Option<u64>) -> (Ended, Vec<Batch>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(repodata.as_bytes()).unwrap();
        file.rewind().unwrap();
        let (batches, mut incoming) = mpsc::channel(64);
        let reading = Reading {
            channel: Channel {
                location: "test".into(),
                repo: Repo::parse("c").unwrap(),
                subdir: Subdir::parse("noarch").unwrap(),
            },
            fetched: Fetched { file, digest: [0; 32], modified: None },
            bounds,
            limit,
            jsonl: None,
            batches,
            progress: ProgressBar::hidden(),
        };
        let read = reading.run();
        let mut handed_over = Vec::new();
        while let Ok(batch) = incoming.try_recv() {
            handed_over.push(batch);
        }
        (read, handed_over)
    }

    const WIDE: Bounds = Bounds { bytes: 1 << 20, entries: 100 };

    #[test]
    fn batches_keep_their_bounds() {
        let repodata = r#"{"packages":{"a.tar.bz2":{},"b.tar.bz2":{},"c.tar.bz2":{}}}"#;
        let (ended, batches) = read(repodata, Bounds { bytes: 1 << 20, entries: 2 }, None);
        assert_eq!(ended.found.records, 3);
        assert_eq!(batches.iter().map(|batch| batch.entries).collect::<Vec<_>>(), [2, 1]);
        let (_, batches) = read(repodata, Bounds { bytes: 10, entries: 100 }, None);
        assert_eq!(batches.len(), 3, "one entry is a batch, whatever the bound");
    }

    #[test]
    fn what_v3_overrides_is_not_sent() {
        let repodata =
            r#"{"packages":{"a-1-0.tar.bz2":{"x":1},"b-1-0.tar.bz2":{}},"v3":{"tar.bz2":{"a-1-0":{"x":2}}}}"#;
        let (ended, batches) = read(repodata, WIDE, None);
        assert_eq!((ended.found.records, ended.found.conflicts), (2, vec!["a-1-0.tar.bz2".to_owned()]));
        let bundle = EntryBundle::parse_any(&batches[0].framed).unwrap();
        let sent: Vec<_> = bundle.iter().map(String::from_utf8_lossy).collect();
        assert_eq!((batches.len(), sent.len()), (1, 2));
        assert!(sent[0].contains("b-1-0.tar.bz2") && sent[1].contains(r#""meta":{"x":2}"#), "{sent:?}");
    }

    /// Two spellings of one file within v3: the first of them, whatever stands before.
    #[test]
    fn v3_itself_lists_a_file_twice() {
        for packages in ["", r#""a.b.c":{"x":0}"#, r#""a.b.c":{"x":1}"#] {
            let repodata = format!(
                r#"{{"packages":{{{packages}}},"v3":{{"b.c":{{"a":{{"x":1}}}},"c":{{"a.b":{{"x":2}}}}}}}}"#
            );
            let (ended, batches) = read(&repodata, WIDE, None);
            assert_eq!(ended.found.records, 1, "{packages}");
            assert!(!ended.found.conflicts.is_empty(), "{packages}");
            assert!(String::from_utf8_lossy(&batches[0].framed).contains(r#""meta":{"x":1}"#), "{packages}");
        }
    }

    #[test]
    fn what_comes_before_a_cut_is_sent_and_the_cut_is_told() {
        let (ended, batches) = read(r#"{"packages":{"a.tar.bz2":{},"b.tar.bz2":{"#, WIDE, None);
        assert_eq!(batches.iter().map(|batch| batch.entries).sum::<usize>(), 1);
        assert!(ended.found.incomplete.unwrap().contains("cut off"), "and no exit code 0");
    }

    #[test]
    fn a_limit_is_a_limit() {
        let (ended, batches) = read(r#"{"packages":{"a.tar.bz2":{},"b.tar.bz2":{}}}"#, WIDE, Some(1));
        assert_eq!((ended.found.records, batches.len()), (1, 1));
        assert!(ended.found.incomplete.is_none() && ended.failed.is_none());
    }
}
