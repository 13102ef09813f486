//! The manifest: what the index is of, up to where it is durable, and which runs it then consists of.
//!
//! ```text
//! "glassidx" ‖ be32 version ‖ be16 length ‖ origin ‖ be16 length ‖ map function
//! be64 size ‖ root ‖ be64 keys ‖ be64 postings ‖ be32 runs
//! per run, oldest first: be64 id ‖ u8 spill ‖ be64 heads ‖ be64 postings ‖ be32 head pages ‖ be32 posting pages
//!                        u8 bits ‖ be32 bucket hashes ‖ be32 crc32c of the tail
//! be32 crc32c of all before it
//! ```
//!
//! It is replaced as a whole, so one that can be read names only runs that were durable before it was written.

use std::path::Path;

use glasslog_core::{Hash, TreeSize};
use glasslog_store::{
    disk::Disk,
    runs::{Fields, RunError, RunId, read_file, replace_file},
};

use crate::{Binding, place::MAX_BITS, run::RunMeta};

const NAME: &str = "manifest";
const MAGIC: &[u8; 8] = b"glassidx";
const VERSION: u32 = 1;
const MAX_BYTES: u64 = 1 << 20;
const RUN_BYTES: usize = 42;
/// The most runs that a manifest may name.
pub(crate) const MAX_RUNS: usize = 1024;

/// What an index comes to at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) size: TreeSize,
    pub(crate) root: Hash,
    pub(crate) keys: u64,
    pub(crate) postings: u64,
}

impl Default for State {
    fn default() -> State {
        State { size: TreeSize::ZERO, root: Hash::EMPTY_ROOT, keys: 0, postings: 0 }
    }
}

/// What the manifest says besides what the index is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) state: State,
    /// Oldest first; spills are newer than all others.
    pub(crate) runs: Vec<RunMeta>,
}

/// Reads the manifest of `dir`; `None` if there is none. What it is of must be `binding`.
pub(crate) fn load(disk: &dyn Disk, dir: &Path, binding: &Binding) -> Result<Option<Manifest>, RunError> {
    let Some(bytes) = read_file(disk, dir, NAME, MAX_BYTES)? else { return Ok(None) };
    let corrupt = |why| RunError::Corrupt { path: dir.join(NAME), why };
    decode(&bytes, binding).map(Some).map_err(corrupt)
}

/// Replaces the manifest of `dir`, durable on return. An error other than `Durability` means that the former one stands.
pub(crate) fn store(
    disk: &dyn Disk,
    dir: &Path,
    binding: &Binding,
    manifest: &Manifest,
) -> Result<(), RunError> {
    replace_file(disk, dir, NAME, &encode(manifest, binding)?)
}

fn encode(manifest: &Manifest, binding: &Binding) -> Result<Vec<u8>, RunError> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    for name in [&binding.origin, &binding.map_fn] {
        let length = u16::try_from(name.len())
            .map_err(|_| RunError::Row(format!("a name of {} bytes is too long for an index", name.len())))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes.extend_from_slice(&manifest.state.size.0.to_be_bytes());
    bytes.extend_from_slice(manifest.state.root.as_bytes());
    bytes.extend_from_slice(&manifest.state.keys.to_be_bytes());
    bytes.extend_from_slice(&manifest.state.postings.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(manifest.runs.len()).unwrap_or(u32::MAX).to_be_bytes());
    for run in &manifest.runs {
        bytes.extend_from_slice(&run.id.0.to_be_bytes());
        bytes.push(u8::from(run.is_spill));
        bytes.extend_from_slice(&run.heads.to_be_bytes());
        bytes.extend_from_slice(&run.postings.to_be_bytes());
        bytes.extend_from_slice(&run.head_pages.to_be_bytes());
        bytes.extend_from_slice(&run.posting_pages.to_be_bytes());
        bytes.push(run.bits);
        bytes.extend_from_slice(&run.hashes.to_be_bytes());
        bytes.extend_from_slice(&run.tail_crc.to_be_bytes());
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    Ok(bytes)
}

fn decode(bytes: &[u8], binding: &Binding) -> Result<Manifest, String> {
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or("it is too short")?;
    if magic != MAGIC {
        return Err("it is not the manifest of an index".into());
    }
    let mut fields = Fields::of(rest);
    let version = fields.u32()?;
    if version != VERSION {
        return Err(format!("it is of format {version}, this program knows format {VERSION}"));
    }
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or("it is too short")?;
    if u32::from_be_bytes(*crc) != crc32c::crc32c(body) {
        return Err("it does not match its checksum".into());
    }
    let (origin, map_fn) = (name(&mut fields)?, name(&mut fields)?);
    if origin != binding.origin.as_bytes() || map_fn != binding.map_fn.as_bytes() {
        let (origin, map_fn) = (String::from_utf8_lossy(origin), String::from_utf8_lossy(map_fn));
        return Err(format!("it is the index of {origin} by {map_fn}"));
    }
    let size = TreeSize(fields.u64()?);
    let root = Hash(fields.take()?);
    let state = State { size, root, keys: fields.u64()?, postings: fields.u64()? };
    let count = usize::try_from(fields.u32()?).unwrap_or(usize::MAX);
    if count > MAX_RUNS || fields.left() != count * RUN_BYTES + 4 {
        return Err("its length does not fit its count of runs".into());
    }
    let runs = (0..count).map(|_| run(&mut fields)).collect::<Result<Vec<_>, String>>()?;
    if !runs.is_sorted_by_key(|run| run.is_spill) {
        return Err("its runs are out of order".into());
    }
    Ok(Manifest { state, runs })
}

fn name<'a>(fields: &mut Fields<'a>) -> Result<&'a [u8], String> {
    let length = u16::from_be_bytes(fields.take()?);
    Ok(fields.bytes(length.into())?)
}

fn run(fields: &mut Fields<'_>) -> Result<RunMeta, String> {
    let (id, spill) = (RunId(fields.u64()?), fields.take()?);
    let (heads, postings) = (fields.u64()?, fields.u64()?);
    let (head_pages, posting_pages) = (fields.u32()?, fields.u32()?);
    let ([bits], hashes, tail_crc) = (fields.take()?, fields.u32()?, fields.u32()?);
    let is_spill = match spill {
        [0] => false,
        [1] => true,
        _ => return Err("a run is of no kind".into()),
    };
    if !(1..=MAX_BITS).contains(&bits) || (!is_spill && hashes != 1 << bits) || hashes > 1 << bits {
        return Err("a run has an impossible count of buckets".into());
    }
    let run = RunMeta { id, is_spill, heads, postings, head_pages, posting_pages, bits, hashes, tail_crc };
    Ok(run)
}
