//! What the log state has refused does not come back, though a part of it was written.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test binary has no public interface")]

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use glasslog_core::{LeafIndex, TreeSize, hash::leaf_hash, personality::Identity};
use glasslog_store::{
    LogState,
    disk::sim::{Fault, SimDisk},
    log_state::{Batch, BatchId, CommitOutcome, SegmentLogState, SegmentOptions, Slot},
};

fn open(disk: &SimDisk) -> SegmentLogState {
    let options = SegmentOptions { segment_bytes: 64 << 10, cache_bytes: 1 << 20, background: false };
    SegmentLogState::open(Arc::new(disk.clone()), Path::new("/log/state"), options).unwrap()
}

fn commit(state: &SegmentLogState, index: u64, bytes: usize) -> CommitOutcome {
    let bytes = Bytes::from(vec![b'e'; bytes]);
    let leaf_hash = leaf_hash(&bytes);
    let slots = vec![Slot::Entry { bytes, leaf_hash, identity: Identity::from_hash(&leaf_hash) }];
    let id = BatchId(u128::from(index).to_be_bytes());
    state
        .turn(TreeSize(index))
        .unwrap()
        .commit(Arc::new(Batch { id, first_index: LeafIndex(index), slots }), None)
}

/// Half of a small record is all that is not padding: it reads back as if it had been committed. The next record is too
/// large for the segment and does not write over it.
#[test]
fn a_refused_batch_does_not_come_back_when_the_next_goes_elsewhere() {
    let disk = SimDisk::new(1);
    let state = open(&disk);
    disk.fail_at(disk.operations() + 1, Fault::Full);
    assert!(matches!(commit(&state, 0, 100), CommitOutcome::Refused(_)));
    assert_eq!(open(&disk.killed()).view().unwrap().head, TreeSize(0), "refused is refused");
    assert!(matches!(commit(&state, 0, 60_000), CommitOutcome::Committed));
    assert!(matches!(commit(&state, 1, 100), CommitOutcome::Committed));
    for found in disk.images(4) {
        let state = open(&found);
        assert_eq!(state.view().unwrap().head, TreeSize(2));
        let sizes = state.batches(LeafIndex(0), usize::MAX).unwrap();
        let sizes: Vec<usize> = sizes.iter().flat_map(|batch| &batch.slots).map(size).collect();
        assert_eq!(sizes, [60_000, 100]);
    }
}

fn size(slot: &Slot) -> usize {
    match slot {
        Slot::Entry { bytes, .. } => bytes.len(),
        Slot::Anchor => 0,
    }
}
