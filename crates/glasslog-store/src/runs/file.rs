//! One run: the file's layout, its writer, lookups in it and reading it from end to end.
//!
//! The pages ([`super::pages`]) hold rows in ascending order. The tail is the first key of each page, and the filter; both are
//! kept in memory.

use std::{path::Path, sync::Arc};

use super::{
    Keep, PAGE_BYTES, PageFile, PageWriter, RunError, RunId, Shape,
    filter::{self, Filter},
    pages::{PAGE_HEADER, TailCrc},
};
use crate::disk::Disk;

/// Pages read at once when a run is read from end to end.
const SCAN_PAGES: usize = 16;

/// What the manifest says of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunMeta {
    pub(super) id: RunId,
    pub(super) rows: u64,
    pub(super) pages: u32,
    pub(super) filter_blocks: u32,
    /// Over the id and everything behind the pages.
    pub(super) tail_crc: u32,
}

/// An open run.
pub(super) struct Run {
    pub(super) meta: RunMeta,
    shape: Shape,
    file: PageFile,
    /// The first key of each page, one after the other.
    first_keys: Vec<u8>,
    filter: Filter,
}

impl Run {
    /// Opens the run that `meta` describes and reads what is kept in memory.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, shape: Shape, meta: RunMeta) -> Result<Run, RunError> {
        let keys_bytes = u64::from(meta.pages) * u64::from(shape.key_bytes);
        let filter_bytes = u64::from(meta.filter_blocks) * filter::BLOCK_BYTES as u64;
        let file = PageFile::open(disk, dir, meta.id, meta.pages, keys_bytes + filter_bytes)?;
        // The lengths are believed from here on: the file is that long.
        let mut first_keys = Vec::with_capacity(usize::try_from(keys_bytes).unwrap_or(0));
        let mut filter = Filter::to_be_read(meta.id.0, usize::try_from(meta.filter_blocks).unwrap_or(0));
        let mut crc = TailCrc::new(meta.id);
        file.read_tail(0, keys_bytes, &mut crc, |piece| first_keys.extend_from_slice(piece))?;
        // In pieces of whole blocks.
        file.read_tail(keys_bytes, filter_bytes, &mut crc, |piece| filter.push_bytes(piece))?;
        if crc.finish() != meta.tail_crc {
            return Err(file.corrupt("page keys or filter do not match their checksum"));
        }
        Ok(Run { meta, shape, file, first_keys, filter })
    }

    /// Whether a row with `key` may be here; `false` is certain. No IO.
    pub(super) fn may_contain(&self, key: &[u8]) -> bool {
        self.filter.may_contain(key)
    }

    /// The last row with `key` in row order. Reads one page.
    pub(super) fn last_of_key(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RunError> {
        let Some(number) = self.first_keys_up_to(key).checked_sub(1) else { return Ok(None) };
        let mut bytes = [0; PAGE_BYTES];
        self.file.read_pages(number, &mut bytes)?;
        let page = self.page(number, &bytes)?;
        let after = partition_point(page.count, |at| self.shape.key_of(page.row(at)) <= key);
        let last = after.checked_sub(1).map(|at| page.row(at));
        Ok(last.filter(|row| self.shape.key_of(row) == key).map(<[u8]>::to_vec))
    }

    /// How many pages begin with a key of at most `key`.
    fn first_keys_up_to(&self, key: &[u8]) -> usize {
        let width = self.shape.key();
        let first_key =
            |page: usize| self.first_keys.get(page * width..(page + 1) * width).unwrap_or_default();
        partition_point(self.first_keys.len() / width, |page| first_key(page) <= key)
    }

    /// The rows of page `number`, once everything about them has been checked.
    fn page<'a>(&self, number: usize, bytes: &'a [u8]) -> Result<Page<'a>, RunError> {
        let corrupt = |why: &str| self.file.corrupt(format!("page {number} {why}"));
        let rows = self.file.rows(number, bytes)?;
        if rows.count == 0 || rows.count > self.shape.rows_per_page() {
            return Err(corrupt("has an impossible count of rows"));
        }
        let page = Page { rows: rows.bytes, width: self.shape.row(), count: rows.count };
        if !(1..page.count).all(|at| in_order(self.shape, page.row(at - 1), page.row(at))) {
            return Err(corrupt("is out of order"));
        }
        let width = self.shape.key();
        if self.first_keys.get(number * width..(number + 1) * width) != Some(self.shape.key_of(page.row(0))) {
            return Err(corrupt("does not begin with its key"));
        }
        Ok(page)
    }
}

/// The rows of a page.
struct Page<'a> {
    rows: &'a [u8],
    width: usize,
    count: usize,
}

impl<'a> Page<'a> {
    fn row(&self, at: usize) -> &'a [u8] {
        self.rows.get(at * self.width..(at + 1) * self.width).unwrap_or_default()
    }
}

/// Whether `next` may follow `row` in a run.
fn in_order(shape: Shape, row: &[u8], next: &[u8]) -> bool {
    match shape.keep {
        Keep::All => row < next,
        Keep::LastOfKey => shape.key_of(row) < shape.key_of(next),
    }
}

/// The first of `0..len` for which `below` is false; `below` is true before it and false from it on.
fn partition_point(len: usize, below: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low.midpoint(high);
        if below(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Reads a run from its first row to its last, checking all of it.
pub(super) struct Cursor {
    run: Arc<Run>,
    buffer: Vec<u8>,
    /// The page that `buffer` begins with.
    first_page: usize,
    /// The current page, and the row in it.
    page: usize,
    count: usize,
    at: usize,
    rows_seen: u64,
    last_of_page: Vec<u8>,
}

impl Cursor {
    pub(super) fn new(run: Arc<Run>) -> Result<Cursor, RunError> {
        let mut cursor = Cursor {
            run,
            buffer: Vec::new(),
            first_page: 0,
            page: 0,
            count: 0,
            at: 0,
            rows_seen: 0,
            last_of_page: Vec::new(),
        };
        cursor.enter_page()?;
        Ok(cursor)
    }

    /// The current row; `None` past the end.
    pub(super) fn row(&self) -> Option<&[u8]> {
        let width = self.run.shape.row();
        let start = (self.page - self.first_page) * PAGE_BYTES + PAGE_HEADER + self.at * width;
        (self.at < self.count).then(|| self.buffer.get(start..start + width)).flatten()
    }

    pub(super) fn advance(&mut self) -> Result<(), RunError> {
        self.at += 1;
        if self.at < self.count {
            return Ok(());
        }
        self.at -= 1;
        let last = self.row().map(<[u8]>::to_vec).unwrap_or_default();
        self.last_of_page = last;
        self.page += 1;
        self.enter_page()
    }

    fn enter_page(&mut self) -> Result<(), RunError> {
        let pages = usize::try_from(self.run.meta.pages).unwrap_or(usize::MAX);
        (self.at, self.count) = (0, 0);
        if self.page >= pages {
            return self.check_end();
        }
        if self.buffer.is_empty() || self.page - self.first_page >= SCAN_PAGES {
            self.first_page = self.page;
            self.buffer.resize(SCAN_PAGES.min(pages - self.page) * PAGE_BYTES, 0);
            self.run.file.read_pages(self.first_page, &mut self.buffer)?;
        }
        let start = (self.page - self.first_page) * PAGE_BYTES;
        let bytes = self.buffer.get(start..start + PAGE_BYTES).unwrap_or_default();
        let page = self.run.page(self.page, bytes)?;
        if !self.last_of_page.is_empty() && !in_order(self.run.shape, &self.last_of_page, page.row(0)) {
            return Err(self.run.file.corrupt(format!("page {} is out of order", self.page)));
        }
        self.count = page.count;
        self.rows_seen += page.count as u64;
        Ok(())
    }

    fn check_end(&self) -> Result<(), RunError> {
        if self.rows_seen == self.run.meta.rows {
            return Ok(());
        }
        let why = format!("it holds {} rows instead of {}", self.rows_seen, self.run.meta.rows);
        Err(self.run.file.corrupt(why))
    }
}

/// Writes a run; nothing refers to it before [`RunWriter::finish`] has made it durable.
pub(super) struct RunWriter {
    shape: Shape,
    file: PageWriter,
    /// The last row that was pushed; later ones may replace it.
    pending: Vec<u8>,
    page: Vec<u8>,
    page_rows: u16,
    rows: u64,
    first_keys: Vec<u8>,
    filter: Filter,
}

impl RunWriter {
    /// A new file in `dir` for at most `at_most` rows.
    pub(super) fn new(
        disk: &dyn Disk,
        dir: &Path,
        shape: Shape,
        at_most: u64,
    ) -> Result<RunWriter, RunError> {
        let file = PageWriter::create(disk, dir)?;
        Ok(RunWriter {
            shape,
            pending: Vec::with_capacity(shape.row()),
            page: vec![0; PAGE_HEADER],
            page_rows: 0,
            rows: 0,
            first_keys: Vec::new(),
            filter: Filter::with_room_for(file.id().0, at_most),
            file,
        })
    }

    /// Appends `row`, which is not below the one before it; says whether what was written has just been synced.
    pub(super) fn push(&mut self, row: &[u8]) -> Result<bool, RunError> {
        let replaces = match self.shape.keep {
            Keep::All => self.pending == row,
            Keep::LastOfKey => self.shape.key_of(&self.pending) == self.shape.key_of(row),
        };
        let mut synced = false;
        if !replaces && !self.pending.is_empty() {
            synced = self.put_pending()?;
        }
        self.pending.clear();
        self.pending.extend_from_slice(row);
        Ok(synced)
    }

    /// The file that is being written.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.file.written()
    }

    /// Makes the file durable.
    pub(super) fn finish(mut self) -> Result<Run, RunError> {
        if !self.pending.is_empty() {
            self.put_pending()?;
        }
        if self.page_rows > 0 {
            self.file.put_page(&mut self.page, self.page_rows)?;
        }
        let (id, pages) = (self.file.id(), self.file.pages());
        self.file.put_tail(&self.first_keys)?;
        for piece in self.filter.pieces() {
            self.file.put_tail(&piece)?;
        }
        let (file, tail_crc) = self.file.finish()?;
        let filter_blocks = u32::try_from(self.filter.blocks()).unwrap_or(u32::MAX);
        let meta = RunMeta { id, rows: self.rows, pages, filter_blocks, tail_crc };
        Ok(Run { meta, shape: self.shape, file, first_keys: self.first_keys, filter: self.filter })
    }

    fn put_pending(&mut self) -> Result<bool, RunError> {
        let key = self.shape.key_of(&self.pending);
        self.filter.insert(key);
        if self.page_rows == 0 {
            self.first_keys.extend_from_slice(key);
        }
        self.page.extend_from_slice(&self.pending);
        self.page_rows += 1;
        self.rows += 1;
        if usize::from(self.page_rows) < self.shape.rows_per_page() {
            return Ok(false);
        }
        let rows = std::mem::take(&mut self.page_rows);
        self.file.put_page(&mut self.page, rows)
    }
}
