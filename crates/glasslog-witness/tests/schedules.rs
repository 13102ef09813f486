//! The real witness under schedules drawn by seed: requests at once for two histories, a state that dawdles, is full, is
//! overtaken by another process, dies before or after it has written; and restarts. Whatever was answered is one chain, and
//! was durable when it was answered. The model (`model/`) has every schedule of the protocol; here is the code.
//!
//! A few seeds each time, five hundred with `GLASSLOG_TORTURE=1`. A failure names its seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

mod support;

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use glasslog_core::{TreeSize, note::Note};
use glasslog_witness::{
    WitnessError,
    decide::Held,
    state::{Record, StateError, Swap, SwapOutcome, WitnessState},
};
use support::{Log, NOW, Setup, Witness, rounds};

const MAX_SIZE: u64 = 6;

/// Numbers by seed (splitmix64).
struct Dice(AtomicU64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(AtomicU64::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Below `sides`.
    fn throw(&self, sides: u64) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// The log's record where it outlives every process, and all records that were ever durable.
#[derive(Default)]
struct Disk {
    history: Mutex<Vec<Record>>,
}

impl Disk {
    fn now(&self) -> Option<Record> {
        self.history.lock().unwrap().last().cloned()
    }

    fn has_been(&self, held: Held) -> bool {
        self.history.lock().unwrap().iter().any(|record| record.held == held)
    }

    /// Compare and swap.
    fn swap(&self, swap: &Swap) -> SwapOutcome {
        let mut history = self.history.lock().unwrap();
        let found = history.last();
        if found.map(|record| record.held) != swap.expected {
            return SwapOutcome::Conflict(found.cloned());
        }
        history.push(swap.next.clone());
        SwapOutcome::Swapped
    }

    /// Another process cosigns what is held once more, a second later, with another key.
    fn refreshed_by_another(&self) {
        let mut history = self.history.lock().unwrap();
        if let Some(mut record) = history.last().cloned() {
            record.held.time += 1;
            let note = Note::parse(&record.note).unwrap();
            record.note = Bytes::from(format!("{}\n{}\n", note.text(), note.signatures()[0]));
            history.push(record);
        }
    }
}

/// One process's hold of the disk. All that goes wrong goes wrong in a swap.
struct Hold {
    disk: Arc<Disk>,
    dice: Arc<Dice>,
    dead: AtomicBool,
}

impl Hold {
    fn of(disk: &Arc<Disk>, dice: &Arc<Dice>) -> Arc<Hold> {
        Arc::new(Hold { disk: disk.clone(), dice: dice.clone(), dead: AtomicBool::new(false) })
    }

    fn dawdle(&self) {
        (0..self.dice.throw(400)).for_each(|_| std::thread::yield_now());
    }

    fn die(&self) -> Result<Vec<SwapOutcome>, StateError> {
        self.dead.store(true, Ordering::SeqCst);
        Err(StateError::Durability(io::Error::other("the process is gone")))
    }
}

impl WitnessState for Hold {
    fn load(&self, _origin: &str) -> Result<Option<Record>, StateError> {
        Ok(self.disk.now())
    }

    fn load_all(&self) -> Result<Vec<Record>, StateError> {
        Ok(self.disk.now().into_iter().collect())
    }

    fn swap(&self, swaps: &[Swap]) -> Result<Vec<SwapOutcome>, StateError> {
        assert!(!self.dead.load(Ordering::SeqCst), "a swap after one whose outcome is unknown");
        assert_eq!(swaps.len(), 1, "the swaps of one call are for different logs");
        self.dawdle();
        match self.dice.throw(20) {
            0 | 1 => return Err(StateError::Refused(io::ErrorKind::StorageFull.into())),
            2 | 3 => self.disk.refreshed_by_another(),
            4 => return self.die(),
            5 => {
                swaps.iter().for_each(|swap| drop(self.disk.swap(swap)));
                return self.die();
            }
            _ => {}
        }
        let outcomes = swaps.iter().map(|swap| self.disk.swap(swap)).collect();
        self.dawdle();
        Ok(outcomes)
    }

    fn close(&self) -> Result<(), StateError> {
        Ok(())
    }
}

/// A cosignature that a client was given.
#[derive(Clone, Copy, Debug)]
struct Given {
    history: u8,
    size: u64,
    time: u64,
}

/// One run: some lives of a witness, or of two at once on one disk.
struct Run {
    seed: u64,
    witnesses: usize,
    log: Log,
    disk: Arc<Disk>,
    dice: Arc<Dice>,
    given: Mutex<Vec<Given>>,
}

impl Run {
    async fn life(self: &Arc<Run>) {
        let mut witnesses = Vec::new();
        for _ in 0..self.witnesses {
            let state = Hold::of(&self.disk, &self.dice);
            witnesses.push(Witness::start(Setup { state, ..Setup::of(&[&self.log]) }).await);
        }
        let witnesses = Arc::new(witnesses);
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (run, witnesses) = (self.clone(), witnesses.clone());
                tokio::spawn(async move {
                    for _ in 0..6 {
                        let one = run.dice.throw(witnesses.len() as u64);
                        run.ask(&witnesses[usize::try_from(one).unwrap()]).await;
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        for witness in Arc::into_inner(witnesses).unwrap() {
            match witness.stop().await {
                Ok(()) | Err(WitnessError::State(StateError::Durability(_))) => {}
                Err(other) => panic!("seed {}: {other}", self.seed),
            }
        }
    }

    /// A growth, a refresh or nonsense for one of the histories, most often from the size that is held.
    async fn ask(&self, witness: &Witness) {
        let dice = &self.dice;
        let held = self.disk.now().map_or(0, |record| record.held.size.0);
        let old = if dice.throw(4) == 0 { dice.throw(MAX_SIZE + 1) } else { held };
        let size = (old + dice.throw(3)).min(MAX_SIZE);
        let history = if dice.throw(3) == 0 { 2 } else { 1 };
        witness.now.store(NOW + dice.throw(5), Ordering::SeqCst);
        let before = self.given.lock().unwrap().len();
        let Some(mut client) = witness.try_client().await else { return };
        client.send_add(&self.log.request(history, old, size)).await;
        let Some(reply) = client.try_reply(false).await else { return };
        if reply.status != 200 {
            assert!(matches!(reply.status, 409 | 422 | 503), "seed {}: {}", self.seed, reply.text());
            return;
        }
        let checkpoint = self.log.checkpoint(history, size);
        let time = reply.cosigned_at(&self.log, &checkpoint);
        let held = Held { size: TreeSize(size), root: checkpoint.root, time };
        assert!(self.disk.has_been(held), "seed {}: {held:?} was answered and is not durable", self.seed);
        let mut given = self.given.lock().unwrap();
        // Of two witnesses one may not know yet what the other has cosigned, and repeat what it had.
        let ahead = given[..before].iter().find(|given| given.size > size || given.time > time);
        assert!(self.witnesses > 1 || ahead.is_none(), "seed {}: {held:?} after {ahead:?}", self.seed);
        given.push(Given { history, size, time });
    }

    /// All that was given is one chain, whose times go forward.
    fn check(&self) {
        let given = self.given.lock().unwrap();
        for (n, one) in given.iter().enumerate() {
            for other in &given[n + 1..] {
                let (small, large) = if one.size <= other.size { (one, other) } else { (other, one) };
                let leaves = |given: &Given| Log::leaves(given.history, given.size);
                let seed = self.seed;
                assert!(leaves(large).starts_with(&leaves(small)), "seed {seed}: {small:?} and {large:?}");
                assert!(
                    small.size == large.size || small.time <= large.time,
                    "seed {seed}: {small:?}, {large:?}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_what_was_answered_is_one_durable_chain() {
    let (mut cosigned, mut forked) = (0, [0, 0]);
    for seed in 0..rounds(30, 500) {
        let run = Arc::new(Run {
            seed,
            witnesses: 1 + usize::from(seed % 3 == 2),
            log: Log::new("log.example/one"),
            disk: Arc::default(),
            dice: Arc::new(Dice::new(seed)),
            given: Mutex::default(),
        });
        for _ in 0..3 {
            run.life().await;
        }
        run.check();
        let given = run.given.lock().unwrap();
        cosigned += given.len();
        // The histories part at the third entry.
        if let Some(given) = given.iter().find(|given| given.size > 2) {
            forked[usize::from(given.history) - 1] += 1;
        }
    }
    // Not for want of trying: much is cosigned, and each history wins sometimes.
    assert!(cosigned > 100 && forked.iter().all(|won| *won > 0), "{cosigned} cosigned, {forked:?} runs won");
}
