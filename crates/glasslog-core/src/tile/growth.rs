//! What a log grows from, and the objects that come out as it grows.

use alloc::{vec, vec::Vec};

use super::{
    BundleId, FULL_WIDTH, PlanError, ResourcePath, TileId, TileTree,
    hashes::{decode, encode},
    partial_bundle, partial_tiles, position_in_tile,
};
use crate::{
    Hash, TreeSize,
    entry_bundle::{self, BundleError, EntryBundle},
    hash::BatchHasher,
};

/// The unfinished end of a log: its size, the hashes of each level's open tile and the open entry bundle.
///
/// It holds at most 255 hashes a level and 255 entries (16 MiB at the longest they can be), and all objects of the
/// log come out of it: the full ones once, as they fill ([`Edge::grow`]), the partial ones whenever they are wanted
/// ([`Edge::partials`]). They are a function of the leaves alone, whatever the steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: TreeSize,
    /// From level 0 up. The top level holds a hash, or there is none.
    levels: Vec<Vec<Hash>>,
    bundle: Vec<u8>,
}

/// Why an edge could not be rebuilt or grown. It is unchanged then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    /// A tile is missing or of the wrong length, or the tiles do not make up the root.
    #[error(transparent)]
    Tiles(#[from] PlanError),
    /// The partial bundle is not among the objects.
    #[error("{0} is needed and was not given")]
    MissingBundle(BundleId),
    /// The partial bundle is malformed.
    #[error("{bundle} is not a bundle of {} entries", bundle.width)]
    Bundle {
        /// The bundle concerned.
        bundle: BundleId,
        /// What is wrong with it.
        source: BundleError,
    },
    /// An entry of the partial bundle does not hash to its place in the level-0 tile.
    #[error("entry {position} of {bundle} does not hash to its leaf hash")]
    Entry {
        /// The bundle concerned.
        bundle: BundleId,
        /// Number of the entry in the bundle, from 0.
        position: usize,
    },
    /// There is not one entry for each leaf hash.
    #[error("there are {leaves} leaf hashes and {entries} entries")]
    Unpaired {
        /// How many leaf hashes were given.
        leaves: usize,
        /// How many entries were given.
        entries: usize,
    },
    /// An entry does not fit in a bundle.
    #[error(transparent)]
    EntryTooLong(BundleError),
    /// The tree would outgrow 64 bits.
    #[error("a log of {size} entries cannot grow by {by}")]
    TooLarge {
        /// The present size.
        size: TreeSize,
        /// How many entries were to be added.
        by: usize,
    },
}

impl Edge {
    /// The edge of the empty log.
    #[must_use]
    pub fn new() -> Edge {
        Edge::default()
    }

    /// How many entries the log has.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.size
    }

    /// The entries after the last full bundle.
    #[must_use]
    pub fn open_bundle(&self) -> &[u8] {
        &self.bundle
    }

    /// The hashes of the open tile of `level`, at most 255.
    #[must_use]
    pub fn open_tile(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// The objects that [`Edge::from_objects`] reads to rebuild the edge of a log of `size`: its partial tiles and
    /// its partial bundle.
    pub fn objects_at(size: TreeSize) -> impl Iterator<Item = ResourcePath> {
        partial_tiles(size).map(ResourcePath::Tile).chain(partial_bundle(size).map(ResourcePath::Bundle))
    }

    /// Rebuilds the edge of the log of `size` and `root`. `fetch` gives the content of each of [`Edge::objects_at`],
    /// or of the full object at its place.
    ///
    /// # Errors
    ///
    /// [`EdgeError`] when an object is missing or anything in it disagrees with `root`.
    pub fn from_objects<B: AsRef<[u8]>>(
        size: TreeSize,
        root: &Hash,
        hasher: &dyn BatchHasher,
        mut fetch: impl FnMut(&ResourcePath) -> Option<B>,
    ) -> Result<Edge, EdgeError> {
        let mut edge = Edge { size, ..Edge::default() };
        for tile in partial_tiles(size) {
            let content = fetch(&ResourcePath::Tile(tile)).ok_or(PlanError::Missing(tile))?;
            let bytes = content.as_ref();
            let hashes = decode(tile, bytes).ok_or(PlanError::Length { tile, bytes: bytes.len() })?;
            *edge.level_mut(tile.level.into()) = hashes;
        }
        if edge.root(hasher) != *root {
            return Err(PlanError::Root { size }.into());
        }
        if let Some(id) = partial_bundle(size) {
            let content = fetch(&ResourcePath::Bundle(id)).ok_or(EdgeError::MissingBundle(id))?;
            edge.bundle = checked_bundle(id, content.as_ref(), edge.open_tile(0), hasher)?;
        }
        Ok(edge)
    }

    /// Appends `entries`, whose leaf hashes are `leaves`, and adds every tile and bundle that became full to `out`.
    ///
    /// The hashes are believed: who calls has computed them from the entries.
    ///
    /// # Errors
    ///
    /// [`EdgeError::Unpaired`], [`EdgeError::EntryTooLong`] and [`EdgeError::TooLarge`], with nothing changed.
    pub fn grow<'a>(
        &mut self,
        leaves: &[Hash],
        entries: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>,
        hasher: &dyn BatchHasher,
        out: &mut Vec<(ResourcePath, Vec<u8>)>,
    ) -> Result<(), EdgeError> {
        let entries = entries.into_iter();
        let new_size = self.check_growth(leaves.len(), entries.clone())?;
        self.grow_bundles(entries, out)?;
        self.grow_tiles(leaves, hasher, out);
        self.size = new_size;
        Ok(())
    }

    /// The partial tiles and the partial bundle of the present size.
    #[must_use]
    pub fn partials(&self) -> Vec<(ResourcePath, Vec<u8>)> {
        let tiles = partial_tiles(self.size)
            .map(|tile| (ResourcePath::Tile(tile), encode(self.open_tile(tile.level))));
        let bundle =
            partial_bundle(self.size).map(|bundle| (ResourcePath::Bundle(bundle), self.bundle.clone()));
        tiles.chain(bundle).collect()
    }

    /// The root of the tree (RFC 6962 §2.1). At most 255 hashes a level are computed.
    #[must_use]
    pub fn root(&self, hasher: &dyn BatchHasher) -> Hash {
        let open = self.levels.iter().filter(|level| !level.is_empty());
        let right = open.fold(None, |right, level| TileTree::new(level.clone(), hasher).fold_into(right));
        right.unwrap_or(Hash::EMPTY_ROOT)
    }

    /// The size after growing, if nothing speaks against it.
    fn check_growth<'a>(
        &self,
        leaves: usize,
        entries: impl Iterator<Item = &'a [u8]>,
    ) -> Result<TreeSize, EdgeError> {
        let mut count = 0;
        for entry in entries {
            u16::try_from(entry.len())
                .map_err(|_| EdgeError::EntryTooLong(BundleError::EntryTooLong(entry.len())))?;
            count += 1;
        }
        if count != leaves {
            return Err(EdgeError::Unpaired { leaves, entries: count });
        }
        let grown = u64::try_from(leaves).ok().and_then(|by| self.size.0.checked_add(by));
        grown.map(TreeSize).ok_or(EdgeError::TooLarge { size: self.size, by: leaves })
    }

    fn grow_bundles<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a [u8]>,
        out: &mut Vec<(ResourcePath, Vec<u8>)>,
    ) -> Result<(), EdgeError> {
        for (entry, position) in entries.zip(self.size.0..) {
            entry_bundle::append(&mut self.bundle, entry).map_err(EdgeError::EntryTooLong)?;
            if position_in_tile(position) == usize::from(FULL_WIDTH) - 1 {
                let id = BundleId { index: position / u64::from(FULL_WIDTH), width: FULL_WIDTH };
                // The next bundle will probably be about as long.
                let next = Vec::with_capacity(self.bundle.len());
                out.push((ResourcePath::Bundle(id), core::mem::replace(&mut self.bundle, next)));
            }
        }
        Ok(())
    }

    fn grow_tiles(
        &mut self,
        leaves: &[Hash],
        hasher: &dyn BatchHasher,
        out: &mut Vec<(ResourcePath, Vec<u8>)>,
    ) {
        let mut new_hashes = leaves.to_vec();
        let mut start = self.size.0;
        for level in 0.. {
            if new_hashes.is_empty() {
                return;
            }
            let first_tile = start / u64::from(FULL_WIDTH);
            new_hashes = self.grow_level(level, first_tile, &new_hashes, hasher, out);
            start = first_tile;
        }
    }

    /// Appends hashes to one level, whose open tile is number `first_tile`; the roots of the tiles that became full
    /// are the new hashes of the level above.
    fn grow_level(
        &mut self,
        level: u8,
        first_tile: u64,
        hashes: &[Hash],
        hasher: &dyn BatchHasher,
        out: &mut Vec<(ResourcePath, Vec<u8>)>,
    ) -> Vec<Hash> {
        let open = self.level_mut(level.into());
        let mut roots = Vec::new();
        let mut rest = hashes;
        for index in first_tile.. {
            let room = usize::from(FULL_WIDTH) - open.len();
            let Some((filling, after)) = rest.split_at_checked(room) else { break };
            open.extend_from_slice(filling);
            rest = after;
            let id = TileId { level, index, width: FULL_WIDTH };
            out.push((ResourcePath::Tile(id), encode(open)));
            roots.extend(TileTree::new(core::mem::take(open), hasher).full_root());
        }
        open.extend_from_slice(rest);
        roots
    }

    fn level_mut(&mut self, level: usize) -> &mut Vec<Hash> {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        &mut self.levels[level]
    }
}

/// The entries of the open bundle, once each of them hashes to its place among `leaves`.
fn checked_bundle(
    id: BundleId,
    bytes: &[u8],
    leaves: &[Hash],
    hasher: &dyn BatchHasher,
) -> Result<Vec<u8>, EdgeError> {
    let bundle =
        EntryBundle::parse_cut(bytes, id.width).map_err(|source| EdgeError::Bundle { bundle: id, source })?;
    let entries: Vec<&[u8]> = bundle.iter().collect();
    let mut hashes = vec![Hash([0; Hash::LEN]); entries.len()];
    hasher.leaves(&entries, &mut hashes);
    match hashes.iter().zip(leaves).position(|(computed, stored)| computed != stored) {
        Some(position) => Err(EdgeError::Entry { bundle: id, position }),
        None => Ok(bundle.as_bytes().to_vec()),
    }
}
