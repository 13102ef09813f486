//! What can wait: spilling and merging the duplicates table, and removing partial tiles that are superseded.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use glasslog_core::{
    TreeSize,
    tile::{BundleId, ResourcePath, TileId},
};
use glasslog_store::duplicates::Frozen;

use crate::{Failure, shared::Shared};

/// How often superseded partial objects are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// At a start, the partial objects of so many of the last full tiles are removed, whoever left them.
const SWEPT_TILES: u64 = 64;

/// Work for the housekeeper.
pub(crate) enum Chore {
    /// Entries that the duplicates table shall take over.
    Absorb(Arc<Frozen>),
    /// A checkpoint is public: its partial objects go some time after they are superseded.
    Published { paths: Vec<String> },
    /// The log has ended.
    End,
}

/// Runs until [`Chore::End`].
pub(crate) struct Housekeeper {
    log: Arc<Shared>,
    chores: mpsc::Receiver<Chore>,
    /// Partial objects that were public, and since when they are known to be superseded.
    partials: HashMap<String, Option<Instant>>,
    /// What the table could not take over for want of disk space.
    waiting: VecDeque<Arc<Frozen>>,
}

impl Housekeeper {
    pub(crate) fn new(log: Arc<Shared>, chores: mpsc::Receiver<Chore>) -> Housekeeper {
        let left = partials_of_last_tiles(log.progress.published());
        let partials = left.map(|path| (path, None)).collect();
        Housekeeper { log, chores, partials, waiting: VecDeque::new() }
    }

    pub(crate) fn run(mut self) -> Result<(), Failure> {
        let mut sweep_at = Instant::now() + SWEEP_EVERY;
        loop {
            match self.chores.recv_timeout(sweep_at.saturating_duration_since(Instant::now())) {
                Ok(Chore::Absorb(frozen)) => {
                    self.waiting.push_back(frozen);
                    self.absorb()?;
                }
                Ok(Chore::Published { paths }) => {
                    self.partials.extend(paths.into_iter().map(|path| (path, None)));
                }
                Ok(Chore::End) | Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.absorb()?;
                    self.sweep();
                    self.log.served.retry();
                    sweep_at = Instant::now() + SWEEP_EVERY;
                }
            }
        }
    }

    /// Hands what waits to the table. A full disk is no failure (invariant 7): it is tried again with the next sweep.
    fn absorb(&mut self) -> Result<(), Failure> {
        while let Some(frozen) = self.waiting.front() {
            let absorbed = self.log.duplicates.absorb(frozen).and_then(|()| self.log.duplicates.merge());
            match absorbed {
                Err(full) if full.is_full_disk() => {
                    tracing::warn!(error = %crate::shared::chain(&full), "the duplicates table waits for disk space");
                    if self.log.duplicates.covered() < frozen.up_to() {
                        return Ok(());
                    }
                }
                other => other?,
            }
            self.waiting.pop_front();
        }
        Ok(())
    }

    /// Removes partial objects whose *full* object has been public for some time (tlog-tiles: never before).
    fn sweep(&mut self) {
        let published = self.log.progress.published();
        let kept_for = self.log.config.partials_kept_for;
        let mut superseded: Vec<String> = Vec::new();
        for (path, since) in &mut self.partials {
            if is_superseded(path, published) && since.get_or_insert_with(Instant::now).elapsed() >= kept_for
            {
                superseded.push(path.clone());
            }
        }
        if !superseded.is_empty() {
            tracing::debug!(objects = superseded.len(), "removing superseded partial tiles");
            // What stays costs disk and is tried again.
            if let Err(why) = self.log.objects.remove(&superseded) {
                tracing::warn!(error = %crate::shared::chain(&why), "superseded partial tiles stay for now");
                return;
            }
            superseded.iter().for_each(|path| {
                self.partials.remove(path);
            });
        }
    }
}

/// Whether the full object at the place of this partial one is below `published`.
fn is_superseded(path: &str, published: TreeSize) -> bool {
    match ResourcePath::parse(path) {
        Ok(ResourcePath::Tile(tile)) if tile.is_partial() => tile.full().is_within(published),
        Ok(ResourcePath::Bundle(bundle)) if bundle.is_partial() => bundle.full().is_within(published),
        _ => false,
    }
}

/// Every partial path of the last full tiles and bundles of a tree: a former process may have left some of them.
fn partials_of_last_tiles(size: TreeSize) -> impl Iterator<Item = String> {
    (0_u8..8).flat_map(move |level| {
        let full = size.0.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
        (full.saturating_sub(SWEPT_TILES)..full).flat_map(move |index| {
            (1..=255_u16).flat_map(move |width| {
                let bundle = (level == 0).then(|| BundleId { index, width }.path());
                std::iter::once(TileId { level, index, width }.path()).chain(bundle)
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tlog-tiles: a partial tile may go only when the full one is there; judged by the spec's own example paths.
    #[test]
    fn superseded_only_by_the_full_object() {
        for (path, published, superseded) in [
            ("tile/0/000.p/1", 255, false),
            ("tile/0/000.p/1", 256, true),
            ("tile/entries/001.p/7", 511, false),
            ("tile/entries/001.p/7", 512, true),
            ("tile/1/000.p/255", 65_535, false),
            ("tile/1/000.p/255", 65_536, true),
            ("tile/0/000", 1_000, false),
            ("checkpoint", 1_000, false),
        ] {
            assert_eq!(is_superseded(path, TreeSize(published)), superseded, "{path} at {published}");
        }
    }
}
