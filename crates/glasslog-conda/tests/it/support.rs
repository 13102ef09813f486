//! What the tests share.

use std::{convert::Infallible, io::Read};

use glasslog_conda::{
    names::{Repo, Subdir},
    repodata::{Event, Fault, ReadError, RecordEntry, Summary, read},
};
use glasslog_core::json::Reason;

/// A record that was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handed {
    pub(crate) path: String,
    pub(crate) entry: Vec<u8>,
    pub(crate) hashless: bool,
    pub(crate) md5_only: bool,
    pub(crate) meta_raw: Option<Reason>,
    pub(crate) overrides: bool,
}

/// Everything that one reading gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) records: Vec<Handed>,
    pub(crate) removed: Vec<String>,
    /// Refusals, conflicts and unknown keys, a line each.
    pub(crate) remarks: Vec<String>,
    pub(crate) summary: Summary,
    /// The error, and where.
    pub(crate) error: Option<(String, u64)>,
}

/// Reads `repodata` as `sample/noarch`.
pub(crate) fn reading(repodata: impl Read) -> Reading {
    reading_of("sample", "noarch", repodata)
}

pub(crate) fn reading_of(repo: &str, subdir: &str, repodata: impl Read) -> Reading {
    let mut given = Reading::default();
    let (repo, subdir) = (Repo::parse(repo).unwrap(), Subdir::parse(subdir).unwrap());
    let result = read(repodata, &repo, &subdir, |event| -> Result<(), Infallible> {
        match event {
            Event::Record(record) => given.records.push(handed(&record)),
            Event::Removed { file } => given.removed.push(file.to_owned()),
            Event::Refused { name, why, .. } => given.remarks.push(format!("refused {name}: {why}")),
            Event::Conflict { file, section } => {
                given.remarks.push(format!("conflict {file} in {section:?}"));
            }
            Event::UnknownKey { key } => given.remarks.push(format!("unknown key {key}")),
        }
        Ok(())
    });
    match result {
        Ok(summary) => given.summary = summary,
        Err(ReadError { fault, offset, before }) => {
            given.summary = *before;
            let what = match fault {
                Fault::Io(error) => error.to_string(),
                Fault::Truncated => "truncated".to_owned(),
                Fault::Malformed(what) => what.to_owned(),
            };
            given.error = Some((what, offset));
        }
    }
    given
}

fn handed(record: &RecordEntry<'_>) -> Handed {
    Handed {
        path: record.path.to_owned(),
        entry: record.entry.to_vec(),
        hashless: record.hashless,
        md5_only: record.md5_only,
        meta_raw: record.meta_raw,
        overrides: record.overrides,
    }
}
