//! How many lookups with proof a server answers, its clients included: a log whose entries have one key each, in memory,
//! behind the real server, and 64 connections that ask one after the other and verify some of what they get.
//!
//! ```text
//! cargo run --release -p glasslog-server --example lookups -- 1000000 10
//! ```
#![expect(clippy::print_stdout, reason = "says what it measured")]

use std::{
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use glasslog_core::{
    LeafIndex, TreeSize,
    anchor::anchor,
    hash::leaf_hash,
    note::{Algorithm, Ed25519Signer, SecretKey, Signer},
    personality::Identity,
    policy::Policy,
};
use glasslog_index::{Binding, Index, Options};
use glasslog_log::{Log, LogConfig, Stores};
use glasslog_server::{Mount, ServerConfig};
use glasslog_store::{
    LogState,
    disk::RealDisk,
    duplicates::Table,
    log_state::{Batch, BatchId, MemoryLogState, Slot},
    objects::MemoryObjects,
};
use glasslog_vindex::{JsonField, Key, Lookup, MapFunction, Pinned, keys_of};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const ORIGIN: &str = "example.org/lookups";
const CONNECTIONS: u64 = 64;
/// One answer of so many is verified.
const SAMPLE: u64 = 1024;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let entries: u64 = arguments.next().map_or(Ok(100_000), |entries| entries.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(5), |seconds| seconds.parse())?;
    let dir = tempfile::tempdir()?;
    let key = SecretKey::from_seed(ORIGIN, Algorithm::Ed25519, &[1; 32])?;
    let map_fn = JsonField::new("k").ok_or("no field")?;
    let config = LogConfig {
        origin: ORIGIN.into(),
        signers: vec![Arc::new(Ed25519Signer::new(&key)) as Arc<dyn Signer>],
        personality: None,
        hasher: glasslog_core_hasher(),
        checkpoint_interval: Duration::from_secs(1),
        batch_max_size: 4096,
        batch_max_age: Duration::ZERO,
        pool_max_bytes: 64 << 20,
        backlog_max_bytes: 1 << 30,
        dedup: false,
        partials_kept_for: Duration::from_secs(300),
        cosigners: Vec::new(),
        refresh_interval: Duration::from_secs(300),
        map_fn: Some(Arc::new(map_fn.clone())),
    };
    let binding = Binding { origin: ORIGIN.into(), map_fn: map_fn.name().into() };
    let mut index =
        Index::open(Arc::new(RealDisk::private()), &dir.path().join("index"), &binding, Options::default())?
            .index;
    let mut slots = Vec::new();
    for n in 0..entries {
        let entry = entry(n);
        index.apply(LeafIndex(n), &keys_of(&map_fn, entry.as_bytes()))?;
        slots.push(slot(entry.into_bytes()));
    }
    let revision = index.revision()?;
    slots.push(slot(anchor(map_fn.name(), Some(&revision.root()), TreeSize(entries))));
    let state = Arc::new(MemoryLogState::default());
    let batch = Batch { id: BatchId([1; 16]), first_index: LeafIndex(0), slots };
    let _ = state.turn(TreeSize::ZERO)?.commit(Arc::new(batch), None);
    let stores = Stores {
        objects: Arc::new(MemoryObjects::default()),
        state,
        duplicates: Arc::new(Table::open(Arc::new(RealDisk::private()), &dir.path().join("duplicates"))?),
    };
    let (log, _workers) = Log::open(config, stores)?;
    log.anchored(LeafIndex(entries), revision);
    let mut published = log.published();
    published.wait_for(|note| note.as_ref().is_some_and(|note| note.size.0 > entries)).await?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(glasslog_server::run(
        ServerConfig::default(),
        vec![Mount::at_root(log)],
        listener,
        std::future::pending(),
    ));
    let policy = Policy::without_witnesses(&[key.verifier_key().clone()]);
    let judge = Arc::new(Judge { policy, map_fn });
    for accept in ["text/x.tlog.proof", "*/*"] {
        load(address, entries, Duration::from_secs(seconds), accept, &judge).await?;
    }
    Ok(())
}

fn glasslog_core_hasher() -> &'static dyn glasslog_core::hash::BatchHasher {
    &glasslog_core::hash::ScalarHasher
}

fn entry(n: u64) -> String {
    format!("{{\"k\":\"conda/conda-forge/linux-64/package-{n}-1.0.0-py311_0.conda\"}}")
}

fn slot(bytes: Vec<u8>) -> Slot {
    let leaf_hash = leaf_hash(&bytes);
    Slot::Entry { bytes: Bytes::from(bytes), leaf_hash, identity: Identity::from_hash(&leaf_hash) }
}

struct Judge {
    policy: Policy,
    map_fn: JsonField,
}

impl Judge {
    fn verify(&self, name: &str, proof: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let pinned = Pinned { origin: ORIGIN, policy: &self.policy, map_fn: &self.map_fn };
        Lookup::parse(proof)?.verify(&pinned, &Key::of_name(name), 0)?;
        Ok(())
    }
}

async fn load(
    address: SocketAddr,
    entries: u64,
    time: Duration,
    accept: &'static str,
    judge: &Arc<Judge>,
) -> Result<(), Box<dyn Error>> {
    let (stop, answers, bytes) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut clients = Vec::new();
    for client in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (stop, answers, bytes, judge) =
            (Arc::clone(&stop), Arc::clone(&answers), Arc::clone(&bytes), Arc::clone(judge));
        clients.push(tokio::spawn(async move {
            let (mut buffer, mut random) = (vec![0; 64 << 10], client.wrapping_add(1));
            while !stop.load(Ordering::Relaxed) {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Half of the names are there.
                let name = format!(
                    "conda/conda-forge/linux-64/package-{}-1.0.0-py311_0.conda",
                    (random >> 33) % (entries * 2)
                );
                let request =
                    format!("GET /vindex/lookup/key/{name} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
                stream.write_all(request.as_bytes()).await?;
                let body = answer(&mut stream, &mut buffer).await?;
                bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
                if answers.fetch_add(1, Ordering::Relaxed) % SAMPLE == 0 && accept != "*/*" {
                    judge.verify(&name, body)?;
                }
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        }));
    }
    let begun = Instant::now();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await?.map_err(|error| error.to_string())?;
    }
    let (answers, bytes) = (answers.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed));
    let rate = answers as f64 / begun.elapsed().as_secs_f64();
    println!("{accept}: {rate:.0} lookups/s, {} bytes each", bytes / answers.max(1));
    Ok(())
}

/// The body of the next answer, which has a Content-Length.
async fn answer<'b>(
    stream: &mut TcpStream,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Box<dyn Error + Send + Sync>> {
    let mut filled = 0;
    loop {
        let read = stream.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
        if read == 0 {
            return Err("the server closed the connection, or the answer is too long".into());
        }
        filled += read;
        let seen = buffer.get(..filled).unwrap_or_default();
        let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(seen.get(..end).unwrap_or_default())?.to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") {
            return Err(head.into());
        }
        let length: usize = head
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.split("\r\n").next())
            .ok_or("no length")?
            .parse()?;
        if filled >= end + 4 + length {
            return Ok(buffer.get(end + 4..end + 4 + length).unwrap_or_default());
        }
    }
}
