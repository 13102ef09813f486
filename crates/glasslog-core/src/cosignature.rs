//! Timestamped Ed25519 cosignatures, `cosignature/v1` (c2sp.org/tlog-cosignature, signature type 0x04).
//!
//! A cosignature says: at this time, this was the largest consistent checkpoint of the log that the cosigner
//! had seen. It covers the whole text of the checkpoint, extension lines too, and not the cosigner's name.

use alloc::{format, string::String};

use ed25519_dalek::VerifyingKey;

use crate::note::{self, Algorithm, NoteError, SignError, Signature, Signer, VerifierKey};

/// The largest timestamp: "It MUST NOT exceed 2^63 - 1".
pub const MAX_TIME: u64 = i64::MAX.unsigned_abs();

/// A cosignature that was checked against its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCosignature {
    key: VerifierKey,
    time: u64,
}

impl VerifiedCosignature {
    /// The cosigner.
    #[must_use]
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The time it holds for, in seconds since 1970; the cosigner's clock said so.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.time
    }

    pub(crate) fn from_note(verified: &note::VerifiedSignature<'_>) -> Option<VerifiedCosignature> {
        verified.time.map(|time| VerifiedCosignature { key: verified.key.clone(), time })
    }
}

/// The bytes that a cosigner signs for the checkpoint `text` (a note's text, with its final newline) at `time`.
#[must_use]
pub fn signed_message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// Cosigns the checkpoint `text` for `time`, in seconds since 1970.
///
/// # Errors
///
/// [`SignError::Algorithm`] unless the key is of type 0x04, [`SignError::Failed`] when `time` is above
/// [`MAX_TIME`], and what the signer says.
pub fn cosign(text: &str, time: u64, signer: &dyn Signer) -> Result<Signature, SignError> {
    let key = signer.verifier_key();
    note::check_algorithm(key, Algorithm::CosignatureV1)?;
    if time > MAX_TIME {
        let reason = format!("the time {time} is above 2^63 - 1");
        return Err(SignError::Failed { name: key.name().into(), reason });
    }
    let mut blob = time.to_be_bytes().to_vec();
    blob.extend_from_slice(&signer.sign(signed_message(text, time).as_bytes())?);
    Ok(Signature::of_key(key, blob))
}

/// Checks that `signature` is the cosignature of `key` on the checkpoint `text`.
///
/// # Errors
///
/// [`NoteError::NoKnownSignature`] when it is another key's, or `key` is not of type 0x04;
/// [`NoteError::BadSignature`] when it is wrong.
pub fn verify(
    text: &str,
    signature: &Signature,
    key: &VerifierKey,
) -> Result<VerifiedCosignature, NoteError> {
    if !signature.is_of(key) {
        return Err(NoteError::NoKnownSignature);
    }
    let time = signature.cosigned_at(key, text)?;
    Ok(VerifiedCosignature { key: key.clone(), time })
}

/// The time of a valid `timestamped_signature`: 8 bytes big-endian, then 64 bytes of Ed25519.
pub(crate) fn verify_blob(key: &VerifyingKey, text: &str, blob: &[u8]) -> Option<u64> {
    let (time, signature): (&[u8; 8], &[u8]) = blob.split_first_chunk()?;
    let time = u64::from_be_bytes(*time);
    if time > MAX_TIME {
        return None;
    }
    note::verify_ed25519(key, signed_message(text, time).as_bytes(), signature)?;
    Some(time)
}
