//! What was seen of a log, and whether what is seen now is the same log.
//!
//! A reader keeps the largest checkpoint that it has verified (as a file: the note itself). A checkpoint that is
//! smaller but consistent is *lag*, for example of a CDN node. A *fork* is claimed only with proof (FORMATS §5): two
//! roots at one size, or two signed trees of which the larger does not begin with the smaller.

use core::fmt;

use glasslog_core::{
    checkpoint::VerifiedCheckpoint,
    hash::BatchHasher,
    merkle::{ConsistencyProof, ProofError},
    tile::{ConsistencyPlan, PlanError, TileId},
};

/// How a checkpoint relates to the one remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same tree.
    Same,
    /// The remembered tree is the beginning of this one: remember this one.
    Grown,
    /// This tree is the beginning of the remembered one: whoever served it lags behind.
    Lagging,
    /// The log has signed two histories.
    Fork(Box<ForkEvidence>),
}

/// Two checkpoints, both signed by the log, of which the larger does not continue the smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkEvidence {
    /// The checkpoint of the smaller tree (or one of two of one size), as it was signed.
    pub smaller: String,
    /// The other one.
    pub larger: String,
    /// Tiles of the larger tree: they make up its root, and another root than the smaller one at the smaller size.
    /// Empty for two roots at one size, which need no proof.
    pub tiles: Vec<(TileId, Vec<u8>)>,
}

/// A comparison of the remembered checkpoint with the one that was just verified, both of one log.
#[derive(Debug)]
pub struct Comparison<'c> {
    smaller: &'c VerifiedCheckpoint,
    larger: &'c VerifiedCheckpoint,
    grown: bool,
    plan: ConsistencyPlan,
}

impl<'c> Comparison<'c> {
    /// Plans the comparison.
    ///
    /// # Errors
    ///
    /// None that two checkpoints can cause: sizes are put in order first.
    pub fn new(
        remembered: &'c VerifiedCheckpoint,
        current: &'c VerifiedCheckpoint,
    ) -> Result<Comparison<'c>, ProofError> {
        let grown = remembered.size() <= current.size();
        let (smaller, larger) = if grown { (remembered, current) } else { (current, remembered) };
        let plan = ConsistencyPlan::new(smaller.size(), larger.size())?;
        Ok(Comparison { smaller, larger, grown, plan })
    }

    /// The tiles that are needed, of the larger tree; none when the sizes are equal.
    #[must_use]
    pub fn tiles(&self) -> &[TileId] {
        if self.smaller.size() == self.larger.size() { &[] } else { self.plan.tiles() }
    }

    /// Decides. `fetch` gives the content of each tile of [`Comparison::tiles`].
    ///
    /// # Errors
    ///
    /// [`PlanError`] when the tiles do not lead to the larger root: then nothing is known about the smaller one.
    pub fn finish<B: AsRef<[u8]>>(
        &self,
        hasher: &dyn BatchHasher,
        fetch: impl Fn(&TileId) -> Option<B>,
    ) -> Result<Relation, PlanError> {
        let same_size = self.smaller.size() == self.larger.size();
        if same_size && self.smaller.root() == self.larger.root() {
            return Ok(Relation::Same);
        }
        if same_size {
            return Ok(self.fork(Vec::new()));
        }
        let proof = self.plan.finish(self.larger.root(), hasher, &fetch)?;
        Ok(if !self.consistent(&proof) {
            let bytes = |tile: &TileId| Some((*tile, fetch(tile)?.as_ref().to_vec()));
            self.fork(self.tiles().iter().filter_map(bytes).collect())
        } else if self.grown {
            Relation::Grown
        } else {
            Relation::Lagging
        })
    }

    fn consistent(&self, proof: &ConsistencyProof) -> bool {
        let (smaller, larger) = (self.smaller, self.larger);
        proof.verify(smaller.size(), smaller.root(), larger.size(), larger.root()).is_ok()
    }

    fn fork(&self, tiles: Vec<(TileId, Vec<u8>)>) -> Relation {
        Relation::Fork(Box::new(ForkEvidence {
            smaller: self.smaller.note().to_text(),
            larger: self.larger.note().to_text(),
            tiles,
        }))
    }
}

/// The evidence as a text file that needs nothing else to be checked but the log's vkey.
impl fmt::Display for ForkEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "One log signed both of these checkpoints, and the second does not continue the first.\n"
        )?;
        writeln!(f, "{}\n{}", self.smaller, self.larger)?;
        if self.tiles.is_empty() {
            return writeln!(f, "They are of one size and have different roots.");
        }
        writeln!(
            f,
            "Tiles of the second tree, in hexadecimal: they make up its root, and at the first one's size"
        )?;
        writeln!(f, "another root than the first one's.\n")?;
        for (tile, bytes) in &self.tiles {
            write!(f, "{} ", tile.path())?;
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
