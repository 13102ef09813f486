//! Many entries at once, by sorting.
//!
//! Keys are sorted in memory in parts, and each part is written to a file of its own that is never synced: its rows are posting
//! rows whose place is their first element instead of its position. Then one pass over the parts and the heads of the index
//! writes the new heads, hashes every bucket, and puts the new postings into one more such file; a second pass joins these with the
//! postings that were there.

use std::{path::PathBuf, sync::Arc};

use glasslog_core::{LeafIndex, TreeSize};
use glasslog_store::runs::{Cancel, RunError};
use glasslog_vindex::Key;

use crate::{
    Index, IndexError, Revision,
    buckets::BucketHasher,
    index::is_cancelled,
    keeper::{Files, Stop, damaged},
    manifest::{Manifest, State},
    merge::{Cursor, Joiner, Merged},
    place::bits_for,
    row::{CHUNK, Head, Row, append, put_posting, take_posting},
    run::{Hashes, Kind, Run, RunWriter},
    tree::Tree,
};

/// Keys of a part: 64 MiB.
const PART: usize = (64 << 20) / size_of::<(Key, u64)>();
/// Elements of one list that are appended at once.
const TOGETHER: usize = 16 * CHUNK;
/// Rows between two looks at the clock and at whether to go on.
const ROUND: u64 = 1 << 14;

/// Many entries on their way into an index. Dropped before [`Bulk::finish`] it leaves the index as it was.
pub struct Bulk<'i> {
    index: &'i mut Index,
    next: TreeSize,
    part: Vec<(Key, u64)>,
    parts: Vec<Temporary>,
    postings: u64,
}

/// A file that is removed when it is not needed any more.
struct Temporary {
    run: Arc<Run>,
    remove: Box<dyn Fn() + Send + Sync>,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        (self.remove)();
    }
}

impl<'i> Bulk<'i> {
    pub(crate) fn new(index: &'i mut Index) -> Bulk<'i> {
        let next = index.next();
        Bulk { index, next, part: Vec::new(), parts: Vec::new(), postings: 0 }
    }
}

impl Bulk<'_> {
    /// The entries below this are taken in.
    #[must_use]
    pub fn next(&self) -> TreeSize {
        self.next
    }

    /// As [`Index::apply`].
    ///
    /// # Errors
    ///
    /// As [`Index::apply`]: the entry is taken in although what was gathered could not be written out.
    pub fn push(&mut self, index: LeafIndex, keys: &[Key]) -> Result<(), IndexError> {
        if self.next.contains(index) {
            return Ok(());
        }
        if index.0 != self.next.0 {
            return Err(IndexError::Gap { next: self.next, given: index });
        }
        self.part.extend(keys.iter().map(|key| (*key, index.0)));
        self.next = TreeSize(index.0 + 1);
        if self.part.len() < PART { Ok(()) } else { self.end_part() }
    }

    /// Sorts, merges, hashes: `progress` is told how many of how many rows are done. Durable on return. `None` if it was
    /// cancelled; the index is then as it was.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`]; the index is as it was.
    pub fn finish(
        mut self,
        cancel: &Cancel,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Option<Arc<Revision>>, IndexError> {
        self.end_part()?;
        self.part = Vec::new();
        let shared = Arc::clone(&self.index.shared);
        shared.with_files(|files| {
            // What the keeper has done since is part of what is merged now.
            self.index.absorb()?;
            let round = Round { cancel, progress, done: 0, of: self.index.keys + 2 * self.postings };
            match self.build(files, round) {
                Ok((state, run, tree)) => {
                    self.index.replace(state, vec![run], tree);
                    self.index.revision().map(Some)
                }
                Err(Stop::Cancelled) => Ok(None),
                Err(Stop::Failed(error)) => Err(error.into()),
            }
        })
    }

    /// Writes out what was gathered, sorted.
    fn end_part(&mut self) -> Result<(), IndexError> {
        if self.part.is_empty() {
            return Ok(());
        }
        self.part.sort_unstable();
        self.part.dedup();
        let part = std::mem::take(&mut self.part);
        let written = self.temporary(|writer| {
            let (mut elements, mut bytes) = (Vec::with_capacity(CHUNK), Vec::new());
            for same in part.chunk_by(|(one, _), (other, _)| one == other) {
                for chunk in same.chunks(CHUNK) {
                    elements.clear();
                    elements.extend(chunk.iter().map(|(_, index)| *index));
                    bytes.clear();
                    put_posting(&mut bytes, &elements).ok_or_else(|| damaged(&self.index.shared.dir))?;
                    if let Some((key, start)) = chunk.first() {
                        writer.push(Kind::Postings, Row { key: *key, start: *start, bytes: &bytes })?;
                    }
                }
            }
            Ok(())
        });
        // What could not be written is tried again with the next.
        self.part = part;
        self.parts.push(written?);
        self.postings += self.part.len() as u64;
        self.part.clear();
        Ok(())
    }

    /// A file with posting rows for as long as it is needed.
    fn temporary(
        &self,
        write: impl FnOnce(&mut RunWriter) -> Result<(), RunError>,
    ) -> Result<Temporary, RunError> {
        let shared = Arc::clone(&self.index.shared);
        let mut writer = RunWriter::create(&*shared.disk, &shared.dir, false)?;
        let path: PathBuf = writer.path().to_owned();
        let written = write(&mut writer).and_then(|()| writer.finish(1, &Hashes::Some(Vec::new())));
        match written {
            Ok(run) => {
                let remove = Box::new(move || {
                    // What cannot be removed now is removed at the next start.
                    shared.disk.remove(&path).ok();
                });
                Ok(Temporary { run: Arc::new(run), remove })
            }
            Err(error) => {
                shared.disk.remove(&path).ok();
                Err(error)
            }
        }
    }

    fn build(&self, files: &mut Files, mut round: Round<'_>) -> Result<(State, Arc<Run>, Tree), Stop> {
        let shared = &self.index.shared;
        let layers = self.index.layers();
        let mut keys = 0;
        let mut built = None;
        let run = shared.write_run(|writer| {
            let mut hasher = BucketHasher::new(bits_for(self.index.keys + self.postings));
            let mut stopped = Ok(());
            let new = self.temporary(|temporary| {
                stopped = self.write_heads(writer, temporary, &mut hasher, &mut round);
                Ok(())
            })?;
            stopped?;
            let mut cursors = Merged::of_layers(&layers.runs, &layers.slices, Kind::Postings)?.into_cursors();
            cursors.push(Cursor::of_run(&new.run, Kind::Postings)?);
            let mut rows = Merged::new(cursors);
            let mut joiner = Joiner::new(&shared.dir);
            let mut put = |row: Row<'_>| writer.push(Kind::Postings, row).map(drop).map_err(Stop::from);
            while let Some(row) = rows.row() {
                joiner.push(row, &mut put)?;
                round.one_more()?;
                rows.advance()?;
            }
            joiner.finish(&mut put)?;
            keys = hasher.seen();
            let (bits, hashes) = hasher.finish(bits_for(keys)).ok_or_else(|| damaged(&shared.dir))?;
            built = Some(Tree::of_buckets(bits, &hashes));
            Ok((bits, Hashes::All(hashes)))
        })?;
        let tree = built.ok_or_else(|| damaged(&shared.dir))?;
        let postings = self.index.postings + self.postings;
        let state = State { size: self.next, root: tree.root(), keys, postings };
        shared.change(files, Manifest { state, runs: vec![run.meta] })?;
        Ok((state, Arc::new(run), tree))
    }

    /// Writes the head of every list, and the new posting rows to `postings`.
    fn write_heads(
        &self,
        writer: &mut RunWriter,
        postings: &mut RunWriter,
        hasher: &mut BucketHasher,
        round: &mut Round<'_>,
    ) -> Result<(), Stop> {
        let layers = self.index.layers();
        let mut old = Merged::of_layers(&layers.runs, &layers.slices, Kind::Heads)?;
        let parts = self.parts.iter().map(|part| Cursor::of_run(&part.run, Kind::Postings));
        let mut new = Merged::new(parts.collect::<Result<_, _>>()?);
        let mut head = Vec::new();
        loop {
            let places = [old.row(), new.row()].map(|row| row.map(|row| row.key));
            let Some(key) = places.into_iter().flatten().min() else { return Ok(()) };
            head.clear();
            if let Some(row) = old.row().filter(|row| row.key == key) {
                head.extend_from_slice(row.bytes);
                old.advance()?;
            }
            self.append(&key, &mut new, &mut head, postings, round)?;
            let row = Row { key, start: 0, bytes: &head };
            hasher.push(row).ok_or_else(|| damaged(&self.index.shared.dir))?;
            writer.push(Kind::Heads, row)?;
            round.one_more()?;
        }
    }

    /// Appends to the list of `head`, if it is one, what the parts hold of `key`.
    fn append(
        &self,
        key: &Key,
        new: &mut Merged,
        head: &mut Vec<u8>,
        postings: &mut RunWriter,
        round: &mut Round<'_>,
    ) -> Result<(), Stop> {
        let wrong = || damaged(&self.index.shared.dir);
        let (mut elements, mut next, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let more = new.row().filter(|row| row.key == *key);
            if let Some(row) = &more {
                take_posting(row.bytes, &mut elements).ok_or_else(wrong)?;
            }
            let is_last = more.is_none();
            if !elements.is_empty() && (is_last || elements.len() >= TOGETHER) {
                let old = if head.is_empty() { None } else { Some(Head::decode(head).ok_or_else(wrong)?) };
                next.clear();
                let mut written = Ok(());
                let appended = append(old.as_ref(), &elements, &mut next, |start, elements| {
                    bytes.clear();
                    let row = put_posting(&mut bytes, elements).ok_or_else(wrong);
                    let row = row.and_then(|()| {
                        postings.push(Kind::Postings, Row { key: *key, start, bytes: &bytes })
                    });
                    written = std::mem::replace(&mut written, Ok(())).and(row.map(drop));
                });
                appended.ok_or_else(wrong)?;
                written?;
                std::mem::swap(head, &mut next);
                elements.clear();
            }
            if is_last {
                return Ok(());
            }
            round.one_more()?;
            new.advance()?;
        }
    }
}

/// How far a build is.
struct Round<'a> {
    cancel: &'a Cancel,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
    of: u64,
}

impl Round<'_> {
    fn one_more(&mut self) -> Result<(), Stop> {
        self.done += 1;
        if !self.done.is_multiple_of(ROUND) {
            return Ok(());
        }
        (self.progress)(self.done.min(self.of), self.of);
        if is_cancelled(self.cancel) { Err(Stop::Cancelled) } else { Ok(()) }
    }
}
