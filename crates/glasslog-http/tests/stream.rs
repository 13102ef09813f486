//! A connection that is there already, whatever it runs over.
#![allow(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    net::IpAddr,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use glasslog_http::{
    UnreadBody,
    answer::{Answer, TEXT, uncached, with_status},
    body,
    serve::{ConnectionLimits, Handler, serve_stream},
};
use http::Request;
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
};

/// Says what it was sent, and who sent it; at most ten bytes.
#[derive(Default)]
struct Echo {
    open: AtomicI64,
}

impl Handler for Echo {
    async fn answer(&self, peer: IpAddr, request: Request<Incoming>, unread_body: &UnreadBody) -> Answer {
        const LIMIT: usize = 10;
        let body = request.into_body();
        let read = match body::reservation(&body, LIMIT) {
            Ok(reserved) => body::read(body, reserved, LIMIT, Duration::from_secs(20)).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(bytes) => uncached(TEXT, format!("{peer} sent {} bytes\n", bytes.len())),
            Err(error) => {
                unread_body.note();
                with_status(error.status(), TEXT, format!("{error}\n"))
            }
        }
    }

    fn connection(&self, open: bool) {
        self.open.fetch_add(if open { 1 } else { -1 }, Ordering::SeqCst);
    }
}

/// What the peer reads after it sent `requests` and the service was asked to stop.
async fn answers(requests: &str) -> String {
    let (mut near, far) = tokio::io::duplex(64 << 10);
    let (stop, stopping) = watch::channel(false);
    let handler = Echo::default();
    let peer = IpAddr::from([192, 0, 2, 7]);
    let limits = ConnectionLimits::default();
    let asked = async {
        near.write_all(requests.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        near.read_exact(&mut first).await.unwrap();
        stop.send_replace(true);
        near.shutdown().await.unwrap();
        let mut rest = String::from_utf8(first.to_vec()).unwrap();
        near.read_to_string(&mut rest).await.unwrap();
        rest
    };
    let ((), answers) = tokio::join!(serve_stream(&handler, far, peer, &limits, stopping), asked);
    assert_eq!(handler.open.load(Ordering::SeqCst), 0);
    answers
}

#[tokio::test]
async fn a_stream_is_served_until_it_is_asked_to_stop() {
    let answer = answers("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n192.0.2.7 sent 5 bytes\n"), "{answer}");
}

#[tokio::test]
async fn a_body_is_bounded_before_and_while_it_is_read() {
    let answer = answers("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let chunks = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n";
    let answer = answers(chunks).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.ends_with("longer than the 10 bytes that are possible here\n"), "{answer}");
}
