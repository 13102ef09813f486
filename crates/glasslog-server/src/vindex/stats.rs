//! How the index is doing.

use glasslog_http::{answer::json, page::Escaped};
use glasslog_log::{IndexStatus, Log, RebuildStep, Rebuilding};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Anchor, BUILDING, no_index};
use crate::{
    answer::{Answer, Refusal},
    app::Site,
};

/// How large the index is, and how far.
#[derive(Serialize, ToSchema)]
pub(crate) struct Statistics {
    /// Its map function.
    map_fn: String,
    /// The kinds of name that can be looked up, the default first; empty if there are none.
    kinds: &'static [&'static str],
    #[serde(flatten)]
    summary: IndexSummary,
    /// What lookups are proven by now; null in an empty log, and while there is nothing.
    anchor: Option<Anchor>,
    /// The newest anchor with a root, whether or not it is public.
    newest_anchor: Option<u64>,
    /// The size of the tree whose entries a restart would find in the index.
    durable_size: u64,
    /// Keys.
    keys: u64,
    /// Indices in all lists.
    postings: u64,
    /// Entries that mapped to no key since the start.
    unmapped_entries: u64,
    /// Anchors without a root, for want of an index, since the start.
    void_anchors: u64,
    /// How often it was emptied and built again since the start.
    rebuilds: u64,
    /// How often a reader found it to be damaged since the start.
    corruptions: u64,
    /// Whether it waits for room on the disk.
    full: bool,
    /// Bytes of its files.
    disk_bytes: u64,
    /// Bytes of memory.
    memory_bytes: u64,
    /// Files with rows.
    runs: usize,
}

/// How far the index is.
#[derive(Serialize, ToSchema)]
pub(crate) struct IndexSummary {
    /// The size of the tree that lookups are answered about; null while they are refused.
    served_size: Option<u64>,
    /// Entries in the index.
    indexed_size: u64,
    /// Entries sequenced and not yet in the index.
    lag: u64,
    /// How far it is while it is built again.
    rebuild: Option<Rebuild>,
    /// Why anchors have no root at present, or lookups are refused, if there is something wrong.
    reason: Option<String>,
}

/// How far the building of an index is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rebuild {
    /// What is done now: `reading` entries, or `merging` rows.
    step: &'static str,
    /// How many of these are done.
    done: u64,
    /// Of so many.
    of: u64,
}

#[utoipa::path(
    get,
    path = "/vindex/stats",
    responses(
        (status = 200, description = "how large the index is, and how far", body = Statistics),
        (status = 404, description = "this log has no index", body = String, content_type = "text/plain"),
    ),
)]
pub(crate) fn stats(site: &Site) -> Result<Answer, Refusal> {
    let log = &site.log;
    let (Some(map_fn), Some(status)) = (log.map_fn(), log.index_status()) else { return Err(no_index()) };
    let anchor = log.served().and_then(|pair| pair.anchor());
    Ok(json(&Statistics {
        anchor: anchor.map(|(index, root)| Anchor { index: index.0, root: root.to_string() }),
        newest_anchor: status.anchored.map(|index| index.0),
        durable_size: status.durable.0,
        keys: status.stats.keys,
        postings: status.stats.postings,
        unmapped_entries: status.unmapped,
        void_anchors: status.void_anchors,
        rebuilds: status.rebuilds,
        corruptions: log.serving().corruptions,
        full: status.full,
        disk_bytes: status.stats.disk_bytes,
        memory_bytes: status.stats.memory_bytes,
        runs: status.stats.runs,
        summary: IndexSummary::with(log, &status),
        map_fn: status.map_fn,
        kinds: map_fn.kinds(),
    }))
}

impl IndexSummary {
    /// Nothing in a log without an index.
    pub(crate) fn of(log: &Log) -> Option<IndexSummary> {
        log.index_status().map(|status| IndexSummary::with(log, &status))
    }

    fn with(log: &Log, status: &IndexStatus) -> IndexSummary {
        let reason = log.serving().withdrawn.or_else(|| status.behind.clone());
        IndexSummary {
            served_size: log.served().map(|pair| pair.size().0),
            indexed_size: status.next.0,
            lag: status.lag,
            rebuild: status.rebuilding.as_ref().map(|Rebuilding { step, done, of }| Rebuild {
                step: match step {
                    RebuildStep::Reading => "reading",
                    RebuildStep::Merging => "merging",
                },
                done: *done,
                of: *of,
            }),
            reason: reason.as_deref().map(str::to_owned),
        }
    }
}

impl IndexSummary {
    /// A row of a list of definitions.
    pub(crate) fn as_html(&self, log: &Log) -> String {
        let map_fn = log.map_fn();
        let map_fn = Escaped(map_fn.as_ref().map_or("", |map_fn| map_fn.name()));
        let state = match self.served_size {
            Some(size) => format!("answers about {size} entries"),
            None => "being built".to_owned(),
        };
        format!("<dt>Index</dt><dd>{map_fn}: <a href=\"vindex/stats\">{state}</a></dd>\n")
    }
}

/// Why nothing can be proven now, and how far that is; `hints`: whether a hint was asked for, and there is nothing for one.
pub(super) fn unserved(log: &Log, hints: bool) -> Refusal {
    let progress = match IndexSummary::of(log) {
        Some(IndexSummary { rebuild: Some(Rebuild { step, done, of }), .. }) => {
            format!("the index is being built ({step} {done} of {of})")
        }
        Some(IndexSummary { indexed_size, lag, .. }) => format!(
            "no anchor of the index is public yet; {indexed_size} entries are in it, and {lag} are not"
        ),
        None => "the index is not there yet".to_owned(),
    };
    let instead = if hints {
        ": there is nothing to give without proof either"
    } else {
        ", or with unverified=1 for what it holds without proof"
    };
    Refusal::unavailable(format!("{progress}; ask again soon{instead}"), BUILDING)
}
