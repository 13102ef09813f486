//! `glasslog verify`: canonical entry → leaf hash → inclusion → checkpoint signature → policy.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{
    cli::LogArgs,
    exit::{Failed, Outcome},
    output::Output,
};

/// What to verify.
#[derive(Debug, Subcommand)]
pub enum VerifyCommand {
    /// A record of a channel's repodata
    Record(RecordArgs),
    /// A c2sp.org/tlog-proof file
    Proof(ProofArgs),
}

/// Arguments of `glasslog verify record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Channel, for example conda-forge
    #[arg(long)]
    pub repo: String,
    /// Subdir, for example linux-64
    #[arg(long)]
    pub subdir: String,
    /// File name of the package
    #[arg(long, value_name = "NAME")]
    pub file: String,
    /// repodata.json (.zst, .bz2) that holds the record
    #[arg(long, value_name = "FILE")]
    pub repodata: PathBuf,
    /// The log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Arguments of `glasslog verify proof`.
#[derive(Debug, Args)]
pub struct ProofArgs {
    /// The proof
    pub file: PathBuf,
    /// Keys and policy.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Runs it.
///
/// # Errors
///
/// [`Failed`].
pub async fn run(command: VerifyCommand, _out: &Output) -> Outcome {
    Err(Failed::usage(format!("not built yet: {command:?}")))
}
