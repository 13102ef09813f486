//! After the load: is everything that was acknowledged public, once, and at its index?

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use glasslog_client::{inclusion::Inclusion, pin::Pins};
use glasslog_core::{
    Hash, LeafIndex, TreeSize, checkpoint::Checkpoint, entry_bundle::EntryBundle, hash::leaf_hash,
    merkle::InclusionProof, note::Note, proof::TlogProof, tile::BundleId,
};

use super::{
    BenchArgs, Kind,
    connection::Endpoint,
    entries::Entries,
    load::{Ack, Load, ProofAnswer},
    lookups,
    publication::Published,
};
use crate::{
    exit::{Exit, Failed, OrExit},
    fetch::{Source, Target},
    fsck::served_key,
    output::Output,
};

/// Sampled entries whose tiles and bundles are held at once.
const AT_ONCE: usize = 64;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Recount {
    /// How the checkpoint was verified: `pinned key`, `served key`, or not at all.
    pub(super) trust: &'static str,
    /// Acknowledged and not public in the end.
    pub(super) unpublished: u64,
    /// Indices that were acknowledged for two entries.
    pub(super) twice: u64,
    /// Entries that were read back and proven to be where they were acknowledged.
    pub(super) proven: usize,
    /// Keys of those entries that were looked up in the log's index and verified, if it keeps one.
    pub(super) looked_up: Option<usize>,
    /// What was not as acknowledged, one line each.
    pub(super) wrong: Vec<String>,
}

/// The tree that the proofs lead to.
struct Tree {
    size: TreeSize,
    root: Hash,
}

impl Recount {
    /// Whether anything acknowledged is missing.
    pub(super) fn is_loss(&self) -> bool {
        self.unpublished > 0 || self.twice > 0 || !self.wrong.is_empty()
    }
}

/// Counts, then reads a sample back.
pub(super) async fn recount(
    args: &BenchArgs,
    endpoint: &Endpoint,
    seed: u64,
    load: &Load,
    published: &Published,
    out: &Output,
) -> Result<Recount, Failed> {
    let source = Source::open(&args.url).or_exit(Exit::LogFailure)?;
    let (pins, trust) = match Target::of(&args.log)?.pins {
        Some(pins) => (Some(pins), "pinned key"),
        None => served(&source).await,
    };
    let note = published.steps.last().map(|step| step.note.clone()).unwrap_or_default();
    let tree =
        tree(pins.as_ref(), &note).context("the checkpoint is not believed").or_exit(Exit::LogFailure)?;
    let entries = Entries::new(args, seed);
    let mut recount = Recount { trust, ..count(load, published) };

    let sample = sample(load, published, args.sample);
    let bar = out.progress(sample.len() as u64, "reading back", "entries");
    for acks in sample.chunks(AT_ONCE) {
        let checked = read_back(&source, &tree, &entries, acks).await.or_exit(Exit::LogFailure)?;
        recount.proven += acks.len() - checked.len();
        recount.wrong.extend(checked);
        bar.inc(acks.len() as u64);
    }
    bar.finish_and_clear();
    if let Some(pins) = pins.as_ref().filter(|_| args.kind == Kind::Conda)
        && lookups::has_index(endpoint).await
    {
        let wrong = lookups::check(endpoint, pins, &entries, &sample).await;
        recount.looked_up = Some(wrong.0);
        recount.wrong.extend(wrong.1);
    }
    for answer in &load.proofs {
        match check_proof(answer, &entries, pins.as_ref()) {
            Ok(()) => recount.proven += 1,
            Err(error) => recount.wrong.push(format!("proof of entry {}: {error:#}", answer.entry)),
        }
    }
    Ok(recount)
}

async fn served(source: &Source) -> (Option<Pins>, &'static str) {
    match served_key::of(source).await {
        Ok(keys) if !keys.is_empty() => (Some(Pins::of_keys(&keys)), "served key"),
        _ => (None, "no key: the root is taken as served"),
    }
}

fn tree(pins: Option<&Pins>, note: &[u8]) -> anyhow::Result<Tree> {
    let checkpoint = match pins {
        Some(pins) => pins.open(note)?.checkpoint().clone(),
        None => Checkpoint::parse(Note::parse(note)?.text())?,
    };
    Ok(Tree { size: checkpoint.size, root: checkpoint.root })
}

fn count(load: &Load, published: &Published) -> Recount {
    let mut indices: Vec<u64> = load.acks.iter().map(|ack| ack.index).collect();
    indices.sort_unstable();
    let twice = indices.windows(2).filter(|pair| pair.first() == pair.last()).count();
    let public = indices.partition_point(|index| *index < published.size());
    Recount { unpublished: (indices.len() - public) as u64, twice: twice as u64, ..Recount::default() }
}

/// `count` public entries, spread evenly over the run, by ascending index.
fn sample(load: &Load, published: &Published, count: usize) -> Vec<Ack> {
    let mut public: Vec<Ack> = load.acks.iter().filter(|ack| ack.index < published.size()).copied().collect();
    public.sort_unstable_by_key(|ack| ack.index);
    let step = public.len().div_ceil(count.max(1)).max(1);
    // The last one is always among them: the end of a log is where losses happen.
    public.into_iter().rev().step_by(step).take(count).collect()
}

/// Reads the bundles of `acks` and proves each entry; what is wrong comes back.
async fn read_back(
    source: &Source,
    tree: &Tree,
    entries: &Entries,
    acks: &[Ack],
) -> anyhow::Result<Vec<String>> {
    let plans = acks
        .iter()
        .map(|ack| Ok((ack, Inclusion::new(LeafIndex(ack.index), tree.size)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let wanted: BTreeSet<_> = plans.iter().flat_map(|(_, plan)| plan.tiles()).collect();
    let tiles = source.tiles(wanted).await?;
    let bundles = bundles(source, tree.size, acks).await?;
    let mut wrong = Vec::new();
    for (ack, plan) in plans {
        let leaf = leaf_hash(&entries.make(ack.entry.into()));
        let included = plan.finish(&tree.root, glasslog_hash::hasher(), |id| tiles.get(id));
        match included {
            Err(error) => wrong.push(format!("index {}: {error}", ack.index)),
            Ok(included) if included.leaf != leaf => {
                wrong.push(format!("index {} holds another entry", ack.index));
            }
            Ok(_) if !holds(&bundles, tree.size, ack.index, leaf) => {
                wrong.push(format!("the bundle of index {} holds another entry", ack.index));
            }
            Ok(_) => {}
        }
    }
    Ok(wrong)
}

async fn bundles(source: &Source, size: TreeSize, acks: &[Ack]) -> anyhow::Result<BTreeMap<BundleId, Bytes>> {
    let ids: BTreeSet<BundleId> =
        acks.iter().filter_map(|ack| Some(BundleId::of_entry(size, LeafIndex(ack.index))?.0)).collect();
    let fetches = ids.into_iter().map(|id| async move { Ok((id, source.bundle(&id).await?)) });
    stream::iter(fetches).buffer_unordered(8).try_collect().await
}

fn holds(bundles: &BTreeMap<BundleId, Bytes>, size: TreeSize, index: u64, leaf: Hash) -> bool {
    let found = BundleId::of_entry(size, LeafIndex(index)).and_then(|(id, position)| {
        let bundle = EntryBundle::parse(bundles.get(&id)?, id.width).ok()?;
        bundle.iter().nth(position)
    });
    found.is_some_and(|entry| leaf_hash(entry) == leaf)
}

/// A proof that `?wait=published` answered with.
fn check_proof(answer: &ProofAnswer, entries: &Entries, pins: Option<&Pins>) -> anyhow::Result<()> {
    let proof = TlogProof::parse(&answer.proof)?;
    let leaf = leaf_hash(&entries.make(answer.entry.into()));
    let tree = tree(pins, proof.checkpoint.as_bytes())?;
    Ok(InclusionProof(proof.hashes).verify(&leaf, proof.index, tree.size, &tree.root)?)
}

#[cfg(test)]
mod tests {
    use glasslog_core::note::{self, Algorithm, Ed25519Signer, SecretKey};

    use super::*;
    use crate::bench::Kind;

    /// A proof of the only entry of a log with `root`.
    fn proof(root: Hash) -> ProofAnswer {
        let signer = Ed25519Signer::new(
            &SecretKey::from_seed("example.org/log", Algorithm::Ed25519, &[7; 32]).unwrap(),
        );
        let text = Checkpoint::new("example.org/log", TreeSize(1), root).to_text();
        let checkpoint = note::sign(&text, &[&signer]).unwrap();
        let proof = TlogProof { index: LeafIndex(0), hashes: Vec::new(), extra: None, checkpoint };
        ProofAnswer { entry: 0, proof: proof.to_text().into() }
    }

    #[test]
    fn without_a_key_a_proof_must_still_lead_to_its_own_root() {
        let entries = Entries::of(Kind::Raw, 1);
        let leaf = leaf_hash(&entries.make(0));
        assert!(check_proof(&proof(leaf), &entries, None).is_ok());
        assert!(check_proof(&proof(Hash([1; 32])), &entries, None).is_err());
    }
}
