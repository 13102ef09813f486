//! Judge: logs written by the recursive definition of RFC 6962, then altered in one place.

use glasslog_core::{LeafIndex, TreeSize, hash::ScalarHasher, tile::TileId};
use proptest::prelude::*;

use super::*;
use crate::testlog::{THREE_LEVELS, TestLog};

/// What `glasslog fsck` does, one chunk after the other.
fn check(log: &TestLog) -> Result<u64, Difference> {
    let hasher = &ScalarHasher;
    let file = |path: String| log.file(&path).ok_or(Difference::Missing { path });
    let settled = |difference| settle(log, difference);
    let (mut entries, mut chunks) = (0, Vec::new());
    for plan in ChunkPlan::all(log.size) {
        let mut chunk = ChunkCheck::new(plan, hasher);
        for bundle in plan.bundles() {
            let (bytes, tile) = (file(bundle.path())?, file(bundle.leaf_tile().path())?);
            entries += chunk.bundle(bytes, tile).map_err(settled)?;
        }
        let level1 = plan.level1().map(|tile| file(tile.path())).transpose()?;
        chunks.push(chunk.finish(level1).map_err(settled)?);
    }
    let tree = TreeCheck::new(log.size, hasher);
    tree.finish(&chunks, &log.root, |tile| log.file(&tile.path())).map_err(settled)?;
    Ok(entries)
}

fn settle(log: &TestLog, mut difference: Difference) -> Difference {
    if let Difference::Hash(hash) = &mut difference {
        let tiles = hash.tiles(log.size);
        hash.settle(&ScalarHasher, log.size, &log.root, |id| {
            assert!(tiles.contains(id), "settling reads {} without having asked for it", id.path());
            log.file(&id.path())
        });
    }
    difference
}

#[test]
fn sound_logs_pass() {
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 1000, 65_536] {
        assert_eq!(check(&TestLog::of_size(size)), Ok(size));
    }
    assert_eq!(check(&THREE_LEVELS), Ok(THREE_LEVELS.size.0));
}

#[test]
fn a_chunk_asks_for_each_object_of_the_tree_once() {
    let log = &THREE_LEVELS;
    let mut asked: Vec<String> =
        TreeCheck::new(log.size, &ScalarHasher).tiles().map(|tile| tile.path()).collect();
    for plan in ChunkPlan::all(log.size) {
        asked.extend(plan.bundles().flat_map(|bundle| [bundle.path(), bundle.leaf_tile().path()]));
        asked.extend(plan.level1().map(|tile| tile.path()));
    }
    asked.sort();
    assert!(asked.iter().eq(log.files.keys()));
}

#[test]
fn an_altered_entry_is_named() {
    for index in [0, 255, 256, 65_535, 65_536 + 3 * 256 + 6] {
        let mut log = THREE_LEVELS.clone();
        let (path, offset) = locate(&log, index);
        log.files.get_mut(&path).unwrap()[offset + 2] ^= 1;
        let Err(Difference::Hash(difference)) = check(&log) else { panic!("{index} not found") };
        assert_eq!(difference.at_fault, AtFault::Below, "{index}");
        let Source::Entry { index: found, offset: at, .. } = difference.source else { panic!("{index}") };
        assert_eq!((found, at), (LeafIndex(index), offset));
        assert!(difference.to_string().starts_with(&format!("entry {index} (")), "{difference}");
    }
}

/// The bundle of an entry, and where its length prefix begins.
fn locate(log: &TestLog, index: u64) -> (String, usize) {
    let (bundle, position) = glasslog_core::tile::BundleId::of_entry(log.size, LeafIndex(index)).unwrap();
    let entries =
        glasslog_core::entry_bundle::EntryBundle::parse(&log.files[&bundle.path()], bundle.width).unwrap();
    (bundle.path(), entries.iter().take(position).map(|entry| entry.len() + 2).sum())
}

#[test]
fn an_altered_hash_is_named_in_every_tile_of_every_level() {
    for tile in glasslog_core::tile::all_tiles(THREE_LEVELS.size) {
        if tile.level == 0 && ![0, 255, 259].contains(&tile.index) {
            continue;
        }
        let mut log = THREE_LEVELS.clone();
        let position = usize::from(tile.width) / 2;
        log.files.get_mut(&tile.path()).unwrap()[position * 32 + 31] ^= 0x80;
        let Err(Difference::Hash(difference)) = check(&log) else { panic!("{tile:?} not found") };
        assert_eq!(
            (difference.tile, difference.position, difference.at_fault),
            (tile, position, AtFault::Tile)
        );
    }
}

#[test]
fn an_entry_that_was_altered_together_with_its_tile_is_below_the_tile_that_disagrees() {
    let mut log = THREE_LEVELS.clone();
    let other = TestLog::of((0..log.size.0).map(|index| format!("other {index}").into_bytes()).collect());
    for path in ["tile/entries/001", "tile/0/001"] {
        log.files.insert(path.into(), other.files[path].clone());
    }
    let Err(Difference::Hash(difference)) = check(&log) else { panic!("not found") };
    let altered = TileId { level: 0, index: 1, width: 256 };
    assert_eq!((difference.at_fault, &difference.source), (AtFault::Below, &Source::Tile(altered)));
    assert_eq!((difference.tile.level, difference.tile.index, difference.position), (1, 0, 1));
}

#[test]
fn a_partial_bundle_and_tile_that_agree_with_each_other_alone_leave_the_root() {
    let (mut log, other) = (TestLog::of_size(300), TestLog::of(vec![b"other".to_vec(); 300]));
    for path in ["tile/entries/001.p/44", "tile/0/001.p/44"] {
        log.files.insert(path.into(), other.files[path].clone());
    }
    let Err(Difference::Root { signed, computed }) = check(&log) else { panic!("not found") };
    assert_eq!(signed, log.root);
    assert_ne!(computed, signed);
}

#[test]
fn two_altered_objects_are_both_named() {
    let mut log = TestLog::of_size(600);
    log.files.get_mut("tile/entries/001").unwrap()[5] ^= 1;
    log.files.get_mut("tile/0/001").unwrap()[0] ^= 1;
    let Err(Difference::Hash(difference)) = check(&log) else { panic!("not found") };
    assert_eq!((difference.at_fault, difference.position), (AtFault::Both, 0));
}

#[test]
fn lengths_and_framing_are_named() {
    let sound = TestLog::of_size(300);
    let mut log = sound.clone();
    log.files.get_mut("tile/1/000.p/1").unwrap().push(0);
    assert_eq!(
        check(&log),
        Err(Difference::Length { path: "tile/1/000.p/1".into(), expected: 32, found: 33 })
    );
    let mut log = sound.clone();
    log.files.get_mut("tile/entries/001.p/44").unwrap().pop();
    let Err(Difference::Framing { path, reason }) = check(&log) else { panic!("not found") };
    assert_eq!(path, "tile/entries/001.p/44");
    assert!(reason.contains("entry 43"), "{reason}");
    let mut log = sound;
    log.root = glasslog_core::Hash([1; 32]);
    assert!(matches!(check(&log), Err(Difference::Root { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Property: fsck finds any single flipped bit, and names the file that has it.
    #[test]
    fn any_flipped_bit_is_found_in_the_right_file(
        size in prop_oneof![1u64..1500, Just(256), Just(512)], file: prop::sample::Index,
        byte: prop::sample::Index, bit in 0u8..8,
    ) {
        let mut log = TestLog::of_size(size);
        let path = file.get(&log.files.keys().cloned().collect::<Vec<_>>()).clone();
        let bytes = log.files.get_mut(&path).unwrap();
        let at = byte.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let difference = check(&log).expect_err("a flipped bit was not noticed");
        prop_assert_eq!(difference.object(), path, "{}", difference);
    }
}

#[test]
fn the_empty_log_has_the_root_of_nothing() {
    let empty = TreeCheck::new(TreeSize::ZERO, &ScalarHasher);
    let none = |_: &TileId| None;
    assert_eq!(empty.finish(&[], &glasslog_core::Hash::EMPTY_ROOT, none), Ok(()));
    assert!(empty.finish(&[], &glasslog_core::Hash([0; 32]), none).is_err());
}
