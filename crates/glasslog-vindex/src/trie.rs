//! The trie over the keys (vindex.md §4): binary, path-compressed, its shape a function of the set of keys alone.
//!
//! Nothing here holds a trie. Its root comes out of one pass over the sorted pairs ([`RootBuilder`]), and so does every
//! sibling of a proof.

mod proof;

pub use proof::{Absence, Presence, Proof, Step, Steps, TrieProofError, path, prove};

use glasslog_core::Hash;
use sha2::{Digest, Sha256};

use crate::{Key, Value};

/// `uv` of the lengths of a key and of a value: both are one byte.
const KEY_LENGTH: [u8; 1] = [32];
const VALUE_LENGTH: [u8; 1] = [48];

/// The hash of one pair: `SHA-256(0x00 ‖ uv(32) ‖ key ‖ uv(48) ‖ value)`.
#[must_use]
pub fn leaf(key: &Key, value: &Value) -> Hash {
    let hasher = Sha256::new().chain_update([0]).chain_update(KEY_LENGTH).chain_update(key.0);
    Hash(hasher.chain_update(VALUE_LENGTH).chain_update(value.to_bytes()).finalize().into())
}

/// The hash of the node whose children differ at `bit`: `SHA-256(0x01 ‖ uv(bit) ‖ left ‖ right)`.
#[must_use]
pub fn inner(bit: u8, left: &Hash, right: &Hash) -> Hash {
    // From 128 on the low seven bits with the high bit set are the bit itself, and 1 follows.
    let (one_byte, two_bytes) = ([1, bit], [1, bit, 1]);
    let head: &[u8] = if bit < 0x80 { &one_byte } else { &two_bytes };
    Hash(Sha256::new().chain_update(head).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// Appends `uv(32) ‖ key ‖ uv(48) ‖ value`.
fn put_leaf(out: &mut Vec<u8>, key: &Key, value: &Value) {
    out.extend_from_slice(&KEY_LENGTH);
    out.extend_from_slice(&key.0);
    out.extend_from_slice(&VALUE_LENGTH);
    out.extend_from_slice(&value.to_bytes());
}

/// A key that is not above the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key {next} follows {last}; keys must ascend, each once")]
pub struct KeysNotAscending {
    /// The last key.
    pub last: Key,
    /// The one that was to follow.
    pub next: Key,
}

/// Computes the root of a trie from its pairs, in ascending order of their keys, in memory for one path.
#[derive(Clone, Debug, Default)]
pub struct RootBuilder {
    /// The inner nodes that lack their right child, from the top: bits strictly ascend.
    open: Vec<(u8, Hash)>,
    last: Option<(Key, Hash)>,
}

impl RootBuilder {
    /// Of no pairs yet.
    #[must_use]
    pub fn new() -> RootBuilder {
        RootBuilder::default()
    }

    /// Adds a pair.
    ///
    /// # Errors
    ///
    /// [`KeysNotAscending`]; the pair is not added.
    pub fn push(&mut self, key: Key, value: &Value) -> Result<(), KeysNotAscending> {
        self.push_leaf(key, leaf(&key, value))
    }

    /// Adds a pair of which the [`leaf`] hash is known.
    ///
    /// # Errors
    ///
    /// As [`RootBuilder::push`].
    pub fn push_leaf(&mut self, key: Key, hash: Hash) -> Result<(), KeysNotAscending> {
        if let Some((last, before)) = self.last {
            let ascending = last.first_difference(&key).filter(|_| last < key);
            let bit = ascending.ok_or(KeysNotAscending { last, next: key })?;
            let left = self.close(bit, before);
            self.open.push((bit, left));
        }
        self.last = Some((key, hash));
        Ok(())
    }

    /// The root over all pairs; of none, [`Hash::EMPTY_ROOT`].
    #[must_use]
    pub fn finish(self) -> Hash {
        let Some((_, last)) = self.last else { return Hash::EMPTY_ROOT };
        self.open.iter().rev().fold(last, |right, (bit, left)| inner(*bit, left, &right))
    }

    /// Gives each open node below `bit` its right child, the first of which is `hash`.
    fn close(&mut self, bit: u8, hash: Hash) -> Hash {
        let mut right = hash;
        while let Some((below, left)) = self.open.pop_if(|(open, _)| *open > bit) {
            right = inner(below, &left, &right);
        }
        right
    }
}
