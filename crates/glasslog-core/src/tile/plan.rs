//! Proofs from tiles: say what is needed, be handed the bytes, check all of them, conclude.
//!
//! Every tile is bound to the root before anything is read out of it. The partial tiles are what the root is computed
//! from; a full tile hashes to its place in the tile above. So each plan holds all partial tiles of the tree, and with
//! each full tile the one above it, up to a partial one: for a log of ten million entries five tiles at most prove
//! an inclusion.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::{cmp::Reverse, ops::Range};

use super::{FULL_WIDTH, TileId, TileTree, partial_tiles, position_in_tile};
use crate::{
    Hash, LeafIndex, TreeSize,
    hash::BatchHasher,
    merkle::{self, ConsistencyProof, InclusionProof, Node, ProofError, Span},
};

/// Why tiles do not give what was planned. None of their hashes may be believed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The bytes of a planned tile were not handed in.
    #[error("{0} is needed and was not given")]
    Missing(TileId),
    /// The content is not a tile of the planned width, nor a wider one that could be cut to it.
    #[error("{tile} has {bytes} bytes instead of {}", tile.byte_len())]
    Length {
        /// The planned tile.
        tile: TileId,
        /// The length of what was handed in.
        bytes: usize,
    },
    /// A full tile does not hash to what the tile above says.
    #[error("{0} does not hash to its place in the tile above")]
    Tile(TileId),
    /// The partial tiles do not make up the root.
    #[error("the partial tiles do not lead to the root of the tree of size {size}")]
    Root {
        /// The size of the tree.
        size: TreeSize,
    },
}

/// Makes the inclusion proof of one leaf.
#[derive(Clone, Debug)]
pub struct InclusionPlan {
    plan: Plan,
    spans: Vec<Span>,
}

/// Makes the consistency proof between two sizes from the tiles of the larger tree.
#[derive(Clone, Debug)]
pub struct ConsistencyPlan {
    plan: Plan,
    spans: Vec<Span>,
}

/// Reads leaf hashes.
#[derive(Clone, Debug)]
pub struct LeavesPlan {
    plan: Plan,
    range: Range<u64>,
}

/// Computes the root of a tree.
#[derive(Clone, Debug)]
pub struct RootPlan {
    plan: Plan,
}

impl InclusionPlan {
    /// Plans the proof for the leaf at `index` of the tree of `size`.
    ///
    /// # Errors
    ///
    /// [`ProofError::IndexOutsideTree`].
    pub fn new(index: LeafIndex, size: TreeSize) -> Result<InclusionPlan, ProofError> {
        let spans = merkle::inclusion_spans(index, size)?;
        Ok(InclusionPlan { plan: Plan::of_spans(size, &spans), spans })
    }

    /// The tiles that are needed, each after the one that authenticates it.
    #[must_use]
    pub fn tiles(&self) -> &[TileId] {
        &self.plan.tiles
    }

    /// The proof, once all tiles agree with `root`. `fetch` gives the content of each planned tile, or of the full
    /// tile at its place.
    ///
    /// # Errors
    ///
    /// [`PlanError`].
    pub fn finish<B: AsRef<[u8]>>(
        &self,
        root: &Hash,
        hasher: &dyn BatchHasher,
        fetch: impl FnMut(&TileId) -> Option<B>,
    ) -> Result<InclusionProof, PlanError> {
        let tiles = self.plan.authenticate(root, hasher, fetch)?;
        tiles.span_hashes(&self.spans).map(InclusionProof)
    }
}

impl ConsistencyPlan {
    /// Plans the proof that the tree of `new` begins with the tree of `old`.
    ///
    /// # Errors
    ///
    /// [`ProofError::Shrinking`].
    pub fn new(old: TreeSize, new: TreeSize) -> Result<ConsistencyPlan, ProofError> {
        let spans = merkle::consistency_spans(old, new)?;
        Ok(ConsistencyPlan { plan: Plan::of_spans(new, &spans), spans })
    }

    /// The tiles that are needed, each after the one that authenticates it.
    #[must_use]
    pub fn tiles(&self) -> &[TileId] {
        &self.plan.tiles
    }

    /// The proof, once all tiles agree with `new_root`, the root of the larger tree. It says nothing yet about the
    /// root of the smaller one: that is what [`ConsistencyProof::verify`] decides.
    ///
    /// # Errors
    ///
    /// [`PlanError`].
    pub fn finish<B: AsRef<[u8]>>(
        &self,
        new_root: &Hash,
        hasher: &dyn BatchHasher,
        fetch: impl FnMut(&TileId) -> Option<B>,
    ) -> Result<ConsistencyProof, PlanError> {
        let tiles = self.plan.authenticate(new_root, hasher, fetch)?;
        tiles.span_hashes(&self.spans).map(ConsistencyProof)
    }
}

impl LeavesPlan {
    /// Plans to read the hashes of the leaves in `range` of the tree of `size`. Each 256 of them are a tile that is
    /// held in memory: read a large log in pieces.
    ///
    /// # Errors
    ///
    /// [`ProofError::IndexOutsideTree`] when the range reaches past the tree.
    pub fn new(range: Range<LeafIndex>, size: TreeSize) -> Result<LeavesPlan, ProofError> {
        if range.end.0 > size.0 {
            return Err(ProofError::IndexOutsideTree { index: range.end, size });
        }
        let range = range.start.0..range.end.0;
        let width = u64::from(FULL_WIDTH);
        let tiles = range.start / width..range.end.div_ceil(width);
        let first_leaves =
            tiles.filter(|_| !range.is_empty()).map(|tile| Node { height: 0, index: tile * width });
        Ok(LeavesPlan { plan: Plan::new(size, first_leaves), range })
    }

    /// The tiles that are needed, each after the one that authenticates it.
    #[must_use]
    pub fn tiles(&self) -> &[TileId] {
        &self.plan.tiles
    }

    /// The leaf hashes in order, once all tiles agree with `root`.
    ///
    /// # Errors
    ///
    /// [`PlanError`].
    pub fn finish<B: AsRef<[u8]>>(
        &self,
        root: &Hash,
        hasher: &dyn BatchHasher,
        fetch: impl FnMut(&TileId) -> Option<B>,
    ) -> Result<Vec<Hash>, PlanError> {
        let tiles = self.plan.authenticate(root, hasher, fetch)?;
        self.range.clone().map(|index| tiles.node(Node { height: 0, index })).collect()
    }
}

impl RootPlan {
    /// Plans to compute the root of the tree of `size`.
    #[must_use]
    pub fn new(size: TreeSize) -> RootPlan {
        RootPlan { plan: Plan::new(size, core::iter::empty()) }
    }

    /// The tiles that are needed: the partial ones.
    #[must_use]
    pub fn tiles(&self) -> &[TileId] {
        &self.plan.tiles
    }

    /// The root that the tiles have. There is nothing to check them against but their lengths.
    ///
    /// # Errors
    ///
    /// [`PlanError::Missing`] and [`PlanError::Length`].
    pub fn finish<B: AsRef<[u8]>>(
        &self,
        hasher: &dyn BatchHasher,
        fetch: impl FnMut(&TileId) -> Option<B>,
    ) -> Result<Hash, PlanError> {
        Ok(self.plan.read(hasher, fetch)?.root())
    }
}

/// The tiles that hold some nodes of a tree, and those that authenticate them.
#[derive(Clone, Debug)]
struct Plan {
    size: TreeSize,
    /// From the highest level down, within a level from left to right.
    tiles: Vec<TileId>,
}

impl Plan {
    fn of_spans(size: TreeSize, spans: &[Span]) -> Plan {
        Plan::new(size, spans.iter().flat_map(|span| span.nodes()))
    }

    fn new(size: TreeSize, nodes: impl Iterator<Item = Node>) -> Plan {
        let top_first = |tile: TileId| (Reverse(tile.level), tile);
        let mut tiles: BTreeSet<_> = partial_tiles(size).map(top_first).collect();
        for node in nodes {
            let mut next = TileId::of_node(size, node);
            while let Some(tile) = next {
                let is_new = tiles.insert(top_first(tile));
                next = if is_new { tile_above(size, tile) } else { None };
            }
        }
        Plan { size, tiles: tiles.into_iter().map(|(_, tile)| tile).collect() }
    }

    fn authenticate<B: AsRef<[u8]>>(
        &self,
        root: &Hash,
        hasher: &dyn BatchHasher,
        fetch: impl FnMut(&TileId) -> Option<B>,
    ) -> Result<Tiles, PlanError> {
        let tiles = self.read(hasher, fetch)?;
        if tiles.root() != *root {
            return Err(PlanError::Root { size: self.size });
        }
        for tile in self.tiles.iter().filter(|tile| !tile.is_partial()) {
            if !tiles.is_in_tile_above(*tile) {
                return Err(PlanError::Tile(*tile));
            }
        }
        Ok(tiles)
    }

    fn read<B: AsRef<[u8]>>(
        &self,
        hasher: &dyn BatchHasher,
        mut fetch: impl FnMut(&TileId) -> Option<B>,
    ) -> Result<Tiles, PlanError> {
        let mut trees = BTreeMap::new();
        for tile in &self.tiles {
            let content = fetch(tile).ok_or(PlanError::Missing(*tile))?;
            let bytes = content.as_ref();
            let tree = TileTree::parse(*tile, bytes, hasher)
                .ok_or(PlanError::Length { tile: *tile, bytes: bytes.len() })?;
            trees.insert(*tile, tree);
        }
        Ok(Tiles { size: self.size, trees })
    }
}

/// The tiles of a plan, hashed.
struct Tiles {
    size: TreeSize,
    trees: BTreeMap<TileId, TileTree>,
}

impl Tiles {
    /// The root that the partial tiles make up, folded from the right: level 0 holds the end of the tree.
    fn root(&self) -> Hash {
        let trees = partial_tiles(self.size).filter_map(|tile| self.trees.get(&tile));
        trees.fold(None, |right, tree| tree.fold_into(right)).unwrap_or(Hash::EMPTY_ROOT)
    }

    /// Whether the full tile `tile` hashes to its place in the one above, which is part of the plan.
    fn is_in_tile_above(&self, tile: TileId) -> bool {
        let root = self.trees.get(&tile).and_then(TileTree::full_root);
        let above = tile_above(self.size, tile).and_then(|above| self.trees.get(&above));
        let place = above.and_then(|above| above.hashes().get(position_in_tile(tile.index)));
        root.is_some() && root.as_ref() == place
    }

    fn node(&self, node: Node) -> Result<Hash, PlanError> {
        let Some(tile) = TileId::of_node(self.size, node) else {
            return Err(PlanError::Root { size: self.size });
        };
        let hash = self.trees.get(&tile).and_then(|tree| tree.node(tile, node));
        hash.ok_or(PlanError::Missing(tile))
    }

    fn span_hashes(&self, spans: &[Span]) -> Result<Vec<Hash>, PlanError> {
        spans.iter().map(|span| span.hash(|node| self.node(node))).collect()
    }
}

/// The tile that holds the root of the full tile `tile`; a partial one has none above it.
fn tile_above(size: TreeSize, tile: TileId) -> Option<TileId> {
    let above = TileId::at(size, tile.level + 1, tile.index / u64::from(FULL_WIDTH))?;
    (!tile.is_partial()).then_some(above)
}
