//! A witness: it cosigns a log's checkpoints as long as each continues the one before (c2sp.org/tlog-witness).
#![forbid(unsafe_code)]

pub mod bastion;
