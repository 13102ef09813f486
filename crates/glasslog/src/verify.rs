//! `glasslog verify`: canonical entry → leaf hash → inclusion → checkpoint signature → policy.

mod content;
mod judge;
mod proof;
mod record;
mod report;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

pub(crate) use report::Report;

use crate::{
    age::{AgeArgs, parse_age},
    cli::LogArgs,
    exit::Outcome,
    lookup::KeyArgs,
    output::Output,
};

/// What to verify.
#[derive(Debug, Subcommand)]
pub enum VerifyCommand {
    /// A record of a channel's repodata
    Record(RecordArgs),
    /// A c2sp.org/tlog-proof file, without asking anybody: of an entry, of a lookup, or of a log's misbehaviour (4)
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
    /// Where the log holds the record: only that entry is looked at, not whether the file was replaced since
    #[arg(long, value_name = "N")]
    pub index: Option<u64>,
    /// Search the log's entries, newest first, instead of asking its index: slow, and needs no trust in those who watch the index
    #[arg(long, conflicts_with = "index")]
    pub search: bool,
    /// How new the answer must be.
    #[command(flatten)]
    pub age: AgeArgs,
    /// How old the log's newest snapshot of the subdir may be, for example 2d [default: any age, or what the settings say of the log]
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    pub max_content_age: Option<Duration>,
    /// The log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Arguments of `glasslog verify proof`.
#[derive(Debug, Args)]
pub struct ProofArgs {
    /// The proof
    pub file: PathBuf,
    /// Ask nobody: always so, and here for those who want to read it in their script
    #[arg(long)]
    pub offline: bool,
    /// The entry that the proof of an entry is about: it says nothing without
    #[arg(long, value_name = "FILE")]
    pub entry: Option<PathBuf>,
    /// What must have been asked, of the proof of a lookup [default: whatever it says]
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// What KEY means.
    #[command(flatten)]
    pub meaning: KeyArgs,
    /// How new the proof must be: that of a lookup 24h at most, that of an entry by default of any age.
    #[command(flatten)]
    pub age: AgeArgs,
    /// Keys and policy.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Runs it.
///
/// # Errors
///
/// [`crate::exit::Failed`].
pub async fn run(command: VerifyCommand, out: &Output) -> Outcome {
    match command {
        VerifyCommand::Record(args) => record::run(&args, out).await,
        VerifyCommand::Proof(args) => proof::run(&args, out),
    }
}
