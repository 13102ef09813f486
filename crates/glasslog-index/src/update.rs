//! Taking in a batch: the next layer, and what it makes of the trie.

use std::sync::Arc;

use glasslog_core::Hash;
use glasslog_store::runs::RunError;
use glasslog_vindex::{Key, trie::path};

use crate::{
    layers::{Bucket, Layers, leaf, root_of},
    place::cell,
    row::{Head, append, put_posting},
    slice::{Rows, Slice},
    tree::{NONE, Tree},
};

/// What a batch comes to.
pub(crate) struct Update {
    pub(crate) slice: Arc<Slice>,
    /// The new hashes of the buckets that it touched, ascending.
    pub(crate) hashes: Vec<(u32, Hash)>,
    /// How many of its keys were not there before.
    pub(crate) new_keys: u64,
}

/// Reads each bucket that the batch touches, compares it with its hash, appends, and hashes it again. `batch` is sorted; indices
/// of one key ascend.
pub(crate) fn update(layers: &Layers, tree: &Tree, batch: &[(Key, u64)]) -> Result<Update, RunError> {
    let mut work = Work {
        layers,
        bucket: Bucket::default(),
        heads: Rows::default(),
        postings: Rows::default(),
        new: Vec::new(),
        new_keys: 0,
    };
    let mut hashes = Vec::new();
    for same in batch.chunk_by(|(one, _), (other, _)| cell(one, tree.bits()) == cell(other, tree.bits())) {
        let Some((first, _)) = same.first() else { continue };
        let number = cell(first, tree.bits());
        let hash = work.bucket(tree, number, same)?;
        hashes.push((u32::try_from(number).unwrap_or(u32::MAX), hash));
    }
    Ok(Update { slice: Slice::new(work.heads, work.postings), hashes, new_keys: work.new_keys })
}

/// Hashes the buckets again that these of the slices touch.
pub(crate) fn rehash(layers: &Layers, tree: &mut Tree, slices: &[Arc<Slice>]) -> Result<(), RunError> {
    let keys = slices.iter().flat_map(|slice| &slice.heads.keys);
    let mut buckets: Vec<usize> = keys.map(|key| cell(key, tree.bits())).collect();
    buckets.sort_unstable();
    buckets.dedup();
    let mut bucket = Bucket::default();
    let mut hashes = Vec::with_capacity(buckets.len());
    for number in buckets {
        layers.read_unchecked(tree, number, &mut bucket)?;
        let root = root_of(bucket.leaves()).ok_or_else(|| layers.corrupt(number, "is out of order"))?;
        hashes.push((u32::try_from(number).unwrap_or(u32::MAX), root));
    }
    tree.set(&hashes);
    Ok(())
}

struct Work<'a> {
    layers: &'a Layers,
    bucket: Bucket,
    heads: Rows<Key>,
    postings: Rows<(Key, u64)>,
    new: Vec<u64>,
    new_keys: u64,
}

impl Work<'_> {
    fn bucket(&mut self, tree: &Tree, number: usize, batch: &[(Key, u64)]) -> Result<Hash, RunError> {
        let (first, last) = (batch.first().map(|(key, _)| *key), batch.last().map(|(key, _)| *key));
        if let Some(key) = first.filter(|_| first == last) {
            return self.one_key(tree, number, &key, batch);
        }
        self.layers.read(tree, number, &mut self.bucket)?;
        let mut leaves = Vec::with_capacity(self.bucket.leaves().len() + batch.len());
        let mut from = 0;
        for same in batch.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((key, _)) = same.first() else { continue };
            let found = self.bucket.find(key);
            let before = found.unwrap_or_else(|at| at);
            leaves.extend_from_slice(self.bucket.leaves().get(from..before).unwrap_or_default());
            from = before + usize::from(found.is_ok());
            leaves.push((*key, self.append(number, key, same)?));
        }
        leaves.extend_from_slice(self.bucket.leaves().get(from..).unwrap_or_default());
        root_of(&leaves).ok_or_else(|| self.wrong(number))
    }

    /// The ordinary case among many buckets: one way down the bucket's trie gives its old hash, and the new one.
    fn one_key(
        &mut self,
        tree: &Tree,
        number: usize,
        key: &Key,
        batch: &[(Key, u64)],
    ) -> Result<Hash, RunError> {
        self.layers.read_unchecked(tree, number, &mut self.bucket)?;
        let reached = path(self.bucket.leaves(), key);
        let reached = reached.and_then(|(at, steps)| Some((*self.bucket.leaves().get(at)?, steps)));
        let old = reached.as_ref().map_or(NONE, |((found, hash), steps)| steps.root(found, *hash));
        if old != tree.bucket(number) {
            return Err(self.layers.corrupt(number, "does not have its hash"));
        }
        let hash = self.append(number, key, batch)?;
        let Some(((found, beside), steps)) = reached else { return Ok(hash) };
        Ok(steps.root_with(&found, beside, key, hash))
    }

    /// Appends to the list of `key` in the bucket that was read; gives its new leaf.
    fn append(&mut self, number: usize, key: &Key, batch: &[(Key, u64)]) -> Result<Hash, RunError> {
        self.new.clear();
        self.new.extend(batch.iter().map(|(_, index)| *index));
        let old = self.bucket.find(key).ok().and_then(|at| self.bucket.head(at));
        self.new_keys += u64::from(old.is_none());
        let Work { heads, postings, new, .. } = self;
        let mut ascends = true;
        let appended = heads.push(*key, |out| {
            append(old.as_ref(), new, out, |start, elements| {
                ascends &= postings.push((*key, start), |out| put_posting(out, elements)).is_some();
            })
        });
        let head = appended.filter(|()| ascends).and_then(|()| Head::decode(heads.bytes(heads.len() - 1)));
        let value = head.and_then(|head| head.value()).ok_or_else(|| self.wrong(number))?;
        Ok(leaf(key, &value))
    }

    fn wrong(&self, number: usize) -> RunError {
        self.layers.corrupt(number, "holds a list that the new entries do not follow on")
    }
}
