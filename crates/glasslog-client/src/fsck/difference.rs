//! What is not as computed, and which of two objects that disagree is at fault.

use core::fmt;

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    hash::BatchHasher,
    tile::{BundleId, TileId, partial_tiles},
};

use crate::geometry::{child, edge_root, fold, parent, tile_hashes};

/// The first thing in a log that is not as computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// An object that the checkpoint implies is not there.
    #[error("{path} is missing")]
    Missing {
        /// Its path.
        path: String,
    },
    /// A tile is too long or too short.
    #[error("{path} has {found} bytes, not {expected}")]
    Length {
        /// Its path.
        path: String,
        /// How many bytes it must have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// An object is longer than anything at its path can be, and was not read.
    #[error("{path} is longer than {limit} bytes, more than there can be")]
    TooLong {
        /// Its path.
        path: String,
        /// The bound, in bytes.
        limit: usize,
    },
    /// A bundle is not the framed sequence of entries that it must be.
    #[error("{path} is not a bundle of its width: {reason}")]
    Framing {
        /// Its path.
        path: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// A stored hash is not the computed one.
    #[error("{0}")]
    Hash(Box<HashDifference>),
    /// Every object agrees with every other one, and all together with another root than the signed one.
    #[error("the entries come to the root {computed}, but the checkpoint says {signed}")]
    Root {
        /// The root in the checkpoint.
        signed: Hash,
        /// The root of the entries.
        computed: Hash,
    },
}

impl Difference {
    /// The path of the object at fault; of two that disagree and are not settled, the tile. `checkpoint` when the
    /// entries come to another root.
    #[must_use]
    pub fn object(&self) -> String {
        match self {
            Difference::Missing { path }
            | Difference::Length { path, .. }
            | Difference::TooLong { path, .. }
            | Difference::Framing { path, .. } => path.clone(),
            Difference::Hash(difference) => difference.object(),
            Difference::Root { .. } => "checkpoint".into(),
        }
    }
}

/// What a hash was computed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An entry.
    Entry {
        /// Its bundle.
        bundle: BundleId,
        /// Its place in the log.
        index: LeafIndex,
        /// Where its length prefix begins in the bundle, in bytes.
        offset: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// A full tile one level below.
    Tile(TileId),
    /// Nothing: the tree has no such place.
    Nothing,
}

impl Source {
    pub(super) fn below(size: TreeSize, tile: &TileId, position: usize) -> Source {
        child(size, tile, position).map_or(Source::Nothing, Source::Tile)
    }
}

/// Which side of a difference is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtFault {
    /// Not decided yet: [`HashDifference::settle`] decides.
    Undecided,
    /// The tile: with the computed hashes in its place, the signed root is reached.
    Tile,
    /// What lies below: the tile, as stored, is what the signed root commits to.
    Below,
    /// Neither agrees with the signed root: more than one object is wrong.
    Both,
}

/// A stored hash that is not the computed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashDifference {
    /// The tile that holds the stored hash.
    pub tile: TileId,
    /// The place of the hash in the tile, from 0; it begins at byte 32 × position.
    pub position: usize,
    /// The hash in the tile.
    pub stored: Hash,
    /// The hash that was computed.
    pub computed: Hash,
    /// What it was computed from.
    pub source: Source,
    /// Which of the two is wrong.
    pub at_fault: AtFault,
    /// All hashes that the tile should hold by what lies below it.
    computed_tile: Vec<Hash>,
}

impl HashDifference {
    pub(super) fn new(
        tile: TileId,
        position: usize,
        stored: &[u8],
        computed_tile: &[Hash],
        source: Source,
    ) -> HashDifference {
        HashDifference {
            tile,
            position,
            stored: Hash::from_slice(stored).unwrap_or(Hash::EMPTY_ROOT),
            computed: computed_tile.get(position).copied().unwrap_or(Hash::EMPTY_ROOT),
            source,
            at_fault: AtFault::Undecided,
            computed_tile: computed_tile.to_vec(),
        }
    }

    fn object(&self) -> String {
        match (&self.source, self.at_fault) {
            (Source::Entry { bundle, .. }, AtFault::Below) => bundle.path(),
            (Source::Tile(tile), AtFault::Below) => tile.path(),
            _ => self.tile.path(),
        }
    }

    /// The tiles that [`HashDifference::settle`] needs: the tile itself, those above it, and the right edge.
    #[must_use]
    pub fn tiles(&self, size: TreeSize) -> Vec<TileId> {
        let mut tiles: Vec<TileId> =
            core::iter::successors(Some(self.tile), |tile| Some(parent(size, tile)?.0)).collect();
        tiles.extend(partial_tiles(size));
        tiles.sort_unstable();
        tiles.dedup();
        tiles
    }

    /// Decides which side is wrong, by which of the two leads to the signed `root`. `stored` gives the bytes of the
    /// tiles named by [`HashDifference::tiles`].
    pub fn settle<'t>(
        &mut self,
        hasher: &dyn BatchHasher,
        size: TreeSize,
        root: &Hash,
        stored: impl Fn(&TileId) -> Option<&'t [u8]>,
    ) {
        let as_stored = |id: &TileId| stored(id).and_then(|tile| tile_hashes(id, tile));
        let as_computed = |id: &TileId| {
            if *id == self.tile { Some(self.computed_tile.clone()) } else { as_stored(id) }
        };
        self.at_fault = if leads_to_root(hasher, size, root, &self.tile, as_stored) {
            AtFault::Below
        } else if leads_to_root(hasher, size, root, &self.tile, as_computed) {
            AtFault::Tile
        } else {
            AtFault::Both
        };
    }
}

/// Whether `tile` is what `root` commits to: its hash stands in its parent, and so on up to the right edge, whose
/// hashes together give the root.
fn leads_to_root(
    hasher: &dyn BatchHasher,
    size: TreeSize,
    root: &Hash,
    tile: &TileId,
    hashes: impl Fn(&TileId) -> Option<Vec<Hash>>,
) -> bool {
    let mut tile = *tile;
    while let Some((above, position)) = parent(size, &tile) {
        let hash = hashes(&tile).and_then(|hashes| fold(hasher, &hashes));
        let held = hashes(&above).and_then(|hashes| hashes.get(position).copied());
        if hash.is_none() || hash != held {
            return false;
        }
        tile = above;
    }
    let edge: Option<Vec<Vec<Hash>>> = partial_tiles(size).map(|tile| hashes(&tile)).collect();
    edge.is_some_and(|edge| edge_root(hasher, edge.iter().map(Vec::as_slice)) == *root)
}

/// One line: the object at fault first, with the exact place.
impl fmt::Display for HashDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = Place(self);
        match self.at_fault {
            AtFault::Tile => write!(
                f,
                "{hash} is wrong: it says {}, but {} comes to {}, as the signed root does",
                self.stored, self.source, self.computed
            ),
            AtFault::Below => write!(
                f,
                "{} is wrong: it hashes to {}, but {hash} says {}, as the signed root does",
                self.source, self.computed, self.stored
            ),
            AtFault::Undecided => {
                write!(f, "{hash} says {}, but {} hashes to {}", self.stored, self.source, self.computed)
            }
            AtFault::Both => write!(
                f,
                "{hash} says {}, but {} hashes to {}, and the signed root agrees with neither",
                self.stored, self.source, self.computed
            ),
        }
    }
}

/// Where the stored hash is.
struct Place<'d>(&'d HashDifference);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HashDifference { tile, position, .. } = self.0;
        write!(f, "hash {position} (byte {}) of {}", position * Hash::LEN, tile.path())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Entry { bundle, index, offset, length } => {
                write!(f, "entry {index} ({length} bytes, at byte {offset} of {})", bundle.path())
            }
            Source::Tile(tile) => write!(f, "{} (with the entries below it)", tile.path()),
            Source::Nothing => f.write_str("nothing"),
        }
    }
}
