//! Watching the public checkpoint grow.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use hyper::StatusCode;
use tokio::task::JoinHandle;

use super::{
    connection::{Connection, Endpoint},
    load::Load,
};

/// How often the checkpoint is asked for; also the resolution of every time to publish.
const INTERVAL: Duration = Duration::from_millis(10);

/// A checkpoint as it was first seen.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) at: Instant,
    pub(super) size: u64,
    pub(super) note: Bytes,
}

/// A watch under way.
pub(super) struct Publication {
    steps: Arc<Mutex<Vec<Step>>>,
    task: JoinHandle<()>,
}

/// What was seen, from the first checkpoint to the last, sizes ascending.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) steps: Vec<Step>,
}

impl Publication {
    /// Begins to watch; fails if there is no checkpoint to begin with.
    pub(super) async fn watch(endpoint: &Endpoint) -> anyhow::Result<Publication> {
        let endpoint = endpoint.clone();
        let first =
            poll(&mut endpoint.connection(), &endpoint).await.context("no checkpoint could be read")?;
        let steps = Arc::new(Mutex::new(vec![first]));
        let task = tokio::spawn(keep_polling(endpoint, Arc::clone(&steps)));
        Ok(Publication { steps, task })
    }

    /// Ends the watch when the log covers `size` entries, or after `patience`.
    pub(super) async fn wait_for(self, size: u64, patience: Duration) -> Published {
        let give_up = Instant::now() + patience;
        while Instant::now() < give_up && self.size() < size {
            tokio::time::sleep(INTERVAL).await;
        }
        self.task.abort();
        Published { steps: self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }

    fn size(&self) -> u64 {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.last().map_or(0, |step| step.size)
    }
}

impl Published {
    /// The size of the newest checkpoint.
    pub(super) fn size(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.size)
    }

    /// When the entry at `index` was first covered.
    pub(super) fn covered_at(&self, index: u64) -> Option<Instant> {
        let first = self.steps.partition_point(|step| step.size <= index);
        self.steps.get(first).map(|step| step.at)
    }

    /// Entries published per second while the load lasted.
    pub(super) fn rate(&self, load: &Load) -> f64 {
        let end = load.started + load.elapsed;
        let size_at = |moment: Instant| {
            self.steps.iter().take_while(|step| step.at <= moment).last().map_or(0, |s| s.size)
        };
        let before = self.steps.first().map_or(0, |step| step.size);
        size_at(end).saturating_sub(before) as f64 / load.elapsed.as_secs_f64().max(1e-9)
    }
}

async fn keep_polling(endpoint: Endpoint, steps: Arc<Mutex<Vec<Step>>>) {
    let mut connection = endpoint.connection();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A poll that fails is made again; what stays away for good shows as entries that were never published.
        let Ok(step) = poll(&mut connection, &endpoint).await else { continue };
        let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.last().is_none_or(|last| step.size > last.size) {
            steps.push(step);
        }
    }
}

async fn poll(connection: &mut Connection<'_>, endpoint: &Endpoint) -> anyhow::Result<Step> {
    let uri = endpoint.uri("checkpoint").map_err(anyhow::Error::msg)?;
    let answer = connection.get(&uri).await.map_err(|broken| anyhow::anyhow!("{broken}"))?;
    anyhow::ensure!(answer.status == StatusCode::OK, "/checkpoint answered {}", answer.status);
    let size = std::str::from_utf8(&answer.body).ok().and_then(|note| note.lines().nth(1)?.parse().ok());
    Ok(Step { at: Instant::now(), size: size.context("the checkpoint has no size")?, note: answer.body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_covered_by_the_first_checkpoint_above_its_index() {
        let start = Instant::now();
        let step = |ms, size| Step { at: start + Duration::from_millis(ms), size, note: Bytes::new() };
        let published = Published { steps: vec![step(0, 5), step(10, 6), step(30, 100)] };
        let at = |ms| Some(start + Duration::from_millis(ms));
        assert_eq!(published.covered_at(4), at(0));
        assert_eq!(published.covered_at(5), at(10));
        assert_eq!(published.covered_at(6), at(30));
        assert_eq!(published.covered_at(99), at(30));
        assert_eq!(published.covered_at(100), None);
    }
}
