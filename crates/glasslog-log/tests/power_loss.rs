//! A whole log on a disk that loses power: random adds from several tasks, a fault at some operation, any image that
//! the fault allows, and then the invariants of DESIGN §2 on what is found there.
//!
//! A few dozen histories by default; `GLASSLOG_TORTURE=1` (or the number of histories) for many.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test binary has no public interface")]

mod common;
#[path = "power_loss/fsck.rs"]
mod fsck;
#[path = "power_loss/history.rs"]
mod history;
#[path = "common/model.rs"]
mod model;

use glasslog_store::disk::sim::{Fault, SimDisk};
use history::{Ending, SEGMENT_BYTES, Seen};

/// How many histories a test plays.
fn histories(few: u64) -> u64 {
    match std::env::var("GLASSLOG_TORTURE").map(|many| many.parse::<u64>()) {
        Ok(Ok(many)) if many > 1 => many,
        Ok(_) => few * 100,
        Err(_) => few,
    }
}

/// A cheap generator, so that a seed is a whole history.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }
}

/// Three lives on one disk, each ended by a crash or in good order, each but the first begun on what the power loss left.
#[test]
fn nothing_acknowledged_or_seen_is_ever_taken_back() {
    (0..histories(5)).for_each(|seed| three_lives(seed, Seen::new(false)));
}

/// The same with an index: no anchor ever changes, and each has the root of the entries before it.
#[test]
fn no_anchor_is_ever_wrong_or_taken_back() {
    (0..histories(5)).for_each(|seed| three_lives(seed, Seen::new(true)));
}

fn three_lives(seed: u64, mut seen: Seen) {
    let mut random = Random::new(seed);
    let mut disk = SimDisk::new(seed);
    for life in 0..3 {
        let ending = if random.below(4) == 0 { Ending::Stop } else { Ending::Fault };
        if ending == Ending::Fault {
            disk.fail_at(disk.operations() + 1 + random.below(400), Fault::Crash);
        }
        let _how_it_ended = history::live(&disk, SEGMENT_BYTES, seed * 8 + life, ending, &mut seen);
        for image in disk.images(3) {
            history::reopen_and_check(&image, seen.clone());
        }
        let which = 2 + usize::try_from(random.below(5)).unwrap();
        disk = disk.images(which).last().unwrap();
    }
}

/// Invariant 7 and research/storage.md §4: the writer stops at a failed sync, and neither what was acknowledged before
/// nor what the next process acknowledges is lost with the power.
#[test]
fn a_failed_sync_stops_the_writer_and_loses_nothing() {
    for seed in 0..histories(5) {
        let mut random = Random::new(seed);
        let disk = SimDisk::new(seed);
        let mut seen = Seen::new(seed % 2 == 1);
        let at = 1 + random.below(350);
        disk.fail_at(at, Fault::SyncError);
        // In a segment of this size no next one is made ahead: a failed sync of that stops nobody before it is needed.
        let ended = history::live(&disk, 1 << 20, seed, Ending::Fault, &mut seen);
        // A life in good order ends with a sync.
        assert!(ended.is_err() || disk.operations() <= at, "operation {at} of {} failed", disk.operations());
        for image in disk.images(2) {
            history::reopen_and_check(&image, seen.clone());
        }

        // The next process integrates the same entries again, to the same objects, and believes nothing of what it reads.
        let quiet = disk.killed();
        history::reopen_and_check(&quiet, seen.clone());
        for image in quiet.images(2) {
            history::reopen_and_check(&image, seen.clone());
        }

        let restarted = disk.killed();
        restarted.fail_at(restarted.operations() + random.below(400), Fault::Crash);
        let _how_it_ended =
            history::live(&restarted, SEGMENT_BYTES, seed + 1_000_000, Ending::Fault, &mut seen);
        for image in restarted.images(3) {
            history::reopen_and_check(&image, seen.clone());
        }
    }
}

/// Invariant 7: a disk that is full pushes adds back and stops nothing; when there is room it goes on by itself.
#[test]
fn a_full_disk_pushes_back_and_recovers() {
    for seed in 0..histories(2) {
        let disk = SimDisk::new(seed);
        let mut seen = Seen::new(seed % 2 == 1);
        history::fill_up_and_make_room(&disk, seed, &mut seen);
        for image in disk.images(2) {
            history::reopen_and_check(&image, seen.clone());
        }
    }
}
