//! Making signatures. The bytes to sign come from here; the secret operation is behind [`Signer`].

use alloc::{string::String, vec::Vec};
use core::fmt;

use ed25519_dalek::{Signer as _, SigningKey};

use super::{Algorithm, Note, NoteError, SecretKey, Signature, VerifierKey};

/// Holds a secret key, in this process or elsewhere.
pub trait Signer: Send + Sync {
    /// The public half: it names the signature line.
    fn verifier_key(&self) -> &VerifierKey;

    /// The bare signature over exactly `message` (64 bytes for Ed25519), without key ID or timestamp.
    ///
    /// # Errors
    ///
    /// [`SignError::Failed`] when the secret key cannot be used.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// Why there is no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// What was to be signed is not a note's text.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The key makes signatures of another kind: 0x01 keys sign notes, 0x04 keys cosign checkpoints.
    #[error("{name} has signature type 0x{type_byte:02x}, which cannot make this signature")]
    Algorithm {
        /// The key name.
        name: String,
        /// Its signature type.
        type_byte: u8,
    },
    /// An ML-DSA-44 cosignature covers name, origin, size and root, and nothing else.
    #[error(
        "{name} cannot cosign this with ML-DSA-44: it is no checkpoint, has extension lines, or an origin above 255 bytes"
    )]
    NotCovered {
        /// The key name.
        name: String,
    },
    /// The holder of the secret key failed.
    #[error("{name} could not sign: {reason}")]
    Failed {
        /// The key name.
        name: String,
        /// What its holder said.
        reason: String,
    },
}

/// The signed note over `text`, one line for each signer, in their order.
///
/// # Errors
///
/// [`SignError::Note`] when `text` cannot stand in a note, [`SignError::Algorithm`] unless every key is of type
/// 0x01 (a cosignature needs a time: [`crate::cosignature::cosign`]), and what the signers say.
pub fn sign(text: &str, signers: &[&dyn Signer]) -> Result<String, SignError> {
    let mut note = Note::unsigned(text)?;
    for signer in signers {
        note.signatures.push(sign_line(text, *signer)?);
    }
    Ok(note.to_text())
}

/// The signature of one 0x01 key over `text`.
///
/// # Errors
///
/// [`SignError::Algorithm`] for a key of another type, and what the signer says.
pub fn sign_line(text: &str, signer: &dyn Signer) -> Result<Signature, SignError> {
    let key = signer.verifier_key();
    check_algorithm(key, Algorithm::Ed25519)?;
    Ok(Signature::of_key(key, signer.sign(text.as_bytes())?))
}

pub(crate) fn check_algorithm(key: &VerifierKey, wanted: Algorithm) -> Result<(), SignError> {
    if key.algorithm() == wanted {
        return Ok(());
    }
    Err(SignError::Algorithm { name: key.name().into(), type_byte: key.algorithm().type_byte() })
}

/// Signs with a seed in memory, in portable Rust. The command may bring a faster one.
pub struct Ed25519Signer {
    verifier_key: VerifierKey,
    signing_key: SigningKey,
}

impl Ed25519Signer {
    /// The signer of `key`, which stays what it is: a 0x01 key never signs as 0x04, nor the other way round.
    #[must_use]
    pub fn new(key: &SecretKey) -> Ed25519Signer {
        Ed25519Signer {
            verifier_key: key.verifier_key().clone(),
            signing_key: SigningKey::from_bytes(key.seed()),
        }
    }
}

impl Signer for Ed25519Signer {
    fn verifier_key(&self) -> &VerifierKey {
        &self.verifier_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(self.signing_key.sign(message).to_bytes().to_vec())
    }
}

/// Shows the public half only.
impl fmt::Debug for Ed25519Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ed25519Signer({}, secret withheld)", self.verifier_key)
    }
}
