//! What every kind of run is made of: a file of checksummed pages and a tail, written once and never changed.
//!
//! ```text
//! file      pages · tail
//! page      4,096 bytes: crc32c ‖ be16 count ‖ rows ‖ zeros
//! ```
//!
//! A page's checksum covers the file's id and the page's number besides its bytes, so that a page of another file or place is
//! not taken for this one. The tail's covers the id and the tail; it stands in a manifest, with all that is needed to know
//! the file's length.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{PAGE_BYTES, RunError};
use crate::disk::{Disk, DiskFile};

/// Bytes of a page before its first row.
pub const PAGE_HEADER: usize = 6;
/// Bytes gathered before they are written, and bytes of a tail that are read at once.
const WRITE_BYTES: usize = 256 << 10;
/// Bytes written before they are synced, so that no other sync inherits much more (research/storage.md §5).
const SYNC_BYTES: usize = 4 << 20;

/// Names a file of pages for ever: random, so that it is also a secret seed of its checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunId(pub u64);

impl RunId {
    /// The name of its file.
    #[must_use]
    pub fn file_name(self) -> String {
        format!("{:016x}.run", self.0)
    }

    fn crc(self) -> u32 {
        crc32c::crc32c(&self.0.to_be_bytes())
    }
}

/// An open file of pages.
pub struct PageFile {
    id: RunId,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    pages: u32,
}

/// What a page holds.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// How many rows it says it has.
    pub count: usize,
    /// They, and zeros up to the page's end.
    pub bytes: &'a [u8],
}

impl PageFile {
    /// Opens the file of `id` in `dir`, which has so many pages and a tail of so many bytes.
    ///
    /// # Errors
    ///
    /// [`RunError::Corrupt`] when it is missing or of another length; [`RunError::Io`].
    pub fn open(
        disk: &dyn Disk,
        dir: &Path,
        id: RunId,
        pages: u32,
        tail_bytes: u64,
    ) -> Result<PageFile, RunError> {
        let path = dir.join(id.file_name());
        let file = disk.open(&path, false).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => RunError::corrupt(&path, "it is missing"),
            _ => RunError::io(&path, source),
        })?;
        let expected = (u64::from(pages) * PAGE_BYTES as u64).checked_add(tail_bytes);
        let len = file.len().map_err(|source| RunError::io(&path, source))?;
        match expected {
            Some(expected) if expected == len => Ok(PageFile { id, path, file, pages }),
            _ => Err(RunError::corrupt(
                &path,
                format!("it has {len} bytes instead of {}", expected.unwrap_or(u64::MAX)),
            )),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.id
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many pages it has.
    #[must_use]
    pub fn pages(&self) -> usize {
        usize::try_from(self.pages).unwrap_or(usize::MAX)
    }

    /// That it holds what was not written.
    #[must_use]
    pub fn corrupt(&self, why: impl Into<String>) -> RunError {
        RunError::corrupt(&self.path, why)
    }

    /// Fills `bytes`, whole pages of them, from page `first` on. Nothing is checked.
    ///
    /// # Errors
    ///
    /// [`RunError::Corrupt`] past the end; [`RunError::Io`].
    pub fn read_pages(&self, first: usize, bytes: &mut [u8]) -> Result<(), RunError> {
        self.read_at(first as u64 * PAGE_BYTES as u64, bytes)
    }

    /// What is in page `number`, whose `bytes` were read, once its checksum has been found right. What the rows are is for
    /// whoever reads them to check.
    ///
    /// # Errors
    ///
    /// [`RunError::Corrupt`].
    pub fn rows<'a>(&self, number: usize, bytes: &'a [u8]) -> Result<Rows<'a>, RunError> {
        let corrupt = |why: &str| self.corrupt(format!("page {number} {why}"));
        let (header, rows) = bytes.split_at_checked(PAGE_HEADER).ok_or_else(|| corrupt("is short"))?;
        let [c0, c1, c2, c3, n0, n1] = *header else { return Err(corrupt("is short")) };
        if u32::from_be_bytes([c0, c1, c2, c3]) != page_crc(self.id, number as u64, bytes) {
            return Err(corrupt("does not match its checksum"));
        }
        Ok(Rows { count: usize::from(u16::from_be_bytes([n0, n1])), bytes: rows })
    }

    /// Hands over `len` bytes of the tail from `offset` on, in pieces of 256 KiB, and goes on with the checksum `crc`.
    ///
    /// # Errors
    ///
    /// [`RunError::Corrupt`] past the end; [`RunError::Io`].
    pub fn read_tail(
        &self,
        offset: u64,
        mut len: u64,
        crc: &mut TailCrc,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), RunError> {
        let mut offset = u64::from(self.pages) * PAGE_BYTES as u64 + offset;
        let mut piece = vec![0; WRITE_BYTES];
        while len > 0 {
            let now = usize::try_from(len).unwrap_or(WRITE_BYTES).min(WRITE_BYTES);
            let piece = piece.get_mut(..now).unwrap_or_default();
            self.read_at(offset, piece)?;
            crc.0 = crc32c::crc32c_append(crc.0, piece);
            each(piece);
            offset += now as u64;
            len -= now as u64;
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), RunError> {
        self.file.read_exact_at(bytes, offset).map_err(|source| RunError::io(&self.path, source))
    }
}

/// The checksum of a tail, as far as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailCrc(u32);

impl TailCrc {
    /// Of nothing yet.
    #[must_use]
    pub fn new(id: RunId) -> TailCrc {
        TailCrc(id.crc())
    }

    /// The checksum.
    #[must_use]
    pub fn finish(self) -> u32 {
        self.0
    }
}

fn page_crc(id: RunId, number: u64, page: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(id.crc(), &number.to_be_bytes());
    crc32c::crc32c_append(place, page.get(4..).unwrap_or_default())
}

/// Writes a file of pages; nothing refers to it before [`PageWriter::finish`] has made it durable.
pub struct PageWriter {
    id: RunId,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    pages: u32,
    crc: TailCrc,
    buffer: Vec<u8>,
    written: u64,
    /// Bytes written since the last sync; `None` if there is to be none.
    unsynced: Option<usize>,
}

impl PageWriter {
    /// A new file in `dir`.
    ///
    /// # Errors
    ///
    /// [`RunError::Full`], [`RunError::Io`].
    pub fn create(disk: &dyn Disk, dir: &Path) -> Result<PageWriter, RunError> {
        PageWriter::new(disk, dir, Some(0))
    }

    /// The same for a file that this process alone reads and removes again: it is never synced.
    ///
    /// # Errors
    ///
    /// As [`PageWriter::create`].
    pub fn create_unsynced(disk: &dyn Disk, dir: &Path) -> Result<PageWriter, RunError> {
        PageWriter::new(disk, dir, None)
    }

    fn new(disk: &dyn Disk, dir: &Path, unsynced: Option<usize>) -> Result<PageWriter, RunError> {
        let id = getrandom::u64()
            .map(RunId)
            .map_err(|error| RunError::io(dir, io::Error::other(error.to_string())))?;
        let path = dir.join(id.file_name());
        let file = disk.create_new(&path).map_err(|source| RunError::unused(&path, source))?;
        Ok(PageWriter {
            id,
            path,
            file,
            pages: 0,
            crc: TailCrc::new(id),
            buffer: Vec::with_capacity(WRITE_BYTES + PAGE_BYTES),
            written: 0,
            unsynced,
        })
    }

    /// The file's id.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.id
    }

    /// The file that is being written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How many pages were put.
    #[must_use]
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// Appends a page of `count` rows, given with room for its header before them; says whether what was written has just been
    /// synced. `page` is then an empty one.
    ///
    /// # Errors
    ///
    /// [`RunError::Full`], [`RunError::Io`], [`RunError::Durability`]; drop the file.
    pub fn put_page(&mut self, page: &mut Vec<u8>, count: u16) -> Result<bool, RunError> {
        page.resize(PAGE_BYTES, 0);
        page[4..PAGE_HEADER].copy_from_slice(&count.to_be_bytes());
        let crc = page_crc(self.id, u64::from(self.pages), page);
        page[..4].copy_from_slice(&crc.to_be_bytes());
        self.buffer.extend_from_slice(page);
        page.clear();
        page.resize(PAGE_HEADER, 0);
        self.pages += 1;
        if self.buffer.len() < WRITE_BYTES {
            return Ok(false);
        }
        self.flush()
    }

    /// Appends to the tail, behind all pages.
    ///
    /// # Errors
    ///
    /// As [`PageWriter::put_page`].
    pub fn put_tail(&mut self, bytes: &[u8]) -> Result<(), RunError> {
        self.crc.0 = crc32c::crc32c_append(self.crc.0, bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < WRITE_BYTES {
            return Ok(());
        }
        self.flush().map(drop)
    }

    /// Makes the content durable (its name is when the directory is synced), unless it is not to be; the checksum of the tail comes with it.
    ///
    /// # Errors
    ///
    /// As [`PageWriter::put_page`].
    pub fn finish(mut self) -> Result<(PageFile, u32), RunError> {
        if !self.buffer.is_empty() {
            self.flush()?;
        }
        if self.unsynced.is_some() {
            self.file.sync().map_err(|source| RunError::unsynced(&self.path, source))?;
        }
        let file = PageFile { id: self.id, path: self.path, file: self.file, pages: self.pages };
        Ok((file, self.crc.finish()))
    }

    fn flush(&mut self) -> Result<bool, RunError> {
        let wrote = self.file.write_all_at(&self.buffer, self.written);
        wrote.map_err(|source| RunError::unused(&self.path, source))?;
        self.written += self.buffer.len() as u64;
        let flushed = self.buffer.len();
        self.buffer.clear();
        let Some(unsynced) = &mut self.unsynced else { return Ok(false) };
        *unsynced += flushed;
        if *unsynced < SYNC_BYTES {
            return Ok(false);
        }
        *unsynced = 0;
        self.file.sync().map_err(|source| RunError::unsynced(&self.path, source))?;
        Ok(true)
    }
}

/// Replaces the file `name` of `dir` as a whole (temporary file, sync, rename, sync of the directory), durable on return. An
/// error other than [`RunError::Durability`] means that the former one stands.
///
/// # Errors
///
/// [`RunError::Full`], [`RunError::Io`], [`RunError::Durability`].
pub fn replace_file(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> Result<(), RunError> {
    let (path, temporary) = (dir.join(name), dir.join(format!("{name}.tmp")));
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(RunError::io(&temporary, error)),
        _ => {}
    }
    let file = disk.create_new(&temporary).map_err(|error| RunError::unused(&temporary, error))?;
    file.write_all_at(bytes, 0).map_err(|error| RunError::unused(&temporary, error))?;
    file.sync().map_err(|error| RunError::unsynced(&temporary, error))?;
    // Without room for the name nothing was renamed; any other failure leaves that open.
    disk.rename(&temporary, &path).map_err(|error| RunError::unsynced(&path, error))?;
    disk.sync_dir(dir).map_err(|error| RunError::durability(dir, error))
}

/// Reads the file `name` of `dir`, at most `max_bytes` of it; `None` if there is none.
///
/// # Errors
///
/// [`RunError::Corrupt`] when it is longer; [`RunError::Io`].
pub fn read_file(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    max_bytes: u64,
) -> Result<Option<Vec<u8>>, RunError> {
    let path = dir.join(name);
    match disk.read(&path, max_bytes) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(RunError::corrupt(&path, format!("it is longer than any {name}")))
        }
        Err(error) => Err(RunError::io(&path, error)),
    }
}
