//! `glasslog index`: the verifiable index of a log.

mod check;
mod disavow;
mod rebuild;

use clap::Subcommand;

use crate::{exit::Outcome, output::Output};

/// What to do with the index.
#[derive(Debug, Subcommand)]
pub enum IndexCommand {
    /// Recompute every index root that a log has anchored, from its entries, and name the first wrong one
    Check(Box<check::CheckArgs>),
    /// Build the index of a stopped log anew from its entries, and compare it with what the log has anchored
    Rebuild(Box<rebuild::RebuildArgs>),
    /// Say in a stopped log, for ever, that some of its anchors are wrong, so that it can go on
    Disavow(Box<disavow::DisavowArgs>),
}

/// Runs it.
///
/// # Errors
///
/// [`crate::exit::Failed`].
pub async fn run(command: IndexCommand, out: &Output) -> Outcome {
    match command {
        IndexCommand::Check(args) => check::run(*args, out).await,
        IndexCommand::Rebuild(args) => rebuild::run(*args, out).await,
        IndexCommand::Disavow(args) => disavow::run(*args, out).await,
    }
}
