//! `note::SecretKey`: what is accepted is written back byte for byte.
#![no_main]

use glasslog_core::note::SecretKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(key) = text.parse::<SecretKey>() {
        assert_eq!(key.to_text().as_str(), text);
    }
});
