//! The list of a key's indices, and the value that commits to it (vindex.md §3).

use glasslog_core::{Hash, LeafIndex, TreeSize, hash::leaf_hash, merkle::CompactRange};

/// What the index holds for a key: `be64 count ‖ be64 last ‖ MTH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// How many indices the list has.
    pub count: u64,
    /// The final one, which is the newest entry.
    pub last: LeafIndex,
    /// The RFC 6962 root over the list, each leaf being `be64` of an index.
    pub root: Hash,
}

impl Value {
    /// Length in bytes.
    pub const LEN: usize = 48;

    /// Reads any 48 bytes. Whether a list can have this value is for [`Value::is_possible_at`] to say.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Value::LEN]) -> Value {
        let (mut count, mut last, mut root) = ([0; 8], [0; 8], [0; 32]);
        count.copy_from_slice(&bytes[..8]);
        last.copy_from_slice(&bytes[8..16]);
        root.copy_from_slice(&bytes[16..]);
        Value {
            count: u64::from_be_bytes(count),
            last: LeafIndex(u64::from_be_bytes(last)),
            root: Hash(root),
        }
    }

    /// The 48 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Value::LEN] {
        let mut bytes = [0; Value::LEN];
        bytes[..8].copy_from_slice(&self.count.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.last.0.to_be_bytes());
        bytes[16..].copy_from_slice(self.root.as_bytes());
        bytes
    }

    /// Whether an ascending list of indices below `size` can have this count and last.
    #[must_use]
    pub fn is_possible_at(&self, size: TreeSize) -> bool {
        self.count >= 1 && size.contains(self.last) && self.count - 1 <= self.last.0
    }
}

/// An index does not follow on the list's last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("index {next} follows {last} in a list, which must ascend")]
pub struct NotAscending {
    /// The list's last index.
    pub last: LeafIndex,
    /// The index that was to follow it.
    pub next: LeafIndex,
}

/// What must be kept of a list to append to it and to know its value.
///
/// A client that reads a list in pages appends each to one of these, and believes them when [`List::value`] is the value
/// proven with the last page: the list only grows, so earlier pages may stem from earlier checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    range: CompactRange,
    last: Option<LeafIndex>,
}

impl List {
    /// The empty list.
    #[must_use]
    pub fn new() -> List {
        List::default()
    }

    /// The list whose first elements `range` is over; `last`, the final one of them, may be unknown. Both are believed.
    #[must_use]
    pub fn resume(range: CompactRange, last: Option<LeafIndex>) -> List {
        List { range, last }
    }

    /// Appends an index.
    ///
    /// # Errors
    ///
    /// [`NotAscending`]; the list is then as it was.
    pub fn push(&mut self, next: LeafIndex) -> Result<(), NotAscending> {
        if let Some(last) = self.last.filter(|last| *last >= next) {
            return Err(NotAscending { last, next });
        }
        self.range.append(element_hash(next));
        self.last = Some(next);
        Ok(())
    }

    /// Appends a page.
    ///
    /// # Errors
    ///
    /// [`NotAscending`]; what came before the offending index is appended then.
    pub fn extend(&mut self, page: &[LeafIndex]) -> Result<(), NotAscending> {
        page.iter().try_for_each(|index| self.push(*index))
    }

    /// How many indices there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.range.size().0
    }

    /// The tree over them.
    #[must_use]
    pub fn range(&self) -> &CompactRange {
        &self.range
    }

    /// The value; none while the last index is not known.
    #[must_use]
    pub fn value(&self) -> Option<Value> {
        Some(Value { count: self.count(), last: self.last?, root: self.range.root() })
    }
}

/// The leaf hash of an index in its list.
pub(crate) fn element_hash(index: LeafIndex) -> Hash {
    leaf_hash(&index.0.to_be_bytes())
}
