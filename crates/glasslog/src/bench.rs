//! `glasslog bench`: load, then a recount.
//!
//! Writers send entries over plain HTTP/1.1 keep-alive connections: as fast as the answers come (closed loop), or at a
//! rate (open loop, where latency counts from the moment at which an entry *should* have been sent, so that a stall
//! is charged to every entry it delays). Then everything acknowledged must become public, and a sample of it is read
//! back and proven to be at its acknowledged index; where the log keeps an index, it is looked up there too, with proof.

mod connection;
mod disk;
mod entries;
mod load;
mod lookups;
mod publication;
mod recount;
mod report;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::{
    cli::LogArgs,
    exit::{Exit, Failed, OrExit, Outcome},
    output::Output,
};
use connection::Endpoint;
use entries::Entries;
use hyper::Uri;
use publication::Publication;

/// How long everything acknowledged may take to become public before it counts as lost.
const PUBLICATION_PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of `glasslog bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// The log to load (http)
    #[arg(value_name = "URL")]
    pub url: String,
    /// Keep-alive connections that write
    #[arg(long, short, value_name = "N", default_value = "64")]
    pub connections: NonZeroUsize,
    /// Entries per second to offer (open loop), or max: each connection sends when its answer has come (closed loop)
    #[arg(long, value_name = "R|max", default_value = "max", value_parser = parse_rate)]
    pub rate: Rate,
    /// How long to write, in seconds
    #[arg(long, value_name = "S", default_value = "10")]
    pub duration: u64,
    /// Stop after so many entries, if that comes first
    #[arg(long, value_name = "N")]
    pub entries: Option<u32>,
    /// Entries per request; more than one goes to /add-batch
    #[arg(long, value_name = "N", default_value = "1")]
    pub batch: NonZeroUsize,
    /// What the entries are
    #[arg(long, value_name = "KIND", default_value = "conda")]
    pub kind: Kind,
    /// Bytes of each entry [default: 400 to 600, mixed]
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u16).range(1..))]
    pub size: Option<u16>,
    /// The channel that conda entries are of
    #[arg(long, value_name = "REPO", default_value = "bench")]
    pub repo: String,
    /// Another seed gives other entries [default: random]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Percentage of requests that send an acknowledged entry again
    #[arg(long, value_name = "P", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub duplicates: u8,
    /// Wait for publication with each request (?wait=published)
    #[arg(long, conflicts_with_all = ["batch", "duplicates"])]
    pub wait_published: bool,
    /// How many acknowledged entries to read back with proof
    #[arg(long, value_name = "N", default_value = "1000")]
    pub sample: usize,
    /// Only read this path (for example tile/0/000), over and over, and write nothing
    #[arg(long, value_name = "PATH")]
    pub get: Option<String>,
    /// Only look up random keys of the first N entries that a run with this --seed wrote, and write nothing
    #[arg(long, value_name = "N", requires = "seed", conflicts_with = "get", value_parser = clap::value_parser!(u64).range(1..))]
    pub lookups: Option<u64>,
    /// Measure fdatasync in this directory too, for the figures to be read against
    #[arg(long, value_name = "DIR")]
    pub disk: Option<PathBuf>,
    /// Keys, policy and token. Without a key the roots are taken as served
    #[command(flatten)]
    pub log: LogArgs,
}

/// How fast to offer entries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// As fast as the answers come.
    Max,
    /// So many entries each second.
    PerSecond(f64),
}

/// What the entries are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Unique records of the schema conda-1
    Conda,
    /// Unique bytes
    Raw,
}

/// Runs it: 0 if nothing was lost, 1 if something was, 4 if the log cannot be reached.
///
/// # Errors
///
/// [`Failed`].
pub async fn run(args: BenchArgs, out: &Output) -> Outcome {
    let endpoint = Endpoint::new(&args.url, args.log.token()?.as_deref()).map_err(Failed::usage)?;
    let fdatasync = args.disk.as_deref().map(disk::fdatasync_p50).transpose()?;
    if let Some(path) = &args.get {
        let uri = endpoint.uri(path).map_err(Failed::usage)?;
        return reads(&args, &endpoint, path, vec![uri], out).await;
    }
    if let (Some(count), Some(seed)) = (args.lookups, args.seed) {
        let uris = lookups::uris(&endpoint, &Entries::new(&args, seed), count)?;
        return reads(&args, &endpoint, "vindex/lookup", uris, out).await;
    }
    let seed = match args.seed {
        Some(seed) => seed,
        None => getrandom::u64()?,
    };
    let settings = report::Settings::new(&args, seed, fdatasync);
    settings.print(out);

    let publication = Publication::watch(&endpoint).await.or_exit(Exit::LogFailure)?;
    let bar = out.progress(0, "writing", "entries");
    let load = load::write(&args, &endpoint, seed, &bar).await.or_exit(Exit::LogFailure)?;
    bar.finish_and_clear();
    let published = publication.wait_for(load.needed_size(), PUBLICATION_PATIENCE).await;
    let recount = recount::recount(&args, &endpoint, seed, &load, &published, out).await?;
    Ok(report::print(&settings, &load, &published, &recount, out))
}

async fn reads(args: &BenchArgs, endpoint: &Endpoint, path: &str, uris: Vec<Uri>, out: &Output) -> Outcome {
    let bar = out.progress(0, "reading", "objects");
    let load = load::read(args, endpoint, uris, &bar).await.or_exit(Exit::LogFailure)?;
    bar.finish_and_clear();
    Ok(report::print_reads(path, args, &load, out))
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.map(Rate::PerSecond).ok_or_else(|| "expected entries per second, or max".into())
}
