//! `witness::AddCheckpoint`: what is accepted is written back byte for byte; a 409 body has one spelling.
#![no_main]

use glasslog_core::{
    note::Note,
    witness::{AddCheckpoint, MAX_PROOF_LINES, parse_size_body, size_body},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = AddCheckpoint::parse(bytes) {
        assert_eq!(request.to_bytes(), bytes);
        assert!(request.proof.0.len() <= MAX_PROOF_LINES);
        if let Ok(note) = Note::parse(&request.note) {
            assert_eq!(note.to_text().as_bytes(), request.note);
        }
    }
    if let Some(size) = parse_size_body(bytes) {
        assert_eq!(size_body(size).as_bytes(), bytes);
    }
});
