//! `glasslog index check`: the audit of a log's index, by anybody.

mod evidence;
mod read;
mod told;

use std::{path::PathBuf, sync::Arc, time::Instant};

use anyhow::Context;
use clap::Args;
use glasslog_client::{pin::Pins, verdict::Demand};
use glasslog_core::{TreeSize, checkpoint::VerifiedCheckpoint};
use glasslog_index::{
    Binding,
    audit::{Audit, AuditOptions},
};
use glasslog_store::{
    disk::{Disk, RealDisk},
    lock::LockFile,
};
use glasslog_vindex::MapFunction;
use indicatif::HumanCount;
use tempfile::TempDir;

use crate::{
    cli::LogArgs,
    exit::{Exit, Failed, OrExit, Outcome},
    fetch::{Source, Target, weigh},
    fsck::{self, run::Stop},
    lookup::{DEFAULT_MAP_FN, map_function},
    output::Output,
};
use read::Halt;

/// Arguments of `glasslog index check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The log: its URL, or the directory that holds it
    #[arg(value_name = "URL|DIR")]
    pub target: String,
    /// What the log's index is of: conda-1, or json-field:NAME for the member NAME of entries that are JSON. Pinned, as a key is: what the log says of it is not asked [default: conda-1]
    #[arg(long, value_name = "NAME")]
    pub map_fn: Option<String>,
    /// Where the index is built and what was found is kept, for --resume [default: a directory that is removed at the end]
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// Go on from where the last check in --work-dir came to. The entries before it are not read again: that they are the same is checked, their tiles are not
    #[arg(long, requires = "work_dir")]
    pub resume: bool,
    /// Where to write a proof that the log misbehaved, for anybody to verify offline. For a wrong root the log is asked for proofs of its own, a few dozen, if it is given by URL
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Keys and policy. Without any, the key that the log itself serves is used
    #[command(flatten)]
    pub log: LogArgs,
}

/// Everything that is pinned of the log.
struct Pinned {
    pins: Pins,
    origin: String,
    map_fn: Arc<dyn MapFunction>,
}

/// Runs it: 0 if every anchor is right, 1 naming the first wrong one, 4 if the log cannot be read, is not as it signed, or
/// lacks the quorum of the policy that was given.
///
/// # Errors
///
/// [`Failed`].
pub(super) async fn run(args: CheckArgs, out: &Output) -> Outcome {
    let target = Target::of(&args.log)?;
    let map_fn = map_function(args.map_fn.as_deref().or(target.map_fn.as_deref()).unwrap_or(DEFAULT_MAP_FN))?;
    let source = fsck::open(&args.target)?;
    let (pins, key) = fsck::pins(&source, &args.log, out).await?;
    let note = source.checkpoint().await.or_exit(Exit::LogFailure)?;
    let checkpoint =
        pins.open(&note).context("the log's checkpoint is not believed").or_exit(Exit::LogFailure)?;
    weigh(&pins, &checkpoint, Demand::Usual, out)?;
    let pinned = Pinned { pins, origin: checkpoint.origin().into(), map_fn };

    let temporary = if args.work_dir.is_some() { None } else { Some(TempDir::new()?) };
    let (audit, _lock) = open_audit(&args, &pinned, temporary.as_ref(), out).await?;
    let begun_at = audit.next();
    let started = Instant::now();
    let audit = audited(&source, &checkpoint, &pinned, audit, out).await?;
    let report = audit.report().clone();
    let seconds = started.elapsed().as_secs_f64();

    let (audit, evidence) = match &args.output {
        Some(file) if report.wrong > 0 => {
            let (audit, made) = evidence::make(&source, &checkpoint, &pinned, audit, &report).await;
            let made = made.and_then(|made| evidence::write(file, made));
            (audit, Some(made))
        }
        _ => (Some(audit), None),
    };
    if let Some(audit) = audit.filter(|_| args.work_dir.is_some()) {
        tokio::task::spawn_blocking(move || audit.close()).await?.context("cannot keep what was found")?;
    }
    let told = told::Told {
        checkpoint: &checkpoint,
        key,
        map_fn: pinned.map_fn.name(),
        begun_at,
        report: &report,
        evidence: evidence.as_ref(),
        seconds,
    };
    Ok(told.tell(out))
}

async fn open_audit(
    args: &CheckArgs,
    pinned: &Pinned,
    temporary: Option<&TempDir>,
    out: &Output,
) -> Result<(Audit, LockFile), Failed> {
    let binding = Binding { origin: pinned.origin.clone(), map_fn: pinned.map_fn.name().into() };
    let dir = args.work_dir.as_deref().or(temporary.map(TempDir::path));
    let dir = dir.context("there is no directory to work in")?.to_owned();
    let resume = args.resume;
    let open = move || -> anyhow::Result<_> {
        let disk = Arc::new(RealDisk::private());
        disk.create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let lock = LockFile::acquire(&dir.join("lock"))?;
        Ok((Audit::open(disk, &dir, &binding, AuditOptions::default(), resume)?, lock))
    };
    let (opened, lock) = tokio::task::spawn_blocking(open).await??;
    if let Some(reason) = opened.anew_because {
        out.warn(format_args!("begins anew: {reason}"));
    }
    Ok((opened.audit, lock))
}

/// Audits the log as far as `checkpoint`. What was audited before is not read again; the tree must continue it.
async fn audited(
    source: &Source,
    checkpoint: &VerifiedCheckpoint,
    pinned: &Pinned,
    audit: Audit,
    out: &Output,
) -> Result<Audit, Failed> {
    let (from, size) = (audit.next(), checkpoint.size());
    if from > size {
        return Err(Failed::new(
            Exit::LogFailure,
            format!(
                "the log shows a checkpoint of size {size}, and {from} entries were audited before: it is behind"
            ),
        ));
    }
    let left = size.0 - from.0;
    let audited = match from {
        TreeSize::ZERO => String::new(),
        from => format!(", of which {} were audited before", HumanCount(from.0)),
    };
    out.note(format_args!(
        "auditing the index of {}: {} entries{audited}",
        checkpoint.origin(),
        HumanCount(size.0)
    ));
    let bar = out.progress(left, "auditing", "entries");
    let done = if from == TreeSize::ZERO {
        read::whole(source, checkpoint, &pinned.map_fn, audit, &bar).await
    } else {
        read::rest(source, checkpoint, &pinned.map_fn, audit, &bar).await
    };
    bar.finish_and_clear();
    done.map_err(failed)
}

/// Before the tree is known to be the signed one, nothing can be said of its anchors.
fn failed(halt: Halt) -> Failed {
    match halt {
        Halt::Log(Stop::Difference(difference)) => Failed {
            exit: Exit::LogFailure,
            error: anyhow::Error::new(difference).context(
                "the log is not what it signed, so its index cannot be judged (`glasslog fsck` says more)",
            ),
        },
        Halt::Log(Stop::Failed(error)) => Failed { exit: Exit::LogFailure, error },
        Halt::NotContinued(difference) => Failed {
            exit: Exit::LogFailure,
            error: anyhow::Error::new(difference).context(
                "the log does not continue what was audited before, or its entries are not what it signed; `glasslog fsck` tells \
                 which, and without --resume the audit begins anew",
            ),
        },
        Halt::Audit(error) => Failed { exit: Exit::OwnFailure, error: error.into() },
        Halt::Own(error) => Failed { exit: Exit::OwnFailure, error },
    }
}
