//! `glasslog fsck`: every entry, every tile and the root of a log recomputed.

pub(crate) mod run;
pub(crate) mod served_key;

use std::time::Instant;

use clap::Args;
use glasslog_client::{
    fsck::{AtFault, Difference},
    pin::Pins,
    verdict::Demand,
};
use glasslog_core::checkpoint::VerifiedCheckpoint;
use indicatif::HumanCount;
use serde::Serialize;

use crate::{
    cli::LogArgs,
    exit::{Exit, Failed, OrExit, Outcome},
    fetch::{FetchError, HOW_TO_PIN, Source, Target, weigh},
    output::{Output, Tone},
};
use run::Stop;

/// Arguments of `glasslog fsck`.
#[derive(Debug, Args)]
pub struct FsckArgs {
    /// The log: its URL, or the directory that holds it
    #[arg(value_name = "URL|DIR")]
    pub target: String,
    /// Parts of 65,536 entries that are checked at once [default: one for each CPU]
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<std::num::NonZeroUsize>,
    /// Keys and policy. Without any, the key that the log itself serves is used
    #[command(flatten)]
    pub log: LogArgs,
}

/// What is printed with `--json`.
#[derive(Serialize)]
struct Report<'r> {
    ok: bool,
    origin: &'r str,
    size: u64,
    root: String,
    key: &'static str,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<Found>,
}

#[derive(Serialize)]
struct Found {
    object: String,
    settled: bool,
    message: String,
}

/// Runs it: 0 if everything is as computed, 1 naming the first difference, 4 if the log cannot be read or its checkpoint
/// lacks the quorum of the policy that was given.
///
/// # Errors
///
/// [`Failed`].
pub async fn run(args: FsckArgs, out: &Output) -> Outcome {
    let source = open(&args.target)?;
    let (pins, key) = pins(&source, &args.log, out).await?;
    let checkpoint = open_checkpoint(&source, &pins).await?;
    // The quorum of --policy, at any age: a log at rest can be checked too.
    weigh(&pins, &checkpoint, Demand::Usual, out)?;
    out.note(format_args!("checking {} entries of {}", HumanCount(checkpoint.size().0), checkpoint.origin()));

    let bar = out.progress(checkpoint.size().0, "checking", "entries");
    let started = Instant::now();
    let jobs = args.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, usize::from);
    let checked = run::check(&source, checkpoint.size(), *checkpoint.root(), jobs, &bar).await;
    bar.finish_and_clear();
    let difference = match checked {
        Ok(()) => None,
        Err(Stop::Difference(difference)) => Some(difference),
        Err(Stop::Failed(error)) => return Err(Failed { exit: Exit::LogFailure, error }),
    };
    Ok(report(&checkpoint, key, started.elapsed().as_secs_f64(), difference, out))
}

/// Where the log is.
pub(crate) fn open(target: &str) -> Result<Source, Failed> {
    Source::open(target).map_err(|error| match error {
        FetchError::NoLog { .. } => Failed::usage(error.to_string()),
        error => Failed { exit: Exit::LogFailure, error: error.into() },
    })
}

/// The pins of `args`, or the key that the log itself names; and which of the two.
pub(crate) async fn pins(
    source: &Source,
    args: &LogArgs,
    out: &Output,
) -> Result<(Pins, &'static str), Failed> {
    match Target::of(args)?.pins {
        Some(pins) => Ok((pins, "pinned")),
        None => Ok((served_pins(source, out).await?, "served")),
    }
}

/// The key that the log itself names. It shows damage, not dishonesty, and that is said.
async fn served_pins(source: &Source, out: &Output) -> Result<Pins, Failed> {
    let keys = served_key::of(source).await.or_exit(Exit::LogFailure)?;
    if keys.is_empty() {
        return Err(Failed::usage(HOW_TO_PIN));
    }
    let names: Vec<String> = keys.iter().map(ToString::to_string).collect();
    out.warn(format_args!(
        "no key is pinned, so the one that the log itself names is used ({}): this finds damage, not a log that lies",
        names.join(", ")
    ));
    Ok(Pins::of_keys(&keys))
}

/// A checkpoint that does not verify is a difference too: the objects are not those of a signed tree.
async fn open_checkpoint(source: &Source, pins: &Pins) -> Result<VerifiedCheckpoint, Failed> {
    let note = source.checkpoint().await.or_exit(Exit::LogFailure)?;
    pins.open(&note).map_err(|error| Failed {
        exit: Exit::Mismatch,
        error: anyhow::Error::new(error).context("checkpoint: it does not verify"),
    })
}

fn report(
    checkpoint: &VerifiedCheckpoint,
    key: &'static str,
    seconds: f64,
    difference: Option<Difference>,
    out: &Output,
) -> Exit {
    let size = checkpoint.size().0;
    match &difference {
        None => out.line(format_args!(
            "{} {} entries, all tiles and the root {} in {seconds:.1} s ({:.0} entries/s)",
            out.paint(Tone::Good, "sound:"),
            HumanCount(size),
            checkpoint.root(),
            size as f64 / seconds.max(1e-9),
        )),
        Some(difference) => out.line(format_args!("{} {difference}", out.paint(Tone::Bad, "DIFFERENCE:"))),
    }
    let exit = if difference.is_none() { Exit::Ok } else { Exit::Mismatch };
    out.json(&Report {
        ok: difference.is_none(),
        origin: checkpoint.origin(),
        size,
        root: checkpoint.root().to_string(),
        key,
        seconds,
        difference: difference.map(|difference| Found {
            object: difference.object(),
            settled: !matches!(&difference, Difference::Hash(hash) if hash.at_fault == AtFault::Both),
            message: difference.to_string(),
        }),
    });
    exit
}
