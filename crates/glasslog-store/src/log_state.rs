//! The private side of a log: which bytes have which index, and what was signed.

mod memory;
mod segments;
mod small;

pub use memory::MemoryLogState;
pub use segments::{SegmentLogState, SegmentOptions};

use std::sync::Arc;

use bytes::Bytes;
use glasslog_core::{Hash, LeafIndex, TreeSize, personality::Identity};
use tokio::sync::watch;

/// Names one commit for ever, so that its outcome can be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchId(pub [u8; 16]);

/// The number of a lease; a larger one fences every smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// What stands at one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Submitted bytes.
    Entry {
        /// The bytes, 1 to 65,535 of them.
        bytes: Bytes,
        /// `SHA-256(0x00 ‖ bytes)`.
        leaf_hash: Hash,
        /// What duplicates of it are counted by.
        identity: Identity,
    },
    /// A place kept for an anchor (FORMATS §2); its bytes are fixed by [`LogState::fill`].
    Anchor,
}

/// Entries that were committed together. Their indices are `first_index`, `first_index + 1`, …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The name of the commit.
    pub id: BatchId,
    /// The index of the first slot: the head at the time of the commit.
    pub first_index: LeafIndex,
    /// At least one slot.
    pub slots: Vec<Slot>,
}

impl Batch {
    /// The head after this batch.
    #[must_use]
    pub fn end(&self) -> TreeSize {
        TreeSize(self.first_index.0 + self.slots.len() as u64)
    }

    /// The slots with their indices, ascending.
    pub fn indexed(&self) -> impl Iterator<Item = (LeafIndex, &Slot)> {
        (self.first_index.0..).map(LeafIndex).zip(&self.slots)
    }

    /// How many bytes its entries have together.
    #[must_use]
    pub fn entry_bytes(&self) -> usize {
        let bytes = |slot: &Slot| if let Slot::Entry { bytes, .. } = slot { bytes.len() } else { 0 };
        self.slots.iter().map(bytes).sum()
    }
}

/// How a commit ended.
#[derive(Debug)]
pub enum CommitOutcome {
    /// Durable: the indices may be acknowledged.
    Committed,
    /// Nothing was committed, and nothing is in doubt (disk full, a second unfilled anchor slot): push back.
    Refused(std::io::Error),
    /// The epoch given is no longer the current one. Nothing was committed.
    Fenced,
    /// It cannot be learned here: ask [`LogState::was_committed`], or stop.
    Unknown(std::io::Error),
}

/// How far derived things are safe; each only ever grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// Every object that a tree of this size implies has passed a barrier that returned success.
    pub objects_durable: TreeSize,
    /// Batches that end at or below this may leave the state (invariant 11).
    pub trim_below: TreeSize,
}

/// A signed checkpoint and the size it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizedNote {
    /// The tree size in the note.
    pub size: TreeSize,
    /// The whole signed note.
    pub note: Bytes,
}

/// Everything small that a process needs to go on from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateView {
    /// How many indices have been given out.
    pub head: TreeSize,
    /// The largest recorded checkpoint.
    pub recorded: Option<SizedNote>,
    /// The checkpoint that was last noted as public.
    pub public: Option<SizedNote>,
    /// See [`Watermarks`].
    pub watermarks: Watermarks,
    /// An anchor slot whose bytes are not fixed yet.
    pub unfilled_anchor: Option<LeafIndex>,
    /// Whether the last process stopped without saying goodbye ([`LogState::close`]).
    pub unclean: bool,
}

/// Why the state could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The epoch given is not the current one, or the compare-and-set did not hold: this process is stale.
    #[error("this process no longer holds the lease on the log: another one has taken over")]
    Fenced,
    /// Nothing was changed and nothing is in doubt, for example because the disk is full.
    #[error("the log state refused the change, nothing was written")]
    Refused(#[source] std::io::Error),
    /// It cannot be learned whether the change is durable. Fatal for a writer.
    #[error("cannot make a change of the log state durable")]
    Durability(#[source] std::io::Error),
    /// What is stored contradicts itself or was written by a newer version.
    #[error("the log state at {place} is not usable: {why}")]
    Corrupt {
        /// File and byte offset, or table.
        place: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// The state belongs to another log.
    #[error(
        "this log state belongs to {recorded}, not to {asked}; choose another directory, or the origin and key that it records"
    )]
    OtherLog {
        /// The origin and keys that are recorded.
        recorded: String,
        /// The origin and keys that were asked for.
        asked: String,
    },
    /// Reading failed, or the place cannot be made.
    #[error("cannot access the log state")]
    Io(#[source] std::io::Error),
}

/// The head lock, taken: between `turn` and `commit` no other process appends.
///
/// Dropping it without a commit changes nothing.
pub trait Turn {
    /// The head: the index that the first slot of the batch must have.
    fn head(&self) -> TreeSize;

    /// The entries in `[known, head)`, whoever appended them: identity, index and leaf hash, ascending by index. Empty
    /// for the only writer, who knows them all. Of batches that have left nothing can be told: `known` is at least
    /// `trim_below`, up to which the durable duplicates table has them.
    fn appended(&self) -> &[(Identity, LeafIndex, Hash)];

    /// Commits `batch`, durable when `Committed` is returned. `cut` is needed for a batch with an anchor slot.
    fn commit(self: Box<Self>, batch: Arc<Batch>, cut: Option<Epoch>) -> CommitOutcome;
}

/// What makes an index durable and keeps a log single-headed.
///
/// **Atomic**: each call happens as a whole or not at all, also across a crash.
/// **Durable**: what returned `Ok` or `Committed` survives `kill -9` and power loss; what returned `Unknown` or
/// `Durability` may or may not have happened, and every later writing call of this process fails. What returned
/// `Refused` has not happened and never will.
/// **A second process**: embedded state is locked by the directory's lock file. A shared one (PostgreSQL) serialises
/// turns by the head lock and fences every former lease holder by its epoch.
/// **Costs**: `commit` is one fsync (or one round trip and the server's fsync); `record_checkpoint`, `fill` and
/// `lease` one each; `advance` and `record_public` ride along with the next one that syncs, and losing them is harmless.
/// All calls block.
pub trait LogState: Send + Sync + 'static {
    /// Binds fresh state to this log, or checks that it is the log it was bound to.
    ///
    /// # Errors
    ///
    /// [`StateError::OtherLog`] if another origin, or none of the recorded vkeys, was given.
    fn bind(&self, origin: &str, vkeys: &[String]) -> Result<(), StateError>;

    /// Everything small, as of now.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`].
    fn view(&self) -> Result<StateView, StateError>;

    /// Takes the head lock. `known` is the head up to which the caller knows all identities.
    ///
    /// # Errors
    ///
    /// [`StateError::Durability`] after a failed commit, [`StateError::Io`].
    fn turn<'a>(&'a self, known: TreeSize) -> Result<Box<dyn Turn + 'a>, StateError>;

    /// Whether the batch was committed, asked after [`CommitOutcome::Unknown`] by the process that got it. Takes the
    /// head lock first (so not while holding a turn), and the answer is final. Only batches that are kept are known.
    ///
    /// # Errors
    ///
    /// [`StateError::Durability`] if even this cannot be learned.
    fn was_committed(&self, id: BatchId) -> Result<bool, StateError>;

    /// Batches in order, beginning with the one that holds `from` (or, if it was trimmed, with the first kept one
    /// above), until their entries exceed `max_bytes`; at least one if there is any.
    ///
    /// Recent batches come from memory: the disk is read only in recovery and by whoever has fallen behind.
    ///
    /// # Errors
    ///
    /// [`StateError::Corrupt`], [`StateError::Io`].
    fn batches(&self, from: LeafIndex, max_bytes: usize) -> Result<Vec<Arc<Batch>>, StateError>;

    /// Takes the lease: fences every former holder.
    ///
    /// # Errors
    ///
    /// [`StateError::Refused`], [`StateError::Durability`].
    fn lease(&self, holder: &str) -> Result<Epoch, StateError>;

    /// Records a signed checkpoint. `previous` is the size of the one recorded last (compare-and-set); `checkpoint`
    /// is of at least that size.
    ///
    /// # Errors
    ///
    /// [`StateError::Fenced`], [`StateError::Refused`], [`StateError::Durability`].
    fn record_checkpoint(
        &self,
        epoch: Epoch,
        previous: Option<TreeSize>,
        checkpoint: SizedNote,
    ) -> Result<(), StateError>;

    /// Notes that `checkpoint` is public, and tells everyone who watches [`LogState::published`].
    ///
    /// # Errors
    ///
    /// [`StateError::Fenced`].
    fn record_public(&self, epoch: Epoch, checkpoint: SizedNote) -> Result<(), StateError>;

    /// Fixes the bytes of the anchor slot at `position` for ever (compare-and-set on *unfilled*).
    ///
    /// # Errors
    ///
    /// [`StateError::Fenced`] also if the slot is filled already.
    fn fill(&self, epoch: Epoch, position: LeafIndex, bytes: Bytes) -> Result<(), StateError>;

    /// The bytes fixed for the anchor slot at `position`, while its batch is kept.
    ///
    /// # Errors
    ///
    /// [`StateError::Io`].
    fn filled(&self, position: LeafIndex) -> Result<Option<Bytes>, StateError>;

    /// Moves watermarks forward; smaller values are ignored.
    ///
    /// # Errors
    ///
    /// [`StateError::Fenced`].
    fn advance(&self, epoch: Epoch, watermarks: Watermarks) -> Result<(), StateError>;

    /// Makes a state that is behind (a restored backup, or none at all) go on from `checkpoint`, which the caller
    /// has verified against intact objects: the head moves up to its size, it becomes the recorded checkpoint, and
    /// every batch is dropped. Only `glasslog recover` calls this. Durable on return.
    ///
    /// # Errors
    ///
    /// [`StateError::Fenced`] also if the head is beyond the checkpoint's size already; [`StateError::Refused`],
    /// [`StateError::Durability`].
    fn adopt(&self, epoch: Epoch, checkpoint: SizedNote) -> Result<(), StateError>;

    /// The newest public checkpoint, watched.
    fn published(&self) -> watch::Receiver<Option<SizedNote>>;

    /// Says goodbye: everything so far, also what rode along, is durable, and the next start may believe what it reads.
    /// Every later writing call is refused. A process that closes must have made its objects durable before.
    ///
    /// # Errors
    ///
    /// [`StateError::Refused`] (the disk is full: the state is as open as before), [`StateError::Durability`].
    fn close(&self) -> Result<(), StateError>;
}

/// What [`Turn::appended`] hands over: the entries of `batches` (ascending) at or above `known`.
fn identities_since<'a>(
    known: TreeSize,
    batches: impl DoubleEndedIterator<Item = &'a Batch>,
) -> Vec<(Identity, LeafIndex, Hash)> {
    let mut newer: Vec<&Batch> = batches.rev().take_while(|batch| batch.end() > known).collect();
    newer.reverse();
    let entries = newer.into_iter().flat_map(|batch| (batch.first_index.0..).zip(&batch.slots));
    entries
        .filter_map(|(index, slot)| match slot {
            Slot::Entry { leaf_hash, identity, .. } if index >= known.0 => {
                Some((*identity, LeafIndex(index), *leaf_hash))
            }
            _ => None,
        })
        .collect()
}
