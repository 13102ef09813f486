//! Asking the index of a log: a sample of what was acknowledged, verified, and many questions as a load.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use glasslog_client::pin::Pins;
use glasslog_conda::Conda1Map;
use glasslog_core::{LeafIndex, checkpoint::Checkpoint, note::Note};
use glasslog_vindex::{Answer, Key, Lookup, Pinned, VerifiedLookup, keys_of};
use hyper::{StatusCode, Uri};

use super::{
    connection::{Connection, Endpoint},
    entries::{Entries, Random},
    load::Ack,
};

/// How long the index may lag behind the public checkpoint.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is asked again meanwhile.
const POLL: Duration = Duration::from_millis(20);

/// Whether the log says that it keeps the index of conda entries. What it says is checked by the proofs.
pub(super) async fn has_index(endpoint: &Endpoint) -> bool {
    let Ok(uri) = endpoint.uri("log.json") else { return false };
    let answer = endpoint.connection().get(&uri).await;
    let said = answer.ok().and_then(|answer| serde_json::from_slice::<serde_json::Value>(&answer.body).ok());
    let map_fn = said.as_ref().and_then(|said| said.get("map_fn")?.as_str());
    map_fn == Some("conda-1")
}

/// Where the index is asked for `key`.
fn uri(endpoint: &Endpoint, key: &Key) -> anyhow::Result<Uri> {
    endpoint.uri(&format!("vindex/lookup/{key}")).map_err(anyhow::Error::msg)
}

/// Looks up every key of each of `acks` and verifies the answers: what is wrong, one line each.
pub(super) async fn check(
    endpoint: &Endpoint,
    pins: &Pins,
    entries: &Entries,
    acks: &[Ack],
) -> (usize, Vec<String>) {
    let (mut verified, mut wrong) = (0, Vec::new());
    let mut connection = endpoint.connection();
    for ack in acks {
        for key in keys_of(&Conda1Map, &entries.make(ack.entry.into())) {
            match check_one(&mut connection, endpoint, pins, &key, LeafIndex(ack.index)).await {
                Ok(()) => verified += 1,
                Err(error) => wrong.push(format!("lookup of {key} (index {}): {error:#}", ack.index)),
            }
        }
    }
    (verified, wrong)
}

async fn check_one(
    connection: &mut Connection<'_>,
    endpoint: &Endpoint,
    pins: &Pins,
    key: &Key,
    index: LeafIndex,
) -> anyhow::Result<()> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let verified = look_up(connection, endpoint, pins, key).await?;
        if verified.checkpoint().size().contains(index) {
            return holds(verified.answer(), index);
        }
        ensure!(Instant::now() < give_up, "answered for size {} only", verified.checkpoint().size());
        tokio::time::sleep(POLL).await;
    }
}

async fn look_up(
    connection: &mut Connection<'_>,
    endpoint: &Endpoint,
    pins: &Pins,
    key: &Key,
) -> anyhow::Result<VerifiedLookup> {
    let answer = connection.get(&uri(endpoint, key)?).await.map_err(|broken| anyhow::anyhow!("{broken}"))?;
    ensure!(answer.status == StatusCode::OK, "answered {}", answer.status);
    let lookup = Lookup::parse(&answer.body)?;
    // The origin only selects the pinned keys.
    let origin = Checkpoint::parse(Note::parse(lookup.checkpoint.as_bytes())?.text())?.origin;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let pinned = Pinned { origin: &origin, policy: pins.policy(), map_fn: &Conda1Map };
    Ok(lookup.verify(&pinned, key, now)?)
}

fn holds(answer: &Answer, index: LeafIndex) -> anyhow::Result<()> {
    let Answer::Present(present) = answer else { anyhow::bail!("proven absent") };
    let listed = present.indices.contains(&index);
    // Of a long list only the end is shown.
    let older = !present.is_complete() && present.indices.first().is_some_and(|first| index < *first);
    ensure!(listed || older, "not in the proven list");
    Ok(())
}

/// How many different questions a load asks at most.
const QUESTIONS: u64 = 200_000;

/// The addresses of random keys of the first `count` entries, made before the load so that the generator does little meanwhile.
pub(super) fn uris(endpoint: &Endpoint, entries: &Entries, count: u64) -> anyhow::Result<Vec<Uri>> {
    let mut random = Random::new(count, 0);
    let keys = (0..QUESTIONS.min(3 * count)).filter_map(|_| {
        let keys = keys_of(&Conda1Map, &entries.make(random.next() % count.max(1)));
        random.pick(&keys).copied()
    });
    let uris: Vec<Uri> = keys.map(|key| uri(endpoint, &key)).collect::<anyhow::Result<_>>()?;
    ensure!(!uris.is_empty(), "only entries of the kind conda have keys");
    Ok(uris)
}
