//! The index of a real log, through the real server: every record found by path, name and artifact, what is not there proven
//! absent, histories judged, proofs kept and verified offline.

use std::{collections::BTreeSet, path::Path};

use glasslog_client::{
    lookup::{Answered, Inquiry, MAX_LIST, Wanted, list::ListReader},
    pin::Pins,
};
use glasslog_conda::Conda1Map;
use glasslog_core::LeafIndex;
use glasslog_vindex::{Answer, Present};
use serde_json::Value;

use crate::support::{Server, home, poll, request, run, size_of, write};

const TOMBSTONE: &str = r#"{"eco":"conda","name":"a","path":"noarch/a-1-0.conda","profile":"conda-repodata-1","reason":"removed","repo":"mine","type":"tombstone","v":1}"#;

/// A channel of packages, each a letter with the digit that its sha256 is made of, and a licence.
fn channel(packages: &[(&str, char, &str)]) -> String {
    let records: Vec<String> = packages
        .iter()
        .map(|(name, digit, license)| {
            let sha256 = digit.to_string().repeat(64);
            format!(
                r#""{name}-1-0.conda":{{"name":"{name}","version":"1","build":"0","build_number":0,"license":"{license}","sha256":"{sha256}","size":1}}"#
            )
        })
        .collect();
    format!(r#"{{"info":{{"subdir":"noarch"}},"packages":{{}},"packages.conda":{{{}}}}}"#, records.join(","))
}

fn ingest(home: &Path, server: &Server, repodata: &str) {
    write(home, "noarch/repodata.json", repodata.as_bytes());
    let args = ["ingest", "conda", "noarch/repodata.json", "--repo", "mine"];
    let (code, stdout, stderr) = run(home, &[&args[..], &["--log-url", &server.url]].concat());
    assert_eq!(code, 0, "{stdout}{stderr}");
    until_served(server);
}

/// Waits until lookups are of what is public now.
fn until_served(server: &Server) {
    let size = size_of(&server.checkpoint().1);
    poll(|| {
        let answer = server.get("/vindex/lookup?kind=path&key=x");
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        (answer["tree_size"].as_u64()? >= size).then_some(())
    });
}

/// A command with `--json` and the log's key: exit code, the document, stderr.
fn ask(home: &Path, server: &Server, args: &[&str]) -> (i32, Value, String) {
    let pinned = ["--vkey", &server.vkey, "--log-url", &server.url, "--json"];
    let (code, stdout, stderr) = run(home, &[args, &pinned[..]].concat());
    (code, serde_json::from_str(&stdout).unwrap_or(Value::Null), stderr)
}

fn verify(home: &Path, server: &Server, packages: &[(&str, char, &str)]) -> (i32, Value, String) {
    write(home, "mine.json", channel(packages).as_bytes());
    let args = ["verify", "record", "--repo", "mine", "--subdir", "noarch", "--file", "a-1-0.conda"];
    ask(home, server, &[&args[..], &["--repodata", "mine.json"]].concat())
}

#[test]
fn a_channel_is_looked_up_through_its_life() {
    let home = home();
    let home = home.path();
    let server = Server::start(home, &["--entry-schema", "conda-1"]);
    let (a, b) = (("a", 'a', "MIT"), ("b", 'b', "MIT"));
    ingest(home, &server, &channel(&[a, b]));
    let path = |name: &str| format!("conda/mine/noarch/{name}-1-0.conda");
    for (kind, name) in [
        ("path", path("a")),
        ("path", path("b")),
        ("name", "conda/mine/a".into()),
        ("artifact", format!("sha256:{}", "b".repeat(64))),
    ] {
        let (code, found, stderr) = ask(home, &server, &["lookup", "--kind", kind, &name, "--entries", "1"]);
        assert_eq!((code, &found["count"]), (0, &1.into()), "{kind} {name} {stderr}");
        let entry =
            &server.entries(server.checkpoint().0)[usize::try_from(found["last"].as_u64().unwrap()).unwrap()];
        assert_eq!(found["entries"][0]["entry"].as_str().unwrap().as_bytes(), entry);
    }
    for absent in [path("z"), String::new(), "ü".repeat(30_000)] {
        assert_eq!(ask(home, &server, &["lookup", &absent]).0, 2);
    }

    let verdict = |packages: &[(&str, char, &str)]| {
        let (code, report, stderr) = verify(home, &server, packages);
        assert!(report["anchor"].is_u64(), "by the index: {report} {stderr}");
        (code, report["verdict"].as_str().unwrap_or_default().to_owned(), report)
    };
    assert_eq!(verdict(&[a]).1, "current");
    let (code, word, _) = verdict(&[("a", 'a', "GPL")]);
    assert_eq!((code, word.as_str()), (1, "differs"));
    ingest(home, &server, &channel(&[("a", 'a', "GPL"), b]));
    let (code, word, report) = verdict(&[a]);
    assert_eq!((code, word.as_str(), &report["index"]), (0, "patched-since", &0.into()));
    let before = server.checkpoint().0;
    server.add(TOMBSTONE.as_bytes());
    server.wait_for_size(before + 1);
    until_served(&server);
    let (code, word, _) = verdict(&[a]);
    assert_eq!((code, word.as_str()), (0, "removed-since"));
    ingest(home, &server, &channel(&[("a", 'e', "MIT"), b]));
    let (code, word, report) = verdict(&[a]);
    assert_eq!((code, word.as_str()), (1, "replaced"));
    assert_eq!(report["ours"], format!("sha256:{}", "a".repeat(64)));
    assert_eq!(report["theirs"], format!("sha256:{}", "e".repeat(64)));
    // What came in its place is the latest, and is told to have replaced another.
    let (code, word, report) = verdict(&[("a", 'e', "MIT"), b]);
    assert_eq!((code, word.as_str()), (0, "current"));
    assert_eq!(report["replaced"]["artifact"], format!("sha256:{}", "a".repeat(64)));
    let (_, found, _) = ask(home, &server, &["lookup", &path("a"), "--entries", "64"]);
    assert_eq!((&found["count"], found["entries"].as_array().map(Vec::len)), (&4.into(), Some(4)));

    for (name, file, code) in [(path("a"), "found", 0), (path("z"), "absent", 2)] {
        let (proven, _, stderr) = ask(home, &server, &["prove", &name, "-o", file]);
        assert_eq!(proven, 0, "{stderr}");
        let args = ["verify", "proof", "--offline", file, "--key", &name, "--vkey", &server.vkey];
        let (verified, _, stderr) = run(home, &args);
        assert_eq!(verified, code, "{stderr}");
    }
    let (code, _, stderr) = ask(home, &server, &["prove", "--index", "0", "-o", "entry", "--entry", "e"]);
    assert_eq!(code, 0, "{stderr}");
    let vkey = server.vkey.clone();
    server.kill();
    assert_eq!(run(home, &["verify", "proof", "entry", "--entry", "e", "--vkey", &vkey]).0, 0);
    assert_eq!(run(home, &["verify", "proof", "absent", "--vkey", &vkey]).0, 2);
}

/// A log of anything, whose index is of one member of its entries.
#[test]
fn a_log_of_other_entries_is_looked_up_by_the_pinned_field() {
    let home = home();
    let home = home.path();
    let server = Server::start(home, &["--vindex-key-field", "name"]);
    for entry in [r#"{"name":"a","n":1}"#, "anything", r#"{"name":"b"}"#, r#"{"name":"a","n":2}"#] {
        server.add(entry.as_bytes());
    }
    server.wait_for_size(4);
    poll(|| {
        let answer = server.get("/vindex/lookup?key=a");
        (answer.text().contains(r#""count":2"#)).then_some(())
    });
    let look =
        |more: &[&str]| ask(home, &server, &[&["lookup", "--map-fn", "json-field:name"], more].concat());
    let (code, found, stderr) = look(&["a", "--entries", "2"]);
    assert_eq!((code, &found["count"]), (0, &2.into()), "{stderr}");
    assert_eq!(found["entries"][0]["entry"], r#"{"name":"a","n":1}"#);
    assert_eq!((look(&["c"]).0, look(&[""]).0), (2, 2));
    assert_eq!(look(&["--kind", "path", "a"]).0, 64, "it has no kinds");
    let (code, _, stderr) = ask(home, &server, &["lookup", "a"]);
    assert_eq!((code, stderr.contains("answered 400")), (4, true), "not conda-1: {stderr}");
    assert_eq!(ask(home, &server, &["lookup", "a", "--map-fn", "json-field:n"]).0, 4);
}

/// Lists of thousands, of which one answer shows only the end.
#[test]
fn a_name_with_thousands_of_files_is_read_in_pages() {
    let home = home();
    let home = home.path();
    let server = Server::start(home, &["--entry-schema", "conda-1"]);
    let entries: Vec<String> = (0..2_500)
        .map(|n| {
            format!(
                r#"{{"artifact":{{}},"eco":"conda","meta":{{"name":"a"}},"path":"noarch/a-{n}-0.conda","profile":"conda-repodata-1","repo":"mine","type":"record","v":1}}"#
            )
        })
        .collect();
    let answer =
        server.post("/add-batch", &[("Content-Type", "application/x-ndjson")], entries.join("\n").as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    server.wait_for_size(2_500);
    until_served(&server);
    let name = ["lookup", "--kind", "name", "conda/mine/a"];
    let (code, found, stderr) = ask(home, &server, &name);
    assert_eq!((code, &found["count"]), (0, &2_500.into()), "{stderr}");
    let (code, found, stderr) = ask(home, &server, &[&name[..], &["--all"]].concat());
    assert_eq!((code, found["indices"].as_array().map(Vec::len)), (0, Some(2_500)), "{stderr}");
    assert_eq!(found["skipped"], 0);
}

/// Every record of a real channel by its path and by its name, with full verification, and a thousand names proven absent.
/// A sample of them each time; with `GLASSLOG_TORTURE=1` all.
#[test]
fn the_conda_forge_sample_is_looked_up() {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(2);
    let sample =
        above.map(|above| above.join("shared/data/conda/conda-forge-2024")).find(|path| path.is_dir());
    let Some(sample) = sample else { return println!("skipped: no ../shared/data/conda/conda-forge-2024") };
    let home = home();
    let home = home.path();
    let server = Server::start(home, &["--entry-schema", "conda-1"]);
    let mut sources: Vec<String> = std::fs::read_dir(&sample)
        .unwrap()
        .map(|subdir| subdir.unwrap().path().join("repodata.json.zst").to_str().unwrap().to_owned())
        .collect();
    sources.sort();
    let mut args = vec!["ingest", "conda", "--repo", "conda-forge", "--log-url", &server.url];
    args.extend(sources.iter().map(String::as_str));
    let (code, stdout, stderr) = run(home, &args);
    assert_eq!(code, 0, "{stdout}{stderr}");
    until_served(&server);

    let all = std::env::var_os("GLASSLOG_TORTURE").is_some_and(|value| value == "1");
    let (step, absent) = if all { (1, 1_000) } else { (97, 20) };
    let key = server.vkey.parse().unwrap();
    let pins = Pins::of_keys(&[key]);
    let look = |kind, name: &str| looked_up(&server, &pins, kind, name);
    let size = server.checkpoint().0;
    let mut looked_at = 0;
    for (index, entry) in (0..).map(LeafIndex).zip(server.entries(size)).step_by(step) {
        let json: Value = serde_json::from_slice(&entry).unwrap();
        let (Some(path), Some(name)) = (json["path"].as_str(), json["meta"]["name"].as_str()) else {
            assert_eq!(json["type"], "vindex-root", "{json}");
            continue;
        };
        let by_path = look("path", &format!("conda/conda-forge/{path}"));
        assert_eq!(by_path.indices, [index], "{path}");
        assert_eq!(by_path.entries, [(index, entry)], "{path}");
        assert!(look("name", &format!("conda/conda-forge/{name}")).indices.contains(&index), "{name}");
        looked_at += 1;
    }
    assert!(looked_at >= 100 && (!all || looked_at == 12_132), "{looked_at}");
    let absent: BTreeSet<String> =
        (0..absent).map(|n| format!("conda/conda-forge/no-such-package-{n}")).collect();
    for name in absent {
        let nothing = look("name", &name);
        assert_eq!((nothing.count, nothing.indices), (0, vec![]), "{name}");
    }
}

/// What the log holds about a name, all of it, verified; a count of 0 if it is proven to hold nothing.
fn looked_up(server: &Server, pins: &Pins, kind: &str, name: &str) -> Present {
    let inquiry = Inquiry::of_name(pins, &Conda1Map, Some(kind), name).unwrap();
    let get = |path: &str, accept| {
        let answer = request(&format!("{}/{path}", server.url), "GET", &[("Accept", accept)], b"").unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.body
    };
    let file = get(&inquiry.path(Wanted { list: MAX_LIST, entries: 1 }), "text/x.tlog.proof");
    let Answered { verified, .. } = inquiry.open(&file, 0).unwrap();
    let mut present = match verified.answer() {
        Answer::Present(present) => present.clone(),
        Answer::Absent => {
            Present { count: 0, last: LeafIndex(0), skipped: 0, indices: Vec::new(), entries: Vec::new() }
        }
    };
    if !present.is_complete() {
        let mut reader = ListReader::new(&inquiry);
        let whole = loop {
            if let Some(whole) = reader.accept(&get(&reader.path(), "application/json"), 0).unwrap() {
                break whole;
            }
        };
        present.indices = whole.indices;
    }
    present
}
