//! A witness that is killed, whose syncs fail, whose disk is full: nothing it cosigned is ever forgotten
//! (checks 70, 71, 73 and 74 of `docs/conformance.md`).
//!
//! A few rounds each time; with `GLASSLOG_TORTURE=1` (`just torture`) two hundred.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::Mutex,
};

use base64ct::{Base64, Encoding};
use glasslog_core::{
    TreeSize,
    checkpoint::Checkpoint,
    hash::{Hash, leaf_hash},
    merkle::{Node, Span, consistency_spans},
    note::{Algorithm, Ed25519Signer, SecretKey, sign},
};

use crate::{
    disk_full::{Mount, fill},
    support::{Answer, Server, fresh_number, glasslog, home, keep_to, poll, request},
    torture::{full, strace_works},
};

/// A log whose leaf `i` is the text of `i`; what lies at and above `fork` is another one's.
struct Log {
    origin: String,
    signer: Ed25519Signer,
    vkey: String,
}

impl Log {
    fn new(number: usize) -> Log {
        let origin = format!("log{number}.example");
        let key =
            SecretKey::from_seed(&origin, Algorithm::Ed25519, &[u8::try_from(number).unwrap(); 32]).unwrap();
        Log { origin, signer: Ed25519Signer::new(&key), vkey: key.verifier_key().to_string() }
    }

    fn family(count: usize) -> Vec<Log> {
        (1..=count).map(Log::new).collect()
    }

    fn flag(&self) -> String {
        format!("{}={}", self.origin, self.vkey)
    }

    /// The request from `old` to `size`, in the log or in its fork.
    fn ask(&self, old: u64, size: u64, fork: u64) -> Vec<u8> {
        let leaf =
            |index: u64| leaf_hash(format!("{index}{}", if index < fork { "" } else { " other" }).as_bytes());
        let hash_of = |node: Node| -> Result<Hash, std::convert::Infallible> {
            let width = 1 << node.height;
            let start = node.index * width;
            Ok(subtree(start, start + width, &leaf))
        };
        let text = {
            let Ok(root) = Span::whole(TreeSize(size)).hash(hash_of);
            Checkpoint::new(&self.origin, TreeSize(size), root).to_text()
        };
        let mut body = format!("old {old}\n");
        for span in consistency_spans(TreeSize(old), TreeSize(size)).unwrap() {
            let Ok(hash) = span.hash(hash_of);
            body += &format!("{}\n", Base64::encode_string(hash.as_bytes()));
        }
        (body + "\n" + &sign(&text, &[&self.signer]).unwrap()).into_bytes()
    }
}

/// MTH of RFC 6962 section 2.1, for a power of two.
fn subtree(start: u64, end: u64, leaf: &impl Fn(u64) -> Hash) -> Hash {
    if end - start == 1 {
        return leaf(start);
    }
    let middle = u64::midpoint(start, end);
    glasslog_core::hash::node_hash(&subtree(start, middle, leaf), &subtree(middle, end, leaf))
}

/// A running `glasslog witness`.
struct Witness(Server);

impl Witness {
    fn start(home: &Path, logs: &[Log]) -> Witness {
        Witness::spawn(home, glasslog(home), "state", logs)
            .unwrap_or_else(|(status, stderr)| panic!("{status:?}: {stderr}"))
    }

    /// One with its state below `dir`, perhaps under another program; exit status and stderr when it never listens.
    fn spawn(
        home: &Path,
        command: Command,
        dir: &str,
        logs: &[Log],
    ) -> Result<Witness, (ExitStatus, String)> {
        let key = SecretKey::from_seed("witness.example", Algorithm::CosignatureV1, &[77; 32]).unwrap();
        let key = key.to_text();
        let database = format!("sqlite:{dir}/witness.db");
        let mut args = vec!["--dir", dir, "--database-url", &database, "--private-key", &key];
        let flags: Vec<String> = logs.iter().map(Log::flag).collect();
        for flag in &flags {
            args.extend(["--log", flag]);
        }
        Server::spawn_service(home, command, "witness", &args).map(Witness)
    }

    fn post(&self, body: &[u8]) -> std::io::Result<Answer> {
        request(&format!("{}/add-checkpoint", self.0.url), "POST", &[], body)
    }

    /// The size that it holds for a log.
    fn size(&self, log: &Log) -> u64 {
        // No test comes near this size, so it is always the wrong one.
        let answer = self.post(&log.ask(4095, 4096, u64::MAX)).unwrap();
        assert_eq!(answer.status, 409, "{}", answer.text());
        answer.text().trim().parse().unwrap()
    }
}

/// What the world holds: for each log the largest size that was cosigned, and the latest time.
#[derive(Default)]
struct Ledger {
    cosigned: Mutex<BTreeMap<String, (u64, u64)>>,
}

impl Ledger {
    fn of(&self, log: &Log) -> (u64, u64) {
        self.cosigned.lock().unwrap().get(&log.origin).copied().unwrap_or_default()
    }

    fn total(&self) -> u64 {
        self.cosigned.lock().unwrap().values().map(|(size, _)| size).sum()
    }

    /// Writes down a 200. Its time must not lie before an earlier one's.
    fn write(&self, log: &Log, size: u64, answer: &Answer) {
        let time = time_of(&answer.text());
        let (before, earlier) =
            self.cosigned.lock().unwrap().insert(log.origin.clone(), (size, time)).unwrap_or_default();
        assert!(size >= before, "{}: {before}, then {size} was cosigned", log.origin);
        assert!(time >= earlier, "{}: cosigned at {earlier}, then at {time}", log.origin);
    }

    /// Grows a log entry by entry until the witness is gone.
    fn grow(&self, witness: &str, log: &Log) {
        let mut size = self.of(log).0;
        loop {
            let body = log.ask(size, size + 1, u64::MAX);
            let Ok(answer) = request(&format!("{witness}/add-checkpoint"), "POST", &[], &body) else {
                return;
            };
            match answer.status {
                200 => {
                    size += 1;
                    self.write(log, size, &answer);
                }
                // The one before the last kill was taken after all.
                409 => {
                    let held: u64 = answer.text().trim().parse().unwrap();
                    assert!(held == size + 1, "{}: {held} after {size} was cosigned", log.origin);
                    size = held;
                }
                _ => return,
            }
        }
    }

    /// The witness holds every size that was cosigned, or the one request more that was under way, and defends its root.
    fn recount(&self, witness: &Witness, logs: &[Log]) {
        for log in logs {
            let (cosigned, _) = self.of(log);
            let held = witness.size(log);
            assert!(
                (cosigned..=cosigned + 1).contains(&held),
                "{}: {cosigned} was cosigned, {held} is held",
                log.origin
            );
            if held == 0 {
                continue;
            }
            for (row, body, expected) in [
                ("another root at its size", log.ask(held, held, held - 1), 422),
                ("a growth of another log", log.ask(held, held + 1, held - 1), 422),
                ("a size from before", log.ask(held - 1, held, held - 1), 409),
            ] {
                let answer = witness.post(&body).unwrap();
                assert_eq!(answer.status, expected, "{} at {held}, {row}: {}", log.origin, answer.text());
            }
            let answer = witness.post(&log.ask(held, held, u64::MAX)).unwrap();
            assert_eq!(answer.status, 200, "{} at {held}: {}", log.origin, answer.text());
            self.write(log, held, &answer);
        }
    }
}

/// The timestamp of the first cosignature.
fn time_of(lines: &str) -> u64 {
    let signatures = glasslog_core::note::Signature::parse_lines(lines.as_bytes()).unwrap();
    let bytes = signatures[0].bytes();
    u64::from_be_bytes(bytes[..8].try_into().unwrap())
}

#[test]
fn torture_a_witness_killed_in_mid_load() {
    let home = home();
    let logs = Log::family(8);
    let ledger = Ledger::default();
    let rounds = if full() { 200 } else { 3 };
    for round in 0..rounds {
        let witness = Witness::start(home.path(), &logs);
        ledger.recount(&witness, &logs);
        // Killed while all are at work: after a number of cosignatures that differs each time.
        let enough = ledger.total() + 20 + 13 * (round % 7);
        let url = witness.0.url.clone();
        std::thread::scope(|scope| {
            for log in &logs {
                scope.spawn(|| ledger.grow(&url, log));
            }
            poll(|| (ledger.total() >= enough).then_some(()));
            witness.0.kill();
        });
    }
    let witness = Witness::start(home.path(), &logs);
    ledger.recount(&witness, &logs);
    witness.0.stop();
    println!("{rounds} kills, {} cosigned growths", ledger.total());
}

/// The witness under strace, one sync failing once, at the `when`-th call of a thread; and where the trace lies.
fn with_fault(home: &Path, when: u32) -> (Command, PathBuf) {
    let trace = home.join(format!("trace-{}", fresh_number()));
    let mut command = Command::new("strace");
    keep_to(&mut command, home);
    command.args(["-f", "-qqq", "-y", "-e", "trace=fsync,fdatasync", "-o"]).arg(&trace);
    command.args(["-e", &format!("inject=fsync,fdatasync:error=EIO:when={when}")]);
    command.arg(env!("CARGO_BIN_EXE_glasslog"));
    (command, trace)
}

#[test]
fn torture_a_sync_that_fails_lets_no_cosignature_out() {
    if !strace_works() {
        println!("skipped: strace is absent, or may not trace here");
        return;
    }
    let moments: &[u32] = if full() { &[1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 40] } else { &[1, 4, 9] };
    let mut met = 0;
    for &when in moments {
        let home = home();
        let logs = Log::family(1);
        let ledger = Ledger::default();
        let (command, trace) = with_fault(home.path(), when);
        // SQLite syncs the directory when it makes a file, and does not tell when that fails: the witness syncs the
        // directory itself, later and before it listens.
        let injected = || {
            let trace = std::fs::read_to_string(&trace).unwrap_or_default();
            trace.lines().any(|line| line.contains("INJECTED") && line.contains("/witness.db"))
        };
        match Witness::spawn(home.path(), command, "state", &logs) {
            Err((status, stderr)) => {
                assert!(!status.success() && stderr.contains("error:"), "{when}: {status:?} {stderr}");
                met += 1;
            }
            Ok(mut witness) => {
                for size in 1..=60 {
                    match witness.post(&logs[0].ask(size - 1, size, u64::MAX)) {
                        Ok(answer) if answer.status == 200 => {
                            assert!(!injected(), "{when}: a sync failed, and size {size} was cosigned");
                            ledger.write(&logs[0], size, &answer);
                        }
                        _ => break,
                    }
                }
                if injected() {
                    let status = poll(|| witness.0.ended());
                    assert!(!status.success(), "{when}: {}", witness.0.stderr());
                    assert!(witness.0.stderr().contains("error:"), "{when}: {}", witness.0.stderr());
                    met += 1;
                }
            }
        }
        let witness = poll(|| Witness::spawn(home.path(), glasslog(home.path()), "state", &logs).ok());
        ledger.recount(&witness, &logs);
        witness.0.stop();
    }
    println!("{met} of {} faults stopped the witness", moments.len());
    assert!(met > 0, "a witness syncs, so a fault must show");
}

#[test]
fn a_full_disk_gives_no_cosignature_and_recovers() {
    let home = home();
    let Some(mount) = Mount::new(home.path().join("small"), 64) else {
        println!("skipped: no tmpfs can be mounted here");
        return;
    };
    let logs = Log::family(1);
    let ledger = Ledger::default();
    let witness = Witness::spawn(home.path(), glasslog(home.path()), "small/state", &logs)
        .unwrap_or_else(|(status, stderr)| panic!("{status:?}: {stderr}"));
    let mut size = 0;
    let mut grow = |filled: bool| {
        let answer = witness.post(&logs[0].ask(size, size + 1, u64::MAX)).unwrap();
        if answer.status == 200 {
            size += 1;
            ledger.write(&logs[0], size, &answer);
            return None;
        }
        assert!(filled, "{}", answer.text());
        Some(answer)
    };
    assert!(grow(false).is_none());
    let filler = fill(&mount.0);
    // What the database has already reserved takes some more.
    let refusal = poll(|| grow(true));
    assert_eq!(refusal.status, 503, "{}", refusal.text());
    assert!(!refusal.text().contains('\u{2014}'), "{}", refusal.text());
    assert_eq!(witness.size(&logs[0]), ledger.of(&logs[0]).0, "what was refused is not held");
    std::fs::remove_file(filler).unwrap();
    poll(|| grow(true).is_none().then_some(()));
    ledger.recount(&witness, &logs);
    witness.0.stop();
}

#[test]
fn two_witnesses_on_one_state_are_refused_or_safe() {
    let home = home();
    let logs = Log::family(1);
    let first = Witness::start(home.path(), &logs);
    match Witness::spawn(home.path(), glasslog(home.path()), "state", &logs) {
        Err((status, stderr)) => {
            assert!(!status.success() && stderr.contains("error:"), "{status:?} {stderr}");
            assert_eq!(first.post(&logs[0].ask(0, 1, u64::MAX)).unwrap().status, 200, "the first goes on");
        }
        Ok(second) => {
            for size in 0..if full() { 1000 } else { 20 } {
                let asks = [logs[0].ask(size, size + 1, u64::MAX), logs[0].ask(size, size + 1, size)];
                let statuses = std::thread::scope(|scope| {
                    let one = scope.spawn(|| first.post(&asks[0]).unwrap().status);
                    let other = scope.spawn(|| second.post(&asks[1]).unwrap().status);
                    [one.join().unwrap(), other.join().unwrap()]
                });
                let cosigned = statuses.iter().filter(|status| **status == 200).count();
                assert_eq!(cosigned, 1, "size {size}: {statuses:?}");
                if statuses[1] == 200 {
                    // The fork won, and this log is no longer the one that is cosigned.
                    return;
                }
            }
        }
    }
}

/// Only the database is older: the rest of the directory remembers that more was cosigned.
#[test]
fn a_restored_database_is_noticed() {
    let home = home();
    let logs = Log::family(1);
    let witness = Witness::start(home.path(), &logs);
    assert_eq!(witness.post(&logs[0].ask(0, 5, u64::MAX)).unwrap().status, 200);
    witness.0.stop();
    let database = home.path().join("state/witness.db");
    std::fs::copy(&database, home.path().join("backup")).unwrap();
    let witness = Witness::start(home.path(), &logs);
    assert_eq!(witness.post(&logs[0].ask(5, 8, u64::MAX)).unwrap().status, 200);
    witness.0.stop();

    std::fs::copy(home.path().join("backup"), &database).unwrap();
    match Witness::spawn(home.path(), glasslog(home.path()), "state", &logs) {
        Err((status, stderr)) => {
            assert!(!status.success() && stderr.contains("error:"), "{status:?} {stderr}");
        }
        Ok(witness) => {
            let fork = witness.post(&logs[0].ask(5, 8, 6)).unwrap();
            assert_ne!(fork.status, 200, "8 was cosigned, and now another 8: {}", fork.text());
        }
    }
}

/// Whether each answer that cosigns in a trace comes after a sync of the write-ahead log that began after its request.
fn synced_before_each_answer(trace: &str) -> Result<usize, String> {
    let mut syncing: BTreeMap<&str, bool> = BTreeMap::new();
    let mut synced = false;
    let mut answers = 0;
    for line in trace.lines() {
        let Some((thread, call)) = line.trim().split_once(' ') else { continue };
        let call = call.trim_start();
        let begins = call.starts_with("fsync(") || call.starts_with("fdatasync(");
        let done = call.trim_end().ends_with("= 0");
        if call.contains("POST /add-checkpoint") {
            // What was under way belongs to another request.
            synced = false;
            syncing.clear();
        } else if begins && call.contains("-wal>") {
            synced |= done;
            syncing.insert(thread, !done);
        } else if call.contains("sync resumed>") && done {
            synced |= syncing.remove(thread) == Some(true);
        } else if call.contains("HTTP/1.1 200") && !synced {
            return Err(format!("answered without a sync of the write-ahead log: {line}"));
        } else if call.contains("HTTP/1.1 200") {
            answers += 1;
        }
    }
    Ok(answers)
}

#[test]
fn each_cosignature_comes_after_a_sync() {
    if !strace_works() {
        println!("skipped: strace is absent, or may not trace here");
        return;
    }
    let home = home();
    let trace = home.path().join("trace");
    let mut command = Command::new("strace");
    keep_to(&mut command, home.path());
    command.args(["-f", "-qqq", "-y", "-s", "64", "-o"]).arg(&trace);
    command.args(["-e", "trace=fsync,fdatasync,read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg"]);
    command.arg(env!("CARGO_BIN_EXE_glasslog"));
    let logs = Log::family(1);
    let witness = Witness::spawn(home.path(), command, "state", &logs)
        .unwrap_or_else(|(status, stderr)| panic!("{status:?}: {stderr}"));
    for size in 0..5 {
        assert_eq!(witness.post(&logs[0].ask(size, size + 1, u64::MAX)).unwrap().status, 200);
    }
    drop(witness);
    let trace = std::fs::read_to_string(trace).unwrap();
    assert_eq!(synced_before_each_answer(&trace), Ok(5));
}

#[test]
fn a_missing_sync_is_seen_in_a_trace() {
    let ask =
        "7 recvfrom(9<socket:[1]>, \"POST /add-checkpoint HTTP/1.1\\r\\n\"..., 8192, 0, NULL, NULL) = 300\n";
    let sync = "8 fdatasync(5</tmp/witness.db-wal>) = 0\n";
    let begun = "8 fdatasync(5</tmp/witness.db-wal> <unfinished ...>\n";
    let ended = "8 <... fdatasync resumed>) = 0\n";
    let failed = "8 fdatasync(5</tmp/witness.db-wal>) = -1 EIO (Input/output error)\n";
    let other = "8 fdatasync(5</tmp/witness.db>) = 0\n";
    let answer = "7 sendto(9<socket:[1]>, \"HTTP/1.1 200 OK\\r\\n\"..., 200, MSG_NOSIGNAL, NULL, 0) = 200\n";
    for good in [vec![ask, sync, answer], vec![ask, begun, ended, answer]] {
        assert_eq!(synced_before_each_answer(&good.concat()), Ok(1), "{good:?}");
    }
    // synchronous=OFF; a sync after the answer; one that was not waited for; of another request; that failed.
    for bad in [
        vec![ask, answer],
        vec![ask, answer, sync],
        vec![ask, begun, answer, ended],
        vec![ask, sync, answer, ask, answer],
        vec![sync, ask, answer],
        vec![begun, ask, ended, answer],
        vec![ask, failed, answer],
        vec![ask, other, answer],
    ] {
        assert!(synced_before_each_answer(&bad.concat()).is_err(), "{bad:?}");
    }
}
