//! Recomputing a whole log from its entries: every leaf hash, every tile of every level, the root.
//!
//! The work comes in chunks of 65,536 entries (one level-1 tile), which are independent of each other, so that
//! several threads can each take one:
//!
//! 1. For each chunk, [`ChunkCheck`]: hand it each bundle with its level-0 tile, then the chunk's level-1 tile.
//! 2. [`TreeCheck`] takes what the chunks came to, the tiles above, and the signed root.
//!
//! The first thing that is not as computed ends the check and is named as a [`Difference`]. Where a stored hash
//! differs from the computed one, either may be at fault; [`HashDifference::settle`] decides, because the signed
//! root commits to one of the two.

mod chunk;
mod difference;
mod tree;

pub use chunk::{ChunkCheck, ChunkPlan, Subtree};
pub use difference::{AtFault, Difference, HashDifference, Source};
pub use tree::TreeCheck;

/// How many entries a chunk holds: those under one tile of level 1.
pub const CHUNK_ENTRIES: u64 = 65_536;

#[cfg(test)]
mod tests;
