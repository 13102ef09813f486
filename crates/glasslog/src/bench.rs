//! `glasslog bench`: load, then a recount.

use clap::Args;

use crate::{
    cli::LogArgs,
    exit::{Failed, Outcome},
    output::Output,
};

/// Arguments of `glasslog bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The log to load
    #[arg(value_name = "URL")]
    pub url: String,
    /// Keys and policy.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Runs it.
///
/// # Errors
///
/// [`Failed`].
pub async fn run(args: BenchArgs, _out: &Output) -> Outcome {
    Err(Failed::usage(format!("bench {} is not built yet", args.url)))
}
