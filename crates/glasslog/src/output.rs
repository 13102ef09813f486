//! What the user sees: results on stdout, everything else on stderr.

use std::{
    fmt::Display,
    io::{IsTerminal, Write},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to speak: decided once from the global flags and the terminal, then handed to every command.
#[derive(Clone, Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
    colour: bool,
    progress: bool,
}

/// What counts as good or bad news, and how it is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It holds.
    Good,
    /// Look here.
    Warn,
    /// It does not hold.
    Bad,
    /// Headings and names.
    Strong,
    /// Detail.
    Faint,
}

impl Output {
    /// From the flags `--json`, `--quiet`, `--color` and the terminal.
    #[must_use]
    pub fn new(json: bool, quiet: bool, colour: Colour) -> Output {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let colour = match colour {
            Colour::Auto => terminal && !no_color,
            Colour::Always => true,
            Colour::Never => false,
        };
        Output { json, quiet, colour, progress: !quiet && !json && std::io::stderr().is_terminal() }
    }

    /// Whether results are wanted as JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A line of the result for people, on stdout; nothing with `--json`.
    pub fn line(&self, text: impl Display) {
        if !self.json {
            // A closed pipe (`glasslog … | head`) is the reader's choice, not an error.
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
    }

    /// The result for scripts, one JSON document on one line of stdout; nothing without `--json`.
    pub fn json(&self, value: &impl Serialize) {
        if self.json {
            let mut stdout = std::io::stdout().lock();
            if serde_json::to_writer(&mut stdout, value).is_ok() {
                let _ = writeln!(stdout);
            }
        }
    }

    /// A remark on stderr: what is being done, what to try next; nothing with `--quiet`.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        }
    }

    /// Something the user must see, on stderr even with `--quiet`.
    pub fn warn(&self, text: impl Display) {
        let _ = writeln!(std::io::stderr().lock(), "{} {text}", self.paint(Tone::Warn, "warning:"));
    }

    /// An error on stderr, even with `--quiet`.
    pub fn error(&self, text: impl Display) {
        let _ = writeln!(std::io::stderr().lock(), "{} {text}", self.paint(Tone::Bad, "error:"));
    }

    /// `text` in the colour of `tone`, or as it is.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: impl Display) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "1;31",
            Tone::Strong => "1",
            Tone::Faint => "2",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }

    /// A progress bar on stderr with rate and time left: `total` in `unit` (for example "entries"), 0 if unknown;
    /// hidden when stderr is no terminal, with `--quiet` and with `--json`.
    #[must_use]
    pub fn progress(&self, total: u64, doing: &'static str, unit: &str) -> ProgressBar {
        let target = if self.progress { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target((total > 0).then_some(total), target);
        let template = if total > 0 {
            format!("{{msg}} {{wide_bar}} {{human_pos}}/{{human_len}} {unit}  {{per_sec}}  {{eta}} left")
        } else {
            format!("{{msg}} {{spinner}} {{human_pos}} {unit}  {{per_sec}}")
        };
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.set_message(doing);
        bar
    }
}
