//! `glasslog serve`: zero configuration, restarts, refusals.

use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::support::{Server, home, poll, request, run, size_of, write};

#[test]
fn an_empty_directory_is_enough() {
    let home = home();
    let server = Server::start(home.path(), &[]);
    let random = server.origin.strip_prefix("glasslog.local/").unwrap();
    assert!(random.len() == 12 && random.bytes().all(|b| b.is_ascii_hexdigit()), "{}", server.origin);
    assert!(server.vkey.starts_with(&format!("{}+", server.origin)));
    let dir = home.path().join("glasslog-data");
    assert_eq!(std::fs::metadata(dir.join("log.key")).unwrap().permissions().mode() & 0o777, 0o600);
    for place in ["public/checkpoint", "state", "index", "tmp", "lock"] {
        assert!(dir.join(place).exists(), "{place}");
    }

    assert_eq!(server.add(b"hello"), 0);
    assert_eq!(server.add(b"world"), 1);
    let note = server.wait_for_size(2);
    assert!(note.starts_with(&format!("{}\n", server.origin)));
    assert_eq!(server.entries(2), [b"hello".to_vec(), b"world".to_vec()]);
    assert_eq!(std::fs::read_to_string(dir.join("public/checkpoint")).unwrap(), note, "servable as it is");
    server.stop();
}

#[test]
fn a_restart_goes_on_where_it_stopped() {
    let home = home();
    let server = Server::start(home.path(), &[]);
    let (origin, vkey) = (server.origin.clone(), server.vkey.clone());
    for index in 0..300 {
        assert_eq!(server.add(format!("entry {index}").as_bytes()), index);
    }
    let stderr = server.stop();
    assert!(stderr.contains("all 300 entries are public"), "{stderr}");

    let server = Server::start(home.path(), &[]);
    assert_eq!((&server.origin, &server.vkey), (&origin, &vkey));
    assert_eq!(server.checkpoint().0, 300, "public before anything was asked");
    let again = server.post("/add", &[], b"entry 7");
    assert_eq!(again.text(), "7\n");
    assert!(again.head.to_ascii_lowercase().contains("glasslog-duplicate: true"), "{}", again.head);
    assert_eq!(server.add(b"entry 300"), 300);
    server.wait_for_size(301);
}

#[test]
fn both_signals_end_it_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = home();
        let server = Server::start(home.path(), &["--checkpoint-interval", "1h"]);
        server.add(b"acknowledged, and not yet public");
        let (status, stderr) = server.end(signal);
        assert_eq!(status.code(), Some(0), "{stderr}");
        let note = std::fs::read_to_string(home.path().join("glasslog-data/public/checkpoint")).unwrap();
        assert_eq!(size_of(&note), 1, "what was acknowledged is public when it ends");
    }
}

#[test]
fn a_second_process_is_refused() {
    let home = home();
    let first = Server::start(home.path(), &[]);
    let (status, stderr) = Server::try_start(home.path(), &[]).err().unwrap();
    assert_eq!(status.code(), Some(5));
    assert!(stderr.contains("held by another process (pid "), "{stderr}");
    assert_eq!(first.add(b"the first one goes on"), 0);
}

#[test]
fn a_second_process_on_the_same_objects_is_refused() {
    let home = home();
    let objects = home.path().join("www/log");
    let objects = objects.to_str().unwrap();
    let _first = Server::start(home.path(), &["--dir", "one", "--fs-root", objects]);
    let (status, stderr) =
        Server::try_start(home.path(), &["--dir", "two", "--fs-root", objects]).err().unwrap();
    assert_eq!(status.code(), Some(5));
    assert!(stderr.contains("www/log.lock is held by another process"), "{stderr}");
}

#[test]
fn a_second_process_on_the_same_state_is_refused() {
    let home = home();
    let first = Server::start(home.path(), &["--dir", "one", "--database-url", "sqlite:moved"]);
    let (status, stderr) =
        Server::try_start(home.path(), &["--dir", "two", "--database-url", "sqlite:moved"]).err().unwrap();
    assert_eq!(status.code(), Some(5));
    assert!(stderr.contains("moved/lock is held by another process"), "{stderr}");
    assert_eq!(first.add(b"the first one goes on"), 0);
}

#[test]
fn moved_objects_are_served_and_not_left_behind() {
    let home = home();
    let server = Server::start(home.path(), &["--fs-root", "www/log"]);
    server.add(b"x");
    server.wait_for_size(1);
    assert!(home.path().join("www/log/tile/entries/000.p/1").exists());
    assert!(home.path().join("www/log.tmp").exists(), "on the same filesystem as the objects");
    assert!(!home.path().join("glasslog-data/public").exists());
    server.stop();
}

#[test]
fn a_port_in_use_is_named() {
    let home = home();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, stderr) = run(home.path(), &["serve", "--listen", &address]);
    assert_eq!(code, 5);
    assert!(stderr.contains(&format!("cannot listen on {address}")), "{stderr}");
    assert!(!home.path().join("glasslog-data").exists(), "nothing was made");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let home = home();
    write(home.path(), "file", b"");
    let (code, _, stderr) = run(home.path(), &["serve", "--listen", "127.0.0.1:0", "--dir", "file/log"]);
    assert_eq!(code, 5);
    assert!(stderr.contains("cannot use the directory file/log"), "{stderr}");
}

#[test]
fn another_origin_or_key_than_the_directory_records_is_refused() {
    let home = home();
    Server::start(home.path(), &["--log-origin", "example.org/log"]).stop();
    let (code, _, stderr) =
        run(home.path(), &["serve", "--listen", "127.0.0.1:0", "--log-origin", "example.org/other"]);
    assert_eq!(code, 64);
    assert!(stderr.contains("is the log example.org/log"), "{stderr}");

    assert_eq!(run(home.path(), &["key", "new", "example.org/log", "--out", "other.key"]).0, 0);
    let (code, _, stderr) =
        run(home.path(), &["serve", "--listen", "127.0.0.1:0", "--log-private-key-file", "other.key"]);
    assert_eq!(code, 64);
    assert!(stderr.contains("LOG_PRIVATE_KEY is another"), "{stderr}");

    std::fs::remove_file(home.path().join("glasslog-data/log.key")).unwrap();
    let (code, _, stderr) = run(home.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 64, "no new key for an old log");
    assert!(stderr.contains("holds a log but not its key"), "{stderr}");
    let (code, _, stderr) =
        run(home.path(), &["serve", "--listen", "127.0.0.1:0", "--log-private-key-file", "other.key"]);
    assert_eq!(code, 64, "the state itself knows whose it is");
    assert!(stderr.contains("belongs to example.org/log"), "{stderr}");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let home = home();
    Server::start(home.path(), &[]).stop();
    let key = home.path().join("glasslog-data/log.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, stderr) = run(home.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 5);
    assert!(stderr.contains("chmod 600"), "{stderr}");
}

#[test]
fn a_directory_of_a_newer_release_is_refused() {
    let home = home();
    Server::start(home.path(), &[]).stop();
    write(home.path(), "glasslog-data/format", b"2\n");
    let (code, _, stderr) = run(home.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 64);
    assert!(stderr.contains("another release of glasslog"), "{stderr}");
}

#[test]
fn whoever_can_be_reached_by_others_needs_a_token() {
    let home = home();
    let (code, _, stderr) = run(home.path(), &["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(code, 64);
    assert!(stderr.contains("API_KEY"), "{stderr}");

    let server = Server::start(home.path(), &["--listen", "0.0.0.0:0", "--api-key", "s3cret"]);
    assert_eq!(server.post("/add", &[], b"x").status, 401);
    assert_eq!(server.post("/add", &[("Authorization", "Bearer s3cret")], b"x").status, 200);
}

#[test]
fn tokens_are_read_again_on_sighup() {
    let home = home();
    write(home.path(), "token", b"one\n");
    let server = Server::start(home.path(), &["--api-key-file", "token"]);
    let add =
        |token: &str| server.post("/add", &[("Authorization", &format!("Bearer {token}"))], b"x").status;
    assert_eq!((add("one"), add("two")), (200, 401));
    write(home.path(), "token", b"two\n");
    server.hang_up();
    poll(|| (add("two") == 200).then_some(()));
    assert_eq!(add("one"), 401);
}

/// All of it or nothing: whoever is told that the old settings stay must find them.
#[test]
fn a_broken_policy_leaves_every_setting_as_it_was() {
    let home = home();
    write(home.path(), "token", b"one\n");
    write(home.path(), "policy", b"quorum none\n");
    let server = Server::start(home.path(), &["--api-key-file", "token", "--policy", "policy"]);
    let add =
        |token: &str| server.post("/add", &[("Authorization", &format!("Bearer {token}"))], b"x").status;
    write(home.path(), "token", b"two\n");
    write(home.path(), "policy", b"quorum nobody\n");
    server.hang_up();
    poll(|| server.stderr().contains("the old settings stay").then_some(()));
    assert_eq!((add("one"), add("two")), (200, 401));
    write(home.path(), "policy", b"quorum none\n");
    server.hang_up();
    poll(|| (add("two") == 200).then_some(()));
}

#[test]
fn state_in_memory_warns_and_works() {
    let home = home();
    let server = Server::start(home.path(), &["--database-url", "sqlite::memory:"]);
    assert_eq!(server.add(b"x"), 0);
    server.wait_for_size(1);
    assert!(server.stderr().contains("everything is gone"), "{}", server.stderr());
    server.stop();
    let server = Server::start(home.path(), &["--database-url", "sqlite::memory:"]);
    assert_eq!(server.add(b"y"), 0, "and it is");
}

#[test]
fn two_logs_live_in_one_process() {
    let home = home();
    let file = "[[log]]\nname = \"a\"\nlog_origin = \"example.org/a\"\n[[log]]\nname = \"b\"\nlog_origin = \"example.org/b\"\n";
    write(home.path(), "glasslog.toml", file.as_bytes());
    let server = Server::start(home.path(), &["--config", "glasslog.toml"]);
    assert_eq!(server.post("/a/add", &[], b"x").text(), "0\n");
    assert_eq!(server.post("/b/add", &[], b"y").text(), "0\n");
    let checkpoint =
        |log: &str| request(&format!("{}/{log}/checkpoint", server.url), "GET", &[], b"").unwrap().text();
    assert!(checkpoint("a").starts_with("example.org/a\n"));
    assert!(checkpoint("b").starts_with("example.org/b\n"));
    assert!(home.path().join("glasslog-data/b/public/checkpoint").exists());
    server.stop();
}

/// Invariant 6: state that is behind what was published is refused, and `recover` is the way out.
#[test]
fn a_restored_state_is_refused_and_recovered() {
    let home = home();
    let dir = home.path().join("glasslog-data");
    Server::start(home.path(), &[]).stop();
    let backup = home.path().join("backup");
    copy(&dir.join("state"), &backup);
    let server = Server::start(home.path(), &[]);
    for index in 0..300 {
        server.add(format!("entry {index}").as_bytes());
    }
    let vkey = server.vkey.clone();
    server.stop();

    std::fs::remove_dir_all(dir.join("state")).unwrap();
    copy(&backup, &dir.join("state"));
    let (code, _, stderr) = run(home.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 5);
    assert!(stderr.contains("behind what was published") && stderr.contains("glasslog recover"), "{stderr}");

    let (code, stdout, stderr) = run(home.path(), &["recover", "glasslog-data"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("goes on from size 300"), "{stdout}");
    let server = Server::start(home.path(), &[]);
    assert_eq!(server.vkey, vkey);
    assert_eq!(server.add(b"entry 299"), 299, "duplicates are known again");
    assert_eq!(server.add(b"new"), 300);
    server.stop();
    let (code, _, stderr) = run(home.path(), &["recover", "glasslog-data"]);
    assert_eq!(code, 5);
    assert!(stderr.contains("not behind"), "{stderr}");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Invariant 5: what is found is checked against what was signed, before anything is.
#[test]
fn an_altered_tile_is_noticed_at_the_start() {
    let home = home();
    let server = Server::start(home.path(), &[]);
    for index in 0..10 {
        server.add(format!("entry {index}").as_bytes());
    }
    server.wait_for_size(10);
    server.stop();
    let tile = home.path().join("glasslog-data/public/tile/0/000.p/10");
    let mut bytes = std::fs::read(&tile).unwrap();
    bytes[0] ^= 1;
    std::fs::remove_file(&tile).unwrap();
    write(home.path(), "glasslog-data/public/tile/0/000.p/10", &bytes);
    let (code, _, stderr) = run(home.path(), &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 5);
    assert!(stderr.contains("does not start"), "{stderr}");
}
