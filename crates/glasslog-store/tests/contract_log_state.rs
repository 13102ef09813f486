//! One suite for every implementation of `LogState`, judged by its contract in prose.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use glasslog_core::{Hash, LeafIndex, TreeSize, hash::leaf_hash, personality::Identity};
use glasslog_store::{
    LogState,
    disk::{Disk, RealDisk, sim::SimDisk},
    log_state::{
        Batch, BatchId, CommitOutcome, Epoch, MemoryLogState, SegmentLogState, SegmentOptions, SizedNote,
        Slot, StateError, StateView, Watermarks,
    },
};

/// A place where log state is kept across restarts.
trait Place {
    fn open(&self) -> Arc<dyn LogState>;
    /// The state as the next process finds it; `open` gave the former.
    fn reopen(&self, former: Arc<dyn LogState>) -> Arc<dyn LogState>;
}

struct Memory(parking_lot::Mutex<Option<Arc<MemoryLogState>>>);

impl Place for Memory {
    fn open(&self) -> Arc<dyn LogState> {
        let state = Arc::new(MemoryLogState::new());
        *self.0.lock() = Some(Arc::clone(&state));
        state
    }

    fn reopen(&self, _former: Arc<dyn LogState>) -> Arc<dyn LogState> {
        let mut current = self.0.lock();
        let state = Arc::new(current.as_ref().unwrap().restarted());
        *current = Some(Arc::clone(&state));
        state
    }
}

struct Segments {
    disk: Arc<dyn Disk>,
    dir: std::path::PathBuf,
    options: SegmentOptions,
    _owned: Option<tempfile::TempDir>,
}

impl Segments {
    fn sim() -> Segments {
        let options = SegmentOptions { segment_bytes: 32 << 10, cache_bytes: 4 << 10, background: false };
        Segments { disk: Arc::new(SimDisk::new(1)), dir: "/log/state".into(), options, _owned: None }
    }

    fn real() -> Segments {
        let owned = tempfile::tempdir().unwrap();
        let options = SegmentOptions { segment_bytes: 64 << 10, cache_bytes: 1 << 20, background: true };
        let dir = owned.path().join("state");
        Segments { disk: Arc::new(RealDisk::private()), dir, options, _owned: Some(owned) }
    }
}

impl Place for Segments {
    fn open(&self) -> Arc<dyn LogState> {
        Arc::new(SegmentLogState::open(Arc::clone(&self.disk), &self.dir, self.options).unwrap())
    }

    fn reopen(&self, former: Arc<dyn LogState>) -> Arc<dyn LogState> {
        drop(former);
        self.open()
    }
}

fn places() -> Vec<(&'static str, Box<dyn Place>)> {
    vec![
        ("memory", Box::new(Memory(parking_lot::Mutex::default()))),
        ("segments, simulated disk", Box::new(Segments::sim())),
        ("segments, real disk", Box::new(Segments::real())),
    ]
}

fn for_each_place(test: impl Fn(&dyn Place)) {
    for (name, place) in places() {
        println!("{name}");
        test(place.as_ref());
    }
}

fn entry(index: u64) -> Slot {
    let bytes = Bytes::from(format!("entry {index}"));
    let leaf_hash = leaf_hash(&bytes);
    // Every third has an identity of its own, as in a package log.
    let named = index.is_multiple_of(3).then_some(Identity([7; 16]));
    Slot::Entry { bytes, leaf_hash, identity: named.unwrap_or(Identity::from_hash(&leaf_hash)) }
}

fn batch(first: u64, count: u64) -> Arc<Batch> {
    batch_of(first, (first..first + count).map(entry).collect())
}

fn batch_of(first: u64, slots: Vec<Slot>) -> Arc<Batch> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&first.to_be_bytes());
    Arc::new(Batch { id: BatchId(id), first_index: LeafIndex(first), slots })
}

fn note(size: u64) -> SizedNote {
    SizedNote { size: TreeSize(size), note: Bytes::from(format!("checkpoint of {size}")) }
}

fn commit(state: &dyn LogState, batch: Arc<Batch>, cut: Option<Epoch>) -> CommitOutcome {
    state.turn(state.view().unwrap().head).unwrap().commit(batch, cut)
}

fn must_commit(state: &dyn LogState, first: u64, count: u64) {
    let outcome = commit(state, batch(first, count), None);
    assert!(matches!(outcome, CommitOutcome::Committed), "{outcome:?}");
}

fn all(state: &dyn LogState) -> Vec<Arc<Batch>> {
    state.batches(LeafIndex(0), usize::MAX).unwrap()
}

#[test]
fn fresh_state_is_empty_and_clean() {
    for_each_place(|place| {
        let state = place.open();
        assert_eq!(state.view().unwrap(), StateView::default());
        assert!(all(&*state).is_empty());
        assert!(state.published().borrow().is_none());
    });
}

#[test]
fn it_is_bound_to_one_log_and_follows_a_rotated_key() {
    for_each_place(|place| {
        let keys = |keys: &[&str]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        let state = place.open();
        state.bind("example.org/log", &keys(&["a"])).unwrap();
        let state = place.reopen(state);
        assert!(matches!(state.bind("example.org/other", &keys(&["a"])), Err(StateError::OtherLog { .. })));
        assert!(matches!(state.bind("example.org/log", &keys(&["b"])), Err(StateError::OtherLog { .. })));
        state.bind("example.org/log", &keys(&["b", "a"])).unwrap();
        let state = place.reopen(state);
        state.bind("example.org/log", &keys(&["b"])).unwrap();
    });
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    for_each_place(|place| {
        let state = place.open();
        let mut batches = Vec::new();
        for first in (0..300).step_by(30) {
            must_commit(&*state, first, 30);
            batches.push(batch(first, 30));
        }
        assert_eq!(all(&*state), batches);
        assert!(state.was_committed(batch(30, 1).id).unwrap());
        assert!(!state.was_committed(batch(31, 1).id).unwrap());
        let state = place.reopen(state);
        assert_eq!(all(&*state), batches);
        let view = state.view().unwrap();
        assert_eq!((view.head, view.unclean), (TreeSize(300), true));
        state.close().unwrap();
        let state = place.reopen(state);
        assert_eq!(all(&*state), batches);
        assert!(!state.view().unwrap().unclean);
    });
}

#[test]
fn batches_are_bounded_in_bytes_and_begin_with_the_one_that_holds_the_index() {
    for_each_place(|place| {
        let state = place.open();
        (0..10).for_each(|turn| must_commit(&*state, turn * 10, 10));
        let firsts = |from, max| -> Vec<u64> {
            state.batches(LeafIndex(from), max).unwrap().iter().map(|batch| batch.first_index.0).collect()
        };
        assert_eq!(firsts(0, 0), [0]);
        assert_eq!(firsts(19, 0), [10]);
        assert_eq!(firsts(20, 100), [20, 30]);
        assert_eq!(firsts(85, usize::MAX), [80, 90]);
        assert!(firsts(100, usize::MAX).is_empty());
    });
}

#[test]
fn a_turn_hands_over_what_the_caller_does_not_know() {
    for_each_place(|place| {
        let state = place.open();
        must_commit(&*state, 0, 5);
        must_commit(&*state, 5, 5);
        let turn = state.turn(TreeSize(3)).unwrap();
        assert_eq!(turn.head(), TreeSize(10));
        let expected: Vec<(Identity, LeafIndex, Hash)> = (3..10)
            .map(|index| match entry(index) {
                Slot::Entry { leaf_hash, identity, .. } => (identity, LeafIndex(index), leaf_hash),
                Slot::Anchor => panic!("no anchors here"),
            })
            .collect();
        assert_eq!(turn.appended(), expected);
        drop(turn);
        assert!(state.turn(TreeSize(10)).unwrap().appended().is_empty());
        assert_eq!(state.view().unwrap().head, TreeSize(10), "a turn that is dropped changes nothing");
    });
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    for_each_place(|place| {
        let state = place.open();
        must_commit(&*state, 0, 2);
        let epoch = state.lease("me").unwrap();
        let entry_of = |len: usize| {
            let bytes = Bytes::from(vec![1; len]);
            let leaf_hash = leaf_hash(&bytes);
            Slot::Entry { bytes, leaf_hash, identity: Identity::from_hash(&leaf_hash) }
        };
        let refused = [
            (batch(1, 1), None, "not at the head"),
            (batch_of(2, Vec::new()), None, "no slots"),
            (batch_of(2, vec![entry_of(0)]), None, "an empty entry"),
            (batch_of(2, vec![entry_of(65_536)]), None, "an entry too long"),
            (batch_of(2, vec![Slot::Anchor]), None, "an anchor without the lease"),
            (batch_of(2, vec![Slot::Anchor, Slot::Anchor]), Some(epoch), "two anchors"),
        ];
        for (batch, cut, why) in refused {
            assert!(matches!(commit(&*state, batch, cut), CommitOutcome::Refused(_)), "{why}");
        }
        let stale = Some(Epoch(epoch.0 - 1));
        assert!(matches!(commit(&*state, batch_of(2, vec![Slot::Anchor]), stale), CommitOutcome::Fenced));
        let longest = batch_of(2, vec![entry_of(65_535), entry_of(1)]);
        assert!(matches!(commit(&*state, Arc::clone(&longest), None), CommitOutcome::Committed));
        let state = place.reopen(state);
        assert_eq!(all(&*state), [batch(0, 2), longest]);
    });
}

#[test]
fn an_anchor_is_reserved_once_and_filled_once() {
    for_each_place(|place| {
        let state = place.open();
        let epoch = state.lease("me").unwrap();
        let reserve = batch_of(0, vec![entry(0), Slot::Anchor]);
        assert!(matches!(commit(&*state, reserve, Some(epoch)), CommitOutcome::Committed));
        let second = batch_of(2, vec![Slot::Anchor]);
        assert!(matches!(commit(&*state, Arc::clone(&second), Some(epoch)), CommitOutcome::Refused(_)));
        must_commit(&*state, 2, 1);

        let state = place.reopen(state);
        assert_eq!(state.view().unwrap().unfilled_anchor, Some(LeafIndex(1)));
        assert_eq!(state.filled(LeafIndex(1)).unwrap(), None);
        let stale = state.fill(Epoch(epoch.0 + 1), LeafIndex(1), Bytes::from_static(b"x"));
        assert!(matches!(stale, Err(StateError::Fenced)));
        let over = state.record_checkpoint(epoch, None, note(2));
        assert!(matches!(over, Err(StateError::Refused(_))), "its root would not be known");
        state.record_checkpoint(epoch, None, note(1)).unwrap();
        state.fill(epoch, LeafIndex(1), Bytes::from_static(b"anchor")).unwrap();
        let again = state.fill(epoch, LeafIndex(1), Bytes::from_static(b"other"));
        assert!(matches!(again, Err(StateError::Fenced)));

        let state = place.reopen(state);
        assert_eq!(state.view().unwrap().unfilled_anchor, None);
        assert_eq!(state.filled(LeafIndex(1)).unwrap().unwrap(), "anchor");
        let next = batch_of(3, vec![Slot::Anchor]);
        assert!(matches!(commit(&*state, next, Some(epoch)), CommitOutcome::Committed));
    });
}

#[test]
fn a_new_lease_fences_the_former_holder() {
    for_each_place(|place| {
        let state = place.open();
        let old = state.lease("a").unwrap();
        let state = place.reopen(state);
        must_commit(&*state, 0, 4);
        let new = state.lease("b").unwrap();
        assert!(new > old);
        assert!(matches!(state.record_checkpoint(old, None, note(4)), Err(StateError::Fenced)));
        assert!(matches!(state.record_public(old, note(4)), Err(StateError::Fenced)));
        assert!(matches!(state.advance(old, Watermarks::default()), Err(StateError::Fenced)));
        assert!(matches!(state.adopt(old, note(9)), Err(StateError::Fenced)));
        state.record_checkpoint(new, None, note(4)).unwrap();
    });
}

#[test]
fn checkpoints_are_compared_and_set_and_never_shrink() {
    for_each_place(|place| {
        let state = place.open();
        let epoch = state.lease("me").unwrap();
        state.record_checkpoint(epoch, None, note(0)).unwrap();
        must_commit(&*state, 0, 8);
        state.record_checkpoint(epoch, Some(TreeSize(0)), note(4)).unwrap();
        let stale = state.record_checkpoint(epoch, Some(TreeSize(0)), note(8));
        assert!(matches!(stale, Err(StateError::Fenced)));
        let smaller = state.record_checkpoint(epoch, Some(TreeSize(4)), note(3));
        assert!(matches!(smaller, Err(StateError::Refused(_))));
        let beyond = state.record_checkpoint(epoch, Some(TreeSize(4)), note(9));
        assert!(matches!(beyond, Err(StateError::Refused(_))));
        let state = place.reopen(state);
        assert_eq!(state.view().unwrap().recorded, Some(note(4)));
    });
}

#[test]
fn public_notes_and_watermarks_ride_along_with_the_next_change_that_syncs() {
    for_each_place(|place| {
        let state = place.open();
        let epoch = state.lease("me").unwrap();
        let published = state.published();
        must_commit(&*state, 0, 8);
        let moved = Watermarks { objects_durable: TreeSize(8), trim_below: TreeSize(4) };
        state.record_public(epoch, note(4)).unwrap();
        state.advance(epoch, moved).unwrap();
        assert_eq!(published.borrow().clone(), Some(note(4)));
        let view = state.view().unwrap();
        assert_eq!((view.public, view.watermarks), (Some(note(4)), moved));
        state.record_public(epoch, note(3)).unwrap();
        assert_eq!(published.borrow().clone(), Some(note(4)), "a smaller one is old news");
        must_commit(&*state, 8, 1);

        state.advance(epoch, Watermarks { objects_durable: TreeSize(9), trim_below: TreeSize(9) }).unwrap();
        let state = place.reopen(state);
        let view = state.view().unwrap();
        assert_eq!(
            (view.public, view.watermarks),
            (Some(note(4)), moved),
            "the last advance is lost, harmlessly"
        );
        assert_eq!(state.published().borrow().clone(), Some(note(4)));
        assert_eq!(all(&*state).len(), 2);

        state.advance(epoch, Watermarks { objects_durable: TreeSize(2), ..moved }).unwrap();
        assert_eq!(state.view().unwrap().watermarks, moved, "smaller values are ignored");
        let beyond = Watermarks { objects_durable: TreeSize(10), ..moved };
        assert!(matches!(state.advance(epoch, beyond), Err(StateError::Refused(_))));
        state.close().unwrap();
        assert_eq!(place.reopen(state).view().unwrap().watermarks, moved);
    });
}

#[test]
fn trimmed_batches_leave_and_those_that_straddle_stay() {
    for_each_place(|place| {
        let state = place.open();
        let epoch = state.lease("me").unwrap();
        for turn in 0..200 {
            must_commit(&*state, turn * 10, 10);
            let trim_below = TreeSize((turn * 10).saturating_sub(25));
            state.advance(epoch, Watermarks { objects_durable: trim_below, trim_below }).unwrap();
        }
        must_commit(&*state, 2000, 1);
        let expected = [batch(1960, 10), batch(1970, 10), batch(1980, 10), batch(1990, 10), batch(2000, 1)];
        assert_eq!(all(&*state), expected);
        assert_eq!(state.batches(LeafIndex(5), 0).unwrap(), [batch(1960, 10)]);
        assert_eq!(all(&*place.reopen(state)), expected);
    });
}

#[test]
fn adopt_lets_state_that_is_behind_go_on() {
    for_each_place(|place| {
        let state = place.open();
        let epoch = state.lease("recover").unwrap();
        must_commit(&*state, 0, 8);
        assert!(matches!(state.adopt(epoch, note(7)), Err(StateError::Fenced)));
        state.adopt(epoch, note(100)).unwrap();
        assert!(all(&*state).is_empty());
        let state = place.reopen(state);
        let view = state.view().unwrap();
        assert_eq!((view.head, view.recorded), (TreeSize(100), Some(note(100))));
        must_commit(&*state, 100, 3);
        assert_eq!(all(&*place.reopen(state)), [batch(100, 3)]);
    });
}

#[test]
fn nothing_is_written_after_goodbye() {
    for_each_place(|place| {
        let state = place.open();
        let epoch = state.lease("me").unwrap();
        state.close().unwrap();
        state.close().unwrap();
        assert!(matches!(state.lease("you"), Err(StateError::Refused(_))));
        assert!(matches!(state.record_public(epoch, note(0)), Err(StateError::Refused(_))));
    });
}

#[test]
fn writers_of_every_kind_work_at_the_same_time() {
    for_each_place(|place| {
        let state = place.open();
        let epoch = state.lease("me").unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4_u64 {
                let state = &*state;
                scope.spawn(move || {
                    for _ in 0..50 {
                        let turn = state.turn(TreeSize(u64::MAX)).unwrap();
                        let head = turn.head().0;
                        let outcome = turn.commit(batch(head, writer + 1), None);
                        assert!(matches!(outcome, CommitOutcome::Committed), "{outcome:?}");
                    }
                });
            }
            let state = &*state;
            scope.spawn(move || {
                for _ in 0..50 {
                    let view = state.view().unwrap();
                    let previous = view.recorded.map(|note| note.size);
                    state.record_checkpoint(epoch, previous, note(view.head.0)).unwrap();
                    let head = view.head;
                    state.advance(epoch, Watermarks { objects_durable: head, trim_below: head }).unwrap();
                }
            });
        });
        let head = state.view().unwrap().head;
        assert_eq!(head, TreeSize(50 * (1 + 2 + 3 + 4)));
        let state = place.reopen(state);
        assert_eq!(state.view().unwrap().head, head);
        let mut next = None;
        for batch in all(&*state) {
            assert_eq!(next.unwrap_or(batch.first_index), batch.first_index);
            next = Some(batch.end().next_index());
        }
    });
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    let disk = SimDisk::new(1);
    disk.create_new(Path::new("/file")).unwrap();
    let opened = SegmentLogState::open(Arc::new(disk), Path::new("/file/state"), SegmentOptions::default());
    assert!(opened.is_err());
}
