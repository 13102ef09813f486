//! `glasslog key rotate`: a planned change of a log's key, through the real binary.

use std::{os::unix::fs::PermissionsExt, path::Path};

use serde_json::Value;

use crate::support::{Server, glasslog, home, run};

/// Whether a client that pins `vkey` believes the log.
fn believed(home: &Path, server: &Server, vkey: &str) -> bool {
    let (code, stdout, stderr) = run(home, &["fsck", &server.url, "--vkey", vkey]);
    assert!(code == 0 || stderr.contains("no signature of a known key"), "{code} {stdout}{stderr}");
    code == 0
}

/// The keys in `/log.json`.
fn listed(server: &Server) -> Vec<String> {
    let json: Value = serde_json::from_slice(&server.get("/log.json").body).unwrap();
    json["vkeys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
}

fn rotate(home: &Path, more: &[&str]) -> (i32, Value, String) {
    let (code, stdout, stderr) = run(home, &[&["key", "rotate", "--json"], more].concat());
    (code, serde_json::from_str(&stdout).unwrap_or_default(), stderr)
}

#[test]
fn old_and_new_key_sign_together_and_then_the_new_one_alone() {
    let home = home();
    let home = home.path();
    let server = Server::start(home, &[]);
    server.add(b"under the old key");
    server.wait_for_size(1);
    let old = server.vkey.clone();

    // While it runs: the change holds from the next start.
    let (code, changed, stderr) = rotate(home, &[]);
    assert_eq!(code, 0, "{stderr}");
    let new = changed["vkeys"][0].as_str().unwrap().to_owned();
    assert_eq!(changed["vkeys"][1], old.as_str());
    assert_eq!(listed(&server), std::slice::from_ref(&old));
    let (code, _, stderr) = rotate(home, &["--finish"]);
    assert_eq!((code, stderr.contains("start the log once")), (64, true), "{stderr}");
    server.stop();
    let (code, _, stderr) = run(home, &["fsck", "glasslog-data"]);
    assert_eq!(code, 0, "no checkpoint of the new key yet: {stderr}");

    // Nothing was added: the checkpoint that was public is signed by both all the same.
    let server = Server::start(home, &[]);
    assert_eq!(listed(&server), [new.as_str(), &old]);
    let (size, note) = server.checkpoint();
    let lines: Vec<&str> = note.lines().filter(|line| line.starts_with("— ")).collect();
    assert_eq!((size, lines.len()), (1, 2), "{note}");
    assert!(believed(home, &server, &old) && believed(home, &server, &new));
    server.add(b"under both keys");
    server.wait_for_size(2);
    assert!(believed(home, &server, &old) && believed(home, &server, &new));
    let (code, _, stderr) = rotate(home, &[]);
    assert_eq!((code, stderr.contains("--finish")), (64, true), "{stderr}");

    let (code, finished, stderr) = rotate(home, &["--finish"]);
    assert_eq!((code, &finished["vkeys"][0]), (0, &Value::from(new.as_str())), "{stderr}");
    let retired = home.join(finished["retired"].as_str().unwrap());
    assert_eq!(std::fs::metadata(&retired).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(run(home, &["key", "show", retired.to_str().unwrap()]).1.trim(), old);
    server.stop();

    let server = Server::start(home, &[]);
    assert_eq!(listed(&server), std::slice::from_ref(&new));
    assert!(!believed(home, &server, &old) && believed(home, &server, &new));
    server.add(b"under the new key");
    server.wait_for_size(3);
    assert!(!believed(home, &server, &old) && believed(home, &server, &new));
    let (code, _, stderr) = rotate(home, &["--finish"]);
    assert_eq!((code, stderr.contains("no change of the key")), (64, true), "{stderr}");
    server.kill();

    // And again: a key may be changed as often as anyone likes.
    assert_eq!(rotate(home, &[]).0, 0);
    let server = Server::start(home, &[]);
    assert_eq!(listed(&server).len(), 2);
    assert!(believed(home, &server, &new));
}

#[test]
fn a_key_that_settings_give_is_changed_in_the_settings() {
    let home = home();
    let home = home.path();
    let key = |file: &str| {
        let (_, vkey, _) = run(home, &["key", "new", "example.org/log", "--out", file]);
        (std::fs::read_to_string(home.join(file)).unwrap(), vkey.trim().to_owned())
    };
    let ((a, old), (b, new), (c, _)) = (key("a"), key("b"), key("c"));
    let start = |keys: &str| {
        let mut command = glasslog(home);
        command.env("LOG_PRIVATE_KEY", keys);
        Server::spawn(home, command, &[])
    };
    start(&a).unwrap().stop();
    assert!(!home.join("glasslog-data/log.key").exists());
    let output = glasslog(home).args(["key", "rotate"]).env("LOG_PRIVATE_KEY", &a).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.contains("a comma and the old")), (Some(64), true), "{stderr}");
    let (code, _, stderr) = rotate(home, &[]);
    assert_eq!((code, stderr.contains("LOG_PRIVATE_KEY")), (64, true), "{stderr}");

    assert!(start(&b).is_err(), "not without the key that the state records");
    let server = start(&format!("{b},{a}")).unwrap_or_else(|(_, stderr)| panic!("{stderr}"));
    assert_eq!(listed(&server), [new.as_str(), &old]);
    assert!(believed(home, &server, &old) && believed(home, &server, &new));
    server.stop();
    let server = start(&b).unwrap_or_else(|(_, stderr)| panic!("{stderr}"));
    assert!(!believed(home, &server, &old) && believed(home, &server, &new));
    server.stop();
    assert!(start(&a).is_err(), "the old key alone is no longer this log's");
    assert!(start(&format!("{c},{b},{a}")).is_err(), "two at most");
}
