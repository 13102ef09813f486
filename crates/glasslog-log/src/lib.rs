//! Entries become checkpoints.
//!
//! # Life of an entry
//!
//! 1. The server checks a request's limits and token and asks for room ([`Log::admit`]); the bytes are checked and
//!    hashed on the request's own task ([`Log::submissions`]).
//! 2. *Pool*: [`Log::add`] looks up which entries may be duplicates and joins the batch that is being formed (`pool`).
//! 3. *Sequence*: one thread decides each request against the latest entries, commits the batch to the log state in
//!    one transaction, and acknowledges: from here on the index is durable and never another's (`sequence`).
//! 4. *Integrate*: another thread hashes the slots into tiles and bundles and writes what fills (`integrate`).
//! 5. *Publish*: at each interval it asks the sequencer for a cut, makes everything below it durable, signs, records
//!    the checkpoint, offers it to the witnesses (`quorum`, `witnesses`), and with their quorum puts it at the public
//!    path; whoever waits for publication is woken (`publish`).
//! 6. *Recover*: every start, clean or not, loads what was recorded, compares it with what is public, and goes on
//!    with the same code (`recover`).
//!
//! Beside the way: `latest` knows the latest entry of each identity, `housekeeping` does what can wait, `read` hands
//! out objects and proofs; `indexer` feeds the verifiable index, `anchors` puts its root at the end of each cut, and
//! `served` is what lookups are answered from.
#![forbid(unsafe_code)]

mod anchors;
mod disavow;
mod entry;
mod housekeeping;
mod indexer;
mod integrate;
mod latest;
mod pool;
mod publish;
mod quorum;
mod read;
mod rebuild;
mod recover;
mod sequence;
mod served;
mod shared;
mod sign;
mod slots;
mod witnesses;
mod workers;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use glasslog_core::{LeafIndex, TreeSize, tile::ResourcePath};
use glasslog_store::{duplicates::TableView, log_state::SizedNote};
use tokio::sync::{oneshot, watch};

pub use anchors::{
    IndexConfig,
    status::{IndexStatus, RebuildStep, Rebuilding},
};
pub use disavow::disavow;
pub use entry::{EntryError, Submission};
pub use indexer::{BuiltIndex, rebuild_index};
pub use pool::Permit;
pub use read::ReadError;
pub use rebuild::{Rebuilt, rebuild};
pub use served::{Hints, IndexReadError, Page, Pair, Serving, Wanted};
pub use shared::{Failure, LogConfig, Progress, Stores};
pub use witnesses::{Exchange, Received, Transport, WitnessStatus, Witnessing};
pub use workers::{Stopped, Workers};

use pool::Request;
use shared::{Shared, chain};

/// A handle on a running log; clones share it.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
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
    #[error(
        "entry {position} of the request was not added, nor any other: its identity has a newer entry with other \
         bytes at index {latest}; fetch the source again"
    )]
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

impl AddError {
    pub(crate) fn push_back(reason: &'static str) -> AddError {
        AddError::PushBack { reason, retry_after: Duration::from_secs(1) }
    }
}

impl Log {
    /// Starts a log: recovers, publishes what was recorded or sequenced before, and sets its workers going.
    ///
    /// Blocks on storage, on a large backlog for seconds; call it off the async threads.
    ///
    /// # Errors
    ///
    /// [`Failure`], with nothing signed that was not signed before.
    pub fn open(config: LogConfig, stores: Stores) -> Result<(Log, Workers), Failure> {
        workers::start(config, stores, None).map(|(shared, workers)| (Log { shared }, workers))
    }

    /// The same for a log whose checkpoints need cosignatures. Until a quorum has confirmed what it goes on from, adds are
    /// pushed back and nothing is signed, while reads are answered.
    ///
    /// # Errors
    ///
    /// As [`Log::open`]; a contradiction by witnesses comes later, from [`Workers::failed`].
    pub fn open_witnessed(
        config: LogConfig,
        stores: Stores,
        witnessing: Witnessing,
    ) -> Result<(Log, Workers), Failure> {
        workers::start(config, stores, Some(witnessing)).map(|(shared, workers)| (Log { shared }, workers))
    }

    /// The log's origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.shared.config.origin
    }

    /// The vkeys of the keys that sign its checkpoints, first the current one.
    #[must_use]
    pub fn vkeys(&self) -> Vec<String> {
        self.shared.config.signers.iter().map(|signer| signer.verifier_key().to_string()).collect()
    }

    /// The vkeys of its own cosigners.
    #[must_use]
    pub fn cosigner_vkeys(&self) -> Vec<String> {
        self.shared.config.cosigners.iter().map(|signer| signer.verifier_key().to_string()).collect()
    }

    /// The name of its schema (`ENTRY_SCHEMA`), if it has one.
    #[must_use]
    pub fn schema(&self) -> Option<&'static str> {
        self.shared.config.personality.as_ref().map(|rules| rules.name())
    }

    /// Checks and hashes entries: everything that does not depend on the log's state.
    ///
    /// # Errors
    ///
    /// The position of the first that can never be an entry of this log, from 0, and why.
    pub fn submissions(&self, entries: Vec<Bytes>) -> Result<Vec<Submission>, (usize, EntryError)> {
        let config = &self.shared.config;
        entry::submissions(entries, config.personality.as_deref(), config.hasher)
    }

    /// Like [`Log::submissions`], for one entry.
    ///
    /// # Errors
    ///
    /// [`EntryError`].
    pub fn submission(&self, bytes: Bytes) -> Result<Submission, EntryError> {
        let config = &self.shared.config;
        entry::submission(bytes, config.personality.as_deref())
    }

    /// Reserves room for a body of `bytes` before it is read.
    ///
    /// # Errors
    ///
    /// [`AddError::PushBack`] at once when there is no room, [`AddError::Stopped`].
    pub fn admit(&self, bytes: usize) -> Result<Permit, AddError> {
        if let Some(why) = self.shared.progress.stopped() {
            return Err(AddError::Stopped(Arc::clone(why)));
        }
        if let Some(why) = self.shared.progress.unconfirmed() {
            return Err(AddError::push_back(why));
        }
        if self.shared.progress.backlog_bytes() > self.shared.config.backlog_max_bytes {
            return Err(AddError::push_back("integration is behind, its backlog is full"));
        }
        self.shared.pool.admit(bytes)
    }

    /// Adds entries, all or none, and returns when they are durable. Once it waits for the commit, dropping the future
    /// changes nothing for the entries: they are committed or refused as a whole.
    ///
    /// With `unchanged_since` nothing is added if an identity of the entries has an entry with other bytes at or after
    /// that size; entries of the same call do not count.
    ///
    /// # Errors
    ///
    /// [`AddError`].
    pub async fn add(
        &self,
        mut permit: Permit,
        entries: Vec<Submission>,
        unchanged_since: Option<TreeSize>,
    ) -> Result<Vec<Ack>, AddError> {
        self.shared.pool.charge_entries(&mut permit, entries.len())?;
        // What the table takes over after this view is looked up again by the sequencer.
        let view = self.shared.duplicates.view();
        let found_below = view.covered();
        let (answer, answered) = oneshot::channel();
        let found = vec![None; entries.len()];
        let mut request = Request { entries, found, found_below, unchanged_since, answer, permit };
        if request.entries.iter().any(|entry| view.may_contain(&entry.identity)) {
            request = self.look_up(view, request).await?;
        }
        self.shared.pool.join(request)?;
        answered.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// The newest public checkpoint, watched; `None` before the first.
    #[must_use]
    pub fn published(&self) -> watch::Receiver<Option<SizedNote>> {
        self.shared.state.published()
    }

    /// A c2sp.org/tlog-proof of the entry at `index` under the newest public checkpoint, checked against its root
    /// before it is returned; `None` if it is not covered yet. Blocks on storage unless the tiles are in memory.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; a contradiction has stopped the log.
    pub fn prove(&self, index: LeafIndex) -> Result<Option<Bytes>, ReadError> {
        let Some(published) = self.published().borrow().clone() else { return Ok(None) };
        let proof = self.shared.reader.prove(index, &published);
        if let Err(ReadError::Contradiction(what)) = &proof {
            self.shared.fail(&Failure::Contradiction(what.clone()));
        }
        proof
    }

    /// The object at a path, if a recorded checkpoint implies it. Blocks on storage.
    ///
    /// # Errors
    ///
    /// [`ReadError::Storage`].
    pub fn object(&self, path: &ResourcePath) -> Result<Option<Bytes>, ReadError> {
        Ok(self.shared.reader.object(path, self.shared.progress.recorded())?)
    }

    /// How far the log is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.shared.progress.snapshot(self.shared.pool.reserved_bytes())
    }

    /// The request moves with its permit: when its future is dropped, its bytes count until the look-up has ended.
    async fn look_up(&self, view: TableView, mut request: Request) -> Result<Request, AddError> {
        let shared = Arc::clone(&self.shared);
        let looked_up = tokio::task::spawn_blocking(move || {
            let found = shared.duplicates.look_up(&view, &request.entries, &shared.progress);
            request.found = found.map_err(|failure| {
                if failure.is_passing() {
                    tracing::warn!(error = %chain(&failure), "duplicates cannot be looked up");
                    return AddError::push_back("duplicates cannot be looked up now");
                }
                shared.fail(&failure);
                AddError::Stopped(chain(&failure).into())
            })?;
            Ok(request)
        });
        looked_up.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    fn stopped(&self) -> AddError {
        let unknown = || "a worker has ended".into();
        AddError::Stopped(self.shared.progress.stopped().cloned().unwrap_or_else(unknown))
    }
}
