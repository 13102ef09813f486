//! What must be kept of a tree to append to it and to know its root.

use alloc::vec::Vec;

use super::{Node, Span, root_of_parts};
use crate::{Hash, TreeSize, hash::node_hash};

/// The roots of the perfect subtrees that a tree consists of, from left to right: one for each bit of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactRange {
    size: TreeSize,
    hashes: Vec<Hash>,
}

impl CompactRange {
    /// The empty tree.
    #[must_use]
    pub fn new() -> CompactRange {
        CompactRange::default()
    }

    /// The tree of `size` with these subtree roots, or `None` unless there is exactly one for each bit of `size`.
    ///
    /// The hashes are believed: compare [`CompactRange::root`] with a root that is known.
    #[must_use]
    pub fn from_hashes(size: TreeSize, hashes: Vec<Hash>) -> Option<CompactRange> {
        let expected = usize::try_from(size.0.count_ones()).ok()?;
        (hashes.len() == expected).then_some(CompactRange { size, hashes })
    }

    /// The number of leaves.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.size
    }

    /// The subtree roots, from the largest subtree to the smallest.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The perfect subtrees that [`CompactRange::hashes`] are the roots of.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        Span::whole(self.size).nodes()
    }

    /// Appends one leaf. A tree holds at most 2^64 − 1; no log gets there.
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        // Each trailing 1 bit of the size is a finished subtree that the new leaf completes to a larger one.
        for _ in 0..self.size.0.trailing_ones() {
            let Some(left) = self.hashes.pop() else { break };
            hash = node_hash(&left, &hash);
        }
        self.hashes.push(hash);
        self.size.0 += 1;
    }

    /// The root of the tree (RFC 6962 §2.1); [`Hash::EMPTY_ROOT`] for the empty one.
    #[must_use]
    pub fn root(&self) -> Hash {
        root_of_parts(&self.hashes)
    }
}
