//! Proofs, for anybody and offline, that a log anchored a wrong index (vindex.md §9).

mod file;

use std::fmt;

use glasslog_core::{
    LeafIndex, TreeSize,
    anchor::{anchor, parse_anchor},
    checkpoint::{CheckpointError, VerifiedCheckpoint},
    hash::leaf_hash,
    merkle::{CompactRange, InclusionProof, Node, ProofError, inclusion_spans},
    note::VerifierKey,
};

use crate::{
    Absence, Key, MapFunction, Presence, TrieProofError, Value, keys_of,
    list::element_hash,
    lookup::{Given, MAX_ANCHOR},
};

/// A proof of misbehaviour: parsed, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MisbehaviourProof {
    /// The checkpoint that the log signed, word for word.
    pub checkpoint: String,
    /// Where the anchor is.
    pub anchor: LeafIndex,
    /// Why it is there.
    pub inclusion: InclusionProof,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with an anchor, or with the index that it commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The entry maps to the key, which is not in the index.
    Omitted {
        /// The key.
        key: Key,
        /// Why it is not there.
        trie: Absence,
        /// The entry.
        entry: Given,
    },
    /// The list of a key is wrong.
    List {
        /// The key.
        key: Key,
        /// Its value in the index.
        trie: Presence,
        /// What is wrong with the list.
        fault: ListFault,
    },
    /// The entry of anchor form is not where it says.
    Misplaced {
        /// It.
        entry: Vec<u8>,
    },
    /// The entry of anchor form names another map function.
    OtherMapFunction {
        /// It.
        entry: Vec<u8>,
    },
}

/// What is wrong with the list of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListFault {
    /// The entry maps to the key, and comes after the list's last.
    Stale {
        /// The entry.
        entry: Given,
    },
    /// The entry maps to the key, and comes before the list's first.
    SkippedFirst {
        /// The entry.
        entry: Given,
        /// The list's first.
        first: Element,
    },
    /// The entry maps to the key, and the list has nothing between two that it lies between.
    Skipped {
        /// The entry.
        entry: Given,
        /// The element below.
        below: Element,
        /// Its neighbour above.
        above: Element,
    },
    /// The entry is in the list, and does not map to the key.
    Foreign {
        /// The entry.
        entry: Given,
        /// Where in the list.
        element: Element,
    },
    /// The second is not above the first.
    Disorder {
        /// An element.
        first: Element,
        /// Its neighbour.
        second: Element,
    },
    /// The final element is not `last`.
    WrongLast {
        /// The final element.
        element: Element,
    },
    /// No list has such a value.
    Impossible,
}

/// An element of a list, with its inclusion proof there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Where in the list, from 0.
    pub position: u64,
    /// The index that stands there.
    pub index: LeafIndex,
    /// Why it does.
    pub inclusion: InclusionProof,
}

/// Why a file proves no misbehaviour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MisbehaviourError {
    /// The log did not sign the checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The trie proof.
    #[error("the trie proof proves nothing: {0}")]
    Trie(#[from] TrieProofError),
    /// The anchor.
    #[error("the anchor is not proven to be at {anchor}: {error}")]
    Anchor {
        /// Where it is said to be.
        anchor: LeafIndex,
        /// Why it is not proven.
        error: ProofError,
    },
    /// The entry.
    #[error("the entry at {index} is not proven: {error}")]
    Entry {
        /// Where it is said to be.
        index: LeafIndex,
        /// Why it is not proven.
        error: ProofError,
    },
    /// An element of the list.
    #[error("the element at position {position} of the list is not proven: {error}")]
    Element {
        /// Where it is said to be.
        position: u64,
        /// Why it is not proven.
        error: ProofError,
    },
    /// Everything is as it says, and there is nothing wrong with it.
    #[error("what is shown is no misbehaviour: {0}")]
    NoFault(&'static str),
}

/// In what way an index was proven wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// A key that an entry maps to is missing.
    Omitted,
    /// A list ends before an entry that belongs to it.
    Stale,
    /// A list passes over an entry that belongs to it.
    Skipped,
    /// A list holds an entry that does not belong to it.
    Foreign,
    /// A list does not ascend.
    Disorder,
    /// A value names another last element than its list has.
    WrongLast,
    /// No list has such a value.
    Impossible,
    /// An anchor names another position than its own.
    Misplaced,
    /// An anchor names another map function.
    OtherMapFunction,
}

/// Misbehaviour that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenMisbehaviour {
    checkpoint: VerifiedCheckpoint,
    anchor: LeafIndex,
    what: Misbehaviour,
    key: Option<Key>,
    entry: Option<LeafIndex>,
}

impl ProvenMisbehaviour {
    /// The checkpoint by which the log committed to it.
    #[must_use]
    pub fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }

    /// Where the wrong anchor is.
    #[must_use]
    pub fn anchor(&self) -> LeafIndex {
        self.anchor
    }

    /// What is wrong.
    #[must_use]
    pub fn what(&self) -> Misbehaviour {
        self.what
    }

    /// The key whose list is wrong; none where the anchor itself is.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        self.key
    }

    /// The entry that the index contradicts, where it is one.
    #[must_use]
    pub fn entry(&self) -> Option<LeafIndex> {
        self.entry
    }
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Misbehaviour::Omitted => "the index omits a key that an entry maps to",
            Misbehaviour::Stale => "a list ends before an entry that belongs to it",
            Misbehaviour::Skipped => "a list passes over an entry that belongs to it",
            Misbehaviour::Foreign => "a list holds an entry that does not belong to it",
            Misbehaviour::Disorder => "a list does not ascend",
            Misbehaviour::WrongLast => "a value names another last element than its list has",
            Misbehaviour::Impossible => "no list has the value that the index holds",
            Misbehaviour::Misplaced => "an anchor names another position than its own",
            Misbehaviour::OtherMapFunction => "an anchor names another map function",
        })
    }
}

impl fmt::Display for ProvenMisbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, anchor at {}: {}", self.checkpoint.origin(), self.anchor, self.what)?;
        if let Some(key) = self.key {
            write!(f, "; key {key}")?;
        }
        self.entry.map_or(Ok(()), |entry| write!(f, "; entry {entry}"))
    }
}

impl MisbehaviourProof {
    /// Verifies that the log `origin`, whose keys are `log_keys` and whose index is of `map_fn`, signed this.
    ///
    /// # Errors
    ///
    /// [`MisbehaviourError`]; nothing is proven then.
    pub fn verify(
        &self,
        origin: &str,
        log_keys: &[VerifierKey],
        map_fn: &dyn MapFunction,
    ) -> Result<ProvenMisbehaviour, MisbehaviourError> {
        let checkpoint = VerifiedCheckpoint::open(self.checkpoint.as_bytes(), origin, log_keys)?;
        let anchored = self.anchor_entry(map_fn)?;
        self.inclusion
            .verify(&leaf_hash(&anchored), self.anchor, checkpoint.size(), checkpoint.root())
            .map_err(|error| MisbehaviourError::Anchor { anchor: self.anchor, error })?;
        let size = TreeSize(self.anchor.0);
        let (what, key, entry) = match &self.fault {
            Fault::Omitted { key, entry, .. } => {
                check_maps(entry, key, true, size, map_fn, &checkpoint)?;
                (Misbehaviour::Omitted, Some(*key), Some(entry.index))
            }
            Fault::List { key, trie, fault } => {
                if let Some(entry) = fault.entry() {
                    let belongs = !matches!(fault, ListFault::Foreign { .. });
                    check_maps(entry, key, belongs, size, map_fn, &checkpoint)?;
                }
                let entry = fault.entry().map(|entry| entry.index);
                (fault.check(&trie.value, size)?, Some(*key), entry)
            }
            Fault::Misplaced { entry } => {
                let said = parse_anchor(entry).ok_or(NOT_ANCHOR_FORM)?;
                fault(said.tree_size != size, "the anchor is where it says")?;
                (Misbehaviour::Misplaced, None, None)
            }
            Fault::OtherMapFunction { entry } => {
                let said = parse_anchor(entry).ok_or(NOT_ANCHOR_FORM)?;
                fault(said.map_fn != map_fn.name(), "the anchor names the map function of this log")?;
                (Misbehaviour::OtherMapFunction, None, None)
            }
        };
        Ok(ProvenMisbehaviour { checkpoint, anchor: self.anchor, what, key, entry })
    }

    /// The bytes of the anchor: written here where it must be a right one, else as given.
    fn anchor_entry(&self, map_fn: &dyn MapFunction) -> Result<Vec<u8>, MisbehaviourError> {
        let root = match &self.fault {
            Fault::Omitted { key, trie, .. } => trie.root(key)?,
            Fault::List { key, trie, .. } => trie.root(key),
            Fault::Misplaced { entry } | Fault::OtherMapFunction { entry } => return Ok(entry.clone()),
        };
        fault(self.anchor.0 <= MAX_ANCHOR, "no anchor can be so far")?;
        Ok(anchor(map_fn.name(), Some(&root), TreeSize(self.anchor.0)))
    }
}

const NOT_ANCHOR_FORM: MisbehaviourError = MisbehaviourError::NoFault("the entry is not of anchor form");

fn fault(holds: bool, otherwise: &'static str) -> Result<(), MisbehaviourError> {
    if holds { Ok(()) } else { Err(MisbehaviourError::NoFault(otherwise)) }
}

/// Checks that `entry` is in the log before the anchor, and that it maps to `key`, or does not.
fn check_maps(
    entry: &Given,
    key: &Key,
    belongs: bool,
    size: TreeSize,
    map_fn: &dyn MapFunction,
    checkpoint: &VerifiedCheckpoint,
) -> Result<(), MisbehaviourError> {
    fault(size.contains(entry.index), "the entry does not come before the anchor")?;
    let included = entry.check_inclusion(checkpoint);
    included.map_err(|error| MisbehaviourError::Entry { index: entry.index, error })?;
    let maps = keys_of(map_fn, &entry.entry).contains(key);
    fault(maps || !belongs, "the entry does not map to the key")?;
    fault(!maps || belongs, "the entry maps to the key")
}

impl ListFault {
    fn entry(&self) -> Option<&Given> {
        match self {
            ListFault::Stale { entry }
            | ListFault::SkippedFirst { entry, .. }
            | ListFault::Skipped { entry, .. }
            | ListFault::Foreign { entry, .. } => Some(entry),
            ListFault::Disorder { .. } | ListFault::WrongLast { .. } | ListFault::Impossible => None,
        }
    }

    /// Checks what is shown against `value`, which the index over `size` entries holds. The entry is proven already.
    fn check(&self, value: &Value, size: TreeSize) -> Result<Misbehaviour, MisbehaviourError> {
        match self {
            ListFault::Stale { entry } => {
                fault(value.last < entry.index, "the list reaches the entry")?;
                Ok(Misbehaviour::Stale)
            }
            ListFault::SkippedFirst { entry, first } => {
                first.check(value)?;
                fault(first.position == 0, "the element is not the first")?;
                fault(entry.index < first.index, "the entry does not come before the first element")?;
                Ok(Misbehaviour::Skipped)
            }
            ListFault::Skipped { entry, below, above } => {
                check_neighbours(below, above, value)?;
                let between = below.index < entry.index && entry.index < above.index;
                fault(between, "the entry does not lie between the elements")?;
                Ok(Misbehaviour::Skipped)
            }
            ListFault::Foreign { entry, element } => {
                element.check(value)?;
                fault(element.index == entry.index, "the element is another entry")?;
                Ok(Misbehaviour::Foreign)
            }
            ListFault::Disorder { first, second } => {
                check_neighbours(first, second, value)?;
                fault(first.index >= second.index, "the elements ascend")?;
                Ok(Misbehaviour::Disorder)
            }
            ListFault::WrongLast { element } => {
                element.check(value)?;
                fault(
                    value.count.checked_sub(1) == Some(element.position),
                    "the element is not the final one",
                )?;
                fault(element.index != value.last, "the final element is last")?;
                Ok(Misbehaviour::WrongLast)
            }
            ListFault::Impossible => {
                fault(!value.is_possible_at(size), "the value is possible")?;
                Ok(Misbehaviour::Impossible)
            }
        }
    }
}

/// What is wrong with the list `claimed` that `value` commits to, in an index over the entries below `size`, given that the
/// entries that map to the key are those at `truth`; nothing if the two are equal, or if `claimed` does not have `value`.
///
/// `give` hands over the entry at an index, with its inclusion proof under the checkpoint that is to be shown; where it
/// gives nothing, no fault is found that needs the entry. Both lists are read whole.
pub fn find_list_fault(
    value: &Value,
    claimed: &[LeafIndex],
    truth: &[LeafIndex],
    size: TreeSize,
    mut give: impl FnMut(LeafIndex) -> Option<Given>,
) -> Option<ListFault> {
    if !value.is_possible_at(size) {
        return Some(ListFault::Impossible);
    }
    let element = |position| Element::of_list(claimed, position).filter(|_| commits_to(value, claimed));
    if let Some(first) = claimed.windows(2).position(|pair| matches!(pair, [a, b] if a >= b)) {
        return Some(ListFault::Disorder { first: element(first)?, second: element(first + 1)? });
    }
    if claimed.last() != Some(&value.last) {
        return Some(ListFault::WrongLast { element: element(claimed.len().checked_sub(1)?)? });
    }
    // Both ascend from here on, so each can be searched.
    if let Some(position) = claimed.iter().position(|index| truth.binary_search(index).is_err()) {
        let element = element(position)?;
        return Some(ListFault::Foreign { entry: give(element.index)?, element });
    }
    let missing = truth.iter().find(|index| claimed.binary_search(index).is_err())?;
    let entry = give(*missing)?;
    let above = claimed.partition_point(|index| index < missing);
    Some(match above.checked_sub(1) {
        None => ListFault::SkippedFirst { entry, first: element(0)? },
        Some(_) if above == claimed.len() => ListFault::Stale { entry },
        Some(below) => ListFault::Skipped { entry, below: element(below)?, above: element(above)? },
    })
}

/// Whether the tree over `claimed` is the one of `value`.
fn commits_to(value: &Value, claimed: &[LeafIndex]) -> bool {
    let mut range = CompactRange::new();
    claimed.iter().for_each(|index| range.append(element_hash(*index)));
    range.size().0 == value.count && range.root() == value.root
}

impl Element {
    /// The element at `position` of `list`, proven; every other element is hashed once. None outside of the list.
    #[must_use]
    pub fn of_list(list: &[LeafIndex], position: usize) -> Option<Element> {
        let index = *list.get(position)?;
        let (at, size) = (u64::try_from(position).ok()?, u64::try_from(list.len()).ok()?);
        let hash_of = |node: Node| {
            let begin = usize::try_from(node.index << node.height).map_err(drop)?;
            let leaves = list.get(begin..).ok_or(())?.iter().take(1 << node.height);
            let mut range = CompactRange::new();
            leaves.for_each(|index| range.append(element_hash(*index)));
            Ok::<_, ()>(range.root())
        };
        let spans = inclusion_spans(LeafIndex(at), TreeSize(size)).ok()?;
        let hashes = spans.iter().map(|span| span.hash(hash_of)).collect::<Result<_, _>>().ok()?;
        Some(Element { position: at, index, inclusion: InclusionProof(hashes) })
    }

    /// Checks that it is in the list that has `value`.
    fn check(&self, value: &Value) -> Result<(), MisbehaviourError> {
        let (position, size) = (LeafIndex(self.position), TreeSize(value.count));
        self.inclusion
            .verify(&element_hash(self.index), position, size, &value.root)
            .map_err(|error| MisbehaviourError::Element { position: self.position, error })
    }
}

fn check_neighbours(first: &Element, second: &Element, value: &Value) -> Result<(), MisbehaviourError> {
    first.check(value)?;
    second.check(value)?;
    fault(first.position.checked_add(1) == Some(second.position), "the elements are not neighbours")
}
