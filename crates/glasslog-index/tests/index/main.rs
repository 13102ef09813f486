//! The index on disk against the naive one: any history of taking in, keeping, merging, reopening; crashes and damage.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test binary has no public interface")]

mod crash;
mod damage;
mod histories;
mod naive;
mod sizes;
mod threads;

use std::{path::Path, sync::Arc};

use glasslog_core::LeafIndex;
use glasslog_index::{Binding, Index, IndexError, Keeper, Opened, Options};
use glasslog_store::{
    disk::sim::SimDisk,
    runs::{Cancel, MergeRate},
};
use glasslog_vindex::Key;
use naive::Naive;

const DIR: &str = "/index";

fn binding() -> Binding {
    Binding { origin: "example.com/log".into(), map_fn: "json-field:name".into() }
}

/// Small enough for a few hundred keys to be spilled and merged.
const SMALL: Options = Options { snapshot_interval: 7, delta_max_bytes: 24 << 10, middle_from_keys: 150 };

fn open(disk: &SimDisk, options: Options) -> Result<Opened, IndexError> {
    Index::open(Arc::new(disk.clone()), Path::new(DIR), &binding(), options)
}

fn work(keeper: &Keeper) -> Result<(), IndexError> {
    while keeper.step(MergeRate::Unlimited, &Cancel::default())? {}
    Ok(())
}

/// Gives the index the entries of `log` from where it stands up to `end`.
fn feed(index: &mut Index, log: &Naive, end: usize) -> Result<(), IndexError> {
    for at in usize::try_from(index.next().0).unwrap()..end {
        index.apply(LeafIndex(at as u64), &log.entries[at])?;
    }
    Ok(())
}

fn key(number: u64) -> Key {
    Key::of_name(&number.to_string())
}
