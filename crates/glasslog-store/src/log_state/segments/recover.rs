//! From segment files to a state that can be gone on from: start-up applies what every commit applied.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::Arc,
};

use glasslog_core::LeafIndex;

use super::{
    StateError, corrupt,
    file::{Blocks, Segment},
    kept::{Kept, KeptBatches},
    record::{Encoder, Header, Item},
    trouble,
};
use crate::{disk::Disk, log_state::Batch, log_state::small::SmallState};

/// What the segments of a directory hold.
pub(super) struct Recovered {
    pub(super) state: SmallState,
    pub(super) kept: KeptBatches,
    /// Whether the last process said goodbye, or there was none.
    pub(super) clean: bool,
    last: Option<Last>,
    highest_number: u64,
    next_sequence: u64,
}

/// The segment that was written last.
struct Last {
    segment: Arc<Segment>,
    /// Where its valid records end.
    tail: u64,
    /// What it replaces itself, see [`Item::Snapshot`].
    replaces: u64,
}

/// Where the writer begins.
pub(super) struct Begin {
    pub(super) segment: Arc<Segment>,
    pub(super) offset: u64,
    pub(super) next_sequence: u64,
}

/// Reads every segment and checks that together they are one history without a gap.
pub(super) fn replay(disk: &dyn Disk, dir: &Path, cache_bytes: usize) -> Result<Recovered, StateError> {
    let mut segments = open_segments(disk, dir)?;
    let mut recovered = Recovered {
        state: SmallState::default(),
        kept: KeptBatches::new(cache_bytes),
        clean: true,
        last: None,
        highest_number: segments.last_key_value().map_or(0, |(number, _)| *number),
        next_sequence: 1,
    };
    set_aside_unused_and_replaced(&mut segments)?;
    for segment in segments.into_values() {
        recovered.apply_segment(Arc::new(segment))?;
    }
    recovered.finish(dir)?;
    Ok(recovered)
}

impl Recovered {
    /// Makes the segment of this start, and removes those that hold nothing that is needed.
    ///
    /// The new segment begins with the state. After an unclean stop it also holds, in a file of its own, whatever the
    /// last segment held that is still needed: a failed fsync may have left there what reads back and is not on the
    /// disk (research/storage.md §4). Nothing is acknowledged before this is durable.
    pub(super) fn begin(&mut self, disk: &dyn Disk, dir: &Path, capacity: u64) -> Result<Begin, StateError> {
        let (replaces, to_copy) = match &self.last {
            Some(last) if !self.clean => {
                let number = last.segment.number;
                let replaces = if last.replaces == 0 { number } else { last.replaces };
                (replaces, self.kept.split_off_segment(number))
            }
            _ => (0, Vec::new()),
        };
        let batches: Vec<Arc<Batch>> = to_copy.iter().map(Kept::load).collect::<Result<_, _>>()?;
        let mut encoder = Encoder::default();
        encoder.begin();
        encoder.snapshot(&self.state, replaces);
        let room = encoder.padded_len() + batches.iter().map(|batch| Encoder::most_for(batch)).sum::<usize>();
        let mut ends = vec![Segment::START];
        let mut next_sequence = self.next_sequence;
        let mut write = |segment: &Segment, encoder: &mut Encoder| {
            let offset = ends.last().copied().unwrap_or(Segment::START);
            let record = encoder.finish(segment.seed, next_sequence);
            segment.file.write_all_at(record, offset)?;
            ends.push(offset + record.len() as u64);
            next_sequence += 1;
            io::Result::Ok(())
        };
        let capacity = capacity.max(Segment::START + room as u64);
        let number = self.highest_number + 1;
        let made = Segment::create(disk, dir, number, capacity, Blocks::Reserved, |segment| {
            write(segment, &mut encoder)?;
            batches.iter().try_for_each(|batch| {
                encoder.begin();
                encoder.copied(batch);
                write(segment, &mut encoder)
            })
        });
        let segment = Arc::new(made.map_err(trouble)?);
        for (batch, offset) in batches.into_iter().zip(ends.iter().skip(1)) {
            self.kept.push(Kept::new(batch, Arc::clone(&segment), *offset));
        }
        self.last = None;
        self.remove_unneeded(disk, dir, number);
        let offset = ends.last().copied().unwrap_or(Segment::START);
        Ok(Begin { segment, offset, next_sequence })
    }

    fn apply_segment(&mut self, segment: Arc<Segment>) -> Result<(), StateError> {
        let (mut offset, mut replaces) = (Segment::START, 0);
        while let Some((header, payload, next)) = segment.read(offset).map_err(StateError::Io)? {
            let mut items = segment.items(offset, payload)?;
            if offset == Segment::START {
                let Some(Item::Snapshot { state, replaces: from }) = items.first() else {
                    return Err(corrupt(&segment.path, offset, "the segment does not begin with the state"));
                };
                self.follow(&segment, state, *from, &header)?;
                replaces = *from;
                items.remove(0);
            } else if header.sequence != self.next_sequence {
                return Err(corrupt(&segment.path, offset, "a record is out of order"));
            }
            for item in items {
                self.apply(item, &segment, offset)?;
            }
            // A goodbye is not counted: the next start may have read one that was never on the disk.
            self.next_sequence = header.sequence.saturating_add(u64::from(!self.clean));
            offset = next;
        }
        if offset == Segment::START {
            return Err(corrupt(
                &segment.path,
                offset,
                "the state at the beginning of the segment is damaged",
            ));
        }
        if segment.has_record_from(offset, self.next_sequence).map_err(StateError::Io)? {
            return Err(corrupt(&segment.path, offset, "a damaged record is followed by a valid one"));
        }
        self.last = Some(Last { segment, tail: offset, replaces });
        Ok(())
    }

    /// Goes on from the former segment to `segment`, which begins with `state`: the same as was reached, unless that
    /// was in a segment that is gone or replaced.
    fn follow(
        &mut self,
        segment: &Segment,
        state: &SmallState,
        replaces: u64,
        header: &Header,
    ) -> Result<(), StateError> {
        if let Some(last) = &self.last
            && replaces == 0
            && last.segment.number + 1 == segment.number
            && (comparable(state) != comparable(&self.state) || header.sequence != self.next_sequence)
        {
            let why = "what follows in the next segment is missing here: the end of the file is damaged";
            return Err(corrupt(&last.segment.path, last.tail, why));
        }
        self.state = state.clone();
        // What had left by then may have outlived the record that said so.
        self.kept.trim(self.state.watermarks.trim_below);
        // The segment was begun by a start or by a roll: either way its process has not said goodbye.
        self.clean = false;
        Ok(())
    }

    fn apply(&mut self, item: Item, segment: &Arc<Segment>, offset: u64) -> Result<(), StateError> {
        self.clean = matches!(item, Item::Close);
        match item {
            Item::Change(change) => self.state.apply(change),
            Item::Batch(batch) if batch.first_index != self.state.head.next_index() => {
                return Err(corrupt(&segment.path, offset, "a batch does not begin at the head"));
            }
            Item::Batch(batch) => {
                self.state.apply_batch(&batch);
                self.kept.push(Kept::new(Arc::new(batch), Arc::clone(segment), offset));
            }
            Item::Copied(batch) => {
                self.kept.push(Kept::new(Arc::new(batch), Arc::clone(segment), offset));
            }
            Item::Close => {}
            Item::Snapshot { .. } => {
                return Err(corrupt(&segment.path, offset, "the state stands in the middle of a segment"));
            }
        }
        // As the writer does: what has left must not fill the memory of a start.
        self.kept.trim(self.state.watermarks.trim_below);
        Ok(())
    }

    fn finish(&mut self, dir: &Path) -> Result<(), StateError> {
        if let Some((from, to)) = self.kept.gap(self.state.watermarks.trim_below, self.state.head) {
            let place = format!("{}", dir.display());
            let why = format!("the entries [{from}, {to}) are missing: a segment was removed or replaced");
            return Err(StateError::Corrupt { place, why });
        }
        let first_kept = self.kept.first_index().unwrap_or(self.state.head.next_index());
        self.state.forget_fills_below(first_kept);
        Ok(())
    }

    /// Best effort: what stays is looked at again by the next start.
    fn remove_unneeded(&self, disk: &dyn Disk, dir: &Path, current: u64) {
        let needed: BTreeSet<u64> = self.kept.segments().iter().map(|segment| segment.number).collect();
        for name in disk.list(dir).unwrap_or_default() {
            let old = Segment::number_of(&name).is_some_and(|it| it != current && !needed.contains(&it));
            if old && let Err(error) = disk.remove(&dir.join(&name)) {
                tracing::warn!(name, %error, "an old segment of the log state cannot be removed");
            }
        }
    }
}

fn open_segments(disk: &dyn Disk, dir: &Path) -> Result<BTreeMap<u64, Segment>, StateError> {
    let names = disk.list(dir).map_err(StateError::Io)?;
    for leftover in names.iter().filter(|name| Segment::is_leftover(name)) {
        disk.remove(&dir.join(leftover)).map_err(StateError::Io)?;
    }
    let numbers = names.iter().filter_map(|name| Segment::number_of(name));
    numbers.map(|number| Ok((number, Segment::open(disk, dir, number)?))).collect()
}

/// Leaves out segments that were made ahead and never acknowledged into, and those that a later one replaces.
fn set_aside_unused_and_replaced(segments: &mut BTreeMap<u64, Segment>) -> Result<(), StateError> {
    let mut unused = Vec::new();
    for (number, segment) in &*segments {
        let empty = segment.read(Segment::START).map_err(StateError::Io)?.is_none();
        if empty && !segment.has_record_from(Segment::START, 0).map_err(StateError::Io)? {
            unused.push(*number);
        }
    }
    for number in unused {
        segments.remove(&number);
    }
    let mut replaced_from = u64::MAX;
    let mut replaced = Vec::new();
    for (number, segment) in segments.iter().rev() {
        if *number >= replaced_from {
            replaced.push(*number);
            continue;
        }
        if let Some((_, payload, _)) = segment.read(Segment::START).map_err(StateError::Io)?
            && let Some(Item::Snapshot { replaces, .. }) = segment.items(Segment::START, payload)?.first()
            && *replaces > 0
        {
            replaced_from = *replaces;
        }
    }
    for number in replaced {
        segments.remove(&number);
    }
    Ok(())
}

/// The state without what depends on when old segments were removed.
fn comparable(state: &SmallState) -> SmallState {
    let mut state = state.clone();
    state.forget_fills_below(LeafIndex(state.watermarks.trim_below.0));
    state
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use bytes::Bytes;
    use glasslog_core::{TreeSize, hash::leaf_hash, personality::Identity};

    use super::*;
    use crate::{
        LogState,
        disk::sim::{Fault, SimDisk},
        log_state::{BatchId, CommitOutcome, SegmentLogState, SegmentOptions, Slot},
    };

    fn dir() -> PathBuf {
        PathBuf::from("/log/state")
    }

    fn open(disk: &SimDisk) -> SegmentLogState {
        let options = SegmentOptions { segment_bytes: 64 << 10, cache_bytes: 1 << 20, background: false };
        SegmentLogState::open(Arc::new(disk.clone()), &dir(), options).unwrap()
    }

    fn commit(state: &SegmentLogState, index: u64) -> CommitOutcome {
        let bytes = Bytes::from(vec![b'e'; 500]);
        let leaf_hash = leaf_hash(&bytes);
        let slots = vec![Slot::Entry { bytes, leaf_hash, identity: Identity::from_hash(&leaf_hash) }];
        let batch = Batch { id: BatchId([1; 16]), first_index: LeafIndex(index), slots };
        LogState::turn(state, TreeSize(index)).unwrap().commit(Arc::new(batch), None)
    }

    /// The mutation that shows what `begin` is for: a start that believes what reads back after a failed fsync loses
    /// it, and with it everything acknowledged later. The same images satisfy one that does not.
    #[test]
    fn believing_what_reads_back_after_a_failed_sync_loses_acknowledged_entries() {
        let disk = SimDisk::new(1);
        let state = open(&disk);
        assert!(matches!(commit(&state, 0), CommitOutcome::Committed));
        disk.fail_at(disk.operations() + 1, Fault::SyncError);
        assert!(matches!(commit(&state, 1), CommitOutcome::Unknown(_)));
        drop(state);

        for believes in [true, false] {
            let disk = disk.killed();
            let mut recovered = replay(&disk, &dir(), 1 << 20).unwrap();
            assert_eq!(recovered.state.head, TreeSize(2), "the failed write reads back");
            recovered.clean |= believes;
            recovered.begin(&disk, &dir(), 64 << 10).unwrap();
            let after_power_loss = disk.images(1).next().unwrap();
            let found = replay(&after_power_loss, &dir(), 1 << 20).map(|found| found.state.head);
            assert_eq!(found.is_ok_and(|head| head == TreeSize(2)), !believes);
        }
    }
}
