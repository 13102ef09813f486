//! A witness without a public address: `glasslog witness --bastion`, and torchwood's litebastion between it and a log.

use std::{
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use aws_lc_rs::digest::{SHA256, digest};
use glasslog::keys;
use glasslog_core::{hash::leaf_hash, note::Note};
use serde_json::Value;

use crate::support::{Server, glasslog, home, poll, run};

/// The hash of the backend key in the witness's directory, as https-bastion has it.
fn key_hash(home: &Path) -> String {
    let key = keys::load(&home.join("glasslog-witness/bastion.key")).unwrap();
    const_hex::encode(digest(&SHA256, key.verifier_key().public_key()))
}

#[test]
fn a_bastion_gets_a_key_of_its_own_and_is_told_of() {
    let home = home();
    let home = home.path();
    // Somebody listens there and says nothing: the witness serves all the same.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let bastion = silent.local_addr().unwrap().to_string();
    let args = ["--bastion", &bastion, "--bastion", "bastion.invalid"];
    let witness = Server::witness(home, &args);
    let hash = key_hash(home);
    let mode = std::fs::metadata(home.join("glasslog-witness/bastion.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let prefix = format!("https://{bastion}/{hash}");
    let about: Value = serde_json::from_slice(&witness.get("/witness.v0.json").body).unwrap();
    assert_eq!(about["submission_url"], prefix.as_str());
    for told in [format!("by its key hash  {hash}"), format!("={prefix}=")] {
        poll(|| witness.stderr().contains(&told).then_some(()));
    }
    poll(|| witness.get("/metrics").text().contains("glasslog_witness_bastions 0").then_some(()));
    witness.stop();

    let witness = Server::witness(home, &args);
    assert_eq!(key_hash(home), hash, "the key stays");
    witness.stop();
}

#[test]
fn what_is_no_bastion_or_no_key_for_one() {
    let home = home();
    let home = home.path();
    let text = |args: &[&str], file: &str| {
        assert_eq!(run(home, &[&["key", "new", "w.example", "--out", file], args].concat()).0, 0);
        std::fs::read_to_string(home.join(file)).unwrap().trim().to_owned()
    };
    let own = text(&[], "own.key");
    let ml_dsa = text(&["--type", "witness-ml-dsa"], "ml-dsa.key");
    for (args, why) in [
        (&["--bastion", "https://bastion.example"][..], "expected a host name"),
        (&["--bastion", "b.example,b.example:443"], "given twice"),
        (&["--bastion", "b.example", "--bastion-key", "x"], "WITNESS_BASTION_KEY is not a key"),
        (&["--bastion", "b.example", "--bastion-key", &ml_dsa], "is an Ed25519 key"),
        (
            &["--bastion", "b.example", "--bastion-key", &own, "--private-key", &own],
            "that the witness signs with",
        ),
    ] {
        let (status, stderr) = Server::try_witness(home, args).err().unwrap();
        assert_eq!((status.code(), stderr.contains(why)), (Some(64), true), "{args:?}: {stderr}");
        assert!(!stderr.contains(&own) && !stderr.contains(&ml_dsa), "a secret is shown");
    }
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// `openssl` makes the bastion's certificate, which both sides trust by `SSL_CERT_FILE`, as where a site has its own
/// authority: `go install filippo.io/torchwood/cmd/litebastion@v0.9.0`, in the path or named by `LITEBASTION`.
#[test]
fn a_log_is_witnessed_through_litebastion() {
    let home = home();
    let home = home.path();
    let file = |name: &str| home.join(name).display().to_string();
    let (certificate, secret, backends) = (file("cert.pem"), file("key.pem"), file("backends"));
    let certified = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=bastion", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", &secret, "-out", &certificate])
        .output();
    if !certified.is_ok_and(|openssl| openssl.status.success()) {
        println!("skipped: no openssl that makes a certificate");
        return;
    }
    // The bastion says nowhere which port it was given, so it is told one that was free a moment ago.
    let bastion = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let trusting = || {
        let mut command = glasslog(home);
        command.env("SSL_CERT_FILE", &certificate);
        command
    };

    // A first start makes the key that the bastion is to list.
    let args = ["--bastion", &bastion];
    Server::spawn_service(home, trusting(), "witness", &args).unwrap().stop();
    let hash = key_hash(home);
    crate::support::write(home, "backends", format!("{hash}\n").as_bytes());
    let program = std::env::var_os("LITEBASTION").unwrap_or_else(|| "litebastion".into());
    let started = Command::new(program)
        .args(["-listen", &bastion, "-tls-cert", &certificate, "-tls-key", &secret, "-backends", &backends])
        .stderr(Stdio::null())
        .spawn();
    let Ok(litebastion) = started else {
        println!("skipped: litebastion is not installed, and LITEBASTION does not name it");
        return;
    };
    let _litebastion = Process(litebastion);
    poll(|| TcpStream::connect(&bastion).ok());

    let prepared = Server::start(home, &[]);
    let known = format!("{}={}", prepared.origin, prepared.vkey);
    prepared.stop();
    let witness =
        Server::spawn_service(home, trusting(), "witness", &["--bastion", &bastion, "--log", &known])
            .unwrap();
    poll(|| witness.get("/metrics").text().contains("glasslog_witness_bastions 1").then_some(()));
    let external = format!("{}=https://{bastion}/{hash}={}", witness.origin, witness.vkey);
    let log = Server::spawn_service(home, trusting(), "serve", &["--external-witnesses", &external]).unwrap();
    // Nothing is taken before the quorum has confirmed where the log stands.
    poll(|| (log.post("/add", &[], b"through the bastion").status == 200).then_some(()));
    let note = log.wait_for_size(1);
    let note = Note::parse(note.as_bytes()).unwrap();
    assert!(note.text().contains(&leaf_root()), "{note}");
    let key = witness.vkey.parse().unwrap();
    assert!(note.signatures().iter().any(|line| line.is_of(&key)), "no cosignature in {note}");
    log.stop();
    witness.stop();
}

/// The root of a tree of the one entry.
fn leaf_root() -> String {
    use base64ct::{Base64, Encoding};
    Base64::encode_string(leaf_hash(b"through the bastion").as_bytes())
}
