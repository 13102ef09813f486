//! One chunk: up to 256 bundles, their level-0 tiles, and the level-1 tile above them.

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    entry_bundle::EntryBundle,
    hash::BatchHasher,
    tile::{BundleId, FULL_WIDTH, TileId},
};

use super::{
    CHUNK_ENTRIES,
    difference::{Difference, HashDifference, Source},
};
use crate::geometry::{extend, fold};

/// Bundles in a full chunk.
const CHUNK_BUNDLES: u64 = CHUNK_ENTRIES / FULL_WIDTH as u64;

/// Which objects a chunk consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlan {
    size: TreeSize,
    chunk: u64,
}

impl ChunkPlan {
    /// The chunks of a tree, from the left; none for the empty tree.
    pub fn all(size: TreeSize) -> impl Iterator<Item = ChunkPlan> {
        (0..size.0.div_ceil(CHUNK_ENTRIES)).map(move |chunk| ChunkPlan { size, chunk })
    }

    /// The position of the chunk, from 0.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.chunk
    }

    /// The bundles of the chunk in order. Each is checked together with its [`BundleId::leaf_tile`].
    pub fn bundles(self) -> impl Iterator<Item = BundleId> {
        let first = self.chunk * CHUNK_BUNDLES;
        (first..first + CHUNK_BUNDLES).map_while(move |index| BundleId::at(self.size, index))
    }

    /// The chunk's level-1 tile; `None` if not even one bundle of the chunk is full.
    #[must_use]
    pub fn level1(&self) -> Option<TileId> {
        TileId::at(self.size, 1, self.chunk)
    }
}

/// What a chunk came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subtree {
    /// The chunk is full: this is its hash in a tile of level 2.
    Full(Hash),
    /// The last chunk is not: this is the root over its entries.
    Tail(Hash),
}

impl Subtree {
    pub(super) fn full(&self) -> Option<Hash> {
        if let Subtree::Full(hash) = self { Some(*hash) } else { None }
    }

    pub(super) fn tail(&self) -> Option<Hash> {
        if let Subtree::Tail(hash) = self { Some(*hash) } else { None }
    }
}

/// Recomputes one chunk from its entries.
pub struct ChunkCheck<'h> {
    hasher: &'h dyn BatchHasher,
    plan: ChunkPlan,
    next_bundle: u64,
    level1: Vec<Hash>,
    tail: Option<Hash>,
}

impl<'h> ChunkCheck<'h> {
    /// A check of `plan` that has seen nothing yet.
    #[must_use]
    pub fn new(plan: ChunkPlan, hasher: &'h dyn BatchHasher) -> ChunkCheck<'h> {
        ChunkCheck { hasher, plan, next_bundle: plan.chunk * CHUNK_BUNDLES, level1: Vec::new(), tail: None }
    }

    /// Checks the next bundle of [`ChunkPlan::bundles`] against its level-0 tile; gives the number of its entries.
    ///
    /// # Errors
    ///
    /// The first [`Difference`] in it; the check cannot go on after one.
    pub fn bundle(&mut self, bundle: &[u8], tile: &[u8]) -> Result<u64, Difference> {
        let Some(id) = BundleId::at(self.plan.size, self.next_bundle) else { return Ok(0) };
        let entries = split(&id, bundle)?;
        let mut leaves = vec![Hash::EMPTY_ROOT; entries.len()];
        self.hasher.leaves(&entries, &mut leaves);
        compare(&id.leaf_tile(), tile, &leaves, |position| entry_source(&id, &entries, position))?;

        let root = fold(self.hasher, &leaves);
        if id.is_partial() {
            self.tail = root;
        } else {
            self.level1.extend(root);
        }
        self.next_bundle += 1;
        Ok(u64::from(id.width))
    }

    /// Checks the level-1 tile of the chunk ([`ChunkPlan::level1`]; `None` if it has none).
    ///
    /// # Errors
    ///
    /// The first [`Difference`] in the tile.
    pub fn finish(self, level1: Option<&[u8]>) -> Result<Subtree, Difference> {
        if let Some(tile) = self.plan.level1() {
            let stored = level1.unwrap_or_default();
            compare(&tile, stored, &self.level1, |position| Source::below(self.plan.size, &tile, position))?;
        }
        let root = extend(self.hasher, &self.level1, self.tail).unwrap_or(Hash::EMPTY_ROOT);
        let full = self.level1.len() == usize::from(FULL_WIDTH);
        Ok(if full { Subtree::Full(root) } else { Subtree::Tail(root) })
    }
}

/// The entries of a bundle.
fn split<'b>(id: &BundleId, bundle: &'b [u8]) -> Result<Vec<&'b [u8]>, Difference> {
    let bundle = EntryBundle::parse(bundle, id.width)
        .map_err(|error| Difference::Framing { path: id.path(), reason: error.to_string() })?;
    Ok(bundle.iter().collect())
}

fn entry_source(id: &BundleId, entries: &[&[u8]], position: usize) -> Source {
    let offset = entries.iter().take(position).map(|entry| entry.len() + 2).sum();
    Source::Entry {
        bundle: *id,
        index: LeafIndex(id.index * u64::from(FULL_WIDTH) + position as u64),
        offset,
        length: entries.get(position).map_or(0, |entry| entry.len()),
    }
}

/// Compares a stored tile with what it should hold. `source` says what the hash at a position was computed from.
pub(super) fn compare(
    id: &TileId,
    stored: &[u8],
    computed: &[Hash],
    source: impl Fn(usize) -> Source,
) -> Result<(), Difference> {
    if stored.len() != computed.len() * Hash::LEN {
        return Err(Difference::Length {
            path: id.path(),
            expected: computed.len() * Hash::LEN,
            found: stored.len(),
        });
    }
    for (position, (stored, computed_hash)) in stored.chunks_exact(Hash::LEN).zip(computed).enumerate() {
        if stored != computed_hash.as_bytes() {
            return Err(Difference::Hash(Box::new(HashDifference::new(
                *id,
                position,
                stored,
                computed,
                source(position),
            ))));
        }
    }
    Ok(())
}
