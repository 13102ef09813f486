//! Power loss, full disks and failed syncs at every operation of a history of spills, merges, a bulk build and a reset.

use std::path::Path;

use glasslog_core::{LeafIndex, TreeSize};
use glasslog_index::{Index, IndexError, Keeper, Opened, Options};
use glasslog_store::{
    disk::{
        Disk,
        sim::{Fault, SimDisk},
    },
    runs::{Cancel, MergeRate, RunError},
};
use glasslog_vindex::Key;

use crate::{
    DIR, SMALL, feed, key,
    naive::{Naive, check_index},
    open, work,
};

const ROUNDS: usize = 6;
const ENTRIES: usize = 30;

/// Merges come often, and a middle run with them.
const OFTEN: Options = Options { snapshot_interval: 10, delta_max_bytes: 16 << 10, middle_from_keys: 60 };

/// The entries of the whole history: some keys come again, one in every entry.
fn log() -> Naive {
    let entry = |number: u64| {
        let mut keys: Vec<Key> = [number, number % 50 + 1000, 7].map(key).to_vec();
        keys.sort_unstable();
        keys.dedup();
        keys
    };
    Naive { entries: (0..(2 * ROUNDS * ENTRIES) as u64).map(entry).collect() }
}

/// What the index may be found to be after a crash.
#[derive(Clone, Debug, Default)]
struct Allowed {
    /// It is at least this, which was durable when the last call that succeeded returned.
    acknowledged: TreeSize,
    /// Or one of these, kept since.
    kept: Vec<TreeSize>,
}

impl Allowed {
    fn note(&mut self, index: &Index) {
        self.acknowledged = index.durable().map_or(TreeSize::ZERO, |durable| durable.size);
    }

    fn contains(&self, size: TreeSize) -> bool {
        size == self.acknowledged || (size >= self.acknowledged && self.kept.contains(&size))
    }
}

fn history(disk: &SimDisk, log: &Naive, allowed: &mut Allowed) -> Result<(), IndexError> {
    let Opened { mut index, keeper, .. } = open(disk, OFTEN)?;
    for round in 1..=ROUNDS {
        one_round(&mut index, &keeper, log, round * ENTRIES, allowed)?;
    }
    allowed.kept.push(TreeSize::ZERO);
    allowed.acknowledged = TreeSize::ZERO;
    index.reset()?;
    allowed.kept = Vec::new();
    bulk(&mut index, log, 2 * ENTRIES, allowed)?;
    one_round(&mut index, &keeper, log, 3 * ENTRIES, allowed)?;
    bulk(&mut index, log, 5 * ENTRIES, allowed)?;
    feed(&mut index, log, 5 * ENTRIES + 5)?;
    keep(&mut index, allowed)?;
    index.close()
}

fn one_round(
    index: &mut Index,
    keeper: &Keeper,
    log: &Naive,
    end: usize,
    allowed: &mut Allowed,
) -> Result<(), IndexError> {
    feed(index, log, end)?;
    keep(index, allowed)?;
    work(keeper)?;
    allowed.note(index);
    // The spill is seen, and a merge is due.
    index.revision()?;
    work(keeper)
}

fn keep(index: &mut Index, allowed: &mut Allowed) -> Result<(), IndexError> {
    allowed.kept.push(index.revision()?.size());
    index.keep(index.next())
}

fn bulk(index: &mut Index, log: &Naive, end: usize, allowed: &mut Allowed) -> Result<(), IndexError> {
    let mut bulk = index.bulk()?;
    for at in usize::try_from(bulk.next().0).unwrap()..end {
        bulk.push(LeafIndex(at as u64), &log.entries[at])?;
    }
    allowed.kept.push(bulk.next());
    bulk.finish(&Cancel::default(), &mut |_, _| ())?;
    allowed.note(index);
    Ok(())
}

/// The index opens as something that it may be, with everything right about it, and says what is durable.
fn check(disk: &SimDisk, log: &Naive, allowed: &Allowed) -> TreeSize {
    let Opened { mut index, emptied_because, .. } = open(disk, OFTEN).unwrap();
    assert_eq!(emptied_because, None);
    let found = index.next();
    assert!(allowed.contains(found), "{found} {allowed:?}");
    assert_eq!(index.durable().map_or(TreeSize::ZERO, |durable| durable.size), found);
    check_index(&mut index, log, 5);
    assert!(disk.files().len() <= index.stats().runs + 1, "nothing is left behind: {:?}", names(disk));
    found
}

fn names(disk: &SimDisk) -> Vec<String> {
    disk.files().iter().map(|(path, _)| path.display().to_string()).collect()
}

fn operations(log: &Naive) -> u64 {
    let disk = SimDisk::new(0);
    let mut allowed = Allowed::default();
    history(&disk, log, &mut allowed).unwrap();
    let end = TreeSize((5 * ENTRIES + 5) as u64);
    assert_eq!(check(&disk, log, &Allowed { acknowledged: end, kept: Vec::new() }), end);
    disk.operations()
}

/// What is durable survives a power loss at any moment; what is found is exactly something that was kept.
#[test]
fn power_loss_at_every_operation() {
    let log = log();
    for at in 1..=operations(&log) {
        let disk = SimDisk::new(at);
        disk.fail_at(at, Fault::Crash);
        let mut allowed = Allowed::default();
        // The last operations remove files, which may fail.
        let _crashed = history(&disk, &log, &mut allowed);
        for image in disk.images(3) {
            let found = check(&image, &log, &allowed);
            // What was read once stays: a second power loss just after does not take it back.
            for again in image.images(2) {
                check(&again, &log, &Allowed { acknowledged: found, kept: Vec::new() });
            }
        }
    }
}

/// After a failed sync nothing is changed any more, and questions are answered; what the next process finds is durable then.
#[test]
fn a_failed_sync_at_every_operation() {
    let log = log();
    for at in 1..=operations(&log) {
        let disk = SimDisk::new(at);
        disk.create_dir_all(Path::new(DIR)).unwrap();
        disk.fail_at(disk.operations() + at, Fault::SyncError);
        let mut allowed = Allowed::default();
        let Err(error) = history(&disk, &log, &mut allowed) else { continue };
        assert!(
            matches!(error, IndexError::Runs(RunError::Durability { .. } | RunError::Io { .. })),
            "{error:?}"
        );
        let restarted = disk.killed();
        let found = check(&restarted, &log, &allowed);
        for image in restarted.images(3) {
            check(&image, &log, &Allowed { acknowledged: found, kept: Vec::new() });
        }
        for image in disk.images(2) {
            check(&image, &log, &allowed);
        }
    }
}

/// A full disk changes nothing, and the same work succeeds when there is room.
#[test]
fn a_full_disk_at_every_operation() {
    let log = log();
    let mut struck = true;
    for at in 1.. {
        if !std::mem::take(&mut struck) {
            return;
        }
        let disk = SimDisk::new(at);
        let Opened { mut index, keeper, .. } = open(&disk, OFTEN).unwrap();
        let opened = disk.operations();
        disk.fail_at(opened + at, Fault::Full);
        for round in 1..=ROUNDS {
            feed(&mut index, &log, round * ENTRIES).unwrap();
            index.revision().unwrap();
            index.keep(index.next()).unwrap();
            struck |= must_be_full(work(&keeper));
            work(&keeper).unwrap();
            check_index(&mut index, &log, 2);
            struck |= must_be_full(work(&keeper));
            work(&keeper).unwrap();
        }
        let mut allowed = Allowed::default();
        let before = index.next();
        if must_be_full(bulk(&mut index, &log, (ROUNDS + 1) * ENTRIES, &mut allowed)) {
            struck = true;
            assert_eq!(index.next(), before);
            check_index(&mut index, &log, 2);
            bulk(&mut index, &log, (ROUNDS + 1) * ENTRIES, &mut allowed).unwrap();
        }
        check_index(&mut index, &log, 5);
        assert_eq!(disk.files().len(), index.stats().runs + 1, "nothing is left behind");
        let end = TreeSize(((ROUNDS + 1) * ENTRIES) as u64);
        assert_eq!(check(&disk.killed(), &log, &Allowed { acknowledged: end, kept: Vec::new() }), end);
    }
}

fn must_be_full(done: Result<(), IndexError>) -> bool {
    match done {
        Ok(()) => false,
        Err(error) => {
            assert!(error.is_full_disk(), "{error:?}");
            true
        }
    }
}

/// A cancelled merge or build changes nothing and leaves nothing; the work is done by the next step.
#[test]
fn cancelled_work_leaves_no_trace() {
    let disk = SimDisk::new(1);
    let big = Options { snapshot_interval: 10, delta_max_bytes: 64 << 20, ..SMALL };
    let log = Naive { entries: (0..150_000).map(|number| vec![key(number)]).collect() };
    let Opened { mut index, keeper, .. } = open(&disk, big).unwrap();
    feed(&mut index, &log, log.entries.len()).unwrap();
    let root = index.revision().unwrap().root();
    index.keep(index.next()).unwrap();
    assert!(keeper.step(MergeRate::Unlimited, &Cancel::default()).unwrap());
    index.revision().unwrap();
    let cancel = Cancel::default();
    cancel.cancel();
    let files = disk.files().len();
    assert!(!keeper.step(MergeRate::BytesPerSecond(1), &cancel).unwrap());
    assert_eq!(disk.files().len(), files);
    let mut bulk = index.bulk().unwrap();
    bulk.push(LeafIndex(150_000), &[key(u64::MAX)]).unwrap();
    assert!(bulk.finish(&cancel, &mut |_, _| ()).unwrap().is_none());
    assert_eq!(
        (disk.files().len(), index.next(), index.revision().unwrap().root()),
        (files, TreeSize(150_000), root)
    );
    work(&keeper).unwrap();
    assert_eq!(index.revision().unwrap().root(), root);
    assert_eq!((index.stats().runs, disk.files().len()), (1, 2));
    assert_eq!(open(&disk.killed(), big).unwrap().index.revision().unwrap().root(), root);
}
