//! A log with an index through the real binary: killed, its index deleted, rebuilt, contradicted. Every anchor is judged by a
//! naive model of the entries before it.

use std::{
    collections::BTreeMap,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use glasslog_core::{
    LeafIndex, TreeSize,
    anchor::{anchor, parse_anchor, parse_disavow},
    hash::leaf_hash,
    personality::Identity,
};
use glasslog_store::{
    LogState,
    disk::RealDisk,
    log_state::{Batch, BatchId, CommitOutcome, SegmentLogState, SegmentOptions, Slot},
};
use glasslog_vindex::JsonField;

use crate::{
    anchors_model::{Kind, judge},
    support::{Server, home, poll, request, run},
    torture::full,
};

const INDEXED: [&str; 2] = ["--vindex-key-field", "name"];

/// Every public entry, each anchor of which was found right.
fn judged(server: &Server) -> (Vec<Vec<u8>>, Vec<Kind>) {
    let entries = server.entries(server.checkpoint().0);
    let kinds = judge(&entries, &JsonField::new("name").unwrap());
    (entries, kinds)
}

/// Waits until the log ends in an anchor with a root.
fn anchored(server: &Server) -> Vec<Vec<u8>> {
    poll(|| {
        let (entries, kinds) = judged(server);
        (kinds.last() == Some(&Kind::Anchor)).then_some(entries)
    })
}

fn add(url: &str, number: u64) -> Option<u64> {
    let entry = format!("{{\"name\":\"n{}\",\"number\":{number}}}", number % 50);
    let answer = request(&format!("{url}/add"), "POST", &[], entry.as_bytes()).ok()?;
    (answer.status == 200).then(|| answer.text().trim().parse().unwrap())
}

/// kill -9 at points that differ each time, of an index that is written out often; sometimes it is deleted, sometimes it was built
/// by sorting: no anchor ever changes, each is right, and publication goes on.
#[test]
fn torture_a_killed_log_anchors_nothing_wrong() {
    let home = home();
    let indexed = [&INDEXED[..], &["--vindex-snapshot-interval", "10"]].concat();
    let next = Arc::new(AtomicU64::new(0));
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let rounds = if full() { 200 } else { 4 };
    for round in 0..rounds {
        let server = Server::start(home.path(), &indexed);
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let (url, next) = (server.url.clone(), Arc::clone(&next));
                std::thread::spawn(move || while add(&url, next.fetch_add(1, Ordering::Relaxed)).is_some() {})
            })
            .collect();
        // Killed while others write: after a number of entries, at some point of update, anchor, record and publish.
        let enough = next.load(Ordering::Relaxed) + 5 + 13 * (round % 11);
        poll(|| (next.load(Ordering::Relaxed) >= enough).then_some(()));
        server.kill();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        if round % 3 == 1 {
            std::fs::remove_dir_all(home.path().join("glasslog-data/index")).unwrap();
        }
        if round % 7 == 2 {
            let args = [&["index", "rebuild", "glasslog-data"][..], &INDEXED].concat();
            let (status, _, stderr) = run(home.path(), &args);
            assert_eq!(status, 0, "{stderr}");
        }
        if round % 10 == 3 || round + 1 == rounds {
            let server = Server::start(home.path(), &indexed);
            let number = next.fetch_add(1, Ordering::Relaxed);
            let index = add(&server.url, number).unwrap();
            server.wait_for_size(index + 2);
            let entries = anchored(&server);
            assert_eq!(entries.get(..seen.len()), Some(&*seen), "what was public stays");
            seen = entries;
            server.kill();
        }
    }
    let anchors = seen.iter().filter(|entry| parse_anchor(entry).is_some()).count();
    println!("{rounds} kills, {} entries, {anchors} anchors", seen.len());
    let server = Server::start(home.path(), &indexed);
    anchored(&server);
    let check = ["index", "check", &server.url, "--vkey", &server.vkey, "--map-fn", "json-field:name"];
    let (status, stdout, stderr) = run(home.path(), &check);
    assert_eq!(status, 0, "{stdout}{stderr}");
    server.stop();
}

#[test]
fn a_deleted_index_is_rebuilt_by_the_command_or_by_the_next_start() {
    let home = home();
    let server = Server::start(home.path(), &INDEXED);
    (0..300).for_each(|number| assert!(add(&server.url, number).is_some()));
    server.stop();
    let index = home.path().join("glasslog-data/index/vindex");
    for by_command in [true, false] {
        if index.exists() {
            std::fs::remove_dir_all(&index).unwrap();
        }
        if by_command {
            let args = [&["--json", "index", "rebuild", "glasslog-data"][..], &INDEXED].concat();
            let (status, stdout, stderr) = run(home.path(), &args);
            assert_eq!(status, 0, "{stderr}");
            let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
            assert_eq!(report["size"], report["anchor"], "{report}");
            let none = run(home.path(), &["index", "rebuild", "glasslog-data"]);
            assert_eq!((none.0, none.2.contains("VINDEX_KEY_FIELD")), (64, true), "{}", none.2);
        }
        let server = Server::start(home.path(), &INDEXED);
        let before = anchored(&server).len() as u64;
        add(&server.url, 1000 + before).unwrap();
        server.wait_for_size(before + 2);
        anchored(&server);
        server.stop();
    }
}

/// An index that is built before the log has its first anchor: nothing vouches for it, so the start builds it again, as the command
/// said, and takes it for nothing worse.
#[test]
fn an_index_that_was_built_before_the_first_anchor_is_no_alarm() {
    let home = home();
    let server = Server::start(home.path(), &[]);
    (0..20).for_each(|number| assert!(add(&server.url, number).is_some()));
    server.wait_for_size(20);
    server.stop();
    let args = [&["index", "rebuild", "glasslog-data"][..], &INDEXED].concat();
    let (status, stdout, stderr) = run(home.path(), &args);
    assert_eq!((status, stdout.contains("the next start builds it again")), (0, true), "{stdout}{stderr}");
    let server = Server::start(home.path(), &INDEXED);
    assert_eq!(anchored(&server).len(), 21);
    assert!(!server.stderr().contains("restored from a backup"), "{}", server.stderr());
    server.stop();
}

/// Changes a byte in every page of the index's runs, in place; how many pages there are.
fn rot(index: &Path) -> usize {
    let mut pages = 0;
    for file in std::fs::read_dir(index).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "run") {
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        for at in (200..bytes.len()).step_by(4096) {
            bytes[at] ^= 0x10;
            pages += 1;
        }
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&bytes, 0).unwrap();
    }
    pages
}

/// Names and the indices that each is found at, by the entries alone.
fn by_name(entries: &[Vec<u8>]) -> BTreeMap<String, Vec<u64>> {
    let mut names: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (index, entry) in (0..).zip(entries) {
        let entry: serde_json::Value = serde_json::from_slice(entry).unwrap();
        if let Some(name) = entry["name"].as_str() {
            names.entry(name.to_owned()).or_default().push(index);
        }
    }
    names
}

/// Pages of the base run that go bad under a running log are never served: a lookup is right or 503 until the index has been
/// built again, whether a lookup, an update or the next start meets them first. What is missing stays missing.
#[test]
fn pages_that_rot_under_a_running_log_are_never_served() {
    let home = home();
    let index = home.path().join("glasslog-data/index/vindex");
    let server = Server::start(home.path(), &INDEXED);
    let lines: Vec<String> =
        (0..900).map(|n| format!("{{\"name\":\"n{}\",\"number\":{n}}}", n % 60)).collect();
    let ndjson = [("Content-Type", "application/x-ndjson")];
    assert_eq!(server.post("/add-batch", &ndjson, lines.join("\n").as_bytes()).status, 200);
    server.wait_for_size(901);
    anchored(&server);
    server.stop();
    for met_by in ["a lookup", "an update", "a start"] {
        // What is taken in entry by entry is read at the start alone: only a base is read when it is asked.
        let args = [&["index", "rebuild", "glasslog-data"][..], &INDEXED].concat();
        assert_eq!(run(home.path(), &args).0, 0);
        let mut server = Server::start(home.path(), &INDEXED);
        let entries = anchored(&server);
        let size = entries.len() as u64;
        let look = |server: &Server, name: &str| {
            let answer = server.get(&format!("/vindex/lookup?key={name}"));
            match answer.status {
                200 => {
                    let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                    (answer["tree_size"].as_u64()? >= size).then_some(answer)
                }
                503 => None,
                status => panic!("{status} {}", answer.text()),
            }
        };
        poll(|| look(&server, "n1"));
        if met_by == "a start" {
            server.stop();
            assert!(rot(&index) > 0);
            server = Server::start(home.path(), &INDEXED);
        } else {
            assert!(rot(&index) > 0);
        }
        if met_by == "an update" {
            (0..60).for_each(|number| assert!(add(&server.url, number).is_some()));
        }
        let mut unserved = 0;
        for (name, indices) in by_name(&entries) {
            let answer = poll(|| {
                look(&server, &name).or_else(|| {
                    unserved += 1;
                    None
                })
            });
            let found: Vec<u64> = serde_json::from_value(answer["indices"].clone()).unwrap();
            assert_eq!(found.get(..indices.len()), Some(&*indices), "{met_by}: {name}");
        }
        for absent in ["n60", "", "x"] {
            assert_eq!(poll(|| look(&server, absent))["found"], false, "{met_by}: {absent}");
        }
        let stats: serde_json::Value = serde_json::from_slice(&server.get("/vindex/stats").body).unwrap();
        println!("{met_by}: {unserved} answers of 503, {stats}");
        let next = add(&server.url, 10_000 + size).unwrap();
        server.wait_for_size(next + 2);
        anchored(&server);
        server.stop();
    }
}

/// FORMATS §2: another map function than the log's anchors name is refused.
#[test]
fn another_key_field_is_refused() {
    let home = home();
    let server = Server::start(home.path(), &INDEXED);
    add(&server.url, 0).unwrap();
    server.stop();
    let (status, stderr) = Server::try_start(home.path(), &["--vindex-key-field", "number"]).err().unwrap();
    assert_eq!(status.code(), Some(64), "{stderr}");
    assert!(stderr.contains("json-field:name") && stderr.contains("json-field:number"), "{stderr}");
    // Without an index it goes on, and with the former one again.
    Server::start(home.path(), &[]).stop();
    Server::start(home.path(), &INDEXED).stop();
}

/// Appends what no submitter can to a stopped log.
fn smuggle(dir: &Path, entry: impl FnOnce(TreeSize) -> Vec<u8>) -> u64 {
    let disk = Arc::new(RealDisk::private());
    let state = SegmentLogState::open(disk, &dir.join("state"), SegmentOptions::default()).unwrap();
    let turn = state.turn(state.view().unwrap().head).unwrap();
    let (head, bytes) = (turn.head(), entry(turn.head()));
    let leaf_hash = leaf_hash(&bytes);
    let slot = Slot::Entry { bytes: bytes.into(), leaf_hash, identity: Identity::from_hash(&leaf_hash) };
    let batch = Batch { id: BatchId([7; 16]), first_index: head.next_index(), slots: vec![slot] };
    assert!(matches!(turn.commit(Arc::new(batch), None), CommitOutcome::Committed));
    head.0
}

/// An anchor that the index contradicts ends the process with a message that says what differs; disavowed, the log goes on.
#[test]
fn a_wrong_anchor_stops_the_log_until_it_is_disavowed() {
    let home = home();
    let server = Server::start(home.path(), &INDEXED);
    add(&server.url, 0).unwrap();
    server.stop();
    let dir = home.path().join("glasslog-data");
    let wrong = leaf_hash(b"wrong");
    let position = smuggle(&dir, |head| anchor("json-field:name", Some(&wrong), head));

    let stderr = match Server::try_start(home.path(), &INDEXED) {
        Err((status, stderr)) => {
            assert_eq!(status.code(), Some(5), "{stderr}");
            stderr
        }
        Ok(mut server) => {
            let status = poll(|| server.ended());
            assert_eq!(status.code(), Some(5));
            server.stderr()
        }
    };
    for word in [format!("index {position}"), wrong.to_string(), "glasslog index disavow".into()] {
        assert!(stderr.contains(&word), "{word}: {stderr}");
    }

    let disavow = |position: u64| {
        run(
            home.path(),
            &["index", "disavow", "glasslog-data", &position.to_string(), INDEXED[0], INDEXED[1]],
        )
    };
    let (status, _, stderr) = disavow(0);
    assert_eq!((status, stderr.contains("no anchor at index 0")), (64, true), "{stderr}");
    let (status, stdout, stderr) = disavow(position);
    assert_eq!(status, 0, "{stderr}");
    let at = stdout.split("says so at index ").nth(1).and_then(|rest| rest.split(';').next());
    let disavowed_at: u64 = at.unwrap().parse().unwrap();
    let server = Server::start(home.path(), &INDEXED);
    let index = add(&server.url, 1).unwrap();
    server.wait_for_size(index + 2);
    let entries = server.entries(server.checkpoint().0);
    let entry = &entries[usize::try_from(disavowed_at).unwrap()];
    assert_eq!(parse_disavow(entry), Some(vec![LeafIndex(position)]));
    server.stop();
}

/// A setting that is forgotten does not take the index away in silence; one that is given does.
#[test]
fn an_index_that_was_forgotten_is_missed() {
    let home = home();
    let server = Server::start(home.path(), &INDEXED);
    add(&server.url, 0).unwrap();
    server.stop();
    for (settings, missed) in [(&[][..], true), (&["--vindex-enabled", "false"], false)] {
        let server = Server::start(home.path(), settings);
        assert_eq!(server.stderr().contains("this log had an index"), missed, "{settings:?}");
        server.stop();
    }
}
