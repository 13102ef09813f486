//! `glasslog index rebuild DIR`: the index of a stopped log, built anew.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use glasslog_log::{BuiltIndex, Failure, RebuildStep, Rebuilding};
use glasslog_store::runs::Cancel;
use indicatif::{HumanCount, ProgressBar};
use serde::Serialize;

use crate::{
    exit::{Exit, Failed, Outcome},
    log_dir,
    output::{Output, Tone},
    serve::ServeArgs,
    service,
    settings::SettingFlags,
    signals,
};

/// Arguments of `glasslog index rebuild`.
#[derive(Debug, Args)]
pub struct RebuildArgs {
    /// The log's directory
    pub dir: PathBuf,
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
    size: u64,
    root: Option<String>,
    anchor: Option<u64>,
}

/// Runs it: 0 when the index is built, 1 when it contradicts the newest anchor of the log.
///
/// # Errors
///
/// [`Failed`] with 64 for settings, 1 for a contradiction, 5 for everything else. Of the last two the index is empty, and the
/// next start builds it.
pub(super) async fn run(args: RebuildArgs, out: &Output) -> Outcome {
    let serve = ServeArgs { dir: Some(args.dir), config: args.config, settings: args.settings };
    let settings = serve.one_log()?;
    if !settings.dir.is_dir() {
        return Err(Failed::usage(format!("{} is not a directory", settings.dir.display())));
    }
    let shutdown = signals::shutdown()?;
    let cancel = Arc::new(Cancel::default());
    let (cancelled, ends, told) = (Arc::clone(&cancel), shutdown.clone(), out.clone());
    let mut building = tokio::task::spawn_blocking(move || {
        let opened = log_dir::open(&settings)?;
        let mut bar = Bar::new(&told);
        let ends = || *ends.borrow();
        let built =
            glasslog_log::rebuild_index(&opened.config, &opened.stores, &cancelled, &ends, &mut |done| {
                bar.show(done);
            });
        bar.end();
        Ok::<_, Failed>((opened.config.origin, built))
    });
    let (origin, built) = tokio::select! {
        built = &mut building => built??,
        () = service::until(shutdown) => {
            cancel.cancel();
            building.await??
        }
    };
    let built = built.map_err(|failure| {
        let exit = match failure {
            Failure::WrongAnchor { .. } => Exit::Mismatch,
            Failure::Anchors(_) => Exit::Usage,
            _ => Exit::OwnFailure,
        };
        Failed { exit, error: failure.into() }
    })?;
    tell(&origin, built, out);
    Ok(Exit::Ok)
}

fn tell(origin: &str, BuiltIndex { size, root, anchor }: BuiltIndex, out: &Output) {
    out.json(&Report {
        origin: origin.to_owned(),
        size: size.0,
        root: root.map(|root| root.to_string()),
        anchor: anchor.map(|anchor| anchor.0),
    });
    let compared = match anchor {
        Some(anchor) => format!("as anchored at index {anchor}"),
        None => {
            "and the log has no anchor with a root to compare it with: the next start builds it again".into()
        }
    };
    let built = out.paint(Tone::Good, "built:");
    out.line(format_args!("{built} the index of {origin} over {} entries, {compared}", HumanCount(size.0)));
}

/// The progress of the step that is under way.
pub(super) struct Bar<'a> {
    out: &'a Output,
    bar: Option<(RebuildStep, ProgressBar)>,
}

impl<'a> Bar<'a> {
    pub(super) fn new(out: &'a Output) -> Bar<'a> {
        Bar { out, bar: None }
    }

    pub(super) fn show(&mut self, Rebuilding { step, done, of }: Rebuilding) {
        if self.bar.as_ref().is_none_or(|(shown, _)| *shown != step) {
            self.end();
            let bar = match step {
                RebuildStep::Reading => self.out.progress(of, "reading", "entries"),
                RebuildStep::Merging => self.out.progress(of, "merging", "rows"),
            };
            self.bar = Some((step, bar));
        }
        if let Some((_, bar)) = &self.bar {
            bar.set_position(done);
        }
    }

    pub(super) fn end(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
