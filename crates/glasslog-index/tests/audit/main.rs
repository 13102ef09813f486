//! The audit, judged by the naive model of the spec page: wrong anchors of every kind are found and proven, honest ones are not.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy spares functions marked #[test], and not what they call"
)]

mod anchors;
mod attacks;
mod auditor;
mod convict;
mod forged;
mod javascript;
#[path = "../../../glasslog-vindex/tests/it/naive.rs"]
mod naive;
mod resume;
