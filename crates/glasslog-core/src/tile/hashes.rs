//! From the hashes of a tile to the tree nodes within it.

use alloc::{vec, vec::Vec};

use crate::{
    Hash,
    hash::{BatchHasher, node_hash},
    merkle::Node,
};

use super::{FULL_WIDTH, TILE_HEIGHT, TileId};

/// A tile with the perfect subtrees over its hashes: at most 511 hashes, 16 KiB.
///
/// Nothing in it was checked against a root. The plans do that; a log that reads its own tiles has to check what it
/// makes of them.
#[derive(Clone, Debug)]
pub struct TileTree {
    /// By height, from 0 (the hashes of the tile) to 8 (the root of a full one).
    rows: Vec<Vec<Hash>>,
}

impl TileTree {
    /// Hashes the content of `tile`, or of the full tile at its place, cut to its width; `None` if the length is wrong.
    #[must_use]
    pub fn parse(tile: TileId, bytes: &[u8], hasher: &dyn BatchHasher) -> Option<TileTree> {
        decode(tile, bytes).map(|hashes| TileTree::new(hashes, hasher))
    }

    /// Hashes a tile of 1 to 256 `hashes`; whole rows go through `hasher`.
    pub(super) fn new(hashes: Vec<Hash>, hasher: &dyn BatchHasher) -> TileTree {
        let mut rows = vec![hashes];
        while let Some(above) = rows.last().and_then(|row| row_above(row, hasher)) {
            rows.push(above);
        }
        TileTree { rows }
    }

    /// The hashes that the tile consists of.
    pub(super) fn hashes(&self) -> &[Hash] {
        self.rows.first().map_or(&[], Vec::as_slice)
    }

    /// The root over all hashes of a full tile; `None` for a partial one, which is never hashed into a tile above.
    pub(super) fn full_root(&self) -> Option<Hash> {
        self.rows.get(TILE_HEIGHT as usize)?.first().copied()
    }

    /// The root of `node`, if this is tile `id`, the node lies in it ([`TileId::of_node`]) and it is wide enough.
    #[must_use]
    pub fn node(&self, id: TileId, node: Node) -> Option<Hash> {
        let row = node.height % TILE_HEIGHT;
        if node.height / TILE_HEIGHT != u32::from(id.level) {
            return None;
        }
        let first = id.index.checked_mul(u64::from(FULL_WIDTH))? >> row;
        let position = usize::try_from(node.index.checked_sub(first)?).ok()?;
        self.rows.get(row as usize)?.get(position).copied()
    }

    /// Puts what this tile contributes to the tree's root to the left of `right`, which is the root over everything
    /// to the right of the tile (`None` at the end of the tree).
    pub(super) fn fold_into(&self, right: Option<Hash>) -> Option<Hash> {
        // A row of odd length ends in a perfect subtree that has no sibling: one for each 1 bit of the width.
        let unpaired = self.rows.iter().filter(|row| row.len() % 2 == 1).filter_map(|row| row.last());
        unpaired.fold(right, |right, left| Some(right.map_or(*left, |right| node_hash(left, &right))))
    }
}

/// The hashes in the content of tile `id`: as many as its width, cut from what may be the longer content of a wider
/// tile at the same place. `None` if there are too few, too many or a fraction.
pub(super) fn decode(id: TileId, bytes: &[u8]) -> Option<Vec<Hash>> {
    let usable = bytes.len().is_multiple_of(Hash::LEN) && bytes.len() <= id.full().byte_len();
    let cut = bytes.get(..id.byte_len()).filter(|_| usable)?;
    cut.chunks_exact(Hash::LEN).map(Hash::from_slice).collect()
}

/// The content of a tile of `hashes`.
pub(super) fn encode(hashes: &[Hash]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(hashes.len() * Hash::LEN);
    hashes.iter().for_each(|hash| bytes.extend_from_slice(&hash.0));
    bytes
}

/// The parents of a row of nodes; one without sibling is left out. `None` if there are none.
fn row_above(row: &[Hash], hasher: &dyn BatchHasher) -> Option<Vec<Hash>> {
    let mut parents = vec![Hash([0; Hash::LEN]); row.len() / 2];
    hasher.nodes(row, &mut parents);
    (!parents.is_empty()).then_some(parents)
}
