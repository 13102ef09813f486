//! Log state in preallocated segment files: the embedded default.
//!
//! Everything is one write-ahead log of records ([`record`]) in files of 64 MiB: a commit is one positional write of
//! whole pages into blocks that are allocated already, and one `fdatasync`. Each file begins with the small state, so that older ones
//! are let go once their batches have left; one that was let go is written over as the next ([`spare`]).
//!
//! **Torn tail**: the next record is written only when the last is durable, so only the last one can be torn. A damaged
//! record before a valid one, a missing file, a newer version: [`StateError::Corrupt`], with file and offset.
//! **After an unclean stop** ([`recover`]) what reads back may be on no disk; it is written to a new file first.
//! **After a failed write or sync** nothing more is written: restart. A full disk is no failure: it is met when a segment
//! is allocated, before anything of the batch is written.
//!
//! Locks, in the order in which they are taken: `head` for the length of a turn, `writer` around a write and its sync,
//! `shared` for moments. Readers take only the last, and so never wait for a disk.

mod file;
mod kept;
mod record;
mod recover;
mod spare;

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use glasslog_core::{Hash, LeafIndex, TreeSize, personality::Identity};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use self::{
    file::{Blocks, Segment},
    kept::{Kept, KeptBatches},
    record::{Encoder, MAX_PAYLOAD, PAGE},
    spare::Spares,
};
use super::{
    Batch, BatchId, CommitOutcome, Epoch, LogState, SizedNote, StateError, StateView, Turn, Watermarks,
    identities_since,
    small::{Change, SmallState},
};
use crate::disk::{Disk, sync_ancestors};

/// How much disk and memory the state may take.
#[derive(Clone, Copy, Debug)]
pub struct SegmentOptions {
    /// Bytes of one segment file; two to four exist at a time while batches leave as they should. A single larger
    /// batch gets a larger segment.
    pub segment_bytes: u64,
    /// Bytes of the newest batches that are kept in memory.
    pub cache_bytes: usize,
    /// Whether the next segment is made on a thread of its own. Without, a commit makes it (tests).
    pub background: bool,
}

impl Default for SegmentOptions {
    fn default() -> SegmentOptions {
        SegmentOptions { segment_bytes: 64 << 20, cache_bytes: 64 << 20, background: true }
    }
}

/// [`LogState`] in a directory of segment files. The caller holds the lock ([`crate::lock::LockFile`]).
pub struct SegmentLogState {
    /// Held for the length of a turn.
    head: Mutex<()>,
    writer: Mutex<Writer>,
    shared: Mutex<Shared>,
    published: watch::Sender<Option<SizedNote>>,
}

/// What readers see.
struct Shared {
    /// Everything acknowledged, and what rides along with the next write.
    state: SmallState,
    riding: Riding,
    kept: KeptBatches,
    /// Why nothing more can be written, after a failed write or sync.
    in_doubt: Option<String>,
    unclean: bool,
    closed: bool,
}

/// Changes that need not be durable at once: they are written with the next record.
#[derive(Clone, Default)]
struct Riding {
    public: Option<SizedNote>,
    watermarks: Option<Watermarks>,
}

struct Writer {
    segment: Arc<Segment>,
    offset: u64,
    next_sequence: u64,
    /// What is durable: [`Shared::state`] without what rides along.
    durable: SmallState,
    /// Former segments that may still hold a batch, ascending.
    former: VecDeque<Arc<Segment>>,
    spares: Spares,
    encoder: Encoder,
}

/// What a record is written for.
enum Content<'a> {
    Batch(&'a Arc<Batch>),
    Change(&'a Change),
    /// Only what rides along.
    Nothing,
    Close,
}

/// How a write failed.
enum WriteError {
    /// Nothing was written that could be read back.
    Refused(io::Error),
    /// Whether it is durable cannot be learned.
    InDoubt(io::Error),
}

impl SegmentLogState {
    /// Opens the state in `dir`, or begins it there. Reads all batches that have not left, and makes durable anew what
    /// an unclean stop leaves in doubt.
    ///
    /// # Errors
    ///
    /// [`StateError::Corrupt`], [`StateError::Refused`] when the disk is full, [`StateError::Durability`],
    /// [`StateError::Io`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: SegmentOptions,
    ) -> Result<SegmentLogState, StateError> {
        let capacity = options.segment_bytes.max(4 * PAGE as u64).next_multiple_of(PAGE as u64);
        disk.create_dir_all(dir).and_then(|()| sync_ancestors(disk.as_ref(), dir)).map_err(|error| {
            let at_dir = io::Error::new(error.kind(), format!("{}: {error}", dir.display()));
            if is_full(&error) { StateError::Refused(at_dir) } else { StateError::Io(at_dir) }
        })?;
        let mut recovered = recover::replay(disk.as_ref(), dir, options.cache_bytes)?;
        let begin = recovered.begin(disk.as_ref(), dir, capacity)?;
        let former = recovered.kept.segments();
        let spares = Spares::new(disk, PathBuf::from(dir), capacity, options.background).map_err(trouble)?;
        if options.background {
            spares.prepare(begin.segment.number + 1);
        }
        let state = recovered.state;
        let writer = Writer {
            former: former.into_iter().filter(|segment| segment.number != begin.segment.number).collect(),
            segment: begin.segment,
            offset: begin.offset,
            next_sequence: begin.next_sequence,
            durable: state.clone(),
            spares,
            encoder: Encoder::default(),
        };
        let published = watch::Sender::new(state.public.clone());
        let shared = Shared {
            state,
            riding: Riding::default(),
            kept: recovered.kept,
            in_doubt: None,
            unclean: !recovered.clean,
            closed: false,
        };
        Ok(SegmentLogState {
            head: Mutex::new(()),
            writer: Mutex::new(writer),
            shared: Mutex::new(shared),
            published,
        })
    }

    fn commit(&self, batch: &Arc<Batch>, cut: Option<Epoch>) -> CommitOutcome {
        let mut writer = self.writer.lock();
        {
            let shared = self.shared.lock();
            if let Err(error) = shared.check_writable() {
                return outcome(error);
            }
            if let Err(outcome) = shared.state.check_batch(batch, cut) {
                return outcome;
            }
        }
        match self.write(&mut writer, &Content::Batch(batch)) {
            Ok(()) => CommitOutcome::Committed,
            Err(error) => outcome(error),
        }
    }

    /// Checks a change, makes it durable and applies it; changes and batches happen one after the other.
    fn change(
        &self,
        check: impl FnOnce(&SmallState) -> Result<Option<Change>, StateError>,
    ) -> Result<(), StateError> {
        let mut writer = self.writer.lock();
        let change = {
            let shared = self.shared.lock();
            shared.check_writable()?;
            check(&shared.state)?
        };
        match change {
            Some(change) => Ok(self.write(&mut writer, &Content::Change(&change))?),
            None => Ok(()),
        }
    }

    /// Notes a change that rides along with the next write. Never waits for a disk.
    fn ride(
        &self,
        check: impl FnOnce(&SmallState) -> Result<Option<Change>, StateError>,
    ) -> Result<(), StateError> {
        let mut shared = self.shared.lock();
        shared.check_writable()?;
        let Some(change) = check(&shared.state)? else { return Ok(()) };
        match &change {
            Change::Public(note) => shared.riding.public = Some(note.clone()),
            Change::Watermarks(watermarks) => shared.riding.watermarks = Some(*watermarks),
            _ => {}
        }
        shared.state.apply(change);
        Ok(())
    }

    /// One record, durable: what rides along, then `content`. Then everyone may see it.
    fn write(&self, writer: &mut Writer, content: &Content<'_>) -> Result<(), WriteError> {
        let riding = self.shared.lock().riding.clone();
        let written = writer.write(&riding, content);
        let mut shared = self.shared.lock();
        let offset = match written {
            Ok(offset) => offset,
            Err(error) => {
                if let WriteError::InDoubt(source) = &error {
                    shared.in_doubt = Some(source.to_string());
                }
                return Err(error);
            }
        };
        shared.riding.forget(&riding);
        match content {
            Content::Batch(batch) => {
                shared.state.apply_batch(batch);
                let kept = Kept::new(Arc::clone(batch), Arc::clone(&writer.segment), offset);
                shared.kept.push(kept);
            }
            Content::Change(change) => shared.state.apply((*change).clone()),
            Content::Nothing | Content::Close => {}
        }
        shared.kept.trim(writer.durable.watermarks.trim_below);
        let first_kept = shared.kept.first_index().unwrap_or(shared.state.head.next_index());
        shared.state.forget_fills_below(first_kept);
        writer.durable.forget_fills_below(first_kept);
        let oldest = shared.kept.oldest_segment();
        drop(shared);
        writer.release_below(oldest);
        Ok(())
    }
}

impl Writer {
    /// Writes a record and makes it durable; gives its offset in the (then current) segment.
    fn write(&mut self, riding: &Riding, content: &Content<'_>) -> Result<u64, WriteError> {
        if let Content::Batch(batch) = content
            && Encoder::most_for(batch) > MAX_PAYLOAD / 2
        {
            let why = "a batch of more than 512 MiB cannot be committed";
            return Err(WriteError::Refused(io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
        // The first record of a segment begins with the state.
        self.encode(riding, content, self.offset == Segment::START);
        let fits = self.offset + self.encoder.padded_len() as u64 <= self.segment.capacity;
        // A start takes what can be had at once, and leaves it when something faster is there.
        let better = self.segment.blocks == Blocks::Reserved && self.spares.is_ready();
        if !fits || better {
            self.encode(riding, content, true);
            self.roll()?;
        }
        let offset = self.offset;
        let record = self.encoder.finish(self.segment.seed, self.next_sequence);
        let written = self.segment.file.write_all_at(record, offset);
        written.map_err(|error| write_failed(&self.segment, offset, error))?;
        self.segment.file.sync().map_err(WriteError::InDoubt)?;
        self.offset += record.len() as u64;
        self.next_sequence += 1;
        riding.changes().chain(content.change().cloned()).for_each(|change| self.durable.apply(change));
        if let Content::Batch(batch) = content {
            self.durable.apply_batch(batch);
        }
        if self.offset > self.segment.capacity / 2 {
            self.spares.prepare(self.segment.number + 1);
        }
        Ok(offset)
    }

    fn encode(&mut self, riding: &Riding, content: &Content<'_>, first: bool) {
        self.encoder.begin();
        if first {
            self.encoder.snapshot(&self.durable, 0);
        }
        riding.changes().for_each(|change| self.encoder.change(&change));
        match content {
            Content::Batch(batch) => self.encoder.batch(batch),
            Content::Change(change) => self.encoder.change(change),
            Content::Nothing => {}
            Content::Close => self.encoder.close(),
        }
    }

    /// Goes on to the next segment, with room for the record that was encoded.
    fn roll(&mut self) -> Result<(), WriteError> {
        let room = self.encoder.padded_len() as u64;
        let next = self.spares.take(self.segment.number + 1, room).map_err(|error| {
            // Anything but a full disk is a disk that has begun to fail.
            if is_full(&error) { WriteError::Refused(error) } else { WriteError::InDoubt(error) }
        })?;
        let full = std::mem::replace(&mut self.segment, Arc::new(next));
        self.former.push_back(full);
        self.offset = Segment::START;
        Ok(())
    }

    /// Lets go of the segments before the one with the oldest batch. What says that the batches have left is durable.
    fn release_below(&mut self, oldest: Option<u64>) {
        let needed = oldest.unwrap_or(self.segment.number);
        while self.former.front().is_some_and(|segment| segment.number < needed) {
            let Some(segment) = self.former.pop_front() else { return };
            self.spares.release(segment);
        }
    }
}

impl Content<'_> {
    fn change(&self) -> Option<&Change> {
        if let Content::Change(change) = self { Some(change) } else { None }
    }
}

impl Riding {
    fn changes(&self) -> impl Iterator<Item = Change> {
        let public = self.public.clone().map(Change::Public);
        public.into_iter().chain(self.watermarks.map(Change::Watermarks))
    }

    /// Forgets what was written, unless it has moved on meanwhile.
    fn forget(&mut self, written: &Riding) {
        self.public.take_if(|public| Some(&*public) == written.public.as_ref());
        self.watermarks.take_if(|watermarks| Some(*watermarks) == written.watermarks);
    }
}

impl Shared {
    fn check_writable(&self) -> Result<(), WriteError> {
        if let Some(why) = &self.in_doubt {
            let why = format!("an earlier write or sync failed ({why}); restart, it will be cleared up");
            return Err(WriteError::InDoubt(io::Error::other(why)));
        }
        if self.closed {
            return Err(WriteError::Refused(io::Error::other("the log state is closed")));
        }
        Ok(())
    }
}

struct SegmentTurn<'a> {
    state: &'a SegmentLogState,
    _head: MutexGuard<'a, ()>,
    at: TreeSize,
    appended: Vec<(Identity, LeafIndex, Hash)>,
}

impl Turn for SegmentTurn<'_> {
    fn head(&self) -> TreeSize {
        self.at
    }

    fn appended(&self) -> &[(Identity, LeafIndex, Hash)] {
        &self.appended
    }

    fn commit(self: Box<Self>, batch: Arc<Batch>, cut: Option<Epoch>) -> CommitOutcome {
        self.state.commit(&batch, cut)
    }
}

impl LogState for SegmentLogState {
    fn bind(&self, origin: &str, vkeys: &[String]) -> Result<(), StateError> {
        self.change(|state| state.check_bind(origin, vkeys))
    }

    fn view(&self) -> Result<StateView, StateError> {
        let shared = self.shared.lock();
        Ok(shared.state.view(shared.unclean))
    }

    fn turn<'a>(&'a self, known: TreeSize) -> Result<Box<dyn Turn + 'a>, StateError> {
        let head = self.head.lock();
        let (at, unknown) = {
            let shared = self.shared.lock();
            shared.check_writable()?;
            (shared.state.head, shared.kept.from(known.next_index(), usize::MAX))
        };
        let batches = unknown.iter().map(Kept::load).collect::<Result<Vec<_>, _>>()?;
        let appended = identities_since(known, batches.iter().map(AsRef::as_ref));
        Ok(Box::new(SegmentTurn { state: self, _head: head, at, appended }))
    }

    fn was_committed(&self, id: BatchId) -> Result<bool, StateError> {
        let _head = self.head.lock();
        let shared = self.shared.lock();
        if shared.kept.contains(id) {
            return Ok(true);
        }
        match &shared.in_doubt {
            Some(why) => Err(StateError::Durability(io::Error::other(why.clone()))),
            None => Ok(false),
        }
    }

    fn batches(&self, from: LeafIndex, max_bytes: usize) -> Result<Vec<Arc<Batch>>, StateError> {
        let found = self.shared.lock().kept.from(from, max_bytes);
        found.iter().map(Kept::load).collect()
    }

    fn lease(&self, holder: &str) -> Result<Epoch, StateError> {
        let mut taken = Epoch(0);
        self.change(|state| {
            let change = state.check_lease(holder)?;
            if let Change::Lease { epoch, .. } = &change {
                taken = Epoch(*epoch);
            }
            Ok(Some(change))
        })?;
        Ok(taken)
    }

    fn record_checkpoint(
        &self,
        epoch: Epoch,
        previous: Option<TreeSize>,
        checkpoint: SizedNote,
    ) -> Result<(), StateError> {
        self.change(|state| state.check_checkpoint(epoch, previous, checkpoint).map(Some))
    }

    fn record_public(&self, epoch: Epoch, checkpoint: SizedNote) -> Result<(), StateError> {
        self.ride(|state| state.check_public(epoch, checkpoint))?;
        self.published.send_replace(self.shared.lock().state.public.clone());
        Ok(())
    }

    fn fill(&self, epoch: Epoch, position: LeafIndex, bytes: Bytes) -> Result<(), StateError> {
        self.change(|state| state.check_fill(epoch, position, bytes).map(Some))
    }

    fn filled(&self, position: LeafIndex) -> Result<Option<Bytes>, StateError> {
        Ok(self.shared.lock().state.fills.get(&position.0).cloned())
    }

    fn advance(&self, epoch: Epoch, watermarks: Watermarks) -> Result<(), StateError> {
        self.ride(|state| state.check_advance(epoch, watermarks))
    }

    fn adopt(&self, epoch: Epoch, checkpoint: SizedNote) -> Result<(), StateError> {
        self.change(|state| state.check_adopt(epoch, checkpoint).map(Some))
    }

    fn published(&self) -> watch::Receiver<Option<SizedNote>> {
        self.published.subscribe()
    }

    fn close(&self) -> Result<(), StateError> {
        let mut writer = self.writer.lock();
        {
            let mut shared = self.shared.lock();
            if shared.closed && shared.in_doubt.is_none() {
                return Ok(());
            }
            shared.check_writable()?;
            // From here on nothing rides along any more.
            shared.closed = true;
        }
        // Two syncs: a goodbye whose own sync failed may read back, so that all it vouches for must be durable before.
        let rides = self.shared.lock().riding.changes().next().is_some();
        let flushed = if rides { self.write(&mut writer, &Content::Nothing) } else { Ok(()) };
        let said = flushed.and_then(|()| self.write(&mut writer, &Content::Close));
        if let Err(WriteError::Refused(_)) = &said {
            self.shared.lock().closed = false;
        }
        Ok(said?)
    }
}

impl From<WriteError> for StateError {
    fn from(error: WriteError) -> StateError {
        match error {
            WriteError::Refused(source) => StateError::Refused(source),
            WriteError::InDoubt(source) => StateError::Durability(source),
        }
    }
}

fn outcome(error: WriteError) -> CommitOutcome {
    match error {
        WriteError::Refused(source) => CommitOutcome::Refused(source),
        WriteError::InDoubt(source) => CommitOutcome::Unknown(source),
    }
}

/// A write that found the disk full may have left a record that can be read back, and the next one may not fit there:
/// what was refused must not come back, so it is wiped out, or its outcome cannot be learned.
fn write_failed(segment: &Segment, offset: u64, error: io::Error) -> WriteError {
    let wipe = || segment.file.write_all_at(&[0; PAGE], offset).and_then(|()| segment.file.sync());
    if is_full(&error) && wipe().is_ok() { WriteError::Refused(error) } else { WriteError::InDoubt(error) }
}

/// What a failed preparation comes to: nothing was acknowledged, but a disk that fails must not be gone on with.
fn trouble(error: io::Error) -> StateError {
    if is_full(&error) { StateError::Refused(error) } else { StateError::Durability(error) }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn corrupt(path: &Path, offset: u64, why: &str) -> StateError {
    StateError::Corrupt { place: format!("{} at byte {offset}", path.display()), why: why.to_owned() }
}
