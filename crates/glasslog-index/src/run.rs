//! A layer on disk: head pages, posting pages, and a tail.
//!
//! ```text
//! head page       rows: key ‖ head                      (row.rs)
//! posting page    rows: key ‖ be64 start ‖ posting
//! tail            be64 prefix of the first key of each head page
//!                 first key ‖ be64 start of each posting page
//!                 bucket hashes: of all buckets (a base), or be32 bucket ‖ hash of those that changed (a spill)
//! ```
//!
//! Heads and postings are apart, so that reading a bucket never meets a posting.

use std::{ops::Range, path::Path, sync::Arc};

use glasslog_core::Hash;
use glasslog_store::{
    disk::Disk,
    runs::{PAGE_BYTES, PAGE_HEADER, PageFile, PageWriter, RunError, RunId, TailCrc},
};
use glasslog_vindex::Key;

use crate::{
    place::{prefix, range_of},
    row::{Head, Place, Row, in_order, posting_length},
};

/// Pages read at once, at most.
const SCAN_PAGES: usize = 16;
/// Bytes of the first key and position of a posting page.
const PLACE_BYTES: u64 = 40;

/// What the manifest says of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunMeta {
    pub(crate) id: RunId,
    /// Whether it is read from disk when asked, or a slice of the delta that waits to be merged.
    pub(crate) is_spill: bool,
    pub(crate) heads: u64,
    pub(crate) postings: u64,
    pub(crate) head_pages: u32,
    pub(crate) posting_pages: u32,
    pub(crate) bits: u8,
    /// How many bucket hashes the tail has.
    pub(crate) hashes: u32,
    pub(crate) tail_crc: u32,
}

impl RunMeta {
    fn hash_bytes(&self) -> u64 {
        u64::from(self.hashes) * if self.is_spill { 36 } else { 32 }
    }

    fn tail_bytes(&self) -> u64 {
        u64::from(self.head_pages) * 8 + u64::from(self.posting_pages) * PLACE_BYTES + self.hash_bytes()
    }

    pub(crate) fn bytes(&self) -> u64 {
        (u64::from(self.head_pages) + u64::from(self.posting_pages)) * PAGE_BYTES as u64 + self.tail_bytes()
    }
}

/// An open run.
pub(crate) struct Run {
    pub(crate) meta: RunMeta,
    pub(crate) file: PageFile,
    head_prefixes: Vec<u64>,
    posting_places: Vec<Place>,
}

/// The bucket hashes in a tail.
pub(crate) enum Hashes {
    /// Of all buckets.
    All(Vec<Hash>),
    /// Of some, ascending.
    Some(Vec<(u32, Hash)>),
}

/// Which rows of a layer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Heads,
    Postings,
}

impl Run {
    /// Opens the run that `meta` describes and reads its tail.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path, meta: RunMeta) -> Result<(Run, Hashes), RunError> {
        let file = PageFile::open(
            disk,
            dir,
            meta.id,
            meta.head_pages.saturating_add(meta.posting_pages),
            meta.tail_bytes(),
        )?;
        // The lengths are believed from here on: the file is that long.
        let mut crc = TailCrc::new(meta.id);
        let mut prefixes = Vec::new();
        let prefix_bytes = u64::from(meta.head_pages) * 8;
        file.read_tail(0, prefix_bytes, &mut crc, |piece| prefixes.extend_from_slice(piece))?;
        let mut places = Vec::new();
        let place_bytes = u64::from(meta.posting_pages) * PLACE_BYTES;
        file.read_tail(prefix_bytes, place_bytes, &mut crc, |piece| places.extend_from_slice(piece))?;
        let mut hashes = Vec::with_capacity(usize::try_from(meta.hash_bytes()).unwrap_or(0));
        let before = prefix_bytes + place_bytes;
        file.read_tail(before, meta.hash_bytes(), &mut crc, |piece| hashes.extend_from_slice(piece))?;
        if crc.finish() != meta.tail_crc {
            return Err(file.corrupt("its tail does not match its checksum"));
        }
        let head_prefixes = prefixes.as_chunks().0.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect();
        let posting_places = places.as_chunks::<40>().0.iter().map(place_of).collect();
        let hashes = if meta.is_spill {
            Hashes::Some(hashes.as_chunks::<36>().0.iter().map(bucket_of).collect())
        } else {
            Hashes::All(hashes.as_chunks().0.iter().map(|hash| Hash(*hash)).collect())
        };
        Ok((Run { meta, file, head_prefixes, posting_places }, hashes))
    }

    /// The pages that may hold heads of bucket `bucket` of `bits` bits.
    pub(crate) fn pages_of(&self, bucket: usize, bits: u8) -> Range<usize> {
        let (low, high) = range_of(bucket, bits);
        let first = self.head_prefixes.partition_point(|prefix| *prefix < low).saturating_sub(1);
        let end = high.map_or(self.head_prefixes.len(), |high| {
            self.head_prefixes.partition_point(|prefix| *prefix < high)
        });
        first..end
    }

    /// Hands over the heads of bucket `bucket` of `bits` bits, which are in these pages. `buffer` is for them.
    pub(crate) fn bucket(
        &self,
        bucket: usize,
        bits: u8,
        pages: Range<usize>,
        buffer: &mut Vec<u8>,
        mut each: impl FnMut(Key, &[u8]),
    ) -> Result<(), RunError> {
        let (low, high) = range_of(bucket, bits);
        let Range { start: mut number, end } = pages;
        while number < end {
            let now = SCAN_PAGES.min(end - number);
            buffer.resize(now * PAGE_BYTES, 0);
            self.file.read_pages(number, buffer)?;
            for page in buffer.chunks(PAGE_BYTES) {
                self.page(Kind::Heads, number, page, |row| {
                    let prefix = prefix(&row.key);
                    if prefix >= low && high.is_none_or(|high| prefix < high) {
                        each(row.key, row.bytes);
                    }
                    high.is_none_or(|high| prefix < high)
                })?;
                number += 1;
            }
        }
        Ok(())
    }

    /// Hands over the posting rows of `key` from the one that may hold position `start` on, until `each` says that it is enough.
    pub(crate) fn postings(
        &self,
        key: &Key,
        start: u64,
        mut each: impl FnMut(Row<'_>) -> bool,
    ) -> Result<(), RunError> {
        let after = self.posting_places.partition_point(|place| *place <= (*key, start));
        let head_pages = usize::try_from(self.meta.head_pages).unwrap_or(usize::MAX);
        let mut buffer = vec![0; PAGE_BYTES];
        let mut enough = false;
        for page in after.saturating_sub(1)..self.posting_places.len() {
            if enough || self.posting_places.get(page).is_some_and(|(first, _)| first > key) {
                break;
            }
            self.file.read_pages(head_pages + page, &mut buffer)?;
            self.page(Kind::Postings, head_pages + page, &buffer, |row| {
                enough = row.key > *key || (row.key == *key && !each(row));
                !enough
            })?;
        }
        Ok(())
    }

    /// Hands over the rows of page `number`, of this kind, in order and until `each` returns `false`, once the page has been
    /// checked.
    fn page(
        &self,
        kind: Kind,
        number: usize,
        bytes: &[u8],
        mut each: impl FnMut(Row<'_>) -> bool,
    ) -> Result<(), RunError> {
        let corrupt = |why: &str| self.file.corrupt(format!("page {number} {why}"));
        let rows = self.file.rows(number, bytes)?;
        if rows.count == 0 {
            return Err(corrupt("holds nothing"));
        }
        let (mut rest, mut before) = (rows.bytes, None);
        for _ in 0..rows.count {
            let row = take_row(kind, &mut rest).ok_or_else(|| corrupt("does not hold the rows it should"))?;
            if before.is_none() && !self.begins(kind, number, &row) {
                return Err(corrupt("does not begin with its key"));
            }
            if before.is_some_and(|before| !in_order(&before, &row.place())) {
                return Err(corrupt("is out of order"));
            }
            before = Some(row.place());
            if !each(row) {
                break;
            }
        }
        Ok(())
    }

    fn begins(&self, kind: Kind, number: usize, row: &Row<'_>) -> bool {
        match kind {
            Kind::Heads => self.head_prefixes.get(number) == Some(&prefix(&row.key)),
            Kind::Postings => {
                let head_pages = usize::try_from(self.meta.head_pages).unwrap_or(usize::MAX);
                let place = number.checked_sub(head_pages).and_then(|number| self.posting_places.get(number));
                place == Some(&row.place())
            }
        }
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.head_prefixes.capacity() * 8 + self.posting_places.capacity() * 40
    }
}

/// Takes the row that `rest` begins with.
fn take_row<'a>(kind: Kind, rest: &mut &'a [u8]) -> Option<Row<'a>> {
    let (key, after) = rest.split_first_chunk::<32>()?;
    let (start, after, length) = match kind {
        Kind::Heads => (0, after, Head::length(after)?),
        Kind::Postings => {
            let (start, after) = after.split_first_chunk()?;
            (u64::from_be_bytes(*start), after, posting_length(after)?)
        }
    };
    let (bytes, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(Row { key: Key(*key), start, bytes })
}

fn place_of(bytes: &[u8; 40]) -> Place {
    let (mut key, mut start) = ([0; 32], [0; 8]);
    key.copy_from_slice(&bytes[..32]);
    start.copy_from_slice(&bytes[32..]);
    (Key(key), u64::from_be_bytes(start))
}

fn bucket_of(bytes: &[u8; 36]) -> (u32, Hash) {
    let (mut bucket, mut hash) = ([0; 4], [0; 32]);
    bucket.copy_from_slice(&bytes[..4]);
    hash.copy_from_slice(&bytes[4..]);
    (u32::from_be_bytes(bucket), Hash(hash))
}

/// Reads the rows of one kind from the first to the last, checking all of them.
pub(crate) struct RunCursor {
    run: Arc<Run>,
    kind: Kind,
    buffer: Vec<u8>,
    /// The pages of this kind that were not read yet.
    next_page: usize,
    end_page: usize,
    /// Of the pages in `buffer`: rows that were not handed out, where each begins, and how long it is with its key.
    places: Vec<(u32, u16)>,
    at: usize,
    rows_seen: u64,
    last: Option<Place>,
}

impl RunCursor {
    pub(crate) fn new(run: Arc<Run>, kind: Kind) -> Result<RunCursor, RunError> {
        let head_pages = usize::try_from(run.meta.head_pages).unwrap_or(usize::MAX);
        let (next_page, end_page) = match kind {
            Kind::Heads => (0, head_pages),
            Kind::Postings => (head_pages, run.file.pages()),
        };
        let (buffer, places) = (Vec::new(), Vec::new());
        let mut cursor =
            RunCursor { run, kind, buffer, next_page, end_page, places, at: 0, rows_seen: 0, last: None };
        cursor.fill()?;
        Ok(cursor)
    }

    /// The current row; `None` past the end.
    pub(crate) fn row(&self) -> Option<Row<'_>> {
        let (start, length) = self.places.get(self.at)?;
        let start = usize::try_from(*start).ok()?;
        let mut bytes = self.buffer.get(start..start + usize::from(*length))?;
        let (key, rest) = bytes.split_first_chunk::<32>()?;
        let mut first = 0;
        bytes = rest;
        if self.kind == Kind::Postings {
            let (start, rest) = bytes.split_first_chunk()?;
            (first, bytes) = (u64::from_be_bytes(*start), rest);
        }
        Some(Row { key: Key(*key), start: first, bytes })
    }

    pub(crate) fn advance(&mut self) -> Result<(), RunError> {
        self.at += 1;
        if self.at < self.places.len() { Ok(()) } else { self.fill() }
    }

    fn fill(&mut self) -> Result<(), RunError> {
        self.places.clear();
        self.at = 0;
        let now = SCAN_PAGES.min(self.end_page - self.next_page);
        if now == 0 {
            return self.check_end();
        }
        self.buffer.resize(now * PAGE_BYTES, 0);
        self.run.file.read_pages(self.next_page, &mut self.buffer)?;
        let prefix_bytes = if self.kind == Kind::Heads { 32 } else { 40 };
        for (at, page) in self.buffer.chunks(PAGE_BYTES).enumerate() {
            let number = self.next_page + at;
            let (mut start, mut last, places) = (at * PAGE_BYTES + PAGE_HEADER, self.last, &mut self.places);
            let mut ordered = true;
            self.run.page(self.kind, number, page, |row| {
                let length = prefix_bytes + row.bytes.len();
                ordered &= last.is_none_or(|last| in_order(&last, &row.place()));
                last = Some(row.place());
                places.push((
                    u32::try_from(start).unwrap_or(u32::MAX),
                    u16::try_from(length).unwrap_or(u16::MAX),
                ));
                start += length;
                true
            })?;
            if !ordered {
                return Err(self.run.file.corrupt(format!("page {number} is out of order")));
            }
            self.last = last;
        }
        self.next_page += now;
        self.rows_seen += self.places.len() as u64;
        Ok(())
    }

    fn check_end(&self) -> Result<(), RunError> {
        let expected = match self.kind {
            Kind::Heads => self.run.meta.heads,
            Kind::Postings => self.run.meta.postings,
        };
        if self.rows_seen == expected {
            return Ok(());
        }
        Err(self.run.file.corrupt(format!("it holds {} rows instead of {expected}", self.rows_seen)))
    }
}

/// Writes a run: heads, then postings, each in ascending order. Nothing refers to it before it is finished.
pub(crate) struct RunWriter {
    file: PageWriter,
    page: Vec<u8>,
    page_rows: u16,
    kind: Kind,
    head_pages: u32,
    heads: u64,
    postings: u64,
    head_prefixes: Vec<u64>,
    posting_places: Vec<Place>,
}

impl RunWriter {
    /// A new file in `dir`, to be made durable or to be thrown away again.
    pub(crate) fn create(disk: &dyn Disk, dir: &Path, durable: bool) -> Result<RunWriter, RunError> {
        let file =
            if durable { PageWriter::create(disk, dir)? } else { PageWriter::create_unsynced(disk, dir)? };
        Ok(RunWriter {
            file,
            page: vec![0; PAGE_HEADER],
            page_rows: 0,
            kind: Kind::Heads,
            head_pages: 0,
            heads: 0,
            postings: 0,
            head_prefixes: Vec::new(),
            posting_places: Vec::new(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn written(&self) -> u64 {
        self.file.written()
    }

    /// Adds a row; says whether what was written has just been synced.
    pub(crate) fn push(&mut self, kind: Kind, row: Row<'_>) -> Result<bool, RunError> {
        if kind != self.kind {
            self.end_heads()?;
        }
        let start = (kind == Kind::Postings).then(|| row.start.to_be_bytes());
        let start = start.as_ref().map_or(&[][..], |start| start);
        let length = row.key.0.len() + start.len() + row.bytes.len();
        if PAGE_HEADER + length > PAGE_BYTES {
            return Err(RunError::Row(format!(
                "a row of {length} bytes does not fit into a page of the index"
            )));
        }
        let mut synced = false;
        if self.page.len() + length > PAGE_BYTES {
            synced = self.put_page()?;
        }
        if self.page_rows == 0 {
            match kind {
                Kind::Heads => self.head_prefixes.push(prefix(&row.key)),
                Kind::Postings => self.posting_places.push(row.place()),
            }
        }
        self.page.extend_from_slice(&row.key.0);
        self.page.extend_from_slice(start);
        self.page.extend_from_slice(row.bytes);
        self.page_rows += 1;
        match kind {
            Kind::Heads => self.heads += 1,
            Kind::Postings => self.postings += 1,
        }
        Ok(synced)
    }

    /// Writes the tail and makes the content durable, if it is to be.
    pub(crate) fn finish(mut self, bits: u8, hashes: &Hashes) -> Result<Run, RunError> {
        self.end_heads()?;
        if self.page_rows > 0 {
            self.put_page()?;
        }
        let (id, pages) = (self.file.id(), self.file.pages());
        for prefix in &self.head_prefixes {
            self.file.put_tail(&prefix.to_be_bytes())?;
        }
        for (key, start) in &self.posting_places {
            self.file.put_tail(&key.0)?;
            self.file.put_tail(&start.to_be_bytes())?;
        }
        let count = match hashes {
            Hashes::All(hashes) => {
                hashes.iter().try_for_each(|hash| self.file.put_tail(&hash.0))?;
                hashes.len()
            }
            Hashes::Some(hashes) => {
                for (bucket, hash) in hashes {
                    self.file.put_tail(&bucket.to_be_bytes())?;
                    self.file.put_tail(&hash.0)?;
                }
                hashes.len()
            }
        };
        let (file, tail_crc) = self.file.finish()?;
        let meta = RunMeta {
            id,
            is_spill: matches!(hashes, Hashes::Some(_)),
            heads: self.heads,
            postings: self.postings,
            head_pages: self.head_pages,
            posting_pages: pages - self.head_pages,
            bits,
            hashes: u32::try_from(count).unwrap_or(u32::MAX),
            tail_crc,
        };
        Ok(Run { meta, file, head_prefixes: self.head_prefixes, posting_places: self.posting_places })
    }

    fn end_heads(&mut self) -> Result<(), RunError> {
        if self.kind == Kind::Heads {
            if self.page_rows > 0 {
                self.put_page()?;
            }
            self.head_pages = self.file.pages();
            self.kind = Kind::Postings;
        }
        Ok(())
    }

    fn put_page(&mut self) -> Result<bool, RunError> {
        let rows = std::mem::take(&mut self.page_rows);
        self.file.put_page(&mut self.page, rows)
    }
}
