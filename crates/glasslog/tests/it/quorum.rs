//! Quorum and freshness (FORMATS §5) as `verify` and `fsck` judge them, with cosignatures of both types whose times are chosen.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use glasslog::keys;
use glasslog_core::{cosignature::cosign, note::Note};
use serde_json::Value;

use crate::support::{Server, home, run, write};

const HOUR: i64 = 3600;
const REPODATA: &str = r#"{"packages.conda":{"a-1-0.conda":{"name":"a","version":"1","build":"0","build_number":0,"sha256":"aa00000000000000000000000000000000000000000000000000000000000000","size":1}}}"#;

/// A key of this type, made by the command, and its vkey.
fn key(home: &Path, file: &str, name: &str, kind: &str) -> (keys::KeySigner, String) {
    let (code, vkey, stderr) = run(home, &["key", "new", name, "--type", kind, "--out", file]);
    assert_eq!(code, 0, "{stderr}");
    (keys::cosigner(&keys::load(&home.join(file)).unwrap()).unwrap(), vkey.trim().to_owned())
}

/// The cosignature line of `signer` over the checkpoint in `note`, so many seconds after now.
fn line(signer: &keys::KeySigner, note: &str, seconds_from_now: i64) -> String {
    let text = Note::parse(note.as_bytes()).unwrap().text().to_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let signature = cosign(&text, now.checked_add_signed(seconds_from_now).unwrap(), signer).unwrap();
    let mut cosigned = Note::unsigned(&text).unwrap();
    cosigned.put(signature);
    cosigned.to_text().rsplit_once("\n\n").unwrap().1.to_owned()
}

/// A log with one record that has been stopped: the command reads its directory.
fn stopped_log(home: &Path) -> (String, String, String) {
    let server = Server::start(home, &["--entry-schema", "conda-1", "--vindex-enabled", "false"]);
    write(home, "noarch/repodata.json", REPODATA.as_bytes());
    let args = ["ingest", "conda", "noarch/repodata.json", "--repo", "mine", "--log-url", &server.url];
    assert_eq!(run(home, &args).0, 0);
    let note = server.wait_for_size(1);
    let proof = server.get("/proof/0").text();
    write(home, "entry", &server.entries(1)[0]);
    let vkey = server.vkey.clone();
    server.stop();
    (vkey, note, proof)
}

fn publish(home: &Path, note: &str) {
    let public = home.join("glasslog-data/public");
    std::fs::remove_file(public.join("checkpoint")).unwrap();
    write(&public, "checkpoint", note.as_bytes());
}

fn verify_record(home: &Path, more: &[&str]) -> (i32, Value, String) {
    let args =
        ["verify", "record", "--repo", "mine", "--subdir", "noarch", "--file", "a-1-0.conda", "--json"];
    let log = ["--repodata", "noarch/repodata.json", "--log-url", "glasslog-data", "--policy", "policy"];
    let (code, stdout, stderr) = run(home, &[&args[..], &log, more].concat());
    (code, serde_json::from_str(&stdout).unwrap_or_default(), stderr)
}

#[test]
fn cosignatures_count_by_their_key_their_text_and_their_time() {
    let home = home();
    let home = home.path();
    let (log, note, proof) = stopped_log(home);
    let (a, a_vkey) = key(home, "a.key", "a.example", "witness");
    let (b, b_vkey) = key(home, "b.key", "b.example", "witness-ml-dsa");
    let (c, c_vkey) = key(home, "c.key", "c.example", "witness");
    let (unknown, _) = key(home, "u.key", "u.example", "witness");
    let policy = format!(
        "log {log}\nwitness a {a_vkey}\nwitness b {b_vkey}\nwitness c {c_vkey}\ngroup two 2 a b c\nquorum two\n"
    );
    write(home, "policy", policy.as_bytes());
    let other = note.replacen("\n1\n", "\n2\n", 1);

    for (name, lines, max_age, expected, counted) in [
        ("none", vec![], None, 4, &[][..]),
        ("one", vec![line(&a, &note, 0)], None, 4, &[]),
        ("two, one of them ML-DSA", vec![line(&a, &note, 0), line(&b, &note, 0)], None, 0, &["a", "b"]),
        (
            "one beside an old one",
            vec![line(&a, &note, 0), line(&b, &note, -25 * HOUR)],
            None,
            3,
            &["a", "b"],
        ),
        (
            "the same, and two days are allowed",
            vec![line(&a, &note, 0), line(&b, &note, -25 * HOUR)],
            Some("2d"),
            0,
            &["a", "b"],
        ),
        (
            "a third makes it fresh",
            vec![line(&a, &note, 0), line(&b, &note, -25 * HOUR), line(&c, &note, -HOUR)],
            None,
            0,
            &["a", "b", "c"],
        ),
        (
            "which an hour ago is not, for this minute",
            vec![line(&a, &note, 0), line(&c, &note, -HOUR)],
            Some("1m"),
            3,
            &["a", "c"],
        ),
        ("one from the future", vec![line(&a, &note, 0), line(&b, &note, HOUR)], None, 4, &[]),
        ("one over another checkpoint", vec![line(&a, &note, 0), line(&c, &other, 0)], None, 4, &[]),
        ("the same over another, ML-DSA", vec![line(&a, &note, 0), line(&b, &other, 0)], None, 4, &[]),
        ("one of nobody's", vec![line(&a, &note, 0), line(&unknown, &note, 0)], None, 4, &[]),
        ("one twice", vec![line(&a, &note, 0), line(&a, &note, -1)], None, 4, &[]),
    ] {
        publish(home, &(note.clone() + &lines.concat()));
        let age = max_age.map_or(vec![], |age| vec!["--max-age", age]);
        let (code, report, stderr) = verify_record(home, &age);
        assert_eq!(code, expected, "{name}: {report} {stderr}");
        let names: Vec<&str> =
            report["witnesses"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert_eq!(names, counted, "{name}");
        assert!(!stderr.contains("cannot be checked here"), "{name}: {stderr}");

        // At any age, for a log at rest; and a proof by itself speaks of no time.
        let expected = if expected == 4 { 4 } else { 0 };
        let (code, _, stderr) = run(home, &["fsck", "glasslog-data", "--policy", "policy"]);
        assert!(code == expected || (expected == 4 && code == 1), "{name}: {code} {stderr}");
        write(home, "proof", (proof.clone() + &lines.concat()).as_bytes());
        let args = ["verify", "proof", "proof", "--entry", "entry", "--policy", "policy"];
        let (code, stdout, stderr) = run(home, &args);
        assert_eq!(code, expected, "{name}: {stdout}{stderr}");
    }
}

/// "With `quorum none`, T is the newest time of the log's own pinned cosigner."
#[test]
fn a_log_that_times_itself_is_fresh_or_stale_by_that() {
    let home = home();
    let home = home.path();
    let (log, note, _) = stopped_log(home);
    let origin = log.split('+').next().unwrap();
    let (a, a_vkey) = key(home, "a.key", "a.example", "witness");
    for kind in ["witness", "witness-ml-dsa"] {
        let (own, own_vkey) = key(home, &format!("own-{kind}.key"), origin, kind);
        for (quorum, from_now, expected, freshness) in
            [("none", 0, 0, Some("fresh")), ("none", -25 * HOUR, 3, Some("stale")), ("own", 0, 4, None)]
        {
            let policy = format!("log {log}\nwitness own {own_vkey}\nwitness a {a_vkey}\nquorum {quorum}\n");
            write(home, "policy", policy.as_bytes());
            publish(home, &(note.clone() + &line(&own, &note, from_now) + &line(&a, &note, 0)));
            let (code, report, stderr) = verify_record(home, &[]);
            let usage = expected == 4 && code == 64;
            assert!(code == expected || usage, "{kind} {quorum} {from_now}: {code} {report} {stderr}");
            assert_eq!(report["freshness"].as_str(), freshness, "{kind} {quorum} {from_now}");
        }
    }
}
