//! `note::VerifierKey`: what is accepted is written back byte for byte.
#![no_main]

use glasslog_core::note::VerifierKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
        let again = VerifierKey::new(key.name(), key.algorithm(), key.public_key());
        assert_eq!(again, Ok(key));
    }
});
