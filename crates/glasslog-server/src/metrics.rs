//! What Prometheus sees. Counters are looked up once, when a log is mounted, and are plain atomics from then on.

mod index;

use std::{
    fmt,
    sync::atomic::AtomicI64,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use glasslog_http::answer::uncached;
use glasslog_log::{Ack, Log, Progress, WitnessStatus};
use http::{HeaderValue, StatusCode};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};

use crate::answer::Answer;

/// Where a request went; each has its own counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Add,
    AddBatch,
    Checkpoint,
    Object,
    Proof,
    Lookup,
    /// Pages and descriptions, and whatever does not exist.
    Other,
}

impl Route {
    const ALL: [(Route, &'static str); 7] = [
        (Route::Add, "add"),
        (Route::AddBatch, "add-batch"),
        (Route::Checkpoint, "checkpoint"),
        (Route::Object, "tile"),
        (Route::Proof, "proof"),
        (Route::Lookup, "lookup"),
        (Route::Other, "other"),
    ];

    /// Whether adding entries is what it is for.
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Route::Add | Route::AddBatch)
    }
}

/// All metrics of a server.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    entries: Family<OutcomeLabels, Counter>,
    /// Connections open now.
    pub(crate) connections: Gauge<i64, AtomicI64>,
    /// Clients whose rate is remembered, as of the last sweep.
    pub(crate) rate_buckets: Gauge<i64, AtomicI64>,
}

/// The metrics of one log.
#[derive(Clone)]
pub(crate) struct SiteMetrics {
    routes: Vec<RouteMetrics>,
    appended: Counter,
    duplicate: Counter,
    refused: Counter,
    pushed_back: Counter,
}

#[derive(Clone)]
struct RouteMetrics {
    /// Answers of 2xx, 3xx, 4xx and 5xx.
    by_class: [Counter; 4],
    seconds: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    log: String,
    route: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    log: String,
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    log: String,
    outcome: &'static str,
}

impl Metrics {
    pub(crate) fn new(logs: Vec<(String, Log)>) -> Metrics {
        let mut registry = Registry::with_prefix("glasslog");
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register(
            "http_requests",
            "Answered requests by route and class of status",
            requests.clone(),
        );
        let seconds = Family::<RouteLabels, Histogram, fn() -> Histogram>::new_with_constructor(latencies);
        registry.register(
            "http_request_seconds",
            "Time from a request's head to its answer",
            seconds.clone(),
        );
        let entries = Family::<OutcomeLabels, Counter>::default();
        registry.register(
            "adds",
            "Entries appended or found to be duplicates; requests refused as wrong or pushed back as too many",
            entries.clone(),
        );
        let connections = Gauge::default();
        registry.register("http_connections", "Connections open now", connections.clone());
        let rate_buckets = Gauge::default();
        registry.register("rate_limit_clients", "Clients whose rate is remembered", rate_buckets.clone());
        registry.register_collector(Box::new(LogState { logs }));
        Metrics { registry, requests, seconds, entries, connections, rate_buckets }
    }

    /// The metrics of the log with this label.
    pub(crate) fn site(&self, log: &str) -> SiteMetrics {
        let routes = Route::ALL.map(|(_, route)| {
            let count = |status| {
                self.requests.get_or_create(&RequestLabels { log: log.to_owned(), route, status }).clone()
            };
            RouteMetrics {
                by_class: ["2xx", "3xx", "4xx", "5xx"].map(count),
                seconds: self.seconds.get_or_create(&RouteLabels { log: log.to_owned(), route }).clone(),
            }
        });
        let outcome =
            |outcome| self.entries.get_or_create(&OutcomeLabels { log: log.to_owned(), outcome }).clone();
        SiteMetrics {
            routes: routes.to_vec(),
            appended: outcome("appended"),
            duplicate: outcome("duplicate"),
            refused: outcome("refused"),
            pushed_back: outcome("pushed_back"),
        }
    }

    /// Everything in the OpenMetrics text format.
    pub(crate) fn answer(&self) -> Answer {
        const OPENMETRICS: HeaderValue =
            HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        let mut text = String::new();
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::warn!(%error, "metrics cannot be written");
        }
        uncached(OPENMETRICS, text)
    }
}

impl SiteMetrics {
    /// Counts acknowledged entries.
    pub(crate) fn added(&self, acks: &[Ack]) {
        let duplicates = acks.iter().filter(|ack| ack.duplicate).count();
        self.duplicate.inc_by(u64::try_from(duplicates).unwrap_or(u64::MAX));
        self.appended.inc_by(u64::try_from(acks.len() - duplicates).unwrap_or(u64::MAX));
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, route: Route, status: StatusCode, took: Duration) {
        let position = Route::ALL.iter().position(|(other, _)| *other == route);
        if let Some(metrics) = position.and_then(|position| self.routes.get(position)) {
            let class = usize::from(status.as_u16() / 100).saturating_sub(2);
            if let Some(counter) = metrics.by_class.get(class) {
                counter.inc();
            }
            metrics.seconds.observe(took.as_secs_f64());
        }
        if route.is_write() {
            match status.as_u16() {
                429 | 503 => self.pushed_back.inc(),
                400..=499 => self.refused.inc(),
                _ => 0,
            };
        }
    }
}

/// From 100 µs to 26 s, each bucket twice and a half the last.
fn latencies() -> Histogram {
    Histogram::new(std::iter::successors(Some(0.0001), |seconds| Some(seconds * 2.5)).take(14))
}

/// How far each log is, asked for when Prometheus asks.
struct LogState {
    logs: Vec<(String, Log)>,
}

impl fmt::Debug for LogState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.logs.iter().map(|(label, _)| label)).finish()
    }
}

impl Collector for LogState {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let all: Vec<(&str, Progress)> =
            self.logs.iter().map(|(label, log)| (label.as_str(), log.progress())).collect();

        let mut sizes = encoder.encode_descriptor(
            "tree_size",
            "Entries so far at each stage",
            None,
            MetricType::Gauge,
        )?;
        for (label, progress) in &all {
            let stages = [
                ("sequenced", progress.sequenced),
                ("integrated", progress.integrated),
                ("recorded", progress.recorded),
                ("published", progress.published),
            ];
            for (stage, size) in stages {
                gauge(&mut sizes, &[("log", label), ("stage", stage)], size.0)?;
            }
        }
        let mut each = |name: &str, help: &str, value: fn(&Progress) -> Option<u64>| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            all.iter()
                .filter_map(|(label, progress)| value(progress).map(|value| (label, value)))
                .try_for_each(|(label, value)| gauge(&mut metric, &[("log", label)], value))
        };
        each("pool_bytes", "Bytes waiting for a durable index", |progress| Some(progress.pool_bytes))?;
        each("backlog_bytes", "Bytes sequenced and not yet in tiles", |progress| {
            Some(progress.backlog_bytes)
        })?;
        each("checkpoint_age_seconds", "Age of the public checkpoint", checkpoint_age)?;
        each("refusing", "1 while adds are refused", |progress| {
            Some(u64::from(progress.refusing.is_some()))
        })?;
        each(
            "quorum",
            "0 while the newest signed checkpoint waits in vain for its quorum, or a start for its confirmation",
            |progress| Some(u64::from(progress.quorum)),
        )?;

        let mut commits =
            encoder.encode_descriptor("commits", "Durable commits since start", None, MetricType::Counter)?;
        for (label, progress) in &all {
            let labels = [("log", *label)];
            ConstCounter::new(progress.commits).encode(commits.encode_family(&labels)?)?;
        }
        index::encode(&self.logs, &mut encoder)?;
        self.encode_witnesses(&mut encoder)
    }
}

impl LogState {
    fn encode_witnesses(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let all: Vec<(&str, WitnessStatus)> = self
            .logs
            .iter()
            .flat_map(|(label, log)| log.witnesses().into_iter().map(|witness| (label.as_str(), witness)))
            .collect();
        if all.is_empty() {
            return Ok(());
        }
        let mut each = |name: &str, help: &str, value: fn(&WitnessStatus) -> Option<u64>| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            all.iter()
                .filter_map(|(label, witness)| Some((label, &witness.name, value(witness)?)))
                .try_for_each(|(label, name, value)| {
                    gauge(&mut metric, &[("log", label), ("witness", name)], value)
                })
        };
        each("witness_size", "The size that a witness holds", |witness| witness.held.map(|size| size.0))?;
        each("witness_cosigned_unixtime", "The time of a witness's last cosignature", |witness| {
            witness.cosigned_at_unix_s
        })?;
        each(
            "witness_contradicts",
            "1 while a witness says that this log is not what it has seen",
            |witness| Some(u64::from(witness.contradicts)),
        )?;
        each("witness_latency_milliseconds", "How long a witness's last answer took", |witness| {
            witness.latency.and_then(|latency| u64::try_from(latency.as_millis()).ok())
        })?;
        let mut answers = encoder.encode_descriptor(
            "witness_answers",
            "Answers of a witness by what they were worth",
            None,
            MetricType::Counter,
        )?;
        for (label, witness) in &all {
            for (answer, count) in &witness.answers {
                let labels = [("log", *label), ("witness", &witness.name), ("answer", answer)];
                ConstCounter::new(*count).encode(answers.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// Seconds since the public checkpoint was published, or `None` before the first.
pub(crate) fn checkpoint_age(progress: &Progress) -> Option<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    progress.published_at_unix_s.map(|published| now.saturating_sub(published))
}

fn gauge<const N: usize>(
    metric: &mut MetricEncoder<'_>,
    labels: &[(&str, &str); N],
    value: u64,
) -> Result<(), fmt::Error> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric.encode_family(labels)?)
}
