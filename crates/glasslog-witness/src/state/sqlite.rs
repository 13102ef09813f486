//! The state in one SQLite file: WAL, `synchronous=FULL`, so that a commit that returns is durable.
//!
//! The write-ahead log is copied back by a thread of its own with a connection of its own; the writer only waits for that
//! when it falls behind. A write-ahead log that an earlier process left is first copied to a new file: after a failed
//! fsync the kernel reads back what never reached the disk, and later commits must not come to stand behind it.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use glasslog_core::{Hash, TreeSize};
use glasslog_store::{
    disk::{Disk, RealDisk, sync_ancestors},
    lock::LockFile,
};
use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, TransactionBehavior, params};
use rustix::{
    fs::{FlockOperation, Mode, OFlags, fcntl_lock, open},
    io::Errno,
};

use super::{
    Record, StateError, Swap, SwapOutcome, WitnessState,
    mark::{Mark, parent, with_suffix},
};
use crate::decide::Held;

/// The version of the tables below.
const FORMAT: u64 = 1;

/// A size is 8 bytes, big-endian: SQLite's integers end at 2^63 - 1, and a log's size does not.
const TABLES: &str = "
    CREATE TABLE meta (format INTEGER NOT NULL, instance BLOB NOT NULL, changes INTEGER NOT NULL);
    CREATE TABLE cosigned (
        id INTEGER PRIMARY KEY,
        origin TEXT NOT NULL UNIQUE,
        size BLOB NOT NULL,
        root BLOB NOT NULL,
        time INTEGER NOT NULL,
        note BLOB NOT NULL
    );";

const SELECT: &str = "SELECT origin, size, root, time, note FROM cosigned";

/// After so many bytes the write-ahead log is copied back beside the writer, after so many more by the writer itself.
const COPY_BACK_BYTES: u64 = 24 << 20;
const MAX_WAL_BYTES: u64 = 64 << 20;

/// What one swap writes besides its note: its own page, and its share of the others.
const SWAP_PAGES_BYTES: u64 = 12 << 10;

/// How often the mark is brought up to date.
const MARK_INTERVAL: Duration = Duration::from_secs(10);

/// How a state is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SqliteOptions {
    /// Takes a state that is older than its mark (a restored backup) as the truth. The witness may then cosign a fork of
    /// what it cosigned before: for the case that the newer state is lost for ever.
    pub accept_older_state: bool,
}

/// The state in a SQLite file. It takes a lock file beside it, so no second process opens it.
#[derive(Debug)]
pub struct SqliteWitnessState {
    shared: Arc<Shared>,
    keeper: Keeper,
    _lock: LockFile,
}

/// What the threads of a state share.
#[derive(Debug)]
struct Shared {
    place: PathBuf,
    writer: Mutex<Writer>,
    /// The change up to which the mark is; taken to write it.
    marked: Mutex<u64>,
    /// Set when durability is in doubt: nothing is written any more.
    failed: AtomicBool,
}

#[derive(Debug)]
struct Writer {
    connection: Connection,
    mark: Mark,
    /// Bytes in the write-ahead log, about, since it last began anew.
    wal_bytes: u64,
    asked_at_bytes: u64,
    closed: bool,
}

impl SqliteWitnessState {
    /// Opens the state at `path`, or makes it; its directory exists.
    ///
    /// # Errors
    ///
    /// [`StateError::Locked`] when another process has it, [`StateError::Older`] when it is behind its mark,
    /// [`StateError::Corrupt`] when it is no witness state or one of a newer version, [`StateError::Io`].
    pub fn open(path: &Path, options: SqliteOptions) -> Result<SqliteWitnessState, StateError> {
        let io = |source: io::Error| StateError::Io { place: path.display().to_string(), source };
        let path = &real_path(path).map_err(io)?;
        let lock = LockFile::acquire(&with_suffix(path, ".lock"))?;
        let disk = RealDisk::private();
        // SQLite gives its other files the mode of this one: 0600.
        match disk.create_new(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io(error)),
            _ => renew_wal(&disk, path).map_err(io)?,
        }
        let (connection, mark) = connect(path)?;
        disk.sync_dir(parent(path)).and_then(|()| sync_ancestors(&disk, parent(path))).map_err(io)?;
        let is_older = check_mark(&disk, path, mark, options)?;

        let mut writer = Writer { connection, mark, wal_bytes: 0, asked_at_bytes: 0, closed: false };
        if is_older {
            writer.begin_anew().map_err(|error| io(other(error)))?;
        }
        // This start is a change: a state that was in use is told from a copy that was made before.
        writer.count_a_change().map_err(|error| io(other(error)))?;
        writer.mark.write(&disk, &mark_path(path)).map_err(io)?;
        let shared = Arc::new(Shared {
            place: path.to_owned(),
            marked: Mutex::new(writer.mark.changes),
            writer: Mutex::new(writer),
            failed: AtomicBool::new(false),
        });
        let keeper = Keeper::start(path, shared.clone())?;
        Ok(SqliteWitnessState { shared, keeper, _lock: lock })
    }

    /// Sees to the write-ahead log.
    fn after_commit(&self, writer: &mut Writer, bytes: u64) -> Result<(), StateError> {
        writer.wal_bytes += bytes;
        if writer.wal_bytes >= MAX_WAL_BYTES {
            copy_back(&writer.connection, "RESTART").map_err(|error| self.shared.fail(error))?;
            (writer.wal_bytes, writer.asked_at_bytes) = (0, 0);
        } else if writer.wal_bytes - writer.asked_at_bytes >= COPY_BACK_BYTES {
            writer.asked_at_bytes = writer.wal_bytes;
            self.keeper.ask();
        }
        Ok(())
    }
}

impl Shared {
    /// Notes how far the state is. A mark that cannot be written only notices less; the state itself is durable.
    fn write_mark(&self) {
        let mut marked = self.marked.lock();
        let mark = self.writer.lock().mark;
        if mark.changes == *marked {
            return;
        }
        match mark.write(&RealDisk::private(), &mark_path(&self.place)) {
            Ok(()) => *marked = mark.changes,
            Err(error) => {
                tracing::warn!(%error, "cannot note how far the witness state is; a restored backup may go unnoticed");
            }
        }
    }

    fn fail(&self, error: rusqlite::Error) -> StateError {
        self.failed.store(true, Ordering::SeqCst);
        StateError::Durability(other(error))
    }

    fn refuse_if_unusable(&self, writer: &Writer) -> Result<(), StateError> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(StateError::Durability(io::Error::other(
                "an earlier change could not be made durable",
            )));
        }
        if writer.closed {
            return Err(StateError::Refused(io::Error::other("the state was closed")));
        }
        Ok(())
    }

    fn read_error(&self, error: rusqlite::Error) -> StateError {
        let place = self.place.display().to_string();
        match error {
            rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..) => {
                StateError::Corrupt { place, why: format!("a record cannot be read ({error})") }
            }
            error => StateError::Io { place, source: other(error) },
        }
    }
}

impl WitnessState for SqliteWitnessState {
    fn load(&self, origin: &str) -> Result<Option<Record>, StateError> {
        let writer = self.shared.writer.lock();
        find(&writer.connection, origin).map_err(|error| self.shared.read_error(error))
    }

    fn load_all(&self) -> Result<Vec<Record>, StateError> {
        let writer = self.shared.writer.lock();
        let all = || {
            let mut statement = writer.connection.prepare(SELECT)?;
            statement.query_map([], record)?.collect::<Result<Vec<_>, _>>()
        };
        all().map_err(|error| self.shared.read_error(error))
    }

    /// One transaction, and one fsync of the write-ahead log.
    fn swap(&self, swaps: &[Swap]) -> Result<Vec<SwapOutcome>, StateError> {
        let mut writer = self.shared.writer.lock();
        self.shared.refuse_if_unusable(&writer)?;
        match writer.swap(swaps) {
            Ok(outcomes) => {
                let bytes = swaps.iter().map(|swap| swap.next.note.len() as u64 + SWAP_PAGES_BYTES).sum();
                self.after_commit(&mut writer, bytes)?;
                Ok(outcomes)
            }
            Err(Stopped { error, in_doubt }) if in_doubt || !writer.connection.is_autocommit() => {
                Err(self.shared.fail(error))
            }
            Err(Stopped { error, .. }) => Err(StateError::Refused(other(error))),
        }
    }

    fn close(&self) -> Result<(), StateError> {
        {
            let mut writer = self.shared.writer.lock();
            self.shared.refuse_if_unusable(&writer)?;
            writer.closed = true;
        }
        self.shared.write_mark();
        Ok(())
    }
}

/// A transaction that did not end well, and whether it may have happened all the same.
struct Stopped {
    error: rusqlite::Error,
    in_doubt: bool,
}

impl Writer {
    fn swap(&mut self, swaps: &[Swap]) -> Result<Vec<SwapOutcome>, Stopped> {
        let before = |error| Stopped { error, in_doubt: false };
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(before)?;
        let outcomes = swaps
            .iter()
            .map(|swap| swap_one(&transaction, swap))
            .collect::<Result<Vec<_>, _>>()
            .map_err(before)?;
        let changes = self.mark.changes + 1;
        set_changes(&transaction, changes).map_err(before)?;
        // A full disk is found before the commit record is whole; anything else leaves it open whether it is durable.
        transaction.commit().map_err(|error| {
            let refused =
                matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy));
            Stopped { error, in_doubt: !refused }
        })?;
        self.mark.changes = changes;
        Ok(outcomes)
    }

    /// What was accepted for lack of a newer state goes its own way from here: the newer one is refused if it turns up.
    fn begin_anew(&mut self) -> Result<(), rusqlite::Error> {
        let instance =
            new_instance().map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        self.connection.execute("UPDATE meta SET instance = ?1", [instance])?;
        self.mark.instance = instance;
        Ok(())
    }

    fn count_a_change(&mut self) -> Result<(), rusqlite::Error> {
        set_changes(&self.connection, self.mark.changes + 1)?;
        self.mark.changes += 1;
        Ok(())
    }
}

fn swap_one(connection: &Connection, swap: &Swap) -> Result<SwapOutcome, rusqlite::Error> {
    let Record { origin, held, note } = &swap.next;
    let (size, root, note) = (held.size.0.to_be_bytes(), held.root.as_bytes(), &note[..]);
    let time = sqlite_time(held.time);
    let changed = match &swap.expected {
        None => connection
            .prepare_cached(
                "INSERT INTO cosigned (origin, size, root, time, note) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (origin) DO NOTHING",
            )?
            .execute(params![origin, size, root, time, note])?,
        Some(expected) => connection
            .prepare_cached(
                "UPDATE cosigned SET size = ?2, root = ?3, time = ?4, note = ?5
                 WHERE origin = ?1 AND size = ?6 AND root = ?7 AND time = ?8",
            )?
            .execute(params![
                origin,
                size,
                root,
                time,
                note,
                expected.size.0.to_be_bytes(),
                expected.root.as_bytes(),
                sqlite_time(expected.time),
            ])?,
    };
    if changed == 1 { Ok(SwapOutcome::Swapped) } else { find(connection, origin).map(SwapOutcome::Conflict) }
}

fn find(connection: &Connection, origin: &str) -> Result<Option<Record>, rusqlite::Error> {
    let mut statement =
        connection.prepare_cached("SELECT origin, size, root, time, note FROM cosigned WHERE origin = ?1")?;
    statement.query_row([origin], record).optional()
}

fn record(row: &Row<'_>) -> Result<Record, rusqlite::Error> {
    let (size, root): ([u8; 8], [u8; 32]) = (row.get(1)?, row.get(2)?);
    let (time, note): (i64, Vec<u8>) = (row.get(3)?, row.get(4)?);
    let time = u64::try_from(time).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(3, time))?;
    let held = Held { size: TreeSize(u64::from_be_bytes(size)), root: Hash(root), time };
    Ok(Record { origin: row.get(0)?, held, note: Bytes::from(note) })
}

/// A cosignature's time is at most 2^63 - 1 (c2sp.org/tlog-cosignature), which is SQLite's largest integer.
fn sqlite_time(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

fn set_changes(connection: &Connection, changes: u64) -> Result<(), rusqlite::Error> {
    let changes = i64::try_from(changes).unwrap_or(i64::MAX);
    connection.prepare_cached("UPDATE meta SET changes = ?1")?.execute([changes]).map(|_| ())
}

/// Opens the database and makes its tables if it has none.
fn connect(path: &Path) -> Result<(Connection, Mark), StateError> {
    let place = || path.display().to_string();
    let opened = open_connection(path).and_then(|connection| {
        let fresh = connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((connection, fresh))
    });
    let (mut connection, fresh): (Connection, bool) =
        opened.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StateError::Corrupt {
                place: place(),
                why: format!(
                    "it is not an intact SQLite database ({error}); restore a backup, or choose another path"
                ),
            },
            _ => StateError::Io { place: place(), source: other(error) },
        })?;
    if fresh {
        let instance = new_instance().map_err(|source| StateError::Io { place: place(), source })?;
        make_tables(&mut connection, &instance)
            .map_err(|error| StateError::Io { place: place(), source: other(error) })?;
    }
    let meta = connection.query_row("SELECT format, instance, changes FROM meta", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 16]>(1)?, row.get::<_, i64>(2)?))
    });
    let (format, instance, changes) = meta.map_err(|error| StateError::Corrupt {
        place: place(),
        why: format!("it is not a witness's state ({error}); choose another path"),
    })?;
    if u64::try_from(format) != Ok(FORMAT) {
        let why = format!("it has format {format}, this program knows {FORMAT}; use a newer glasslog");
        return Err(StateError::Corrupt { place: place(), why });
    }
    Ok((connection, Mark { instance, changes: u64::try_from(changes).unwrap_or(0) }))
}

fn new_instance() -> io::Result<[u8; 16]> {
    let mut instance = [0; 16];
    getrandom::fill(&mut instance).map_err(io::Error::other)?;
    Ok(instance)
}

fn open_connection(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "page_size", 8192)?;
    // To the last row: the mode is told before its change is synced, and a change that failed leaves the old one.
    let modes: Vec<String> = {
        let mut statement = connection.prepare("PRAGMA journal_mode = WAL")?;
        statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
    };
    if modes != ["wal"] {
        let why = format!("its journal mode stays {} and cannot be made wal", modes.concat());
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
        return Err(rusqlite::Error::SqliteFailure(code, Some(why)));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    Ok(connection)
}

fn make_tables(connection: &mut Connection, instance: &[u8; 16]) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.execute(
        "INSERT INTO meta VALUES (?1, ?2, 0)",
        params![i64::try_from(FORMAT).unwrap_or(0), instance],
    )?;
    transaction.commit()
}

/// Holds the state against the mark beside it, and says whether it is older and is accepted all the same.
fn check_mark(disk: &dyn Disk, path: &Path, state: Mark, options: SqliteOptions) -> Result<bool, StateError> {
    let place = mark_path(path);
    let found = Mark::read(disk, &place)
        .map_err(|source| StateError::Io { place: place.display().to_string(), source })?;
    let Some(mark) = found else {
        if state.changes > 0 {
            tracing::warn!(
                mark = %place.display(),
                "no mark lies beside the witness state: whether the state is the newest one cannot be told"
            );
        }
        return Ok(false);
    };
    if mark.instance == state.instance && mark.changes <= state.changes {
        return Ok(false);
    }
    if !options.accept_older_state {
        let place = path.display().to_string();
        return Err(StateError::Older { place, found: state.changes, marked: mark.changes });
    }
    tracing::error!(
        state = %path.display(),
        found = state.changes,
        marked = mark.changes,
        "an older witness state is taken as the truth, as asked for: this witness may cosign a fork of what it cosigned before"
    );
    Ok(true)
}

/// `path` without symbolic links. SQLite follows them, so what lies beside the database, the lock above all, must too: two
/// processes that name it differently would not see each other.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
            let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
            Ok(parent(path).canonicalize()?.join(name))
        }
        found => found,
    }
}

fn mark_path(path: &Path) -> PathBuf {
    with_suffix(path, ".mark")
}

/// Nobody else opens the database while what is returned is kept, and nobody has it open now.
///
/// A connection of another program would go on with the write-ahead log that is about to be replaced. It would copy what
/// stands there over what was cosigned since, and at its end remove the new one.
fn lock_out_others(path: &Path) -> io::Result<OwnedFd> {
    let file = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    // SQLite's locks are of this kind, and every connection in WAL mode has one as long as it is open.
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        Errno::AGAIN | Errno::ACCESS => io::Error::other(
            "another program has the database open: end it (a database shell, a backup that follows it) and start again",
        ),
        error => error.into(),
    })?;
    Ok(file)
}

/// Copies a write-ahead log that an earlier process left to a new file, durably, before anything believes it.
fn renew_wal(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    const CHUNK: usize = 1 << 20;
    let (wal, copy) = (with_suffix(path, "-wal"), with_suffix(path, "-wal.copy"));
    let old = match disk.open(&wal, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let _alone = lock_out_others(path)?;
    match disk.remove(&copy) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (new, len) = (disk.create_new(&copy)?, old.len()?);
    let mut chunk = vec![0; CHUNK];
    for start in (0..len).step_by(CHUNK) {
        let part =
            chunk.get_mut(..usize::try_from(len - start).unwrap_or(CHUNK).min(CHUNK)).unwrap_or_default();
        old.read_exact_at(part, start)?;
        new.write_all_at(part, start)?;
    }
    new.sync()?;
    disk.rename(&copy, &wal)?;
    disk.sync_dir(parent(path))
}

/// Copies the write-ahead log back into the database. A full disk leaves it where it is, for another time.
fn copy_back(connection: &Connection, mode: &str) -> Result<(), rusqlite::Error> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    match connection.query_row(&sql, [], |_| Ok(())) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            tracing::warn!(%error, "the write-ahead log of the witness state cannot be copied back yet");
            Ok(())
        }
        other => other,
    }
}

/// The thread that copies back when it is asked to, and writes the mark now and then.
#[derive(Debug)]
struct Keeper {
    ask: Option<mpsc::SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    fn start(path: &Path, shared: Arc<Shared>) -> Result<Keeper, StateError> {
        let io = |source| StateError::Io { place: path.display().to_string(), source };
        let connection = open_connection(path).map_err(|error| io(other(error)))?;
        let (ask, asked) = mpsc::sync_channel::<()>(1);
        let work = move || {
            let mut marked_at = Instant::now();
            loop {
                match asked.recv_timeout(MARK_INTERVAL) {
                    Ok(()) => {
                        if let Err(error) = copy_back(&connection, "PASSIVE") {
                            tracing::error!(error = %shared.fail(error), "the witness state cannot be relied on");
                        }
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
                if marked_at.elapsed() >= MARK_INTERVAL {
                    shared.write_mark();
                    marked_at = Instant::now();
                }
            }
        };
        let thread = std::thread::Builder::new().name("witness-state".into()).spawn(work).map_err(io)?;
        Ok(Keeper { ask: Some(ask), thread: Some(thread) })
    }

    /// Asks for a copy; one that is asked for already is enough.
    fn ask(&self) {
        if let Some(ask) = &self.ask {
            let _ = ask.try_send(());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn other(error: rusqlite::Error) -> io::Error {
    let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
    if full { io::Error::new(io::ErrorKind::StorageFull, error) } else { io::Error::other(error) }
}

#[cfg(test)]
mod tests;
