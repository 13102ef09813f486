//! The manifest: which runs there are, oldest first, and how much of the log they cover.
//!
//! ```text
//! "glassrun" ‖ be32 version ‖ be16 row bytes ‖ be16 key bytes ‖ u8 keep ‖ be64 covered ‖ be32 runs
//! per run: be64 id ‖ be64 rows ‖ be32 pages ‖ be32 filter blocks ‖ be32 crc32c of keys and filter
//! be32 crc32c of all before it
//! ```
//!
//! It is replaced as a whole: temporary file, sync, rename, sync of the directory. A manifest that can be read
//! therefore only names runs that were durable before it was written.

use std::path::Path;

use glasslog_core::TreeSize;

use super::{
    Fields, Keep, RunError, RunId, Shape,
    file::RunMeta,
    pages::{read_file, replace_file},
};
use crate::disk::Disk;

/// The most runs that a manifest may name.
pub(super) const MAX_RUNS: usize = 1024;

const MAGIC: &[u8; 8] = b"glassrun";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 29;
const RUN_BYTES: usize = 28;
const CRC_BYTES: usize = 4;
const MAX_BYTES: u64 = (HEADER_BYTES + MAX_RUNS * RUN_BYTES + CRC_BYTES) as u64;

const NAME: &str = "manifest";

/// What the manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) covered: TreeSize,
    /// Oldest first.
    pub(super) runs: Vec<RunMeta>,
}

/// Reads the manifest of `dir`; `None` if there is none.
pub(super) fn load(disk: &dyn Disk, dir: &Path, shape: Shape) -> Result<Option<Manifest>, RunError> {
    let Some(bytes) = read_file(disk, dir, NAME, MAX_BYTES)? else { return Ok(None) };
    decode(&bytes, shape).map(Some).map_err(|why| RunError::corrupt(&dir.join(NAME), why))
}

/// Replaces the manifest of `dir`, durable on return. An error other than `Durability` means that the former one stands.
pub(super) fn store(disk: &dyn Disk, dir: &Path, shape: Shape, manifest: &Manifest) -> Result<(), RunError> {
    replace_file(disk, dir, NAME, &encode(manifest, shape))
}

fn encode(manifest: &Manifest, shape: Shape) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + manifest.runs.len() * RUN_BYTES + CRC_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&shape_bytes(shape));
    bytes.extend_from_slice(&manifest.covered.0.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(manifest.runs.len()).unwrap_or(u32::MAX).to_be_bytes());
    for run in &manifest.runs {
        bytes.extend_from_slice(&run.id.0.to_be_bytes());
        bytes.extend_from_slice(&run.rows.to_be_bytes());
        bytes.extend_from_slice(&run.pages.to_be_bytes());
        bytes.extend_from_slice(&run.filter_blocks.to_be_bytes());
        bytes.extend_from_slice(&run.tail_crc.to_be_bytes());
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

fn shape_bytes(shape: Shape) -> [u8; 5] {
    let ([r0, r1], [k0, k1]) = (shape.row_bytes.to_be_bytes(), shape.key_bytes.to_be_bytes());
    let keep = match shape.keep {
        Keep::All => 0,
        Keep::LastOfKey => 1,
    };
    [r0, r1, k0, k1, keep]
}

fn decode(bytes: &[u8], shape: Shape) -> Result<Manifest, String> {
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or("it is too short")?;
    if magic != MAGIC {
        return Err("it is not a manifest of sorted runs".into());
    }
    let mut fields = Fields::of(rest);
    let version = fields.u32()?;
    if version != VERSION {
        return Err(format!("it is of format {version}, this program knows format {VERSION}"));
    }
    let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or("it is too short")?;
    if u32::from_be_bytes(*crc) != crc32c::crc32c(body) {
        return Err("it does not match its checksum".into());
    }
    if fields.take::<5>()? != shape_bytes(shape) {
        return Err("its rows are of another shape".into());
    }
    let covered = TreeSize(fields.u64()?);
    let count = usize::try_from(fields.u32()?).unwrap_or(usize::MAX);
    if count > MAX_RUNS || fields.left() != count * RUN_BYTES + CRC_BYTES {
        return Err("its length does not fit its count of runs".into());
    }
    let runs = (0..count).map(|_| run(&mut fields)).collect::<Result<Vec<_>, String>>()?;
    Ok(Manifest { covered, runs })
}

fn run(fields: &mut Fields<'_>) -> Result<RunMeta, String> {
    Ok(RunMeta {
        id: RunId(fields.u64()?),
        rows: fields.u64()?,
        pages: fields.u32()?,
        filter_blocks: fields.u32()?,
        tail_crc: fields.u32()?,
    })
}
