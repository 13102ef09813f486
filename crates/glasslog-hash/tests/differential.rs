//! Judge: the `sha2` crate over the bytes that RFC 6962 §2.1 says are hashed.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

use glasslog_core::Hash;
use glasslog_hash::hasher;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// The hashes as they must be.
fn judged_leaves(entries: &[&[u8]]) -> Vec<Hash> {
    entries.iter().map(|entry| Hash(Sha256::digest([b"\0", *entry].concat()).into())).collect()
}

fn judged_nodes(children: &[Hash]) -> Vec<Hash> {
    let pairs = children.chunks_exact(2);
    pairs.map(|pair| Hash(Sha256::digest([&b"\x01"[..], &pair[0].0, &pair[1].0].concat()).into())).collect()
}

fn leaves(entries: &[&[u8]]) -> Vec<Hash> {
    let mut out = vec![Hash([0; 32]); entries.len()];
    hasher().leaves(entries, &mut out);
    out
}

fn nodes(children: &[Hash]) -> Vec<Hash> {
    let mut out = vec![Hash([0; 32]); children.len() / 2];
    hasher().nodes(children, &mut out);
    out
}

/// Bytes without a period that a block would divide.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn every_length_to_300_alone_and_all_together() {
    let bytes = noise(600);
    let entries: Vec<&[u8]> = (0..=300).map(|len| &bytes[len..2 * len]).collect();
    for entry in &entries {
        assert_eq!(leaves(&[entry]), judged_leaves(&[entry]), "{} bytes", entry.len());
    }
    assert_eq!(leaves(&entries), judged_leaves(&entries));
    let falling: Vec<&[u8]> = entries.iter().copied().rev().collect();
    assert_eq!(leaves(&falling), judged_leaves(&falling));
}

/// The other messages of Merkle trees and tries: a byte that says what they are, and then the data.
#[test]
fn any_tag() {
    let bytes = noise(400);
    let messages: Vec<&[u8]> = (0..200).map(|len| &bytes[len..2 * len]).collect();
    for tag in [1, 0x7f, 0xff] {
        let mut out = vec![Hash([0; 32]); messages.len()];
        hasher().tagged(tag, &messages, &mut out);
        let judged = |message: &&[u8]| Hash(Sha256::digest([&[tag], *message].concat()).into());
        assert_eq!(out, messages.iter().map(judged).collect::<Vec<_>>());
    }
}

#[test]
fn every_pair_of_lengths_around_the_block_borders() {
    let bytes = noise(200);
    let lengths: Vec<usize> = (0..4).chain(52..66).chain(116..130).chain(180..194).collect();
    for a in &lengths {
        for b in &lengths {
            let entries = [&bytes[..*a], &bytes[..*b], &bytes[1..3]];
            assert_eq!(leaves(&entries), judged_leaves(&entries), "{a} and {b} bytes");
        }
    }
}

#[test]
fn lengths_to_70_000() {
    let bytes = noise(70_000);
    let lengths =
        (0..=70_000).step_by(997).chain([8191, 8192, 65_471, 65_527, 65_535, 65_536, 69_999, 70_000]);
    let entries: Vec<&[u8]> = lengths.map(|len| &bytes[..len]).collect();
    assert_eq!(leaves(&entries), judged_leaves(&entries));
}

#[test]
fn every_count_of_nodes_to_300() {
    let children: Vec<Hash> =
        noise(600 * 32).chunks_exact(32).map(|hash| Hash::from_slice(hash).unwrap()).collect();
    for count in 0..=300 {
        // An odd hash at the end has no sibling and is left alone.
        for end in [2 * count, (2 * count + 1).min(children.len())] {
            assert_eq!(nodes(&children[..end]), judged_nodes(&children[..2 * count]));
        }
    }
}

/// The contract: the shorter of input and output bounds the work.
#[test]
fn unequal_lengths() {
    let zero = Hash([0; 32]);
    let children = [Hash([1; 32]), Hash([2; 32]), Hash([3; 32]), Hash([4; 32]), Hash([5; 32]), Hash([6; 32])];
    let judge = judged_nodes(&children);
    let mut short = [zero; 2];
    hasher().nodes(&children, &mut short);
    assert_eq!(short, judge[..2]);
    let mut long = [zero; 4];
    hasher().nodes(&children, &mut long);
    assert_eq!((&long[..3], long[3]), (&judge[..], zero));
    let mut long = [zero; 3];
    hasher().leaves(&[b"a", b"b"], &mut long);
    assert_eq!((&long[..2], long[2]), (&judged_leaves(&[b"a", b"b"])[..], zero));
    let mut short = [zero; 1];
    hasher().leaves(&[b"a", b"b", b"c"], &mut short);
    assert_eq!(short[..], judged_leaves(&[b"a"]));
    hasher().leaves(&[b"a"], &mut []);
    hasher().nodes(&[], &mut []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_batch(lengths in proptest::collection::vec(prop_oneof![0..200_usize, 0..2000_usize, 0..=65_535_usize], 0..9)) {
        let bytes = noise(lengths.iter().copied().max().unwrap_or(0) + 8);
        let entries: Vec<&[u8]> = lengths.iter().zip(0..).map(|(len, from)| &bytes[from..from + len]).collect();
        prop_assert_eq!(leaves(&entries), judged_leaves(&entries));
    }
}
