//! `note::Note`: what is accepted is written back byte for byte.
#![no_main]

use glasslog_core::note::Note;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(note.to_text().as_bytes(), bytes);
        assert!(!note.signatures().is_empty() && note.text().ends_with('\n'));
        assert!(note.verify(&[]).is_err());
    }
});
