//! Power loss, full disks and failed syncs at every operation of a history of spills, merges and a reset.

use std::path::Path;

use glasslog_core::{LeafIndex, TreeSize};
use glasslog_store::{
    disk::{
        Disk,
        sim::{Fault, SimDisk},
    },
    duplicates::{RunError, Table},
};

use crate::{DIR, identity, merge_all, open};

/// Entries of one spill. Enough for two pages when four of them are merged.
const ROWS: u64 = 60;
const SPILLS: u64 = 7;

/// The identity number of an entry: half of the identities come again in the next spill but one.
fn number(index: u64) -> u64 {
    if index.is_multiple_of(2) { index } else { index % (2 * ROWS) }
}

/// What the table may cover after a crash.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    /// What the last call that succeeded left.
    acknowledged: TreeSize,
    /// What the call that was under way would have left.
    attempted: TreeSize,
}

/// Fills a table, forgets it, and fills it again; tells `expected` how far it is.
fn history(disk: &SimDisk, expected: &mut Expected) -> Result<(), RunError> {
    let table = open(disk)?;
    for round in 0..2 {
        for spill in 0..SPILLS {
            expected.attempted = TreeSize((spill + 1) * ROWS);
            spill_one(&table, spill)?;
            expected.acknowledged = expected.attempted;
            merge_all(&table)?;
        }
        if round == 0 {
            expected.attempted = TreeSize::ZERO;
            table.reset()?;
            expected.acknowledged = TreeSize::ZERO;
        }
    }
    Ok(())
}

fn spill_one(table: &Table, spill: u64) -> Result<(), RunError> {
    let rows = (spill * ROWS..(spill + 1) * ROWS).map(|index| (identity(number(index)), LeafIndex(index)));
    table.spill(rows.collect(), TreeSize((spill + 1) * ROWS))
}

/// The table opens as something that it may be, and says exactly what lies below what it covers.
fn check(disk: &SimDisk, expected: Expected) -> TreeSize {
    let table = open(disk).unwrap();
    assert_eq!(table.emptied_because(), None);
    check_open(&table, expected)
}

fn check_all(disks: impl Iterator<Item = SimDisk>, expected: Expected) {
    for disk in disks {
        check(&disk, expected);
    }
}

fn check_open(table: &Table, expected: Expected) -> TreeSize {
    let covered = table.covered();
    assert!([expected.acknowledged, expected.attempted].contains(&covered), "{covered} {expected:?}");
    // A different tenth of the identities for each state.
    for asked in (covered.0 / ROWS..ROWS * SPILLS).step_by(10) {
        let latest = (0..covered.0).rev().find(|index| number(*index) == asked).map(LeafIndex);
        assert_eq!(table.latest(&identity(asked)).unwrap(), latest, "{asked} below {covered}");
    }
    covered
}

/// How many operations the whole history takes.
fn operations() -> u64 {
    let disk = SimDisk::new(0);
    let mut expected = Expected::default();
    history(&disk, &mut expected).unwrap();
    assert_eq!(check(&disk, expected), TreeSize(ROWS * SPILLS));
    disk.operations()
}

/// What was spilled survives a power loss at any moment, and what was not whole leaves no trace.
#[test]
fn power_loss_at_every_operation() {
    for at in 1..=operations() {
        let disk = SimDisk::new(at);
        disk.fail_at(at, Fault::Crash);
        let mut expected = Expected::default();
        // The last operations remove files, which may fail.
        let _crashed = history(&disk, &mut expected);
        for image in disk.images(3) {
            let covered = check(&image, expected);
            // What was read once stays: a second power loss just after does not take it back.
            let again = Expected { acknowledged: covered, attempted: covered };
            check_all(image.images(2), again);
        }
    }
}

/// After a failed sync the table takes no more changes and keeps answering; a restart of the process may find more than was
/// acknowledged, but what it finds is then durable.
#[test]
fn a_failed_sync_at_every_operation() {
    for at in 1..=operations() {
        let disk = SimDisk::new(at);
        // A directory whose name could not be made durable is the one thing that a restart does not write again.
        disk.create_dir_all(Path::new(DIR)).unwrap();
        disk.fail_at(disk.operations() + at, Fault::SyncError);
        let mut expected = Expected::default();
        let Err(error) = history(&disk, &mut expected) else { continue };
        assert!(matches!(error, RunError::Durability { .. } | RunError::Io { .. }), "{error:?}");
        let restarted = disk.killed();
        let covered = check(&restarted, expected);
        // Whatever it was that failed, what the next process acknowledges is durable.
        let next = TreeSize(covered.0 + 1);
        open(&restarted).unwrap().spill(vec![(identity(u64::MAX), LeafIndex(covered.0))], next).unwrap();
        for image in restarted.images(2) {
            let table = open(&image).unwrap();
            assert_eq!((table.covered(), table.emptied_because()), (next, None));
            assert_eq!(table.latest(&identity(u64::MAX)).unwrap(), Some(LeafIndex(covered.0)));
        }
        check_all(disk.images(3), expected);
    }
}

/// A full disk changes nothing, and the same call succeeds when there is room.
#[test]
fn a_full_disk_at_every_operation() {
    for at in 1..=operations() {
        let disk = SimDisk::new(at);
        let table = open(&disk).unwrap();
        let mut expected = Expected::default();
        disk.fail_at(at, Fault::Full);
        for spill in 0..SPILLS {
            expected.attempted = TreeSize((spill + 1) * ROWS);
            if let Err(error) = spill_one(&table, spill) {
                assert!(matches!(error, RunError::Full { .. }), "{error:?}");
                check_open(&table, Expected { attempted: expected.acknowledged, ..expected });
                spill_one(&table, spill).unwrap();
            }
            expected.acknowledged = expected.attempted;
            match merge_all(&table) {
                Err(RunError::Full { .. }) => merge_all(&table).unwrap(),
                merged => merged.unwrap(),
            }
            check_open(&table, expected);
        }
        let (_, runs) = table.view().size();
        assert_eq!(disk.files().len(), runs + 1, "nothing is left behind");
    }
}
