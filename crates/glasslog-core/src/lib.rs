//! The transparency-log protocol as pure functions.
//!
//! Every C2SP specification that Glasslog speaks has one module here: [`hash`], [`merkle`], [`tile`],
//! [`entry_bundle`], [`note`], [`checkpoint`], [`cosignature`], [`proof`], [`policy`],
//! [`witness`] and [`subtree`]. Nothing here does IO,
//! reads a clock or draws randomness: callers hand in bytes, keys and the time, and are handed bytes and verdicts.
//!
//! Two habits hold throughout. What was only *parsed* and what was *verified* are different types
//! ([`checkpoint::Checkpoint`] and [`checkpoint::VerifiedCheckpoint`]); and an index is never a size
//! ([`LeafIndex`], [`TreeSize`]).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod anchor;
pub mod checkpoint;
pub mod cosignature;
pub mod entry_bundle;
pub mod hash;
mod index;
pub mod json;
pub mod merkle;
pub mod note;
pub mod personality;
pub mod policy;
pub mod proof;
pub mod subtree;
pub mod tile;
pub mod witness;

pub use hash::Hash;
pub use index::{LeafIndex, TreeSize};

/// The largest entry, in bytes: an entry bundle stores each length in 16 bits (c2sp.org/tlog-tiles).
pub const MAX_ENTRY_BYTES: usize = 65_535;
