use std::boxed::Box;
use std::string::{String, ToString};
use std::{format, vec, vec::Vec};

use proptest::prelude::*;

use super::*;

/// c2sp.org/signed-note, "Example".
const SPEC_VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const SPEC_NOTE: &str = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

/// golang.org/x/mod v0.33.0, sumdb/note/note.go: the example of the package comment.
const PETER_SKEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const PETER_VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const PETER_LINE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
const ENOCH_VKEY: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const ENOCH_LINE: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=";

/// filippo.io/torchwood v0.10.0, cmd/litewitness/testdata/mldsa.txt.
const ML_DSA_VKEY: &str = include_str!("../../testdata/ml-dsa-44.vkey");
const ML_DSA_CHECKPOINT: &str = include_str!("../../testdata/ml-dsa-44.checkpoint");

fn vkey(text: &str) -> VerifierKey {
    text.trim_end().parse().unwrap()
}

fn secret(name: &str, algorithm: Algorithm, seed: u8) -> SecretKey {
    SecretKey::from_seed(name, algorithm, &[seed; 32]).unwrap()
}

fn signed(text: &str, keys: &[&SecretKey]) -> String {
    let signers: Vec<Ed25519Signer> = keys.iter().map(|key| Ed25519Signer::new(key)).collect();
    let signers: Vec<&dyn Signer> = signers.iter().map(|signer| signer as &dyn Signer).collect();
    sign(text, &signers).unwrap()
}

#[test]
fn the_example_of_the_specification_verifies() {
    let note = Note::parse(SPEC_NOTE.as_bytes()).unwrap();
    let keys = [vkey(SPEC_VKEY)];
    let verified = note.verify(&keys).unwrap();
    assert_eq!(verified.text(), "This is an example message.\n");
    assert_eq!(verified.signatures(), [VerifiedSignature { key: &keys[0], time: None }]);
    assert_eq!(note.to_text(), SPEC_NOTE);
    assert_eq!(keys[0].to_string(), SPEC_VKEY);

    let other = Note::parse(SPEC_NOTE.replace("example m", "exemple m").as_bytes()).unwrap();
    assert!(matches!(other.verify(&keys), Err(NoteError::BadSignature { .. })));
}

/// Ed25519 is deterministic, so the published skey must give the published signature, byte for byte.
#[test]
fn the_example_of_golang_is_reproduced() {
    let peter: SecretKey = PETER_SKEY.parse().unwrap();
    assert_eq!(peter.to_text().as_str(), PETER_SKEY);
    assert_eq!(peter.verifier_key().to_string(), PETER_VKEY);
    assert_eq!(signed(PETER_TEXT, &[&peter]), format!("{PETER_TEXT}\n{PETER_LINE}\n"));

    let both = format!("{PETER_TEXT}\n{PETER_LINE}\n{ENOCH_LINE}\n");
    let keys = [vkey(ENOCH_VKEY), vkey(PETER_VKEY)];
    let note = Note::parse(both.as_bytes()).unwrap();
    let names: Vec<&str> = note.verify(&keys).unwrap().signatures().iter().map(|s| s.key.name()).collect();
    assert_eq!(names, ["PeterNeumann", "EnochRoot"]);
}

#[test]
fn an_ml_dsa_key_is_read_and_its_line_never_counts() {
    let ml_dsa = vkey(ML_DSA_VKEY);
    assert_eq!((ml_dsa.algorithm(), ml_dsa.key_id()), (Algorithm::MlDsa44, 0xb5df45c5));
    assert_eq!(ml_dsa.to_string(), ML_DSA_VKEY.trim_end());

    let mut note = Note::parse(ML_DSA_CHECKPOINT.as_bytes()).unwrap();
    assert_eq!(note.to_text(), ML_DSA_CHECKPOINT);
    assert_eq!(note.verify(core::slice::from_ref(&ml_dsa)), Err(NoteError::NoKnownSignature));

    let ours = secret("example.com/mldsa-log", Algorithm::Ed25519, 7);
    note.put(sign_line(note.text(), &Ed25519Signer::new(&ours)).unwrap());
    let keys = [ml_dsa, ours.verifier_key().clone()];
    let verified = note.verify(&keys).unwrap();
    assert_eq!(verified.unchecked(), [&keys[0]]);
    assert_eq!(verified.signatures().len(), 1);
}

/// Every note that is refused, and why.
#[test]
fn what_is_not_a_note() {
    let line = "— k AAAAAAE=\n";
    let cases: Vec<(&str, String, NoteError)> = vec![
        ("empty", String::new(), NoteError::NoSignatures),
        ("text alone", "text\n".into(), NoteError::NoSignatures),
        ("no empty line", format!("text\n{line}"), NoteError::NoSignatures),
        ("no line after it", "text\n\n".into(), NoteError::NoSignatures),
        ("signatures alone", format!("\n{line}"), NoteError::NoSignatures),
        ("CR LF", format!("text\r\n\r\n{line}"), NoteError::ControlCharacter { byte: b'\r', offset: 4 }),
        (
            "tab in the text",
            format!("a\tb\n\n{line}"),
            NoteError::ControlCharacter { byte: b'\t', offset: 1 },
        ),
        ("NUL", format!("a\0\n\n{line}"), NoteError::ControlCharacter { byte: 0, offset: 1 }),
        ("no final newline", format!("text\n\n{}", line.trim_end()), NoteError::SignatureLine { line: 1 }),
        ("a line of text after it", format!("text\n\n{line}x\n"), NoteError::SignatureLine { line: 2 }),
        ("one newline too many", format!("text\n\n{line}\n"), NoteError::NoSignatures),
        ("too many lines", format!("text\n\n{}", line.repeat(101)), NoteError::TooManySignatures),
        (
            "too long",
            format!("{}\n\n{line}", "x".repeat(MAX_NOTE_BYTES)),
            NoteError::TooLong(MAX_NOTE_BYTES + 17),
        ),
    ];
    for (what, note, error) in cases {
        assert_eq!(Note::parse(note.as_bytes()), Err(error), "{what}");
    }
    assert_eq!(Note::parse(b"a\xff\n\n"), Err(NoteError::NotUtf8(1)));
}

#[test]
fn what_is_not_a_signature_line() {
    for (what, line) in [
        ("a hyphen", "- k AAAAAAE="),
        ("an en dash", "– k AAAAAAE="),
        ("no space after the dash", "—k AAAAAAE="),
        ("two spaces after the dash", "—  k AAAAAAE="),
        ("an empty name", "—  AAAAAAE="),
        ("a plus in the name", "— k+k AAAAAAE="),
        ("a no-break space in the name", "— k\u{a0}k AAAAAAE="),
        ("an ideographic space in the name", "— k\u{3000}k AAAAAAE="),
        ("a next-line character in the name", "— k\u{85}k AAAAAAE="),
        ("two spaces before the base64", "— k  AAAAAAE="),
        ("a space after the base64", "— k AAAAAAE= "),
        ("no base64", "— k"),
        ("empty base64", "— k "),
        ("a key ID alone", "— k AAAAAA=="),
        ("no padding", "— k AAAAAAE"),
        ("trailing bits that are not zero", "— k AAAAAAF="),
        ("the url-safe alphabet", "— k AAAAAA-_"),
        ("a word after the base64", "— k AAAAAAE= x"),
    ] {
        let note = format!("text\n\n{line}\n");
        assert_eq!(Note::parse(note.as_bytes()), Err(NoteError::SignatureLine { line: 1 }), "{what}");
    }
}

/// Texts that look odd and are allowed, so that nobody refuses what others sign.
#[test]
fn what_a_text_may_hold() {
    let key = secret("k", Algorithm::Ed25519, 1);
    for text in ["\n", "a\n", "a\n\nb\n", "a\n\n", "\u{7f}\u{85}\u{2028}\n", "— k AAAAAAE=\n"] {
        let note = signed(text, &[&key]);
        let parsed = Note::parse(note.as_bytes()).unwrap();
        assert_eq!((parsed.text(), parsed.to_text()), (text, note.clone()), "{text:?}");
        parsed.verify(core::slice::from_ref(key.verifier_key())).unwrap();
    }
    assert_eq!(Note::unsigned("no newline"), Err(NoteError::TextEnd));
}

/// research/witness.md §2, 17–22 and 29: which lines are looked at, and what one wrong one does.
#[test]
fn known_keys_are_checked_and_others_ignored() {
    let (a, b) = (secret("log", Algorithm::Ed25519, 1), secret("log", Algorithm::Ed25519, 2));
    let elsewhere = secret("other", Algorithm::Ed25519, 1);
    let text = "text\n";
    let note = |keys: &[&SecretKey]| Note::parse(signed(text, keys).as_bytes()).unwrap();
    let forged = |key: &SecretKey| {
        let mut note = note(&[&elsewhere]);
        note.signatures[0].name = key.name().into();
        note.signatures[0].key_id = key.verifier_key().key_id();
        note.signatures[0].bytes[10] ^= 1;
        note.signatures.remove(0)
    };
    let known = [a.verifier_key().clone(), b.verifier_key().clone()];

    // Only unknown keys: same seed under another name, same name with another ID.
    assert_eq!(note(&[&elsewhere]).verify(&known), Err(NoteError::NoKnownSignature));
    assert_eq!(note(&[&a]).verify(&known[1..]), Err(NoteError::NoKnownSignature));
    // A good one beside unknown garbage.
    let mut mixed = note(&[&a]);
    mixed.signatures.push(forged(&elsewhere));
    assert_eq!(mixed.verify(&known).unwrap().signatures().len(), 1);
    // A good one beside a wrong one of another known key, or of its own, in both orders.
    for wrong in [forged(&b), forged(&a)] {
        for position in [0, 1] {
            let mut mixed = note(&[&a]);
            mixed.signatures.insert(position, wrong.clone());
            assert!(matches!(mixed.verify(&known), Err(NoteError::BadSignature { .. })));
        }
    }
    // The same good line twice says nothing more than once.
    let mut twice = note(&[&a]);
    twice.signatures.push(twice.signatures[0].clone());
    assert_eq!(twice.verify(&known).unwrap().signatures().len(), 1);
}

/// A stranger can repeat a valid line a hundred times.
#[test]
fn a_line_that_is_repeated_is_verified_once() {
    use core::sync::atomic::{AtomicUsize, Ordering};
    struct Counting(AtomicUsize);
    impl MlDsa44 for Counting {
        fn verify(&self, _: &[u8], _: &[u8], _: &[u8]) -> bool {
            self.0.fetch_add(1, Ordering::SeqCst);
            true
        }
    }
    static COUNTING: Counting = Counting(AtomicUsize::new(0));
    let key = VerifierKey::new("log", Algorithm::MlDsa44, &[6; 1312]).unwrap().checked_by(&COUNTING);
    let line = |last: u8| Signature::of_key(&key, [vec![0; 8 + 2419], vec![last]].concat());
    let mut note = Note::unsigned("log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n").unwrap();
    note.signatures = std::iter::repeat_n(line(1), 50).chain(std::iter::repeat_n(line(2), 50)).collect();
    assert_eq!(note.verify(&[key]).unwrap().signatures().len(), 1);
    assert_eq!(COUNTING.0.load(Ordering::SeqCst), 2, "two lines differ");
}

#[test]
fn a_signature_of_one_type_is_none_of_another() {
    let (plain, cosigner) = (secret("k", Algorithm::Ed25519, 1), secret("k", Algorithm::CosignatureV1, 1));
    assert_ne!(plain.verifier_key().key_id(), cosigner.verifier_key().key_id());
    let mut note = Note::parse(signed("text\n", &[&plain]).as_bytes()).unwrap();
    note.signatures[0].key_id = cosigner.verifier_key().key_id();
    let keys = [cosigner.verifier_key().clone()];
    assert!(matches!(note.verify(&keys), Err(NoteError::BadSignature { .. })));
    let refused = sign("text\n", &[&Ed25519Signer::new(&cosigner)]);
    assert_eq!(refused, Err(SignError::Algorithm { name: "k".into(), type_byte: 4 }));
}

#[test]
fn two_keys_of_one_name_and_id_are_ambiguous() {
    let key = secret("k", Algorithm::Ed25519, 1).verifier_key().clone();
    let mut twin = secret("k", Algorithm::Ed25519, 2).verifier_key().clone();
    let note = signed("text\n", &[&secret("k", Algorithm::Ed25519, 1)]);
    let note = Note::parse(note.as_bytes()).unwrap();
    note.verify(&[key.clone(), key.clone()]).unwrap();
    twin = twin.with_key_id(key.key_id());
    assert!(matches!(note.verify(&[key, twin]), Err(NoteError::AmbiguousKeys { .. })));
}

/// RFC 8032 §5.1.7 demands S < L; adding the group order gives the same point and another byte string.
#[test]
fn a_malleable_signature_is_refused() {
    const GROUP_ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let key = secret("k", Algorithm::Ed25519, 1);
    let mut note = Note::parse(signed("text\n", &[&key]).as_bytes()).unwrap();
    let mut carry = 0;
    for (byte, order) in note.signatures[0].bytes[32..].iter_mut().zip(GROUP_ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    assert!(matches!(note.verify(&[key.verifier_key().clone()]), Err(NoteError::BadSignature { .. })));
}

/// github.com/C2SP/CCTV, ed25519: encodings of small order, or not canonical, under which forgeries verify.
#[test]
fn weak_public_keys_are_refused() {
    for (what, hex) in [
        ("order 1", "0100000000000000000000000000000000000000000000000000000000000000"),
        ("order 2", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        ("order 4", "0000000000000000000000000000000000000000000000000000000000000000"),
        ("order 4, negative", "0000000000000000000000000000000000000000000000000000000000000080"),
        ("order 8", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        ("order 8", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        ("order 1, y = p + 1", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        ("order 4, y = p", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        ("y = p + 3", "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        ("no point", "0200000000000000000000000000000000000000000000000000000000000000"),
    ] {
        let bytes = const_hex::decode(hex).unwrap();
        let key = VerifierKey::new("k", Algorithm::Ed25519, &bytes);
        assert_eq!(key, Err(KeyError::Material("k".into())), "{what}");
    }
}

/// github.com/C2SP/CCTV, ed25519/ed25519vectors.json: one vector for each flag that strict verification refuses, and ones that
/// it accepts. (All 914 were run once, with no surprise.)
#[test]
fn edge_cases_of_ed25519() {
    for (number, flag, accepted, key, signature, message) in [
        (
            303,
            "low_order_A",
            false,
            "0100000000000000000000000000000000000000000000000000000000000000",
            "b62cf890de42c413b11b1411c9f01f1c4d77aa87ef182258d1251f69af2a350605ba9a796274d80437afa36f1236563f2f3b0aa84cecddc3d20914615ba4fe02",
            "ed25519vectors 5",
        ),
        (
            304,
            "low_order_R",
            false,
            "ef75b20e7540e3dff77404193652ba2bd13df99c1508eee1515e27ae25f28076",
            "0100000000000000000000000000000000000000000000000000000000000000330b30d6c1f07511e2208d233b6a34d4ed7109da2dea615bcd97daee3a842704",
            "ed25519vectors 7",
        ),
        (
            51,
            "low_order_residue",
            false,
            "10eb7c3acfb2bed3e0d6ab89bf5a3d6afddd1176ce4812e38d9fd485058fdb1f",
            "b62cf890de42c413b11b1411c9f01f1c4d77aa87ef182258d1251f69af2a3506030b03796b78f7afeadfccaedc9d09ce6d487d1ece1f16b1ae2b59b7e5c40603",
            "ed25519vectors 3",
        ),
        (
            307,
            "non_canonical_A",
            false,
            "0100000000000000000000000000000000000000000000000000000000000080",
            "b62cf890de42c413b11b1411c9f01f1c4d77aa87ef182258d1251f69af2a350605ba9a796274d80437afa36f1236563f2f3b0aa84cecddc3d20914615ba4fe02",
            "ed25519vectors 1",
        ),
        (
            308,
            "reencoded_k",
            false,
            "0100000000000000000000000000000000000000000000000000000000000080",
            "b62cf890de42c413b11b1411c9f01f1c4d77aa87ef182258d1251f69af2a350605ba9a796274d80437afa36f1236563f2f3b0aa84cecddc3d20914615ba4fe02",
            "ed25519vectors 5",
        ),
        (
            316,
            "non_canonical_R",
            false,
            "ef75b20e7540e3dff77404193652ba2bd13df99c1508eee1515e27ae25f28076",
            "01000000000000000000000000000000000000000000000000000000000000802d32f9eeccaa31dba2ff4ab4e196b61e2ee1648073bbb5f599dcff4f7ea02900",
            "ed25519vectors 5",
        ),
        (
            7,
            "low_order_component_R,low_order_component_A",
            true,
            "10eb7c3acfb2bed3e0d6ab89bf5a3d6afddd1176ce4812e38d9fd485058fdb1f",
            "36684ea91032ba5b1dbab2d02f4debc74c3327f2b3802e2e4d371aa42b12b56bbbfd00bd9c259d8d222d15e67a3d8228585050dbb9b9585be20d8fadc721da03",
            "ed25519vectors",
        ),
        (
            50,
            "low_order_component_A",
            true,
            "10eb7c3acfb2bed3e0d6ab89bf5a3d6afddd1176ce4812e38d9fd485058fdb1f",
            "b62cf890de42c413b11b1411c9f01f1c4d77aa87ef182258d1251f69af2a350608f32d206a7c0b7efa9a59e66546e8f1f599ef843fb502c9cc3c4ae8b7c11e05",
            "ed25519vectors 5",
        ),
    ] {
        let key = VerifierKey::new("k", Algorithm::Ed25519, &const_hex::decode(key).unwrap());
        let signature = const_hex::decode(signature).unwrap();
        let verified = match key.as_ref().map(VerifierKey::material) {
            Ok(Material::Ed25519(key)) => verify_ed25519(key, message.as_bytes(), &signature).is_some(),
            _ => false,
        };
        assert_eq!(verified, accepted, "vector {number}, {flag}");
    }
}

#[test]
fn what_is_not_a_key() {
    let cases = [
        ("no parts", "example.com/foo", KeyError::NotAVerifierKey),
        ("two parts", "example.com/foo+530d903a", KeyError::NotAVerifierKey),
        (
            "an empty name",
            "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            KeyError::Name("".into()),
        ),
        ("a space in the name", "a b+530d903a+AekyeRrm", KeyError::Name("a b".into())),
        ("a newline in the name", "a\nb+530d903a+AekyeRrm", KeyError::Name("a\nb".into())),
        ("upper-case hex", "a+530D903A+AekyeRrm", KeyError::KeyIdSpelling("530D903A".into(), "a".into())),
        ("a short key ID", "a+530d903+AekyeRrm", KeyError::KeyIdSpelling("530d903".into(), "a".into())),
        ("no base64", "a+530d903a+!", KeyError::Base64("a".into())),
        ("a final newline", "a+530d903a+Aeky\n", KeyError::Base64("a".into())),
        ("no material", "a+530d903a+", KeyError::Material("a".into())),
        ("a type alone", "a+530d903a+AQ==", KeyError::Material("a".into())),
        ("ECDSA", "a+530d903a+AgAA", KeyError::UnknownAlgorithm { name: "a".into(), type_byte: 2 }),
    ];
    for (what, text, error) in cases {
        assert_eq!(text.parse::<VerifierKey>(), Err(error), "{what}");
    }
    let renamed = SPEC_VKEY.replace("/foo", "/bar").parse::<VerifierKey>();
    assert!(matches!(renamed, Err(KeyError::KeyIdMismatch { found: 0x530d_903a, .. })));
    let long = "n".repeat(MAX_NAME_BYTES);
    VerifierKey::new(&long, Algorithm::Ed25519, vkey(SPEC_VKEY).public_key()).unwrap();
    let longer = VerifierKey::new(&format!("{long}n"), Algorithm::Ed25519, vkey(SPEC_VKEY).public_key());
    assert!(matches!(longer, Err(KeyError::Name(_))));
}

#[test]
fn a_secret_key_keeps_its_secret() {
    let key: SecretKey = PETER_SKEY.parse().unwrap();
    let seed = const_hex::encode(key.seed());
    let shown = format!("{key:?} {:?}", Ed25519Signer::new(&key));
    assert!(!shown.contains("AYEKFALV") && !shown.contains(&seed) && shown.contains("withheld"));

    assert_eq!(PETER_VKEY.parse::<SecretKey>().unwrap_err(), KeyError::NotASecretKey);
    // Without its name, or its name and key ID, the secret stands where they should.
    for text in ["PRIVATE+KEY+c74f20a3+AYEKFALV+FALV", "PRIVATE+KEY+AYEK FALV+AYEKFALV+FALV"] {
        let error = text.parse::<SecretKey>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("AYEK"), "{error}");
    }
    let wrong_id = PETER_SKEY.replace("c74f20a3", "c74f20a4");
    assert!(matches!(wrong_id.parse::<SecretKey>(), Err(KeyError::KeyIdMismatch { .. })));
    let ml_dsa = SecretKey::from_seed("k", Algorithm::MlDsa44, &[1; 32]);
    assert_eq!(ml_dsa.unwrap_err(), KeyError::NoSecretKey("k".into()));
    let cosigner = key.rename("w", Algorithm::CosignatureV1).unwrap();
    assert_eq!(cosigner.to_text().parse::<SecretKey>().unwrap().verifier_key(), cosigner.verifier_key());
}

#[test]
fn a_refreshed_signature_takes_the_place_of_the_old_one() {
    let (a, b) = (secret("a", Algorithm::Ed25519, 1), secret("b", Algorithm::Ed25519, 2));
    let mut note = Note::parse(signed("text\n", &[&a, &b]).as_bytes()).unwrap();
    let mut newer = note.signatures()[0].clone();
    newer.bytes[0] ^= 1;
    note.put(newer.clone());
    assert_eq!(note.signatures(), [newer, note.signatures()[1].clone()]);
    let lines = format!("{}\n{}\n", note.signatures()[0], note.signatures()[1]);
    assert_eq!(Signature::parse_lines(lines.as_bytes()).unwrap(), note.signatures());
    assert_eq!(Signature::parse_lines(b""), Err(NoteError::NoSignatures));
}

/// What the crate `signed_note` (Cloudflare) makes of the same bytes: text and verified names.
fn oracle(note: &[u8], vkeys: &[VerifierKey]) -> Option<(Vec<u8>, usize)> {
    let verifiers = vkeys.iter().map(|key| {
        let verifier = signed_note::StandardVerifier::new(&key.to_string()).unwrap();
        Box::new(verifier) as Box<dyn signed_note::Verifier>
    });
    let known = signed_note::VerifierList::new(verifiers.collect());
    let note = signed_note::Note::from_bytes(note).ok()?;
    let (verified, _) = note.verify(&known).ok()?;
    Some((note.text().to_vec(), verified.len()))
}

fn ours(note: &[u8], vkeys: &[VerifierKey]) -> Option<(Vec<u8>, usize)> {
    let note = Note::parse(note).ok()?;
    let verified = note.verify(vkeys).ok()?;
    Some((verified.text().as_bytes().to_vec(), verified.signatures().len()))
}

proptest! {
    #[test]
    fn agrees_with_signed_note(
        text in "[ -~é—\n]{0,40}\n",
        seeds in proptest::collection::vec(0_u8..4, 1..4),
        mutation in proptest::option::of((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3)),
    ) {
        let mut seeds = seeds;
        seeds.sort_unstable();
        seeds.dedup();
        let keys: Vec<SecretKey> =
            seeds.iter().map(|seed| secret(&format!("key{seed}"), Algorithm::Ed25519, *seed)).collect();
        let vkeys: Vec<VerifierKey> = keys.iter().take(2).map(|key| key.verifier_key().clone()).collect();
        let mut note = signed(&text, &keys.iter().collect::<Vec<_>>()).into_bytes();
        match mutation {
            Some((at, byte, 0)) => { let at = at.index(note.len()); note[at] = byte; }
            Some((at, byte, 1)) => note.insert(at.index(note.len()), byte),
            Some((at, _, _)) => { note.remove(at.index(note.len())); }
            None => {}
        }
        prop_assert_eq!(ours(&note, &vkeys), oracle(&note, &vkeys));
        if let Ok(parsed) = Note::parse(&note) {
            prop_assert_eq!(parsed.to_text().into_bytes(), note);
        }
    }

    #[test]
    fn keys_are_written_as_they_are_read(name in "[a-z./]{1,20}", seed: [u8; 32], cosigner: bool) {
        let algorithm = if cosigner { Algorithm::CosignatureV1 } else { Algorithm::Ed25519 };
        let key = SecretKey::from_seed(&name, algorithm, &seed).unwrap();
        let text = key.verifier_key().to_string();
        prop_assert_eq!(&text.parse::<VerifierKey>().unwrap(), key.verifier_key());
        let read: SecretKey = key.to_text().parse().unwrap();
        prop_assert_eq!(read.seed(), &seed);
        if !cosigner {
            prop_assert!(signed_note::StandardVerifier::new(&text).is_ok());
            prop_assert!(signed_note::StandardSigner::new(&key.to_text()).is_ok());
        }
    }

    #[test]
    fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Note::parse(&bytes);
        let _ = Signature::parse_lines(&bytes);
    }
}
