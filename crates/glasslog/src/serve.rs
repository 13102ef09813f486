//! `glasslog serve`: a running log.

use std::path::PathBuf;

use clap::Args;

use crate::{
    exit::{Failed, Outcome},
    output::Output,
};

/// Arguments of `glasslog serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where the log keeps everything
    #[arg(long, value_name = "DIR", default_value = "./glasslog-data")]
    pub dir: PathBuf,
}

/// Runs it.
///
/// # Errors
///
/// [`Failed`].
pub async fn run(args: ServeArgs, _out: &Output) -> Outcome {
    Err(Failed::usage(format!("not built yet: {args:?}")))
}
