//! A log that anchors what it likes: its own index with a bug in it, and answers that agree with what it anchored.

use std::collections::BTreeMap;

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    anchor::anchor,
    checkpoint::Checkpoint,
    hash::leaf_hash,
    merkle::InclusionProof,
    note::{Algorithm, Ed25519Signer, SecretKey, VerifierKey, sign},
};
use glasslog_vindex::{Evidence, JsonField, Key, List, Lookup, Proof, Question, Value, prove};

use crate::naive;

pub(crate) const ORIGIN: &str = "log.example/forged";
pub(crate) const MAP_FN: &str = "json-field:name";

/// What an index holds, or is said to: each key with its value and its list, which need not agree.
pub(crate) type Claimed = BTreeMap<Key, (Value, Vec<LeafIndex>)>;

pub(crate) struct Log {
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) leaves: Vec<Hash>,
    pub(crate) map_fn: JsonField,
    signer: Ed25519Signer,
    pub(crate) keys: Vec<VerifierKey>,
    /// What each anchor with a root commits to.
    claimed: BTreeMap<usize, Claimed>,
}

/// The value of a list, by the naive model.
pub(crate) fn value(list: &[LeafIndex]) -> Value {
    Value::from_bytes(&naive::value(&list.iter().map(|index| index.0).collect::<Vec<_>>()))
}

/// A key with the list that it has.
pub(crate) fn held(list: Vec<LeafIndex>) -> (Value, Vec<LeafIndex>) {
    (value(&list), list)
}

impl Log {
    pub(crate) fn new() -> Log {
        let key = SecretKey::from_seed(ORIGIN, Algorithm::Ed25519, &[7; 32]).unwrap();
        Log {
            entries: Vec::new(),
            leaves: Vec::new(),
            map_fn: JsonField::new("name").unwrap(),
            signer: Ed25519Signer::new(&key),
            keys: vec![key.verifier_key().clone()],
            claimed: BTreeMap::new(),
        }
    }

    pub(crate) fn size(&self) -> TreeSize {
        TreeSize(self.entries.len() as u64)
    }

    pub(crate) fn push(&mut self, entry: Vec<u8>) -> LeafIndex {
        self.leaves.push(leaf_hash(&entry));
        self.entries.push(entry);
        LeafIndex(self.entries.len() as u64 - 1)
    }

    /// An entry that maps to `name`.
    pub(crate) fn name(&mut self, name: &str) -> LeafIndex {
        let at = self.entries.len();
        self.push(format!("{{\"at\":{at},\"name\":\"{name}\"}}").into_bytes())
    }

    /// What the index over everything is, by a search of the entries.
    pub(crate) fn truth(&self) -> Claimed {
        let mut lists: BTreeMap<Key, Vec<LeafIndex>> = BTreeMap::new();
        for (entry, at) in self.entries.iter().zip(0..) {
            let text = String::from_utf8_lossy(entry);
            if let Some((_, rest)) = text.split_once("\"name\":\"") {
                let name = rest.split('"').next().unwrap();
                lists.entry(Key::of_name(name)).or_default().push(LeafIndex(at));
            }
        }
        lists.into_iter().map(|(key, list)| (key, held(list))).collect()
    }

    /// An anchor over an index with `bug` in it.
    pub(crate) fn anchor_with(&mut self, bug: impl FnOnce(&mut Claimed)) -> LeafIndex {
        let mut claimed = self.truth();
        bug(&mut claimed);
        let pairs = claimed.iter().map(|(key, (value, _))| (key.0, value.to_bytes())).collect();
        let root = Hash(naive::root(&pairs));
        self.claimed.insert(self.entries.len(), claimed);
        let size = self.size();
        self.push(anchor(MAP_FN, Some(&root), size))
    }

    pub(crate) fn anchor(&mut self) -> LeafIndex {
        self.anchor_with(|_| {})
    }

    pub(crate) fn void(&mut self) -> LeafIndex {
        let size = self.size();
        self.push(anchor(MAP_FN, None, size))
    }

    pub(crate) fn checkpoint(&self) -> String {
        let text = Checkpoint::new(ORIGIN, self.size(), naive::mth(&self.leaves)).to_text();
        sign(&text, &[&self.signer]).unwrap()
    }

    pub(crate) fn inclusion(&self, index: LeafIndex) -> InclusionProof {
        InclusionProof(naive::path(usize::try_from(index.0).unwrap(), &self.leaves))
    }

    /// What it answers about a key, by its newest anchor with a root.
    pub(crate) fn lookup(&self, key: &Key) -> Lookup {
        let (at, claimed) = self.claimed.last_key_value().unwrap();
        let pairs: Vec<_> = claimed.iter().map(|(key, (value, _))| (*key, *value)).collect();
        let tail = self.entries[at + 1..].to_vec();
        let evidence = match prove(&pairs, key) {
            Proof::Absent(trie) => Evidence::Absent { trie, tail },
            Proof::Present(trie) => Evidence::Present { trie, list: None, tail, entries: Vec::new() },
        };
        let anchor = LeafIndex(*at as u64);
        let (checkpoint, inclusion) = (self.checkpoint(), self.inclusion(anchor));
        Lookup { question: Question::Key(*key), checkpoint, anchor, inclusion, evidence }
    }

    /// The list that it hands out.
    pub(crate) fn list(&self, key: &Key) -> Vec<LeafIndex> {
        let (_, claimed) = self.claimed.last_key_value().unwrap();
        claimed.get(key).map(|(_, list)| list.clone()).unwrap_or_default()
    }
}

/// The list appended to, as a client does it: that the two ways to a value agree.
#[test]
fn the_naive_value_is_the_value() {
    let list: Vec<LeafIndex> = [3, 5, 8].map(LeafIndex).into();
    let mut appended = List::new();
    appended.extend(&list).unwrap();
    assert_eq!(appended.value(), Some(value(&list)));
}
