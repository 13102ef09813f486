//! Judge: the objects of the naive tree. Whatever the steps, the same full objects come out once each, and the
//! partial ones are those of the size.

use std::collections::BTreeMap;

use glasslog_core::{
    Hash, TreeSize,
    hash::ScalarHasher,
    tile::{Edge, EdgeError, PlanError, ResourcePath},
};

use crate::naive;

type Objects = BTreeMap<String, Vec<u8>>;

/// A log that grows and keeps all it ever wrote.
#[derive(Default)]
struct Log {
    edge: Edge,
    written: Objects,
}

impl Log {
    fn grow(&mut self, entries: &[Vec<u8>], leaves: &[Hash]) {
        let mut out = Vec::new();
        self.edge.grow(leaves, entries.iter().map(Vec::as_slice), &ScalarHasher, &mut out).unwrap();
        for (path, bytes) in out {
            let path = path.to_string();
            assert!(self.written.insert(path.clone(), bytes).is_none(), "{path} came out twice");
        }
    }

    /// All full objects, and the partial ones of the present size.
    fn objects(&self) -> Objects {
        let partials = self.edge.partials().into_iter().map(|(path, bytes)| (path.to_string(), bytes));
        self.written.clone().into_iter().chain(partials).collect()
    }
}

fn rebuilt(edge: &Edge, root: &Hash, objects: &Objects) -> Result<Edge, EdgeError> {
    Edge::from_objects(edge.size(), root, &ScalarHasher, |path| objects.get(&path.to_string()))
}

#[test]
fn every_size_to_1100_in_odd_steps() {
    let entries = naive::entries(1100);
    let leaves = naive::leaves(&entries);
    for step in [1, 3, 7, 255, 256, 257, 511, 1100] {
        let mut log = Log::default();
        for (entries_step, leaves_step) in entries.chunks(step).zip(leaves.chunks(step)) {
            log.grow(entries_step, leaves_step);
            let n = usize::try_from(log.edge.size().0).unwrap();
            // The naive tree is slow: at step 1 look at the sizes around the tile borders and at every 13th.
            if step > 3 || n % 13 == 0 || (n + 2) % 256 < 4 {
                assert_eq!(log.objects(), naive::objects(&entries[..n]), "at size {n} by steps of {step}");
                let root = log.edge.root(&ScalarHasher);
                assert_eq!(root, naive::mth(&leaves[..n]));
                assert_eq!(rebuilt(&log.edge, &root, &log.objects()).unwrap(), log.edge);
            }
        }
    }
}

#[test]
fn across_the_third_level() {
    let entries = naive::entries(66_300);
    let leaves = naive::leaves(&entries);
    let mut log = Log::default();
    let mut from = 0;
    for to in [1, 300, 30_000, 65_279, 65_280, 65_281, 65_535, 65_536, 65_537, 65_792, 66_300] {
        log.grow(&entries[from..to], &leaves[from..to]);
        from = to;
        assert_eq!(log.objects(), naive::objects(&entries[..to]), "at size {to}");
        assert_eq!(log.edge.root(&ScalarHasher), naive::mth(&leaves[..to]));
        assert_eq!(rebuilt(&log.edge, &naive::mth(&leaves[..to]), &log.objects()).unwrap(), log.edge);
    }
}
