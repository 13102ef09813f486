//! The 75 checks of a witness as a black box: bytes over HTTP, nothing else (`docs/conformance.md`).
//!
//! But for `own.rs`, which starts this workspace's witness, nothing here calls glasslog's code, so that a mistake made on both sides shows. The numbers are those of the list in
//! `docs/conformance.md`; checks 70, 71, 73 and 74 start and kill a process and lie with the command's own tests.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy spares functions marked #[test], and not what they call"
)]

mod check;
mod checkpoint;
mod concurrency;
mod cosignature;
mod framing;
mod http;
mod keys;
mod logs;
mod monitoring;
mod oddities;
mod own;
mod session;
mod signatures;
mod state;
mod subtree;
mod target;
mod tree;
