//! The index over the first entries of a log, immutable.

use std::collections::BTreeMap;

use glasslog_core::{Hash, LeafIndex, TreeSize};
use glasslog_vindex::{Key, List, ListEnd, Proof, RootBuilder, Value, prove};

use crate::IndexError;

/// The index over the entries `[0, size)`. Shared by reference; it stays what it is whatever the [`crate::Index`] does.
pub struct Revision {
    size: TreeSize,
    root: Hash,
    pairs: Vec<(Key, Value)>,
    lists: BTreeMap<Key, Vec<LeafIndex>>,
}

impl Revision {
    pub(crate) fn new(size: TreeSize, lists: &BTreeMap<Key, Vec<LeafIndex>>) -> Revision {
        let mut pairs = Vec::new();
        let mut root = RootBuilder::new();
        for (key, indices) in lists {
            let mut list = List::new();
            let _ = list.extend(indices);
            if let Some(value) = list.value() {
                let _ = root.push(*key, &value);
                pairs.push((*key, value));
            }
        }
        Revision { size, root: root.finish(), pairs, lists: lists.clone() }
    }

    /// How many entries it covers.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.size
    }

    /// The root of its trie.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// How many keys it holds.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.pairs.len() as u64
    }

    /// What its trie says about `key`. Reads from disk; verify it against [`Revision::root`] before it leaves the process.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn prove(&self, key: &Key) -> Result<Proof, IndexError> {
        Ok(prove(&self.pairs, key))
    }

    /// At most `max` elements of the list of `key`, ascending, from position `start` on; none for an absent key.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn page(&self, key: &Key, start: u64, max: usize) -> Result<Vec<LeafIndex>, IndexError> {
        let list = self.lists.get(key).map(Vec::as_slice).unwrap_or_default();
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        Ok(list.iter().skip(start).take(max).copied().collect())
    }

    /// The end of the list of `key` for a proof: the whole list if it has at most `max` elements, else as many of the last ones
    /// (at most `max`) as can be shown without reading those before. `None` if that is not one.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn list_end(&self, key: &Key, max: usize) -> Result<Option<ListEnd>, IndexError> {
        let list = self.lists.get(key).map(Vec::as_slice).unwrap_or_default();
        let start = list.len().saturating_sub(max);
        let (before, indices) = list.split_at(start);
        let mut first = List::new();
        let _ = first.extend(before);
        let end = ListEnd { before: first.range().clone(), indices: indices.to_vec() };
        Ok((!indices.is_empty()).then_some(end))
    }
}
