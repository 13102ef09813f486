//! RFC 6962 trees written as the RFC states them, recursion for recursion. Slow, and nothing of glasslog in it.

use sha2::{Digest, Sha256};

pub(crate) type Hash = [u8; 32];

pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// Leaves that are made when asked for. A fork shares all leaves below its first own one.
#[derive(Clone)]
pub(crate) struct Tree {
    salt: String,
    leaves: Vec<Hash>,
}

impl Tree {
    pub(crate) fn new(salt: &str) -> Tree {
        Tree { salt: salt.to_owned(), leaves: Vec::new() }
    }

    /// The same log for the first `at` leaves, another one from there.
    pub(crate) fn fork(&mut self, at: u64, salt: &str) -> Tree {
        let leaves = self.leaves(0, at).to_vec();
        Tree { salt: format!("{} {salt}", self.salt), leaves }
    }

    fn leaves(&mut self, start: u64, end: u64) -> &[Hash] {
        let (start, end) = (usize::try_from(start).unwrap(), usize::try_from(end).unwrap());
        for number in self.leaves.len()..end {
            self.leaves.push(sha256(format!("\0{} {number}", self.salt).as_bytes()));
        }
        &self.leaves[start..end]
    }

    /// MTH of the first `size` leaves (RFC 6962 section 2.1).
    pub(crate) fn root(&mut self, size: u64) -> Hash {
        mth(self.leaves(0, size))
    }

    /// MTH of the leaves `[start, end)`.
    pub(crate) fn subtree(&mut self, start: u64, end: u64) -> Hash {
        mth(self.leaves(start, end))
    }

    /// PROOF(m, D[n]), for 0 < m <= n (RFC 6962 section 2.1.2).
    pub(crate) fn consistency(&mut self, m: u64, n: u64) -> Vec<Hash> {
        subproof(usize::try_from(m).unwrap(), self.leaves(0, n), true)
    }

    /// SUBTREE_PROOF(start, end, D[n]) of draft-ietf-plants-merkle-tree-certs, section 4.4.1.
    pub(crate) fn subtree_consistency(&mut self, start: u64, end: u64, n: u64) -> Vec<Hash> {
        let (start, end) = (usize::try_from(start).unwrap(), usize::try_from(end).unwrap());
        subtree_subproof(start, end, self.leaves(0, n), true)
    }
}

fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&mth(left), &mth(right))
        }
    }
}

fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], &left[..], &right[..]].concat())
}

/// The largest power of two smaller than `n`.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

fn subproof(m: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if known { Vec::new() } else { vec![mth(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    if m <= left.len() {
        let mut proof = subproof(m, left, known);
        proof.push(mth(right));
        proof
    } else {
        let mut proof = subproof(m - left.len(), right, false);
        proof.push(mth(left));
        proof
    }
}

fn subtree_subproof(start: usize, end: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if start == 0 && end == leaves.len() {
        return if known { Vec::new() } else { vec![mth(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, sibling) = if end <= left.len() {
        (subtree_subproof(start, end, left, known), mth(right))
    } else if start >= left.len() {
        (subtree_subproof(start - left.len(), end - left.len(), right, known), mth(left))
    } else {
        // The subtree crosses the split, so it begins at the left edge and is no longer known as a whole.
        (subtree_subproof(0, end - left.len(), right, false), mth(left))
    };
    proof.push(sibling);
    proof
}

#[test]
fn the_tree_is_that_of_the_specifications() {
    // c2sp.org/tlog-witness: the empty tree is the hash of the empty string.
    let hex = |hash: Hash| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(mth(&[])), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    // RFC 6962 section 2.1.3: the proof from 3 to 7 is [c, d, g, l], from 4 to 7 [l], from 6 to 7 [i, j, k].
    let mut tree = Tree::new("example");
    let part = |tree: &mut Tree, start, end| tree.subtree(start, end);
    let three = [part(&mut tree, 2, 3), part(&mut tree, 3, 4), part(&mut tree, 0, 2), part(&mut tree, 4, 7)];
    assert_eq!(tree.consistency(3, 7), three);
    assert_eq!(tree.consistency(4, 7), [part(&mut tree, 4, 7)]);
    let six = [part(&mut tree, 4, 6), part(&mut tree, 6, 7), part(&mut tree, 0, 4)];
    assert_eq!(tree.consistency(6, 7), six);
    // With start 0 a subtree proof is the consistency proof (section 4.4.1 of the draft).
    for n in 1..40 {
        for m in 1..=n {
            assert_eq!(tree.subtree_consistency(0, m, n), tree.consistency(m, n), "{m} {n}");
        }
    }
    // tlog-witness.md proves [8, 13) of 14 with four hashes: the leaves 12 and 13, [8, 12) and [0, 8).
    let four =
        [part(&mut tree, 12, 13), part(&mut tree, 13, 14), part(&mut tree, 8, 12), part(&mut tree, 0, 8)];
    assert_eq!(tree.subtree_consistency(8, 13, 14), four);
}

/// The sum over all subtrees of up to 130 leaves (leaf i is the byte i) that torchwood v0.10.0 publishes in `subtree_test.go`.
#[test]
fn the_proofs_of_subtrees_are_those_of_torchwood() {
    if !crate::check::full() {
        println!("skipped without GLASSLOG_TORTURE=1: some seconds of hashing");
        return;
    }
    use std::fmt::Write as _;
    let leaves: Vec<Hash> = (0..130_u8).map(|number| sha256(&[0, number])).collect();
    let mut tree = Tree { salt: String::new(), leaves };
    let mut sum = Sha256::new();
    for n in 0..=130_u64 {
        for end in 0..=n {
            for start in 0..=end {
                if start % (end - start).next_power_of_two() != 0 {
                    continue;
                }
                let empty = start == end;
                let proof = if empty { Vec::new() } else { tree.subtree_consistency(start, end, n) };
                let mut line = format!("[{start}, {end}) {n}");
                for hash in proof {
                    line.push(' ');
                    hash.iter().for_each(|byte| write!(line, "{byte:02x}").unwrap());
                }
                sum.update(line + "\n");
            }
        }
    }
    let sum: String = sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(sum, "10fa99b37bf9bf9ffa26b412fbd98bd75363256d0b75d61bc4538b9c9c5a0a74");
}
