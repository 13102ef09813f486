//! What Prometheus sees.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use glasslog_http::answer::{Answer, uncached};
use http::HeaderValue;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::decide::{Contradiction, Refused};

/// How a request to `add-checkpoint` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Cosigned,
    Refreshed,
    Malformed,
    UnknownLog,
    Disabled,
    NotSigned,
    OldAboveNew,
    Conflict,
    EmptyRoot,
    Inconsistent,
    Limited,
    Unavailable,
}

impl Outcome {
    const ALL: [Outcome; 12] = [
        Outcome::Cosigned,
        Outcome::Refreshed,
        Outcome::Malformed,
        Outcome::UnknownLog,
        Outcome::Disabled,
        Outcome::NotSigned,
        Outcome::OldAboveNew,
        Outcome::Conflict,
        Outcome::EmptyRoot,
        Outcome::Inconsistent,
        Outcome::Limited,
        Outcome::Unavailable,
    ];

    fn label(self) -> &'static str {
        match self {
            Outcome::Cosigned => "cosigned",
            Outcome::Refreshed => "refreshed",
            Outcome::Malformed => "malformed",
            Outcome::UnknownLog => "unknown_log",
            Outcome::Disabled => "disabled",
            Outcome::NotSigned => "not_signed",
            Outcome::OldAboveNew => "old_above_new",
            Outcome::Conflict => "conflict",
            Outcome::EmptyRoot => "empty_root",
            Outcome::Inconsistent => "inconsistent",
            Outcome::Limited => "limited",
            Outcome::Unavailable => "unavailable",
        }
    }
}

impl From<&Refused> for Outcome {
    fn from(refused: &Refused) -> Outcome {
        match refused {
            Refused::Malformed(_) => Outcome::Malformed,
            Refused::UnknownLog(_) => Outcome::UnknownLog,
            Refused::NotSigned(_) => Outcome::NotSigned,
            Refused::OldAboveNew { .. } => Outcome::OldAboveNew,
            Refused::Conflict { .. } => Outcome::Conflict,
            Refused::EmptyRoot => Outcome::EmptyRoot,
            Refused::Inconsistent { .. } => Outcome::Inconsistent,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// All metrics of a witness.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<OutcomeLabel, Counter>,
    subtree_requests: Family<OutcomeLabel, Counter>,
    seconds: Histogram,
    commit_seconds: Histogram,
    commit_swaps: Histogram,
    evidence: Family<KindLabel, Counter>,
    /// Cosignature lines that left.
    pub(crate) cosignatures: Counter,
    /// Connections open now.
    pub(crate) connections: Gauge<i64, AtomicI64>,
    /// Bastions that requests can come from now.
    pub(crate) bastions: Gauge<i64, AtomicI64>,
    logs: Gauge<i64, AtomicI64>,
    logs_disabled: Gauge<i64, AtomicI64>,
    logs_cosigned: Gauge<i64, AtomicI64>,
    key_changes: Gauge<i64, AtomicI64>,
    /// 1 while the state takes no changes.
    pub(crate) refusing: Gauge<i64, AtomicI64>,
}

impl Metrics {
    pub(crate) fn new() -> Arc<Metrics> {
        let latencies =
            || Histogram::new(std::iter::successors(Some(0.0001), |seconds| Some(seconds * 2.5)).take(14));
        let metrics = Metrics {
            registry: Registry::default(),
            requests: Family::default(),
            subtree_requests: Family::default(),
            seconds: latencies(),
            commit_seconds: latencies(),
            commit_swaps: Histogram::new(
                std::iter::successors(Some(1.0), |swaps| Some(swaps * 2.0)).take(10),
            ),
            evidence: Family::default(),
            cosignatures: Counter::default(),
            connections: Gauge::default(),
            bastions: Gauge::default(),
            logs: Gauge::default(),
            logs_disabled: Gauge::default(),
            logs_cosigned: Gauge::default(),
            key_changes: Gauge::default(),
            refusing: Gauge::default(),
        };
        metrics.begin_at_zero();
        Arc::new(Metrics { registry: metrics.registry(), ..metrics })
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("glasslog_witness");
        let Metrics { requests, seconds, commit_seconds, commit_swaps, evidence, .. } = self;
        registry.register("requests", "Requests to add-checkpoint by what came of them", requests.clone());
        let subtrees = self.subtree_requests.clone();
        registry.register("subtree_requests", "Requests to sign-subtree by what came of them", subtrees);
        registry.register("request_seconds", "Time from a request's head to its answer", seconds.clone());
        registry.register("commit_seconds", "Time that a durable commit takes", commit_seconds.clone());
        registry.register("commit_swaps", "Checkpoints that one commit makes durable", commit_swaps.clone());
        registry.register("fork_evidence", "Checkpoints by which a log contradicts itself", evidence.clone());
        registry.register("cosignatures", "Cosignatures that left", self.cosignatures.clone());
        registry.register("http_connections", "Connections open now", self.connections.clone());
        registry.register("bastions", "Bastions that are connected to now", self.bastions.clone());
        registry.register("logs", "Logs that are known", self.logs.clone());
        registry.register(
            "logs_disabled",
            "Known logs that the operator has refused",
            self.logs_disabled.clone(),
        );
        registry.register("logs_cosigned", "Logs of which a checkpoint is held", self.logs_cosigned.clone());
        registry.register(
            "list_key_changes",
            "Alarms: lists named another key for a known log",
            self.key_changes.clone(),
        );
        registry.register("refusing", "1 while the state takes no changes", self.refusing.clone());
        registry
    }

    fn begin_at_zero(&self) {
        // A counter that is there from the start shows its first increment.
        for outcome in Outcome::ALL {
            drop(self.requests.get_or_create(&OutcomeLabel { outcome: outcome.label() }));
        }
        for contradiction in [Contradiction::TwoRoots, Contradiction::EmptyRoot] {
            drop(self.evidence.get_or_create(&KindLabel { kind: kind(contradiction) }));
        }
    }

    pub(crate) fn answered(&self, outcome: Outcome, took: Duration) {
        self.requests.get_or_create(&OutcomeLabel { outcome: outcome.label() }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn subtree_answered(&self, outcome: Outcome) {
        self.subtree_requests.get_or_create(&OutcomeLabel { outcome: outcome.label() }).inc();
    }

    pub(crate) fn committed(&self, swaps: usize, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.commit_swaps.observe(u32::try_from(swaps).map_or(f64::MAX, f64::from));
    }

    pub(crate) fn contradicted(&self, contradiction: Contradiction) {
        self.evidence.get_or_create(&KindLabel { kind: kind(contradiction) }).inc();
    }

    /// Everything in the OpenMetrics text format.
    pub(crate) fn answer(&self, logs: usize, disabled: usize, cosigned: usize, key_changes: u64) -> Answer {
        const OPENMETRICS: HeaderValue =
            HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        let gauge = |gauge: &Gauge<i64, AtomicI64>, value: usize| {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        };
        gauge(&self.logs, logs);
        gauge(&self.logs_disabled, disabled);
        gauge(&self.logs_cosigned, cosigned);
        gauge(&self.key_changes, usize::try_from(key_changes).unwrap_or(usize::MAX));
        let mut text = String::new();
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::warn!(%error, "metrics cannot be written");
        }
        uncached(OPENMETRICS, text)
    }
}

fn kind(contradiction: Contradiction) -> &'static str {
    match contradiction {
        Contradiction::TwoRoots => "two_roots",
        Contradiction::EmptyRoot => "empty_root",
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
