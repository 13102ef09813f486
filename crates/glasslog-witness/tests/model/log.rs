//! A log that tells two histories, small enough that everything can be asked of a witness, and what it answers.

use std::collections::BTreeSet;

use glasslog_core::{
    Hash, TreeSize,
    checkpoint::Checkpoint,
    hash::leaf_hash,
    merkle::ConsistencyProof,
    note::{Algorithm, Ed25519Signer, SecretKey, sign},
    witness::AddCheckpoint,
};
use glasslog_witness::decide::{Held, LogKeys, Refused, decide};

use crate::support::{root, subproof};

const ORIGIN: &str = "log.example/model";

/// The histories agree on their first entry, and part at the second.
const COMMON: u8 = 1;

/// A tree head. In what the histories have in common, the history is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Head {
    pub(crate) history: u8,
    pub(crate) size: u8,
}

impl Head {
    /// All heads up to `max_size`.
    pub(crate) fn all(max_size: u8) -> Vec<Head> {
        let common = (0..=COMMON).map(|size| Head { history: 0, size });
        let apart = (COMMON + 1..=max_size).flat_map(|size| [0, 1].map(|history| Head { history, size }));
        common.chain(apart).collect()
    }

    fn leaves(self) -> Vec<Hash> {
        let history = |n| if n < COMMON { 0 } else { self.history };
        (0..self.size).map(|n| leaf_hash(format!("{} {n}", history(n)).as_bytes())).collect()
    }

    fn root(self) -> Hash {
        root(&self.leaves())
    }

    /// Whether one tree is the beginning of the other.
    pub(crate) fn consistent(self, other: Head) -> bool {
        let (one, other) = (self.leaves(), other.leaves());
        one.starts_with(&other) || other.starts_with(&one)
    }
}

/// A cosignature, or the record of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Cosigned {
    pub(crate) head: Head,
    pub(crate) time: u8,
}

/// Cosignatures: bit `n` is the one whose number is `n`.
pub(crate) type Set = u64;

/// A way to decide: the real one, or one with a mistake.
pub(crate) type Decide = fn(Option<&Held>, &LogKeys, &AddCheckpoint, u64) -> Result<Held, Refused>;

pub(crate) fn as_it_is(
    held: Option<&Held>,
    log: &LogKeys,
    request: &AddCheckpoint,
    now: u64,
) -> Result<Held, Refused> {
    decide(held, Some(log), request, now).map(|cosign| cosign.next)
}

/// What is cosigned of everything that may be asked: for each record that may be held, which request leads to which next
/// one at some time of the clock.
pub(crate) struct Verdicts {
    heads: Vec<Head>,
    times: u8,
    /// By the place of the record.
    cosigned: Vec<Vec<(u8, Cosigned)>>,
}

impl Verdicts {
    /// Asks `decide` everything: each old size with each checkpoint and each proof of either history, also those that are
    /// wrong, over each record, at each time from 1 to `times`.
    pub(crate) fn of(decide: Decide, max_size: u8, times: u8) -> Verdicts {
        let heads = Head::all(max_size);
        let key = SecretKey::from_seed(ORIGIN, Algorithm::Ed25519, &[3; 32]).unwrap();
        let log = LogKeys::new(ORIGIN, vec![key.verifier_key().clone()]).unwrap();
        let requests = requests(&heads, max_size, &Ed25519Signer::new(&key));
        let cosigned_time = |next: Held| u8::try_from(next.time).unwrap();
        let head_of = |next: Held| {
            let found =
                heads.iter().find(|head| head.root() == next.root && u64::from(head.size) == next.size.0);
            *found.expect("what was cosigned is a head of the log")
        };
        let records = std::iter::once(None).chain(
            heads.iter().flat_map(|head| (1..=times).map(|time| Some(Cosigned { head: *head, time }))),
        );
        let over = |record: Option<Cosigned>| {
            let held = record.map(|Cosigned { head, time }| Held {
                size: TreeSize(head.size.into()),
                root: head.root(),
                time: time.into(),
            });
            let mut all = Vec::new();
            for (number, request) in requests.iter().enumerate() {
                for now in 1..=times {
                    if let Ok(next) = decide(held.as_ref(), &log, request, now.into()) {
                        let next = Cosigned { head: head_of(next), time: cosigned_time(next) };
                        all.push((u8::try_from(number).unwrap(), next));
                    }
                }
            }
            all.sort_unstable();
            all.dedup();
            all
        };
        let cosigned = records.map(over).collect();
        Verdicts { heads, times, cosigned }
    }

    /// What may be cosigned over `record`: requests, and the record that each leads to.
    pub(crate) fn over(&self, record: Option<Cosigned>) -> &[(u8, Cosigned)] {
        &self.cosigned[record.map_or(0, |record| self.place(record) + 1)]
    }

    /// The number of a cosignature among all that are possible.
    pub(crate) fn place(&self, Cosigned { head: Head { history, size }, time }: Cosigned) -> usize {
        let head = if size <= COMMON { size } else { COMMON + 1 + 2 * (size - COMMON - 1) + history };
        usize::from(head * self.times + time - 1)
    }

    /// All cosignatures that are possible, by their number.
    pub(crate) fn all(&self) -> impl Iterator<Item = Cosigned> {
        self.heads.iter().flat_map(|head| (1..=self.times).map(|time| Cosigned { head: *head, time }))
    }

    /// For each cosignature the set of those that have something to do with it.
    pub(crate) fn related(&self, to: impl Fn(Cosigned, Cosigned) -> bool) -> Vec<Set> {
        let with =
            |one| self.all().enumerate().filter(|(_, other)| to(one, *other)).map(|(n, _)| 1 << n).sum();
        self.all().map(with).collect()
    }
}

/// Each old size with each checkpoint, and one of size 0 that is none, each with the proofs of both histories and with none.
fn requests(heads: &[Head], max_size: u8, signer: &Ed25519Signer) -> Vec<AddCheckpoint> {
    let mut checkpoints: Vec<(u8, Hash)> = heads.iter().map(|head| (head.size, head.root())).collect();
    checkpoints.push((0, leaf_hash(b"not empty")));
    let mut requests = Vec::new();
    for (size, root) in checkpoints {
        let checkpoint = Checkpoint::new(ORIGIN, TreeSize(size.into()), root);
        let note = sign(&checkpoint.to_text(), &[signer]).unwrap().into_bytes();
        for old in 0..=max_size {
            let mut proofs = BTreeSet::from([Vec::new()]);
            if 0 < old && old < size {
                let of = |history| subproof(old.into(), &Head { history, size }.leaves(), true);
                proofs.extend([of(0), of(1)]);
            }
            requests.extend(proofs.into_iter().map(|proof| AddCheckpoint {
                old_size: TreeSize(old.into()),
                proof: ConsistencyProof(proof),
                note: note.clone(),
            }));
        }
    }
    requests
}
