use std::{format, string::ToString, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::cosignature::cosign;
use crate::hash::leaf_hash;
use crate::note::{Algorithm, Ed25519Signer, SecretKey, sign};

/// The example of c2sp.org/tlog-checkpoint.
const SPEC_TEXT: &str =
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

/// A checkpoint of a public CT log of 2026 as four public witnesses cosigned it, and their published keys
/// (github.com/florolf/tlog_scales, tests; the witnesses' own pages). The first line is of type 0x05 and unknown to us.
const REAL_NOTE: &str = "arche2025h1.staging.ct.transparency.dev\n1432088532\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n\n\
— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=\n\
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=\n\
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==\n\
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==\n\
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==\n\
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==\n";
const REAL_LOG: &str =
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
const REAL_WITNESSES: [&str; 4] = [
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
];

/// filippo.io/torchwood, cmd/litewitness/testdata/litewitness.txt: a log whose leaves are known, and its checkpoints.
const SIGSUM_ORIGIN: &str =
    "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562";
const SIGSUM_KEY: &str = "ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f";
const SIGSUM_1: (&str, &str) = (
    "1\nKgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=",
);
const SIGSUM_3: (&str, &str) = (
    "3\nRcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=",
    "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=",
);
const SIGSUM_5: (&str, &str) = (
    "5\nQrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=",
    "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=",
);

fn key(name: &str, algorithm: Algorithm, seed: u8) -> SecretKey {
    SecretKey::from_seed(name, algorithm, &[seed; 32]).unwrap()
}

#[test]
fn the_example_of_the_specification() {
    let checkpoint = Checkpoint::parse(SPEC_TEXT).unwrap();
    assert_eq!(
        (checkpoint.origin.as_str(), checkpoint.size),
        ("example.com/behind-the-sofa", TreeSize(20_852_163))
    );
    assert_eq!(
        checkpoint.root.to_string(),
        "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"
    );
    assert_eq!(checkpoint.to_text(), SPEC_TEXT);
}

#[test]
fn a_real_checkpoint_with_the_cosignatures_of_public_witnesses() {
    let witnesses: Vec<VerifierKey> = REAL_WITNESSES.iter().map(|vkey| vkey.parse().unwrap()).collect();
    let log_keys = [REAL_LOG.parse().unwrap()];
    let origin = "arche2025h1.staging.ct.transparency.dev";
    let opened =
        VerifiedCheckpoint::open_with_witnesses(REAL_NOTE.as_bytes(), origin, &log_keys, &witnesses).unwrap();
    assert_eq!((opened.size(), opened.signed_by()), (TreeSize(1_432_088_532), &log_keys[..]));
    assert_eq!(opened.cosignatures().len(), 4);
    assert!(opened.cosignatures().iter().all(|cosignature| cosignature.time() == 0x6a12_2120));
    assert_eq!(opened.note().to_text(), REAL_NOTE);

    let altered = REAL_NOTE.replace("1432088532", "1432088533");
    let refused = VerifiedCheckpoint::open(altered.as_bytes(), origin, &witnesses);
    assert!(matches!(refused, Err(CheckpointError::Note(NoteError::BadSignature { .. }))));
    // Only witnesses signed, or only the log, when the other is asked for.
    let others = VerifiedCheckpoint::open_with_witnesses(REAL_NOTE.as_bytes(), origin, &[], &witnesses);
    assert_eq!(others, Err(CheckpointError::NotSignedByLog));
    let elsewhere = VerifiedCheckpoint::open(REAL_NOTE.as_bytes(), "elsewhere", &log_keys);
    assert!(matches!(elsewhere, Err(CheckpointError::OtherOrigin { .. })));
}

#[test]
fn the_checkpoints_of_torchwoods_tests() {
    let bytes = const_hex::decode(SIGSUM_KEY).unwrap();
    let log_key = VerifierKey::new(SIGSUM_ORIGIN, Algorithm::Ed25519, &bytes).unwrap();
    assert_eq!(log_key.key_id(), 0x5202_289b);
    for (size, (lines, signature)) in [(1, SIGSUM_1), (3, SIGSUM_3), (5, SIGSUM_5)] {
        let note = format!("{SIGSUM_ORIGIN}\n{lines}\n\n— {SIGSUM_ORIGIN} {signature}\n");
        let opened =
            VerifiedCheckpoint::open(note.as_bytes(), SIGSUM_ORIGIN, core::slice::from_ref(&log_key));
        assert_eq!(opened.unwrap().size(), TreeSize(size));
        let other = note.replace("0309e562", "0309e563");
        assert!(
            VerifiedCheckpoint::open(other.as_bytes(), SIGSUM_ORIGIN, core::slice::from_ref(&log_key))
                .is_err()
        );
    }
}

/// research/witness.md §2, 30–34 and 37: one wrong thing each.
#[test]
fn what_is_not_a_checkpoint() {
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    let mut cases = vec![
        ("empty".to_string(), CheckpointError::Lines),
        ("o\n1\n".into(), CheckpointError::Lines),
        (format!("o\n1\n{root}"), CheckpointError::Lines),
        (format!("\n1\n{root}\n"), CheckpointError::Origin),
        (format!("{}\n1\n{root}\n", "o".repeat(256)), CheckpointError::Origin),
        (format!("o\n1\n{root}\n\n"), CheckpointError::Extension),
        (format!("o\n1\n{root}\n\next\n"), CheckpointError::Extension),
    ];
    for size in
        ["", "01", "00", "+1", "-1", "-0", " 1", "1 ", "0x1", "1e3", "1_0", "18446744073709551616", "１", "٣"]
    {
        cases.push((format!("o\n{size}\n{root}\n"), CheckpointError::Size(size.into())));
    }
    for root in [
        "",
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I",
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=",
        "CsUYapGGPo4dkMgIAUqom_Xajj7h2fB2MPA3j2jxq2I=",
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxqw==",
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2Ji",
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I= ",
        " CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
    ] {
        cases.push((format!("o\n1\n{root}\n"), CheckpointError::Root(root.into())));
    }
    for (text, error) in cases {
        assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
    }
}

#[test]
fn what_a_checkpoint_may_be() {
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    let longest = "o".repeat(255);
    for (origin, size, extensions) in [
        ("go.sum database tree", "0", ""),
        (longest.as_str(), "18446744073709551615", ""),
        ("a+b /../ %2f 'x' 🪵", "9223372036854775808", "one\ntwo\n"),
    ] {
        let text = format!("{origin}\n{size}\n{root}\n{extensions}");
        assert_eq!(Checkpoint::parse(&text).unwrap().to_text(), text);
    }
}

#[test]
fn the_empty_tree_has_one_root() {
    let log = key("o", Algorithm::Ed25519, 1);
    let keys = [log.verifier_key().clone()];
    let open = |root| {
        let text = Checkpoint::new("o", TreeSize::ZERO, root).to_text();
        let note = sign(&text, &[&Ed25519Signer::new(&log)]).unwrap();
        VerifiedCheckpoint::open(note.as_bytes(), "o", &keys)
    };
    assert_eq!(open(Hash::EMPTY_ROOT).unwrap().size(), TreeSize::ZERO);
    assert_eq!(open(Hash([0; 32])), Err(CheckpointError::EmptyRoot));
    assert_eq!(open(leaf_hash(b"")), Err(CheckpointError::EmptyRoot));
}

/// The log's own cosigner signs as the log does; a witness's wrong line spoils the whole note.
#[test]
fn a_log_with_a_cosigner_of_its_own() {
    let (log, own) = (key("o", Algorithm::Ed25519, 1), key("o", Algorithm::CosignatureV1, 2));
    let witness = key("w", Algorithm::CosignatureV1, 3);
    let text = Checkpoint::new("o", TreeSize(1), leaf_hash(b"x")).to_text();
    let mut note = Note::parse(sign(&text, &[&Ed25519Signer::new(&log)]).unwrap().as_bytes()).unwrap();
    note.put(cosign(&text, 100, &Ed25519Signer::new(&own)).unwrap());
    note.put(cosign("another text\n", 100, &Ed25519Signer::new(&witness)).unwrap());
    let bytes = note.to_text();
    let log_keys = [log.verifier_key().clone(), own.verifier_key().clone()];

    let opened = VerifiedCheckpoint::open(bytes.as_bytes(), "o", &log_keys).unwrap();
    assert_eq!(opened.signed_by(), log_keys);
    assert_eq!(opened.cosignatures().len(), 1);
    let alone = VerifiedCheckpoint::open(bytes.as_bytes(), "o", &log_keys[1..]).unwrap();
    assert_eq!(alone.cosignatures()[0].time(), 100);
    let witnesses = [witness.verifier_key().clone()];
    let spoilt = VerifiedCheckpoint::open_with_witnesses(bytes.as_bytes(), "o", &log_keys, &witnesses);
    assert!(matches!(spoilt, Err(CheckpointError::Note(NoteError::BadSignature { .. }))));
}

proptest! {
    #[test]
    fn what_parses_is_written_back(text in "[a-z ]{0,3}\n[0-9+]{0,3}\n[A-Za-z0-9+/=]{40,46}\n(\n|[a-z]{1,3}\n){0,2}") {
        if let Ok(checkpoint) = Checkpoint::parse(&text) {
            prop_assert_eq!(checkpoint.to_text(), text);
        }
    }

    #[test]
    fn what_is_written_parses(origin in "\\PC{1,60}", size: u64, root: [u8; 32]) {
        let checkpoint = Checkpoint::new(&origin, TreeSize(size), Hash(root));
        prop_assert_eq!(Checkpoint::parse(&checkpoint.to_text()).unwrap(), checkpoint);
    }
}

/// A line may be as long as a note, and what is wrong with it is told in one that is not.
#[test]
fn an_error_quotes_the_beginning() {
    let long = "\u{7f}".repeat(400_000);
    for text in [format!("o\n{long}\nr\n"), format!("o\n1\n{long}\n")] {
        let error = Checkpoint::parse(&text).unwrap_err();
        assert!(error.to_string().len() < 500, "{} bytes", error.to_string().len());
    }
}
