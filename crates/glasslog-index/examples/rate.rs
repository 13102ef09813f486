//! How fast an index is, how much memory it takes and how much disk: `just bench-index [keys] [directory]`.
//!
//! Keys are hashes of numbers, each of one entry. First a bulk build; then proofs from the files as the kernel has cached them; then
//! updates in batches of 4,096 keys, nine of ten new, with a revision and a `keep` every 32,768 entries, while a thread spills
//! and merges at 40 MB/s. A rate counts from the first key to the last that is covered by a revision (durable after the build and
//! at the end).
#![allow(missing_docs, clippy::print_stdout, reason = "a tool")]

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use glasslog_core::LeafIndex;
use glasslog_index::{Binding, Index, Keeper, Opened, Options, Revision};
use glasslog_store::{
    disk::RealDisk,
    runs::{Cancel, MergeRate},
};
use glasslog_vindex::{Key, Proof};

type Failure = Box<dyn Error + Send + Sync>;

const BATCH: u64 = 4096;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let keys: u64 = arguments.next().as_deref().unwrap_or("1000000").parse()?;
    let updates: u64 = (keys / 5).clamp(200_000, 2_000_000) / BATCH * BATCH;
    let dir =
        arguments.next().map_or_else(|| std::env::temp_dir().join("glasslog-bench-index"), PathBuf::from);
    if dir.exists() {
        return Err(format!("{} exists: it would be overwritten", dir.display()).into());
    }
    println!("{keys} keys, updates with {updates}, in {}", dir.display());
    let done = run(&dir, keys, updates);
    std::fs::remove_dir_all(&dir).ok();
    done
}

fn run(dir: &Path, keys: u64, updates: u64) -> Result<(), Failure> {
    build(dir, keys)?;
    let opened = open_and_say(dir, keys)?;
    update(opened, keys, updates)?;
    open_and_say(dir, keys + updates).map(drop)
}

fn build(dir: &Path, keys: u64) -> Result<(), Failure> {
    let mut index = open(dir)?.index;
    let begun = begin();
    let mut bulk = index.bulk()?;
    for number in 0..keys {
        bulk.push(LeafIndex(number), &[key(number)])?;
    }
    let pushed = begun.0.elapsed().as_secs_f64();
    let revision = bulk.finish(&Cancel::default(), &mut |_, _| ())?.ok_or("cancelled")?;
    rate("bulk build, durable", keys, begun);
    println!("  of which {pushed:.1} s to make and gather the keys; {}", resources(&index, keys));
    prove(&revision, keys, PROOFS)?;
    println!("the same with the files out of the page cache at first:");
    forget(dir)?;
    prove(&revision, keys, COLD)
}

fn update(opened: Opened, keys: u64, updates: u64) -> Result<(), Failure> {
    let Opened { mut index, keeper, .. } = opened;
    let ended = Arc::new(AtomicBool::new(false));
    let worker = {
        let ended = Arc::clone(&ended);
        std::thread::spawn(move || keep(&keeper, &ended))
    };
    let (begun, fed) = (begin(), thread_seconds());
    let mut slowest = Duration::ZERO;
    for batch in 0..updates / BATCH {
        let batch_begun = Instant::now();
        for number in batch * BATCH..(batch + 1) * BATCH {
            let one = if number.is_multiple_of(10) { number * 7919 % keys } else { keys + number };
            index.apply(LeafIndex(keys + number), &[key(one)])?;
        }
        if batch.is_multiple_of(8) {
            index.revision()?;
            index.keep(index.next())?;
        }
        slowest = slowest.max(batch_begun.elapsed());
    }
    let revision = index.revision()?;
    rate("updates", updates, begun);
    let fed = (thread_seconds() - fed) * 1e6 / updates as f64;
    println!(
        "  {fed:.2} us of them in the thread that feeds; slowest batch {:.0} ms",
        slowest.as_secs_f64() * 1e3
    );
    println!("  full: {}; {}", index.is_full(), resources(&index, keys + updates));
    prove(&revision, keys, PROOFS)?;
    index.keep(index.next())?;
    ended.store(true, Ordering::Release);
    worker.join().map_err(|_| "the keeper has panicked")??;
    println!("after the last merge: {}", resources(&index, keys + updates));
    Ok(index.close()?)
}

fn open_and_say(dir: &Path, keys: u64) -> Result<Opened, Failure> {
    let begun = Instant::now();
    let opened = open(dir)?;
    let (seconds, at) = (begun.elapsed().as_secs_f64(), opened.index.next());
    println!("opened in {seconds:.2} s at {at}; {}", resources(&opened.index, keys));
    if let Some(why) = &opened.emptied_because {
        return Err(format!("it was emptied: {why}").into());
    }
    Ok(opened)
}

fn open(dir: &Path) -> Result<Opened, Failure> {
    let binding = Binding { origin: "example.com/bench".into(), map_fn: "json-field:name".into() };
    Ok(Index::open(Arc::new(RealDisk::private()), dir, &binding, Options::default())?)
}

fn keep(keeper: &Keeper, ended: &AtomicBool) -> Result<(), Failure> {
    while !ended.load(Ordering::Acquire) {
        while keeper.step(MergeRate::BytesPerSecond(40 << 20), &Cancel::default())? {}
        keeper.wait(Duration::from_millis(100));
    }
    while keeper.step(MergeRate::Unlimited, &Cancel::default())? {}
    Ok(())
}

fn prove(revision: &Arc<Revision>, keys: u64, count: u64) -> Result<(), Failure> {
    for threads in [1, 2] {
        let begun = begin();
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let revision = Arc::clone(revision);
                std::thread::spawn(move || prove_some(&revision, worker, keys, count))
            })
            .collect();
        let mut bytes = 0;
        for worker in workers {
            bytes = worker.join().map_err(|_| "a prover has panicked")??;
        }
        rate(&format!("proofs, {threads} thread(s), {bytes} B each"), count * threads, begun);
    }
    Ok(())
}

const PROOFS: u64 = 100_000;
const COLD: u64 = 10_000;

/// Asks the kernel to forget what it has cached of the files.
fn forget(dir: &Path) -> Result<(), Failure> {
    for entry in std::fs::read_dir(dir)? {
        let file = std::fs::File::open(entry?.path())?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

fn prove_some(revision: &Revision, worker: u64, keys: u64, count: u64) -> Result<usize, Failure> {
    let mut bytes = 0;
    for number in 0..count {
        let asked = key((number + worker * 7_000_001 + count).wrapping_mul(0x9e37_79b9) % keys);
        let Proof::Present(presence) = revision.prove(&asked)? else { return Err("a key is absent".into()) };
        if number.is_multiple_of(100) && presence.root(&asked) != revision.root() {
            return Err("a proof leads to another root".into());
        }
        bytes += if number.is_multiple_of(100) { presence.encode().len() } else { 0 };
    }
    Ok(bytes / usize::try_from(count / 100)?)
}

fn key(number: u64) -> Key {
    Key::of_name(&number.to_string())
}

/// Begins to measure: the clock, and what this process has had of the processors, which a neighbour cannot take away.
fn begin() -> (Instant, f64) {
    (Instant::now(), processor_seconds())
}

fn rate(what: &str, count: u64, (begun, before): (Instant, f64)) {
    let (time, processors) = (begun.elapsed().as_secs_f64(), processor_seconds() - before);
    println!(
        "{what}: {:.0}/s ({count} in {time:.2} s; {:.2} us of processor time each)",
        count as f64 / time,
        processors * 1e6 / count as f64
    );
}

fn processor_seconds() -> f64 {
    seconds_in("/proc/self/stat")
}

fn thread_seconds() -> f64 {
    seconds_in("/proc/thread-self/stat")
}

fn seconds_in(path: &str) -> f64 {
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    // User and system time in hundredths of a second, the 14th and 15th word; the 2nd is in brackets.
    let words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    words.skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn resources(index: &Index, keys: u64) -> String {
    let stats = index.stats();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
    };
    format!(
        "{} MB counted, {} MiB anonymous (peak {} MiB); {:.1} B of disk a key in {} files",
        stats.memory_bytes / 1_000_000,
        resident("RssAnon"),
        resident("VmHWM"),
        stats.disk_bytes as f64 / keys as f64,
        stats.runs
    )
}
