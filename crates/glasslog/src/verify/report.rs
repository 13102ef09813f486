//! How a verdict is told, and its exit code.

use glasslog_client::verdict::{Freshness, Standing, Verdict};
use glasslog_core::{LeafIndex, checkpoint::VerifiedCheckpoint};
use serde::Serialize;

use crate::{
    exit::Exit,
    output::{Output, Tone},
};

/// A verdict with what it rests on.
pub(super) struct Report<'r> {
    /// What it is about, as a person would say it.
    pub(super) subject: String,
    /// The verdict.
    pub(super) verdict: Verdict,
    /// The checkpoint it rests on.
    pub(super) checkpoint: &'r VerifiedCheckpoint,
    /// What stands behind that.
    pub(super) standing: &'r Standing,
    /// Whether a larger checkpoint of this log was seen before: whatever the verdict, it is then worth no more than 3.
    pub(super) lagging: bool,
    /// Whether the verdict must be fresh.
    pub(super) must_be_fresh: bool,
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
    origin: &'r str,
    size: u64,
    root: String,
    freshness: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<u64>,
    lagging: bool,
    witnesses: &'r [String],
    not_checked: &'r [String],
}

impl Report<'_> {
    /// Prints it and gives the exit code.
    pub(super) fn tell(&self, out: &Output) -> Exit {
        let exit = self.exit();
        let (word, tone, sentence) = self.sentence();
        out.line(format_args!("{} {}: {sentence}", out.paint(tone, word), self.subject));
        out.line(out.paint(Tone::Faint, self.basis()));
        if self.is_too_old() {
            out.line(format_args!("{} {}", out.paint(Tone::Warn, "stale:"), self.why_too_old()));
        }
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
            origin: self.checkpoint.origin(),
            size: self.checkpoint.size().0,
            root: self.checkpoint.root().to_string(),
            freshness: match self.standing.freshness {
                Freshness::Fresh { .. } => "fresh",
                Freshness::Stale { .. } => "stale",
                Freshness::Unknown { .. } => "unknown",
            },
            as_of: as_of(self.standing.freshness),
            lagging: self.lagging,
            witnesses: &self.standing.counted,
            not_checked: &self.standing.unchecked,
        });
        exit
    }

    /// DESIGN §7: 1 mismatch, 2 not logged, 3 stale; the worst wins.
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
        by_verdict.worst(if self.is_too_old() { Exit::Stale } else { Exit::Ok })
    }

    fn is_too_old(&self) -> bool {
        too_old(self.lagging, self.must_be_fresh, self.standing.freshness)
    }

    fn why_too_old(&self) -> String {
        match self.standing.freshness {
            _ if self.lagging => {
                "a larger checkpoint of this log was seen before; the one asked now lags behind".into()
            }
            Freshness::Unknown { .. } => "no pinned cosigner says a time, and --max-age asks for one".into(),
            Freshness::Fresh { as_of } | Freshness::Stale { as_of } => {
                format!("this holds as of {}, longer ago than the maximum age", time(as_of))
            }
        }
    }

    /// What the verdict rests on, in one line.
    fn basis(&self) -> String {
        let time = match as_of(self.standing.freshness) {
            Some(as_of) => format!("as of {}", time(as_of)),
            None => "time unknown".into(),
        };
        let witnesses = match self.standing.counted.as_slice() {
            [] => "no witness".into(),
            names => format!("witnesses: {}", names.join(", ")),
        };
        format!("{} at size {}, {time}, {witnesses}", self.checkpoint.origin(), self.checkpoint.size())
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

/// FORMATS §5: behind what was seen before is 3 always, older than the maximum age where the verdict is about now.
fn too_old(lagging: bool, must_be_fresh: bool, freshness: Freshness) -> bool {
    lagging || (must_be_fresh && freshness.is_too_old())
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
fn places(verdict: &Verdict) -> (Option<LeafIndex>, Option<LeafIndex>) {
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

fn as_of(freshness: Freshness) -> Option<u64> {
    match freshness {
        Freshness::Fresh { as_of } | Freshness::Stale { as_of } => Some(as_of),
        Freshness::Unknown { .. } => None,
    }
}

/// RFC 3339, or the number where the calendar ends.
pub(crate) fn time(seconds: u64) -> String {
    let timestamp =
        i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    timestamp.map_or_else(|| format!("{seconds} s after 1970"), |timestamp| timestamp.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_always_and_age_where_the_verdict_is_about_now() {
        let (fresh, stale) = (Freshness::Fresh { as_of: 1 }, Freshness::Stale { as_of: 1 });
        for must_be_fresh in [false, true] {
            assert!(too_old(true, must_be_fresh, fresh));
            assert!(!too_old(false, must_be_fresh, fresh));
            assert_eq!(too_old(false, must_be_fresh, stale), must_be_fresh);
        }
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
