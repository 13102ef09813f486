//! From one record to one entry.

use glasslog_core::json::{Canonicalizer, JsonError};
use sha2::{Digest, Sha256};

use super::{
    Event, RecordEntry, Refusal, Section, Summary,
    names::{Listed, Names},
};
use crate::{
    conda1::artifact_of,
    entry::{Artifact, Meta, MetaRaw, Reason, write_record},
    names::{Repo, Subdir, is_file_name},
};

/// How deep a record lies in its entry.
const OUTER_LEVELS: usize = 1;

/// How many levels a record itself may have.
pub(super) const MAX_RECORD_DEPTH: usize = glasslog_core::json::MAX_DEPTH - OUTER_LEVELS;

/// Makes entries of records and hands them over.
pub(super) struct Emitter<'v, V> {
    repo: &'v Repo,
    subdir: &'v Subdir,
    visit: V,
    canonicalizer: Canonicalizer,
    meta: Vec<u8>,
    entry: Vec<u8>,
    path: String,
    extension: String,
    names: Names,
    section: Section,
    pub(super) summary: Summary,
}

impl<'v, E, V: FnMut(Event<'_>) -> Result<(), E>> Emitter<'v, V> {
    pub(super) fn new(repo: &'v Repo, subdir: &'v Subdir, visit: V) -> Emitter<'v, V> {
        Emitter {
            repo,
            subdir,
            visit,
            canonicalizer: Canonicalizer::inside(OUTER_LEVELS),
            meta: Vec::new(),
            entry: Vec::new(),
            path: String::new(),
            extension: String::new(),
            names: Names::new(),
            section: Section::Packages,
            summary: Summary::default(),
        }
    }

    /// What follows is listed in `section`; v3 says the extension of its files.
    pub(super) fn enter(&mut self, section: Section, extension: Option<&str>) {
        self.section = section;
        self.extension.clear();
        if let Some(extension) = extension {
            self.extension.push('.');
            self.extension.push_str(extension);
        }
    }

    /// Writes the canonical form of the object that `text` begins with, and gives its length in `text`.
    ///
    /// It is kept for [`Emitter::canonical_record`].
    pub(super) fn canonicalize(&mut self, text: &str) -> Result<usize, JsonError> {
        self.meta.clear();
        self.canonicalizer.canonicalize_prefix(text, &mut self.meta)
    }

    /// Hands over the record that was canonicalised last; `served` is its spelling in the file.
    pub(super) fn canonical_record(&mut self, key: &str, served: &[u8], offset: u64) -> Result<(), E> {
        let artifact = artifact_of(&self.canonicalizer, &self.meta);
        let meta = std::mem::take(&mut self.meta);
        let result = self.record(key, &artifact, Meta::Canonical(&meta), served, offset);
        self.meta = meta;
        result
    }

    /// Hands over a record without canonical form.
    pub(super) fn raw_record(
        &mut self,
        key: &str,
        raw: MetaRaw,
        artifact: &Artifact,
        offset: u64,
    ) -> Result<(), E> {
        self.record(key, artifact, Meta::Raw(raw), &[], offset)
    }

    /// Says that something cannot be logged.
    pub(super) fn refuse(&mut self, name: &str, why: Refusal, offset: u64) -> Result<(), E> {
        self.summary.refused += 1;
        (self.visit)(Event::Refused { name, why, offset })
    }

    pub(super) fn removed(&mut self, file: &str) -> Result<(), E> {
        self.summary.removed += 1;
        (self.visit)(Event::Removed { file })
    }

    pub(super) fn unknown_key(&mut self, key: &str) -> Result<(), E> {
        self.summary.unknown_keys += 1;
        (self.visit)(Event::UnknownKey { key })
    }

    fn record(
        &mut self,
        key: &str,
        artifact: &Artifact,
        meta: Meta<'_>,
        served: &[u8],
        offset: u64,
    ) -> Result<(), E> {
        self.path.clear();
        self.path.push_str(self.subdir.as_str());
        self.path.push('/');
        let file_at = self.path.len();
        self.path.push_str(key);
        self.path.push_str(&self.extension);
        let path = std::mem::take(&mut self.path);
        let result =
            self.named_record(&path, path.get(file_at..).unwrap_or_default(), artifact, meta, served, offset);
        self.path = path;
        result
    }

    fn named_record(
        &mut self,
        path: &str,
        file: &str,
        artifact: &Artifact,
        meta: Meta<'_>,
        served: &[u8],
        offset: u64,
    ) -> Result<(), E> {
        // The file name begins with the key: an empty key of v3 is one without a file.
        if !is_file_name(file) || file == self.extension {
            return self.refuse(file, Refusal::FileName, offset);
        }
        self.entry.clear();
        let place = (self.repo, self.subdir, file);
        let mut raw = match meta {
            Meta::Canonical(_) => None,
            Meta::Raw(raw) => Some(raw.reason),
        };
        let mut written = write_record(&mut self.entry, place, artifact, meta);
        if written.is_err() && raw.is_none() {
            raw = Some(Reason::Size);
            let sha256 = Sha256::digest(served).into();
            let meta = MetaRaw { reason: Reason::Size, sha256, size: served.len() as u64 };
            written = write_record(&mut self.entry, place, artifact, Meta::Raw(meta));
        }
        if written.is_err() {
            return self.refuse(file, Refusal::TooLong, offset);
        }
        let overrides = match self.names.note(file, self.section, &self.entry) {
            Listed::First => false,
            Listed::Unwatched => {
                self.summary.unwatched += 1;
                false
            }
            Listed::Alike => {
                self.summary.repeated += 1;
                return Ok(());
            }
            Listed::Differs { in_v3 } => {
                self.summary.conflicts += 1;
                (self.visit)(Event::Conflict { file, section: self.section })?;
                if in_v3 || self.section != Section::V3 {
                    return Ok(());
                }
                true
            }
        };
        let hashless = artifact.md5().is_none() && artifact.sha256().is_none();
        let md5_only = artifact.md5().is_some() && artifact.sha256().is_none();
        self.count(hashless, md5_only, raw.is_some());
        (self.visit)(Event::Record(RecordEntry {
            path,
            entry: &self.entry,
            section: self.section,
            hashless,
            md5_only,
            meta_raw: raw,
            overrides,
        }))
    }

    fn count(&mut self, hashless: bool, md5_only: bool, meta_raw: bool) {
        let summary = &mut self.summary;
        summary.records += 1;
        *match self.section {
            Section::Packages => &mut summary.packages,
            Section::PackagesConda => &mut summary.packages_conda,
            Section::V3 => &mut summary.v3,
        } += 1;
        summary.hashless += u64::from(hashless);
        summary.md5_only += u64::from(md5_only);
        summary.meta_raw += u64::from(meta_raw);
    }
}
