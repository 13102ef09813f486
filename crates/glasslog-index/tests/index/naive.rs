//! The judge: lists in a map, and a trie that is computed anew for every question.

use std::collections::BTreeMap;

use glasslog_core::{Hash, LeafIndex, TreeSize};
use glasslog_index::{Index, Revision};
use glasslog_vindex::{Key, List, Proof, RootBuilder, Value, prove};

/// A log, as far as an index knows it: the keys of each entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naive {
    pub(crate) entries: Vec<Vec<Key>>,
}

/// The index over some first entries.
pub(crate) struct State {
    size: u64,
    lists: BTreeMap<Key, Vec<LeafIndex>>,
    pairs: Vec<(Key, Value)>,
}

impl Naive {
    pub(crate) fn at(&self, size: TreeSize) -> State {
        let mut lists: BTreeMap<Key, Vec<LeafIndex>> = BTreeMap::new();
        let entries = &self.entries[..usize::try_from(size.0).unwrap()];
        for (index, keys) in entries.iter().enumerate() {
            keys.iter().for_each(|key| lists.entry(*key).or_default().push(LeafIndex(index as u64)));
        }
        let value = |list: &Vec<LeafIndex>| {
            let mut whole = List::new();
            whole.extend(list).unwrap();
            whole.value().unwrap()
        };
        let pairs = lists.iter().map(|(key, list)| (*key, value(list))).collect();
        State { size: size.0, lists, pairs }
    }

    pub(crate) fn root_at(&self, size: TreeSize) -> Hash {
        self.at(size).root()
    }
}

impl State {
    pub(crate) fn pairs(&self) -> &[(Key, Value)] {
        &self.pairs
    }

    pub(crate) fn root(&self) -> Hash {
        let mut root = RootBuilder::new();
        self.pairs.iter().for_each(|(key, value)| root.push(*key, value).unwrap());
        root.finish()
    }

    /// The revision is this, whatever it is asked.
    pub(crate) fn check(&self, revision: &Revision, asked: impl IntoIterator<Item = Key>) {
        assert_eq!(revision.size().0, self.size);
        assert_eq!(revision.root(), self.root(), "over {} entries", self.size);
        assert_eq!(revision.keys(), self.lists.len() as u64);
        for key in asked {
            self.check_key(revision, &key);
        }
    }

    /// Some of the keys that are there, the longest list among them.
    pub(crate) fn some_keys(&self, count: usize) -> Vec<Key> {
        let step = (self.lists.len() / count.max(1)).max(1);
        let longest = self.lists.iter().max_by_key(|(_, list)| list.len()).map(|(key, _)| *key);
        self.lists.keys().step_by(step).copied().chain(longest).collect()
    }

    fn check_key(&self, revision: &Revision, key: &Key) {
        let proof = revision.prove(key).unwrap();
        // The shape of the trie and its hashes are one; so are its proofs.
        assert_eq!(proof, prove(&self.pairs, key), "{key} over {} entries", self.size);
        let root = match proof {
            Proof::Present(presence) => presence.root_at(key, revision.size()),
            Proof::Absent(absence) => absence.root_at(key, revision.size()),
        };
        assert_eq!(root, Ok(revision.root()));
        let list = self.lists.get(key).map(Vec::as_slice).unwrap_or_default();
        for (start, max) in [
            (0, 1000),
            (0, 3),
            (list.len() / 2, 5),
            (list.len().saturating_sub(1), 9),
            (list.len(), 1),
            (7, 600),
        ] {
            let expected: Vec<LeafIndex> = list.iter().skip(start).take(max).copied().collect();
            assert_eq!(revision.page(key, start as u64, max).unwrap(), expected, "{key} from {start}");
        }
        for max in [0, 1, 3, 8, 9, 100, 1000, 1_000_000] {
            self.check_end(revision, key, list, max);
        }
    }

    fn check_end(&self, revision: &Revision, key: &Key, list: &[LeafIndex], max: usize) {
        let end = revision.list_end(key, max).unwrap();
        if list.is_empty() || max == 0 {
            assert_eq!(end, None);
            return;
        }
        let Some(end) = end else {
            // Only a list whose smallest subtree is larger than that.
            assert!(
                list.len() > 8 && list.len() & list.len().wrapping_neg() > max,
                "{} of {max}",
                list.len()
            );
            return;
        };
        assert!(end.indices.len() <= max && (list.len() > max || end.indices.len() == list.len()));
        assert_eq!(end.indices, list[list.len() - end.indices.len()..]);
        let mut whole = List::resume(end.before, None);
        whole.extend(&end.indices).unwrap();
        let at = self.pairs.binary_search_by_key(key, |(key, _)| *key).unwrap();
        assert_eq!(whole.value(), Some(self.pairs[at].1));
    }
}

/// The index is that of `log`, as far as it goes.
pub(crate) fn check_index(index: &mut Index, log: &Naive, asked: usize) {
    let state = log.at(index.next());
    let revision = index.revision().unwrap();
    let absent = (0..asked as u64).map(|number| crate::key(u64::MAX - number));
    state.check(&revision, state.some_keys(asked).into_iter().chain(absent));
}
