//! Read and verify any tlog-tiles log: this crate says what it needs and is handed bytes.
//!
//! No runtime, no threads, no clock and no files: whoever calls fetches what is asked for (over HTTP, from a
//! directory, from memory), in parallel if it likes, and hands in the time. Nothing that comes out was not verified
//! against a checkpoint that is signed by a pinned key.

mod geometry;

pub mod fsck;
pub mod inclusion;
pub mod lookup;
pub mod pin;
pub mod scan;
pub mod seen;
pub mod verdict;
pub mod witness;

#[cfg(test)]
mod testlog;
