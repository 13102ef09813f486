//! `glasslog recover DIR`: state that is lost, or behind what was published, goes on from what was published.

use std::path::PathBuf;

use clap::Args;
use glasslog_core::{
    TreeSize,
    checkpoint::{Checkpoint, VerifiedCheckpoint},
    note::Note,
};
use serde::Serialize;

use crate::{
    exit::{Exit, Failed, Outcome},
    log_dir,
    output::{Output, Tone},
    serve::ServeArgs,
    settings::{LogSettings, SettingFlags},
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
/// [`Failed`] with 64 for settings, 1 when entries or tiles do not hash to the public root, 4 when a witness does not answer,
/// 5 for everything else; the state is unchanged then.
pub async fn run(args: RecoverArgs, out: &Output) -> Outcome {
    let serve = ServeArgs { dir: Some(args.dir), config: args.config, settings: args.settings };
    let settings = &serve.one_log()?;
    if !settings.dir.is_dir() {
        return Err(Failed::usage(format!("{} is not a directory", settings.dir.display())));
    }
    let public = public_checkpoint(settings)?;
    let opened = log_dir::open(settings)?;
    let origin = opened.config.origin.clone();
    let witnessed = public.as_ref().is_some_and(|(_, note)| witnesses::have_cosigned(note, &origin));
    if witnessed && opened.policy.is_none() && !settings.witnesses.start_unconfirmed {
        return Err(Failed::usage(
            "witnesses have cosigned what is public, and may have seen more: name them (EXTERNAL_WITNESSES or --policy), or \
             say --start-unconfirmed true to go on without their word",
        ));
    }
    let public = public.map(|(size, _)| size);
    let (asked, told) = (settings.witnesses.clone(), out.clone());
    let rebuilt = tokio::task::spawn_blocking(move || {
        let log_keys: Vec<_> = opened.config.signers.iter().map(|key| key.verifier_key().clone()).collect();
        let witnessed = match &opened.policy {
            Some((policy, _)) => witnesses::largest_shown(policy, &asked, &log_keys, &told)?,
            None => None,
        };
        told.note("Reading every entry below the largest checkpoint …");
        let seen = witnessed.as_ref().map(VerifiedCheckpoint::size);
        Ok::<_, Failed>((glasslog_log::rebuild(&opened.config, &opened.stores, witnessed), seen))
    });
    let rebuilt = match rebuilt.await?? {
        (Ok(rebuilt), _) => rebuilt,
        (Err(failure), seen) => return Err(unrecovered(failure, seen.filter(|seen| public < Some(*seen)))),
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

/// The checkpoint at the public path and its size, if one can be read there.
fn public_checkpoint(settings: &LogSettings) -> std::io::Result<Option<(TreeSize, Note)>> {
    let note = log_dir::public_checkpoint(settings)?.and_then(|note| Note::parse(&note).ok());
    Ok(note.and_then(|note| Some((Checkpoint::parse(note.text()).ok()?.size, note))))
}

/// `unseen` is a larger size than the public one, which a witness has seen: what is missing may be somewhere else.
fn unrecovered(failure: glasslog_log::Failure, unseen: Option<TreeSize>) -> Failed {
    let differs = matches!(failure, glasslog_log::Failure::Contradiction(_));
    let exit = if differs { Exit::Mismatch } else { Exit::OwnFailure };
    let error = anyhow::Error::new(failure);
    let error = match unseen.filter(|_| differs) {
        Some(size) => error.context(format!(
            "witnesses have seen size {size}, and the public directory does not hold all of it: put its newest tiles and \
             checkpoint back (another disk, a mirror, a cache) and recover again; without them this log ends here"
        )),
        None => error,
    };
    Failed { exit, error }
}
