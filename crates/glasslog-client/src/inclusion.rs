//! The leaf at one index, proven.

use std::collections::BTreeSet;

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    hash::BatchHasher,
    merkle::{InclusionProof, ProofError},
    tile::{InclusionPlan, LeavesPlan, PlanError, TileId},
};

/// Finds which leaf hash is at an index, with the proof that it is.
#[derive(Debug)]
pub struct Inclusion {
    leaf: LeavesPlan,
    proof: InclusionPlan,
}

/// A leaf hash that the signed root commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncludedLeaf {
    /// The leaf hash.
    pub leaf: Hash,
    /// Why it is at its index.
    pub proof: InclusionProof,
}

impl Inclusion {
    /// Plans for the leaf at `index` in a tree of `size`.
    ///
    /// # Errors
    ///
    /// [`ProofError::IndexOutsideTree`].
    pub fn new(index: LeafIndex, size: TreeSize) -> Result<Inclusion, ProofError> {
        let proof = InclusionPlan::new(index, size)?;
        Ok(Inclusion { leaf: LeavesPlan::new(index..index.covering_size().next_index(), size)?, proof })
    }

    /// The tiles that are needed.
    #[must_use]
    pub fn tiles(&self) -> BTreeSet<TileId> {
        self.leaf.tiles().iter().chain(self.proof.tiles()).copied().collect()
    }

    /// The leaf, once every tile agrees with `root`.
    ///
    /// # Errors
    ///
    /// [`PlanError`].
    pub fn finish<B: AsRef<[u8]>>(
        &self,
        root: &Hash,
        hasher: &dyn BatchHasher,
        fetch: impl Fn(&TileId) -> Option<B>,
    ) -> Result<IncludedLeaf, PlanError> {
        let leaves = self.leaf.finish(root, hasher, &fetch)?;
        let proof = self.proof.finish(root, hasher, &fetch)?;
        // The plan was made for one leaf, so there is one.
        let leaf = leaves.first().copied().unwrap_or(Hash::EMPTY_ROOT);
        Ok(IncludedLeaf { leaf, proof })
    }
}

#[cfg(test)]
mod tests {
    use glasslog_core::hash::{ScalarHasher, leaf_hash};

    use super::*;
    use crate::testlog::{THREE_LEVELS, TestLog};

    fn included(log: &TestLog, index: u64) -> Result<IncludedLeaf, PlanError> {
        let inclusion = Inclusion::new(LeafIndex(index), log.size).unwrap();
        let tiles = inclusion.tiles();
        inclusion.finish(&log.root, &ScalarHasher, |id| {
            assert!(tiles.contains(id));
            log.file(&id.path())
        })
    }

    #[test]
    fn the_leaf_and_its_proof_come_out() {
        let small = [1, 2, 256, 257].map(TestLog::of_size);
        for log in small.iter().chain([&*THREE_LEVELS]) {
            let last = log.size.0 - 1;
            for index in [0, last / 2, last] {
                let found = included(log, index).unwrap();
                assert_eq!(found.leaf, leaf_hash(format!("entry {index}").as_bytes()));
                assert_eq!(found.proof.verify(&found.leaf, LeafIndex(index), log.size, &log.root), Ok(()));
            }
        }
        assert!(Inclusion::new(LeafIndex(1), TreeSize(1)).is_err());
        assert!(Inclusion::new(LeafIndex(u64::MAX), TreeSize(1)).is_err());
    }

    #[test]
    fn altered_tiles_prove_nothing() {
        for tile in Inclusion::new(LeafIndex(300), THREE_LEVELS.size).unwrap().tiles() {
            let mut log = THREE_LEVELS.clone();
            log.files.get_mut(&tile.path()).unwrap()[0] ^= 1;
            assert!(included(&log, 300).is_err(), "{}", tile.path());
        }
    }
}
