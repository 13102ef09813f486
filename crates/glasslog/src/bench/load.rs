//! Writers and readers: each connection is one task with its own figures, added up at the end.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use glasslog_core::entry_bundle;
use hdrhistogram::Histogram;
use hyper::{Method, StatusCode, Uri};
use indicatif::ProgressBar;
use tokio::task::JoinSet;

use super::{
    BenchArgs, Rate,
    connection::{Answer, Broken, Connection, Endpoint},
    entries::{Entries, Random},
};

/// The longest latency that is told apart, in microseconds: one minute.
const MAX_LATENCY_US: u64 = 60_000_000;

/// The longest pause after a push back, whatever `Retry-After` says: a bench that sleeps measures nothing.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Of the proofs that `?wait=published` answers with, each connection keeps this many to be verified.
const PROOFS_KEPT: usize = 16;

/// An acknowledged entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    /// The index that was acknowledged.
    pub(super) index: u64,
    /// Which entry of [`Entries`] it is.
    pub(super) entry: u32,
    /// When, in units of 10 µs since the start.
    at: u32,
}

/// A proof that came as an answer.
#[derive(Clone, Debug)]
pub(super) struct ProofAnswer {
    pub(super) entry: u32,
    pub(super) proof: Bytes,
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) started: Instant,
    pub(super) elapsed: Duration,
    /// In microseconds, of requests that were answered with success.
    pub(super) latency: Histogram<u64>,
    pub(super) requests: u64,
    pub(super) bytes: u64,
    pub(super) acks: Vec<Ack>,
    pub(super) proofs: Vec<ProofAnswer>,
    /// Entries sent again: how many were answered with their old index, and how many with another.
    pub(super) duplicates: (u64, u64),
    pub(super) errors: BTreeMap<String, u64>,
}

impl Ack {
    /// `index` was acknowledged for `entry`, `at` after the start.
    pub(super) fn new(index: u64, entry: u32, at: Duration) -> Ack {
        Ack { index, entry, at: u32::try_from(at.as_micros() / 10).unwrap_or(u32::MAX) }
    }

    /// When it was acknowledged, since the start.
    pub(super) fn at(&self) -> Duration {
        Duration::from_micros(u64::from(self.at) * 10)
    }
}

impl Load {
    /// Nothing measured yet.
    pub(super) fn new(started: Instant) -> anyhow::Result<Load> {
        Ok(Load {
            started,
            elapsed: Duration::ZERO,
            latency: Histogram::new_with_bounds(1, MAX_LATENCY_US, 2)?,
            requests: 0,
            bytes: 0,
            acks: Vec::new(),
            proofs: Vec::new(),
            duplicates: (0, 0),
            errors: BTreeMap::new(),
        })
    }

    /// The tree size that covers everything acknowledged.
    pub(super) fn needed_size(&self) -> u64 {
        self.acks.iter().map(|ack| ack.index + 1).max().unwrap_or(0)
    }

    /// Requests that failed.
    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    fn error(&mut self, kind: String) {
        *self.errors.entry(kind).or_default() += 1;
    }

    fn succeeded(&mut self, intended: Instant) {
        let micros = u64::try_from(intended.elapsed().as_micros()).unwrap_or(MAX_LATENCY_US);
        self.latency.saturating_record(micros.max(1));
        self.requests += 1;
    }

    fn add(&mut self, other: Load) -> anyhow::Result<()> {
        self.latency.add(other.latency)?;
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.acks.extend(other.acks);
        self.proofs.extend(other.proofs);
        self.duplicates.0 += other.duplicates.0;
        self.duplicates.1 += other.duplicates.1;
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        Ok(())
    }
}

/// Writes for the duration of the run.
pub(super) async fn write(
    args: &BenchArgs,
    endpoint: &Endpoint,
    seed: u64,
    bar: &ProgressBar,
) -> anyhow::Result<Load> {
    let path = match (args.batch.get(), args.wait_published) {
        (1, false) => "add",
        (1, true) => "add?wait=published",
        _ => "add-batch",
    };
    let uri = endpoint.uri(path).map_err(anyhow::Error::msg)?;
    let pace = Arc::new(Pace::new(args));
    let numbers = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for connection in 0..args.connections.get() as u64 {
        let mut writer = Writer {
            args: args.clone(),
            entries: Entries::new(args, seed),
            numbers: Arc::clone(&numbers),
            random: Random::new(seed.wrapping_add(1), connection),
            load: Load::new(pace.started)?,
            bar: bar.clone(),
        };
        let (endpoint, uri, pace) = (endpoint.clone(), uri.clone(), Arc::clone(&pace));
        tasks.spawn(async move {
            writer.run(&mut endpoint.connection(), &uri, &pace).await;
            writer.load
        });
    }
    add_up(tasks, pace.started).await
}

/// Reads `uris` in random order for the duration of the run.
pub(super) async fn read(
    args: &BenchArgs,
    endpoint: &Endpoint,
    uris: Vec<Uri>,
    bar: &ProgressBar,
) -> anyhow::Result<Load> {
    let pace = Arc::new(Pace::new(args));
    let uris: Arc<[Uri]> = uris.into();
    let mut tasks = JoinSet::new();
    for number in 0..args.connections.get() as u64 {
        let (endpoint, uris, pace, bar) =
            (endpoint.clone(), Arc::clone(&uris), Arc::clone(&pace), bar.clone());
        let mut load = Load::new(pace.started)?;
        let mut random = Random::new(1, number);
        tasks.spawn(async move {
            let mut connection = endpoint.connection();
            while let Some(intended) = pace.next(1).await {
                let Some(uri) = random.pick(&uris) else { break };
                match connection.get(uri).await {
                    Ok(answer) if answer.status == StatusCode::OK => {
                        load.bytes += answer.body.len() as u64;
                        load.succeeded(intended);
                        bar.inc(1);
                    }
                    other => load.error(kind_of(&other)),
                }
            }
            load
        });
    }
    add_up(tasks, pace.started).await
}

async fn add_up(mut tasks: JoinSet<Load>, started: Instant) -> anyhow::Result<Load> {
    let mut total = Load::new(started)?;
    while let Some(load) = tasks.join_next().await {
        total.add(load?)?;
    }
    total.elapsed = started.elapsed();
    Ok(total)
}

/// When to send: shared by all connections.
struct Pace {
    rate: Rate,
    started: Instant,
    end: Instant,
    offered: AtomicU64,
}

impl Pace {
    fn new(args: &BenchArgs) -> Pace {
        let started = Instant::now();
        let end = started + Duration::from_secs(args.duration);
        Pace { rate: args.rate, started, end, offered: AtomicU64::new(0) }
    }

    /// The moment at which the next `entries` should be sent, awaited; `None` when the run is over. Of an open loop the
    /// moment may be past: no connection was free then.
    async fn next(&self, entries: usize) -> Option<Instant> {
        match self.rate {
            Rate::Max => Some(Instant::now()).filter(|now| *now < self.end),
            Rate::PerSecond(rate) => {
                let before = self.offered.fetch_add(entries as u64, Ordering::Relaxed);
                let intended = self.started + Duration::from_secs_f64(before as f64 / rate);
                if intended >= self.end {
                    return None;
                }
                tokio::time::sleep_until(intended.into()).await;
                Some(intended)
            }
        }
    }
}

/// One connection that writes.
struct Writer {
    args: BenchArgs,
    entries: Entries,
    /// Numbers of entries, given out once each.
    numbers: Arc<AtomicU64>,
    random: Random,
    load: Load,
    bar: ProgressBar,
}

impl Writer {
    async fn run(&mut self, connection: &mut Connection<'_>, uri: &Uri, pace: &Pace) {
        let batch = self.args.batch.get();
        while let Some(intended) = pace.next(batch).await {
            let again = self.one_to_send_again();
            let numbers: Vec<u32> = match again {
                Some(ack) => vec![ack.entry],
                None => (0..batch).map_while(|_| self.number()).collect(),
            };
            if numbers.is_empty() {
                return;
            }
            let answer = connection.send(Method::POST, uri, self.body(&numbers)).await;
            match indices(&answer, numbers.len()) {
                Some(indices) => {
                    self.load.succeeded(intended);
                    self.acknowledged(&numbers, &indices, again, answer);
                }
                None => self.failed(&answer, pace).await,
            }
        }
    }

    fn number(&self) -> Option<u32> {
        let number = u32::try_from(self.numbers.fetch_add(1, Ordering::Relaxed)).ok();
        number.filter(|number| self.args.entries.is_none_or(|entries| *number < entries))
    }

    fn one_to_send_again(&mut self) -> Option<Ack> {
        let wanted = self.random.next() % 100 < u64::from(self.args.duplicates);
        if wanted { self.random.pick(&self.load.acks).copied() } else { None }
    }

    /// One entry as it is, several in the framing of a bundle.
    fn body(&mut self, numbers: &[u32]) -> Bytes {
        let made = numbers.iter().map(|number| self.entries.make((*number).into()));
        let body = if self.args.batch.get() == 1 {
            made.flatten().collect()
        } else {
            // Entries are made shorter than 64 KiB, so the framing cannot fail.
            entry_bundle::encode(made).unwrap_or_default()
        };
        self.load.bytes += body.len() as u64;
        body.into()
    }

    fn acknowledged(
        &mut self,
        numbers: &[u32],
        indices: &[u64],
        again: Option<Ack>,
        answer: Result<Answer, Broken>,
    ) {
        if let (Some(original), [index]) = (again, indices) {
            let same = original.index == *index;
            self.load.duplicates.0 += u64::from(same);
            self.load.duplicates.1 += u64::from(!same);
            return;
        }
        let at = self.load.started.elapsed();
        let acks = numbers.iter().zip(indices).map(|(entry, index)| Ack::new(*index, *entry, at));
        self.load.acks.extend(acks);
        self.bar.inc(indices.len() as u64);
        if let (true, Ok(answer), [entry]) = (self.args.wait_published, answer, numbers) {
            self.published(*entry, answer);
        }
    }

    fn published(&mut self, entry: u32, answer: Answer) {
        if answer.status == StatusCode::ACCEPTED {
            self.load.error("202: acknowledged, not yet published".into());
        } else if self.load.proofs.len() < PROOFS_KEPT {
            self.load.proofs.push(ProofAnswer { entry, proof: answer.body });
        }
    }

    async fn failed(&mut self, answer: &Result<Answer, Broken>, pace: &Pace) {
        self.load.error(kind_of(answer));
        let pause = match answer {
            Ok(answer) => answer.retry_after.unwrap_or_default(),
            Err(_) => Duration::from_millis(100),
        };
        if pace.rate == Rate::Max {
            tokio::time::sleep(pause.min(MAX_PAUSE)).await;
        }
    }
}

/// The acknowledged indices, if the answer is a success and has exactly `count` of them.
fn indices(answer: &Result<Answer, Broken>, count: usize) -> Option<Vec<u64>> {
    let answer = answer.as_ref().ok().filter(|answer| answer.status.is_success())?;
    let text = std::str::from_utf8(&answer.body).ok()?;
    if let Some((_, from_index)) = text.split_once("\nindex ") {
        // A tlog-proof: its index line is enough here; some are verified afterwards.
        return from_index.lines().next()?.parse().ok().map(|index| vec![index]);
    }
    let first_word = |line: &str| line.split(' ').next()?.parse().ok();
    let indices: Vec<u64> = text.lines().map(first_word).collect::<Option<_>>()?;
    (indices.len() == count).then_some(indices)
}

/// What an answer that is no success is counted by.
fn kind_of(answer: &Result<Answer, Broken>) -> String {
    match answer {
        Err(broken) => broken.to_string(),
        Ok(answer) if answer.status.is_success() => format!("{}: unreadable answer", answer.status.as_u16()),
        Ok(answer) => {
            let reason: String = String::from_utf8_lossy(&answer.body).lines().take(1).collect();
            // Without numbers, so that one kind of error is counted as one.
            let reason: String = reason.chars().filter(|c| !c.is_ascii_digit()).take(100).collect();
            format!("{} {}", answer.status.as_u16(), reason.trim())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: StatusCode, body: &'static str) -> Result<Answer, Broken> {
        Ok(Answer { status, retry_after: None, body: Bytes::from_static(body.as_bytes()) })
    }

    #[test]
    fn answers_are_read_by_their_form() {
        let ok = StatusCode::OK;
        assert_eq!(indices(&answer(ok, "7\n"), 1), Some(vec![7]));
        assert_eq!(indices(&answer(ok, "7"), 1), Some(vec![7]));
        assert_eq!(indices(&answer(ok, "7\n8 dup\n9\n"), 3), Some(vec![7, 8, 9]));
        assert_eq!(indices(&answer(ok, "c2sp.org/tlog-proof@v1\nindex 12\n\nnote"), 1), Some(vec![12]));
        assert_eq!(indices(&answer(StatusCode::ACCEPTED, "7\n"), 1), Some(vec![7]));
        for (status, body, count) in
            [(ok, "7\n", 2), (ok, "", 1), (ok, "seven\n", 1), (StatusCode::CREATED, "x", 1)]
        {
            assert_eq!(indices(&answer(status, body), count), None, "{body}");
        }
        assert_eq!(indices(&answer(StatusCode::SERVICE_UNAVAILABLE, "7\n"), 1), None);
        assert_eq!(indices(&Err(Broken::Timeout), 1), None);
    }

    #[test]
    fn errors_of_one_kind_are_counted_as_one() {
        let busy = |body| kind_of(&answer(StatusCode::SERVICE_UNAVAILABLE, body));
        assert_eq!(busy("full: 12 bytes\nmore"), busy("full: 345 bytes"));
        assert_ne!(busy("full"), kind_of(&answer(StatusCode::BAD_REQUEST, "full")));
    }
}
