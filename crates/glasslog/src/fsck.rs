//! `glasslog fsck`: every entry, tile and the root recomputed.

use clap::Args;

use crate::{
    cli::LogArgs,
    exit::{Failed, Outcome},
    output::Output,
};

/// Arguments of `glasslog fsck`.
#[derive(Debug, Args)]
pub struct FsckArgs {
    /// The log: its URL, or the directory that holds it
    #[arg(value_name = "URL|DIR")]
    pub target: String,
    /// Keys and policy.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Runs it.
///
/// # Errors
///
/// [`Failed`].
pub async fn run(args: FsckArgs, _out: &Output) -> Outcome {
    Err(Failed::usage(format!("fsck {} is not built yet", args.target)))
}
