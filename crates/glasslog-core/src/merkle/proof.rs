//! The two proofs, as two types: one can never be taken for the other.

use alloc::vec::Vec;

use super::CompactRange;
use crate::{Hash, LeafIndex, TreeSize, hash::node_hash};

/// The hashes from a leaf's sibling up to the root (RFC 9162 §2.1.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InclusionProof(pub Vec<Hash>);

/// The hashes that show a tree to be the beginning of a larger one (RFC 9162 §2.1.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsistencyProof(pub Vec<Hash>);

/// Why a proof cannot exist or does not prove what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree does not reach the index.
    #[error("index {index} is outside a tree of size {size}")]
    IndexOutsideTree {
        /// The index asked for.
        index: LeafIndex,
        /// The size of the tree.
        size: TreeSize,
    },
    /// The older tree is the larger one.
    #[error("a tree of size {old} cannot be the beginning of one of size {new}")]
    Shrinking {
        /// The size of the older tree.
        old: TreeSize,
        /// The size of the newer tree.
        new: TreeSize,
    },
    /// Sizes and index alone fix how many hashes a proof has.
    #[error("the proof has {got} hashes, {expected} are needed")]
    Length {
        /// How many there must be.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// The hashes lead to another root: the leaf is not there, or the trees are not consistent.
    #[error("the proof leads to another root for the tree of size {size}")]
    Root {
        /// The size of the tree whose root does not agree.
        size: TreeSize,
    },
}

impl InclusionProof {
    /// Checks that `leaf` stands at `index` of the tree of `size` with this `root` (RFC 9162 §2.1.3.2).
    ///
    /// # Errors
    ///
    /// [`ProofError`]; the leaf is not proven then.
    pub fn verify(
        &self,
        leaf: &Hash,
        index: LeafIndex,
        size: TreeSize,
        root: &Hash,
    ) -> Result<(), ProofError> {
        if self.root(leaf, index, size)? == *root { Ok(()) } else { Err(ProofError::Root { size }) }
    }

    /// The tree of the leaves before `index`, as the proof has it: the siblings on the left of the path are its perfect
    /// subtrees. Only a proof that [`InclusionProof::verify`] accepted says anything.
    ///
    /// # Errors
    ///
    /// [`ProofError::IndexOutsideTree`] and [`ProofError::Length`].
    pub fn before(&self, index: LeafIndex, size: TreeSize) -> Result<CompactRange, ProofError> {
        let (inside, along_edge) = self.parts(index, size)?;
        let left_inside = inside.iter().zip(0..).filter(|(_, height)| index.0 >> height & 1 == 1);
        let from_the_leaf = left_inside.map(|(sibling, _)| sibling).chain(along_edge);
        let mut hashes: Vec<Hash> = from_the_leaf.copied().collect();
        hashes.reverse();
        let got = hashes.len();
        CompactRange::from_hashes(TreeSize(index.0), hashes)
            .ok_or(ProofError::Length { expected: index.0.count_ones() as usize, got })
    }

    /// The root of the only tree of `size` that the proof can be for, if `leaf` stands at `index`.
    ///
    /// # Errors
    ///
    /// [`ProofError::IndexOutsideTree`] and [`ProofError::Length`].
    pub fn root(&self, leaf: &Hash, index: LeafIndex, size: TreeSize) -> Result<Hash, ProofError> {
        let (inside, along_edge) = self.parts(index, size)?;
        let met = inside.iter().zip(0..).fold(*leaf, |hash, (sibling, height)| {
            if index.0 >> height & 1 == 0 { node_hash(&hash, sibling) } else { node_hash(sibling, &hash) }
        });
        Ok(along_edge.iter().fold(met, |hash, left| node_hash(left, &hash)))
    }

    /// The siblings up to where the paths of this leaf and of the last one meet, and those above.
    fn parts(&self, index: LeafIndex, size: TreeSize) -> Result<(&[Hash], &[Hash]), ProofError> {
        if !size.contains(index) {
            return Err(ProofError::IndexOutsideTree { index, size });
        }
        // Below the height where the paths of this leaf and of the last one meet there is a sibling at every level;
        // above it the path runs along the right edge and has siblings to its left only, one for each 1 bit.
        let inner = u64::BITS - (index.0 ^ (size.0 - 1)).leading_zeros();
        let edge = index.0.checked_shr(inner).unwrap_or(0).count_ones();
        exact_split(&self.0, inner, edge)
    }
}

impl ConsistencyProof {
    /// Checks that the tree of `new_size` begins with the tree of `old_size` (RFC 9162 §2.1.4.2).
    ///
    /// Between equal sizes the proof is empty and the roots must be equal. The empty tree is the beginning of every
    /// tree: from it the proof is empty too, and `old_root` must be [`Hash::EMPTY_ROOT`].
    ///
    /// # Errors
    ///
    /// [`ProofError`]; consistency is not proven then, nor is it disproven.
    pub fn verify(
        &self,
        old_size: TreeSize,
        old_root: &Hash,
        new_size: TreeSize,
        new_root: &Hash,
    ) -> Result<(), ProofError> {
        if old_size > new_size {
            return Err(ProofError::Shrinking { old: old_size, new: new_size });
        }
        if old_size == TreeSize::ZERO {
            exact_split(&self.0, 0, 0)?;
            let empty_is_empty = new_size > TreeSize::ZERO || *new_root == Hash::EMPTY_ROOT;
            check(*old_root == Hash::EMPTY_ROOT, old_size)?;
            return check(empty_is_empty, new_size);
        }
        if old_size == new_size {
            exact_split(&self.0, 0, 0)?;
            return check(old_root == new_root, new_size);
        }
        let (old, new) = self.roots(old_size, old_root, new_size)?;
        check(old == *old_root, old_size)?;
        check(new == *new_root, new_size)
    }

    /// Both roots as the proof has them, for 0 < `old_size` < `new_size`.
    fn roots(
        &self,
        old_size: TreeSize,
        old_root: &Hash,
        new_size: TreeSize,
    ) -> Result<(Hash, Hash), ProofError> {
        // The proof is an inclusion proof of the last perfect subtree of the old tree in the new one, preceded by that
        // subtree's root unless it is the whole old tree.
        let shift = old_size.0.trailing_zeros();
        let last = old_size.0 - 1;
        let inner_end = u64::BITS - (last ^ (new_size.0 - 1)).leading_zeros();
        let inner = inner_end - shift;
        let edge = last.checked_shr(inner_end).unwrap_or(0).count_ones();
        let whole_is_perfect = old_size.0.is_power_of_two();
        let seeds = u32::from(!whole_is_perfect);
        let (seeded, along_edge) = exact_split(&self.0, seeds + inner, edge)?;
        let (seed, inside) = match seeded.split_first() {
            Some((seed, inside)) if !whole_is_perfect => (*seed, inside),
            _ => (*old_root, seeded),
        };
        let (mut old, mut new) = (seed, seed);
        for (sibling, height) in inside.iter().zip(shift..) {
            if last >> height & 1 == 0 {
                new = node_hash(&new, sibling);
            } else {
                old = node_hash(sibling, &old);
                new = node_hash(sibling, &new);
            }
        }
        for left in along_edge {
            old = node_hash(left, &old);
            new = node_hash(left, &new);
        }
        Ok((old, new))
    }
}

/// The first `inner` hashes and the `edge` ones after them, if there are exactly as many.
fn exact_split(hashes: &[Hash], inner: u32, edge: u32) -> Result<(&[Hash], &[Hash]), ProofError> {
    // At most 2 · 64: both fit in every usize.
    let (inner, edge) = (inner as usize, edge as usize);
    let wrong = ProofError::Length { expected: inner + edge, got: hashes.len() };
    if hashes.len() == inner + edge { hashes.split_at_checked(inner).ok_or(wrong) } else { Err(wrong) }
}

fn check(holds: bool, size: TreeSize) -> Result<(), ProofError> {
    if holds { Ok(()) } else { Err(ProofError::Root { size }) }
}
