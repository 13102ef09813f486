//! What the user sees: results on stdout, everything else on stderr.
//!
//! Much of it was written by others: a log's answer, a name in repodata. So control characters are shown and never sent to
//! the terminal, which would obey them; only line ends and our own colours pass.

use std::{
    fmt::Display,
    io::{IsTerminal, Write},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::ser::Formatter;

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

impl Tone {
    const ALL: [Tone; 5] = [Tone::Good, Tone::Warn, Tone::Bad, Tone::Strong, Tone::Faint];

    /// The parameters of its SGR sequence (ECMA-48).
    fn code(self) -> &'static str {
        match self {
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "1;31",
            Tone::Strong => "1",
            Tone::Faint => "2",
        }
    }
}

/// Whether a terminal does something else with it than show it: C0 and C1 but for the line end, DEL, and the marks that
/// change the direction of text or end a line.
fn obeyed(character: char) -> bool {
    let reorders = matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (character.is_control() && character != '\n') || reorders
}

/// The length of the colour of ours that `text` begins with, or 0.
fn own_colour(text: &str) -> usize {
    let Some(inside) = text.strip_prefix("\u{1b}[") else { return 0 };
    let codes = Tone::ALL.into_iter().map(Tone::code).chain(["0"]);
    let found =
        codes.into_iter().find(|code| inside.strip_prefix(code).is_some_and(|rest| rest.starts_with('m')));
    found.map_or(0, |code| code.len() + "\u{1b}[m".len())
}

/// JSON in which what a terminal would obey is escaped: serde_json by itself escapes C0 alone.
struct SafeJson;

impl Formatter for SafeJson {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> std::io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(obeyed) {
            let (before, from) = rest.split_at(at);
            let (control, after) = from.split_at(from.chars().next().map_or(0, char::len_utf8));
            writer.write_all(before.as_bytes())?;
            control.encode_utf16().try_for_each(|unit| write!(writer, "\\u{unit:04x}"))?;
            rest = after;
        }
        writer.write_all(rest.as_bytes())
    }
}

fn write_json(writer: impl Write, value: &impl Serialize) -> serde_json::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(writer, SafeJson))
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
            let _ = writeln!(std::io::stdout().lock(), "{}", self.safe(text));
        }
    }

    /// The result for scripts, one JSON document on one line of stdout; nothing without `--json`.
    pub fn json(&self, value: &impl Serialize) {
        if self.json {
            let mut stdout = std::io::stdout().lock();
            if write_json(&mut stdout, value).is_ok() {
                let _ = writeln!(stdout);
            }
        }
    }

    /// A remark on stderr: what is being done, what to try next; nothing with `--quiet`.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr().lock(), "{}", self.safe(text));
        }
    }

    /// Something the user must see, on stderr even with `--quiet`.
    pub fn warn(&self, text: impl Display) {
        let _ =
            writeln!(std::io::stderr().lock(), "{} {}", self.paint(Tone::Warn, "warning:"), self.safe(text));
    }

    /// An error on stderr, even with `--quiet`.
    pub fn error(&self, text: impl Display) {
        let _ = writeln!(std::io::stderr().lock(), "{} {}", self.paint(Tone::Bad, "error:"), self.safe(text));
    }

    /// `text` in the colour of `tone`, or as it is.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: impl Display) -> String {
        let code = tone.code();
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }

    /// `text` with what a terminal would obey, or use to reorder what is read, spelled out (`\u{1b}`).
    fn safe(&self, text: impl Display) -> String {
        let text = text.to_string();
        let mut shown = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(at) = rest.find(obeyed) {
            let (before, from) = rest.split_at(at);
            shown.push_str(before);
            let ours = if self.colour { own_colour(from) } else { 0 };
            let (control, after) = from.split_at(ours.max(from.chars().next().map_or(0, char::len_utf8)));
            if ours > 0 {
                shown.push_str(control);
            } else {
                shown.extend(control.chars().flat_map(char::escape_default));
            }
            rest = after;
        }
        shown + rest
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        let plain = Output::new(false, false, Colour::Never);
        for (text, shown) in [
            ("two\nlines, ä, 漢, 🦀", "two\nlines, ä, 漢, 🦀"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("\u{1b}[2J\u{1b}[32mgreen", "\\u{1b}[2J\\u{1b}[32mgreen"),
            ("back\u{8}\r\t\u{7f}\0", "back\\u{8}\\r\\t\\u{7f}\\u{0}"),
            ("c1 \u{9b}2J\u{85}", "c1 \\u{9b}2J\\u{85}"),
            ("\u{202e}txt.exe\u{61c}", "\\u{202e}txt.exe\\u{61c}"),
        ] {
            assert_eq!(plain.safe(text), shown);
        }
    }

    /// What is read back is what was written, and no character of it is one that a terminal obeys.
    #[test]
    fn json_says_the_same_and_moves_no_terminal() {
        for text in
            ["plain ä 漢 🦀", "\u{1b}[2J\n\t\"\\\u{7f}", "\u{9b}2J\u{85}", "a\u{202e}b\u{2066}\u{2028}c", ""]
        {
            let mut json = Vec::new();
            write_json(&mut json, &text).unwrap();
            let json = String::from_utf8(json).unwrap();
            assert!(!json.contains(|c| obeyed(c) || c == '\n'), "{json:?}");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn our_own_colours_pass_and_no_others() {
        let coloured = Output::new(false, false, Colour::Always);
        for tone in Tone::ALL {
            let painted = coloured.paint(tone, "x");
            assert!(painted.starts_with('\u{1b}'));
            assert_eq!(coloured.safe(&painted), painted);
        }
        assert_eq!(coloured.safe("\u{1b}[8mhidden\u{1b}[32"), "\\u{1b}[8mhidden\\u{1b}[32");
        assert_eq!(coloured.safe("\u{1b}[1\u{1b}[1m"), "\\u{1b}[1\u{1b}[1m");
    }
}
