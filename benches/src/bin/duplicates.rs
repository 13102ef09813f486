//! The duplicates table at size: how fast it is filled, merged and asked, and what it costs.
//!
//! `cargo run --release --bin duplicates [ROWS] [DIR]` (10,000,000 rows, a temporary directory below `.`). Rows come in
//! spills of 262,144, as from a log whose entries are all new; merges run to the end after each spill, without a
//! limit on their rate. Every spill and merge is durable (fdatasync, rename, fsync of the directory) when its clock stops.
//! Times of calls are CPU time, so that neighbours on the machine do not count; those of spills and merges are given both ways.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use glasslog_core::{Hash, LeafIndex, TreeSize, personality::Identity};
use glasslog_store::{
    disk::RealDisk,
    duplicates::{Cancel, MergeRate, Recent, Table},
};

const SPILL_ROWS: u64 = 262_144;
const ASKED: u64 = 1_000_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rows: u64 = arguments.next().map_or(10_000_000, |rows| rows.parse().expect("a number of rows"));
    let dir = arguments.next().map_or_else(|| PathBuf::from("./duplicates-bench"), PathBuf::from);
    let table = Table::open(Arc::new(RealDisk::private()), &dir).expect("an empty directory");
    assert_eq!(table.covered(), TreeSize::ZERO, "{} is in use", dir.display());
    println!(
        "{rows} rows in spills of {SPILL_ROWS}, in {}; fdatasync p50 {:.2} ms",
        dir.display(),
        fdatasync_ms(&dir)
    );

    fill(&table, rows);
    let on_disk: u64 =
        std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    let (held, runs) = table.view().size();
    println!(
        "{held} rows in {runs} runs, {:.2} bytes a row on disk, RSS {} MB",
        on_disk as f64 / held as f64,
        rss_mb()
    );
    ask(&table, rows);
    ask_recent();

    drop(table);
    let begun = Instant::now();
    let table = Table::open(Arc::new(RealDisk::private()), &dir).expect("the same table");
    println!("opened again in {:.0} ms, covering {}", begun.elapsed().as_secs_f64() * 1e3, table.covered());
    drop(table);
    std::fs::remove_dir_all(&dir).unwrap();
}

/// The identity of entry `index`: a mixed number, uniform like a hash and cheap to make.
fn identity(index: u64) -> Identity {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let (high, low) = (mix(index.wrapping_mul(2) + 1), mix(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    Identity((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
}

fn fill(table: &Table, rows: u64) {
    let written_before = written_bytes();
    let (mut spilling, mut merging) = (Spent::default(), Spent::default());
    let mut from = 0;
    while from < rows {
        let up_to = rows.min(from + SPILL_ROWS);
        let spill: Vec<_> = (from..up_to).map(|index| (identity(index), LeafIndex(index))).collect();
        spilling.on(|| table.spill(spill, TreeSize(up_to)).unwrap());
        merging.on(|| while table.merge_step(MergeRate::Unlimited, &Cancel::default()).unwrap() {});
        from = up_to;
    }
    let written = written_bytes() - written_before;
    println!("spills {spilling}, merges {merging}; {:.1} bytes written a row", written as f64 / rows as f64,);
}

/// Time that went by, and CPU time of it.
#[derive(Default)]
struct Spent {
    wall: f64,
    cpu: f64,
}

impl Spent {
    fn on(&mut self, work: impl FnOnce()) {
        let (begun, cpu) = (Instant::now(), cpu_ns());
        work();
        self.wall += begun.elapsed().as_secs_f64();
        self.cpu += (cpu_ns() - cpu) / 1e9;
    }
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} s (CPU {:.2} s)", self.wall, self.cpu)
    }
}

/// CPU time of this thread so far.
fn cpu_ns() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0)
}

fn ask(table: &Table, rows: u64) {
    let step = (rows / ASKED).max(1);
    let per_call = |begun: f64| (cpu_ns() - begun) / ASKED as f64;
    // The order of the keys in the table is random already: no two calls in a row share a page or a block.
    let begun = cpu_ns();
    let positives = (0..ASKED).filter(|at| table.may_contain(&identity(rows + at))).count();
    println!(
        "may_contain, absent: {:.0} ns; {positives} of {ASKED} positive (false), RSS {} MB",
        per_call(begun),
        rss_mb()
    );
    let begun = cpu_ns();
    let present = (0..ASKED).filter(|at| table.may_contain(&identity(at * step % rows))).count();
    println!("may_contain, present: {:.0} ns; {present} of {ASKED} positive", per_call(begun));
    let begun = cpu_ns();
    let found = (0..ASKED)
        .filter(|at| table.latest(&identity(at * step % rows)).unwrap() == Some(LeafIndex(at * step % rows)));
    let found = found.count();
    println!("latest, present (page cache warm): {:.0} ns; {found} of {ASKED} right", per_call(begun));
    let begun = cpu_ns();
    let found = (0..ASKED).filter(|at| table.latest(&identity(rows + at)).unwrap().is_some()).count();
    println!("latest, absent: {:.0} ns; {found} of {ASKED} found", per_call(begun));
}

fn ask_recent() {
    let before = rss_mb();
    let mut recent = Recent::new(0x5eed, TreeSize::ZERO);
    let begun = cpu_ns();
    for index in 0..ASKED {
        recent.insert(identity(index), LeafIndex(index), Hash::EMPTY_ROOT);
    }
    let inserted = (cpu_ns() - begun) / ASKED as f64;
    let after = rss_mb();
    let begun = cpu_ns();
    let found = (0..ASKED).filter(|at| recent.get(&identity(at * 2)).is_some()).count();
    let got = (cpu_ns() - begun) / ASKED as f64;
    println!(
        "memory table of {ASKED}: insert {inserted:.0} ns, get {got:.0} ns ({found} found), {} bytes a row",
        (after - before) * (1 << 20) / ASKED
    );
}

/// The median of 100 appends of 4 KiB, each followed by fdatasync.
fn fdatasync_ms(dir: &Path) -> f64 {
    use std::io::Write;
    let path = dir.join("fdatasync");
    let mut file = std::fs::File::create(&path).unwrap();
    let mut times: Vec<f64> = (0..100)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[0; 4096]).unwrap();
            file.sync_data().unwrap();
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    std::fs::remove_file(&path).unwrap();
    times.sort_by(f64::total_cmp);
    times[50]
}

fn rss_mb() -> u64 {
    proc_number("/proc/self/status", "RssAnon:") / 1024
}

/// Bytes that this process has handed to write calls.
fn written_bytes() -> u64 {
    proc_number("/proc/self/io", "wchar:")
}

fn proc_number(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
