//! One run: the file's layout, its writer, lookups in it and reading it from end to end.
//!
//! ```text
//! file      pages · first key of each page · filter
//! page      4,096 bytes: crc32c ‖ be16 count ‖ rows in ascending order ‖ zeros
//! ```
//!
//! A page's checksum covers the run's id and the page's number besides its bytes, so that a page of another file
//! or place is not taken for this one. What follows the pages is kept in memory; its checksum, and all that is needed to
//! know the file's length, stand in the manifest.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Keep, PAGE_BYTES, RunError, Shape,
    filter::{self, Filter},
};
use crate::disk::{Disk, DiskFile};

/// Bytes of a page before its first row.
pub(super) const PAGE_HEADER: usize = 6;
/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 256 << 10;
/// Bytes written before they are synced, so that no other sync inherits much more (research/storage.md §5).
const SYNC_BYTES: usize = 4 << 20;
/// Pages read at once when a run is read from end to end.
const SCAN_PAGES: usize = 16;

/// Names a run for ever: random, so that it is also the secret seed of the run's filter and of its checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunId(pub(super) u64);

impl RunId {
    pub(super) fn file_name(self) -> String {
        format!("{:016x}.run", self.0)
    }
}

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
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// The first key of each page, one after the other.
    first_keys: Vec<u8>,
    filter: Filter,
}

impl Run {
    /// Opens the run that `meta` describes and reads what is kept in memory.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, shape: Shape, meta: RunMeta) -> Result<Run, RunError> {
        let path = dir.join(meta.id.file_name());
        let file = disk.open(&path, false).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => RunError::corrupt(&path, "it is missing"),
            _ => RunError::io(&path, source),
        })?;
        let pages_bytes = u64::from(meta.pages) * PAGE_BYTES as u64;
        let keys_bytes = u64::from(meta.pages) * u64::from(shape.key_bytes);
        let filter_bytes = u64::from(meta.filter_blocks) * filter::BLOCK_BYTES as u64;
        let expected = pages_bytes + keys_bytes + filter_bytes;
        let len = file.len().map_err(|source| RunError::io(&path, source))?;
        if len != expected {
            return Err(RunError::corrupt(&path, format!("it has {len} bytes instead of {expected}")));
        }
        // The lengths are believed from here on: the file is that long.
        let mut first_keys = Vec::with_capacity(usize::try_from(keys_bytes).unwrap_or(0));
        let mut filter = Filter::to_be_read(meta.id.0, usize::try_from(meta.filter_blocks).unwrap_or(0));
        let mut crc = crc32c::crc32c(&meta.id.0.to_be_bytes());
        read_pieces(&path, &*file, pages_bytes, keys_bytes, |piece| {
            crc = crc32c::crc32c_append(crc, piece);
            first_keys.extend_from_slice(piece);
        })?;
        read_pieces(&path, &*file, pages_bytes + keys_bytes, filter_bytes, |piece| {
            crc = crc32c::crc32c_append(crc, piece);
            filter.push_bytes(piece);
        })?;
        if crc != meta.tail_crc {
            return Err(RunError::corrupt(&path, "page keys or filter do not match their checksum"));
        }
        Ok(Run { meta, shape, path, file, first_keys, filter })
    }

    /// Whether a row with `key` may be here; `false` is certain. No IO.
    pub(super) fn may_contain(&self, key: &[u8]) -> bool {
        self.filter.may_contain(key)
    }

    /// The last row with `key` in row order. Reads one page.
    pub(super) fn last_of_key(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RunError> {
        let Some(number) = self.first_keys_up_to(key).checked_sub(1) else { return Ok(None) };
        let mut bytes = [0; PAGE_BYTES];
        self.read_pages(number, &mut bytes)?;
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

    fn read_pages(&self, first: usize, bytes: &mut [u8]) -> Result<(), RunError> {
        let offset = first as u64 * PAGE_BYTES as u64;
        self.file.read_exact_at(bytes, offset).map_err(|source| RunError::io(&self.path, source))
    }

    /// The rows of page `number`, once everything about them has been checked.
    fn page<'a>(&self, number: usize, bytes: &'a [u8]) -> Result<Page<'a>, RunError> {
        let corrupt = |why: &str| RunError::corrupt(&self.path, format!("page {number} {why}"));
        let (header, rows) = bytes.split_at_checked(PAGE_HEADER).ok_or_else(|| corrupt("is short"))?;
        let [c0, c1, c2, c3, n0, n1] = *header else { return Err(corrupt("is short")) };
        if u32::from_be_bytes([c0, c1, c2, c3]) != page_crc(self.meta.id, number as u64, bytes) {
            return Err(corrupt("does not match its checksum"));
        }
        let count = usize::from(u16::from_be_bytes([n0, n1]));
        if count == 0 || count > self.shape.rows_per_page() {
            return Err(corrupt("has an impossible count of rows"));
        }
        let page = Page { rows, width: self.shape.row(), count };
        if !(1..count).all(|at| in_order(self.shape, page.row(at - 1), page.row(at))) {
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

fn page_crc(id: RunId, number: u64, page: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(crc32c::crc32c(&id.0.to_be_bytes()), &number.to_be_bytes());
    crc32c::crc32c_append(place, page.get(4..).unwrap_or_default())
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

/// Hands over `len` bytes from `offset` in pieces of whole filter blocks.
fn read_pieces(
    path: &Path,
    file: &dyn DiskFile,
    mut offset: u64,
    mut len: u64,
    mut each: impl FnMut(&[u8]),
) -> Result<(), RunError> {
    let mut piece = vec![0; WRITE_BYTES];
    while len > 0 {
        let now = usize::try_from(len).unwrap_or(WRITE_BYTES).min(WRITE_BYTES);
        let piece = piece.get_mut(..now).unwrap_or_default();
        file.read_exact_at(piece, offset).map_err(|source| RunError::io(path, source))?;
        each(piece);
        offset += now as u64;
        len -= now as u64;
    }
    Ok(())
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
            self.run.read_pages(self.first_page, &mut self.buffer)?;
        }
        let start = (self.page - self.first_page) * PAGE_BYTES;
        let bytes = self.buffer.get(start..start + PAGE_BYTES).unwrap_or_default();
        let page = self.run.page(self.page, bytes)?;
        if !self.last_of_page.is_empty() && !in_order(self.run.shape, &self.last_of_page, page.row(0)) {
            return Err(RunError::corrupt(&self.run.path, format!("page {} is out of order", self.page)));
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
        Err(RunError::corrupt(&self.run.path, why))
    }
}

/// Writes a run; nothing refers to it before [`RunWriter::finish`] has made it durable.
pub(super) struct RunWriter {
    shape: Shape,
    path: PathBuf,
    id: RunId,
    file: Box<dyn DiskFile>,
    /// The last row that was pushed; later ones may replace it.
    pending: Vec<u8>,
    page: Vec<u8>,
    page_rows: u16,
    pages: u32,
    rows: u64,
    first_keys: Vec<u8>,
    filter: Filter,
    buffer: Vec<u8>,
    written: u64,
    unsynced: usize,
}

impl RunWriter {
    /// A new file in `dir` for at most `at_most` rows.
    pub(super) fn new(
        disk: &dyn Disk,
        dir: &Path,
        shape: Shape,
        at_most: u64,
    ) -> Result<RunWriter, RunError> {
        let id = getrandom::u64()
            .map(RunId)
            .map_err(|error| RunError::io(dir, std::io::Error::other(error.to_string())))?;
        let path = dir.join(id.file_name());
        let file = disk.create_new(&path).map_err(|source| RunError::unused(&path, source))?;
        Ok(RunWriter {
            shape,
            path,
            id,
            file,
            pending: Vec::with_capacity(shape.row()),
            page: vec![0; PAGE_HEADER],
            page_rows: 0,
            pages: 0,
            rows: 0,
            first_keys: Vec::new(),
            filter: Filter::with_room_for(id.0, at_most),
            buffer: Vec::with_capacity(WRITE_BYTES + PAGE_BYTES),
            written: 0,
            unsynced: 0,
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
        &self.path
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Makes the file and its name durable.
    pub(super) fn finish(mut self) -> Result<Run, RunError> {
        if !self.pending.is_empty() {
            self.put_pending()?;
        }
        if self.page_rows > 0 {
            self.put_page();
        }
        let mut crc = crc32c::crc32c_append(crc32c::crc32c(&self.id.0.to_be_bytes()), &self.first_keys);
        self.buffer.extend_from_slice(&self.first_keys);
        self.flush()?;
        let filter = std::mem::replace(&mut self.filter, Filter::to_be_read(0, 0));
        for piece in filter.pieces() {
            crc = crc32c::crc32c_append(crc, &piece);
            self.buffer.extend_from_slice(&piece);
            self.flush()?;
        }
        self.file.sync().map_err(|source| RunError::unsynced(&self.path, source))?;
        let meta = RunMeta {
            id: self.id,
            rows: self.rows,
            pages: self.pages,
            filter_blocks: u32::try_from(filter.blocks()).unwrap_or(u32::MAX),
            tail_crc: crc,
        };
        Ok(Run {
            meta,
            shape: self.shape,
            path: self.path,
            file: self.file,
            first_keys: self.first_keys,
            filter,
        })
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
        self.put_page();
        if self.buffer.len() < WRITE_BYTES {
            return Ok(false);
        }
        self.flush()
    }

    fn put_page(&mut self) {
        self.page.resize(PAGE_BYTES, 0);
        self.page[4..PAGE_HEADER].copy_from_slice(&self.page_rows.to_be_bytes());
        let crc = page_crc(self.id, u64::from(self.pages), &self.page);
        self.page[..4].copy_from_slice(&crc.to_be_bytes());
        self.buffer.extend_from_slice(&self.page);
        self.page.clear();
        self.page.resize(PAGE_HEADER, 0);
        self.page_rows = 0;
        self.pages += 1;
    }

    fn flush(&mut self) -> Result<bool, RunError> {
        let wrote = self.file.write_all_at(&self.buffer, self.written);
        wrote.map_err(|source| RunError::unused(&self.path, source))?;
        self.written += self.buffer.len() as u64;
        self.unsynced += self.buffer.len();
        self.buffer.clear();
        if self.unsynced < SYNC_BYTES {
            return Ok(false);
        }
        self.unsynced = 0;
        self.file.sync().map_err(|source| RunError::unsynced(&self.path, source))?;
        Ok(true)
    }
}
