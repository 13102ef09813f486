//! kill -9 in mid-load, and fsync failing at awkward moments: no acknowledged index is ever lost.
//!
//! A few rounds each time; with `GLASSLOG_TORTURE=1` (`just torture`) fifty.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use glasslog_core::{TreeSize, checkpoint::Checkpoint, hash::leaf_hash, merkle::CompactRange};

use crate::support::{Server, home, keep_to, poll, request, size_of};

pub(crate) fn full() -> bool {
    std::env::var_os("GLASSLOG_TORTURE").is_some_and(|value| value == "1")
}

/// What the world was told: entries by acknowledged index, and every checkpoint that was served.
#[derive(Default)]
struct Told {
    acknowledged: Mutex<BTreeMap<u64, Vec<u8>>>,
    checkpoints: Mutex<BTreeMap<u64, String>>,
    next: AtomicU64,
}

impl Told {
    /// Adds entries on several connections until `count` more are acknowledged or the log is gone, then returns.
    fn load(self: &Arc<Told>, url: &str, count: u64) {
        let enough = self.acknowledged() + count;
        let writers: Vec<_> = (0..8)
            .map(|_| {
                let (told, url) = (Arc::clone(self), url.to_owned());
                std::thread::spawn(move || while told.acknowledged() < enough && told.add_one(&url) {})
            })
            .collect();
        while self.acknowledged() < enough && self.look(url) {}
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.lock().unwrap().len() as u64
    }

    /// Whether the log still answers.
    fn add_one(&self, url: &str) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = format!("entry {number} {}", "x".repeat((number % 500) as usize)).into_bytes();
        let Ok(answer) = request(&format!("{url}/add"), "POST", &[], &entry) else { return false };
        if answer.status == 200 {
            let index = answer.text().trim().parse().unwrap();
            let other = self.acknowledged.lock().unwrap().insert(index, entry);
            assert!(other.is_none(), "index {index} was given to two entries");
        }
        answer.status == 200
    }

    fn look(&self, url: &str) -> bool {
        let Ok(answer) = request(&format!("{url}/checkpoint"), "GET", &[], b"") else { return false };
        let note = answer.text();
        let root = note.lines().nth(2).unwrap_or_default().to_owned();
        let known = self.checkpoints.lock().unwrap().insert(size_of(&note), root.clone());
        assert!(known.is_none_or(|known| known == root), "two roots at one size");
        true
    }

    /// Every acknowledged index holds its bytes, and every checkpoint that was ever served is a prefix of the tree now.
    fn recount(&self, server: &Server) {
        let acknowledged = self.acknowledged.lock().unwrap();
        let enough = acknowledged.last_key_value().map_or(0, |(index, _)| index + 1);
        let size = size_of(&server.wait_for_size(enough));
        assert!(self.look(&server.url));
        let entries = server.entries(size);
        for (index, entry) in acknowledged.iter() {
            assert_eq!(&entries[usize::try_from(*index).unwrap()], entry, "index {index}");
        }
        let checkpoints = self.checkpoints.lock().unwrap();
        let mut tree = CompactRange::new();
        for at in 0..=size {
            if let Some(root) = checkpoints.get(&at) {
                let now = Checkpoint::new("x", TreeSize(at), tree.root()).to_text();
                assert_eq!(
                    now.lines().nth(2),
                    Some(root.as_str()),
                    "the checkpoint of size {at} is a prefix"
                );
            }
            if let Some(entry) = entries.get(usize::try_from(at).unwrap()) {
                tree.append(leaf_hash(entry));
            }
        }
    }
}

#[test]
fn torture_kill_in_mid_load() {
    let home = home();
    let told = Arc::new(Told::default());
    let rounds = if full() { 50 } else { 3 };
    let mut slowest = std::time::Duration::ZERO;
    for round in 0..rounds {
        let begun = Instant::now();
        let server = Server::start(home.path(), &[]);
        slowest = slowest.max(begun.elapsed());
        // Killed while the other writers are at work: after a number of acknowledgements that differs each time.
        let (killed, url) = (Arc::clone(&told), server.url.clone());
        let load = std::thread::spawn(move || killed.load(&url, u64::MAX / 2));
        let enough = told.acknowledged() + 40 + 37 * (round % 7);
        poll(|| (told.acknowledged() >= enough).then_some(()));
        server.kill();
        load.join().unwrap();
        if round % 10 == 0 || round + 1 == rounds {
            let server = Server::start(home.path(), &[]);
            told.recount(&server);
            server.kill();
        }
    }
    println!("{rounds} kills, {} acknowledgements, slowest start {slowest:?}", told.acknowledged());
    let server = Server::start(home.path(), &[]);
    let (status, stdout, stderr) =
        crate::support::run(home.path(), &["fsck", &server.url, "--vkey", &server.vkey]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    server.stop();
}

/// The log under strace, with one sync call failing once, at the `when`-th call of a thread.
fn with_fault(home: &Path, call: &str, when: u32) -> Command {
    let mut command = Command::new("strace");
    keep_to(&mut command, home);
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error=EIO:when={when}"));
    command.args(["-f", "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
    command.arg(env!("CARGO_BIN_EXE_glasslog"));
    command
}

/// What ran under a killed strace ends a moment later than strace itself, and holds the lock until then.
fn wait_until_gone(home: &Path) {
    let lock = std::fs::File::open(home.join("glasslog-data/lock")).unwrap();
    poll(|| lock.try_lock().ok());
}

pub(crate) fn strace_works() -> bool {
    let tried = Command::new("strace").args(["-qqq", "-o", "/dev/null", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

#[test]
fn torture_a_sync_that_fails_loses_no_acknowledgement() {
    if !strace_works() {
        println!("skipped: strace is absent, or may not trace here");
        return;
    }
    let moments: &[u32] = if full() { &[1, 2, 3, 4, 5, 7, 10, 20, 40] } else { &[1, 3, 8] };
    for call in ["fsync", "fdatasync", "syncfs"] {
        let mut met = 0;
        for &when in moments {
            let home = home();
            let told = Arc::new(Told::default());
            // Something to lose.
            let server = Server::start(home.path(), &[]);
            told.load(&server.url, 30);
            server.stop();

            match Server::spawn(home.path(), with_fault(home.path(), call, when), &[]) {
                Ok(mut server) => {
                    told.load(&server.url, 60);
                    met += u32::from(server.ended().is_some_and(|status| !status.success()));
                    server.kill();
                }
                Err((status, stderr)) => {
                    assert!(!status.success(), "{call} {when}: {stderr}");
                    assert!(stderr.contains("error:"), "{call} {when}: {stderr}");
                    met += 1;
                }
            }
            wait_until_gone(home.path());
            let server = Server::start(home.path(), &[]);
            told.recount(&server);
            server.stop();
        }
        println!("{call}: {met} of {} faults stopped the log", moments.len());
        assert!(met > 0 || call == "syncfs", "{call} is used, so a fault must show");
    }
}

/// Invariant 7: a failed sync of the log state ends the process, loudly and not with success.
#[test]
fn torture_a_failed_commit_ends_the_process() {
    if !strace_works() {
        println!("skipped: strace is absent, or may not trace here");
        return;
    }
    let home = home();
    Server::start(home.path(), &[]).stop();
    let mut server = match Server::spawn(home.path(), with_fault(home.path(), "fdatasync,fsync", 4), &[]) {
        Ok(server) => server,
        Err((status, stderr)) => {
            assert!(!status.success() && stderr.contains("error:"), "{stderr}");
            return;
        }
    };
    let told = Arc::new(Told::default());
    let status = poll(|| {
        told.add_one(&server.url);
        server.ended()
    });
    assert_eq!(status.code(), Some(5), "{}", server.stderr());
    assert!(server.stderr().contains("the log stopped for its own safety"), "{}", server.stderr());
    let server = Server::start(home.path(), &[]);
    told.recount(&server);
}
