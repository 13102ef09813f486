//! Judge: the objects of the naive tree. Whatever the steps, the same full objects come out once each, and the
//! partial ones are those of the size.

use glasslog_core::{
    Hash,
    hash::ScalarHasher,
    tile::{Edge, EdgeError, PlanError, ResourcePath},
};
use proptest::prelude::*;

use crate::naive::{Entries, Objects, size};

/// A log that grows and keeps all it ever wrote.
#[derive(Default)]
struct Log {
    edge: Edge,
    written: Objects,
}

impl Log {
    fn grow_to(&mut self, judge: &Entries, n: usize) {
        let new = usize::try_from(self.edge.size().0).unwrap()..n;
        let (entries, leaves) = (&judge.entries[new.clone()], &judge.leaves[new]);
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

/// The log has grown to the first `n` entries: objects and root are the naive ones, and the edge can be rebuilt.
fn check(log: &Log, judge: &Entries, n: usize) {
    assert_eq!(log.edge.size(), size(n));
    assert_eq!(log.objects(), judge.objects(n), "at size {n}");
    assert_eq!(log.edge.root(&ScalarHasher), judge.root(n), "at size {n}");
    assert_eq!(rebuilt(&log.edge, &judge.root(n), &log.objects()).as_ref(), Ok(&log.edge), "at size {n}");
}

#[test]
fn every_size_to_1100_in_odd_steps() {
    let judge = Entries::new(1100);
    for step in [1, 3, 7, 255, 256, 257, 511, 1100] {
        let mut log = Log::default();
        for n in (step..=1100).step_by(step) {
            log.grow_to(&judge, n);
            // With small steps the objects of most sizes differ little from those of the size before.
            if step > 3 || n % 7 == 0 || (n + 2) % 256 < 4 {
                check(&log, &judge, n);
            }
            assert_eq!(log.edge.root(&ScalarHasher), judge.root(n), "at size {n}");
        }
    }
}

#[test]
fn across_the_third_level() {
    let judge = Entries::new(66_300);
    let mut log = Log::default();
    for n in [300, 65_279, 65_280, 65_535, 65_536, 65_537, 66_300] {
        log.grow_to(&judge, n);
        check(&log, &judge, n);
    }
}

#[test]
fn the_empty_log() {
    let edge = Edge::new();
    assert_eq!((edge.root(&ScalarHasher), edge.partials()), (Hash::EMPTY_ROOT, vec![]));
    assert_eq!(rebuilt(&edge, &Hash::EMPTY_ROOT, &Objects::new()), Ok(edge.clone()));
    let mut grown = edge.clone();
    grown.grow(&[], [], &ScalarHasher, &mut Vec::new()).unwrap();
    assert_eq!(grown, edge);
}

/// An edge is only ever rebuilt from exactly what the root covers.
#[test]
fn objects_that_do_not_make_up_the_edge() {
    let judge = Entries::new(700);
    let mut log = Log::default();
    log.grow_to(&judge, 700);
    let root = judge.root(700);
    let bundle = ResourcePath::parse("tile/entries/002.p/188").unwrap();
    assert_eq!(
        Edge::objects_at(log.edge.size()).map(|path| path.to_string()).collect::<Vec<_>>(),
        ["tile/0/002.p/188", "tile/1/000.p/2", "tile/entries/002.p/188"]
    );
    type Spoil = fn(&mut Vec<u8>);
    type Judge = fn(&EdgeError) -> bool;
    let any_root: Judge = |error| matches!(error, EdgeError::Tiles(PlanError::Root { .. }));
    let any_length: Judge = |error| matches!(error, EdgeError::Tiles(PlanError::Length { .. }));
    let any_bundle: Judge = |error| matches!(error, EdgeError::Bundle { .. });
    let last_entry: Judge = |error| matches!(error, EdgeError::Entry { position: 187, .. });
    // The last entry, "699" nine times, is 29 bytes of the bundle.
    let cases: [(&str, &str, Spoil, Judge); 8] = [
        ("tile/0/002.p/188", "a leaf hash is another one", |bytes| bytes[40] ^= 1, any_root),
        ("tile/1/000.p/2", "a node is another one", |bytes| bytes[40] ^= 1, any_root),
        ("tile/1/000.p/2", "a hash is missing", |bytes| bytes.truncate(32), any_length),
        ("tile/0/002.p/188", "half a hash too many", |bytes| bytes.extend([0; 16]), any_length),
        (
            "tile/entries/002.p/188",
            "its last entry is another one",
            |bytes| *bytes.last_mut().unwrap() ^= 1,
            last_entry,
        ),
        (
            "tile/entries/002.p/188",
            "its last entry is missing",
            |bytes| bytes.truncate(bytes.len() - 29),
            any_bundle,
        ),
        ("tile/entries/002.p/188", "it ends early", |bytes| bytes.truncate(bytes.len() - 1), any_bundle),
        ("tile/entries/002.p/188", "it is empty", Vec::clear, any_bundle),
    ];
    for (path, why, spoil, judge) in cases {
        let mut objects = log.objects();
        spoil(objects.get_mut(path).unwrap());
        let error = rebuilt(&log.edge, &root, &objects).unwrap_err();
        assert!(judge(&error), "{path}: {why}: {error}");
    }
    for path in Edge::objects_at(log.edge.size()) {
        let mut objects = log.objects();
        objects.remove(&path.to_string());
        let error = rebuilt(&log.edge, &root, &objects).unwrap_err();
        let expected = if path == bundle { "needed and was not given" } else { "is needed" };
        assert!(error.to_string().contains(expected), "{path}: {error}");
    }
    let other_root = rebuilt(&log.edge, &Hash::EMPTY_ROOT, &log.objects());
    assert_eq!(other_root, Err(EdgeError::Tiles(PlanError::Root { size: log.edge.size() })));
}

/// A partial object may have been removed once the full one at its place is there.
#[test]
fn an_edge_from_full_objects() {
    let judge = Entries::new(512);
    let (mut small, mut large) = (Log::default(), Log::default());
    small.grow_to(&judge, 300);
    large.grow_to(&judge, 512);
    let fetch = |path: &ResourcePath| match path {
        ResourcePath::Tile(tile) if tile.level == 0 => large.written.get(&tile.full().path()).cloned(),
        ResourcePath::Bundle(bundle) => large.written.get(&bundle.full().path()).cloned(),
        _ => small.objects().get(&path.to_string()).cloned(),
    };
    let edge = Edge::from_objects(small.edge.size(), &judge.root(300), &ScalarHasher, fetch);
    assert_eq!(edge, Ok(small.edge.clone()));
}

#[test]
fn refused_growth_changes_nothing() {
    let Entries { entries, leaves, .. } = Entries::new(300);
    let mut log = Log::default();
    log.grow_to(&Entries::new(300), 290);
    let before = log.edge.clone();
    let mut out = Vec::new();
    let slices: Vec<&[u8]> = entries[290..].iter().map(Vec::as_slice).collect();
    let unpaired = log.edge.grow(&leaves[290..], slices[1..].iter().copied(), &ScalarHasher, &mut out);
    assert_eq!(unpaired, Err(EdgeError::Unpaired { leaves: 10, entries: 9 }));
    let long = vec![0; 65_536];
    let too_long = log.edge.grow(&leaves[..2], [&b"x"[..], &long], &ScalarHasher, &mut out);
    assert!(matches!(too_long, Err(EdgeError::EntryTooLong(_))), "{too_long:?}");
    assert_eq!((log.edge, out), (before, vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Steps of any lengths, among them none: the objects are those of the size.
    #[test]
    fn any_steps(steps in proptest::collection::vec(0..700_usize, 0..6)) {
        let judge = Entries::new(steps.iter().sum());
        let mut log = Log::default();
        let mut n = 0;
        for step in steps {
            n += step;
            log.grow_to(&judge, n);
        }
        check(&log, &judge, n);
    }
}
