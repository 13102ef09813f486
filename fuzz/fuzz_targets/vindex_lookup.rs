//! `Lookup`: the extra data of a lookup proof is written back byte for byte, and no unsigned lookup is verified.
#![no_main]

use glasslog_core::{LeafIndex, policy::Policy, proof::TlogProof};
use glasslog_vindex::{JsonField, Key, Lookup, Pinned};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|extra: &[u8]| {
    let checkpoint = "example.com/log\n1\nAAAA\n\n";
    let proof = TlogProof {
        index: LeafIndex(7),
        hashes: Vec::new(),
        extra: Some(extra.to_vec()),
        checkpoint: checkpoint.into(),
    };
    let file = proof.to_text();
    let Ok(lookup) = Lookup::parse(file.as_bytes()) else { return };
    assert_eq!(lookup.to_text(), file);
    let map_fn = JsonField::new("name").expect("a name");
    let (policy, key) = (Policy::without_witnesses(&[]), Key([0; 32]));
    let key = lookup.question.key(&map_fn).unwrap_or(key);
    let pinned = Pinned { origin: "example.com/log", policy: &policy, map_fn: &map_fn };
    assert!(lookup.verify(&pinned, &key, 0).is_err());
});
