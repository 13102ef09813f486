//! A log with an index, made up in memory: its public files, its answers, and whatever a liar would say instead.
//!
//! Merkle trees are those of the recursive definition of RFC 6962; the tests of `glasslog` use this file too.
#![allow(dead_code, reason = "each test program uses its part of it")]

use std::collections::BTreeMap;

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    anchor::anchor,
    checkpoint::Checkpoint,
    cosignature::cosign,
    entry_bundle,
    hash::{leaf_hash, node_hash},
    merkle::InclusionProof,
    note::{Algorithm, Ed25519Signer, Note, SecretKey, VerifierKey, sign},
    tile::{all_bundles, all_tiles},
};
use glasslog_vindex::{
    Evidence, Given, Key, List, ListEnd, Lookup, MapFunction, Proof, Question, RootBuilder, Value, keys_of,
    prove,
};

pub(crate) const ORIGIN: &str = "log.example/forged";

/// What [`Log::lookup`] shows by itself: as much as a server would.
pub(crate) const LIST: usize = 1000;

/// A log that is written here and nowhere else.
pub(crate) struct Log<'m> {
    pub(crate) entries: Vec<Vec<u8>>,
    origin: &'static str,
    map_fn: &'m dyn MapFunction,
    key: SecretKey,
    witness: SecretKey,
}

impl<'m> Log<'m> {
    pub(crate) fn new(map_fn: &'m dyn MapFunction) -> Log<'m> {
        Log::named(ORIGIN, 7, map_fn)
    }

    /// A log of another name and key, with the same witness.
    pub(crate) fn named(origin: &'static str, seed: u8, map_fn: &'m dyn MapFunction) -> Log<'m> {
        let key = |name, algorithm, seed| SecretKey::from_seed(name, algorithm, &[seed; 32]).unwrap();
        Log {
            entries: Vec::new(),
            origin,
            map_fn,
            key: key(origin, Algorithm::Ed25519, seed),
            witness: key("w.example", Algorithm::CosignatureV1, 8),
        }
    }

    pub(crate) fn vkey(&self) -> &VerifierKey {
        self.key.verifier_key()
    }

    /// The text of a policy of this log and its one witness.
    pub(crate) fn policy(&self) -> String {
        format!("log {}\nwitness w {}\nquorum w\n", self.vkey(), self.witness.verifier_key())
    }

    pub(crate) fn size(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn push(&mut self, entry: impl Into<Vec<u8>>) -> usize {
        self.entries.push(entry.into());
        self.size() - 1
    }

    /// Appends the anchor of the index over all entries so far; gives its index.
    pub(crate) fn anchor(&mut self) -> usize {
        let root = self.index_root(self.size());
        self.push(anchor(self.map_fn.name(), Some(&root), TreeSize(self.size() as u64)))
    }

    /// Where each key is, below `size`.
    pub(crate) fn lists(&self, size: usize) -> BTreeMap<Key, Vec<LeafIndex>> {
        let mut lists = BTreeMap::new();
        for (entry, at) in self.entries[..size].iter().zip(0..) {
            for key in keys_of(self.map_fn, entry) {
                lists.entry(key).or_insert_with(Vec::new).push(LeafIndex(at));
            }
        }
        lists
    }

    pub(crate) fn pairs(&self, size: usize) -> Vec<(Key, Value)> {
        self.lists(size).into_iter().map(|(key, list)| (key, value(&list))).collect()
    }

    pub(crate) fn index_root(&self, size: usize) -> Hash {
        root_of(&self.pairs(size))
    }

    /// The checkpoint of `size`; cosigned if a time is given.
    pub(crate) fn checkpoint(&self, size: usize, time: Option<u64>) -> String {
        let root = mth(&self.leaves(size));
        let text = Checkpoint::new(self.origin, TreeSize(size as u64), root).to_text();
        let signed = sign(&text, &[&Ed25519Signer::new(&self.key)]).unwrap();
        let Some(time) = time else { return signed };
        let mut note = Note::parse(signed.as_bytes()).unwrap();
        note.put(cosign(&text, time, &Ed25519Signer::new(&self.witness)).unwrap());
        note.to_text()
    }

    fn leaves(&self, size: usize) -> Vec<Hash> {
        self.entries[..size].iter().map(|entry| leaf_hash(entry)).collect()
    }

    pub(crate) fn inclusion(&self, index: usize, size: usize) -> InclusionProof {
        InclusionProof(path(index, &self.leaves(size)))
    }

    pub(crate) fn given(&self, index: LeafIndex, size: usize) -> Given {
        let at = usize::try_from(index.0).unwrap();
        Given { index, entry: self.entries[at].clone(), inclusion: self.inclusion(at, size) }
    }

    /// What an honest server answers under the checkpoint of `size` by the anchor at `at`, with the list's last `list`
    /// elements and the newest `entries` entries.
    pub(crate) fn lookup(
        &self,
        question: &Question,
        size: usize,
        at: usize,
        list: usize,
        entries: usize,
        time: Option<u64>,
    ) -> Lookup {
        let key = question.key(self.map_fn).unwrap();
        let tail = self.entries[at + 1..size].to_vec();
        let evidence = match prove(&self.pairs(at), &key) {
            Proof::Absent(trie) => Evidence::Absent { trie, tail },
            Proof::Present(trie) => {
                let indices = &self.lists(at)[&key];
                let list = list_end(indices, indices.len().saturating_sub(list));
                let newest = &list.indices[list.indices.len().saturating_sub(entries)..];
                let entries = newest.iter().map(|index| self.given(*index, size)).collect();
                Evidence::Present { trie, list: Some(list), tail, entries }
            }
        };
        Lookup {
            question: question.clone(),
            checkpoint: self.checkpoint(size, time),
            anchor: LeafIndex(at as u64),
            inclusion: self.inclusion(at, size),
            evidence,
        }
    }

    /// A page of the whole list, tail included, as JSON.
    pub(crate) fn page(&self, lookup: &Lookup, size: usize, start: usize, limit: usize) -> String {
        let key = lookup.question.key(self.map_fn).unwrap();
        let list = self.lists(size).remove(&key).unwrap_or_default();
        let end = (start + limit).min(list.len());
        let indices: Vec<String> =
            list.get(start..end).unwrap_or_default().iter().map(|index| index.0.to_string()).collect();
        page_of(start, &indices.join(","), &lookup.to_text())
    }

    /// The public files of the log at `size`, by their paths.
    pub(crate) fn files(&self, size: usize, time: Option<u64>) -> BTreeMap<String, Vec<u8>> {
        let leaves = self.leaves(size);
        let mut files = BTreeMap::from([("checkpoint".into(), self.checkpoint(size, time).into_bytes())]);
        for bundle in all_bundles(TreeSize(size as u64)) {
            let begin = usize::try_from(bundle.index).unwrap() * 256;
            let of_bundle = &self.entries[begin..begin + usize::from(bundle.width)];
            files.insert(bundle.path(), entry_bundle::encode(of_bundle).unwrap());
        }
        for tile in all_tiles(TreeSize(size as u64)) {
            let span = 256_usize.pow(tile.level.into());
            let begin = usize::try_from(tile.index).unwrap() * 256;
            let hashes =
                (begin..begin + usize::from(tile.width)).map(|at| mth(&leaves[at * span..(at + 1) * span]));
            files.insert(tile.path(), hashes.flat_map(|hash| hash.0).collect());
        }
        files
    }
}

pub(crate) fn page_of(start: usize, indices: &str, proof: &str) -> String {
    let proof = proof.replace('\n', "\\n");
    format!(r#"{{"found":true,"start":{start},"indices":[{indices}],"next":null,"proof":"{proof}"}}"#)
}

pub(crate) fn root_of(pairs: &[(Key, Value)]) -> Hash {
    let mut builder = RootBuilder::new();
    pairs.iter().for_each(|(key, value)| builder.push(*key, value).unwrap());
    builder.finish()
}

pub(crate) fn value(list: &[LeafIndex]) -> Value {
    let mut whole = List::new();
    whole.extend(list).unwrap();
    whole.value().unwrap()
}

pub(crate) fn list_end(indices: &[LeafIndex], start: usize) -> ListEnd {
    let mut before = List::new();
    before.extend(&indices[..start]).unwrap();
    ListEnd { before: before.range().clone(), indices: indices[start..].to_vec() }
}

/// RFC 6962 §2.1.
pub(crate) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(1 << (leaves.len() - 1).ilog2());
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// RFC 6962 §2.1.1.
fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let middle = 1 << (leaves.len() - 1).ilog2();
    let (left, right) = leaves.split_at(middle);
    let (mut hashes, sibling) = if index < middle {
        (path(index, left), mth(right))
    } else {
        (path(index - middle, right), mth(left))
    };
    hashes.push(sibling);
    hashes
}
