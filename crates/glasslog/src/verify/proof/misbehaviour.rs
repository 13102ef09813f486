//! The proof that a log signed a wrong index.

use anyhow::Context;
use glasslog_client::lookup::AskError;
use glasslog_vindex::MisbehaviourProof;
use serde::Serialize;

use super::ProofArgs;
use crate::{
    exit::{Exit, OrExit, Outcome},
    fetch::Target,
    output::{Output, Tone},
};

/// What is printed with `--json`. Fields that do not apply are left out.
#[derive(Serialize)]
struct Json<'m> {
    misbehaviour: String,
    exit: u8,
    origin: &'m str,
    size: u64,
    root: String,
    anchor: u64,
    map_fn: &'m str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<u64>,
}

/// Verifies it, and tells: 4 if it is proven, whatever else was asked; 1 if it proves nothing. Witnesses do not vouch for an index, so no policy is
/// asked for.
pub(super) fn verify(args: &ProofArgs, target: &Target, file: &[u8], out: &Output) -> Outcome {
    let (pins, map_fn) = (target.pins()?, args.meaning.map_function(target)?);
    let name = args.file.display();
    let proof = MisbehaviourProof::parse(file)
        .with_context(|| format!("{name} is no proof of misbehaviour"))
        .or_exit(Exit::OwnFailure)?;
    let origin = pins.origin().ok_or(AskError::ManyLogs).or_exit(Exit::Usage)?;
    let proven = proof
        .verify(origin, &pins.log_keys(origin), &*map_fn)
        .with_context(|| format!("{name} proves no misbehaviour of {origin}"))
        .or_exit(Exit::Mismatch)?;
    out.line(format_args!("{} {proven}", out.paint(Tone::Bad, "MISBEHAVIOUR")));
    let size = proven.checkpoint().size();
    out.line(out.paint(
        Tone::Faint,
        format_args!("the log signed this at size {size}; show the file to others, it needs nothing but the log's key and {}", map_fn.name()),
    ));
    out.json(&Json {
        misbehaviour: proven.what().to_string(),
        exit: Exit::LogFailure as u8,
        origin: proven.checkpoint().origin(),
        size: size.0,
        root: proven.checkpoint().root().to_string(),
        anchor: proven.anchor().0,
        map_fn: map_fn.name(),
        key: proven.key().map(|key| key.to_string()),
        entry: proven.entry().map(|entry| entry.0),
    });
    Ok(Exit::LogFailure)
}
