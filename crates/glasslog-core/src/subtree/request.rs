//! The body of `POST /sign-subtree` (c2sp.org/tlog-witness, "sign-subtree").

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use base64ct::{Base64, Encoding};

use super::{Subtree, SubtreeConsistencyProof, SubtreeError};
use crate::checkpoint::{Checkpoint, CheckpointError, parse_decimal, parse_hash};
use crate::note::Note;
use crate::witness::{MAX_PROOF_LINES, next_line};
use crate::{Hash, LeafIndex, TreeSize};

/// Why a body is not a request to cosign a subtree: each of these is a 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A line before the checkpoint is not what belongs there.
    #[error("line {line}: expected {expected}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What belongs there.
        expected: &'static str,
    },
    /// The interval is no subtree, or not one of the checkpoint's tree.
    #[error(transparent)]
    Subtree(#[from] SubtreeError),
    /// What follows the empty line is not a signed checkpoint.
    #[error("the reference checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
}

/// A request to cosign a subtree: parsed, nothing of it verified.
///
/// The subtree lies within the tree of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignSubtreeRequest {
    subtree: Subtree,
    hash: Hash,
    proof: SubtreeConsistencyProof,
    note: Note,
    checkpoint: Checkpoint,
}

impl SignSubtreeRequest {
    /// Reads a request that is all of `body`.
    ///
    /// # Errors
    ///
    /// [`RequestError`] for whatever [`SignSubtreeRequest::to_text`] would not write back byte for byte, and for a subtree
    /// that is none or ends outside the checkpoint's tree.
    pub fn parse(body: &[u8]) -> Result<SignSubtreeRequest, RequestError> {
        let mut lines = Lines { rest: body, number: 0 };
        let subtree = lines.range()?;
        let hash = lines.next().and_then(parse_hash);
        let hash = hash.ok_or_else(|| lines.error("the hash of the subtree, base64 of 32 bytes"))?;
        let proof = lines.proof()?;
        let note = Note::parse(lines.rest).map_err(CheckpointError::from)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if subtree.end() > checkpoint.size {
            return Err(SubtreeError::OutsideTree { subtree, size: checkpoint.size }.into());
        }
        Ok(SignSubtreeRequest { subtree, hash, proof, note, checkpoint })
    }

    /// The subtree to cosign.
    #[must_use]
    pub fn subtree(&self) -> Subtree {
        self.subtree
    }

    /// What the client says its hash is.
    #[must_use]
    pub fn hash(&self) -> &Hash {
        &self.hash
    }

    /// What the client says the checkpoint is.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The reference checkpoint with all its signatures.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// Checks that the subtree is part of the checkpoint's tree. The checkpoint itself is believed: verify its
    /// signatures first.
    ///
    /// # Errors
    ///
    /// [`SubtreeError::Proof`].
    pub fn verify_proof(&self) -> Result<(), SubtreeError> {
        self.proof.verify(self.subtree, &self.hash, self.checkpoint.size, &self.checkpoint.root)
    }

    /// The request as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{self}")
    }
}

/// The body's own bytes.
impl fmt::Display for SignSubtreeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "subtree {} {}", self.subtree.start(), self.subtree.end())?;
        for hash in core::iter::once(&self.hash).chain(&self.proof.0) {
            writeln!(f, "{}", Base64::encode_string(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.note)
    }
}

struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    /// The next line without its newline, or `None` when it has none or is not UTF-8.
    fn next(&mut self) -> Option<&'a str> {
        self.number += 1;
        let (line, rest) = next_line(self.rest)?;
        self.rest = rest;
        Some(line)
    }

    fn range(&mut self) -> Result<Subtree, RequestError> {
        let line = self.next().and_then(|line| line.strip_prefix("subtree "));
        let numbers = line.and_then(|range| range.split_once(' '));
        let parsed = numbers.and_then(|(start, end)| Some((parse_decimal(start)?, parse_decimal(end)?)));
        let (start, end) = parsed.ok_or_else(|| self.error("`subtree`, its start and its end in decimal"))?;
        Ok(Subtree::new(LeafIndex(start), TreeSize(end))?)
    }

    /// The proof's lines, and the empty line that ends them.
    fn proof(&mut self) -> Result<SubtreeConsistencyProof, RequestError> {
        let mut hashes = Vec::new();
        loop {
            let line = self.next();
            if line == Some("") {
                return Ok(SubtreeConsistencyProof(hashes));
            }
            let hash = line.and_then(parse_hash).filter(|_| hashes.len() < MAX_PROOF_LINES);
            let expected = "at most 63 hashes, each base64 of 32 bytes, then an empty line and a checkpoint";
            hashes.push(hash.ok_or_else(|| self.error(expected))?);
        }
    }

    fn error(&self, expected: &'static str) -> RequestError {
        RequestError::Line { line: self.number, expected }
    }
}

#[cfg(test)]
mod tests;
