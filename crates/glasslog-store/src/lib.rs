//! Where a log keeps things.
//!
//! Two contracts, each with one test suite that every implementation passes: [`Objects`] (what the world may
//! read: tiles, bundles, the checkpoint) and [`LogState`] (what makes an index durable and a log single-headed).
//! Both sit on [`disk`], the few filesystem operations that durability is argued from.
#![forbid(unsafe_code)]

pub mod disk;
pub mod duplicates;
pub mod lock;
pub mod log_state;
pub mod objects;
pub mod runs;

pub use log_state::LogState;
pub use objects::Objects;
