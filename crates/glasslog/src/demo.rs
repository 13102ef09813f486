//! `glasslog demo`: the tour.

use std::path::PathBuf;

use clap::Args;

use crate::{
    exit::{Failed, Outcome},
    output::Output,
};

/// Arguments of `glasslog demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the log keeps everything
    #[arg(long, value_name = "DIR", default_value = "./glasslog-data")]
    pub dir: PathBuf,
}

/// Runs it.
///
/// # Errors
///
/// [`Failed`].
pub async fn run(args: DemoArgs, _out: &Output) -> Outcome {
    Err(Failed::usage(format!("not built yet: {args:?}")))
}
