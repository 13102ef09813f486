//! `entry_bundle`: what is accepted encodes to itself; a cut is the beginning of it.
#![no_main]

use glasslog_core::entry_bundle::{EntryBundle, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (width, bytes) = input;
    if let Ok(bundle) = EntryBundle::parse_any(bytes) {
        assert_eq!(bundle.iter().count(), bundle.len());
        assert_eq!(encode(bundle.iter()).as_deref(), Ok(bytes));
    }
    if let Ok(cut) = EntryBundle::parse_cut(bytes, width) {
        assert!(bytes.starts_with(cut.as_bytes()));
        assert_eq!(EntryBundle::parse(cut.as_bytes(), width), Ok(cut));
    }
});
