//! What trouble an index may come into while the log runs: damage, a full disk, a fault.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use glasslog_core::{TreeSize, anchor::anchor, hash::leaf_hash};
use glasslog_log::{IndexConfig, Log, LogConfig};
use glasslog_store::{
    LogState,
    disk::{Disk, sim::SimDisk},
};
use glasslog_vindex::{Key, MapFunction};

use super::{Gate, anchored, common::*, count, gated, indexed, live, open, runtime, smuggle};
use crate::model::{ByName, Kind, index, judge};

/// The same on a disk that can be made full and rot.
fn on(disk: &SimDisk, config: LogConfig) -> LogConfig {
    let index =
        config.index.map(|index| IndexConfig { disk: Arc::new(disk.clone()), bulk_from: 100, ..index });
    LogConfig { index, ..config }
}

/// A log of 300 entries and an index whose rows are in a run that is read when it is asked, not in memory.
fn with_a_base(memory: &mut Memory, disk: &SimDisk) {
    let (log, workers) = Log::open(config(), memory.stores.clone()).unwrap();
    let names: Vec<String> = (0..300).map(|n| format!("n{n}=v")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    runtime().block_on(async { add(&log, &names, None).await.unwrap() });
    workers.stop().unwrap();
    memory.restart();
    let (log, workers) = Log::open(on(disk, indexed(memory)), memory.stores.clone()).unwrap();
    runtime().block_on(anchored(&log, memory, 301));
    workers.stop().unwrap();
    memory.restart();
}

/// Changes a byte of every page of every run.
fn rot(disk: &SimDisk) {
    for (path, bytes) in disk.files() {
        if path.extension().is_some_and(|extension| extension == "run") {
            (200..bytes.len()).step_by(4096).for_each(|at| disk.rot(&path, at).unwrap());
        }
    }
}

/// A damaged page that an update meets, while the disk is full so that the index cannot even be emptied: the slot that waits gets
/// its anchor at once, and when there is room the index is built again.
#[test]
fn an_update_that_meets_a_damaged_page_holds_up_no_anchor() {
    let (mut memory, disk) = (Memory::new(), SimDisk::new(1));
    with_a_base(&mut memory, &disk);
    let gate = Gate::default();
    let config = on(&disk, gated(&memory, &gate, Duration::from_secs(6000)));
    let (log, workers) = Log::open(config, memory.stores.clone()).unwrap();
    runtime().block_on(async {
        anchored(&log, &memory, 301).await;
        gate.shut(true);
        add(&log, &["n7=again"], None).await.unwrap();
        while memory.state.view().unwrap().unfilled_anchor.is_none() {
            tokio::task::yield_now().await;
        }
        let size = log.progress().sequenced.0;
        rot(&disk);
        disk.set_full(true);
        gate.shut(false);
        tokio::time::timeout(Duration::from_secs(60), published(&log, size))
            .await
            .expect("it is not waited for");
        assert_eq!(judge(&memory.entries(), &ByName).last(), Some(&Kind::Void));
        disk.set_full(false);
        anchored(&log, &memory, size + 1).await;
        assert_eq!(log.index_status().unwrap().rebuilds, 1);
    });
    workers.stop().unwrap();
    judge(&memory.entries(), &ByName);
}

/// What cannot be built for want of room is not begun again with every entry that comes: each time it would take the room that
/// the log itself needs.
#[test]
fn a_full_disk_is_not_filled_again_with_every_entry() {
    let (mut memory, disk) = (Memory::new(), SimDisk::new(1));
    with_a_base(&mut memory, &disk);
    for (path, _) in disk.files() {
        disk.remove(&path).unwrap();
    }
    let gate = Gate::default();
    gate.shut(true);
    let config = on(&disk, gated(&memory, &gate, Duration::from_secs(6000)));
    let (log, workers) = Log::open(config, memory.stores.clone()).unwrap();
    disk.set_full(true);
    gate.shut(false);
    runtime().block_on(async {
        for n in 0..300_u64 {
            let ack = add(&log, &[&format!("m{n}=v")], None).await.unwrap();
            published(&log, ack[0].index.0 + 1).await;
        }
    });
    let builds = gate.1.load(Ordering::Relaxed) / 300;
    assert!(builds < 30, "{builds} for 300 entries");
    disk.set_full(false);
    runtime().block_on(anchored(&log, &memory, 600));
    workers.stop().unwrap();
}

/// What became durable in the background is told though no entry follows.
#[test]
fn an_idle_log_says_how_far_its_index_is_durable() {
    let memory = Memory::new();
    let (log, workers) = open(&memory);
    let names: Vec<String> = (0..100).map(|n| format!("n{n}=v")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    runtime().block_on(async {
        add(&log, &names, None).await.unwrap();
        anchored(&log, &memory, 101).await;
        let told = async {
            while log
                .index_status()
                .is_none_or(|status| status.durable.0 < 100 || status.stats.disk_bytes == 0)
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), told).await.expect("it is durable");
    });
    workers.stop().unwrap();
}

/// An index that cannot be written out goes on in memory; that is told until there is room.
#[test]
fn an_index_without_room_is_told_until_there_is_some() {
    let memory = Memory::new();
    let disk = SimDisk::new(7);
    let mut config = indexed(&memory);
    config.index = Some(index(Arc::new(disk.clone()), Path::new("/index")));
    let (log, workers) = Log::open(config, memory.stores.clone()).unwrap();
    let told = |full| {
        while log.index_status().unwrap().full != full {
            std::thread::yield_now();
        }
    };
    let names: Vec<String> = (0..200).map(|n| format!("n{n}=v")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    disk.set_full(true);
    runtime().block_on(async {
        add(&log, &names, None).await.unwrap();
        anchored(&log, &memory, 201).await;
    });
    told(true);
    disk.set_full(false);
    told(false);
    workers.stop().unwrap();
}

/// An index that is built again while the log runs meets every wrong anchor again, also one before those that it met already.
#[test]
fn an_index_that_is_built_again_heeds_older_disavow_entries() {
    let mut memory = Memory::new();
    let disavow_one = |memory: &Memory| {
        let at = memory.state.view().unwrap().head;
        smuggle(memory, anchor("by-name", Some(&leaf_hash(b"wrong")), at));
        let config = on(&SimDisk::new(2), indexed(memory));
        glasslog_log::disavow(&config, &memory.stores, &[at.next_index()], &mut |_| ()).unwrap();
    };
    /// Adds an entry and waits for the anchor behind it.
    async fn goes_on(log: &Log, entries: &[&str]) {
        let last = add(log, entries, None).await.unwrap().last().unwrap().index;
        let anchored = async {
            while log.index_status().unwrap().anchored.is_none_or(|at| at < last) {
                assert!(log.progress().refusing.is_none(), "{:?}", log.progress().refusing);
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), anchored).await.unwrap();
    }
    live(&memory, &["a"]);
    memory.restart();
    disavow_one(&memory);
    let names: Vec<String> = (0..300).map(|n| format!("n{n}=v")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (log, workers) = open(&memory);
    runtime().block_on(goes_on(&log, &names));
    workers.stop().unwrap();
    memory.restart();
    let disk = SimDisk::new(1);
    let (log, workers) = Log::open(on(&disk, indexed(&memory)), memory.stores.clone()).unwrap();
    runtime().block_on(async {
        while log.index_status().unwrap().durable == TreeSize::ZERO {
            tokio::task::yield_now().await;
        }
    });
    workers.stop().unwrap();
    memory.restart();
    disavow_one(&memory);

    let mut config = on(&disk, indexed(&memory));
    config.index.as_mut().unwrap().bulk_from = IndexConfig::BULK_FROM;
    let (log, workers) = Log::open(config, memory.stores.clone()).unwrap();
    runtime().block_on(async {
        goes_on(&log, &["b=1"]).await;
        rot(&disk);
        goes_on(&log, &["n7=again", "n8=again"]).await;
        assert_eq!(log.index_status().unwrap().rebuilds, 1);
    });
    workers.stop().unwrap();
}

/// [`ByName`] with a fault.
struct Faulty;

impl MapFunction for Faulty {
    fn name(&self) -> &str {
        ByName.name()
    }

    fn kinds(&self) -> &'static [&'static str] {
        &[]
    }

    fn map(&self, entry: &[u8], keys: &mut Vec<Key>) {
        assert!(!entry.starts_with(b"fault"), "a fault on purpose");
        ByName.map(entry, keys);
    }
}

/// Invariant 7: a thread of the index that ends by a fault stops the log, which can be stopped in order; what was acknowledged is
/// there, and without the index, or without the fault, the log goes on.
#[test]
fn a_fault_in_the_index_stops_the_log_and_loses_nothing() {
    let mut memory = Memory::new();
    let mut config = indexed(&memory);
    config.index.as_mut().unwrap().map_fn = Arc::new(Faulty);
    let (log, mut workers) = Log::open(config, memory.stores.clone()).unwrap();
    let why = runtime().block_on(async {
        add(&log, &["a=1"], None).await.unwrap();
        anchored(&log, &memory, 2).await;
        add(&log, &["fault=1"], None).await.unwrap();
        workers.failed().await
    });
    assert!(why.contains("the indexer panicked"), "{why}");
    assert!(workers.stop().is_err());
    memory.restart();
    let mut off = indexed(&memory);
    off.index.as_mut().unwrap().enabled = false;
    let (log, workers) = Log::open(off, memory.stores.clone()).unwrap();
    runtime().block_on(published(&log, 3));
    workers.stop().unwrap();
    memory.restart();
    let (log, workers) = open(&memory);
    runtime().block_on(async {
        add(&log, &["b=1"], None).await.unwrap();
        anchored(&log, &memory, 5).await;
    });
    workers.stop().unwrap();
    assert_eq!(count(&judge(&memory.entries(), &ByName), Kind::Ordinary), 3);
}
