//! Lives of a log on a simulated disk, and what must hold after each.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use glasslog_core::{
    Hash, LeafIndex, TreeSize, anchor::is_anchor_form, hash::leaf_hash, merkle::CompactRange,
};
use glasslog_log::{Ack, AddError, Failure, Log, LogConfig, Stores, Workers};
use glasslog_store::{
    disk::sim::SimDisk,
    duplicates::Table,
    log_state::{SegmentLogState, SegmentOptions},
    objects::FsObjects,
};
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    Random,
    common::{add, config, published},
    fsck::{Public, Shown, fsck, open_checkpoint},
    model::{self, ByName, Kind, judge},
};

const PUBLIC: &str = "/log/public";
/// Small, so that a life fills several.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 10;
const TASKS: u64 = 4;
const REQUESTS: u64 = 12;
/// Far above what anything here takes: a log that hangs fails its test.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// In good order: nothing may fail.
    Stop,
    /// By the fault that the disk has in store, or else in good order.
    Fault,
}

/// Everything that anyone outside has seen of a log.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// Whether the log has an index.
    indexed: bool,
    acknowledged: BTreeMap<u64, String>,
    roots: BTreeMap<TreeSize, Hash>,
    objects: Public,
}

impl Seen {
    /// Nothing yet, of a log with or without an index.
    pub(crate) fn new(indexed: bool) -> Seen {
        Seen { indexed, ..Seen::default() }
    }

    /// Invariant 2: an index is never given to other bytes.
    fn acknowledge(&mut self, entry: &str, ack: Ack) {
        let known = self.acknowledged.entry(ack.index.0).or_insert_with(|| entry.to_owned());
        assert_eq!(known, entry, "index {} was given to two entries", ack.index);
    }

    /// Invariant 1: never two roots at one size.
    fn see_checkpoint(&mut self, note: &[u8]) {
        let checkpoint = open_checkpoint(note);
        let known = *self.roots.entry(checkpoint.size()).or_insert(*checkpoint.root());
        assert_eq!(known, *checkpoint.root(), "two roots at size {}", checkpoint.size());
    }

    /// Invariants 3 and 4: what is public is whole, and no path ever had another content.
    fn see_public(&mut self, disk: &SimDisk) -> Option<Shown> {
        let public = public_files(disk);
        for (path, content) in &public {
            if path == "checkpoint" {
                self.see_checkpoint(content);
            } else {
                let known = self.objects.entry(path.clone()).or_insert_with(|| content.clone());
                assert!(known == content, "{path} had another content before");
            }
        }
        fsck(&public)
    }
}

fn public_files(disk: &SimDisk) -> Public {
    let below = |path: PathBuf| Some(path.strip_prefix(PUBLIC).ok()?.to_str()?.to_owned());
    disk.files().into_iter().filter_map(|(path, content)| Some((below(path)?, content.to_vec()))).collect()
}

/// One life: adds from several tasks until they are done or the log has stopped. Says how it ended.
pub(crate) fn live(
    disk: &SimDisk,
    segment_bytes: u64,
    seed: u64,
    ending: Ending,
    seen: &mut Seen,
) -> Result<(), String> {
    let runtime = runtime();
    let ended = match open(disk, segment_bytes, seen.indexed) {
        Ok((log, workers)) => {
            let answers = runtime.block_on(all_tasks(&log, seed));
            for (entry, ack) in answers.acks {
                seen.acknowledge(&entry, ack);
            }
            answers.notes.iter().for_each(|note| seen.see_checkpoint(note));
            workers.stop().map(drop).map_err(|why| why.to_string())
        }
        Err(failure) => Err(failure.to_string()),
    };
    if ending == Ending::Stop {
        ended.clone().unwrap();
    }
    seen.see_public(disk);
    ended
}

/// What is found after a loss of power is everything that it must be, and the log goes on from there.
pub(crate) fn reopen_and_check(disk: &SimDisk, mut seen: Seen) {
    seen.see_public(disk);
    // The second time the former stop was a clean one, and the duplicates come from the table.
    for _ in 0..2 {
        let (log, workers) = open(disk, SEGMENT_BYTES, seen.indexed).unwrap();
        let runtime = runtime();
        let head = log.progress().sequenced;
        seen.see_public(disk).unwrap();
        // A file that was just replaced is announced a moment later.
        runtime.block_on(async { timeout(PATIENCE, published(&log, head.0)).await.unwrap() });
        let head = if seen.indexed { runtime.block_on(ends_in_anchor(&log, disk)) } else { head };
        let shown = seen.see_public(disk).unwrap();
        assert_eq!(shown.entries.len() as u64, head.0);
        judge(&shown.entries, &ByName);
        check_acknowledged(&seen, &shown);
        check_checkpoints(&seen, &shown);
        runtime.block_on(async { timeout(PATIENCE, check_duplicates(&log, &shown)).await.unwrap() });
        assert_eq!(
            log.progress().published,
            head,
            "what stands at the public path is announced at the start"
        );
        let stopped = workers.stop().unwrap();
        assert_eq!((stopped.recorded, stopped.published), (head, head), "duplicates append nothing");
    }
}

/// Waits until the public log ends in an anchor with a root, or is empty; gives its size.
async fn ends_in_anchor(log: &Log, disk: &SimDisk) -> TreeSize {
    let mut watch = log.published();
    let ended = async {
        loop {
            let size = watch.borrow_and_update().as_ref().map_or(TreeSize::ZERO, |public| public.size);
            let shown = fsck(&public_files(disk)).unwrap();
            let last = judge(&shown.entries, &ByName).pop();
            if shown.entries.len() as u64 == size.0 && last.is_none_or(|last| last == Kind::Anchor) {
                return size;
            }
            watch.changed().await.unwrap();
        }
    };
    timeout(PATIENCE, ended).await.unwrap()
}

/// Invariant 2: every acknowledged index holds its bytes.
fn check_acknowledged(seen: &Seen, shown: &Shown) {
    for (index, entry) in &seen.acknowledged {
        let held = shown.entries.get(usize::try_from(*index).unwrap());
        assert_eq!(held.map(Vec::as_slice), Some(entry.as_bytes()), "index {index} was acknowledged");
    }
}

/// Invariant 1: every checkpoint ever seen outside is a prefix of the log that goes on.
fn check_checkpoints(seen: &Seen, shown: &Shown) {
    let mut range = CompactRange::new();
    let mut prefixes = HashMap::from([(range.size(), range.root())]);
    for entry in &shown.entries {
        range.append(leaf_hash(entry));
        prefixes.insert(range.size(), range.root());
    }
    assert_eq!(range.root(), shown.root);
    for (size, root) in &seen.roots {
        assert_eq!(prefixes.get(size), Some(root), "the checkpoint of size {size} is no prefix");
    }
}

/// The latest entry of every identity is known: added again it is a duplicate, and nothing else is.
async fn check_duplicates(log: &Log, shown: &Shown) {
    let mut latest = BTreeMap::new();
    let entries = shown.entries.iter().enumerate();
    for (index, entry) in entries.filter(|(_, entry)| !is_anchor_form(entry)) {
        let entry = std::str::from_utf8(entry).unwrap();
        latest.insert(entry.split('=').next().unwrap(), (entry, index as u64));
    }
    let (entries, expected): (Vec<&str>, Vec<Ack>) = latest
        .into_values()
        .map(|(entry, index)| (entry, Ack { index: LeafIndex(index), duplicate: true }))
        .unzip();
    assert_eq!(add(log, &entries, None).await.unwrap(), expected);
}

/// Fills the disk in the middle of a life and makes room again: the log stays up, and everything is added in the end.
pub(crate) fn fill_up_and_make_room(disk: &SimDisk, seed: u64, seen: &mut Seen) {
    let (log, workers) = open(disk, SEGMENT_BYTES, seen.indexed).unwrap();
    let runtime = runtime();
    let mut random = Random::new(seed);
    let mut pushed_back = 0;
    for round in 0..8 {
        disk.set_full(round % 2 == 1);
        for _ in 0..30 {
            let entries: Vec<String> = (0..1 + random.below(30)).map(|_| entry(&mut random)).collect();
            let texts: Vec<&str> = entries.iter().map(String::as_str).collect();
            match runtime.block_on(async { timeout(PATIENCE, add(&log, &texts, None)).await.unwrap() }) {
                Ok(acks) => entries.iter().zip(acks).for_each(|(entry, ack)| seen.acknowledge(entry, ack)),
                Err(AddError::PushBack { .. }) if round % 2 == 1 => pushed_back += 1,
                Err(error) => panic!("{error}"),
            }
        }
        seen.see_public(disk);
    }
    assert!(pushed_back > 0, "the disk was full");
    disk.set_full(false);
    let head = log.progress().sequenced;
    runtime.block_on(async { timeout(PATIENCE, published(&log, head.0)).await.unwrap() });
    workers.stop().unwrap();
    seen.see_public(disk);
}

fn open(disk: &SimDisk, segment_bytes: u64, indexed: bool) -> Result<(Log, Workers), Failure> {
    let dir = Path::new("/log");
    let shared = || Arc::new(disk.clone());
    let options = SegmentOptions { segment_bytes, cache_bytes: 16 << 10, background: false };
    let stores = Stores {
        objects: Arc::new(FsObjects::open(shared(), Path::new(PUBLIC), &dir.join("tmp"))?),
        state: Arc::new(SegmentLogState::open(shared(), &dir.join("state"), options)?),
        duplicates: Arc::new(Table::open(shared(), &dir.join("duplicates"))?),
    };
    // Invariant 11: what has left the log state is in the durable table of duplicates, also after any loss of power.
    let trimmed = stores.state.view()?.watermarks.trim_below;
    assert!(trimmed <= stores.duplicates.covered(), "{trimmed} is trimmed");
    // Small, so that a life makes it durable, and merges it, several times.
    let index = indexed.then(|| {
        let mut index = model::index(shared(), &dir.join("index"));
        index.options.snapshot_interval = 20;
        index
    });
    Log::open(LogConfig { index, ..config() }, stores)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// What a life showed to its clients.
#[derive(Default)]
struct Answers {
    acks: Vec<(String, Ack)>,
    notes: Vec<Vec<u8>>,
}

async fn all_tasks(log: &Log, seed: u64) -> Answers {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(one_task(log.clone(), Random::new(seed * TASKS + task))))
        .collect();
    let mut all = Answers::default();
    for task in tasks {
        let answers = timeout(PATIENCE, task).await.unwrap().unwrap();
        all.acks.extend(answers.acks);
        all.notes.extend(answers.notes);
    }
    all
}

async fn one_task(log: Log, mut random: Random) -> Answers {
    let mut answers = Answers::default();
    for _ in 0..REQUESTS {
        let many = if random.below(3) == 0 { 40 } else { 4 };
        let entries: Vec<String> = (0..1 + random.below(many)).map(|_| entry(&mut random)).collect();
        let texts: Vec<&str> = entries.iter().map(String::as_str).collect();
        let unchanged_since = (random.below(5) == 0).then(|| log.progress().published.0);
        match add(&log, &texts, unchanged_since).await {
            Ok(acks) => answers.acks.extend(entries.into_iter().zip(acks)),
            Err(AddError::Stopped(_)) => break,
            Err(AddError::Changed { .. } | AddError::PushBack { .. }) => {}
        }
        let public = log.published().borrow().clone();
        answers.notes.extend(public.map(|public| public.note.to_vec()));
    }
    answers
}

/// One of a few hundred identities with one of a few contents, so that duplicates and patches are common.
fn entry(random: &mut Random) -> String {
    let (name, value) = (random.below(300), random.below(4));
    format!("n{name}={value}{}", "x".repeat(usize::try_from((name * 37 + value * 101) % 300).unwrap()))
}
