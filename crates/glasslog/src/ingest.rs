//! `glasslog ingest`: what a channel lists, into a log.
//!
//! For each source: take the log's published size, fetch the source, refuse it if it is older than what was sent last
//! (`seen`), then read it record by record on a thread of its own and send batches, several in flight (`send`).
//! Every batch says `If-Unchanged-Since` that size, so that nobody's newer record is rolled back; when the log answers
//! 412, the source is started again. Equal entries are not appended again, so repeating and interrupting are harmless.

mod connect;
mod fetch;
mod read;
mod seen;
mod send;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use glasslog_conda::{
    names::{Repo, Subdir},
    source,
};
use glasslog_core::TreeSize;
use serde::Serialize;

use crate::{
    cli::LogArgs,
    exit::{Exit, Failed, OrExit, Outcome},
    output::{Output, Tone},
};
use connect::Log;
use fetch::Fetched;
use read::Jsonl;
use seen::Seen;
use send::{SendError, Sent};

/// How often a source is started, when other writers change the log under it.
const STARTS: usize = 4;

/// Which ecosystem.
#[derive(Debug, Subcommand)]
pub enum IngestCommand {
    /// The repodata of a conda channel
    Conda(Box<CondaArgs>),
}

/// Arguments of `glasslog ingest conda`.
#[derive(Clone, Debug, Args)]
pub struct CondaArgs {
    /// repodata.json, .zst or .bz2: files, file: or http(s) URLs
    #[arg(required = true, value_name = "FILE|URL")]
    pub sources: Vec<String>,
    /// Channel that the records belong to, for example conda-forge; URLs of conda.anaconda.org say it themselves
    #[arg(long)]
    pub repo: Option<String>,
    /// Subdir that the records belong to, when the path of the source does not say it
    #[arg(long)]
    pub subdir: Option<String>,
    /// Also write every entry to this file, one a line
    #[arg(long, value_name = "FILE")]
    pub jsonl_out: Option<PathBuf>,
    /// Read and count, and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Stop after this many records of each source
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Batches on their way at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub in_flight: u8,
    /// Send repodata even if it is older than, or was seen before, what was sent last
    #[arg(long)]
    pub force: bool,
    /// Where it is remembered what was sent [default: ~/.local/state/glasslog]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// What came of one source.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// File or URL.
    pub source: String,
    /// Channel.
    pub repo: String,
    /// Subdir.
    pub subdir: String,
    /// Records that became entries.
    pub records: u64,
    /// Entries that the log appended.
    pub new: u64,
    /// Entries that it had.
    pub already_logged: u64,
    /// What could not be logged: name and reason.
    pub refused: Vec<(String, String)>,
    /// Files that are listed twice with different records.
    pub conflicts: Vec<String>,
    /// Top-level keys of the source that conda does not define.
    pub unknown_keys: Vec<String>,
    /// Records that are logged, and that something about is odd.
    pub flagged: Flagged,
    /// Why the source could not be read to its end, if it could not.
    pub incomplete: Option<String>,
    /// Why it was not sent, or not all of it.
    pub failed: Option<String>,
    /// The exit code of that.
    #[serde(skip)]
    pub failure: Option<Exit>,
}

/// How many records are logged and flagged (FORMATS §4).
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Flagged {
    /// Without any hash: nothing says which file they mean.
    pub hashless: u64,
    /// With an md5 and no sha256.
    pub md5_only: u64,
    /// Without canonical form: only a hash of their bytes is logged.
    pub meta_raw: u64,
    /// Not watched for being listed twice, since the source lists too many files.
    pub unwatched: u64,
}

impl Report {
    fn of(channel: &Channel) -> Report {
        Report {
            source: channel.location.clone(),
            repo: channel.repo.to_string(),
            subdir: channel.subdir.to_string(),
            ..Report::default()
        }
    }

    /// Takes in one pass; an earlier one that was started again counts no more.
    fn take(&mut self, found: read::Found, sent: Sent) {
        let read::Found { records, refused, conflicts, unknown_keys, flagged, incomplete } = found;
        (self.records, self.new, self.already_logged) = (records, sent.new, sent.already_logged);
        (self.refused, self.conflicts, self.unknown_keys) = (refused, conflicts, unknown_keys);
        (self.flagged, self.incomplete) = (flagged, incomplete);
        self.refused.extend(sent.refused);
    }

    fn exit(&self) -> Exit {
        let refused =
            if self.refused.is_empty() && self.conflicts.is_empty() { Exit::Ok } else { Exit::Mismatch };
        let unread = if self.incomplete.is_some() { Exit::OwnFailure } else { Exit::Ok };
        refused.worst(unread).worst(self.failure.unwrap_or(Exit::Ok))
    }
}

/// A source and what its records belong to.
#[derive(Clone, Debug)]
struct Channel {
    location: String,
    repo: Repo,
    subdir: Subdir,
}

/// Runs it.
///
/// # Errors
///
/// [`Failed`] with 64 when it is not said what the records belong to, 4 when the log cannot be reached at the beginning.
/// What happens to one source is in its report, and does not keep the others from being sent, unless it would happen to
/// them too.
pub async fn run(command: IngestCommand, out: &Output) -> Outcome {
    let IngestCommand::Conda(args) = command;
    let channels = args.sources.iter().map(|source| channel(source, &args)).collect::<Result<Vec<_>, _>>()?;
    let log = if args.dry_run { None } else { Some(Log::connect(&args.log).await?) };
    if log.as_ref().is_some_and(|log| !log.knows_conda) {
        out.warn(
            "this log has no ENTRY_SCHEMA=conda-1: it cannot tell that two records are of the same file, and so does not \
             refuse older ones",
        );
    }
    let mut jsonl = args.jsonl_out.as_deref().map(Jsonl::create).transpose()?;
    let mut reports: Vec<Report> = Vec::new();
    for channel in &channels {
        let source = Source { channel, log: log.as_ref(), args: &args, out };
        let report = source.ingest(&mut jsonl).await;
        out.line(summary(&report, log.is_some(), out));
        // The log itself is in trouble, or wants none of this: so it would be with the next source.
        let ends = matches!(report.failure, Some(Exit::LogFailure | Exit::Usage));
        reports.push(report);
        if ends {
            break;
        }
    }
    if reports.len() > 1 {
        out.line(summary(&total(&reports), log.is_some(), out));
    }
    if reports.len() < channels.len() {
        out.error(format_args!("{} sources were not tried", channels.len() - reports.len()));
    }
    out.json(&reports);
    let worst = reports.iter().fold(Exit::Ok, |worst, report| worst.worst(report.exit()));
    Ok(worst.worst(put_in_place(jsonl, &reports, out)))
}

/// `--jsonl-out` appears only if it holds what all sources list.
fn put_in_place(jsonl: Option<Jsonl>, reports: &[Report], out: &Output) -> Exit {
    let Some(jsonl) = jsonl else { return Exit::Ok };
    if reports.iter().any(|report| report.failed.is_some()) {
        out.warn("--jsonl-out is not written, since it would not be complete");
        return Exit::Ok;
    }
    match jsonl.finish() {
        Ok(()) => Exit::Ok,
        Err(failed) => {
            out.error(format_args!("{:#}", failed.error));
            failed.exit
        }
    }
}

/// What the records of `location` belong to: from the flags, else from a URL or path that says it.
fn channel(location: &str, args: &CondaArgs) -> Result<Channel, Failed> {
    let known = source::from_url(location);
    let repo = match (&args.repo, &known) {
        (Some(repo), _) => Repo::parse(repo).context("--repo").or_exit(Exit::Usage)?,
        (None, Ok(known)) => known.repo.clone(),
        (None, Err(_)) if !location.contains("://") => {
            return Err(Failed::usage(format!("which channel is {location} from? Give --repo")));
        }
        (None, Err(error)) => return Err(Failed::usage(error.to_string())),
    };
    let named = known.ok().and_then(|known| known.subdir).or_else(|| source::subdir_of(location));
    let subdir = match (&args.subdir, named) {
        (Some(subdir), _) => Subdir::parse(subdir).context("--subdir").or_exit(Exit::Usage)?,
        (None, Some(subdir)) => subdir,
        (None, None) => return Err(Failed::usage(format!("which subdir is {location}? Give --subdir"))),
    };
    Ok(Channel { location: location.to_owned(), repo, subdir })
}

/// One source, and what it needs to be sent.
struct Source<'a> {
    channel: &'a Channel,
    log: Option<&'a Log>,
    args: &'a CondaArgs,
    out: &'a Output,
}

impl Source<'_> {
    async fn ingest(&self, jsonl: &mut Option<Jsonl>) -> Report {
        let mut report = Report::of(self.channel);
        if let Err(failed) = self.start(jsonl, &mut report).await {
            report.failed = Some(format!("{:#}", failed.error));
            report.failure = Some(failed.exit);
        }
        remarks(&report, self.out);
        report
    }

    /// Starts it again as long as other writers get in between and its content has changed since.
    async fn start(&self, jsonl: &mut Option<Jsonl>, report: &mut Report) -> Result<(), Failed> {
        let Source { channel, log, args, out } = *self;
        let mut refused_digest = None;
        for _ in 0..STARTS {
            // Before the source is fetched: whatever another writer adds from here on is newer than what we will read.
            let published = match log {
                Some(log) => log.published().await?,
                None => TreeSize::ZERO,
            };
            let fetched = fetch::fetch(&channel.location).await?;
            if refused_digest == Some(fetched.digest) {
                break;
            }
            let mut seen = match log {
                Some(log) => Some(Seen::load(args.state_dir.as_deref(), &log.origin, channel)?),
                None => None,
            };
            if let Some(seen) = &mut seen {
                if !args.force {
                    seen.refuse_if_older(&fetched, &channel.location)?;
                }
                seen.begin(&fetched)?;
            }
            let digest = fetched.digest;
            let before = jsonl.as_mut().map(Jsonl::position).transpose()?;
            let Some(changed) = self.pass(fetched, published, jsonl, report).await? else {
                if let (Some(seen), None, None) = (seen, &report.incomplete, args.limit) {
                    seen.complete()?;
                }
                return Ok(());
            };
            out.note(format_args!("{}: {changed}; starting it again", channel.location));
            refused_digest = Some(digest);
            if let (Some(jsonl), Some(before)) = (jsonl.as_mut(), before) {
                jsonl.truncate(before)?;
            }
        }
        Err(out_of_date(channel))
    }

    /// Reads it once and sends it; gives the log's words when it answered 412: somebody else's newer record.
    async fn pass(
        &self,
        fetched: Fetched,
        published: TreeSize,
        jsonl: &mut Option<Jsonl>,
        report: &mut Report,
    ) -> Result<Option<String>, Failed> {
        let Source { channel, log, args, out } = *self;
        let bar = out.progress(0, "reading", "records");
        bar.set_message(format!("{}/{}", channel.repo, channel.subdir));
        let bounds = log.map_or(connect::Bounds::DRY, |log| log.bounds);
        let (batches, incoming) = tokio::sync::mpsc::channel(usize::from(args.in_flight));
        let reading = read::Reading {
            channel: channel.clone(),
            fetched,
            bounds,
            limit: args.limit,
            jsonl: jsonl.take(),
            batches,
            progress: bar.clone(),
        };
        let reader = tokio::task::spawn_blocking(move || reading.run());
        let (sent, ended) = match log {
            Some(log) => send::send_all(log, incoming, published, usize::from(args.in_flight)).await,
            None => send::discard(incoming).await,
        };
        let read = reader.await?;
        bar.finish_and_clear();
        *jsonl = read.jsonl;
        let last = sent.last_index;
        report.take(read.found, sent);
        match ended {
            Ok(()) => {}
            Err(SendError::Changed(why)) => return Ok(Some(why)),
            Err(SendError::Failed(failed)) => return Err(failed),
        }
        if let (Some(log), Some(last)) = (log, last) {
            log.wait_until_public(last, out).await;
        }
        read.failed.map_or(Ok(None), Err)
    }
}

fn out_of_date(channel: &Channel) -> Failed {
    let Channel { location, repo, subdir } = channel;
    let message = format!(
        "{location}: another writer has logged newer records of {repo}/{subdir} meanwhile, so this source may be out of \
         date; fetch it again and repeat"
    );
    Failed::new(Exit::Mismatch, message)
}

/// What is not as it should be, each by its name.
fn remarks(report: &Report, out: &Output) {
    for (name, why) in &report.refused {
        out.warn(format_args!("not logged: {}: {why}", name.escape_debug()));
    }
    for name in &report.conflicts {
        out.warn(format_args!("listed twice with different records: {}", name.escape_debug()));
    }
    for key in &report.unknown_keys {
        out.warn(format_args!("unknown top-level key skipped: {}", key.escape_debug()));
    }
    let Flagged { hashless, md5_only, meta_raw, unwatched } = report.flagged;
    for (count, what) in [
        (hashless, "logged without any hash, so they do not say which file they mean"),
        (md5_only, "logged with an md5 and no sha256"),
        (meta_raw, "logged as a hash of their bytes, since they have no canonical form"),
        (unwatched, "not watched for being listed twice: there are too many"),
    ] {
        if count > 0 {
            out.warn(format_args!("{}/{}: {} records {what}", report.repo, report.subdir, thousands(count)));
        }
    }
    if let Some(why) = &report.incomplete {
        out.error(format_args!("{}: {why}", report.source));
    }
    if let Some(why) = &report.failed {
        out.error(format_args!("{}/{}: {why}", report.repo, report.subdir));
    }
}

fn total(reports: &[Report]) -> Report {
    let mut total =
        Report { repo: "all".into(), subdir: format!("{} sources", reports.len()), ..Report::default() };
    for report in reports {
        total.records += report.records;
        total.new += report.new;
        total.already_logged += report.already_logged;
        total.refused.extend(report.refused.iter().cloned());
        total.conflicts.extend(report.conflicts.iter().cloned());
        total.failed = total.failed.or_else(|| report.failed.clone());
    }
    total
}

/// `conda-forge/noarch  +1,742 new  10,390 already logged`
fn summary(report: &Report, sent: bool, out: &Output) -> String {
    let mut line = format!("{}/{}", report.repo, report.subdir);
    if sent {
        let new = out.paint(Tone::Good, format_args!("+{} new", thousands(report.new)));
        line += &format!("  {new}  {} already logged", thousands(report.already_logged));
    } else {
        line += &format!("  {} records, nothing sent", thousands(report.records));
    }
    if !report.refused.is_empty() {
        let refused = thousands(report.refused.len() as u64);
        line += &format!("  {}", out.paint(Tone::Bad, format_args!("{refused} NOT LOGGED")));
    }
    if !report.conflicts.is_empty() {
        let conflicts = thousands(report.conflicts.len() as u64);
        line += &format!("  {}", out.paint(Tone::Bad, format_args!("{conflicts} listed twice")));
    }
    if report.failed.is_some() {
        line += &format!("  {}", out.paint(Tone::Bad, "FAILED"));
    }
    line
}

/// `12,132`
fn thousands(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(repo: Option<&str>, subdir: Option<&str>) -> CondaArgs {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: CondaArgs,
        }
        let mut args = Line::parse_from(["ingest", "x"]).args;
        args.repo = repo.map(str::to_owned);
        args.subdir = subdir.map(str::to_owned);
        args
    }

    #[test]
    fn what_the_records_belong_to() {
        for (location, repo, subdir, expected) in [
            (
                "https://conda.anaconda.org/conda-forge/noarch/repodata.json",
                None,
                None,
                Some("conda-forge/noarch"),
            ),
            ("/srv/noarch/repodata.json", Some("mine"), None, Some("mine/noarch")),
            ("/srv/x/repodata.json", Some("mine"), Some("linux-64"), Some("mine/linux-64")),
            (
                "https://mirror.example/noarch/repodata.json",
                Some("conda-forge"),
                None,
                Some("conda-forge/noarch"),
            ),
            ("/srv/noarch/repodata.json", None, None, None),
            ("https://mirror.example/noarch/repodata.json", None, None, None),
            ("/srv/x/repodata.json", Some("mine"), None, None),
            ("/srv/noarch/repodata.json", Some("http://no"), None, None),
        ] {
            let found = channel(location, &args(repo, subdir))
                .map(|found| format!("{}/{}", found.repo, found.subdir));
            match (found, expected) {
                (Ok(found), Some(expected)) => assert_eq!(found, expected, "{location}"),
                (Err(failed), None) => assert_eq!(failed.exit, Exit::Usage, "{location}"),
                (found, _) => panic!("{location}: {:?}", found.map_err(|failed| failed.error)),
            }
        }
    }

    #[test]
    fn the_summary_is_one_line_that_says_what_matters() {
        let out = Output::new(false, false, crate::output::Colour::Never);
        let mut report = Report { repo: "c".into(), subdir: "noarch".into(), ..Report::default() };
        (report.new, report.already_logged) = (1742, 10_390);
        assert_eq!(summary(&report, true, &out), "c/noarch  +1,742 new  10,390 already logged");
        report.refused.push(("a".into(), "why".into()));
        assert!(summary(&report, true, &out).ends_with("1 NOT LOGGED"));
        assert_eq!(report.exit(), Exit::Mismatch);
    }
}
