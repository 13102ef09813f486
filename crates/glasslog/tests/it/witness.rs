//! `glasslog witness` and `glasslog log-stanza`, through the real binary and real HTTP.

use std::{os::unix::fs::PermissionsExt, path::Path};

use glasslog::keys::ML_DSA;
use glasslog_core::{
    cosignature,
    note::{Note, Signature, VerifierKey},
    witness::{AddCheckpoint, origin_hash},
};
use serde_json::Value;

use crate::support::{Answer, Server, home, poll, request, run, write};

/// Submits what the log shows, without a proof.
fn submit(witness: &Server, old_size: u64, note: &str) -> Answer {
    let request = AddCheckpoint {
        old_size: glasslog_core::TreeSize(old_size),
        proof: glasslog_core::merkle::ConsistencyProof(Vec::new()),
        note: note.as_bytes().to_vec(),
    };
    witness.post("/add-checkpoint", &[], &request.to_bytes())
}

/// The keys that verify over the checkpoint in `note`, of those that stand in the answer.
fn cosigners(answer: &Answer, note: &str, vkeys: &[&str]) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let note = Note::parse(note.as_bytes()).unwrap();
    let lines = Signature::parse_lines(&answer.body).unwrap();
    let keys = vkeys.iter().map(|vkey| vkey.parse::<VerifierKey>().unwrap().checked_by(&ML_DSA));
    let verified =
        |key: &VerifierKey| lines.iter().any(|line| cosignature::verify(note.text(), line, key).is_ok());
    keys.filter(verified).map(|key| key.to_string()).collect()
}

fn log_flag(log: &Server) -> String {
    format!("{}={}", log.origin, log.vkey)
}

#[test]
fn an_empty_directory_makes_a_witness() {
    let home = home();
    let home = home.path();
    let log = Server::start(home, &[]);
    log.add(b"x");
    let note = log.wait_for_size(1);

    let witness = Server::witness(home, &[]);
    let random = witness.origin.strip_prefix("glasslog.local/witness/").unwrap();
    assert!(random.len() == 12 && random.bytes().all(|b| b.is_ascii_hexdigit()), "{}", witness.origin);
    let ml_dsa = &witness.more_vkeys.clone()[0];
    assert_eq!(witness.more_vkeys.len(), 1);
    for file in ["witness.key", "witness-ml-dsa.key"] {
        let path = home.join("glasslog-witness").join(file);
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let adds_it = format!("EXTERNAL_WITNESSES='{}={}={}'", witness.origin, witness.url, witness.vkey);
    for told in [&adds_it, "knows no log yet", "--log 'ORIGIN=VKEY'"] {
        poll(|| witness.stderr().contains(told).then_some(()));
    }
    assert_eq!(submit(&witness, 0, &note).status, 404);
    let vkey = witness.vkey.clone();
    assert_eq!(witness.get("/health").status, 200);
    witness.stop();

    // The same keys, and now it knows the log.
    let witness = Server::witness(home, &["--log", &log_flag(&log)]);
    assert_eq!((&witness.vkey, &witness.more_vkeys[0]), (&vkey, ml_dsa));
    assert!(!witness.stderr().contains("knows no log yet"));
    let keys = [vkey.as_str(), ml_dsa.as_str()];
    assert_eq!(cosigners(&submit(&witness, 0, &note), &note, &keys), keys);
    witness.stop();

    // What it cosigned is remembered.
    let witness = Server::witness(home, &["--log", &log_flag(&log)]);
    let again = submit(&witness, 0, &note);
    assert_eq!((again.status, again.text().as_str()), (409, "1\n"));
    let shown = witness.get(&format!("/{}/checkpoint", origin_hash(&log.origin)));
    assert_eq!(shown.status, 200);
    witness.kill();

    std::fs::remove_file(home.join("glasslog-witness/witness-ml-dsa.key")).unwrap();
    let witness = Server::witness(home, &[]);
    assert!(witness.more_vkeys.is_empty(), "a lost key is not replaced by another in silence");
    witness.kill();
    std::fs::remove_file(home.join("glasslog-witness/witness.key")).unwrap();
    let (status, stderr) = Server::try_witness(home, &[]).err().unwrap();
    assert_eq!((status.code(), stderr.contains("but not its keys")), (Some(64), true), "{stderr}");
    log.stop();
    let (status, stderr) = Server::try_witness(home, &["--dir", "glasslog-data"]).err().unwrap();
    assert_eq!((status.code(), stderr.contains("the directory of a log")), (Some(64), true), "{stderr}");
    std::fs::remove_file(home.join("glasslog-witness/witness.db")).unwrap();
    let (status, stderr) = Server::try_witness(home, &[]).err().unwrap();
    assert_eq!((status.code(), stderr.contains("but not its keys")), (Some(64), true), "{stderr}");
}

/// The spellings that other tools drive, and a key text of type 0x01 that never signs as one.
#[test]
fn the_fixed_spellings_work() {
    let home = home();
    let home = home.path();
    let log = Server::start(home, &[]);
    let note = log.wait_for_size(0);
    assert_eq!(run(home, &["key", "new", "w.example", "--out", "w.key"]).0, 0);
    assert_eq!(run(home, &["key", "new", "w.example", "--type", "witness-ml-dsa"]).0, 0);
    let text = |file: &str| std::fs::read_to_string(home.join(file)).unwrap().trim().to_owned();
    let ed25519 = text("w.key");
    let flag = log_flag(&log);
    let args = ["--database-url", "sqlite:w/state.db", "--private-key", &ed25519, "--log", &flag];
    let witness = Server::witness(home, &args);
    assert_eq!((witness.origin.as_str(), witness.more_vkeys.len()), ("w.example", 0));
    let key: VerifierKey = witness.vkey.parse().unwrap();
    assert_eq!(key.algorithm().type_byte(), 4);
    assert_eq!(cosigners(&submit(&witness, 0, &note), &note, &[&witness.vkey]).len(), 1);
    assert!(home.join("w/state.db").exists() && !home.join("glasslog-witness").exists());
    let (status, stderr) = Server::try_witness(home, &args).err().unwrap();
    assert_eq!((status.code(), stderr.contains("held by another process")), (Some(5), true), "{stderr}");
    witness.stop();

    let both = format!("{},{ed25519}", text("witness-ml-dsa.key"));
    let args = ["--database-url", "sqlite::memory:", "--private-key", &both, "--log", &flag];
    let witness = Server::witness(home, &args);
    let keys = [witness.vkey.as_str(), &witness.more_vkeys[0]];
    assert_eq!(keys[0].parse::<VerifierKey>().unwrap().algorithm().type_byte(), 4, "0x04 first");
    assert_eq!(cosigners(&submit(&witness, 0, &note), &note, &keys), keys);
    poll(|| witness.stderr().contains("forgets").then_some(()));
    witness.stop();

    for (args, code, why) in [
        (&["--private-key", "nonsense"][..], 64, "WITNESS_PRIVATE_KEY"),
        (&["--log", "x=y"], 64, "WITNESS_LOGS (from --log)"),
        (&["--log-list", "http://example.org/list"], 64, "https"),
        (&["--log-list", "no-such-file"], 5, "no-such-file"),
        (&["--database-url", "postgres://h/d"], 64, "PostgreSQL"),
        (&["--private-key", &format!("{ed25519},{ed25519}")], 64, "twice"),
    ] {
        let (status, stderr) = Server::try_witness(home, args).err().unwrap();
        assert_eq!((status.code(), stderr.contains(why)), (Some(code), true), "{args:?}: {stderr}");
    }
}

fn stanza(home: &Path, log: &Server, more: &[&str]) -> String {
    let args = ["log-stanza", "--log-url", &log.url, "--vkey", &log.vkey, "--contact", "me@example.org"];
    let (code, stanza, stderr) = run(home, &[&args[..], more].concat());
    assert_eq!((code, stderr.as_str()), (0, ""));
    stanza
}

/// What `log-stanza` prints is what a witness's list is made of.
#[test]
fn lists_are_read_at_the_start_and_on_sighup() {
    let home = home();
    let home = home.path();
    let (one, two) = (Server::start(home, &["--dir", "one"]), Server::start(home, &["--dir", "two"]));
    let (first, second) = (one.wait_for_size(0), two.wait_for_size(0));
    write(home, "list", format!("logs/v0\n\n{}", stanza(home, &one, &[])).as_bytes());
    let witness = Server::witness(home, &["--log-list", "list"]);
    assert_eq!((submit(&witness, 0, &first).status, submit(&witness, 0, &second).status), (200, 404));

    let both = [stanza(home, &one, &[]), stanza(home, &two, &[])].join("\n");
    write(home, "list", format!("logs/v0\n{both}").as_bytes());
    witness.hang_up();
    poll(|| (submit(&witness, 0, &second).status == 200).then_some(()));

    // A list never takes a log away, nor changes its key; one that is broken changes nothing.
    let (_, other, _) = run(home, &["key", "new", &two.origin, "--out", "other.key"]);
    write(home, "list", format!("logs/v0\nvkey {other}qpd 10\n").as_bytes());
    witness.hang_up();
    poll(|| witness.stderr().contains("another key than the one").then_some(()));
    assert_eq!((submit(&witness, 0, &first).status, submit(&witness, 0, &second).status), (200, 200));
    write(home, "list", b"not a list");
    witness.hang_up();
    poll(|| witness.stderr().contains("cannot be read").then_some(()));
    assert_eq!(submit(&witness, 0, &first).status, 200);
    witness.stop();

    let list = format!("logs/v0\n{both}");
    write(home, "list", list.as_bytes());
    let witness = Server::witness(home, &["--log-list", "list", "--disable", &one.origin]);
    assert_eq!((submit(&witness, 0, &first).status, submit(&witness, 0, &second).status), (403, 200));
    witness.stop();
    let flag = log_flag(&one);
    let witness = Server::witness(home, &["--log", &flag, "--disable", &one.origin]);
    assert_eq!(submit(&witness, 0, &first).status, 403);
}

/// What the settings file says of logs is read again too: they come, go and change their keys as the operator says.
#[test]
fn the_settings_file_is_read_again_on_sighup() {
    let home = home();
    let home = home.path();
    let log = Server::start(home, &[]);
    let note = log.wait_for_size(0);
    let settings = |logs: &str| {
        let text = format!(
            "checkpoint_interval = 5\n[witness]\nlisten_addr = \"127.0.0.1:0\"\nwitness_logs = [{logs}]\n"
        );
        write(home, "glasslog.toml", text.as_bytes());
    };
    settings("");
    let witness = Server::witness(home, &[]);
    let status = || submit(&witness, 0, &note).status;
    assert_eq!(status(), 404);
    settings(&format!("\"{}\"", log_flag(&log)));
    witness.hang_up();
    poll(|| (status() == 200).then_some(()));
    write(home, "glasslog.toml", b"[witness]\nno_such = 1\n");
    witness.hang_up();
    poll(|| witness.stderr().contains("the old logs stay").then_some(()));
    assert_eq!(status(), 200);
    settings("");
    witness.hang_up();
    // Not 404, which would say that this witness never saw it.
    poll(|| (status() == 403).then_some(()));
}

/// The operator's refusal does not wait for a list, which may be out of reach or name the log no more.
#[test]
fn a_log_is_refused_whatever_becomes_of_its_list() {
    let home = home();
    let home = home.path();
    let log = Server::start(home, &[]);
    let note = log.wait_for_size(0);
    let settings = |disabled: &str| {
        let text = format!(
            "[witness]\nlisten_addr = \"127.0.0.1:0\"\nwitness_log_lists = [\"list\"]\nwitness_disabled_logs = [{disabled}]\n"
        );
        write(home, "witness.toml", text.as_bytes());
    };
    settings("");
    write(home, "list", format!("logs/v0\n{}", stanza(home, &log, &[])).as_bytes());
    let witness = Server::witness(home, &["--config", "witness.toml"]);
    let status = || submit(&witness, 0, &note).status;
    assert_eq!(status(), 200);
    write(home, "list", b"not a list");
    settings(&format!("\"{}\"", log.origin));
    witness.hang_up();
    poll(|| (status() == 403).then_some(()));
    // Read once more, it is still refused.
    witness.hang_up();
    poll(|| (witness.stderr().matches("cannot be read").count() >= 2).then_some(()));
    assert_eq!(status(), 403);
}

#[test]
fn a_list_comes_from_a_url_too() {
    let home = home();
    let home = home.path();
    let log = Server::start(home, &[]);
    let note = log.wait_for_size(0);
    let list = format!("logs/v0\n{}", stanza(home, &log, &[]));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/lists/a:b.txt?v=1/2", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 1024];
            let read = std::io::Read::read(&mut stream, &mut head).unwrap_or(0);
            assert!(head[..read].starts_with(b"GET /lists/a:b.txt?v=1/2 HTTP/1.1\r\n"));
            let answer = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{list}",
                list.len()
            );
            std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
        }
    });
    let witness = Server::witness(home, &["--log-list", &url]);
    poll(|| (submit(&witness, 0, &note).status == 200).then_some(()));
    let json: Value = serde_json::from_slice(&witness.get("/witness.v0.json").body).unwrap();
    assert!(json.to_string().contains(&url), "{json}");
}

#[test]
fn a_stanza_says_what_a_witness_must_know() {
    let home = home();
    let home = home.path();
    let log = Server::start(home, &["--log-origin", "example.org/log"]);
    log.wait_for_size(0);
    let expected = format!("vkey {}\nqpd 86400\ncontact me@example.org\n", log.vkey);
    assert_eq!(stanza(home, &log, &[]), expected);
    let (code, of_dir, _) = run(home, &["log-stanza", "--contact", "me@example.org"]);
    assert_eq!((code, of_dir), (0, expected));
    assert!(stanza(home, &log, &["--checkpoint-interval", "1m"]).contains("\nqpd 1440\n"));
    assert!(stanza(home, &log, &["--qpd", "7"]).contains("\nqpd 7\n"));
    let (code, _, stderr) = run(home, &["log-stanza", "--checkpoint-interval", "0"]);
    assert_eq!((code, stderr.contains("--qpd")), (64, true), "{stderr}");
    let (code, _, stderr) = run(home, &["log-stanza", "--dir", "nowhere"]);
    assert_eq!((code, stderr.contains("--log-url")), (64, true), "{stderr}");
    let (_, other, _) = run(home, &["key", "new", "example.org/log", "--out", "other.key"]);
    let (code, _, _) = run(home, &["log-stanza", "--log-url", &log.url, "--vkey", other.trim()]);
    assert_eq!(code, 4, "not a key of this log");

    // A log whose key is named otherwise, as go.sum's is.
    assert_eq!(run(home, &["key", "new", "keys.example", "--out", "named.key"]).0, 0);
    let key = glasslog::keys::load(&home.join("named.key")).unwrap();
    let signer = glasslog::keys::log_signer(&key).unwrap();
    let text = "go.sum database tree\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    let note = glasslog_core::note::sign(text, &[&signer]).unwrap();
    write(home, "other/checkpoint", note.as_bytes());
    let vkey = key.verifier_key().to_string();
    let (code, named, stderr) =
        run(home, &["log-stanza", "--log-url", "other", "--vkey", &vkey, "--qpd", "9"]);
    assert_eq!((code, named), (0, format!("vkey {vkey}\norigin go.sum database tree\nqpd 9\n")), "{stderr}");
    let witness = Server::witness(home, &["--log", &format!("go.sum database tree={vkey}")]);
    assert_eq!(submit(&witness, 0, &note).status, 200);
    assert_eq!(request(&format!("{}/", witness.url), "GET", &[], b"").unwrap().status, 200);
}

/// A planned change of a log's key is nothing to a witness that knows the old one, until the overlap ends.
#[test]
fn a_witness_with_the_old_key_cosigns_through_the_overlap() {
    let home = home();
    let home = home.path();
    let log = Server::start(home, &[]);
    let witness = Server::witness(home, &["--log", &log_flag(&log)]);
    assert_eq!(submit(&witness, 0, &log.wait_for_size(0)).status, 200);
    let old = log.vkey.clone();
    assert_eq!(run(home, &["key", "rotate"]).0, 0);
    log.stop();
    let log = Server::start(home, &[]);
    let both = log.wait_for_size(0);
    assert_eq!(submit(&witness, 0, &both).status, 200, "{both}");
    assert_eq!(run(home, &["key", "rotate", "--finish"]).0, 0);
    log.stop();
    let log = Server::start(home, &[]);
    let new = log.wait_for_size(0);
    assert_eq!(submit(&witness, 0, &new).status, 403, "it was not told of the new key");
    witness.stop();
    // Both keys of one log: the overlap as a witness's operator sets it.
    let old = format!("{}={old}", log.origin);
    let witness = Server::witness(home, &["--log", &old, "--log", &log_flag(&log)]);
    assert_eq!((submit(&witness, 0, &both).status, submit(&witness, 0, &new).status), (200, 200));
}
