//! The proof that an entry is in a log.

use anyhow::Context;
use glasslog_client::{pin::Pins, verdict::Verdict};
use glasslog_core::{MAX_ENTRY_BYTES, hash::leaf_hash, proof::TlogProof};

use super::{super::Report, ProofArgs, other_kind, read};
use crate::{
    exit::{Exit, Failed, OrExit, Outcome},
    fetch::{Memory, refuse_fork, weigh},
    ground::Ground,
    output::Output,
};

/// Verifies it, and tells.
pub(super) fn verify(args: &ProofArgs, pins: &Pins, proof: &TlogProof, out: &Output) -> Outcome {
    if args.key.is_some() {
        return Err(other_kind(args, "proves an entry, and --key asks for the proof of a lookup"));
    }
    let entry_file = args.entry.as_deref().ok_or_else(|| {
        Failed::usage("a proof says where an entry is, not which: give the entry too, with --entry FILE")
    })?;
    let entry = read(entry_file, MAX_ENTRY_BYTES)?;
    let checkpoint = pins
        .open(proof.checkpoint.as_bytes())
        .context("the proof's checkpoint is not believed")
        .or_exit(Exit::LogFailure)?;
    proof.verify_inclusion(&leaf_hash(&entry), &checkpoint).map_err(|error| {
        let told = format!("{} is not what {} proves", entry_file.display(), args.file.display());
        Failed { exit: Exit::Mismatch, error: anyhow::Error::new(error).context(told) }
    })?;
    let demand = args.age.demand();
    let standing = weigh(pins, &checkpoint, demand, out)?;
    refuse_fork(pins, Memory::of_user().as_ref(), &checkpoint)?;
    let report = Report {
        subject: entry_file.display().to_string(),
        verdict: Verdict::Logged { index: proof.index },
        replaced: None,
        ground: Ground {
            checkpoint: &checkpoint,
            standing: &standing,
            lagging: false,
            must_be_fresh: demand.is_explicit(),
            anchor: None,
            content: None,
        },
    };
    Ok(report.tell(out))
}
