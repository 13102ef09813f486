//! How tiles hold together: a full tile by its hash in the tile above it, the partial ones by the root.

use glasslog_core::{
    Hash, TreeSize,
    hash::BatchHasher,
    tile::{FULL_WIDTH, TileId},
};

/// The tile that holds the hash of the full tile `tile` in a tree of `size`, and the place of the hash in it; `None`
/// for a partial tile, whose parent is the root itself.
pub(crate) fn parent(size: TreeSize, tile: &TileId) -> Option<(TileId, usize)> {
    if tile.is_partial() {
        return None;
    }
    let width = u64::from(FULL_WIDTH);
    let above = TileId::at(size, tile.level.checked_add(1)?, tile.index / width)?;
    Some((above, usize::try_from(tile.index % width).ok()?))
}

/// The tile one level below `tile` whose hash stands at `position` in it.
pub(crate) fn child(size: TreeSize, tile: &TileId, position: usize) -> Option<TileId> {
    let index = tile.index.checked_mul(FULL_WIDTH.into())?.checked_add(position as u64)?;
    TileId::at(size, tile.level.checked_sub(1)?, index)
}

/// The root over `hashes`: RFC 6962 §2.1 MTH, where each hash stands for a complete subtree of one height and only
/// the last may stand for a smaller one. `None` if there are no hashes.
///
/// Pairing from the left and carrying an odd last hash up unchanged gives the RFC's split at the largest power of
/// two below the number of hashes, at every level.
pub(crate) fn fold(hasher: &dyn BatchHasher, hashes: &[Hash]) -> Option<Hash> {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        let mut parents = vec![Hash::EMPTY_ROOT; level.len() / 2];
        hasher.nodes(&level, &mut parents);
        if level.len() % 2 == 1 {
            parents.extend(level.last());
        }
        level = parents;
    }
    level.first().copied()
}

/// The subtree over `hashes` and, right of them, the smaller subtree `below`.
pub(crate) fn extend(hasher: &dyn BatchHasher, hashes: &[Hash], below: Option<Hash>) -> Option<Hash> {
    let list: Vec<Hash> = hashes.iter().copied().chain(below).collect();
    fold(hasher, &list)
}

/// The root from the hashes of the partial tiles ([`glasslog_core::tile::partial_tiles`]), lowest level first.
///
/// A partial tile's hashes are complete subtrees and stand left of everything that lies below them on the edge, so
/// what has been folded so far is the one smaller subtree at the right end of the next level.
pub(crate) fn edge_root<'a>(hasher: &dyn BatchHasher, edge: impl IntoIterator<Item = &'a [Hash]>) -> Hash {
    let root = edge.into_iter().fold(None, |below, hashes| extend(hasher, hashes, below));
    root.unwrap_or(Hash::EMPTY_ROOT)
}

/// The hashes of a tile, or `None` if its length is not that of the tile.
pub(crate) fn tile_hashes(id: &TileId, tile: &[u8]) -> Option<Vec<Hash>> {
    (tile.len() == id.byte_len()).then(|| tile.chunks_exact(Hash::LEN).filter_map(Hash::from_slice).collect())
}
