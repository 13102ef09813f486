//! `glasslog ingest conda`, against a running log.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    process::Command,
};

use serde_json::Value;

use crate::support::{Server, glasslog, home, run, write};

const CHANNEL: &str = r#"{"info":{"subdir":"noarch"},"packages":{"a-1-0.tar.bz2":{"name":"a","size":1}},
    "packages.conda":{"b-1-0.conda":{"name":"b","sha256":"00"},"c-1-0.conda":{"name":"c"}},"repodata_version":1}"#;

fn ingest(home: &Path, server: &Server, args: &[&str]) -> (i32, String, String) {
    let mut all = vec!["ingest", "conda"];
    all.extend(args);
    all.extend(["--log-url", &server.url]);
    run(home, &all)
}

#[test]
fn a_channel_is_logged_once() {
    let home = home();
    let server = Server::start(home.path(), &["--entry-schema", "conda-1"]);
    write(home.path(), "noarch/repodata.json", CHANNEL.as_bytes());
    let args = ["noarch/repodata.json", "--repo", "mine"];
    let (code, stdout, stderr) = ingest(home.path(), &server, &args);
    assert_eq!((code, stdout.as_str()), (0, "mine/noarch  +3 new  0 already logged\n"), "{stderr}");
    let (code, stdout, _) = ingest(home.path(), &server, &args);
    assert_eq!((code, stdout.as_str()), (0, "mine/noarch  +0 new  3 already logged\n"));
    assert_eq!(server.records().len(), 3, "public when the command ends, and nothing appended twice");
}

#[test]
fn a_patched_record_is_appended_and_older_repodata_is_refused() {
    let home = home();
    let server = Server::start(home.path(), &["--entry-schema", "conda-1"]);
    let args = ["noarch/repodata.json", "--repo", "mine"];
    write(home.path(), "noarch/repodata.json", CHANNEL.as_bytes());
    assert_eq!(ingest(home.path(), &server, &args).0, 0);
    write(home.path(), "noarch/repodata.json", CHANNEL.replace("\"size\":1", "\"size\":2").as_bytes());
    let (code, stdout, stderr) = ingest(home.path(), &server, &args);
    assert_eq!((code, stdout.as_str()), (0, "mine/noarch  +1 new  2 already logged\n"), "{stderr}");

    write(home.path(), "noarch/repodata.json", CHANNEL.as_bytes());
    let (code, _, stderr) = ingest(home.path(), &server, &args);
    assert_eq!(code, 3);
    assert!(stderr.contains("would roll packages back"), "{stderr}");
    assert_eq!(server.records().len(), 4, "nothing was sent");
    let (code, stdout, _) = ingest(home.path(), &server, &[&args[..], &["--force"]].concat());
    assert_eq!((code, stdout.as_str()), (0, "mine/noarch  +1 new  2 already logged\n"));
}

/// The record of v3 comes last in the file and contradicts an earlier one: it alone is logged, however often.
#[test]
fn of_a_file_listed_twice_the_record_of_v3_is_logged_once() {
    let home = home();
    let server = Server::start(home.path(), &["--entry-schema", "conda-1"]);
    let twice = r#"{"packages":{"a-1-0.tar.bz2":{"x":1}},"v3":{"tar.bz2":{"a-1-0":{"x":2}}}}"#;
    write(home.path(), "noarch/repodata.json", twice.as_bytes());
    for counts in ["+1 new  0 already logged", "+0 new  1 already logged"] {
        let (code, stdout, stderr) =
            ingest(home.path(), &server, &["noarch/repodata.json", "--repo", "mine"]);
        assert_eq!(code, 1);
        assert!(stdout.contains(counts) && stdout.contains("1 listed twice"), "{stdout}");
        assert!(stderr.contains("listed twice with different records: a-1-0.tar.bz2"), "{stderr}");
    }
    assert_eq!(server.records().len(), 1);
    let only = String::from_utf8(server.records().pop().unwrap()).unwrap();
    assert!(only.contains(r#""meta":{"x":2}"#), "{only}");
}

/// Each by its name, with an exit code that says so, and everything before or beside it logged.
#[test]
fn bad_input_is_named_and_never_dropped() {
    for (why, repodata, code, logged, told) in [
        ("cut off", r#"{"packages":{"a-1-0.tar.bz2":{},"b-1-0.tar.bz2":{"#, 5, 1, "cut off"),
        ("no repodata", "[]", 5, 0, "not repodata"),
        ("empty", "", 5, 0, "cut off"),
        (
            "no record",
            r#"{"packages":{"a-1-0.tar.bz2":7,"b-1-0.tar.bz2":{}}}"#,
            1,
            1,
            "a-1-0.tar.bz2: the record is not an object",
        ),
        ("no file name", r#"{"packages":{"a/b":{}}}"#, 1, 0, "a/b"),
        (
            "unknown key",
            r#"{"packages":{"a-1-0.tar.bz2":{}},"surprise":{}}"#,
            0,
            1,
            "unknown top-level key skipped: surprise",
        ),
        ("duplicate key", r#"{"packages":{"a-1-0.tar.bz2":{"x":1,"x":2}}}"#, 0, 1, ""),
        ("a float", r#"{"packages":{"a-1-0.tar.bz2":{"x":1.5}}}"#, 0, 1, ""),
        (
            "a huge integer",
            r#"{"packages":{"a-1-0.tar.bz2":{"x":123456789012345678901234567890}}}"#,
            0,
            1,
            "",
        ),
        ("no hashes", r#"{"packages":{"a-1-0.tar.bz2":{}}}"#, 0, 1, ""),
        ("not ASCII", r#"{"packages":{"ä-1-0.tar.bz2":{"name":"ä"}}}"#, 0, 1, ""),
    ] {
        let home = home();
        let server = Server::start(home.path(), &["--entry-schema", "conda-1"]);
        write(home.path(), "noarch/repodata.json", repodata.as_bytes());
        let (found, stdout, stderr) =
            ingest(home.path(), &server, &["noarch/repodata.json", "--repo", "mine"]);
        assert_eq!(found, code, "{why}: {stdout}{stderr}");
        assert!(stderr.contains(told), "{why}: {stderr}");
        assert_eq!(server.records().len(), logged, "{why}: {stdout}{stderr}");
    }
}

#[test]
fn a_log_that_takes_other_repos_only_is_told_of() {
    let home = home();
    let server = Server::start(home.path(), &["--entry-schema", "conda-1", "--entry-repos", "other"]);
    write(home.path(), "noarch/repodata.json", CHANNEL.as_bytes());
    let (code, stdout, stderr) = ingest(home.path(), &server, &["noarch/repodata.json", "--repo", "mine"]);
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(stderr.contains("not logged: noarch/a-1-0.tar.bz2"), "{stderr}");
    assert!(stdout.contains("3 NOT LOGGED"), "{stdout}");
}

/// The others are sent, the worst exit code is kept, and every source has its report.
#[test]
fn one_bad_source_does_not_keep_the_others_from_being_sent() {
    let home = home();
    let server = Server::start(home.path(), &["--entry-schema", "conda-1"]);
    write(home.path(), "noarch/repodata.json", CHANNEL.as_bytes());
    write(home.path(), "linux-64/repodata.json", br#"{"packages":{"a-1-0.tar.bz2":7}}"#);
    let sources = ["linux-64/repodata.json", "win-64/repodata.json", "noarch/repodata.json"];
    let more = ["--repo", "mine", "--json", "--jsonl-out", "out.jsonl"];
    let (code, stdout, stderr) = ingest(home.path(), &server, &[&sources[..], &more].concat());
    assert_eq!(code, 1, "a record that is not logged is worse than a file that is not there: {stderr}");
    let reports: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(reports[0]["refused"][0][0], "a-1-0.tar.bz2");
    assert!(reports[1]["failed"].as_str().unwrap().contains("cannot read win-64"), "{stdout}");
    assert_eq!((&reports[2]["new"], &reports[2]["failed"]), (&Value::from(3), &Value::Null));
    assert_eq!(server.records().len(), 3);
    let left = std::fs::read_dir(home.path()).unwrap().map(|file| file.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().contains("jsonl")), "not half of it");

    let (code, stdout, _) = ingest(home.path(), &server, &[&sources[1..], &more[..2]].concat());
    assert_eq!(code, 5);
    assert!(stdout.contains("mine/win-64  +0 new  0 already logged  FAILED"), "{stdout}");
}

/// Even when they are so many that the log is believed to want none.
#[test]
fn refused_records_are_named() {
    let home = home();
    let server = Server::start(home.path(), &["--entry-schema", "conda-1", "--entry-repos", "other"]);
    let records: Vec<String> = (0..20).map(|number| format!("\"a-{number}-0.tar.bz2\":{{}}")).collect();
    let repodata = format!("{{\"packages\":{{{}}}}}", records.join(","));
    write(home.path(), "noarch/repodata.json", repodata.as_bytes());
    let (code, stdout, stderr) = ingest(home.path(), &server, &["noarch/repodata.json", "--repo", "mine"]);
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(stderr.contains("not logged: noarch/a-0-0.tar.bz2"), "{stderr}");
    assert!(stderr.contains("the log refuses these entries"), "{stderr}");
}

#[test]
fn odd_records_are_flagged() {
    let home = home();
    let md5 = "0123456789abcdef0123456789abcdef";
    let repodata = format!(
        r#"{{"packages":{{"a-1-0.tar.bz2":{{"md5":"{md5}"}},"b-1-0.tar.bz2":{{}},"c-1-0.tar.bz2":{{"x":1.5}}}}}}"#
    );
    write(home.path(), "noarch/repodata.json", repodata.as_bytes());
    let args = ["ingest", "conda", "noarch/repodata.json", "--repo", "mine", "--dry-run", "--json"];
    let (code, stdout, stderr) = run(home.path(), &args);
    assert_eq!(code, 0, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let flagged = serde_json::json!({"hashless": 2, "md5_only": 1, "meta_raw": 1, "unwatched": 0});
    assert_eq!(report[0]["flagged"], flagged);
    assert!(stderr.contains("2 records logged without any hash"), "{stderr}");
}

/// A log that takes everything and then cannot show a checkpoint for a moment: nothing has failed.
#[test]
fn a_checkpoint_that_cannot_be_read_for_a_moment_is_waited_for() {
    let home = home();
    write(home.path(), "noarch/repodata.json", br#"{"packages":{"a-1-0.tar.bz2":{}}}"#);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut checkpoints = vec!["log\n1\n", "no checkpoint", "log\n0\n", "log\n0\n"];
        while let Ok((mut stream, _)) = listener.accept() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
            let signature = "\u{2014} log 2Yoz4AA=";
            let (status, body) = if head.starts_with("GET /checkpoint") {
                let text = checkpoints.pop().unwrap_or("log\n1\n");
                ("200 OK", format!("{text}{root}\n\n{signature}\n"))
            } else if head.starts_with("POST") {
                ("200 OK", "0\n".to_owned())
            } else {
                ("404 Not Found", String::new())
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            let _sent = stream.write_all((head + &body).as_bytes());
            // What is left of a request's body, or the client would be cut off.
            let _rest =
                stream.shutdown(std::net::Shutdown::Write).and_then(|()| reader.read_to_end(&mut Vec::new()));
        }
    });
    let args = ["ingest", "conda", "noarch/repodata.json", "--repo", "mine", "--log-url", &url];
    let (code, stdout, stderr) = run(home.path(), &args);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("+1 new"), "{stdout}");
    let seen = std::fs::read_dir(home.path().join(".local/state/glasslog/ingest")).unwrap().next().unwrap();
    let seen = std::fs::read_to_string(seen.unwrap().path()).unwrap();
    assert!(seen.contains("\"complete\":true"), "{seen}");
}

#[test]
fn what_cannot_work_is_said() {
    let home = home();
    write(home.path(), "noarch/repodata.json", CHANNEL.as_bytes());
    let source = ["ingest", "conda", "noarch/repodata.json"];
    let with = |args: &[&str]| run(home.path(), &[&source[..], args].concat());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, _, stderr) = with(&["--repo", "mine", "--log-url", &format!("http://{free}")]);
    assert_eq!(code, 4, "{stderr}");
    let (code, _, stderr) = with(&["--log-url", "http://127.0.0.1:1"]);
    assert_eq!((code, stderr.contains("--repo")), (64, true), "{stderr}");
    let (code, _, stderr) = with(&["--repo", "mine"]);
    assert_eq!((code, stderr.contains("--log-url")), (64, true), "{stderr}");

    let server = Server::start(home.path(), &["--api-key", "s3cret"]);
    let (code, _, stderr) = ingest(home.path(), &server, &["noarch/repodata.json", "--repo", "mine"]);
    assert_eq!((code, stderr.contains("--api-key")), (64, true), "{stderr}");
    let mut with_key = glasslog(home.path());
    with_key.args(source).args(["--repo", "mine", "--log-url", &server.url]).env("API_KEY", "s3cret");
    assert_eq!(with_key.output().unwrap().status.code(), Some(0));
    // The variables that the server itself was given: a list, or a file with one.
    write(home.path(), "token", b"s3cret,next\n");
    for (name, value) in [("API_KEY", "s3cret,next"), ("API_KEY_FILE", "token")] {
        let mut with_key = glasslog(home.path());
        with_key.args(source).args(["--repo", "mine", "--log-url", &server.url]).env(name, value);
        assert_eq!(with_key.output().unwrap().status.code(), Some(0), "{name}");
    }
    let (code, _, stderr) =
        ingest(home.path(), &server, &["missing.json", "--repo", "m", "--subdir", "noarch"]);
    assert_eq!((code, stderr.contains("cannot read missing.json")), (5, true), "{stderr}");
}

#[test]
fn a_dry_run_writes_the_entries_and_sends_nothing() {
    let home = home();
    write(home.path(), "noarch/repodata.json", CHANNEL.as_bytes());
    let args = [
        "ingest",
        "conda",
        "noarch/repodata.json",
        "--repo",
        "mine",
        "--dry-run",
        "--jsonl-out",
        "out.jsonl",
    ];
    let (code, stdout, stderr) = run(home.path(), &[&args[..], &["--limit", "2"]].concat());
    assert_eq!((code, stdout.as_str()), (0, "mine/noarch  2 records, nothing sent\n"), "{stderr}");
    let lines = std::fs::read_to_string(home.path().join("out.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 2);
    assert!(lines.starts_with(
        r#"{"artifact":{"size":1},"eco":"conda","meta":{"name":"a","size":1},"path":"noarch/a-1-0.tar.bz2""#
    ));
    let (code, stdout, _) = run(
        home.path(),
        &["ingest", "conda", "noarch/repodata.json", "--repo", "mine", "--dry-run", "--json"],
    );
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report[0]["records"]), (0, &Value::from(3)));
}

/// A web server for one file at a time; what it serves next may depend on how often it was asked.
fn web(answers: Vec<Box<dyn Fn() -> (String, String) + Send>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/noarch/repodata.json", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            let (modified, body) = answer();
            let head = format!(
                "HTTP/1.1 200 OK\r\nLast-Modified: {modified}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).unwrap();
            let _until_closed = stream.take(1).read(&mut [0]);
        }
    });
    url
}

#[test]
fn a_url_is_fetched_and_an_older_one_refused() {
    let home = home();
    let server = Server::start(home.path(), &[]);
    let serve = |modified: &'static str, body: String| -> Box<dyn Fn() -> (String, String) + Send> {
        Box::new(move || (modified.to_owned(), body.clone()))
    };
    let url = web(vec![
        serve("Mon, 23 Nov 2026 12:00:00 GMT", CHANNEL.to_owned()),
        serve("Sun, 22 Nov 2026 12:00:00 GMT", CHANNEL.replace("\"size\":1", "\"size\":0")),
    ]);
    let args = [url.as_str(), "--repo", "mine"];
    let (code, stdout, stderr) = ingest(home.path(), &server, &args);
    assert_eq!((code, stdout.as_str()), (0, "mine/noarch  +3 new  0 already logged\n"), "{stderr}");
    let (code, _, stderr) = ingest(home.path(), &server, &args);
    assert_eq!(code, 3);
    assert!(stderr.contains("is older than what was sent last"), "{stderr}");
}

/// Between our look at the log and our batch, somebody logs a newer record of the same file: the source is started
/// again, and by then it has the newer record too.
#[test]
fn another_writer_is_never_rolled_back() {
    let home = home();
    let server = Server::start(home.path(), &["--entry-schema", "conda-1"]);
    let newer = CHANNEL.replace("\"size\":1", "\"size\":2");
    write(home.path(), "noarch/repodata.json", newer.as_bytes());
    let args =
        ["ingest", "conda", "noarch/repodata.json", "--repo", "mine", "--dry-run", "--jsonl-out", "newer"];
    assert_eq!(run(home.path(), &args).0, 0);
    let entry =
        std::fs::read_to_string(home.path().join("newer")).unwrap().lines().next().unwrap().to_owned();
    let log = server.url.clone();
    let url = web(vec![
        Box::new(move || {
            let added =
                crate::support::request(&format!("{log}/add"), "POST", &[], entry.as_bytes()).unwrap();
            assert_eq!(added.text(), "0\n");
            ("Mon, 23 Nov 2026 12:00:00 GMT".to_owned(), CHANNEL.to_owned())
        }),
        Box::new(move || ("Mon, 23 Nov 2026 12:00:01 GMT".to_owned(), newer.clone())),
    ]);
    let (code, stdout, stderr) =
        ingest(home.path(), &server, &[&url, "--repo", "mine", "--jsonl-out", "sent"]);
    assert_eq!((code, stdout.as_str()), (0, "mine/noarch  +2 new  1 already logged\n"), "{stderr}");
    let sent = std::fs::read_to_string(home.path().join("sent")).unwrap();
    assert_eq!(sent.lines().count(), 3, "what was begun and given up is taken back: {sent}");
    assert!(!sent.contains("\"size\":1"), "{sent}");
    assert!(stderr.contains("starting it again"), "{stderr}");
    let size_1 =
        server.records().iter().filter(|entry| entry.windows(8).any(|at| at == b"\"size\":1")).count();
    assert_eq!(size_1, 0, "the older record was never logged");
}

/// Real channels, byte for byte, when they are there: 8 subdirs of conda-forge, 12,132 records.
#[test]
fn the_conda_forge_sample() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/conda/conda-forge-2024");
    if !sample.is_dir() {
        println!("skipped: {} is not there", sample.display());
        return;
    }
    let home = home();
    let server = Server::start(home.path(), &["--entry-schema", "conda-1", "--entry-repos", "conda-forge"]);
    let mut sources: Vec<String> = std::fs::read_dir(&sample)
        .unwrap()
        .map(|subdir| subdir.unwrap().path().join("repodata.json.zst").to_str().unwrap().to_owned())
        .collect();
    sources.sort();
    let mut args: Vec<&str> = sources.iter().map(String::as_str).collect();
    args.extend(["--repo", "conda-forge"]);
    let (code, stdout, stderr) = ingest(home.path(), &server, &args);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.ends_with("all/8 sources  +12,132 new  0 already logged\n"), "{stdout}");

    let mut logged: BTreeMap<String, Value> = BTreeMap::new();
    for entry in server.records() {
        let entry: Value = serde_json::from_slice(&entry).unwrap();
        let path = entry["path"].as_str().unwrap().to_owned();
        assert!(logged.insert(path, entry["meta"].clone()).is_none());
    }
    let mut listed = BTreeSet::new();
    for source in &sources {
        let subdir = Path::new(source).parent().unwrap().file_name().unwrap().to_str().unwrap();
        let plain = Command::new("zstd").args(["-dcq", source]).output();
        let Ok(plain) = plain else {
            println!("skipped: no zstd command to read {source} with");
            return;
        };
        let repodata: Value = serde_json::from_slice(&plain.stdout).unwrap();
        for section in ["packages", "packages.conda"] {
            for (file, record) in repodata[section].as_object().into_iter().flatten() {
                let path = format!("{subdir}/{file}");
                assert_eq!(&logged[&path], record, "{path}");
                listed.insert(path);
            }
        }
    }
    assert_eq!(listed.len(), 12_132);

    let (code, stdout, stderr) = ingest(home.path(), &server, &args);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.ends_with("all/8 sources  +0 new  12,132 already logged\n"), "{stdout}");
    assert_eq!(server.records().len(), 12_132);
    let (code, stdout, stderr) = run(home.path(), &["fsck", &server.url, "--vkey", &server.vkey]);
    assert_eq!(code, 0, "{stdout}{stderr}");
}
