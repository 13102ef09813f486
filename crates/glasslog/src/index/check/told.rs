//! What is said of an audit, to people and to scripts.

use glasslog_core::{LeafIndex, TreeSize, checkpoint::VerifiedCheckpoint};
use glasslog_index::audit::{AnchorFault, Disavowal, Finding, Report};
use indicatif::HumanCount;
use serde::Serialize;

use super::evidence::Made;
use crate::{
    exit::Exit,
    output::{Output, Tone},
};

/// Findings and disavowals that are printed for people.
const SHOWN: usize = 10;

/// An audit that came to its end.
pub(super) struct Told<'t> {
    pub(super) checkpoint: &'t VerifiedCheckpoint,
    pub(super) key: &'static str,
    pub(super) map_fn: &'t str,
    pub(super) begun_at: TreeSize,
    pub(super) report: &'t Report,
    /// The proof that was asked for, or why there is none.
    pub(super) evidence: Option<&'t anyhow::Result<Made>>,
    pub(super) seconds: f64,
}

#[derive(Serialize)]
struct Json<'j> {
    ok: bool,
    origin: &'j str,
    size: u64,
    root: String,
    key: &'j str,
    map_fn: &'j str,
    /// The entries below this were audited before.
    begun_at: u64,
    anchors: u64,
    void: u64,
    unmapped: u64,
    wrong: u64,
    /// The first wrong ones.
    findings: Vec<JsonFinding<'j>>,
    disavow_entries: u64,
    disavowals: Vec<JsonDisavowal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_proof: Option<String>,
    seconds: f64,
}

#[derive(Serialize)]
struct JsonFinding<'j> {
    position: u64,
    faults: Vec<&'static str>,
    said: JsonAnchor<'j>,
    should: JsonAnchor<'j>,
    disavowed_at: Option<u64>,
    message: String,
}

#[derive(Serialize)]
struct JsonAnchor<'j> {
    map_fn: &'j str,
    root: Option<String>,
    tree_size: u64,
}

#[derive(Serialize)]
struct JsonDisavowal {
    at: u64,
    positions: Vec<u64>,
    count: u64,
}

impl Told<'_> {
    /// Says it; 0, or 1 if an anchor is wrong, disavowed or not.
    pub(super) fn tell(&self, out: &Output) -> Exit {
        match self.report.first_wrong() {
            None => self.tell_right(out),
            Some(first) => self.tell_wrong(first, out),
        }
        for disavowal in self.report.disavowals.iter().take(SHOWN) {
            let positions: Vec<String> =
                disavowal.positions.iter().take(SHOWN).map(ToString::to_string).collect();
            let more = disavowal.count - positions.len() as u64;
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            out.line(format_args!(
                "the log disavows, at {}, its anchors at {}{more}",
                disavowal.at,
                positions.join(", ")
            ));
        }
        self.more(self.report.disavow_entries, self.report.disavowals.len(), "disavow entries", out);
        self.tell_evidence(out);
        out.json(&self.json());
        if self.report.wrong == 0 { Exit::Ok } else { Exit::Mismatch }
    }

    fn tell_right(&self, out: &Output) {
        let Report { anchors, voids, .. } = self.report;
        out.line(format_args!(
            "{} {} index roots of {} over {} entries, and {} void anchors, in {:.1} s ({:.0} entries/s)",
            out.paint(Tone::Good, "right:"),
            HumanCount(anchors - voids),
            self.map_fn,
            HumanCount(self.checkpoint.size().0),
            HumanCount(*voids),
            self.seconds,
            (self.checkpoint.size().0 - self.begun_at.0) as f64 / self.seconds.max(1e-9),
        ));
        if *anchors == 0 {
            out.note("the log has no anchors: it commits to no index");
        }
    }

    fn tell_wrong(&self, first: &Finding, out: &Output) {
        let report = self.report;
        // Nobody is accused for what is probably a slip of the pen here.
        if let Some(named) = report.first_map_fn.as_ref().filter(|_| !report.names_pinned) {
            out.line(format_args!(
                "{} no anchor of this log names {}, the first of {} names {named:?}: was --map-fn meant to be that?",
                out.paint(Tone::Bad, "another index:"),
                self.map_fn,
                HumanCount(report.anchors)
            ));
            return;
        }
        out.line(format_args!("{} {first}", out.paint(Tone::Bad, "WRONG:")));
        for finding in report.findings.iter().take(SHOWN).skip(1) {
            out.line(format_args!("also {finding}"));
        }
        self.more(report.wrong, report.findings.len(), "wrong anchors", out);
        out.line(format_args!(
            "{} of {} anchors are wrong, over {} entries",
            HumanCount(report.wrong),
            HumanCount(report.anchors),
            HumanCount(self.checkpoint.size().0)
        ));
    }

    fn more(&self, all: u64, kept: usize, what: &str, out: &Output) {
        let shown = kept.min(SHOWN) as u64;
        if all > shown {
            out.line(format_args!("and {} more {what}", HumanCount(all - shown)));
        }
    }

    fn tell_evidence(&self, out: &Output) {
        match self.evidence {
            None => {}
            Some(Ok(made)) => out.line(format_args!("proven, and written: {}", made.proven)),
            Some(Err(error)) => {
                out.warn(format_args!("no proof of misbehaviour was written: {error:#}"));
                if self.begun_at > TreeSize::ZERO {
                    out.note("this check went on from an earlier one: without --resume, what was wrong before is looked at too");
                }
            }
        }
    }

    fn json(&self) -> Json<'_> {
        let report = self.report;
        let made = self.evidence.map(Result::as_ref);
        Json {
            ok: report.wrong == 0,
            origin: self.checkpoint.origin(),
            size: self.checkpoint.size().0,
            root: self.checkpoint.root().to_string(),
            key: self.key,
            map_fn: self.map_fn,
            begun_at: self.begun_at.0,
            anchors: report.anchors,
            void: report.voids,
            unmapped: report.unmapped,
            wrong: report.wrong,
            findings: report.findings.iter().map(|finding| self.finding(finding)).collect(),
            disavow_entries: report.disavow_entries,
            disavowals: report.disavowals.iter().map(JsonDisavowal::new).collect(),
            proof: made.and_then(Result::ok).map(|made| made.proven.to_string()),
            no_proof: made.and_then(Result::err).map(|error| format!("{error:#}")),
            seconds: self.seconds,
        }
    }

    fn finding<'j>(&'j self, finding: &'j Finding) -> JsonFinding<'j> {
        let (said, LeafIndex(position)) = (&finding.said, finding.position);
        JsonFinding {
            position,
            faults: finding.faults.iter().map(fault_name).collect(),
            said: JsonAnchor {
                map_fn: &said.map_fn,
                root: said.root.map(|root| root.to_string()),
                tree_size: said.tree_size.0,
            },
            should: JsonAnchor {
                map_fn: self.map_fn,
                root: finding.root.map(|root| root.to_string()),
                tree_size: position,
            },
            disavowed_at: finding.disavowed_at.map(|at| at.0),
            message: finding.to_string(),
        }
    }
}

fn fault_name(fault: &AnchorFault) -> &'static str {
    match fault {
        AnchorFault::OtherMapFunction => "other-map-function",
        AnchorFault::SecondMapFunction => "second-map-function",
        AnchorFault::Misplaced => "misplaced",
        AnchorFault::WrongRoot => "wrong-root",
    }
}

impl JsonDisavowal {
    fn new(disavowal: &Disavowal) -> JsonDisavowal {
        let positions = disavowal.positions.iter().map(|position| position.0).collect();
        JsonDisavowal { at: disavowal.at.0, positions, count: disavowal.count }
    }
}
