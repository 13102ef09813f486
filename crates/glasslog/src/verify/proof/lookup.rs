//! The proof of what a log's index holds about a name.

use anyhow::Context;
use glasslog_client::{
    lookup::{AnswerError, Answered, AskError, verify as verify_lookup},
    pin::Pins,
};
use glasslog_core::checkpoint::VerifiedCheckpoint;
use glasslog_vindex::{Lookup, LookupError, Question};

use super::{ProofArgs, other_kind};
use crate::{
    exit::{Exit, Failed, OrExit, Outcome},
    fetch::{Memory, Observed, Target, now, refuse_fork, weigh},
    lookup::{Believed, Told, heed_disavowals, question_text},
    output::Output,
};

/// Verifies it, and tells: what was asked, if the caller did not say, is what the file says.
pub(super) fn verify(args: &ProofArgs, target: &Target, file: &[u8], out: &Output) -> Outcome {
    if args.entry.is_some() {
        return Err(other_kind(args, "proves a lookup, and --entry asks for the proof of an entry"));
    }
    if args.key.is_none() && (args.meaning.kind.is_some() || args.meaning.hex) {
        return Err(Failed::usage("--kind and --hex say what --key means: give --key too"));
    }
    let (pins, map_fn) = (target.pins()?, args.meaning.map_function(target)?);
    let lookup = Lookup::parse(file)
        .with_context(|| format!("{} is no proof of a lookup", args.file.display()))
        .or_exit(Exit::OwnFailure)?;
    let asked = lookup.question.key(&*map_fn);
    let key = match &args.key {
        Some(key) => args.meaning.key(&*map_fn, key)?,
        None => asked
            .context("the file asks what the pinned map function does not have")
            .or_exit(Exit::LogFailure)?,
    };
    let origin = pins.origin().ok_or(AskError::ManyLogs).or_exit(Exit::Usage)?;
    let verified = verify_lookup(&lookup, pins, origin, &*map_fn, &key, now());
    let verified = verified.map_err(|error| refused(&error, &lookup.question, args))?;
    if args.key.is_none() && matches!(lookup.question, Question::Key(_)) {
        out.warn("the file names a key and not what it is the hash of: give --key NAME (and --kind) to see that it is what you mean");
    }
    heed_disavowals(&verified, out)?;
    let observed = observed(pins, verified.checkpoint().clone(), args, out)?;
    let question = lookup.question.clone();
    let believed = Believed::of_file(Answered { lookup, verified }, observed);
    let entries = believed.present().map(|present| present.entries.clone()).unwrap_or_default();
    Ok(Told { question: &question, believed: &believed, entries: &entries, all: true, file: None }
        .tell(&*map_fn, out))
}

fn observed(
    pins: &Pins,
    checkpoint: VerifiedCheckpoint,
    args: &ProofArgs,
    out: &Output,
) -> Result<Observed, Failed> {
    let standing = weigh(pins, &checkpoint, args.age.demand(), out)?;
    refuse_fork(pins, Memory::of_user().as_ref(), &checkpoint)?;
    Ok(Observed { checkpoint, standing, lagging: false })
}

/// Another question than was asked is a mismatch (1); whatever else does not verify is the log's failure (4).
fn refused(error: &AnswerError, question: &Question, args: &ProofArgs) -> Failed {
    let name = args.file.display();
    let (exit, told) = match error {
        AnswerError::Lookup(LookupError::OtherQuestion) => (
            Exit::Mismatch,
            format!("{name} is about {}, which is not what was asked", question_text(question)),
        ),
        _ => (Exit::LogFailure, format!("{name} proves nothing")),
    };
    Failed { exit, error: anyhow::Error::new(error.clone()).context(told) }
}
