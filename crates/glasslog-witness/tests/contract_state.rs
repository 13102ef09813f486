//! The contract of `WitnessState`, as every implementation must keep it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::type_complexity, reason = "tests")]

use std::{collections::HashMap, path::Path, sync::Arc};

use bytes::Bytes;
use glasslog_core::{Hash, TreeSize, cosignature::MAX_TIME};
use glasslog_witness::{
    decide::Held,
    state::{
        MemoryWitnessState, Record, SqliteOptions, SqliteWitnessState, StateError, Swap, SwapOutcome,
        WitnessState,
    },
};
use proptest::prelude::*;

/// Opens the state that lies at `dir`; of what forgets, a new one.
type Open = fn(dir: &Path) -> Arc<dyn WitnessState>;

const IMPLEMENTATIONS: [(&str, Open, bool); 2] = [
    ("memory", |_| Arc::new(MemoryWitnessState::default()), false),
    (
        "sqlite",
        |dir| Arc::new(SqliteWitnessState::open(&dir.join("state.db"), SqliteOptions::default()).unwrap()),
        true,
    ),
];

fn each(test: fn(&str, &dyn Fn() -> Arc<dyn WitnessState>, bool)) {
    for (name, open, durable) in IMPLEMENTATIONS {
        let dir = tempfile::tempdir().unwrap();
        test(name, &|| open(dir.path()), durable);
    }
}

fn held(size: u64, root: u8, time: u64) -> Held {
    Held { size: TreeSize(size), root: Hash([root; 32]), time }
}

fn record(origin: &str, held: Held) -> Record {
    let note = Bytes::from(format!("{origin} {held:?}"));
    Record { origin: origin.into(), held, note }
}

fn swap(origin: &str, expected: Option<Held>, next: Held) -> Swap {
    Swap { expected, next: record(origin, next) }
}

#[test]
fn what_is_swapped_is_held() {
    each(|name, open, durable| {
        let state = open();
        assert_eq!(state.load("a").unwrap(), None, "{name}");
        assert_eq!(state.load_all().unwrap(), [], "{name}");
        assert_eq!(state.swap(&[]).unwrap(), [], "{name}");
        let first = held(0, 1, 5);
        assert_eq!(state.swap(&[swap("a", None, first)]).unwrap(), [SwapOutcome::Swapped], "{name}");
        let second = held(9, 2, 5);
        assert_eq!(state.swap(&[swap("a", Some(first), second)]).unwrap(), [SwapOutcome::Swapped], "{name}");
        assert_eq!(state.load("a").unwrap(), Some(record("a", second)), "{name}");
        assert_eq!(state.load_all().unwrap(), [record("a", second)], "{name}");
        assert_eq!(state.load("A").unwrap(), None, "{name}: origins are bytes");
        state.close().unwrap();
        assert!(matches!(state.swap(&[swap("b", None, first)]), Err(StateError::Refused(_))), "{name}");
        drop(state);
        if durable {
            assert_eq!(open().load_all().unwrap(), [record("a", second)], "{name}: after a restart");
        }
    });
}

#[test]
fn a_swap_happens_only_over_exactly_what_is_expected() {
    each(|name, open, _| {
        let state = open();
        let there = held(5, 1, 7);
        state.swap(&[swap("a", None, there)]).unwrap();
        let next = held(6, 2, 8);
        for (what, expected) in [
            ("nothing was expected", None),
            ("another size", Some(held(4, 1, 7))),
            ("another root", Some(held(5, 2, 7))),
            ("an older time", Some(held(5, 1, 6))),
        ] {
            let outcome = state.swap(&[swap("a", expected, next)]).unwrap();
            assert_eq!(outcome, [SwapOutcome::Conflict(Some(record("a", there)))], "{name}: {what}");
            assert_eq!(state.load("a").unwrap(), Some(record("a", there)), "{name}: {what}");
        }
        let outcome = state.swap(&[swap("b", Some(there), next)]).unwrap();
        assert_eq!(outcome, [SwapOutcome::Conflict(None)], "{name}: there was nothing");
        assert_eq!(state.load("b").unwrap(), None, "{name}");
    });
}

#[test]
fn a_conflict_in_a_batch_leaves_the_others() {
    each(|name, open, _| {
        let state = open();
        let (old, new) = (held(1, 1, 1), held(2, 2, 2));
        state.swap(&[swap("a", None, old), swap("b", None, old)]).unwrap();
        let batch = [swap("a", Some(old), new), swap("b", None, new), swap("c", None, new)];
        let conflict = SwapOutcome::Conflict(Some(record("b", old)));
        assert_eq!(
            state.swap(&batch).unwrap(),
            [SwapOutcome::Swapped, conflict, SwapOutcome::Swapped],
            "{name}"
        );
        let held = ["a", "b", "c"].map(|origin| state.load(origin).unwrap().unwrap().held);
        assert_eq!(held, [new, old, new], "{name}");
    });
}

#[test]
fn every_size_time_and_origin_is_held_as_it_is() {
    each(|name, open, durable| {
        let mut state = open();
        let sizes = [0, 1, (1 << 63) - 1, 1 << 63, u64::MAX];
        let long = "x".repeat(255);
        let origins =
            ["go.sum database tree", "' OR 1=1 --", "/../", "ünï\u{2028}", "a+b", "%00", long.as_str()];
        for origin in origins {
            let mut expected = None;
            for (size, time) in sizes.into_iter().zip([1, 2, MAX_TIME - 1, MAX_TIME, MAX_TIME]) {
                let next = held(size, 3, time);
                assert_eq!(
                    state.swap(&[swap(origin, expected, next)]).unwrap(),
                    [SwapOutcome::Swapped],
                    "{name} {size}"
                );
                assert_eq!(state.load(origin).unwrap(), Some(record(origin, next)), "{name} {size}");
                expected = Some(next);
            }
        }
        let note = Bytes::from(vec![b'n'; 512 * 1024]);
        let large = Record { note, ..record("large", held(1, 1, 1)) };
        state.swap(&[Swap { expected: None, next: large.clone() }]).unwrap();
        assert_eq!(state.load("large").unwrap(), Some(large), "{name}");
        if durable {
            state.close().unwrap();
            drop(state);
            state = open();
            assert_eq!(state.load("' OR 1=1 --").unwrap().unwrap().held.size, TreeSize(u64::MAX), "{name}");
        }
        assert_eq!(state.load_all().unwrap().len(), origins.len() + 1, "{name}");
    });
}

/// Eight threads that each take the record one further, again and again: no step is lost, and none is done twice.
#[test]
fn nobody_loses_a_swap_to_another() {
    const STEPS: u64 = 25;
    each(|name, open, _| {
        let state = open();
        let step = |state: &dyn WitnessState| {
            loop {
                let found = state.load("a").unwrap().map(|record| record.held);
                let next = held(found.map_or(1, |held| held.size.0 + 1), 0, 0);
                if state.swap(&[swap("a", found, next)]).unwrap() == [SwapOutcome::Swapped] {
                    return next.size.0;
                }
            }
        };
        let mut sizes: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..STEPS).map(|_| step(&*state)).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        sizes.sort_unstable();
        assert_eq!(sizes, (1..=8 * STEPS).collect::<Vec<_>>(), "{name}");
    });
}

fn any_swap() -> impl Strategy<Value = (u8, Option<(u64, u8, u64)>, (u64, u8, u64))> {
    let any_held = || (0..3u64, 0..2u8, 0..2u64);
    (0..3u8, proptest::option::of(any_held()), any_held())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Against a map.
    #[test]
    fn as_a_map_does_it(steps in proptest::collection::vec(any_swap(), 1..40)) {
        for (name, open, durable) in IMPLEMENTATIONS {
            let dir = tempfile::tempdir().unwrap();
            let state = open(dir.path());
            let mut model: HashMap<String, Record> = HashMap::new();
            for (log, expected, next) in &steps {
                let origin = log.to_string();
                let of = |(size, root, time): &(u64, u8, u64)| held(*size, *root, *time);
                let step = swap(&origin, expected.as_ref().map(of), of(next));
                let there = model.get(&origin).cloned();
                let wanted = if there.as_ref().map(|record| record.held) == step.expected {
                    model.insert(origin.clone(), step.next.clone());
                    SwapOutcome::Swapped
                } else {
                    SwapOutcome::Conflict(there)
                };
                prop_assert_eq!(state.swap(&[step]).unwrap(), vec![wanted], "{}", name);
            }
            let state = if durable { drop(state); open(dir.path()) } else { state };
            let mut all = state.load_all().unwrap();
            let mut wanted: Vec<_> = model.into_values().collect();
            all.sort_by(|one, other| one.origin.cmp(&other.origin));
            wanted.sort_by(|one, other| one.origin.cmp(&other.origin));
            prop_assert_eq!(all, wanted, "{}", name);
        }
    }
}
