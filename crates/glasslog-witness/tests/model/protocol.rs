//! How requests, crashes and restarts go through a witness: `submit.rs`, `commit.rs` and `state/sqlite.rs`, step by step.
//!
//! A request is modelled from its judgement under the log's lock on, or from the glance at the snapshot that lets it repeat
//! what is held. What lies before (reading, verifying) touches nothing that others see, so a crash there is one before the
//! request, and a request that began earlier is owed less. Signing touches nothing either: a crash after the decision and
//! one after the signature are one crash. There is no bound on requests, crashes or restarts but the heads that exist.

use std::fmt;

use crate::{
    explore::Model,
    log::{Cosigned, Head, Set, Verdicts},
};

/// What could be done wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Requests for one log are decided side by side.
    NoLock,
    /// The record is written whatever record is there.
    NoCompare,
    /// A swap that was lost counts as done.
    LostSwapAnswered,
    /// The cosignature leaves, and then the record is written.
    AnswerFirst,
    /// The snapshot is changed, and then the record is written.
    ShowFirst,
    /// The swap returns before it is durable (`PRAGMA synchronous=OFF`); the kernel writes it some time.
    Unsynced,
    /// A restart believes what it reads without making it durable.
    NotRenewed,
}

pub(crate) struct Protocol {
    verdicts: Verdicts,
    /// For each cosignature those of another history.
    forking: Vec<Set>,
    /// For each cosignature those that contradict it, also by their time.
    contradicting: Vec<Set>,
    /// For each cosignature those that it is behind.
    ahead: Vec<Set>,
    /// How many requests each process works on at once. The processes share one state.
    pub(crate) processes: &'static [usize],
    pub(crate) power_fails: bool,
    /// Only two histories are wrong; else a time or a size that goes back is, too.
    pub(crate) forks_alone: bool,
    pub(crate) mistakes: &'static [Mistake],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// What a power failure leaves of the log's record.
    durable: Option<Cosigned>,
    /// What whoever reads the record is given.
    visible: Option<Cosigned>,
    processes: Vec<Process>,
    /// What the world has seen.
    pub(crate) released: Set,
    /// Something was released that was decided later than what was released before, and is behind it.
    went_back: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    /// The snapshot: what the process believes to be held.
    slot: Option<Cosigned>,
    /// In order: threads are alike.
    threads: Vec<Thread>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Thread {
    Idle,
    /// Decided and signed, the swap not begun.
    Signed {
        request: u8,
        expected: Option<Cosigned>,
        next: Cosigned,
        behind: bool,
    },
    /// With [`Mistake::AnswerFirst`]: the answer has left, the swap not begun.
    Owing {
        expected: Option<Cosigned>,
        next: Cosigned,
    },
    /// Swapped, but the snapshot is the old one.
    Persisted {
        next: Cosigned,
        behind: bool,
    },
    /// The lock is given back, the answer about to leave.
    Answering {
        cosigned: Cosigned,
        behind: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Does {
    Signs,
    Repeats,
    Swaps,
    LosesTheSwap,
    IsRefusedTheSwap,
    ShowsIt,
    Answers,
    FindsTheClientGone,
    /// While it writes, or because a sync fails: what was written can be read, and may not be durable.
    DiesInTheSwap,
    Dies,
    LosesPower,
    WritesBack,
}

impl Does {
    pub(crate) const ALL: [Does; 12] = [
        Does::Signs,
        Does::Repeats,
        Does::Swaps,
        Does::LosesTheSwap,
        Does::IsRefusedTheSwap,
        Does::ShowsIt,
        Does::Answers,
        Does::FindsTheClientGone,
        Does::DiesInTheSwap,
        Does::Dies,
        Does::LosesPower,
        Does::WritesBack,
    ];
}

/// A step, for whoever reads how something came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Step {
    pub(crate) does: Does,
    process: u8,
    cosigned: Option<Cosigned>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} {:?}", self.process, self.does)?;
        let Some(Cosigned { head: Head { history, size }, time }) = self.cosigned else { return Ok(()) };
        write!(f, ": size {size} of history {history} at time {time}")
    }
}

fn fork(one: Cosigned, other: Cosigned) -> bool {
    !one.head.consistent(other.head)
}

/// Two histories, or a smaller tree at a later time.
fn contradict(one: Cosigned, other: Cosigned) -> bool {
    let (smaller, larger) = if one.head.size < other.head.size { (one, other) } else { (other, one) };
    fork(one, other) || (smaller.head.size < larger.head.size && smaller.time > larger.time)
}

fn is_behind(one: Cosigned, other: Cosigned) -> bool {
    one.head.size < other.head.size || one.time < other.time
}

impl Protocol {
    pub(crate) fn new(
        verdicts: Verdicts,
        processes: &'static [usize],
        mistakes: &'static [Mistake],
    ) -> Protocol {
        Protocol {
            forking: verdicts.related(fork),
            contradicting: verdicts.related(contradict),
            ahead: verdicts.related(is_behind),
            verdicts,
            processes,
            // Where a swap is durable as soon as anybody sees it, this is several crashes at once.
            power_fails: processes.len() == 1,
            forks_alone: false,
            mistakes,
        }
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistakes.contains(&mistake)
    }

    /// The members of a set.
    pub(crate) fn members(&self, set: Set) -> impl Iterator<Item = Cosigned> {
        self.verdicts.all().enumerate().filter(move |(n, _)| set >> n & 1 == 1).map(|(_, cosigned)| cosigned)
    }

    fn release(&self, state: &mut State, cosigned: Cosigned, behind: bool) {
        state.released |= 1 << self.verdicts.place(cosigned);
        state.went_back |= behind;
    }

    /// Whether something that is decided now is behind what the world has seen by now.
    fn is_behind(&self, state: &State, cosigned: Cosigned) -> bool {
        state.released & self.ahead[self.verdicts.place(cosigned)] != 0
    }
}

impl Model for Protocol {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let process = |threads: &usize| Process { slot: None, threads: vec![Thread::Idle; *threads] };
        let processes = self.processes.iter().map(process).collect();
        State { durable: None, visible: None, processes, released: 0, went_back: false }
    }

    fn steps(&self, state: &State) -> Vec<(Step, State)> {
        let mut next = Next { protocol: self, state, process: 0, steps: Vec::new() };
        for process in 0..state.processes.len() {
            next.process = process;
            let threads = &state.processes[process].threads;
            for (n, thread) in threads.iter().enumerate() {
                // Of threads that are alike, one is enough.
                if n == 0 || threads[n - 1] != *thread {
                    next.of_thread(n, *thread);
                }
            }
            next.crash();
        }
        next.of_the_machine();
        next.steps
    }

    /// The cosignatures that the world has seen are one chain, whose times go forward.
    fn wrong(&self, state: &State) -> Option<String> {
        if state.went_back && !self.forks_alone {
            return Some(
                "what was cosigned last is behind what had been released before it was decided".into(),
            );
        }
        let contradicted =
            |(n, set): (usize, &Set)| state.released >> n & 1 == 1 && state.released & set != 0;
        let wrong = if self.forks_alone { &self.forking } else { &self.contradicting };
        let found = wrong.iter().enumerate().any(contradicted);
        found.then(|| format!("{:?} contradict each other", self.members(state.released).collect::<Vec<_>>()))
    }
}

/// Gathers what may happen next.
struct Next<'a> {
    protocol: &'a Protocol,
    state: &'a State,
    process: usize,
    steps: Vec<(Step, State)>,
}

impl Next<'_> {
    fn push(&mut self, does: Does, cosigned: Option<Cosigned>, mut state: State) {
        state.processes.iter_mut().for_each(|process| process.threads.sort_unstable());
        let process = u8::try_from(self.process).unwrap();
        self.steps.push((Step { does, process, cosigned }, state));
    }

    /// The state with another thread and, where one is given, another snapshot.
    fn with(&self, n: usize, thread: Thread, slot: Option<Option<Cosigned>>) -> State {
        let mut state = self.state.clone();
        let process = &mut state.processes[self.process];
        process.threads[n] = thread;
        process.slot = slot.unwrap_or(process.slot);
        state
    }

    fn of_thread(&mut self, n: usize, thread: Thread) {
        match thread {
            Thread::Idle => self.begin(n),
            Thread::Signed { expected, next, behind, .. } if self.protocol.makes(Mistake::AnswerFirst) => {
                let mut state = self.with(n, Thread::Owing { expected, next }, None);
                self.protocol.release(&mut state, next, behind);
                self.push(Does::Answers, Some(next), state);
            }
            Thread::Signed { request, expected, next, behind } => {
                let refused = self.with(n, Thread::Idle, None);
                self.push(Does::IsRefusedTheSwap, Some(next), refused);
                match self.swapped(n, expected, next, Thread::Persisted { next, behind }) {
                    Some(state) => self.push(Does::Swaps, Some(next), state),
                    None => self.decide_again(n, request, next),
                }
            }
            Thread::Owing { expected, next } => {
                if let Some(mut state) = self.swapped(n, expected, next, Thread::Idle) {
                    state.processes[self.process].slot = Some(next);
                    self.push(Does::Swaps, Some(next), state);
                }
            }
            Thread::Persisted { next, behind } => {
                let state = self.with(n, Thread::Answering { cosigned: next, behind }, Some(Some(next)));
                self.push(Does::ShowsIt, Some(next), state);
            }
            Thread::Answering { cosigned, behind } => {
                let gone = self.with(n, Thread::Idle, None);
                let mut answered = gone.clone();
                self.push(Does::FindsTheClientGone, Some(cosigned), gone);
                self.protocol.release(&mut answered, cosigned, behind);
                self.push(Does::Answers, Some(cosigned), answered);
            }
        }
    }

    /// A request comes: it is decided under the lock, or what is held is repeated without one.
    fn begin(&mut self, n: usize) {
        let (protocol, process) = (self.protocol, &self.state.processes[self.process]);
        let slot = process.slot;
        let deciding = |thread: &Thread| !matches!(thread, Thread::Idle | Thread::Answering { .. });
        let free = protocol.makes(Mistake::NoLock) || !process.threads.iter().any(deciding);
        let verdicts = protocol.verdicts.over(slot);
        if free {
            for (request, next) in verdicts {
                self.sign(slot, n, *request, *next);
            }
        }
        if let Some(cosigned) = slot.filter(|slot| verdicts.iter().any(|(_, next)| next == slot)) {
            // A second process may not know yet what the first one has released, and without the lock a snapshot may go
            // back; what is repeated then is no new cosignature, so it is owed nothing but to be of the chain.
            let current = protocol.processes.len() == 1 && !protocol.makes(Mistake::NoLock);
            let behind = current && protocol.is_behind(self.state, cosigned);
            let state = self.with(n, Thread::Answering { cosigned, behind }, None);
            self.push(Does::Repeats, Some(cosigned), state);
        }
    }

    fn sign(&mut self, expected: Option<Cosigned>, n: usize, request: u8, next: Cosigned) {
        let behind = self.protocol.is_behind(self.state, next);
        let shown = if self.protocol.makes(Mistake::ShowFirst) { Some(next) } else { expected };
        let state = self.with(n, Thread::Signed { request, expected, next, behind }, Some(shown));
        self.push(Does::Signs, Some(next), state);
    }

    /// The compare-and-swap, if it happens; also as it happens to a process that does not live to see it.
    fn swapped(
        &mut self,
        n: usize,
        expected: Option<Cosigned>,
        next: Cosigned,
        then: Thread,
    ) -> Option<State> {
        let protocol = self.protocol;
        if self.state.visible != expected && !protocol.makes(Mistake::NoCompare) {
            return None;
        }
        let mut written = self.with(n, then, None);
        written.visible = Some(next);
        if protocol.makes(Mistake::Unsynced) {
            return Some(written);
        }
        // A database of its own, which several processes share, shows nothing before it is durable.
        if protocol.processes.len() == 1 {
            let mut dead = written.clone();
            self.restart(&mut dead, self.process);
            self.push(Does::DiesInTheSwap, Some(next), dead);
        }
        written.durable = Some(next);
        Some(written)
    }

    /// The swap was lost: the snapshot becomes what was found, and the same request is decided anew.
    fn decide_again(&mut self, n: usize, request: u8, lost: Cosigned) {
        let (protocol, found) = (self.protocol, self.state.visible);
        if protocol.makes(Mistake::LostSwapAnswered) {
            let state = self.with(n, Thread::Persisted { next: lost, behind: false }, None);
            return self.push(Does::LosesTheSwap, Some(lost), state);
        }
        let refused = self.with(n, Thread::Idle, Some(found));
        self.push(Does::LosesTheSwap, Some(lost), refused);
        for (_, next) in protocol.verdicts.over(found).iter().filter(|(other, _)| *other == request) {
            self.sign(found, n, request, *next);
        }
    }

    /// `kill -9`, and a new start.
    fn crash(&mut self) {
        let mut state = self.state.clone();
        self.restart(&mut state, self.process);
        if state != *self.state {
            self.push(Does::Dies, None, state);
        }
    }

    fn restart(&self, state: &mut State, process: usize) {
        if !self.protocol.makes(Mistake::NotRenewed) {
            state.durable = state.visible;
        }
        let process = &mut state.processes[process];
        process.slot = state.visible;
        process.threads.fill(Thread::Idle);
    }

    fn of_the_machine(&mut self) {
        if self.state.durable != self.state.visible {
            let state = State { durable: self.state.visible, ..self.state.clone() };
            self.push(Does::WritesBack, None, state);
        }
        if self.protocol.power_fails {
            let mut state = State { visible: self.state.durable, ..self.state.clone() };
            (0..state.processes.len()).for_each(|process| self.restart(&mut state, process));
            if state != *self.state {
                self.push(Does::LosesPower, None, state);
            }
        }
    }
}
