//! Taking in a batch: the next layer, and what it makes of the trie.

use std::sync::Arc;

use glasslog_core::Hash;
use glasslog_store::runs::RunError;
use glasslog_vindex::Key;

use crate::{
    layers::{Bucket, Layers, leaf, root_of},
    place::cell,
    row::{Head, append, put_posting},
    slice::{Rows, Slice},
    tree::Tree,
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

struct Work<'a> {
    layers: &'a Layers,
    bucket: Bucket,
    heads: Rows<Key>,
    postings: Rows<(Key, u64)>,
    new_keys: u64,
}

impl Work<'_> {
    fn bucket(&mut self, tree: &Tree, number: usize, batch: &[(Key, u64)]) -> Result<Hash, RunError> {
        self.layers.read(tree, number, &mut self.bucket)?;
        let wrong = || self.layers.corrupt(number, "holds a list that the new entries do not follow on");
        let mut leaves = Vec::with_capacity(self.bucket.leaves().len() + batch.len());
        let (mut from, mut new) = (0, Vec::new());
        for same in batch.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((key, _)) = same.first() else { continue };
            new.clear();
            new.extend(same.iter().map(|(_, index)| *index));
            let (before, old) = match self.bucket.find(key) {
                Ok(at) => (at, self.bucket.head(at)),
                Err(at) => (at, None),
            };
            leaves.extend_from_slice(self.bucket.leaves().get(from..before).unwrap_or_default());
            from = before + usize::from(old.is_some());
            self.new_keys += u64::from(old.is_none());
            let postings = &mut self.postings;
            let mut ascends = true;
            let appended = self.heads.push(*key, |out| {
                append(old.as_ref(), &new, out, |start, elements| {
                    ascends &= postings.push((*key, start), |out| put_posting(out, elements)).is_some();
                })
            });
            appended.filter(|()| ascends).ok_or_else(wrong)?;
            let value = Head::decode(self.heads.bytes(self.heads.len() - 1)).and_then(|head| head.value());
            leaves.push((*key, leaf(key, &value.ok_or_else(wrong)?)));
        }
        leaves.extend_from_slice(self.bucket.leaves().get(from..).unwrap_or_default());
        root_of(&leaves).ok_or_else(wrong)
    }
}
