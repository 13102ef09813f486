//! `POST /add` and `/add-batch` over real connections.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says so by failing")]

mod support;

use glasslog_core::{hash::leaf_hash, proof::TlogProof};
use glasslog_log::LogConfig;
use glasslog_server::{Limits, Mount, Rate, ServerConfig, Tokens};
use support::{Server, log_config, open_writes, slow_to_publish, with_schema};

#[tokio::test]
async fn an_entry_gets_its_index_and_a_duplicate_the_same_one() {
    let server = Server::start(open_writes()).await;
    let first = server.add("one").await;
    assert_eq!((first.status, first.text()), (200, "0\n"));
    assert_eq!(first.header("glasslog-duplicate"), None);
    assert_eq!(first.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(first.header("access-control-allow-origin"), None, "CORS is for reads");
    assert_eq!(server.add("two").await.text(), "1\n");
    let again = server.add("one").await;
    assert_eq!((again.status, again.text(), again.header("glasslog-duplicate")), (200, "0\n", Some("true")));
}

#[tokio::test]
async fn any_bytes_are_an_entry_up_to_the_limit() {
    let server = Server::start(open_writes()).await;
    let mut client = server.connect().await;
    for length in [1_usize, 65_535] {
        client
            .send(format!("POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").as_bytes())
            .await;
        client.send(&vec![0xff; length]).await;
        assert_eq!(client.reply().await.status, 200, "{length} bytes");
    }
    assert_eq!(server.add("").await.status, 400);
    let long = server.add(&"x".repeat(65_536)).await;
    assert_eq!(long.status, 413);
    assert!(long.text().contains("65535"), "{}", long.text());
}

/// The judge is the proof's own verification, with the log's key.
#[tokio::test]
async fn wait_published_answers_with_a_proof() {
    let server = Server::start(open_writes()).await;
    server.add("before").await;
    let reply = server.post("/add?wait=published", "X: 1", "proven").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("text/x.tlog.proof; charset=utf-8"));
    let proof = TlogProof::parse(&reply.body).unwrap();
    assert_eq!(proof.index.0, 1);
    proof.verify(&leaf_hash(b"proven"), support::ORIGIN, &[support::vkey()], &[]).unwrap();
    assert!(proof.verify(&leaf_hash(b"other"), support::ORIGIN, &[support::vkey()], &[]).is_err());

    let again = server.post("/add?wait=published", "X: 1", "proven").await;
    assert_eq!((again.status, again.header("glasslog-duplicate")), (200, Some("true")));
}

#[tokio::test]
async fn wait_published_gives_up_with_202_and_the_index() {
    let limits = Limits { publish_timeout: std::time::Duration::from_millis(20), ..Limits::default() };
    let server = Server::with_log(ServerConfig { limits, ..open_writes() }, slow_to_publish()).await;
    let next = server.until_none_is_published().await;
    let reply = server.post("/add?wait=published", "X: 1", "patience").await;
    assert_eq!((reply.status, reply.text()), (202, &*format!("{next}\n")));
}

#[tokio::test]
async fn unknown_parameters_and_malformed_conditions_are_400() {
    let server = Server::start(open_writes()).await;
    for path in ["/add?wait=publish", "/add?wait=published&x=1", "/add?x", "/add-batch?wait=published"] {
        assert_eq!(server.post(path, "Content-Type: application/x-ndjson", "x").await.status, 400, "{path}");
    }
    for value in ["", "-1", "+1", "01", "1.0", "18446744073709551616", "1, 2", "0x1"] {
        let reply = server.post("/add", &format!("If-Unchanged-Since: {value}"), "x").await;
        assert_eq!(reply.status, 400, "{value:?}");
    }
    let twice = server.post("/add", "If-Unchanged-Since: 1\r\nIf-Unchanged-Since: 1", "x").await;
    assert_eq!(twice.status, 400);
    assert_eq!(server.add("x").await.text(), "0\n", "nothing of this was appended");
}

#[tokio::test]
async fn conditional_adds_do_not_roll_back() {
    let server = Server::with_log(open_writes(), with_schema()).await;
    server.add("a=1").await;
    server.add("a=2").await;
    let late = server.post("/add", "If-Unchanged-Since: 1", "a=1").await;
    assert_eq!(late.status, 412);
    assert!(late.text().contains("index 1"), "{}", late.text());
    assert_eq!(server.post("/add", "If-Unchanged-Since: 2", "a=1").await.text(), "2\n");
    let batch = server.batch_with("If-Unchanged-Since: 2", "b=1\na=3\n").await;
    assert_eq!(batch.status, 412);
    assert!(batch.text().starts_with("line 2: "), "{}", batch.text());
    assert_eq!(server.add("b=1").await.text(), "3\n", "nothing of the batch was appended");
}

#[tokio::test]
async fn a_schema_says_what_is_wrong_and_gives_the_canonical_form() {
    let server = Server::with_log(open_writes(), with_schema()).await;
    let reply = server.add("no equals sign").await;
    assert_eq!((reply.status, reply.text()), (422, "there is no `=`\n"));
    let text = server.add("A=1").await;
    assert_eq!(text.status, 422);
    assert_eq!(text.text().lines().count(), 1, "one line whatever the message quotes: {}", text.text());
    assert!(text.text().contains("application/problem+json"), "{}", text.text());
    let problem = server.post("/add", "Accept: text/html, application/problem+json;q=0.9", "A=1").await;
    assert_eq!(problem.header("content-type"), Some("application/problem+json"));
    let json = problem.json();
    assert_eq!((json["status"].as_u64(), json["canonical"].as_str()), (Some(422), Some("a=1")));
    let batch = server.batch("a=1\nb=2\nC=3\n").await;
    assert_eq!(batch.status, 422);
    assert!(batch.text().starts_with("line 3: "), "{}", batch.text());
    assert_eq!(server.add("b=2").await.text(), "0\n", "nothing of the batch was appended");
}

#[tokio::test]
async fn anchors_are_never_submitted() {
    let server = Server::start(open_writes()).await;
    let anchor = r#"{"map_fn":"conda-1","root":null,"tree_size":0,"type":"vindex-root","v":1}"#;
    assert_eq!(server.add(anchor).await.status, 422);
    assert_eq!(server.batch(&format!("x\n{anchor}\n")).await.status, 422);
}

#[tokio::test]
async fn a_batch_is_answered_line_by_line() {
    let server = Server::start(open_writes()).await;
    server.add("two").await;
    let lines = server.batch("one\ntwo\nthree\none").await;
    assert_eq!((lines.status, lines.text()), (200, "1\n0 dup\n2\n1 dup\n"));
    let framed = "\0\u{1}a\0\u{3}one\0\u{1}b";
    let framed = server.post("/add-batch", "Content-Type: application/vnd.glasslog.entries", framed).await;
    assert_eq!((framed.status, framed.text()), (200, "3\n1 dup\n4\n"));
    let parameters =
        server.post("/add-batch", "content-type: Application/X-NDJSON ; charset=utf-8", "c\n").await;
    assert_eq!(parameters.text(), "5\n");
}

#[tokio::test]
async fn a_malformed_batch_appends_nothing() {
    let limits = Limits { batch_entries: 3, batch_bytes: 70_000, ..Limits::default() };
    let server = Server::start(ServerConfig { limits, ..open_writes() }).await;
    let framed = "Content-Type: application/vnd.glasslog.entries";
    let ndjson = "Content-Type: application/x-ndjson";
    let (too_long, too_large) = (format!("a\n{}\n", "x".repeat(65_536)), "x\n".repeat(35_001));
    for (headers, body, status, starts) in [
        ("X: 1", "a\n", 415, ""),
        ("Content-Type: application/json", "a\n", 415, ""),
        ("Content-Type: text/plain", "a\n", 415, ""),
        (ndjson, "", 400, "the batch has no entries"),
        (ndjson, "\n", 400, "line 1: "),
        (ndjson, "a\n\nb\n", 400, "line 2: "),
        (ndjson, "a\nb\nc\nd\n", 413, ""),
        (ndjson, &*too_long, 413, "line 2: "),
        (ndjson, &*too_large, 413, "the body is longer"),
        (framed, "", 400, ""),
        (framed, "\0", 400, "line 1: "),
        (framed, "\0\u{1}a\0\u{2}b", 400, "line 2: "),
        (framed, "\0\u{1}a\0\0", 400, "line 2: "),
    ] {
        let reply = server.post("/add-batch", headers, body).await;
        assert_eq!(reply.status, status, "{headers} {:?}: {}", &body[..body.len().min(20)], reply.text());
        assert!(reply.text().starts_with(starts), "{:?}: {}", &body[..body.len().min(20)], reply.text());
    }
    assert_eq!(server.add("first").await.text(), "0\n");
}

#[tokio::test]
async fn tokens_decide_who_writes() {
    let config = ServerConfig { tokens: Tokens::new(["secret"]), ..ServerConfig::default() };
    let server = Server::start(config).await;
    for (headers, status) in [
        ("X: 1", 401),
        ("Authorization: Bearer wrong", 401),
        ("Authorization: Basic c2VjcmV0", 401),
        ("Authorization: Bearer secret", 200),
    ] {
        for (path, extra) in [("/add", ""), ("/add-batch", "\r\nContent-Type: application/x-ndjson")] {
            let reply = server.post(path, &format!("{headers}{extra}"), "entry").await;
            assert_eq!(reply.status, status, "{path} {headers}");
            assert_eq!(reply.header("www-authenticate").is_some(), status == 401);
        }
    }
    // Reads need no token.
    assert_eq!(server.get("/checkpoint").await.status, 200);
}

#[tokio::test]
async fn a_wrong_token_is_not_taken_for_nobody() {
    let config = ServerConfig { tokens: Tokens::new(["secret"]), ..open_writes() };
    let server = Server::start(config).await;
    assert_eq!(server.post("/add", "Authorization: Bearer wrong", "x").await.status, 401);
    assert_eq!(server.post("/add", "X: 1", "x").await.status, 200);
}

#[tokio::test]
async fn web_pages_of_other_sites_do_not_write() {
    let config = ServerConfig { public_url: Some("https://Log.example.org/conda".into()), ..open_writes() };
    let server = Server::start(config).await;
    let own = format!("http://{}", server.address);
    for (origin, status) in [
        (&*own, 200),
        ("https://log.example.org", 200),
        ("http://log.example.org", 403),
        ("https://log.example.org:8443", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
    ] {
        // The same name in Host changes nothing: after a DNS rebinding it is the attacker's.
        let host = origin.rsplit('/').next().unwrap();
        let request =
            format!("POST /add HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(server.ask(&request).await.status, status, "{origin:?}");
    }
    // Nor does a preflight let them try.
    let preflight = "OPTIONS /add HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n";
    let reply = server.ask(preflight).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (405, None));
}

#[tokio::test]
async fn rates_count_entries_and_tell_when_to_come_back() {
    let config = ServerConfig { rate: Rate::new(1, 3), tokens: Tokens::new(["secret"]), ..open_writes() };
    let server = Server::start(config).await;
    assert_eq!(server.batch("a\nb\nc\nd\n").await.status, 413, "more than a burst can never pass");
    assert_eq!(server.batch("a\nb\n").await.status, 200);
    // However slow the machine, requests come faster than one a second.
    let mut limited = server.add("0").await;
    for n in 1..20 {
        if limited.status == 429 {
            break;
        }
        limited = server.add(&n.to_string()).await;
    }
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("1")));
    assert_eq!(server.get("/proof/0").await.status, 429, "proofs count too");
    assert_eq!(server.get("/checkpoint").await.status, 200, "immutable reads do not");
    assert_eq!(
        server.post("/add", "Authorization: Bearer secret", "d").await.status,
        200,
        "a token has no rate"
    );
}

#[tokio::test]
async fn a_frozen_log_is_gone_for_writers_only() {
    let frozen = |log| vec![Mount { frozen: true, ..Mount::at_root(log) }];
    let server = Server::mounted(open_writes(), log_config(), frozen).await;
    assert_eq!(server.add("x").await.status, 410);
    assert_eq!(server.batch("x\n").await.status, 410);
    assert_eq!(server.get("/checkpoint").await.status, 200);
    assert_eq!(server.get("/log.json").await.json()["frozen"], true);
}

#[tokio::test]
async fn a_full_pool_pushes_back_before_it_reads() {
    let log = LogConfig { pool_max_bytes: 1000, ..log_config() };
    let server = Server::with_log(open_writes(), log).await;
    let mut client = server.connect().await;
    // Only the head: the answer must not wait for the body.
    client.send(b"POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n").await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.header("retry-after"), Some("1"));
}

impl Server {
    async fn batch(&self, lines: &str) -> support::Reply {
        self.batch_with("X: 1", lines).await
    }

    async fn batch_with(&self, headers: &str, lines: &str) -> support::Reply {
        self.post("/add-batch", &format!("{headers}\r\nContent-Type: application/x-ndjson"), lines).await
    }
}
