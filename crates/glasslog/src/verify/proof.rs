//! `glasslog verify proof`: offline. What a file proves is said by its extra data: an entry, a lookup, or misbehaviour.

mod entry;
mod lookup;
mod misbehaviour;

use std::{fs::File, io::Read, path::Path};

use anyhow::Context;
use glasslog_core::proof::MAX_PROOF_BYTES;
use glasslog_core::proof::TlogProof;

use super::ProofArgs;
use crate::{
    exit::{Exit, Failed, OrExit, Outcome},
    fetch::Target,
    output::Output,
};

/// How the extra data of a lookup begins (vindex.md §8).
const LOOKUP: &[u8] = b"VIX1";

/// How that of a proof of misbehaviour begins (§9).
const MISBEHAVIOUR: &[u8] = b"VIM1";

/// Runs it.
pub(super) fn run(args: &ProofArgs, out: &Output) -> Outcome {
    let target = Target::of(&args.log)?;
    let pins = target.pins()?;
    let file = read(&args.file, MAX_PROOF_BYTES)?;
    let proof = TlogProof::parse(&file)
        .with_context(|| format!("{} is no tlog-proof", args.file.display()))
        .or_exit(Exit::OwnFailure)?;
    match proof.extra.as_deref() {
        Some(extra) if extra.starts_with(LOOKUP) => lookup::verify(args, &target, &file, out),
        Some(extra) if extra.starts_with(MISBEHAVIOUR) => misbehaviour::verify(args, &target, &file, out),
        _ => entry::verify(args, pins, &proof, out),
    }
}

/// A file of another kind than the caller's question needs: a mismatch, whatever it proves.
fn other_kind(args: &ProofArgs, told: &str) -> Failed {
    Failed::new(Exit::Mismatch, format!("{} {told}", args.file.display()))
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
