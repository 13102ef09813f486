//! A log with five witnesses and a quorum of three, all of it real processes and real HTTP: witnesses are killed, stopped
//! in mid-flight (SIGSTOP), and one lies in every way that research on such logs has seen.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use glasslog::keys::ML_DSA;
use glasslog_core::{
    checkpoint::VerifiedCheckpoint,
    cosignature::cosign,
    note::{Algorithm, Ed25519Signer, SecretKey, VerifierKey},
};
use rustix::process::Signal;

use crate::support::{Server, home, poll, run, write};

const ORIGIN: &str = "log.example/five";
const QUORUM: usize = 3;

const TRUTH: &str = "the truth";

/// How the fifth witness answers, and what the log says of it. Each is a 200 unless it says otherwise.
const LIES: [(&str, &str); 9] = [
    ("another root", "is wrong for this checkpoint"),
    ("another key", "no cosignature of its pinned key"),
    ("a time of zero", "for the time 0"),
    ("a time far ahead", "for the time 1099511627776"),
    ("garbage", "not made of signature lines"),
    ("10 MiB", "longer than"),
    ("409 with a stale size", "holds size 0"),
    ("a redirect", "redirect"),
    ("nothing, for ever", "no answer within 300 ms"),
];

#[test]
fn a_log_with_five_witnesses_goes_on_whatever_two_of_them_do() {
    let home = home();
    let home = home.path();
    let mut town = Town::new(home);
    let log = town.start_log(home);
    let mut acknowledged = Vec::new();

    // Two are down, and the fifth tells the truth.
    town.liar.lie(TRUTH);
    add(&log, &mut acknowledged, 10);
    (0..2).for_each(|n| town.kill(n));
    add_and_see(&town, &log, &mut acknowledged, QUORUM);

    // They come back with the memory that they had, and are asked again.
    (0..2).for_each(|n| town.revive(home, n));
    add_and_see(&town, &log, &mut acknowledged, 5);

    // One is so slow that it does not answer, one is down; the liar answers wrongly in every way.
    town.witness(0).signal(Signal::STOP);
    for (lie, said_of_it) in LIES {
        town.liar.lie(TRUTH);
        add_and_see(&town, &log, &mut acknowledged, 4);
        town.liar.lie(lie);
        add_and_see(&town, &log, &mut acknowledged, QUORUM);
        poll(|| trouble(&log, "w4").contains(said_of_it).then_some(()));
    }
    for answer in [
        "wrong_signature",
        "no_cosignature",
        "time",
        "garbage",
        "too_long",
        "conflict",
        "redirect",
        "unreachable",
    ] {
        // The one that is stopped says "no answer" too: the liar's last failure may be still to come.
        let counted = format!(r#"witness="w4",answer="{answer}""#);
        poll(|| log.get("/metrics").text().contains(&counted).then_some(()));
    }
    town.witness(0).signal(Signal::CONT);

    // Three do not answer: nothing is published, entries are taken all the same, and /ready says so.
    (1..3).for_each(|n| town.kill(n));
    let published = log.checkpoint().0;
    add(&log, &mut acknowledged, 20);
    poll(|| log.get("/ready").text().contains("\"quorum\":false").then_some(()));
    assert_eq!(log.get("/ready").status, 200);
    assert!(log.checkpoint().0 < acknowledged.len() as u64, "{published}");

    // It recovers by itself; also a log that is killed meanwhile.
    log.kill();
    (1..3).for_each(|n| town.revive(home, n));
    let log = town.start_log(home);
    add_and_see(&town, &log, &mut acknowledged, QUORUM);
    poll(|| log.get("/ready").text().contains("\"quorum\":true").then_some(()));
    let entries = log.entries(acknowledged.len() as u64);
    assert!(entries == acknowledged, "no acknowledged entry is lost");
    log.stop();
}

/// The whole machine of the log is put back to a backup: what it was is gone, but its witnesses remember.
#[test]
fn a_wholly_restored_log_is_refused_by_its_witnesses_and_recovered() {
    let home = home();
    let home = home.path();
    let mut town = Town::new(home);
    let log = town.start_log(home);
    let mut acknowledged = Vec::new();
    add(&log, &mut acknowledged, 5);
    log.wait_for_size(5);
    log.stop();
    copy(&home.join("log"), &home.join("backup"));
    let log = town.start_log(home);
    add(&log, &mut acknowledged, 5);
    log.wait_for_size(10);
    log.stop();

    std::fs::rename(home.join("log"), home.join("lost")).unwrap();
    copy(&home.join("backup"), &home.join("log"));
    let mut log = town.spawn_log(home);
    let status = poll(|| log.ended());
    assert_eq!(status.code(), Some(5));
    let why = log.stderr();
    assert!(
        why.contains("behind") && why.contains("glasslog recover") && why.contains("own signature"),
        "{why}"
    );

    // Who forgets to name the witnesses is reminded of them.
    let (code, _, stderr) = run(home, &["recover", "log"]);
    assert_eq!((code, stderr.contains("name them")), (64, true), "{stderr}");

    // Without the objects there is nothing to go on from, and nothing is pretended.
    let external = town.external.clone();
    let recover = ["recover", "log", "--external-witnesses", &external];
    let (code, _, stderr) = run(home, &recover);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("has seen size 10") && stderr.contains("tiles and checkpoint back"), "{stderr}");

    // With them (another disk, a copy) the log goes on from the largest size that anyone has seen.
    std::fs::remove_dir_all(home.join("log/public")).unwrap();
    copy(&home.join("lost/public"), &home.join("log/public"));
    // A checkpoint that only a witness holds, which does not answer now: to go on from the public one would remove the very
    // objects that lead to the larger one.
    std::fs::copy(home.join("backup/public/checkpoint"), home.join("log/public/checkpoint")).unwrap();
    std::fs::remove_dir_all(home.join("log/state")).unwrap();
    (0..4).for_each(|n| town.kill(n));
    let (code, _, stderr) = run(home, &recover);
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("w0") && stderr.contains("--start-unconfirmed"), "{stderr}");
    (0..4).for_each(|n| town.revive(home, n));
    let (code, stdout, stderr) = run(home, &recover);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("size 10"), "{stdout}");
    let log = town.start_log(home);
    assert_eq!(log.add(b"after"), 10);
    log.wait_for_size(11);
    assert!(log.entries(10) == acknowledged);
    log.stop();
}

/// Nothing is acknowledged before a quorum has confirmed the last checkpoint, unless the operator insists, loudly.
#[test]
fn a_log_whose_witnesses_are_away_waits_or_is_told_not_to() {
    let home = home();
    let home = home.path();
    let mut town = Town::new(home);
    let log = town.start_log(home);
    log.add(b"first");
    log.wait_for_size(1);
    log.stop();
    (0..3).for_each(|n| town.kill(n));

    let log = town.spawn_log(home);
    assert_eq!(log.checkpoint().0, 1, "reads are answered");
    let refused = log.post("/add", &[], b"second");
    assert_eq!(refused.status, 503);
    assert!(
        refused.text().contains("confirmed") && refused.head.to_lowercase().contains("retry-after"),
        "{refused:?}"
    );
    let ready = log.get("/ready");
    assert_eq!((ready.status, ready.text().contains("\"quorum\":false")), (503, true), "{ready:?}");
    assert!(log.get("/metrics").text().contains("glasslog_quorum{log=\"log.example/five\"} 0"));
    log.stop();

    let log = town.spawn_log_with(home, &["--start-unconfirmed", "true"]);
    assert!(log.stderr().contains("unconfirmed"), "{}", log.stderr());
    assert_eq!(log.add(b"second"), 1);
    log.stop();

    // Settings that got lost are no reason to refuse, and to say so.
    let log = Server::start(home, &["--dir", "log"]);
    assert!(log.stderr().contains("starts without any"), "{}", log.stderr());
    log.stop();
}

/// What `/ready` says of a witness's last answer.
fn trouble(log: &Server, name: &str) -> String {
    let ready: serde_json::Value = serde_json::from_str(&log.get("/ready").text()).unwrap();
    let witnesses = ready["witnesses"].as_array().unwrap();
    let witness = witnesses.iter().find(|witness| witness["name"] == name).unwrap();
    witness["trouble"].as_str().unwrap_or_default().to_owned()
}

fn add(log: &Server, acknowledged: &mut Vec<Vec<u8>>, count: usize) {
    for _ in 0..count {
        let entry = format!("entry {}", acknowledged.len()).into_bytes();
        assert_eq!(log.add(&entry), acknowledged.len() as u64);
        acknowledged.push(entry);
    }
}

/// Adds, waits for publication, and for so many cosignatures that verify, none of them of the liar's.
fn add_and_see(town: &Town, log: &Server, acknowledged: &mut Vec<Vec<u8>>, cosignatures: usize) {
    add(log, acknowledged, 3);
    let keys: Vec<VerifierKey> = [log.vkey.parse().unwrap()].into();
    poll(|| {
        let (size, note) = log.checkpoint();
        let checkpoint =
            VerifiedCheckpoint::open_with_witnesses(note.as_bytes(), ORIGIN, &keys, &town.keys).unwrap();
        let cosigners: Vec<&str> = checkpoint.cosignatures().iter().map(|c| c.key().name()).collect();
        assert!(size < acknowledged.len() as u64 || town.liar.is_truthful() || !cosigners.contains(&LIAR));
        let distinct: std::collections::BTreeSet<&str> = cosigners.into_iter().collect();
        (size == acknowledged.len() as u64 && distinct.len() >= cosignatures).then_some(())
    });
}

/// Four honest witnesses and a liar.
struct Town {
    witnesses: Vec<Option<Server>>,
    addresses: Vec<String>,
    liar: Liar,
    external: String,
    keys: Vec<VerifierKey>,
    log_flag: String,
}

impl Town {
    fn new(home: &Path) -> Town {
        let (code, vkey, stderr) = run(home, &["key", "new", ORIGIN, "--out", "log/log.key"]);
        assert_eq!(code, 0, "{stderr}");
        let log_flag = format!("{ORIGIN}={}", vkey.trim());
        let liar = Liar::start();
        let mut town = Town {
            witnesses: Vec::new(),
            addresses: Vec::new(),
            external: format!("w4={}={}", liar.url, liar_key().verifier_key()),
            keys: vec![liar_key().verifier_key().clone()],
            liar,
            log_flag,
        };
        for n in 0..4 {
            let witness = town.start_witness(home, n, "127.0.0.1:0");
            for vkey in std::iter::once(&witness.vkey).chain(&witness.more_vkeys) {
                town.external += &format!(",w{n}={}={vkey}", witness.url);
                town.keys.push(vkey.parse::<VerifierKey>().unwrap().checked_by(&ML_DSA));
            }
            town.addresses.push(witness.url.strip_prefix("http://").unwrap().to_owned());
            town.witnesses.push(Some(witness));
        }
        town
    }

    fn start_witness(&self, home: &Path, n: usize, address: &str) -> Server {
        Server::witness(home, &["--dir", &format!("w{n}"), "--log", &self.log_flag, "--listen", address])
    }

    fn witness(&self, n: usize) -> &Server {
        self.witnesses[n].as_ref().unwrap()
    }

    fn kill(&mut self, n: usize) {
        self.witnesses[n].take().unwrap().kill();
    }

    fn revive(&mut self, home: &Path, n: usize) {
        self.witnesses[n] = Some(self.start_witness(home, n, &self.addresses[n]));
    }

    fn spawn_log(&self, home: &Path) -> Server {
        self.spawn_log_with(home, &[])
    }

    fn spawn_log_with(&self, home: &Path, more: &[&str]) -> Server {
        let quorum = QUORUM.to_string();
        let args = ["--dir", "log", "--witness-timeout", "300ms", "--witness-quorum", &quorum];
        Server::start(home, &[&args[..], &["--external-witnesses", &self.external], more].concat())
    }

    fn start_log(&self, home: &Path) -> Server {
        let log = self.spawn_log(home);
        poll(|| (log.get("/ready").status == 200).then_some(()));
        log
    }
}

const LIAR: &str = "liar.example";

fn liar_key() -> SecretKey {
    SecretKey::from_seed(LIAR, Algorithm::CosignatureV1, &[66; 32]).unwrap()
}

/// A witness that answers whatever it is told to.
struct Liar {
    url: String,
    lie: Arc<Mutex<&'static str>>,
}

impl Liar {
    fn start() -> Liar {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let lie = Arc::new(Mutex::new(LIES[0].0));
        let told = Arc::clone(&lie);
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                let lie = *told.lock().unwrap();
                if lie == "nothing, for ever" {
                    silent.push(stream);
                } else {
                    let _the_log_may_hang_up = answer(stream, lie);
                }
            }
        });
        Liar { url, lie }
    }

    fn is_truthful(&self) -> bool {
        *self.lie.lock().unwrap() == TRUTH
    }

    fn lie(&self, lie: &'static str) {
        *self.lie.lock().unwrap() = lie;
    }
}

fn answer(mut stream: TcpStream, lie: &str) -> std::io::Result<()> {
    let text = checkpoint_in(&mut stream)?;
    let line = |text: &str, key: &SecretKey, time: u64| {
        format!("{}\n", cosign(text, time, &Ed25519Signer::new(key)).unwrap()).into_bytes()
    };
    let other_key = SecretKey::from_seed(LIAR, Algorithm::CosignatureV1, &[67; 32]).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (head, body) = match lie {
        TRUTH => ("200 OK", line(&text, &liar_key(), now)),
        "another root" => ("200 OK", line(&format!("{ORIGIN}\n7\n{}=\n", "A".repeat(43)), &liar_key(), now)),
        "another key" => ("200 OK", line(&text, &other_key, now)),
        "a time of zero" => ("200 OK", line(&text, &liar_key(), 0)),
        "a time far ahead" => ("200 OK", line(&text, &liar_key(), 1 << 40)),
        "10 MiB" => ("200 OK", vec![b'x'; 10 << 20]),
        "409 with a stale size" => ("409 Conflict\r\nContent-Type: text/x.tlog.size", b"0\n".to_vec()),
        "a redirect" => ("302 Found\r\nLocation: http://127.0.0.1:1/", Vec::new()),
        _ => ("200 OK", b"<html>hello</html>".to_vec()),
    };
    write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

/// The text of the checkpoint in the request; empty for what has none.
fn checkpoint_in(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let got = stream.read(&mut chunk)?;
        request.extend_from_slice(&chunk[..got]);
        let text = String::from_utf8_lossy(&request);
        if got == 0 || text.contains("\n— ") || text.starts_with("GET") {
            let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            let note = body.split_once("\n\n").map_or("", |(_, note)| note);
            return Ok(note.split_once("\n\n").map_or(String::new(), |(text, _)| format!("{text}\n")));
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success());
}

/// SIGHUP: the policy file is read again, for the checkpoint that waits too; one that cannot be used changes nothing.
#[test]
fn a_policy_is_read_again_on_sighup() {
    let home = home();
    let home = home.path();
    let mut town = Town::new(home);
    let policy = |quorum: &str| {
        let key = |n: usize| town.witness(n).vkey.clone();
        let (log, url) = (town.log_flag.split_once('=').unwrap().1, |n: usize| town.witness(n).url.clone());
        let line = |n: usize| format!("witness w{n} {} {}\n", key(n), url(n));
        format!("log {log}\n{}{}{}group q {quorum} w0 w1 w2\nquorum q\n", line(0), line(1), line(2))
    };
    let (all, two) = (policy("all"), policy("2"));
    write(home, "policy", all.as_bytes());
    let log = Server::start(home, &["--dir", "log", "--policy", "policy", "--witness-timeout", "200ms"]);
    poll(|| (log.get("/ready").status == 200).then_some(()));
    log.add(b"one");
    log.wait_for_size(1);
    town.kill(2);
    log.add(b"two");
    poll(|| log.get("/ready").text().contains("\"quorum\":false").then_some(()));

    write(home, "policy", b"quorum nonsense\n");
    log.hang_up();
    poll(|| log.stderr().contains("the old settings stay").then_some(()));
    assert!(log.get("/log.json").text().contains("group q all"));
    write(home, "policy", two.as_bytes());
    log.hang_up();
    log.wait_for_size(2);
    assert!(log.get("/log.json").text().contains("group q 2"));
    log.stop();
}

/// Settings that could not be what anybody means.
#[test]
fn policies_that_cannot_be_meant_are_refused() {
    let home = home();
    let home = home.path();
    let (_, one, _) = run(home, &["key", "new", "w1", "--type", "witness", "--out", "w1.key"]);
    let (_, two, _) = run(home, &["key", "new", "w2", "--type", "witness", "--out", "w2.key"]);
    let (_, other, _) = run(home, &["key", "new", "other.example", "--out", "other.key"]);
    let external = format!("a=http://127.0.0.1:1={},b=http://127.0.0.1:2={}", one.trim(), two.trim());
    for (name, policy, why) in [
        ("another log's", format!("log {other}quorum none\n"), "a policy for other logs"),
        ("no address", format!("witness a {one}quorum a\n"), "give each witness line its URL"),
        ("no policy", "hello\n".to_owned(), "line 1"),
    ] {
        write(home, "policy", policy.as_bytes());
        let (code, _, stderr) =
            run(home, &["serve", "--dir", "log", "--listen", "127.0.0.1:0", "--policy", "policy"]);
        assert_eq!((code, stderr.contains(why)), (64, true), "{name}: {stderr}");
    }
    let quorum_of_one = ["--external-witnesses", &external, "--witness-quorum", "1"];
    let serve = ["serve", "--dir", "log", "--listen", "127.0.0.1:0"];
    let (code, _, stderr) = run(home, &[&serve[..], &quorum_of_one].concat());
    assert_eq!((code, stderr.contains("ALLOW_DISJOINT_QUORUMS")), (64, true), "{stderr}");
    let log = Server::start(home, &[&quorum_of_one[..], &["--allow-disjoint-quorums", "true"]].concat());
    log.stop();

    // A log's own cosigner has a key of its own, named as the log.
    let text = |file: &str| std::fs::read_to_string(home.join(file)).unwrap().trim().to_owned();
    let (code, _, stderr) = run(home, &[&serve[..], &["--log-cosigner-key", &text("w1.key")]].concat());
    assert_eq!((code, stderr.contains("named as its origin")), (64, true), "{stderr}");
    let same = text("log/log.key");
    let (code, _, stderr) = run(home, &[&serve[..], &["--log-cosigner-key", &same]].concat());
    assert_eq!((code, stderr.contains("a key of its own")), (64, true), "{stderr}");
}

/// FORMATS §5: without witnesses, the log's own cosigner says how old a checkpoint is, by both types of key.
#[test]
fn a_log_without_witnesses_says_the_time_by_its_own_cosigner() {
    let home = home();
    let home = home.path();
    for (kind, file) in [("log", "log/log.key"), ("witness", "c4.key"), ("witness-ml-dsa", "c6.key")] {
        assert_eq!(run(home, &["key", "new", ORIGIN, "--type", kind, "--out", file]).0, 0);
    }
    let text = |file: &str| std::fs::read_to_string(home.join(file)).unwrap().trim().to_owned();
    let cosigners = format!("{},{}", text("c4.key"), text("c6.key"));
    let log = Server::start(home, &["--dir", "log", "--log-cosigner-key", &cosigners]);
    log.add(b"entry");
    let note = log.wait_for_size(1);
    let described: serde_json::Value = serde_json::from_str(&log.get("/log.json").text()).unwrap();
    let vkeys: Vec<VerifierKey> = described["vkeys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|vkey| vkey.as_str().unwrap().parse::<VerifierKey>().unwrap().checked_by(&ML_DSA))
        .collect();
    assert_eq!(vkeys.len(), 3);
    let checkpoint = VerifiedCheckpoint::open(note.as_bytes(), ORIGIN, &vkeys).unwrap();
    assert_eq!(checkpoint.cosignatures().len(), 2);
    let policy = glasslog_core::policy::Policy::without_witnesses(&vkeys);
    let time = checkpoint.cosignatures()[0].time();
    assert_eq!(policy.evaluate(checkpoint.cosignatures(), time).as_of, Some(time));
    log.stop();
}
