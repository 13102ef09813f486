//! A log in memory behind a real listener, and a client that says exactly what it is told to.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use glasslog_core::{
    checkpoint::VerifiedCheckpoint,
    hash::leaf_hash,
    note::{Algorithm, Ed25519Signer, SecretKey, Signer, VerifierKey},
    personality::{EntryIdentity, Identity, InvalidEntry, Personality},
};
use glasslog_index::Options;
use glasslog_log::{IndexConfig, Log, LogConfig, Stores, Workers};
use glasslog_server::{Mount, ServerConfig, ServerError};
use glasslog_store::{disk::RealDisk, duplicates::Table, log_state::MemoryLogState, objects::MemoryObjects};
use glasslog_vindex::{Key, MapFunction};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

pub(crate) const ORIGIN: &str = "example.org/log";

/// No step of a test takes this long unless it hangs.
const HANGS: Duration = Duration::from_secs(20);

/// Entries of the form `name=value` in lower case: the name is the identity. Upper case has a canonical form.
struct Named;

impl Personality for Named {
    fn name(&self) -> &'static str {
        "named"
    }

    fn validate(&self, entry: &[u8]) -> Result<EntryIdentity, InvalidEntry> {
        let lower = entry.to_ascii_lowercase();
        if lower != entry {
            let message = "byte 0: upper case\nis not canonical".to_owned();
            return Err(InvalidEntry { message, canonical: Some(lower) });
        }
        let Some(name) = entry.split(|byte| *byte == b'=').next().filter(|name| name.len() < entry.len())
        else {
            return Err(InvalidEntry { message: "there is no `=`".into(), canonical: None });
        };
        Ok(EntryIdentity::Named(Identity::from_hash(&leaf_hash(name))))
    }
}

/// Entries of the form `name=value` have two keys; everything else maps to nothing.
pub(crate) struct Pairs;

impl MapFunction for Pairs {
    fn name(&self) -> &'static str {
        "pairs-1"
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["name", "value"]
    }

    fn map(&self, entry: &[u8], keys: &mut Vec<Key>) {
        if let Some((name, value)) = std::str::from_utf8(entry).ok().and_then(|entry| entry.split_once('=')) {
            keys.extend([Key::of_kind("name", name), Key::of_kind("value", value)]);
        }
    }
}

/// Holds up an indexer.
pub(crate) struct Gate {
    is_open: Mutex<bool>,
    changed: Condvar,
    is_used: bool,
}

impl Gate {
    pub(crate) fn unused() -> Arc<Gate> {
        Arc::new(Gate { is_open: Mutex::new(true), changed: Condvar::new(), is_used: false })
    }

    pub(crate) fn closed() -> Arc<Gate> {
        Arc::new(Gate { is_open: Mutex::new(false), changed: Condvar::new(), is_used: true })
    }

    /// Lets the indexer go on, or not.
    pub(crate) fn set_open(&self, open: bool) {
        *self.is_open.lock().unwrap() = open;
        self.changed.notify_all();
    }
}

/// [`Pairs`], read by the indexer when the gate is open.
struct Gated(Arc<Gate>);

impl MapFunction for Gated {
    fn name(&self) -> &str {
        Pairs.name()
    }

    fn kinds(&self) -> &'static [&'static str] {
        Pairs.kinds()
    }

    fn map(&self, entry: &[u8], keys: &mut Vec<Key>) {
        if std::thread::current().name() == Some("indexer") {
            let is_open = self.0.is_open.lock().unwrap();
            drop(self.0.changed.wait_while(is_open, |open| !*open).unwrap());
        }
        Pairs.map(entry, keys);
    }
}

fn key() -> SecretKey {
    SecretKey::from_seed(ORIGIN, Algorithm::Ed25519, &[7; 32]).unwrap()
}

pub(crate) fn vkey() -> VerifierKey {
    key().verifier_key().clone()
}

/// A log that publishes as soon as it can.
pub(crate) fn log_config() -> LogConfig {
    LogConfig {
        origin: ORIGIN.into(),
        signers: vec![Arc::new(Ed25519Signer::new(&key())) as Arc<dyn Signer>],
        personality: None,
        hasher: &glasslog_core::hash::ScalarHasher,
        checkpoint_interval: Duration::ZERO,
        batch_max_size: 4096,
        batch_max_age: Duration::ZERO,
        pool_max_bytes: 16 << 20,
        backlog_max_bytes: 64 << 20,
        dedup: true,
        partials_kept_for: Duration::from_secs(300),
        cosigners: Vec::new(),
        refresh_interval: Duration::from_secs(300),
        index: None,
    }
}

/// The same with a schema.
pub(crate) fn with_schema() -> LogConfig {
    LogConfig { personality: Some(Arc::new(Named)), ..log_config() }
}

/// The same with an index below `dir`. A checkpoint waits for it, and not for long where it is held up.
fn with_index(dir: &Path, gate: &Arc<Gate>) -> LogConfig {
    let index = IndexConfig {
        map_fn: Arc::new(Gated(Arc::clone(gate))),
        enabled: true,
        anchor_timeout: if gate.is_used { Duration::from_millis(10) } else { HANGS },
        bulk_from: IndexConfig::BULK_FROM,
        disk: Arc::new(RealDisk::private()),
        dir: dir.join("index"),
        // Every anchor may be written out.
        options: Options { snapshot_interval: 1, ..Options::default() },
    };
    LogConfig { index: Some(index), ..log_config() }
}

/// The same, publishing nothing after the empty tree while a test runs.
pub(crate) fn slow_to_publish() -> LogConfig {
    LogConfig { checkpoint_interval: Duration::from_secs(3600), ..log_config() }
}

pub(crate) fn open_writes() -> ServerConfig {
    ServerConfig { anonymous_writes: true, ..ServerConfig::default() }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) log: Log,
    _workers: Workers,
    _dir: TempDir,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), ServerError>>,
}

impl Server {
    pub(crate) async fn start(config: ServerConfig) -> Server {
        Server::with_log(config, log_config()).await
    }

    pub(crate) async fn with_log(config: ServerConfig, log: LogConfig) -> Server {
        Server::mounted(config, log, |log| vec![Mount::at_root(log)]).await
    }

    pub(crate) async fn mounted(
        config: ServerConfig,
        log: LogConfig,
        mounts: impl FnOnce(Log) -> Vec<Mount>,
    ) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let (log, workers) = open_log(log, dir.path());
        Server::serving(config, dir, log, workers, mounts).await
    }

    /// A log with an index that holds `entries`, all of them public and to be looked up.
    pub(crate) async fn indexed(config: ServerConfig, entries: &[String]) -> Server {
        let server = Server::gated(config, entries, &Gate::unused()).await;
        server.indexed_to(entries.len() as u64).await;
        server
    }

    /// Opens the gate, and adds entries without a key until an anchor has a root again.
    pub(crate) async fn recovered(&self, gate: &Gate) {
        let before = self.log.served().and_then(|pair| pair.anchor());
        gate.set_open(true);
        for number in 0.. {
            let index: u64 = self.add(&format!("noise {number}")).await.text().trim().parse().unwrap();
            self.published(index + 1).await;
            if self.log.served().is_some_and(|pair| pair.anchor() > before) {
                return;
            }
        }
    }

    /// The same, the index being fed while `gate` is open: a log that got its index when it held `entries` already.
    pub(crate) async fn gated(config: ServerConfig, entries: &[String], gate: &Arc<Gate>) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let (state, objects) = (Arc::new(MemoryLogState::default()), Arc::new(MemoryObjects::default()));
        let (log, workers) = open_log_on(log_config(), dir.path(), state.clone(), objects.clone());
        if !entries.is_empty() {
            let bytes: Vec<_> = entries.iter().map(|entry| entry.clone().into_bytes().into()).collect();
            let permit = log.admit(entries.iter().map(String::len).sum()).unwrap();
            log.add(permit, log.submissions(bytes).unwrap(), None).await.unwrap();
        }
        tokio::task::spawn_blocking(|| workers.stop()).await.unwrap().unwrap();
        let state = Arc::new(state.restarted());
        let (log, workers) = open_log_on(with_index(dir.path(), gate), dir.path(), state, objects);
        Server::serving(config, dir, log, workers, |log| vec![Mount::at_root(log)]).await
    }

    /// Waits until lookups are answered about `size` entries, and more.
    pub(crate) async fn indexed_to(&self, size: u64) {
        let began = Instant::now();
        while self.log.served().is_none_or(|pair| pair.size().0 <= size) {
            assert!(began.elapsed() < HANGS, "no lookups");
            tokio::task::yield_now().await;
        }
    }

    async fn serving(
        config: ServerConfig,
        dir: TempDir,
        log: Log,
        workers: Workers,
        mounts: impl FnOnce(Log) -> Vec<Mount>,
    ) -> Server {
        log.published().wait_for(Option::is_some).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let mounts = mounts(log.clone());
        let running = tokio::spawn(glasslog_server::run(config, mounts, listener, async {
            let _ = stopped.await;
        }));
        Server { address, log, _workers: workers, _dir: dir, stop: Some(stop), running }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), buffer: Vec::new() }
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, request: &str) -> Reply {
        let mut client = self.connect().await;
        client.send(request.as_bytes()).await;
        client.reply().await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n")).await
    }

    pub(crate) async fn add(&self, entry: &str) -> Reply {
        self.post("/add", "X-Nothing: 1", entry).await
    }

    pub(crate) async fn post(&self, path: &str, headers: &str, body: &str) -> Reply {
        let length = body.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    /// Adds entries until one is left unpublished, which the rest then are too; gives the index of the next.
    pub(crate) async fn until_none_is_published(&self) -> u64 {
        for index in 0.. {
            assert_eq!(self.add(&format!("not to be published, {index}")).await.text(), format!("{index}\n"));
            let mut published = self.log.published();
            let covered = published.wait_for(|note| note.as_ref().is_some_and(|note| note.size.0 > index));
            if tokio::time::timeout(Duration::from_millis(200), covered).await.is_err() {
                return index + 1;
            }
        }
        unreachable!("the log has an hour between checkpoints");
    }

    /// Waits until a public checkpoint covers `size`.
    pub(crate) async fn published(&self, size: u64) -> VerifiedCheckpoint {
        let mut watch = self.log.published();
        let note = tokio::time::timeout(
            HANGS,
            watch.wait_for(|note| note.as_ref().is_some_and(|n| n.size.0 >= size)),
        )
        .await
        .expect("no publication")
        .unwrap()
        .clone()
        .unwrap();
        VerifiedCheckpoint::open(&note.note, ORIGIN, &[vkey()]).unwrap()
    }

    pub(crate) fn ask_to_stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub(crate) async fn ended(self) -> Result<(), ServerError> {
        tokio::time::timeout(HANGS, self.running).await.expect("does not end").unwrap()
    }
}

fn open_log(config: LogConfig, dir: &Path) -> (Log, Workers) {
    open_log_on(config, dir, Arc::default(), Arc::default())
}

fn open_log_on(
    config: LogConfig,
    dir: &Path,
    state: Arc<MemoryLogState>,
    objects: Arc<MemoryObjects>,
) -> (Log, Workers) {
    let duplicates = Arc::new(Table::open(Arc::new(RealDisk::private()), &dir.join("duplicates")).unwrap());
    Log::open(config, Stores { objects, state, duplicates }).unwrap()
}

/// A connection on which a test writes what it likes.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends as much as the server is willing to read.
    pub(crate) async fn send_lossy(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    pub(crate) async fn reply(&mut self) -> Reply {
        self.try_reply(false).await.expect("the connection ended without an answer")
    }

    /// The answer to HEAD: it has no body, whatever its Content-Length.
    pub(crate) async fn bodiless_reply(&mut self) -> Reply {
        self.try_reply(true).await.expect("the connection ended without an answer")
    }

    pub(crate) async fn try_reply(&mut self, bodiless: bool) -> Option<Reply> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if self.read_more().await == 0 {
                return None;
            }
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut reply = Reply { status, headers, body: Vec::new() };
        let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        let length = if bodiless || status == 304 || status == 204 { 0 } else { length };
        while self.buffer.len() < length {
            assert_ne!(self.read_more().await, 0, "the body is cut off");
        }
        reply.body = self.buffer.drain(..length).collect();
        Some(reply)
    }

    /// Whether the server closes the connection without saying more.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && self.read_more().await == 0
    }

    async fn read_more(&mut self) -> usize {
        let mut space = [0; 16 << 10];
        let read = tokio::time::timeout(HANGS, self.stream.read(&mut space)).await.expect("no answer");
        let count = read.unwrap_or(0);
        self.buffer.extend_from_slice(&space[..count]);
        count
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
