//! What is held of each log, in memory: a snapshot that anyone may read, and a lock for whoever wants to change it.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwapOption;
use parking_lot::RwLock;
use tokio::sync::{Mutex, Semaphore};

use crate::state::Record;

/// Decisions of one log that wait for each other; more than these would keep other logs from being decided on.
const MAX_WAITING: usize = 256;

/// One log.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Room among those who wait for the lock.
    pub(crate) waiting: Semaphore,
    /// Taken to decide, sign and commit. The snapshot is changed by its holder alone.
    pub(crate) deciding: Mutex<()>,
    record: ArcSwapOption<Record>,
}

impl Default for Slot {
    fn default() -> Slot {
        Slot {
            waiting: Semaphore::new(MAX_WAITING),
            deciding: Mutex::new(()),
            record: ArcSwapOption::empty(),
        }
    }
}

impl Slot {
    /// What is held durably, as far as this process knows.
    pub(crate) fn record(&self) -> Option<Arc<Record>> {
        self.record.load_full()
    }

    /// Notes what is durable.
    pub(crate) fn set(&self, record: Option<Record>) {
        self.record.store(record.map(Arc::new));
    }
}

/// The slots, by the hash of the origin as paths have it. A log has one once a checkpoint that it signed has been offered.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    by_origin_hash: RwLock<HashMap<String, Arc<Slot>>>,
}

impl Slots {
    pub(crate) fn get(&self, origin_hash: &str) -> Option<Arc<Slot>> {
        self.by_origin_hash.read().get(origin_hash).cloned()
    }

    pub(crate) fn get_or_make(&self, origin_hash: String) -> Arc<Slot> {
        let known = self.get(&origin_hash);
        known.unwrap_or_else(|| self.by_origin_hash.write().entry(origin_hash).or_default().clone())
    }

    /// Of how many logs something is held.
    pub(crate) fn cosigned(&self) -> usize {
        self.by_origin_hash.read().values().filter(|slot| slot.record.load().is_some()).count()
    }
}
