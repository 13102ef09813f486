use std::{format, string::String, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::hash::{leaf_hash, node_hash};
use crate::note::{Algorithm, Ed25519Signer, SecretKey, sign};
use crate::{Hash, TreeSize};

const HEAD: &str = "c2sp.org/tlog-proof@v1\n";
const HASH: &str = "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=";

/// MTH and PATH of RFC 6962 §2.1, by their recursive definitions.
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

fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut below, sibling) = match index.checked_sub(left.len()) {
        None => (path(left, index), root(right)),
        Some(index) => (path(right, index), root(left)),
    };
    below.push(sibling);
    below
}

fn log_key() -> SecretKey {
    SecretKey::from_seed("log.example", Algorithm::Ed25519, &[1; 32]).unwrap()
}

fn proof(leaves: &[Hash], index: usize, extra: Option<Vec<u8>>) -> TlogProof {
    let size = TreeSize(u64::try_from(leaves.len()).unwrap());
    let text = Checkpoint::new("log.example", size, root(leaves)).to_text();
    let checkpoint = sign(&text, &[&Ed25519Signer::new(&log_key())]).unwrap();
    TlogProof {
        index: LeafIndex(u64::try_from(index).unwrap()),
        hashes: path(leaves, index),
        extra,
        checkpoint,
    }
}

/// Every entry of every small tree, with the recursive definition of RFC 6962 as judge.
#[test]
fn every_proof_of_small_trees_verifies_and_no_other() {
    let leaves: Vec<Hash> = (0..9_u8).map(|n| leaf_hash(&[n])).collect();
    let keys = [log_key().verifier_key().clone()];
    for size in 1..=leaves.len() {
        for index in 0..size {
            let proof = proof(&leaves[..size], index, Some(vec![1, 2, 3]));
            let read = TlogProof::parse(proof.to_text().as_bytes()).unwrap();
            assert_eq!(read, proof);
            for (other, leaf) in leaves.iter().enumerate() {
                let verified = read.verify(leaf, "log.example", &keys, &[]);
                assert_eq!(verified.is_ok(), other == index, "entry {other} at {index} of {size}");
            }
            let moved = TlogProof { index: LeafIndex(proof.index.0 + 1), ..proof.clone() };
            assert!(matches!(
                moved.verify(&leaves[index], "log.example", &keys, &[]),
                Err(TlogProofError::Inclusion(_))
            ));
        }
    }
}

#[test]
fn a_proof_is_worth_its_checkpoint() {
    let leaves = [leaf_hash(b"a"), leaf_hash(b"b")];
    let good = proof(&leaves, 1, None);
    let keys = [log_key().verifier_key().clone()];
    assert!(good.verify(&leaves[1], "other.example", &keys, &[]).is_err());
    let stranger = SecretKey::from_seed("log.example", Algorithm::Ed25519, &[2; 32]).unwrap();
    let strangers = [stranger.verifier_key().clone()];
    assert!(matches!(
        good.verify(&leaves[1], "log.example", &strangers, &[]),
        Err(TlogProofError::Checkpoint(CheckpointError::Note(_)))
    ));
    let cut = TlogProof { checkpoint: good.checkpoint.trim_end().into(), ..good };
    assert!(cut.verify(&leaves[1], "log.example", &keys, &[]).is_err());
}

/// The layout of the example of c2sp.org/tlog-proof, whose base64 is abridged there and not canonical.
#[test]
fn the_layout_of_the_specification() {
    let text = format!("{HEAD}extra YWdl\nindex 73894\n{HASH}\n{HASH}\n\nexample.com/fancylog\n109482\n");
    let proof = TlogProof::parse(text.as_bytes()).unwrap();
    assert_eq!((proof.index, proof.hashes.len()), (LeafIndex(73_894), 2));
    assert_eq!(proof.extra.as_deref(), Some(&b"age"[..]));
    assert_eq!(proof.checkpoint, "example.com/fancylog\n109482\n");
    assert_eq!(proof.to_text(), text);
}

#[test]
fn what_is_not_a_proof() {
    let hashes = format!("{HASH}\n").repeat(65);
    let cases: Vec<(&str, String, usize)> = vec![
        ("empty", String::new(), 1),
        ("another version", "c2sp.org/tlog-proof@v2\nindex 0\n\n".into(), 1),
        ("a space after the header", "c2sp.org/tlog-proof@v1 \nindex 0\n\n".into(), 1),
        ("CR LF", "c2sp.org/tlog-proof@v1\r\nindex 0\r\n\r\n".into(), 1),
        ("no index", format!("{HEAD}\n"), 2),
        ("a leading zero", format!("{HEAD}index 01\n\n"), 2),
        ("a sign", format!("{HEAD}index +1\n\n"), 2),
        ("two spaces", format!("{HEAD}index  1\n\n"), 2),
        ("2^64", format!("{HEAD}index 18446744073709551616\n\n"), 2),
        ("extra without a space", format!("{HEAD}extra\nindex 0\n\n"), 2),
        ("extra that is empty", format!("{HEAD}extra \nindex 0\n\n"), 2),
        ("extra not padded", format!("{HEAD}extra YQ\nindex 0\n\n"), 2),
        ("extra with loose bits", format!("{HEAD}extra YR==\nindex 0\n\n"), 2),
        ("extra twice", format!("{HEAD}extra YQ==\nextra YQ==\nindex 0\n\n"), 3),
        ("extra after the index", format!("{HEAD}index 0\nextra YQ==\n\n"), 3),
        ("a hash of 33 bytes", format!("{HEAD}index 0\n{}ii\n\n", &HASH[..42]), 3),
        ("a hash without padding", format!("{HEAD}index 0\n{}\n\n", &HASH[..43]), 3),
        ("65 hashes", format!("{HEAD}index 0\n{hashes}\n"), 67),
        ("no empty line", format!("{HEAD}index 0\n{HASH}\n"), 4),
        ("cut inside a hash", format!("{HEAD}index 0\n{}", &HASH[..20]), 3),
    ];
    for (what, text, line) in cases {
        match TlogProof::parse(text.as_bytes()) {
            Err(TlogProofError::Line { line: found, .. }) => assert_eq!(found, line, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    assert_eq!(TlogProof::parse(b"c2sp\xff"), Err(TlogProofError::NotUtf8(4)));
}

proptest! {
    #[test]
    fn what_parses_is_written_back(
        index: u64,
        hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..5),
        extra in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..20)),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let hashes = hashes.into_iter().map(Hash).collect();
        let proof = TlogProof { index: LeafIndex(index), hashes, extra, checkpoint: "o\n1\nx\n".into() };
        let mut text = proof.to_text().into_bytes();
        prop_assert_eq!(TlogProof::parse(&text).unwrap(), proof);
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(changed) = TlogProof::parse(&text) {
            prop_assert_eq!(changed.to_text().into_bytes(), text);
        }
    }
}
