use std::sync::OnceLock;

use glasslog_core::{
    hash::{leaf_hash, node_hash},
    note::{Algorithm, Ed25519Signer, SecretKey, sign, sign_line},
};

use super::*;

const ORIGIN: &str = "log.example/one";
const NOW: u64 = 1_700_000_000;

/// MTH and SUBPROOF of RFC 6962 §2.1, by their recursive definitions: the judge of everything below.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

fn subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let split = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(split);
    let (mut proof, other) = if old <= split {
        (subproof(old, left, whole), root(right))
    } else {
        (subproof(old - split, right, false), root(left))
    };
    proof.push(other);
    proof
}

fn consistency(old: usize, leaves: &[Hash]) -> Vec<Hash> {
    if old == 0 || old >= leaves.len() { Vec::new() } else { subproof(old, leaves, true) }
}

/// Entry `n` of history `fork`; two histories agree on their first two entries.
fn leaf(fork: u8, n: u8) -> Hash {
    leaf_hash(&[if n < 2 { 0 } else { fork }, n])
}

fn history(fork: u8, size: u8) -> Vec<Hash> {
    (0..size).map(|n| leaf(fork, n)).collect()
}

fn secret(name: &str, seed: u8) -> SecretKey {
    SecretKey::from_seed(name, Algorithm::Ed25519, &[seed; 32]).unwrap()
}

fn log() -> &'static LogKeys {
    static LOG: OnceLock<LogKeys> = OnceLock::new();
    LOG.get_or_init(|| LogKeys::new(ORIGIN, vec![secret(ORIGIN, 1).verifier_key().clone()]).unwrap())
}

fn signed_by(checkpoint: &Checkpoint, keys: &[&SecretKey]) -> Vec<u8> {
    let signers: Vec<_> = keys.iter().map(|key| Ed25519Signer::new(key)).collect();
    let signers: Vec<_> = signers.iter().map(|signer| signer as &dyn glasslog_core::note::Signer).collect();
    sign(&checkpoint.to_text(), &signers).unwrap().into_bytes()
}

fn request(old: u64, proof: Vec<Hash>, checkpoint: &Checkpoint) -> AddCheckpoint {
    let note = signed_by(checkpoint, &[&secret(ORIGIN, 1)]);
    AddCheckpoint { old_size: TreeSize(old), proof: ConsistencyProof(proof), note }
}

fn checkpoint(leaves: &[Hash]) -> Checkpoint {
    Checkpoint::new(ORIGIN, TreeSize(leaves.len() as u64), root(leaves))
}

fn held(leaves: &[Hash]) -> Held {
    Held { size: TreeSize(leaves.len() as u64), root: root(leaves), time: NOW }
}

/// Every state, old size, size, history and kind of proof of small trees, against the specification's sentences in
/// their order, written down a second time.
#[test]
fn every_small_case_against_the_sentences_of_the_specification() {
    const MAX: u8 = 6;
    let mut cosigned = 0;
    for held_size in (0..=MAX).map(Some).chain([None]) {
        let before = history(0, held_size.unwrap_or(0));
        let before_held = held_size.map(|_| held(&before));
        for (fork, size) in (0..2).flat_map(|fork| (0..=MAX).map(move |size| (fork, size))) {
            let after = history(fork, size);
            for old in 0..=MAX {
                let right = consistency(usize::from(old), &after);
                let mut longer = right.clone();
                longer.push(leaf(9, 9));
                let mut flipped = right.clone();
                if let Some(hash) = flipped.first_mut() {
                    hash.0[0] ^= 1;
                }
                for (what, proof) in [("right", &right), ("longer", &longer), ("flipped", &flipped)] {
                    let request = request(old.into(), proof.clone(), &checkpoint(&after));
                    let found = decide(before_held.as_ref(), Some(log()), &request, NOW);
                    let case =
                        format!("held {held_size:?}, old {old}, history {fork} of {size}, {what} proof");
                    // The histories differ from the third entry on, so two of them are consistent iff the smaller has
                    // at most two, or they are one.
                    let consistent = fork == 0 || before.len() <= 2;
                    if old > size {
                        assert!(matches!(found, Err(Refused::OldAboveNew { .. })), "{case}: {found:?}");
                    } else if old != held_size.unwrap_or(0) {
                        let current = TreeSize(held_size.unwrap_or(0).into());
                        assert!(
                            matches!(found, Err(Refused::Conflict { held, .. }) if held == current),
                            "{case}: {found:?}"
                        );
                    } else if *proof != right || !consistent {
                        assert!(matches!(found, Err(Refused::Inconsistent { .. })), "{case}: {found:?}");
                    } else {
                        assert_eq!(found.unwrap().next, held(&after), "{case}");
                        cosigned += 1;
                    }
                }
            }
        }
    }
    assert!(cosigned > 50, "{cosigned}");
}

#[test]
fn the_order_of_the_checks() {
    let (five, fork) = (history(0, 5), history(1, 5));
    let held = held(&five);
    let good = request(5, Vec::new(), &checkpoint(&five));
    let unsigned = |request: &AddCheckpoint| AddCheckpoint {
        note: signed_by(&checkpoint(&fork), &[&secret(ORIGIN, 8)]),
        ..request.clone()
    };
    // Each request below breaks a rule and every later one.
    let malformed = AddCheckpoint { note: b"not a note".to_vec(), ..good.clone() };
    assert!(matches!(decide(Some(&held), None, &malformed, NOW), Err(Refused::Malformed(_))));
    let old_above = AddCheckpoint { old_size: TreeSize(9), ..good.clone() };
    assert_eq!(
        decide(Some(&held), None, &unsigned(&old_above), NOW),
        Err(Refused::UnknownLog(ORIGIN.into())),
        "404 before 403"
    );
    assert!(
        matches!(decide(Some(&held), Some(log()), &unsigned(&old_above), NOW), Err(Refused::NotSigned(_))),
        "403 before 400"
    );
    assert!(
        matches!(decide(Some(&held), Some(log()), &old_above, NOW), Err(Refused::OldAboveNew { .. })),
        "400 before 409"
    );
    let other_root = request(3, vec![leaf(3, 3)], &checkpoint(&fork));
    assert!(
        matches!(decide(Some(&held), Some(log()), &other_root, NOW), Err(Refused::Conflict { .. })),
        "409 before 422"
    );
    let other_root = request(5, Vec::new(), &checkpoint(&fork));
    assert!(matches!(decide(Some(&held), Some(log()), &other_root, NOW), Err(Refused::Inconsistent { .. })));
    decide(Some(&held), Some(log()), &good, NOW).unwrap();
}

#[test]
fn the_empty_tree_has_one_root() {
    for held_before in [None, Some(held(&[]))] {
        for root in [Hash([0; 32]), leaf(0, 0)] {
            let request = request(0, Vec::new(), &Checkpoint::new(ORIGIN, TreeSize::ZERO, root));
            assert_eq!(decide(held_before.as_ref(), Some(log()), &request, NOW), Err(Refused::EmptyRoot));
        }
        let empty = request(0, Vec::new(), &checkpoint(&[]));
        assert_eq!(decide(held_before.as_ref(), Some(log()), &empty, NOW).unwrap().next, held(&[]));
    }
}

#[test]
fn time_never_goes_back_and_is_never_zero() {
    let five = history(0, 5);
    let refresh = request(5, Vec::new(), &checkpoint(&five));
    for (last, now, signed) in [
        (NOW, NOW, NOW),
        (NOW, NOW + 1, NOW + 1),
        (NOW, NOW - 3600, NOW),
        (NOW, 0, NOW),
        (0, 0, 1),
        (5, u64::MAX, MAX_TIME),
        (MAX_TIME, 5, MAX_TIME),
    ] {
        let held = Held { time: last, ..held(&five) };
        let cosign = decide(Some(&held), Some(log()), &refresh, now).unwrap();
        assert_eq!(cosign.next.time, signed, "last {last}, now {now}");
    }
    let first = request(0, Vec::new(), &checkpoint(&five));
    assert_eq!(decide(None, Some(log()), &first, 0).unwrap().next.time, 1);
}

/// Sizes to 2^64 - 1, where the proof is that of a perfect left half: what no signed integer holds works too.
#[test]
fn sizes_above_a_signed_integer() {
    for size in [1 << 63, u64::MAX] {
        let (left, right) = (leaf(0, 0), leaf(0, 1));
        let first = Checkpoint::new(ORIGIN, TreeSize(size), left);
        let next = decide(None, Some(log()), &request(0, Vec::new(), &first), NOW).unwrap().next;
        assert_eq!(next.size, TreeSize(size));
        let stale = request(1, Vec::new(), &Checkpoint::new(ORIGIN, TreeSize(size), right));
        assert_eq!(
            decide(Some(&next), Some(log()), &stale, NOW),
            Err(Refused::Conflict { old: TreeSize(1), held: TreeSize(size) })
        );
    }
    let half = Held { size: TreeSize(1 << 63), root: leaf(0, 0), time: NOW };
    let whole = Checkpoint::new(ORIGIN, TreeSize((1 << 63) + 1), node_hash(&leaf(0, 0), &leaf(0, 1)));
    let grown = decide(Some(&half), Some(log()), &request(1 << 63, vec![leaf(0, 1)], &whole), NOW);
    assert_eq!(grown.unwrap().next.size, whole.size);
}

/// Keys A and B of the log, and a stranger; which lines are kept, and which note is refused.
#[test]
fn which_signatures_count_and_which_are_kept() {
    let (a, b, stranger) = (secret(ORIGIN, 1), secret("another-name", 2), secret(ORIGIN, 3));
    let keys = LogKeys::new(ORIGIN, vec![a.verifier_key().clone(), b.verifier_key().clone()]).unwrap();
    let checkpoint = checkpoint(&history(0, 3));
    let text = checkpoint.to_text();
    let line = |key: &SecretKey| sign_line(&text, &Ed25519Signer::new(key)).unwrap().to_string();
    // The same key, over another text.
    let wrong = |key: &SecretKey| sign_line("another text\n", &Ed25519Signer::new(key)).unwrap().to_string();
    let (a_line, b_line) = (line(&a), line(&b));
    // The stranger has the name of A; this line has its ID.
    let other_name = a_line.replace(ORIGIN, "stranger");
    let kept = |lines: &[&String]| -> Result<Vec<String>, Refused> {
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let note = format!("{text}\n{lines}").into_bytes();
        let request = AddCheckpoint { old_size: TreeSize(0), proof: ConsistencyProof::default(), note };
        let note = decide(None, Some(&keys), &request, NOW)?.note;
        Ok(note.signatures().iter().map(ToString::to_string).collect())
    };
    let (stranger_line, wrong_stranger) = (line(&stranger), wrong(&stranger));
    for (what, lines, wanted) in [
        ("one key", vec![&a_line], vec![&a_line]),
        ("a key named otherwise than the origin", vec![&b_line], vec![&b_line]),
        ("both keys and a stranger", vec![&a_line, &stranger_line, &b_line], vec![&a_line, &b_line]),
        ("a stranger's line is not looked at", vec![&wrong_stranger, &a_line], vec![&a_line]),
        ("a line that is there twice is kept once", vec![&a_line, &a_line], vec![&a_line]),
    ] {
        assert_eq!(kept(&lines).unwrap().iter().collect::<Vec<_>>(), wanted, "{what}");
    }
    for (what, lines) in [
        ("no trusted key", vec![line(&stranger)]),
        ("only the ID of a trusted key under another name", vec![other_name]),
        ("a wrong signature", vec![wrong(&a)]),
        ("a wrong signature after a good one", vec![a_line.clone(), wrong(&b)]),
        ("a wrong signature before a good one", vec![wrong(&b), a_line.clone()]),
        ("a good one and a wrong one of one key", vec![a_line.clone(), wrong(&a)]),
    ] {
        let found = kept(&lines.iter().collect::<Vec<_>>());
        assert!(matches!(found, Err(Refused::NotSigned(_))), "{what}: {found:?}");
    }
}

#[test]
fn what_a_log_contradicts_itself_by() {
    let five = history(0, 5);
    let signed = |checkpoint: &Checkpoint, old| {
        Submission::read(&request(old, Vec::new(), checkpoint)).unwrap().verify(log()).unwrap()
    };
    let fork = signed(&checkpoint(&history(1, 5)), 0);
    assert_eq!(
        fork.contradicts(Some(&held(&five))),
        Some(Contradiction::TwoRoots),
        "also when it is a conflict"
    );
    assert_eq!(fork.contradicts(None), None);
    assert_eq!(signed(&checkpoint(&five), 5).contradicts(Some(&held(&five))), None);
    assert_eq!(
        signed(&checkpoint(&history(1, 6)), 5).contradicts(Some(&held(&five))),
        None,
        "a wrong proof proves nothing"
    );
    let empty = Checkpoint::new(ORIGIN, TreeSize::ZERO, leaf(0, 0));
    assert_eq!(signed(&empty, 0).contradicts(None), Some(Contradiction::EmptyRoot));
}

#[test]
fn what_is_no_log() {
    let key = secret(ORIGIN, 1).verifier_key().clone();
    for origin in ["", "two\nlines", "a\tb", "\0", &"x".repeat(256)] {
        assert!(
            matches!(LogKeys::new(origin, vec![key.clone()]), Err(LogKeysError::Origin(_))),
            "{origin:?}"
        );
    }
    for origin in ["go.sum database tree", "a+b", "/../", "x' OR 1=1 --", "ünï", &"x".repeat(255)] {
        LogKeys::new(origin, vec![key.clone()]).unwrap();
    }
    assert_eq!(LogKeys::new("o", Vec::new()), Err(LogKeysError::NoKey("o".into())));
    assert_eq!(
        LogKeys::new("o", vec![key.clone(), key.clone()]).unwrap().keys().len(),
        2,
        "the same key twice is one"
    );
}

/// The text that is signed is the text that came, extension lines too: nothing is lost in encoding it anew.
#[test]
fn the_text_is_signed_whole() {
    let mut checkpoint = checkpoint(&history(0, 3));
    checkpoint.extensions = vec!["one".into(), "two \u{2028} three".into()];
    let cosign = decide(None, Some(log()), &request(0, Vec::new(), &checkpoint), NOW).unwrap();
    assert_eq!(cosign.text, checkpoint.to_text());
    assert_eq!(cosign.note.text(), cosign.text);
}
