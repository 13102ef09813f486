//! The index, its keeper and those who ask at work together.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::Duration;

use glasslog_core::Hash;
use glasslog_index::{Opened, Options, Revision};
use glasslog_store::{
    disk::sim::SimDisk,
    runs::{Cancel, MergeRate},
};
use glasslog_vindex::Proof;
use parking_lot::Mutex;

use crate::{SMALL, key, naive::Naive, open};

const ENTRIES: u64 = 20_000;

/// Whatever is being spilled and merged meanwhile, each revision proves what it did when it was taken.
#[test]
fn readers_and_the_keeper_meanwhile() {
    let log =
        Naive { entries: (0..ENTRIES).map(|number| vec![key(number), key(u64::MAX - number % 7)]).collect() };
    let options = Options { snapshot_interval: 300, delta_max_bytes: 256 << 10, ..SMALL };
    let disk = SimDisk::new(1);
    let Opened { mut index, keeper, .. } = open(&disk, options).unwrap();
    let (newest, ended) = (Mutex::new(None::<Arc<Revision>>), AtomicBool::new(false));
    let mut roots: Vec<(u64, Hash)> = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                while keeper.step(MergeRate::Unlimited, &Cancel::default()).unwrap() {}
                keeper.wait(Duration::from_millis(20));
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Acquire) {
                    let Some(revision) = newest.lock().clone() else { continue };
                    ask(&revision);
                }
            });
        }
        for end in (100..=ENTRIES).step_by(100) {
            crate::feed(&mut index, &log, usize::try_from(end).unwrap()).unwrap();
            let revision = index.revision().unwrap();
            roots.push((end, revision.root()));
            *newest.lock() = Some(revision);
            index.keep(index.next()).unwrap();
        }
        ended.store(true, Ordering::Release);
    });
    for (size, root) in roots.into_iter().step_by(40) {
        assert_eq!(root, log.root_at(glasslog_core::TreeSize(size)));
    }
    let durable = index.durable().unwrap();
    assert_eq!(durable.root, log.root_at(durable.size));
}

fn ask(revision: &Revision) {
    for number in (0..revision.size().0).step_by(97) {
        let Proof::Present(presence) = revision.prove(&key(number)).unwrap() else { panic!("{number}") };
        assert_eq!(presence.root(&key(number)), revision.root());
    }
    let hot = key(u64::MAX);
    let Proof::Present(presence) = revision.prove(&hot).unwrap() else { panic!() };
    let page = revision.page(&hot, presence.value.count - 1, 9).unwrap();
    assert_eq!(page, [presence.value.last]);
    let Proof::Absent(absence) = revision.prove(&key(ENTRIES + 1)).unwrap() else { panic!() };
    assert_eq!(absence.root(&key(ENTRIES + 1)), Ok(revision.root()));
}
