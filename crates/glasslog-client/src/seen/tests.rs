//! Judge: logs written by the recursive definition of RFC 6962, and the roles that FORMATS §5 gives to sizes and roots.

use glasslog_core::{
    Hash, TreeSize,
    checkpoint::{Checkpoint, CheckpointError},
    hash::ScalarHasher,
    note::{self, Algorithm, Ed25519Signer, SecretKey, VerifierKey},
};

use super::*;
use crate::{pin::Pins, testlog::TestLog};

const ORIGIN: &str = "example.org/log";

fn signer() -> Ed25519Signer {
    Ed25519Signer::new(&SecretKey::from_seed(ORIGIN, Algorithm::Ed25519, &[7; 32]).unwrap())
}

fn signed(size: TreeSize, root: Hash) -> VerifiedCheckpoint {
    let text = Checkpoint::new(ORIGIN, size, root).to_text();
    let note = note::sign(&text, &[&signer()]).unwrap();
    let key: VerifierKey = note::Signer::verifier_key(&signer()).clone();
    Pins::of_keys(&[key]).open(note.as_bytes()).unwrap()
}

fn of(log: &TestLog) -> VerifiedCheckpoint {
    signed(log.size, log.root)
}

fn compare(
    remembered: &VerifiedCheckpoint,
    current: &VerifiedCheckpoint,
    log: &TestLog,
) -> Result<Relation, PlanError> {
    let comparison = Comparison::new(remembered, current).unwrap();
    let tiles = comparison.tiles();
    comparison.finish(&ScalarHasher, |id| {
        assert!(tiles.contains(id));
        log.file(&id.path())
    })
}

#[test]
fn growth_lag_and_sameness() {
    for (small, large) in [(0, 1), (1, 2), (255, 256), (256, 300), (3, 700), (512, 700), (699, 700)] {
        let (small, large) = (TestLog::of_size(small), TestLog::of_size(large));
        let (older, newer) = (of(&small), of(&large));
        assert_eq!(compare(&older, &newer, &large), Ok(Relation::Grown));
        assert_eq!(compare(&newer, &older, &large), Ok(Relation::Lagging));
        assert_eq!(compare(&newer, &newer, &large), Ok(Relation::Same));
    }
}

#[test]
fn a_fork_is_proven_and_its_evidence_names_both_checkpoints() {
    let large = TestLog::of_size(700);
    for small in [1, 256, 300, 512, 699] {
        let (other, newer) = (signed(TreeSize(small), Hash([1; 32])), of(&large));
        for relation in [compare(&other, &newer, &large), compare(&newer, &other, &large)] {
            let Ok(Relation::Fork(evidence)) = relation else { panic!("{small}: {relation:?}") };
            assert_eq!(evidence.smaller, other.note().to_text());
            assert_eq!(evidence.larger, newer.note().to_text());
            assert!(!evidence.tiles.is_empty());
            let text = evidence.to_string();
            assert!(text.contains(&evidence.smaller) && text.contains("tile/0/"), "{text}");
        }
    }
}

#[test]
fn two_roots_at_one_size_are_a_fork_without_further_proof() {
    let log = TestLog::of_size(10);
    let relation = compare(&of(&log), &signed(log.size, Hash([1; 32])), &log);
    assert!(matches!(relation, Ok(Relation::Fork(evidence)) if evidence.tiles.is_empty()));
}

/// A broken tile is not a fork: nobody signed it.
#[test]
fn broken_tiles_are_no_evidence() {
    let (small, mut large) = (TestLog::of_size(300), TestLog::of_size(700));
    large.files.get_mut("tile/0/001").unwrap()[0] ^= 1;
    assert!(compare(&of(&small), &of(&large), &large).is_err());
}

#[test]
fn only_pinned_keys_open_a_checkpoint() {
    let text = Checkpoint::new(ORIGIN, TreeSize(0), Hash::EMPTY_ROOT).to_text();
    let note = note::sign(&text, &[&signer()]).unwrap();
    let other = SecretKey::from_seed(ORIGIN, Algorithm::Ed25519, &[8; 32]).unwrap();
    let elsewhere = SecretKey::from_seed("example.com/other", Algorithm::Ed25519, &[7; 32]).unwrap();
    for key in [other.verifier_key(), elsewhere.verifier_key()] {
        assert!(Pins::of_keys(std::slice::from_ref(key)).open(note.as_bytes()).is_err());
    }
    assert!(Pins::of_keys(&[]).open(note.as_bytes()).is_err());
}

/// A log that signs under another origin would be compared with nothing that was seen of it.
#[test]
fn a_pinned_key_opens_only_checkpoints_of_its_own_name() {
    let pins = Pins::of_keys(&[note::Signer::verifier_key(&signer()).clone()]);
    let sign = |origin: &str| {
        let text = Checkpoint::new(origin, TreeSize(0), Hash::EMPTY_ROOT).to_text();
        note::sign(&text, &[&signer()]).unwrap()
    };
    assert!(pins.open(sign(ORIGIN).as_bytes()).is_ok());
    let refused = pins.open(sign("example.com/second").as_bytes());
    assert_eq!(refused, Err(CheckpointError::UnknownLog("example.com/second".into())));
}
