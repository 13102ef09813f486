//! Map functions: `json-field` finds what `serde_json` reads there, or nothing; `conda-1` maps what `Conda1` accepts and
//! nothing else.
#![no_main]

use glasslog_conda::{Conda1, Conda1Map};
use glasslog_core::personality::Personality;
use glasslog_vindex::{JsonField, Key, is_reserved, keys_of};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|entry: &[u8]| {
    let map_fn = JsonField::new("name").expect("a name");
    let keys = keys_of(&map_fn, entry);
    // Numbers that no double holds are an error to serde_json, and none to the grammar.
    if let (Some(key), Ok(value)) = (keys.first(), serde_json::from_slice::<Value>(entry)) {
        assert_eq!(value["name"].as_str().map(Key::of_name), Some(*key));
    }
    assert!(keys.len() <= 1 && (keys.is_empty() || !is_reserved(entry)));
    let accepted = Conda1::any_repo().validate(entry).is_ok();
    assert_eq!(keys_of(&Conda1Map, entry).is_empty(), !accepted);
});
