//! How the answer to a lookup is told, and its exit code.

use std::path::Path;

use glasslog_conda::Conda1Map;
use glasslog_core::LeafIndex;
use glasslog_vindex::{MapFunction, Question};
use serde::Serialize;

use super::Believed;
use crate::{
    exit::Exit,
    ground::{Ground, GroundJson},
    output::{Output, Tone},
};

/// How many indices a person is shown, unless all were asked for.
const SHOWN: usize = 20;

/// An answer with what was asked.
pub(crate) struct Told<'t> {
    /// What was asked.
    pub(crate) question: &'t Question,
    /// The answer.
    pub(crate) believed: &'t Believed,
    /// Entries to be shown, with their indices.
    pub(crate) entries: &'t [(LeafIndex, Vec<u8>)],
    /// Whether a person wants to see all indices.
    pub(crate) all: bool,
    /// Where the proof was written, if it was.
    pub(crate) file: Option<&'t Path>,
}

/// What is printed with `--json`. Fields that do not apply are left out.
#[derive(Serialize)]
struct Json<'t> {
    found: bool,
    exit: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'t str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'t str>,
    key: String,
    map_fn: &'t str,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    /// How many of the oldest are not in `indices`.
    skipped: u64,
    indices: Vec<u64>,
    entries: Vec<EntryJson<'t>>,
    disavowals: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(flatten)]
    ground: GroundJson<'t>,
}

#[derive(Serialize)]
struct EntryJson<'t> {
    index: u64,
    entry: std::borrow::Cow<'t, str>,
}

impl Told<'_> {
    /// Prints it and gives the exit code: 0 found, 2 absent, 3 too old. One that is written to a file is 0 or 3: what was
    /// asked for is the file.
    pub(crate) fn tell(&self, map_fn: &dyn MapFunction, out: &Output) -> Exit {
        let ground = self.ground();
        let by_answer = match self.believed.present() {
            None if self.file.is_none() => Exit::NotLogged,
            _ => Exit::Ok,
        };
        let exit = ground.exit(by_answer);
        self.lines(out);
        ground.tell(out);
        self.warn_of_impossible(map_fn, out);
        let count = self.believed.present().map_or(0, |present| present.count);
        let indices = self.believed.indices();
        let (kind, name) = match self.question {
            Question::Key(_) => (None, None),
            Question::Name { kind, name } => {
                (Some(kind.as_str()).filter(|kind| !kind.is_empty()), Some(name.as_str()))
            }
        };
        let verified = &self.believed.answered.verified;
        out.json(&Json {
            found: count > 0,
            exit: exit as u8,
            kind,
            name,
            key: verified.key().to_string(),
            map_fn: map_fn.name(),
            count,
            last: indices.last().map(|index| index.0),
            skipped: count.saturating_sub(indices.len() as u64),
            indices: indices.iter().map(|index| index.0).collect(),
            entries: self
                .entries
                .iter()
                .map(|(index, entry)| EntryJson { index: index.0, entry: String::from_utf8_lossy(entry) })
                .collect(),
            disavowals: verified.disavowals().iter().map(|index| index.0).collect(),
            index_root: verified.anchored().map(|(_, root)| root.to_string()),
            file: self.file.map(|file| file.display().to_string()),
            ground: ground.json(),
        });
        exit
    }

    /// A misspelt name is absent, and nobody should take comfort, or fright, from that.
    fn warn_of_impossible(&self, map_fn: &dyn MapFunction, out: &Output) {
        let Question::Name { kind, name } = self.question else { return };
        if map_fn.name() == Conda1Map.name()
            && self.believed.present().is_none()
            && let Some(form) = Conda1Map::form_if_impossible(kind, name)
        {
            out.warn(format_args!(
                "no entry has this as its {kind}, so that it is absent says nothing: that is written {form}"
            ));
        }
    }

    fn ground(&self) -> Ground<'_> {
        let observed = &self.believed.observed;
        Ground {
            checkpoint: &observed.checkpoint,
            standing: &observed.standing,
            lagging: observed.lagging,
            // What is the newest, and what is absent, is said of a time.
            must_be_fresh: true,
            anchor: self.believed.answered.verified.anchored().map(|(anchor, _)| anchor),
            content: None,
        }
    }

    fn lines(&self, out: &Output) {
        let asked = question_text(self.question);
        match self.believed.present() {
            None => out.line(format_args!(
                "{} {asked}: the log holds nothing about it",
                out.paint(Tone::Bad, "ABSENT")
            )),
            Some(present) => {
                let entries = if present.count == 1 { "entry" } else { "entries" };
                let (count, last) = (present.count, present.last);
                out.line(format_args!(
                    "{} {asked}: {count} {entries}, the newest at index {last}",
                    out.paint(Tone::Good, "found")
                ));
                out.line(format_args!("  indices: {}", self.indices_text(count)));
            }
        }
        for (index, entry) in self.entries {
            out.line(format_args!("  entry {index}: {}", one_line(&String::from_utf8_lossy(entry))));
        }
        if let Some(file) = self.file {
            out.line(format_args!("  proof written to {}", file.display()));
        }
    }

    fn indices_text(&self, count: u64) -> String {
        let indices = self.believed.indices();
        let most = if self.all { usize::MAX } else { SHOWN };
        let shown = indices.get(indices.len().saturating_sub(most)..).unwrap_or_default();
        let listed: Vec<String> = shown.iter().map(|index| index.0.to_string()).collect();
        match count.saturating_sub(shown.len() as u64) {
            0 => listed.join(", "),
            older => format!("… {older} older (--all shows them), {}", listed.join(", ")),
        }
    }
}

/// What was asked, as a person would say it.
pub(crate) fn question_text(question: &Question) -> String {
    match question {
        Question::Key(key) => format!("key {key}"),
        Question::Name { kind, name } if kind.is_empty() => one_line(name),
        Question::Name { kind, name } => one_line(&format!("{kind} {name}")),
    }
}

/// Others wrote it: a line end in it would let it pass for a line of ours.
fn one_line(text: &str) -> String {
    text.replace('\n', "\\n")
}
