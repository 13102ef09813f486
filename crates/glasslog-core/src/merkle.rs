//! The Merkle tree of RFC 6962 §2.1 and its proofs (RFC 9162 §2.1).
//!
//! Nothing here reads a tree. A proof is made in two steps: [`inclusion_spans`] and [`consistency_spans`] say which
//! parts of the tree it consists of, and whoever has the hashes (see [`crate::tile`]) fills them in.

mod proof;
mod range;

pub use proof::{ConsistencyProof, InclusionProof, ProofError};
pub use range::CompactRange;

use alloc::vec::Vec;

use crate::{Hash, LeafIndex, TreeSize, hash::node_hash};

/// A perfect subtree: the one over the 2^`height` leaves from `index` · 2^`height`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// Levels above the leaves, 0 to 63.
    pub height: u32,
    /// Position among the perfect subtrees of this height, from 0.
    pub index: u64,
}

/// The leaves `[start, end)` of a tree, where they are one element of a proof: a perfect subtree, or everything from
/// an aligned start to the right edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Span {
    /// The whole tree of `size` leaves.
    #[must_use]
    pub fn whole(size: TreeSize) -> Span {
        Span { start: 0, end: size.0 }
    }

    /// The perfect subtrees that the span consists of, from left to right, at most 64 of them.
    pub fn nodes(self) -> impl Iterator<Item = Node> {
        let mut next = self.start;
        core::iter::from_fn(move || {
            // RFC 6962 splits at the largest power of two, so the parts shrink by the bits of the length.
            let height = (self.end - next).checked_ilog2()?;
            let node = Node { height, index: next >> height };
            next += 1 << height;
            Some(node)
        })
    }

    /// The hash of the span, asking `hash_of` for each of [`Span::nodes`] in turn.
    ///
    /// # Errors
    ///
    /// The first one that `hash_of` gives.
    pub fn hash<E>(self, hash_of: impl FnMut(Node) -> Result<Hash, E>) -> Result<Hash, E> {
        let parts = self.nodes().map(hash_of).collect::<Result<Vec<Hash>, E>>()?;
        Ok(root_of_parts(&parts))
    }

    /// Splits at the largest power of two that is smaller than the length (RFC 6962 §2.1); `None` for one leaf.
    pub(crate) fn split(self) -> Option<(Span, Span)> {
        let below = (self.end - self.start).checked_sub(1)?.checked_ilog2()?;
        let middle = self.start + (1 << below);
        Some((Span { start: self.start, end: middle }, Span { start: middle, end: self.end }))
    }
}

/// The elements of the inclusion proof of `index` in a tree of `size`, in their order in the proof, from the leaf up
/// (RFC 9162 §2.1.3.1).
///
/// # Errors
///
/// [`ProofError::IndexOutsideTree`].
pub fn inclusion_spans(index: LeafIndex, size: TreeSize) -> Result<Vec<Span>, ProofError> {
    if !size.contains(index) {
        return Err(ProofError::IndexOutsideTree { index, size });
    }
    let mut spans = Vec::new();
    let mut rest = Span::whole(size);
    while let Some((left, right)) = rest.split() {
        let (inside, sibling) = if index.0 < left.end { (left, right) } else { (right, left) };
        spans.push(sibling);
        rest = inside;
    }
    spans.reverse();
    Ok(spans)
}

/// The elements of the consistency proof between trees of `old` and `new`, in their order in the proof (RFC 9162
/// §2.1.4.1). There are none between equal sizes, and none from the empty tree, of which every tree is an extension.
///
/// # Errors
///
/// [`ProofError::Shrinking`].
pub fn consistency_spans(old: TreeSize, new: TreeSize) -> Result<Vec<Span>, ProofError> {
    if old > new {
        return Err(ProofError::Shrinking { old, new });
    }
    let mut spans = Vec::new();
    if old == TreeSize::ZERO {
        return Ok(spans);
    }
    let mut rest = Span::whole(new);
    while old.0 < rest.end {
        let Some((left, right)) = rest.split() else { break };
        let (inside, sibling) = if old.0 <= left.end { (left, right) } else { (right, left) };
        spans.push(sibling);
        rest = inside;
    }
    // A subtree that starts at leaf 0 is the old tree itself, and its root is known to who verifies.
    if rest.start != 0 {
        spans.push(rest);
    }
    spans.reverse();
    Ok(spans)
}

/// The root over perfect subtrees of shrinking sizes, from left to right; of none, the root of the empty tree.
fn root_of_parts(parts: &[Hash]) -> Hash {
    let folded = parts.iter().copied().rev().reduce(|right, left| node_hash(&left, &right));
    folded.unwrap_or(Hash::EMPTY_ROOT)
}
