//! The tree, its proofs, its tiles and its growth, judged by RFC 6962's own recursive definitions ([`naive`]).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may fail like tests")]

mod bundle;
mod growth;
mod merkle;
mod naive;
mod path;
mod plan;
mod subtree;
