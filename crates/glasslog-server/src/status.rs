//! `/ready` and `/log.json`: how far the log is, and what it is.

use glasslog_http::answer::{json, json_with_status};
use glasslog_log::WitnessStatus;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    answer::Answer,
    app::{App, Site},
    metrics::checkpoint_age,
    vindex::IndexSummary,
};

/// How far a log is, and whether it takes entries.
#[derive(Serialize, ToSchema)]
pub(crate) struct Readiness {
    origin: String,
    /// Whether adds are taken now.
    ready: bool,
    /// Why not, if not.
    reason: Option<String>,
    /// Indices given out.
    sequenced_size: u64,
    /// Entries in tiles.
    integrated_size: u64,
    /// Entries under a signed and recorded checkpoint.
    recorded_size: u64,
    /// Entries under the public checkpoint.
    published_size: u64,
    /// Entries sequenced and not yet in tiles.
    pending_count: u64,
    /// Bytes waiting for an index.
    pool_bytes: u64,
    /// Bytes sequenced and not yet in tiles.
    backlog_bytes: u64,
    /// Seconds since the public checkpoint was published; null before the first.
    checkpoint_age_seconds: Option<u64>,
    /// Whether the newest signed checkpoint has the cosignatures that its policy demands, or has not waited long for them.
    quorum: bool,
    /// Each witness that is asked.
    witnesses: Vec<Witness>,
    /// How far the verifiable index is, which nothing waits for; null in a log without one.
    index: Option<IndexSummary>,
}

/// What a witness answered.
#[derive(Serialize, ToSchema)]
struct Witness {
    name: String,
    url: String,
    /// The size that it holds, as far as is known.
    size: Option<u64>,
    /// Whether it has cosigned the newest signed checkpoint.
    cosigned: bool,
    /// The time of its last cosignature, in seconds since 1970.
    cosigned_at: Option<u64>,
    /// Why its last answer was no cosignature; null if it was one.
    trouble: Option<String>,
}

impl Witness {
    fn of(status: WitnessStatus) -> Witness {
        Witness {
            name: status.name,
            url: status.url,
            size: status.held.map(|size| size.0),
            cosigned: status.has_cosigned,
            cosigned_at: status.cosigned_at_unix_s,
            trouble: status.trouble,
        }
    }
}

impl Readiness {
    fn of(site: &Site) -> Readiness {
        let progress = site.log.progress();
        Readiness {
            origin: site.log.origin().to_owned(),
            ready: progress.refusing.is_none(),
            reason: progress.refusing.as_deref().map(str::to_owned),
            sequenced_size: progress.sequenced.0,
            integrated_size: progress.integrated.0,
            recorded_size: progress.recorded.0,
            published_size: progress.published.0,
            pending_count: progress.sequenced.0.saturating_sub(progress.integrated.0),
            pool_bytes: progress.pool_bytes,
            backlog_bytes: progress.backlog_bytes,
            checkpoint_age_seconds: checkpoint_age(&progress),
            quorum: progress.quorum,
            witnesses: site.log.witnesses().into_iter().map(Witness::of).collect(),
            index: IndexSummary::of(&site.log),
        }
    }

    fn status(&self) -> StatusCode {
        if self.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }
}

#[utoipa::path(
    get,
    path = "/ready",
    responses(
        (status = 200, description = "adds are taken; how far the log is", body = Readiness),
        (status = 503, description = "adds are refused now, and why", body = Readiness),
    ),
)]
pub(crate) fn ready(site: &Site) -> Answer {
    let readiness = Readiness::of(site);
    json_with_status(readiness.status(), &readiness)
}

/// Of a server that has no log at its root: ready when every log is.
pub(crate) fn all_ready(sites: &[Site]) -> Answer {
    #[derive(Serialize)]
    struct All {
        ready: bool,
        logs: Vec<Readiness>,
    }
    let logs: Vec<_> = sites.iter().map(Readiness::of).collect();
    let ready = logs.iter().all(|log| log.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_with_status(status, &All { ready, logs })
}

/// What a log is. For people and for first contact: a verifier pins these things itself (FORMATS §3).
#[derive(Serialize, ToSchema)]
pub(crate) struct Description {
    origin: String,
    /// Where the world reaches it; null when the server was not told.
    url: Option<String>,
    /// The keys that sign its checkpoints, the current one first, then its own cosigners, as c2sp.org/signed-note vkeys.
    vkeys: Vec<String>,
    /// The witness policy in force, as a c2sp.org/tlog-policy text.
    policy: Option<String>,
    /// Whether the log is closed for ever.
    frozen: bool,
    /// The schema of its entries.
    personality: Option<&'static str>,
    /// The map function of its verifiable index; null while it has none.
    map_fn: Option<String>,
    /// The repositories that it takes records of; empty: all.
    repos: Vec<String>,
    limits: DescribedLimits,
    /// Name and version of the server.
    software: &'static str,
}

/// What the server takes from one request, or from one client.
#[derive(Serialize, ToSchema)]
pub(crate) struct DescribedLimits {
    entry_bytes: usize,
    batch_bytes: usize,
    batch_entries: usize,
    /// Entries, proofs and lookups per second for a client without a token; null: no limit.
    rate_per_second: Option<u32>,
    /// As many of them at once.
    rate_burst: Option<u32>,
}

#[utoipa::path(
    get,
    path = "/log.json",
    responses((status = 200, description = "what this log is", body = Description)),
)]
pub(crate) fn log_json(app: &App, site: &Site) -> Answer {
    let rate = app.config.rate;
    json(&Description {
        origin: site.log.origin().to_owned(),
        url: app.url_of(site),
        vkeys: [site.log.vkeys(), site.log.cosigner_vkeys()].concat(),
        policy: site.log.policy_text().as_deref().map(str::to_owned),
        frozen: site.mount.frozen,
        personality: site.log.schema(),
        map_fn: site.log.map_fn().map(|map_fn| map_fn.name().to_owned()),
        repos: site.mount.repos.clone(),
        limits: DescribedLimits {
            entry_bytes: glasslog_core::MAX_ENTRY_BYTES,
            batch_bytes: app.limits.batch_bytes,
            batch_entries: app.limits.batch_entries,
            rate_per_second: rate.map(|rate| rate.per_second()),
            rate_burst: rate.map(|rate| rate.burst()),
        },
        software: SOFTWARE,
    })
}

pub(crate) const SOFTWARE: &str = concat!("glasslog/", env!("CARGO_PKG_VERSION"));
