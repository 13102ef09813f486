//! Judges: the naive tree, and the roots of the eight-leaf tree that RFC 6962 implementations share.

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    merkle::{self, CompactRange, ConsistencyProof, InclusionProof, ProofError, Span},
};
use proptest::prelude::*;

use crate::naive::{Entries, size};

/// Every pair of sizes, and every leaf, up to here.
const EXHAUSTIVE: usize = 130;

fn index(i: usize) -> LeafIndex {
    LeafIndex(u64::try_from(i).unwrap())
}

/// The hashes of `spans`, by way of their perfect subtrees.
fn fill(spans: &[Span], judge: &Entries) -> Vec<Hash> {
    let hash_of = |node: merkle::Node| {
        let width = 1 << node.height;
        let start = usize::try_from(node.index).unwrap() * width;
        Ok::<_, ()>(judge.mth(start..start + width))
    };
    spans.iter().map(|span| span.hash(hash_of).unwrap()).collect()
}

#[test]
fn published_roots() {
    let inputs =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut range = CompactRange::new();
    for (n, root) in roots.iter().enumerate() {
        assert_eq!(range.root().to_string(), *root, "at size {n}");
        if let Some(input) = inputs.get(n) {
            range.append(glasslog_core::hash::leaf_hash(&const_hex::decode(input).unwrap()));
        }
    }
}

#[test]
fn compact_range_has_the_naive_root() {
    let judge = Entries::new(600);
    let mut range = CompactRange::new();
    for n in 0..=judge.leaves.len() {
        assert_eq!(range.size(), size(n));
        assert_eq!(range.root(), judge.root(n));
        assert_eq!(CompactRange::from_hashes(range.size(), range.hashes().to_vec()).as_ref(), Some(&range));
        assert_eq!(CompactRange::from_hashes(size(n + 1), range.hashes().to_vec()).is_some(), n % 4 == 1);
        let widths: u64 = range.nodes().map(|node| 1 << node.height).sum();
        assert_eq!(widths, range.size().0);
        if let Some(leaf) = judge.leaves.get(n) {
            range.append(*leaf);
        }
    }
}

#[test]
fn every_inclusion_proof() {
    let judge = Entries::new(EXHAUSTIVE);
    for n in 0..=EXHAUSTIVE {
        let root = judge.root(n);
        for (i, leaf) in judge.leaves[..n].iter().enumerate() {
            let proof = InclusionProof(fill(&merkle::inclusion_spans(index(i), size(n)).unwrap(), &judge));
            assert_eq!(proof.0, judge.path(i, n), "leaf {i} of {n}");
            proof.verify(leaf, index(i), size(n), &root).unwrap();
        }
        let outside = ProofError::IndexOutsideTree { index: index(n), size: size(n) };
        assert_eq!(merkle::inclusion_spans(index(n), size(n)), Err(outside));
        assert_eq!(InclusionProof::default().verify(&root, index(n), size(n), &root), Err(outside));
    }
}

#[test]
fn every_consistency_proof() {
    let judge = Entries::new(EXHAUSTIVE);
    let roots: Vec<Hash> = (0..=EXHAUSTIVE).map(|n| judge.root(n)).collect();
    for new in 0..=EXHAUSTIVE {
        for old in 0..=new {
            let proof =
                ConsistencyProof(fill(&merkle::consistency_spans(size(old), size(new)).unwrap(), &judge));
            assert_eq!(proof.0, judge.consistency(old, new), "from {old} to {new}");
            proof.verify(size(old), &roots[old], size(new), &roots[new]).unwrap();
        }
        let shrinking = ProofError::Shrinking { old: size(new + 1), new: size(new) };
        assert_eq!(merkle::consistency_spans(size(new + 1), size(new)), Err(shrinking));
    }
}

type Spoil<T> = fn(&mut T);

/// A proof that holds, to be spoilt.
#[derive(Clone)]
struct Inclusion {
    proof: Vec<Hash>,
    leaf: Hash,
    index: u64,
    size: u64,
    root: Hash,
}

/// What is done to a good inclusion proof, and why it must not verify afterwards.
const BAD_INCLUSIONS: &[(&str, Spoil<Inclusion>)] = &[
    ("the leaf is another one", |it| it.leaf = flipped(it.leaf)),
    ("the root is another one", |it| it.root = flipped(it.root)),
    ("the root is that of the empty tree", |it| it.root = Hash::EMPTY_ROOT),
    ("the root of a tree of several is taken for its leaf", |it| it.leaf = it.root),
    ("a hash is missing at the start", |it| it.proof = it.proof[1..].to_vec()),
    ("a hash is missing at the end", |it| it.proof.truncate(it.proof.len() - 1)),
    ("the proof is empty", |it| it.proof.clear()),
    ("a hash too many at the start", |it| it.proof.insert(0, it.root)),
    ("a hash too many at the end", |it| it.proof.push(it.root)),
    ("65 hashes, more than any tree is high", |it| it.proof = vec![it.root; 65]),
    ("the first hash is changed", |it| it.proof[0] = flipped(it.proof[0])),
    ("the last hash is changed", |it| *it.proof.last_mut().unwrap() = flipped(*it.proof.last().unwrap())),
    ("the index is the next one", |it| it.index += 1),
    ("the index is its sibling's", |it| it.index ^= 1),
    ("the index is far outside the tree", |it| it.index = u64::MAX),
    ("the index is the size", |it| it.index = it.size),
    ("the tree is empty", |it| it.size = 0),
    ("the tree is twice as large", |it| it.size *= 2),
    ("the tree has all the leaves there can be", |it| it.size = u64::MAX),
];

#[test]
fn bad_inclusion_proofs() {
    let judge = Entries::new(34);
    for n in 2..=34 {
        for i in 0..n {
            let good = Inclusion {
                proof: judge.path(i, n),
                leaf: judge.leaves[i],
                index: index(i).0,
                size: size(n).0,
                root: judge.root(n),
            };
            for (why, spoil) in BAD_INCLUSIONS {
                let mut it = good.clone();
                spoil(&mut it);
                let proof = InclusionProof(it.proof);
                let verdict = proof.verify(&it.leaf, LeafIndex(it.index), TreeSize(it.size), &it.root);
                assert!(verdict.is_err(), "leaf {i} of {n} although {why}");
            }
        }
    }
}

/// A proof that holds, to be spoilt.
#[derive(Clone)]
struct Consistency {
    proof: Vec<Hash>,
    old: u64,
    old_root: Hash,
    new: u64,
    new_root: Hash,
}

/// What is done to a good consistency proof between different sizes above 0, and why it must not verify afterwards.
const BAD_CONSISTENCIES: &[(&str, Spoil<Consistency>)] = &[
    ("the old root is another one", |it| it.old_root = flipped(it.old_root)),
    ("the new root is another one", |it| it.new_root = flipped(it.new_root)),
    ("the roots are swapped", |it| core::mem::swap(&mut it.old_root, &mut it.new_root)),
    ("the sizes are swapped", |it| core::mem::swap(&mut it.old, &mut it.new)),
    ("the sizes are equal and the roots are not", |it| {
        it.old = it.new;
        it.proof.clear();
    }),
    ("a tree of size 0 has the root of a larger one", |it| {
        it.old = 0;
        it.proof.clear();
    }),
    ("from size 0 there is nothing to prove with", |it| {
        it.old = 0;
        it.old_root = Hash::EMPTY_ROOT;
    }),
    ("the new tree is empty and its root is not", |it| {
        (it.old, it.new) = (0, 0);
        it.old_root = Hash::EMPTY_ROOT;
        it.proof.clear();
    }),
    ("a hash is missing at the start", |it| it.proof = it.proof[1..].to_vec()),
    ("a hash is missing at the end", |it| it.proof.truncate(it.proof.len() - 1)),
    ("the proof is empty", |it| it.proof.clear()),
    ("a hash too many at the start", |it| it.proof.insert(0, it.old_root)),
    ("a hash too many at the end", |it| it.proof.push(it.new_root)),
    ("130 hashes, more than any proof has", |it| it.proof = vec![it.old_root; 130]),
    ("the first hash is changed", |it| it.proof[0] = flipped(it.proof[0])),
    ("the last hash is changed", |it| *it.proof.last_mut().unwrap() = flipped(*it.proof.last().unwrap())),
    ("the old tree is twice as large", |it| it.old *= 2),
    ("the new tree is twice as large", |it| it.new *= 2),
    ("the new tree has all the leaves there can be", |it| it.new = u64::MAX),
];

#[test]
fn bad_consistency_proofs() {
    let judge = Entries::new(34);
    for new in 2..=34 {
        for old in 1..new {
            let good = Consistency {
                proof: judge.consistency(old, new),
                old: size(old).0,
                old_root: judge.root(old),
                new: size(new).0,
                new_root: judge.root(new),
            };
            for (why, spoil) in BAD_CONSISTENCIES {
                let mut it = good.clone();
                spoil(&mut it);
                let proof = ConsistencyProof(it.proof);
                let verdict = proof.verify(TreeSize(it.old), &it.old_root, TreeSize(it.new), &it.new_root);
                assert!(verdict.is_err(), "from {old} to {new} although {why}");
            }
        }
    }
}

fn flipped(mut hash: Hash) -> Hash {
    hash.0[31] ^= 1;
    hash
}

proptest! {
    /// The lengths of proofs in trees far too large to build: what is planned is what is accepted, and nothing
    /// overflows.
    #[test]
    fn planned_lengths_are_accepted_lengths(a: u64, b: u64, shift_a in 0..64_u32, shift_b in 0..64_u32) {
        let (low, high) = ((a >> shift_a).min(b >> shift_b), (a >> shift_a).max(b >> shift_b));
        let zero = Hash([0; 32]);
        if low < high {
            let spans = merkle::inclusion_spans(LeafIndex(low), TreeSize(high)).unwrap();
            prop_assert!(InclusionProof(vec![zero; spans.len()]).root(&zero, LeafIndex(low), TreeSize(high)).is_ok());
        }
        let spans = merkle::consistency_spans(TreeSize(low), TreeSize(high)).unwrap();
        let old_root = if low == 0 { Hash::EMPTY_ROOT } else { zero };
        let new_root = if high == 0 { Hash::EMPTY_ROOT } else { zero };
        let verdict = ConsistencyProof(vec![zero; spans.len()]).verify(TreeSize(low), &old_root, TreeSize(high), &new_root);
        prop_assert!(!matches!(verdict, Err(ProofError::Length { .. })), "{verdict:?}");
    }
}

/// The left siblings of a leaf are the tree before it, at every index of every size.
#[test]
fn an_inclusion_proof_holds_the_tree_before_the_leaf() {
    let judge = Entries::new(EXHAUSTIVE);
    for n in 1..=EXHAUSTIVE {
        for m in 0..n {
            let before = InclusionProof(judge.path(m, n)).before(index(m), size(n)).unwrap();
            assert_eq!((before.size(), before.root()), (size(m), judge.root(m)));
            let longer = [judge.path(m, n), vec![Hash::EMPTY_ROOT]].concat();
            assert!(InclusionProof(longer).before(index(m), size(n)).is_err());
        }
        assert!(InclusionProof::default().before(index(n), size(n)).is_err());
    }
}
