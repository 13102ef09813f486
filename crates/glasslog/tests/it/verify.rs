//! `glasslog verify`, against a real log that a channel was ingested into.

use std::path::Path;

use serde_json::Value;

use crate::support::{Server, home, run, write};

/// A channel of two packages; `a`'s sha256 begins with `digit`, `license` is metadata.
fn channel(digit: char, license: &str) -> String {
    let (a, b) = (digit.to_string().repeat(64), "b".repeat(64));
    format!(
        r#"{{"info":{{"subdir":"noarch"}},"packages":{{}},"packages.conda":{{
            "a-1-0.conda":{{"name":"a","version":"1","build":"0","build_number":0,"license":"{license}","sha256":"{a}","size":1}},
            "b-1-0.conda":{{"name":"b","version":"1","build":"0","build_number":0,"sha256":"{b}","size":2}}}},"repodata_version":1}}"#
    )
}

fn conda_log(home: &Path) -> Server {
    let server = Server::start(home, &["--entry-schema", "conda-1", "--vindex-enabled", "false"]);
    ingest(home, &server, &channel('a', "MIT"));
    server
}

fn ingest(home: &Path, server: &Server, repodata: &str) {
    write(home, "noarch/repodata.json", repodata.as_bytes());
    let args = ["ingest", "conda", "noarch/repodata.json", "--repo", "mine", "--log-url", &server.url];
    let (code, stdout, stderr) = run(home, &args);
    assert_eq!(code, 0, "{stdout}{stderr}");
}

/// `verify record` of package `a` (unless `more` says another `--file`), as `repodata` has it.
fn verify(home: &Path, server: &Server, repodata: &str, more: &[&str]) -> (i32, Value, String) {
    write(home, "mine.json", repodata.as_bytes());
    let mut args =
        vec!["verify", "record", "--repo", "mine", "--subdir", "noarch", "--repodata", "mine.json", "--json"];
    if !more.contains(&"--file") {
        args.extend(["--file", "a-1-0.conda"]);
    }
    args.extend(["--log-url", &server.url]);
    args.extend(more);
    let (code, stdout, stderr) = run(home, &args);
    let report = if stdout.is_empty() { Value::Null } else { serde_json::from_str(&stdout).unwrap() };
    (code, report, stderr)
}

/// Each verdict with its exit code (DESIGN §7, FORMATS §5).
#[test]
fn verdicts_and_exit_codes() {
    let home = home();
    let server = conda_log(home.path());
    let pinned = ["--vkey", server.vkey.as_str()];
    let check =
        |repodata: &str, more: &[&str]| verify(home.path(), &server, repodata, &[&pinned[..], more].concat());

    let (code, report, stderr) = check(&channel('a', "MIT"), &[]);
    assert_eq!((code, &report["verdict"], &report["index"]), (0, &"current".into(), &0.into()), "{stderr}");
    assert_eq!((&report["freshness"], &report["size"]), (&"unknown".into(), &2.into()));
    let (code, report, _) = check(&channel('a', "MIT"), &["--index", "0"]);
    assert_eq!((code, &report["verdict"]), (0, &"logged".into()));
    let (code, report, _) = check(&channel('a', "MIT"), &["--index", "1"]);
    assert_eq!((code, &report["verdict"]), (1, &"elsewhere".into()));
    let (code, report, _) = check(&channel('a', "MIT"), &["--index", "2"]);
    assert_eq!((code, &report["verdict"]), (2, &"not-logged".into()));
    let (code, report, _) = check(&channel('a', "GPL"), &[]);
    assert_eq!((code, &report["verdict"]), (1, &"differs".into()));
    let (code, report, _) = check(&channel('f', "MIT"), &[]);
    assert_eq!((code, &report["verdict"]), (1, &"replaced".into()));
    assert_eq!(report["ours"], format!("sha256:{}", "f".repeat(64)));
    assert_eq!(report["theirs"], format!("sha256:{}", "a".repeat(64)));
    let (code, report, _) = check(&channel('a', "MIT").replace("a-1-0", "z-1-0"), &["--file", "z-1-0.conda"]);
    assert_eq!((code, &report["verdict"]), (2, &"not-logged".into()));

    ingest(home.path(), &server, &channel('a', "GPL"));
    let (code, report, _) = check(&channel('a', "MIT"), &[]);
    assert_eq!((code, &report["verdict"], &report["latest"]), (0, &"patched-since".into(), &2.into()));
    let (code, report, _) = check(&channel('a', "GPL"), &[]);
    assert_eq!((code, &report["verdict"], &report["index"]), (0, &"current".into(), &2.into()));
}

/// Readers of JSON take the last of two equal names, and conda readers a section of their own choice: a sound record
/// beside an altered one must not stand for it.
#[test]
fn a_file_that_is_listed_twice_is_never_verified() {
    let home = home();
    let server = conda_log(home.path());
    let record = |digit: char| {
        let sha256 = digit.to_string().repeat(64);
        format!(
            r#""name":"a","version":"1","build":"0","build_number":0,"license":"MIT","sha256":"{sha256}","size":1"#
        )
    };
    let (sound, evil) = (record('a'), record('e'));
    let (file, key) = ("a-1-0.conda", "a-1-0");
    let check = |repodata: &str| verify(home.path(), &server, repodata, &["--vkey", &server.vkey]);
    let once = format!(r#"{{"packages.conda":{{"{file}":{{{sound}}}}}}}"#);
    assert_eq!(check(&once).0, 0);
    let same = format!(r#"{{"packages.conda":{{"{file}":{{{sound}}},"{file}":{{{sound}}}}}}}"#);
    assert_eq!(check(&same).0, 0, "the same record twice is one");
    for (name, repodata) in [
        ("in one section", format!(r#"{{"packages.conda":{{"{file}":{{{sound}}},"{file}":{{{evil}}}}}}}"#)),
        (
            "in both sections",
            format!(r#"{{"packages.conda":{{"{file}":{{{sound}}}}},"packages":{{"{file}":{{{evil}}}}}}}"#),
        ),
        (
            "v3 first",
            format!(
                r#"{{"v3":{{"conda":{{"{key}":{{{sound}}}}}}},"packages.conda":{{"{file}":{{{evil}}}}}}}"#
            ),
        ),
        (
            "v3 last",
            format!(
                r#"{{"packages.conda":{{"{file}":{{{evil}}}}},"v3":{{"conda":{{"{key}":{{{sound}}}}}}}}}"#
            ),
        ),
    ] {
        let (code, report, stderr) = check(&repodata);
        assert_eq!((code, stderr.contains("twice")), (1, true), "{name}: {report} {stderr}");
    }
}

#[test]
fn what_is_too_old_unpinned_or_unreadable_has_its_own_code() {
    let home = home();
    let server = conda_log(home.path());
    let (sound, vkey) = (channel('a', "MIT"), server.vkey.clone());
    let check = |more: &[&str]| verify(home.path(), &server, &sound, more);

    let (code, _, stderr) = check(&[]);
    assert_eq!((code, stderr.contains("--vkey") && stderr.contains("--policy")), (64, true), "{stderr}");
    assert_eq!(check(&["--vkey", "nonsense"]).0, 64);
    let (code, report, _) = check(&["--vkey", &vkey, "--max-age", "24h"]);
    assert_eq!((code, &report["verdict"]), (3, &"current".into()), "no cosigner says a time");
    let (_, other, _) = run(home.path(), &["key", "new", &server.origin, "--out", "other.key"]);
    let other = other.split_whitespace().find(|word| word.starts_with(&server.origin) && word.contains('+'));
    if let Some(other) = other {
        assert_eq!(check(&["--vkey", other]).0, 4, "another key of the same name");
    }
    let (code, _, stderr) = check(&["--vkey", &vkey, "--file", "missing-1-0.conda"]);
    assert_eq!(code, 5, "{stderr}");
    write(home.path(), "policy", format!("log {vkey}\nquorum none\n").as_bytes());
    assert_eq!(check(&["--policy", "policy"]).0, 0);
    let witness = "w.example+1c1fea6d+BDpsjT7OpKn6hDjg9KVjOz2rFyBmcP8WDXHYAXzRWLwq";
    write(home.path(), "policy", format!("log {vkey}\nwitness w {witness}\nquorum w\n").as_bytes());
    let code = check(&["--policy", "policy"]).0;
    assert!([4, 64].contains(&code), "a quorum that is not filled is never 0: {code}");

    let args = ["verify", "record", "--repo", "mine", "--subdir", "noarch", "--file", "a-1-0.conda"];
    let url = server.url.clone();
    server.kill();
    let tail = |repodata| [&args[..], &["--repodata", repodata, "--log-url", &url, "--vkey", &vkey]].concat();
    assert_eq!(run(home.path(), &tail("mine.json")).0, 4);
    assert_eq!(run(home.path(), &tail("no-such.json")).0, 5);
}

#[test]
fn a_log_may_be_named_in_the_settings_file() {
    let home = home();
    let server = conda_log(home.path());
    let settings = format!("[log.mine]\nurl = \"{}\"\nvkey = [\"{}\"]\n", server.url, server.vkey);
    write(home.path(), ".config/glasslog/config.toml", settings.as_bytes());
    write(home.path(), "mine.json", channel('a', "MIT").as_bytes());
    let args = [
        "verify",
        "record",
        "--repo",
        "mine",
        "--subdir",
        "noarch",
        "--file",
        "a-1-0.conda",
        "--repodata",
        "mine.json",
    ];
    let (code, stdout, stderr) = run(home.path(), &[&args[..], &["--log", "mine"]].concat());
    assert_eq!(
        (code, stdout.starts_with("logged mine noarch/a-1-0.conda: at index 0")),
        (0, true),
        "{stdout}{stderr}"
    );
    let (code, _, stderr) = run(home.path(), &[&args[..], &["--log", "other"]].concat());
    assert_eq!((code, stderr.contains("it has: mine")), (64, true), "{stderr}");
}

/// FORMATS §5: a smaller checkpoint than the remembered one is 3, whatever was asked.
#[test]
fn a_node_that_lags_behind_is_never_0() {
    let home = home();
    let server = conda_log(home.path());
    let sound = channel('a', "MIT");
    let (_, old) = server.checkpoint();
    ingest(home.path(), &server, &channel('a', "GPL"));
    let vkey = server.vkey.clone();
    assert_eq!(verify(home.path(), &server, &sound, &["--vkey", &vkey]).0, 0, "size 3 is remembered");
    server.stop();
    let public = &home.path().join("glasslog-data/public");
    std::fs::remove_file(public.join("checkpoint")).unwrap();
    write(public, "checkpoint", old.as_bytes());
    write(home.path(), "mine.json", sound.as_bytes());
    let args = ["verify", "record", "--repo", "mine", "--subdir", "noarch", "--file", "a-1-0.conda"];
    for more in [&["--index", "0"][..], &[]] {
        let target = ["--repodata", "mine.json", "--vkey", &vkey, "--log-url", public.to_str().unwrap()];
        let (code, stdout, stderr) = run(home.path(), &[&args[..], &target, more].concat());
        assert_eq!((code, stdout.contains("lags behind")), (3, true), "{stdout}{stderr}");
    }
}

/// The same key signs another history in another directory: what a client saw before shows it.
#[test]
fn a_fork_is_noticed_and_its_evidence_kept() {
    let home = home();
    let first = Server::start(
        home.path(),
        &["--dir", "one", "--entry-schema", "conda-1", "--vindex-enabled", "false"],
    );
    ingest(home.path(), &first, &channel('a', "MIT"));
    let (sound, vkey) = (channel('a', "MIT"), first.vkey.clone());
    assert_eq!(verify(home.path(), &first, &sound, &["--vkey", &vkey]).0, 0);
    let origin = first.origin.clone();
    first.stop();

    let key = home.path().join("one/log.key");
    let key = key.to_str().unwrap();
    let more = [
        "--dir",
        "two",
        "--entry-schema",
        "conda-1",
        "--vindex-enabled",
        "false",
        "--log-origin",
        &origin,
        "--log-private-key-file",
        key,
    ];
    let second = Server::start(home.path(), &more);
    second.add(other_record().as_bytes());
    second.wait_for_size(1);
    // Smaller and not the beginning of what was seen: the larger tree's tiles are needed to prove that, and this log
    // does not have them. It is no success, and no claim of a fork either.
    let (code, _, stderr) = verify(home.path(), &second, &sound, &["--vkey", &vkey]);
    assert_eq!((code, stderr.contains("FORKED")), (4, false), "{stderr}");
    second.add(other_record().replace("zz-1-0", "zy-1-0").as_bytes());
    second.add(other_record().replace("zz-1-0", "zx-1-0").as_bytes());
    second.wait_for_size(3);
    let (code, _, stderr) = verify(home.path(), &second, &sound, &["--vkey", &vkey]);
    assert_eq!((code, stderr.contains("FORKED")), (4, true), "{stderr}");
    let kept =
        std::fs::read_dir(home.path().join(".local/state/glasslog/forks")).unwrap().next().unwrap().unwrap();
    let evidence = std::fs::read_to_string(kept.path()).unwrap();
    assert_eq!(evidence.matches(&format!("\n{origin}\n")).count(), 2, "{evidence}");
}

fn other_record() -> String {
    r#"{"artifact":{},"eco":"conda","meta":{"name":"zz"},"path":"noarch/zz-1-0.conda","profile":"conda-repodata-1","repo":"mine","type":"record","v":1}"#.into()
}

#[test]
fn proofs_are_checked_offline() {
    let home = home();
    let server = conda_log(home.path());
    let answer = server.get("/proof/1");
    assert_eq!(answer.status, 200, "{}", answer.text());
    write(home.path(), "proof", &answer.body);
    let entries = server.entries(2);
    write(home.path(), "entry", &entries[1]);
    write(home.path(), "other", &entries[0]);
    let vkey = server.vkey.clone();
    server.kill();

    let proof = |more: &[&str]| run(home.path(), &[&["verify", "proof", "proof"], more].concat());
    let (code, stdout, stderr) = proof(&["--entry", "entry", "--vkey", &vkey]);
    assert_eq!((code, stdout.starts_with("logged entry: at index 1")), (0, true), "{stdout}{stderr}");
    assert_eq!(proof(&["--entry", "other", "--vkey", &vkey]).0, 1);
    assert_eq!(proof(&["--entry", "entry"]).0, 64);
    assert_eq!(proof(&["--vkey", &vkey]).0, 64);
    assert_eq!(proof(&["--entry", "no-such", "--vkey", &vkey]).0, 5);
    assert_eq!(proof(&["--entry", "entry", "--vkey", &vkey, "--max-age", "1h"]).0, 3);
    let altered = String::from_utf8(answer.body).unwrap().replacen("index 1", "index 0", 1);
    write(home.path(), "proof", altered.as_bytes());
    assert_eq!(proof(&["--entry", "entry", "--vkey", &vkey]).0, 1);
    write(home.path(), "proof", b"c2sp.org/tlog-proof@v1\n");
    assert_eq!(proof(&["--entry", "entry", "--vkey", &vkey]).0, 5);
}
