//! Signed notes (c2sp.org/signed-note): a text, an empty line, and one line for each signature.
//!
//! ```text
//! This is an example message.
//!
//! — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
//! ```
//!
//! [`Note::parse`] says only that the bytes have this form, and keeps the signatures of keys that nobody here
//! knows. The text is to be believed after [`Note::verify`], which checks every signature of a known key and
//! refuses the whole note when one of them is wrong.

mod key;
mod sign;

use alloc::{string::String, vec::Vec};
use core::fmt;

use base64ct::{Base64, Encoding};
use ed25519_dalek::VerifyingKey;

use crate::cosignature;
use key::Material;
pub(crate) use sign::check_algorithm;

pub use key::{Algorithm, KeyError, MAX_NAME_BYTES, MlDsa44, SecretKey, SecretSeed, VerifierKey};
pub use sign::{Ed25519Signer, SignError, Signer, sign, sign_line};

/// The longest note that is read, in bytes: 100 ML-DSA-44 signature lines and a text.
pub const MAX_NOTE_BYTES: usize = 512 * 1024;

/// The most signatures that are read from one note; the specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 100;

/// Before the key name in a signature line: an em dash (U+2014) and a space.
const SIGNATURE_PREFIX: &str = "— ";

/// Why bytes are not a note, or why its text must not be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The note is longer than [`MAX_NOTE_BYTES`].
    #[error("note of {0} bytes; at most {MAX_NOTE_BYTES} are read")]
    TooLong(usize),
    /// Notes are text.
    #[error("note is not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// A byte below 0x20 other than newline, so no CR either.
    #[error("note has a control character (0x{byte:02x}) at byte {offset}")]
    ControlCharacter {
        /// The byte.
        byte: u8,
        /// Where it stands, from 0.
        offset: usize,
    },
    /// A text has at least one line, and each line of it ends in a newline.
    #[error("note text must end in a newline")]
    TextEnd,
    /// There is no empty line, or nothing after the last one.
    #[error("note has no signatures: expected a text, an empty line, then signature lines")]
    NoSignatures,
    /// More than [`MAX_SIGNATURES`] lines.
    #[error("note has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// A line after the last empty line is no signature.
    #[error("signature line {line} is not `— <key name> <base64 of key ID and signature>` with a newline")]
    SignatureLine {
        /// Its number, from 1.
        line: usize,
    },
    /// Two of the keys to verify with have one name and key ID, and are different keys.
    #[error("two different keys are both {name} with key ID {key_id:08x}: verify with one of them")]
    AmbiguousKeys {
        /// The key name.
        name: String,
        /// The key ID.
        key_id: u32,
    },
    /// A known key's signature is wrong.
    #[error("the signature of {name} (key ID {key_id:08x}) is wrong")]
    BadSignature {
        /// The key name.
        name: String,
        /// The key ID.
        key_id: u32,
    },
    /// No signature is of a known key that can be checked.
    #[error("note has no signature of a known key that can be checked here")]
    NoKnownSignature,
}

/// A text with its signatures: parsed, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// Reads one note that is all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`NoteError`] for whatever [`Note::to_text`] would not write back byte for byte, and above the limits.
    pub fn parse(bytes: &[u8]) -> Result<Note, NoteError> {
        let note = checked_text(bytes)?;
        // "the text is separated from the signatures by the last empty line in the note"
        let separator = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, signatures) = (&note[..=separator], &note[separator + 2..]);
        if signatures.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        Ok(Note { text: text.into(), signatures: parse_lines(signatures)? })
    }

    /// The note over `text` without any signature yet; as bytes it becomes a note with the first one.
    ///
    /// # Errors
    ///
    /// [`NoteError`] when `text` is not text that a note can hold.
    pub fn unsigned(text: &str) -> Result<Note, NoteError> {
        checked_text(text.as_bytes())?;
        if !text.ends_with('\n') {
            return Err(NoteError::TextEnd);
        }
        Ok(Note { text: text.into(), signatures: Vec::new() })
    }

    /// The signed text, with its final newline and without the empty line that follows.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every signature, of known keys and others, in the order of the note.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds `signature` in place of the one that the same key (name and ID) made before, else at the end.
    pub fn put(&mut self, signature: Signature) {
        match self.signatures.iter_mut().find(|old| old.is_of_same_key(&signature)) {
            Some(old) => *old = signature,
            None => self.signatures.push(signature),
        }
    }

    /// The note as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        alloc::format!("{self}")
    }

    /// Checks each signature that one of `keys` must have made (name *and* ID are its own), strictly by RFC 8032.
    ///
    /// Signatures of other keys are ignored, as the specification demands. Those of [`Algorithm::MlDsa44`] keys that
    /// nobody can check ([`VerifierKey::checked_by`]) are named in [`VerifiedNote::unchecked`] and prove nothing.
    ///
    /// # Errors
    ///
    /// [`NoteError::BadSignature`] when a known key's signature is wrong, whatever the others are;
    /// [`NoteError::NoKnownSignature`] when there is nothing to rest on; [`NoteError::AmbiguousKeys`].
    pub fn verify<'a>(&'a self, keys: &'a [VerifierKey]) -> Result<VerifiedNote<'a>, NoteError> {
        let mut verified = VerifiedNote { text: &self.text, verified: Vec::new(), unchecked: Vec::new() };
        for (before, signature) in self.signatures.iter().enumerate() {
            let Some(key) = key_of(signature, keys)? else { continue };
            // What stands there twice was verified once: nobody can make a note dear by repeating a valid line.
            if self.signatures.iter().take(before).any(|earlier| earlier == signature) {
                continue;
            }
            match signature.check(key, &self.text)? {
                Check::Verified { time } => verified.add(VerifiedSignature { key, time }),
                Check::NotChecked if verified.unchecked.contains(&key) => {}
                Check::NotChecked => verified.unchecked.push(key),
            }
        }
        if verified.verified.is_empty() { Err(NoteError::NoKnownSignature) } else { Ok(verified) }
    }
}

/// The note's own bytes.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// A note whose text at least one known key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedNote<'a> {
    text: &'a str,
    verified: Vec<VerifiedSignature<'a>>,
    unchecked: Vec<&'a VerifierKey>,
}

/// One of its signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedSignature<'a> {
    /// The key that made it.
    pub key: &'a VerifierKey,
    /// Of a cosignature, the time it holds for, in seconds since 1970.
    pub time: Option<u64>,
}

impl<'a> VerifiedNote<'a> {
    /// The signed text.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// What was verified, each key once; of a key with several cosignatures, the newest.
    #[must_use]
    pub fn signatures(&self) -> &[VerifiedSignature<'a>] {
        &self.verified
    }

    /// Known keys whose lines this program cannot check. They never count.
    #[must_use]
    pub fn unchecked(&self) -> &[&'a VerifierKey] {
        &self.unchecked
    }

    /// A second line of one key is allowed as of signed-note v1.0.0 (C2SP pull request 327 would forbid it in
    /// checkpoints); it was verified like the first, and adds nothing but perhaps a newer time.
    fn add(&mut self, new: VerifiedSignature<'a>) {
        match self.verified.iter_mut().find(|old| old.key == new.key) {
            Some(old) => old.time = old.time.max(new.time),
            None => self.verified.push(new),
        }
    }
}

/// One signature line.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    name: String,
    key_id: u32,
    bytes: Vec<u8>,
}

enum Check {
    Verified { time: Option<u64> },
    NotChecked,
}

impl Signature {
    /// What `key` made: `bytes` is all that follows the key ID.
    pub(crate) fn of_key(key: &VerifierKey, bytes: Vec<u8>) -> Signature {
        Signature { name: key.name().into(), key_id: key.key_id(), bytes }
    }

    /// Reads signature lines that stand alone, each with its newline, as a witness answers them.
    ///
    /// # Errors
    ///
    /// [`NoteError`] as for the lines of a note; none at all is an error too.
    pub fn parse_lines(bytes: &[u8]) -> Result<Vec<Signature>, NoteError> {
        match checked_text(bytes)? {
            "" => Err(NoteError::NoSignatures),
            lines => parse_lines(lines),
        }
    }

    /// The key name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key ID.
    #[must_use]
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// What follows the key ID: of a 0x04 key, timestamp and signature.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether `key`, by name and key ID, claims to have made this.
    #[must_use]
    pub fn is_of(&self, key: &VerifierKey) -> bool {
        self.key_id == key.key_id() && self.name == key.name()
    }

    /// The time of this cosignature of `key` (of type 0x04 or 0x06) on the checkpoint `text`.
    pub(crate) fn cosigned_at(&self, key: &VerifierKey, text: &str) -> Result<u64, NoteError> {
        match self.check(key, text)? {
            Check::Verified { time: Some(time) } => Ok(time),
            Check::Verified { time: None } | Check::NotChecked => Err(NoteError::NoKnownSignature),
        }
    }

    fn is_of_same_key(&self, other: &Signature) -> bool {
        self.key_id == other.key_id && self.name == other.name
    }

    fn parse(line: &str) -> Option<Signature> {
        let (name, encoded) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
        let bytes = Base64::decode_vec(encoded).ok()?;
        let (key_id, signature) = bytes.split_first_chunk()?;
        let valid = key::is_name(name) && !signature.is_empty();
        valid.then(|| Signature {
            name: name.into(),
            key_id: u32::from_be_bytes(*key_id),
            bytes: signature.to_vec(),
        })
    }

    fn check(&self, key: &VerifierKey, text: &str) -> Result<Check, NoteError> {
        let time = match key.material() {
            Material::Ed25519(key) => verify_ed25519(key, text.as_bytes(), &self.bytes).map(|()| None),
            Material::CosignatureV1(key) => cosignature::verify_blob(key, text, &self.bytes).map(Some),
            Material::MlDsa44(key) => match key.verifier {
                None => return Ok(Check::NotChecked),
                Some(verifier) => {
                    cosignature::verify_ml_dsa_blob(verifier, &key.bytes, &self.name, text, &self.bytes)
                        .map(Some)
                }
            },
        };
        let time =
            time.ok_or_else(|| NoteError::BadSignature { name: self.name.clone(), key_id: self.key_id })?;
        Ok(Check::Verified { time })
    }
}

/// The line without its newline.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blob = self.key_id.to_be_bytes().to_vec();
        blob.extend_from_slice(&self.bytes);
        write!(f, "{SIGNATURE_PREFIX}{} {}", self.name, Base64::encode_string(&blob))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

/// Strict verification: a canonical S, no small-order points, the cofactorless equation.
pub(crate) fn verify_ed25519(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Option<()> {
    let signature = ed25519_dalek::Signature::from_slice(signature).ok()?;
    key.verify_strict(message, &signature).ok()
}

fn key_of<'a>(signature: &Signature, keys: &'a [VerifierKey]) -> Result<Option<&'a VerifierKey>, NoteError> {
    let mut matching = keys.iter().filter(|key| signature.is_of(key));
    let first = matching.next();
    if matching.any(|other| Some(other) != first) {
        return Err(NoteError::AmbiguousKeys { name: signature.name.clone(), key_id: signature.key_id });
    }
    Ok(first)
}

/// UTF-8 without control characters other than newline, within the bound.
fn checked_text(bytes: &[u8]) -> Result<&str, NoteError> {
    if bytes.len() > MAX_NOTE_BYTES {
        return Err(NoteError::TooLong(bytes.len()));
    }
    if let Some((offset, byte)) = bytes.iter().enumerate().find(|(_, byte)| **byte < 0x20 && **byte != b'\n')
    {
        return Err(NoteError::ControlCharacter { byte: *byte, offset });
    }
    core::str::from_utf8(bytes).map_err(|error| NoteError::NotUtf8(error.valid_up_to()))
}

fn parse_lines(lines: &str) -> Result<Vec<Signature>, NoteError> {
    let mut signatures = Vec::new();
    for (index, line) in lines.split_inclusive('\n').enumerate() {
        if index == MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let signature = line.strip_suffix('\n').and_then(Signature::parse);
        signatures.push(signature.ok_or(NoteError::SignatureLine { line: index + 1 })?);
    }
    Ok(signatures)
}

#[cfg(test)]
mod tests;
