//! The public side of a log: immutable objects under canonical tlog-tiles paths, and one mutable checkpoint.

mod fs;
mod memory;

pub use fs::FsObjects;
pub use memory::MemoryObjects;

use core::ops::Range;

use bytes::Bytes;

/// An object to be created: its canonical path (`tile/0/000`, `tile/entries/x001/234.p/7`) and its content.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Canonical relative path, as `glasslog_core::tile` spells it.
    pub path: String,
    /// The only content that this path will ever have.
    pub bytes: Bytes,
}

/// Whether bytes that are already at a path may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Equal bytes are left as they are: they were made durable by a call that returned success.
    Trust,
    /// Equal bytes are written again as a new file. After an unclean stop what reads back may be only in the page
    /// cache of a failed fsync (research/storage.md §4), so it proves nothing about the disk.
    Rewrite,
}

/// Why an object store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The path already holds other bytes. Fatal: a public path has one content for ever (invariant 4).
    #[error("{path} already holds other bytes; nothing was overwritten")]
    Conflict {
        /// The path concerned.
        path: String,
    },
    /// There is no room. Nothing that was asked for may be believed durable; a later call may succeed.
    #[error("no room to write {path}")]
    Full {
        /// What was being written.
        path: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// Durability is in doubt (a failed fsync, an unreachable store after a write). Fatal for a writer.
    #[error("cannot make {path} durable")]
    Durability {
        /// What was being written.
        path: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// Anything else, with nothing written.
    #[error("cannot access {path}")]
    Io {
        /// The path concerned.
        path: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// Another writer replaced the checkpoint since it was read. Fatal for this writer (invariant 8).
    #[error("the public checkpoint is not the one this log published last: another writer is at work")]
    CheckpointMoved,
}

/// Immutable objects and one checkpoint.
///
/// **Atomic**: a reader sees an object whole or not at all, and the checkpoint as one of its versions.
/// **Durable**: when `create` or `swap_checkpoint` returns `Ok`, power loss does not take back what it wrote.
/// **After a crash**: any subset of the objects of an unfinished `create` may exist, each whole.
/// **A second writer**: equal content succeeds for both, other content is `Conflict` for the later one.
/// **Costs**: `create` is one barrier however many objects it carries; batch them. All calls block.
pub trait Objects: Send + Sync + 'static {
    /// Makes all `objects` durable and readable at their paths.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Conflict`], [`ObjectError::Full`], [`ObjectError::Durability`] or [`ObjectError::Io`].
    fn create(&self, objects: &[NewObject], existing: Existing) -> Result<(), ObjectError>;

    /// The bytes at `path` (those within `range`, which is cut to the object's end), or `None` if nothing is there.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Io`].
    fn get(&self, path: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>, ObjectError>;

    /// Removes superseded partial objects; a path that holds nothing is no error. Need not be durable on return.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Io`].
    fn remove(&self, paths: &[String]) -> Result<(), ObjectError>;

    /// The public checkpoint, or `None` before the first one.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Io`].
    fn checkpoint(&self) -> Result<Option<Bytes>, ObjectError>;

    /// Replaces the public checkpoint `expected` (the whole former note; `None`: there is none yet) by `note`.
    ///
    /// The only mutable path, and so the only place where a stale writer could do harm.
    ///
    /// # Errors
    ///
    /// [`ObjectError::CheckpointMoved`] if another note stands there, else as for `create`.
    fn swap_checkpoint(&self, expected: Option<&[u8]>, note: &[u8]) -> Result<(), ObjectError>;
}

/// Refuses whatever is not a relative path of `[a-z0-9.]` segments as tlog-tiles has them: no empty segment, none that
/// begins with a dot. It keeps every object below its root; which paths mean something is for callers to know.
fn check_path(path: &str) -> Result<(), ObjectError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.';
    let segment = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
    if path.len() <= 200 && path != CHECKPOINT && path.split('/').all(segment) {
        return Ok(());
    }
    let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "not the path of an immutable object");
    Err(ObjectError::Io { path: path.to_owned(), source })
}

/// The one mutable path.
const CHECKPOINT: &str = "checkpoint";

/// More than any object: a bundle of 256 entries of 65,535 bytes has 16,777,472.
const MAX_OBJECT_BYTES: u64 = 32 << 20;
/// More than any checkpoint with all its cosignatures.
const MAX_NOTE_BYTES: u64 = 1 << 20;

/// `range` cut to an object of `len` bytes.
fn cut_range(range: Option<Range<u64>>, len: u64) -> Range<u64> {
    let range = range.unwrap_or(0..len);
    let start = range.start.min(len);
    start..range.end.clamp(start, len)
}
