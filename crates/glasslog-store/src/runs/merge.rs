//! Which runs to merge, how to read them as one, and how fast.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{
    RunError,
    file::{Cursor, Run, RunWriter},
};

/// How many neighbours of like size make a merge.
const FAN_IN: usize = 4;
/// The most runs in one merge; each costs a 64 KiB buffer.
const MAX_FAN_IN: usize = 16;

/// How fast a merge may write, so that it does not stand in the way of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeRate {
    /// As fast as the disk goes.
    Unlimited,
    /// At most so many bytes a second, on average over the merge.
    BytesPerSecond(u64),
}

/// Stops a merge from another thread.
#[derive(Debug, Default)]
pub struct Cancel {
    cancelled: Mutex<bool>,
    changed: Condvar,
}

impl Cancel {
    /// Stops the merges that were given this, now and later.
    pub fn cancel(&self) {
        *self.cancelled.lock() = true;
        self.changed.notify_all();
    }

    /// Waits until `until`, or until it is cancelled; says whether it is.
    pub fn wait_until(&self, until: Instant) -> bool {
        let mut cancelled = self.cancelled.lock();
        while !*cancelled && !self.changed.wait_until(&mut cancelled, until).timed_out() {}
        *cancelled
    }
}

/// Neighbours that are due to be merged: at least four in a row of one size class or below, and together above it.
/// `rows` is oldest first.
///
/// A class holds the sizes within a factor of two of a power of four, so that runs of about the same size are alike
/// and four of them make one of the next class: a row is written once per class. Only neighbours are merged, so
/// runs stay ordered by age.
pub(super) fn due(rows: &[u64]) -> Option<Range<usize>> {
    let mut classes: Vec<u32> = rows.iter().map(|&rows| class(rows)).collect();
    classes.sort_unstable();
    classes.dedup();
    classes.into_iter().find_map(|largest| due_in_class(rows, largest))
}

fn due_in_class(rows: &[u64], largest: u32) -> Option<Range<usize>> {
    let mut start = 0;
    rows.split(|&rows| class(rows) > largest).find_map(|stretch| {
        let range = start..start + stretch.len().min(MAX_FAN_IN);
        start += stretch.len() + 1;
        let together = rows.get(range.clone())?.iter().sum();
        (range.len() >= FAN_IN && class(together) > largest).then_some(range)
    })
}

fn class(rows: u64) -> u32 {
    rows.max(1).ilog2().div_ceil(2)
}

/// Writes all rows of `runs` in order; `false` if it was cancelled.
pub(super) fn merge(
    runs: &[Arc<Run>],
    writer: &mut RunWriter,
    rate: MergeRate,
    cancel: &Cancel,
) -> Result<bool, RunError> {
    let begun = Instant::now();
    let mut cursors = runs.iter().cloned().map(Cursor::new).collect::<Result<Vec<_>, _>>()?;
    // The count is small: looking at each head is as fast as a heap.
    while let Some(least) = least(&mut cursors) {
        let Some(row) = least.row() else { break };
        if writer.push(row)? && cancel.wait_until(begun + rate.time_for(writer.written())) {
            return Ok(false);
        }
        least.advance()?;
    }
    Ok(true)
}

/// The cursor that stands at the least row.
fn least(cursors: &mut [Cursor]) -> Option<&mut Cursor> {
    cursors
        .iter_mut()
        .filter(|cursor| cursor.row().is_some())
        .min_by(|one, other| one.row().cmp(&other.row()))
}

impl MergeRate {
    /// How long so many bytes take.
    #[must_use]
    pub fn time_for(self, bytes: u64) -> Duration {
        match self {
            MergeRate::Unlimited => Duration::ZERO,
            MergeRate::BytesPerSecond(rate) => {
                Duration::from_millis(bytes.saturating_mul(1000) / rate.max(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_neighbours_of_one_size_are_due() {
        assert_eq!(due(&[]), None);
        assert_eq!(due(&[100, 100, 100]), None);
        assert_eq!(due(&[100, 100, 100, 100]), Some(0..4));
        assert_eq!(due(&[10_000, 90, 100, 110, 120]), Some(1..5));
        assert_eq!(due(&[1_048_576, 262_144, 262_144, 262_144]), None, "three are not enough");
        assert_eq!(due(&[100, 100, 100, 1_000_000, 100]), None, "a larger run lies between");
        assert_eq!(due(&[400, 400, 400, 100, 100, 100, 100]), Some(3..7), "the smallest come first");
        assert_eq!(due(&[7; 40]), Some(0..MAX_FAN_IN));
    }

    /// Whatever the sizes of the spills, the count of runs and how often a row is written stay logarithmic.
    #[test]
    fn few_runs_and_few_writes() {
        for spill in [1_u64, 37, 16_384, 262_143, 262_144] {
            let (mut runs, mut written) = (Vec::new(), 0);
            for at in 0..1000 {
                runs.push(spill + at % 3 * spill / 2);
                while let Some(range) = due(&runs) {
                    let merged = runs[range.clone()].iter().sum::<u64>();
                    written += merged;
                    runs.splice(range, [merged]);
                }
                assert!(runs.len() <= 3 * 6, "{spill} {at} {runs:?}");
            }
            let rows: u64 = runs.iter().sum();
            assert!(written <= rows * 5, "1,000 is between 4^4 and 4^5: {written} {rows}");
        }
    }
}
