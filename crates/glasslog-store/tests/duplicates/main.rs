//! The duplicates table against a naive map: spills, merges, reopening, crashes and damage.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test binary has no public interface")]

mod crash;
mod damage;
mod model;

use std::{path::Path, sync::Arc};

use glasslog_core::{hash::leaf_hash, personality::Identity};
use glasslog_store::{
    disk::sim::SimDisk,
    duplicates::{Cancel, MergeRate, RunError, Table},
};

const DIR: &str = "/dup";

fn identity(number: u64) -> Identity {
    Identity::from_hash(&leaf_hash(&number.to_be_bytes()))
}

fn open(disk: &SimDisk) -> Result<Table, RunError> {
    Table::open(Arc::new(disk.clone()), Path::new(DIR))
}

fn merge_all(table: &Table) -> Result<(), RunError> {
    while table.merge_step(MergeRate::Unlimited, &Cancel::default())? {}
    Ok(())
}
