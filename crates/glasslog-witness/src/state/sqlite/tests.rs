#![allow(clippy::disallowed_methods, reason = "tests lay out files as they find it handy")]

use std::{fs, io::BufRead, os::unix::fs::MetadataExt};

use super::*;

fn held(size: u64) -> Held {
    Held { size: TreeSize(size), root: Hash([1; 32]), time: 1 }
}

fn swap(origin: &str, expected: Option<Held>, next: Held) -> Swap {
    let note = Bytes::from(format!("{origin} {next:?}"));
    Swap { expected, next: Record { origin: origin.into(), held: next, note } }
}

fn open(path: &Path) -> Result<SqliteWitnessState, StateError> {
    SqliteWitnessState::open(path, SqliteOptions::default())
}

fn grow(state: &SqliteWitnessState, from: u64, to: u64) {
    for size in from..to {
        let expected = (size > 0).then(|| held(size - 1));
        assert_eq!(state.swap(&[swap("a", expected, held(size))]).unwrap(), [SwapOutcome::Swapped], "{size}");
    }
}

/// Copies the database and its write-ahead log, as a backup of files would.
fn copy(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let (from, to) = (with_suffix(from, suffix), with_suffix(to, suffix));
        let _ = fs::remove_file(&to);
        if from.exists() {
            fs::copy(from, to).unwrap();
        }
    }
    let _ = fs::remove_file(with_suffix(to, "-shm"));
}

#[test]
fn every_commit_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(&dir.path().join("state.db")).unwrap();
    let pragma = |name: &str| {
        let writer = state.shared.writer.lock();
        writer
            .connection
            .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, rusqlite::types::Value>(0))
            .unwrap()
    };
    // 2 is FULL: the write-ahead log is synced before a commit returns.
    assert_eq!(pragma("synchronous"), rusqlite::types::Value::Integer(2));
    assert_eq!(pragma("journal_mode"), rusqlite::types::Value::Text("wal".into()));
    assert_eq!(pragma("page_size"), rusqlite::types::Value::Integer(8192));
    for file in ["state.db", "state.db-wal", "state.db.mark", "state.db.lock"] {
        let mode = fs::metadata(dir.path().join(file)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
}

#[test]
fn a_restored_state_is_refused_and_can_be_forced() {
    let dir = tempfile::tempdir().unwrap();
    let (path, backup) = (dir.path().join("state.db"), dir.path().join("backup.db"));
    let state = open(&path).unwrap();
    grow(&state, 0, 3);
    copy(&path, &backup);
    grow(&state, 3, 6);
    state.close().unwrap();
    drop(state);
    drop(open(&path).unwrap());

    copy(&backup, &path);
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StateError::Older { found: 4, marked: 8, .. }), "{error:?}");
    assert!(error.to_string().contains("accept-older-state"), "{error}");

    let forced = SqliteWitnessState::open(&path, SqliteOptions { accept_older_state: true }).unwrap();
    assert_eq!(forced.load("a").unwrap().unwrap().held, held(2));
    drop(forced);
    open(&path).unwrap();
}

/// What an accepted older state has cosigned since is not in the newer one, should that be found again.
#[test]
fn after_an_older_state_was_accepted_the_newer_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [path, backup, newer] = ["state.db", "backup.db", "newer.db"].map(|name| dir.path().join(name));
    let state = open(&path).unwrap();
    copy(&path, &backup);
    grow(&state, 0, 9);
    state.close().unwrap();
    drop(state);
    copy(&path, &newer);

    copy(&backup, &path);
    let accepted = SqliteWitnessState::open(&path, SqliteOptions { accept_older_state: true }).unwrap();
    grow(&accepted, 0, 1);
    accepted.close().unwrap();
    drop(accepted);
    drop(open(&path).unwrap());
    copy(&newer, &path);
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StateError::Older { .. }), "{error:?}");
}

#[test]
fn a_state_that_was_removed_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    grow(&open(&path).unwrap(), 0, 2);
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(with_suffix(&path, suffix));
    }
    let error = open(&path).unwrap_err();
    assert!(matches!(error, StateError::Older { found: 0, .. }), "{error:?}");
    fs::remove_file(mark_path(&path)).unwrap();
    assert_eq!(open(&path).unwrap().load_all().unwrap(), [], "whoever removes both means it");
}

/// What power loss leaves: no goodbye, and a mark that is behind.
#[test]
fn a_state_that_is_ahead_of_its_mark_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let state = open(&path).unwrap();
    let mark = fs::read(mark_path(&path)).unwrap();
    grow(&state, 0, 5);
    state.shared.write_mark();
    assert_ne!(fs::read(mark_path(&path)).unwrap(), mark);
    drop(state);
    fs::write(mark_path(&path), mark).unwrap();
    assert_eq!(open(&path).unwrap().load("a").unwrap().unwrap().held, held(4));
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let state = open(&path).unwrap();
    assert!(matches!(open(&path), Err(StateError::Locked(_))));
    // Nor by another name of the same file: it would replace the write-ahead log that the first one writes to.
    let elsewhere = tempfile::tempdir().unwrap();
    let [link, dangling] = ["link.db", "dangling.db"].map(|name| elsewhere.path().join(name));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(open(&link), Err(StateError::Locked(_))));
    std::os::unix::fs::symlink("nowhere.db", &dangling).unwrap();
    assert!(matches!(open(&dangling), Err(StateError::Io { .. })), "a state that is gone is no new one");
    grow(&state, 0, 1);
}

/// The other program is this test in a process of its own: locks of one process do not keep it out.
#[test]
fn a_database_that_another_program_has_open_is_left_alone() {
    const PLACE: &str = "GLASSLOG_TEST_HOLDS_OPEN";
    if let Some(path) = std::env::var_os(PLACE) {
        let connection = Connection::open(path).unwrap();
        let _: i64 = connection.query_row("SELECT format FROM meta", [], |row| row.get(0)).unwrap();
        println!("\nit is open");
        io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let state = open(&path).unwrap();
    grow(&state, 0, 5);
    let name = "state::sqlite::tests::a_database_that_another_program_has_open_is_left_alone";
    let mut other = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(PLACE, &path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = io::BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(told.by_ref().map_while(Result::ok).any(|line| line == "it is open"));
    drop(state);
    let before = fs::metadata(with_suffix(&path, "-wal")).unwrap().ino();
    let error = open(&path).unwrap_err();
    assert!(
        matches!(&error, StateError::Io { source, .. } if source.to_string().contains("another program")),
        "{error:?}"
    );
    assert_eq!(fs::metadata(with_suffix(&path, "-wal")).unwrap().ino(), before);
    drop(other.stdin.take());
    told.for_each(drop);
    assert!(other.wait().unwrap().success());
    assert_eq!(open(&path).unwrap().load("a").unwrap().unwrap().held, held(4));
}

#[test]
fn what_is_no_state_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("text.db"), "certainly no database, but long enough to be taken for one at first sight")
        .unwrap();
    let other = Connection::open(path("other.db")).unwrap();
    other.execute_batch("CREATE TABLE people (name TEXT)").unwrap();
    drop(other);
    drop(open(&path("newer.db")).unwrap());
    let newer = Connection::open(path("newer.db")).unwrap();
    newer.execute("UPDATE meta SET format = 2", []).unwrap();
    drop(newer);
    for (name, reason) in [
        ("text.db", "not an intact SQLite database"),
        ("other.db", "not a witness's state"),
        ("newer.db", "use a newer glasslog"),
    ] {
        let error = open(&path(name)).unwrap_err();
        assert!(matches!(&error, StateError::Corrupt { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains(reason), "{name}: {error}");
    }
    assert!(matches!(
        open(&path("no/such/directory/state.db")),
        Err(StateError::Locked(_) | StateError::Io { .. })
    ));
}

/// SQLite's own limit of pages stands in for a full disk: the same error, at the same moments.
#[test]
fn a_full_disk_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let state = open(&path).unwrap();
    grow(&state, 0, 2);
    let limit = |pages: i64| {
        let writer = state.shared.writer.lock();
        let pages =
            pages.max(writer.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap());
        let set = format!("PRAGMA max_page_count = {pages}");
        writer.connection.query_row(&set, [], |_| Ok(())).unwrap();
    };
    limit(0);
    let large = |size| {
        let mut swap = swap("large", None, held(size));
        swap.next.note = Bytes::from(vec![b'n'; 1 << 20]);
        swap
    };
    let error = state.swap(&[swap("a", Some(held(1)), held(2)), large(1)]).unwrap_err();
    assert!(
        matches!(&error, StateError::Refused(why) if why.kind() == io::ErrorKind::StorageFull),
        "{error:?}"
    );
    assert_eq!(state.load("a").unwrap().unwrap().held, held(1), "no swap of the batch happened");
    assert_eq!(state.load("large").unwrap(), None);
    grow(&state, 2, 3);
    limit(1 << 20);
    assert_eq!(state.swap(&[large(1)]).unwrap(), [SwapOutcome::Swapped]);
    drop(state);
    assert_eq!(open(&path).unwrap().load("a").unwrap().unwrap().held, held(2));
}

/// After a failed sync the kernel reads back what is not on the disk: what an earlier process left is written anew.
#[test]
fn a_write_ahead_log_that_was_left_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (path, crashed) = (dir.path().join("state.db"), dir.path().join("crashed.db"));
    let state = open(&path).unwrap();
    grow(&state, 0, 9);
    copy(&path, &crashed);
    let wal = with_suffix(&crashed, "-wal");
    let before = fs::metadata(&wal).unwrap();
    assert!(before.len() > 0);
    let reopened = open(&crashed).unwrap();
    let after = fs::metadata(&wal).unwrap();
    assert_ne!(before.ino(), after.ino());
    assert_eq!(reopened.load("a").unwrap().unwrap().held, held(8));
    assert!(!with_suffix(&crashed, "-wal.copy").exists());
}

#[test]
fn the_write_ahead_log_does_not_grow_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let state = open(&path).unwrap();
    let note = Bytes::from(vec![b'n'; 1 << 20]);
    let mut expected = None;
    for size in 0..200 {
        let next = Record { origin: "a".into(), held: held(size), note: note.clone() };
        state.swap(&[Swap { expected, next }]).unwrap();
        expected = Some(held(size));
    }
    let wal = fs::metadata(with_suffix(&path, "-wal")).unwrap().len();
    assert!(wal < 2 * MAX_WAL_BYTES, "{wal} bytes");
    drop(state);
    assert_eq!(open(&path).unwrap().load("a").unwrap().unwrap().held, held(199));
}

#[test]
fn after_a_change_in_doubt_nothing_is_taken_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(&dir.path().join("state.db")).unwrap();
    grow(&state, 0, 1);
    state.shared.failed.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert!(matches!(state.swap(&[swap("a", Some(held(0)), held(1))]), Err(StateError::Durability(_))));
    }
    assert_eq!(state.load("a").unwrap().unwrap().held, held(0));
}
