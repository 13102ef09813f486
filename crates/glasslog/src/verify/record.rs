//! `glasslog verify record`.

use std::{convert::Infallible, fs::File};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use glasslog_client::{
    inclusion::Inclusion,
    scan::{EntryScan, scan_order},
    verdict::Verdict,
};
use glasslog_conda::{
    decompress::decompress,
    names::{Repo, Subdir},
    repodata::{self, Event},
};
use glasslog_core::{
    LeafIndex,
    checkpoint::VerifiedCheckpoint,
    entry_bundle::EntryBundle,
    hash::leaf_hash,
    tile::{BundleId, ResourcePath},
};

use super::{
    RecordArgs,
    judge::{Judge, Wanted},
    report::Report,
};
use crate::{
    exit::{Exit, Failed, OrExit, Outcome},
    fetch::{Memory, Observed, Source, Target, observe},
    output::Output,
};

/// Objects that a search reads ahead.
const READ_AHEAD: usize = 16;

/// Runs it.
pub(super) async fn run(args: &RecordArgs, out: &Output) -> Outcome {
    let target = Target::of(&args.log)?;
    let pins = target.pins()?;
    let wanted = find(args)?;
    let source = Source::open(target.url()?).or_exit(Exit::Usage)?;
    let max_age = args.max_age.map(|age| age.as_secs());
    let observed = observe(&source, pins, Memory::of_user().as_ref(), max_age, out).await?;
    let verdict = match args.index {
        Some(index) => at_index(&source, &observed.checkpoint, &wanted, LeafIndex(index)).await,
        None => search(&source, &observed.checkpoint, &wanted, out).await,
    }
    .or_exit(Exit::LogFailure)?;
    let Observed { checkpoint, standing, lagging } = &observed;
    let report = Report {
        subject: format!("{} {}", wanted.repo, wanted.path),
        must_be_fresh: verdict.needs_freshness() || max_age.is_some(),
        verdict,
        checkpoint,
        standing,
        lagging: *lagging,
    };
    Ok(report.tell(out))
}

/// The record's canonical entry, out of the repodata file, which must not list the file twice differently.
fn find(args: &RecordArgs) -> Result<Wanted, Failed> {
    let repo = Repo::parse(&args.repo).map_err(|error| Failed::usage(format!("--repo: {error}")))?;
    let subdir = Subdir::parse(&args.subdir).map_err(|error| Failed::usage(format!("--subdir: {error}")))?;
    let path = format!("{}/{}", args.subdir, args.file);
    let name = args.repodata.display();
    let file = File::open(&args.repodata).with_context(|| format!("cannot read {name}"))?;
    let (_, plain) = decompress(file).with_context(|| format!("cannot read {name}"))?;
    let mut found: Option<Vec<u8>> = None;
    let mut twice = false;
    let read = repodata::read(plain, &repo, &subdir, |event| {
        match event {
            Event::Record(record) if record.path == path => {
                // Beyond the names that are watched no conflict is reported: both records come.
                twice |= found.as_ref().is_some_and(|first| first != record.entry);
                found = Some(record.entry.to_vec());
            }
            Event::Conflict { file, .. } => twice |= file == args.file,
            _ => {}
        }
        Ok::<(), Infallible>(())
    });
    read.map_err(|error| anyhow::anyhow!("cannot read {name}: {error}"))?;
    if twice {
        // Whichever were verified, an installer may take the other one.
        return Err(Failed::new(
            Exit::Mismatch,
            format!(
                "{name} lists {} twice with different records; nobody can say which one an installer takes, so neither is verified",
                args.file
            ),
        ));
    }
    let entry = found.ok_or_else(|| {
        Failed::new(
            Exit::OwnFailure,
            format!("{name} lists no {} (give the file name as repodata spells it)", args.file),
        )
    })?;
    Ok(Wanted { repo: repo.as_str().into(), path, entry })
}

/// The verdict of the one entry at `index`, proven to be there.
async fn at_index(
    source: &Source,
    checkpoint: &VerifiedCheckpoint,
    wanted: &Wanted,
    index: LeafIndex,
) -> anyhow::Result<Verdict> {
    let size = checkpoint.size();
    let Some((bundle, position)) = BundleId::of_entry(size, index) else {
        return Ok(Verdict::NotLogged);
    };
    let inclusion = Inclusion::new(index, size)?;
    let tiles = source.tiles(inclusion.tiles()).await?;
    let included = inclusion.finish(checkpoint.root(), glasslog_hash::hasher(), |id| tiles.get(id))?;
    if included.leaf == leaf_hash(&wanted.entry) {
        included.proof.verify(&included.leaf, index, size, checkpoint.root())?;
        return Ok(Verdict::Logged { index });
    }
    let bytes = source.bundle(&bundle).await?;
    let entries = EntryBundle::parse(&bytes, bundle.width).with_context(|| bundle.path())?;
    let entry = entries.iter().nth(position).filter(|entry| leaf_hash(entry) == included.leaf);
    let entry =
        entry.with_context(|| format!("entry {index} in {} is not the one that is proven", bundle.path()))?;
    Ok(Judge::new(wanted)?.only(index, entry))
}

/// Searches the log, newest entries first, each verified before it is looked at.
async fn search(
    source: &Source,
    checkpoint: &VerifiedCheckpoint,
    wanted: &Wanted,
    out: &Output,
) -> anyhow::Result<Verdict> {
    let bar = out.progress(checkpoint.size().0, "searching", "entries");
    let mut judge = Judge::new(wanted)?;
    let mut scan = EntryScan::new(checkpoint.size(), *checkpoint.root(), glasslog_hash::hasher());
    let fetched =
        stream::iter(scan_order(checkpoint.size())).map(|object| fetch(source, object)).buffered(READ_AHEAD);
    let mut fetched = std::pin::pin!(fetched);
    while let Some((object, bytes)) = fetched.try_next().await? {
        let Some(bundle) = scan.accept(&object, &bytes)? else { continue };
        let entries = bundle.newest_first();
        bar.inc(entries.len() as u64);
        for (index, entry) in entries {
            if let Some(verdict) = judge.see(index, entry)? {
                bar.finish_and_clear();
                return Ok(verdict);
            }
        }
    }
    bar.finish_and_clear();
    Ok(judge.end())
}

async fn fetch(source: &Source, object: ResourcePath) -> anyhow::Result<(ResourcePath, bytes::Bytes)> {
    let bytes = source.object(&object).await?;
    Ok((object, bytes))
}
