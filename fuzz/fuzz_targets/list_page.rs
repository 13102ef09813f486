//! `ListReader`: any pages in a row, of which none is signed: no panic, and never a list.
#![no_main]

use glasslog_client::{
    lookup::{Inquiry, list::ListReader},
    pin::Pins,
};
use glasslog_core::note::VerifierKey;
use glasslog_vindex::JsonField;
use libfuzzer_sys::fuzz_target;

const VKEY: &str = "example.com/log+cc714670+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";

fuzz_target!(|pages: &[u8]| {
    let map_fn = JsonField::new("name").expect("a name");
    let keys: Vec<VerifierKey> = VKEY.parse().into_iter().collect();
    assert_eq!(keys.len(), 1);
    let pins = Pins::of_keys(&keys);
    let inquiry = Inquiry::of_name(&pins, &map_fn, None, "a").expect("one log");
    let mut reader = ListReader::new(&inquiry);
    for page in pages.split(|byte| *byte == 0) {
        assert!(!matches!(reader.accept(page, 0), Ok(Some(_))));
    }
});
