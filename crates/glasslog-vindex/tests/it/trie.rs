//! The trie, its lists and its proofs against the naive model.

use std::collections::BTreeSet;

use glasslog_core::{LeafIndex, TreeSize};
use glasslog_vindex::{Absence, Key, List, Presence, Proof, RootBuilder, Value, prove};
use proptest::prelude::*;

use crate::naive::{self, Pairs};

/// Keys that share few bits, or nearly all of them.
fn any_key() -> impl Strategy<Value = [u8; 32]> {
    prop_oneof![
        any::<[u8; 32]>(),
        (0..32_usize, any::<u8>(), any::<bool>()).prop_map(|(place, byte, high)| {
            let mut key = if high { [0xff; 32] } else { [0; 32] };
            key[place] ^= byte;
            key
        }),
    ]
}

fn any_pairs() -> impl Strategy<Value = Pairs> {
    let value = proptest::collection::btree_set(0..1_000_u64, 1..9)
        .prop_map(|list| naive::value(&list.into_iter().collect::<Vec<_>>()));
    proptest::collection::btree_map(any_key(), value, 0..40)
}

fn sorted(pairs: &Pairs) -> Vec<(Key, Value)> {
    pairs.iter().map(|(key, value)| (Key(*key), Value::from_bytes(value))).collect()
}

fn built(pairs: &[(Key, Value)]) -> [u8; 32] {
    let mut builder = RootBuilder::new();
    pairs.iter().for_each(|(key, value)| builder.push(*key, value).unwrap());
    builder.finish().0
}

/// The root that the proof gives for `key`, decoded from its own bytes.
fn root_of(proof: &Proof, key: &Key) -> Option<[u8; 32]> {
    match proof {
        Proof::Present(presence) => {
            let decoded = Presence::decode(presence.value, &presence.encode()).unwrap();
            assert_eq!(decoded, *presence);
            Some(decoded.root(key).0)
        }
        Proof::Absent(absence) => {
            let decoded = Absence::decode(&absence.encode()).unwrap();
            assert_eq!(decoded, *absence);
            decoded.root(key).ok().map(|root| root.0)
        }
    }
}

proptest! {
    #[test]
    fn the_root_is_that_of_the_model(pairs in any_pairs()) {
        prop_assert_eq!(built(&sorted(&pairs)), naive::root(&pairs));
    }

    /// Pages of any sizes give one value; only ascending indices are taken.
    #[test]
    fn lists_in_any_pages(list in proptest::collection::btree_set(any::<u64>(), 1..60), cuts in any::<BTreeSet<usize>>()) {
        let indices: Vec<u64> = list.into_iter().collect();
        let mut folded = List::new();
        let mut begin = 0;
        for end in cuts.into_iter().map(|cut| cut % indices.len()).collect::<BTreeSet<_>>().into_iter().chain([indices.len()]) {
            let page: Vec<LeafIndex> = indices[begin..end].iter().copied().map(LeafIndex).collect();
            folded.extend(&page).unwrap();
            let value = folded.value().map(|value| value.to_bytes());
            prop_assert_eq!(value, (end > 0).then(|| naive::value(&indices[..end])));
            begin = end;
        }
        let last = *indices.last().unwrap();
        prop_assert!(folded.push(LeafIndex(last)).is_err() && folded.push(LeafIndex(last / 2)).is_err());
        prop_assert_eq!(folded.count(), u64::try_from(indices.len()).unwrap());
    }

    #[test]
    fn every_key_is_proven_present_or_absent(pairs in any_pairs(), others in proptest::collection::vec(any_key(), 5)) {
        let (sorted, root) = (sorted(&pairs), naive::root(&pairs));
        for key in pairs.keys().chain(&others) {
            let proof = prove(&sorted, &Key(*key));
            prop_assert_eq!(root_of(&proof, &Key(*key)), Some(root));
            match (&proof, pairs.get(key)) {
                (Proof::Present(presence), Some(value)) => prop_assert_eq!(&presence.value.to_bytes(), value),
                (Proof::Absent(_), None) => {}
                _ => prop_assert!(false, "{:?}", proof),
            }
        }
    }

    /// No leaf, with any part of its path, proves that a key is absent which is present.
    #[test]
    fn no_present_key_is_proven_absent(pairs in any_pairs()) {
        let (sorted, root) = (sorted(&pairs), naive::root(&pairs));
        for (present, _) in &sorted {
            for (other, value) in &sorted {
                let Proof::Present(Presence { steps, .. }) = prove(&sorted, other) else { panic!("not there") };
                let claim = Absence::Other { key: *other, value: *value, steps };
                prop_assert_ne!(claim.root(present).ok().map(|root| root.0), Some(root));
            }
            prop_assert_ne!(Absence::EmptyTrie.root(present).unwrap().0, root);
        }
    }

    /// Any one bit flipped, or any byte cut off or put on: another root, or none.
    #[test]
    fn every_mutation_of_a_proof_is_refused(pairs in any_pairs(), other in any_key(), which in any::<prop::sample::Index>()) {
        let (sorted, root) = (sorted(&pairs), naive::root(&pairs));
        let keys: Vec<[u8; 32]> = pairs.keys().copied().chain([other]).collect();
        let key = Key(*which.get(&keys));
        // The value, where there is one, and the proof.
        let (value, proof) = match prove(&sorted, &key) {
            Proof::Present(presence) => (presence.value.to_bytes().to_vec(), presence.encode()),
            Proof::Absent(absence) => (Vec::new(), absence.encode()),
        };
        let verifies = |bytes: &[u8]| {
            let (value, proof) = bytes.split_at_checked(value.len()).unwrap_or((bytes, &[]));
            let found = match value.try_into() {
                Ok(value) => Presence::decode(Value::from_bytes(value), proof).ok().map(|proof| proof.root(&key)),
                Err(_) => Absence::decode(proof).ok().and_then(|proof| proof.root(&key).ok()),
            };
            found.is_some_and(|found| found.0 == root)
        };
        let all = [value.as_slice(), &proof].concat();
        prop_assert!(verifies(&all));
        for place in 0..all.len() * 8 {
            let mut mutated = all.clone();
            mutated[place / 8] ^= 1 << (place % 8);
            prop_assert!(!verifies(&mutated), "bit {}", place);
        }
        prop_assert!(!verifies(&[all.as_slice(), &[0]].concat()));
        prop_assert!(proof.is_empty() || !verifies(&all[..all.len() - 1]));
    }
}

#[test]
fn the_order_of_keys_is_checked() {
    let value = Value::from_bytes(&naive::value(&[7]));
    let (low, high) = (Key([1; 32]), Key([2; 32]));
    let mut builder = RootBuilder::new();
    builder.push(high, &value).unwrap();
    assert!(builder.push(low, &value).is_err() && builder.push(high, &value).is_err());
    assert_eq!(builder.finish().0, naive::root(&[(high.0, value.to_bytes())].into()));
}

#[test]
fn only_possible_values_count_at_an_anchor() {
    let value = |count, last| Value { count, last: LeafIndex(last), root: glasslog_core::Hash::EMPTY_ROOT };
    for (count, last, size, possible) in [
        (1, 0, 1, true),
        (0, 0, 1, false),
        (1, 1, 1, false),
        (2, 0, 9, false),
        (2, 1, 2, true),
        (u64::MAX, u64::MAX - 1, u64::MAX, true),
        (u64::MAX, 5, 9, false),
        (1, 0, 0, false),
    ] {
        let (value, size) = (value(count, last), TreeSize(size));
        assert_eq!(value.is_possible_at(size), possible, "{value:?} at {size}");
        let key = Key([1; 32]);
        let presence = Presence::decode(value, &[]).unwrap();
        assert_eq!(presence.root_at(&key, size).is_ok(), possible);
        let absence = Absence::Other { key: Key([2; 32]), value, steps: presence.steps };
        assert_eq!(absence.root_at(&key, size).is_ok(), possible);
    }
}
