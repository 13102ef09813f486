//! `/vindex/…` over real connections. What is proven is judged by `glasslog_vindex::Lookup::verify`, with what a verifier pins,
//! and by the entries themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

mod support;

use glasslog_core::{LeafIndex, policy::Policy};
use glasslog_http::rate::Rate;
use glasslog_server::ServerConfig;
use glasslog_vindex::{Answer, Key, List, Lookup, MapFunction, Pinned, Question, VerifiedLookup};
use serde_json::{Value, json};
use support::{Gate, ORIGIN, Pairs, Reply, Server, open_writes, vkey};

const PROOF: &str = "Accept: text/x.tlog.proof\r\n";

fn entries(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// What a file proves about `name` to somebody who pins the log.
fn verified(file: &str, kind: &str, name: &str) -> VerifiedLookup {
    let policy = Policy::without_witnesses(&[vkey()]);
    let pinned = Pinned { origin: ORIGIN, policy: &policy, map_fn: &Pairs };
    let lookup = Lookup::parse(file.as_bytes()).unwrap();
    lookup.verify(&pinned, &Pairs.key(Some(kind), name).unwrap(), 0).unwrap()
}

fn indices(verified: &VerifiedLookup) -> Vec<u64> {
    match verified.answer() {
        Answer::Absent => Vec::new(),
        Answer::Present(present) => present.indices.iter().map(|index| index.0).collect(),
    }
}

/// Where `part` is, by a look at each entry.
fn expected(entries: &[String], kind: &str, part: &str) -> Vec<u64> {
    let has = |entry: &String| {
        entry.split_once('=').is_some_and(|(name, value)| part == if kind == "name" { name } else { value })
    };
    (0..).zip(entries).filter(|(_, entry)| has(entry)).map(|(at, _)| at).collect()
}

fn is_uncached(reply: &Reply) -> bool {
    reply.header("cache-control") == Some("no-store")
        && reply.header("access-control-allow-origin") == Some("*")
}

#[tokio::test]
async fn both_forms_prove_what_there_is_and_what_not() {
    let entries = entries("a=1 b=2 a=3 nothing a/b=1 é=1 =empty c=3");
    let server = Server::indexed(open_writes(), &entries).await;
    for (kind, name) in [
        ("name", "a"),
        ("name", "b"),
        ("name", "a/b"),
        ("name", "é"),
        ("name", ""),
        ("value", "1"),
        ("value", "3"),
        ("value", "empty"),
        ("name", "nothing"),
        ("value", "a"),
    ] {
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let key = Pairs.key(Some(kind), name).unwrap();
        let by_kind = format!("/vindex/lookup?kind={kind}&key={encoded}");
        let expected = expected(&entries, kind, name);

        let reply = server.get(&by_kind).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")), "{name}");
        assert!(is_uncached(&reply) && reply.header("vary") == Some("Accept"));
        let answer = reply.json();
        assert_eq!(answer["found"], json!(!expected.is_empty()));
        assert_eq!((&answer["count"], &answer["last"]), (&json!(expected.len()), &json!(expected.last())));
        assert_eq!((&answer["indices"], &answer["start"]), (&json!(expected), &json!(0)));
        assert_eq!((&answer["kind"], &answer["name"]), (&json!(kind), &json!(name)));
        assert_eq!((&answer["key"], &answer["map_fn"]), (&json!(key.to_string()), &json!("pairs-1")));
        assert_eq!((&answer["verified"], &answer["next"]), (&json!(true), &Value::Null));
        let proven = verified(answer["proof"].as_str().unwrap(), kind, name);
        assert_eq!(indices(&proven), expected, "{name}");
        let (index, root) = proven.anchored().unwrap();
        assert_eq!(answer["anchor"], json!({"index": index.0, "root": root.to_string()}));
        assert_eq!(answer["tree_size"], json!(proven.checkpoint().size().0));

        let proof = server.get_with(&by_kind, PROOF).await;
        assert_eq!(proof.header("content-type"), Some("text/x.tlog.proof; charset=utf-8"));
        assert!(is_uncached(&proof));
        assert_eq!(proof.text(), answer["proof"]);
        if kind == "name" {
            assert_eq!(server.get(&format!("/vindex/lookup/key/{encoded}")).await.body, reply.body);
            assert_eq!(server.get(&format!("/vindex/lookup?key={encoded}")).await.body, reply.body);
        }
        let by_key = server.get(&format!("/vindex/lookup/{key}")).await.json();
        assert_eq!((&by_key["kind"], &by_key["name"]), (&Value::Null, &Value::Null));
        assert_eq!((&by_key["indices"], &by_key["count"]), (&answer["indices"], &answer["count"]));
        let by_key = by_key["proof"].as_str().unwrap();
        assert_eq!(Lookup::parse(by_key.as_bytes()).unwrap().question, Question::Key(key));
        assert_eq!(indices(&verified(by_key, kind, name)), expected);
    }
    assert_eq!(server.get("/vindex/lookup/key/a/b").await.json()["count"], 1, "slashes need not be encoded");
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let entries: Vec<String> = (0..2501).map(|n| format!("a={n}")).collect();
    let server = Server::indexed(open_writes(), &entries).await;
    for (limit, pages) in
        [("", 3), ("&limit=1000", 3), ("&limit=999", 3), ("&limit=834", 3), ("&limit=833", 4)]
    {
        let (mut start, mut list, mut seen) = (json!(0), List::new(), 0);
        let mut last_proof = String::new();
        while !start.is_null() {
            let page = server.get(&format!("/vindex/lookup?key=a&start={start}{limit}")).await.json();
            assert_eq!((&page["start"], &page["count"], &page["last"]), (&start, &json!(2501), &json!(2500)));
            let indices = page["indices"].as_array().unwrap();
            indices.iter().for_each(|index| list.push(LeafIndex(index.as_u64().unwrap())).unwrap());
            last_proof = page["proof"].as_str().unwrap().to_owned();
            start = page["next"].clone();
            seen += 1;
        }
        let proven = verified(&last_proof, "name", "a");
        assert_eq!((list.value(), seen), (proven.value().copied(), pages), "{limit}");
        let Answer::Present(present) = proven.answer() else { panic!("absent") };
        assert_eq!(present.indices.len() as u64 + present.skipped, 2501);
        assert!(present.indices.len() <= 1000 && present.last == LeafIndex(2500));
    }
    for beyond in ["2501", "18446744073709551615"] {
        let page = server.get(&format!("/vindex/lookup?key=a&start={beyond}")).await.json();
        assert_eq!(
            (&page["indices"], &page["next"], &page["count"]),
            (&json!([]), &Value::Null, &json!(2501))
        );
    }
    let proof = server.get_with("/vindex/lookup?key=a&limit=1", PROOF).await;
    assert_eq!(indices(&verified(proof.text(), "name", "a")), [2500]);
}

#[tokio::test]
async fn entries_are_given_as_wanted() {
    let entries: Vec<String> = (0..300).map(|n| format!("a={n}")).collect();
    let server = Server::indexed(open_writes(), &entries).await;
    // Of 300 = 256 + 32 + 8 + 4 elements the last 12 can be shown without reading those before.
    for (wanted, limit, given) in [(0, 1000, 0_u64), (1, 1000, 1), (64, 1000, 64), (64, 12, 12)] {
        let path = format!("/vindex/lookup?key=a&entries={wanted}&limit={limit}");
        let proven = verified(server.get_with(&path, PROOF).await.text(), "name", "a");
        let Answer::Present(present) = proven.answer() else { panic!("absent") };
        let newest: Vec<_> =
            (300 - given..300).map(|n| (LeafIndex(n), format!("a={n}").into_bytes())).collect();
        assert_eq!(present.entries, newest);
    }
}

/// The head of a request has a limit; what has none is asked for by its key.
#[tokio::test]
async fn names_of_any_length_are_found() {
    let long = "x".repeat(65_533);
    let server = Server::indexed(open_writes(), &[format!("{long}=y"), "=z".to_owned()]).await;
    let key = Key::of_kind("name", &long);
    let found = server.get(&format!("/vindex/lookup/{key}")).await.json();
    assert_eq!(found["indices"], json!([0]));
    assert_eq!(indices(&verified(found["proof"].as_str().unwrap(), "name", &long)), [0]);
    assert_eq!(server.get("/vindex/lookup?key=").await.json()["indices"], json!([1]));
    assert_eq!(server.get("/vindex/lookup/key/").await.json()["indices"], json!([1]));
    let middling = "x".repeat(30_000);
    assert_eq!(server.get(&format!("/vindex/lookup/key/{middling}")).await.json()["found"], json!(false));
    assert_eq!(server.get(&format!("/vindex/lookup/key/{long}")).await.status, 431);
}

#[tokio::test]
async fn an_empty_log_proves_that_there_is_nothing() {
    let server = Server::gated(open_writes(), &[], &Gate::unused()).await;
    let answer = server.get("/vindex/lookup/key/a").await.json();
    assert_eq!(
        (&answer["found"], &answer["tree_size"], &answer["anchor"]),
        (&json!(false), &json!(0), &Value::Null)
    );
    assert_eq!(answer["verified"], json!(true));
    assert_eq!(verified(answer["proof"].as_str().unwrap(), "name", "a").answer(), &Answer::Absent);
}

#[tokio::test]
async fn while_nothing_is_anchored_lookups_are_refused() {
    let gate = Gate::closed();
    let server = Server::gated(open_writes(), &entries("a=1 b=2"), &gate).await;
    for (path, accept) in [
        ("/vindex/lookup/key/a", ""),
        ("/vindex/lookup/key/a?unverified=1", ""),
        ("/vindex/lookup/key/a?unverified=1", PROOF),
        ("/vindex/lookup/key/a", PROOF),
    ] {
        let reply = server.get_with(path, accept).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")), "{path}");
        assert!(reply.text().contains("index") && reply.text().lines().count() == 1, "{}", reply.text());
        assert!(is_uncached(&reply));
    }
    let stats = server.get("/vindex/stats").await.json();
    assert_eq!((&stats["served_size"], &stats["anchor"]), (&Value::Null, &Value::Null));
    let ready = server.get("/ready").await;
    assert_eq!(
        (ready.status, &ready.json()["index"]["served_size"]),
        (200, &Value::Null),
        "it refuses nothing else"
    );
    server.recovered(&gate).await;
    let answer = server.get("/vindex/lookup/key/a?unverified=1").await.json();
    assert_eq!(
        (&answer["verified"], &answer["indices"]),
        (&json!(true), &json!([0])),
        "a proof is better than a hint"
    );
}

/// An index that is late: what it lacks is in the tail.
#[tokio::test]
async fn lookups_go_on_while_anchors_are_void() {
    let gate = Gate::closed();
    let mut entries = entries("a=1 b=2");
    let server = Server::gated(open_writes(), &entries, &gate).await;
    server.recovered(&gate).await;
    gate.set_open(false);
    let anchor = server.log.served().unwrap().anchor().unwrap().0;
    for entry in ["a=3", "c=1", "a=4"] {
        let index: usize = server.add(entry).await.text().trim().parse().unwrap();
        server.indexed_to(index as u64).await;
        // What comes between maps to nothing: anchors, with a root or without, and noise.
        entries.resize(index, "nothing".into());
        entries.push(entry.into());
        for (kind, name) in [("name", "a"), ("name", "c"), ("value", "1"), ("value", "4"), ("name", "d")] {
            let reply = server.get(&format!("/vindex/lookup?kind={kind}&key={name}")).await.json();
            let expected = expected(&entries, kind, name);
            assert_eq!((&reply["indices"], &reply["last"]), (&json!(expected), &json!(expected.last())));
            let proven = verified(reply["proof"].as_str().unwrap(), kind, name);
            assert_eq!((indices(&proven), proven.anchored().unwrap().0), (expected, anchor), "{name}");
        }
    }
    assert!(server.get("/vindex/stats").await.json()["void_anchors"].as_u64() >= Some(3));
    server.recovered(&gate).await;
    let reply = server.get("/vindex/lookup/key/a").await.json();
    assert!(reply["anchor"]["index"].as_u64() > Some(anchor.0));
    assert_eq!(
        indices(&verified(reply["proof"].as_str().unwrap(), "name", "a")),
        expected(&entries, "name", "a")
    );
}

#[tokio::test]
async fn a_log_without_an_index_has_no_lookups() {
    let server = Server::start(open_writes()).await;
    for path in ["/vindex/lookup?key=a", "/vindex/lookup/key/a", "/vindex/stats"] {
        let reply = server.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.text().contains("no verifiable index"), "{}", reply.text());
    }
    assert_eq!(server.get("/log.json").await.json()["map_fn"], Value::Null);
    assert_eq!(server.get("/ready").await.json()["index"], Value::Null);
    assert!(!server.get("/metrics").await.text().contains("glasslog_index"));
}

#[tokio::test]
async fn the_index_is_described_and_counted() {
    let server = Server::indexed(open_writes(), &entries("a=1 nothing b=2")).await;
    assert_eq!(server.get("/log.json").await.json()["map_fn"], json!("pairs-1"));
    let stats = server.get("/vindex/stats").await;
    assert!(is_uncached(&stats));
    let stats = stats.json();
    assert_eq!((&stats["map_fn"], &stats["kinds"]), (&json!("pairs-1"), &json!(["name", "value"])));
    assert_eq!((&stats["served_size"], &stats["anchor"]["index"]), (&json!(4), &json!(3)));
    assert_eq!((&stats["keys"], &stats["unmapped_entries"]), (&json!(4), &json!(1)));
    assert_eq!(server.get("/ready").await.json()["index"]["served_size"], json!(4));
    assert!(
        server
            .get("/")
            .await
            .text()
            .contains("pairs-1: <a href=\"vindex/stats\">answers about 4 entries</a>")
    );
    server.get("/vindex/lookup/key/a").await;
    server.get("/vindex/lookup/key/a?x=1").await;
    let metrics = server.get("/metrics").await;
    for line in [
        format!("glasslog_index_served_size{{log=\"{ORIGIN}\"}} 4"),
        format!("glasslog_index_corruptions_total{{log=\"{ORIGIN}\"}} 0"),
        format!("glasslog_http_requests_total{{log=\"{ORIGIN}\",route=\"lookup\",status=\"2xx\"}} 1"),
        format!("glasslog_http_requests_total{{log=\"{ORIGIN}\",route=\"lookup\",status=\"4xx\"}} 1"),
    ] {
        assert!(metrics.text().lines().any(|other| other == line), "{line} is not in\n{}", metrics.text());
    }
}

#[tokio::test]
async fn hostile_lookups_are_refused() {
    let server = Server::indexed(open_writes(), &entries("a=1")).await;
    let hex = Key::of_name("a").to_string();
    for path in [
        "/vindex".to_owned(),
        "/vindex/".to_owned(),
        "/vindex/lookup/".to_owned(),
        "/vindex/lookup/key".to_owned(),
        "/vindex//lookup?key=a".to_owned(),
        "/vindex/Lookup?key=a".to_owned(),
        "/vindex/stats/".to_owned(),
        "/vindex/%73tats".to_owned(),
        "/vindex/lookup%2Fkey/a".to_owned(),
        format!("/vindex/lookup/{}", hex.to_uppercase()),
        format!("/vindex/lookup/{}", &hex[1..]),
        format!("/vindex/lookup/{hex}/"),
        format!("/vindex/lookup/{hex}00"),
        format!("/vindex/lookup/{}g", &hex[1..]),
        format!("/vindex/lookup/%{hex}"),
    ] {
        assert_eq!(server.get(&path).await.status, 404, "{path}");
    }
    for path in [
        "/vindex/lookup",
        "/vindex/lookup?",
        "/vindex/lookup?key",
        "/vindex/lookup?key=a&key=a",
        "/vindex/lookup?KEY=a",
        "/vindex/lookup?key=a&kind=paths",
        "/vindex/lookup?key=a&kind=",
        "/vindex/lookup?key=%ff",
        "/vindex/lookup?key=%",
        "/vindex/lookup?key=%4",
        "/vindex/lookup?key=a+b",
        "/vindex/lookup?key=a;kind=name",
        "/vindex/lookup?key=a&limit=0",
        "/vindex/lookup?key=a&limit=1001",
        "/vindex/lookup?key=a&limit=-1",
        "/vindex/lookup?key=a&start=1.0",
        "/vindex/lookup?key=a&start=18446744073709551616",
        "/vindex/lookup?key=a&entries=65",
        "/vindex/lookup?key=a&unverified=true",
        "/vindex/lookup/key/%c3%28",
        "/vindex/lookup/key/a?kind=name",
        "/vindex/lookup/key/a?key=b",
    ] {
        let reply = server.get(path).await;
        // A `;` is a part of the value, and the bare word `key` is the empty name: both are names that nobody has.
        let is_a_name = path.ends_with(";kind=name") || path.ends_with("?key");
        assert_eq!(reply.status, if is_a_name { 200 } else { 400 }, "{path}");
        assert!(is_a_name || reply.text().lines().count() == 1);
    }
    let names = [
        "x\u{1b}[31m".to_owned(),
        "\"\\\n\u{0}\u{7f}".to_owned(),
        "../../etc/passwd".to_owned(),
        "💥".repeat(50),
    ];
    for name in names {
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = server.get(&format!("/vindex/lookup/key/{encoded}")).await.json();
        assert_eq!((&answer["name"], &answer["found"]), (&json!(name), &json!(false)));
        verified(answer["proof"].as_str().unwrap(), "name", &name);
    }
    let many = format!("/vindex/lookup?key=a{}", "&start=1".repeat(3000));
    assert_eq!(server.get(&many).await.status, 400);
    for (method, status) in [("POST", 405), ("PUT", 405), ("DELETE", 405), ("OPTIONS", 204)] {
        let request =
            format!("{method} /vindex/lookup/key/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(server.ask(&request).await.status, status, "{method}");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = Server::indexed(open_writes(), &entries("a=1")).await;
    for path in ["/vindex/lookup/key/a", "/vindex/stats", "/vindex/lookup/key/%"] {
        // The index works in the background: what is compared must not have changed meanwhile.
        let (get, head) = loop {
            let before = server.get(path).await;
            let mut client = server.connect().await;
            client.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
            let head = client.bodiless_reply().await;
            let after = server.get(path).await;
            if before.body == after.body {
                break (after, head);
            }
        };
        assert_eq!((head.status, head.header("content-length")), (get.status, get.header("content-length")));
    }
}

#[tokio::test]
async fn lookups_count_as_reads() {
    let rate = Rate::new(1, 3).unwrap();
    let server = Server::indexed(ServerConfig { rate: Some(rate), ..open_writes() }, &entries("a=1")).await;
    let mut refused = None;
    for _ in 0..8 {
        refused =
            refused.or(Some(server.get("/vindex/lookup/key/a").await).filter(|reply| reply.status == 429));
    }
    assert!(refused.expect("nothing is limited").header("retry-after").is_some());
    assert_eq!(server.get("/vindex/stats").await.status, 200);
}
