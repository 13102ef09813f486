//! What a log and a witness say to each other (c2sp.org/tlog-witness): the body of `add-checkpoint`, the body of its
//! 409, and the name under which a witness shows what it cosigned.
//!
//! Nothing here judges a checkpoint: that is the witness's (`glasslog-witness`, `decide`).

use alloc::{format, string::String, vec::Vec};

use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};

use crate::checkpoint::{parse_decimal, parse_hash};
use crate::merkle::ConsistencyProof;
use crate::note::MAX_NOTE_BYTES;
use crate::{Hash, TreeSize};

/// The most consistency proof lines: "The client MUST NOT send more than 63".
pub const MAX_PROOF_LINES: usize = 63;

/// The longest `add-checkpoint` body that is read, in bytes: the longest note, after the longest lines before one.
pub const MAX_ADD_CHECKPOINT_BYTES: usize = MAX_NOTE_BYTES + 4096;

/// The content type of a 409: "The response MUST have a `Content-Type` of `text/x.tlog.size`".
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// The longest body of a 409, in bytes: 20 digits and a newline.
pub const MAX_SIZE_BODY_BYTES: usize = 21;

/// Why bytes are not an `add-checkpoint` request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddCheckpointError {
    /// The body is longer than [`MAX_ADD_CHECKPOINT_BYTES`].
    #[error("request of {0} bytes; at most {MAX_ADD_CHECKPOINT_BYTES} are read")]
    TooLong(usize),
    /// A line before the checkpoint is not what the format wants there.
    #[error("line {line}: expected {expected}, ended by a newline")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What belongs there.
        expected: &'static str,
    },
    /// A longer proof than any tree needs.
    #[error("more than {MAX_PROOF_LINES} consistency proof lines")]
    TooManyProofLines,
}

/// The body of `add-checkpoint`: parsed, and nothing in it verified.
///
/// ```text
/// old 20852014
/// PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
///
/// example.com/behind-the-sofa
/// 20852163
/// CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
///
/// — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeO…
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the checkpoint that the witness cosigned last, as the client believes.
    pub old_size: TreeSize,
    /// From there to the checkpoint; at most [`MAX_PROOF_LINES`] hashes.
    pub proof: ConsistencyProof,
    /// The signed checkpoint, as it came: nobody has looked at it yet.
    pub note: Vec<u8>,
}

/// What is wrong with a first line that is not the old size line.
const OLD_LINE: AddCheckpointError = AddCheckpointError::Line {
    line: 1,
    expected: "`old`, one space and a decimal size without leading zeros",
};

impl AddCheckpoint {
    /// Reads a body that is all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`AddCheckpointError`] for whatever [`AddCheckpoint::to_bytes`] would not write back byte for byte. The checkpoint
    /// is only cut off here; [`crate::note::Note::parse`] says whether it is one.
    pub fn parse(bytes: &[u8]) -> Result<AddCheckpoint, AddCheckpointError> {
        if bytes.len() > MAX_ADD_CHECKPOINT_BYTES {
            return Err(AddCheckpointError::TooLong(bytes.len()));
        }
        let (line, mut rest) = next_line(bytes).ok_or(OLD_LINE)?;
        let old_size = line.strip_prefix("old ").and_then(parse_decimal).map(TreeSize).ok_or(OLD_LINE)?;
        let mut hashes = Vec::new();
        loop {
            let wrong = AddCheckpointError::Line {
                line: hashes.len() + 2,
                expected: "the base64 of a 32-byte hash, or the empty line before the checkpoint",
            };
            let Some((line, after)) = next_line(rest) else { return Err(wrong) };
            rest = after;
            if line.is_empty() {
                return Ok(AddCheckpoint { old_size, proof: ConsistencyProof(hashes), note: rest.to_vec() });
            }
            if hashes.len() == MAX_PROOF_LINES {
                return Err(AddCheckpointError::TooManyProofLines);
            }
            hashes.push(parse_hash(line).ok_or(wrong)?);
        }
    }

    /// The body.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("old {}\n", self.old_size);
        for hash in &self.proof.0 {
            head.push_str(&Base64::encode_string(hash.as_bytes()));
            head.push('\n');
        }
        head.push('\n');
        let mut body = head.into_bytes();
        body.extend_from_slice(&self.note);
        body
    }
}

/// The body of a 409: the size of the latest cosigned checkpoint, and a newline.
#[must_use]
pub fn size_body(size: TreeSize) -> String {
    format!("{size}\n")
}

/// The size in the body of a 409; `None` for whatever [`size_body`] would not write.
#[must_use]
pub fn parse_size_body(body: &[u8]) -> Option<TreeSize> {
    let (line, rest) = next_line(body)?;
    let size = parse_decimal(line).map(TreeSize)?;
    rest.is_empty().then_some(size)
}

/// The directory below a witness's monitoring prefix where the checkpoint of the log `origin` is: the SHA-256 of the
/// origin in lower-case hexadecimal.
#[must_use]
pub fn origin_hash(origin: &str) -> String {
    format!("{}", Hash(Sha256::digest(origin).into()))
}

/// The first line without its newline, and what follows it.
pub(crate) fn next_line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((core::str::from_utf8(line).ok()?, rest.get(1..)?))
}

#[cfg(test)]
mod tests;
