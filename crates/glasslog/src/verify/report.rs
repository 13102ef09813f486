//! How a verdict is told, and its exit code.

use glasslog_client::verdict::Verdict;
use glasslog_core::LeafIndex;
use serde::Serialize;

use crate::{
    exit::Exit,
    ground::{Ground, GroundJson},
    output::{Output, Tone},
};

/// A verdict with what it rests on.
pub(crate) struct Report<'r> {
    /// What it is about, as a person would say it.
    pub(crate) subject: String,
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// An entry before the record's that holds another artifact under its path, and that artifact.
    pub(crate) replaced: Option<(LeafIndex, String)>,
    /// What it rests on.
    pub(crate) ground: Ground<'r>,
}

/// What is printed with `--json`. Fields that do not apply are left out.
#[derive(Serialize)]
struct Json<'r> {
    subject: &'r str,
    verdict: &'static str,
    exit: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ours: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    theirs: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<Replaced<'r>>,
    #[serde(flatten)]
    ground: GroundJson<'r>,
}

/// What stood under the path before.
#[derive(Serialize)]
struct Replaced<'r> {
    index: u64,
    artifact: &'r str,
}

impl Report<'_> {
    /// Prints it and gives the exit code.
    pub(crate) fn tell(&self, out: &Output) -> Exit {
        let exit = self.exit();
        let (word, tone, sentence) = self.sentence();
        out.line(format_args!("{} {}: {sentence}", out.paint(tone, word), self.subject));
        if let Some((index, artifact)) = &self.replaced {
            out.warn(format_args!(
                "this record came in the place of another artifact: until then the log held {artifact} under the path, at index {index}"
            ));
        }
        self.ground.tell(out);
        let (index, latest) = places(&self.verdict);
        let (ours, theirs) = both_sides(&self.verdict);
        out.json(&Json {
            subject: &self.subject,
            verdict: name(&self.verdict),
            exit: exit as u8,
            index: index.map(|index| index.0),
            latest: latest.map(|latest| latest.0),
            ours,
            theirs,
            replaced: self.replaced.as_ref().map(|(index, artifact)| Replaced { index: index.0, artifact }),
            ground: self.ground.json(),
        });
        exit
    }

    /// DESIGN §7: 1 mismatch, 2 not logged, 3 stale.
    fn exit(&self) -> Exit {
        let by_verdict = match self.verdict {
            Verdict::Logged { .. }
            | Verdict::Current { .. }
            | Verdict::PatchedSince { .. }
            | Verdict::RemovedSince { .. } => Exit::Ok,
            Verdict::HashDropped { .. }
            | Verdict::Replaced { .. }
            | Verdict::Differs { .. }
            | Verdict::Elsewhere { .. } => Exit::Mismatch,
            Verdict::NotLogged => Exit::NotLogged,
        };
        self.ground.exit(by_verdict)
    }

    fn sentence(&self) -> (&'static str, Tone, String) {
        match &self.verdict {
            Verdict::Logged { index } => (
                "logged",
                Tone::Good,
                format!("at index {index}; whether it was replaced since was not looked at"),
            ),
            Verdict::Current { index } => {
                ("logged", Tone::Good, format!("at index {index}, the latest entry of its path"))
            }
            Verdict::PatchedSince { index, latest } => (
                "patched since",
                Tone::Warn,
                format!(
                    "at index {index}; other metadata of the same artifact were logged at index {latest}"
                ),
            ),
            Verdict::RemovedSince { index, latest } => (
                "removed since",
                Tone::Warn,
                format!("at index {index}; the path was removed at index {latest}"),
            ),
            Verdict::HashDropped { index, latest } => (
                "HASH DROPPED",
                Tone::Bad,
                format!(
                    "at index {index}; the record at index {latest} lacks a hash that the file was held to before, so another file could follow"
                ),
            ),
            Verdict::Replaced { latest, ours, theirs } => (
                "REPLACED",
                Tone::Bad,
                format!("this record is of {ours}, but the log holds {theirs} at index {latest}"),
            ),
            Verdict::Differs { latest, ours, theirs } => (
                "MISMATCH",
                Tone::Bad,
                format!(
                    "the log never held these metadata (leaf {ours}); its newest record of the path, at index {latest}, has leaf {theirs}"
                ),
            ),
            Verdict::Elsewhere { index } => {
                ("MISMATCH", Tone::Bad, format!("index {index} holds something else"))
            }
            Verdict::NotLogged => ("NOT LOGGED", Tone::Bad, "the log has no such record".into()),
        }
    }
}

fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Logged { .. } => "logged",
        Verdict::Current { .. } => "current",
        Verdict::PatchedSince { .. } => "patched-since",
        Verdict::RemovedSince { .. } => "removed-since",
        Verdict::HashDropped { .. } => "hash-dropped",
        Verdict::Replaced { .. } => "replaced",
        Verdict::Differs { .. } => "differs",
        Verdict::Elsewhere { .. } => "elsewhere",
        Verdict::NotLogged => "not-logged",
    }
}

/// Where the record is, and where the newest entry of its path is.
pub(super) fn places(verdict: &Verdict) -> (Option<LeafIndex>, Option<LeafIndex>) {
    match verdict {
        Verdict::Logged { index } | Verdict::Elsewhere { index } => (Some(*index), None),
        Verdict::Current { index } => (Some(*index), Some(*index)),
        Verdict::PatchedSince { index, latest }
        | Verdict::RemovedSince { index, latest }
        | Verdict::HashDropped { index, latest } => (Some(*index), Some(*latest)),
        Verdict::Replaced { latest, .. } | Verdict::Differs { latest, .. } => (None, Some(*latest)),
        Verdict::NotLogged => (None, None),
    }
}

fn both_sides(verdict: &Verdict) -> (Option<String>, Option<String>) {
    match verdict {
        Verdict::Replaced { ours, theirs, .. } => (Some(ours.clone()), Some(theirs.clone())),
        Verdict::Differs { ours, theirs, .. } => (Some(ours.to_string()), Some(theirs.to_string())),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_about_now_need_freshness() {
        let (index, latest) = (LeafIndex(0), LeafIndex(1));
        for about_now in [
            Verdict::Current { index },
            Verdict::PatchedSince { index, latest },
            Verdict::RemovedSince { index, latest },
            Verdict::NotLogged,
        ] {
            assert!(about_now.needs_freshness(), "{about_now:?}");
        }
        assert!(!Verdict::Logged { index }.needs_freshness());
    }
}
