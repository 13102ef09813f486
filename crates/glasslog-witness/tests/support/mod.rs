//! A witness behind a real listener, logs that can fork, and a client that says exactly what it is told to.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use glasslog_core::{
    Hash, TreeSize,
    checkpoint::Checkpoint,
    hash::{leaf_hash, node_hash},
    merkle::ConsistencyProof,
    note::{Algorithm, Ed25519Signer, Note, SecretKey, Signer, VerifierKey, sign},
    witness::{AddCheckpoint, origin_hash},
};
use glasslog_witness::{
    About, Limits, WitnessConfig, WitnessError,
    decide::LogKeys,
    logs::{KnownLog, LogTable, Source},
    run,
    state::{MemoryWitnessState, Record, StateError, Swap, SwapOutcome, WitnessState},
};
use std::sync::{Condvar, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::JoinHandle,
};

pub(crate) const NAME: &str = "witness.example/w1";
pub(crate) const NOW: u64 = 1_700_000_000;

/// No step of a test takes this long unless it hangs.
const HANGS: Duration = Duration::from_secs(30);

/// MTH and SUBPROOF of RFC 6962 §2.1, by their recursive definitions.
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

pub(crate) fn subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
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

/// A log that tells different people different histories: they agree on their first two entries.
pub(crate) struct Log {
    pub(crate) origin: String,
    pub(crate) key: SecretKey,
}

impl Log {
    pub(crate) fn new(origin: &str) -> Log {
        let key = SecretKey::from_seed(origin, Algorithm::Ed25519, leaf_hash(origin.as_bytes()).as_bytes());
        Log { origin: origin.into(), key: key.unwrap() }
    }

    pub(crate) fn known(&self) -> KnownLog {
        let keys = LogKeys::new(&self.origin, vec![self.key.verifier_key().clone()]).unwrap();
        KnownLog { keys, qpd: None, disabled: false, source: Source::Settings }
    }

    pub(crate) fn leaves(fork: u8, size: u64) -> Vec<Hash> {
        (0..size).map(|n| leaf_hash(format!("{} {n}", if n < 2 { 0 } else { fork }).as_bytes())).collect()
    }

    pub(crate) fn checkpoint(&self, fork: u8, size: u64) -> Checkpoint {
        Checkpoint::new(&self.origin, TreeSize(size), root(&Log::leaves(fork, size)))
    }

    pub(crate) fn sign(&self, checkpoint: &Checkpoint) -> String {
        sign(&checkpoint.to_text(), &[&Ed25519Signer::new(&self.key)]).unwrap()
    }

    /// The request to go from `old` to `size` entries of a history.
    pub(crate) fn request(&self, fork: u8, old: u64, size: u64) -> Vec<u8> {
        let leaves = Log::leaves(fork, size);
        let hashes = if old == 0 || old >= size {
            Vec::new()
        } else {
            subproof(usize::try_from(old).unwrap(), &leaves, true)
        };
        self.request_with(old, hashes, &self.checkpoint(fork, size))
    }

    pub(crate) fn request_with(&self, old: u64, hashes: Vec<Hash>, checkpoint: &Checkpoint) -> Vec<u8> {
        let note = self.sign(checkpoint).into_bytes();
        AddCheckpoint { old_size: TreeSize(old), proof: ConsistencyProof(hashes), note }.to_bytes()
    }

    pub(crate) fn path(&self) -> String {
        format!("/{}/checkpoint", origin_hash(&self.origin))
    }
}

pub(crate) fn witness_key() -> SecretKey {
    SecretKey::from_seed(NAME, Algorithm::CosignatureV1, &[7; 32]).unwrap()
}

/// What a test may change of a witness before it starts.
pub(crate) struct Setup {
    pub(crate) logs: Vec<KnownLog>,
    pub(crate) signers: Vec<Arc<dyn Signer>>,
    pub(crate) state: Arc<dyn WitnessState>,
    pub(crate) limits: Limits,
}

impl Setup {
    pub(crate) fn of(logs: &[&Log]) -> Setup {
        Setup {
            logs: logs.iter().map(|log| log.known()).collect(),
            signers: vec![Arc::new(Ed25519Signer::new(&witness_key()))],
            state: Arc::new(MemoryWitnessState::default()),
            limits: Limits::default(),
        }
    }
}

pub(crate) struct Witness {
    pub(crate) address: SocketAddr,
    pub(crate) logs: LogTable,
    pub(crate) now: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), WitnessError>>,
}

impl Witness {
    pub(crate) async fn start(setup: Setup) -> Witness {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let keys: Vec<VerifierKey> =
            setup.signers.iter().map(|signer| signer.verifier_key().clone()).collect();
        let logs = LogTable::new(&keys, None);
        logs.configure(setup.logs).unwrap();
        let now = Arc::new(AtomicU64::new(NOW));
        let clock = now.clone();
        let config = WitnessConfig {
            listener,
            metrics_listener: None,
            bastions: None,
            signers: setup.signers,
            state: setup.state,
            logs: logs.clone(),
            about: About { submission_url: Some("https://witness.example".into()), ..About::default() },
            limits: setup.limits,
            trusted_proxies: Vec::new(),
            clock: Arc::new(move || clock.load(Ordering::SeqCst)),
        };
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(run(config, async {
            let _ = stopped.await;
        }));
        Witness { address, logs, now, stop: Some(stop), running }
    }

    pub(crate) async fn of(logs: &[&Log]) -> Witness {
        Witness::start(Setup::of(logs)).await
    }

    pub(crate) async fn client(&self) -> Client {
        self.try_client().await.unwrap()
    }

    /// `None` when the witness is gone.
    pub(crate) async fn try_client(&self) -> Option<Client> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        Some(Client { stream, buffer: Vec::new() })
    }

    pub(crate) async fn add(&self, body: &[u8]) -> Reply {
        self.client().await.add(body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        let mut client = self.client().await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: w\r\n\r\n").as_bytes()).await;
        client.reply().await
    }

    /// The value of a metric whose line begins with `name`.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").await;
        let line = metrics.text().lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in {}", metrics.text()))
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    pub(crate) fn ask_to_stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub(crate) async fn ended(self) -> Result<(), WitnessError> {
        tokio::time::timeout(HANGS, self.running).await.expect("does not end").unwrap()
    }

    pub(crate) async fn stop(mut self) -> Result<(), WitnessError> {
        self.ask_to_stop();
        self.ended().await
    }
}

pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    pub(crate) async fn send_add(&mut self, body: &[u8]) {
        let head =
            format!("POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send(&[head.as_bytes(), body].concat()).await;
    }

    pub(crate) async fn add(&mut self, body: &[u8]) -> Reply {
        self.send_add(body).await;
        self.reply().await
    }

    pub(crate) async fn reply(&mut self) -> Reply {
        self.try_reply(false).await.expect("the connection ended without an answer")
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

    /// The time of the witness's 0x04 cosignature in this answer, verified on what `log` signed.
    pub(crate) fn cosigned_at(&self, log: &Log, checkpoint: &Checkpoint) -> u64 {
        assert_eq!(self.status, 200, "{}", self.text());
        let note = Note::parse(format!("{}{}", log.sign(checkpoint), self.text()).as_bytes()).unwrap();
        let keys = [log.key.verifier_key().clone(), witness_key().verifier_key().clone()];
        let verified = note.verify(&keys).unwrap();
        assert_eq!(verified.signatures().len(), 2, "{}", self.text());
        verified.signatures().iter().find_map(|signature| signature.time).unwrap()
    }
}

/// How a [`Double`] treats a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// The disk is full before anything is written.
    Full,
    /// The sync fails: the swaps may be durable, and here they are.
    SyncFails,
    /// Swaps wait until the mood changes.
    Slow,
}

/// A state in memory that can be slow or fail, and that counts.
pub(crate) struct Double {
    inner: MemoryWitnessState,
    mood: Mutex<Mood>,
    changed: Condvar,
    /// How many swaps each call had; a call counts when it begins.
    pub(crate) batches: watch::Sender<Vec<usize>>,
}

impl Double {
    pub(crate) fn new(mood: Mood) -> Arc<Double> {
        let batches = watch::Sender::new(Vec::new());
        Arc::new(Double {
            inner: MemoryWitnessState::default(),
            mood: Mutex::new(mood),
            changed: Condvar::new(),
            batches,
        })
    }

    pub(crate) fn feel(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.changed.notify_all();
    }

    pub(crate) async fn called(&self, times: usize) {
        self.batches.subscribe().wait_for(|batches| batches.len() >= times).await.unwrap();
    }
}

impl WitnessState for Double {
    fn load(&self, origin: &str) -> Result<Option<Record>, StateError> {
        self.inner.load(origin)
    }

    fn load_all(&self) -> Result<Vec<Record>, StateError> {
        self.inner.load_all()
    }

    fn swap(&self, swaps: &[Swap]) -> Result<Vec<SwapOutcome>, StateError> {
        self.batches.send_modify(|batches| batches.push(swaps.len()));
        let mood = self.changed.wait_while(self.mood.lock().unwrap(), |mood| *mood == Mood::Slow).unwrap();
        match *mood {
            Mood::Well | Mood::Slow => self.inner.swap(swaps),
            Mood::Full => Err(StateError::Refused(io::ErrorKind::StorageFull.into())),
            Mood::SyncFails => {
                self.inner.swap(swaps)?;
                Err(StateError::Durability(io::Error::other("fsync failed")))
            }
        }
    }

    fn close(&self) -> Result<(), StateError> {
        self.inner.close()
    }
}

/// A state that outlives a witness: in memory, a goodbye would close it.
pub(crate) struct Unclosed(pub(crate) Arc<dyn WitnessState>);

impl WitnessState for Unclosed {
    fn load(&self, origin: &str) -> Result<Option<Record>, StateError> {
        self.0.load(origin)
    }

    fn load_all(&self) -> Result<Vec<Record>, StateError> {
        self.0.load_all()
    }

    fn swap(&self, swaps: &[Swap]) -> Result<Vec<SwapOutcome>, StateError> {
        self.0.swap(swaps)
    }

    fn close(&self) -> Result<(), StateError> {
        Ok(())
    }
}

/// A 0x06 key that signs nothing true: for what depends on its type alone.
pub(crate) struct PretendMlDsa(pub(crate) VerifierKey);

impl PretendMlDsa {
    pub(crate) fn new() -> PretendMlDsa {
        PretendMlDsa(VerifierKey::new(NAME, Algorithm::MlDsa44, &[6; 1312]).unwrap())
    }
}

impl Signer for PretendMlDsa {
    fn verifier_key(&self) -> &VerifierKey {
        &self.0
    }

    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, glasslog_core::note::SignError> {
        Ok(vec![0; 2420])
    }
}

/// Rounds of a race: few in CI, many when asked for.
pub(crate) fn rounds(few: u64, many: u64) -> u64 {
    if std::env::var_os("GLASSLOG_TORTURE").is_some() { many } else { few }
}
