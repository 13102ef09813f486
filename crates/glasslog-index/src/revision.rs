//! The index over the first entries of a log, immutable.

use glasslog_core::{Hash, LeafIndex, TreeSize, merkle::CompactRange};
use glasslog_vindex::{Absence, Key, List, ListEnd, Presence, Proof, Step, trie::path};

use crate::{
    IndexError,
    layers::{Bucket, Layers},
    manifest::State,
    place::cell,
    row::{Head, list_of},
    tree::Tree,
};

/// The index over the entries `[0, size)`. Shared by reference; it stays what it is whatever the [`crate::Index`] does.
///
/// Costs: what the index held when it was taken is kept in memory, and its files on disk, until the last reference is dropped. A
/// question reads one to three pages and hashes the about twelve keys beside the one asked for.
pub struct Revision {
    state: State,
    layers: Layers,
    tree: Tree,
}

impl Revision {
    pub(crate) fn new(state: State, layers: Layers, tree: Tree) -> Revision {
        Revision { state, layers, tree }
    }

    /// How many entries it covers.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.state.size
    }

    /// The root of its trie.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.state.root
    }

    /// How many keys it holds.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.state.keys
    }

    /// What its trie says about `key`. Reads from disk; verify it against [`Revision::root`] before it leaves the process.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn prove(&self, key: &Key) -> Result<Proof, IndexError> {
        let Some((number, above)) = self.tree.descend(key) else {
            return Ok(Proof::Absent(Absence::EmptyTrie));
        };
        Bucket::with(|bucket| self.prove_in(number, above, key, bucket))
    }

    /// The proof for `key` in a bucket, below the steps `above` it.
    fn prove_in(
        &self,
        number: usize,
        above: Vec<Step>,
        key: &Key,
        bucket: &mut Bucket,
    ) -> Result<Proof, IndexError> {
        self.layers.read_unchecked(&self.tree, number, bucket)?;
        let without_hash = || self.layers.corrupt(number, "does not have its hash");
        let (at, mut steps) = path(bucket.leaves(), key).ok_or_else(without_hash)?;
        let (found, hash) = *bucket.leaves().get(at).ok_or_else(without_hash)?;
        if steps.root(&found, hash) != self.tree.bucket(number) {
            return Err(without_hash().into());
        }
        above.into_iter().rev().try_for_each(|step: Step| steps.push(step)).ok_or_else(without_hash)?;
        let value = bucket.value(at).ok_or_else(without_hash)?;
        Ok(if found == *key {
            Proof::Present(Presence { value, steps })
        } else {
            Proof::Absent(Absence::Other { key: found, value, steps })
        })
    }

    /// At most `max` elements of the list of `key`, ascending, from position `start` on; none for an absent key.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn page(&self, key: &Key, start: u64, max: usize) -> Result<Vec<LeafIndex>, IndexError> {
        self.with_head(key, |head| {
            let end = start.saturating_add(max as u64).min(head.count());
            self.elements(key, head, start, end)
        })
        .map(Option::unwrap_or_default)
    }

    /// The end of the list of `key` for a proof: the whole list if it has at most `max` elements, else as many of the last ones
    /// (at most `max`) as can be shown without reading those before. `None` if that is not one.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn list_end(&self, key: &Key, max: usize) -> Result<Option<ListEnd>, IndexError> {
        let end = self.with_head(key, |head| {
            let Some(before) = before_the_end(head, max as u64) else { return Ok(None) };
            let indices = self.elements(key, head, before.size().0, head.count())?;
            Ok(Some(ListEnd { before, indices }))
        })?;
        Ok(end.flatten())
    }

    /// Asks the list of `key`, if there is one, whose head has been compared with the tree.
    fn with_head<T>(
        &self,
        key: &Key,
        ask: impl FnOnce(&Head<'_>) -> Result<T, IndexError>,
    ) -> Result<Option<T>, IndexError> {
        Bucket::with(|bucket| {
            self.layers.read(&self.tree, cell(key, self.tree.bits()), bucket)?;
            bucket.find(key).ok().and_then(|at| bucket.head(at)).map(|head| ask(&head)).transpose()
        })
    }

    /// The elements in `[start, end)` of a list that has at least `end`.
    fn elements(
        &self,
        key: &Key,
        head: &Head<'_>,
        start: u64,
        end: u64,
    ) -> Result<Vec<LeafIndex>, IndexError> {
        if start >= end {
            return Ok(Vec::new());
        }
        let Some(all) = head.elements() else {
            return Ok(self.layers.elements(key, start, end)?.into_iter().map(LeafIndex).collect());
        };
        let range = usize::try_from(start).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
        Ok(all.get(range).unwrap_or_default().iter().copied().map(LeafIndex).collect())
    }
}

/// The tree over the elements before the last ones, of which there are at most `max` and at least one: as few before as
/// can be.
fn before_the_end(head: &Head<'_>, max: u64) -> Option<CompactRange> {
    let count = head.count();
    if count <= max {
        return Some(CompactRange::new());
    }
    if let Some(all) = head.elements() {
        let before = all.len() - usize::try_from(max).ok().filter(|max| *max > 0)?;
        return Some(list_of(&List::new(), all.get(..before)?)?.range().clone());
    }
    // Without the elements, only whole subtrees can be left out: the smallest ones, at the end.
    let list = head.list()?;
    let mut hashes = list.range().hashes().to_vec();
    let mut before = count;
    while before != 0 && count - (before & (before - 1)) <= max {
        before &= before - 1;
        hashes.pop();
    }
    (before < count).then(|| CompactRange::from_hashes(TreeSize(before), hashes)).flatten()
}
