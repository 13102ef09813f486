//! An index is not a size: two types, never mixed.

use core::fmt;

/// The position of an entry in the log, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LeafIndex(pub u64);

/// How many entries a tree holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreeSize(pub u64);

impl LeafIndex {
    /// The smallest tree that holds this index.
    #[must_use]
    pub fn covering_size(self) -> TreeSize {
        TreeSize(self.0 + 1)
    }
}

impl TreeSize {
    /// The size of the empty tree.
    pub const ZERO: TreeSize = TreeSize(0);

    /// Whether a tree of this size holds `index`.
    #[must_use]
    pub fn contains(self, index: LeafIndex) -> bool {
        index.0 < self.0
    }

    /// The index that the next entry will get.
    #[must_use]
    pub fn next_index(self) -> LeafIndex {
        LeafIndex(self.0)
    }
}

/// Decimal, as in paths, checkpoints and answers.
impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Decimal, as in paths, checkpoints and answers.
impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
