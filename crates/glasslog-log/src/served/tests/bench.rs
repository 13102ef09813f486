//! A log whose anchors a test writes itself, and the judge of what is served of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use glasslog_core::{
    LeafIndex, TreeSize,
    anchor::anchor,
    hash::leaf_hash,
    note::{Algorithm, Ed25519Signer, SecretKey, Signer},
    personality::Identity,
    policy::Policy,
};
use glasslog_index::{Binding, Index, Options, Revision};
use glasslog_store::{disk::RealDisk, duplicates::Table, log_state::MemoryLogState, objects::MemoryObjects};
use glasslog_vindex::{
    Answer, JsonField, Key, Lookup, MapFunction, Pinned, Question, VerifiedLookup, keys_of,
};
use tempfile::TempDir;

use super::super::{Pair, Served, Wanted};
use crate::{IndexConfig, Log, LogConfig, Stores, Submission, Workers};

pub(super) const ORIGIN: &str = "example.org/served";

pub(super) fn key() -> SecretKey {
    SecretKey::from_seed(ORIGIN, Algorithm::Ed25519, &[3; 32]).unwrap()
}

pub(super) fn map_fn() -> Arc<dyn MapFunction> {
    Arc::new(JsonField::new("k").unwrap())
}

pub(super) fn config() -> LogConfig {
    LogConfig {
        origin: ORIGIN.into(),
        signers: vec![Arc::new(Ed25519Signer::new(&key())) as Arc<dyn Signer>],
        personality: None,
        hasher: &glasslog_core::hash::ScalarHasher,
        checkpoint_interval: Duration::ZERO,
        batch_max_size: 4096,
        batch_max_age: Duration::ZERO,
        pool_max_bytes: 64 << 20,
        backlog_max_bytes: 64 << 20,
        dedup: false,
        partials_kept_for: Duration::from_secs(300),
        cosigners: Vec::new(),
        refresh_interval: Duration::from_secs(300),
        // Switched off: the log itself writes no anchors then.
        index: Some(IndexConfig {
            map_fn: map_fn(),
            enabled: false,
            anchor_timeout: IndexConfig::ANCHOR_TIMEOUT,
            bulk_from: IndexConfig::BULK_FROM,
            disk: Arc::new(RealDisk::private()),
            dir: std::path::PathBuf::new(),
            options: Options::default(),
        }),
    }
}

/// A log whose anchors the test writes itself, when and where it likes.
pub(super) struct Bench {
    pub(super) dir: TempDir,
    state: Arc<MemoryLogState>,
    pub(super) stores: Stores,
    pub(super) log: Log,
    pub(super) workers: Workers,
    index: Index,
    entries: Vec<Vec<u8>>,
    /// Where each name is.
    pub(super) model: BTreeMap<String, Vec<u64>>,
}

impl Bench {
    pub(super) async fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let state = Arc::new(MemoryLogState::default());
        let stores = Stores {
            objects: Arc::new(MemoryObjects::default()),
            state: state.clone(),
            duplicates: Arc::new(
                Table::open(Arc::new(RealDisk::private()), &dir.path().join("duplicates")).unwrap(),
            ),
        };
        let (log, workers) = Log::open(config(), stores.clone()).unwrap();
        let index = open_index(&dir, "index");
        let bench =
            Bench { dir, state, stores, log, workers, index, entries: Vec::new(), model: BTreeMap::new() };
        bench.is_published().await;
        bench
    }

    /// Adds entries, each `(name, rest)`, in one request.
    pub(super) async fn add(&mut self, names: &[&str]) {
        let at = self.entries.len() as u64;
        for (name, index) in names.iter().zip(at..) {
            self.model.entry((*name).to_owned()).or_default().push(index);
        }
        let entries = names.iter().zip(at..).map(|(name, n)| format!("{{\"k\":\"{name}\",\"n\":{n}}}"));
        self.push(entries.map(String::into_bytes).collect()).await;
    }

    pub(super) async fn push(&mut self, entries: Vec<Vec<u8>>) {
        let submissions: Vec<_> = entries
            .iter()
            .map(|entry| {
                let leaf_hash = leaf_hash(entry);
                Submission {
                    bytes: Bytes::from(entry.clone()),
                    leaf_hash,
                    identity: Identity::from_hash(&leaf_hash),
                }
            })
            .collect();
        let permit = self.log.admit(entries.iter().map(Vec::len).sum()).unwrap();
        let acks = self.log.add(permit, submissions, None).await.unwrap();
        assert_eq!(acks.first().unwrap().index.0, self.entries.len() as u64);
        self.entries.extend(entries);
    }

    pub(super) fn next(&self) -> TreeSize {
        TreeSize(self.entries.len() as u64)
    }

    /// The index over everything so far.
    pub(super) fn revision(&mut self) -> Arc<Revision> {
        for at in self.index.next().0..self.next().0 {
            let keys = keys_of(map_fn().as_ref(), &self.entries[usize::try_from(at).unwrap()]);
            self.index.apply(LeafIndex(at), &keys).unwrap();
        }
        self.index.revision().unwrap()
    }

    /// Appends an anchor and says nothing of it.
    pub(super) async fn anchor(&mut self) -> (LeafIndex, Arc<Revision>) {
        let (at, revision) = (self.next(), self.revision());
        self.push(vec![anchor("json-field:k", Some(&revision.root()), at)]).await;
        (LeafIndex(at.0), revision)
    }

    pub(super) async fn anchor_and_tell(&mut self) {
        let (at, revision) = self.anchor().await;
        self.served().anchored(at, revision);
        self.is_published().await;
    }

    pub(super) async fn void_anchor(&mut self) {
        self.push(vec![anchor("json-field:k", None, self.next())]).await;
    }

    pub(super) fn served(&self) -> &Served {
        &self.log.shared.served
    }

    /// Waits until everything is public.
    pub(super) async fn is_published(&self) {
        let next = self.next();
        let mut published = self.log.published();
        published.wait_for(|note| note.as_ref().is_some_and(|note| note.size >= next)).await.unwrap();
    }

    pub(super) fn pair(&self) -> Arc<Pair> {
        self.log.served().expect("nothing is served")
    }

    /// What the pair answers, verified, and compared with the model.
    pub(super) fn verified(&self, pair: &Pair, name: &str, wanted: &Wanted) -> VerifiedLookup {
        let verified = verified(&self.log, pair, name, wanted);
        let below = |index: &&u64| **index < pair.size().0;
        let expected: Vec<u64> =
            self.model.get(name).into_iter().flatten().take_while(below).copied().collect();
        match verified.answer() {
            Answer::Absent => assert_eq!(expected, Vec::<u64>::new(), "{name}"),
            Answer::Present(present) => {
                assert_eq!(
                    (present.count, Some(present.last.0)),
                    (expected.len() as u64, expected.last().copied())
                );
                let skipped = usize::try_from(present.skipped).unwrap();
                let indices: Vec<u64> = present.indices.iter().map(|index| index.0).collect();
                assert_eq!(indices, expected[skipped..], "{name}");
                for (index, entry) in &present.entries {
                    assert_eq!(*entry, self.entries[usize::try_from(index.0).unwrap()]);
                }
            }
        }
        verified
    }

    /// Everything that was ever added, and something that was not.
    pub(super) fn check_all(&self) {
        let pair = self.pair();
        for name in self.model.keys().map(String::as_str).chain(["none"]) {
            self.verified(&pair, name, &Wanted { list: 1000, entries: 4 });
            self.verified(&pair, name, &Wanted::default());
        }
    }

    /// What the next process finds.
    pub(super) async fn restarted(mut self) -> Bench {
        tokio::task::spawn_blocking(|| self.workers.stop()).await.unwrap().unwrap();
        self.state = Arc::new(self.state.restarted());
        self.stores.state = self.state.clone();
        let (log, workers) = Log::open(config(), self.stores.clone()).unwrap();
        Bench { log, workers, ..self }
    }
}

pub(super) fn open_index(dir: &TempDir, name: &str) -> Index {
    let binding = Binding { origin: ORIGIN.into(), map_fn: "json-field:k".into() };
    let dir = dir.path().join(name);
    Index::open(Arc::new(RealDisk::private()), &dir, &binding, Options::default()).unwrap().index
}

pub(super) fn verified(log: &Log, pair: &Pair, name: &str, wanted: &Wanted) -> VerifiedLookup {
    let key = Key::of_name(name);
    let question = Question::Name { kind: String::new(), name: name.to_owned() };
    let found = log.lookup(pair, question, &key, wanted).unwrap();
    let policy = Policy::without_witnesses(&[self::key().verifier_key().clone()]);
    let map_fn = JsonField::new("k").unwrap();
    let pinned = Pinned { origin: ORIGIN, policy: &policy, map_fn: &map_fn };
    let verified = Lookup::parse(found.to_text().as_bytes()).unwrap().verify(&pinned, &key, 0).unwrap();
    assert_eq!(verified.checkpoint().size(), pair.size());
    verified
}
