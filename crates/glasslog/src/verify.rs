//! `glasslog verify`: canonical entry → leaf hash → inclusion → checkpoint signature → policy.

mod judge;
mod proof;
mod record;
pub(crate) mod report;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use crate::{cli::LogArgs, exit::Outcome, output::Output};

/// What to verify.
#[derive(Debug, Subcommand)]
pub enum VerifyCommand {
    /// A record of a channel's repodata
    Record(RecordArgs),
    /// A c2sp.org/tlog-proof file, without asking anybody
    Proof(ProofArgs),
}

/// Arguments of `glasslog verify record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Channel, for example conda-forge
    #[arg(long)]
    pub repo: String,
    /// Subdir, for example linux-64
    #[arg(long)]
    pub subdir: String,
    /// File name of the package
    #[arg(long, value_name = "NAME")]
    pub file: String,
    /// repodata.json (.zst, .bz2) that holds the record
    #[arg(long, value_name = "FILE")]
    pub repodata: PathBuf,
    /// Where the log holds the record: only that entry is looked at, not whether the file was replaced since. Without it the log is searched, newest entries first
    #[arg(long, value_name = "N")]
    pub index: Option<u64>,
    /// How old the answer may be, for example 90m or 2d [default: 24h, if witnesses or the log's cosigner say the time]
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    pub max_age: Option<Duration>,
    /// The log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Arguments of `glasslog verify proof`.
#[derive(Debug, Args)]
pub struct ProofArgs {
    /// The proof
    pub file: PathBuf,
    /// The entry it is about: a proof says nothing without it
    #[arg(long, value_name = "FILE")]
    pub entry: Option<PathBuf>,
    /// How old the proof's checkpoint may be, for example 90m or 2d [default: any age]
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    pub max_age: Option<Duration>,
    /// Keys and policy.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Runs it.
///
/// # Errors
///
/// [`crate::exit::Failed`].
pub async fn run(command: VerifyCommand, out: &Output) -> Outcome {
    match command {
        VerifyCommand::Record(args) => record::run(&args, out).await,
        VerifyCommand::Proof(args) => proof::run(&args, out),
    }
}

/// `90s`, `15m`, `24h`, `7d`, or a number of seconds.
fn parse_age(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let with_unit = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
    let (number, seconds) = with_unit.unwrap_or((text, 1));
    let number: Option<u64> = number.parse().ok();
    let age = number.and_then(|number| number.checked_mul(seconds)).map(Duration::from_secs);
    age.ok_or_else(|| "expected a number of seconds, or 90s, 15m, 24h, 7d".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_with_their_unit() {
        for (text, seconds) in
            [("0", 0), ("90", 90), ("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800)]
        {
            assert_eq!(parse_age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "h", "1.5h", "-1", "1w", "99999999999999999999", "18446744073709551615d", "1dd"] {
            assert!(parse_age(wrong).is_err(), "{wrong}");
        }
    }
}
