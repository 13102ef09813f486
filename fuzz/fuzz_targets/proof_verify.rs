//! `merkle`: proofs of any length for any index and sizes never panic; one that verifies has the length that the
//! plan for it has.
#![no_main]

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    merkle::{ConsistencyProof, InclusionProof, consistency_spans, inclusion_spans},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, u64, Vec<[u8; 32]>, [u8; 32])| {
    let (low, high, hashes, leaf) = input;
    let hashes: Vec<Hash> = hashes.into_iter().map(Hash).collect();
    let (len, leaf) = (hashes.len(), Hash(leaf));
    if let Ok(root) = InclusionProof(hashes.clone()).root(&leaf, LeafIndex(low), TreeSize(high)) {
        assert_eq!(inclusion_spans(LeafIndex(low), TreeSize(high)).map(|spans| spans.len()), Ok(len));
        let proof = InclusionProof(hashes.clone());
        assert_eq!(proof.verify(&leaf, LeafIndex(low), TreeSize(high), &root), Ok(()));
    }
    if ConsistencyProof(hashes).verify(TreeSize(low), &leaf, TreeSize(high), &leaf).is_ok() {
        assert_eq!(consistency_spans(TreeSize(low), TreeSize(high)).map(|spans| spans.len()), Ok(len));
    }
});
