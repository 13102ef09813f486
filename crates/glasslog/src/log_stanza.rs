//! `glasslog log-stanza`: what a log's operator sends to witnesses (witness-network.org, `logs/v0`).

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Args;
use glasslog_core::{
    checkpoint::VerifiedCheckpoint,
    note::{Algorithm, Note, VerifierKey},
};
use glasslog_witness::list;
use serde::Serialize;

use crate::{
    exit::{Exit, Failed, OrExit, Outcome},
    fetch::{HOW_TO_PIN, Source},
    keys::{KEY_FILE, ML_DSA},
    log_dir::{self, REFRESH_INTERVAL},
    output::Output,
    serve::ServeArgs,
    settings::{LogSettings, SettingFlags},
};

const DAY: Duration = Duration::from_secs(86_400);

/// Arguments of `glasslog log-stanza`.
#[derive(Debug, Args)]
pub struct LogStanzaArgs {
    /// The log's directory [default: ./glasslog-data]
    #[arg(long, value_name = "DIR", conflicts_with = "log_url")]
    pub dir: Option<PathBuf>,
    /// Settings file of the log
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of the log, where its directory is not at hand
    #[arg(long, value_name = "URL", requires = "vkey")]
    pub log_url: Option<String>,
    /// Key of the log at --log-url
    #[arg(long, value_name = "VKEY", requires = "log_url")]
    pub vkey: Option<String>,
    /// Checkpoints a day that witnesses are asked to cosign [default: what CHECKPOINT_INTERVAL can come to]
    #[arg(long, value_name = "N")]
    pub qpd: Option<NonZeroU32>,
    /// The log's pause between checkpoints [default: that of its settings]
    #[arg(long, value_name = "TIME")]
    pub checkpoint_interval: Option<String>,
    /// Whom to write to about the log
    #[arg(long, value_name = "TEXT")]
    pub contact: Option<String>,
}

#[derive(Serialize)]
struct Told<'a> {
    origin: &'a str,
    vkey: String,
    qpd: u32,
    contact: Option<&'a str>,
    stanza: &'a str,
}

/// Prints the stanza.
///
/// # Errors
///
/// [`Failed`] with 64 for settings, 4 when the log cannot be asked or does not verify, 5 for files.
pub async fn run(args: LogStanzaArgs, out: &Output) -> Outcome {
    let log = settings(&args)?;
    let (origin, key) = match (&args.log_url, &args.vkey) {
        (Some(url), Some(vkey)) => of_url(url, vkey).await?,
        _ => of_directory(&log)?,
    };
    let qpd = match args.qpd {
        Some(qpd) => qpd,
        None => queries_per_day(log.checkpoint_interval)?,
    };
    let stanza = list::stanza(&origin, &key, qpd, args.contact.as_deref()).or_exit(Exit::Usage)?;
    out.line(stanza.trim_end());
    out.json(&Told {
        origin: &origin,
        vkey: key.to_string(),
        qpd: qpd.get(),
        contact: args.contact.as_deref(),
        stanza: &stanza,
    });
    if args.contact.is_none() {
        out.note("Add --contact: a witness's operator wants to know whom to write to.");
    }
    Ok(Exit::Ok)
}

/// The log's settings; a log behind a URL has those that the flags say.
fn settings(args: &LogStanzaArgs) -> Result<LogSettings, Failed> {
    let mut flags = SettingFlags::default();
    if let Some(interval) = &args.checkpoint_interval {
        flags = flags.with("checkpoint-interval", interval);
    }
    // Where it listens, and who may write to it there, is of no concern here.
    flags = flags.with("allow-public-writes", "true");
    let serve = ServeArgs { dir: args.dir.clone(), config: args.config.clone(), settings: flags };
    serve.one_log()
}

/// The key that signs now: witnesses that list the one before go on with that until the overlap ends.
fn of_directory(log: &LogSettings) -> Result<(String, VerifierKey), Failed> {
    let keys = log_dir::known_keys(log)?;
    let key = keys.first().ok_or_else(|| {
        Failed::usage(format!(
            "{} holds no {}: name the log's directory with --dir, or --log-url and --vkey",
            log.dir.display(),
            KEY_FILE
        ))
    })?;
    Ok((key.name().to_owned(), key.verifier_key().clone()))
}

/// The origin as the log signs it, under a key that may have another name.
async fn of_url(url: &str, vkey: &str) -> Result<(String, VerifierKey), Failed> {
    let key: VerifierKey = vkey.parse().map_err(|why| Failed::usage(format!("--vkey {vkey}: {why}")))?;
    if key.algorithm() == Algorithm::CosignatureV1 {
        return Err(Failed::usage(format!("--vkey {vkey} is a cosigner's. {HOW_TO_PIN}")));
    }
    let note = Source::open(url).or_exit(Exit::Usage)?.checkpoint().await.or_exit(Exit::LogFailure)?;
    let parsed = Note::parse(&note).context("the log's checkpoint").or_exit(Exit::LogFailure)?;
    let origin = parsed.text().lines().next().unwrap_or_default().to_owned();
    let checked = [key.clone().checked_by(&ML_DSA)];
    VerifiedCheckpoint::open(&note, &origin, &checked)
        .context("the log's checkpoint is not believed")
        .or_exit(Exit::LogFailure)?;
    Ok((origin, key))
}

/// What a log that is always busy, or always idle, comes to.
fn queries_per_day(interval: Duration) -> Result<NonZeroU32, Failed> {
    let busy = DAY.as_millis().checked_div(interval.as_millis()).ok_or_else(|| {
        Failed::usage(
            "CHECKPOINT_INTERVAL=0 has no number of checkpoints a day: say --qpd what witnesses shall allow",
        )
    })?;
    // An idle log asks for fresh cosignatures, so that verifiers see that it lives.
    let idle = u128::from(DAY.as_secs() / REFRESH_INTERVAL.as_secs());
    let most = u32::MAX >> 1;
    let queries = u32::try_from(busy.max(idle)).unwrap_or(most).min(most);
    Ok(NonZeroU32::new(queries).unwrap_or(NonZeroU32::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_covers_a_busy_log_and_an_idle_one() {
        for (milliseconds, expected) in
            [(1000, 86_400), (50, 1_728_000), (60_000, 1440), (86_400_000, 288), (1, 86_400_000)]
        {
            let qpd = queries_per_day(Duration::from_millis(milliseconds)).unwrap();
            assert_eq!(qpd.get(), expected, "{milliseconds} ms");
        }
        assert!(queries_per_day(Duration::ZERO).is_err());
    }
}
