//! `checkpoint::Checkpoint`: what is accepted is written back byte for byte.
#![no_main]

use glasslog_core::checkpoint::{Checkpoint, VerifiedCheckpoint};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_text(), text);
    }
    assert!(VerifiedCheckpoint::open(text.as_bytes(), "example.com/log", &[]).is_err());
});
