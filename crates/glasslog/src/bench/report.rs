//! What a bench prints: its settings first, because no figure means anything without them.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{BenchArgs, Kind, Rate, load::Load, publication::Published, recount::Recount};
use crate::{
    exit::Exit,
    output::{Output, Tone},
};

/// The longest time to publish that is told apart, in microseconds: one hour.
const MAX_PUBLISH_US: u64 = 3_600_000_000;

/// Under which conditions it ran.
#[derive(Debug, Serialize)]
pub(super) struct Settings {
    url: String,
    connections: usize,
    rate: String,
    duration_s: u64,
    batch: usize,
    kind: &'static str,
    size: String,
    duplicates_percent: u8,
    wait_published: bool,
    seed: u64,
    cpus: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    fdatasync_p50_us: Option<u128>,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

#[derive(Serialize)]
struct Json<'r> {
    settings: &'r Settings,
    ok: bool,
    seconds: f64,
    acknowledged: usize,
    acknowledged_per_s: f64,
    published_per_s: f64,
    latency_ms: Percentiles,
    time_to_publish_ms: Percentiles,
    duplicates_same_index: u64,
    duplicates_other_index: u64,
    errors: &'r BTreeMap<String, u64>,
    verified_with: &'r str,
    proven: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    looked_up: Option<usize>,
    unpublished: u64,
    index_given_twice: u64,
    wrong: &'r [String],
}

#[derive(Serialize)]
struct JsonReads<'r> {
    path: &'r str,
    connections: usize,
    seconds: f64,
    reads_per_s: f64,
    bytes_per_s: f64,
    latency_ms: Percentiles,
    errors: &'r BTreeMap<String, u64>,
}

impl Settings {
    pub(super) fn new(args: &BenchArgs, seed: u64, fdatasync: Option<Duration>) -> Settings {
        Settings {
            url: args.url.clone(),
            connections: args.connections.get(),
            rate: match args.rate {
                Rate::Max => "max (closed loop)".into(),
                Rate::PerSecond(rate) => format!("{rate}/s (open loop, latency from the intended send time)"),
            },
            duration_s: args.duration,
            batch: args.batch.get(),
            kind: match args.kind {
                Kind::Conda => "conda",
                Kind::Raw => "raw",
            },
            size: args.size.map_or_else(|| "400-600".into(), |size| size.to_string()),
            duplicates_percent: args.duplicates,
            wait_published: args.wait_published,
            seed,
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            fdatasync_p50_us: fdatasync.map(|p50| p50.as_micros()),
        }
    }

    pub(super) fn print(&self, out: &Output) {
        out.line(format_args!(
            "settings      {} connections, rate {}, {} s, {} {} bytes, {} per request, {} % sent again, seed {}, {} CPUs{}",
            self.connections,
            self.rate,
            self.duration_s,
            self.kind,
            self.size,
            self.batch,
            self.duplicates_percent,
            self.seed,
            self.cpus,
            if self.wait_published { ", waiting for publication" } else { "" },
        ));
        if let Some(p50) = self.fdatasync_p50_us {
            out.line(format_args!("disk          fdatasync after 4 KiB: p50 {:.2} ms", p50 as f64 / 1000.0));
        }
    }
}

/// Prints the result of writing and gives the exit code: 1 if anything was lost.
pub(super) fn print(
    settings: &Settings,
    load: &Load,
    published: &Published,
    recount: &Recount,
    out: &Output,
) -> Exit {
    let seconds = load.elapsed.as_secs_f64().max(1e-9);
    let acknowledged_per_s = load.acks.len() as f64 / seconds;
    let published_per_s = published.rate(load);
    let (latency, publish) = (Percentiles::of(&load.latency), time_to_publish(load, published));
    let wrong_duplicates = load.duplicates.1;
    let ok = !recount.is_loss() && wrong_duplicates == 0 && !load.acks.is_empty();

    out.line(format_args!(
        "acknowledged  {} entries in {seconds:.1} s: {acknowledged_per_s:.0}/s",
        load.acks.len()
    ));
    out.line(format_args!("latency       {latency}"));
    out.line(format_args!(
        "published     {published_per_s:.0}/s while writing; acknowledgement to checkpoint {publish}"
    ));
    if settings.duplicates_percent > 0 {
        let (same, other) = load.duplicates;
        out.line(format_args!("sent again    {same} answered with their index, {other} with another"));
    }
    print_errors(load, out);
    print_recount(recount, out);
    if !ok {
        let what = if load.acks.is_empty() {
            "nothing was acknowledged"
        } else {
            "something acknowledged is not there"
        };
        out.error(what);
    }
    out.json(&Json {
        settings,
        ok,
        seconds,
        acknowledged: load.acks.len(),
        acknowledged_per_s,
        published_per_s,
        latency_ms: latency,
        time_to_publish_ms: publish,
        duplicates_same_index: load.duplicates.0,
        duplicates_other_index: wrong_duplicates,
        errors: &load.errors,
        verified_with: recount.trust,
        proven: recount.proven,
        looked_up: recount.looked_up,
        unpublished: recount.unpublished,
        index_given_twice: recount.twice,
        wrong: &recount.wrong,
    });
    if ok { Exit::Ok } else { Exit::Mismatch }
}

fn print_recount(recount: &Recount, out: &Output) {
    out.line(format_args!(
        "recount       {} read back and proven ({}), {} not public, {} indices given twice, {} wrong",
        recount.proven,
        recount.trust,
        recount.unpublished,
        recount.twice,
        recount.wrong.len()
    ));
    if let Some(looked_up) = recount.looked_up {
        out.line(format_args!("index         {looked_up} keys looked up, with proof"));
    }
    for wrong in recount.wrong.iter().take(10) {
        out.line(format_args!("{} {wrong}", out.paint(Tone::Bad, "LOST")));
    }
}

/// Prints the result of reading.
pub(super) fn print_reads(path: &str, args: &BenchArgs, load: &Load, out: &Output) -> Exit {
    let seconds = load.elapsed.as_secs_f64().max(1e-9);
    let (reads_per_s, bytes_per_s) = (load.requests as f64 / seconds, load.bytes as f64 / seconds);
    let latency = Percentiles::of(&load.latency);
    out.line(format_args!(
        "read          {path} {} times in {seconds:.1} s on {} connections: {reads_per_s:.0}/s, {:.0} MB/s",
        load.requests,
        args.connections,
        bytes_per_s / 1e6
    ));
    out.line(format_args!("latency       {latency}"));
    print_errors(load, out);
    out.json(&JsonReads {
        path,
        connections: args.connections.get(),
        seconds,
        reads_per_s,
        bytes_per_s,
        latency_ms: latency,
        errors: &load.errors,
    });
    if load.requests > 0 { Exit::Ok } else { Exit::LogFailure }
}

fn print_errors(load: &Load, out: &Output) {
    let sent = load.requests + load.failed();
    out.line(format_args!("errors        {} of {sent} requests", load.failed()));
    for (kind, count) in &load.errors {
        out.line(format_args!("              {count} × {kind}"));
    }
}

/// From each acknowledgement to the first checkpoint that covers it.
fn time_to_publish(load: &Load, published: &Published) -> Percentiles {
    // With bounds: a histogram that resizes itself does not when values are clamped to it, and shows none of them.
    let Ok(mut times) = Histogram::<u64>::new_with_bounds(1, MAX_PUBLISH_US, 2) else {
        return Percentiles::default();
    };
    for ack in &load.acks {
        if let Some(at) = published.covered_at(ack.index) {
            let waited = at.saturating_duration_since(load.started + ack.at());
            times.saturating_record(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
        }
    }
    Percentiles::of(&times)
}

impl Default for Percentiles {
    fn default() -> Percentiles {
        Percentiles { p50: 0.0, p90: 0.0, p99: 0.0, p999: 0.0, max: 0.0 }
    }
}

impl Percentiles {
    /// Of microseconds.
    fn of(times: &Histogram<u64>) -> Percentiles {
        let ms = |micros: u64| micros as f64 / 1000.0;
        let at = |quantile| ms(times.value_at_quantile(quantile));
        Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: ms(times.max()) }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Percentiles { p50, p90, p99, p999, max } = self;
        write!(f, "p50 {p50:.2} ms, p90 {p90:.2}, p99 {p99:.2}, p99.9 {p999:.2}, max {max:.1}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use crate::bench::{load::Ack, publication::Step};

    /// One checkpoint a second, acknowledgements spread evenly over the second before it.
    #[test]
    fn the_time_to_publish_is_half_an_interval_in_the_middle() {
        let started = Instant::now();
        let mut load = Load::new(started).unwrap();
        load.acks = (0..1000).map(|number| Ack::new(number, 0, Duration::from_millis(number))).collect();
        let step =
            |seconds, size| Step { at: started + Duration::from_secs(seconds), size, note: Bytes::new() };
        let published = Published { steps: vec![step(0, 0), step(1, 1000)] };
        let Percentiles { p50, p90, max, .. } = time_to_publish(&load, &published);
        let near = |value: f64, expected: f64| (value - expected).abs() <= expected / 50.0;
        assert!(near(p50, 500.0) && near(p90, 900.0) && near(max, 1000.0), "{p50} {p90} {max}");
    }
}
