//! The log's entries, in order, into the audit: fetched ahead and mapped in parallel, taken in by one thread.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use glasslog_client::fsck::{ChunkCheck, ChunkPlan, Difference, Subtree};
use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    checkpoint::VerifiedCheckpoint,
    entry_bundle::EntryBundle,
    tile::{BundleId, FULL_WIDTH},
};
use glasslog_index::audit::{Audit, AuditError, Reading};
use glasslog_vindex::MapFunction;
use indicatif::ProgressBar;
use tokio::sync::mpsc;

use crate::{
    fetch::Source,
    fsck::run::{READ_AHEAD, Stop, bundle_and_tile, check_above, settle},
};

/// Why an audit ended before the end.
pub(super) enum Halt {
    /// The log: it cannot be read, or is not as it signed.
    Log(Stop),
    /// The tree is not the one that was audited before, continued.
    NotContinued(Difference),
    /// The audit's own index or directory.
    Audit(AuditError),
    /// This process.
    Own(anyhow::Error),
}

impl<E: Into<Stop>> From<E> for Halt {
    fn from(error: E) -> Halt {
        Halt::Log(error.into())
    }
}

/// What is fetched, in the order of the log.
#[derive(Clone, Copy)]
enum Object {
    Bundle(BundleId),
    EndOf(ChunkPlan),
}

/// What the thread that audits takes.
enum Part {
    /// A bundle with what its entries were read as; its level-0 tile, where tiles are checked.
    Bundle { id: BundleId, bundle: Bytes, tile: Option<Bytes>, readings: Vec<Reading> },
    /// The level-1 tile of the chunk that ends here, if it has one.
    EndOfChunk(Option<Bytes>),
}

/// Audits a log from its first entry, and checks every tile and the root as `fsck` does.
pub(super) async fn whole(
    source: &Source,
    checkpoint: &VerifiedCheckpoint,
    map_fn: &Arc<dyn MapFunction>,
    audit: Audit,
    bar: &ProgressBar,
) -> Result<Audit, Halt> {
    let size = checkpoint.size();
    let objects = ChunkPlan::all(size)
        .flat_map(|plan| plan.bundles().map(Object::Bundle).chain([Object::EndOf(plan)]))
        .map(|object| fetch(source, map_fn, object, true));
    let worker = Worker { audit, plans: Some(Box::new(ChunkPlan::all(size))), bar: bar.clone() };
    let (audit, chunks) = match flow(stream::iter(objects), worker).await {
        Err(Halt::Log(Stop::Difference(mut difference))) => {
            settle(source, size, checkpoint.root(), &mut difference).await;
            return Err(Halt::Log(Stop::Difference(difference)));
        }
        other => other?,
    };
    check_above(source, size, checkpoint.root(), &chunks).await.map_err(Halt::Log)?;
    continues(audit, checkpoint)
}

/// Audits what comes after the entries that `audit` has: nothing of it counts unless all together have the signed root.
pub(super) async fn rest(
    source: &Source,
    checkpoint: &VerifiedCheckpoint,
    map_fn: &Arc<dyn MapFunction>,
    audit: Audit,
    bar: &ProgressBar,
) -> Result<Audit, Halt> {
    let size = checkpoint.size();
    let width = u64::from(FULL_WIDTH);
    let objects = (audit.next().0 / width..size.0.div_ceil(width))
        .filter_map(|index| BundleId::at(size, index))
        .map(|id| fetch(source, map_fn, Object::Bundle(id), false));
    let worker = Worker { audit, plans: None, bar: bar.clone() };
    let (audit, _) = flow(stream::iter(objects), worker).await?;
    continues(audit, checkpoint)
}

fn continues(audit: Audit, checkpoint: &VerifiedCheckpoint) -> Result<Audit, Halt> {
    let (signed, computed) = (*checkpoint.root(), audit.tree().root());
    if signed == computed {
        Ok(audit)
    } else {
        Err(Halt::NotContinued(Difference::Root { signed, computed }))
    }
}

/// Fetches an object, and reads what its entries map to on a thread for it.
async fn fetch(
    source: &Source,
    map_fn: &Arc<dyn MapFunction>,
    object: Object,
    with_tile: bool,
) -> Result<Part, Halt> {
    let id = match object {
        Object::Bundle(id) => id,
        Object::EndOf(plan) => {
            let level1 = match plan.level1() {
                Some(id) => Some(source.tile(&id).await?),
                None => None,
            };
            return Ok(Part::EndOfChunk(level1));
        }
    };
    let (bundle, tile) = if with_tile {
        let (bundle, tile) = bundle_and_tile(source, id).await?;
        (bundle, Some(tile))
    } else {
        (source.bundle(&id).await?, None)
    };
    let (bytes, map_fn) = (bundle.clone(), Arc::clone(map_fn));
    let read = move || {
        // What is no bundle is refused by who takes it in.
        let entries = EntryBundle::parse(&bytes, id.width);
        entries
            .map_or_else(|_| Vec::new(), |all| all.iter().map(|entry| Reading::of(&*map_fn, entry)).collect())
    };
    let readings = tokio::task::spawn_blocking(read).await.map_err(|error| Halt::Own(error.into()))?;
    Ok(Part::Bundle { id, bundle, tile, readings })
}

/// Lets everything flow into the worker, which ends the flow when something is wrong.
async fn flow(
    objects: impl futures_util::Stream<Item = impl Future<Output = Result<Part, Halt>>>,
    worker: Worker,
) -> Result<(Audit, Vec<Subtree>), Halt> {
    let (parts, taken) = mpsc::channel(READ_AHEAD);
    let working = tokio::task::spawn_blocking(move || worker.run(taken));
    let mut fetched = std::pin::pin!(objects.buffered(READ_AHEAD));
    let mut failure = None;
    while let Some(part) = fetched.next().await {
        let sent = match part {
            Ok(part) => parts.send(part).await.is_ok(),
            Err(halt) => {
                failure = Some(halt);
                false
            }
        };
        if !sent {
            break;
        }
    }
    drop(parts);
    let done = working.await.map_err(|error| Halt::Own(error.into()))?;
    // What was wrong before comes first.
    match (done, failure) {
        (Err(halt), _) | (Ok(_), Some(halt)) => Err(halt),
        (Ok(done), None) => Ok(done),
    }
}

/// The thread that audits.
struct Worker {
    audit: Audit,
    /// The chunks whose tiles are checked, if they are.
    plans: Option<Box<dyn Iterator<Item = ChunkPlan> + Send>>,
    bar: ProgressBar,
}

impl Worker {
    fn run(mut self, mut parts: mpsc::Receiver<Part>) -> Result<(Audit, Vec<Subtree>), Halt> {
        let (mut chunks, mut chunk) = (Vec::new(), None);
        while let Some(part) = parts.blocking_recv() {
            match part {
                Part::Bundle { id, bundle, tile: Some(tile), readings } => {
                    chunk = chunk.or_else(|| self.next_chunk());
                    if let Some(chunk) = &mut chunk {
                        chunk.bundle(&bundle, &tile)?;
                    }
                    // The tile has just been found to hold the leaf hashes.
                    let leaves: Vec<Hash> =
                        tile.chunks_exact(Hash::LEN).filter_map(Hash::from_slice).collect();
                    self.take(&id, &leaves, &readings)?;
                }
                Part::Bundle { id, bundle, tile: None, readings } => {
                    self.take(&id, &leaves(&id, &bundle)?, &readings)?;
                }
                Part::EndOfChunk(level1) => {
                    if let Some(ended) = chunk.take() {
                        chunks.push(ended.finish(level1.as_deref())?);
                    }
                }
            }
        }
        Ok((self.audit, chunks))
    }

    fn next_chunk(&mut self) -> Option<ChunkCheck<'static>> {
        let plan = self.plans.as_mut()?.next()?;
        Some(ChunkCheck::new(plan, glasslog_hash::hasher()))
    }

    /// Hands the entries of a bundle to the audit, those that it does not have yet.
    fn take(&mut self, id: &BundleId, leaves: &[Hash], readings: &[Reading]) -> Result<(), Halt> {
        let first = id.first_index().unwrap_or_default();
        let before = self.audit.next();
        for ((leaf, reading), index) in leaves.iter().zip(readings).zip(first.0..) {
            if index >= before.0 {
                self.audit.entry(LeafIndex(index), *leaf, reading).map_err(Halt::Audit)?;
            }
        }
        let TreeSize(after) = self.audit.next();
        self.bar.inc(after - before.0);
        Ok(())
    }
}

/// The leaf hashes of a bundle.
fn leaves(id: &BundleId, bundle: &[u8]) -> Result<Vec<Hash>, Difference> {
    let entries = EntryBundle::parse(bundle, id.width)
        .map_err(|error| Difference::Framing { path: id.path(), reason: error.to_string() })?;
    let entries: Vec<&[u8]> = entries.iter().collect();
    let mut leaves = vec![Hash::EMPTY_ROOT; entries.len()];
    glasslog_hash::hasher().leaves(&entries, &mut leaves);
    Ok(leaves)
}
