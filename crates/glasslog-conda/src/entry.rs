//! The five kinds of entry, written from their parts (FORMATS §4, `docs/spec/conda-entry.md`).
//!
//! Every function appends the canonical bytes of exactly one entry, members in the order of RFC 8785. What it is
//! given is of the right form by its type; only the length of the whole remains to be checked.

use std::io::Write;

use glasslog_core::{
    MAX_ENTRY_BYTES,
    json::{MAX_INTEGER, write_string},
};

pub use glasslog_core::json::Reason;

use crate::names::{Repo, Subdir};

/// The value of `profile`: the rules by which repodata becomes entries.
pub const PROFILE: &str = "conda-repodata-1";

/// The largest integer of an entry, 2^53 − 1.
const MAX_SAFE_INTEGER: u64 = MAX_INTEGER.unsigned_abs();

/// The entry would be longer than [`MAX_ENTRY_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entry would have {0} bytes, and no entry has more than 65,535")]
pub struct TooLong(pub usize);

/// What a file can be held to: each member is there or left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Artifact {
    md5: Option<[u8; 32]>,
    sha256: Option<[u8; 64]>,
    size: Option<u64>,
}

impl Artifact {
    /// Derives an artifact from what a record says, unescaped: a member that is absent or has not the right form
    /// is left out. Upper-case digits become lower-case ones; `size` is a canonical integer of at most 2^53 − 1.
    #[must_use]
    pub fn from_texts(md5: Option<&str>, sha256: Option<&str>, size: Option<&str>) -> Artifact {
        Artifact {
            md5: md5.and_then(lower_hex),
            sha256: sha256.and_then(lower_hex),
            size: size.and_then(decimal),
        }
    }

    /// 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn md5(&self) -> Option<&str> {
        self.md5.as_ref().and_then(|digits| str::from_utf8(digits).ok())
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> Option<&str> {
        self.sha256.as_ref().and_then(|digits| str::from_utf8(digits).ok())
    }

    /// The size in bytes.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Appends the artifact as the member of an entry says it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let begin = out.len() + 1;
        out.push(b'{');
        if let Some(digits) = &self.md5 {
            push_digits(out, begin, "md5", digits);
        }
        if let Some(digits) = &self.sha256 {
            push_digits(out, begin, "sha256", digits);
        }
        if let Some(size) = self.size {
            push_name(out, begin, "size");
            push_integer(out, size);
        }
        out.push(b'}');
    }
}

/// What stands in for a record that has no canonical form, or whose entry would be too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaRaw {
    /// Why.
    pub reason: Reason,
    /// The SHA-256 of the record as served, from its `{` to its `}`.
    pub sha256: [u8; 32],
    /// How many bytes that is.
    pub size: u64,
}

/// The metadata of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meta<'a> {
    /// The complete record, in canonical form: an object.
    Canonical(&'a [u8]),
    /// The record has none.
    Raw(MetaRaw),
}

/// Why a file is no longer listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// `removed` of the repodata names it.
    Removed,
    /// It was there before and is not there any more.
    Vanished,
}

impl Gone {
    /// The word that entries use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Gone::Removed => "removed",
            Gone::Vanished => "vanished",
        }
    }
}

/// Which form of a channel a snapshot was taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotSource {
    /// `repodata.json`, compressed or not.
    Json,
    /// Sharded repodata (CEP 16).
    Shards,
}

impl SnapshotSource {
    /// The word that entries use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SnapshotSource::Json => "json",
            SnapshotSource::Shards => "shards",
        }
    }
}

/// A day of the Gregorian calendar that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// Reads `YYYY-MM-DD`; nothing for any other spelling or a day that does not exist.
    #[must_use]
    pub fn parse(text: &str) -> Option<Date> {
        let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *text.as_bytes() else { return None };
        let number = |digits: &[u8]| {
            let digit = |byte: u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
            digits.iter().try_fold(0, |value, byte| Some(value * 10 + digit(*byte)?))
        };
        let (year, month, day) = (number(&[y0, y1, y2, y3])?, number(&[m0, m1])?, number(&[d0, d1])?);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => return None,
        };
        let (month, day) = (u8::try_from(month).ok()?, (1..=days).contains(&day).then_some(day)?);
        Some(Date { year, month, day: u8::try_from(day).ok()? })
    }
}

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// A snapshot of one subdir.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// The repo.
    pub repo: &'a Repo,
    /// The subdir.
    pub subdir: &'a Subdir,
    /// The day, in UTC.
    pub date: Date,
    /// How many files are listed, at most 2^53 − 1.
    pub count: u64,
    /// The root over the files (FORMATS §4).
    pub digest: glasslog_core::Hash,
    /// Which form of the channel was read.
    pub source: SnapshotSource,
}

/// Appends a record entry. `meta` must be an object in canonical form, from which `artifact` was derived.
///
/// # Errors
///
/// [`TooLong`]; `out` is then as it was.
pub fn write_record(
    out: &mut Vec<u8>,
    (repo, subdir, file): (&Repo, &Subdir, &str),
    artifact: &Artifact,
    meta: Meta<'_>,
) -> Result<(), TooLong> {
    let begin = out.len();
    out.extend_from_slice(b"{\"artifact\":");
    artifact.write(out);
    out.extend_from_slice(b",\"eco\":\"conda\",\"meta\":");
    match meta {
        Meta::Canonical(record) => out.extend_from_slice(record),
        Meta::Raw(raw) => {
            out.extend_from_slice(b"null,\"meta_raw\":{\"reason\":\"");
            out.extend_from_slice(raw.reason.as_str().as_bytes());
            out.extend_from_slice(b"\",\"sha256\":\"");
            out.extend_from_slice(const_hex::encode(raw.sha256).as_bytes());
            out.extend_from_slice(b"\",\"size\":");
            push_integer(out, raw.size);
            out.push(b'}');
        }
    }
    push_path(out, subdir, file);
    push_end(out, b",\"profile\":\"conda-repodata-1\"", repo, "record");
    checked(out, begin)
}

/// Appends a tombstone: `file` is no longer listed. `name` is that of its last record, if that had one.
///
/// # Errors
///
/// [`TooLong`]; `out` is then as it was.
pub fn write_tombstone(
    out: &mut Vec<u8>,
    (repo, subdir, file): (&Repo, &Subdir, &str),
    name: Option<&str>,
    reason: Gone,
) -> Result<(), TooLong> {
    let begin = out.len();
    out.extend_from_slice(b"{\"eco\":\"conda\"");
    if let Some(name) = name {
        out.extend_from_slice(b",\"name\":");
        write_string(name, out);
    }
    push_path(out, subdir, file);
    out.extend_from_slice(b",\"profile\":\"conda-repodata-1\",\"reason\":\"");
    out.extend_from_slice(reason.as_str().as_bytes());
    push_end(out, b"\"", repo, "tombstone");
    checked(out, begin)
}

/// Appends a snapshot entry.
pub fn write_snapshot(out: &mut Vec<u8>, snapshot: &Snapshot<'_>) {
    out.extend_from_slice(b"{\"count\":");
    push_integer(out, snapshot.count);
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        ",\"date\":\"{}\",\"digest\":\"{}\",\"eco\":\"conda\",\"profile\":\"{PROFILE}\",\"repo\":\"{}\",\
         \"source\":\"{}\",\"subdir\":\"{}\",\"type\":\"snapshot\",\"v\":1}}",
        snapshot.date,
        snapshot.digest,
        snapshot.repo,
        snapshot.source.as_str(),
        snapshot.subdir
    );
}

/// Appends an epoch entry: `note` says what a bootstrap covers.
///
/// # Errors
///
/// [`TooLong`]; `out` is then as it was.
pub fn write_epoch(out: &mut Vec<u8>, repo: &Repo, note: &str) -> Result<(), TooLong> {
    let begin = out.len();
    out.extend_from_slice(b"{\"eco\":\"conda\",\"note\":");
    write_string(note, out);
    push_end(out, b"", repo, "epoch");
    checked(out, begin)
}

/// Appends an end entry: the log is closed, and goes on at the origin `next`, if anywhere.
///
/// # Errors
///
/// [`TooLong`]; `out` is then as it was.
pub fn write_end(out: &mut Vec<u8>, repo: &Repo, next: Option<&str>, note: &str) -> Result<(), TooLong> {
    let begin = out.len();
    out.extend_from_slice(b"{\"eco\":\"conda\",\"next\":");
    match next {
        Some(origin) => write_string(origin, out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"note\":");
    write_string(note, out);
    push_end(out, b"", repo, "end");
    checked(out, begin)
}

/// `LENGTH` hexadecimal digits, in lower case.
fn lower_hex<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    let mut digits: [u8; LENGTH] = text.as_bytes().try_into().ok()?;
    digits.make_ascii_lowercase();
    // No early end: the loop is then done on many bytes at once.
    digits.iter().fold(true, |all, digit| all & digit.is_ascii_hexdigit()).then_some(digits)
}

/// A canonical integer from 0 to 2^53 − 1.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok().filter(|value| *value <= MAX_SAFE_INTEGER) } else { None }
}

fn push_name(out: &mut Vec<u8>, first: usize, name: &str) {
    if out.len() > first {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn push_digits(out: &mut Vec<u8>, first: usize, name: &str, digits: &[u8]) {
    push_name(out, first, name);
    out.push(b'"');
    out.extend_from_slice(digits);
    out.push(b'"');
}

fn push_integer(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn push_path(out: &mut Vec<u8>, subdir: &Subdir, file: &str) {
    out.extend_from_slice(b",\"path\":\"");
    out.extend_from_slice(subdir.as_str().as_bytes());
    // The string goes on with the file name, whose opening quote gives its place to the slash.
    let slash = out.len();
    write_string(file, out);
    if let Some(quote) = out.get_mut(slash) {
        *quote = b'/';
    }
}

fn push_end(out: &mut Vec<u8>, before: &[u8], repo: &Repo, kind: &str) {
    out.extend_from_slice(before);
    out.extend_from_slice(b",\"repo\":\"");
    out.extend_from_slice(repo.as_str().as_bytes());
    out.extend_from_slice(b"\",\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"v\":1}");
}

fn checked(out: &mut Vec<u8>, begin: usize) -> Result<(), TooLong> {
    let length = out.len() - begin;
    if length > MAX_ENTRY_BYTES {
        out.truncate(begin);
        return Err(TooLong(length));
    }
    Ok(())
}
