//! What lies above the chunks: the tiles of level 2 and higher, and the root.

use std::collections::VecDeque;

use glasslog_core::{
    Hash, TreeSize,
    hash::BatchHasher,
    tile::{TileId, all_tiles},
};

use super::{
    CHUNK_ENTRIES,
    chunk::{Subtree, compare},
    difference::{Difference, Source},
};
use crate::geometry::{extend, fold};

/// Recomputes what lies above the chunks.
pub struct TreeCheck<'h> {
    hasher: &'h dyn BatchHasher,
    size: TreeSize,
}

impl<'h> TreeCheck<'h> {
    /// For a tree of `size`.
    #[must_use]
    pub fn new(size: TreeSize, hasher: &'h dyn BatchHasher) -> TreeCheck<'h> {
        TreeCheck { hasher, size }
    }

    /// The tiles that [`TreeCheck::finish`] needs: all of level 2 and above, level by level.
    pub fn tiles(&self) -> impl Iterator<Item = TileId> {
        // Levels 0 and 1 belong to the chunks; the levels above are those of the tree over the chunks' hashes.
        let over_chunks = TreeSize(self.size.0 / CHUNK_ENTRIES);
        all_tiles(over_chunks).map(|tile| TileId { level: tile.level + 2, ..tile })
    }

    /// Checks the tiles, then the root. `chunks` is what each chunk came to, in order.
    ///
    /// # Errors
    ///
    /// The first [`Difference`], lowest level first.
    pub fn finish<'t>(
        &self,
        chunks: &[Subtree],
        root: &Hash,
        tile: impl Fn(&TileId) -> Option<&'t [u8]>,
    ) -> Result<(), Difference> {
        let mut tail = chunks.iter().find_map(Subtree::tail);
        // The hashes of one level that no tile has taken yet, and those of the level above so far.
        let (mut hashes, mut parents) =
            (chunks.iter().filter_map(Subtree::full).collect::<VecDeque<_>>(), VecDeque::new());
        for id in self.tiles() {
            if hashes.is_empty() {
                hashes = core::mem::take(&mut parents);
            }
            let computed: Vec<Hash> = hashes.drain(..usize::from(id.width).min(hashes.len())).collect();
            let stored = tile(&id).ok_or_else(|| Difference::Missing { path: id.path() })?;
            compare(&id, stored, &computed, |position| Source::below(self.size, &id, position))?;
            if id.is_partial() {
                tail = extend(self.hasher, &computed, tail);
            } else {
                parents.extend(fold(self.hasher, &computed));
            }
        }
        let computed = tail.unwrap_or(Hash::EMPTY_ROOT);
        if computed == *root { Ok(()) } else { Err(Difference::Root { signed: *root, computed }) }
    }
}
