//! Signing keys: made, kept, shown.

use clap::Subcommand;

use crate::{
    exit::{Failed, Outcome},
    output::Output,
};

/// `glasslog key …`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make an Ed25519 key for a log or witness of this name
    New {
        /// Name of the key: for a log, its origin
        name: String,
    },
    /// Show the public key
    Show,
}

/// Runs it.
///
/// # Errors
///
/// [`Failed`].
pub fn run(command: KeyCommand, _out: &Output) -> Outcome {
    Err(Failed::usage(format!("not built yet: {command:?}")))
}
