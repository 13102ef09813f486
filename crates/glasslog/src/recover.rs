//! `glasslog recover DIR`: state that is lost, or behind what was published, goes on from what was published.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::{
    exit::{Exit, Failed, OrExit, Outcome},
    log_dir,
    output::{Output, Tone},
    serve::ServeArgs,
    settings::SettingFlags,
    witnesses,
};

/// Arguments of `glasslog recover`.
#[derive(Debug, Args)]
pub struct RecoverArgs {
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
    head_before: u64,
}

/// Recomputes everything below the largest checkpoint that is public or that a witness shows, and if it is intact, makes the state go on from there.
///
/// # Errors
///
/// [`Failed`] with 64 for settings, 1 when entries or tiles do not hash to the public root, 5 for everything else; the
/// state is unchanged then.
pub async fn run(args: RecoverArgs, out: &Output) -> Outcome {
    let serve = ServeArgs { dir: Some(args.dir), config: args.config, settings: args.settings };
    let settings = &serve.one_log()?;
    if !settings.dir.is_dir() {
        return Err(Failed::usage(format!("{} is not a directory", settings.dir.display())));
    }
    let opened = log_dir::open(settings)?;
    let origin = opened.config.origin.clone();
    let (timeout, told) = (settings.witnesses.timeout, out.clone());
    let rebuilt = tokio::task::spawn_blocking(move || {
        let log_keys: Vec<_> = opened.config.signers.iter().map(|key| key.verifier_key().clone()).collect();
        let witnessed = match &opened.policy {
            Some((policy, _)) => witnesses::largest_shown(policy, timeout, &log_keys, &told)?,
            None => None,
        };
        told.note("Reading every entry below the largest checkpoint …");
        Ok::<_, Failed>(glasslog_log::rebuild(&opened.config, &opened.stores, witnessed))
    });
    let rebuilt = rebuilt.await??;
    let rebuilt = rebuilt.map_err(|failure| {
        let differs = matches!(failure, glasslog_log::Failure::Contradiction(_));
        (failure, if differs { Exit::Mismatch } else { Exit::OwnFailure })
    });
    let rebuilt = match rebuilt {
        Ok(rebuilt) => rebuilt,
        Err((failure, exit)) => return Err(failure).or_exit(exit),
    };
    let (size, before) = (rebuilt.size, rebuilt.head_before);
    out.json(&Report { origin: origin.clone(), size: size.0, head_before: before.0 });
    out.line(format_args!("{} {origin} goes on from size {size}", out.paint(Tone::Good, "recovered:")));
    out.warn(format_args!(
        "indices from {size} on that were ever acknowledged are lost; the state that was here knew {before}. Whoever \
         submitted after the last public checkpoint must submit again"
    ));
    Ok(Exit::Ok)
}
