//! Verifying what the log holds about a key (vindex.md §7).

use glasslog_core::{
    Hash, LeafIndex, MAX_ENTRY_BYTES, TreeSize,
    anchor::{anchor, parse_anchor, parse_disavow},
    checkpoint::{CheckpointError, VerifiedCheckpoint},
    hash::leaf_hash,
    merkle::{CompactRange, InclusionProof, ProofError},
    policy::{Evaluation, Policy},
};

use crate::{
    Absence, Key, KindError, List, MapFunction, Presence, Question, TrieProofError, Value, keys_of,
    list::NotAscending,
};

/// The most entries of a tail.
pub const MAX_TAIL_ENTRIES: usize = 4096;

/// The most bytes that the entries of a tail may have together.
pub const MAX_TAIL_BYTES: usize = 4 * 1024 * 1024;

/// The largest size that an anchor can name, 2^53 − 1.
pub const MAX_ANCHOR: u64 = (1 << 53) - 1;

/// What a verifier knows from its own configuration, never from an answer.
#[derive(Clone, Copy)]
pub struct Pinned<'a> {
    /// Which log.
    pub origin: &'a str,
    /// Its keys, and which checkpoints to believe.
    pub policy: &'a Policy,
    /// What the log's index is of.
    pub map_fn: &'a dyn MapFunction,
}

/// What a log says about a key: parsed, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// What was asked.
    pub question: Question,
    /// The signed checkpoint, word for word.
    pub checkpoint: String,
    /// Where the anchor is.
    pub anchor: LeafIndex,
    /// Why it is there.
    pub inclusion: InclusionProof,
    /// What the index is said to hold.
    pub evidence: Evidence,
}

/// What is shown beside the anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The log holds nothing at all.
    EmptyLog,
    /// The key is not in the trie.
    Absent {
        /// Why not.
        trie: Absence,
        /// The entries after the anchor, all of them.
        tail: Vec<Vec<u8>>,
    },
    /// It is.
    Present {
        /// With which value.
        trie: Presence,
        /// The list, or its end, if it is shown.
        list: Option<ListEnd>,
        /// The entries after the anchor, all of them.
        tail: Vec<Vec<u8>>,
        /// Entries of the key before the anchor, by ascending index.
        entries: Vec<Given>,
    },
}

/// A list from a position on to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEnd {
    /// The tree over the elements before; of the whole list, the empty one.
    pub before: CompactRange,
    /// The elements from there on.
    pub indices: Vec<LeafIndex>,
}

/// An entry with its inclusion proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Where it is.
    pub index: LeafIndex,
    /// Its bytes.
    pub entry: Vec<u8>,
    /// Why it is there.
    pub inclusion: InclusionProof,
}

/// Why a lookup must not be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Rule 1.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Rule 1: the log signed it, and too few witnesses did.
    #[error("the checkpoint of size {size} has not the cosignatures that the policy asks for")]
    Quorum {
        /// Its size.
        size: TreeSize,
    },
    /// The question has a kind that the pinned map function does not have.
    #[error("it is a question to an index of another map function than the pinned one")]
    Kind(#[from] KindError),
    /// Something else was asked.
    #[error("the answer is about another name than was asked for")]
    OtherQuestion,
    /// §7.3: an empty log is shown that is not empty, or an anchor in one that is.
    #[error(
        "whether the log is empty: the answer says one thing, and the checkpoint of size {size} the other"
    )]
    EmptyLog {
        /// The checkpoint's size.
        size: TreeSize,
    },
    /// Rule 2.
    #[error("an anchor at {0} is beyond what an anchor can name")]
    AnchorTooFar(LeafIndex),
    /// Rule 3.
    #[error("the trie proof proves nothing: {0}")]
    Trie(#[from] TrieProofError),
    /// Rule 4: the anchor with the root that the trie proof gives is not there.
    #[error("the index root that the proof leads to is not anchored at {anchor}: {error}")]
    Anchor {
        /// Where it should be.
        anchor: LeafIndex,
        /// Why it is not.
        error: ProofError,
    },
    /// Rule 5: the number of entries after the anchor.
    #[error("{got} entries are given after the anchor, and the tree has {expected}")]
    TailLength {
        /// How many there are.
        expected: u64,
        /// How many are given.
        got: usize,
    },
    /// Rule 5: the limits.
    #[error(
        "the tail is longer than 4,096 entries or 4 MiB, or has an entry of more than 65,535 bytes: a newer anchor is needed"
    )]
    TailTooLong,
    /// Rule 5: the tree does not end so.
    #[error("the entries given after the anchor are not the last ones of the tree of size {size}")]
    TailHashes {
        /// The size of the tree.
        size: TreeSize,
    },
    /// Rule 6: the answer rests on an older anchor.
    #[error("there is a newer anchor at {0}: the answer may be outdated")]
    NewerAnchor(LeafIndex),
    /// Rule 7: the list.
    #[error("the list is not the one that the index commits to")]
    List,
    /// Rule 7: the list's order.
    #[error(transparent)]
    ListOrder(#[from] NotAscending),
    /// Rule 7: an entry.
    #[error("the entry at {index} is not proven: {problem}")]
    Entry {
        /// Where it is said to be.
        index: LeafIndex,
        /// What is wrong.
        problem: EntryProblem,
    },
}

/// What is wrong with a given entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// Its inclusion.
    #[error("{0}")]
    Inclusion(#[from] ProofError),
    /// Entries come by ascending index.
    #[error("it does not come after the one before it")]
    Order,
    /// It is not known to be in the list.
    #[error("its index is not among the list's elements that are shown")]
    NotListed,
    /// Its bytes have nothing to do with the key.
    #[error("it does not map to the key that was asked for")]
    NotOfKey,
}

/// What the log holds about a key, as of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Absent,
    /// Something.
    Present(Present),
}

/// The entries that a key is found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// How many there are.
    pub count: u64,
    /// Where the newest is.
    pub last: LeafIndex,
    /// How many of the oldest are not among `indices`; 0 if `indices` is all of them.
    pub skipped: u64,
    /// Where the newer ones are, ascending, at least the newest.
    pub indices: Vec<LeafIndex>,
    /// Those entries that were shown, with their indices, ascending.
    pub entries: Vec<(LeafIndex, Vec<u8>)>,
}

impl Present {
    /// Whether `indices` is all there is.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.skipped == 0
    }
}

/// A lookup that was verified against what the verifier pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedLookup {
    checkpoint: VerifiedCheckpoint,
    evaluation: Evaluation,
    key: Key,
    anchored: Option<(LeafIndex, Hash)>,
    value: Option<Value>,
    answer: Answer,
    disavowals: Vec<LeafIndex>,
    is_disavowed: bool,
}

impl VerifiedLookup {
    /// The checkpoint that the answer is of.
    #[must_use]
    pub fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }

    /// How the policy judged its cosignatures: the quorum is filled; how old is too old is for the caller to say.
    #[must_use]
    pub fn evaluation(&self) -> &Evaluation {
        &self.evaluation
    }

    /// What was asked.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Where the index is anchored, and its root there; nothing in an empty log.
    #[must_use]
    pub fn anchored(&self) -> Option<(LeafIndex, Hash)> {
        self.anchored
    }

    /// What the trie holds for the key, without the tail: a [`List`] that was read in pages is believed if this is its value.
    #[must_use]
    pub fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// The entries after the anchor by which the log disavows some of its anchors: to be reported.
    #[must_use]
    pub fn disavowals(&self) -> &[LeafIndex] {
        &self.disavowals
    }

    /// Whether the anchor that the answer rests on is one of those: the log itself says that its root is wrong.
    #[must_use]
    pub fn is_disavowed(&self) -> bool {
        self.is_disavowed
    }
}

impl Lookup {
    /// Verifies that this is the answer to the question of `key`, at the time `now` in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`LookupError`]; nothing in the lookup is then to be believed.
    pub fn verify(&self, pinned: &Pinned<'_>, key: &Key, now: u64) -> Result<VerifiedLookup, LookupError> {
        let (checkpoint, evaluation) = self.checkpoint(pinned, now)?;
        self.verify_under(checkpoint, evaluation, pinned.map_fn, key)
    }

    /// Verifies that this is the answer to the question of `key`, as [`Lookup::verify`] does from rule 2 on: the caller has
    /// opened this lookup's checkpoint itself, has found its origin to be the pinned one, and judged it by `evaluation`.
    ///
    /// # Errors
    ///
    /// [`LookupError`]; nothing in the lookup is then to be believed.
    pub fn verify_under(
        &self,
        checkpoint: VerifiedCheckpoint,
        evaluation: Evaluation,
        map_fn: &dyn MapFunction,
        key: &Key,
    ) -> Result<VerifiedLookup, LookupError> {
        let size = checkpoint.size();
        if !evaluation.filled {
            return Err(LookupError::Quorum { size });
        }
        if self.question.key(map_fn)? != *key {
            return Err(LookupError::OtherQuestion);
        }
        if matches!(self.evidence, Evidence::EmptyLog) || size == TreeSize::ZERO {
            return self.empty(checkpoint, evaluation, key);
        }
        let root = self.trie_root(key)?;
        let leaf = self.anchored_leaf(map_fn, &root, &checkpoint)?;
        let tail = self.evidence.tail();
        self.check_tail(tail, &leaf, &checkpoint)?;
        let hits = self.hits(tail, map_fn, key)?;
        let answer = self.answer(map_fn, key, hits, &checkpoint)?;
        let (disavowals, is_disavowed) = self.disavowals(tail);
        let anchored = Some((self.anchor, root));
        let value = self.evidence.value().copied();
        Ok(VerifiedLookup {
            checkpoint,
            evaluation,
            key: *key,
            anchored,
            value,
            answer,
            disavowals,
            is_disavowed,
        })
    }

    /// Rule 1.
    fn checkpoint(
        &self,
        pinned: &Pinned<'_>,
        now: u64,
    ) -> Result<(VerifiedCheckpoint, Evaluation), LookupError> {
        let log_keys = pinned.policy.log_keys(pinned.origin);
        let witnesses = pinned.policy.cosigner_keys(pinned.origin);
        let note = self.checkpoint.as_bytes();
        let checkpoint = VerifiedCheckpoint::open_with_witnesses(note, pinned.origin, &log_keys, &witnesses)?;
        let evaluation = pinned.policy.evaluate(checkpoint.cosignatures(), now);
        Ok((checkpoint, evaluation))
    }

    /// §7.3: of an empty log, the checkpoint says all.
    fn empty(
        &self,
        checkpoint: VerifiedCheckpoint,
        evaluation: Evaluation,
        key: &Key,
    ) -> Result<VerifiedLookup, LookupError> {
        let size = checkpoint.size();
        let says_empty =
            self.evidence == Evidence::EmptyLog && self.anchor == LeafIndex(0) && self.inclusion.0.is_empty();
        if size != TreeSize::ZERO || !says_empty {
            return Err(LookupError::EmptyLog { size });
        }
        Ok(VerifiedLookup {
            checkpoint,
            evaluation,
            key: *key,
            anchored: None,
            value: None,
            answer: Answer::Absent,
            disavowals: Vec::new(),
            is_disavowed: false,
        })
    }

    /// Rule 3.
    fn trie_root(&self, key: &Key) -> Result<Hash, LookupError> {
        let size = TreeSize(self.anchor.0);
        Ok(match &self.evidence {
            Evidence::EmptyLog => Hash::EMPTY_ROOT,
            Evidence::Absent { trie, .. } => trie.root_at(key, size)?,
            Evidence::Present { trie, .. } => trie.root_at(key, size)?,
        })
    }

    /// Rules 2 and 4: the leaf hash of the anchor, which is written here and not read.
    fn anchored_leaf(
        &self,
        map_fn: &dyn MapFunction,
        root: &Hash,
        checkpoint: &VerifiedCheckpoint,
    ) -> Result<Hash, LookupError> {
        if self.anchor.0 > MAX_ANCHOR {
            return Err(LookupError::AnchorTooFar(self.anchor));
        }
        let entry = anchor(map_fn.name(), Some(root), TreeSize(self.anchor.0));
        let leaf = leaf_hash(&entry);
        self.inclusion
            .verify(&leaf, self.anchor, checkpoint.size(), checkpoint.root())
            .map_err(|error| LookupError::Anchor { anchor: self.anchor, error })?;
        Ok(leaf)
    }

    /// Rule 5: the entries after the anchor are the last ones of the tree (§7.1).
    fn check_tail(
        &self,
        tail: &[Vec<u8>],
        anchor_leaf: &Hash,
        checkpoint: &VerifiedCheckpoint,
    ) -> Result<(), LookupError> {
        let size = checkpoint.size();
        let expected = size.0.saturating_sub(self.anchor.0).saturating_sub(1);
        if u64::try_from(tail.len()) != Ok(expected) {
            return Err(LookupError::TailLength { expected, got: tail.len() });
        }
        if !is_within_limits(tail) {
            return Err(LookupError::TailTooLong);
        }
        let before = self.inclusion.before(self.anchor, size);
        let mut tree = before.map_err(|error| LookupError::Anchor { anchor: self.anchor, error })?;
        tree.append(*anchor_leaf);
        tail.iter().for_each(|entry| tree.append(leaf_hash(entry)));
        if tree.root() == *checkpoint.root() { Ok(()) } else { Err(LookupError::TailHashes { size }) }
    }

    /// Rule 6, and the entries of the tail that map to the key.
    fn hits(
        &self,
        tail: &[Vec<u8>],
        map_fn: &dyn MapFunction,
        key: &Key,
    ) -> Result<Vec<(LeafIndex, Vec<u8>)>, LookupError> {
        let mut hits = Vec::new();
        for (index, entry) in self.after_anchor(tail) {
            if parse_anchor(entry).is_some_and(|anchor| anchor.root.is_some()) {
                return Err(LookupError::NewerAnchor(index));
            }
            if keys_of(map_fn, entry).contains(key) {
                hits.push((index, entry.clone()));
            }
        }
        Ok(hits)
    }

    /// The entries of the tail that disavow anchors, and whether that of this lookup is among them.
    fn disavowals(&self, tail: &[Vec<u8>]) -> (Vec<LeafIndex>, bool) {
        let (mut disavowals, mut is_disavowed) = (Vec::new(), false);
        for (index, entry) in self.after_anchor(tail) {
            if let Some(positions) = parse_disavow(entry) {
                disavowals.push(index);
                is_disavowed |= positions.contains(&self.anchor);
            }
        }
        (disavowals, is_disavowed)
    }

    /// The entries of the tail with their indices.
    fn after_anchor<'a>(&self, tail: &'a [Vec<u8>]) -> impl Iterator<Item = (LeafIndex, &'a Vec<u8>)> {
        // The tree holds them all, so no index overflows.
        (self.anchor.0.saturating_add(1)..).map(LeafIndex).zip(tail)
    }

    /// Rule 7, and what all of it says together.
    fn answer(
        &self,
        map_fn: &dyn MapFunction,
        key: &Key,
        hits: Vec<(LeafIndex, Vec<u8>)>,
        checkpoint: &VerifiedCheckpoint,
    ) -> Result<Answer, LookupError> {
        let (mut skipped, mut indices, mut entries) = (0, Vec::new(), Vec::new());
        if let Evidence::Present { trie, list, entries: given, .. } = &self.evidence {
            indices = match list {
                Some(list) => list.indices_under(&trie.value)?,
                None => vec![trie.value.last],
            };
            // A possible value counts at least as many as were shown.
            skipped = trie.value.count.saturating_sub(indices.len() as u64);
            for given in given {
                let before = entries.last().map(|(index, _)| *index);
                given.check(before, &indices, map_fn, key, checkpoint)?;
                entries.push((given.index, given.entry.clone()));
            }
        }
        indices.extend(hits.iter().map(|(index, _)| *index));
        entries.extend(hits);
        let Some(last) = indices.last().copied() else { return Ok(Answer::Absent) };
        let count = skipped.saturating_add(indices.len() as u64);
        Ok(Answer::Present(Present { count, last, skipped, indices, entries }))
    }
}

impl Evidence {
    /// What the trie is said to hold.
    fn value(&self) -> Option<&Value> {
        match self {
            Evidence::EmptyLog | Evidence::Absent { .. } => None,
            Evidence::Present { trie, .. } => Some(&trie.value),
        }
    }

    /// The entries after the anchor.
    #[must_use]
    pub fn tail(&self) -> &[Vec<u8>] {
        match self {
            Evidence::EmptyLog => &[],
            Evidence::Absent { tail, .. } | Evidence::Present { tail, .. } => tail,
        }
    }
}

impl ListEnd {
    /// The elements, once they and those before them have `value` (§7.2).
    fn indices_under(&self, value: &Value) -> Result<Vec<LeafIndex>, LookupError> {
        let mut list = List::resume(self.before.clone(), None);
        list.extend(&self.indices)?;
        // Without an element there is no last one, and no value.
        if list.value() == Some(*value) { Ok(self.indices.clone()) } else { Err(LookupError::List) }
    }
}

impl Given {
    /// §7.2: an entry before the anchor, that is listed and maps to the key.
    fn check(
        &self,
        before: Option<LeafIndex>,
        listed: &[LeafIndex],
        map_fn: &dyn MapFunction,
        key: &Key,
        checkpoint: &VerifiedCheckpoint,
    ) -> Result<(), LookupError> {
        let wrong = |problem| LookupError::Entry { index: self.index, problem };
        if before.is_some_and(|before| before >= self.index) {
            return Err(wrong(EntryProblem::Order));
        }
        self.check_inclusion(checkpoint).map_err(|error| wrong(error.into()))?;
        if listed.binary_search(&self.index).is_err() {
            return Err(wrong(EntryProblem::NotListed));
        }
        if keys_of(map_fn, &self.entry).contains(key) { Ok(()) } else { Err(wrong(EntryProblem::NotOfKey)) }
    }

    /// Checks that the entry is in the tree of `checkpoint`.
    pub(crate) fn check_inclusion(&self, checkpoint: &VerifiedCheckpoint) -> Result<(), ProofError> {
        self.inclusion.verify(&leaf_hash(&self.entry), self.index, checkpoint.size(), checkpoint.root())
    }
}

fn is_within_limits(tail: &[Vec<u8>]) -> bool {
    tail.len() <= MAX_TAIL_ENTRIES
        && tail.iter().all(|entry| entry.len() <= MAX_ENTRY_BYTES)
        && tail.iter().map(Vec::len).sum::<usize>() <= MAX_TAIL_BYTES
}
