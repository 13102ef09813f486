//! The second implementation judges what the audit makes.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use glasslog_vindex::Misbehaviour;

use crate::{
    convict::all_proofs,
    forged::{Log, MAP_FN, ORIGIN},
};

const SCRIPT: &str = r#"
import { readFileSync } from "node:fs";
const { parseVkey, verifyMisbehaviour } = await import(process.argv[1]);
const { origin, vkey, mapFn, files } = JSON.parse(readFileSync(0, "utf8"));
const pins = { origin, mapFn, keys: [await parseVkey(vkey)] };
const found = [];
for (const file of files) {
  const { fault, anchor, entry } = await verifyMisbehaviour(new TextEncoder().encode(file), pins);
  found.push([fault, Number(anchor), entry === null ? null : Number(entry)]);
}
console.log(JSON.stringify(found));
"#;

fn name(what: Misbehaviour) -> &'static str {
    match what {
        Misbehaviour::Omitted => "omitted",
        Misbehaviour::Stale => "stale",
        Misbehaviour::Skipped => "skipped",
        Misbehaviour::Foreign => "foreign",
        Misbehaviour::Disorder => "disorder",
        Misbehaviour::WrongLast => "wrong last",
        Misbehaviour::Impossible => "impossible",
        Misbehaviour::Misplaced => "misplaced",
        Misbehaviour::OtherMapFunction => "another map_fn",
    }
}

#[test]
fn the_javascript_verifier_accepts_each_proof() {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients/js/src/index.js");
    let node = Command::new("node").arg("--version").output();
    if !node.is_ok_and(|version| version.status.success()) || !module.exists() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "CI without node: nothing may be skipped"
        );
        println!("skipped: node or clients/js is not there");
        return;
    }
    let log = Log::new();
    let proofs = all_proofs();
    let files: Vec<String> = proofs.iter().map(|(proof, _)| proof.to_text()).collect();
    let asked = serde_json::json!({
        "origin": ORIGIN, "vkey": log.keys[0].to_string(), "mapFn": MAP_FN, "files": files,
    });
    let mut node = Command::new("node")
        .args(["--no-warnings", "--input-type=module", "-e", SCRIPT])
        .arg(module.canonicalize().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It reads everything before it writes.
    node.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<(String, u64, Option<u64>)> = serde_json::from_slice(&output.stdout).unwrap();
    let expected: Vec<_> = proofs
        .iter()
        .map(|(proof, what)| {
            let proven = proof.verify(ORIGIN, &log.keys, &log.map_fn).unwrap();
            (name(*what).to_owned(), proof.anchor.0, proven.entry().map(|entry| entry.0))
        })
        .collect();
    assert_eq!(found, expected);
}
