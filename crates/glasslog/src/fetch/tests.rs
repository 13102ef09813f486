//! What may be read, and what is refused. HTTP itself is tested through the real binary.

use glasslog_core::entry_bundle;

use super::*;

fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::io::Write::write_all(&mut File::create(path).unwrap(), bytes).unwrap();
    }
    directory
}

fn open(directory: &tempfile::TempDir) -> Source {
    Source::open(directory.path().to_str().unwrap()).unwrap()
}

#[test]
fn a_log_is_found_in_the_directory_or_in_public_below_it() {
    for path in ["checkpoint", "public/checkpoint"] {
        assert!(matches!(open(&directory(&[(path, b"note")])), Source::Directory(_)), "{path}");
    }
    for target in ["/no/such/directory", "ftp://example.org/", "file:///tmp", "http://"] {
        assert!(matches!(Source::open(target), Err(FetchError::NoLog { .. })), "{target}");
    }
    assert!(matches!(Source::open("https://example.org/log"), Ok(Source::Http(_))));
}

#[tokio::test]
async fn a_partial_that_is_gone_is_cut_from_the_full_one() {
    let entries: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte; usize::from(byte)]).collect();
    let bundle = entry_bundle::encode(&entries).unwrap();
    let tile: Vec<u8> = (0..=255_u8).flat_map(|byte| [byte; 32]).collect();
    let log = directory(&[("checkpoint", b"note"), ("tile/0/000", &tile), ("tile/entries/000", &bundle)]);
    let source = open(&log);
    let partial_tile = TileId { level: 0, index: 0, width: 7 };
    assert_eq!(source.tile(&partial_tile).await.unwrap(), tile[..7 * 32]);
    let partial_bundle = BundleId { index: 0, width: 7 };
    assert_eq!(source.bundle(&partial_bundle).await.unwrap(), entry_bundle::encode(&entries[..7]).unwrap());
    assert_eq!(source.tile(&partial_tile.full()).await.unwrap(), tile);
}

#[tokio::test]
async fn what_is_missing_or_too_long_is_named() {
    let long = vec![0; 33];
    let log = directory(&[("checkpoint", b"note"), ("tile/0/000.p/1", &long)]);
    let source = open(&log);
    let too_long = source.tile(&TileId { level: 0, index: 0, width: 1 }).await;
    assert!(matches!(too_long, Err(FetchError::TooLong { path, limit: 32 }) if path == "tile/0/000.p/1"));
    let missing = source.tile(&TileId { level: 0, index: 1, width: 3 }).await;
    assert!(matches!(missing, Err(FetchError::Missing { path }) if path == "tile/0/001.p/3"));
}

/// A server that never comes to an end is asked once, and not waited for; what it says when it refuses is told.
#[tokio::test]
async fn an_answer_has_a_time_limit_and_a_refusal_its_reason() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            let slow = head[..read].starts_with(b"GET /slow ");
            let answer: &[u8] = if slow {
                b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnever"
            } else {
                b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nno such kind\nmore\n"
            };
            stream.write_all(answer).await.unwrap();
            if slow {
                open.push(stream);
                assert_eq!(open.len(), 1, "it is asked once");
            }
        }
    });
    let source = HttpSource::new(&url).unwrap().with_answer_deadline(std::time::Duration::from_millis(50));
    let slow = source.ask("slow", "text/x.tlog.proof", 100).await;
    assert!(matches!(slow, Err(FetchError::Transport { source, .. }) if source.is_timeout()));
    let refused = source.ask("kind", "text/x.tlog.proof", 100).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("{url}/kind answered 400: no such kind"));
    server.abort();
}

/// A byte now and then keeps each wait short, and would keep whoever reads an object waiting for ever.
#[tokio::test]
async fn an_object_that_drips_has_a_time_limit_too() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                let _ = stream.read(&mut head).await;
                let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n").await;
                let mut tick = tokio::time::interval(std::time::Duration::from_millis(5));
                while sent.is_ok() {
                    tick.tick().await;
                    sent = stream.write_all(b"x").await;
                }
            });
        }
    });
    let source = HttpSource::new(&url).unwrap().with_answer_deadline(std::time::Duration::from_millis(50));
    let dripping = source.get("checkpoint", 10_000).await;
    assert!(matches!(dripping, Err(FetchError::Transport { source, .. }) if source.is_timeout()));
    server.abort();
}
