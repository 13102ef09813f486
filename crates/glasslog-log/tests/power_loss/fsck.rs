//! A naive judge of what is public: paths, framing and hashes as RFC 6962 and c2sp.org/tlog-tiles define them, and none
//! of the code that is judged but for SHA-256 and for opening the note.

use std::collections::BTreeMap;

use glasslog_core::{
    Hash,
    checkpoint::VerifiedCheckpoint,
    hash::{leaf_hash, node_hash},
};

use crate::common::{ORIGIN, vkeys};

/// Files by their path below the public directory.
pub(crate) type Public = BTreeMap<String, Vec<u8>>;

/// The log that the public files show.
pub(crate) struct Shown {
    pub(crate) root: Hash,
    pub(crate) entries: Vec<Vec<u8>>,
}

/// Invariant 3: everything that the public checkpoint implies is there and hashes to its root. `None` without a checkpoint.
pub(crate) fn fsck(public: &Public) -> Option<Shown> {
    let checkpoint = open_checkpoint(public.get("checkpoint")?);
    let size = usize::try_from(checkpoint.size().0).unwrap();
    let entries: Vec<Vec<u8>> =
        (0..size.div_ceil(256)).flat_map(|bundle| bundle_entries(public, size, bundle)).collect();
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    assert_eq!(tree_root(&leaves), *checkpoint.root(), "the entries hash to the root of size {size}");
    let mut hashes = leaves;
    for level in 0.. {
        if hashes.is_empty() {
            break;
        }
        for (tile, expected) in hashes.chunks(256).enumerate() {
            let bytes: Vec<u8> = expected.iter().flat_map(|hash| hash.0).collect();
            let found = object(public, &format!("tile/{level}/{tile:03}"), expected.len(), size);
            assert_eq!(found.get(..bytes.len()), Some(&*bytes), "tile/{level}/{tile:03} at size {size}");
        }
        hashes = hashes.chunks_exact(256).map(tree_root).collect();
    }
    Some(Shown { root: *checkpoint.root(), entries })
}

pub(crate) fn open_checkpoint(note: &[u8]) -> VerifiedCheckpoint {
    VerifiedCheckpoint::open(note, ORIGIN, &vkeys()).unwrap()
}

/// The full object, or the partial one of that width.
fn object<'a>(public: &'a Public, path: &str, width: usize, size: usize) -> &'a [u8] {
    let found = public.get(path).or_else(|| public.get(&format!("{path}.p/{width}")));
    found.unwrap_or_else(|| panic!("{path} of width {width} is missing at size {size}"))
}

fn bundle_entries(public: &Public, size: usize, bundle: usize) -> Vec<Vec<u8>> {
    let width = 256.min(size - bundle * 256);
    let mut rest = object(public, &format!("tile/entries/{bundle:03}"), width, size);
    let mut entries = Vec::new();
    for _ in 0..width {
        let (len, after) = rest.split_first_chunk().unwrap();
        let (entry, after) = after.split_at(usize::from(u16::from_be_bytes(*len)));
        entries.push(entry.to_vec());
        rest = after;
    }
    entries
}

/// RFC 6962 §2.1, word for word.
fn tree_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&tree_root(left), &tree_root(right))
        }
    }
}
