//! Vectors that Go made (`interop/cmd/cosigvectors`: torchwood and filippo.io/mldsa), read by what this program signs and
//! verifies with.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;

use glasslog::keys::{self, ML_DSA};
use glasslog_core::{
    TreeSize,
    checkpoint::{Checkpoint, VerifiedCheckpoint},
    cosignature::{cosign, subtree_message},
    note::{Algorithm, MlDsa44, Note, SecretKey, Signature, VerifierKey, sign_line},
};

const VECTORS: &str = include_str!("../../glasslog-core/testdata/cosignatures.txt");

/// One block of the file: its fields, and the note at its end.
struct Vector<'a> {
    name: &'a str,
    fields: HashMap<&'a str, &'a str>,
    note: &'a str,
}

fn vectors() -> Vec<Vector<'static>> {
    let blocks = VECTORS.split("== ").filter(|block| !block.trim().is_empty());
    let read = |block: &'static str| {
        let (head, note) = block.split_once("\nnote\n").unwrap_or((block, ""));
        let (name, fields) = head.split_once('\n').unwrap();
        let fields = fields.lines().filter_map(|line| line.split_once(' ')).collect();
        Vector { name, fields, note }
    };
    blocks.map(read).collect()
}

impl Vector<'_> {
    /// The key that a seed gives under the name that the vkey has.
    fn key(&self, which: &str, algorithm: Algorithm) -> Option<SecretKey> {
        let (seed, vkey) = match which {
            "log" => ("log-seed".to_owned(), "log-vkey".to_owned()),
            kind => (format!("cosigner-seed-{kind}"), format!("cosigner-vkey-{kind}")),
        };
        let vkey: VerifierKey = self.fields.get(vkey.as_str())?.parse().unwrap();
        let mut bytes = [0; 32];
        const_hex::decode_to_slice(self.fields.get(seed.as_str())?, &mut bytes).unwrap();
        let key = keys::from_seed(vkey.name(), algorithm, &bytes).unwrap();
        assert_eq!(*key.verifier_key(), vkey, "{}: the seed gives the vkey", self.name);
        Some(key)
    }

    fn time(&self) -> u64 {
        self.fields["timestamp"].parse().unwrap()
    }
}

#[test]
fn checkpoints_that_go_cosigned_verify_and_reproduce() {
    let mut seen = 0;
    for vector in vectors().iter().filter(|vector| !vector.note.is_empty()) {
        let note = Note::parse(vector.note.as_bytes()).unwrap();
        let log = vector.key("log", Algorithm::Ed25519);
        let cosigners =
            [vector.key("0x04", Algorithm::CosignatureV1), vector.key("0x06", Algorithm::MlDsa44)];
        let public: Vec<VerifierKey> = log
            .iter()
            .chain(cosigners.iter().flatten())
            .map(|key| key.verifier_key().clone().checked_by(&ML_DSA))
            .collect();
        let origin = note.text().lines().next().unwrap();
        let verified = VerifiedCheckpoint::open(vector.note.as_bytes(), origin, &public).unwrap();
        assert!(verified.unchecked().is_empty());
        assert_eq!(verified.cosignatures().len(), cosigners.iter().flatten().count(), "{}", vector.name);
        assert!(verified.cosignatures().iter().all(|line| line.time() == vector.time()));

        // Ed25519 is deterministic: what we sign is what they signed.
        if let Some(log) = &log {
            let ours = sign_line(note.text(), &keys::log_signer(log).unwrap()).unwrap();
            assert!(note.signatures().contains(&ours), "{}", vector.name);
        }
        if let Some(ed25519) = &cosigners[0] {
            let ours = cosign(note.text(), vector.time(), &keys::cosigner(ed25519).unwrap()).unwrap();
            assert!(note.signatures().contains(&ours), "{}", vector.name);
        }
        seen += 1;
    }
    assert_eq!(seen, 6);
}

/// A subtree that does not begin at the first entry, as sign-subtree cosigns it.
#[test]
fn a_subtree_that_go_cosigned_verifies() {
    let vectors = vectors();
    let vector = vectors.iter().find(|vector| vector.fields.contains_key("start")).unwrap();
    let key = vector.key("0x06", Algorithm::MlDsa44).unwrap();
    let number = |field: &str| TreeSize(vector.fields[field].parse().unwrap());
    // A checkpoint is the reader of base64 hashes that there is.
    let checkpoint = Checkpoint::parse(&format!("o\n1\n{}\n", vector.fields["hash"])).unwrap();
    let message = subtree_message(
        key.name(),
        0,
        vector.fields["origin"],
        number("start")..number("end"),
        &checkpoint.root,
    )
    .unwrap();
    let at = VECTORS.find("\nline\n").unwrap() + "\nline\n".len();
    let line = Signature::parse_lines(&VECTORS.as_bytes()[at..]).unwrap().remove(0);
    assert!(line.is_of(key.verifier_key()));
    assert!(ML_DSA.verify(key.verifier_key().public_key(), &message, &line.bytes()[8..]));
}
