//! `note::Signature` and `cosignature`: lines are written back byte for byte, and nothing that a fuzzer makes up is a
//! cosignature.
#![no_main]

use std::sync::LazyLock;

use glasslog_core::{
    cosignature,
    note::{Algorithm, SecretKey, Signature, VerifierKey},
};
use libfuzzer_sys::fuzz_target;

const TEXT: &str = "example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

static WITNESS: LazyLock<VerifierKey> = LazyLock::new(|| {
    let key = SecretKey::from_seed("witness", Algorithm::CosignatureV1, &[7; 32]);
    key.expect("a name and a seed are all that a key needs").verifier_key().clone()
});

fuzz_target!(|input: (&[u8], &[u8])| {
    let (lines, blob) = input;
    if let Ok(signatures) = Signature::parse_lines(lines) {
        let written: String = signatures.iter().map(|signature| format!("{signature}\n")).collect();
        assert_eq!(written.trim_end_matches('\n').as_bytes(), lines.strip_suffix(b"\n").unwrap_or(lines));
    }
    let line = made_up_line(blob);
    for signature in Signature::parse_lines(line.as_bytes()).unwrap_or_default() {
        assert_eq!(signature.bytes(), blob);
        assert!(signature.is_of(&WITNESS));
        assert!(cosignature::verify(TEXT, &signature, &WITNESS).is_err());
    }
});

/// A line that claims to be the witness's, with the base64 written here.
fn made_up_line(blob: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes = [&WITNESS.key_id().to_be_bytes()[..], blob].concat();
    let mut encoded = String::new();
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            encoded.push(ALPHABET[(group >> (18 - 6 * i) & 63) as usize].into());
        }
        encoded.extend(std::iter::repeat_n('=', 3 - chunk.len()));
    }
    format!("\u{2014} witness {encoded}\n")
}
