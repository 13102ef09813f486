//! Judge: the naive tree. Proofs from its tiles are its proofs, and no tile can be altered, missing or too short
//! without the plan failing.

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    hash::ScalarHasher,
    merkle::Node,
    tile::{ConsistencyPlan, InclusionPlan, LeavesPlan, PlanError, RootPlan, TileId, TileTree},
};

use crate::naive::{Entries, Objects, size};

/// A naive log at one size.
struct Served<'a> {
    judge: &'a Entries,
    n: usize,
    objects: Objects,
    root: Hash,
}

impl Served<'_> {
    fn new(judge: &Entries, n: usize) -> Served<'_> {
        Served { judge, n, objects: judge.objects(n), root: judge.root(n) }
    }

    fn fetch(&self, tile: &TileId) -> Option<&[u8]> {
        self.objects.get(&tile.path()).map(Vec::as_slice)
    }

    fn check_root(&self) {
        let root = RootPlan::new(size(self.n)).finish(&ScalarHasher, |tile| self.fetch(tile));
        assert_eq!(root, Ok(self.root), "at size {}", self.n);
    }

    fn check_inclusion(&self, i: usize) {
        let plan = InclusionPlan::new(LeafIndex(size(i).0), size(self.n)).unwrap();
        let proof = plan.finish(&self.root, &ScalarHasher, |tile| self.fetch(tile)).map(|proof| proof.0);
        assert_eq!(proof, Ok(self.judge.path(i, self.n)), "leaf {i} of {}", self.n);
    }

    fn check_consistency(&self, old: usize) {
        let plan = ConsistencyPlan::new(size(old), size(self.n)).unwrap();
        let proof = plan.finish(&self.root, &ScalarHasher, |tile| self.fetch(tile)).map(|proof| proof.0);
        assert_eq!(proof, Ok(self.judge.consistency(old, self.n)), "from {old} to {}", self.n);
    }
}

#[test]
fn every_proof_of_small_trees() {
    let judge = Entries::new(66);
    for n in 0..=66 {
        let served = Served::new(&judge, n);
        served.check_root();
        (0..n).for_each(|i| served.check_inclusion(i));
        (0..=n).for_each(|old| served.check_consistency(old));
    }
}

#[test]
fn proofs_across_tile_levels() {
    let judge = Entries::new(66_000);
    for n in [255, 256, 257, 512, 513, 1000, 65_535, 65_536, 66_000] {
        let served = Served::new(&judge, n);
        served.check_root();
        for i in [1, 127, 128, 255, 256, 257, 510, 512, 999, 40_000, 65_279, 65_280, 65_535, 65_536, n - 1] {
            if i < n {
                served.check_inclusion(i);
                served.check_consistency(i);
            }
        }
    }
}

#[test]
fn leaf_hashes_of_a_range() {
    let judge = Entries::new(1000);
    let served = Served::new(&judge, 1000);
    for (start, end) in [(0, 0), (0, 1), (5, 5), (255, 257), (256, 512), (700, 1000), (0, 1000), (1000, 1000)]
    {
        let range = LeafIndex(size(start).0)..LeafIndex(size(end).0);
        let plan = LeavesPlan::new(range, size(1000)).unwrap();
        let hashes = plan.finish(&served.root, &ScalarHasher, |tile| served.fetch(tile));
        assert_eq!(hashes, Ok(judge.leaves[start..end].to_vec()), "{start}..{end}");
    }
    assert!(LeavesPlan::new(LeafIndex(999)..LeafIndex(1001), size(1000)).is_err(), "past the tree");
    let backwards = LeavesPlan::new(LeafIndex(9)..LeafIndex(3), size(1000)).unwrap();
    assert_eq!(backwards.finish(&served.root, &ScalarHasher, |tile| served.fetch(tile)), Ok(vec![]));
}

/// Whatever is done to any single tile of a plan: no proof comes out.
#[test]
fn altered_tiles() {
    type Alteration = fn(&mut Vec<u8>);
    let alterations: [(&str, Alteration); 7] = [
        ("the first bit is another one", |bytes| bytes[0] ^= 0x80),
        ("the last bit is another one", |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("the hashes are rotated by one, or the only one by a byte", |bytes| {
            let by = if bytes.len() > 32 { 32 } else { 1 };
            bytes.rotate_left(by);
        }),
        ("there is a byte too few", |bytes| bytes.truncate(bytes.len() - 1)),
        ("there is a hash too few", |bytes| bytes.truncate(bytes.len() - 32)),
        ("there is a byte too many", |bytes| bytes.push(0)),
        ("it is longer than a full tile", |bytes| bytes.resize(8192 + 32, 0)),
    ];
    let judge = Entries::new(66_000);
    let good = Served::new(&judge, 66_000);
    for i in [0, 255, 40_000, 65_535, 65_999] {
        let plan = InclusionPlan::new(LeafIndex(size(i).0), size(66_000)).unwrap();
        for altered in plan.tiles() {
            for (what, alter) in alterations {
                let fetch = |tile: &TileId| {
                    let mut bytes = good.fetch(tile)?.to_vec();
                    if tile == altered {
                        alter(&mut bytes);
                    }
                    Some(bytes)
                };
                let proof = plan.finish(&good.root, &ScalarHasher, fetch);
                assert!(proof.is_err(), "leaf {i} although in {altered} {what}");
            }
            let missing =
                plan.finish(&good.root, &ScalarHasher, |tile| good.fetch(tile).filter(|_| tile != altered));
            assert_eq!(missing, Err(PlanError::Missing(*altered)));
        }
        let other_root = plan.finish(&Hash::EMPTY_ROOT, &ScalarHasher, |tile| good.fetch(tile));
        assert_eq!(other_root, Err(PlanError::Root { size: size(66_000) }));
    }
}

/// tlog-tiles: a partial tile may be gone once the full one is there; its beginning is the partial one.
#[test]
fn wider_tiles_stand_in_for_partial_ones() {
    let judge = Entries::new(600);
    let (older, newer) = (Served::new(&judge, 70), Served::new(&judge, 600));
    for i in [0, 69] {
        let plan = InclusionPlan::new(LeafIndex(size(i).0), size(70)).unwrap();
        let proof = plan.finish(&older.root, &ScalarHasher, |tile| newer.fetch(&tile.full()));
        assert_eq!(proof.map(|proof| proof.0), Ok(judge.path(i, 70)));
    }
}

#[test]
fn a_proof_from_a_log_of_ten_millions_takes_five_tiles() {
    for tree in [10_000_000, 10_000_001, 9_999_872, 16_777_215] {
        let longest =
            (0..1000).map(|i| InclusionPlan::new(LeafIndex(tree / 1000 * i), TreeSize(tree)).unwrap());
        assert!(longest.map(|plan| plan.tiles().len()).max() <= Some(5));
        let longest =
            (0..1000).map(|i| ConsistencyPlan::new(TreeSize(tree / 1000 * i), TreeSize(tree)).unwrap());
        assert!(longest.map(|plan| plan.tiles().len()).max() <= Some(5));
    }
}

#[test]
fn the_largest_trees_can_be_planned() {
    for tree in [u64::MAX, u64::MAX - 1, 1 << 63] {
        for i in [0, 1, tree / 2, tree - 1] {
            let inclusion = InclusionPlan::new(LeafIndex(i), TreeSize(tree)).unwrap();
            let consistency = ConsistencyPlan::new(TreeSize(i), TreeSize(tree)).unwrap();
            assert!(inclusion.tiles().len() <= 16 && consistency.tiles().len() <= 16);
            assert!(inclusion.tiles().iter().all(|tile| tile.is_within(TreeSize(tree))));
        }
    }
}

/// For a log that reads its own tiles: the nodes of a tile are those of the tree, and none outside it.
#[test]
fn nodes_within_a_tile() {
    let judge = Entries::new(700);
    let served = Served::new(&judge, 700);
    for height in 0..10 {
        for i in 0..=700 >> height {
            let node = Node { height, index: u64::try_from(i).unwrap() };
            let end = (i + 1) << height;
            // The tree may reach the node's tile and yet end within the node.
            let found = TileId::of_node(size(700), node).and_then(|tile| {
                let tree = TileTree::parse(tile, served.fetch(&tile)?, &ScalarHasher).unwrap();
                let elsewhere = TileId { level: tile.level + 1, ..tile };
                assert_eq!(tree.node(elsewhere, node), None);
                tree.node(tile, node)
            });
            assert_eq!(found, (end <= 700).then(|| judge.mth(i << height..end)), "{node:?}");
        }
    }
}
