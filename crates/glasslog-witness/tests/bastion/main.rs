//! A backend and its bastions (c2sp.org/https-bastion). The bastion is a TLS server with an HTTP/2 client behind it, of
//! rustls and hyper; where torchwood's litebastion is installed, that one as well.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests may fail like tests"
)]

mod litebastion;
mod support;

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::future::join_all;
use glasslog_witness::bastion::{BackendKey, BastionLimits};
use http::{Method, StatusCode};
use rustls::version::{TLS12, TLS13};
use sha2::{Digest, Sha256};
use support::{Authority, Echo, Port, Running, Tls, get, limits, public_key, request, soon, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How an HTTP/2 client begins: the preface and empty settings (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test]
async fn what_a_client_asks_the_bastion_is_answered() {
    let (authority, echo, port) = (Authority::new(), Echo::new(1), Port::open().await);
    let running = Running::start(&echo, &authority, vec![port.address()], limits());
    let backend = port.backend(&Tls::good(&authority).acceptor()).await;
    assert_eq!(backend.get("/x").await, "GET /x of 127.0.0.1, 0 bytes, forwarded: false");
    let upload = request(Method::POST, "/add-checkpoint", &[], vec![b'x'; 500_000]);
    let answer = backend.ask(upload).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(text(answer).await, "POST /add-checkpoint of 127.0.0.1, 500000 bytes, forwarded: false");
    assert_eq!(echo.connections.load(Ordering::SeqCst), 1);
    running.finish().await;
    assert_eq!(echo.connections.load(Ordering::SeqCst), 0);
}

/// The certificate is verified by rustls with the public key that is in it; the hash is computed here.
#[tokio::test]
async fn the_backend_proves_its_key() {
    let (authority, echo, port) = (Authority::new(), Echo::new(1), Port::open().await);
    let running = Running::start(&echo, &authority, vec![port.address()], limits());
    let stream = port.tls(&Tls::good(&authority).acceptor()).await.unwrap();
    let (_, session) = stream.get_ref();
    assert_eq!(session.alpn_protocol(), Some(&b"bastion/0"[..]));
    let [certificate] = session.peer_certificates().unwrap() else { panic!("one certificate") };
    let public_key = public_key(certificate);
    let secret = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    assert_eq!(public_key, secret.verifying_key().to_bytes());
    let hash = const_hex::encode(Sha256::digest(public_key));
    assert_eq!(support::key().hash(), hash);
    let prefix = port.address().submission_prefix(&support::key());
    assert_eq!(prefix, format!("https://{}/{hash}", port.address()));
    running.finish().await;
}

#[tokio::test]
async fn the_bastion_says_whose_request_it_is() {
    let (authority, echo, port) = (Authority::new(), Echo::new(1), Port::open().await);
    let running = Running::start(&echo, &authority, vec![port.address()], limits());
    let backend = port.backend(&Tls::good(&authority).acceptor()).await;
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[("x-forwarded-for", "198.51.100.7")], "198.51.100.7"),
        (&[("x-forwarded-for", "2001:db8::7")], "2001:db8::7"),
        (&[("x-forwarded-for", "198.51.100.7"), ("forwarded", "for=203.0.113.1")], "198.51.100.7"),
        (&[("x-forwarded-for", "198.51.100.7"), ("x-forwarded-for", "198.51.100.8")], "127.0.0.1"),
        (&[("x-forwarded-for", "198.51.100.7, 198.51.100.8")], "127.0.0.1"),
        (&[("forwarded", "for=198.51.100.7")], "127.0.0.1"),
    ];
    for (headers, client) in table {
        let answer = backend.ask(request(Method::GET, "/", headers, "")).await.unwrap();
        assert_eq!(
            text(answer).await,
            format!("GET / of {client}, 0 bytes, forwarded: false"),
            "{headers:?}"
        );
    }
    running.finish().await;
}

/// None of them is answered before all of them have arrived.
#[tokio::test]
async fn requests_are_answered_at_once_on_one_connection() {
    let (authority, echo, port) = (Authority::new(), Echo::new(32), Port::open().await);
    let running = Running::start(&echo, &authority, vec![port.address()], limits());
    let backend = port.backend(&Tls::good(&authority).acceptor()).await;
    for answer in join_all((0..32).map(|_| backend.get("/meet"))).await {
        assert_eq!(answer, "GET /meet of 127.0.0.1, 0 bytes, forwarded: false");
    }
    assert_eq!(echo.connections.load(Ordering::SeqCst), 1);
    running.finish().await;
}

#[tokio::test]
async fn no_more_requests_at_once_than_the_limit() {
    let (authority, echo, port) = (Authority::new(), Echo::new(1), Port::open().await);
    let running =
        Running::start(&echo, &authority, vec![port.address()], BastionLimits { streams: 3, ..limits() });
    let backend = port.backend(&Tls::good(&authority).acceptor()).await;
    // By the first answer the bastion has read how many requests may be open.
    backend.get("/").await;
    let asked = join_all((0..9).map(|_| backend.get("/wait")));
    let counted = async {
        let mut most = 0;
        for _ in 0..9 {
            let mut waiting = echo.waiting.subscribe();
            most = most.max(*soon(waiting.wait_for(|waiting| *waiting > 0)).await.unwrap());
            echo.gate.add_permits(1);
            soon(waiting.changed()).await.unwrap();
        }
        most
    };
    let (answers, most) = tokio::join!(asked, counted);
    assert_eq!(answers.len(), 9);
    assert!(most <= 3, "{most} at once");
    running.finish().await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused_and_the_connection_goes_on() {
    let (authority, echo, port) = (Authority::new(), Echo::new(1), Port::open().await);
    let running = Running::start(&echo, &authority, vec![port.address()], limits());
    let backend = port.backend(&Tls::good(&authority).acceptor()).await;
    let long = request(Method::GET, "/", &[("x-long", &"x".repeat(60 << 10))], "");
    if let Ok(answer) = backend.ask(long).await {
        assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    backend.get("/").await;
    running.finish().await;
}

/// Far more than one request may send ahead, or all of them together: what nobody reads is not waited for.
#[tokio::test]
async fn a_body_that_is_not_read_keeps_nobody() {
    let (authority, echo, port) = (Authority::new(), Echo::new(1), Port::open().await);
    let running = Running::start(&echo, &authority, vec![port.address()], limits());
    let backend = port.backend(&Tls::good(&authority).acceptor()).await;
    for _ in 0..20 {
        let answer = backend.ask(request(Method::POST, "/unread", &[], vec![b'x'; 2 << 20])).await.unwrap();
        assert_eq!(text(answer).await, "not read");
    }
    let upload = request(Method::POST, "/", &[], vec![b'x'; 2 << 20]);
    assert_eq!(backend.ask(upload).await.unwrap().status(), StatusCode::OK);
    running.finish().await;
}

#[tokio::test]
async fn a_request_that_fails_or_is_given_up_harms_no_other() {
    let (authority, echo, port) = (Authority::new(), Echo::new(1), Port::open().await);
    let running = Running::start(&echo, &authority, vec![port.address()], limits());
    let backend = port.backend(&Tls::good(&authority).acceptor()).await;
    assert!(backend.ask(get("/panic")).await.is_err());
    let mut waiting = echo.waiting.subscribe();
    let given_up = tokio::spawn(backend.requests.clone().send_request(get("/wait")));
    soon(waiting.wait_for(|waiting| *waiting == 1)).await.unwrap();
    given_up.abort();
    backend.get("/").await;
    running.finish().await;
}

/// Each of these is refused, and only for its own fault: the same port with that fault mended is connected to next.
#[tokio::test]
async fn whom_a_backend_does_not_serve() {
    let (authority, stranger, echo) = (Authority::new(), Authority::named("stranger"), Echo::new(1));
    let good = || Tls::good(&authority);
    let tls12 = Tls { versions: vec![&TLS12], ..good() };
    // What the bastion's TLS then says; without ALPN it is content, and the backend closes.
    let faults = [
        ("only TLS 1.2", tls12, Some("Tls12NotOfferedOrEnabled")),
        ("another ALPN", Tls { alpn: &[b"h2"], ..good() }, Some("peer doesn't support any known protocol")),
        ("no ALPN at all", Tls { alpn: &[], ..good() }, None),
        ("an authority that nobody trusts", Tls::good(&stranger), Some("fatal alert: UnknownCA")),
        ("another name", Tls { name: "192.0.2.1", ..good() }, Some("fatal alert: BadCertificate")),
    ];
    for (why, fault, expected) in faults {
        let port = Port::open().await;
        let running = Running::start(&echo, &authority, vec![port.address()], limits());
        match (port.tls(&fault.acceptor()).await, expected) {
            (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{why}: {error}"),
            (Ok(mut stream), None) => {
                // Where it serves, it answers this.
                drop(stream.write_all(PREFACE).await);
                let mut word = [0; 1];
                assert!(matches!(soon(stream.read(&mut word)).await, Ok(0) | Err(_)), "{why}: it spoke");
            }
            (outcome, _) => panic!("{why}: {outcome:?}"),
        }
        let versions = vec![&TLS13, &TLS12];
        let backend = port.backend(&Tls { versions, ..good() }.acceptor()).await;
        backend.get("/").await;
        running.finish().await;
    }
}

#[tokio::test]
async fn a_backend_that_is_not_listed_yet_goes_on_trying() {
    let (authority, echo, port) = (Authority::new(), Echo::new(1), Port::open().await);
    let running = Running::start(&echo, &authority, vec![port.address()], limits());
    let refusing = Tls { accepts_backend: false, ..Tls::good(&authority) }.acceptor();
    for _ in 0..3 {
        assert!(port.tls(&refusing).await.is_err());
    }
    assert_eq!(echo.connections.load(Ordering::SeqCst), 0);
    port.backend(&Tls::good(&authority).acceptor()).await.get("/").await;
    running.finish().await;
}

#[tokio::test]
async fn a_connection_that_ended_is_replaced() {
    let (authority, echo, port) = (Authority::new(), Echo::new(1), Port::open().await);
    let running = Running::start(&echo, &authority, vec![port.address()], limits());
    let acceptor = Tls::good(&authority).acceptor();
    for _ in 0..3 {
        // Before TLS, after it, and in the middle of a request.
        drop(port.tcp().await);
        drop(port.tls(&acceptor).await.unwrap());
        let backend = port.backend(&acceptor).await;
        backend.get("/").await;
        let mut waiting = echo.waiting.subscribe();
        let asked = tokio::spawn(backend.requests.clone().send_request(get("/wait")));
        soon(waiting.wait_for(|waiting| *waiting > 0)).await.unwrap();
        backend.cut();
        assert!(soon(asked).await.unwrap().is_err());
        echo.waiting.send_replace(0);
    }
    port.backend(&acceptor).await.get("/").await;
    running.finish().await;
}

/// A bastion that hangs: before TLS, before HTTP/2, and in HTTP/2, where only a ping notices.
#[tokio::test]
async fn a_bastion_that_falls_silent_is_left() {
    let (authority, echo, port) = (Authority::new(), Echo::new(1), Port::open().await);
    let short = Duration::from_millis(200);
    let limits =
        BastionLimits { connect_timeout: short, ping_interval: short, ping_timeout: short, ..limits() };
    let running = Running::start(&echo, &authority, vec![port.address()], limits);
    let acceptor = Tls::good(&authority).acceptor();

    let mut rest = Vec::new();
    let mut silent = port.tcp().await;
    soon(silent.read_to_end(&mut rest)).await.unwrap();

    // A slow machine may need more than one attempt to get through TLS in time; each time it must be left again.
    let mut unpinged = loop {
        if let Ok(mut stream) = port.tls(&acceptor).await {
            let mut word = [0; 1];
            assert!(matches!(soon(stream.read(&mut word)).await, Ok(0) | Err(_)), "it spoke first");
        }
        if let Ok(mut stream) = port.tls(&acceptor).await
            && stream.write_all(PREFACE).await.is_ok()
        {
            break stream;
        }
    };
    drop(soon(unpinged.read_to_end(&mut rest)).await);
    running.finish().await;
}

#[tokio::test]
async fn many_bastions_at_once() {
    let (authority, echo) = (Authority::new(), Echo::new(3));
    let ports = [Port::open().await, Port::open().await, Port::open().await];
    let nobody = Port::open().await.address();
    let addresses = ports.iter().map(Port::address).chain([nobody]).collect();
    let running = Running::start(&echo, &authority, addresses, limits());
    let acceptor = Tls::good(&authority).acceptor();
    let backends = join_all(ports.iter().map(|port| port.backend(&acceptor))).await;
    join_all(backends.iter().map(|backend| backend.get("/meet"))).await;
    assert_eq!(echo.connections.load(Ordering::SeqCst), 3);
    running.finish().await;
}

#[tokio::test]
async fn what_was_asked_before_the_end_is_still_answered() {
    let (authority, echo, port) = (Authority::new(), Echo::new(1), Port::open().await);
    let running = Running::start(&echo, &authority, vec![port.address()], limits());
    let backend = port.backend(&Tls::good(&authority).acceptor()).await;
    let mut waiting = echo.waiting.subscribe();
    let asked = tokio::spawn(backend.requests.clone().send_request(get("/wait")));
    soon(waiting.wait_for(|waiting| *waiting == 1)).await.unwrap();
    running.stop.send_replace(true);
    echo.gate.add_permits(1);
    let answer = soon(asked).await.unwrap().unwrap();
    assert_eq!(text(answer).await, "GET /wait of 127.0.0.1, 0 bytes, forwarded: false");
    running.finish().await;
    soon(backend.connection).await.unwrap().unwrap();
}

/// A handler that never answers does not keep the process.
#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_off() {
    let (authority, echo, port) = (Authority::new(), Echo::new(1), Port::open().await);
    let limits = BastionLimits { drain_timeout: Duration::from_millis(50), ..limits() };
    let running = Running::start(&echo, &authority, vec![port.address()], limits);
    let backend = port.backend(&Tls::good(&authority).acceptor()).await;
    let mut waiting = echo.waiting.subscribe();
    let asked = tokio::spawn(backend.requests.clone().send_request(get("/wait")));
    soon(waiting.wait_for(|waiting| *waiting == 1)).await.unwrap();
    running.finish().await;
    assert!(soon(asked).await.unwrap().is_err());
}

#[tokio::test]
async fn it_stops_while_there_is_nobody_to_connect_to() {
    let (authority, echo) = (Authority::new(), Echo::new(1));
    let nobody = Port::open().await.address();
    let silent = Port::open().await;
    let hour = Duration::from_secs(3600);
    let limits = BastionLimits { connect_timeout: hour, retry: (hour, hour), ..limits() };
    let running = Running::start(&echo, &authority, vec![nobody, silent.address()], limits);
    let _silent = silent.tcp().await;
    running.finish().await;
}

#[test]
fn a_backend_key_says_nothing_secret() {
    let key = BackendKey::from_seed(&[1; 32]).unwrap();
    assert_eq!(format!("{key:?}"), format!("BackendKey({})", key.hash()));
    assert_eq!(key.hash().len(), 64);
}
