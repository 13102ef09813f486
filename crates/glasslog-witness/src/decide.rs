//! The verdict of a witness, as a function: what is held, what is asked, and what time it is, in; what to sign and what
//! to hold from then on, out.
//!
//! No IO, no clock, no secret key. [`decide`] is all of it; the service takes the same three steps one by one, so that
//! signatures are verified once and outside of any lock: [`Submission::read`], [`Submission::verify`], [`Signed::judge`].
//!
//! Everything is checked in the order of c2sp.org/tlog-witness: what it answers 404, 403, 400 (old size above the
//! checkpoint's), 409 and 422. A request that is malformed is refused before that.

use glasslog_core::{
    Hash, TreeSize,
    checkpoint::{Checkpoint, CheckpointError},
    cosignature::MAX_TIME,
    merkle::{ConsistencyProof, ProofError},
    note::{MAX_NAME_BYTES, MlDsa44, Note, NoteError, Signature, VerifierKey},
    witness::AddCheckpoint,
};

/// What a witness holds of a log: the largest checkpoint that it cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// Its size.
    pub size: TreeSize,
    /// Its root.
    pub root: Hash,
    /// The time of the last cosignature, in seconds since 1970. It never goes back.
    pub time: u64,
}

/// A log, and the keys that it is trusted to sign with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKeys {
    origin: String,
    keys: Vec<VerifierKey>,
}

/// Why an origin and keys make no log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogKeysError {
    /// The origin cannot be a checkpoint's first line.
    #[error("the origin {0:?} must be one line of 1 to 255 bytes without control characters")]
    Origin(String),
    /// Nobody could sign for it.
    #[error("the log {0} has no key; give at least one")]
    NoKey(String),
    /// A signature line could not say which of two keys made it.
    #[error(
        "the log {origin} has two different keys that are both {name} with key ID {key_id:08x}; keep one"
    )]
    AmbiguousKeys {
        /// The origin.
        origin: String,
        /// The key name.
        name: String,
        /// The key ID.
        key_id: u32,
    },
}

impl LogKeys {
    /// The log `origin` that signs with any of `keys`, of whatever type. Their name may be another than the origin.
    ///
    /// # Errors
    ///
    /// [`LogKeysError`].
    pub fn new(origin: &str, keys: Vec<VerifierKey>) -> Result<LogKeys, LogKeysError> {
        let line =
            !origin.is_empty() && origin.len() <= MAX_NAME_BYTES && origin.bytes().all(|byte| byte >= 0x20);
        if !line {
            return Err(LogKeysError::Origin(origin.into()));
        }
        if keys.is_empty() {
            return Err(LogKeysError::NoKey(origin.into()));
        }
        for (n, key) in keys.iter().enumerate() {
            let same_label =
                |other: &&VerifierKey| other.key_id() == key.key_id() && other.name() == key.name();
            if keys.iter().take(n).filter(same_label).any(|other| other != key) {
                let (origin, name) = (origin.into(), key.name().into());
                return Err(LogKeysError::AmbiguousKeys { origin, name, key_id: key.key_id() });
            }
        }
        Ok(LogKeys { origin: origin.into(), keys })
    }

    /// The same log; `ml_dsa` checks the signatures of its 0x06 keys from now on.
    #[must_use]
    pub fn checked_by(self, ml_dsa: &'static dyn MlDsa44) -> LogKeys {
        let keys = self.keys.into_iter().map(|key| key.checked_by(ml_dsa)).collect();
        LogKeys { keys, ..self }
    }

    /// The log's identity: the first line of its checkpoints.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Its keys; at least one.
    #[must_use]
    pub fn keys(&self) -> &[VerifierKey] {
        &self.keys
    }
}

/// Why a checkpoint is not cosigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// 400: what follows the empty line is no signed checkpoint.
    #[error(transparent)]
    Malformed(#[from] CheckpointError),
    /// 404: no such log is known here.
    #[error("the log {0:?} is not known to this witness")]
    UnknownLog(String),
    /// 403: no signature of a trusted key, or a wrong one.
    #[error("the checkpoint is not signed as this log's: {0}")]
    NotSigned(#[source] NoteError),
    /// 400: the old tree would be the larger one.
    #[error("old size {old} is above the checkpoint's size {size}")]
    OldAboveNew {
        /// The old size line.
        old: TreeSize,
        /// The size of the checkpoint.
        size: TreeSize,
    },
    /// 409, with this size.
    #[error("this witness cosigned size {held} last, not {old}")]
    Conflict {
        /// The old size line.
        old: TreeSize,
        /// The size of the latest checkpoint that was cosigned; 0 when none was.
        held: TreeSize,
    },
    /// 422: the tree of size 0 has one root.
    #[error("a checkpoint of size 0 must have the root of the empty tree")]
    EmptyRoot,
    /// 422: the proof proves nothing, or the roots of one size differ.
    #[error("the checkpoint is not proven to be consistent with the one of size {old}: {why}")]
    Inconsistent {
        /// The old size line.
        old: TreeSize,
        /// What is wrong with the proof.
        #[source]
        why: ProofError,
    },
}

/// A checkpoint to cosign, and what is to be held, durably, before anybody sees the cosignature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosign {
    /// The text to cosign: encoded anew from what was parsed, so that nothing is signed that was not understood.
    pub text: String,
    /// The text with the log's own signatures that were verified, each key once; no other line.
    pub note: Note,
    /// What is held from then on. Its time is the time to cosign for.
    pub next: Held,
}

/// What a log signed and no honest log could have signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contradiction {
    /// Two roots at one size.
    TwoRoots,
    /// A root of the empty tree that is not its hash.
    EmptyRoot,
}

/// Decides on `request` for the log that its checkpoint names: `log` is `None` when no such log is known, `held` when
/// nothing of it was ever cosigned. `now` is in seconds since 1970; the time to sign for is never before that of `held`.
///
/// # Errors
///
/// [`Refused`], with the first check that fails.
pub fn decide(
    held: Option<&Held>,
    log: Option<&LogKeys>,
    request: &AddCheckpoint,
    now: u64,
) -> Result<Cosign, Refused> {
    let submission = Submission::read(request)?;
    let log = log.ok_or_else(|| Refused::UnknownLog(submission.origin().into()))?;
    submission.verify(log)?.judge(held, now)
}

/// A request whose checkpoint was read: nothing in it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    old_size: TreeSize,
    proof: ConsistencyProof,
    note: Note,
    checkpoint: Checkpoint,
}

impl Submission {
    /// Reads the checkpoint of `request`.
    ///
    /// # Errors
    ///
    /// [`Refused::Malformed`].
    pub fn read(request: &AddCheckpoint) -> Result<Submission, Refused> {
        let note = Note::parse(&request.note).map_err(CheckpointError::from)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(Submission { old_size: request.old_size, proof: request.proof.clone(), note, checkpoint })
    }

    /// The log that it says it is of.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.checkpoint.origin
    }

    /// Verifies the log's signatures; lines of other keys are ignored and dropped.
    ///
    /// # Errors
    ///
    /// [`Refused::UnknownLog`] when `log` is another one, [`Refused::NotSigned`].
    pub fn verify(self, log: &LogKeys) -> Result<Signed, Refused> {
        let Submission { old_size, proof, note, checkpoint } = self;
        if log.origin != checkpoint.origin {
            return Err(Refused::UnknownLog(checkpoint.origin));
        }
        let verified = note.verify(&log.keys).map_err(Refused::NotSigned)?;
        let text = checkpoint.to_text();
        let mut kept = Note::unsigned(&text).map_err(CheckpointError::from)?;
        let trusted = |line: &&Signature| verified.signatures().iter().any(|by| line.is_of(by.key));
        note.signatures().iter().filter(trusted).cloned().for_each(|line| kept.put(line));
        Ok(Signed { old_size, proof, checkpoint, text, note: kept })
    }
}

/// A request whose checkpoint the log signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    old_size: TreeSize,
    proof: ConsistencyProof,
    checkpoint: Checkpoint,
    text: String,
    note: Note,
}

impl Signed {
    /// What the log signed.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The checkpoint with the log's own signatures that were verified.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Judges it against what is held.
    ///
    /// # Errors
    ///
    /// [`Refused`]: `OldAboveNew`, `Conflict`, `EmptyRoot` or `Inconsistent`.
    pub fn judge(&self, held: Option<&Held>, now: u64) -> Result<Cosign, Refused> {
        let (old, Checkpoint { size, root, .. }) = (self.old_size, &self.checkpoint);
        // "The old size MUST be equal to or lower than the checkpoint size."
        if old > *size {
            return Err(Refused::OldAboveNew { old, size: *size });
        }
        // "… matches the size of the latest checkpoint it cosigned for the checkpoint's origin (or zero if it never
        // cosigned a checkpoint for that origin)."
        let held_size = held.map_or(TreeSize::ZERO, |held| held.size);
        if old != held_size {
            return Err(Refused::Conflict { old, held: held_size });
        }
        // "A checkpoint of size zero MUST have the root hash of the empty tree."
        if *size == TreeSize::ZERO && *root != Hash::EMPTY_ROOT {
            return Err(Refused::EmptyRoot);
        }
        // An empty proof from size 0, equal roots at equal sizes, else RFC 6962 §2.1.2.
        let held_root = held.map_or(Hash::EMPTY_ROOT, |held| held.root);
        self.proof.verify(old, &held_root, *size, root).map_err(|why| Refused::Inconsistent { old, why })?;
        let last = held.map_or(0, |held| held.time);
        // "The timestamp MUST NOT be zero", nor above 2^63 - 1; a clock that steps back does not take time back.
        let time = now.max(last).clamp(1, MAX_TIME);
        let next = Held { size: *size, root: *root, time };
        Ok(Cosign { text: self.text.clone(), note: self.note.clone(), next })
    }

    /// Whether the checkpoint, whatever became of the request, shows that the log contradicts itself.
    #[must_use]
    pub fn contradicts(&self, held: Option<&Held>) -> Option<Contradiction> {
        let Checkpoint { size, root, .. } = &self.checkpoint;
        if *size == TreeSize::ZERO && *root != Hash::EMPTY_ROOT {
            return Some(Contradiction::EmptyRoot);
        }
        let held = held.filter(|held| held.size == *size && held.root != *root);
        held.map(|_| Contradiction::TwoRoots)
    }
}

#[cfg(test)]
mod tests;
