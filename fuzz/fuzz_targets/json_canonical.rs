//! `json`: the canonical form is its own canonical form, says the same as the input (judge: `serde_json`), and only
//! JSON has one.
#![no_main]

use glasslog_core::json::{canonicalize, is_canonical, scan};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let mut canonical = Vec::new();
    let Ok(()) = canonicalize(input, &mut canonical) else {
        assert!(canonical.is_empty() && !is_canonical(input));
        return;
    };
    assert!(is_canonical(&canonical) && scan(input).is_ok() && scan(&canonical).is_ok());
    assert_eq!(is_canonical(input), canonical == input);
    let [before, after] = [input, &canonical].map(|json| serde_json::from_slice::<Value>(json));
    assert_eq!(before.expect("it has a canonical form"), after.expect("it is canonical"));
});
