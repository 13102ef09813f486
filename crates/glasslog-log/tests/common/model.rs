//! A naive judge of anchors: for each, the index is computed anew from all entries before it.
#![allow(clippy::unwrap_used, dead_code, reason = "helpers of tests, each test binary uses some")]

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    anchor::{is_disavow_form, parse_anchor},
};
use glasslog_index::Options;
use glasslog_log::IndexConfig;
use glasslog_store::disk::Disk;
use glasslog_vindex::{Key, List, MapFunction, RootBuilder, keys_of};

/// The name of an entry `name=value` is its key; entries without `=` map to nothing.
#[derive(Clone)]
pub(crate) struct ByName;

impl MapFunction for ByName {
    fn name(&self) -> &str {
        "by-name"
    }

    fn kinds(&self) -> &'static [&'static str] {
        &[]
    }

    fn map(&self, entry: &[u8], keys: &mut Vec<Key>) {
        let text = std::str::from_utf8(entry).unwrap_or_default();
        keys.extend(text.split_once('=').map(|(name, _)| Key::of_name(name)));
    }
}

/// An index in `dir`, by name.
pub(crate) fn index(disk: Arc<dyn Disk>, dir: &Path) -> IndexConfig {
    IndexConfig {
        map_fn: Arc::new(ByName),
        enabled: true,
        anchor_timeout: Duration::from_secs(60),
        bulk_from: IndexConfig::BULK_FROM,
        disk,
        dir: dir.to_owned(),
        options: Options { snapshot_interval: 64, ..Options::default() },
    }
}

/// The lists of an index, each with what commits to it.
#[derive(Default)]
struct Naive(BTreeMap<Key, List>);

impl Naive {
    fn add(&mut self, map_fn: &dyn MapFunction, index: LeafIndex, entry: &[u8]) {
        for key in keys_of(map_fn, entry) {
            self.0.entry(key).or_default().extend(&[index]).unwrap();
        }
    }

    fn root(&self) -> Hash {
        let mut root = RootBuilder::new();
        for (key, list) in &self.0 {
            root.push(*key, &list.value().unwrap()).unwrap();
        }
        root.finish()
    }
}

/// The root of the index over `entries`.
pub(crate) fn naive_root(map_fn: &dyn MapFunction, entries: &[Vec<u8>]) -> Hash {
    let mut naive = Naive::default();
    for (index, entry) in (0..).map(LeafIndex).zip(entries) {
        naive.add(map_fn, index, entry);
    }
    naive.root()
}

/// What stands at an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ordinary,
    Disavow,
    Void,
    Anchor,
}

/// Checks every anchor of a log against the entries before it, and says what stands where.
pub(crate) fn judge(entries: &[Vec<u8>], map_fn: &dyn MapFunction) -> Vec<Kind> {
    let (mut kinds, mut naive) = (Vec::new(), Naive::default());
    for (index, entry) in entries.iter().enumerate() {
        kinds.push(match parse_anchor(entry) {
            None if is_disavow_form(entry) => Kind::Disavow,
            None => Kind::Ordinary,
            Some(anchor) => {
                assert_eq!(anchor.tree_size, TreeSize(index as u64));
                assert_eq!(anchor.map_fn, map_fn.name());
                if let Some(root) = anchor.root {
                    assert_eq!(root, naive.root(), "the anchor at index {index}");
                }
                if anchor.root.is_some() { Kind::Anchor } else { Kind::Void }
            }
        });
        naive.add(map_fn, LeafIndex(index as u64), entry);
    }
    check_placement(&kinds);
    kinds
}

/// FORMATS §2: an anchor follows something ordinary; another anchor only once, and that one void.
fn check_placement(kinds: &[Kind]) {
    let is_anchor = |kind: &Kind| matches!(kind, Kind::Void | Kind::Anchor);
    for (index, anchors) in kinds.windows(2).enumerate().filter(|(_, two)| two.iter().all(is_anchor)) {
        assert_eq!(anchors[0], Kind::Void, "index {index}");
    }
    assert!(!kinds.windows(3).any(|three| three.iter().all(is_anchor)));
}
