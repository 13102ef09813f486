//! A wrong root, proven by what the log itself answers under it.
//!
//! The log's verified trie proof for a key and our own proof for it are two ways down two tries that differ. Either the leaves
//! at their ends differ, and then a key is found whose list is wrong; or the siblings on the way do, and then the next
//! question leads into the deepest subtree that differs. Each answer leads deeper, so there are few questions, each of which
//! the next can be found without.

use glasslog_core::{
    LeafIndex, TreeSize,
    anchor::anchor,
    checkpoint::{CheckpointError, VerifiedCheckpoint},
    hash::leaf_hash,
    merkle::{InclusionProof, ProofError},
    note::VerifierKey,
};
use glasslog_vindex::{
    Absence, Evidence, Fault, Given, Key, ListFault, Lookup, MapFunction, MisbehaviourProof, Presence, Proof,
    Step, Steps, TrieProofError, Value, find_list_fault,
};

use crate::{IndexError, Revision};

/// The most lookups that finding a key takes while the log answers under one root: two for each bit of a key, and one.
pub const MAX_QUESTIONS: usize = 513;

/// Our pages of a list, in elements.
const PAGE: usize = 65_536;

/// Who asks: what is pinned of the log.
#[derive(Clone, Copy)]
pub struct Inquirer<'a> {
    /// The log.
    pub origin: &'a str,
    /// Its keys.
    pub log_keys: &'a [VerifierKey],
    /// What its index is of.
    pub map_fn: &'a dyn MapFunction,
}

/// What a lookup shows beside our own index at the same anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The log answers under the right root.
    Same,
    /// Nothing yet: the log is to be asked for this key.
    Ask(Key),
    /// A key whose list is wrong.
    Wrong(Box<Claim>),
}

/// Why a lookup says nothing about the log's index.
#[derive(Debug, thiserror::Error)]
pub enum InquiryError {
    /// The log did not sign the checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The trie proof.
    #[error("the trie proof proves nothing: {0}")]
    Trie(#[from] TrieProofError),
    /// The root of the trie proof is not anchored.
    #[error("the index root that the answer leads to is not anchored at {anchor}: {error}")]
    Anchor {
        /// Where it should be.
        anchor: LeafIndex,
        /// Why it is not.
        error: ProofError,
    },
    /// It is about another key.
    #[error("the log answers about another key than was asked for")]
    OtherKey,
    /// It is by another anchor than our revision.
    #[error("the answer rests on the anchor at {answered}, and not on the one at {revision}")]
    OtherAnchor {
        /// The answer's.
        answered: LeafIndex,
        /// Ours.
        revision: TreeSize,
    },
    /// The log says that it is empty.
    #[error("the log answers that it is empty")]
    Empty,
    /// Our own index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// A key whose list in the log's index is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    key: Key,
    checkpoint: String,
    anchor: LeafIndex,
    inclusion: InclusionProof,
    said: Proof,
    truth: Vec<LeafIndex>,
}

/// What to ask first: any key does.
#[must_use]
pub fn first_question() -> Key {
    Key([0; Key::LEN])
}

/// Compares the log's answer to the question of `key` with our own `revision` at the same anchor. Everything is verified
/// but the tail, the quorum and whether values are possible, which a proof of misbehaviour does not rest on.
///
/// # Errors
///
/// [`InquiryError`]: nothing is known then.
pub fn compare(
    lookup: &Lookup,
    key: &Key,
    inquirer: &Inquirer<'_>,
    revision: &Revision,
) -> Result<Comparison, InquiryError> {
    let (said, root) = proven(lookup, key, inquirer, revision.size())?;
    if root == revision.root() {
        return Ok(Comparison::Same);
    }
    let ours = revision.prove(key)?;
    let claim = |key: Key, said: Proof| claim(lookup, key, said, revision);
    let (Some(theirs_at_end), Some(ours_at_end)) = (end(key, &said), end(key, &ours)) else {
        // One of the tries is empty, and says so of every key.
        return match (end(key, &said), end(key, &ours)) {
            (Some(leaf), _) => claim(leaf.key, leaf.presence()),
            (None, Some(leaf)) => claim(leaf.key, Proof::Absent(Absence::EmptyTrie)),
            (None, None) => Ok(Comparison::Same),
        };
    };
    if (theirs_at_end.key, theirs_at_end.value) == (ours_at_end.key, ours_at_end.value) {
        return deeper(&theirs_at_end, &ours_at_end, revision);
    }
    if let (Proof::Absent(_), Proof::Present(_)) = (&said, &ours) {
        return claim(*key, said);
    }
    let our_value = match revision.prove(&theirs_at_end.key)? {
        Proof::Present(presence) => Some(presence.value),
        Proof::Absent(_) => None,
    };
    if our_value == Some(theirs_at_end.value) {
        // Their leaf is right. Where they are asked for ours, it is not there, or it differs below.
        return Ok(Comparison::Ask(ours_at_end.key));
    }
    claim(theirs_at_end.key, theirs_at_end.presence())
}

/// The leaf that a way down a trie ends at.
struct End<'p> {
    key: Key,
    value: Value,
    steps: &'p Steps,
}

impl End<'_> {
    fn presence(&self) -> Proof {
        Proof::Present(Presence { value: self.value, steps: self.steps.clone() })
    }
}

fn end<'p>(key: &Key, proof: &'p Proof) -> Option<End<'p>> {
    match proof {
        Proof::Present(Presence { value, steps }) => Some(End { key: *key, value: *value, steps }),
        Proof::Absent(Absence::Other { key, value, steps }) => Some(End { key: *key, value: *value, steps }),
        Proof::Absent(Absence::EmptyTrie) => None,
    }
}

/// What the log says, and the root that it says it under; verified as far as a proof of misbehaviour needs it.
fn proven(
    lookup: &Lookup,
    key: &Key,
    inquirer: &Inquirer<'_>,
    size: TreeSize,
) -> Result<(Proof, glasslog_core::Hash), InquiryError> {
    let Inquirer { origin, log_keys, map_fn } = *inquirer;
    let checkpoint = VerifiedCheckpoint::open(lookup.checkpoint.as_bytes(), origin, log_keys)?;
    if !lookup.question.key(map_fn).is_ok_and(|asked| asked == *key) {
        return Err(InquiryError::OtherKey);
    }
    if lookup.anchor != size.next_index() {
        return Err(InquiryError::OtherAnchor { answered: lookup.anchor, revision: size });
    }
    let (said, root) = match &lookup.evidence {
        Evidence::EmptyLog => return Err(InquiryError::Empty),
        Evidence::Absent { trie, .. } => (Proof::Absent(trie.clone()), trie.root(key)?),
        Evidence::Present { trie, .. } => (Proof::Present(trie.clone()), trie.root(key)),
    };
    let entry = anchor(map_fn.name(), Some(&root), size);
    lookup
        .inclusion
        .verify(&leaf_hash(&entry), lookup.anchor, checkpoint.size(), checkpoint.root())
        .map_err(|error| InquiryError::Anchor { anchor: lookup.anchor, error })?;
    Ok((said, root))
}

/// The two ways end at one leaf, so some sibling differs: the question that leads into the deepest one.
fn deeper(theirs: &End<'_>, ours: &End<'_>, revision: &Revision) -> Result<Comparison, InquiryError> {
    let find = |steps: &Steps, bit: u8| steps.as_slice().iter().find(|step| step.bit == bit).copied();
    let differs = |step: &&Step| find(theirs.steps, step.bit) != find(ours.steps, step.bit);
    let all = theirs.steps.as_slice().iter().chain(ours.steps.as_slice());
    let Some(bit) = all.filter(differs).map(|step| step.bit).max() else { return Ok(Comparison::Same) };
    let across = flipped(&ours.key, bit);
    if find(theirs.steps, bit).is_none() {
        // They have no such subtree at all: any key of ours in it is missing.
        let inside = revision.prove(&across)?;
        return Ok(Comparison::Ask(end(&across, &inside).map_or(across, |end| end.key)));
    }
    Ok(Comparison::Ask(across))
}

/// `key` with the other bit at `place`: a way down that leaves the one of `key` there.
fn flipped(key: &Key, place: u8) -> Key {
    let mut key = *key;
    if let Some(byte) = key.0.get_mut(usize::from(place >> 3)) {
        *byte ^= 0x80 >> (place & 7);
    }
    key
}

fn claim(lookup: &Lookup, key: Key, said: Proof, revision: &Revision) -> Result<Comparison, InquiryError> {
    let mut truth = Vec::new();
    loop {
        let page = revision.page(&key, truth.len() as u64, PAGE)?;
        let last = page.len() < PAGE;
        truth.extend(page);
        if last {
            break;
        }
    }
    Ok(Comparison::Wrong(Box::new(Claim {
        key,
        checkpoint: lookup.checkpoint.clone(),
        anchor: lookup.anchor,
        inclusion: lookup.inclusion.clone(),
        said,
        truth,
    })))
}

impl Claim {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The anchor under which the log claims it.
    #[must_use]
    pub fn anchor(&self) -> LeafIndex {
        self.anchor
    }

    /// The checkpoint under which [`Claim::prove`] needs the entry to be included.
    #[must_use]
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// How many elements of the log's list of the key are needed, from the first on; 0 if none are.
    #[must_use]
    pub fn list_needed(&self) -> u64 {
        let Proof::Present(presence) = &self.said else { return 0 };
        let value = &presence.value;
        let settled = !value.is_possible_at(self.size()) || self.stale(value).is_some();
        if settled { 0 } else { value.count }
    }

    /// Which entry is needed, given the log's list, if one is.
    #[must_use]
    pub fn entry_needed(&self, list: &[LeafIndex]) -> Option<LeafIndex> {
        let mut wanted = None;
        let _ = self.fault(list, &mut |index| {
            wanted = Some(index);
            None
        });
        wanted
    }

    /// The proof, from the log's list and the entry that is needed; none if they do not make one, as where the list that is
    /// given is not the one that the log committed to. Verify it.
    #[must_use]
    pub fn prove(&self, list: &[LeafIndex], entry: Option<Given>) -> Option<MisbehaviourProof> {
        let fault = self.fault(list, &mut |index| entry.clone().filter(|entry| entry.index == index))?;
        let (checkpoint, inclusion) = (self.checkpoint.clone(), self.inclusion.clone());
        Some(MisbehaviourProof { checkpoint, anchor: self.anchor, inclusion, fault })
    }

    fn fault(&self, list: &[LeafIndex], give: &mut dyn FnMut(LeafIndex) -> Option<Given>) -> Option<Fault> {
        let key = self.key;
        match &self.said {
            Proof::Absent(trie) => {
                let entry = give(*self.truth.first()?)?;
                Some(Fault::Omitted { key, trie: trie.clone(), entry })
            }
            Proof::Present(trie) => {
                let fault = match self.stale(&trie.value) {
                    Some(newest) => ListFault::Stale { entry: give(newest)? },
                    None => find_list_fault(&trie.value, list, &self.truth, self.size(), give)?,
                };
                Some(Fault::List { key, trie: trie.clone(), fault })
            }
        }
    }

    /// Our newest entry of the key, if the log's list ends before it: then its elements do not matter.
    fn stale(&self, value: &Value) -> Option<LeafIndex> {
        let possible = value.is_possible_at(self.size());
        self.truth.last().copied().filter(|newest| possible && value.last < *newest)
    }

    fn size(&self) -> TreeSize {
        TreeSize(self.anchor.0)
    }
}
