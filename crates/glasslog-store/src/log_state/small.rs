//! The state machine of one log: everything that [`LogState`](super::LogState) knows except the batches themselves.
//!
//! Every implementation that keeps its state in this process shares it. A call is *checked* against the state, which
//! gives the [`Change`] to be made; the change is made durable; then it is *applied*. Recovery applies the changes
//! that it reads, by the same function.

use std::{collections::BTreeMap, io};

use bytes::Bytes;
use glasslog_core::{LeafIndex, MAX_ENTRY_BYTES, TreeSize};

use super::{Batch, CommitOutcome, Epoch, SizedNote, Slot, StateError, StateView, Watermarks};

/// The largest note that is kept: far above any checkpoint with all its cosignatures.
pub(super) const MAX_NOTE_BYTES: usize = 1 << 20;
/// The most slots in one batch.
pub(super) const MAX_BATCH_SLOTS: usize = 1 << 20;

/// The log that the state belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) origin: String,
    pub(super) vkeys: Vec<String>,
}

/// What the state is, apart from the batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SmallState {
    pub(super) binding: Option<Binding>,
    pub(super) epoch: u64,
    pub(super) holder: String,
    pub(super) head: TreeSize,
    pub(super) recorded: Option<SizedNote>,
    pub(super) public: Option<SizedNote>,
    pub(super) watermarks: Watermarks,
    pub(super) unfilled: Option<LeafIndex>,
    pub(super) fills: BTreeMap<u64, Bytes>,
}

/// One step of the state, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Bind(Binding),
    Lease { epoch: u64, holder: String },
    Checkpoint(SizedNote),
    Public(SizedNote),
    Fill { position: LeafIndex, bytes: Bytes },
    Watermarks(Watermarks),
    Adopt(SizedNote),
}

impl SmallState {
    /// The change that binds the state to this log; `None` if it is bound to it already.
    pub(super) fn check_bind(&self, origin: &str, vkeys: &[String]) -> Result<Option<Change>, StateError> {
        let asked = Binding { origin: origin.to_owned(), vkeys: vkeys.to_vec() };
        let Some(recorded) = &self.binding else { return Ok(Some(Change::Bind(asked))) };
        let shares_key = recorded.vkeys.is_empty() || recorded.vkeys.iter().any(|key| vkeys.contains(key));
        if recorded.origin != origin || !shares_key {
            return Err(StateError::OtherLog { recorded: describe(recorded), asked: describe(&asked) });
        }
        // A key that was rotated in beside a recorded one is recorded from now on.
        Ok((*recorded != asked).then_some(Change::Bind(asked)))
    }

    /// Checks a batch against the head and the anchor rules (FORMATS §2).
    pub(super) fn check_batch(&self, batch: &Batch, cut: Option<Epoch>) -> Result<(), CommitOutcome> {
        if cut.is_some_and(|epoch| epoch.0 != self.epoch) {
            return Err(CommitOutcome::Fenced);
        }
        if batch.first_index != self.head.next_index() {
            return Err(refused("the batch does not begin at the head"));
        }
        if batch.slots.is_empty() || batch.slots.len() > MAX_BATCH_SLOTS {
            return Err(refused("a batch has 1 to 1,048,576 slots"));
        }
        if self.head.0.checked_add(batch.slots.len() as u64).is_none() {
            return Err(refused("the log is full"));
        }
        let anchors = batch.slots.iter().filter(|slot| matches!(slot, Slot::Anchor)).count();
        if anchors > 0 && cut.is_none() {
            return Err(refused("an anchor slot needs the lease"));
        }
        if anchors + usize::from(self.unfilled.is_some()) > 1 && anchors > 0 {
            return Err(refused("at most one anchor slot may be unfilled"));
        }
        let sized = |slot: &Slot| match slot {
            Slot::Entry { bytes, .. } => (1..=MAX_ENTRY_BYTES).contains(&bytes.len()),
            Slot::Anchor => true,
        };
        if !batch.slots.iter().all(sized) {
            return Err(refused("an entry has 1 to 65,535 bytes"));
        }
        Ok(())
    }

    /// The change that takes the lease.
    pub(super) fn check_lease(&self, holder: &str) -> Result<Change, StateError> {
        let epoch = self.epoch.checked_add(1).ok_or_else(|| invalid("no lease numbers are left"))?;
        Ok(Change::Lease { epoch, holder: holder.chars().take(256).collect() })
    }

    /// The change that records a signed checkpoint.
    pub(super) fn check_checkpoint(
        &self,
        epoch: Epoch,
        previous: Option<TreeSize>,
        checkpoint: SizedNote,
    ) -> Result<Change, StateError> {
        self.check_epoch(epoch)?;
        let recorded = self.recorded.as_ref().map(|note| note.size);
        if previous != recorded {
            return Err(StateError::Fenced);
        }
        if recorded.is_some_and(|size| checkpoint.size < size) {
            return Err(invalid("a checkpoint smaller than the recorded one"));
        }
        if checkpoint.size > self.head {
            return Err(invalid("a checkpoint beyond the head"));
        }
        if self.unfilled.is_some_and(|position| checkpoint.size.contains(position)) {
            return Err(invalid("a checkpoint over an anchor slot that is not filled"));
        }
        check_note(&checkpoint)?;
        Ok(Change::Checkpoint(checkpoint))
    }

    /// The change that notes a checkpoint as public; `None` if a larger one is noted already.
    pub(super) fn check_public(
        &self,
        epoch: Epoch,
        checkpoint: SizedNote,
    ) -> Result<Option<Change>, StateError> {
        self.check_epoch(epoch)?;
        check_note(&checkpoint)?;
        let behind = self.public.as_ref().is_some_and(|public| checkpoint.size < public.size);
        Ok((!behind).then_some(Change::Public(checkpoint)))
    }

    /// The change that fixes the bytes of the unfilled anchor slot.
    pub(super) fn check_fill(
        &self,
        epoch: Epoch,
        position: LeafIndex,
        bytes: Bytes,
    ) -> Result<Change, StateError> {
        self.check_epoch(epoch)?;
        if self.unfilled != Some(position) {
            return Err(StateError::Fenced);
        }
        if !(1..=MAX_ENTRY_BYTES).contains(&bytes.len()) {
            return Err(invalid("an anchor has 1 to 65,535 bytes"));
        }
        Ok(Change::Fill { position, bytes })
    }

    /// The change that moves the watermarks; `None` if nothing moves.
    pub(super) fn check_advance(&self, epoch: Epoch, to: Watermarks) -> Result<Option<Change>, StateError> {
        self.check_epoch(epoch)?;
        let moved = Watermarks {
            objects_durable: self.watermarks.objects_durable.max(to.objects_durable),
            trim_below: self.watermarks.trim_below.max(to.trim_below),
        };
        if moved.objects_durable > self.head || moved.trim_below > self.head {
            return Err(invalid("a watermark beyond the head"));
        }
        if self.unfilled.is_some_and(|position| moved.trim_below.contains(position)) {
            return Err(invalid("a batch whose anchor slot is not filled cannot leave"));
        }
        Ok((moved != self.watermarks).then_some(Change::Watermarks(moved)))
    }

    /// The change that lets state that is behind go on from `checkpoint` (`glasslog recover`).
    pub(super) fn check_adopt(&self, epoch: Epoch, checkpoint: SizedNote) -> Result<Change, StateError> {
        self.check_epoch(epoch)?;
        if self.head > checkpoint.size {
            return Err(StateError::Fenced);
        }
        check_note(&checkpoint)?;
        Ok(Change::Adopt(checkpoint))
    }

    /// Makes a change that was checked, or read back.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Bind(binding) => self.binding = Some(binding),
            Change::Lease { epoch, holder } => (self.epoch, self.holder) = (epoch, holder),
            Change::Checkpoint(note) => self.recorded = Some(note),
            Change::Public(note) => self.public = Some(note),
            Change::Fill { position, bytes } => {
                self.unfilled = None;
                self.fills.insert(position.0, bytes);
            }
            Change::Watermarks(watermarks) => self.watermarks = watermarks,
            Change::Adopt(note) => {
                self.head = note.size;
                self.unfilled = None;
                self.watermarks = Watermarks { objects_durable: note.size, trim_below: note.size };
                self.recorded = Some(note);
            }
        }
    }

    /// Appends a batch that was checked, or read back.
    pub(super) fn apply_batch(&mut self, batch: &Batch) {
        if let Some(offset) = batch.slots.iter().position(|slot| matches!(slot, Slot::Anchor)) {
            self.unfilled = Some(LeafIndex(batch.first_index.0 + offset as u64));
        }
        self.head = batch.end();
    }

    /// Forgets the bytes of anchors whose batches have left.
    pub(super) fn forget_fills_below(&mut self, first_kept: LeafIndex) {
        self.fills = self.fills.split_off(&first_kept.0);
    }

    /// What a caller sees of it.
    pub(super) fn view(&self, unclean: bool) -> StateView {
        StateView {
            head: self.head,
            recorded: self.recorded.clone(),
            public: self.public.clone(),
            watermarks: self.watermarks,
            unfilled_anchor: self.unfilled,
            unclean,
        }
    }

    fn check_epoch(&self, epoch: Epoch) -> Result<(), StateError> {
        if epoch.0 == self.epoch && epoch.0 > 0 { Ok(()) } else { Err(StateError::Fenced) }
    }
}

fn check_note(checkpoint: &SizedNote) -> Result<(), StateError> {
    if checkpoint.note.len() > MAX_NOTE_BYTES { Err(invalid("a note larger than 1 MiB")) } else { Ok(()) }
}

fn describe(binding: &Binding) -> String {
    format!("{} ({})", binding.origin, binding.vkeys.join(", "))
}

fn refused(why: &'static str) -> CommitOutcome {
    CommitOutcome::Refused(io::Error::new(io::ErrorKind::InvalidInput, why))
}

fn invalid(why: &'static str) -> StateError {
    StateError::Refused(io::Error::new(io::ErrorKind::InvalidInput, why))
}
