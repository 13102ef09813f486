//! `glasslog prove`: a self-contained proof, verified before it is written.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use glasslog_client::{
    lookup::{MAX_ENTRIES, MAX_LIST, Wanted},
    verdict::Verdict,
};
use glasslog_core::{LeafIndex, proof::TlogProof};

use crate::{
    age::AgeArgs,
    cli::LogArgs,
    exit::{Exit, Failed, OrExit, Outcome},
    fetch::{Memory, Observed, Source, Target, now, observe, replace},
    ground::Ground,
    lookup::{Asking, KeyArgs, Told, no_index},
    output::Output,
    verify::Report,
};

/// Arguments of `glasslog prove`.
#[derive(Debug, Args)]
pub struct ProveArgs {
    /// What to look up: the proof then says what the log holds about it, or that it holds nothing
    #[arg(required_unless_present = "index", conflicts_with = "index")]
    pub key: Option<String>,
    /// Prove that an entry is in the log, instead
    #[arg(long, value_name = "N")]
    pub index: Option<u64>,
    /// Where to write the proof, for example F.tlog-proof
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// With --index: where to write the entry, which the proof does not hold
    #[arg(long, value_name = "FILE", requires = "index")]
    pub entry: Option<PathBuf>,
    /// What KEY means.
    #[command(flatten)]
    pub meaning: KeyArgs,
    /// How many of its newest entries to put into the proof, 64 at most
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(..=i64::from(MAX_ENTRIES)))]
    pub entries: u8,
    /// How new the proof must be.
    #[command(flatten)]
    pub age: AgeArgs,
    /// The log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Runs it.
///
/// # Errors
///
/// [`Failed`].
pub async fn run(args: ProveArgs, out: &Output) -> Outcome {
    let target = Target::of(&args.log)?;
    match (&args.key, args.index) {
        (Some(key), _) => of_key(&args, &target, key, out).await,
        (None, Some(index)) => of_entry(&args, &target, LeafIndex(index), out).await,
        (None, None) => Err(Failed::usage("prove what? Give a KEY, or --index N")),
    }
}

async fn of_key(args: &ProveArgs, target: &Target, key: &str, out: &Output) -> Outcome {
    let (pins, map_fn) = (target.pins()?, args.meaning.map_function(target)?);
    let inquiry = args.meaning.inquiry(pins, &*map_fn, key)?;
    let source = Source::open(target.url()?).or_exit(Exit::Usage)?;
    let memory = Memory::of_user();
    let asking = Asking { source: &source, pins, memory: memory.as_ref(), demand: args.age.demand(), out };
    let wanted = Wanted { list: MAX_LIST, entries: args.entries };
    let believed = asking.ask(&inquiry, wanted).await?.ok_or_else(|| no_index(target))?;
    let file = believed.answered.lookup.to_text();
    // What is written is what was verified, and not only something that says the same.
    let again = inquiry.open(file.as_bytes(), now())?;
    let same = again.verified.answer() == believed.answered.verified.answer();
    same.then_some(()).context("the proof does not read back as it was verified")?;
    write(&args.output, file.as_bytes())?;
    let told = Told {
        question: inquiry.question(),
        believed: &believed,
        entries: &[],
        all: false,
        file: Some(&args.output),
    };
    Ok(told.tell(&*map_fn, out))
}

async fn of_entry(args: &ProveArgs, target: &Target, index: LeafIndex, out: &Output) -> Outcome {
    let pins = target.pins()?;
    let source = Source::open(target.url()?).or_exit(Exit::Usage)?;
    let demand = args.age.demand();
    let Observed { checkpoint, standing, lagging } =
        observe(&source, pins, Memory::of_user().as_ref(), demand, out).await?;
    if !checkpoint.size().contains(index) {
        return Err(Failed::new(
            Exit::NotLogged,
            format!("the log has {} entries, so none at index {index}", checkpoint.size()),
        ));
    }
    let (entry, inclusion) = source.proven_entry(&checkpoint, index).await.or_exit(Exit::LogFailure)?;
    let proof =
        TlogProof { index, hashes: inclusion.0, extra: None, checkpoint: checkpoint.note().to_text() };
    write(&args.output, proof.to_text().as_bytes())?;
    if let Some(path) = &args.entry {
        write(path, &entry)?;
    }
    let report = Report {
        subject: format!("entry {index} (proof written to {})", args.output.display()),
        verdict: Verdict::Logged { index },
        replaced: None,
        ground: Ground {
            checkpoint: &checkpoint,
            standing: &standing,
            lagging,
            must_be_fresh: demand.is_explicit(),
            anchor: None,
            content: None,
        },
    };
    Ok(report.tell(out))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failed> {
    replace(path, bytes).with_context(|| format!("cannot write {}", path.display())).or_exit(Exit::OwnFailure)
}
