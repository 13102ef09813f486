//! Something to measure reads and adds against: a log of 65,536 unique conda-like entries of about 600 bytes, in
//! memory, behind the real server; and beside it "hello world" on the same stack, as the ceiling.
//!
//! ```text
//! cargo run --release -p glasslog-server --example reads -- 127.0.0.1:2199 127.0.0.1:2198
//! wrk -t1 -c64 -d10 http://127.0.0.1:2198/
//! wrk -t1 -c64 -d10 http://127.0.0.1:2199/checkpoint
//! wrk -t1 -c64 -d10 http://127.0.0.1:2199/tile/0/017
//! wrk -t1 -c64 -d10 http://127.0.0.1:2199/tile/entries/017
//! ```
#![expect(clippy::print_stdout, reason = "says where it listens")]

use std::{convert::Infallible, error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use glasslog_core::note::{Algorithm, Ed25519Signer, SecretKey, Signer};
use glasslog_log::{Log, LogConfig, Stores};
use glasslog_server::{Mount, ServerConfig};
use glasslog_store::{disk::RealDisk, duplicates::Table, log_state::MemoryLogState, objects::MemoryObjects};
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

const ENTRIES: u32 = 65_536;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut addresses = std::env::args().skip(1);
    let address = addresses.next().unwrap_or_else(|| "127.0.0.1:2199".into());
    let hello_address = addresses.next().unwrap_or_else(|| "127.0.0.1:2198".into());

    let dir = tempfile::tempdir()?;
    let key = SecretKey::from_seed("example.org/reads", Algorithm::Ed25519, &[1; 32])?;
    let config = LogConfig {
        origin: "example.org/reads".into(),
        signers: vec![Arc::new(Ed25519Signer::new(&key)) as Arc<dyn Signer>],
        personality: None,
        hasher: &glasslog_core::hash::ScalarHasher,
        checkpoint_interval: Duration::from_secs(1),
        batch_max_size: 4096,
        batch_max_age: Duration::ZERO,
        pool_max_bytes: 64 << 20,
        backlog_max_bytes: 256 << 20,
        dedup: true,
        partials_kept_for: Duration::from_secs(300),
        cosigners: Vec::new(),
        refresh_interval: Duration::from_secs(300),
        index: None,
    };
    let stores = Stores {
        objects: Arc::new(MemoryObjects::default()),
        state: Arc::new(MemoryLogState::default()),
        duplicates: Arc::new(Table::open(Arc::new(RealDisk::private()), &dir.path().join("duplicates"))?),
    };
    let (log, _workers) = Log::open(config, stores)?;
    fill(&log).await?;

    println!("reads and adds on http://{address}, hello world on http://{hello_address}");
    tokio::spawn(hello(TcpListener::bind(hello_address).await?));
    let config = ServerConfig { anonymous_writes: true, ..ServerConfig::default() };
    let listener = TcpListener::bind(address).await?;
    glasslog_server::run(config, vec![Mount::at_root(log)], listener, async {
        let _ = tokio::signal::ctrl_c().await;
    })
    .await?;
    Ok(())
}

async fn fill(log: &Log) -> Result<(), Box<dyn Error>> {
    for batch in 0..ENTRIES / 4096 {
        let entries: Vec<_> = (0..4096).map(|n| entry(batch * 4096 + n)).collect();
        let permit = log.admit(entries.iter().map(Bytes::len).sum())?;
        let entries = log.submissions(entries).map_err(|(_, error)| error)?;
        log.add(permit, entries, None).await?;
    }
    let mut published = log.published();
    published.wait_for(|note| note.as_ref().is_some_and(|note| note.size.0 >= u64::from(ENTRIES))).await?;
    Ok(())
}

fn entry(n: u32) -> Bytes {
    let digest = const_hex::encode(n.wrapping_mul(2_654_435_761).to_be_bytes()).repeat(8);
    let depends = "\"python >=3.11,<3.12.0a0\",\"libgcc-ng >=12\",\"libstdcxx-ng >=12\"";
    Bytes::from(format!(
        "{{\"artifact\":{{\"md5\":\"{}\",\"sha256\":\"{digest}\",\"size\":{n}}},\"eco\":\"conda\",\"meta\":{{\"build\":\"py311_{n}\",\
         \"build_number\":{n},\"depends\":[{depends}],\"license\":\"BSD-3-Clause\",\"name\":\"package-{n}\",\"sha256\":\"{digest}\",\
         \"subdir\":\"linux-64\",\"timestamp\":17000{n:08},\"version\":\"1.{n}.0\"}},\"path\":\"linux-64/package-{n}-1.{n}.0-py311_{n}.conda\",\
         \"profile\":\"conda-repodata-1\",\"repo\":\"conda-forge\",\"type\":\"record\",\"v\":1}}",
        &digest[..32]
    ))
}

/// The same accept, runtime and HTTP implementation, and nothing else.
async fn hello(listener: TcpListener) {
    while let Ok((socket, _)) = listener.accept().await {
        let _ = socket.set_nodelay(true);
        tokio::spawn(async move {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new());
            let _ = builder.serve_connection(TokioIo::new(socket), service_fn(greet)).await;
        });
    }
}

async fn greet(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from_static(b"hello\n"))))
}
