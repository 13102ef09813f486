//! Reading a log's entries newest first, each of them verified against the root.
//!
//! The right edge comes first: the partial tiles, which together give the root. From there every full tile and every
//! bundle is checked against the hash that an already verified tile holds for it, so that one bundle costs one
//! object (plus one tile for every 256 bundles), and nothing unverified is ever handed out.

use std::collections::BTreeMap;

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    entry_bundle::{BundleError, EntryBundle},
    hash::BatchHasher,
    tile::{BundleId, FULL_WIDTH, ResourcePath, TileId, partial_tiles},
};

use crate::geometry::{edge_root, fold, parent, tile_hashes};

/// Why an object does not belong to the tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The bytes are not a bundle.
    #[error("{path} is not a bundle of its width: {source}")]
    Framing {
        /// The object.
        path: String,
        /// What is wrong, and where.
        source: BundleError,
    },
    /// The object does not hash to what the signed root commits to.
    #[error("{path} does not hash to what the signed root commits to; `glasslog fsck` names the place")]
    Contradiction {
        /// The object.
        path: String,
    },
    /// The partial tiles do not give the signed root.
    #[error("the tiles at the right edge do not give the signed root; `glasslog fsck` names the place")]
    Edge,
    /// An object came out of turn: [`scan_order`] gives the order.
    #[error("{path} was handed in out of turn")]
    OutOfTurn {
        /// The object.
        path: String,
    },
}

/// The objects of a scan, in the order in which [`EntryScan::accept`] takes them: the right edge, then the bundles
/// from the last to the first, each full tile right before the first bundle that it verifies.
pub fn scan_order(size: TreeSize) -> impl Iterator<Item = ResourcePath> {
    let bundles = size.0.div_ceil(FULL_WIDTH.into());
    let rest = (0..bundles).rev().flat_map(move |index| {
        let tiles = tiles_that_begin(size, index).into_iter().rev().map(ResourcePath::Tile);
        tiles.chain(BundleId::at(size, index).map(ResourcePath::Bundle))
    });
    partial_tiles(size).map(ResourcePath::Tile).chain(rest)
}

/// The full tiles whose last bundle is the one at `index`, lowest level first: what a scan from the right enters there.
fn tiles_that_begin(size: TreeSize, index: u64) -> Vec<TileId> {
    let width = u64::from(FULL_WIDTH);
    let (mut tiles, mut level, mut index) = (Vec::new(), 1, index);
    while index % width == width - 1 {
        index /= width;
        let Some(tile) = TileId::at(size, level, index).filter(|tile| !tile.is_partial()) else { break };
        tiles.push(tile);
        level += 1;
    }
    tiles
}

/// A scan under way.
pub struct EntryScan<'h> {
    hasher: &'h dyn BatchHasher,
    size: TreeSize,
    root: Hash,
    /// The verified partial tiles, or those that came so far.
    edge: Vec<(TileId, Vec<Hash>)>,
    edge_verified: bool,
    /// The verified full tile that the scan is in, for each level.
    open: BTreeMap<u8, (TileId, Vec<Hash>)>,
}

/// The verified entries of one bundle.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedBundle<'b> {
    first: LeafIndex,
    entries: EntryBundle<'b>,
}

impl<'h> EntryScan<'h> {
    /// A scan of the tree of `size` with `root`, both from a verified checkpoint.
    #[must_use]
    pub fn new(size: TreeSize, root: Hash, hasher: &'h dyn BatchHasher) -> EntryScan<'h> {
        EntryScan { hasher, size, root, edge: Vec::new(), edge_verified: false, open: BTreeMap::new() }
    }

    /// Takes the next object of [`scan_order`]; gives the entries if it is a bundle.
    ///
    /// # Errors
    ///
    /// [`ScanError`] when the bytes are not those that the root commits to.
    pub fn accept<'b>(
        &mut self,
        object: &ResourcePath,
        bytes: &'b [u8],
    ) -> Result<Option<VerifiedBundle<'b>>, ScanError> {
        match object {
            ResourcePath::Tile(id) => self.tile(id, bytes).map(|()| None),
            ResourcePath::Bundle(id) => self.bundle(id, bytes).map(Some),
            ResourcePath::Checkpoint => Err(ScanError::OutOfTurn { path: object.to_string() }),
        }
    }

    fn tile(&mut self, id: &TileId, bytes: &[u8]) -> Result<(), ScanError> {
        let hashes = tile_hashes(id, bytes).ok_or_else(|| contradiction(&id.path()))?;
        if id.is_partial() {
            self.edge.push((*id, hashes));
            return self.verify_complete_edge();
        }
        self.check(id, &hashes, &id.path())?;
        self.open.insert(id.level, (*id, hashes));
        Ok(())
    }

    fn bundle<'b>(&self, id: &BundleId, bytes: &'b [u8]) -> Result<VerifiedBundle<'b>, ScanError> {
        let entries = EntryBundle::parse(bytes, id.width)
            .map_err(|source| ScanError::Framing { path: id.path(), source })?;
        let slices: Vec<&[u8]> = entries.iter().collect();
        let mut leaves = vec![Hash::EMPTY_ROOT; slices.len()];
        self.hasher.leaves(&slices, &mut leaves);
        self.check(&id.leaf_tile(), &leaves, &id.path())?;
        Ok(VerifiedBundle { first: id.first_index().unwrap_or_default(), entries })
    }

    /// Checks the hashes of a tile, or of a bundle's entries, against the verified tile that commits to them.
    fn check(&self, tile: &TileId, hashes: &[Hash], path: &str) -> Result<(), ScanError> {
        let out_of_turn = || ScanError::OutOfTurn { path: path.into() };
        let agrees = match parent(self.size, tile) {
            Some((above, position)) => {
                let held =
                    self.held(&above).and_then(|hashes| hashes.get(position)).ok_or_else(out_of_turn)?;
                fold(self.hasher, hashes).as_ref() == Some(held)
            }
            None => self.held(tile).ok_or_else(out_of_turn)? == hashes,
        };
        if agrees { Ok(()) } else { Err(contradiction(path)) }
    }

    fn held(&self, id: &TileId) -> Option<&[Hash]> {
        let open = self.open.get(&id.level);
        let edge = self.edge.iter().filter(|_| self.edge_verified);
        edge.chain(open).find(|(tile, _)| tile == id).map(|(_, hashes)| hashes.as_slice())
    }

    fn verify_complete_edge(&mut self) -> Result<(), ScanError> {
        if !self.edge.iter().map(|(tile, _)| *tile).eq(partial_tiles(self.size)) {
            return Ok(());
        }
        let root = edge_root(self.hasher, self.edge.iter().map(|(_, hashes)| hashes.as_slice()));
        self.edge_verified = root == self.root;
        if self.edge_verified { Ok(()) } else { Err(ScanError::Edge) }
    }
}

impl<'b> VerifiedBundle<'b> {
    /// The entries with their indices, from the last to the first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<(LeafIndex, &'b [u8])> {
        let mut entries: Vec<_> = (self.first.0..).map(LeafIndex).zip(self.entries.iter()).collect();
        entries.reverse();
        entries
    }
}

fn contradiction(path: &str) -> ScanError {
    ScanError::Contradiction { path: path.into() }
}

#[cfg(test)]
mod tests;
