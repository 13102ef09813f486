//! `glasslog config check`: what the settings come to, and who said so.

use clap::Subcommand;
use serde::Serialize;

use crate::{
    exit::{Exit, OrExit, Outcome},
    output::{Output, Tone},
    serve::ServeArgs,
    settings::{
        Settings,
        layers::{Layer, Layers, Source},
        table::{Kind, Setting, TABLE},
    },
};

/// `glasslog config …`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Explain each effective setting and where it came from
    Check(Box<ServeArgs>),
}

/// Takes the flags of `glasslog serve`, and says what it would run with.
///
/// # Errors
///
/// [`crate::exit::Failed`] with 64 for settings that `serve` would refuse.
pub fn run(command: ConfigCommand, out: &Output) -> Outcome {
    let ConfigCommand::Check(args) = command;
    let layers = args.layers()?;
    let settings = Settings::resolve(&layers, args.dir.as_deref()).or_exit(Exit::Usage)?;
    let lines = explain(&layers, &settings);
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
    out.line(format_args!("listens on {}: {writes}", settings.listen));
    out.json(&lines);
    Ok(Exit::Ok)
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
