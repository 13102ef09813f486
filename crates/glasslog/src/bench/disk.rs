//! What the disk can do: without it no figure about durable writes can be read.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

/// How many appends are measured.
const APPENDS: usize = 200;

/// Bytes of one append: a page, as a small group commit writes.
const APPEND_BYTES: usize = 4096;

/// The median time of `fdatasync` after appending 4 KiB to a file in `directory`.
pub(super) fn fdatasync_p50(directory: &Path) -> std::io::Result<Duration> {
    let path = directory.join(format!(".glasslog-bench-{}", std::process::id()));
    let measured = measure(&path);
    fs::remove_file(&path)?;
    measured
}

fn measure(path: &Path) -> std::io::Result<Duration> {
    let mut file = File::create(path)?;
    let mut times = Vec::with_capacity(APPENDS);
    for _ in 0..APPENDS {
        file.write_all(&[1; APPEND_BYTES])?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(APPENDS / 2).copied().unwrap_or_default())
}
