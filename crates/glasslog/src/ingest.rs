//! `glasslog ingest`: what a channel lists, into the log.

use clap::{Args, Subcommand};

use crate::{
    exit::{Failed, Outcome},
    output::Output,
};

/// Which ecosystem.
#[derive(Debug, Subcommand)]
pub enum IngestCommand {
    /// repodata of a conda channel
    Conda(CondaArgs),
}

/// Arguments of `glasslog ingest conda`.
#[derive(Debug, Args)]
pub struct CondaArgs {
    /// repodata.json, .zst or .bz2: files or URLs
    #[arg(required = true, value_name = "FILE|URL")]
    pub sources: Vec<String>,
    /// Channel that the records belong to
    #[arg(long)]
    pub repo: Option<String>,
    /// Subdir that the records belong to
    #[arg(long)]
    pub subdir: Option<String>,
}

/// Runs it.
///
/// # Errors
///
/// [`Failed`].
pub async fn run(command: IngestCommand, _out: &Output) -> Outcome {
    Err(Failed::usage(format!("not built yet: {command:?}")))
}
