//! `glasslog index`: the verifiable index of a log.

mod check;

use clap::Subcommand;

use crate::{exit::Outcome, output::Output};

/// What to do with the index.
#[derive(Debug, Subcommand)]
pub enum IndexCommand {
    /// Recompute every index root that a log has anchored, from its entries, and name the first wrong one
    Check(check::CheckArgs),
}

/// Runs it.
///
/// # Errors
///
/// [`crate::exit::Failed`].
pub async fn run(command: IndexCommand, out: &Output) -> Outcome {
    match command {
        IndexCommand::Check(args) => check::run(args, out).await,
    }
}
