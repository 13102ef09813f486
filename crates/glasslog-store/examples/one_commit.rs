//! Commits entries one at a time into fresh log state: what to run under `strace` to see what a commit is made of.
//!
//! `strace -f -e trace=pwrite64,fsync,fdatasync target/debug/examples/one_commit DIR`
#![allow(clippy::print_stdout, reason = "an example speaks to a person")]

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use glasslog_core::{TreeSize, hash::leaf_hash, personality::Identity};
use glasslog_store::{
    LogState,
    disk::RealDisk,
    log_state::{Batch, BatchId, SegmentLogState, SegmentOptions, Slot},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: one_commit DIR")?;
    let state =
        SegmentLogState::open(Arc::new(RealDisk::private()), Path::new(&dir), SegmentOptions::default())?;
    for number in 0..3_u8 {
        println!("commit {number}");
        let bytes = Bytes::from(vec![number; 600]);
        let leaf_hash = leaf_hash(&bytes);
        let turn = state.turn(TreeSize(u64::MAX))?;
        let batch = Batch {
            id: BatchId([number; 16]),
            first_index: turn.head().next_index(),
            slots: vec![Slot::Entry { bytes, leaf_hash, identity: Identity::from_hash(&leaf_hash) }],
        };
        println!("{:?}", turn.commit(Arc::new(batch), None));
    }
    Ok(state.close()?)
}
