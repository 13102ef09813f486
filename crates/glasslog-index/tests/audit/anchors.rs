//! Which anchors are found wrong, in what way, and that no others are.

use glasslog_core::{LeafIndex, TreeSize, anchor::anchor, anchor::disavow, anchor::parse_anchor};
use glasslog_index::audit::{AnchorFault, Finding};
use proptest::prelude::*;

use crate::{
    forged::{Log, MAP_FN, held},
    naive,
};
use glasslog_vindex::Key;

/// Twelve entries, an anchor after every third, of which the second and the last two are made by `wrong`; then an honest one.
fn with_wrong(wrong: impl Fn(&mut Log, usize)) -> Log {
    let mut log = Log::new();
    for number in 0..12 {
        log.name(["a", "b", "c", "d"][number % 4]);
        match number {
            2 | 11 => {
                log.anchor();
            }
            5 | 8 => wrong(&mut log, number),
            _ => {}
        }
    }
    log
}

fn faults(log: &Log) -> Vec<(u64, Vec<AnchorFault>)> {
    let audit = log.audited();
    let report = audit.report();
    assert_eq!(report.wrong, report.findings.len() as u64);
    report.findings.iter().map(|finding| (finding.position.0, finding.faults.clone())).collect()
}

#[test]
fn each_kind_of_wrong_anchor_is_found_and_the_first_is_named() {
    use AnchorFault::{Misplaced, OtherMapFunction, SecondMapFunction, WrongRoot};
    type Wrong = fn(&mut Log, usize);
    let rows: [(&str, Wrong, &[AnchorFault]); 10] = [
        (
            "an index is omitted",
            |log, _| {
                log.anchor_with(|index| {
                    *index.get_mut(&Key::of_name("b")).unwrap() = held(vec![LeafIndex(5)]);
                });
            },
            &[WrongRoot],
        ),
        (
            "one too many is claimed",
            |log, _| {
                log.anchor_with(|index| {
                    let list = &mut index.get_mut(&Key::of_name("a")).unwrap().1;
                    list.insert(1, LeafIndex(1));
                    let list = list.clone();
                    index.insert(Key::of_name("a"), held(list));
                });
            },
            &[WrongRoot],
        ),
        (
            "two lists are swapped",
            |log, _| {
                log.anchor_with(|index| {
                    let (a, b) = (index[&Key::of_name("a")].clone(), index[&Key::of_name("b")].clone());
                    index.insert(Key::of_name("a"), b);
                    index.insert(Key::of_name("b"), a);
                });
            },
            &[WrongRoot],
        ),
        (
            "an old root again, at its own position",
            |log, _| {
                let old = parse_anchor(&log.entries[3]).unwrap();
                let size = log.size();
                log.push(anchor(MAP_FN, old.root.as_ref(), size));
            },
            &[WrongRoot],
        ),
        (
            "an old anchor again, byte for byte",
            |log, _| {
                log.push(log.entries[3].clone());
            },
            &[Misplaced, WrongRoot],
        ),
        (
            "another map function with some root",
            |log, _| {
                let old = parse_anchor(&log.entries[3]).unwrap();
                let size = log.size();
                log.push(anchor("conda-1", old.root.as_ref(), size));
            },
            &[OtherMapFunction, SecondMapFunction],
        ),
        (
            "another map function, void",
            |log, _| {
                let size = log.size();
                log.push(anchor("json-field:Name", None, size));
            },
            &[OtherMapFunction, SecondMapFunction],
        ),
        (
            "a tree_size that is one too large, with the right root",
            |log, _| {
                log.anchor();
                let right = parse_anchor(&log.entries.pop().unwrap()).unwrap();
                log.leaves.pop();
                let size = TreeSize(log.size().0 + 1);
                log.push(anchor(MAP_FN, right.root.as_ref(), size));
            },
            &[Misplaced],
        ),
        (
            "a void one with a tree_size that is one too small",
            |log, _| {
                let size = TreeSize(log.size().0 - 1);
                log.push(anchor(MAP_FN, None, size));
            },
            &[Misplaced],
        ),
        (
            "one that somebody submitted",
            |log, _| {
                log.push(anchor(MAP_FN, Some(&naive::mth(&[])), TreeSize(1_000_000)));
            },
            &[Misplaced, WrongRoot],
        ),
    ];
    for (what, wrong, expected) in rows {
        let log = with_wrong(wrong);
        let found = faults(&log);
        assert_eq!(found, [(7, expected.to_vec()), (11, expected.to_vec())], "{what}");
        let audit = log.audited();
        let first = audit.report().first_wrong().unwrap();
        assert!(first.to_string().starts_with("the anchor at 7 is wrong: "), "{what}: {first}");
        assert_eq!(first.said, parse_anchor(&log.entries[7]).unwrap(), "{what}");
        assert!(audit.newest_wrong().is_none(), "{what}: the newest anchor is right");
    }
}

/// Where the first anchor names another function than is pinned, all do: the pin may be the mistake, and that can be seen.
#[test]
fn a_pin_that_no_anchor_names() {
    let mut log = Log::new();
    for _ in 0..2 {
        log.name("a");
        let size = log.size();
        log.push(anchor("conda-1", None, size));
    }
    let audit = log.audited();
    assert_eq!(
        faults(&log),
        [1, 3].map(|at| (at, vec![AnchorFault::OtherMapFunction])),
        "none of them is a second one"
    );
    assert!(!audit.report().names_pinned);
    assert_eq!(audit.report().first_map_fn.as_deref(), Some("conda-1"));
}

#[test]
fn a_disavowed_anchor_stays_a_finding() {
    let mut log = Log::new();
    log.name("a");
    let wrong = log.anchor_with(std::collections::BTreeMap::clear);
    log.name("b");
    let other = log.anchor_with(std::collections::BTreeMap::clear);
    // What is named before it stands there is not disavowed.
    let later = LeafIndex(log.size().0 + 1);
    let at = log.push(disavow(&[LeafIndex(70), wrong, later]));
    log.anchor_with(std::collections::BTreeMap::clear);
    log.anchor();
    let audit = log.audited();
    let report = audit.report();
    let disavowed: Vec<_> =
        report.findings.iter().map(|found| (found.position, found.disavowed_at)).collect();
    assert_eq!(disavowed, [(wrong, Some(at)), (other, None), (later, None)]);
    assert!(report.findings[0].to_string().ends_with("; disavowed at 4"));
    assert_eq!(report.disavow_entries, 1);
    assert_eq!(report.disavowals[0].positions, [wrong, later, LeafIndex(70)]);
    assert_eq!(report.disavowals[0].count, 3);
}

#[test]
fn what_is_kept_is_bounded_and_all_is_counted() {
    let mut log = Log::new();
    let many: Vec<LeafIndex> = (0..5000).map(LeafIndex).collect();
    for _ in 0..100 {
        log.push(anchor(MAP_FN, None, TreeSize(1 << 40)));
        log.push(disavow(&many));
    }
    let audit = log.audited();
    let report = audit.report();
    assert_eq!((report.wrong, report.findings.len()), (100, 64));
    assert_eq!((report.disavow_entries, report.disavowals.len()), (100, 64));
    assert_eq!((report.disavowals[0].positions.len(), report.disavowals[0].count), (256, 5000));
    assert_eq!((report.anchors, report.voids), (100, 100));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Honest anchors anywhere: the audit says nothing but how many there are.
    #[test]
    fn an_honest_log_gives_nothing(story in proptest::collection::vec(0_u8..8, 0..60)) {
        let mut log = Log::new();
        let (mut anchors, mut voids, mut unmapped) = (0, 0, 0);
        for next in story {
            match next {
                0 => { log.anchor(); anchors += 1; }
                1 => { log.void(); anchors += 1; voids += 1; }
                2 => { log.push(b"neither".to_vec()); unmapped += 1; }
                name => { log.name(["a", "b", "c", "d", "e"][usize::from(name) - 3]); }
            }
        }
        let audit = log.audited();
        let report = audit.report();
        prop_assert_eq!(report.first_wrong(), None::<&Finding>);
        prop_assert_eq!((report.wrong, report.anchors, report.voids, report.unmapped), (0, anchors, voids, unmapped));
        prop_assert!(audit.newest_wrong().is_none());
    }
}
