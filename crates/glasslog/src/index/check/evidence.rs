//! Proofs of misbehaviour, from what the log itself shows.

use std::{io::Write, path::Path};

use anyhow::{Context, bail, ensure};
use glasslog_core::{LeafIndex, checkpoint::VerifiedCheckpoint, merkle::InclusionProof};
use glasslog_index::audit::{
    Audit, Claim, Comparison, Finding, Inquirer, MAX_QUESTIONS, Report, compare, first_question,
};
use glasslog_vindex::{Given, Key, Lookup, MisbehaviourProof, ProvenMisbehaviour};
use indicatif::ProgressBar;
use serde::Deserialize;

use super::{Pinned, read};
use crate::fetch::{HttpSource, Source};

/// The longest answer to a lookup, in bytes: a tail of 4 MiB in base64, proofs, and a page.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Elements of a list that are asked for at once.
const PAGE: u64 = 1000;

/// The longest list that is read, in elements.
const MAX_LIST: u64 = 1 << 24;

/// A proof that was verified.
pub(super) struct Made {
    proof: MisbehaviourProof,
    /// What it proves.
    pub(super) proven: ProvenMisbehaviour,
}

/// What is read of the answer to a lookup.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    indices: Vec<u64>,
    proof: Option<String>,
}

/// Makes a proof of the first wrong anchor that has one: by itself, or by lookups under it while the log answers by it. The
/// audit comes back unless reading on failed.
pub(super) async fn make(
    source: &Source,
    checkpoint: &VerifiedCheckpoint,
    pinned: &Pinned,
    audit: Audit,
    report: &Report,
) -> (Option<Audit>, anyhow::Result<Made>) {
    // Where no anchor names the pinned function, that they name another says nothing about the log.
    let itself = report.findings.iter().filter(|_| report.names_pinned);
    for finding in itself {
        match by_itself(source, checkpoint, pinned, finding).await {
            Ok(Some(made)) => return (Some(audit), Ok(made)),
            Ok(None) => {}
            Err(error) => return (Some(audit), Err(error)),
        }
    }
    by_lookups(source, pinned, audit).await
}

/// Writes the proof into `file`, in the place of what was there.
pub(super) fn write(file: &Path, made: Made) -> anyhow::Result<Made> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = || -> anyhow::Result<()> {
        let mut fresh = tempfile::NamedTempFile::new_in(dir)?;
        fresh.write_all(made.proof.to_text().as_bytes())?;
        fresh.as_file().sync_all()?;
        fresh.persist(file)?;
        Ok(())
    };
    written().with_context(|| format!("cannot write {}", file.display()))?;
    Ok(made)
}

/// Nothing is written that this has not accepted.
fn verified(proof: MisbehaviourProof, pinned: &Pinned) -> anyhow::Result<Made> {
    let keys = pinned.pins.log_keys(&pinned.origin);
    let proven = proof.verify(&pinned.origin, &keys, &*pinned.map_fn)?;
    Ok(Made { proof, proven })
}

async fn by_itself(
    source: &Source,
    checkpoint: &VerifiedCheckpoint,
    pinned: &Pinned,
    finding: &Finding,
) -> anyhow::Result<Option<Made>> {
    let note = checkpoint.note().to_text();
    // Whether it is one does not depend on its inclusion, which costs fetches.
    if finding.proof(note.clone(), InclusionProof::default()).is_none() {
        return Ok(None);
    }
    let (_, inclusion) = source.proven_entry(checkpoint, finding.position).await?;
    finding.proof(note, inclusion).map(|proof| verified(proof, pinned)).transpose()
}

/// Asks the log until what it answers convicts it.
async fn by_lookups(source: &Source, pinned: &Pinned, audit: Audit) -> (Option<Audit>, anyhow::Result<Made>) {
    let Source::Http(http) = source else {
        let why = "a wrong root is proven by what the log answers under it, and a directory answers nothing: give its URL";
        return (Some(audit), Err(anyhow::Error::msg(why)));
    };
    let mut audit = audit;
    let mut key = first_question();
    for _ in 0..MAX_QUESTIONS {
        let lookup = match ask(http, &key).await {
            Ok(lookup) => lookup,
            Err(error) => return (Some(audit), Err(error)),
        };
        audit = match catch_up(source, pinned, audit, &lookup).await {
            Ok(audit) => audit,
            Err(error) => return (None, Err(error)),
        };
        match judge(&audit, pinned, &lookup, &key) {
            Ok(Comparison::Ask(next)) => key = next,
            Ok(Comparison::Wrong(claim)) => {
                let made = settle(source, http, pinned, &claim).await;
                return (Some(audit), made);
            }
            Ok(Comparison::Same) => return (Some(audit), Err(anyhow::Error::msg(HEALED))),
            Err(error) => return (Some(audit), Err(error)),
        }
    }
    (Some(audit), Err(anyhow::Error::msg("the log's index changes faster than it can be searched")))
}

const HEALED: &str = "the newest anchor with a root that was checked is right, and the log answers by no other: what was wrong before it can no \
     longer be proven offline (the entries still show it, to whoever audits)";

fn judge(audit: &Audit, pinned: &Pinned, lookup: &Lookup, key: &Key) -> anyhow::Result<Comparison> {
    let wrong = audit.newest_wrong().context(HEALED)?;
    let keys = pinned.pins.log_keys(&pinned.origin);
    let inquirer = Inquirer { origin: &pinned.origin, log_keys: &keys, map_fn: &*pinned.map_fn };
    Ok(compare(lookup, key, &inquirer, &wrong.revision)?)
}

/// Reads on to the checkpoint of an answer, which may be newer than what was audited: the log does not stand still.
async fn catch_up(source: &Source, pinned: &Pinned, audit: Audit, lookup: &Lookup) -> anyhow::Result<Audit> {
    let checkpoint =
        pinned.pins.open(lookup.checkpoint.as_bytes()).context("the checkpoint of the answer")?;
    ensure!(checkpoint.origin() == pinned.origin, "the log answers with the checkpoint of another one");
    if checkpoint.size() <= audit.next() {
        return Ok(audit);
    }
    let read = read::rest(source, &checkpoint, &pinned.map_fn, audit, &ProgressBar::hidden()).await;
    read.map_err(|halt| super::failed(halt).error.context("the log grew meanwhile, and could not be read on"))
}

async fn ask(http: &HttpSource, key: &Key) -> anyhow::Result<Lookup> {
    let answer = answer(http, key, 0, 1).await?;
    let proof = answer.proof.context("the log answers without a proof")?;
    Lookup::parse(proof.as_bytes()).context("the log's proof cannot be read")
}

async fn answer(http: &HttpSource, key: &Key, start: u64, limit: u64) -> anyhow::Result<Answer> {
    let path = format!("vindex/lookup/{key}?start={start}&limit={limit}");
    let body = http.get(&path, MAX_ANSWER_BYTES).await?.context("the log answers no lookups")?;
    serde_json::from_slice(&body).context("the log's answer to a lookup cannot be read")
}

/// Fetches what a claim needs, and makes the proof.
async fn settle(source: &Source, http: &HttpSource, pinned: &Pinned, claim: &Claim) -> anyhow::Result<Made> {
    let list = list(http, claim.key(), claim.list_needed()).await?;
    let checkpoint = pinned.pins.open(claim.checkpoint().as_bytes())?;
    let entry = match claim.entry_needed(&list) {
        Some(index) => {
            let (entry, inclusion) = source.proven_entry(&checkpoint, index).await?;
            Some(Given { index, entry, inclusion })
        }
        None => None,
    };
    let proof = claim.prove(&list, entry).with_context(|| {
        format!("the list that the log gives out for the key {} is not the one that it anchored", claim.key())
    })?;
    verified(proof, pinned)
}

/// The first `count` elements of a list, page by page.
async fn list(http: &HttpSource, key: &Key, count: u64) -> anyhow::Result<Vec<LeafIndex>> {
    if count > MAX_LIST {
        bail!("the log claims {count} entries for the key {key}, too many to read");
    }
    let mut list = Vec::new();
    while (list.len() as u64) < count {
        let start = list.len() as u64;
        let page = answer(http, key, start, PAGE.min(count - start)).await?.indices;
        ensure!(!page.is_empty(), "the log withholds the list of the key {key} from position {start} on");
        let left = usize::try_from(count - start).unwrap_or(usize::MAX);
        list.extend(page.into_iter().take(left).map(LeafIndex));
    }
    Ok(list)
}
