//! How many checkpoints a second a witness cosigns: 1,000 logs that each grow by one entry again and again, both kinds of
//! cosignature, SQLite on a real disk, clients in the same process.
//!
//! ```text
//! cargo run --release -p glasslog-witness --example load -- [SECONDS] [CONNECTIONS] [LOGS] [DIRECTORY]
//! ```
//!
//! Every answer counted here was durable before it left: the state runs with `synchronous=FULL`, which
//! `strace -f -e trace=fdatasync` shows. The requests are made before the clock starts, so that only the witness and the
//! clients' plain HTTP are measured.
#![expect(clippy::print_stdout, reason = "prints what it measured")]

use std::{
    error::Error,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{KeyPair as _, ML_DSA_44_SIGNING, PqdsaKeyPair};
use glasslog_core::{
    Hash, TreeSize,
    checkpoint::Checkpoint,
    hash::{leaf_hash, node_hash},
    merkle::ConsistencyProof,
    note::{Algorithm, Ed25519Signer, SecretKey, SignError, Signer, VerifierKey, sign},
    witness::AddCheckpoint,
};
use glasslog_witness::{
    About, Limits, WitnessConfig,
    decide::LogKeys,
    logs::{KnownLog, LogTable, Source},
    run,
    state::{SqliteOptions, SqliteWitnessState},
    system_clock,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

const NAME: &str = "witness.example/w1";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (seconds, connections, logs) = (number(20)?, number(16)?, number(1000)?);
    let dir = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(dir)?;
    println!("fdatasync of 8 KiB: p50 {:?}", fdatasync_p50(dir.path())?);

    let keys: Vec<SecretKey> = (0..logs).map(log_key).collect::<std::result::Result<_, _>>()?;
    let steps = (seconds * 12_000 / logs).max(2);
    let requests = requests(&keys, steps)?;
    println!("{logs} logs, {connections} connections, at most {} requests", logs * steps);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(run(config(listener, &keys, dir.path())?, async {
        let _ = stopped.await;
    }));
    let started = Instant::now();
    let deadline = started + Duration::from_secs(u64::try_from(seconds)?);
    let share = requests.len().div_ceil(connections);
    let mut clients = Vec::new();
    let mut rest = requests;
    while !rest.is_empty() {
        let mine = rest.split_off(rest.len().saturating_sub(share));
        clients.push(tokio::spawn(client(address, mine, deadline)));
    }
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await??);
    }
    let elapsed = started.elapsed();
    drop(stop);
    running.await??;
    report(took, elapsed);
    Ok(())
}

fn report(mut took: Vec<Duration>, elapsed: Duration) {
    took.sort_unstable();
    let count = took.len();
    let at = |permille: usize| {
        took.get((count * permille / 1000).min(count.saturating_sub(1))).copied().unwrap_or_default()
    };
    let rate = f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / elapsed.as_secs_f64();
    println!(
        "{count} cosigned in {elapsed:.1?}: {rate:.0}/s; p50 {:.2?}, p99 {:.2?}, p99.9 {:.2?}, max {:.2?}",
        at(500),
        at(990),
        at(999),
        at(1000)
    );
}

/// Sends the requests of some logs, step by step, on one connection, until the deadline.
async fn client(address: SocketAddr, logs: Vec<Vec<Vec<u8>>>, deadline: Instant) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut took = Vec::new();
    let mut answer = vec![0; 16 << 10];
    let steps = logs.first().map_or(0, Vec::len);
    for step in 0..steps {
        for request in logs.iter().filter_map(|log| log.get(step)) {
            let started = Instant::now();
            if started > deadline {
                return Ok(took);
            }
            stream.write_all(request).await?;
            read_answer(&mut stream, &mut answer).await?;
            took.push(started.elapsed());
        }
    }
    Ok(took)
}

async fn read_answer(stream: &mut TcpStream, space: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    loop {
        let read = stream.read(space.get_mut(filled..).unwrap_or_default()).await?;
        filled += read;
        let text = std::str::from_utf8(space.get(..filled).unwrap_or_default()).unwrap_or("");
        if read == 0 || (text.len() > 12 && !text.starts_with("HTTP/1.1 200")) {
            return Err(format!("not cosigned: {text}").into());
        }
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if Some(body.len()) == length.and_then(|length| length.parse().ok()) {
            return Ok(());
        }
    }
}

/// For each log, its requests from size 0 to `steps`. All logs have the same entries.
fn requests(keys: &[SecretKey], steps: usize) -> Result<Vec<Vec<Vec<u8>>>> {
    let leaves: Vec<Hash> = (0..steps).map(|n| leaf_hash(&n.to_be_bytes())).collect();
    let trees: Vec<(Vec<Hash>, Hash)> = (1..=steps)
        .map(|size| {
            let leaves = leaves.get(..size).unwrap_or_default();
            let proof = if size == 1 { Vec::new() } else { subproof(size - 1, leaves, true) };
            (proof, root(leaves))
        })
        .collect();
    let of_log = |key: &SecretKey| {
        let signer = Ed25519Signer::new(key);
        let of_size = |(old, (proof, root)): (u64, &(Vec<Hash>, Hash))| {
            let text = Checkpoint::new(key.name(), TreeSize(old + 1), *root).to_text();
            let note = sign(&text, &[&signer])?.into_bytes();
            let proof = ConsistencyProof(proof.clone());
            let body = AddCheckpoint { old_size: TreeSize(old), proof, note }.to_bytes();
            let head =
                format!("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: {}\r\n\r\n", body.len());
            Ok([head.into_bytes(), body].concat())
        };
        (0..).zip(&trees).map(of_size).collect::<Result<Vec<_>>>()
    };
    keys.iter().map(of_log).collect()
}

/// MTH and SUBPROOF of RFC 6962 §2.1.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

fn subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let split = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(split);
    let (mut proof, other) = if old <= split {
        (subproof(old, left, whole), root(right))
    } else {
        (subproof(old - split, right, false), root(left))
    };
    proof.push(other);
    proof
}

fn log_key(n: usize) -> std::result::Result<SecretKey, glasslog_core::note::KeyError> {
    let name = format!("log.example/{n}");
    SecretKey::from_seed(&name, Algorithm::Ed25519, leaf_hash(name.as_bytes()).as_bytes())
}

fn config(listener: TcpListener, keys: &[SecretKey], dir: &Path) -> Result<WitnessConfig> {
    let ed25519 = SecretKey::from_seed(NAME, Algorithm::CosignatureV1, &[7; 32])?;
    let signers: Vec<Arc<dyn Signer>> =
        vec![Arc::new(Ed25519Signer::new(&ed25519)), Arc::new(MlDsaSigner::new(&[8; 32])?)];
    let own: Vec<VerifierKey> = signers.iter().map(|signer| signer.verifier_key().clone()).collect();
    let logs = LogTable::new(&own, None);
    let known = keys.iter().map(|key| {
        let keys = LogKeys::new(key.name(), vec![key.verifier_key().clone()])?;
        Ok(KnownLog { keys, qpd: None, disabled: false, source: Source::Settings })
    });
    logs.configure(known.collect::<Result<_>>()?)?;
    Ok(WitnessConfig {
        listener,
        metrics_listener: None,
        signers,
        state: Arc::new(SqliteWitnessState::open(&dir.join("state.db"), SqliteOptions::default())?),
        logs,
        bastions: None,
        about: About::default(),
        limits: Limits::default(),
        trusted_proxies: Vec::new(),
        clock: system_clock(),
    })
}

/// A 0x06 key of aws-lc-rs.
struct MlDsaSigner {
    verifier_key: VerifierKey,
    pair: PqdsaKeyPair,
}

impl MlDsaSigner {
    fn new(seed: &[u8; 32]) -> Result<MlDsaSigner> {
        let pair = PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, seed)
            .map_err(|_| io::Error::other("no such seed"))?;
        let verifier_key = VerifierKey::new(NAME, Algorithm::MlDsa44, pair.public_key().as_ref())?;
        Ok(MlDsaSigner { verifier_key, pair })
    }
}

impl Signer for MlDsaSigner {
    fn verifier_key(&self) -> &VerifierKey {
        &self.verifier_key
    }

    fn sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignError> {
        let mut signature = vec![0; ML_DSA_44_SIGNING.signature_len()];
        let failed = |_| SignError::Failed { name: NAME.into(), reason: "aws-lc refused to sign".into() };
        self.pair.sign(message, &mut signature).map_err(failed)?;
        Ok(signature)
    }
}

/// What one sync costs here, as a measure of the disk.
fn fdatasync_p50(dir: &Path) -> Result<Duration> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(dir.join("probe"))?;
    let mut took = Vec::new();
    for _ in 0..200 {
        file.write_all(&[1; 8192])?;
        let started = Instant::now();
        file.sync_data()?;
        took.push(started.elapsed());
    }
    took.sort_unstable();
    Ok(took.get(took.len() / 2).copied().unwrap_or_default())
}
