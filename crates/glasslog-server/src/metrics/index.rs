//! What is measured of each verifiable index.

use std::fmt;

use glasslog_log::{IndexStatus, Log};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};

use super::gauge;

/// Reads one figure.
type Read = fn(&Log, &IndexStatus) -> Option<u64>;

const GAUGES: [(&str, &str, Read); 10] = [
    ("index_size", "Entries in the index", |_, index| Some(index.next.0)),
    ("index_durable_size", "Entries that a restart finds in the index", |_, index| Some(index.durable.0)),
    ("index_served_size", "The tree size that lookups are answered about", |log, _| {
        log.served().map(|pair| pair.size().0)
    }),
    ("index_lag", "Entries sequenced and not in the index", |_, index| Some(index.lag)),
    ("index_keys", "Keys in the index", |_, index| Some(index.stats.keys)),
    ("index_postings", "Indices in all lists of the index", |_, index| Some(index.stats.postings)),
    ("index_disk_bytes", "Bytes of the files of the index", |_, index| Some(index.stats.disk_bytes)),
    ("index_memory_bytes", "Bytes of memory of the index", |_, index| Some(index.stats.memory_bytes)),
    ("index_rebuilding", "1 while the index is built again", |_, index| {
        Some(u64::from(index.rebuilding.is_some()))
    }),
    ("index_full", "1 while the index waits for room", |_, index| Some(u64::from(index.full))),
];

const COUNTERS: [(&str, &str, Read); 4] = [
    ("index_void_anchors", "Anchors without a root since the start", |_, index| Some(index.void_anchors)),
    ("index_unmapped_entries", "Entries that map to no key since the start", |_, index| Some(index.unmapped)),
    ("index_rebuilds", "Times that the index was thrown away, at the start or since", |_, index| {
        Some(index.rebuilds)
    }),
    ("index_corruptions", "Times that a lookup found the index damaged", |log, _| {
        Some(log.serving().corruptions)
    }),
];

/// Nothing where no log has one.
pub(super) fn encode(logs: &[(String, Log)], encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let all: Vec<(&str, &Log, IndexStatus)> =
        logs.iter().filter_map(|(label, log)| Some((label.as_str(), log, log.index_status()?))).collect();
    if all.is_empty() {
        return Ok(());
    }
    for (name, help, read) in GAUGES {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (label, log, status) in &all {
            if let Some(value) = read(log, status) {
                gauge(&mut metric, &[("log", label)], value)?;
            }
        }
    }
    for (name, help, read) in COUNTERS {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (label, log, status) in &all {
            if let Some(value) = read(log, status) {
                ConstCounter::new(value).encode(metric.encode_family(&[("log", *label)])?)?;
            }
        }
    }
    Ok(())
}
