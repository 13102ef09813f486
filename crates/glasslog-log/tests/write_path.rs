//! The write path on memory stores, judged by naive models and by the verifiers of glasslog-core.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test binary has no public interface")]

mod common;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use common::*;
use glasslog_core::{
    LeafIndex, TreeSize,
    hash::leaf_hash,
    merkle::CompactRange,
    proof::TlogProof,
    tile::{ResourcePath, TileId},
};
use glasslog_log::{AddError, EntryError, Failure, Log, ReadError};
use glasslog_store::{
    log_state::MemoryLogState,
    objects::{Existing, MemoryObjects, NewObject},
};
use proptest::prelude::*;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Invariant 3 and the promise of `?wait=published`: the proof verifies against the signed checkpoint.
#[test]
fn an_entry_is_proven_under_the_public_checkpoint() {
    let memory = Memory::new();
    let (log, workers) = memory.open();
    runtime().block_on(async {
        for i in 0..300_u64 {
            let entry = format!("n{i}=v");
            assert_eq!(add(&log, &[&entry], None).await.unwrap(), [new(i)]);
        }
        let checkpoint = published(&log, 300).await;
        for i in (0..300_u64).step_by(7) {
            let proof = log.prove(LeafIndex(i)).unwrap().unwrap();
            let proof = TlogProof::parse(&proof).unwrap();
            let leaf = leaf_hash(format!("n{i}=v").as_bytes());
            proof.verify_inclusion(&leaf, &checkpoint).unwrap();
        }
        assert!(log.prove(LeafIndex(300)).unwrap().is_none());
    });
    let stopped = workers.stop().unwrap();
    assert_eq!((stopped.recorded, stopped.published), (TreeSize(300), TreeSize(300)));
}

/// A new log publishes its checkpoint of size 0 before anyone can add.
#[test]
fn a_new_log_has_a_checkpoint() {
    let memory = Memory::new();
    let (log, workers) = memory.open();
    let checkpoint = runtime().block_on(published(&log, 0));
    assert_eq!((checkpoint.size(), *checkpoint.root()), (TreeSize(0), glasslog_core::Hash::EMPTY_ROOT));
    workers.stop().unwrap();
}

/// What was public before a kill -9 is public after it, on an idle log too: a served checkpoint never goes backwards.
#[test]
fn a_killed_log_serves_what_was_public() {
    let mut memory = Memory::new();
    let (log, killed) = memory.open();
    runtime().block_on(async {
        add(&log, &["a=1"], None).await.unwrap();
        published(&log, 1).await;
    });
    memory.restart();
    let (log, workers) = memory.open();
    let public = log.published().borrow().as_ref().map(|public| public.size);
    assert_eq!((public, log.progress().published), (Some(TreeSize(1)), TreeSize(1)));
    workers.stop().unwrap();
    drop(killed);
}

/// Whoever supervises a log learns that it has stopped, also when a reader found out why.
#[test]
fn a_contradiction_found_by_a_reader_reaches_the_supervisor() {
    let memory = Memory::new();
    let (log, mut workers) = memory.open();
    runtime().block_on(async {
        add(&log, &["a=1", "b=1"], None).await.unwrap();
        published(&log, 2).await;
        memory.stores.objects.remove(&["tile/0/000.p/2".into()]).unwrap();
        assert!(log.prove(LeafIndex(1)).is_err());
        assert!(workers.failed().await.contains("contradict"));
    });
}

/// FORMATS §4: a record that is patched and patched back is logged a second time; equal bytes in a row are not.
#[test]
fn only_the_latest_of_an_identity_is_a_duplicate() {
    let memory = Memory::new();
    let (log, workers) = memory.open();
    runtime().block_on(async {
        assert_eq!(add(&log, &["a=1"], None).await.unwrap(), [new(0)]);
        assert_eq!(add(&log, &["a=1"], None).await.unwrap(), [duplicate(0)]);
        assert_eq!(add(&log, &["a=2"], None).await.unwrap(), [new(1)]);
        assert_eq!(add(&log, &["a=1", "a=1", "b=1"], None).await.unwrap(), [new(2), duplicate(2), new(3)]);
    });
    workers.stop().unwrap();
}

/// DESIGN §3, conditional add: a late retry cannot roll a package back, and entries of the same request do not count.
#[test]
fn a_conditional_add_refuses_what_was_changed_since() {
    let memory = Memory::new();
    let (log, workers) = memory.open();
    runtime().block_on(async {
        add(&log, &["a=1"], Some(0)).await.unwrap();
        add(&log, &["a=2"], Some(1)).await.unwrap();
        let refused = add(&log, &["b=1", "a=1"], Some(1)).await.unwrap_err();
        assert!(matches!(refused, AddError::Changed { position: 1, latest: LeafIndex(1) }), "{refused}");
        assert_eq!(
            add(&log, &["b=1", "b=2"], Some(2)).await.unwrap(),
            [new(2), new(3)],
            "nothing was appended before"
        );
        assert_eq!(add(&log, &["a=2"], Some(0)).await.unwrap(), [duplicate(1)], "equal bytes are no change");
    });
    workers.stop().unwrap();
}

#[test]
fn entries_that_no_log_may_hold_are_refused() {
    let memory = Memory::new();
    let (log, workers) = memory.open();
    let anchor = format!(
        r#"{{"map_fn":"conda-1","root":"{}","tree_size":0,"type":"vindex-root","v":1}}"#,
        "0".repeat(64)
    );
    assert!(matches!(log.submission(Bytes::new()), Err(EntryError::Empty)));
    assert!(matches!(log.submission(vec![0; 65_536].into()), Err(EntryError::TooLong(65_536))));
    assert!(log.submission(vec![b'x'; 65_535].into()).is_ok());
    assert!(matches!(log.submission(anchor.into_bytes().into()), Err(EntryError::AnchorForm)));
    workers.stop().unwrap();
}

/// Invariant 10: the pool is bounded in bytes, whatever comes in.
#[test]
fn a_full_pool_pushes_back_and_recovers() {
    let memory = Memory::new();
    let (log, workers) = memory.open();
    let first = log.admit(900_000).unwrap();
    assert!(matches!(log.admit(200_000), Err(AddError::PushBack { .. })));
    drop(first);
    assert!(log.admit(200_000).is_ok());
    workers.stop().unwrap();
}

/// A request whose caller goes away in the middle of a commit changes nothing for the others.
#[test]
fn a_dropped_future_disturbs_nobody() {
    let memory = Memory::new();
    let (log, workers) = memory.open();
    runtime().block_on(async {
        for round in 0..200 {
            let impatient = add_owned(log.clone(), format!("gone{round}=x"));
            let patient = add_owned(log.clone(), format!("stays{round}=x"));
            let (impatient, patient) = (tokio::spawn(impatient), tokio::spawn(patient));
            impatient.abort();
            patient.await.unwrap();
        }
    });
    workers.stop().unwrap();
}

async fn add_owned(log: Log, entry: String) {
    add(&log, &[&entry], None).await.unwrap();
}

/// Every start is a recovery: tree, identities and head go on where they were, table and state in any condition.
#[test]
fn a_restart_goes_on_where_it_was() {
    let mut memory = Memory::new();
    let mut model = CompactRange::default();
    for round in 0..5_u64 {
        let (log, workers) = memory.open();
        runtime().block_on(async {
            for i in 0..211_u64 {
                let entry = format!("n{i}=r{round}");
                let index = round * 211 + i;
                assert_eq!(add(&log, &[&entry], None).await.unwrap(), [new(index)]);
                assert_eq!(add(&log, &[&entry], None).await.unwrap(), [duplicate(index)]);
                model.append(leaf_hash(entry.as_bytes()));
            }
            let checkpoint = published(&log, (round + 1) * 211).await;
            assert_eq!(*checkpoint.root(), model.root());
        });
        workers.stop().unwrap();
        if round == 2 {
            // Invariant 9: the derived table is lost, and everything but the newest entries was trimmed.
            std::fs::remove_dir_all(memory.dir.path().join("duplicates")).unwrap();
        }
        memory.restart();
    }
}

/// Invariant 6: state that is behind what is public is refused, and `rebuild` is the way out.
#[test]
fn a_state_that_is_behind_is_refused_and_rebuilt() {
    let mut memory = Memory::new();
    let (log, workers) = memory.open();
    runtime().block_on(async {
        for i in 0..600 {
            add(&log, &[&format!("n{i}=v")], None).await.unwrap();
        }
        published(&log, 600).await;
    });
    workers.stop().unwrap();

    memory.state = Arc::new(MemoryLogState::default());
    memory.restart();
    let Err(refused) = Log::open(config(), memory.stores.clone()) else { panic!("a fork was allowed") };
    assert!(matches!(refused, Failure::Behind { .. }), "{refused}");

    let rebuilt = glasslog_log::rebuild(&config(), &memory.stores, None).unwrap();
    assert_eq!((rebuilt.head_before, rebuilt.size), (TreeSize(0), TreeSize(600)));
    memory.restart();
    let (log, workers) = memory.open();
    runtime().block_on(async {
        assert_eq!(add(&log, &["n7=v"], None).await.unwrap(), [duplicate(7)]);
        assert_eq!(add(&log, &["n7=w"], None).await.unwrap(), [new(600)]);
        published(&log, 601).await;
    });
    workers.stop().unwrap();
}

/// Tiles altered under a running log: roots are compared before a proof leaves, and the difference stops the writer.
#[test]
fn an_altered_tile_stops_the_log() {
    let memory = Memory::new();
    let (log, workers) = memory.open();
    runtime().block_on(async {
        for i in 0..300 {
            add(&log, &[&format!("n{i}=v")], None).await.unwrap();
        }
        published(&log, 300).await;
        let path = ResourcePath::Tile(TileId { level: 0, index: 0, width: 256 }).to_string();
        let mut bytes = memory.stores.objects.get(&path, None).unwrap().unwrap().to_vec();
        bytes[40] ^= 1;
        memory.stores.objects.remove(std::slice::from_ref(&path)).unwrap();
        memory.stores.objects.create(&[NewObject { path, bytes: bytes.into() }], Existing::Trust).unwrap();

        assert!(matches!(log.prove(LeafIndex(0)), Err(ReadError::Contradiction(_))));
        assert!(matches!(add(&log, &["x=y"], None).await, Err(AddError::Stopped(_))));
    });
    drop(workers);
}

/// A missing edge refuses the start: nothing is signed on top of what cannot be checked (invariant 5).
#[test]
fn a_missing_edge_refuses_the_start() {
    let mut memory = Memory::new();
    let (log, workers) = memory.open();
    runtime().block_on(async {
        add(&log, &["a=1"], None).await.unwrap();
        published(&log, 1).await;
    });
    workers.stop().unwrap();
    memory.stores.objects.remove(&["tile/0/000.p/1".into()]).unwrap();
    memory.restart();
    assert!(matches!(Log::open(config(), memory.stores.clone()), Err(Failure::Edge(_))));
}

/// Objects that are not there at all (an emptied bucket) under a state that has published.
#[test]
fn lost_objects_refuse_the_start() {
    let mut memory = Memory::new();
    let (log, workers) = memory.open();
    runtime().block_on(async {
        add(&log, &["a=1"], None).await.unwrap();
        published(&log, 1).await;
    });
    workers.stop().unwrap();
    memory.stores.objects = Arc::new(MemoryObjects::default());
    memory.restart();
    assert!(Log::open(config(), memory.stores.clone()).is_err());
}

/// A naive log: a list of entries and the latest of each name.
#[derive(Default)]
struct Model {
    entries: Vec<String>,
    latest: HashMap<String, usize>,
}

impl Model {
    /// What the log shall answer: the acks, or the position of the entry that has changed.
    fn add(
        &mut self,
        entries: &[String],
        unchanged_since: Option<u64>,
    ) -> Result<Vec<glasslog_log::Ack>, usize> {
        let name = |entry: &String| entry.split('=').next().unwrap().to_owned();
        if let Some(size) = unchanged_since {
            let changed = |entry: &String| {
                self.latest
                    .get(&name(entry))
                    .is_some_and(|&at| at as u64 >= size && self.entries[at] != *entry)
            };
            if let Some(position) = entries.iter().position(changed) {
                return Err(position);
            }
        }
        let mut acks = Vec::new();
        for entry in entries {
            match self.latest.get(&name(entry)) {
                Some(&at) if self.entries[at] == *entry => acks.push(duplicate(at as u64)),
                _ => {
                    acks.push(new(self.entries.len() as u64));
                    self.latest.insert(name(entry), self.entries.len());
                    self.entries.push(entry.clone());
                }
            }
        }
        Ok(acks)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add { entries: Vec<String>, unchanged_since: Option<u64> },
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let entry = (0..6_u8, 0..3_u8).prop_map(|(name, value)| format!("{name}={value}"));
    let add = (prop::collection::vec(entry, 1..6), prop::option::weighted(0.4, 0..40_u64))
        .prop_map(|(entries, unchanged_since)| Step::Add { entries, unchanged_since });
    prop::collection::vec(prop_oneof![12 => add, 1 => Just(Step::Restart)], 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Acks, duplicates and conditional adds are those of the naive log, across restarts.
    #[test]
    fn the_log_answers_like_the_naive_one(steps in steps()) {
        let mut memory = Memory::new();
        let mut model = Model::default();
        let runtime = runtime();
        let (mut log, mut workers) = memory.open();
        for step in steps {
            match step {
                Step::Restart => {
                    workers.stop().unwrap();
                    memory.restart();
                    (log, workers) = memory.open();
                }
                Step::Add { entries, unchanged_since } => {
                    let texts: Vec<&str> = entries.iter().map(String::as_str).collect();
                    let answer = runtime.block_on(add(&log, &texts, unchanged_since));
                    let answer = answer.map_err(|why| match why {
                        AddError::Changed { position, .. } => position,
                        other => panic!("{other}"),
                    });
                    prop_assert_eq!(answer, model.add(&entries, unchanged_since));
                }
            }
        }
        workers.stop().unwrap();
        prop_assert_eq!(memory.stores.state.view().unwrap().head.0, model.entries.len() as u64);
    }
}
