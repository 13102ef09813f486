//! `glasslog config check`: what the settings come to.

use clap::Subcommand;

use crate::{
    exit::{Failed, Outcome},
    output::Output,
};

/// `glasslog config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Explain each effective setting and where it came from
    Check,
}

/// Runs it.
///
/// # Errors
///
/// [`Failed`].
pub fn run(command: ConfigCommand, _out: &Output) -> Outcome {
    Err(Failed::usage(format!("not built yet: {command:?}")))
}
