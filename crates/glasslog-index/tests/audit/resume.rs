//! An audit that was stopped anywhere and goes on finds what an audit of the whole finds.

use std::sync::Arc;

use glasslog_core::{Hash, LeafIndex, TreeSize, anchor::anchor, anchor::disavow};
use glasslog_index::{
    Options,
    audit::{AuditError, AuditOptions, Reading},
};
use glasslog_store::disk::{Disk, sim::SimDisk};
use proptest::prelude::*;

use crate::{
    auditor::open,
    forged::{Log, MAP_FN},
};

fn options() -> AuditOptions {
    AuditOptions { index: Options { snapshot_interval: 4, ..Options::default() }, keep: 8 }
}

fn story(steps: &[u8]) -> Log {
    let mut log = Log::new();
    for step in steps {
        let size = log.size();
        match step {
            0 | 1 => log.anchor(),
            2 => log.void(),
            3 => log.anchor_with(std::collections::BTreeMap::clear),
            4 => log.push(anchor("conda-1", None, size)),
            5 => log.push(anchor(MAP_FN, Some(&Hash::EMPTY_ROOT), TreeSize(1))),
            6 => log.push(disavow(&[LeafIndex(size.0.saturating_sub(1)), LeafIndex(size.0 / 2)])),
            7 => log.push(b"nothing".to_vec()),
            name => log.name(&name.to_string()),
        };
    }
    log
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Killed at some cuts and closed at others.
    #[test]
    fn a_resumed_audit_is_the_whole_audit(
        steps in proptest::collection::vec(0_u8..20, 0..80),
        cuts in proptest::collection::vec((0_usize..80, any::<bool>()), 0..5),
    ) {
        let log = story(&steps);
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
        for (cut, closed) in cuts {
            let mut audit = open(&disk, &log.map_fn, options()).audit;
            log.feed(&mut audit, cut.min(steps.len()));
            if closed {
                audit.close().unwrap();
            }
        }
        let opened = open(&disk, &log.map_fn, options());
        prop_assert_eq!(opened.anew_because, None);
        let mut audit = opened.audit;
        log.feed(&mut audit, steps.len());
        let mut whole = open(&(Arc::new(SimDisk::new(1)) as _), &log.map_fn, options()).audit;
        log.feed(&mut whole, steps.len());
        prop_assert_eq!(audit.report(), whole.report());
        prop_assert_eq!(audit.tree(), whole.tree());
    }
}

#[test]
fn entries_come_in_order_and_none_is_left_out() {
    let log = story(&[9, 0, 10]);
    let mut audit = open(&(Arc::new(SimDisk::new(1)) as _), &log.map_fn, options()).audit;
    log.feed(&mut audit, 2);
    for wrong in [0, 1, 3] {
        let refused = audit.entry(LeafIndex(wrong), Hash::EMPTY_ROOT, &Reading::Entry(Vec::new()));
        assert!(matches!(refused, Err(AuditError::Gap { next: TreeSize(2), .. })), "{wrong}");
    }
    log.feed(&mut audit, 3);
}

/// What a kill costs is bounded, whether anchors are right, wrong or missing; and what was closed is not done again.
#[test]
fn what_has_become_durable_is_not_audited_again() {
    let names = |anchor: u8| (0..200).map(move |at| if at % 10 == 9 { anchor } else { 8 + at % 12 });
    for (what, steps) in [
        ("right anchors", names(0).collect::<Vec<_>>()),
        ("void anchors", names(2).collect()),
        ("wrong anchors", names(3).collect()),
        ("no anchors", names(8).collect()),
    ] {
        let log = story(&steps);
        let disk = SimDisk::new(1);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut audit = open(&shared, &log.map_fn, options()).audit;
        log.feed(&mut audit, 150);
        drop(audit);
        let killed: Arc<dyn Disk> = Arc::new(disk.killed());
        let opened = open(&killed, &log.map_fn, options());
        assert_eq!(opened.anew_because, None, "{what}");
        let from = opened.audit.next().0;
        assert!((125..=150).contains(&from), "{what}: from {from}");
        let mut audit = opened.audit;
        log.feed(&mut audit, 173);
        let report = audit.report().clone();
        audit.close().unwrap();
        let again = open(&killed, &log.map_fn, options()).audit;
        assert_eq!((again.next(), again.report()), (TreeSize(173), &report), "{what}");
    }
}

/// The log shows other entries than before, or the index is not what it was: that is not taken for an anchor that is missing.
#[test]
fn another_log_is_noticed_at_once() {
    let steps: Vec<u8> = (0..60).map(|at| if at % 10 == 9 { 0 } else { 8 + at % 12 }).collect();
    let log = story(&steps);
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let options = AuditOptions { index: Options { snapshot_interval: 10, ..Options::default() }, keep: 8 };
    let mut audit = open(&disk, &log.map_fn, options).audit;
    log.feed(&mut audit, 45);
    drop(audit);
    let mut audit = open(&disk, &log.map_fn, options).audit;
    let position = LeafIndex(audit.next().0);
    assert!(position > LeafIndex(0));
    // It went on at an anchor.
    let other = audit.entry(position, Hash::EMPTY_ROOT, &Reading::Entry(Vec::new()));
    assert!(matches!(other, Err(AuditError::OtherAnchor { position: at }) if at == position), "{other:?}");
}

/// Whatever a loss of power leaves, and a disk that was full: the audit that goes on finds what the whole one finds.
#[test]
fn a_loss_of_power_or_room_changes_nothing() {
    let steps: Vec<u8> = (0..90).map(|at: u8| at.wrapping_mul(7) % 20).collect();
    let log = story(&steps);
    let whole = |disk: SimDisk| {
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let mut audit = open(&disk, &log.map_fn, options()).audit;
        log.feed(&mut audit, steps.len());
        audit.report().clone()
    };
    let expected = whole(SimDisk::new(1));
    assert!(expected.wrong > 10 && expected.disavow_entries > 2);
    for cut in (0..steps.len()).step_by(7) {
        let disk = SimDisk::new(cut as u64);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut audit = open(&shared, &log.map_fn, options()).audit;
        log.feed(&mut audit, cut);
        for (number, image) in disk.images(4).enumerate() {
            assert_eq!(whole(image), expected, "cut at {cut}, image {number}");
        }
        disk.set_full(true);
        let full = (cut..steps.len()).try_for_each(|at| {
            let reading = Reading::of(&log.map_fn, &log.entries[at]);
            audit.entry(LeafIndex(at as u64), log.leaves[at], &reading)
        });
        assert!(full.is_err() || steps.len() - cut < 9, "cut at {cut}: a disk that is full is noticed");
        drop(audit);
        disk.set_full(false);
        assert_eq!(whole(disk), expected, "cut at {cut}, then full");
    }
}
