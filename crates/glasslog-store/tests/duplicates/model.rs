//! Random histories of the table and of the part in memory, judged by a `HashMap`.

use std::{collections::HashMap, sync::Arc};

use glasslog_core::{Hash, LeafIndex, TreeSize, hash::leaf_hash, personality::Identity};
use glasslog_store::{
    disk::sim::SimDisk,
    duplicates::{Frozen, Recent, Table},
};
use proptest::prelude::*;

use crate::{identity, merge_all, open};

#[derive(Clone, Debug)]
enum Step {
    /// Appends entries of these identities.
    Append(Vec<u64>),
    /// Freezes what was appended, all but the newest so many.
    Freeze(u64),
    /// Spills the oldest frozen part and drops it.
    Spill,
    Merge,
    /// Forgets what is in memory, as a restart does, and appends what the table does not cover again.
    Reopen,
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(0_u64..600, 1..400).prop_map(Step::Append),
        4 => (0_u64..60).prop_map(Step::Freeze),
        4 => Just(Step::Spill),
        2 => Just(Step::Merge),
        1 => Just(Step::Reopen),
        1 => Just(Step::Reset),
    ]
}

/// A log's use of both parts, beside the list of all entries.
struct Bench {
    disk: SimDisk,
    table: Table,
    recent: Recent,
    frozen: Vec<Arc<Frozen>>,
    entries: Vec<u64>,
}

impl Bench {
    fn new() -> Bench {
        let disk = SimDisk::new(1);
        let table = open(&disk).unwrap();
        Bench { disk, table, recent: Recent::new(7, TreeSize::ZERO), frozen: Vec::new(), entries: Vec::new() }
    }

    fn hash(index: usize) -> Hash {
        leaf_hash(&index.to_be_bytes())
    }

    fn insert_from(&mut self, from: usize) {
        for (index, number) in self.entries.iter().enumerate().skip(from) {
            self.recent.insert(identity(*number), LeafIndex(index as u64), Self::hash(index));
        }
    }

    fn restart(&mut self) {
        let covered = self.table.covered();
        self.frozen.clear();
        self.recent = Recent::new(9, covered);
        self.insert_from(usize::try_from(covered.0).unwrap());
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append(numbers) => {
                let before = self.entries.len();
                self.entries.extend(numbers);
                self.insert_from(before);
            }
            Step::Freeze(newest) => {
                let up_to = (self.entries.len() as u64).saturating_sub(newest);
                if up_to > self.frozen.last().map_or(self.table.covered(), |last| last.up_to()).0 {
                    self.frozen.push(self.recent.freeze_below(TreeSize(up_to)));
                }
            }
            Step::Spill if self.frozen.is_empty() => {}
            Step::Spill => {
                let frozen = self.frozen.remove(0);
                self.table.spill(frozen.rows(), frozen.up_to()).unwrap();
                self.recent.drop_frozen(frozen.up_to());
                assert_eq!(self.recent.from(), self.table.covered());
            }
            Step::Merge => merge_all(&self.table).unwrap(),
            Step::Reopen => {
                let before = self.table.covered();
                self.table = open(&self.disk).unwrap();
                assert_eq!((self.table.covered(), self.table.emptied_because()), (before, None));
                self.restart();
            }
            Step::Reset => {
                self.table.reset().unwrap();
                assert_eq!(self.table.covered(), TreeSize::ZERO);
                self.restart();
            }
        }
    }

    /// Memory first, then the table: as the sequencer asks.
    fn latest(&self, identity: &Identity) -> Option<LeafIndex> {
        if let Some((index, hash)) = self.recent.get(identity) {
            assert_eq!(hash, Self::hash(usize::try_from(index.0).unwrap()));
            return Some(index);
        }
        let found = self.table.latest(identity).unwrap();
        assert!(found.is_none() || self.table.may_contain(identity));
        found
    }

    fn check(&self, numbers: impl IntoIterator<Item = u64>) {
        let model: HashMap<u64, usize> =
            self.entries.iter().enumerate().map(|(index, number)| (*number, index)).collect();
        for number in numbers {
            let expected = model.get(&number).map(|index| LeafIndex(*index as u64));
            assert_eq!(self.latest(&identity(number)), expected, "identity {number}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn agrees_with_a_map(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new();
        for (at, step) in steps.into_iter().enumerate() {
            bench.take(step);
            bench.check((at as u64 % 31..620).step_by(31));
        }
        bench.check(0..620);
    }
}

/// What merges leave behind is one file per run and the manifest.
#[test]
fn merges_leave_no_files_behind() {
    let disk = SimDisk::new(1);
    let table = open(&disk).unwrap();
    for round in 0_u64..64 {
        let rows = (0..100).map(|at| (identity(at * 7 + round), LeafIndex(round * 100 + at)));
        table.spill(rows.collect(), TreeSize((round + 1) * 100)).unwrap();
        merge_all(&table).unwrap();
    }
    let (_, runs) = table.view().size();
    assert!(runs <= 6, "{runs}");
    assert_eq!(disk.files().len(), runs + 1);
}
