//! The plans of `tile`: arbitrary tile bytes never panic and never lead to a proof that does not verify.
#![no_main]

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    hash::ScalarHasher,
    tile::{ConsistencyPlan, InclusionPlan, RootPlan},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, u64, Vec<u8>)| {
    let (index, size, bytes) = input;
    let fetch = |tile: &glasslog_core::tile::TileId| {
        // Content that differs from tile to tile, now and then too short, too long or missing.
        let seed = bytes.get(usize::from(tile.level)).copied()?;
        let len = if seed == 0 { bytes.len() } else { tile.byte_len() };
        Some(vec![seed; len])
    };
    let Ok(root) = RootPlan::new(TreeSize(size)).finish(&ScalarHasher, fetch) else { return };
    if let Ok(plan) = InclusionPlan::new(LeafIndex(index), TreeSize(size)) {
        assert!(plan.tiles().len() <= 16);
        if let Ok(proof) = plan.finish(&root, &ScalarHasher, fetch) {
            // All leaves of a level-0 tile are alike here.
            let leaf = Hash([bytes.first().copied().unwrap_or_default(); 32]);
            assert_eq!(proof.verify(&leaf, LeafIndex(index), TreeSize(size), &root), Ok(()));
        }
    }
    if let Ok(plan) = ConsistencyPlan::new(TreeSize(index), TreeSize(size)) {
        assert!(plan.tiles().len() <= 16);
        let _ = plan.finish(&root, &ScalarHasher, fetch);
    }
});
