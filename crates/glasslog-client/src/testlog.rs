//! A log written the naive way, to be read by what is tested: RFC 6962 by its recursive definition, whole in memory.

use std::{collections::BTreeMap, sync::LazyLock};

use glasslog_core::{
    Hash, TreeSize, entry_bundle,
    hash::{leaf_hash, node_hash},
    tile::{all_bundles, all_tiles},
};

/// A log with tiles of three levels, full and partial ones (level 3 would take 16 million entries).
pub(crate) static THREE_LEVELS: LazyLock<TestLog> = LazyLock::new(|| TestLog::of_size(65_536 + 3 * 256 + 7));

/// A log as its public files.
#[derive(Clone)]
pub(crate) struct TestLog {
    pub(crate) size: TreeSize,
    pub(crate) root: Hash,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl TestLog {
    /// A log of `size` short entries, each unlike the others.
    pub(crate) fn of_size(size: u64) -> TestLog {
        TestLog::of((0..size).map(|index| format!("entry {index}").into_bytes()).collect())
    }

    pub(crate) fn of(entries: Vec<Vec<u8>>) -> TestLog {
        let size = TreeSize(entries.len() as u64);
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let mut files = BTreeMap::new();
        for bundle in all_bundles(size) {
            let begin = usize::try_from(bundle.index).unwrap() * 256;
            let of_bundle = &entries[begin..begin + usize::from(bundle.width)];
            files.insert(bundle.path(), entry_bundle::encode(of_bundle).unwrap());
        }
        for tile in all_tiles(size) {
            let span = 256_usize.pow(tile.level.into());
            let begin = usize::try_from(tile.index).unwrap() * 256;
            let hashes =
                (begin..begin + usize::from(tile.width)).map(|at| mth(&leaves[at * span..(at + 1) * span]));
            files.insert(tile.path(), hashes.flat_map(|hash| hash.0).collect());
        }
        TestLog { size, root: mth(&leaves), files }
    }

    pub(crate) fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }
}

/// RFC 6962 §2.1, word for word.
pub(crate) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(1 << (leaves.len() - 1).ilog2());
            node_hash(&mth(left), &mth(right))
        }
    }
}
