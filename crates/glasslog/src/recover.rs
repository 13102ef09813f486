//! `glasslog recover`: state from what was published.

use std::path::PathBuf;

use clap::Args;

use crate::{
    exit::{Failed, Outcome},
    output::Output,
};

/// Arguments of `glasslog recover`.
#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// Where the log keeps everything
    pub dir: PathBuf,
}

/// Runs it.
///
/// # Errors
///
/// [`Failed`].
pub async fn run(args: RecoverArgs, _out: &Output) -> Outcome {
    Err(Failed::usage(format!("not built yet: {args:?}")))
}
