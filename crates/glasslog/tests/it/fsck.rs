//! `glasslog fsck`, on the log of a real server: sound by URL and by directory, then altered in each kind of object.

use std::path::{Path, PathBuf};

use crate::support::{Server, home, run, write};

/// Enough for full and partial tiles and bundles, and two levels.
const ENTRIES: u64 = 600;

/// A server with [`ENTRIES`] public entries, and the directory that holds them.
fn filled(home: &Path) -> (Server, PathBuf) {
    let server = Server::start(home, &["--dir", "log"]);
    let lines: String = (0..ENTRIES).map(|number| format!("{{\"entry\":{number}}}\n")).collect();
    let answer = server.post("/add-batch", &[("Content-Type", "application/x-ndjson")], lines.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    server.wait_for_size(ENTRIES);
    (server, home.join("log/public"))
}

#[test]
fn a_sound_log_passes_by_url_and_by_directory() {
    let home = home();
    let (server, public) = filled(home.path());
    let public = public.to_str().unwrap();
    let (code, stdout, stderr) = run(home.path(), &["fsck", &server.url, "--vkey", &server.vkey]);
    assert_eq!((code, stdout.contains("sound: 600 entries")), (0, true), "{stdout}{stderr}");
    assert!(!stderr.contains("warning"), "{stderr}");

    for target in [server.url.as_str(), "log", public] {
        let (code, stdout, stderr) = run(home.path(), &["fsck", target, "--json", "--jobs", "3"]);
        assert_eq!(code, 0, "{target}: {stdout}{stderr}");
        let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(
            (&report["ok"], &report["size"], &report["key"]),
            (&true.into(), &600.into(), &"served".into())
        );
        assert!(stderr.contains("no key is pinned"), "it must say that it used the served key: {stderr}");
    }
}

/// Each case: the file, the byte that is flipped (counted from the end if negative), and what the report must name.
#[test]
fn every_kind_of_damage_is_named_exactly() {
    let home = home();
    let (server, public) = filled(home.path());
    server.stop();
    // `{"entry":0}` has 11 bytes, 13 with its length; entry 300 is the 44th of bundle 1, after 44 × (2 + 13).
    for (file, byte, named) in [
        ("tile/entries/000", 5, "entry 0 (11 bytes, at byte 0 of tile/entries/000) is wrong"),
        ("tile/entries/001", 44 * 15 + 2, "entry 300 (13 bytes, at byte 660 of tile/entries/001) is wrong"),
        ("tile/entries/001", 44 * 15, "tile/entries/001"),
        ("tile/entries/002.p/88", -1, "tile/entries/002.p/88) is wrong"),
        ("tile/0/001", 3 * 32 + 7, "hash 3 (byte 96) of tile/0/001 is wrong"),
        ("tile/0/002.p/88", 0, "hash 0 (byte 0) of tile/0/002.p/88 is wrong"),
        ("tile/1/000.p/2", 32, "hash 1 (byte 32) of tile/1/000.p/2 is wrong"),
        ("checkpoint", 0, "checkpoint"),
        ("checkpoint", -10, "checkpoint"),
    ] {
        let path = public.join(file);
        let sound = std::fs::read(&path).unwrap();
        let at = usize::try_from(byte).unwrap_or_else(|_| sound.len().strict_add_signed(byte));
        replace(&path, |bytes| bytes[at] ^= 1, &sound);
        let (code, stdout, stderr) = run(home.path(), &["fsck", "log"]);
        assert_eq!(code, 1, "{file}: {stdout}{stderr}");
        assert!(format!("{stdout}{stderr}").contains(named), "{file} {byte}: {stdout}{stderr}");
        replace(&path, |_| {}, &sound);
    }
    assert_eq!(run(home.path(), &["fsck", "log"]).0, 0, "everything is as it was");
}

#[test]
fn missing_and_overlong_objects_are_named() {
    let home = home();
    let (server, public) = filled(home.path());
    server.stop();
    for file in ["tile/entries/001", "tile/entries/002.p/88", "tile/0/000", "tile/1/000.p/2"] {
        let path = public.join(file);
        let sound = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (code, stdout, _) = run(home.path(), &["fsck", "log"]);
        assert_eq!((code, stdout.contains(&format!("{file} is missing"))), (1, true), "{file}: {stdout}");
        replace(&path, |bytes| bytes.push(0), &sound);
        let (code, stdout, _) = run(home.path(), &["fsck", "log"]);
        assert_eq!((code, stdout.contains(file)), (1, true), "{file}: {stdout}");
        replace(&path, |_| {}, &sound);
    }
}

#[test]
fn what_is_no_log_or_another_log_is_told_apart() {
    let home = home();
    let (server, _) = filled(home.path());
    let other = "example.org/log+9d3f6be5+AYE8KoJfzcW8XWB7wzd1YsgvKWH0KkvJdVqdlp4DzjO6";
    let (code, _, stderr) = run(home.path(), &["fsck", &server.url, "--vkey", other]);
    assert!([1, 64].contains(&code), "{code} {stderr}");
    assert_eq!(run(home.path(), &["fsck", "no/such/directory"]).0, 64);
    let url = server.url.clone();
    server.kill();
    assert_eq!(run(home.path(), &["fsck", &url, "--vkey", "not a key"]).0, 64);
    assert_eq!(run(home.path(), &["fsck", &url]).0, 4);
}

/// A policy is more than keys: a checkpoint that lacks its witnesses is nothing to rest on.
#[test]
fn the_quorum_of_a_policy_counts() {
    let home = home();
    let (server, _) = filled(home.path());
    let witness = "w.example+a496bfb8+BMsMEAoUhpQoSTxqxTHLBYD6KM2ZdjOuiV/QnPxJwBts";
    for (name, more, expected) in
        [("none", "quorum none\n".to_owned(), 0), ("one", format!("witness w {witness}\nquorum w\n"), 4)]
    {
        write(home.path(), name, format!("log {}\n{more}", server.vkey).as_bytes());
        let (code, stdout, stderr) = run(home.path(), &["fsck", &server.url, "--policy", name]);
        assert_eq!(code, expected, "{name}: {stdout}{stderr}");
        assert_eq!(stderr.contains("quorum"), expected == 4, "{stderr}");
    }
}

/// Puts `change` of `sound` in the place of a file that may be read-only.
fn replace(path: &Path, change: impl FnOnce(&mut Vec<u8>), sound: &[u8]) {
    let mut bytes = sound.to_vec();
    change(&mut bytes);
    let _was_there = std::fs::remove_file(path);
    std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), &bytes).unwrap();
}
