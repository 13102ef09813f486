//! Tiles, entry bundles and their paths (c2sp.org/tlog-tiles), and how proofs come out of them.
//!
//! A tile holds up to 256 hashes of one level of the tree, 8 tree heights apart. A reader never reads here: it makes a
//! plan ([`InclusionPlan`], [`ConsistencyPlan`], [`LeavesPlan`], [`RootPlan`]), fetches the tiles that the plan names,
//! and hands the bytes back; each of them is checked against the root before anything is concluded from it. The
//! writer's side is [`Edge`]: what a tree grows from, and the tiles and bundles that come out as it grows.

mod growth;
mod hashes;
mod path;
mod plan;

pub use growth::{Edge, EdgeError};
pub use hashes::TileTree;
pub use path::PathError;
pub use plan::{ConsistencyPlan, InclusionPlan, LeavesPlan, PlanError, RootPlan};

use core::ops::Range;

use crate::{Hash, LeafIndex, TreeSize, merkle::Node};

/// Hashes in a full tile, and entries in a full bundle.
pub const FULL_WIDTH: u16 = 256;

/// Tree heights that one level of tiles spans.
const TILE_HEIGHT: u32 = 8;

/// The largest level a path can name. A tree of 2^64 − 1 leaves needs only levels 0 to 7.
const MAX_LEVEL: u8 = 63;

/// A tile of hashes: `tile/<level>/<index>[.p/<width>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// 0 for leaf hashes; above that, each hash is the root of a full tile of the level below. At most 63.
    pub level: u8,
    /// Position within the level, from 0.
    pub index: u64,
    /// Hashes in the tile: 1 to 255 if it is partial, 256 if it is full.
    pub width: u16,
}

/// A bundle of entries: `tile/entries/<index>[.p/<width>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    /// Position, from 0: the bundle begins with the entry at 256 · `index`.
    pub index: u64,
    /// Entries in the bundle: 1 to 255 if it is partial, 256 if it is full.
    pub width: u16,
}

/// What a log serves under a canonical path. [`core::fmt::Display`] gives the path and
/// [`ResourcePath::parse`] reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourcePath {
    /// `checkpoint`.
    Checkpoint,
    /// `tile/<level>/…`.
    Tile(TileId),
    /// `tile/entries/…`.
    Bundle(BundleId),
}

impl TileId {
    /// The tile at this place of a tree of `size`, as wide as it is there; `None` if the tree does not reach it.
    #[must_use]
    pub fn at(size: TreeSize, level: u8, index: u64) -> Option<TileId> {
        let width = width_at(hashes_at(size, level), index)?;
        Some(TileId { level, index, width })
    }

    /// The tile that holds the leaf hash of `index` in a tree of `size`, and the hash's position in it.
    #[must_use]
    pub fn of_leaf(size: TreeSize, index: LeafIndex) -> Option<(TileId, usize)> {
        let tile = TileId::at(size, 0, index.0 / u64::from(FULL_WIDTH))?;
        size.contains(index).then_some((tile, position_in_tile(index.0)))
    }

    /// The full tile at the same place. It begins with the hashes of this one, so that its bytes are a substitute
    /// once the partial tile is gone (tlog-tiles, "Partial Tiles").
    #[must_use]
    pub fn full(self) -> TileId {
        TileId { width: FULL_WIDTH, ..self }
    }

    /// Whether fewer than 256 hashes are in it.
    #[must_use]
    pub fn is_partial(self) -> bool {
        self.width < FULL_WIDTH
    }

    /// Length of the content in bytes.
    #[must_use]
    pub fn byte_len(self) -> usize {
        usize::from(self.width) * Hash::LEN
    }

    /// Whether a tree of `size` has all hashes of this tile, so that a log of that size may have produced it.
    #[must_use]
    pub fn is_within(self, size: TreeSize) -> bool {
        is_within(hashes_at(size, self.level), self.index, self.width)
    }

    /// The tile of a tree of `size` from whose hashes `node` is computed; `None` if the tree does not reach it.
    #[must_use]
    pub fn of_node(size: TreeSize, node: Node) -> Option<TileId> {
        let level = u8::try_from(node.height / TILE_HEIGHT).ok()?;
        TileId::at(size, level, node.index >> (TILE_HEIGHT - node.height % TILE_HEIGHT))
    }
}

impl BundleId {
    /// The bundle at this place of a log of `size`, as wide as it is there; `None` if the log does not reach it.
    #[must_use]
    pub fn at(size: TreeSize, index: u64) -> Option<BundleId> {
        Some(BundleId { index, width: width_at(size.0, index)? })
    }

    /// The bundle that holds the entry at `index` in a log of `size`, and the entry's position in it.
    #[must_use]
    pub fn of_entry(size: TreeSize, index: LeafIndex) -> Option<(BundleId, usize)> {
        let bundle = BundleId::at(size, index.0 / u64::from(FULL_WIDTH))?;
        size.contains(index).then_some((bundle, position_in_tile(index.0)))
    }

    /// The full bundle at the same place, which begins with the entries of this one.
    #[must_use]
    pub fn full(self) -> BundleId {
        BundleId { width: FULL_WIDTH, ..self }
    }

    /// Whether fewer than 256 entries are in it.
    #[must_use]
    pub fn is_partial(self) -> bool {
        self.width < FULL_WIDTH
    }

    /// The level-0 tile with the leaf hashes of the bundle's entries.
    #[must_use]
    pub fn leaf_tile(self) -> TileId {
        TileId { level: 0, index: self.index, width: self.width }
    }

    /// The index of the bundle's first entry, or `None` past the last index there can be.
    #[must_use]
    pub fn first_index(self) -> Option<LeafIndex> {
        self.index.checked_mul(u64::from(FULL_WIDTH)).map(LeafIndex)
    }

    /// Whether a log of `size` has all entries of this bundle.
    #[must_use]
    pub fn is_within(self, size: TreeSize) -> bool {
        is_within(size.0, self.index, self.width)
    }
}

impl ResourcePath {
    /// Whether a log of `size` may have produced what stands here; true for the checkpoint.
    #[must_use]
    pub fn is_within(&self, size: TreeSize) -> bool {
        match self {
            ResourcePath::Checkpoint => true,
            ResourcePath::Tile(tile) => tile.is_within(size),
            ResourcePath::Bundle(bundle) => bundle.is_within(size),
        }
    }
}

/// The partial tiles of a tree of `size`, from level 0 up. Their hashes, and nothing else, make up its root.
pub fn partial_tiles(size: TreeSize) -> impl Iterator<Item = TileId> {
    levels_at(size).filter_map(move |level| {
        let hashes = hashes_at(size, level);
        TileId::at(size, level, hashes / u64::from(FULL_WIDTH))
    })
}

/// The partial bundle of a log of `size`, unless it ends with a full one.
#[must_use]
pub fn partial_bundle(size: TreeSize) -> Option<BundleId> {
    BundleId::at(size, size.0 / u64::from(FULL_WIDTH))
}

/// All tiles of a tree of `size`, level by level from the leaves, each from left to right.
pub fn all_tiles(size: TreeSize) -> impl Iterator<Item = TileId> {
    levels_at(size).flat_map(move |level| {
        tiles_over(hashes_at(size, level)).filter_map(move |index| TileId::at(size, level, index))
    })
}

/// All bundles of a log of `size`, in order.
pub fn all_bundles(size: TreeSize) -> impl Iterator<Item = BundleId> {
    tiles_over(size.0).filter_map(move |index| BundleId::at(size, index))
}

/// How many hashes level `level` of a tree of `size` has: `floor(size / 256^level)`.
fn hashes_at(size: TreeSize, level: u8) -> u64 {
    size.0.checked_shr(u32::from(level) * TILE_HEIGHT).unwrap_or(0)
}

/// The levels at which a tree of `size` has hashes.
fn levels_at(size: TreeSize) -> impl Iterator<Item = u8> {
    (0..=MAX_LEVEL).take_while(move |level| hashes_at(size, *level) > 0)
}

fn tiles_over(hashes: u64) -> Range<u64> {
    0..hashes.div_ceil(u64::from(FULL_WIDTH))
}

/// The width of tile `index` over `hashes` hashes or entries, unless it would be empty.
fn width_at(hashes: u64, index: u64) -> Option<u16> {
    let start = index.checked_mul(u64::from(FULL_WIDTH))?;
    let left = hashes.checked_sub(start)?;
    let width = u16::try_from(left).unwrap_or(FULL_WIDTH).min(FULL_WIDTH);
    (width > 0).then_some(width)
}

fn is_within(hashes: u64, index: u64, width: u16) -> bool {
    let end = index.checked_mul(u64::from(FULL_WIDTH)).and_then(|start| start.checked_add(u64::from(width)));
    end.is_some_and(|end| end <= hashes)
}

/// Where the hash or entry number `index` of its level stands within its tile, 0 to 255.
fn position_in_tile(index: u64) -> usize {
    usize::from(index.to_le_bytes()[0])
}
