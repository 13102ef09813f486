//! Repodata in, record entries out: a stream in bounded memory, whatever the size of the file.
//!
//! [`read`] walks a `repodata.json` once, from any reader, and hands over each record as the bytes of its entry
//! (FORMATS §4), ready to be submitted. Nothing is dropped in silence: a record without canonical form becomes an
//! entry with `meta_raw`; what cannot be an entry at all is an [`Event::Refused`]; a top-level key that conda does
//! not define is an [`Event::UnknownKey`].
//!
//! **A file that is listed twice** is noticed by fingerprints of the names, about 9 bytes for each of the first
//! [`MAX_WATCHED_NAMES`]. The same record twice is one entry. Of different ones v3's is logged (FORMATS §4), else the
//! first. Sections may come in any order, and conda writes v3 last, when the other record has been handed over
//! already: then v3's comes after it with [`RecordEntry::overrides`] set. Who sends entries to a log reads the file once
//! before, and leaves out the record that is overridden: sent again and again, the two would follow each other for ever.
//!
//! **Memory**: 256 KiB of input, at most 1 MiB while a long record is looked at, one entry, and the names: less than
//! 12 MiB.

mod emit;
mod input;
mod names;
mod reader;
mod scan;

use std::{fmt, io};

use crate::entry::Reason;

pub use reader::read;

/// The longest record, as served, that can have a canonical form: 1 MiB. No canonical entry comes from more, unless
/// someone pads it with white space; it is part of the format, so that everyone gives the same reason.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// How many names are watched for being listed twice; [`Summary::unwatched`] counts the others.
pub const MAX_WATCHED_NAMES: usize = 1_000_000;

/// Where in the repodata a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// `packages`: `.tar.bz2` files.
    Packages,
    /// `packages.conda`: `.conda` files.
    PackagesConda,
    /// `v3` (CEP 48): files of any extension.
    V3,
}

/// One record, as the entry that is to be logged.
#[derive(Clone, Copy, Debug)]
pub struct RecordEntry<'a> {
    /// Subdir, slash, file name.
    pub path: &'a str,
    /// The canonical entry.
    pub entry: &'a [u8],
    /// Where the record stands.
    pub section: Section,
    /// The record has neither a valid md5 nor a valid sha256.
    pub hashless: bool,
    /// The record has a valid md5 and no valid sha256.
    pub md5_only: bool,
    /// The record has no canonical form, or is too long; why.
    pub meta_raw: Option<Reason>,
    /// Another record of this path was handed over before, and this one is to be logged in its place.
    pub overrides: bool,
}

/// What [`read`] comes across.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// An entry to log.
    Record(RecordEntry<'a>),
    /// A file named in `removed`.
    Removed {
        /// The file name.
        file: &'a str,
    },
    /// Something that should be a record, or name one, and cannot be logged.
    Refused {
        /// The file name, or the key, as far as it can be told.
        name: &'a str,
        /// Why.
        why: Refusal,
        /// Where its name or value begins, in bytes of the plain JSON.
        offset: u64,
    },
    /// A file is listed twice with different records. Which one is logged is said in the module's description.
    Conflict {
        /// The file name.
        file: &'a str,
        /// Where the second record stands.
        section: Section,
    },
    /// A top-level key that is none of conda's; what it holds was skipped.
    UnknownKey {
        /// The key.
        key: &'a str,
    },
}

/// Why something cannot be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The record is a string, an array, null …
    #[error("the record is not an object")]
    NotAnObject,
    /// A section, or an extension of v3, holds something else than records.
    #[error("the section is not an object of records, so what it lists is not known")]
    SectionNotAnObject,
    /// `removed` is not a list of names.
    #[error("removed is not a list of file names")]
    RemovedNotNames,
    /// The file name is empty or has a slash.
    #[error("the file name is empty or has a slash")]
    FileName,
    /// The file name is not Unicode.
    #[error("the file name holds a lone surrogate, which no UTF-8 text can")]
    Surrogate,
    /// Even without its metadata the entry would be too long.
    #[error("the file name is so long that no entry can hold it")]
    TooLong,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries handed over.
    pub records: u64,
    /// … of them from `packages`.
    pub packages: u64,
    /// … of them from `packages.conda`.
    pub packages_conda: u64,
    /// … of them from `v3`.
    pub v3: u64,
    /// … of them without any hash.
    pub hashless: u64,
    /// … of them with an md5 and no sha256.
    pub md5_only: u64,
    /// … of them with `meta_raw`.
    pub meta_raw: u64,
    /// Records that are listed twice, alike, and were handed over once.
    pub repeated: u64,
    /// Files that are listed twice with different records.
    pub conflicts: u64,
    /// Names in `removed`.
    pub removed: u64,
    /// What could not be logged.
    pub refused: u64,
    /// Top-level keys that are none of conda's.
    pub unknown_keys: u64,
    /// Records whose names were not watched for being listed twice.
    pub unwatched: u64,
    /// Bytes of plain JSON that were read.
    pub bytes: u64,
}

impl Summary {
    /// Whether every record is logged and none contradicts another: what decides the exit code of `ingest`.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.refused == 0 && self.conflicts == 0
    }
}

/// Why reading stopped before the end.
///
/// Everything before it was handed over; the file is not complete, so nothing may be concluded from what it
/// does *not* list.
#[derive(Debug)]
pub struct ReadError<E> {
    /// What happened.
    pub fault: Fault<E>,
    /// Where, in bytes of the plain JSON.
    pub offset: u64,
    /// What was read before.
    pub before: Box<Summary>,
}

/// What stops a reader.
#[derive(Debug)]
pub enum Fault<E> {
    /// The underlying reader failed; for a compressed file, perhaps because that is cut off or damaged.
    Io(io::Error),
    /// The file ends too early.
    Truncated,
    /// The file is not JSON, or not an object, or has a section twice.
    Malformed(&'static str),
    /// The visitor gave an error.
    Visitor(E),
}

impl<E> fmt::Display for ReadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, records) = (self.offset, self.before.records);
        match &self.fault {
            Fault::Io(_) => write!(f, "cannot read on after byte {at} and {records} records"),
            Fault::Truncated => write!(f, "the file is cut off at byte {at}, after {records} records"),
            Fault::Malformed(what) => write!(f, "not repodata at byte {at}, after {records} records: {what}"),
            Fault::Visitor(_) => write!(f, "stopped at byte {at}, after {records} records"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for ReadError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            Fault::Io(error) => Some(error),
            Fault::Visitor(error) => Some(error),
            Fault::Truncated | Fault::Malformed(_) => None,
        }
    }
}
