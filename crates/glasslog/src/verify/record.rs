//! `glasslog verify record`.

use std::{convert::Infallible, fs::File};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use glasslog_client::{
    lookup::{self, Inquiry, MAX_ENTRIES, MAX_LIST},
    scan::{EntryScan, scan_order},
    verdict::Verdict,
};
use glasslog_conda::{
    Conda1Map,
    decompress::decompress,
    names::{Repo, Subdir},
    repodata::{self, Event},
};
use glasslog_core::{LeafIndex, checkpoint::VerifiedCheckpoint, tile::ResourcePath};

use super::{
    RecordArgs, content,
    judge::{Judge, Wanted},
    report::{self, Report},
};
use crate::{
    exit::{Exit, Failed, OrExit, Outcome},
    fetch::{FetchError, Memory, Observed, Source, Target, observe},
    ground::Ground,
    lookup::{Asking, Believed},
    output::Output,
};

/// Objects that a search reads ahead.
const READ_AHEAD: usize = 16;

/// A verdict, and what it rests on.
struct Ruling {
    verdict: Verdict,
    observed: Observed,
    /// Where the index is anchored that led to it.
    anchor: Option<LeafIndex>,
    /// The newest entry before ours that holds another artifact under the path, and that artifact: ours came in its place.
    replaced: Option<(LeafIndex, String)>,
}

/// Runs it.
pub(super) async fn run(args: &RecordArgs, out: &Output) -> Outcome {
    let target = Target::of(&args.log)?;
    let pins = target.pins()?;
    let wanted = find(args)?;
    let source = Source::open(target.url()?).or_exit(Exit::Usage)?;
    let memory = Memory::of_user();
    let demand = args.age.demand();
    let asking = Asking { source: &source, pins, memory: memory.as_ref(), demand, out };
    // Before the record: what is said of it is then of no older tree than its subdir's snapshot.
    let content = match args.max_content_age.or(target.max_content_age) {
        Some(max_age) => Some(content::of(&asking, &wanted, max_age).await?),
        None => None,
    };
    let by_index =
        if args.search || args.index.is_some() { None } else { by_index(&asking, &wanted).await? };
    let ruling = match by_index {
        Some(ruling) => ruling,
        None => by_reading(args, &asking, &wanted).await?,
    };
    let size = ruling.observed.checkpoint.size();
    let is_behind = content.as_ref().is_some_and(|content| content.tree_size > size);
    let report = Report {
        subject: format!("{} {}", wanted.repo, wanted.path),
        ground: Ground {
            checkpoint: &ruling.observed.checkpoint,
            standing: &ruling.observed.standing,
            lagging: ruling.observed.lagging || is_behind,
            must_be_fresh: ruling.verdict.needs_freshness() || demand.is_explicit(),
            anchor: ruling.anchor,
            content: content.as_ref().filter(|_| ruling.verdict.needs_freshness()),
        },
        verdict: ruling.verdict,
        replaced: ruling.replaced,
    };
    Ok(report.tell(out))
}

/// Without an index: the one entry that was named, or a search of all.
async fn by_reading(args: &RecordArgs, asking: &Asking<'_>, wanted: &Wanted) -> Result<Ruling, Failed> {
    let Asking { source, pins, memory, demand, out } = *asking;
    if args.index.is_none() && !args.search {
        out.note("the log has no index that can be asked: searching its entries, newest first");
    }
    let observed = observe(source, pins, memory, demand, out).await?;
    let verdict = match args.index {
        Some(index) => at_index(source, &observed.checkpoint, wanted, LeafIndex(index)).await,
        None => search(source, &observed.checkpoint, wanted, out).await,
    };
    Ok(Ruling { verdict: verdict.or_exit(Exit::LogFailure)?, observed, anchor: None, replaced: None })
}

/// What the log's index says about the path, judged by the entries that it leads to; `None` if there is no index.
async fn by_index(asking: &Asking<'_>, wanted: &Wanted) -> Result<Option<Ruling>, Failed> {
    let name = format!("conda/{}/{}", wanted.repo, wanted.path);
    let inquiry = Inquiry::of_name(asking.pins, &Conda1Map, Some("path"), &name).or_exit(Exit::Usage)?;
    let shown = lookup::Wanted { list: MAX_LIST, entries: MAX_ENTRIES };
    let answer = asking.ask(&inquiry, shown).await.inspect_err(|failed| {
        if let Some(FetchError::Status { status: 503, .. }) = failed.error.downcast_ref() {
            asking.out.note("while its index does not answer, --search reads the log's entries instead");
        }
    });
    let Some(mut believed) = answer? else { return Ok(None) };
    let mut verdict = judge(asking.source, &inquiry, &believed, wanted).await?;
    if verdict.is_none() {
        // None of the newest decides: the rest of the path's history has to be read.
        let Some(whole) = asking.complete(&inquiry, believed).await? else { return Ok(None) };
        believed = whole;
        verdict = judge(asking.source, &inquiry, &believed, wanted).await?;
    }
    let verdict = verdict.context("the history of the path decides nothing")?;
    let replaced = replaced_by_ours(&believed, &verdict, wanted)?;
    let anchor = believed.answered.verified.anchored().map(|(anchor, _)| anchor);
    Ok(Some(Ruling { verdict, observed: believed.observed, anchor, replaced }))
}

/// Of the proven entries that the answer showed, the newest one before ours that holds another artifact.
fn replaced_by_ours(
    believed: &Believed,
    verdict: &Verdict,
    wanted: &Wanted,
) -> Result<Option<(LeafIndex, String)>, Failed> {
    let (Some(ours), Some(present)) = (report::places(verdict).0, believed.present()) else {
        return Ok(None);
    };
    let judge = Judge::new(wanted)?;
    let older = present.entries.iter().rev().filter(|(index, _)| *index < ours);
    Ok(older
        .map(|(index, entry)| (*index, judge.other_artifact(entry)))
        .find_map(|(index, other)| Some((index, other?))))
}

/// The verdict of the proven entries of the path, newest first; `None` if they do not decide and there are more.
async fn judge(
    source: &Source,
    inquiry: &Inquiry<'_>,
    believed: &Believed,
    wanted: &Wanted,
) -> Result<Option<Verdict>, Failed> {
    let mut judge = Judge::new(wanted)?;
    for index in believed.indices().iter().rev() {
        let entry = believed.entry(source, inquiry, *index).await?;
        if let Some(verdict) = judge.see(*index, &entry).or_exit(Exit::LogFailure)? {
            return Ok(Some(verdict));
        }
    }
    Ok(believed.is_complete().then(|| judge.end()))
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
    if !checkpoint.size().contains(index) {
        return Ok(Verdict::NotLogged);
    }
    let (entry, _) = source.proven_entry(checkpoint, index).await?;
    Ok(Judge::new(wanted)?.only(index, &entry))
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
