//! `glasslog index check`: a log that lies, over HTTP and in a directory, and what the command says of it.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
};

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    anchor::{anchor, disavow},
    entry_bundle,
    note::{Algorithm, SecretKey},
    tile::{all_bundles, all_tiles},
};
use glasslog_store::lock::LockFile;
use glasslog_vindex::{Key, Misbehaviour, MisbehaviourProof};

use crate::{
    forged::{Claimed, Log, MAP_FN, ORIGIN, held},
    naive,
    support::{Server, home, run, size_of, write},
};

/// The public files of a log.
fn files(log: &Log) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::from([("checkpoint".to_owned(), log.checkpoint().into_bytes())]);
    let at = |index: u64| usize::try_from(index).unwrap();
    for bundle in all_bundles(log.size()) {
        let begin = at(bundle.index) * 256;
        let of_bundle = &log.entries[begin..begin + usize::from(bundle.width)];
        files.insert(bundle.path(), entry_bundle::encode(of_bundle).unwrap());
    }
    for tile in all_tiles(log.size()) {
        let span = 256_usize.pow(tile.level.into());
        let begin = at(tile.index) * 256;
        let hashes = (begin..begin + usize::from(tile.width))
            .map(|at| naive::mth(&log.leaves[at * span..(at + 1) * span]));
        files.insert(tile.path(), hashes.flat_map(|hash| hash.0).collect());
    }
    files
}

fn write_files(dir: &Path, log: &Log) {
    for (path, bytes) in files(log) {
        write(dir, &path, &bytes);
    }
}

/// What is wrong with an index.
type Bug = fn(&mut Claimed);

/// What becomes of the log at each lookup.
type Growth = fn(&mut Log);

/// A log behind a URL that answers lookups by what it has anchored.
struct Liar {
    url: String,
    log: Arc<Mutex<Log>>,
}

impl Liar {
    fn start(log: Log, growth: Option<Growth>) -> Liar {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(log));
        let of_thread = Arc::clone(&log);
        // Ends with the test program.
        std::thread::spawn(move || {
            // A checkpoint's files stay: readers of an older one are not done with them.
            let mut kept = BTreeMap::new();
            for stream in listener.incoming().flatten() {
                let mut log = of_thread.lock().unwrap();
                kept.extend(files(&log));
                let _gone = answer(stream, &mut log, &kept, growth);
            }
        });
        Liar { url, log }
    }
}

fn answer(
    mut stream: TcpStream,
    log: &mut Log,
    kept: &BTreeMap<String, Vec<u8>>,
    growth: Option<Growth>,
) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let body = match path.strip_prefix("vindex/lookup/") {
        Some(hex) if growth.is_some() => Some(looked_up(log, hex, query)),
        _ => kept.get(path).cloned(),
    };
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)?;
    if path.starts_with("vindex/")
        && let Some(grow) = growth
    {
        grow(log);
    }
    Ok(())
}

/// The answer of the API: a page of the list, and the proof.
fn looked_up(log: &Log, hex: &str, query: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let key = Key(std::array::from_fn(|at| byte(2 * at)));
    let number = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| value.parse::<usize>().unwrap())
    };
    let (start, limit) = (number("start").unwrap_or(0), number("limit").unwrap_or(1000));
    // Short pages, so that some lists have several.
    let page: Vec<u64> = log.list(&key).iter().skip(start).take(limit.min(2)).map(|index| index.0).collect();
    serde_json::json!({ "indices": page, "proof": log.lookup(&key).to_text() }).to_string().into_bytes()
}

fn still(_: &mut Log) {}

fn key(name: &str) -> Key {
    Key::of_name(name)
}

/// One of the list of `b` is passed over.
fn skipping(index: &mut Claimed) {
    let mut list = index[&key("b")].1.clone();
    list.remove(1);
    index.insert(key("b"), held(list));
}

/// 600 entries with a void anchor and a right one; then, at `wrong`, one with this bug, and two entries.
fn lying(bug: Bug) -> (Log, LeafIndex) {
    let mut log = Log::new();
    for number in 0..600 {
        match number {
            100 => {
                log.void();
            }
            300 => {
                log.anchor();
            }
            _ => {}
        }
        log.name(["a", "b", "c", &number.to_string()][number % 4]);
    }
    let wrong = log.anchor_with(bug);
    log.name("a");
    log.name("b");
    (log, wrong)
}

fn vkey() -> String {
    Log::new().keys[0].to_string()
}

/// `index check`, with the log's key and map function pinned.
fn check(home: &Path, target: &str, more: &[&str]) -> (i32, String, String) {
    let vkey = vkey();
    let args = ["index", "check", target, "--map-fn", MAP_FN, "--vkey", &vkey];
    run(home, &[&args, more].concat())
}

fn proof_in(home: &Path, name: &str) -> (MisbehaviourProof, Misbehaviour) {
    let proof = MisbehaviourProof::parse(&std::fs::read(home.join(name)).unwrap()).unwrap();
    let log = Log::new();
    let proven = proof.verify(ORIGIN, &log.keys, &log.map_fn).unwrap();
    (proof, proven.what())
}

#[test]
fn an_honest_log_is_right_by_url_and_by_directory() {
    let home = home();
    let (log, _) = lying(|_| {});
    write_files(&home.path().join("log"), &log);
    let liar = Liar::start(log, Some(still));
    for target in [liar.url.as_str(), "log"] {
        let (code, stdout, stderr) = check(home.path(), target, &["-o", "proof"]);
        assert_eq!(
            (
                code,
                stdout.starts_with("right: 2 index roots of json-field:name over 605 entries, and 1 void")
            ),
            (0, true),
            "{stdout}{stderr}"
        );
        assert!(!home.path().join("proof").exists());
    }
    let (code, stdout, _) = check(home.path(), "log", &["--json"]);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["ok"], &report["anchors"]), (0, &true.into(), &3.into()), "{stdout}");
}

#[test]
fn a_lying_log_convicts_itself_over_http() {
    let home = home();
    let bugs: [(&str, Bug, Misbehaviour); 4] = [
        ("skipped", skipping, Misbehaviour::Skipped),
        ("omitted", |index| drop(index.remove(&key("c"))), Misbehaviour::Omitted),
        ("foreign", |index| drop(index.insert(key("x"), held(vec![LeafIndex(4)]))), Misbehaviour::Foreign),
        ("impossible", |index| index.get_mut(&key("a")).unwrap().0.count = 0, Misbehaviour::Impossible),
    ];
    for (name, bug, expected) in bugs {
        let (log, wrong) = lying(bug);
        let liar = Liar::start(log, Some(still));
        let (code, stdout, stderr) = check(home.path(), &liar.url, &["-o", name]);
        assert_eq!(code, 1, "{name}: {stdout}{stderr}");
        assert!(stdout.starts_with(&format!("WRONG: the anchor at {wrong} is wrong: ")), "{stdout}");
        assert!(
            stdout.contains("not disavowed") && stdout.contains("proven, and written"),
            "{stdout}{stderr}"
        );
        let (proof, what) = proof_in(home.path(), name);
        assert_eq!((proof.anchor, what), (wrong, expected), "{name}");
        let pinned = ["--vkey", &vkey(), "--map-fn", MAP_FN];
        let (code, stdout, stderr) =
            run(home.path(), &[&["verify", "proof", "--offline", name], &pinned[..]].concat());
        assert_eq!((code, stdout.starts_with("MISBEHAVIOUR")), (4, true), "{stdout}{stderr}");
    }
}

/// At each lookup the log has grown by an entry and a wrong anchor: no two answers are by the same one.
#[test]
fn a_log_that_grows_meanwhile_is_followed() {
    let home = home();
    let (log, wrong) = lying(skipping);
    let liar = Liar::start(
        log,
        Some(|log| {
            log.name("d");
            log.anchor_with(skipping);
        }),
    );
    let (code, stdout, stderr) = check(home.path(), &liar.url, &["-o", "proof", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["findings"][0]["position"]), (1, &wrong.0.into()), "{stdout}{stderr}");
    assert_eq!(report["findings"][0]["faults"], serde_json::json!(["wrong-root"]));
    assert!(report["proof"].is_string(), "{stdout}{stderr}");
    let (proof, what) = proof_in(home.path(), "proof");
    assert_eq!(what, Misbehaviour::Skipped);
    assert!(proof.anchor > wrong && liar.log.lock().unwrap().size().contains(proof.anchor));
}

#[test]
fn what_cannot_be_proven_is_said_and_stays_wrong() {
    let home = home();
    let (mut log, wrong) = lying(skipping);
    write_files(&home.path().join("log"), &log);
    let (code, stdout, stderr) = check(home.path(), "log", &["-o", "proof"]);
    assert_eq!((code, stderr.contains("a directory answers nothing")), (1, true), "{stdout}{stderr}");
    let liar = Liar::start(std::mem::replace(&mut log, lying(skipping).0), None);
    let (code, stdout, stderr) = check(home.path(), &liar.url, &["-o", "proof"]);
    assert_eq!((code, stderr.contains("answers no lookups")), (1, true), "{stdout}{stderr}");
    // Disavowed, and right from then on.
    let at = log.push(disavow(&[wrong]));
    log.anchor();
    let liar = Liar::start(log, Some(still));
    let (code, stdout, stderr) = check(home.path(), &liar.url, &["-o", "proof"]);
    assert_eq!((code, stderr.contains("can no longer be proven offline")), (1, true), "{stdout}{stderr}");
    assert!(stdout.contains(&format!("disavowed at {at}")), "{stdout}");
    assert!(stdout.contains(&format!("the log disavows, at {at}, its anchors at {wrong}")), "{stdout}");
    assert!(!home.path().join("proof").exists());
}

#[test]
fn anchors_that_are_wrong_in_themselves_are_proven_from_a_directory() {
    let home = home();
    let root = Hash::EMPTY_ROOT;
    for (name, entry, expected) in [
        ("misplaced", anchor(MAP_FN, Some(&root), TreeSize(7)), Misbehaviour::Misplaced),
        ("map_fn", anchor("conda-1", None, TreeSize(604)), Misbehaviour::OtherMapFunction),
    ] {
        let (mut log, _) = lying(|_| {});
        assert_eq!(log.size(), TreeSize(605));
        log.entries.pop();
        log.leaves.pop();
        log.push(entry);
        log.anchor();
        write_files(&home.path().join(name), &log);
        let proof = format!("{name}.tlog-proof");
        let (code, stdout, stderr) = check(home.path(), name, &["-o", &proof]);
        assert_eq!((code, stdout.contains("the anchor at 604 is wrong")), (1, true), "{stdout}{stderr}");
        let (proof, what) = proof_in(home.path(), &proof);
        assert_eq!((proof.anchor, what), (LeafIndex(604), expected));
    }
}

/// A pin that no anchor agrees with accuses nobody.
#[test]
fn a_wrong_pin_is_suspected() {
    let home = home();
    write_files(&home.path().join("log"), &lying(|_| {}).0);
    let args = ["index", "check", "log", "--vkey", &vkey(), "--map-fn", "json-field:nome", "-o", "proof"];
    let (code, stdout, stderr) = run(home.path(), &args);
    assert_eq!((code, stdout.contains("was --map-fn meant to be that?")), (1, true), "{stdout}{stderr}");
    assert!(!stdout.contains("WRONG"), "nobody is accused: {stdout}");
    assert!(!home.path().join("proof").exists());
    let (code, _, stderr) = run(home.path(), &["index", "check", "log", "--map-fn", "conda-2"]);
    assert_eq!((code, stderr.contains("conda-1, and json-field:NAME")), (64, true), "{stderr}");
    let (code, _, _) = run(home.path(), &["index", "check", "log", "--resume"]);
    assert_eq!(code, 64, "there is nothing to resume without --work-dir");
}

#[test]
fn a_check_goes_on_where_the_last_one_ended() {
    let home = home();
    let (mut log, wrong) = lying(skipping);
    let dir = home.path().join("log");
    let resumed = |more: &[&str]| {
        let (code, stdout, stderr) =
            check(home.path(), "log", &[&["--work-dir", "work", "--resume", "--json"], more].concat());
        let report: serde_json::Value = serde_json::from_str(&stdout).unwrap_or_default();
        (code, report, stderr)
    };
    let mut begun_at = 0;
    for round in 1..4 {
        write_files(&dir, &log);
        let (code, report, stderr) = resumed(&[]);
        assert_eq!((code, &report["wrong"]), (1, &1.into()), "round {round}: {report}{stderr}");
        assert_eq!(report["findings"][0]["position"], wrong.0);
        assert_eq!((&report["size"], &report["begun_at"]), (&log.size().0.into(), &begun_at.into()));
        begun_at = log.size().0;
        for number in 0..200 * round {
            log.name(&number.to_string());
        }
        log.anchor();
    }
    let held = LockFile::acquire(&home.path().join("work/lock")).unwrap();
    let (code, _, stderr) = resumed(&[]);
    assert_eq!((code, stderr.contains("held by another process")), (5, true), "{stderr}");
    drop(held);
    // Another log of the same name and key.
    let mut other = lying(|_| {}).0;
    for _ in 0..3000 {
        other.push(b"other".to_vec());
    }
    write_files(&dir, &other);
    let (code, report, stderr) = resumed(&[]);
    assert_eq!(
        (code, stderr.contains("does not continue what was audited before")),
        (4, true),
        "{report}{stderr}"
    );
    // What was found so far is still there.
    write_files(&dir, &log);
    assert_eq!(resumed(&[]).0, 1);
    let smaller = lying(|_| {}).0;
    write_files(&dir, &smaller);
    let (code, _, stderr) = resumed(&[]);
    assert_eq!((code, stderr.contains("it is behind")), (4, true), "{stderr}");
    write_files(&dir, &other);
    let (code, stdout, stderr) = check(home.path(), "log", &["--work-dir", "work"]);
    assert_eq!((code, stdout.starts_with("right:")), (0, true), "{stdout}{stderr}");
}

#[test]
fn a_damaged_log_is_not_judged() {
    let home = home();
    let dir = home.path().join("log");
    let (log, _) = lying(skipping);
    for (file, named) in [("tile/entries/001", "tile/entries/001"), ("tile/0/000", "tile/0/000")] {
        write_files(&dir, &log);
        let mut bytes = std::fs::read(dir.join(file)).unwrap();
        bytes[40] ^= 1;
        write(&dir, file, &bytes);
        let (code, stdout, stderr) = check(home.path(), "log", &[]);
        assert_eq!((code, stderr.contains(named)), (4, true), "{stdout}{stderr}");
        assert!(stderr.contains("not what it signed") && stdout.is_empty(), "{stdout}{stderr}");
    }
    std::fs::remove_file(dir.join("tile/entries/000")).unwrap();
    assert_eq!(check(home.path(), "log", &[]).0, 4);
    let other = SecretKey::from_seed(ORIGIN, Algorithm::Ed25519, &[8; 32]).unwrap();
    write_files(&dir, &log);
    let (code, _, stderr) =
        run(home.path(), &["index", "check", "log", "--vkey", &other.verifier_key().to_string()]);
    assert_eq!((code, stderr.contains("is not believed")), (4, true), "{stderr}");
    assert_eq!(run(home.path(), &["index", "check", "nowhere"]).0, 64);
}

/// A log of a real server, with the served key.
#[test]
fn a_log_without_an_index_has_nothing_wrong() {
    let home = home();
    let server = Server::start(home.path(), &["--dir", "log"]);
    server.add(b"an entry");
    server.wait_for_size(1);
    let (code, stdout, stderr) = run(home.path(), &["index", "check", &server.url]);
    assert_eq!((code, stderr.contains("commits to no index")), (0, true), "{stdout}{stderr}");
    assert!(stderr.contains("no key is pinned"), "{stderr}");
}

/// The log of a real server, with its own anchors, checked as it grows.
#[test]
fn the_anchors_of_a_real_log_are_right() {
    let home = home();
    let server = Server::start(home.path(), &["--dir", "log", "--vindex-key-field", "name"]);
    let mut indexed = 0;
    for round in 0..3 {
        for number in 0..20 {
            let entry = format!("{{\"at\":[{round},{number}],\"name\":\"{}\"}}", number % 7);
            server.add(entry.as_bytes());
        }
        let last = server.add(format!("no JSON {round}").as_bytes());
        // An anchor ends the checkpoint that covers them.
        let note = server.wait_for_size(last + 2);
        let pinned = ["--vkey", &server.vkey, "--map-fn", MAP_FN, "--json"];
        for target in [server.url.as_str(), "log"] {
            let args =
                [&["index", "check", target, "--work-dir", "work", "--resume", "-o", "proof"], &pinned[..]];
            let (code, stdout, stderr) = run(home.path(), &args.concat());
            let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
            assert_eq!((code, &report["wrong"]), (0, &0.into()), "{stdout}{stderr}");
            assert!(report["size"].as_u64().unwrap() >= size_of(&note), "{stdout}");
            let roots = report["anchors"].as_u64().unwrap() - report["void"].as_u64().unwrap();
            assert!(roots >= indexed, "{stdout}");
            indexed = roots;
            assert_eq!(report["unmapped"], round + 1, "{stdout}");
        }
    }
    assert!(indexed > 0, "no anchor had a root");
    assert!(!home.path().join("proof").exists());
    let args = ["index", "check", &server.url, "--vkey", &server.vkey];
    let (code, stdout, stderr) = run(home.path(), &args);
    assert_eq!((code, stdout.contains("names conda-1")), (1, true), "{stdout}{stderr}");
}
