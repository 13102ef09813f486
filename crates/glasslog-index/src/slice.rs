//! Rows in memory: an immutable, sorted layer.

use std::{ops::Range, sync::Arc};

use glasslog_vindex::Key;

use crate::{
    place::{cell, prefix, range_of},
    row::Row,
};

/// Sorted rows of both kinds.
#[derive(Default)]
pub(crate) struct Slice {
    pub(crate) heads: Rows<Key>,
    pub(crate) postings: Rows<(Key, u64)>,
    /// Where the heads of each cell begin, and their end: a cell is the keys that agree in their first `bits` bits.
    cells: Vec<u32>,
    bits: u8,
}

/// Sorted rows of one kind: keys, and where in `bytes` each row's end.
pub(crate) struct Rows<K> {
    pub(crate) keys: Vec<K>,
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl<K> Default for Rows<K> {
    fn default() -> Rows<K> {
        Rows { keys: Vec::new(), ends: Vec::new(), bytes: Vec::new() }
    }
}

impl<K> Rows<K> {
    /// Adds a row; `write` appends its bytes. Keys ascend.
    pub(crate) fn push<T>(&mut self, key: K, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let written = write(&mut self.bytes);
        self.keys.push(key);
        // A delta is far below 4 GiB (`Options::delta_max_bytes`), and what does not fit would be empty, not wrong.
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        written
    }

    pub(crate) fn bytes(&self, at: usize) -> &[u8] {
        let end_of = |at: usize| self.ends.get(at).and_then(|end| usize::try_from(*end).ok());
        let start = at.checked_sub(1).map_or(Some(0), end_of);
        let range = start.zip(end_of(at)).map(|(start, end)| start..end);
        range.and_then(|range| self.bytes.get(range)).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    fn shrink(&mut self) {
        self.keys.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }

    fn memory(&self) -> usize {
        self.keys.capacity() * size_of::<K>() + self.ends.capacity() * 4 + self.bytes.capacity()
    }
}

impl Slice {
    /// The layer of these rows.
    pub(crate) fn new(mut heads: Rows<Key>, mut postings: Rows<(Key, u64)>) -> Arc<Slice> {
        heads.shrink();
        postings.shrink();
        // About eight keys a cell.
        let bits = u8::try_from((heads.len() / 8).max(1).ilog2()).unwrap_or(0);
        let mut cells = Vec::with_capacity((1 << bits) + 1);
        for (at, key) in (0..).zip(&heads.keys) {
            while cells.len() <= cell(key, bits) {
                cells.push(at);
            }
        }
        cells.resize((1 << bits) + 1, u32::try_from(heads.len()).unwrap_or(u32::MAX));
        Arc::new(Slice { heads, postings, cells, bits })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heads.len() == 0
    }

    /// Where the heads of bucket `bucket` of `bits` bits stand.
    pub(crate) fn bucket(&self, bucket: usize, bits: u8) -> Range<usize> {
        let start = |cell: usize| {
            let start = self.cells.get(cell).or(self.cells.last()).copied().unwrap_or(0);
            usize::try_from(start).unwrap_or(usize::MAX)
        };
        if let Some(wider) = self.bits.checked_sub(bits) {
            return start(bucket << wider)..start((bucket + 1) << wider);
        }
        let cell = bucket >> (bits - self.bits);
        let (from, to) = (start(cell), start(cell + 1));
        let keys = self.heads.keys.get(from..to).unwrap_or_default();
        let (low, high) = range_of(bucket, bits);
        let first = keys.partition_point(|key| prefix(key) < low);
        let rest = keys.get(first..).unwrap_or_default();
        let count = rest.partition_point(|key| high.is_none_or(|high| prefix(key) < high));
        from + first..from + first + count
    }

    /// The first posting row that may hold position `start` of the list of `key`, or follows on it.
    pub(crate) fn seek(&self, key: &Key, start: u64) -> usize {
        let after = self.postings.keys.partition_point(|place| *place <= (*key, start));
        let before =
            after.checked_sub(1).filter(|at| self.postings.keys.get(*at).is_some_and(|(k, _)| k == key));
        before.unwrap_or(after)
    }

    pub(crate) fn memory(&self) -> usize {
        self.heads.memory() + self.postings.memory() + self.cells.capacity() * 4
    }

    pub(crate) fn head_row(&self, at: usize) -> Option<Row<'_>> {
        let key = *self.heads.keys.get(at)?;
        Some(Row { key, start: 0, bytes: self.heads.bytes(at) })
    }

    pub(crate) fn posting_row(&self, at: usize) -> Option<Row<'_>> {
        let (key, start) = *self.postings.keys.get(at)?;
        Some(Row { key, start, bytes: self.postings.bytes(at) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Judge: looking at every key.
        #[test]
        fn buckets_are_found(firsts in proptest::collection::btree_set(any::<u16>(), 0..300), crowd in 0_u16..200, bits in 1_u8..14) {
            let key = |first: u16, last: u16| {
                let mut key = [0; 32];
                key[..2].copy_from_slice(&first.to_be_bytes());
                key[30..].copy_from_slice(&last.to_be_bytes());
                Key(key)
            };
            let mut keys: Vec<Key> = firsts.iter().map(|first| key(*first, 0)).chain((1..=crowd).map(|last| key(0xabcd, last))).collect();
            keys.sort_unstable();
            let mut heads = Rows::default();
            for key in &keys {
                heads.push(*key, |out| out.extend_from_slice(&key.0[..2]));
            }
            let slice = Slice::new(heads, Rows::default());
            for bucket in 0..1 << bits {
                let expected: Vec<Key> = keys.iter().copied().filter(|key| cell(key, bits) == bucket).collect();
                let range = slice.bucket(bucket, bits);
                prop_assert_eq!(&slice.heads.keys[range.clone()], &expected[..]);
                for at in range {
                    prop_assert_eq!(slice.heads.bytes(at), &slice.heads.keys[at].0[..2]);
                }
            }
        }
    }
}
