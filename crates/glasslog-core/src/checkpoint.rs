//! Checkpoints (c2sp.org/tlog-checkpoint): the text of a note that states a log's size and root.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use base64ct::{Base64, Encoding};

use crate::note::{MAX_NAME_BYTES, Note, NoteError, VerifierKey};
use crate::{Hash, TreeSize, cosignature::VerifiedCosignature};

/// Why a text is not a checkpoint, or why a checkpoint must not be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it is malformed, or no known key signed it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Every line ends in a newline, and there are at least three.
    #[error("checkpoint must have an origin, a size and a root line, each ended by a newline")]
    Lines,
    /// The first line is empty, or longer than [`MAX_NAME_BYTES`].
    #[error("checkpoint origin must have 1 to 255 bytes")]
    Origin,
    /// The second line, here its beginning, is not a decimal number below 2^64 in its shortest spelling.
    #[error("checkpoint size {0:?} is not a decimal number without leading zeros")]
    Size(String),
    /// The third line, here its beginning, is not the canonical base64 of 32 bytes.
    #[error("checkpoint root {0:?} is not the base64 of 32 bytes")]
    Root(String),
    /// An extension line is empty.
    #[error("checkpoint has an empty extension line")]
    Extension,
    /// The empty tree has one root.
    #[error("checkpoint of size 0 has a root that is not the hash of nothing")]
    EmptyRoot,
    /// The checkpoint is of another log.
    #[error("checkpoint is of {found:?}, expected {expected:?}")]
    OtherOrigin {
        /// The origin line.
        found: String,
        /// What the verifier pinned.
        expected: String,
    },
    /// The policy knows no log of this origin.
    #[error("checkpoint is of {0:?}, a log that the policy does not know")]
    UnknownLog(String),
    /// No key of the log itself signed it.
    #[error("checkpoint is not signed by a known key of the log")]
    NotSignedByLog,
}

/// What a checkpoint's text says: parsed, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The identity of the log.
    pub origin: String,
    /// How many entries the tree holds.
    pub size: TreeSize,
    /// The RFC 6962 root over them.
    pub root: Hash,
    /// Further lines, without their newlines. Ours have none: ML-DSA cosignatures would not cover them.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// The checkpoint without extension lines.
    #[must_use]
    pub fn new(origin: &str, size: TreeSize, root: Hash) -> Checkpoint {
        Checkpoint { origin: origin.into(), size, root, extensions: Vec::new() }
    }

    /// Reads a note's text.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] for whatever [`Checkpoint::to_text`] would not write back byte for byte.
    pub fn parse(text: &str) -> Result<Checkpoint, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let mut line = || lines.next().ok_or(CheckpointError::Lines);
        let (origin, size, root) = (line()?, line()?, line()?);
        if origin.is_empty() || origin.len() > MAX_NAME_BYTES {
            return Err(CheckpointError::Origin);
        }
        let size = parse_decimal(size).ok_or_else(|| CheckpointError::Size(beginning(size)))?;
        let root = parse_hash(root).ok_or_else(|| CheckpointError::Root(beginning(root)))?;
        let extensions: Vec<String> = lines.map(String::from).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(CheckpointError::Extension);
        }
        Ok(Checkpoint { origin: origin.into(), size: TreeSize(size), root, extensions })
    }

    /// The text to be signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{self}")
    }
}

/// The text, line by line.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, Base64::encode_string(self.root.as_bytes()))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A checkpoint that the log itself signed, with the cosignatures that were verified beside that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
    log_keys: Vec<VerifierKey>,
    cosignatures: Vec<VerifiedCosignature>,
    unchecked: Vec<VerifierKey>,
}

impl VerifiedCheckpoint {
    /// Opens a signed checkpoint of the log `origin`, whose own keys are `log_keys`.
    ///
    /// # Errors
    ///
    /// As [`VerifiedCheckpoint::open_with_witnesses`].
    pub fn open(
        note: &[u8],
        origin: &str,
        log_keys: &[VerifierKey],
    ) -> Result<VerifiedCheckpoint, CheckpointError> {
        VerifiedCheckpoint::open_with_witnesses(note, origin, log_keys, &[])
    }

    /// The same, and checks the cosignatures of `witnesses` with it.
    ///
    /// A log's own cosigner may be among `log_keys`: its cosignature is the log's signature then.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] when the note is malformed, of another origin, not signed by any of `log_keys`, or
    /// when a signature of *any* of the keys given is wrong.
    pub fn open_with_witnesses(
        note: &[u8],
        origin: &str,
        log_keys: &[VerifierKey],
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedCheckpoint, CheckpointError> {
        let note = Note::parse(note)?;
        let keys: Vec<VerifierKey> = log_keys.iter().chain(witnesses).cloned().collect();
        let verified = note.verify(&keys)?;
        let checkpoint = Checkpoint::parse(verified.text())?;
        if checkpoint.origin != origin {
            return Err(CheckpointError::OtherOrigin { found: checkpoint.origin, expected: origin.into() });
        }
        if checkpoint.size == TreeSize::ZERO && checkpoint.root != Hash::EMPTY_ROOT {
            return Err(CheckpointError::EmptyRoot);
        }
        let signatures = verified.signatures();
        let signed_by: Vec<VerifierKey> = signatures
            .iter()
            .map(|signature| signature.key)
            .filter(|key| log_keys.contains(key))
            .cloned()
            .collect();
        if signed_by.is_empty() {
            return Err(CheckpointError::NotSignedByLog);
        }
        let cosignatures = signatures.iter().filter_map(VerifiedCosignature::from_note).collect();
        let unchecked = verified.unchecked().iter().map(|key| (*key).clone()).collect();
        Ok(VerifiedCheckpoint { checkpoint, note, log_keys: signed_by, cosignatures, unchecked })
    }

    /// What was signed.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The identity of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.checkpoint.origin
    }

    /// How many entries the tree holds.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.checkpoint.size
    }

    /// The root over them.
    #[must_use]
    pub fn root(&self) -> &Hash {
        &self.checkpoint.root
    }

    /// The note, with every signature it came with.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The keys of the log that signed; at least one.
    #[must_use]
    pub fn signed_by(&self) -> &[VerifierKey] {
        &self.log_keys
    }

    /// The verified 0x04 cosignatures, each key once, that of the log's own cosigner among them.
    #[must_use]
    pub fn cosignatures(&self) -> &[VerifiedCosignature] {
        &self.cosignatures
    }

    /// Known 0x06 keys whose lines are there and cannot be checked by this program.
    #[must_use]
    pub fn unchecked(&self) -> &[VerifierKey] {
        &self.unchecked
    }
}

/// What an error quotes of a line that may be as long as the note: more than a size and a root ever have.
fn beginning(line: &str) -> String {
    line.chars().take(60).collect()
}

/// A decimal number in its shortest spelling: no sign, no leading zero.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = text == "0" || !text.starts_with('0');
    if digits && shortest { text.parse().ok() } else { None }
}

/// A hash in canonical base64.
pub(crate) fn parse_hash(text: &str) -> Option<Hash> {
    let mut bytes = [0; Hash::LEN];
    let decoded = Base64::decode(text, &mut bytes).ok()?;
    Hash::from_slice(decoded)
}

#[cfg(test)]
mod tests;
