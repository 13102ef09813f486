//! A small log for tests: in memory, with an identity scheme of its own.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests, each test binary uses some")]

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use glasslog_core::{
    LeafIndex, TreeSize,
    checkpoint::VerifiedCheckpoint,
    entry_bundle::EntryBundle,
    hash::leaf_hash,
    note::{Algorithm, Ed25519Signer, SecretKey, Signer, VerifierKey},
    personality::{EntryIdentity, Identity, InvalidEntry, Personality},
    tile::all_bundles,
};
use glasslog_log::{Ack, AddError, Log, LogConfig, Stores, Workers};
use glasslog_store::{disk::RealDisk, duplicates::Table, log_state::MemoryLogState, objects::MemoryObjects};
use tempfile::TempDir;

pub(crate) const ORIGIN: &str = "example.org/log";

/// Entries of the form `name=value`: the name is the identity.
pub(crate) struct Named;

impl Personality for Named {
    fn name(&self) -> &'static str {
        "named"
    }

    fn validate(&self, entry: &[u8]) -> Result<EntryIdentity, InvalidEntry> {
        let name = entry.split(|&byte| byte == b'=').next().unwrap_or_default();
        Ok(EntryIdentity::Named(Identity::from_hash(&leaf_hash(name))))
    }
}

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(ORIGIN, Algorithm::Ed25519, &[seed; 32]).unwrap()
}

pub(crate) fn vkeys() -> Vec<VerifierKey> {
    vec![key(1).verifier_key().clone()]
}

pub(crate) fn config() -> LogConfig {
    LogConfig {
        origin: ORIGIN.into(),
        signers: vec![Arc::new(Ed25519Signer::new(&key(1))) as Arc<dyn Signer>],
        personality: Some(Arc::new(Named)),
        hasher: &glasslog_core::hash::ScalarHasher,
        checkpoint_interval: Duration::ZERO,
        batch_max_size: 4096,
        batch_max_age: Duration::ZERO,
        pool_max_bytes: 1 << 20,
        backlog_max_bytes: 1 << 24,
        dedup: true,
        partials_kept_for: Duration::from_secs(300),
        cosigners: Vec::new(),
        refresh_interval: Duration::from_secs(300),
        index: None,
    }
}

/// Stores in memory; the duplicates table lies in a temporary directory.
pub(crate) struct Memory {
    pub(crate) dir: TempDir,
    pub(crate) stores: Stores,
    pub(crate) state: Arc<MemoryLogState>,
}

impl Memory {
    pub(crate) fn new() -> Memory {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(MemoryLogState::default());
        let stores = Stores {
            objects: Arc::new(MemoryObjects::default()),
            state: state.clone(),
            duplicates: table(dir.path()),
        };
        Memory { dir, stores, state }
    }

    /// What the next process finds.
    pub(crate) fn restart(&mut self) {
        self.state = Arc::new(self.state.restarted());
        self.stores.state = self.state.clone();
        self.stores.duplicates = table(self.dir.path());
    }

    pub(crate) fn open(&self) -> (Log, Workers) {
        Log::open(config(), self.stores.clone()).unwrap()
    }

    /// Everything below the public checkpoint, from the bundles.
    pub(crate) fn entries(&self) -> Vec<Vec<u8>> {
        let objects = self.stores.objects.as_ref();
        let Some(note) = objects.checkpoint().unwrap() else { return Vec::new() };
        let size = VerifiedCheckpoint::open(&note, ORIGIN, &vkeys()).unwrap().size();
        let bundles = all_bundles(size).map(|bundle| objects.get(&bundle.path(), None).unwrap().unwrap());
        bundles
            .flat_map(|bundle| {
                let entries = EntryBundle::parse_any(&bundle).unwrap();
                entries.iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
            })
            .collect()
    }
}

pub(crate) fn table(dir: &Path) -> Arc<Table> {
    Arc::new(Table::open(Arc::new(RealDisk::private()), &dir.join("duplicates")).unwrap())
}

/// Adds entries in one request.
pub(crate) async fn add(
    log: &Log,
    entries: &[&str],
    unchanged_since: Option<u64>,
) -> Result<Vec<Ack>, AddError> {
    let bytes: Vec<Bytes> = entries.iter().map(|entry| Bytes::copy_from_slice(entry.as_bytes())).collect();
    let permit = log.admit(bytes.iter().map(Bytes::len).sum())?;
    let submissions = log.submissions(bytes).unwrap();
    log.add(permit, submissions, unchanged_since.map(TreeSize)).await
}

pub(crate) fn new(index: u64) -> Ack {
    Ack { index: LeafIndex(index), duplicate: false }
}

pub(crate) fn duplicate(index: u64) -> Ack {
    Ack { index: LeafIndex(index), duplicate: true }
}

/// Waits until everything below `size` is public.
pub(crate) async fn published(log: &Log, size: u64) -> VerifiedCheckpoint {
    let mut watch = log.published();
    let note = watch
        .wait_for(|public| public.as_ref().is_some_and(|public| public.size.0 >= size))
        .await
        .unwrap()
        .clone()
        .unwrap();
    VerifiedCheckpoint::open(&note.note, ORIGIN, &vkeys()).unwrap()
}
