//! Fetching and checking in parallel: each chunk of 65,536 entries is one task that reads ahead.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use glasslog_client::fsck::{ChunkCheck, ChunkPlan, Difference, Subtree, TreeCheck};
use glasslog_core::{Hash, TreeSize, tile::BundleId};
use indicatif::ProgressBar;
use tokio::task::JoinSet;

use crate::fetch::{FetchError, Source};

/// Bundles that a chunk reads ahead of the one that is being checked.
pub(crate) const READ_AHEAD: usize = 8;

/// Why checking ended before the end.
pub(crate) enum Stop {
    /// Something is not as computed.
    Difference(Difference),
    /// The log could not be read.
    Failed(anyhow::Error),
}

/// Checks the whole log; the first difference of the lowest chunk that has one ends it.
pub(super) async fn check(
    source: &Source,
    size: TreeSize,
    root: Hash,
    jobs: usize,
    bar: &ProgressBar,
) -> Result<(), Stop> {
    let checked = check_tree(source, size, root, jobs, bar).await;
    match checked {
        Err(Stop::Difference(mut difference)) => {
            settle(source, size, &root, &mut difference).await;
            Err(Stop::Difference(difference))
        }
        other => other,
    }
}

async fn check_tree(
    source: &Source,
    size: TreeSize,
    root: Hash,
    jobs: usize,
    bar: &ProgressBar,
) -> Result<(), Stop> {
    let chunks = check_chunks(source, size, jobs, bar).await?;
    check_above(source, size, &root, &chunks).await
}

/// The tiles above the chunks, and the root.
pub(crate) async fn check_above(
    source: &Source,
    size: TreeSize,
    root: &Hash,
    chunks: &[Subtree],
) -> Result<(), Stop> {
    let tree = TreeCheck::new(size, glasslog_hash::hasher());
    let tiles = source.tiles(tree.tiles()).await?;
    Ok(tree.finish(chunks, root, |id| tiles.get(id))?)
}

/// Runs up to `jobs` chunks at a time. When one fails, those before it still finish: one of them may hold an earlier
/// difference, and the first is to be named.
async fn check_chunks(
    source: &Source,
    size: TreeSize,
    jobs: usize,
    bar: &ProgressBar,
) -> Result<Vec<Subtree>, Stop> {
    let first_failed = Arc::new(AtomicU64::new(u64::MAX));
    let mut failure: Option<(u64, Stop)> = None;
    let mut subtrees = Vec::new();
    let mut waiting = ChunkPlan::all(size);
    let mut running = JoinSet::new();
    loop {
        while running.len() < jobs && failure.is_none() {
            let Some(plan) = waiting.next() else { break };
            running.spawn(check_chunk(source.clone(), plan, Arc::clone(&first_failed), bar.clone()));
        }
        let Some(joined) = running.join_next().await else { break };
        let (number, checked) = joined.map_err(|error| Stop::Failed(error.into()))?;
        match checked {
            Ok(Some(subtree)) => subtrees.push((number, subtree)),
            Ok(None) => {}
            Err(stop) if failure.as_ref().is_none_or(|(first, _)| number < *first) => {
                failure = Some((number, stop));
            }
            Err(_) => {}
        }
    }
    if let Some((_, stop)) = failure {
        return Err(stop);
    }
    subtrees.sort_unstable_by_key(|(number, _)| *number);
    Ok(subtrees.into_iter().map(|(_, subtree)| subtree).collect())
}

/// Checks one chunk; `None` if it was given up because an earlier one failed.
async fn check_chunk(
    source: Source,
    plan: ChunkPlan,
    first_failed: Arc<AtomicU64>,
    bar: ProgressBar,
) -> (u64, Result<Option<Subtree>, Stop>) {
    let checked = check_bundles(&source, plan, &first_failed, &bar).await;
    if checked.is_err() {
        first_failed.fetch_min(plan.number(), Ordering::Relaxed);
    }
    (plan.number(), checked)
}

async fn check_bundles(
    source: &Source,
    plan: ChunkPlan,
    first_failed: &AtomicU64,
    bar: &ProgressBar,
) -> Result<Option<Subtree>, Stop> {
    let mut chunk = ChunkCheck::new(plan, glasslog_hash::hasher());
    let fetched = stream::iter(plan.bundles()).map(|id| bundle_and_tile(source, id)).buffered(READ_AHEAD);
    let mut fetched = std::pin::pin!(fetched);
    while let Some((bundle, tile)) = fetched.try_next().await? {
        if first_failed.load(Ordering::Relaxed) < plan.number() {
            return Ok(None);
        }
        bar.inc(chunk.bundle(&bundle, &tile)?);
    }
    let level1 = match plan.level1() {
        Some(id) => Some(source.tile(&id).await?),
        None => None,
    };
    Ok(Some(chunk.finish(level1.as_deref())?))
}

/// A bundle, and the level-0 tile that it is checked against.
pub(crate) async fn bundle_and_tile(
    source: &Source,
    id: BundleId,
) -> Result<(bytes::Bytes, bytes::Bytes), FetchError> {
    let leaf_tile = id.leaf_tile();
    tokio::try_join!(source.bundle(&id), source.tile(&leaf_tile))
}

/// Decides which of two objects that disagree is at fault. A tile that cannot be read for it leaves that open.
pub(crate) async fn settle(source: &Source, size: TreeSize, root: &Hash, difference: &mut Difference) {
    let Difference::Hash(hash) = difference else { return };
    let tiles = source.tiles(hash.tiles(size)).await.unwrap_or_default();
    hash.settle(glasslog_hash::hasher(), size, root, |id| tiles.get(id));
}

impl From<Difference> for Stop {
    fn from(difference: Difference) -> Stop {
        Stop::Difference(difference)
    }
}

/// What is missing or far too long is damage of the log; all else is a failure to read it.
impl From<FetchError> for Stop {
    fn from(error: FetchError) -> Stop {
        match error {
            FetchError::Missing { path } => Stop::Difference(Difference::Missing { path }),
            FetchError::TooLong { path, limit } => Stop::Difference(Difference::TooLong { path, limit }),
            error => Stop::Failed(error.into()),
        }
    }
}
