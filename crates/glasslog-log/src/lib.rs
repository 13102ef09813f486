//! Entries become checkpoints (skeleton: the public interface that the server builds on).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use glasslog_core::{Hash, LeafIndex, TreeSize, personality::{Identity, InvalidEntry}};
use glasslog_store::log_state::SizedNote;
use tokio::sync::watch;

/// An entry that may be added: its size, form and schema are checked.
#[derive(Clone, Debug)]
pub struct Submission { pub(crate) bytes: Bytes, pub(crate) leaf_hash: Hash, pub(crate) identity: Identity }

/// Why bytes can never be an entry of this log.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// 0 bytes (HTTP 400).
    #[error("an entry has at least 1 byte")]
    Empty,
    /// More than 65,535 bytes (HTTP 413).
    #[error("the entry has {0} bytes; at most 65,535 are possible")]
    TooLong(usize),
    /// Anchor form or disavow form: only the log itself writes these (HTTP 422, FORMATS §2).
    #[error("index anchors are written by the log itself and cannot be submitted")]
    AnchorForm,
    /// Not a valid entry of the log's schema (HTTP 422).
    #[error("{}", .0.message)]
    Schema(InvalidEntry),
}

/// What became of an added entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Its durable index.
    pub index: LeafIndex,
    /// Whether these bytes were already the latest entry of their identity, at this index.
    pub duplicate: bool,
}

/// Why entries were not added. Nothing was appended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AddError {
    /// Queue or disk is full, or the log is starting or stopping: try again (HTTP 503 with `Retry-After`).
    #[error("{reason}; nothing was added, try again in {} s", .retry_after.as_secs().max(1))]
    PushBack {
        /// What is full.
        reason: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// An identity of the request has a newer entry with other bytes (HTTP 412).
    #[error("entry {position} of the request: its identity has a newer entry, with other bytes, at index {latest}; nothing was added")]
    Changed {
        /// Position in the request, from 0.
        position: usize,
        /// The index of the newer entry.
        latest: LeafIndex,
    },
    /// The log has stopped for its own safety (HTTP 503).
    #[error("the log has stopped: {0}")]
    Stopped(Arc<str>),
}

/// Bytes of the pool that a request has reserved; given back on drop.
#[derive(Debug)]
pub struct Permit { _bytes: usize }

/// How far the log is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Indices given out.
    pub sequenced: TreeSize,
    /// Hashed into tiles.
    pub integrated: TreeSize,
    /// Covered by a recorded checkpoint.
    pub recorded: TreeSize,
    /// Covered by the public checkpoint.
    pub published: TreeSize,
    /// Bytes waiting in the pool.
    pub pool_bytes: u64,
    /// Bytes sequenced and not yet integrated.
    pub backlog_bytes: u64,
    /// Why adds would be refused now, if they would.
    pub refusing: Option<Arc<str>>,
    /// Total duplicates answered since start.
    pub duplicates: u64,
    /// Durable commits since start.
    pub commits: u64,
    /// When the public checkpoint was published, as seconds since the Unix epoch.
    pub published_at_unix_s: Option<u64>,
}

/// A handle on a running log; clones share it.
#[derive(Clone)]
pub struct Log { _private: () }

impl Log {
    /// The log's origin.
    pub fn origin(&self) -> &str { unimplemented!() }

    /// The vkeys that sign its checkpoints, first the current one.
    pub fn vkeys(&self) -> Vec<String> { unimplemented!() }

    /// The name of its schema (`ENTRY_SCHEMA`), if it has one.
    pub fn schema(&self) -> Option<&'static str> { unimplemented!() }

    /// Checks bytes against everything that does not depend on the log's state.
    ///
    /// # Errors
    ///
    /// [`EntryError`].
    pub fn submission(&self, bytes: Bytes) -> Result<Submission, EntryError> { let _ = bytes; unimplemented!() }

    /// Reserves room for a body of `bytes` before it is read.
    ///
    /// # Errors
    ///
    /// [`AddError::PushBack`] at once when there is no room, [`AddError::Stopped`].
    pub fn admit(&self, bytes: usize) -> Result<Permit, AddError> { let _ = bytes; unimplemented!() }

    /// Adds entries, all or none; returns when they are durable. Dropping the future changes nothing for the entries:
    /// once called they are committed or refused as a whole.
    ///
    /// # Errors
    ///
    /// [`AddError`].
    pub async fn add(&self, permit: Permit, entries: Vec<Submission>, unchanged_since: Option<TreeSize>) -> Result<Vec<Ack>, AddError> {
        let _ = (permit, entries, unchanged_since); unimplemented!()
    }

    /// The newest public checkpoint, watched; `None` before the first.
    pub fn published(&self) -> watch::Receiver<Option<SizedNote>> { unimplemented!() }

    /// A c2sp.org/tlog-proof of the entry at `index` under the newest public checkpoint, verified against its root
    /// before it is returned; `None` if not yet covered. Blocks on storage.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn prove(&self, index: LeafIndex) -> Result<Option<Bytes>, ReadError> { let _ = index; unimplemented!() }

    /// The object at a canonical tlog-tiles path below the log (`tile/0/000`), if the log has produced it. Blocks on
    /// storage.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    pub fn object(&self, path: &str) -> Result<Option<Bytes>, ReadError> { let _ = path; unimplemented!() }

    /// The object if it is at hand without blocking.
    pub fn cached_object(&self, path: &str) -> Option<Bytes> { let _ = path; unimplemented!() }

    /// How far the log is.
    pub fn progress(&self) -> Progress { unimplemented!() }
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What is stored does not hash to what was signed; the writer has been stopped (HTTP 500 would be a lie: 503).
    #[error("stored objects contradict the signed root: {0}")]
    Contradiction(String),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] glasslog_store::objects::ObjectError),
}
