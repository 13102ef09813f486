//! RFC 6962 §2.1 word for word, as slow as it is obvious: the judge of everything else here.

use std::collections::BTreeMap;

use glasslog_core::{
    Hash, TreeSize, entry_bundle,
    hash::{leaf_hash, node_hash},
};

/// MTH(D[n]) over leaf hashes.
pub fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// PATH(m, D[n]).
pub fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return vec![];
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    if m < left.len() {
        [path(m, left), vec![mth(right)]].concat()
    } else {
        [path(m - left.len(), right), vec![mth(left)]].concat()
    }
}

/// PROOF(m, D[n]), for 0 < m.
pub fn consistency(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    subproof(m, leaves, true)
}

fn subproof(m: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if known { vec![] } else { vec![mth(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    if m <= left.len() {
        [subproof(m, left, known), vec![mth(right)]].concat()
    } else {
        [subproof(m - left.len(), right, false), vec![mth(left)]].concat()
    }
}

/// The largest power of two smaller than `n`.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// Entries of many lengths, 0 among them.
pub fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| vec![u8::try_from(i % 251).unwrap(); i * 7 % 40]).collect()
}

pub fn leaves(entries: &[Vec<u8>]) -> Vec<Hash> {
    entries.iter().map(|entry| leaf_hash(entry)).collect()
}

pub fn size(n: usize) -> TreeSize {
    TreeSize(u64::try_from(n).unwrap())
}

/// Everything that tlog-tiles says a log with these entries serves at its size: path and content. Paths are spelt
/// independently of the code under test.
pub fn objects(entries: &[Vec<u8>]) -> BTreeMap<String, Vec<u8>> {
    let mut objects = BTreeMap::new();
    for (index, bundle) in entries.chunks(256).enumerate() {
        objects.insert(place("entries", index, bundle.len()), entry_bundle::encode(bundle).unwrap());
    }
    let mut level = 0;
    let mut hashes = leaves(entries);
    while !hashes.is_empty() {
        for (index, tile) in hashes.chunks(256).enumerate() {
            let bytes = tile.iter().flat_map(|hash| hash.0).collect();
            objects.insert(place(&format!("{level}"), index, tile.len()), bytes);
        }
        hashes = hashes.chunks_exact(256).map(mth).collect();
        level += 1;
    }
    objects
}

fn place(level: &str, index: usize, width: usize) -> String {
    let number = match index {
        0..1000 => format!("{index:03}"),
        _ => format!("x{:03}/{:03}", index / 1000, index % 1000),
    };
    let suffix = if width < 256 { format!(".p/{width}") } else { String::new() };
    format!("tile/{level}/{number}{suffix}")
}
