//! Everything that is tested through the real binary and real HTTP, in one test program (linked once).
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy spares functions marked #[test], and not what they call"
)]

#[path = "../../../glasslog-log/tests/common/model.rs"]
mod anchors_model;
mod bastion;
mod bench;
mod cli;
mod demo;
mod disk_full;
mod fake;
mod five_witnesses;
#[path = "../../../glasslog-client/tests/forge/mod.rs"]
mod forge;
#[path = "../../../glasslog-index/tests/audit/forged.rs"]
mod forged;
mod fsck;
mod index_check;
mod indexed;
mod ingest;
mod js;
mod life_of_an_entry;
mod lookup;
mod lookup_served;
#[path = "../../../glasslog-vindex/tests/it/naive.rs"]
mod naive;
mod quorum;
mod rotate;
mod serve;
mod support;
mod torture;
mod verify;
mod witness;
mod witness_crash;
mod witnessed;
