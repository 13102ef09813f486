//! One segment file: how it comes to be, and how its records are read.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    StateError, corrupt,
    record::{self, HEADER, Header, Item, PAGE},
};
use crate::disk::{Disk, DiskFile};

/// `magic 8 | version u32 | number u64 | salt 16 | crc u32`, little endian, then zeros to the first record.
const MAGIC: [u8; 8] = *b"GLASSLOG";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 40;
/// How much is read at a time when looking for a later record, and zeroed between two syncs.
const CHUNK: usize = 1 << 20;

/// A segment whose header is durable.
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) capacity: u64,
    pub(super) file: Box<dyn DiskFile>,
    pub(super) blocks: Blocks,
    /// What its checksums begin with.
    pub(super) seed: u32,
}

/// How the blocks of a segment were prepared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Blocks {
    /// Reserved: at once, but each block's first write costs the filesystem a journal entry.
    Reserved,
    /// Written with zeros: as fast as the disk from then on. For segments made ahead of need.
    Zeroed,
}

impl Segment {
    /// The first record's offset.
    pub(super) const START: u64 = PAGE as u64;

    /// The number in a segment's file name, if it is one.
    pub(super) fn number_of(name: &str) -> Option<u64> {
        let number: u64 = name.strip_suffix(".segment")?.parse().ok()?;
        (file_name(number) == name).then_some(number)
    }

    /// Whether a file is what an interrupted creation left.
    pub(super) fn is_leftover(name: &str) -> bool {
        name.ends_with(".segment.tmp")
    }

    /// Creates a segment that shows up under its name only when `fill` has run and everything is durable.
    pub(super) fn create(
        disk: &dyn Disk,
        dir: &Path,
        number: u64,
        capacity: u64,
        blocks: Blocks,
        fill: impl FnOnce(&Segment) -> io::Result<()>,
    ) -> io::Result<Segment> {
        let temporary = dir.join(file_name(number) + ".tmp");
        let made = disk.create_new(&temporary).and_then(|file| {
            file.allocate(capacity)?;
            if blocks == Blocks::Zeroed {
                write_zeros(file.as_ref(), capacity)?;
            }
            Segment::begin(file, dir, number, capacity, blocks)
        });
        let shown = made.and_then(|segment| {
            fill(&segment)?;
            segment.show(disk, dir, &temporary)
        });
        shown.inspect_err(|_| discard(disk, &temporary))
    }

    /// Makes a new segment of one whose batches have left: its blocks are written, its old records no longer check.
    pub(super) fn recycle(self, disk: &dyn Disk, dir: &Path, number: u64) -> io::Result<Segment> {
        let temporary = dir.join(file_name(number) + ".tmp");
        disk.rename(&self.path, &temporary)?;
        // The old name must be gone before the header is overwritten.
        let begun = disk
            .sync_dir(dir)
            .and_then(|()| Segment::begin(self.file, dir, number, self.capacity, self.blocks));
        let shown = begun.and_then(|segment| segment.show(disk, dir, &temporary));
        shown.inspect_err(|_| discard(disk, &temporary))
    }

    /// Opens a segment for reading. Its header was durable before it had this name.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, number: u64) -> Result<Segment, StateError> {
        let path = dir.join(file_name(number));
        let file = disk.open(&path, true).map_err(StateError::Io)?;
        let capacity = file.len().map_err(StateError::Io)?;
        let mut header = [0; HEADER_BYTES];
        let damaged =
            || corrupt(&path, 0, "damaged segment header; restore the file, or run `glasslog recover`");
        if capacity < PAGE as u64 {
            return Err(damaged());
        }
        file.read_exact_at(&mut header, 0).map_err(StateError::Io)?;
        let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        if header[..8] != MAGIC || header[36..] != crc32c::crc32c(&header[..36]).to_le_bytes() {
            return Err(damaged());
        }
        if version > VERSION {
            let why = format!("format version {version} is newer than {VERSION}: use the newer glasslog");
            return Err(corrupt(&path, 8, &why));
        }
        if header[12..20] != number.to_le_bytes() {
            return Err(corrupt(&path, 12, "the header names another segment: the file was renamed"));
        }
        let seed = crc32c::crc32c(&header[12..36]);
        // Nobody knows which of its blocks were written.
        Ok(Segment { number, path, capacity, file, blocks: Blocks::Reserved, seed })
    }

    /// The record at `offset`, with the offset behind it; `None` if no valid one is there.
    pub(super) fn read(&self, offset: u64) -> io::Result<Option<(Header, Bytes, u64)>> {
        if offset + HEADER as u64 > self.capacity {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        self.file.read_exact_at(&mut header, offset)?;
        let Some(header) = Header::parse(&header, self.seed) else { return Ok(None) };
        let next = offset + header.padded_len();
        if next > self.capacity {
            return Ok(None);
        }
        let mut payload = vec![0; header.payload];
        self.file.read_exact_at(&mut payload, offset + HEADER as u64)?;
        if !header.matches(&payload, self.seed) {
            return Ok(None);
        }
        Ok(Some((header, Bytes::from(payload), next)))
    }

    /// The items of the valid record at `offset`.
    pub(super) fn items(&self, offset: u64, payload: Bytes) -> Result<Vec<Item>, StateError> {
        record::decode(payload).ok_or_else(|| {
            corrupt(&self.path, offset, "a record has contents that this version does not know")
        })
    }

    /// Whether a valid record numbered `sequence` or more begins anywhere from `offset` on: then the one before it was
    /// lost after it had been acknowledged, for the next is written only when the last is durable.
    pub(super) fn has_record_from(&self, offset: u64, sequence: u64) -> io::Result<bool> {
        let length = usize::try_from(self.capacity).map_or(CHUNK, |capacity| capacity.min(CHUNK));
        let mut chunk = vec![0; length];
        let mut at = offset;
        while at < self.capacity {
            let length =
                usize::try_from(self.capacity - at).map_or(chunk.len(), |left| left.min(chunk.len()));
            self.file.read_exact_at(&mut chunk[..length], at)?;
            for page in (0..length).step_by(PAGE) {
                let header =
                    chunk[page..length].first_chunk().and_then(|header| Header::parse(header, self.seed));
                let later = header.is_some_and(|header| header.sequence >= sequence);
                if later && self.read(at + page as u64)?.is_some() {
                    return Ok(true);
                }
            }
            at += length as u64;
        }
        Ok(false)
    }

    /// Writes the header. Nothing is durable yet.
    fn begin(
        file: Box<dyn DiskFile>,
        dir: &Path,
        number: u64,
        capacity: u64,
        blocks: Blocks,
    ) -> io::Result<Segment> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| io::Error::other(error.to_string()))?;
        let mut page = vec![0; PAGE];
        page[..8].copy_from_slice(&MAGIC);
        page[8..12].copy_from_slice(&VERSION.to_le_bytes());
        page[12..20].copy_from_slice(&number.to_le_bytes());
        page[20..36].copy_from_slice(&salt);
        let crc = crc32c::crc32c(&page[..36]);
        page[36..40].copy_from_slice(&crc.to_le_bytes());
        file.write_all_at(&page, 0)?;
        let seed = crc32c::crc32c(&page[12..36]);
        Ok(Segment { number, path: dir.join(file_name(number)), capacity, file, blocks, seed })
    }

    /// Makes the content durable, then the name.
    fn show(self, disk: &dyn Disk, dir: &Path, temporary: &Path) -> io::Result<Segment> {
        self.file.sync()?;
        disk.rename_new(temporary, &self.path)?;
        disk.sync_dir(dir)?;
        Ok(self)
    }
}

/// Best effort: the next start clears it.
fn discard(disk: &dyn Disk, temporary: &Path) {
    if let Err(error) = disk.remove(temporary) {
        tracing::debug!(path = %temporary.display(), %error, "a temporary file stays until the next start");
    }
}

fn file_name(number: u64) -> String {
    format!("{number:016}.segment")
}

/// In small pieces, so that no commit inherits much of it.
fn write_zeros(file: &dyn DiskFile, capacity: u64) -> io::Result<()> {
    let zeros = vec![0; CHUNK];
    let mut offset = 0;
    while offset < capacity {
        let length = usize::try_from(capacity - offset).map_or(zeros.len(), |left| left.min(zeros.len()));
        file.write_all_at(&zeros[..length], offset)?;
        file.sync()?;
        offset += length as u64;
    }
    Ok(())
}
