//! `trie` proofs: round trip; what proves a key absent shows another leaf, which is present by the same way.
#![no_main]

use glasslog_vindex::{Absence, Key, Presence, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], [u8; 32], [u8; 24])| {
    let (bytes, asked, half) = input;
    let asked = Key(asked);
    let value: Vec<u8> = [half, half].concat();
    let value = Value::from_bytes(&value.try_into().expect("48 bytes"));
    if let Ok(presence) = Presence::decode(value, bytes) {
        assert_eq!(presence.encode(), bytes);
    }
    let Ok(absence) = Absence::decode(bytes) else { return };
    assert_eq!(absence.encode(), bytes);
    if let (Ok(root), Absence::Other { key, value, steps }) = (absence.root(&asked), absence) {
        assert_ne!(key, asked);
        assert_eq!(Presence { value, steps }.root(&key), root);
    }
});
