//! Step 1, *pool*: requests wait here for the batch that is being formed, bounded in bytes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use glasslog_core::{Hash, LeafIndex, TreeSize};
use glasslog_store::log_state::Epoch;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::{Ack, AddError, Submission};

/// What a request brings into the pool, and where its answer goes.
pub(crate) struct Request {
    pub(crate) entries: Vec<Submission>,
    /// For each entry, the latest one of its identity that lies below the recent ones, as found before queueing.
    pub(crate) found: Vec<Option<Logged>>,
    /// The duplicates table answered for every index below this size when `found` was looked up.
    pub(crate) found_below: TreeSize,
    /// `If-Unchanged-Since`.
    pub(crate) unchanged_since: Option<TreeSize>,
    pub(crate) answer: oneshot::Sender<Result<Vec<Ack>, AddError>>,
    /// Gives the request's bytes back to the pool when the request is answered.
    pub(crate) permit: Permit,
}

/// An entry that has an index: where, and what it hashes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) index: LeafIndex,
    pub(crate) leaf_hash: Hash,
}

/// Room in the pool that a request has reserved; given back on drop.
#[derive(Debug)]
pub struct Permit {
    bytes: u64,
    reserved: Arc<AtomicU64>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The requests that wait for the next batch.
pub(crate) struct Pool {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    reserved: Arc<AtomicU64>,
    max_bytes: u64,
    linger: Duration,
    enough: usize,
}

#[derive(Default)]
struct Waiting {
    requests: Vec<Request>,
    /// The publisher asks for an anchor slot, under this lease.
    slot: Option<Epoch>,
    closed: bool,
}

impl Pool {
    /// A pool of at most `max_bytes`. With a `linger` the first request of a batch waits that long for company, unless
    /// `enough` requests are there before.
    pub(crate) fn new(max_bytes: u64, linger: Duration, enough: usize) -> Pool {
        let (waiting, changed, reserved) = Default::default();
        Pool { waiting, changed, reserved, max_bytes, linger, enough }
    }

    /// Reserves room for `bytes` before they are read.
    pub(crate) fn admit(&self, bytes: usize) -> Result<Permit, AddError> {
        let mut permit = Permit { bytes: 0, reserved: Arc::clone(&self.reserved) };
        self.extend(&mut permit, bytes as u64)?;
        Ok(permit)
    }

    /// Reserves what the bookkeeping of so many entries costs: it outweighs tiny ones, and a flood of entries of 1 byte
    /// must be bounded too.
    pub(crate) fn charge_entries(&self, permit: &mut Permit, entries: usize) -> Result<(), AddError> {
        const BYTES_PER_ENTRY: u64 = 256;
        self.extend(permit, entries as u64 * BYTES_PER_ENTRY)
    }

    fn extend(&self, permit: &mut Permit, bytes: u64) -> Result<(), AddError> {
        let before = self.reserved.fetch_add(bytes, Ordering::Relaxed);
        permit.bytes += bytes;
        if before + bytes > self.max_bytes {
            return Err(AddError::push_back("the pool is full"));
        }
        Ok(())
    }

    /// Bytes reserved now.
    pub(crate) fn reserved_bytes(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// Queues a request for the next batch; from here on it is committed or refused as a whole, whoever goes away.
    pub(crate) fn join(&self, request: Request) -> Result<(), AddError> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(AddError::push_back("the log is stopping"));
        }
        waiting.requests.push(request);
        if waiting.requests.len() == 1 || waiting.requests.len() == self.enough {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Lets the next batch end in an anchor slot, also if nobody adds anything.
    pub(crate) fn ask_for_slot(&self, epoch: Epoch) {
        self.waiting.lock().slot = Some(epoch);
        self.changed.notify_one();
    }

    /// Waits for requests and takes them all, and whether an anchor slot is asked for after them; `None` when the pool is
    /// closed and empty.
    pub(crate) fn take(&self) -> Option<(Vec<Request>, Option<Epoch>)> {
        let mut waiting = self.waiting.lock();
        while waiting.requests.is_empty() {
            if waiting.closed {
                return None;
            }
            if waiting.slot.is_some() {
                break;
            }
            self.changed.wait(&mut waiting);
        }
        let linger = !self.linger.is_zero() && waiting.slot.is_none() && !waiting.closed;
        if linger && waiting.requests.len() < self.enough {
            self.changed.wait_for(&mut waiting, self.linger);
        }
        Some((std::mem::take(&mut waiting.requests), waiting.slot.take()))
    }

    /// Refuses every later request; those that wait are still taken.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.changed.notify_all();
    }

    /// Takes what waits without committing it, for a log that has failed.
    pub(crate) fn drain(&self) -> Vec<Request> {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        self.changed.notify_all();
        std::mem::take(&mut waiting.requests)
    }
}
