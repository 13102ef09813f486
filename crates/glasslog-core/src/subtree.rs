//! Subtrees of a log's tree (draft-ietf-plants-merkle-tree-certs-03, §4) and the request to cosign one
//! (c2sp.org/tlog-witness, `sign-subtree`).
//!
//! The wire format of subtree cosignatures is moving (C2SP pull request 346), so nothing else here depends on this
//! module.

mod request;

use alloc::vec::Vec;
use core::{fmt, ops::Range};

use crate::merkle::Span;
use crate::{Hash, LeafIndex, TreeSize, hash::node_hash};

pub use request::{RequestError, SignSubtreeRequest};

/// The leaves `[start, end)` of a tree where they are a subtree, so that their hash can be proven consistent with the
/// tree's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subtree {
    start: LeafIndex,
    end: TreeSize,
}

/// Why leaves are no subtree, or a proof does not prove them to be part of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubtreeError {
    /// The interval breaks the rules of §4.1.
    #[error(
        "[{start}, {end}) is not a subtree: it must hold a leaf, and its start must be a multiple of its length rounded up to a power of two"
    )]
    NotASubtree {
        /// The first leaf.
        start: LeafIndex,
        /// One more than the last leaf.
        end: TreeSize,
    },
    /// The tree does not reach so far.
    #[error("the subtree {subtree} ends outside a tree of size {size}")]
    OutsideTree {
        /// The subtree.
        subtree: Subtree,
        /// The size of the tree.
        size: TreeSize,
    },
    /// The proof has too many or too few hashes, or leads elsewhere.
    #[error(
        "the proof does not lead to the hash of the subtree {subtree} and the root of the tree of size {size}"
    )]
    Proof {
        /// The subtree.
        subtree: Subtree,
        /// The size of the tree.
        size: TreeSize,
    },
}

impl Subtree {
    /// The leaves from `start` up to and without `end`.
    ///
    /// The draft that tlog-witness cites, -03, demands `start < end`; the text after -05 also calls `[x, x)` a subtree.
    /// Here it is none: a cosignature on no leaves would say nothing about the log.
    ///
    /// # Errors
    ///
    /// [`SubtreeError::NotASubtree`].
    pub fn new(start: LeafIndex, end: TreeSize) -> Result<Subtree, SubtreeError> {
        let refused = SubtreeError::NotASubtree { start, end };
        let length = end.0.checked_sub(start.0).filter(|length| *length > 0).ok_or(refused)?;
        // "start is a multiple of BIT_CEIL(end - start)" (§4.1); of 2^64 and above, only 0 is one.
        let aligned = match length.checked_next_power_of_two() {
            Some(width) => start.0 & (width - 1) == 0,
            None => start.0 == 0,
        };
        if aligned { Ok(Subtree { start, end }) } else { Err(refused) }
    }

    /// The first leaf.
    #[must_use]
    pub fn start(self) -> LeafIndex {
        self.start
    }

    /// One more than the last leaf; as a size, that of the smallest tree that holds the subtree.
    #[must_use]
    pub fn end(self) -> TreeSize {
        self.end
    }

    /// The interval as [`crate::cosignature::cosign_subtree`] takes it.
    #[must_use]
    pub fn range(self) -> Range<TreeSize> {
        TreeSize(self.start.0)..self.end
    }

    /// The leaves, for [`Span::hash`]: the hash of a subtree is the root over its leaves alone.
    #[must_use]
    pub fn span(self) -> Span {
        Span { start: self.start.0, end: self.end.0 }
    }
}

/// As the draft writes it: `[8, 13)`.
impl fmt::Display for Subtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

/// The elements of the proof that `subtree` is part of the tree of `size`, in their order in the proof (§4.4.1).
///
/// # Errors
///
/// [`SubtreeError::OutsideTree`].
pub fn consistency_spans(subtree: Subtree, size: TreeSize) -> Result<Vec<Span>, SubtreeError> {
    if subtree.end > size {
        return Err(SubtreeError::OutsideTree { subtree, size });
    }
    let mut wanted = subtree.span();
    let mut rest = Span::whole(size);
    let mut spans = Vec::new();
    while rest != wanted {
        let Some((left, right)) = rest.split() else { break };
        let inside_left = wanted.end <= left.end;
        let (inside, sibling) = if inside_left { (left, right) } else { (right, left) };
        // A subtree on both sides of the split begins where `rest` does: what is left of the split is common to both.
        wanted.start = wanted.start.max(inside.start);
        spans.push(sibling);
        rest = inside;
    }
    // The hash of the whole subtree is known to who verifies; that of its right end is not.
    if wanted.start != subtree.start.0 {
        spans.push(wanted);
    }
    spans.reverse();
    Ok(spans)
}

/// The hashes that show a subtree to be part of a tree (§4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubtreeConsistencyProof(pub Vec<Hash>);

impl SubtreeConsistencyProof {
    /// Checks that the tree of `size` with this `root` holds the leaves that `hash` is the hash of at `subtree` (§4.4.3).
    ///
    /// # Errors
    ///
    /// [`SubtreeError::OutsideTree`] and [`SubtreeError::Proof`]; consistency is not proven then, nor is it disproven.
    pub fn verify(
        &self,
        subtree: Subtree,
        hash: &Hash,
        size: TreeSize,
        root: &Hash,
    ) -> Result<(), SubtreeError> {
        if subtree.end > size {
            return Err(SubtreeError::OutsideTree { subtree, size });
        }
        match self.roots(subtree, hash, size) {
            Some((subtree_hash, tree_root)) if subtree_hash == *hash && tree_root == *root => Ok(()),
            _ => Err(SubtreeError::Proof { subtree, size }),
        }
    }

    /// The hash of the subtree and the root of the tree as the proof has them, or `None` when it has too many or too few
    /// hashes. `subtree` lies within `size`.
    fn roots(&self, subtree: Subtree, hash: &Hash, size: TreeSize) -> Option<(Hash, Hash)> {
        let mut paths = Paths { first: subtree.start.0, last: subtree.end.0 - 1, edge: size.0 - 1 };
        let to_the_edge = paths.last == paths.edge;
        // Steps 3 and 4: up to the largest node that ends the subtree and is a node of the tree as well.
        while paths.first != paths.last && (to_the_edge || paths.last & 1 == 1) {
            paths.rise();
        }
        let (seed, rest) =
            if paths.first == paths.last { (hash, self.0.as_slice()) } else { self.0.split_first()? };
        let (mut of_subtree, mut of_tree) = (*seed, *seed);
        for sibling in rest {
            if paths.edge == 0 {
                return None;
            }
            if paths.last & 1 == 1 || paths.last == paths.edge {
                if paths.first < paths.last {
                    of_subtree = node_hash(sibling, &of_subtree);
                }
                of_tree = node_hash(sibling, &of_tree);
                // `last` is not 0: it is odd, or it is `edge`, which is not.
                while paths.last & 1 == 0 {
                    paths.rise();
                }
            } else {
                of_tree = node_hash(&of_tree, sibling);
            }
            paths.rise();
        }
        (paths.edge == 0).then_some((of_subtree, of_tree))
    }
}

/// The nodes of one height above the first and the last leaf of the subtree and the last one of the tree: `fn`, `sn`, `tn`
/// of the draft.
struct Paths {
    first: u64,
    last: u64,
    edge: u64,
}

impl Paths {
    fn rise(&mut self) {
        self.first >>= 1;
        self.last >>= 1;
        self.edge >>= 1;
    }
}
