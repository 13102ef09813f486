//! c2sp.org/tlog-tiles reads, proofs and the pages about a log, over real connections.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says so by failing")]

mod support;

use std::io::Read as _;

use glasslog_core::{checkpoint::VerifiedCheckpoint, hash::leaf_hash, proof::TlogProof};
use glasslog_server::{Limits, Mount, ServerConfig, Tokens, openapi_json};
use support::{ORIGIN, Reply, Server, log_config, open_writes, slow_to_publish, vkey};

/// A log with `count` public entries.
async fn with_entries(count: usize) -> Server {
    let server = Server::start(open_writes()).await;
    let lines: String = (0..count).map(|n| format!("entry number {n}\n")).collect();
    let reply = server.post("/add-batch", "Content-Type: application/x-ndjson", &lines).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    server.published(count as u64).await;
    server
}

fn immutable(reply: &Reply) -> bool {
    reply.header("cache-control") == Some("public, max-age=31536000, immutable")
}

/// The judge is the log's key; size 0 has the root that RFC 6962 gives the empty tree.
#[tokio::test]
async fn the_checkpoint_is_there_from_the_start() {
    let server = Server::start(open_writes()).await;
    let reply = server.get("/checkpoint").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    let checkpoint = VerifiedCheckpoint::open(&reply.body, ORIGIN, &[vkey()]).unwrap();
    assert_eq!(checkpoint.size().0, 0);

    server.add("x").await;
    server.published(1).await;
    let newer = server.get("/checkpoint").await;
    assert_eq!(VerifiedCheckpoint::open(&newer.body, ORIGIN, &[vkey()]).unwrap().size().0, 1);
    assert_ne!(newer.header("etag"), reply.header("etag"));
}

#[tokio::test]
async fn conditional_requests_get_304_and_nothing_else() {
    let server = with_entries(3).await;
    for path in ["/checkpoint", "/tile/0/000.p/3", "/tile/entries/000.p/3"] {
        let etag = server.get(path).await.header("etag").unwrap().to_owned();
        for (condition, status) in
            [(&*etag, 304), ("*", 304), ("\"other\"", 200), (&*format!("\"x\", W/{etag}"), 304)]
        {
            let reply = server.get_with(path, &format!("If-None-Match: {condition}\r\n")).await;
            assert_eq!(reply.status, status, "{path} {condition}");
            assert_eq!(reply.header("etag"), Some(&*etag), "{path}");
            assert_eq!(reply.header("content-type").is_none(), status == 304);
        }
    }
}

#[tokio::test]
async fn tiles_and_bundles_are_what_the_spec_says() {
    let server = with_entries(600).await;
    let tile = server.get("/tile/0/001").await;
    assert_eq!((tile.status, tile.body.len()), (200, 8192));
    assert_eq!(tile.header("content-type"), Some("application/octet-stream"));
    assert_eq!(tile.header("access-control-allow-origin"), Some("*"));
    assert!(immutable(&tile), "{:?}", tile.headers);
    assert_eq!(tile.body[..32], leaf_hash(b"entry number 256").0);

    let partial = server.get("/tile/0/002.p/88").await;
    assert_eq!(partial.body.len(), 88 * 32);
    assert!(immutable(&partial));
    let upper = server.get("/tile/1/000.p/2").await;
    assert_eq!(upper.body.len(), 64);

    let bundle = server.get("/tile/entries/002.p/88").await;
    assert_eq!(bundle.header("content-type"), Some("application/octet-stream"));
    assert!(immutable(&bundle));
    assert!(bundle.body.starts_with(b"\0\x10entry number 512\0\x10"));
}

#[tokio::test]
async fn only_the_canonical_spelling_exists() {
    let server = with_entries(300).await;
    for path in [
        "/tile/0/000",
        "/tile/0/001.p/44",
        "/tile/1/000.p/1",
        "/tile/entries/000",
        "/tile/entries/001.p/44",
        "/checkpoint",
        "/health",
        "/ready",
        "/metrics",
        "/log.json",
        "/openapi.json",
        "/",
        "/proof/0",
    ] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    for path in [
        "/tile/0/000/",
        "/tile//0/000",
        "//tile/0/000",
        "/tile/0/0",
        "/tile/0/00",
        "/tile/0/0000",
        "/tile/00/000",
        "/tile/+0/000",
        "/tile/-1/000",
        "/tile/64/000",
        "/tile/0/x000/000",
        "/tile/0/x000",
        "/tile/0/000.p/0",
        "/tile/0/001.p/044",
        "/tile/0/001.p/256",
        "/tile/0/001.p/+44",
        "/tile/0/001.p/",
        "/tile/0/001.p",
        "/tile/0/001.P/44",
        "/tile/0/%3000",
        "/tile/0/000%2ep/4",
        "/tile%2f0%2f000",
        "/%74ile/0/000",
        "/tile/0/./000",
        "/tile/0/../0/000",
        "/./checkpoint",
        "/checkpoint/",
        "/Checkpoint",
        "/checkpoint%20",
        "/tile/entries/x000/000",
        "/tile/Entries/000",
        "/tile/data/000",
        "/tile/8/0/000",
        "/tile/",
        "/tile",
        "/tile/0/",
        "/tile/entries/",
        "/tile/checkpoint",
        "/proof/",
        "/proof/00",
        "/proof/01",
        "/proof/-1",
        "/proof/+1",
        "/proof/1/",
        "/proof/1.0",
        "/proof/x",
        "/proof/18446744073709551616",
        "/proof",
        "/health/",
        "/index.html",
        "/favicon.ico",
        "/tile/0/000;x",
        "/add/",
        "/../etc/passwd",
        "/tile/../../../etc/passwd",
        "/tile/0/..%2f..%2fetc",
    ] {
        let reply = server.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(reply.text().lines().count(), 1, "{path}");
    }
}

/// What no checkpoint implied does not exist, though its hashes do.
#[tokio::test]
async fn what_no_checkpoint_implied_is_404() {
    let server = with_entries(300).await;
    for path in [
        "/tile/0/001",
        "/tile/0/001.p/45",
        "/tile/0/002.p/1",
        "/tile/2/000.p/1",
        "/tile/1/000",
        "/tile/entries/001",
        "/tile/entries/001.p/45",
        "/tile/entries/x001/000",
        "/tile/63/000",
    ] {
        let reply = server.get(path).await;
        assert_eq!((reply.status, reply.header("cache-control")), (404, Some("no-store")), "{path}");
    }
}

#[tokio::test]
async fn bundles_are_compressed_as_asked_and_tiles_never() {
    let server = with_entries(256).await;
    let plain = server.get("/tile/entries/000").await;
    assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
    assert_eq!(plain.header("content-encoding"), None);
    let mut etags = vec![plain.header("etag").unwrap().to_owned()];
    for (asked, encoding) in [
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1, zstd;q=0.5", "gzip"),
    ] {
        let reply = server.get_with("/tile/entries/000", &format!("Accept-Encoding: {asked}\r\n")).await;
        assert_eq!(reply.header("content-encoding"), Some(encoding), "{asked}");
        assert_eq!(reply.header("vary"), Some("Accept-Encoding"));
        assert!(reply.body.len() < plain.body.len() / 2 && immutable(&reply));
        etags.push(reply.header("etag").unwrap().to_owned());
        assert_eq!(unpack(encoding, &reply.body, plain.body.len()), plain.body, "{asked}");
    }
    etags.sort();
    etags.dedup();
    assert_eq!(etags.len(), 3, "each encoding is another representation: {etags:?}");
    let refused = server.get_with("/tile/entries/000", "Accept-Encoding: gzip;q=0, br\r\n").await;
    assert_eq!(refused.body, plain.body);
    let tile = server.get_with("/tile/0/000", "Accept-Encoding: gzip, zstd\r\n").await;
    assert_eq!((tile.header("content-encoding"), tile.header("vary")), (None, None));
}

fn unpack(encoding: &str, bytes: &[u8], length: usize) -> Vec<u8> {
    if encoding == "zstd" {
        return zstd::bulk::decompress(bytes, length).unwrap();
    }
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut unpacked).unwrap();
    unpacked
}

#[tokio::test]
async fn a_single_range_is_served() {
    let server = with_entries(256).await;
    let whole = server.get("/tile/0/000").await;
    let etag = whole.header("etag").unwrap().to_owned();
    let part = server.get_with("/tile/0/000", "Range: bytes=32-63\r\n").await;
    assert_eq!((part.status, &part.body[..]), (206, &whole.body[32..64]));
    assert_eq!(part.header("content-range"), Some("bytes 32-63/8192"));
    assert_eq!(part.header("content-length"), Some("32"));
    let beyond = server.get_with("/tile/0/000", "Range: bytes=8192-\r\n").await;
    assert_eq!(beyond.status, 416);
    let held = server.get_with("/tile/0/000", &format!("Range: bytes=0-0\r\nIf-Range: {etag}\r\n")).await;
    assert_eq!((held.status, held.body.len()), (206, 1));
    let changed = server.get_with("/tile/0/000", "Range: bytes=0-0\r\nIf-Range: \"other\"\r\n").await;
    assert_eq!((changed.status, changed.body.len()), (200, 8192));
    let several = server.get_with("/tile/0/000", "Range: bytes=0-0,2-2\r\n").await;
    assert_eq!((several.status, several.body.len()), (200, 8192));
    let compressed =
        server.get_with("/tile/entries/000", "Range: bytes=0-1\r\nAccept-Encoding: gzip\r\n").await;
    assert_eq!(
        (compressed.status, compressed.header("content-encoding")),
        (206, None),
        "ranges are of the plain bytes"
    );
}

#[tokio::test]
async fn head_says_what_get_would() {
    let server = with_entries(300).await;
    for path in [
        "/checkpoint",
        "/tile/0/000",
        "/tile/entries/000",
        "/health",
        "/log.json",
        "/",
        "/nothing",
        "/proof/1",
    ] {
        let get = server.get(path).await;
        let mut client = server.connect().await;
        client
            .send(
                format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                    .as_bytes(),
            )
            .await;
        let head = client.bodiless_reply().await;
        assert_eq!(head.status, get.status, "{path}");
        for name in ["content-type", "content-length", "etag", "cache-control", "access-control-allow-origin"]
        {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
        assert_eq!(client.reply().await.text(), "ok\n", "{path}: nothing follows the head");
    }
}

#[tokio::test]
async fn other_methods_are_405_and_named() {
    let server = Server::start(open_writes()).await;
    for (method, path, allow) in [
        ("POST", "/checkpoint", "GET, HEAD, OPTIONS"),
        ("PUT", "/tile/0/000", "GET, HEAD, OPTIONS"),
        ("DELETE", "/proof/0", "GET, HEAD, OPTIONS"),
        ("POST", "/", "GET, HEAD, OPTIONS"),
        ("TRACE", "/health", "GET, HEAD, OPTIONS"),
        ("GET", "/add", "POST"),
        ("HEAD", "/add", "POST"),
        ("PUT", "/add-batch", "POST"),
    ] {
        let mut client = server.connect().await;
        client
            .send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").as_bytes())
            .await;
        let reply = client.try_reply(method == "HEAD").await.unwrap();
        assert_eq!((reply.status, reply.header("allow")), (405, Some(allow)), "{method} {path}");
    }
    let preflight =
        server.ask("OPTIONS /tile/0/000 HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n\r\n").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, Some("*")));
}

#[tokio::test]
async fn proofs_verify_and_come_only_when_public() {
    let server = with_entries(300).await;
    for index in [0_u64, 255, 256, 299] {
        let reply = server.get(&format!("/proof/{index}")).await;
        assert_eq!(reply.header("content-type"), Some("text/x.tlog.proof; charset=utf-8"));
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        let proof = TlogProof::parse(&reply.body).unwrap();
        assert_eq!(proof.index.0, index);
        proof.verify(&leaf_hash(format!("entry number {index}").as_bytes()), ORIGIN, &[vkey()], &[]).unwrap();
    }
    let unknown = server.get("/proof/300").await;
    assert_eq!((unknown.status, unknown.header("retry-after")), (404, None));

    let slow = Server::with_log(open_writes(), slow_to_publish()).await;
    let next = slow.until_none_is_published().await;
    let pending = slow.get(&format!("/proof/{}", next - 1)).await;
    assert_eq!((pending.status, pending.header("retry-after")), (404, Some("1")));
}

#[tokio::test]
async fn the_log_describes_itself() {
    let tokens = Tokens::new(["secret"]);
    let config =
        ServerConfig { public_url: Some("https://log.example.org/".into()), tokens, ..open_writes() };
    let server = Server::start(config).await;
    server.add("x").await;
    server.published(1).await;
    let json = server.get("/log.json").await.json();
    assert_eq!(json["origin"], ORIGIN);
    assert_eq!(json["url"], "https://log.example.org");
    assert_eq!(json["vkeys"][0], vkey().to_string());
    assert_eq!(json["frozen"], false);
    assert_eq!(json["limits"]["entry_bytes"], 65_535);
    assert_eq!(json["limits"]["batch_bytes"], 8 << 20);
    assert!(!json.to_string().contains("secret"));

    let ready = server.get("/ready").await;
    assert_eq!(ready.status, 200);
    let ready = ready.json();
    assert_eq!(
        (&ready["published_size"], &ready["integrated_size"], &ready["pending_count"]),
        (&1.into(), &1.into(), &0.into())
    );
    assert_eq!((&ready["ready"], &ready["quorum"]), (&true.into(), &true.into()));
    assert!(ready["checkpoint_age_seconds"].is_u64());

    let page = server.get("/").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(page.text().contains(&vkey().to_string()) && page.text().contains("<html lang=\"en\">"));
    assert!(!page.text().contains("<script"));
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let server = Server::start(open_writes()).await;
    server.add("a").await;
    server.add("a").await;
    server.add("").await;
    server.get("/checkpoint").await;
    server.get("/nothing").await;
    let reply = server.get("/metrics").await;
    assert!(reply.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    for line in [
        format!("glasslog_adds_total{{log=\"{ORIGIN}\",outcome=\"appended\"}} 1"),
        format!("glasslog_adds_total{{log=\"{ORIGIN}\",outcome=\"duplicate\"}} 1"),
        format!("glasslog_adds_total{{log=\"{ORIGIN}\",outcome=\"refused\"}} 1"),
        format!("glasslog_http_requests_total{{log=\"{ORIGIN}\",route=\"add\",status=\"2xx\"}} 2"),
        format!("glasslog_http_requests_total{{log=\"{ORIGIN}\",route=\"checkpoint\",status=\"2xx\"}} 1"),
        format!("glasslog_tree_size{{log=\"{ORIGIN}\",stage=\"sequenced\"}} 1"),
        "glasslog_http_requests_total{log=\"\",route=\"other\",status=\"4xx\"} 1".to_owned(),
        "# EOF".to_owned(),
    ] {
        assert!(reply.text().lines().any(|other| other == line), "{line} is not in\n{}", reply.text());
    }
}

#[tokio::test]
async fn metrics_move_to_their_own_listener() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = Server::start(ServerConfig { metrics_listener: Some(listener), ..open_writes() }).await;
    assert_eq!(server.get("/metrics").await.status, 404);
    let public = std::mem::replace(&mut server.address, address);
    for (path, status) in
        [("/metrics", 200), ("/health", 200), ("/checkpoint", 404), ("/", 404), ("/add", 404)]
    {
        assert_eq!(server.get(path).await.status, status, "{path}");
    }
    server.address = public;
    assert_eq!(server.get("/checkpoint").await.status, 200);
}

#[tokio::test]
async fn logs_stand_below_their_prefixes() {
    let below = |prefix: &'static str, log| Mount { prefix: prefix.into(), ..Mount::at_root(log) };
    let mounts = move |log: glasslog_log::Log| vec![below("/a", log.clone()), below("/a/b", log)];
    let server = Server::mounted(open_writes(), log_config(), mounts).await;
    for (path, status) in [
        ("/a/checkpoint", 200),
        ("/a/b/checkpoint", 200),
        ("/a/", 200),
        ("/a/log.json", 200),
        ("/", 200),
        ("/ready", 200),
        ("/health", 200),
        ("/checkpoint", 404),
        ("/a", 404),
        ("/ab/checkpoint", 404),
        ("/A/checkpoint", 404),
        ("/a/c/checkpoint", 404),
        ("/%61/checkpoint", 404),
        ("/a//checkpoint", 404),
    ] {
        assert_eq!(server.get(path).await.status, status, "{path}");
    }
    assert_eq!(server.post("/a/b/add", "X: 1", "x").await.status, 200);
}

#[tokio::test]
async fn impossible_prefixes_are_refused() {
    for prefixes in
        [&["a"][..], &["/"], &["/a/"], &["/a//b"], &["/.."], &["/a b"], &["/ä"], &["/a", "/a"], &["", ""]]
    {
        let mounts = |log: glasslog_log::Log| {
            let mount = |prefix: &&str| Mount { prefix: (*prefix).into(), ..Mount::at_root(log.clone()) };
            prefixes.iter().map(mount).collect()
        };
        let server = Server::mounted(open_writes(), log_config(), mounts).await;
        assert!(server.ended().await.is_err(), "{prefixes:?}");
    }
}

#[tokio::test]
async fn a_small_cache_serves_the_same_bytes() {
    let limits = Limits { cache_bytes: 20_000, ..Limits::default() };
    let server = Server::start(ServerConfig { limits, ..open_writes() }).await;
    let lines: String = (0..1024).map(|n| format!("{n}\n")).collect();
    server.post("/add-batch", "Content-Type: application/x-ndjson", &lines).await;
    server.published(1024).await;
    for round in 0..3 {
        for tile in 0..4_usize {
            let reply = server.get(&format!("/tile/0/00{tile}")).await;
            assert_eq!(reply.body[..32], leaf_hash((tile * 256).to_string().as_bytes()).0, "round {round}");
        }
    }
}

/// Run with `UPDATE_OPENAPI=1` after changing the API.
#[test]
fn the_committed_description_is_the_servers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        use std::io::Write as _;
        std::fs::File::create(path).unwrap().write_all(openapi_json().as_bytes()).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == openapi_json(),
        "docs/openapi.json is not what the code says; run with UPDATE_OPENAPI=1"
    );
}

/// Every path of the description exists and answers its methods.
#[tokio::test]
async fn what_is_described_exists() {
    let entries: Vec<_> = (0..300).map(|n| format!("entry={n}")).collect();
    let server = Server::indexed(open_writes(), &entries).await;
    let api: serde_json::Value = serde_json::from_str(&openapi_json()).unwrap();
    for (path, methods) in api["paths"].as_object().unwrap() {
        let index = if path.starts_with("/proof") { "7" } else { "000" };
        let path = path.replace("{level}", "0").replace("{index}", index).replace("{name}", "entry");
        let path = path.replace("{hash}", &"0".repeat(64));
        let path = if path == "/vindex/lookup" { path + "?key=entry" } else { path };
        for method in methods.as_object().unwrap().keys() {
            let reply = server
                .ask(&format!(
                    "{} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
                    method.to_uppercase()
                ))
                .await;
            assert!(!matches!(reply.status, 404 | 405), "{method} {path}: {}", reply.status);
        }
    }
}
