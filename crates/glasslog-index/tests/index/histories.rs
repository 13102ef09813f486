//! Random histories.

use std::{path::Path, sync::Arc};

use glasslog_core::{LeafIndex, TreeSize};
use glasslog_index::{Binding, Index, Keeper, Opened, Revision};
use glasslog_store::{
    disk::sim::SimDisk,
    runs::{Cancel, MergeRate},
};
use glasslog_vindex::Key;
use proptest::prelude::*;

use crate::{
    DIR, SMALL, binding, feed, key,
    naive::{Naive, check_index},
    open, work,
};

#[derive(Clone, Debug)]
enum Step {
    /// Entries come, each with these keys.
    Apply(Vec<Vec<u16>>),
    /// An entry of each of so many comes with a key of its own, and one that all share.
    Many(u16),
    Revision,
    /// The newest revision but so many is kept.
    Keep(usize),
    /// The keeper does one thing, or all there is.
    Work(bool),
    Bulk(Vec<Vec<u16>>),
    BulkMany(u16),
    /// The process is killed and begins again.
    Kill,
    Close,
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let entries = || proptest::collection::vec(proptest::collection::vec(0_u16..400, 0..4), 0..20);
    let step = prop_oneof![
        4 => entries().prop_map(Step::Apply),
        2 => (1_u16..200).prop_map(Step::Many),
        4 => Just(Step::Revision),
        4 => (0_usize..3).prop_map(Step::Keep),
        3 => any::<bool>().prop_map(Step::Work),
        1 => entries().prop_map(Step::Bulk),
        1 => (0_u16..600).prop_map(Step::BulkMany),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
        1 => Just(Step::Reset),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Three families of keys: spread, in one bucket, and differing in their last bits alone.
fn spread(number: u16) -> Key {
    let mut spread = key(u64::from(number));
    match number % 4 {
        0 => spread.0[..4].copy_from_slice(&[0xab; 4]),
        1 => spread = Key([vec![0xcd; 30], number.to_be_bytes().to_vec()].concat().try_into().unwrap()),
        _ => {}
    }
    spread
}

fn entry(numbers: &[u16]) -> Vec<Key> {
    let mut keys: Vec<Key> = numbers.iter().map(|number| spread(*number)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

struct World {
    disk: SimDisk,
    log: Naive,
    index: Index,
    keeper: Keeper,
    revisions: Vec<Arc<Revision>>,
    kept: Vec<TreeSize>,
    /// What the present process was told to keep last.
    kept_here: Option<TreeSize>,
}

impl World {
    fn new() -> World {
        let disk = SimDisk::new(0);
        let Opened { index, keeper, .. } = open(&disk, SMALL).unwrap();
        World {
            disk,
            log: Naive::default(),
            index,
            keeper,
            revisions: Vec::new(),
            kept: vec![TreeSize::ZERO],
            kept_here: None,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Apply(entries) => {
                self.log.entries.extend(entries.iter().map(|numbers| entry(numbers)));
                self.feed();
            }
            Step::Many(count) => {
                self.log.entries.extend(self.many(count));
                self.feed();
            }
            Step::Revision => {
                let revision = self.index.revision().unwrap();
                assert_eq!(revision.root(), self.log.root_at(revision.size()));
                self.revisions.push(revision);
            }
            Step::Keep(but) => {
                if let Some(revision) = self.revisions.iter().rev().nth(but) {
                    let size = revision.size();
                    self.kept.push(size);
                    self.kept_here = self.kept_here.max(Some(size));
                    self.index.keep(size).unwrap();
                }
            }
            Step::Work(false) => {
                self.keeper.step(MergeRate::Unlimited, &Cancel::default()).unwrap();
            }
            Step::Work(true) => work(&self.keeper).unwrap(),
            Step::Bulk(entries) => self.bulk(entries.iter().map(|numbers| entry(numbers)).collect()),
            Step::BulkMany(count) => self.bulk(self.many(count)),
            Step::Kill => self.reopen(),
            Step::Close => {
                let next = self.index.next();
                let kept = self.kept_here.filter(|kept| {
                    let after = usize::try_from(kept.0).unwrap()..usize::try_from(next.0).unwrap();
                    self.log.entries[after].iter().all(Vec::is_empty)
                });
                let opened = open(&SimDisk::new(0), SMALL).unwrap();
                let durable = self.index.durable().map(|durable| durable.size);
                std::mem::replace(&mut self.index, opened.index).close().unwrap();
                self.reopen_at(kept.max(kept.and(durable)));
            }
            Step::Reset => {
                self.index.reset().unwrap();
                assert_eq!((self.index.next(), self.index.durable()), (TreeSize::ZERO, None));
                self.revisions.clear();
                (self.kept, self.kept_here) = (vec![TreeSize::ZERO], None);
                self.feed();
            }
        }
    }

    fn many(&self, count: u16) -> Vec<Vec<Key>> {
        let next = self.log.entries.len() as u64;
        (next..next + u64::from(count))
            .map(|number| {
                let mut keys = vec![key(number << 16), key(7 << 40)];
                keys.sort_unstable();
                keys
            })
            .collect()
    }

    fn feed(&mut self) {
        feed(&mut self.index, &self.log, self.log.entries.len()).unwrap();
    }

    fn bulk(&mut self, entries: Vec<Vec<Key>>) {
        let before = self.index.next();
        {
            let mut dropped = self.index.bulk().unwrap();
            dropped.push(LeafIndex(before.0), &[key(1)]).unwrap();
        }
        assert_eq!(self.index.next(), before);
        self.log.entries.extend(entries);
        let mut bulk = self.index.bulk().unwrap();
        for at in usize::try_from(before.0).unwrap()..self.log.entries.len() {
            bulk.push(LeafIndex(at as u64), &self.log.entries[at]).unwrap();
        }
        let revision = bulk.finish(&Cancel::default(), &mut |done, of| assert!(done <= of)).unwrap().unwrap();
        assert_eq!(revision.root(), self.log.root_at(revision.size()));
        self.kept.push(revision.size());
        let durable = self.index.durable().map(|durable| (durable.size, durable.root));
        assert_eq!(durable, (revision.size() > TreeSize::ZERO).then(|| (revision.size(), revision.root())));
        self.revisions.push(revision);
    }

    fn reopen(&mut self) {
        self.reopen_at(self.index.durable().map(|durable| durable.size).or(Some(TreeSize::ZERO)));
    }

    /// What is found is something that was kept, and `expected` if that is said.
    fn reopen_at(&mut self, expected: Option<TreeSize>) {
        self.disk = self.disk.killed();
        self.kept_here = None;
        self.revisions.clear();
        let Opened { index, keeper, emptied_because } = open(&self.disk, SMALL).unwrap();
        assert_eq!(emptied_because, None);
        (self.index, self.keeper) = (index, keeper);
        let found = self.index.next();
        assert!(
            self.kept.contains(&found) && expected.is_none_or(|expected| expected == found),
            "{found} {expected:?}"
        );
        let durable = self.index.durable().map(|durable| (durable.size, durable.root));
        assert_eq!(durable, (found > TreeSize::ZERO).then(|| (found, self.log.root_at(found))));
        check_index(&mut self.index, &self.log, 6);
        self.feed();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if std::env::var_os("GLASSLOG_TORTURE").is_some() { 2000 } else { 60 }, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: roots, proofs, pages are those of the naive index; old revisions stay what they are.
    #[test]
    fn any_history(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        check_index(&mut world.index, &world.log, 25);
        let every = world.revisions.len() / 3 + 1;
        for revision in world.revisions.iter().step_by(every) {
            let state = world.log.at(revision.size());
            state.check(revision, state.some_keys(4).into_iter().chain([key(u64::MAX)]));
        }
    }
}

/// An index of another log, or by another map function, is opened empty.
#[test]
fn another_binding() {
    for other in [
        Binding { origin: "example.com/other".into(), ..binding() },
        Binding { map_fn: "json-field:other".into(), ..binding() },
    ] {
        let disk = SimDisk::new(0);
        let mut index = open(&disk, SMALL).unwrap().index;
        let mut bulk = index.bulk().unwrap();
        bulk.push(LeafIndex(0), &[key(1)]).unwrap();
        bulk.finish(&Cancel::default(), &mut |_, _| ()).unwrap();
        let opened = Index::open(Arc::new(disk.clone()), Path::new(DIR), &other, SMALL).unwrap();
        assert!(
            opened.emptied_because.unwrap().contains("it is the index of example.com/log by json-field:name")
        );
        assert_eq!(opened.index.next(), TreeSize::ZERO);
        assert_eq!(open(&disk, SMALL).unwrap().index.next(), TreeSize::ZERO, "nothing comes back");
    }
}

/// Entries come in order.
#[test]
fn a_gap_is_an_error() {
    let mut index = open(&SimDisk::new(0), SMALL).unwrap().index;
    index.apply(LeafIndex(0), &[key(1)]).unwrap();
    let error = index.apply(LeafIndex(2), &[]).unwrap_err();
    assert!(error.to_string().contains("covers 1 entries, and the keys of entry 2"), "{error}");
    index.apply(LeafIndex(0), &[key(2)]).unwrap();
    assert_eq!((index.next(), index.revision().unwrap().keys()), (TreeSize(1), 1));
    assert!(index.bulk().unwrap().push(LeafIndex(2), &[]).is_err());
}
