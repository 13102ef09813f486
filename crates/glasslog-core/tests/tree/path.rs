//! Judges: the examples of c2sp.org/tlog-tiles, and that what is accepted is spelt exactly as it was read.

use glasslog_core::{
    LeafIndex, TreeSize,
    tile::{self, BundleId, ResourcePath, TileId},
};
use proptest::prelude::*;

#[test]
fn accepted_paths() {
    let tile = |level, index, width| ResourcePath::Tile(TileId { level, index, width });
    let bundle = |index, width| ResourcePath::Bundle(BundleId { index, width });
    let cases = [
        ("checkpoint", ResourcePath::Checkpoint),
        ("tile/0/000", tile(0, 0, 256)),
        ("tile/0/999", tile(0, 999, 256)),
        ("tile/0/x001/000", tile(0, 1000, 256)),
        ("tile/0/x001/234.p/7", tile(0, 1234, 7)),
        ("tile/63/000.p/255", tile(63, 0, 255)),
        ("tile/entries/x001/x234/067", bundle(1_234_067, 256)),
        ("tile/entries/x001/x000/000.p/1", bundle(1_000_000, 1)),
        ("tile/7/x018/x446/x744/x073/x709/x551/615", tile(7, u64::MAX, 256)),
    ];
    for (path, resource) in cases {
        assert_eq!(ResourcePath::parse(path), Ok(resource), "{path}");
        assert_eq!(resource.to_string(), path);
    }
}

#[test]
fn refused_paths() {
    let cases = [
        ("", "empty"),
        ("/checkpoint", "a leading slash"),
        ("checkpoint/", "a trailing slash"),
        ("Checkpoint", "capital letters"),
        ("tile", "no level"),
        ("tile/", "no level"),
        ("tile/0", "no index"),
        ("tile/0/", "no index"),
        ("tile//000", "an empty level"),
        ("tile/64/000", "a level above 63"),
        ("tile/00/000", "a level with a leading zero"),
        ("tile/01/000", "a level with a leading zero"),
        ("tile/+1/000", "a sign"),
        ("tile/-1/000", "a sign"),
        ("tile/256/000", "a level above 63"),
        ("tile/data/000", "the data tiles of the static CT API"),
        ("tile/8/0/000", "a tile height, as in the Go checksum database"),
        ("tile/0/0", "fewer than three digits"),
        ("tile/0/00", "fewer than three digits"),
        ("tile/0/0000", "more than three digits"),
        ("tile/0/1000", "more than three digits"),
        ("tile/0/x000", "an x in the last group"),
        ("tile/0/001/000", "no x in a group that is not the last"),
        ("tile/0/X001/000", "a capital X"),
        ("tile/0/x000/001", "a leading group of zeros"),
        ("tile/0/x000/x001/000", "a leading group of zeros"),
        ("tile/0/x1/000", "a group of fewer than three digits"),
        ("tile/0/x0001/000", "a group of more than three digits"),
        ("tile/0/x001//000", "an empty group"),
        ("tile/0/x001/", "no last group"),
        ("tile/0/00a", "a letter among digits"),
        ("tile/0/+00", "a sign among digits"),
        ("tile/0/ 00", "a space"),
        ("tile/0/٠٠٠", "digits that are not ASCII"),
        ("tile/0/%300", "a percent escape"),
        ("tile/0/000\n", "a newline"),
        ("tile/0/000?x", "a query"),
        ("tile/0/../0/000", "a step up"),
        ("tile/0/x018/x446/x744/x073/x709/x551/616", "an index past 64 bits"),
        ("tile/0/x999/x999/x999/x999/x999/x999/x999/999", "an index past 64 bits"),
        ("tile/0/000.p", "no width"),
        ("tile/0/000.p/", "no width"),
        ("tile/0/000.p/0", "an empty tile"),
        ("tile/0/000.p/256", "a full tile spelt as a partial one"),
        ("tile/0/000.p/1000", "a width above 255"),
        ("tile/0/000.p/65537", "a width that 16 bits would wrap to 1"),
        ("tile/0/000.p/01", "a width with a leading zero"),
        ("tile/0/000.p/1/", "a trailing slash"),
        ("tile/0/000.p/1.p/1", "two widths"),
        ("tile/0/x001.p/1/000", "a width in the middle"),
        ("tile/entries", "no index"),
        ("tile/Entries/000", "capital letters"),
        ("tile/entries/000.p/256", "a full bundle spelt as a partial one"),
        ("entries/000", "no tile in front"),
    ];
    for (path, why) in cases {
        assert!(ResourcePath::parse(path).is_err(), "{path:?} was accepted although it has {why}");
    }
}

/// The example of tlog-tiles, "Partial Tiles".
#[test]
fn tiles_of_a_tree_of_70_000() {
    let tiles: Vec<TileId> = tile::all_tiles(TreeSize(70_000)).collect();
    let count =
        |level, full| tiles.iter().filter(|tile| tile.level == level && tile.is_partial() != full).count();
    assert_eq!((count(0, true), count(1, true), count(2, true)), (273, 1, 0));
    let partial: Vec<String> = tile::partial_tiles(TreeSize(70_000)).map(|tile| tile.path()).collect();
    assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
    assert_eq!(tiles.len(), 273 + 1 + 3);
    let of_256: Vec<String> = tile::all_tiles(TreeSize(256)).map(|tile| tile.path()).collect();
    assert_eq!(of_256, ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(tile::partial_bundle(TreeSize(256)), None);
    assert_eq!(tile::all_tiles(TreeSize::ZERO).count() + tile::all_bundles(TreeSize::ZERO).count(), 0);
}

#[test]
fn what_lies_within_a_tree() {
    let cases = [
        ("tile/0/000", 255, false),
        ("tile/0/000", 256, true),
        ("tile/0/001.p/4", 259, false),
        ("tile/0/001.p/4", 260, true),
        ("tile/0/001.p/4", 9_999, true),
        ("tile/1/000.p/1", 255, false),
        ("tile/1/000.p/1", 256, true),
        ("tile/entries/000.p/3", 2, false),
        ("tile/entries/000.p/3", 3, true),
        ("tile/7/000.p/255", u64::MAX, true),
        ("tile/7/000", u64::MAX, false),
        ("tile/8/000.p/1", u64::MAX, false),
        ("tile/63/x018/x446/x744/x073/x709/x551/615", u64::MAX, false),
        ("checkpoint", 0, true),
    ];
    for (path, size, within) in cases {
        assert_eq!(ResourcePath::parse(path).unwrap().is_within(TreeSize(size)), within, "{path} at {size}");
    }
}

#[test]
fn where_an_entry_is() {
    let place = |index| BundleId::of_entry(TreeSize(300), LeafIndex(index));
    assert_eq!(place(0), Some((BundleId { index: 0, width: 256 }, 0)));
    assert_eq!(place(255), Some((BundleId { index: 0, width: 256 }, 255)));
    assert_eq!(place(299), Some((BundleId { index: 1, width: 44 }, 43)));
    assert_eq!(place(300), None, "the log ends before it");
    assert_eq!(TileId::of_leaf(TreeSize(300), LeafIndex(300)), None);
    let (tile, position) = TileId::of_leaf(TreeSize(300), LeafIndex(299)).unwrap();
    assert_eq!((tile, position), (BundleId { index: 1, width: 44 }.leaf_tile(), 43));
    assert_eq!(BundleId { index: u64::MAX, width: 1 }.first_index(), None);
}

proptest! {
    #[test]
    fn paths_round_trip(level in 0..=63_u8, index: u64, shift in 0..64_u32, width in 1..=256_u16) {
        let index = index >> shift;
        let tile = ResourcePath::Tile(TileId { level, index, width });
        let bundle = ResourcePath::Bundle(BundleId { index, width });
        prop_assert_eq!(ResourcePath::parse(&tile.to_string()), Ok(tile));
        prop_assert_eq!(ResourcePath::parse(&bundle.to_string()), Ok(bundle));
    }

    #[test]
    fn what_is_accepted_is_canonical(path in "(tile/)?([0-9]{1,2}|entries)/(x?[0-9]{3}/){0,3}[0-9]{3}(\\.p/[0-9]{1,3})?") {
        if let Ok(resource) = ResourcePath::parse(&path) {
            prop_assert_eq!(resource.to_string(), path);
        }
    }
}
