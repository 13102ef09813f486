//! `proof::TlogProof`: what is accepted is written back byte for byte.
#![no_main]

use glasslog_core::{hash::leaf_hash, proof::TlogProof};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proof) = TlogProof::parse(bytes) {
        assert_eq!(proof.to_text().as_bytes(), bytes);
        assert!(proof.verify(&leaf_hash(b""), "example.com/log", &[], &[]).is_err());
    }
});
