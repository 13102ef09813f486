//! All the layers of an index at one moment: runs on disk under slices in memory.

use std::{cell::Cell, path::PathBuf, sync::Arc};

use glasslog_core::{Hash, LeafIndex, hash::leaf_hash};
use glasslog_hash::hasher;
use glasslog_store::runs::RunError;
use glasslog_vindex::{Key, RootBuilder, Value};
use parking_lot::{Mutex, MutexGuard};

use crate::{
    place::precedes,
    row::{Head, Row},
    run::Run,
    slice::Slice,
    tree::Tree,
};

/// How many messages are hashed together.
const LANES: usize = 32;
/// A trie leaf without its first byte: `uv(32) ‖ key ‖ uv(48) ‖ value`.
type Leaf = [u8; 82];

/// Layers, oldest first; slices are newer than runs.
#[derive(Clone, Default)]
pub(crate) struct Layers {
    pub(crate) runs: Vec<Arc<Run>>,
    pub(crate) slices: Vec<Arc<Slice>>,
}

/// The heads of one bucket, and room to read the next one into.
#[derive(Default)]
pub(crate) struct Bucket {
    /// Ascending, each key once.
    rows: Vec<(Key, usize, usize)>,
    bytes: Vec<u8>,
    pages: Vec<u8>,
    values: Vec<Value>,
    leaves: Vec<(Key, Hash)>,
    hashing: Hashing,
    crowd: Option<MutexGuard<'static, ()>>,
}

/// Room for hashing many at once.
#[derive(Default)]
pub(crate) struct Hashing {
    singles: Vec<usize>,
    elements: Vec<[u8; 8]>,
    messages: Vec<Leaf>,
    hashes: Vec<Hash>,
}

impl Layers {
    /// Reads a bucket of `tree` and compares it with its hash there.
    pub(crate) fn read(&self, tree: &Tree, bucket: usize, into: &mut Bucket) -> Result<(), RunError> {
        self.read_heads(bucket, tree.bits(), into)?;
        into.hash().ok_or_else(|| self.corrupt(bucket, "holds a list that cannot be"))?;
        if into.root() == Some(tree.bucket(bucket)) {
            return Ok(());
        }
        Err(self.corrupt(bucket, "does not have its hash"))
    }

    /// The same without comparing: for whoever does so by a proof.
    pub(crate) fn read_unchecked(
        &self,
        tree: &Tree,
        bucket: usize,
        into: &mut Bucket,
    ) -> Result<(), RunError> {
        self.read_heads(bucket, tree.bits(), into)?;
        into.hash().ok_or_else(|| self.corrupt(bucket, "holds a list that cannot be"))
    }

    fn read_heads(&self, bucket: usize, bits: u8, into: &mut Bucket) -> Result<(), RunError> {
        into.rows.clear();
        into.bytes.clear();
        into.crowd = None;
        let Bucket { rows, bytes, pages, crowd, .. } = into;
        let mut put = |key: Key, head: &[u8]| {
            rows.push((key, bytes.len(), head.len()));
            bytes.extend_from_slice(head);
        };
        let mut is_crowded = |crowded: bool| {
            if crowded && crowd.is_none() {
                *crowd = Some(ONE_CROWD.lock());
            }
        };
        for run in &self.runs {
            let numbers = run.pages_of(bucket, bits);
            is_crowded(numbers.len() > CROWD_PAGES);
            run.bucket(bucket, bits, numbers, pages, &mut put)?;
        }
        for slice in &self.slices {
            let places = slice.bucket(bucket, bits);
            is_crowded(places.len() > ROOM);
            for row in places.filter_map(|at| slice.head_row(at)) {
                put(row.key, row.bytes);
            }
        }
        if !rows.is_sorted_by(|(one, ..), (other, ..)| precedes(one, other)) {
            rows.sort_by_key(|(key, ..)| *key);
            // Of those with one key the last is the newest: turned round, it is the one that stays.
            rows.reverse();
            rows.dedup_by_key(|(key, ..)| *key);
            rows.reverse();
        }
        Ok(())
    }

    /// The elements of the list of `key` from position `start` up to, not including, `end`; the list has more than 8 and at
    /// least `end`.
    pub(crate) fn elements(&self, key: &Key, start: u64, end: u64) -> Result<Vec<u64>, RunError> {
        let mut page = Page { next: start, end, elements: Vec::new(), row: Vec::new(), broken: false };
        for run in &self.runs {
            run.postings(key, page.next, |row| page.take(row))?;
        }
        for slice in &self.slices {
            let mut at = slice.seek(key, page.next);
            while let Some(row) = slice.posting_row(at).filter(|row| row.key == *key)
                && page.take(row)
            {
                at += 1;
            }
        }
        if page.broken || page.next != end || !page.elements.is_sorted_by(|one, other| one < other) {
            return Err(self.damaged(format!("the list of {key} is not whole")));
        }
        Ok(page.elements)
    }

    pub(crate) fn corrupt(&self, bucket: usize, why: &str) -> RunError {
        self.damaged(format!("bucket {bucket} {why}"))
    }

    /// The oldest run is the likeliest to blame; without any it was memory.
    pub(crate) fn damaged(&self, why: String) -> RunError {
        let path =
            self.runs.first().map_or_else(|| PathBuf::from("memory"), |run| run.file.path().to_owned());
        RunError::Corrupt { path, why }
    }
}

/// Elements on their way out of posting rows.
struct Page {
    next: u64,
    end: u64,
    elements: Vec<u64>,
    row: Vec<u64>,
    broken: bool,
}

impl Page {
    /// Takes what is wanted of a row; says whether more is.
    fn take(&mut self, row: Row<'_>) -> bool {
        self.row.clear();
        self.broken |= crate::row::take_posting(row.bytes, &mut self.row).is_none();
        let Some(skip) = self.next.checked_sub(row.start) else { return false };
        let wanted = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let before = self.elements.len();
        self.elements.extend(self.row.iter().skip(skip).take(wanted));
        self.next += (self.elements.len() - before) as u64;
        !self.broken && self.next < self.end
    }
}

thread_local! {
    /// A question needs some ten buffers: allocating them took a fifth of its time, and made threads wait for one another.
    static BUCKET: Cell<Option<Bucket>> = const { Cell::new(None) };
}

/// Rows that a thread keeps room for; a crowded bucket's room is given back.
const ROOM: usize = 1024;
/// More pages than that are a crowded bucket.
const CROWD_PAGES: usize = 16;
/// Held by whoever reads a crowded bucket: as much memory as the keys that somebody has ground into it need, is needed once only.
static ONE_CROWD: Mutex<()> = Mutex::new(());

impl Bucket {
    /// Does something with the bucket of this thread.
    pub(crate) fn with<T>(use_it: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut bucket = BUCKET.take().unwrap_or_default();
        let result = use_it(&mut bucket);
        bucket.crowd = None;
        if bucket.rows.capacity() <= ROOM {
            BUCKET.set(Some(bucket));
        }
        result
    }

    /// Its keys with the hashes of their trie leaves.
    pub(crate) fn leaves(&self) -> &[(Key, Hash)] {
        &self.leaves
    }

    /// Whether there is `key`, and where; or where it would be.
    pub(crate) fn find(&self, key: &Key) -> Result<usize, usize> {
        self.rows.binary_search_by(|(other, ..)| other.cmp(key))
    }

    /// The head at a place.
    pub(crate) fn head(&self, at: usize) -> Option<Head<'_>> {
        let (_, start, length) = *self.rows.get(at)?;
        Head::decode(self.bytes.get(start..start + length)?)
    }

    pub(crate) fn value(&self, at: usize) -> Option<Value> {
        self.values.get(at).copied()
    }

    fn root(&self) -> Option<Hash> {
        root_of(&self.leaves)
    }

    /// Hashes all rows; `None` if one of them is no list.
    fn hash(&mut self) -> Option<()> {
        self.hashing.clear();
        self.values.clear();
        self.leaves.clear();
        for (_, start, length) in &self.rows {
            let head = Head::decode(self.bytes.get(*start..start + length)?)?;
            self.hashing.note(&head, &mut self.values)?;
        }
        self.hashing.finish(&mut self.values)?;
        let keys = self.rows.iter().map(|(key, ..)| *key);
        self.hashing.leaves(keys, &self.values, &mut self.leaves);
        Some(())
    }
}

/// The root of a trie of leaves; `None` if they do not ascend.
pub(crate) fn root_of(leaves: &[(Key, Hash)]) -> Option<Hash> {
    let mut root = RootBuilder::new();
    leaves.iter().try_for_each(|(key, hash)| root.push_leaf(*key, *hash)).ok()?;
    Some(root.finish())
}

impl Hashing {
    /// Forgets values that were noted and not completed.
    pub(crate) fn clear(&mut self) {
        self.singles.clear();
        self.elements.clear();
    }

    /// Appends the value of a list. Most lists are of one, and those are hashed together later.
    pub(crate) fn note(&mut self, head: &Head<'_>, values: &mut Vec<Value>) -> Option<()> {
        let value = match head.elements() {
            Some([only]) => {
                self.singles.push(values.len());
                self.elements.push(only.to_be_bytes());
                Value { count: 1, last: LeafIndex(*only), root: Hash::EMPTY_ROOT }
            }
            _ => head.value()?,
        };
        values.push(value);
        Some(())
    }

    /// Completes the values that were noted.
    pub(crate) fn finish(&mut self, values: &mut [Value]) -> Option<()> {
        hash_all(0, &self.elements, &mut self.hashes);
        for (at, hash) in self.singles.iter().zip(&self.hashes) {
            values.get_mut(*at)?.root = *hash;
        }
        self.clear();
        Some(())
    }

    /// Appends the leaf of each key with its value.
    pub(crate) fn leaves(
        &mut self,
        keys: impl Iterator<Item = Key> + Clone,
        values: &[Value],
        leaves: &mut Vec<(Key, Hash)>,
    ) {
        self.messages.clear();
        self.messages.extend(keys.clone().zip(values).map(|(key, value)| message(&key, value)));
        hash_all(0, &self.messages, &mut self.hashes);
        leaves.extend(keys.zip(self.hashes.iter().copied()));
    }
}

/// What RFC 6962 hashes as a leaf is what the trie does: a zero byte and then the data (vindex.md §4).
fn message(key: &Key, value: &Value) -> Leaf {
    let mut message = [0; 82];
    message[0] = 32;
    message[1..33].copy_from_slice(&key.0);
    message[33] = 48;
    message[34..].copy_from_slice(&value.to_bytes());
    message
}

/// The leaf hash of one key.
pub(crate) fn leaf(key: &Key, value: &Value) -> Hash {
    leaf_hash(&message(key, value))
}

/// Puts `SHA-256(tag ‖ message)` of each message into `hashes`.
pub(crate) fn hash_all<const N: usize>(tag: u8, messages: &[[u8; N]], hashes: &mut Vec<Hash>) {
    hashes.clear();
    hashes.resize(messages.len(), Hash::EMPTY_ROOT);
    for (messages, hashes) in messages.chunks(LANES).zip(hashes.chunks_mut(LANES)) {
        let mut lanes: [&[u8]; LANES] = [&[]; LANES];
        for (lane, message) in lanes.iter_mut().zip(messages) {
            *lane = message;
        }
        hasher().tagged(tag, lanes.get(..messages.len()).unwrap_or_default(), hashes);
    }
}
