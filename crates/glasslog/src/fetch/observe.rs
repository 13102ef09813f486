//! The newest checkpoint of a log, verified, weighed, and compared with what was seen before.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use glasslog_client::{
    lookup::AskError,
    pin::Pins,
    seen::{Comparison, ForkEvidence, Relation},
    verdict::{Demand, Standing},
};
use glasslog_core::{checkpoint::VerifiedCheckpoint, tile::TileId};

use super::{Source, memory::Memory};
use crate::{
    exit::{Exit, Failed, OrExit},
    output::Output,
};

/// How often a node that lags behind is asked again.
const ATTEMPTS: u32 = 3;

/// How long to wait before that.
const PAUSE: Duration = Duration::from_secs(1);

/// A checkpoint that may be rested on.
#[derive(Debug)]
pub struct Observed {
    /// The checkpoint.
    pub checkpoint: VerifiedCheckpoint,
    /// What stands behind it; its quorum is filled.
    pub standing: Standing,
    /// Whether it is smaller than one that was seen before (and consistent with it).
    pub lagging: bool,
}

/// Fetches and judges the newest checkpoint of the one pinned log.
///
/// # Errors
///
/// [`Failed`] with 64 when several logs are pinned, for another could stand in; with 4: the log cannot be read, the signature or
/// quorum does not hold, or the log has forked.
pub async fn observe(
    source: &Source,
    pins: &Pins,
    memory: Option<&Memory>,
    demand: Demand,
    out: &Output,
) -> Result<Observed, Failed> {
    pins.origin().ok_or(AskError::ManyLogs).or_exit(Exit::Usage)?;
    retry_lagging(async || observe_once(source, pins, memory, demand, out).await, |observed| observed.lagging)
        .await
}

/// Asks again, a few times and with a pause, while what comes back is behind what was seen before.
///
/// # Errors
///
/// Those of `ask`.
pub async fn retry_lagging<T>(
    mut ask: impl AsyncFnMut() -> Result<T, Failed>,
    is_lagging: impl Fn(&T) -> bool,
) -> Result<T, Failed> {
    let mut attempt = 1;
    loop {
        let answer = ask().await?;
        if attempt == ATTEMPTS || !is_lagging(&answer) {
            return Ok(answer);
        }
        attempt += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn observe_once(
    source: &Source,
    pins: &Pins,
    memory: Option<&Memory>,
    demand: Demand,
    out: &Output,
) -> Result<Observed, Failed> {
    let note = source.checkpoint().await.or_exit(Exit::LogFailure)?;
    let checkpoint =
        pins.open(&note).context("the log's checkpoint is not believed").or_exit(Exit::LogFailure)?;
    believe(source, pins, memory, checkpoint, demand, out).await
}

/// Weighs a checkpoint that verified, compares it with what was seen before, and remembers it if it is larger.
///
/// # Errors
///
/// [`Failed`] with 4: the quorum is not filled, or the log has forked, or cannot show that it has not.
pub async fn believe(
    source: &Source,
    pins: &Pins,
    memory: Option<&Memory>,
    checkpoint: VerifiedCheckpoint,
    demand: Demand,
    out: &Output,
) -> Result<Observed, Failed> {
    let standing = weigh(pins, &checkpoint, demand, out)?;
    let lagging = match memory {
        Some(memory) => compare(source, pins, memory, &checkpoint, out).await?,
        None => false,
    };
    Ok(Observed { checkpoint, standing, lagging })
}

/// Compares with the remembered checkpoint as far as can be done without asking anybody: two roots at one size are a fork.
///
/// # Errors
///
/// [`Failed`] with 4.
pub fn refuse_fork(
    pins: &Pins,
    memory: Option<&Memory>,
    checkpoint: &VerifiedCheckpoint,
) -> Result<(), Failed> {
    let remembered = |memory: &Memory| memory.remembered(checkpoint.origin(), pins).ok().flatten();
    let Some((memory, remembered)) = memory.and_then(|memory| Some((memory, remembered(memory)?))) else {
        return Ok(());
    };
    if remembered.size() != checkpoint.size() {
        return Ok(());
    }
    let no_tiles = |_: &TileId| None::<&[u8]>;
    match Comparison::new(&remembered, checkpoint)?.finish(glasslog_hash::hasher(), no_tiles)? {
        Relation::Fork(evidence) => Err(forked(memory, checkpoint, &evidence)),
        Relation::Same | Relation::Grown | Relation::Lagging => Ok(()),
    }
}

/// What stands behind a checkpoint now; fails unless its quorum is filled.
///
/// # Errors
///
/// [`Failed`] with 4.
pub fn weigh(
    pins: &Pins,
    checkpoint: &VerifiedCheckpoint,
    demand: Demand,
    out: &Output,
) -> Result<Standing, Failed> {
    let standing = Standing::new(pins, checkpoint, now(), demand);
    if !standing.quorum_filled {
        let counted = if standing.counted.is_empty() { "none".into() } else { standing.counted.join(", ") };
        return Err(Failed::new(
            Exit::LogFailure,
            format!(
                "the checkpoint of size {} lacks the policy's quorum; witnesses that count: {counted}",
                checkpoint.size()
            ),
        ));
    }
    for key in &standing.unchecked {
        out.warn(format_args!(
            "the cosignature of {key} (ML-DSA-44) cannot be checked here and was not counted"
        ));
    }
    if standing.disjoint_quorums && !pins.policy().is_quorum_none() {
        out.warn("two sets of witnesses without a common member fill this policy's quorum: it cannot exclude two views");
    }
    Ok(standing)
}

/// Compares with the remembered checkpoint, remembers a larger one; says whether this one lags behind.
async fn compare(
    source: &Source,
    pins: &Pins,
    memory: &Memory,
    checkpoint: &VerifiedCheckpoint,
    out: &Output,
) -> Result<bool, Failed> {
    let remembered = match memory.remembered(checkpoint.origin(), pins) {
        Ok(remembered) => remembered,
        Err(error) => {
            out.warn(format_args!("cannot read what was seen of this log before: {error}"));
            return Ok(false);
        }
    };
    let relation = match &remembered {
        None => Relation::Grown,
        Some(remembered) => relation(source, remembered, checkpoint).await.or_exit(Exit::LogFailure)?,
    };
    match relation {
        Relation::Same => Ok(false),
        Relation::Lagging => Ok(true),
        Relation::Grown => {
            if let Err(error) = memory.remember(checkpoint) {
                out.warn(format_args!("cannot remember this checkpoint: {error}"));
            }
            Ok(false)
        }
        Relation::Fork(evidence) => Err(forked(memory, checkpoint, &evidence)),
    }
}

fn forked(memory: &Memory, checkpoint: &VerifiedCheckpoint, evidence: &ForkEvidence) -> Failed {
    let kept = memory.keep_evidence(checkpoint.origin(), evidence);
    let kept = kept.map_or_else(
        |error| format!("(which could not be kept: {error})"),
        |path| path.display().to_string(),
    );
    Failed::new(
        Exit::LogFailure,
        format!(
            "THE LOG HAS FORKED: {} has signed two histories. Keep the evidence and report it: {kept}",
            checkpoint.origin()
        ),
    )
}

async fn relation(
    source: &Source,
    remembered: &VerifiedCheckpoint,
    checkpoint: &VerifiedCheckpoint,
) -> anyhow::Result<Relation> {
    let doing = || {
        format!(
            "cannot show that the checkpoint of size {} continues the one of size {} seen before",
            checkpoint.size(),
            remembered.size()
        )
    };
    let comparison = Comparison::new(remembered, checkpoint).with_context(doing)?;
    let tiles = source.tiles(comparison.tiles().iter().copied()).await.with_context(doing)?;
    comparison.finish(glasslog_hash::hasher(), |id| tiles.get(id)).with_context(doing)
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
