//! Every run of a small witness: `decide` as it is, and the commit protocol around it (`protocol.rs`), with requests,
//! crashes, power failures and restarts at every point. Whatever the world has seen is one chain. And each of the mistakes
//! that the protocol guards against is found, so the model can tell.
//!
//! `cargo test -p glasslog-witness --test model -- --nocapture` prints the counterexamples.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says so by failing, and what was found is for people to read"
)]

mod explore;
mod log;
mod protocol;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use glasslog_core::{checkpoint::Checkpoint, note::Note, witness::AddCheckpoint};
use glasslog_witness::decide::{Held, LogKeys, Refused};

use explore::{Counterexample, Explored, explore};
use log::{Head, Verdicts, as_it_is};
use protocol::{Does, Mistake, Protocol};
use support::rounds;

/// Two requests at once in one process; and one in each of two.
const ONE: &[usize] = &[2];
const TWO: &[usize] = &[1, 1];

/// Whatever happens, it is one chain.
fn holds(protocol: &Protocol) -> Explored<Protocol> {
    let all = explore(protocol).unwrap_or_else(|found| panic!("{:?}: {found:?}", protocol.mistakes));
    println!("{:?} {:?}: {} states", protocol.processes, protocol.mistakes, all.states.len());
    all
}

/// The mistake ends in two cosigned histories.
fn forks(mut protocol: Protocol) -> Counterexample<Protocol> {
    protocol.forks_alone = true;
    fails(&protocol)
}

fn fails(protocol: &Protocol) -> Counterexample<Protocol> {
    let Err(found) = explore(protocol) else { panic!("{:?} is not found", protocol.mistakes) };
    println!("{:?} {:?}: {found:?}", protocol.processes, protocol.mistakes);
    found
}

fn small(processes: &'static [usize], mistakes: &'static [Mistake]) -> Protocol {
    Protocol::new(Verdicts::of(as_it_is, 2, 2), processes, mistakes)
}

/// What is released is one chain; and none of this is for want of trying: each head is released in some run, and each
/// size in one.
fn full(processes: &'static [usize], max_size: u8) -> BTreeSet<Does> {
    let protocol = Protocol::new(Verdicts::of(as_it_is, max_size, 2), processes, &[]);
    let all = holds(&protocol);
    let released: BTreeSet<_> = all.states.iter().map(|state| state.released).collect();
    let heads = |released| protocol.members(released).map(|cosigned| cosigned.head).collect::<BTreeSet<_>>();
    let every: BTreeSet<Head> = released.iter().flat_map(|released| heads(*released)).collect();
    assert_eq!(every, Head::all(max_size).into_iter().collect());
    assert!(released.iter().any(|released| heads(*released).len() == usize::from(max_size) + 1));
    all.steps.iter().map(|step| step.does).collect()
}

#[test]
fn what_one_process_releases_is_one_chain() {
    let does = if rounds(0, 1) == 0 { full(ONE, 4) } else { full(&[3], 4) };
    // Whoever has the lock has the record; and after a crash everything is durable before it is believed.
    let all = Does::ALL.into_iter().filter(|does| !matches!(does, Does::LosesTheSwap | Does::WritesBack));
    assert_eq!(does, all.collect());
}

#[test]
fn what_two_processes_on_one_state_release_is_one_chain() {
    let does = if rounds(0, 1) == 0 { full(TWO, 3) } else { full(TWO, 4) };
    let all = Does::ALL
        .into_iter()
        .filter(|does| !matches!(does, Does::DiesInTheSwap | Does::LosesPower | Does::WritesBack));
    assert_eq!(does, all.collect());
}

#[test]
fn without_the_compare_and_swap_two_processes_cosign_two_histories() {
    forks(small(TWO, &[Mistake::NoCompare]));
    forks(small(TWO, &[Mistake::LostSwapAnswered]));
}

/// Lock and comparison are two guards. In one process either is enough, and only without both is there a fork; among
/// processes the comparison alone guards. So a lock that is lost shows in no answer: it saves work, and keeps the snapshot
/// from going back.
#[test]
fn lock_and_comparison_guard_each_other() {
    holds(&small(ONE, &[Mistake::NoLock]));
    if rounds(0, 1) == 1 {
        holds(&small(&[2, 1], &[Mistake::NoLock]));
    }
    holds(&small(ONE, &[Mistake::NoCompare]));
    forks(small(ONE, &[Mistake::NoLock, Mistake::NoCompare]));
}

#[test]
fn an_answer_before_the_record_is_a_fork_after_a_crash() {
    let found = forks(small(&[1], &[Mistake::AnswerFirst]));
    assert!(found.steps.iter().any(|step| step.does == Does::Dies), "{found:?}");
}

/// Two requests: the one sees the record of the other, which dies before it is written.
#[test]
fn a_snapshot_before_the_record_is_a_fork_after_a_crash() {
    forks(small(ONE, &[Mistake::ShowFirst]));
}

/// `PRAGMA synchronous=OFF` survives `kill -9`, so no test that kills can find it; a power failure finds it, and so does
/// the test of the command that watches the syncs (`each_cosignature_comes_after_a_sync`).
#[test]
fn a_swap_that_is_not_durable_is_a_fork_after_a_power_failure() {
    let found = forks(small(ONE, &[Mistake::Unsynced]));
    assert!(found.steps.iter().any(|step| step.does == Does::LosesPower), "{found:?}");
    let mut killed_at_most = small(ONE, &[Mistake::Unsynced]);
    killed_at_most.power_fails = false;
    holds(&killed_at_most);
}

/// What a process that died, or whose sync failed, had written can be read though it never reached the disk.
#[test]
fn a_restart_that_believes_what_was_never_synced_is_a_fork() {
    let found = forks(small(ONE, &[Mistake::NotRenewed]));
    let does: BTreeSet<_> = found.steps.iter().map(|step| step.does).collect();
    assert!(does.is_superset(&[Does::DiesInTheSwap, Does::LosesPower].into()), "{found:?}");
}

/// `decide`, with the time of what is held forgotten.
fn time_of_the_clock(
    held: Option<&Held>,
    log: &LogKeys,
    request: &AddCheckpoint,
    now: u64,
) -> Result<Held, Refused> {
    as_it_is(held.map(|held| Held { time: 0, ..*held }).as_ref(), log, request, now)
}

/// `decide`, which at the size that is held takes any root for the one that is held.
fn any_root_refreshed(
    held: Option<&Held>,
    log: &LogKeys,
    request: &AddCheckpoint,
    now: u64,
) -> Result<Held, Refused> {
    let Checkpoint { size, root, .. } =
        Checkpoint::parse(Note::parse(&request.note).unwrap().text()).unwrap();
    let held = held.map(|held| if held.size == size { Held { root, ..*held } } else { *held });
    as_it_is(held.as_ref(), log, request, now)
}

#[test]
fn a_verdict_that_forgets_time_or_root_is_found() {
    fails(&Protocol::new(Verdicts::of(time_of_the_clock, 2, 2), &[1], &[]));
    forks(Protocol::new(Verdicts::of(any_root_refreshed, 2, 2), &[1], &[]));
}
