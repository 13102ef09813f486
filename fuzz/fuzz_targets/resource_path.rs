//! `tile::ResourcePath`: what is accepted is spelt as it was read.
#![no_main]

use glasslog_core::{TreeSize, tile::ResourcePath};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    if let Ok(resource) = ResourcePath::parse(path) {
        assert_eq!(resource.to_string(), path);
        // A larger log has everything that a smaller one has.
        assert!(!resource.is_within(TreeSize(1000)) || resource.is_within(TreeSize(2000)));
    }
});
