//! `MisbehaviourProof`: the extra data is written back byte for byte, and nothing unsigned convicts anybody.
#![no_main]

use glasslog_core::{LeafIndex, proof::TlogProof};
use glasslog_vindex::{JsonField, MisbehaviourProof};
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
    let Ok(proof) = MisbehaviourProof::parse(file.as_bytes()) else { return };
    assert_eq!(proof.to_text(), file);
    let map_fn = JsonField::new("name").expect("a name");
    assert!(proof.verify("example.com/log", &[], &map_fn).is_err());
});
