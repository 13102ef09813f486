//! The conda personality: what a conda channel lists becomes entries of a log, and which bytes such a log accepts.
//!
//! The way of a record: [`source`] says which repo and subdir a URL serves, [`decompress`] makes plain JSON of the
//! file, [`repodata`] walks it and hands over one canonical entry for each record, written by [`entry`]. On the
//! other side [`Conda1`] accepts exactly those bytes, and [`classify`](mod@classify) says what a new one means for its path.
//! [`Conda1Map`] says which keys of the verifiable index an entry is found under.
//!
//! The format is that of `docs/spec/conda-entry.md`. Nothing here speaks to a network or reads a clock.

pub mod classify;
mod conda1;
mod conda1_map;
pub mod decompress;
pub mod entry;
pub mod names;
pub mod repodata;
pub mod sample;
pub mod source;

pub use conda1::{Conda1, RepoListError, path_identity, snapshot_identity};
pub use conda1_map::Conda1Map;
