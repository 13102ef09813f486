//! Witnesses as a list of sizes and roots, behind a transport that calls them at once.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use glasslog_client::witness::Refusal;
use glasslog_core::{
    Hash, TreeSize,
    checkpoint::{Checkpoint, VerifiedCheckpoint},
    cosignature::cosign,
    note::{Algorithm, Ed25519Signer, SecretKey, VerifierKey, sign},
    tile::Edge,
    witness::{AddCheckpoint, SIZE_CONTENT_TYPE, size_body},
};
use glasslog_log::{Exchange, Received, Stores, Transport};
use parking_lot::{Condvar, Mutex};

use crate::common::{ORIGIN, key as log_key, vkeys};

/// How a witness behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Honest,
    Down,
    /// Does not answer before it is released, and honestly then.
    Hang,
    /// Cosigns a root that it was not given.
    WrongRoot,
    WrongKey,
    /// A conflict with the same size, whatever it is sent.
    StaleSize,
    Garbage,
    TooLong,
    Redirect,
    ServerError,
    UnknownLog,
    Budget,
    /// Claims to hold more than the log has.
    SaysAhead,
    SaysInconsistent,
    /// Shows another root under the log's signature, and says so when newer checkpoints have been offered to the others.
    SlowFork,
}

/// All witnesses of a test.
pub(crate) struct Witnesses {
    state: Mutex<State>,
    released: Condvar,
    count: u8,
}

struct State {
    modes: Vec<Mode>,
    held: HashMap<u8, (TreeSize, Hash, Vec<u8>)>,
    /// Everything that any of them ever cosigned.
    cosigned: Vec<(TreeSize, Hash)>,
    clock_ahead_s: u64,
    shows: bool,
    hanging_allowed: bool,
    stores: Option<Stores>,
}

impl Witnesses {
    pub(crate) fn new(count: u8) -> Arc<Witnesses> {
        let state = State {
            modes: vec![Mode::Honest; usize::from(count)],
            held: HashMap::new(),
            cosigned: Vec::new(),
            clock_ahead_s: 0,
            shows: false,
            hanging_allowed: true,
            stores: None,
        };
        Arc::new(Witnesses { state: Mutex::new(state), released: Condvar::new(), count })
    }

    /// Where the log keeps things: whatever a witness is shown must be readable there (invariant 3).
    pub(crate) fn watch(&self, stores: &Stores) {
        self.state.lock().stores = Some(stores.clone());
    }

    pub(crate) fn set(&self, witness: usize, mode: Mode) {
        self.state.lock().modes[witness] = mode;
    }

    pub(crate) fn show_checkpoints(&self, shows: bool) {
        self.state.lock().shows = shows;
    }

    pub(crate) fn advance_clock(&self, seconds: u64) {
        self.state.lock().clock_ahead_s += seconds;
    }

    /// Lets those that hang answer.
    pub(crate) fn release(&self) {
        self.state.lock().hanging_allowed = false;
        self.released.notify_all();
    }

    /// Lets those that hang wait again.
    pub(crate) fn hold(&self) {
        self.state.lock().hanging_allowed = true;
    }

    pub(crate) fn settings(&self) -> String {
        let setting = |n| format!("w{n}=http://w{n}.example={}", key(n).verifier_key());
        (0..self.count).map(setting).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn keys(&self) -> Vec<VerifierKey> {
        (0..self.count).map(|n| key(n).verifier_key().clone()).collect()
    }

    /// Every cosignature that was ever given out is of one history.
    pub(crate) fn assert_one_chain(&self) {
        let mut roots: HashMap<TreeSize, Hash> = HashMap::new();
        for (size, root) in &self.state.lock().cosigned {
            assert_eq!(roots.entry(*size).or_insert(*root), root, "two roots at size {size}");
        }
    }

    /// Waits until the checkpoint after the one in `body` has been offered, which is so when the next one is recorded.
    fn wait_for_two_more(&self, body: &[u8]) {
        let request = AddCheckpoint::parse(body).unwrap();
        let size = VerifiedCheckpoint::open(&request.note, ORIGIN, &vkeys()).unwrap().size();
        let stores = self.state.lock().stores.clone().unwrap();
        let recorded = || stores.state.view().unwrap().recorded.unwrap().size.0;
        while recorded() < size.0 + 2 && self.state.lock().hanging_allowed {
            std::thread::yield_now();
        }
    }

    fn add_checkpoint(&self, witness: u8, body: &[u8]) -> Result<Received, Refusal> {
        let is_slow = self.state.lock().modes[usize::from(witness)] == Mode::SlowFork;
        if is_slow {
            self.wait_for_two_more(body);
        }
        let mut state = self.state.lock();
        state.assert_readable(body);
        let mut mode = state.modes[usize::from(witness)];
        if mode == Mode::Hang {
            self.released.wait_while(&mut state, |state| state.hanging_allowed);
            mode = Mode::Honest;
        }
        let honest = state.judge(witness, body);
        let text =
            |status, body: String| Ok(Received { status, body: body.into_bytes(), ..Received::default() });
        match mode {
            Mode::Honest | Mode::Hang => Ok(honest),
            Mode::Down => Err(Refusal::Unreachable("connection refused".into())),
            Mode::TooLong => Err(Refusal::TooLong),
            Mode::WrongRoot => {
                text(200, cosigned(witness, &format!("{ORIGIN}\n9\n{}\n", "A".repeat(43) + "=")))
            }
            Mode::WrongKey => text(200, cosigned(witness + 100, "whatever\n")),
            Mode::StaleSize => Ok(conflict(TreeSize(0))),
            Mode::Garbage => text(200, "<html>".into()),
            Mode::Redirect => text(302, String::new()),
            Mode::ServerError => text(500, "oops\n".into()),
            Mode::UnknownLog => text(404, "unknown log\n".into()),
            Mode::SaysAhead => Ok(conflict(TreeSize(1 << 40))),
            Mode::SaysInconsistent | Mode::SlowFork => text(422, "no\n".into()),
            Mode::Budget => Ok(Received { status: 429, retry_after_s: Some(1), ..Received::default() }),
        }
    }
}

impl State {
    /// Invariant 3: recorded, and every object that it implies readable, before anyone outside sees it.
    fn assert_readable(&self, body: &[u8]) {
        let stores = self.stores.as_ref().unwrap();
        let request = AddCheckpoint::parse(body).unwrap();
        let checkpoint = VerifiedCheckpoint::open(&request.note, ORIGIN, &vkeys()).unwrap();
        let recorded = stores.state.view().unwrap().recorded.unwrap();
        assert!(recorded.size >= checkpoint.size(), "a witness saw what is not recorded");
        for path in Edge::objects_at(checkpoint.size()) {
            assert!(stores.objects.get(&path.to_string(), None).unwrap().is_some(), "{path} is not readable");
        }
    }

    /// The rules of tlog-witness, for an honest witness. A witness that does not answer does not hold either.
    fn judge(&mut self, witness: u8, body: &[u8]) -> Received {
        let honest = matches!(self.modes[usize::from(witness)], Mode::Honest | Mode::Hang);
        let request = AddCheckpoint::parse(body).unwrap();
        let checkpoint = VerifiedCheckpoint::open(&request.note, ORIGIN, &vkeys()).unwrap();
        let (size, root) = (checkpoint.size(), *checkpoint.root());
        let nothing = || (TreeSize::ZERO, Hash::EMPTY_ROOT);
        let held = self.held.get(&witness).map_or_else(nothing, |(size, root, _)| (*size, *root));
        if held.0 != request.old_size {
            return conflict(held.0);
        }
        if request.proof.verify(held.0, &held.1, size, &root).is_err() {
            return Received { status: 422, ..Received::default() };
        }
        if honest {
            self.held.insert(witness, (size, root, request.note.clone()));
            self.cosigned.push((size, root));
        }
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + self.clock_ahead_s;
        let line = cosign(checkpoint.note().text(), now_s, &Ed25519Signer::new(&key(witness))).unwrap();
        Received { status: 200, body: format!("{line}\n").into_bytes(), ..Received::default() }
    }
}

impl Transport for Witnesses {
    fn exchange(&self, request: Exchange<'_>, _timeout: Duration) -> Result<Received, Refusal> {
        let number =
            |url: &str| url.strip_prefix("http://w").unwrap().split('.').next().unwrap().parse().unwrap();
        match request {
            Exchange::Submit { url, body } => self.add_checkpoint(number(url), body),
            Exchange::Look { url } => {
                let state = self.state.lock();
                if state.modes[usize::from(number(url))] == Mode::SlowFork {
                    let text = Checkpoint::new(ORIGIN, TreeSize(1), Hash::EMPTY_ROOT).to_text();
                    let note = sign(&text, &[&Ed25519Signer::new(&log_key(1))]).unwrap();
                    return Ok(Received { status: 200, body: note.into_bytes(), ..Received::default() });
                }
                let shown = state.held.get(&number(url)).filter(|_| state.shows);
                let status = if shown.is_some() { 200 } else { 404 };
                let body = shown.map(|(_, _, note)| note.clone()).unwrap_or_default();
                Ok(Received { status, body, ..Received::default() })
            }
        }
    }

    fn close(&self) {
        self.release();
    }
}

fn key(witness: u8) -> SecretKey {
    let name = format!("witness.example/{witness}");
    SecretKey::from_seed(&name, Algorithm::CosignatureV1, &[witness + 20; 32]).unwrap()
}

fn cosigned(witness: u8, text: &str) -> String {
    format!("{}\n", cosign(text, 1, &Ed25519Signer::new(&key(witness))).unwrap())
}

fn conflict(size: TreeSize) -> Received {
    let body = Bytes::from(size_body(size)).to_vec();
    Received { status: 409, content_type: SIZE_CONTENT_TYPE.into(), retry_after_s: None, body }
}
