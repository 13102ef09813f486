//! Long lists, crowded buckets, many keys, many spills.

use glasslog_core::{LeafIndex, TreeSize};
use glasslog_index::{Index, Keeper, Opened, Options};
use glasslog_store::{
    disk::sim::SimDisk,
    runs::{Cancel, MergeRate},
};
use glasslog_vindex::{Key, List, Proof};

use crate::{
    SMALL, feed, key,
    naive::{Naive, check_index},
    open, work,
};

/// A revision of everything, kept, and what that brings done.
fn settle(index: &mut Index, keeper: &Keeper) {
    index.revision().unwrap();
    index.keep(index.next()).unwrap();
    work(keeper).unwrap();
    index.revision().unwrap();
    work(keeper).unwrap();
    index.revision().unwrap();
}

/// A key that every entry has, taken in in pieces, merged, read in pages and as an end, and by bulk.
#[test]
fn a_long_list() {
    let count: u64 = if std::env::var_os("GLASSLOG_TORTURE").is_some() { 1_000_000 } else { 100_000 };
    let disk = SimDisk::new(1);
    let options = Options { snapshot_interval: count / 20, delta_max_bytes: 128 << 10, ..SMALL };
    let Opened { mut index, keeper, .. } = open(&disk, options).unwrap();
    let (hot, index_of) = (key(7), |position: u64| LeafIndex(position * 3));
    let keys = |entry: u64| if entry.is_multiple_of(3) { vec![hot] } else { Vec::new() };
    for entry in 0..count * 3 / 2 {
        index.apply(LeafIndex(entry), &keys(entry)).unwrap();
        if entry % (count / 10) == 0 {
            settle(&mut index, &keeper);
        }
    }
    check_long_list(&mut index, &hot, index_of);
    let mut bulk = index.bulk().unwrap();
    for entry in bulk.next().0..count * 3 {
        bulk.push(LeafIndex(entry), &keys(entry)).unwrap();
    }
    bulk.finish(&Cancel::default(), &mut |_, _| ()).unwrap().unwrap();
    check_long_list(&mut index, &hot, index_of);
    let reopened = &mut open(&disk.killed(), options).unwrap().index;
    assert_eq!(reopened.next(), TreeSize(count * 3));
    check_long_list(reopened, &hot, index_of);
    let bytes = reopened.stats().disk_bytes - 4096 * 32;
    assert!(bytes < count * 2, "about a byte an element, {bytes}");
}

fn check_long_list(index: &mut Index, key: &Key, index_of: impl Fn(u64) -> LeafIndex) {
    let revision = index.revision().unwrap();
    let Proof::Present(presence) = revision.prove(key).unwrap() else { panic!() };
    assert_eq!(presence.root(key), revision.root());
    let (mut list, mut at) = (List::new(), 0);
    loop {
        let page = revision.page(key, at, 1000).unwrap();
        assert!(page.iter().zip(at..).all(|(index, position)| *index == index_of(position)));
        list.extend(&page).unwrap();
        at += page.len() as u64;
        if page.len() < 1000 {
            break;
        }
    }
    assert_eq!(list.value(), Some(presence.value));
    if let Some(end) = revision.list_end(key, 1000).unwrap() {
        let mut list = List::resume(end.before, None);
        list.extend(&end.indices).unwrap();
        assert_eq!(list.value(), Some(presence.value));
    }
}

/// Keys that somebody has ground to fall into one bucket, more of them than a page or a read holds.
#[test]
fn keys_in_one_bucket() {
    let ground = |number: u64| {
        let mut ground = key(number);
        ground.0[..3].copy_from_slice(&[0x5a; 3]);
        ground
    };
    let entry =
        |number: u64| vec![if number.is_multiple_of(50) { key(number) } else { ground(number % 4000) }];
    let log = Naive { entries: (0..6000).map(entry).collect() };
    let disk = SimDisk::new(1);
    let Opened { mut index, keeper, .. } = open(&disk, SMALL).unwrap();
    for end in [1000, 2500, 4000, 6000] {
        feed(&mut index, &log, end).unwrap();
        settle(&mut index, &keeper);
    }
    check_index(&mut index, &log, 8);
    let mut reopened = open(&disk.killed(), SMALL).unwrap().index;
    assert_eq!(reopened.next(), TreeSize(6000));
    check_index(&mut reopened, &log, 8);
}

/// More keys than the first buckets are for: they become more in memory, in the next merge, and at a start.
#[test]
fn buckets_become_more() {
    let log = Naive { entries: (0..130_000).map(|number| vec![key(number % 115_000)]).collect() };
    let options = Options { snapshot_interval: 20_000, delta_max_bytes: 64 << 20, ..SMALL };
    let disk = SimDisk::new(1);
    let Opened { mut index, keeper, .. } = open(&disk, options).unwrap();
    for end in [50_000, 95_000, 98_000, 120_000] {
        feed(&mut index, &log, end).unwrap();
        index.revision().unwrap();
        index.keep(index.next()).unwrap();
        // Spills only: a start finds some with fewer bits than others.
        assert!(keeper.step(MergeRate::Unlimited, &Cancel::default()).unwrap() || end == 98_000);
    }
    let root = log.root_at(TreeSize(120_000));
    assert_eq!(index.revision().unwrap().root(), root);
    assert_eq!(open(&disk.killed(), options).unwrap().index.revision().unwrap().root(), root);
    settle(&mut index, &keeper);
    assert_eq!(index.stats().runs, 1);
    assert_eq!(open(&disk.killed(), options).unwrap().index.revision().unwrap().root(), root);
    feed(&mut index, &log, 130_000).unwrap();
    let root = log.root_at(TreeSize(130_000));
    assert_eq!(index.revision().unwrap().root(), root);
    let revision = index.bulk().unwrap().finish(&Cancel::default(), &mut |_, _| ()).unwrap().unwrap();
    assert_eq!((revision.root(), index.stats().runs), (root, 1));
    check_index(&mut index, &log, 1);
}

/// The same by merges, while more keys come: nothing is hashed as a whole by who feeds the index.
#[test]
fn merges_make_more_buckets() {
    let log = Naive { entries: (0..160_000).map(|number| vec![key(number)]).collect() };
    let options = Options { snapshot_interval: 10_000, delta_max_bytes: 2 << 20, ..SMALL };
    let disk = SimDisk::new(1);
    let Opened { mut index, keeper, .. } = open(&disk, options).unwrap();
    for end in (40_000..=160_000).step_by(40_000) {
        feed(&mut index, &log, end - 5000).unwrap();
        index.revision().unwrap();
        index.keep(index.next()).unwrap();
        work(&keeper).unwrap();
        // The merge is handed over, and done before its outcome is seen: what came after the spill is hashed again.
        index.revision().unwrap();
        feed(&mut index, &log, end - 1000).unwrap();
        index.revision().unwrap();
        work(&keeper).unwrap();
        feed(&mut index, &log, end).unwrap();
        assert_eq!(index.revision().unwrap().root(), log.root_at(TreeSize(end as u64)));
    }
    check_index(&mut index, &log, 2);
    // 2^14 buckets of about nine keys: 32 bytes each, beside 37 to 39 a key.
    let bytes = index.stats().disk_bytes;
    assert!((145_000 * 37 + (32 << 14)..160_000 * 39 + (32 << 14)).contains(&bytes), "{bytes}");
}

/// A run of its own stands between a large base and the delta until it is a quarter of it.
#[test]
fn a_middle_run() {
    let log =
        Naive { entries: (0..2000).map(|number| vec![key(number), key(u64::MAX - number % 30)]).collect() };
    let options = Options { snapshot_interval: 10, delta_max_bytes: 8 << 10, middle_from_keys: 500 };
    let disk = SimDisk::new(1);
    let Opened { mut index, keeper, .. } = open(&disk, options).unwrap();
    let mut most = 0;
    for end in (100..=2000).step_by(100) {
        feed(&mut index, &log, end).unwrap();
        settle(&mut index, &keeper);
        most = most.max(index.stats().runs);
        let mut reopened = open(&disk.killed(), options).unwrap().index;
        assert_eq!(reopened.next(), TreeSize(end as u64));
        check_index(&mut reopened, &log, 3);
    }
    check_index(&mut index, &log, 20);
    assert_eq!(most, 2);
}

/// Spills that are not worth a merge become one, and the base stays as it is.
#[test]
fn many_small_spills() {
    let log = Naive { entries: (0..3000).map(|number| vec![key(number), key(u64::MAX)]).collect() };
    let options = Options { snapshot_interval: 1, delta_max_bytes: 64 << 20, ..SMALL };
    let disk = SimDisk::new(1);
    let Opened { mut index, keeper, .. } = open(&disk, options).unwrap();
    for end in 1..=200 {
        feed(&mut index, &log, end * 15).unwrap();
        settle(&mut index, &keeper);
        assert!(index.stats().runs < 40, "{}", index.stats().runs);
    }
    let written: u64 = index.stats().disk_bytes;
    let Opened { index: mut reopened, .. } = open(&disk.killed(), options).unwrap();
    assert_eq!((reopened.next(), reopened.stats().disk_bytes), (TreeSize(3000), written));
    check_index(&mut reopened, &log, 10);
    check_index(&mut index, &log, 10);
}

/// Spills that come faster than they are merged wait when a manifest can name no more of them: nothing fails.
#[test]
fn more_spills_than_a_manifest_names() {
    let log = Naive { entries: (0..1100).map(|number| vec![key(number)]).collect() };
    let options = Options { snapshot_interval: 1, delta_max_bytes: 64 << 20, ..SMALL };
    let disk = SimDisk::new(1);
    let Opened { mut index, keeper, .. } = open(&disk, options).unwrap();
    for end in 1..=1100 {
        feed(&mut index, &log, end).unwrap();
        index.revision().unwrap();
        index.keep(index.next()).unwrap();
        // One thing for each: the next spill, before the merge that is due.
        keeper.step(MergeRate::Unlimited, &Cancel::default()).unwrap();
    }
    settle(&mut index, &keeper);
    assert!(index.stats().runs < 40, "{}", index.stats().runs);
    check_index(&mut index, &log, 10);
    let mut reopened = open(&disk.killed(), options).unwrap().index;
    check_index(&mut reopened, &log, 10);
    assert_eq!(reopened.next(), TreeSize(1100));
}
