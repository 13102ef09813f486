//! What an audit found.

use std::fmt;

use glasslog_core::{
    Hash, LeafIndex,
    anchor::{Anchor, parse_anchor, parse_disavow},
    merkle::InclusionProof,
};
use glasslog_vindex::{Fault, Key, MapFunction, MisbehaviourProof, keys_of};

/// The most positions that are kept of one disavowal.
const MAX_POSITIONS: usize = 256;

/// What an entry is to an audit: read on any thread, taken in by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// An ordinary entry, with its keys: none if it maps to nothing.
    Entry(Vec<Key>),
    /// Bytes of anchor form, whoever wrote them.
    Anchor(Anchor),
    /// Bytes of disavow form, with the positions that they name.
    Disavowal(Vec<LeafIndex>),
}

impl Reading {
    /// Reads any entry.
    #[must_use]
    pub fn of(map_fn: &dyn MapFunction, entry: &[u8]) -> Reading {
        if let Some(anchor) = parse_anchor(entry) {
            return Reading::Anchor(anchor);
        }
        match parse_disavow(entry) {
            Some(positions) => Reading::Disavowal(positions),
            None => Reading::Entry(keys_of(map_fn, entry)),
        }
    }
}

/// In what way an anchor is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnchorFault {
    /// It names another map function than the pinned one.
    OtherMapFunction,
    /// It names another map function than the log's first anchor: a log has one for ever.
    SecondMapFunction,
    /// It says that it stands elsewhere.
    Misplaced,
    /// Its root is not that of the entries before it.
    WrongRoot,
}

impl fmt::Display for AnchorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AnchorFault::OtherMapFunction => "another map function than the pinned one",
            AnchorFault::SecondMapFunction => "another map function than the first anchor's",
            AnchorFault::Misplaced => "tree_size is not its position",
            AnchorFault::WrongRoot => "the root is not that of the entries before it",
        })
    }
}

/// An anchor that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it stands.
    pub position: LeafIndex,
    /// What stands there.
    pub said: Anchor,
    /// The root that it should have; none for a void anchor, and where it names another map function than the pinned one.
    pub root: Option<Hash>,
    /// What is wrong with it, at least one thing.
    pub faults: Vec<AnchorFault>,
    /// Where the log says that this anchor was wrong, if it does.
    pub disavowed_at: Option<LeafIndex>,
}

impl Finding {
    /// The proof of misbehaviour that the anchor is by itself: none where only its root is wrong, for which a lookup is
    /// needed ([`super::compare`]). `checkpoint` is signed by the log, `inclusion` the anchor's in its tree. Verify it.
    #[must_use]
    pub fn proof(&self, checkpoint: String, inclusion: InclusionProof) -> Option<MisbehaviourProof> {
        let said = &self.said;
        let entry = glasslog_core::anchor::anchor(&said.map_fn, said.root.as_ref(), said.tree_size);
        let fault = if self.faults.contains(&AnchorFault::Misplaced) {
            Fault::Misplaced { entry }
        } else if self.faults.contains(&AnchorFault::OtherMapFunction) {
            Fault::OtherMapFunction { entry }
        } else {
            return None;
        };
        Some(MisbehaviourProof { checkpoint, anchor: self.position, inclusion, fault })
    }
}

/// One line: what stands there, and what should.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the anchor at {} is wrong:", self.position)?;
        for (number, fault) in self.faults.iter().enumerate() {
            write!(f, "{} {fault}", if number == 0 { "" } else { ";" })?;
            match fault {
                AnchorFault::Misplaced => write!(f, " (it says {})", self.said.tree_size)?,
                AnchorFault::WrongRoot => {
                    if let (Some(said), Some(root)) = (self.said.root, self.root) {
                        write!(f, " (it says {said}, they come to {root})")?;
                    }
                }
                AnchorFault::OtherMapFunction => write!(f, " (it says {})", shown(&self.said.map_fn))?,
                AnchorFault::SecondMapFunction => {}
            }
        }
        match self.disavowed_at {
            Some(at) => write!(f, "; disavowed at {at}"),
            None => f.write_str("; not disavowed"),
        }
    }
}

/// A name that somebody else wrote, quoted and of bearable length.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(80).collect();
    if short.len() < name.len() { format!("{short:?}…") } else { format!("{short:?}") }
}

/// An entry by which the log says that anchors of its own were wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disavowal {
    /// Where it stands.
    pub at: LeafIndex,
    /// The positions that it names, ascending: the first 256 of them.
    pub positions: Vec<LeafIndex>,
    /// How many it names.
    pub count: u64,
}

/// What an audit has found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries of anchor form.
    pub anchors: u64,
    /// Of those, how many are void.
    pub voids: u64,
    /// Ordinary entries that map to no key.
    pub unmapped: u64,
    /// Wrong anchors.
    pub wrong: u64,
    /// The first of them, in the order of the log.
    pub findings: Vec<Finding>,
    /// Disavow entries.
    pub disavow_entries: u64,
    /// The first of them, in the order of the log.
    pub disavowals: Vec<Disavowal>,
    /// The map function that the log's first anchor names.
    pub first_map_fn: Option<String>,
    /// Whether any anchor names the pinned map function: if none does, the pin may be the mistake.
    pub names_pinned: bool,
}

impl Report {
    /// The first wrong anchor.
    #[must_use]
    pub fn first_wrong(&self) -> Option<&Finding> {
        self.findings.first()
    }

    /// Takes in an anchor that has been judged. At most `keep` findings are kept.
    pub(super) fn anchor(&mut self, said: &Anchor, pinned: &str, finding: Option<Finding>, keep: usize) {
        self.anchors += 1;
        self.voids += u64::from(said.root.is_none());
        self.names_pinned |= said.map_fn == pinned;
        self.first_map_fn.get_or_insert_with(|| said.map_fn.clone());
        let Some(finding) = finding else { return };
        self.wrong += 1;
        if self.findings.len() < keep {
            self.findings.push(finding);
        }
    }

    /// Takes in a disavow entry. Only what stands before it can be disavowed.
    pub(super) fn disavowal(&mut self, at: LeafIndex, positions: &[LeafIndex], keep: usize) {
        let mut named = positions.to_vec();
        named.sort_unstable();
        for finding in &mut self.findings {
            if finding.disavowed_at.is_none() && named.binary_search(&finding.position).is_ok() {
                finding.disavowed_at = Some(at);
            }
        }
        self.disavow_entries += 1;
        if self.disavowals.len() < keep {
            let count = named.len() as u64;
            named.truncate(MAX_POSITIONS);
            self.disavowals.push(Disavowal { at, positions: named, count });
        }
    }
}
