//! `anchor`: what is of anchor form is what `anchor` writes, whatever the name of its map function; likewise disavowals.
#![no_main]

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    anchor::{anchor, disavow, is_anchor_form, is_disavow_form},
    json::is_canonical,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const MAX_SIZE: u64 = (1 << 53) - 1;

fuzz_target!(|input: (&[u8], &str, Option<[u8; 32]>, u64, Vec<u64>)| {
    let (bytes, map_fn, root, size, positions) = input;
    let (root, size) = (root.map(Hash), size & MAX_SIZE);
    assert!(is_anchor_form(&anchor(map_fn, root.as_ref(), TreeSize(size))));
    let positions: Vec<LeafIndex> = positions.into_iter().map(|at| LeafIndex(at & MAX_SIZE)).collect();
    assert!(is_disavow_form(&disavow(&positions)));
    if is_anchor_form(bytes) {
        let value: Value = serde_json::from_slice(bytes).expect("anchor form is JSON");
        let size = value["tree_size"].as_u64().expect("a size");
        let map_fn = value["map_fn"].as_str().expect("a name");
        let root = value["root"].as_str().map(hash_of_hex);
        assert_eq!(anchor(map_fn, root.as_ref(), TreeSize(size)), bytes);
    }
    assert!(!is_disavow_form(bytes) || is_canonical(bytes));
});

fn hash_of_hex(digits: &str) -> Hash {
    let byte = |i: usize| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).expect("hex digits");
    Hash(std::array::from_fn(byte))
}
