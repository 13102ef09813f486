//! Judges: the recursion of draft-ietf-plants-merkle-tree-certs, §4.4.1, word for word over the naive tree; and the
//! draft's accumulated vectors, which torchwood reproduces too.

use std::{fmt::Write, ops::Range};

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    hash::{leaf_hash, node_hash},
    merkle::{Node, Span},
    subtree::{self, Subtree, SubtreeConsistencyProof, SubtreeError},
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::naive::{Entries, size};

/// Every subtree of every tree up to here, as in the vectors.
const EXHAUSTIVE: usize = 130;

/// The tree of the draft's vectors: leaf `i` is the byte `i`.
fn bytes(count: usize) -> Entries {
    Entries::of((0..count).map(|i| vec![u8::try_from(i).unwrap()]).collect())
}

fn subtree(range: &Range<usize>) -> Subtree {
    Subtree::new(LeafIndex(size(range.start).0), size(range.end)).unwrap()
}

/// "start is a multiple of BIT_CEIL(end - start)", and not empty.
fn is_subtree(range: &Range<usize>) -> bool {
    !range.is_empty() && range.start.is_multiple_of(range.len().next_power_of_two())
}

/// SUBTREE_SUBPROOF(start, end, D[tree], known).
fn subproof(judge: &Entries, range: Range<usize>, tree: Range<usize>, known: bool) -> Vec<Hash> {
    if range == tree {
        return if known { vec![] } else { vec![judge.mth(tree)] };
    }
    let k = tree.start + tree.len().next_power_of_two() / 2;
    let (left, right) = (tree.start..k, k..tree.end);
    if range.end <= k {
        [subproof(judge, range, left, known), vec![judge.mth(right)]].concat()
    } else if k <= range.start {
        [subproof(judge, range, right, known), vec![judge.mth(left)]].concat()
    } else {
        assert_eq!(range.start, tree.start, "start < k < end implies start = 0");
        [subproof(judge, k..range.end, right, false), vec![judge.mth(left)]].concat()
    }
}

fn hash_of(judge: &Entries, span: Span) -> Hash {
    let of_node = |node: Node| {
        let width = 1 << node.height;
        let start = usize::try_from(node.index).unwrap() * width;
        Ok::<_, ()>(judge.mth(start..start + width))
    };
    span.hash(of_node).unwrap()
}

fn flipped(mut hash: Hash) -> Hash {
    hash.0[0] ^= 0xff;
    hash
}

#[test]
fn which_intervals_are_subtrees() {
    for end in 0..=EXHAUSTIVE {
        for start in 0..=EXHAUSTIVE {
            let verdict = Subtree::new(LeafIndex(size(start).0), size(end));
            assert_eq!(verdict.is_ok(), start < end && is_subtree(&(start..end)), "[{start}, {end})");
        }
    }
    // The draft's vectors for large trees.
    let power = |exponent: u32| 1_u64 << exponent;
    for end in [power(47) + 1, power(48) - 1, power(62) + 1, power(63) - 1, power(63) + 1, u64::MAX] {
        Subtree::new(LeafIndex(0), TreeSize(end)).unwrap();
        for start in [46, 61, 62].map(power).into_iter().filter(|start| end / 4 <= *start && *start < end / 2)
        {
            assert!(Subtree::new(LeafIndex(start), TreeSize(end)).is_err(), "[{start}, {end})");
        }
    }
}

/// The rolling hashes of the draft (and of torchwood's tests) over all subtrees of up to 130 leaves, and over all their
/// proofs in all trees of up to 130. They count `[x, x)` as a subtree, with the empty root and the empty proof.
#[test]
fn accumulated_vectors() {
    let judge = bytes(EXHAUSTIVE);
    let (mut hashes, mut proofs) = (Sha256::new(), Sha256::new());
    for n in 0..=EXHAUSTIVE {
        for end in 0..=n {
            for range in (0..=end).map(|start| start..end) {
                if range.is_empty() {
                    proofs.update(format!("[{end}, {end}) {n}\n"));
                } else if is_subtree(&range) {
                    let mut line = format!("{} {n}", subtree(&range));
                    for span in subtree::consistency_spans(subtree(&range), size(n)).unwrap() {
                        write!(line, " {}", hash_of(&judge, span)).unwrap();
                    }
                    proofs.update(format!("{line}\n"));
                }
            }
        }
        for range in (0..=n).map(|start| start..n) {
            if range.is_empty() {
                hashes.update(format!("[{n}, {n}) {}\n", Hash::EMPTY_ROOT));
            } else if is_subtree(&range) {
                let subtree = subtree(&range);
                hashes.update(format!("{subtree} {}\n", hash_of(&judge, subtree.span())));
            }
        }
    }
    let [hashes, proofs] = [hashes, proofs].map(|rolling| Hash(rolling.finalize().into()).to_string());
    assert_eq!(hashes, "b82806ad4265bb151c1119c0f4db437bb4d1a1f887b3a7fba1cd4ebf552e3e81");
    assert_eq!(proofs, "10fa99b37bf9bf9ffa26b412fbd98bd75363256d0b75d61bc4538b9c9c5a0a74");
}

#[test]
fn every_subtree_of_every_tree() {
    let judge = Entries::new(70);
    for n in 1..=70 {
        for end in 1..=n {
            for range in (0..end).map(|start| start..end).filter(is_subtree) {
                let spans = subtree::consistency_spans(subtree(&range), size(n)).unwrap();
                let proof: Vec<Hash> = spans.into_iter().map(|span| hash_of(&judge, span)).collect();
                assert_eq!(proof, subproof(&judge, range.clone(), 0..n, true), "{range:?} of {n}");
                let verdict = SubtreeConsistencyProof(proof).verify(
                    subtree(&range),
                    &judge.mth(range.clone()),
                    size(n),
                    &judge.root(n),
                );
                assert_eq!(verdict, Ok(()), "{range:?} of {n}");
            }
        }
        let whole = subtree(&(0..n));
        let outside = SubtreeError::OutsideTree { subtree: whole, size: size(n - 1) };
        assert_eq!(subtree::consistency_spans(whole, size(n - 1)), Err(outside));
        let verdict =
            SubtreeConsistencyProof::default().verify(whole, &judge.root(n), size(n - 1), &judge.root(n - 1));
        assert_eq!(verdict, Err(outside));
    }
}

/// A proof that holds, to be spoilt.
#[derive(Clone)]
struct Case {
    proof: Vec<Hash>,
    range: Range<usize>,
    hash: Hash,
    size: u64,
    root: Hash,
}

type Spoil = fn(&mut Case);

/// What is done to a good proof, and why it must not verify afterwards.
const BAD: &[(&str, Spoil)] = &[
    ("the hash is another one", |it| it.hash = flipped(it.hash)),
    ("the hash is that of no leaves", |it| it.hash = Hash::EMPTY_ROOT),
    ("the root is another one", |it| it.root = flipped(it.root)),
    ("a hash too many at the start", |it| it.proof.insert(0, it.hash)),
    ("a hash too many at the end", |it| it.proof.push(it.root)),
    ("130 hashes, more than any proof has", |it| it.proof = vec![it.hash; 130]),
    ("the tree is twice as large", |it| it.size *= 2),
    ("the tree has all the leaves there can be", |it| it.size = u64::MAX),
    ("the subtree is the one after it", |it| {
        it.range = it.range.start + it.range.len().next_power_of_two()
            ..it.range.end + it.range.len().next_power_of_two();
    }),
];

/// The same for proofs that have hashes.
const BAD_IF_NOT_EMPTY: &[(&str, Spoil)] = &[
    ("the proof is empty", |it| it.proof.clear()),
    ("a hash is missing at the start", |it| it.proof = it.proof[1..].to_vec()),
    ("a hash is missing at the end", |it| it.proof.truncate(it.proof.len() - 1)),
    ("the first hash is changed", |it| it.proof[0] = flipped(it.proof[0])),
    ("the last hash is changed", |it| *it.proof.last_mut().unwrap() = flipped(*it.proof.last().unwrap())),
    ("hash and root are swapped", |it| core::mem::swap(&mut it.hash, &mut it.root)),
];

#[test]
fn bad_proofs() {
    let judge = Entries::new(34);
    for n in 1..=34 {
        for end in 1..=n {
            for range in (0..end).map(|start| start..end).filter(is_subtree) {
                let good = Case {
                    proof: subproof(&judge, range.clone(), 0..n, true),
                    hash: judge.mth(range.clone()),
                    range,
                    size: size(n).0,
                    root: judge.root(n),
                };
                let more = if good.proof.is_empty() { &[][..] } else { BAD_IF_NOT_EMPTY };
                for (why, spoil) in BAD.iter().chain(more) {
                    let mut it = good.clone();
                    spoil(&mut it);
                    let proof = SubtreeConsistencyProof(it.proof);
                    let verdict = proof.verify(subtree(&it.range), &it.hash, TreeSize(it.size), &it.root);
                    assert!(verdict.is_err(), "{:?} of {n} although {why}", good.range);
                }
            }
        }
    }
}

/// In a tree of equal leaves every perfect subtree of one height has the same hash, so trees far too large to build have
/// proofs as well: what is planned is what is accepted, no hash less or more, and nothing overflows.
#[derive(Debug)]
struct EqualLeaves(Vec<Hash>);

impl EqualLeaves {
    fn new() -> EqualLeaves {
        let perfect = std::iter::successors(Some(leaf_hash(b"equal")), |hash| Some(node_hash(hash, hash)));
        EqualLeaves(perfect.take(64).collect())
    }

    fn hash(&self, span: Span) -> Hash {
        span.hash(|node| Ok::<_, ()>(self.0[usize::try_from(node.height).unwrap()])).unwrap()
    }
}

proptest! {
    #[test]
    fn subtrees_of_large_trees(place: u64, length in 1..=u64::MAX, shift in 0..64_u32, size: u64) {
        let leaves = EqualLeaves::new();
        let length = (length >> shift).max(1);
        let start = length.checked_next_power_of_two().map_or(0, |width| place / width * width);
        let Some(end) = start.checked_add(length) else { return Ok(()) };
        let size = TreeSize(size.max(end));
        let subtree = Subtree::new(LeafIndex(start), TreeSize(end)).unwrap();

        let spans = subtree::consistency_spans(subtree, size).unwrap();
        let mut proof: Vec<Hash> = spans.into_iter().map(|span| leaves.hash(span)).collect();
        let hash = leaves.hash(subtree.span());
        let root = leaves.hash(Span::whole(size));
        let verify = |proof: &[Hash]| SubtreeConsistencyProof(proof.to_vec()).verify(subtree, &hash, size, &root);
        prop_assert_eq!(verify(&proof), Ok(()));
        let last = proof.pop();
        prop_assert!(last.is_none() || verify(&proof).is_err());
        proof.extend(last.into_iter().chain([root]));
        prop_assert!(verify(&proof).is_err());
    }
}
