//! Log state when the power fails: random histories, a fault at every disk operation, every kind of image.
//!
//! The judge is `MemoryLogState`, told the same. What is found after a crash must be exactly what it holds before the
//! interrupted step, or exactly what it holds after it; what was acknowledged to a process must stay, whatever that
//! process's predecessor left behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use glasslog_core::{LeafIndex, TreeSize, hash::leaf_hash, personality::Identity};
use glasslog_store::{
    LogState,
    disk::sim::{Fault, SimDisk},
    log_state::{
        Batch, BatchId, CommitOutcome, Epoch, MemoryLogState, SegmentLogState, SegmentOptions, SizedNote,
        Slot, StateError, StateView, Watermarks,
    },
};

const STEPS: usize = 24;
const SEEDS: u64 = 2;
const IMAGES: usize = 4;

fn open(disk: &SimDisk) -> Result<SegmentLogState, StateError> {
    let options = SegmentOptions { segment_bytes: 32 << 10, cache_bytes: 8 << 10, background: false };
    SegmentLogState::open(Arc::new(disk.clone()), Path::new("/log/state"), options)
}

/// One thing that a log does to its state.
#[derive(Clone, Debug)]
enum Step {
    Bind,
    Lease,
    Commit(Arc<Batch>, Option<Epoch>),
    Checkpoint(Epoch, Option<TreeSize>, SizedNote),
    Public(Epoch, SizedNote),
    Fill(Epoch, LeafIndex, Bytes),
    Advance(Epoch, Watermarks),
    Restart,
    CloseAndRestart,
}

/// How a step ended: done, refused without a trace, or unknown.
#[derive(Debug, PartialEq)]
enum Ended {
    Done,
    Refused,
    Unknown,
}

fn apply(state: &dyn LogState, step: &Step) -> Ended {
    let of = |result: Result<(), StateError>| match result {
        Ok(()) => Ended::Done,
        Err(StateError::Refused(_)) => Ended::Refused,
        Err(StateError::Durability(_)) => Ended::Unknown,
        Err(other) => panic!("{step:?}: {other}"),
    };
    match step {
        Step::Bind => of(state.bind("example.org/log", &["key".to_owned()])),
        Step::Lease => of(state.lease("me").map(drop)),
        Step::Commit(batch, cut) => match state.turn(TreeSize(u64::MAX)) {
            Err(error) => of(Err(error)),
            Ok(turn) => match turn.commit(Arc::clone(batch), *cut) {
                CommitOutcome::Committed => Ended::Done,
                CommitOutcome::Refused(_) => Ended::Refused,
                CommitOutcome::Unknown(_) => Ended::Unknown,
                CommitOutcome::Fenced => panic!("{step:?}: fenced"),
            },
        },
        Step::Checkpoint(epoch, previous, note) => {
            of(state.record_checkpoint(*epoch, *previous, note.clone()))
        }
        Step::Public(epoch, note) => of(state.record_public(*epoch, note.clone())),
        Step::Fill(epoch, position, bytes) => of(state.fill(*epoch, *position, bytes.clone())),
        Step::Advance(epoch, watermarks) => of(state.advance(*epoch, *watermarks)),
        Step::Restart => Ended::Done,
        Step::CloseAndRestart => of(state.close()),
    }
}

/// Everything that can be seen of a state.
#[derive(Debug, PartialEq)]
struct Seen {
    view: StateView,
    batches: Vec<Arc<Batch>>,
    fills: Vec<Option<Bytes>>,
}

fn see(state: &dyn LogState) -> Seen {
    let view = StateView { unclean: false, ..state.view().unwrap() };
    let batches = state.batches(LeafIndex(0), usize::MAX).unwrap();
    let slots = batches.iter().flat_map(|batch| batch.indexed());
    let fills =
        slots.filter(|(_, slot)| matches!(slot, Slot::Anchor)).map(|(at, _)| state.filled(at).unwrap());
    Seen { view, fills: fills.collect(), batches: batches.clone() }
}

/// A valid history, chosen by a seed.
fn history(seed: u64) -> Vec<Step> {
    let mut dice = Dice(seed);
    let mut model = MemoryLogState::new();
    let mut steps = vec![Step::Bind, Step::Lease];
    steps.iter().for_each(|step| assert_eq!(apply(&model, step), Ended::Done));
    let mut epoch = Epoch(1);
    while steps.len() < STEPS {
        let step = next_step(&model.view().unwrap(), epoch, &mut dice);
        if apply(&model, &step) == Ended::Done {
            match step {
                Step::Lease => epoch.0 += 1,
                Step::Restart | Step::CloseAndRestart => model = model.restarted(),
                _ => {}
            }
            steps.push(step);
        }
    }
    steps
}

fn next_step(view: &StateView, epoch: Epoch, dice: &mut Dice) -> Step {
    let head = view.head.0;
    let recorded = view.recorded.as_ref().map(|note| note.size);
    let note = |size: u64| SizedNote { size: TreeSize(size), note: Bytes::from(vec![b'n'; 300]) };
    match dice.below(20) {
        0..9 => {
            let mut slots: Vec<Slot> = (0..=dice.below(6)).map(|turn| entry(head + turn, dice)).collect();
            let cut = dice.below(3) == 0 && view.unfilled_anchor.is_none();
            slots.extend(cut.then_some(Slot::Anchor));
            let mut id = [0; 16];
            id[..8].copy_from_slice(&dice.next().to_be_bytes());
            let batch = Batch { id: BatchId(id), first_index: LeafIndex(head), slots };
            Step::Commit(Arc::new(batch), cut.then_some(epoch))
        }
        9..12 => Step::Checkpoint(epoch, recorded, note(view.unfilled_anchor.map_or(head, |at| at.0))),
        12..14 => Step::Fill(
            epoch,
            view.unfilled_anchor.unwrap_or(LeafIndex(u64::MAX)),
            Bytes::from(vec![b'a'; 120]),
        )
        .or_public(view, epoch, note(recorded.map_or(0, |size| size.0))),
        14 => Step::Public(epoch, note(recorded.map_or(0, |size| size.0))),
        15..18 => {
            let size = recorded.unwrap_or_default();
            Step::Advance(epoch, Watermarks { objects_durable: size, trim_below: size })
        }
        18 => Step::Restart,
        _ if dice.below(2) == 0 => Step::CloseAndRestart,
        _ => Step::Lease,
    }
}

impl Step {
    /// A fill needs an unfilled anchor.
    fn or_public(self, view: &StateView, epoch: Epoch, note: SizedNote) -> Step {
        if view.unfilled_anchor.is_some() { self } else { Step::Public(epoch, note) }
    }
}

fn entry(index: u64, dice: &mut Dice) -> Slot {
    let length = usize::try_from(1 + dice.below(2500)).unwrap();
    let bytes = Bytes::from(vec![index.to_be_bytes()[7]; length]);
    let leaf_hash = leaf_hash(&bytes);
    Slot::Entry { bytes, leaf_hash, identity: Identity::from_hash(&leaf_hash) }
}

/// A run of a history that a fault may have cut short.
struct Run {
    disk: SimDisk,
    /// What the state holds if the step that failed had no effect, and if it had its whole effect.
    before: MemoryLogState,
    after: MemoryLogState,
    finished: bool,
    /// Whether the state was open, and not being closed, when the fault struck.
    in_service: bool,
}

/// Plays `steps` with one fault, until a step does not end well; a refused one is played again.
fn play(steps: &[Step], seed: u64, fault: Option<(u64, Fault)>) -> Run {
    let disk = SimDisk::new(seed);
    if let Some((at, fault)) = fault {
        disk.fail_at(at, fault);
    }
    let mut model = MemoryLogState::new();
    let cut_short = |disk, model: MemoryLogState, after: MemoryLogState, in_service| Run {
        disk,
        before: model.restarted(),
        after: after.restarted(),
        finished: false,
        in_service,
    };
    let reopen = || {
        let opened = match open(&disk) {
            // A full disk at the start: try again, as an operator would.
            Err(StateError::Refused(_)) => open(&disk),
            other => other,
        };
        // It may have died over the last, unimportant thing that a start does.
        opened.ok().filter(|_| !disk.has_crashed())
    };
    let Some(mut state) = reopen() else {
        let after = model.restarted();
        return cut_short(disk, model, after, false);
    };
    for step in steps {
        let after = copy_and_apply(&model, step);
        let mut ended = apply(&state, step);
        if ended == Ended::Refused {
            // A goodbye may have made durable what rode along before it was refused, so that batches have left.
            let (found, expected) = (see(&state), see(&model));
            let same =
                found == expected || matches!(step, Step::CloseAndRestart) && found.view == expected.view;
            assert!(same, "{step:?} was refused, and yet something changed");
            ended = apply(&state, step);
        }
        if ended != Ended::Done {
            let in_service = !matches!(step, Step::CloseAndRestart);
            return cut_short(disk, model, after, in_service);
        }
        assert_eq!(apply(&model, step), Ended::Done);
        if disk.has_crashed() {
            // After the step was acknowledged, while the next segment was made or an old one removed.
            let after = model.copied();
            return cut_short(disk, model, after, !matches!(step, Step::CloseAndRestart));
        }
        if matches!(step, Step::Restart | Step::CloseAndRestart) {
            drop(state);
            model = model.restarted();
            let Some(reopened) = reopen() else {
                let after = model.restarted();
                return cut_short(disk, model, after, false);
            };
            state = reopened;
        }
        assert_eq!(see(&state), see(&model), "{step:?}");
    }
    let after = model.restarted();
    Run { disk, before: model.restarted(), after, finished: true, in_service: true }
}

/// The model after the step, while the original stays as it is.
fn copy_and_apply(model: &MemoryLogState, step: &Step) -> MemoryLogState {
    let copy = model.copied();
    apply(&copy, step);
    copy
}

/// What a process finds must be one of the two possible states; gives what it found.
fn check(disk: &SimDisk, run: &Run, what: &str) -> (SegmentLogState, Seen) {
    let state = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let seen = see(&state);
    assert!(
        seen == see(&run.before) || seen == see(&run.after),
        "{what}: neither before nor after\n{:?}\n{:?}\n{:?}",
        seen.view,
        see(&run.before).view,
        see(&run.after).view
    );
    let unclean = state.view().unwrap().unclean;
    assert!(unclean || !run.in_service, "{what}: a stop in service passes for a clean one");
    (state, seen)
}

/// Acknowledges one more batch, and looks for it and for all that was seen in every image.
fn go_on(disk: &SimDisk, state: &SegmentLogState, mut seen: Seen, what: &str) {
    let first_index = seen.view.head.next_index();
    let slots = vec![entry(first_index.0, &mut Dice(first_index.0))];
    let batch = Arc::new(Batch { id: BatchId([9; 16]), first_index, slots });
    assert_eq!(apply(state, &Step::Commit(Arc::clone(&batch), None)), Ended::Done, "{what}");
    seen.view.head = batch.end();
    seen.batches.push(batch);
    for (number, image) in disk.images(IMAGES).enumerate() {
        let found = open(&image).unwrap_or_else(|error| panic!("{what}, then image {number}: {error}"));
        assert_eq!(see(&found), seen, "{what}, then image {number}");
    }
}

fn at_every_operation(fault: Fault, test: impl Fn(&Run, &str)) {
    for seed in 0..SEEDS {
        let steps = history(seed);
        let mut at = 1;
        loop {
            let run = play(&steps, seed + at, Some((at, fault)));
            let Some(struck_at) = run.disk.struck_at() else { break };
            test(&run, &format!("seed {seed}, {fault:?} at {struck_at}"));
            at = struck_at + 1;
        }
    }
}

#[test]
fn without_faults_it_is_the_model() {
    for seed in 0..40 {
        let run = play(&history(seed), seed, None);
        assert!(run.finished);
        check(&run.disk, &run, &format!("seed {seed}"));
    }
}

#[test]
fn a_power_loss_at_any_moment_leaves_what_was_acknowledged() {
    at_every_operation(Fault::Crash, |run, what| {
        for (number, image) in run.disk.images(IMAGES).enumerate() {
            let (state, seen) = check(&image, run, &format!("{what}, image {number}"));
            if number == 2 {
                go_on(&image, &state, seen, what);
            }
        }
    });
}

#[test]
fn what_a_process_believes_after_a_kill_survives_the_next_power_loss() {
    at_every_operation(Fault::Crash, |run, what| {
        let disk = run.disk.killed();
        let (state, seen) = check(&disk, run, what);
        go_on(&disk, &state, seen, what);
    });
}

/// research/storage.md §4: after a failed sync the bytes read back and are on no disk. The unit test in `recover.rs`
/// shows what becomes of an implementation that believes them.
#[test]
fn what_a_process_believes_after_a_failed_sync_survives_the_next_power_loss() {
    for fault in [Fault::SyncError, Fault::WriteError] {
        at_every_operation(fault, |run, what| {
            let disk = run.disk.killed();
            let (state, seen) = check(&disk, run, what);
            go_on(&disk, &state, seen, what);
        });
    }
}

#[test]
fn a_full_disk_refuses_and_passes() {
    at_every_operation(Fault::Full, |run, what| {
        assert!(run.finished, "{what}: a full disk stopped the log state");
        let disk = run.disk.killed();
        let (state, seen) = check(&disk, run, what);
        go_on(&disk, &state, seen, what);
    });
}

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
