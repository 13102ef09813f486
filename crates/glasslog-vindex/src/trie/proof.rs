//! Proofs that a key is in the trie with a value, or is not in it (vindex.md §5).

use glasslog_core::{Hash, TreeSize};

use super::{KEY_LENGTH, RootBuilder, VALUE_LENGTH, inner, leaf, put_leaf};
use crate::{
    DecodeError, Key, Value,
    bytes::{Reader, put_uv},
};

/// Why a proof proves nothing about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrieProofError {
    /// The leaf shown instead of the key's is the key's own.
    #[error("the proof of absence shows the key itself")]
    SameKey,
    /// The leaf shown is not the one that a walk down the trie by the key's bits arrives at.
    #[error(
        "the proof of absence shows a leaf that differs from the key at bit {bit}, which the path branches on"
    )]
    OffPath {
        /// The bit.
        bit: u8,
    },
    /// No list has such a value in a tree of this size.
    #[error("no index over {size} entries has a value of count {count} and last {last}")]
    ImpossibleValue {
        /// The value's count.
        count: u64,
        /// The value's last.
        last: u64,
        /// How many entries are indexed.
        size: TreeSize,
    },
}

/// One inner node on the way from a leaf to the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The bit that its two sides differ at.
    pub bit: u8,
    /// The hash of the side that the leaf is not on.
    pub sibling: Hash,
}

/// The inner nodes from a leaf up to the root: bits strictly decrease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps(Vec<Step>);

impl Steps {
    /// Adds the next one above; `None`, and nothing added, unless its bit is below all others.
    pub fn push(&mut self, step: Step) -> Option<()> {
        if self.0.last().is_some_and(|last| last.bit <= step.bit) {
            return None;
        }
        self.0.push(step);
        Some(())
    }

    /// Them, from the leaf up.
    #[must_use]
    pub fn as_slice(&self) -> &[Step] {
        &self.0
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Steps, DecodeError> {
        let mut steps = Steps::default();
        while !reader.is_empty() {
            let refused = reader.error("a bit below 256 and below the one before");
            let bit = u8::try_from(reader.uv()?).map_err(|_| refused)?;
            steps.push(Step { bit, sibling: reader.hash()? }).ok_or(refused)?;
        }
        Ok(steps)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for step in &self.0 {
            put_uv(out, step.bit.into());
            out.extend_from_slice(step.sibling.as_bytes());
        }
    }

    /// The root, if the leaf of `key` has the hash `hash`.
    #[must_use]
    pub fn root(&self, key: &Key, hash: Hash) -> Hash {
        climb(&self.0, key, hash)
    }

    /// The root once `key` has a leaf of the hash `hash`, if these are the steps from where the way of its bits ended so far: at the
    /// leaf of `found`, which has the hash `beside`.
    #[must_use]
    pub fn root_with(&self, found: &Key, beside: Hash, key: &Key, hash: Hash) -> Hash {
        let Some(bit) = found.first_difference(key) else { return self.root(key, hash) };
        let (below, above) = self.0.split_at(self.0.partition_point(|step| step.bit > bit));
        // Both sides agree on every bit that a step above is of.
        let there = Step { bit, sibling: climb(below, found, beside) };
        climb(above, key, climb(&[there], key, hash))
    }
}

/// The hash above the last of `steps`, from the leaf of `key`.
fn climb(steps: &[Step], key: &Key, hash: Hash) -> Hash {
    steps.iter().fold(hash, |hash, step| {
        if key.bit(step.bit) {
            inner(step.bit, &step.sibling, &hash)
        } else {
            inner(step.bit, &hash, &step.sibling)
        }
    })
}

/// That a key has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The value.
    pub value: Value,
    /// The way up.
    pub steps: Steps,
}

impl Presence {
    /// Reads a proof, beside which `value` was given.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for whatever [`Presence::encode`] would not write back byte for byte.
    pub fn decode(value: Value, proof: &[u8]) -> Result<Presence, DecodeError> {
        Ok(Presence { value, steps: Steps::decode(&mut Reader::new(proof))? })
    }

    /// The bytes of the proof, without the value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.steps.encode(&mut out);
        out
    }

    /// The root of the trie in which `key` has this value. Compare it with one that is known.
    #[must_use]
    pub fn root(&self, key: &Key) -> Hash {
        self.steps.root(key, leaf(key, &self.value))
    }

    /// The same for an index over `size` entries.
    ///
    /// # Errors
    ///
    /// [`TrieProofError::ImpossibleValue`].
    pub fn root_at(&self, key: &Key, size: TreeSize) -> Result<Hash, TrieProofError> {
        possible(&self.value, size)?;
        Ok(self.root(key))
    }
}

/// That a key is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Nothing is there.
    EmptyTrie,
    /// The way of the key's bits down the trie ends at another leaf.
    Other {
        /// Its key.
        key: Key,
        /// Its value.
        value: Value,
        /// The way up from there.
        steps: Steps,
    },
}

impl Absence {
    /// Reads a proof.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for whatever [`Absence::encode`] would not write back byte for byte.
    pub fn decode(proof: &[u8]) -> Result<Absence, DecodeError> {
        let mut reader = Reader::new(proof);
        if reader.is_empty() {
            return Ok(Absence::EmptyTrie);
        }
        reader.exactly(&KEY_LENGTH, "a length of 32, and a key")?;
        let key = reader.key()?;
        reader.exactly(&VALUE_LENGTH, "a length of 48, and a value")?;
        let value = reader.value()?;
        Ok(Absence::Other { key, value, steps: Steps::decode(&mut reader)? })
    }

    /// The bytes of the proof.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Absence::Other { key, value, steps } = self {
            put_leaf(&mut out, key, value);
            steps.encode(&mut out);
        }
        out
    }

    /// The root of the trie in which `asked` is not. Compare it with one that is known.
    ///
    /// # Errors
    ///
    /// [`TrieProofError::SameKey`] and [`TrieProofError::OffPath`]: another leaf proves something about `asked` only if the
    /// way of its bits leads there.
    pub fn root(&self, asked: &Key) -> Result<Hash, TrieProofError> {
        let Absence::Other { key, value, steps } = self else { return Ok(Hash::EMPTY_ROOT) };
        if key == asked {
            return Err(TrieProofError::SameKey);
        }
        if let Some(step) = steps.0.iter().find(|step| key.bit(step.bit) != asked.bit(step.bit)) {
            return Err(TrieProofError::OffPath { bit: step.bit });
        }
        Ok(steps.root(key, leaf(key, value)))
    }

    /// The same for an index over `size` entries.
    ///
    /// # Errors
    ///
    /// As [`Absence::root`], and [`TrieProofError::ImpossibleValue`].
    pub fn root_at(&self, asked: &Key, size: TreeSize) -> Result<Hash, TrieProofError> {
        if let Absence::Other { value, .. } = self {
            possible(value, size)?;
        }
        self.root(asked)
    }
}

fn possible(value: &Value, size: TreeSize) -> Result<(), TrieProofError> {
    let refused = TrieProofError::ImpossibleValue { count: value.count, last: value.last.0, size };
    if value.is_possible_at(size) { Ok(()) } else { Err(refused) }
}

/// What a trie says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It is there.
    Present(Presence),
    /// It is not.
    Absent(Absence),
}

/// Proves what the trie of `pairs`, which ascend by key, says about `key`. Every pair is hashed once.
#[must_use]
pub fn prove(pairs: &[(Key, Value)], key: &Key) -> Proof {
    let leaves: Vec<(Key, Hash)> = pairs.iter().map(|(key, value)| (*key, leaf(key, value))).collect();
    let reached = path(&leaves, key).and_then(|(at, steps)| Some((pairs.get(at)?, steps)));
    match reached {
        None => Proof::Absent(Absence::EmptyTrie),
        Some(((found, value), steps)) if found == key => Proof::Present(Presence { value: *value, steps }),
        Some(((other, value), steps)) => Proof::Absent(Absence::Other { key: *other, value: *value, steps }),
    }
}

/// Which of `leaves`, given by key in ascending order and by hash, the way of the bits of `key` down their trie ends at, and
/// the steps from there up. `None` without leaves.
#[must_use]
pub fn path(leaves: &[(Key, Hash)], key: &Key) -> Option<(usize, Steps)> {
    let (mut rest, mut at) = (leaves, 0);
    let mut from_the_top = Vec::new();
    while let [(first, _), .., (last, _)] = rest
        && let Some(bit) = first.first_difference(last)
    {
        let (zeros, ones) = rest.split_at(rest.partition_point(|(key, _)| !key.bit(bit)));
        let (inside, sibling) = if key.bit(bit) { (ones, zeros) } else { (zeros, ones) };
        from_the_top.push(Step { bit, sibling: root_of(sibling) });
        at += if key.bit(bit) { zeros.len() } else { 0 };
        rest = inside;
    }
    from_the_top.reverse();
    rest.first().map(|_| (at, Steps(from_the_top)))
}

/// The root over leaves that ascend by key.
fn root_of(leaves: &[(Key, Hash)]) -> Hash {
    let mut builder = RootBuilder::new();
    // Leaves out of order are the caller's mistake, and give a root that nothing agrees with.
    for (key, hash) in leaves {
        let _ = builder.push_leaf(*key, *hash);
    }
    builder.finish()
}
