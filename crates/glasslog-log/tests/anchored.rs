//! A log with an index: each checkpoint ends in an anchor, judged by a naive model.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test binary has no public interface")]

mod common;
#[path = "common/model.rs"]
mod model;
#[path = "anchored/trouble.rs"]
mod trouble;

use std::{
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use common::*;
use glasslog_core::{
    LeafIndex, TreeSize,
    anchor::{anchor, is_anchor_form},
    hash::leaf_hash,
    personality::Identity,
};
use glasslog_log::{BuiltIndex, EntryError, Failure, Log, LogConfig, Workers};
use glasslog_store::{
    LogState,
    disk::RealDisk,
    log_state::{Batch, BatchId, CommitOutcome, Slot},
    runs::Cancel,
};
use glasslog_vindex::{Key, MapFunction};
use model::{ByName, Kind, judge};
use parking_lot::{Condvar, Mutex};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn indexed(memory: &Memory) -> LogConfig {
    let index = model::index(Arc::new(RealDisk::private()), &memory.dir.path().join("index"));
    LogConfig { index: Some(index), ..config() }
}

fn open(memory: &Memory) -> (Log, Workers) {
    Log::open(indexed(memory), memory.stores.clone()).unwrap()
}

/// The same with a map function that waits at a gate.
fn gated(memory: &Memory, gate: &Gate, timeout: Duration) -> LogConfig {
    let mut config = indexed(memory);
    if let Some(index) = &mut config.index {
        index.map_fn = Arc::new(gate.clone());
        index.anchor_timeout = timeout;
    }
    config
}

/// [`ByName`] behind a gate that can be shut: an index that is late. Counts who comes.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>, Arc<AtomicUsize>);

impl Gate {
    fn shut(&self, shut: bool) {
        *self.0.0.lock() = shut;
        self.0.1.notify_all();
    }
}

impl MapFunction for Gate {
    fn name(&self) -> &str {
        ByName.name()
    }

    fn kinds(&self) -> &'static [&'static str] {
        &[]
    }

    fn map(&self, entry: &[u8], keys: &mut Vec<Key>) {
        self.1.fetch_add(1, Ordering::Relaxed);
        let mut shut = self.0.0.lock();
        while *shut {
            self.0.1.wait(&mut shut);
        }
        ByName.map(entry, keys);
    }
}

/// Waits until the public checkpoint ends in an anchor with a root, behind at least `size` entries.
async fn anchored(log: &Log, memory: &Memory, size: u64) -> Vec<Kind> {
    let mut watch = log.published();
    loop {
        let public = watch.borrow_and_update().as_ref().map_or(0, |public| public.size.0);
        let kinds = judge(&memory.entries(), &ByName);
        if public >= size && kinds.last() == Some(&Kind::Anchor) {
            return kinds;
        }
        watch.changed().await.unwrap();
    }
}

fn count(kinds: &[Kind], kind: Kind) -> usize {
    kinds.iter().filter(|&&found| found == kind).count()
}

/// FORMATS §2: with the index on every checkpoint is of size 0 or ends in an anchor, whose root is that of the entries before.
#[test]
fn each_checkpoint_ends_in_an_anchor() {
    let memory = Memory::new();
    let (log, workers) = open(&memory);
    let sizes = runtime().block_on(async {
        let mut watch = log.published();
        let seen = tokio::spawn(async move {
            let mut sizes = vec![];
            loop {
                sizes.extend(watch.borrow_and_update().as_ref().map(|public| public.size.0));
                if watch.changed().await.is_err() {
                    return sizes;
                }
            }
        });
        for i in 0..300_u64 {
            add(&log, &[&format!("n{}=v{i}", i % 40), "no name"], None).await.unwrap();
        }
        anchored(&log, &memory, 302).await;
        workers.stop().unwrap();
        drop(log);
        tokio::time::timeout(Duration::from_millis(10), seen).await.unwrap_or(Ok(vec![])).unwrap_or_default()
    });
    let entries = memory.entries();
    let kinds = judge(&entries, &ByName);
    assert_eq!(count(&kinds, Kind::Ordinary), 301, "each is there once");
    assert_eq!(count(&kinds, Kind::Void), 0, "the index was never late");
    for size in sizes.into_iter().filter(|&size| size > 0) {
        assert_eq!(kinds[usize::try_from(size - 1).unwrap()], Kind::Anchor, "size {size}");
    }
}

/// Nobody but the log writes anchors, with an index and without one.
#[test]
fn nobody_submits_an_anchor() {
    let memory = Memory::new();
    for config in [config(), indexed(&memory)] {
        let (log, workers) = Log::open(config, memory.stores.clone()).unwrap();
        for entry in [anchor("by-name", None, TreeSize(0)), glasslog_core::anchor::disavow(&[LeafIndex(1)])] {
            let entry = Bytes::from(entry);
            assert!(matches!(log.submission(entry.clone()), Err(EntryError::AnchorForm)));
            let both = vec![Bytes::from_static(b"a=1"), entry];
            assert!(matches!(log.submissions(both), Err((1, EntryError::AnchorForm))));
        }
        drop(workers);
    }
}

/// An index that is late makes the anchor void after the time-out, holds nobody up, and is followed by one anchor when it has
/// caught up: exactly one, even if that comes too late again.
#[test]
fn a_late_index_makes_one_void_anchor_and_then_a_true_one() {
    let in_time = (0..20).any(|_| {
        let memory = Memory::new();
        let gate = Gate::default();
        gate.shut(true);
        let (log, workers) =
            Log::open(gated(&memory, &gate, Duration::from_millis(50)), memory.stores.clone()).unwrap();
        runtime().block_on(async {
            add(&log, &["a=1"], None).await.unwrap();
            published(&log, 2).await;
            assert_eq!(judge(&memory.entries(), &ByName), [Kind::Ordinary, Kind::Void]);
            let status = log.index_status().unwrap();
            assert_eq!((status.void_anchors, status.lag > 0), (1, true));
            gate.shut(false);
            published(&log, 3).await;
        });
        let stopped = workers.stop().unwrap();
        assert_eq!(stopped.published, TreeSize(3), "nothing more was written");
        judge(&memory.entries(), &ByName) == [Kind::Ordinary, Kind::Void, Kind::Anchor]
    });
    assert!(in_time);
}

/// An index that is late is not waited for when the entries that wait with it are half of what may wait.
#[test]
fn a_backlog_that_is_half_full_waits_no_longer() {
    let memory = Memory::new();
    let gate = Gate::default();
    gate.shut(true);
    let config = LogConfig { backlog_max_bytes: 10_000, ..gated(&memory, &gate, Duration::from_secs(600)) };
    let (log, workers) = Log::open(config, memory.stores.clone()).unwrap();
    runtime().block_on(async {
        add(&log, &["a=1"], None).await.unwrap();
        let long = "x".repeat(1000);
        for i in 0..6 {
            add(&log, &[&format!("{i}={long}")], None).await.unwrap();
        }
        published(&log, 2).await;
        gate.shut(false);
        anchored(&log, &memory, 8).await;
    });
    workers.stop().unwrap();
    let kinds = judge(&memory.entries(), &ByName);
    assert_eq!(count(&kinds, Kind::Ordinary), 7);
    assert!(count(&kinds, Kind::Void) >= 1);
}

/// A stop in order ends in an anchor, and an index that is as far as the log.
#[test]
fn a_log_that_is_stopped_ends_in_an_anchor() {
    let mut memory = Memory::new();
    for round in 0..4_u64 {
        let (log, workers) = open(&memory);
        runtime().block_on(async {
            for i in 0..20 {
                add(&log, &[&format!("n{i}=r{round}")], None).await.unwrap();
            }
        });
        workers.stop().unwrap();
        let kinds = judge(&memory.entries(), &ByName);
        assert_eq!(kinds.last(), Some(&Kind::Anchor));
        assert_eq!(count(&kinds, Kind::Ordinary) as u64, 20 * (round + 1));
        memory.restart();
    }
    // An idle start writes nothing, and has nothing to index again.
    let before = memory.entries().len();
    let gate = Gate::default();
    let config = gated(&memory, &gate, Duration::from_secs(60));
    let (_log, workers) = Log::open(config, memory.stores.clone()).unwrap();
    workers.stop().unwrap();
    assert_eq!((memory.entries().len(), gate.1.load(Ordering::Relaxed)), (before, 0));
}

/// A slot that was reserved by a process that died is filled by the next one, and ends the next checkpoint.
#[test]
fn a_slot_that_was_left_is_filled_by_the_next_start() {
    let mut memory = Memory::new();
    let gate = Gate::default();
    let (log, killed) =
        Log::open(gated(&memory, &gate, Duration::from_secs(600)), memory.stores.clone()).unwrap();
    runtime().block_on(async {
        add(&log, &["a=1"], None).await.unwrap();
        anchored(&log, &memory, 2).await;
        gate.shut(true);
        add(&log, &["b=1"], None).await.unwrap();
        while memory.state.view().unwrap().unfilled_anchor.is_none() {
            tokio::task::yield_now().await;
        }
        add(&log, &["c=1"], None).await.unwrap();
    });
    memory.restart();
    assert_eq!(memory.state.view().unwrap().unfilled_anchor, Some(LeafIndex(3)));
    let (log, workers) = open(&memory);
    runtime().block_on(anchored(&log, &memory, 6));
    workers.stop().unwrap();
    let kinds = judge(&memory.entries(), &ByName);
    assert_eq!(kinds[3], Kind::Anchor);
    assert_eq!(kinds[4], Kind::Ordinary);
    gate.shut(false);
    drop(killed);
}

/// With the index switched off, the slot that was left is filled without a root, and the log goes on without anchors; switched
/// on again, the index is built and the next checkpoint has an anchor.
#[test]
fn the_index_can_be_switched_off_and_on() {
    let mut memory = Memory::new();
    let gate = Gate::default();
    gate.shut(true);
    let (log, killed) =
        Log::open(gated(&memory, &gate, Duration::from_secs(600)), memory.stores.clone()).unwrap();
    runtime().block_on(async {
        add(&log, &["a=1"], None).await.unwrap();
        while memory.state.view().unwrap().unfilled_anchor.is_none() {
            tokio::task::yield_now().await;
        }
    });
    memory.restart();
    let mut off = indexed(&memory);
    off.index.as_mut().unwrap().enabled = false;
    let (log, workers) = Log::open(off, memory.stores.clone()).unwrap();
    assert!(log.index_status().is_none() && log.map_fn().is_none());
    runtime().block_on(async {
        published(&log, 2).await;
        add(&log, &["b=1"], None).await.unwrap();
        published(&log, 3).await;
    });
    workers.stop().unwrap();
    memory.restart();
    let (log, workers) = open(&memory);
    runtime().block_on(anchored(&log, &memory, 4));
    workers.stop().unwrap();
    let kinds = judge(&memory.entries(), &ByName);
    assert_eq!(kinds[..3], [Kind::Ordinary, Kind::Void, Kind::Ordinary]);
    gate.shut(false);
    drop(killed);
}

/// A slot that is left is named as the log's other anchors are, also if no checkpoint since the last of them ended in one and the
/// settings name another map function: two names would be misbehaviour for ever.
#[test]
fn a_slot_that_was_left_keeps_the_logs_map_function() {
    let mut memory = Memory::new();
    live(&memory, &["a"]);
    memory.restart();
    let (log, workers) = Log::open(config(), memory.stores.clone()).unwrap();
    runtime().block_on(add(&log, &["b=1"], None)).unwrap();
    workers.stop().unwrap();
    memory.restart();
    let gate = Gate::default();
    gate.shut(true);
    let (_log, killed) =
        Log::open(gated(&memory, &gate, Duration::from_secs(600)), memory.stores.clone()).unwrap();
    while memory.state.view().unwrap().unfilled_anchor.is_none() {
        std::thread::yield_now();
    }
    memory.restart();
    let mut off = indexed(&memory);
    let index = off.index.as_mut().unwrap();
    (index.enabled, index.map_fn) = (false, Arc::new(glasslog_vindex::JsonField::new("a").unwrap()));
    let (log, workers) = Log::open(off, memory.stores.clone()).unwrap();
    runtime().block_on(published(&log, 4));
    workers.stop().unwrap();
    assert_eq!(judge(&memory.entries(), &ByName).last(), Some(&Kind::Void));
    gate.shut(false);
    drop(killed);
}

/// FORMATS §2: a log has one map function for ever.
#[test]
fn another_map_function_is_refused() {
    let mut memory = Memory::new();
    let (log, workers) = open(&memory);
    runtime().block_on(add(&log, &["a=1"], None)).unwrap();
    workers.stop().unwrap();
    let other = |memory: &Memory| {
        let mut config = indexed(memory);
        config.index.as_mut().unwrap().map_fn = Arc::new(glasslog_vindex::JsonField::new("a").unwrap());
        config
    };
    memory.restart();
    let refused = Log::open(other(&memory), memory.stores.clone()).err().unwrap();
    assert!(matches!(&refused, Failure::Anchors(why) if why.contains("by-name")), "{refused}");

    // Also when the index was off since, so that the log does not end in an anchor.
    let (log, workers) = Log::open(config(), memory.stores.clone()).unwrap();
    runtime().block_on(add(&log, &["b=1"], None)).unwrap();
    workers.stop().unwrap();
    memory.restart();
    assert!(matches!(Log::open(other(&memory), memory.stores.clone()), Err(Failure::Anchors(_))));
    // Nor does that look like a wrong anchor.
    let rebuilt = rebuild(&other(&memory), &memory);
    assert!(matches!(&rebuilt, Err(Failure::Anchors(why)) if why.contains("by-name")), "{rebuilt:?}");
    assert!(
        matches!(disavow(&other(&memory), &memory, 1), Err(Failure::Anchors(why)) if why.contains("by-name"))
    );
    let (_log, workers) = open(&memory);
    workers.stop().unwrap();
}

/// Adds `names` to a log, one by one, and stops it.
fn live(memory: &Memory, names: &[&str]) {
    let (log, workers) = open(memory);
    runtime().block_on(async {
        for name in names {
            add(&log, &[&format!("{name}=1")], None).await.unwrap();
        }
    });
    workers.stop().unwrap();
}

/// Goes on, and judges: whatever lay in the directory of the index, no anchor is wrong and the last one has a root. Gives how
/// often an index was thrown away.
fn goes_on(memory: &mut Memory, what: &str) -> u64 {
    memory.restart();
    let (log, workers) = open(memory);
    let kinds = runtime().block_on(async {
        let next = log.progress().sequenced.0;
        add(&log, &[&format!("after {what}={next}")], None).await.unwrap();
        anchored(&log, memory, next + 2).await
    });
    assert_eq!(kinds.last(), Some(&Kind::Anchor), "{what}");
    let rebuilds = log.index_status().unwrap().rebuilds;
    workers.stop().unwrap();
    rebuilds
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

const NAMES: [&str; 6] = ["a", "b", "c", "a", "d", "a"];

/// Invariant 9: an index that is lost, of another log, ahead of the log, or behind it, is built again.
#[test]
fn an_index_that_is_not_the_logs_is_built_again() {
    let index = |memory: &Memory| memory.dir.path().join("index");
    let mut memory = Memory::new();
    live(&memory, &NAMES);
    let kept = tempfile::tempdir().unwrap();
    copy(&index(&memory), kept.path());

    std::fs::remove_dir_all(index(&memory)).unwrap();
    assert_eq!(goes_on(&mut memory, "lost"), 0);
    std::fs::remove_dir_all(index(&memory)).unwrap();
    copy(kept.path(), &index(&memory));
    assert_eq!(goes_on(&mut memory, "behind"), 0);

    // Logs of the same origin: one with as many other entries, one with fewer.
    for (names, what) in [(&["x", "y", "z", "x", "y", "z"][..], "of another log"), (&["a"], "ahead")] {
        let mut other = Memory::new();
        live(&other, names);
        std::fs::remove_dir_all(index(&other)).unwrap();
        copy(kept.path(), &index(&other));
        assert_eq!(goes_on(&mut other, what), 1, "an operator sees it: {what}");
    }
}

/// An index that is far behind is built by sorting, up to the newest anchor with a root, which it must have.
#[test]
fn an_index_that_is_far_behind_is_built_by_sorting() {
    let mut memory = Memory::new();
    let far_behind = |memory: &Memory| {
        let mut config = indexed(memory);
        config.index.as_mut().unwrap().bulk_from = 100;
        config
    };
    // Of a log that had no index, there is no anchor to be compared.
    let (log, workers) = Log::open(config(), memory.stores.clone()).unwrap();
    let names: Vec<String> = (0..700).map(|n| format!("n{}=v{n}", n % 90)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    runtime().block_on(async { add(&log, &names, None).await.unwrap() });
    workers.stop().unwrap();
    for round in 0..3_u64 {
        memory.restart();
        let (log, workers) = Log::open(far_behind(&memory), memory.stores.clone()).unwrap();
        runtime().block_on(async {
            let next = log.progress().sequenced.0;
            add(&log, &[&format!("more={round}")], None).await.unwrap();
            anchored(&log, &memory, next + 2).await;
        });
        workers.stop().unwrap();
        assert_eq!(judge(&memory.entries(), &ByName).last(), Some(&Kind::Anchor), "round {round}");
        std::fs::remove_dir_all(memory.dir.path().join("index")).unwrap();
    }

    memory.restart();
    smuggle(&memory, anchor("by-name", Some(&leaf_hash(b"wrong")), memory.state.view().unwrap().head));
    let (log, workers) = Log::open(config(), memory.stores.clone()).unwrap();
    runtime().block_on(published(&log, log.progress().sequenced.0));
    workers.stop().unwrap();
    memory.restart();
    let (_log, mut workers) = Log::open(far_behind(&memory), memory.stores.clone()).unwrap();
    assert!(runtime().block_on(workers.failed()).contains("the index contradicts the log"));
    assert!(workers.stop().is_err());
    memory.restart();
    let config = far_behind(&memory);
    let built = rebuild(&config, &memory);
    assert!(matches!(built, Err(Failure::WrongAnchor { .. })));
}

/// Invariant 9: no byte of the index's files that has changed makes an anchor wrong, or keeps the log from going on.
#[test]
fn a_damaged_index_is_built_again() {
    let mut memory = Memory::new();
    live(&memory, &NAMES);
    let index = memory.dir.path().join("index");
    let names = |index: &Path| {
        let files = std::fs::read_dir(index).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.metadata().unwrap().len() > 0).collect();
        files.sort();
        files
    };
    let files = names(&index).len();
    assert!(files >= 2, "a manifest and a run");
    for number in 0..files {
        for part in 0..4_usize {
            let Some(path) = names(&index).into_iter().nth(number) else { continue };
            let mut bytes = std::fs::read(&path).unwrap();
            let at = (bytes.len() - 1) * part / 3;
            bytes[at] ^= 1 << part;
            std::fs::File::create(&path).unwrap().write_all(&bytes).unwrap();
            goes_on(&mut memory, &format!("byte {at} of {}", path.display()));
        }
    }
}

/// Appends what no submitter can: an entry of any bytes.
fn smuggle(memory: &Memory, bytes: Vec<u8>) {
    let leaf_hash = leaf_hash(&bytes);
    let turn = memory.state.turn(memory.state.view().unwrap().head).unwrap();
    let slot = Slot::Entry { bytes: bytes.into(), leaf_hash, identity: Identity::from_hash(&leaf_hash) };
    let batch = Batch { id: BatchId([7; 16]), first_index: turn.head().next_index(), slots: vec![slot] };
    assert!(matches!(turn.commit(Arc::new(batch), None), CommitOutcome::Committed));
}

fn rebuild(config: &LogConfig, memory: &Memory) -> Result<BuiltIndex, Failure> {
    glasslog_log::rebuild_index(config, &memory.stores, &Cancel::default(), &|| false, &mut |_| {})
}

fn disavow(config: &LogConfig, memory: &Memory, position: u64) -> Result<LeafIndex, Failure> {
    glasslog_log::disavow(config, &memory.stores, &[LeafIndex(position)], &mut |_| {})
}

/// An index that was built from nothing and contradicts an anchor stops the log; once that is disavowed, it goes on.
#[test]
fn a_wrong_anchor_stops_the_log_until_it_is_disavowed() {
    let mut memory = Memory::new();
    let (log, workers) = open(&memory);
    runtime().block_on(add(&log, &["a=1"], None)).unwrap();
    workers.stop().unwrap();
    memory.restart();
    smuggle(&memory, anchor("by-name", Some(&leaf_hash(b"wrong")), TreeSize(2)));

    let (_log, mut workers) = open(&memory);
    let why = runtime().block_on(workers.failed());
    for word in
        ["index 2", &leaf_hash(b"wrong").to_string(), "glasslog index disavow", "glasslog index rebuild"]
    {
        assert!(why.contains(word), "{why}");
    }
    assert!(workers.stop().is_err());

    memory.restart();
    let config = indexed(&memory);
    let none = disavow(&config, &memory, 0).unwrap_err();
    assert!(none.to_string().contains("no anchor at index 0"), "{none}");
    // What is said cannot be taken back: a right anchor is not called wrong.
    let right = disavow(&config, &memory, 1).unwrap_err();
    assert!(right.to_string().contains("the anchor at index 1 is right"), "{right}");
    let at = disavow(&config, &memory, 2).unwrap();
    let (log, workers) = open(&memory);
    runtime().block_on(async {
        published(&log, at.0 + 2).await;
        add(&log, &["b=1"], None).await.unwrap();
    });
    workers.stop().unwrap();
    let entries = memory.entries();
    assert!(is_anchor_form(&entries[2]));
    let last = glasslog_core::anchor::parse_anchor(entries.last().unwrap()).unwrap();
    assert_eq!(last.root, Some(model::naive_root(&ByName, &entries[..entries.len() - 1])));
}
