//! `Conda1`: what it accepts is canonical, and a canonical form that it offers is one that it accepts.
#![no_main]

use glasslog_conda::Conda1;
use glasslog_core::{MAX_ENTRY_BYTES, json::is_canonical, personality::Personality};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let schema = Conda1::any_repo();
    match schema.validate(bytes) {
        Ok(_) => assert!(is_canonical(bytes) && bytes.len() <= MAX_ENTRY_BYTES),
        Err(refused) => {
            assert!(!refused.message.is_empty());
            if let Some(canonical) = refused.canonical {
                assert_ne!(canonical, bytes);
                assert!(schema.validate(&canonical).is_ok());
            }
        }
    }
});
