//! `glasslog config check`: what the settings come to, and who said so.

mod online;

use std::path::Path;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{
    exit::{Exit, Failed, OrExit, Outcome},
    log_dir,
    output::{Output, Tone},
    serve::ServeArgs,
    settings::{
        LogSettings, Settings,
        layers::{Layer, Layers, Source},
        table::{Kind, Setting, TABLE, WITNESS_TABLE},
        witness::WitnessSettings,
    },
    witness::WitnessArgs,
    witnesses,
};

/// `glasslog config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Explain each effective setting and where it came from
    Check(Box<CheckArgs>),
}

/// Arguments of `glasslog config check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Ask each witness what it holds of the log. Nothing is submitted
    #[arg(long)]
    pub online: bool,
    /// What `glasslog serve` takes.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Takes the flags of `glasslog serve`, and says what it would run with; and a witness, if file or environment speak of one.
///
/// # Errors
///
/// [`crate::exit::Failed`] with 64 for settings that `serve` would refuse. With `--online`, the exit code is 4 when the
/// witnesses that answer cannot fill a log's quorum.
pub async fn run(command: ConfigCommand, out: &Output) -> Outcome {
    let ConfigCommand::Check(args) = command;
    let layers = args.serve.layers()?;
    let settings = Settings::resolve(&layers, args.serve.dir.as_deref()).or_exit(Exit::Usage)?;
    let mut lines = explain(&layers, &settings);
    lines.extend(explain_witness(args.serve.config.as_deref())?);
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or_default();
    for line in &lines {
        let (name, from) =
            (format!("{:width$}", line.name), out.paint(Tone::Faint, format!("({})", line.from)));
        out.line(format_args!("{name}  {}  {from}", line.value));
    }
    let writes = match (settings.api_keys.len(), settings.anonymous_writes) {
        (0, _) => "anyone who reaches it may write".to_owned(),
        (tokens, true) => format!("{tokens} token(s), and anyone who reaches it may write"),
        (tokens, false) => format!("writes need one of {tokens} token(s)"),
    };
    out.line("");
    // On loopback the defaults above hold only when they are asked for.
    let limit = if settings.rate.is_none() { "; no rate limit" } else { "" };
    out.line(format_args!("listens on {}: {writes}{limit}", settings.listen));
    for log in &settings.logs {
        out.line(cosigning(log, out)?);
        out.line(indexing(log));
    }
    if !args.online {
        out.json(&lines);
        return Ok(Exit::Ok);
    }
    let looking = move || settings.logs.iter().map(online::look).collect::<Result<Vec<_>, _>>();
    let seen = tokio::task::spawn_blocking(looking).await??;
    let seen: Vec<_> = seen.into_iter().flatten().collect();
    if seen.is_empty() {
        out.line("no witness is asked for");
    }
    seen.iter().for_each(|seen| seen.tell(out));
    out.json(&Online { settings: &lines, logs: &seen });
    Ok(seen.iter().fold(Exit::Ok, |exit, seen| exit.worst(seen.exit())))
}

/// How the log's checkpoints come to be cosigned; refused is what `serve` would refuse.
fn cosigning(log: &LogSettings, out: &Output) -> Result<String, Failed> {
    // Whoever checks settings need not be the user whose key it is.
    let keys = log_dir::known_keys(log).or_else(|failed| match failed.exit {
        Exit::OwnFailure => {
            out.warn(format_args!("{:#}; what depends on the log's key is not checked", failed.error));
            Ok(Vec::new())
        }
        _ => Err(failed),
    })?;
    let keys: Vec<_> = keys.iter().map(|key| key.verifier_key().clone()).collect();
    if let (Some(texts), false) = (&log.cosigner_key, keys.is_empty()) {
        witnesses::own_cosigners(texts, &keys)?;
    }
    let name = log.prefix.strip_prefix('/').map_or(String::new(), |name| format!("{name}: "));
    Ok(match witnesses::policy(&log.witnesses, &keys)? {
        None => format!("{name}no witnesses"),
        Some((policy, _)) if policy.is_quorum_none() => {
            format!("{name}{} witness(es), of which none need cosign", policy.distinct_witnesses())
        }
        Some((policy, _)) => format!(
            "{name}{} witness(es): nothing is published that their quorum has not cosigned",
            policy.distinct_witnesses()
        ),
    })
}

/// What the log's verifiable index is of.
fn indexing(log: &LogSettings) -> String {
    let name = log.prefix.strip_prefix('/').map_or(String::new(), |name| format!("{name}: "));
    match &log.index.key_field {
        _ if !log.index.enabled => format!("{name}no verifiable index"),
        Some(field) => format!("{name}indexed by the member {:?} of its entries", field.field()),
        None => format!("{name}indexed by what its schema names"),
    }
}

/// With `--online`.
#[derive(Serialize)]
struct Online<'a> {
    settings: &'a [Line],
    logs: &'a [online::Seen],
}

/// One effective value.
#[derive(Serialize)]
struct Line {
    name: String,
    value: String,
    from: String,
}

fn explain(layers: &Layers, settings: &Settings) -> Vec<Line> {
    let settled = || TABLE.iter().filter(|setting| !matches!(setting.kind, Kind::NotYet(_)));
    let everyone = [&layers.given, &layers.file];
    let mut lines: Vec<Line> = Vec::new();
    if layers.logs.is_empty() {
        lines.extend(settled().map(|setting| line(setting, "", &everyone)));
    } else {
        lines.extend(
            settled().filter(|setting| !setting.is_per_log()).map(|setting| line(setting, "", &everyone)),
        );
        for log in &layers.logs {
            let asked = [&layers.given, &log.layer, &layers.file];
            let name = format!("{}:", log.name);
            lines.extend(
                settled().filter(|setting| setting.is_per_log()).map(|setting| line(setting, &name, &asked)),
            );
        }
    }
    for log in &settings.logs {
        let name =
            format!("{}dir", log.prefix.strip_prefix('/').map_or(String::new(), |name| format!("{name}:")));
        lines.push(Line { name, value: log.dir.display().to_string(), from: "where it lies".into() });
    }
    lines
}

/// What `glasslog witness` would be told by the same file and environment, if they speak of one.
fn explain_witness(file: Option<&Path>) -> Result<Vec<Line>, Failed> {
    let args = WitnessArgs { config: file.map(Path::to_owned), ..WitnessArgs::default() };
    let layers = args.layers()?;
    let spoken_of = !layers.file.is_empty() || layers.given.keys().any(|name| name.starts_with("WITNESS_"));
    if !spoken_of {
        return Ok(Vec::new());
    }
    let settings = WitnessSettings::resolve(&layers, None).or_exit(Exit::Usage)?;
    let asked = [&layers.given, &layers.file];
    let mut lines: Vec<Line> =
        WITNESS_TABLE.iter().map(|setting| line(setting, "witness:", &asked)).collect();
    let dir = settings.dir.display().to_string();
    lines.push(Line { name: "witness:dir".into(), value: dir, from: "where it lies".into() });
    Ok(lines)
}

fn line(setting: &Setting, log: &str, asked: &[&Layer]) -> Line {
    let given = asked.iter().find_map(|layer| layer.get(setting.name));
    let value = match given {
        Some(_) if setting.is_secret() => "(secret)".to_owned(),
        Some(given) => given.text.to_string(),
        None if setting.default.is_empty() => "-".to_owned(),
        None => setting.default.to_owned(),
    };
    let from = given.map_or(&Source::Default, |given| &given.source).to_string();
    Line { name: format!("{log}{}", setting.name), value, from }
}
