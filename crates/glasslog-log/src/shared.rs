//! What the request tasks and the workers of one log share.

use std::{
    error::Error,
    fmt::Write,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use glasslog_core::{
    Hash, LeafIndex, TreeSize, checkpoint, hash::BatchHasher, note::Signer, personality::Personality,
};
use glasslog_index::IndexError;
use glasslog_store::{
    LogState, Objects,
    log_state::{Batch, StateError},
    objects::ObjectError,
    runs::RunError,
};
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::{
    Ack, AddError,
    anchors::{Anchors, IndexConfig},
    latest::Duplicates,
    pool::Pool,
    served::Served,
    witnesses::{Panel, unix_time_s},
};

/// What a log is and how it behaves.
pub struct LogConfig {
    /// The first line of every checkpoint.
    pub origin: String,
    /// Sign every checkpoint, the first one with the key that `/log.json` names first.
    pub signers: Vec<Arc<dyn Signer>>,
    /// The rules of `ENTRY_SCHEMA`; without them any bytes are an entry.
    pub personality: Option<Arc<dyn Personality>>,
    /// Hashes leaves and nodes.
    pub hasher: &'static dyn BatchHasher,
    /// The pause between checkpoints; zero: as soon as the last publication is done.
    pub checkpoint_interval: Duration,
    /// Entries in one commit, unless a single request brings more.
    pub batch_max_size: usize,
    /// How long the first request of a batch waits for company; zero: not at all.
    pub batch_max_age: Duration,
    /// Bytes of requests that wait for their commit.
    pub pool_max_bytes: u64,
    /// Bytes of entries that are sequenced and not yet integrated.
    pub backlog_max_bytes: u64,
    /// Whether an entry equal to the latest one of its identity gets that one's index instead of a new one.
    pub dedup: bool,
    /// How long a superseded partial tile stays after the full tile is public.
    pub partials_kept_for: Duration,
    /// The log's own cosigners, of type 0x04 or 0x06 and named as the origin: they tell the time where nobody else does.
    pub cosigners: Vec<Arc<dyn Signer>>,
    /// After this time the own cosigners of an idle log sign again.
    pub refresh_interval: Duration,
    /// Its verifiable index, if it has one, or had.
    pub index: Option<IndexConfig>,
}

/// Where a log keeps things.
#[derive(Clone)]
pub struct Stores {
    /// What the world reads.
    pub objects: Arc<dyn Objects>,
    /// What makes an index durable.
    pub state: Arc<dyn LogState>,
    /// The derived table of identities.
    pub duplicates: Arc<glasslog_store::duplicates::Table>,
}

/// Why a log cannot start, or has stopped.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The log state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The object store.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The duplicates table.
    #[error("the duplicates table failed")]
    Duplicates(#[from] RunError),
    /// Invariant 6: what is public is not a prefix of what this state would go on with.
    #[error(
        "the log state is behind what was published: {evidence}. Going on would fork the log. If the state was \
         restored from a backup, run `glasslog recover` on this directory"
    )]
    Behind {
        /// What is public and what the state holds.
        evidence: String,
    },
    /// Stored objects do not hash to a root that this log signed.
    #[error("stored objects contradict the signed root: {0}. Nothing more is signed; run `glasslog fsck`")]
    Contradiction(String),
    /// The public checkpoint is not one of ours.
    #[error("the public checkpoint is not usable")]
    ForeignCheckpoint(#[source] checkpoint::CheckpointError),
    /// The tree cannot grow from what is stored.
    #[error("the tree cannot grow from what is stored. Nothing more is signed; run `glasslog fsck`")]
    Edge(#[from] glasslog_core::tile::EdgeError),
    /// Signing failed.
    #[error("cannot sign a checkpoint")]
    Sign(#[source] glasslog_core::note::SignError),
    /// The verifiable index.
    #[error("the verifiable index failed")]
    Index(#[from] IndexError),
    /// An index that was built from the entries alone says something else than the log has said.
    #[error(
        "the index contradicts the log: the anchor at index {position} has the root {anchored}, and the entries before it give \
         {recomputed}. Nothing more is signed. Check with `glasslog index rebuild`, then `glasslog index check`; if it is the \
         anchor that is wrong, `glasslog index disavow` says so in the log for ever, and the log goes on"
    )]
    WrongAnchor {
        /// Where the anchor stands.
        position: LeafIndex,
        /// The root in it.
        anchored: Hash,
        /// The root that the entries give.
        recomputed: Hash,
    },
    /// The log has anchors that its index cannot have made.
    #[error("{0}")]
    Anchors(String),
    /// The operating system.
    #[error("{0}")]
    System(String),
}

impl Failure {
    pub(crate) fn fenced() -> Failure {
        Failure::State(StateError::Fenced)
    }

    pub(crate) fn durability(why: std::io::Error) -> Failure {
        Failure::State(StateError::Durability(why))
    }

    /// Whether only this reading failed, so that a later one may succeed.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Failure::Objects(ObjectError::Io { .. })
                | Failure::Duplicates(RunError::Io { .. })
                | Failure::Index(IndexError::Runs(RunError::Io { .. }))
        )
    }

    pub(crate) fn other(what: &str, why: impl std::fmt::Display) -> Failure {
        Failure::System(format!("{what}: {why}"))
    }
}

/// Everything that one log's tasks and workers share.
pub(crate) struct Shared {
    pub(crate) config: LogConfig,
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) state: Arc<dyn LogState>,
    pub(crate) duplicates: Duplicates,
    pub(crate) pool: Pool,
    pub(crate) progress: Counters,
    pub(crate) reader: crate::read::Reader,
    /// The witnesses, if there are any to be asked.
    pub(crate) panel: Option<Panel>,
    /// The anchors of its index, if it has one.
    pub(crate) anchors: Option<Arc<Anchors>>,
    /// What lookups are answered from.
    pub(crate) served: Served,
    /// Why the log has stopped; whoever supervises it watches this.
    pub(crate) failure: watch::Sender<Option<Arc<str>>>,
}

impl Shared {
    /// Stops the log: nothing more is accepted or signed, whoever waits is told why, and so is the supervisor.
    pub(crate) fn fail(&self, failure: &Failure) {
        self.stop_because(&chain(failure));
        if let Failure::Duplicates(RunError::Corrupt { .. }) = failure {
            self.duplicates.empty();
        }
    }

    pub(crate) fn stop_because(&self, why: &str) {
        tracing::error!(why, "the log stops");
        let why: Arc<str> = why.into();
        let _first_reason_stays = self.progress.stopped.set(Arc::clone(&why));
        self.failure.send_if_modified(|first| first.is_none() && first.replace(Arc::clone(&why)).is_none());
        for request in self.pool.drain() {
            drop(request.permit);
            let _nobody_waits = request.answer.send(Err(AddError::Stopped(Arc::clone(&why))));
        }
        self.progress.wake();
    }
}

/// DESIGN §3, Start: nothing is acknowledged and nothing signed before.
const UNCONFIRMED: &str =
    "no quorum of witnesses has yet confirmed the last checkpoint that this log recorded";

/// How long a refused add says that the next one would be refused too.
const REFUSAL_HOLDS: Duration = Duration::from_secs(5);

/// How far a log is, as read by requests and waited on by workers.
#[derive(Default)]
pub(crate) struct Counters {
    sequenced: AtomicU64,
    integrated: AtomicU64,
    recorded: AtomicU64,
    published: AtomicU64,
    published_at_unix_s: AtomicU64,
    /// Bytes that entered the backlog, and that left it: each only grows, so that their order does not matter.
    backlog_entered: AtomicU64,
    backlog_left: AtomicU64,
    duplicates: AtomicU64,
    commits: AtomicU64,
    /// A quorum of witnesses has not confirmed yet what this process goes on from.
    unconfirmed: AtomicBool,
    /// The newest recorded checkpoint has waited too long for its quorum.
    without_quorum: AtomicBool,
    /// Why adds were refused, and when last.
    refusing: Mutex<Option<(Arc<str>, Instant)>>,
    stopped: OnceLock<Arc<str>>,
    wakes: Mutex<Wakes>,
    woken: Condvar,
}

#[derive(Default)]
struct Wakes {
    count: u64,
    draining: bool,
}

impl Counters {
    pub(crate) fn sequenced(&self) -> TreeSize {
        TreeSize(self.sequenced.load(Ordering::Acquire))
    }

    pub(crate) fn recorded(&self) -> TreeSize {
        TreeSize(self.recorded.load(Ordering::Acquire))
    }

    pub(crate) fn published(&self) -> TreeSize {
        TreeSize(self.published.load(Ordering::Acquire))
    }

    /// Why the log has stopped, if it has.
    pub(crate) fn stopped(&self) -> Option<&Arc<str>> {
        self.stopped.get()
    }

    pub(crate) fn start_at(&self, sequenced: TreeSize, recorded: TreeSize, backlog_bytes: u64) {
        self.sequenced.store(sequenced.0, Ordering::Release);
        self.integrated.store(recorded.0, Ordering::Release);
        self.recorded.store(recorded.0, Ordering::Release);
        self.backlog_entered.store(backlog_bytes, Ordering::Release);
    }

    pub(crate) fn committed(&self, batch: &Batch, bytes: u64) {
        self.refuse(None);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.backlog_entered.fetch_add(bytes, Ordering::Relaxed);
        self.sequenced.store(batch.end().0, Ordering::Release);
        self.wake();
    }

    pub(crate) fn answered(&self, verdict: &Result<Vec<Ack>, AddError>) {
        let duplicates = verdict.iter().flatten().filter(|ack| ack.duplicate).count();
        self.duplicates.fetch_add(duplicates as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_integrated(&self, size: TreeSize) {
        self.integrated.store(size.0, Ordering::Release);
    }

    /// Notes that so many bytes of entries are hashed and written.
    pub(crate) fn left_backlog(&self, bytes: u64) {
        self.backlog_left.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_recorded(&self, size: TreeSize) {
        self.recorded.store(size.0, Ordering::Release);
    }

    pub(crate) fn set_published(&self, size: TreeSize) {
        self.published_at_unix_s.store(unix_time_s(), Ordering::Relaxed);
        self.published.store(size.0, Ordering::Release);
    }

    /// Why adds were refused in the last seconds. Older refusals are forgotten: whoever sends no adds because of them
    /// would never learn that they would be taken again.
    fn refused_lately(&self) -> Option<Arc<str>> {
        let refusing = self.refusing.lock();
        let (why, at) = refusing.as_ref()?;
        (at.elapsed() < REFUSAL_HOLDS).then(|| Arc::clone(why))
    }

    /// Says (or takes back) why adds are being refused for now.
    pub(crate) fn refuse(&self, why: Option<String>) {
        let mut refusing = self.refusing.lock();
        if refusing.is_some() || why.is_some() {
            if let Some(why) = &why {
                if refusing.is_none() {
                    tracing::warn!(why, "adds are pushed back");
                }
            } else {
                tracing::info!("adds are accepted again");
            }
            *refusing = why.map(|why| (why.into(), Instant::now()));
        }
    }

    /// Why adds are refused until a quorum of witnesses has confirmed the state, if it has not.
    pub(crate) fn unconfirmed(&self) -> Option<&'static str> {
        self.unconfirmed.load(Ordering::Acquire).then_some(UNCONFIRMED)
    }

    pub(crate) fn set_unconfirmed(&self, unconfirmed: bool) {
        self.unconfirmed.store(unconfirmed, Ordering::Release);
    }

    /// Gives what held before.
    pub(crate) fn set_without_quorum(&self, without: bool) -> bool {
        self.without_quorum.swap(without, Ordering::AcqRel)
    }

    /// Lets a waiting worker look again.
    pub(crate) fn wake(&self) {
        self.wakes.lock().count += 1;
        self.woken.notify_all();
    }

    /// Tells the publisher that no entry follows: it publishes what there is and ends.
    pub(crate) fn drain(&self) {
        self.wakes.lock().draining = true;
        self.wake();
    }

    pub(crate) fn draining(&self) -> bool {
        self.wakes.lock().draining
    }

    /// How often somebody woke the workers; to be read before a worker looks for work.
    pub(crate) fn wakes_seen(&self) -> u64 {
        self.wakes.lock().count
    }

    /// Waits until somebody woke the workers since `seen` was read, or until `deadline`.
    pub(crate) fn wait(&self, seen: u64, deadline: Option<Instant>) {
        let mut wakes = self.wakes.lock();
        while wakes.count == seen {
            match deadline {
                None => self.woken.wait(&mut wakes),
                Some(deadline) => {
                    if self.woken.wait_until(&mut wakes, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
    }

    /// Lets `pause` pass, whoever wakes the workers, unless the log is drained or stopped meanwhile.
    pub(crate) fn pause(&self, pause: Duration) {
        self.pause_unless(pause, || self.draining());
    }

    /// Lets `pause` pass, whoever wakes the workers, unless the log is stopped or `ends` meanwhile says so: whoever makes it
    /// say so wakes them.
    pub(crate) fn pause_unless(&self, pause: Duration, ends: impl Fn() -> bool) {
        let until = Instant::now() + pause;
        loop {
            let seen = self.wakes_seen();
            if Instant::now() >= until || ends() || self.stopped().is_some() {
                return;
            }
            self.wait(seen, Some(until));
        }
    }

    pub(crate) fn backlog_bytes(&self) -> u64 {
        let left = self.backlog_left.load(Ordering::Relaxed);
        self.backlog_entered.load(Ordering::Relaxed).saturating_sub(left)
    }

    pub(crate) fn snapshot(&self, pool_bytes: u64) -> Progress {
        let published_at_unix_s = self.published_at_unix_s.load(Ordering::Relaxed);
        Progress {
            sequenced: self.sequenced(),
            integrated: TreeSize(self.integrated.load(Ordering::Acquire)),
            recorded: self.recorded(),
            published: self.published(),
            pool_bytes,
            backlog_bytes: self.backlog_bytes(),
            refusing: self
                .stopped()
                .cloned()
                .or_else(|| self.unconfirmed().map(Arc::from))
                .or_else(|| self.refused_lately()),
            quorum: !self.without_quorum.load(Ordering::Acquire) && self.unconfirmed().is_none(),
            duplicates: self.duplicates.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            published_at_unix_s: (published_at_unix_s > 0).then_some(published_at_unix_s),
        }
    }
}

/// How far a log is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Indices given out.
    pub sequenced: TreeSize,
    /// Hashed into tiles.
    pub integrated: TreeSize,
    /// Covered by a recorded checkpoint.
    pub recorded: TreeSize,
    /// Covered by the public checkpoint.
    pub published: TreeSize,
    /// Bytes reserved by requests that wait for their commit.
    pub pool_bytes: u64,
    /// Bytes sequenced and not yet integrated.
    pub backlog_bytes: u64,
    /// Why adds would be refused now, if they would.
    pub refusing: Option<Arc<str>>,
    /// Whether the newest recorded checkpoint has its policy's quorum, or the last one had it and this one has not waited
    /// long. At a start, not before a quorum has confirmed it.
    pub quorum: bool,
    /// Duplicates answered since the start.
    pub duplicates: u64,
    /// Durable commits since the start.
    pub commits: u64,
    /// When this process last made a checkpoint public, in seconds since the Unix epoch.
    pub published_at_unix_s: Option<u64>,
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let _infallible = write!(text, ": {next}");
        cause = next.source();
    }
    text
}
