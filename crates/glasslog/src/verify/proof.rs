//! `glasslog verify proof`: offline.

use std::{fs::File, io::Read, path::Path};

use anyhow::Context;
use glasslog_client::verdict::Verdict;
use glasslog_core::{MAX_ENTRY_BYTES, hash::leaf_hash, note::MAX_NOTE_BYTES, proof::TlogProof};

use super::{ProofArgs, report::Report};
use crate::{
    exit::{Exit, Failed, OrExit, Outcome},
    fetch::{Target, weigh},
    output::Output,
};

/// The longest proof file that is read, in bytes. Extra data that is longer belongs to lookups, not to entries.
const MAX_PROOF_BYTES: usize = MAX_NOTE_BYTES + 8 * 1024 * 1024;

/// Runs it.
pub(super) fn run(args: &ProofArgs, out: &Output) -> Outcome {
    let target = Target::of(&args.log)?;
    let pins = target.pins()?;
    let entry_file = args.entry.as_deref().ok_or_else(|| {
        Failed::usage("a proof says where an entry is, not which: give the entry too, with --entry FILE")
    })?;
    let entry = read(entry_file, MAX_ENTRY_BYTES)?;
    let name = args.file.display();
    let proof = TlogProof::parse(&read(&args.file, MAX_PROOF_BYTES)?)
        .with_context(|| format!("{name} is no tlog-proof"))
        .or_exit(Exit::OwnFailure)?;

    let checkpoint = pins
        .open(proof.checkpoint.as_bytes())
        .context("the proof's checkpoint is not believed")
        .or_exit(Exit::LogFailure)?;
    proof.verify_inclusion(&leaf_hash(&entry), &checkpoint).map_err(|error| {
        let told = format!("{} is not what {name} proves", entry_file.display());
        Failed { exit: Exit::Mismatch, error: anyhow::Error::new(error).context(told) }
    })?;
    let max_age = args.max_age.map(|age| age.as_secs());
    let standing = weigh(pins, &checkpoint, max_age, out)?;
    let report = Report {
        subject: entry_file.display().to_string(),
        verdict: Verdict::Logged { index: proof.index },
        checkpoint: &checkpoint,
        standing: &standing,
        lagging: false,
        must_be_fresh: max_age.is_some(),
    };
    Ok(report.tell(out))
}

/// A file of at most `limit` bytes.
fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() > limit {
        return Err(Failed::new(
            Exit::OwnFailure,
            format!("{} is longer than {limit} bytes", path.display()),
        ));
    }
    Ok(bytes)
}
