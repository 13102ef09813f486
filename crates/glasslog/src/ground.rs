//! What an answer rests on, for whoever is told it: the checkpoint, who stands behind it, and for which time it holds.

use glasslog_client::verdict::{Freshness, Standing};
use glasslog_core::{LeafIndex, TreeSize, checkpoint::VerifiedCheckpoint};
use serde::Serialize;

use crate::{
    exit::Exit,
    output::{Output, Tone},
};

/// The ground of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'g> {
    /// The checkpoint it rests on.
    pub(crate) checkpoint: &'g VerifiedCheckpoint,
    /// What stands behind that.
    pub(crate) standing: &'g Standing,
    /// Whether a larger checkpoint of this log was seen before: whatever the answer, it is then worth no more than 3.
    pub(crate) lagging: bool,
    /// Whether the answer must be fresh.
    pub(crate) must_be_fresh: bool,
    /// Where the index is anchored that gave the answer, if one did.
    pub(crate) anchor: Option<LeafIndex>,
    /// How new the content is, if that was asked.
    pub(crate) content: Option<&'g Content>,
}

/// How new the content of a log is in the matter that was asked about.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// The day of the newest snapshot, if there is one.
    pub(crate) date: Option<String>,
    /// Why that is not new enough, if it is not.
    pub(crate) fault: Option<&'static str>,
    /// The size of the tree in which it was looked up.
    pub(crate) tree_size: TreeSize,
}

/// The same with `--json`. Fields that do not apply are left out.
#[derive(Serialize)]
pub(crate) struct GroundJson<'g> {
    origin: &'g str,
    size: u64,
    root: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<u64>,
    freshness: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_date: Option<&'g str>,
    lagging: bool,
    witnesses: &'g [String],
    not_checked: &'g [String],
}

impl<'g> Ground<'g> {
    /// Prints it, and why it is too old if it is.
    pub(crate) fn tell(&self, out: &Output) {
        out.line(out.paint(Tone::Faint, self.basis()));
        let stale = |why| out.line(format_args!("{} {why}", out.paint(Tone::Warn, "stale:")));
        if self.is_too_old() {
            stale(self.why_too_old());
        }
        match self.content {
            Some(Content { date: Some(date), fault: Some(fault), .. }) => {
                stale(format!("the log's newest snapshot of this subdir is of {date}, {fault}"));
            }
            Some(Content { fault: Some(fault), .. }) => stale((*fault).into()),
            _ => {}
        }
    }

    pub(crate) fn json(&self) -> GroundJson<'g> {
        GroundJson {
            origin: self.checkpoint.origin(),
            size: self.checkpoint.size().0,
            root: self.checkpoint.root().to_string(),
            anchor: self.anchor.map(|anchor| anchor.0),
            freshness: match self.standing.freshness {
                Freshness::Fresh { .. } => "fresh",
                Freshness::Stale { .. } => "stale",
                Freshness::Unknown { .. } => "unknown",
            },
            as_of: as_of(self.standing.freshness),
            content_date: self.content.and_then(|content| content.date.as_deref()),
            lagging: self.lagging,
            witnesses: &self.standing.counted,
            not_checked: &self.standing.unchecked,
        }
    }

    /// The exit code of an answer that has this one by itself. FORMATS §5: what is current or absent as of a time that is too
    /// old is neither now, so it is 3; what is replaced or does not match stays so.
    pub(crate) fn exit(&self, by_answer: Exit) -> Exit {
        match by_answer {
            Exit::Ok | Exit::NotLogged if self.is_too_old() || self.has_old_content() => Exit::Stale,
            other => other,
        }
    }

    fn has_old_content(&self) -> bool {
        self.content.is_some_and(|content| content.fault.is_some())
    }

    fn is_too_old(&self) -> bool {
        too_old(self.lagging, self.must_be_fresh, self.standing.freshness)
    }

    fn why_too_old(&self) -> String {
        match self.standing.freshness {
            _ if self.lagging => {
                "a larger checkpoint of this log was seen before; the one asked now lags behind".into()
            }
            Freshness::Unknown { .. } => {
                "no pinned cosigner says a time, and --max-age or --as-of asks for one".into()
            }
            Freshness::Fresh { as_of } | Freshness::Stale { as_of } => {
                format!("this holds as of {}, which is older than is asked for", time(as_of))
            }
        }
    }

    /// What the answer rests on, in one line.
    fn basis(&self) -> String {
        let time = match as_of(self.standing.freshness) {
            Some(as_of) => format!("as of {}", time(as_of)),
            None => "time unknown".into(),
        };
        let witnesses = match self.standing.counted.as_slice() {
            [] => "no witness".into(),
            names => format!("witnesses: {}", names.join(", ")),
        };
        let index = self.anchor.map(|anchor| format!(", index anchored at {anchor}")).unwrap_or_default();
        let (origin, size) = (self.checkpoint.origin(), self.checkpoint.size());
        format!("{origin} at size {size}{index}, {time}, {witnesses}")
    }
}

/// FORMATS §5: behind what was seen before is 3 always, older than the maximum age where the verdict is about now.
fn too_old(lagging: bool, must_be_fresh: bool, freshness: Freshness) -> bool {
    lagging || (must_be_fresh && freshness.is_too_old())
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
    }
}
