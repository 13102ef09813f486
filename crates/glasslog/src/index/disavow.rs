//! `glasslog index disavow DIR POSITION…`: a log says for ever that anchors of its own are wrong.

use std::path::PathBuf;

use clap::Args;
use glasslog_core::LeafIndex;
use glasslog_log::Failure;
use serde::Serialize;

use super::rebuild::Bar;
use crate::{
    exit::{Exit, Failed, Outcome},
    log_dir,
    output::{Output, Tone},
    serve::ServeArgs,
    settings::SettingFlags,
};

/// Arguments of `glasslog index disavow`.
#[derive(Debug, Args)]
pub struct DisavowArgs {
    /// The log's directory
    pub dir: PathBuf,
    /// Indices of anchors whose root is wrong, as the log said when it stopped; each is checked before anything is said
    #[arg(required = true, value_name = "POSITION")]
    pub positions: Vec<u64>,
    /// Settings file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One flag for each setting.
    #[command(flatten)]
    pub settings: SettingFlags,
}

#[derive(Serialize)]
struct Report {
    origin: String,
    index: u64,
    positions: Vec<u64>,
}

/// Runs it.
///
/// # Errors
///
/// [`Failed`] with 64 for settings and for a position where no anchor stands, or a right one, 5 for everything else; nothing is appended then.
pub(super) async fn run(args: DisavowArgs, out: &Output) -> Outcome {
    let serve = ServeArgs { dir: Some(args.dir), config: args.config, settings: args.settings };
    let settings = serve.one_log()?;
    if !settings.dir.is_dir() {
        return Err(Failed::usage(format!("{} is not a directory", settings.dir.display())));
    }
    let (positions, told) = (args.positions.clone(), out.clone());
    let disavowing = tokio::task::spawn_blocking(move || {
        let opened = log_dir::open(&settings)?;
        let positions: Vec<_> = positions.into_iter().map(LeafIndex).collect();
        let mut bar = Bar::new(&told);
        let said =
            glasslog_log::disavow(&opened.config, &opened.stores, &positions, &mut |done| bar.show(done));
        bar.end();
        let index = said.map_err(|failure| {
            let exit = if matches!(failure, Failure::Anchors(_)) { Exit::Usage } else { Exit::OwnFailure };
            Failed { exit, error: failure.into() }
        })?;
        Ok::<_, Failed>((opened.config.origin, index))
    });
    let (origin, index) = disavowing.await??;
    out.json(&Report { origin: origin.clone(), index: index.0, positions: args.positions });
    let done = out.paint(Tone::Good, "disavowed:");
    out.line(format_args!("{done} {origin} says so at index {index}; its next start publishes that"));
    out.warn("whoever verifies or monitors this log will report these anchors for ever; please tell us how they came about");
    Ok(Exit::Ok)
}
