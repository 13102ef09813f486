//! Which log state commits best: SQLite by the recipe of research/storage.md §9, or preallocated segments?
//!
//! `log-state VARIANT RATE SECONDS DIR`, VARIANT one of `sqlite append fallocate zeroed recycled`. Entries of 600 bytes
//! are offered at RATE a second (open loop); one writer commits whatever has arrived since its last commit, at most
//! 4,096, and durably trims what is older than one second. Prints one line: settings, commit and acknowledgement
//! latency (from the intended arrival), bytes written to disk meanwhile (by everyone), and the disk's own fdatasync p50.
//!
//! The segments here are the bare mechanism (record, crc, one write, one fdatasync, next segment made ahead by a
//! thread, trimming by unlinking or recycling), not the product's code: they are judged before that is written.

use std::{
    collections::VecDeque,
    error::Error,
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, hooks::Wal, params};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const ENTRY: usize = 600;
const MAX_BATCH: u64 = 4096;
const SEGMENT: u64 = 64 << 20;
const PAGE: usize = 4096;
const CHECKPOINT_AT: u64 = 32 << 20;
const SQLITE_PAGE: u64 = 8192;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, variant, rate, seconds, dir] = args.as_slice() else {
        return Err("usage: log-state sqlite|append|fallocate|zeroed|recycled RATE SECONDS DIR".into());
    };
    let (rate, seconds): (u64, u64) = (rate.parse()?, seconds.parse()?);
    let dir = Path::new(dir).join(format!("log-state-{variant}"));
    fs::create_dir_all(&dir)?;
    let fsync_us = fdatasync_p50(&dir)?;
    let mut store: Box<dyn Store> = match variant.as_str() {
        "sqlite" => Box::new(Sqlite::open(&dir)?),
        "append" => Box::new(Segments::open(&dir, Make::Append)?),
        "fallocate" => Box::new(Segments::open(&dir, Make::Fallocate)?),
        "zeroed" => Box::new(Segments::open(&dir, Make::Zeroed)?),
        "recycled" => Box::new(Segments::open(&dir, Make::Recycled)?),
        other => return Err(format!("unknown variant {other}").into()),
    };
    let before = written_bytes()?;
    let run = offer(store.as_mut(), rate, seconds)?;
    let written = written_bytes()? - before;
    drop(store);
    run.print(variant, rate, seconds, written, fsync_us);
    fs::remove_dir_all(&dir)?;
    Ok(())
}

/// Commits a batch durably and forgets, durably or with the next commit, what ends at or below `trim`.
trait Store {
    fn commit(&mut self, first: u64, end: u64, record: &mut Vec<u8>, trim: u64) -> Result<()>;
}

#[derive(Default)]
struct Run {
    entries: u64,
    commit_us: Vec<u32>,
    /// One sample a batch: its oldest entry, from the time it was due.
    ack_us: Vec<u32>,
}

/// Offers entries at `rate` and commits what has arrived, until `seconds` have passed.
fn offer(store: &mut dyn Store, rate: u64, seconds: u64) -> Result<Run> {
    let payload: Vec<u8> = (0..(1_u32 << 20)).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut run = Run::default();
    let mut record = Vec::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
        let end = due.min(run.entries + MAX_BATCH);
        if end == run.entries {
            thread::sleep(Duration::from_micros(20));
            continue;
        }
        record.clear();
        record.resize(24, 0);
        for index in run.entries..end {
            let at = (index as usize * 97) % (payload.len() - ENTRY);
            record.extend_from_slice(&index.to_be_bytes());
            record.extend_from_slice(&[0; 40]);
            record.extend_from_slice(&payload[at..at + ENTRY]);
        }
        let begun = Instant::now();
        store.commit(run.entries, end, &mut record, run.entries.saturating_sub(rate))?;
        run.commit_us.push(begun.elapsed().as_micros() as u32);
        let intended = run.entries as f64 / rate as f64;
        run.ack_us.push(((start.elapsed().as_secs_f64() - intended) * 1e6) as u32);
        run.entries = end;
    }
    Ok(run)
}

impl Run {
    fn print(mut self, variant: &str, rate: u64, seconds: u64, written: u64, fsync_us: u32) {
        self.commit_us.sort_unstable();
        self.ack_us.sort_unstable();
        let at = |sorted: &[u32], q: f64| f64::from(sorted[((sorted.len() - 1) as f64 * q) as usize]) / 1000.0;
        println!(
            "{variant:9} offered {rate}/s for {seconds} s: {:.0}/s committed, {} commits, commit ms p50 {:.2} p99 {:.2} p99.9 {:.2} max {:.1}; \
             ack ms p50 {:.2} p99 {:.2} max {:.1}; written {:.2} x entry bytes; disk fdatasync p50 {:.2} ms",
            self.entries as f64 / seconds as f64,
            self.commit_us.len(),
            at(&self.commit_us, 0.5),
            at(&self.commit_us, 0.99),
            at(&self.commit_us, 0.999),
            at(&self.commit_us, 1.0),
            at(&self.ack_us, 0.5),
            at(&self.ack_us, 0.99),
            at(&self.ack_us, 1.0),
            written as f64 / (self.entries * ENTRY as u64) as f64,
            f64::from(fsync_us) / 1000.0,
        );
    }
}

/// SQLite: WAL, FULL, pages of 8 KiB, no automatic checkpoint; a second connection checkpoints PASSIVE at 32 MB, then
/// the committing one does the small rest with RESTART, so that the WAL begins anew.
struct Sqlite {
    connection: Connection,
    passive: mpsc::Sender<()>,
    passive_done: Arc<AtomicBool>,
    passive_running: bool,
}

static WAL_PAGES: AtomicI32 = AtomicI32::new(0);

impl Sqlite {
    fn open(dir: &Path) -> Result<Sqlite> {
        let path = dir.join("state.db");
        let mut connection = Sqlite::connect(&path)?;
        connection.execute_batch(
            "CREATE TABLE batch (first INTEGER PRIMARY KEY, last INTEGER NOT NULL, record BLOB NOT NULL)",
        )?;
        connection.wal_hook(Some(|_: &mut Wal, pages: i32| {
            WAL_PAGES.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        let (passive, requests) = mpsc::channel();
        let passive_done = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&passive_done);
        let other = Sqlite::connect(&path)?;
        thread::spawn(move || {
            for () in requests {
                if let Err(error) = other.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
                    eprintln!("passive checkpoint: {error}");
                }
                done.store(true, Ordering::Release);
            }
        });
        Ok(Sqlite { connection, passive, passive_done, passive_running: false })
    }

    fn connect(path: &Path) -> Result<Connection> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;
             PRAGMA secure_delete=OFF; PRAGMA cache_size=-65536;",
        )?;
        Ok(connection)
    }
}

impl Store for Sqlite {
    fn commit(&mut self, first: u64, end: u64, record: &mut Vec<u8>, trim: u64) -> Result<()> {
        let transaction = self.connection.transaction()?;
        transaction
            .prepare_cached("INSERT INTO batch VALUES (?1, ?2, ?3)")?
            .execute(params![first as i64, end as i64, record.as_slice()])?;
        transaction.prepare_cached("DELETE FROM batch WHERE first < ?1 AND last <= ?1")?.execute([trim as i64])?;
        transaction.commit()?;
        let wal_bytes = WAL_PAGES.load(Ordering::Relaxed) as u64 * SQLITE_PAGE;
        if self.passive_running && self.passive_done.swap(false, Ordering::Acquire) {
            self.passive_running = false;
            self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
        } else if !self.passive_running && wal_bytes >= CHECKPOINT_AT {
            self.passive_running = true;
            self.passive.send(())?;
        }
        Ok(())
    }
}

/// How the next segment comes to be.
#[derive(Clone, Copy, PartialEq)]
enum Make {
    /// An empty file that grows.
    Append,
    /// `fallocate`: reserved, reading as zeros, each block converted when it is first written.
    Fallocate,
    /// Zeros written ahead and synced.
    Zeroed,
    /// A segment whose batches have left, written over; `fallocate` until there is one.
    Recycled,
}

struct Segments {
    make: Make,
    file: File,
    path: PathBuf,
    offset: u64,
    last_end: u64,
    full: VecDeque<(PathBuf, u64)>,
    spares: mpsc::Receiver<Result<(File, PathBuf)>>,
    requests: mpsc::Sender<Option<PathBuf>>,
}

impl Segments {
    fn open(dir: &Path, make: Make) -> Result<Segments> {
        let (requests, wanted) = mpsc::channel();
        let (made, spares) = mpsc::channel();
        let dir = dir.to_owned();
        thread::spawn(move || {
            for (number, old) in wanted.into_iter().enumerate() {
                if made.send(next_segment(&dir, number, old, make)).is_err() {
                    return;
                }
            }
        });
        requests.send(None)?;
        let (file, path) = spares.recv()??;
        requests.send(None)?;
        Ok(Segments { make, file, path, offset: 0, last_end: 0, full: VecDeque::new(), spares, requests })
    }

    fn roll(&mut self, trim: u64) -> Result<()> {
        let (file, path) = self.spares.recv()??;
        self.full.push_back((std::mem::replace(&mut self.path, path), self.last_end));
        (self.file, self.offset) = (file, 0);
        let mut old = None;
        while self.full.front().is_some_and(|(_, end)| *end <= trim) {
            let Some((path, _)) = self.full.pop_front() else { break };
            if self.make == Make::Recycled && old.is_none() {
                old = Some(path);
            } else {
                fs::remove_file(path)?;
            }
        }
        Ok(self.requests.send(old)?)
    }
}

impl Store for Segments {
    fn commit(&mut self, _first: u64, end: u64, record: &mut Vec<u8>, trim: u64) -> Result<()> {
        let length = record.len() as u64;
        let align = if self.make == Make::Append { 8 } else { PAGE };
        let crc = crc32c::crc32c(&record[12..]);
        record[..4].copy_from_slice(&crc.to_be_bytes());
        record[4..12].copy_from_slice(&length.to_be_bytes());
        record.resize(record.len().next_multiple_of(align), 0);
        if self.offset + record.len() as u64 > SEGMENT {
            self.roll(trim)?;
        }
        self.file.write_all_at(record, self.offset)?;
        self.file.sync_data()?;
        self.offset += record.len() as u64;
        self.last_end = end;
        Ok(())
    }
}

fn next_segment(dir: &Path, number: usize, old: Option<PathBuf>, make: Make) -> Result<(File, PathBuf)> {
    let path = dir.join(format!("{number:08}.segment"));
    if let Some(old) = old {
        fs::rename(old, &path)?;
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
    match make {
        Make::Append => {}
        Make::Fallocate | Make::Recycled => {
            if file.metadata()?.len() < SEGMENT {
                // `fallocate(2)` through the shell: this crate has no unsafe code and needs no wrapper for one call.
                let status = std::process::Command::new("fallocate").arg("-l").arg(SEGMENT.to_string()).arg(&path).status()?;
                if !status.success() {
                    return Err("fallocate failed".into());
                }
            }
        }
        Make::Zeroed => {
            let zeros = vec![0; 1 << 20];
            for offset in (0..SEGMENT).step_by(zeros.len()) {
                file.write_all_at(&zeros, offset)?;
                if offset % (4 << 20) == 0 {
                    file.sync_data()?;
                }
            }
        }
    }
    file.write_all_at(&[1; PAGE], 0)?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    Ok((file, path))
}

/// The disk's own price: 300 overwrites of 4 KiB in a written file, each with an fdatasync.
fn fdatasync_p50(dir: &Path) -> Result<u32> {
    let path = dir.join("probe");
    let file = File::create(&path)?;
    file.write_all_at(&vec![1; 1 << 20], 0)?;
    file.sync_all()?;
    let mut times = Vec::new();
    for turn in 0..300_u64 {
        let begun = Instant::now();
        file.write_all_at(&[2; PAGE], (turn % 256) * PAGE as u64)?;
        file.sync_data()?;
        times.push(begun.elapsed().as_micros() as u32);
    }
    fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times[150])
}

/// What all disks have written since boot, by /proc/diskstats: of others too, so look at who else is at work. The
/// figure of the process alone (/proc/self/io) counts whole folios of the page cache and is up to 100 times too high.
fn written_bytes() -> Result<u64> {
    let stats = fs::read_to_string("/proc/diskstats")?;
    let whole_disks = stats.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).filter(|fields| {
        fields.get(2).is_some_and(|name| fs::exists(format!("/sys/block/{name}")).unwrap_or(false))
    });
    let sectors = whole_disks.filter_map(|fields| fields.get(9).and_then(|sectors| sectors.parse::<u64>().ok()));
    Ok(sectors.sum::<u64>() * 512)
}
