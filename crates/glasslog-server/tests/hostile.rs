//! Clients that are slow, lie, or ask for nonsense; and a server that is asked to stop.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says so by failing")]

mod support;

use std::time::Duration;

use glasslog_server::{Limits, ServerConfig};
use support::{Server, open_writes, slow_to_publish};

fn impatient() -> ServerConfig {
    let soon = Duration::from_millis(100);
    let limits = Limits { head_timeout: soon, body_timeout: soon, ..Limits::default() };
    ServerConfig { limits, ..open_writes() }
}

#[tokio::test]
async fn a_slow_body_is_cut_off() {
    let server = Server::start(impatient()).await;
    let mut client = server.connect().await;
    client.send(b"POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nslow").await;
    assert_eq!(client.reply().await.status, 408);
    assert!(client.is_closed().await, "the rest would be taken for a request");
    assert_eq!(server.add("next").await.text(), "0\n");
}

#[tokio::test]
async fn a_slow_head_is_cut_off() {
    let server = Server::start(impatient()).await;
    let mut client = server.connect().await;
    client.send(b"GET /checkpoint HTT").await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_huge_content_length_is_refused_unread() {
    let server = Server::start(open_writes()).await;
    for (path, length) in [("/add", "65536"), ("/add", "9223372036854775807"), ("/add-batch", "8388609")] {
        let mut client = server.connect().await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {length}\r\n\r\n"
        );
        client.send(head.as_bytes()).await;
        assert_eq!(client.reply().await.status, 413, "{path} {length}");
    }
}

/// A client that sends everything before it reads must still see why it was refused.
#[tokio::test]
async fn a_refusal_arrives_though_the_body_was_not_read() {
    let server = Server::start(ServerConfig::default()).await;
    let mut client = server.connect().await;
    let body = vec![b'x'; 2 << 20];
    client.send(format!("POST /add-batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes()).await;
    client.send_lossy(&body).await;
    assert_eq!(client.reply().await.status, 401);
}

#[tokio::test]
async fn malformed_lengths_never_smuggle_a_request() {
    let server = Server::start(open_writes()).await;
    for head in [
        "Content-Length: -1",
        "Content-Length: 1x",
        "Content-Length: 99999999999999999999",
        "Content-Length: 1\r\nContent-Length: 2",
        "Transfer-Encoding: gzip",
    ] {
        let mut client = server.connect().await;
        client.send(format!("POST /add HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\nx").as_bytes()).await;
        let status = client.reply().await.status;
        assert!((400..500).contains(&status) || status == 501, "{head}: {status}");
        assert!(client.is_closed().await, "{head}");
    }
    assert_eq!(server.add("next").await.text(), "0\n", "none of these was an entry");
}

#[tokio::test]
async fn a_body_longer_than_its_length_is_not_part_of_the_entry() {
    let server = Server::start(open_writes()).await;
    let mut client = server.connect().await;
    client.send(b"POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcdef\r\n\r\n").await;
    assert_eq!(client.reply().await.text(), "0\n");
    assert_eq!(client.reply().await.status, 400);
    server.published(1).await;
    assert_eq!(server.get("/tile/entries/000.p/1").await.body, b"\0\x03abc");
}

#[tokio::test]
async fn chunked_bodies_are_bounded_too() {
    let server = Server::start(open_writes()).await;
    let chunked = "POST /add HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let reply = server.ask(&format!("{chunked}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")).await;
    assert_eq!((reply.status, reply.text()), (200, "0\n"));
    let mut client = server.connect().await;
    client.send(chunked.as_bytes()).await;
    for _ in 0..5 {
        client.send_lossy(format!("4000\r\n{}\r\n", "x".repeat(0x4000)).as_bytes()).await;
    }
    assert_eq!(client.reply().await.status, 413);
    assert_eq!(server.ask(&format!("{chunked}zz\r\n")).await.status, 400);
    server.published(1).await;
    assert_eq!(server.get("/tile/entries/000.p/1").await.body, b"\0\x05abcde");
}

#[tokio::test]
async fn a_client_that_goes_away_in_its_body_adds_nothing() {
    let server = Server::start(open_writes()).await;
    let mut client = server.connect().await;
    client.send(b"POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf").await;
    drop(client);
    assert_eq!(server.add("whole").await.text(), "0\n");
}

/// hyper can hold answers back while more input lies in its buffer; a client that waits for one would hang.
#[tokio::test]
async fn an_answer_does_not_wait_for_what_was_sent_after_its_request() {
    let server = Server::start(open_writes()).await;
    let mut client = server.connect().await;
    client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea").await;
    assert_eq!(client.reply().await.text(), "ok\n");
    client.send(b"lth HTTP/1.1\r\nHost: x\r\n\r\n\r\n").await;
    assert_eq!(client.reply().await.text(), "ok\n");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(open_writes()).await;
    let mut client = server.connect().await;
    let mut requests = String::new();
    for n in 0..20 {
        requests += &format!("POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{n:02}");
        requests += "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    }
    client.send(requests.as_bytes()).await;
    for n in 0..20 {
        assert_eq!(client.reply().await.text(), format!("{n}\n"));
        assert_eq!(client.reply().await.text(), "ok\n");
    }
}

#[tokio::test]
async fn nonsense_is_answered_or_closed_and_harms_nobody() {
    let server = Server::start(open_writes()).await;
    for bytes in [
        &b"\x16\x03\x01\x02\0\x01\0"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\n\r\n",
        b"GET /checkpoint HTTP/1.1\r\nBad Header\r\n\r\n",
        b"\r\n\r\n\r\n\r\n\0\0\0\0",
        &[b'A'; 200_000],
    ] {
        let mut client = server.connect().await;
        client.send_lossy(bytes).await;
        client.send_lossy(b"\r\n\r\n").await;
        let reply = client.try_reply(false).await;
        assert!(
            reply.is_none_or(|reply| (400..500).contains(&reply.status)),
            "{:?}",
            &bytes[..bytes.len().min(20)]
        );
    }
    let many = "X-Y: z\r\n".repeat(150);
    assert_eq!(server.get_with("/checkpoint", &many).await.status, 431);
    let long = format!("X-Long: {}\r\n", "z".repeat(40_000));
    assert_eq!(server.get_with("/checkpoint", &long).await.status, 431);
    assert_eq!(server.get("/checkpoint").await.status, 200);
}

/// Its connection is given to someone else.
#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let write_timeout = Duration::from_millis(100);
    let limits = Limits { connections: 1, write_timeout, ..Limits::default() };
    let server = Server::start(ServerConfig { limits, ..open_writes() }).await;
    let mut deaf = server.connect().await;
    let lines: String = (0..100).map(|n| format!("{n} {}\n", "x".repeat(60_000))).collect();
    let head = format!(
        "POST /add-batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        lines.len()
    );
    deaf.send(head.as_bytes()).await;
    deaf.send(lines.as_bytes()).await;
    assert_eq!(deaf.reply().await.status, 200);
    let entries = server.log.progress().sequenced.0;
    server.published(entries).await;
    // Far more than the socket's buffers hold.
    let request = format!("GET /tile/entries/000.p/{entries} HTTP/1.1\r\nHost: x\r\n\r\n");
    deaf.send(request.repeat(50).as_bytes()).await;
    assert_eq!(server.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_body_comes_after_100_continue() {
    let server = Server::start(open_writes()).await;
    let mut client = server.connect().await;
    client.send(b"POST /add HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").await;
    assert_eq!(client.bodiless_reply().await.status, 100);
    client.send(b"abc").await;
    assert_eq!(client.reply().await.text(), "0\n");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_their_turn() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let server = Server::start(ServerConfig { limits, ..open_writes() }).await;
    let request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let (mut first, mut second, mut third) =
        (server.connect().await, server.connect().await, server.connect().await);
    first.send(request).await;
    second.send(request).await;
    third.send(request).await;
    assert_eq!((first.reply().await.status, second.reply().await.status), (200, 200));
    let waiting = tokio::time::timeout(Duration::from_millis(50), third.reply()).await;
    assert!(waiting.is_err(), "a third connection was served");
    drop(first);
    assert_eq!(third.reply().await.status, 200);
}

#[tokio::test]
async fn stopping_drains_what_is_under_way() {
    let mut server = Server::with_log(open_writes(), slow_to_publish()).await;
    let mut idle = server.connect().await;
    idle.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    idle.reply().await;
    let next = server.until_none_is_published().await;
    let mut waiting = server.connect().await;
    waiting.send(b"POST /add?wait=published HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nsecond").await;
    // Being asked something, the server has time to see what was sent: that the one is sequenced and its room given
    // back, and then that the other has its five bytes reserved.
    while server.log.progress().sequenced.0 <= next || server.log.progress().pool_bytes > 0 {
        assert_eq!(server.get("/health").await.status, 200);
    }
    let mut sending = server.connect().await;
    sending.send(b"POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nthi").await;
    while server.log.progress().pool_bytes < 5 {
        assert_eq!(server.get("/health").await.status, 200);
    }
    server.ask_to_stop();
    assert_eq!(waiting.reply().await.status, 202, "durable, and told so");
    sending.send(b"rd").await;
    assert_eq!(sending.reply().await.text(), format!("{}\n", next + 1), "what was being sent is still taken");
    assert!(idle.is_closed().await);
    let address = server.address;
    server.ended().await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
