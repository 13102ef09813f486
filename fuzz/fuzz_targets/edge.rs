//! `tile::Edge`: whatever the steps, the edge rebuilt from its own objects is itself; altered objects give no edge.
#![no_main]

use std::collections::BTreeMap;

use glasslog_core::{
    hash::{ScalarHasher, leaf_hash},
    tile::Edge,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, usize, usize)| {
    let (steps, object, byte) = input;
    let mut edge = Edge::new();
    let mut full = Vec::new();
    for step in steps.iter().take(16) {
        let entries: Vec<[u8; 2]> = (0..*step).map(|i| [*step, i]).collect();
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let slices = entries.iter().map(|entry| &entry[..]);
        edge.grow(&leaves, slices, &ScalarHasher, &mut full).expect("short entries, one for each leaf");
    }
    let root = edge.root(&ScalarHasher);
    let mut partials: BTreeMap<_, _> = edge.partials().into_iter().collect();
    let rebuild = |objects: &BTreeMap<_, Vec<u8>>| {
        Edge::from_objects(edge.size(), &root, &ScalarHasher, |path| objects.get(path))
    };
    assert_eq!(rebuild(&partials).as_ref(), Ok(&edge));
    let altered = object.checked_rem(partials.len()).and_then(|object| partials.values_mut().nth(object));
    if let Some(bytes) = altered {
        let place = byte % bytes.len();
        bytes[place] ^= 1;
        assert!(rebuild(&partials).is_err());
    }
});
