//! Proofs in one file (c2sp.org/tlog-proof): where an entry is, why it is there, and who signed that.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use base64ct::{Base64, Encoding};

use crate::checkpoint::{CheckpointError, VerifiedCheckpoint, parse_decimal, parse_hash};
use crate::merkle::{InclusionProof, ProofError};
use crate::note::VerifierKey;
use crate::{Hash, LeafIndex};

/// The first line of every proof.
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The most hashes that an inclusion proof can hold: a tree has fewer than 2^64 entries.
const MAX_HASHES: usize = 64;

/// The longest proof, in bytes: what it holds has no other bound (vindex.md §11).
pub const MAX_PROOF_BYTES: usize = 64 * 1024 * 1024;

/// Why bytes are not a proof, or why they prove nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// The file is too long.
    #[error("proof of {0} bytes; at most {MAX_PROOF_BYTES} are read")]
    TooLong(usize),
    /// Proofs are text.
    #[error("proof is not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// A line is not what the format wants there.
    #[error("line {line} of the proof: expected {expected}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What belongs there.
        expected: &'static str,
    },
    /// The checkpoint in the proof.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The hashes do not lead from the entry to the checkpoint's root.
    #[error("the entry is not proven to be in the checkpoint's tree")]
    Inclusion(#[from] ProofError),
}

/// A proof: parsed, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Where the entry is.
    pub index: LeafIndex,
    /// The inclusion proof, from the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// Data of the application, which nothing authenticates; not empty.
    pub extra: Option<Vec<u8>>,
    /// The signed checkpoint, word for word.
    pub checkpoint: String,
}

impl TlogProof {
    /// Reads a proof that is all of `bytes`. Its checkpoint is only looked at by [`TlogProof::verify`].
    ///
    /// # Errors
    ///
    /// [`TlogProofError`] for whatever [`TlogProof::to_text`] would not write back byte for byte.
    pub fn parse(bytes: &[u8]) -> Result<TlogProof, TlogProofError> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(TlogProofError::TooLong(bytes.len()));
        }
        let text =
            core::str::from_utf8(bytes).map_err(|error| TlogProofError::NotUtf8(error.valid_up_to()))?;
        let mut lines = Lines { rest: text, number: 0 };
        if lines.next("the header")? != HEADER {
            return Err(lines.error("c2sp.org/tlog-proof@v1"));
        }
        let mut line = lines.next("an index line")?;
        let mut extra = None;
        if let Some(encoded) = line.strip_prefix("extra ") {
            // "If no extra data is present, this line is omitted."
            let decoded = Base64::decode_vec(encoded).ok().filter(|extra| !extra.is_empty());
            extra = Some(decoded.ok_or_else(|| lines.error("canonical base64 after `extra `"))?);
            line = lines.next("an index line")?;
        }
        let index = line.strip_prefix("index ").and_then(parse_decimal);
        let index = LeafIndex(index.ok_or_else(|| lines.error("`index` and a decimal number"))?);
        let hashes = lines.hashes()?;
        Ok(TlogProof { index, hashes, extra, checkpoint: lines.rest.into() })
    }

    /// The proof as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{self}")
    }

    /// Verifies that `leaf`, a leaf hash the caller computed itself, is at [`TlogProof::index`] of the log `origin`, and
    /// gives the checkpoint that says so, with the verified cosignatures of `witnesses` for a policy to judge.
    ///
    /// # Errors
    ///
    /// [`TlogProofError::Checkpoint`] when the checkpoint is not one of that log, or a known key's signature is wrong;
    /// [`TlogProofError::Inclusion`] when the hashes do not lead to its root.
    pub fn verify(
        &self,
        leaf: &Hash,
        origin: &str,
        log_keys: &[VerifierKey],
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedCheckpoint, TlogProofError> {
        let note = self.checkpoint.as_bytes();
        let checkpoint = VerifiedCheckpoint::open_with_witnesses(note, origin, log_keys, witnesses)?;
        self.verify_inclusion(leaf, &checkpoint)?;
        Ok(checkpoint)
    }

    /// Verifies that `leaf` is at [`TlogProof::index`] of the tree of `checkpoint`, which was verified by other means.
    ///
    /// # Errors
    ///
    /// [`TlogProofError::Inclusion`].
    pub fn verify_inclusion(
        &self,
        leaf: &Hash,
        checkpoint: &VerifiedCheckpoint,
    ) -> Result<(), TlogProofError> {
        let proof = InclusionProof(self.hashes.clone());
        Ok(proof.verify(leaf, self.index, checkpoint.size(), checkpoint.root())?)
    }
}

/// The file's own bytes.
impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", Base64::encode_string(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", Base64::encode_string(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self, expected: &'static str) -> Result<&'a str, TlogProofError> {
        self.number += 1;
        let (line, rest) = self.rest.split_once('\n').ok_or_else(|| self.error(expected))?;
        self.rest = rest;
        Ok(line)
    }

    /// The hash lines, and the empty line that ends them.
    fn hashes(&mut self) -> Result<Vec<Hash>, TlogProofError> {
        let mut hashes = Vec::new();
        loop {
            let line = self.next("a hash or an empty line")?;
            if line.is_empty() {
                return Ok(hashes);
            }
            let hash = parse_hash(line).filter(|_| hashes.len() < MAX_HASHES);
            hashes.push(hash.ok_or_else(|| self.error("at most 64 hashes, each the base64 of 32 bytes"))?);
        }
    }

    fn error(&self, expected: &'static str) -> TlogProofError {
        TlogProofError::Line { line: self.number, expected }
    }
}

#[cfg(test)]
mod tests;
