use glasslog_core::{
    Hash,
    cosignature::cosign,
    hash::leaf_hash,
    note::{Algorithm, Ed25519Signer, SecretKey, sign},
};

use super::*;

const ORIGIN: &str = "log.example/test";
const NOW: u64 = 1_000_000;

fn key(name: &str, algorithm: Algorithm, seed: u8) -> SecretKey {
    SecretKey::from_seed(name, algorithm, &[seed; 32]).unwrap()
}

fn witness_key() -> SecretKey {
    key("witness.example/w", Algorithm::CosignatureV1, 1)
}

fn witness() -> Witness {
    let keys = vec![witness_key().verifier_key().clone()];
    Witness { name: "w".into(), url: "http://w.example".into(), keys }
}

fn text(size: u64) -> String {
    Checkpoint::new(ORIGIN, TreeSize(size), leaf_hash(&size.to_be_bytes())).to_text()
}

fn line(text: &str, key: &SecretKey, time: u64) -> String {
    format!("{}\n", cosign(text, time, &Ed25519Signer::new(key)).unwrap())
}

fn judge(status: u16, content_type: &str, body: &[u8]) -> Result<Vec<Cosigned>, Refusal> {
    let answer = Answer { status, content_type, retry_after_s: None, body };
    witness().judge(&answer, &text(7), TreeSize(7), NOW)
}

/// Check 77 of research/witness.md: each body is a 200, and nothing of it counts.
#[test]
fn what_does_not_count() {
    let ours = witness_key();
    let plain = |text: &str| {
        let renamed = key("witness.example/w", Algorithm::Ed25519, 1);
        let note = sign(text, &[&Ed25519Signer::new(&renamed)]).unwrap();
        note.rsplit("\n\n").next().unwrap().to_owned()
    };
    let good = line(&text(7), &ours, NOW);
    for (what, body, label) in [
        ("nothing", String::new(), "garbage"),
        ("a page", "<html>hello</html>\n".into(), "garbage"),
        ("no final newline", good.trim_end().to_owned(), "garbage"),
        ("carriage returns", good.replace('\n', "\r\n"), "garbage"),
        ("a hundred and one lines", good.repeat(101), "garbage"),
        (
            "an unknown key alone",
            line(&text(7), &key("other", Algorithm::CosignatureV1, 2), NOW),
            "no_cosignature",
        ),
        (
            "another key of that name",
            line(&text(7), &key("witness.example/w", Algorithm::CosignatureV1, 2), NOW),
            "no_cosignature",
        ),
        (
            "the right key under another name",
            line(&text(7), &key("w2", Algorithm::CosignatureV1, 1), NOW),
            "no_cosignature",
        ),
        ("a bare signature", plain(&text(7)), "no_cosignature"),
        ("another size", line(&text(8), &ours, NOW), "wrong_signature"),
        ("another origin", line(&text(7).replace("log", "lag"), &ours, NOW), "wrong_signature"),
        ("no time", line(&text(7), &ours, 0), "time"),
        ("far in the future", line(&text(7), &ours, NOW + MAX_CLOCK_LEAD + 1), "time"),
        ("a good one and a wrong one", format!("{good}{}", line(&text(8), &ours, NOW)), "wrong_signature"),
    ] {
        assert_eq!(judge(200, "", body.as_bytes()).unwrap_err().label(), label, "{what}");
    }
}

#[test]
fn what_counts() {
    let good = line(&text(7), &witness_key(), NOW);
    let unknown = line(&text(7), &key("other", Algorithm::CosignatureV1, 2), NOW);
    let cosigned = judge(200, "text/plain", format!("{unknown}{good}").as_bytes()).unwrap();
    assert_eq!(cosigned.len(), 1);
    assert_eq!(cosigned[0].verified.time(), NOW);

    let note = sign(&text(7), &[&Ed25519Signer::new(&key(ORIGIN, Algorithm::Ed25519, 9))]).unwrap();
    let public = with_cosignatures(note.as_bytes(), [&cosigned[0].line]).unwrap();
    assert_eq!(public, format!("{note}{good}"), "the log's line first, as it was");
    let later = judge(200, "", line(&text(7), &witness_key(), NOW + 9).as_bytes()).unwrap();
    let refreshed = with_cosignatures(public.as_bytes(), [&later[0].line]).unwrap();
    assert_eq!(refreshed.lines().count(), public.lines().count(), "a refreshed line replaces that key's");
}

#[test]
fn other_answers() {
    for (status, content_type, body, expected) in [
        (409, SIZE_CONTENT_TYPE, "5\n", Refusal::Holds(TreeSize(5))),
        (409, SIZE_CONTENT_TYPE, "7\n", Refusal::Holds(TreeSize(7))),
        (409, SIZE_CONTENT_TYPE, "8\n", Refusal::Ahead(TreeSize(8))),
        (409, SIZE_CONTENT_TYPE, "05\n", Refusal::NoSize),
        (409, SIZE_CONTENT_TYPE, "5", Refusal::NoSize),
        (409, "text/plain", "5\n", Refusal::NoSize),
        (404, "", "", Refusal::UnknownLog),
        (422, "", "", Refusal::Inconsistent),
        (429, "", "", Refusal::Status(429)),
        (302, "", "", Refusal::Redirect),
        (403, "", "", Refusal::NotTrusted),
        (400, "", "", Refusal::Status(400)),
        (500, "", "", Refusal::Status(500)),
    ] {
        assert_eq!(judge(status, content_type, body.as_bytes()), Err(expected), "{status} {body:?}");
    }
}

#[test]
fn evidence_needs_our_own_signature() {
    let log_key = key(ORIGIN, Algorithm::Ed25519, 9);
    let keys = [log_key.verifier_key().clone()];
    let ours = Checkpoint::parse(&text(7)).unwrap();
    let signed = |text: &str, key: &SecretKey| sign(text, &[&Ed25519Signer::new(key)]).unwrap();
    let shown = |note: &str| {
        let root_at = |size: TreeSize| Ok::<_, ()>(leaf_hash(&size.0.to_be_bytes()));
        witness().evidence(note.as_bytes(), &ours, &keys, root_at).unwrap().map(|evidence| evidence.size)
    };
    assert_eq!(shown(&signed(&text(8), &log_key)), Some(TreeSize(8)), "larger");
    assert_eq!(shown(&signed(&text(7), &log_key)), None, "ours");
    assert_eq!(shown(&signed(&text(3), &log_key)), None, "an older one of ours");
    let other_root = Checkpoint::new(ORIGIN, TreeSize(3), Hash::EMPTY_ROOT).to_text();
    assert_eq!(shown(&signed(&other_root, &log_key)), Some(TreeSize(3)), "another root");
    assert_eq!(shown(&signed(&text(8), &key(ORIGIN, Algorithm::Ed25519, 8))), None, "not our key");
    assert_eq!(shown("nonsense"), None);
}

#[test]
fn one_address_is_one_witness() {
    let log = key(ORIGIN, Algorithm::Ed25519, 9);
    let keys: Vec<_> = (1..=3).map(|seed| key("w", Algorithm::CosignatureV1, seed)).collect();
    let policy = format!(
        "log {}\nwitness a {} https://w.example/\nwitness b {} https://w.example\nwitness c {}\nquorum a\n",
        log.verifier_key(),
        keys[0].verifier_key(),
        keys[1].verifier_key(),
        keys[2].verifier_key()
    );
    let witnesses = Witness::of_policy(&Policy::parse(policy.as_bytes()).unwrap());
    assert_eq!(witnesses.len(), 1, "the third has no address");
    assert_eq!((witnesses[0].name.as_str(), witnesses[0].keys.len()), ("a", 2));
    assert_eq!(witnesses[0].submission_url(), "https://w.example/add-checkpoint");
}
