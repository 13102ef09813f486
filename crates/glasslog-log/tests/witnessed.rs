//! A log and its witnesses, which are naive here: what they hold is a size and a root, and they may misbehave.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test binary has no public interface")]

mod common;
#[path = "witnessed/double.rs"]
mod double;
#[path = "common/model.rs"]
mod model;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use common::*;
use double::{Mode, Witnesses};
use glasslog_client::witness::with_cosignatures;
use glasslog_core::{
    TreeSize,
    checkpoint::VerifiedCheckpoint,
    cosignature::{VerifiedCosignature, cosign},
    note::{Algorithm, Ed25519Signer, SecretKey, Signer},
    policy::Policy,
    tile::Edge,
};
use glasslog_index::Options;
use glasslog_log::{AddError, Log, LogConfig, Witnessing, Workers};
use glasslog_store::{
    Objects,
    disk::RealDisk,
    log_state::MemoryLogState,
    objects::{Existing, NewObject, ObjectError},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn witnessing(witnesses: &Arc<Witnesses>, quorum: usize) -> Witnessing {
    let policy = Policy::from_settings(&vkeys(), &witnesses.settings(), Some(quorum)).unwrap();
    Witnessing {
        policy,
        policy_text: "the text".into(),
        transport: Arc::clone(witnesses) as _,
        timeout: Duration::from_millis(50),
        refresh_interval: Duration::from_secs(3600),
        start_unconfirmed: false,
    }
}

fn open(memory: &Memory, witnesses: &Arc<Witnesses>, quorum: usize) -> (Log, Workers) {
    witnesses.watch(&memory.stores);
    Log::open_witnessed(config(), memory.stores.clone(), witnessing(witnesses, quorum)).unwrap()
}

/// Adds once the log takes entries: a quorum must have confirmed it first.
async fn add_when_ready(log: &Log, entry: &str) -> u64 {
    until(|| log.progress().refusing.is_none()).await;
    add(log, &[entry], None).await.unwrap()[0].index.0
}

/// Waits for something that the log's threads do.
async fn until(holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap();
}

/// The cosignatures of the public checkpoint, once it covers `size`.
async fn cosigned(log: &Log, witnesses: &Witnesses, size: u64) -> Vec<VerifiedCosignature> {
    tokio::time::timeout(PATIENCE, published(log, size)).await.unwrap();
    cosignatures(log, witnesses)
}

fn cosignatures(log: &Log, witnesses: &Witnesses) -> Vec<VerifiedCosignature> {
    let note = log.published().borrow().as_ref().unwrap().note.clone();
    let opened = VerifiedCheckpoint::open_with_witnesses(&note, ORIGIN, &vkeys(), &witnesses.keys()).unwrap();
    opened.cosignatures().to_vec()
}

/// Two down, one slow, one that answers wrongly in every way, and three honest ones in front: publication goes on.
#[test]
fn a_quorum_publishes_whatever_the_others_do() {
    for lie in [
        Mode::WrongRoot,
        Mode::WrongKey,
        Mode::StaleSize,
        Mode::Garbage,
        Mode::TooLong,
        Mode::Redirect,
        Mode::ServerError,
        Mode::Hang,
    ] {
        let memory = Memory::new();
        let witnesses = Witnesses::new(5);
        witnesses.set(0, Mode::Down);
        witnesses.set(1, lie);
        let (log, workers) = open(&memory, &witnesses, 3);
        runtime().block_on(async {
            for i in 0..5 {
                assert_eq!(add_when_ready(&log, &format!("n{i}=v")).await, i);
                let cosignatures = cosigned(&log, &witnesses, i + 1).await;
                assert!(cosignatures.len() >= 3, "{lie:?}");
                let names: Vec<&str> = cosignatures.iter().map(|c| c.key().name()).collect();
                assert!(
                    !names.contains(&"witness.example/0") && !names.contains(&"witness.example/1"),
                    "{lie:?}"
                );
            }
            // A counted, named failure, once it is heard.
            until(|| log.witnesses()[1].trouble.is_some() || lie == Mode::Hang).await;
        });
        witnesses.release();
        workers.stop().unwrap();
        witnesses.assert_one_chain();
    }
}

/// Without a quorum for long, with entries many times as large as what the index may keep in memory: it becomes durable where
/// checkpoints are recorded, not where they are public. Lookups stay where they were, and are of the newest when it is back.
#[test]
fn a_lost_quorum_leaves_the_index_its_room() {
    let memory = Memory::new();
    let witnesses = Witnesses::new(3);
    let mut index = model::index(Arc::new(RealDisk::private()), &memory.dir.path().join("index"));
    index.options = Options { snapshot_interval: 50, delta_max_bytes: 256 << 10, ..Options::default() };
    witnesses.watch(&memory.stores);
    let config = LogConfig { index: Some(index), ..config() };
    let (log, workers) = Log::open_witnessed(
        config,
        memory.stores.clone(),
        Witnessing { timeout: Duration::from_millis(5), ..witnessing(&witnesses, 2) },
    )
    .unwrap();
    let served = |log: &Log| log.served().map_or(0, |pair| pair.size().0);
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        cosigned(&log, &witnesses, 2).await;
        until(|| served(&log) == 2).await;
        (0..2).for_each(|witness| witnesses.set(witness, Mode::Down));
        for round in 0..60 {
            let names: Vec<String> = (0..100).map(|n| format!("{round}-{n}=v")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let last = add(&log, &names, None).await.unwrap()[99].index;
            until(|| log.progress().recorded.0 > last.0).await;
        }
        assert_eq!((log.progress().published, served(&log)), (TreeSize(2), 2));
        let size = log.progress().recorded.0;
        until(|| log.index_status().is_some_and(|status| status.durable.0 > size / 4)).await;
        let status = log.index_status().unwrap();
        assert!(status.stats.memory_bytes < 2 << 20, "{status:?}");
        (0..2).for_each(|witness| witnesses.set(witness, Mode::Honest));
        cosigned(&log, &witnesses, size).await;
        until(|| served(&log) >= size).await;
    });
    witnesses.release();
    workers.stop().unwrap();
    let kinds = model::judge(&memory.entries(), &model::ByName);
    let with_root = kinds.iter().filter(|kind| **kind == model::Kind::Anchor).count();
    assert!(with_root > 2, "{with_root}");
    witnesses.assert_one_chain();
}

/// Below the quorum nothing is published, entries are accepted all the same, and it recovers by itself.
#[test]
fn a_lost_quorum_stops_publication_and_nothing_else() {
    let memory = Memory::new();
    let witnesses = Witnesses::new(5);
    let (log, workers) = open(&memory, &witnesses, 3);
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        cosigned(&log, &witnesses, 1).await;
        (0..3).for_each(|witness| witnesses.set(witness, Mode::Down));
        for i in 1..20 {
            assert_eq!(add(&log, &[&format!("n{i}=v")], None).await.unwrap(), [new(i)]);
        }
        until(|| !log.progress().quorum && log.progress().integrated == TreeSize(20)).await;
        assert_eq!(log.progress().published, TreeSize(1));
        assert!(log.progress().refusing.is_none(), "adds are taken without a quorum");
        witnesses.set(0, Mode::Honest);
        assert_eq!(cosigned(&log, &witnesses, 20).await.len(), 3);
        until(|| log.progress().quorum).await;
    });
    workers.stop().unwrap();
    witnesses.assert_one_chain();
}

/// A quorum that is away is away: a checkpoint that has just been offered does not bring it back.
#[test]
fn a_lost_quorum_is_said_to_be_lost_until_it_is_there() {
    let memory = Memory::new();
    let witnesses = Witnesses::new(3);
    let (log, workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        cosigned(&log, &witnesses, 1).await;
        (0..3).for_each(|witness| witnesses.set(witness, Mode::Down));
        add(&log, &["b=1"], None).await.unwrap();
        until(|| !log.progress().quorum).await;
        for i in 0..3 {
            add(&log, &[&format!("n{i}=v")], None).await.unwrap();
            until(|| {
                assert!(!log.progress().quorum, "checkpoint {i} has no quorum either");
                log.progress().recorded == log.progress().sequenced
            })
            .await;
        }
        (0..3).for_each(|witness| witnesses.set(witness, Mode::Honest));
        cosigned(&log, &witnesses, 5).await;
        until(|| log.progress().quorum).await;
    });
    workers.stop().unwrap();
}

/// "A slow witness does not hold up publication once the quorum is there"; its cosignature joins when it comes.
#[test]
fn a_late_cosignature_joins_the_public_checkpoint() {
    let memory = Memory::new();
    let witnesses = Witnesses::new(3);
    let (log, workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        cosigned(&log, &witnesses, 1).await;
        witnesses.set(2, Mode::Hang);
        add(&log, &["b=1"], None).await.unwrap();
        let first = cosigned(&log, &witnesses, 2).await;
        assert!(first.len() >= 2);
        witnesses.set(2, Mode::Honest);
        witnesses.release();
        until(|| cosignatures(&log, &witnesses).len() == 3).await;
        assert_eq!(log.progress().published, TreeSize(2));
    });
    workers.stop().unwrap();
}

/// DESIGN §3, Start (b): the last recorded checkpoint is offered before anything is acknowledged.
#[test]
fn nothing_is_acknowledged_before_a_quorum_has_confirmed() {
    let mut memory = Memory::new();
    let witnesses = Witnesses::new(3);
    let (log, workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        cosigned(&log, &witnesses, 1).await;
    });
    workers.stop().unwrap();

    memory.restart();
    (0..2).for_each(|witness| witnesses.set(witness, Mode::Down));
    let (log, workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        assert_eq!(
            log.published().borrow().as_ref().map(|public| public.size),
            Some(TreeSize(1)),
            "reads go on"
        );
        let refused = add(&log, &["b=1"], None).await.unwrap_err();
        assert!(matches!(refused, AddError::PushBack { .. }), "{refused}");
        assert!(refused.to_string().contains("confirmed"), "{refused}");
        witnesses.set(0, Mode::Honest);
        assert_eq!(add_when_ready(&log, "b=1").await, 1);
        cosigned(&log, &witnesses, 2).await;
    });
    workers.stop().unwrap();
    witnesses.assert_one_chain();
}

/// A witness that never saw the log confirms: it will hold whatever it is given first.
#[test]
fn a_witness_that_never_saw_the_log_confirms() {
    let memory = Memory::new();
    let witnesses = Witnesses::new(2);
    witnesses.set(0, Mode::UnknownLog);
    witnesses.set(1, Mode::UnknownLog);
    let (log, workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        // A new log's first checkpoint is public below quorum too, and no other is.
        cosigned(&log, &witnesses, 0).await;
        until(|| !log.progress().quorum).await;
        assert_eq!(log.progress().published, TreeSize(0));
        (0..2).for_each(|witness| witnesses.set(witness, Mode::Honest));
        assert_eq!(cosigned(&log, &witnesses, 1).await.len(), 2);
    });
    workers.stop().unwrap();
}

/// A checkpoint that is public without the quorum (a new log's first, or one from before there was a policy) does not pass for
/// one that has it.
#[test]
fn a_public_checkpoint_below_the_quorum_is_said_to_be_that() {
    let memory = Memory::new();
    let witnesses = Witnesses::new(2);
    (0..2).for_each(|witness| witnesses.set(witness, Mode::UnknownLog));
    let (log, workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        assert!(cosigned(&log, &witnesses, 0).await.is_empty());
        let asked = || {
            log.witnesses().iter().flat_map(|witness| witness.answers.clone()).map(|(_, n)| n).sum::<u64>()
        };
        let before = asked();
        until(|| asked() > before + 1).await;
        until(|| !log.progress().quorum).await;
        let before = asked();
        until(|| {
            assert!(!log.progress().quorum);
            asked() > before
        })
        .await;
        (0..2).for_each(|witness| witnesses.set(witness, Mode::Honest));
        until(|| cosignatures(&log, &witnesses).len() == 2 && log.progress().quorum).await;
    });
    workers.stop().unwrap();

    // What it has from a former process counts, without a word from anybody.
    let mut memory = memory;
    memory.restart();
    (0..2).for_each(|witness| witnesses.set(witness, Mode::Down));
    witnesses.watch(&memory.stores);
    let at_once = Witnessing { start_unconfirmed: true, ..witnessing(&witnesses, 2) };
    let (log, workers) = Log::open_witnessed(config(), memory.stores.clone(), at_once).unwrap();
    runtime().block_on(async {
        until(|| {
            assert!(log.progress().quorum);
            log.witnesses().iter().all(|witness| witness.answers.iter().any(|(_, count)| *count > 1))
        })
        .await;
    });
    workers.stop().unwrap();
}

/// Invariant 6, judged by witnesses: a state that was restored from a backup stops before it signs anything.
#[test]
fn a_state_that_witnesses_know_to_be_behind_stops_the_log() {
    for evidence in [true, false] {
        let mut memory = Memory::new();
        let witnesses = Witnesses::new(3);
        let (log, workers) = open(&memory, &witnesses, 2);
        runtime().block_on(async {
            add_when_ready(&log, "a=1").await;
            cosigned(&log, &witnesses, 1).await;
        });
        workers.stop().unwrap();
        memory.restart();
        let backup = Arc::new(memory.state.restarted());
        let checkpoint = memory.stores.objects.checkpoint().unwrap().unwrap();
        let (log, workers) = open(&memory, &witnesses, 2);
        runtime().block_on(async {
            add_when_ready(&log, "b=1").await;
            cosigned(&log, &witnesses, 2).await;
            // Whichever of them will be asked must have seen it.
            until(|| cosignatures(&log, &witnesses).len() == 3).await;
        });
        workers.stop().unwrap();

        // Everything of this machine is as it was.
        let newer = memory.stores.objects.checkpoint().unwrap().unwrap();
        memory.stores.objects.swap_checkpoint(Some(&newer), &checkpoint).unwrap();
        restore(&mut memory, &backup);
        witnesses.show_checkpoints(evidence);
        if evidence {
            // With proof, one witness is enough.
            (1..3).for_each(|witness| witnesses.set(witness, Mode::Down));
        } else {
            // Without proof it is their number that decides.
            witnesses.set(2, Mode::Down);
        }
        let (log, mut workers) = open(&memory, &witnesses, 2);
        let why = runtime().block_on(async {
            let why = tokio::time::timeout(PATIENCE, workers.failed()).await.unwrap();
            assert!(add(&log, &["c=1"], None).await.is_err());
            why
        });
        assert!(why.contains("behind") && why.contains("glasslog recover"), "{why}");
        assert!(workers.stop().is_err());
        witnesses.assert_one_chain();
    }
}

fn restore(memory: &mut Memory, backup: &Arc<MemoryLogState>) {
    memory.state = Arc::new(backup.restarted());
    memory.stores.state = memory.state.clone();
    memory.stores.duplicates = table(memory.dir.path());
}

/// One bare word is an alarm and that witness's counted failure, and stops nobody.
#[test]
fn one_witness_that_contradicts_without_proof_stops_nobody() {
    let memory = Memory::new();
    let witnesses = Witnesses::new(3);
    witnesses.set(0, Mode::SaysAhead);
    let (log, workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        cosigned(&log, &witnesses, 1).await;
        until(|| log.witnesses()[0].contradicts).await;
        add(&log, &["b=1"], None).await.unwrap();
        cosigned(&log, &witnesses, 2).await;
    });
    workers.stop().unwrap();
}

/// While running too: when those that do not contradict cannot make the quorum, the log stops.
#[test]
fn a_quorum_that_contradicts_stops_a_running_log() {
    let memory = Memory::new();
    let witnesses = Witnesses::new(3);
    let (log, mut workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        cosigned(&log, &witnesses, 1).await;
        (0..2).for_each(|witness| witnesses.set(witness, Mode::SaysInconsistent));
        add(&log, &["b=1"], None).await.unwrap();
        let why = tokio::time::timeout(PATIENCE, workers.failed()).await.unwrap();
        assert!(why.contains("not consistent"), "{why}");
    });
}

/// A witness that is always behind the newest checkpoint can prove a fork all the same.
#[test]
fn evidence_counts_however_late_it_comes() {
    let memory = Memory::new();
    let witnesses = Witnesses::new(3);
    let (log, mut workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        cosigned(&log, &witnesses, 1).await;
        until(|| cosignatures(&log, &witnesses).len() == 3).await;
        witnesses.set(0, Mode::SlowFork);
        let adding = async {
            for i in 1_u64.. {
                let _the_log_may_have_stopped = add(&log, &[&format!("n{i}=v")], None).await;
                until(|| log.progress().published.0 > i).await;
            }
        };
        let failed = tokio::time::timeout(PATIENCE, workers.failed());
        let why = tokio::select! {
            why = failed => why.unwrap(),
            () = adding => unreachable!(),
        };
        assert!(why.contains("own signature"), "{why}");
    });
}

/// A budget that the quorum needs stretches the interval instead of wasting cosignatures on checkpoints that nobody sees.
#[test]
fn a_spent_budget_stretches_the_interval() {
    let memory = Memory::new();
    let witnesses = Witnesses::new(2);
    let (log, workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        cosigned(&log, &witnesses, 1).await;
        witnesses.set(1, Mode::Budget);
        add(&log, &["b=1"], None).await.unwrap();
        until(|| log.witnesses()[1].trouble.is_some()).await;
        let recorded = log.progress().recorded;
        for i in 0..10 {
            add(&log, &[&format!("n{i}=v")], None).await.unwrap();
        }
        until(|| !log.progress().quorum).await;
        assert_eq!(
            log.progress().recorded,
            recorded,
            "no further checkpoint is cut while the quorum must wait"
        );
        witnesses.set(1, Mode::Honest);
        cosigned(&log, &witnesses, 12).await;
    });
    workers.stop().unwrap();
}

/// An idle log asks again, so that its cosignatures say "still now"; the newer line replaces the older one.
#[test]
fn an_idle_log_refreshes_its_cosignatures() {
    let memory = Memory::new();
    let witnesses = Witnesses::new(2);
    witnesses.watch(&memory.stores);
    let refreshing = Witnessing { refresh_interval: Duration::from_millis(1), ..witnessing(&witnesses, 2) };
    let (log, workers) = Log::open_witnessed(config(), memory.stores.clone(), refreshing).unwrap();
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        let first = cosigned(&log, &witnesses, 1).await;
        witnesses.advance_clock(7);
        let newest =
            |cosignatures: &[VerifiedCosignature]| cosignatures.iter().map(VerifiedCosignature::time).min();
        until(|| newest(&cosignatures(&log, &witnesses)) >= newest(&first).map(|time| time + 7)).await;
        assert_eq!(cosignatures(&log, &witnesses).len(), 2);
    });
    workers.stop().unwrap();
}

/// Objects on a disk that may be too full for another checkpoint.
struct FullDisk {
    objects: Arc<dyn Objects>,
    is_full: AtomicBool,
    refused: AtomicBool,
}

impl Objects for FullDisk {
    fn create(&self, objects: &[NewObject], existing: Existing) -> Result<(), ObjectError> {
        self.objects.create(objects, existing)
    }

    fn get(&self, path: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>, ObjectError> {
        self.objects.get(path, range)
    }

    fn remove(&self, paths: &[String]) -> Result<(), ObjectError> {
        self.objects.remove(paths)
    }

    fn checkpoint(&self) -> Result<Option<Bytes>, ObjectError> {
        self.objects.checkpoint()
    }

    fn swap_checkpoint(&self, expected: Option<&[u8]>, note: &[u8]) -> Result<(), ObjectError> {
        if self.is_full.load(Ordering::Acquire) {
            self.refused.store(true, Ordering::Release);
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(ObjectError::Full { path: "checkpoint".into(), source });
        }
        self.objects.swap_checkpoint(expected, note)
    }
}

/// Invariant 7: a cosignature that finds the disk full joins the public checkpoint when there is room again.
#[test]
fn a_cosignature_outlasts_a_full_disk() {
    let mut memory = Memory::new();
    let disk = Arc::new(FullDisk {
        objects: Arc::clone(&memory.stores.objects),
        is_full: AtomicBool::new(false),
        refused: AtomicBool::new(false),
    });
    memory.stores.objects = Arc::clone(&disk) as _;
    let witnesses = Witnesses::new(3);
    let (log, workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        cosigned(&log, &witnesses, 1).await;
        witnesses.set(2, Mode::Hang);
        add(&log, &["b=1"], None).await.unwrap();
        cosigned(&log, &witnesses, 2).await;
        until(|| cosignatures(&log, &witnesses).len() == 2).await;
        disk.is_full.store(true, Ordering::Release);
        witnesses.release();
        until(|| disk.refused.load(Ordering::Acquire)).await;
        disk.is_full.store(false, Ordering::Release);
        until(|| cosignatures(&log, &witnesses).len() == 3).await;
        assert_eq!(log.progress().published, TreeSize(2));
    });
    workers.stop().unwrap();
}

/// FORMATS §5: a log without witnesses timestamps its checkpoints by a cosigner of its own.
#[test]
fn a_log_cosigns_its_own_checkpoints() {
    let memory = Memory::new();
    let cosigner = SecretKey::from_seed(ORIGIN, Algorithm::CosignatureV1, &[77; 32]).unwrap();
    let with_cosigner = || {
        let mut config = config();
        config.cosigners = vec![Arc::new(Ed25519Signer::new(&cosigner)) as Arc<dyn Signer>];
        config
    };
    let (log, workers) = Log::open(with_cosigner(), memory.stores.clone()).unwrap();
    runtime().block_on(async {
        add(&log, &["a=1"], None).await.unwrap();
        published(&log, 1).await;
    });
    let note = log.published().borrow().as_ref().unwrap().note.clone();
    let keys = [cosigner.verifier_key().clone()];
    let opened = VerifiedCheckpoint::open_with_witnesses(&note, ORIGIN, &vkeys(), &keys).unwrap();
    assert_eq!(opened.cosignatures().len(), 1);
    let policy = Policy::without_witnesses(&[vkeys()[0].clone(), keys[0].clone()]);
    let now = opened.cosignatures()[0].time();
    assert_eq!(policy.evaluate(opened.cosignatures(), now).as_of, Some(now));
    workers.stop().unwrap();

    // A clock that was an hour ahead and has been set right: the next process does not take back what it said.
    let public = memory.stores.objects.checkpoint().unwrap().unwrap();
    let ahead = cosign(opened.note().text(), now + 3600, &Ed25519Signer::new(&cosigner)).unwrap();
    let shown = with_cosignatures(&public, [&ahead]).unwrap();
    memory.stores.objects.swap_checkpoint(Some(&public), shown.as_bytes()).unwrap();
    let mut memory = memory;
    memory.restart();
    let (log, workers) = Log::open(with_cosigner(), memory.stores.clone()).unwrap();
    runtime().block_on(async {
        add(&log, &["b=1"], None).await.unwrap();
        published(&log, 2).await;
    });
    let note = log.published().borrow().as_ref().unwrap().note.clone();
    let opened = VerifiedCheckpoint::open_with_witnesses(&note, ORIGIN, &vkeys(), &keys).unwrap();
    assert_eq!(opened.cosignatures()[0].time(), now + 3600);
    workers.stop().unwrap();
}

/// SIGHUP: another policy holds for what is in flight too.
#[test]
fn a_replaced_policy_holds_at_once() {
    let memory = Memory::new();
    let witnesses = Witnesses::new(3);
    let (log, workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        cosigned(&log, &witnesses, 1).await;
        (0..2).for_each(|witness| witnesses.set(witness, Mode::Down));
        add(&log, &["b=1"], None).await.unwrap();
        until(|| !log.progress().quorum).await;
        let policy = Policy::from_settings(&vkeys(), &witnesses.settings(), Some(1)).unwrap();
        assert!(log.replace_policy(policy, "another text").unwrap());
        assert_eq!(log.policy_text().as_deref(), Some("another text"));
        cosigned(&log, &witnesses, 2).await;
    });
    workers.stop().unwrap();
}

/// What is acknowledged outlives a log that is killed while its witnesses are away, and is published when they are back.
#[test]
fn what_was_acknowledged_without_a_quorum_is_published_after_a_kill() {
    let mut memory = Memory::new();
    let witnesses = Witnesses::new(3);
    let (log, killed) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        cosigned(&log, &witnesses, 1).await;
        (0..3).for_each(|witness| witnesses.set(witness, Mode::Down));
        for i in 1..5 {
            add(&log, &[&format!("n{i}=v")], None).await.unwrap();
        }
        until(|| log.progress().recorded > TreeSize(1)).await;
    });
    memory.restart();
    (0..3).for_each(|witness| witnesses.set(witness, Mode::Honest));
    let (log, workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        cosigned(&log, &witnesses, 5).await;
        assert_eq!(add_when_ready(&log, "z=1").await, 5);
    });
    workers.stop().unwrap();
    drop(killed);
    witnesses.assert_one_chain();
}

/// DESIGN §3, Start (b): a witness alone has seen a checkpoint that was recorded; the quorum that has not must not be enough to
/// sign another one at its size while that witness is only slow.
#[test]
fn a_slow_witness_is_heard_before_anything_is_signed() {
    let mut memory = Memory::new();
    let witnesses = Witnesses::new(3);
    let (log, workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        add_when_ready(&log, "a=1").await;
        cosigned(&log, &witnesses, 1).await;
        until(|| cosignatures(&log, &witnesses).len() == 3).await;
    });
    workers.stop().unwrap();
    memory.restart();
    let backup = Arc::new(memory.state.restarted());
    let (log, workers) = open(&memory, &witnesses, 2);
    runtime().block_on(async {
        until(|| log.progress().refusing.is_none()).await;
        (1..3).for_each(|witness| witnesses.set(witness, Mode::Down));
        add(&log, &["b=1"], None).await.unwrap();
        until(|| log.witnesses()[0].held == Some(TreeSize(2))).await;
    });
    workers.stop().unwrap();

    let gone: Vec<String> = Edge::objects_at(TreeSize(2)).map(|path| path.to_string()).collect();
    memory.stores.objects.remove(&gone).unwrap();
    restore(&mut memory, &backup);
    witnesses.show_checkpoints(true);
    (1..3).for_each(|witness| witnesses.set(witness, Mode::Honest));
    witnesses.hold();
    witnesses.set(0, Mode::Hang);
    witnesses.watch(&memory.stores);
    let patient = Witnessing { timeout: PATIENCE, ..witnessing(&witnesses, 2) };
    let (log, mut workers) = Log::open_witnessed(config(), memory.stores.clone(), patient).unwrap();
    runtime().block_on(async {
        until(|| (1..3).all(|witness| log.witnesses()[witness].has_cosigned)).await;
        witnesses.release();
        let adding = async {
            loop {
                let _refused = add(&log, &["c=1"], None).await;
                tokio::task::yield_now().await;
            }
        };
        let failed = tokio::time::timeout(PATIENCE, workers.failed());
        let why: Arc<str> = tokio::select! {
            why = failed => why.unwrap(),
            () = adding => unreachable!(),
        };
        assert!(why.contains("own signature"), "{why}");
    });
    witnesses.assert_one_chain();
}
