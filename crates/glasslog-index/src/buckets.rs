//! Hashing every bucket from its heads, in one pass over all of them.

use glasslog_core::Hash;
use glasslog_vindex::{Key, RootBuilder, Value};

use crate::{
    layers::Hashing,
    place::cell,
    row::{Head, Row},
    tree::{NONE, halve},
};

/// Pairs that are hashed together.
const TOGETHER: usize = 256;

/// Takes all heads in order, and gives the hashes of all buckets.
pub(crate) struct BucketHasher {
    bits: u8,
    hashes: Vec<Hash>,
    bucket: usize,
    root: RootBuilder,
    keys: Vec<Key>,
    values: Vec<Value>,
    leaves: Vec<(Key, Hash)>,
    hashing: Hashing,
    seen: u64,
}

impl BucketHasher {
    /// For buckets of `bits` bits.
    pub(crate) fn new(bits: u8) -> BucketHasher {
        BucketHasher {
            bits,
            hashes: vec![NONE; 1 << bits],
            bucket: 0,
            root: RootBuilder::new(),
            keys: Vec::with_capacity(TOGETHER),
            values: Vec::with_capacity(TOGETHER),
            leaves: Vec::with_capacity(TOGETHER),
            hashing: Hashing::default(),
            seen: 0,
        }
    }

    /// Takes the next head; `None` if it is none, or out of order.
    pub(crate) fn push(&mut self, head: Row<'_>) -> Option<()> {
        let value = Head::decode(head.bytes)?;
        self.keys.push(head.key);
        self.hashing.note(&value, &mut self.values)?;
        self.seen += 1;
        if self.keys.len() < TOGETHER { Some(()) } else { self.flush() }
    }

    /// How many heads were taken.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// The hashes of the buckets, of at least `bits` bits: of as many as are here if that is fewer.
    pub(crate) fn finish(mut self, bits: u8) -> Option<(u8, Vec<Hash>)> {
        self.flush()?;
        self.close(usize::MAX)?;
        while self.bits > bits {
            self.bits -= 1;
            self.hashes = halve(self.bits, &self.hashes);
        }
        Some((self.bits, self.hashes))
    }

    fn flush(&mut self) -> Option<()> {
        self.hashing.finish(&mut self.values)?;
        self.leaves.clear();
        self.hashing.leaves(self.keys.iter().copied(), &self.values, &mut self.leaves);
        let leaves = std::mem::take(&mut self.leaves);
        for (key, hash) in &leaves {
            let bucket = cell(key, self.bits);
            if bucket != self.bucket {
                self.close(bucket)?;
            }
            self.root.push_leaf(*key, *hash).ok()?;
        }
        self.leaves = leaves;
        self.keys.clear();
        self.values.clear();
        Some(())
    }

    /// Ends the current bucket and begins `next`, which must be above it.
    fn close(&mut self, next: usize) -> Option<()> {
        if next <= self.bucket {
            return None;
        }
        *self.hashes.get_mut(self.bucket)? = std::mem::take(&mut self.root).finish();
        self.bucket = next;
        Some(())
    }
}
