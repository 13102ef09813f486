//! The duplicates table against a naive map: spills, merges, reopening, crashes and damage.

mod memory_disk;
mod model;
