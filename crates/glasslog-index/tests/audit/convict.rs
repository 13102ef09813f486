//! Every wrong index that a log answers from convicts it, in few lookups; and a proof with one bit changed convicts nobody.

use std::collections::BTreeMap;

use glasslog_core::{Hash, LeafIndex, TreeSize, anchor::anchor};
use glasslog_index::audit::{Comparison, InquiryError, MAX_QUESTIONS, compare, first_question};
use glasslog_vindex::{Key, Misbehaviour, MisbehaviourProof, Value};
use proptest::prelude::*;

use crate::forged::{Claimed, Log, MAP_FN, held};

/// Asks the log until it has convicted itself: the proof, verified, and how often it was asked.
pub(crate) fn convict(log: &Log) -> (MisbehaviourProof, Misbehaviour, usize) {
    let audit = log.audited();
    let wrong = audit.newest_wrong().unwrap();
    let inquirer = log.inquirer();
    let mut key = first_question();
    for questions in 1..=MAX_QUESTIONS {
        match compare(&log.lookup(&key), &key, &inquirer, &wrong.revision).unwrap() {
            Comparison::Ask(next) => {
                assert_ne!(next, key);
                key = next;
            }
            Comparison::Wrong(claim) => {
                let list = if claim.list_needed() > 0 { log.list(claim.key()) } else { Vec::new() };
                let entry = claim.entry_needed(&list).map(|index| log.given(index));
                let proof = claim.prove(&list, entry).unwrap();
                let proven = proof.verify(inquirer.origin, inquirer.log_keys, inquirer.map_fn).unwrap();
                assert_eq!(proven.anchor(), wrong.position);
                return (proof, proven.what(), questions);
            }
            Comparison::Same => panic!("the roots differ, and nothing is found"),
        }
    }
    panic!("too many questions")
}

/// A log of nine entries under four names, whose last anchor has this bug.
pub(crate) fn with_bug(bug: impl FnOnce(&mut Claimed)) -> Log {
    let mut log = Log::new();
    for name in ["a", "b", "c", "a", "d", "a", "b", "a", "c"] {
        log.name(name);
    }
    log.anchor_with(bug);
    log.push(b"tail".to_vec());
    log
}

fn list(indices: &[u64]) -> (Value, Vec<LeafIndex>) {
    held(indices.iter().copied().map(LeafIndex).collect())
}

fn key(name: &str) -> Key {
    Key::of_name(name)
}

type Bug = fn(&mut Claimed);

/// `a` is at 0, 3, 5 and 7; `b` at 1 and 6; `c` at 2 and 8; `d` at 4; the anchor is at 9.
pub(crate) const BUGS: [(&str, Bug, Misbehaviour); 16] = [
    ("a key is missing", |index| drop(index.remove(&key("b"))), Misbehaviour::Omitted),
    ("everything is", BTreeMap::clear, Misbehaviour::Omitted),
    ("only one is left", |index| index.retain(|found, _| *found == key("c")), Misbehaviour::Omitted),
    ("a list ends early", |index| drop(index.insert(key("a"), list(&[0, 3, 5]))), Misbehaviour::Stale),
    ("its first is missing", |index| drop(index.insert(key("a"), list(&[3, 5, 7]))), Misbehaviour::Skipped),
    ("one in the middle is", |index| drop(index.insert(key("a"), list(&[0, 3, 7]))), Misbehaviour::Skipped),
    ("one too many", |index| drop(index.insert(key("b"), list(&[1, 3, 6]))), Misbehaviour::Foreign),
    (
        "one too many at the end",
        |index| drop(index.insert(key("b"), list(&[1, 6, 8]))),
        Misbehaviour::Foreign,
    ),
    (
        "two lists are swapped",
        |index| {
            let (b, c) = (index[&key("b")].clone(), index[&key("c")].clone());
            index.extend([(key("b"), c), (key("c"), b)]);
        },
        // Whichever of the two is found first.
        Misbehaviour::Foreign,
    ),
    ("a key of no entry", |index| drop(index.insert(key("x"), list(&[4]))), Misbehaviour::Foreign),
    (
        "a list is not ascending",
        |index| drop(index.insert(key("a"), list(&[0, 5, 3, 7]))),
        Misbehaviour::Disorder,
    ),
    ("an index twice", |index| drop(index.insert(key("a"), list(&[0, 3, 3, 5, 7]))), Misbehaviour::Disorder),
    (
        "last is another than the final one",
        |index| index.get_mut(&key("b")).unwrap().0.last = LeafIndex(8),
        Misbehaviour::WrongLast,
    ),
    ("count is 0", |index| index.get_mut(&key("b")).unwrap().0.count = 0, Misbehaviour::Impossible),
    ("last is the anchor", |index| drop(index.insert(key("d"), list(&[4, 9]))), Misbehaviour::Impossible),
    (
        "count is beyond all bounds",
        |index| index.get_mut(&key("a")).unwrap().0.count = u64::MAX,
        Misbehaviour::Impossible,
    ),
];

#[test]
fn every_bug_convicts_the_log() {
    for (what, bug, expected) in BUGS {
        let (_, found, questions) = convict(&with_bug(bug));
        let either = what == "two lists are swapped" && found == Misbehaviour::Stale;
        assert!(found == expected || either, "{what}: {found}");
        assert!(questions <= 8, "{what}: {questions} questions");
    }
}

/// An index over everything when there is nothing: the log has keys, and ours is the empty trie.
#[test]
fn of_an_empty_index() {
    let mut log = Log::new();
    log.push(b"nothing".to_vec());
    log.anchor_with(|index| drop(index.insert(key("a"), list(&[0]))));
    assert_eq!(convict(&log).1, Misbehaviour::Foreign);
}

/// The log began with another map function, so that every anchor of the pinned one is a second: its lookups still convict it.
#[test]
fn a_wrong_root_under_a_second_map_function() {
    let mut log = Log::new();
    log.push(anchor("conda-1", None, TreeSize(0)));
    log.name("a");
    let wrong = log.anchor_with(BTreeMap::clear);
    // Nothing rests on an anchor that says that it stands elsewhere.
    log.push(anchor(MAP_FN, Some(&Hash::EMPTY_ROOT), TreeSize(1)));
    let (proof, what, _) = convict(&log);
    assert_eq!((proof.anchor, what), (wrong, Misbehaviour::Omitted));
}

/// Ten thousand keys: the number of questions is that of the branches on a way, not of the keys.
#[test]
fn a_needle_is_found_in_few_lookups() {
    let mut log = Log::new();
    for number in 0..10_000 {
        log.name(&number.to_string());
    }
    log.anchor_with(|index| {
        index.insert(key("1234"), list(&[4321]));
    });
    let (proof, what, questions) = convict(&log);
    assert_eq!(what, Misbehaviour::Foreign);
    assert!(questions <= 40, "{questions}");
    assert_eq!(proof.anchor, LeafIndex(10_000));
}

/// What an anchor is by itself is a proof with the anchor alone.
#[test]
fn anchors_that_are_wrong_in_themselves_are_their_own_proof() {
    for (entry, expected) in wrong_in_themselves() {
        let proof = own_proof(&entry);
        let log = Log::new();
        let proven = proof.verify(log.inquirer().origin, &log.keys, &log.map_fn).unwrap();
        assert_eq!((proven.what(), proven.anchor()), (expected, LeafIndex(2)));
    }
    let log = with_bug(BTreeMap::clear);
    let audit = log.audited();
    let finding = audit.report().first_wrong().unwrap();
    assert!(finding.proof(log.checkpoint(), log.inclusion(finding.position)).is_none());
}

pub(crate) fn wrong_in_themselves() -> [(Vec<u8>, Misbehaviour); 3] {
    let root = Hash::EMPTY_ROOT;
    [
        (anchor(MAP_FN, Some(&root), TreeSize(3)), Misbehaviour::Misplaced),
        (anchor(MAP_FN, None, TreeSize(0)), Misbehaviour::Misplaced),
        (anchor("a \"strange\" ü name\n", Some(&root), TreeSize(2)), Misbehaviour::OtherMapFunction),
    ]
}

/// The proof that the audit makes of `entry`, at index 2.
pub(crate) fn own_proof(entry: &[u8]) -> MisbehaviourProof {
    let mut log = Log::new();
    log.name("a");
    log.anchor();
    log.push(entry.to_vec());
    log.name("b");
    let audit = log.audited();
    let finding = audit.report().first_wrong().unwrap();
    finding.proof(log.checkpoint(), log.inclusion(finding.position)).unwrap()
}

/// Every proof that the audit can make, one of each kind at least, with the number of its fault (vindex.md §9).
pub(crate) fn all_proofs() -> Vec<(MisbehaviourProof, Misbehaviour)> {
    let of_lookups = BUGS.map(|(_, bug, _)| convict(&with_bug(bug))).map(|(proof, what, _)| (proof, what));
    let of_anchors = wrong_in_themselves().map(|(entry, what)| (own_proof(&entry), what));
    of_lookups.into_iter().chain(of_anchors).collect()
}

#[test]
fn every_bit_flip_in_a_proof_is_refused() {
    let log = Log::new();
    for (proof, what) in all_proofs() {
        let file = proof.to_text().into_bytes();
        assert_eq!(MisbehaviourProof::parse(&file).as_ref(), Ok(&proof), "{what}");
        for bit in 0..file.len() * 8 {
            let mut file = file.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            let Ok(parsed) = MisbehaviourProof::parse(&file) else { continue };
            let verified = parsed.verify(log.inquirer().origin, &log.keys, &log.map_fn);
            assert!(verified.is_err(), "{what}: bit {bit}");
        }
    }
}

/// What a log could answer to escape: nothing of it passes for an answer.
#[test]
fn answers_that_prove_nothing_are_refused() {
    let log = with_bug(BTreeMap::clear);
    let audit = log.audited();
    let revision = &audit.newest_wrong().unwrap().revision;
    let asked = key("a");
    let good = log.lookup(&asked);
    assert!(matches!(compare(&good, &asked, &log.inquirer(), revision), Ok(Comparison::Wrong(_))));
    let refused = |lookup, key| compare(&lookup, &key, &log.inquirer(), revision).unwrap_err();
    assert!(matches!(refused(good.clone(), key("b")), InquiryError::OtherKey));
    let honest = with_bug(|_| {}).lookup(&asked);
    let mut mixed = honest.clone();
    (mixed.checkpoint, mixed.inclusion) = (good.checkpoint.clone(), good.inclusion.clone());
    assert!(matches!(refused(mixed, asked), InquiryError::Anchor { .. }));
    assert!(matches!(compare(&honest, &asked, &log.inquirer(), revision), Ok(Comparison::Same)));
    let mut other = good.clone();
    other.anchor = LeafIndex(8);
    assert!(matches!(refused(other, asked), InquiryError::OtherAnchor { .. }));
    let mut unsigned = good;
    unsigned.checkpoint = unsigned.checkpoint.replacen("11", "12", 1);
    assert!(matches!(refused(unsigned, asked), InquiryError::Checkpoint(_)));
}

/// A change of an index: what becomes of a key.
fn any_change() -> impl Strategy<Value = (u8, u8, Vec<u64>, u64, u64)> {
    (0_u8..8, 0_u8..4, proptest::collection::vec(0_u64..44, 0..6), 0_u64..50, 0_u64..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever a log anchors instead of the truth, it is convicted if it answers.
    #[test]
    fn whatever_is_anchored_in_place_of_the_truth_convicts(
        names in proptest::collection::vec(0_u8..12, 0..40),
        changes in proptest::collection::vec(any_change(), 1..5),
    ) {
        let mut log = Log::new();
        for name in names {
            log.name(&name.to_string());
        }
        let truth = log.truth();
        let mut anchored = truth.clone();
        for (name, kind, indices, last, count) in changes {
            // Names above 7 have no change of their own, so some subtrees stay as they are.
            let key = key(&name.to_string());
            match kind {
                0 => drop(anchored.remove(&key)),
                1 => {
                    if let Some((value, _)) = anchored.get_mut(&key) {
                        value.last = LeafIndex(last);
                    }
                }
                2 => {
                    if let Some((value, _)) = anchored.get_mut(&key) {
                        value.count = count;
                    }
                }
                _ if indices.is_empty() => {}
                _ => drop(anchored.insert(key, list(&indices))),
            }
        }
        let changed = anchored.iter().map(|(key, (value, _))| (key, value)).ne(truth.iter().map(|(key, (value, _))| (key, value)));
        log.anchor_with(|index| *index = anchored);
        if changed {
            // The list of a value that was altered may not be its list: then only some faults can be shown.
            let audit = log.audited();
            prop_assert!(audit.newest_wrong().is_some());
            convict_if_consistent(&log);
        } else {
            prop_assert_eq!(log.audited().report().wrong, 0);
        }
    }
}

/// As [`convict`], but for a log that withholds a list: its value has a count or root that no list at hand has.
fn convict_if_consistent(log: &Log) {
    let audit = log.audited();
    let wrong = audit.newest_wrong().unwrap();
    let mut asked = first_question();
    for _ in 0..MAX_QUESTIONS {
        match compare(&log.lookup(&asked), &asked, &log.inquirer(), &wrong.revision).unwrap() {
            Comparison::Ask(next) => asked = next,
            Comparison::Same => panic!("nothing found"),
            Comparison::Wrong(claim) => {
                let list = log.list(claim.key());
                let consistent = claim.list_needed() == 0 || claim.list_needed() == list.len() as u64;
                let entry = claim.entry_needed(&list).map(|index| log.given(index));
                match claim.prove(&list, entry) {
                    Some(proof) => drop(proof.verify(log.inquirer().origin, &log.keys, &log.map_fn).unwrap()),
                    None => assert!(!consistent, "a list that the log commits to was not enough"),
                }
                return;
            }
        }
    }
    panic!("too many questions");
}
