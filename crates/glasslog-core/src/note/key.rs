//! Keys as text: *vkeys*, which anyone may see, and *skeys*, which stay on the machine that signs.
//!
//! c2sp.org/signed-note, "Verifier keys", fixes the vkey. The skey, `PRIVATE+KEY+<name>+<key ID>+<base64>`, is
//! the form that golang.org/x/mod/sumdb/note introduced and that every log of this family reads.

use alloc::{format, string::String, vec::Vec};
use core::{fmt, str::FromStr};

use base64ct::{Base64, Encoding};
use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The longest key name, in bytes: an ML-DSA-44 cosignature stores it behind one length byte.
pub const MAX_NAME_BYTES: usize = 255;

/// The length of an ML-DSA-44 public key, in bytes (FIPS 204, table 2).
const ML_DSA_44_PUBLIC_KEY_BYTES: usize = 1312;

/// What stands before the key name in a secret key.
const SECRET_KEY_PREFIX: &str = "PRIVATE+KEY+";

/// How a key signs: the signature type byte of c2sp.org/signed-note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `0x01`: Ed25519 over the note's text.
    Ed25519,
    /// `0x04`: a timestamped Ed25519 cosignature (c2sp.org/tlog-cosignature).
    CosignatureV1,
    /// `0x06`: a timestamped ML-DSA-44 cosignature (c2sp.org/tlog-cosignature). Checked where the caller brings an
    /// [`MlDsa44`].
    MlDsa44,
}

/// Checks pure ML-DSA-44 signatures with an empty context (FIPS 204, algorithm 3). This crate has no implementation of
/// its own: the program brings one.
pub trait MlDsa44: Send + Sync {
    /// Whether `signature` (2,420 bytes if it is one) is that of `public_key` (1,312 bytes) on `message`.
    fn verify(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool;
}

impl Algorithm {
    /// The signature type byte.
    #[must_use]
    pub fn type_byte(self) -> u8 {
        match self {
            Algorithm::Ed25519 => 0x01,
            Algorithm::CosignatureV1 => 0x04,
            Algorithm::MlDsa44 => 0x06,
        }
    }

    /// The algorithm with this signature type byte, or `None` when it is not one of ours.
    #[must_use]
    pub fn from_type_byte(byte: u8) -> Option<Algorithm> {
        [Algorithm::Ed25519, Algorithm::CosignatureV1, Algorithm::MlDsa44]
            .into_iter()
            .find(|algorithm| algorithm.type_byte() == byte)
    }
}

/// Why a text is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A verifier key has three parts with `+` between them.
    #[error("not a verifier key: expected <name>+<8 hex digits>+<base64>")]
    NotAVerifierKey,
    /// A secret key has four.
    #[error("not a secret key: expected PRIVATE+KEY+<name>+<8 hex digits>+<base64>")]
    NotASecretKey,
    /// The name breaks the rules of c2sp.org/signed-note, or is longer than [`MAX_NAME_BYTES`].
    #[error("key name {0:?} must have 1 to 255 bytes without spaces, control characters and '+'")]
    Name(String),
    /// The key ID is not 8 lower-case hex digits.
    #[error("key ID {0:?} of {1} is not 8 lower-case hex digits")]
    KeyIdSpelling(String, String),
    /// The last part is not canonical base64.
    #[error("the key material of {0} is not canonical base64")]
    Base64(String),
    /// The signature type is none that this program knows.
    #[error("{name} has signature type 0x{type_byte:02x}; known are 0x01, 0x04 and 0x06")]
    UnknownAlgorithm {
        /// The key name.
        name: String,
        /// The first byte of the key material.
        type_byte: u8,
    },
    /// The material has the wrong length, or is no point in general position.
    #[error("the key material of {0} is not a public key of its type")]
    Material(String),
    /// The key ID was computed from another name, type or key.
    #[error(
        "key ID {found:08x} does not belong to {name}, whose key gives {computed:08x}; copy the key again"
    )]
    KeyIdMismatch {
        /// The key name.
        name: String,
        /// The ID in the text.
        found: u32,
        /// The ID that name, type and public key give.
        computed: u32,
    },
    /// The public half of an ML-DSA-44 secret key is not computed here: see [`SecretSeed`].
    #[error("{0}: a secret key of signature type 0x06 cannot be used for this")]
    NoSecretKey(String),
}

/// A public key with the name it signs under.
///
/// Parsing checks the key ID and refuses every text that would not be written back byte for byte.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key_id: u32,
    material: Material,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Material {
    Ed25519(VerifyingKey),
    CosignatureV1(VerifyingKey),
    MlDsa44(MlDsaKey),
}

/// An ML-DSA-44 public key, and who can check its signatures here, if anybody.
#[derive(Clone)]
pub(super) struct MlDsaKey {
    pub(super) bytes: Vec<u8>,
    pub(super) verifier: Option<&'static dyn MlDsa44>,
}

/// Two keys are one whoever checks their signatures.
impl PartialEq for MlDsaKey {
    fn eq(&self, other: &MlDsaKey) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for MlDsaKey {}

impl VerifierKey {
    /// The key `public_key` of type `algorithm` under `name`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Name`], and [`KeyError::Material`] when `public_key` is not a canonical public key of that type.
    pub fn new(name: &str, algorithm: Algorithm, public_key: &[u8]) -> Result<VerifierKey, KeyError> {
        check_name(name)?;
        let refused = || KeyError::Material(name.into());
        let material = match algorithm {
            Algorithm::Ed25519 => Material::Ed25519(ed25519_key(public_key).ok_or_else(refused)?),
            Algorithm::CosignatureV1 => Material::CosignatureV1(ed25519_key(public_key).ok_or_else(refused)?),
            Algorithm::MlDsa44 if public_key.len() == ML_DSA_44_PUBLIC_KEY_BYTES => {
                Material::MlDsa44(MlDsaKey { bytes: public_key.to_vec(), verifier: None })
            }
            Algorithm::MlDsa44 => return Err(refused()),
        };
        Ok(VerifierKey { name: name.into(), key_id: key_id(name, algorithm, public_key), material })
    }

    /// The name in the key's signature lines; of a log key, the origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key ID in the key's signature lines: a label, not a cryptographic hash.
    #[must_use]
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// How the key signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Ed25519(_) => Algorithm::Ed25519,
            Material::CosignatureV1(_) => Algorithm::CosignatureV1,
            Material::MlDsa44(_) => Algorithm::MlDsa44,
        }
    }

    /// The public key itself, without the type byte: what tells two keys apart whatever they are called.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        match &self.material {
            Material::Ed25519(key) | Material::CosignatureV1(key) => key.as_bytes(),
            Material::MlDsa44(key) => &key.bytes,
        }
    }

    /// The same key; if it is an ML-DSA-44 key, `verifier` checks its signatures from now on. Without one they are
    /// reported as not checked, and never count.
    #[must_use]
    pub fn checked_by(self, verifier: &'static dyn MlDsa44) -> VerifierKey {
        let material = match self.material {
            Material::MlDsa44(key) => Material::MlDsa44(MlDsaKey { verifier: Some(verifier), ..key }),
            ed25519 => ed25519,
        };
        VerifierKey { material, ..self }
    }

    pub(super) fn material(&self) -> &Material {
        &self.material
    }

    /// A key with an ID that is not its own, as only a collision could give it.
    #[cfg(test)]
    pub(super) fn with_key_id(self, key_id: u32) -> VerifierKey {
        VerifierKey { key_id, ..self }
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<VerifierKey, KeyError> {
        let (name, key_id, material) = split_key(text).ok_or(KeyError::NotAVerifierKey)?;
        let (found, algorithm, public_key) = decode_parts(name, key_id, material)?;
        let key = VerifierKey::new(name, algorithm, &public_key)?;
        check_key_id(&key, found)?;
        Ok(key)
    }
}

/// The vkey text, `<name>+<hex key ID>+<base64(type ‖ public key)>`.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut material = Vec::with_capacity(1 + self.public_key().len());
        material.push(self.algorithm().type_byte());
        material.extend_from_slice(self.public_key());
        write!(f, "{}+{:08x}+{}", self.name, self.key_id, Base64::encode_string(&material))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

/// What a secret key's text says, before anybody has computed the public half that its key ID depends on.
pub struct SecretSeed {
    name: String,
    algorithm: Algorithm,
    key_id: u32,
    seed: Zeroizing<[u8; 32]>,
}

impl SecretSeed {
    /// How the key signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The 32 secret bytes (RFC 8032 §5.1.5, FIPS 204 §3.6.3).
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The key whose public half is `public_key`, which the caller computed from [`SecretSeed::seed`].
    ///
    /// # Errors
    ///
    /// [`KeyError::KeyIdMismatch`] when the text was made for another public key, [`KeyError::Material`].
    pub fn with_public_key(&self, public_key: &[u8]) -> Result<SecretKey, KeyError> {
        let key = SecretKey::from_halves(&self.name, self.algorithm, &self.seed, public_key)?;
        check_key_id(key.verifier_key(), self.key_id)?;
        Ok(key)
    }
}

/// Reads the skey text: exactly the text, so that a file's final newline is the caller's to cut.
impl FromStr for SecretSeed {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<SecretSeed, KeyError> {
        let (name, key_id, material) =
            text.strip_prefix(SECRET_KEY_PREFIX).and_then(split_key).ok_or(KeyError::NotASecretKey)?;
        // Where a part is missing, what is read as a name or a key ID may be the secret: neither is quoted.
        let parts = decode_parts(name, key_id, material).map_err(|error| match error {
            KeyError::Name(_) | KeyError::KeyIdSpelling(..) => KeyError::NotASecretKey,
            other => other,
        });
        let (key_id, algorithm, seed) = parts?;
        let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| KeyError::Material(name.into()))?;
        Ok(SecretSeed { name: name.into(), algorithm, key_id, seed: Zeroizing::new(*seed) })
    }
}

/// A secret seed of 32 bytes with the name it signs under. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct SecretKey {
    seed: Zeroizing<[u8; 32]>,
    verifier_key: VerifierKey,
}

impl SecretKey {
    /// The key that `seed` (32 random bytes of the caller's) gives under `name`.
    ///
    /// # Errors
    ///
    /// [`KeyError::Name`], and [`KeyError::NoSecretKey`] for [`Algorithm::MlDsa44`].
    pub fn from_seed(name: &str, algorithm: Algorithm, seed: &[u8; 32]) -> Result<SecretKey, KeyError> {
        if algorithm == Algorithm::MlDsa44 {
            return Err(KeyError::NoSecretKey(name.into()));
        }
        let public_key = SigningKey::from_bytes(seed).verifying_key();
        SecretKey::from_halves(name, algorithm, seed, public_key.as_bytes())
    }

    /// The key of which `seed` is the secret half and `public_key`, which the caller computed from it, the public one.
    ///
    /// # Errors
    ///
    /// [`KeyError::Name`], and [`KeyError::Material`] when `public_key` is none of that type.
    pub fn from_halves(
        name: &str,
        algorithm: Algorithm,
        seed: &[u8; 32],
        public_key: &[u8],
    ) -> Result<SecretKey, KeyError> {
        let verifier_key = VerifierKey::new(name, algorithm, public_key)?;
        Ok(SecretKey { seed: Zeroizing::new(*seed), verifier_key })
    }

    /// The same seed under another name or type, for example the cosigner that a 0x01 key text describes.
    ///
    /// # Errors
    ///
    /// As [`SecretKey::from_seed`].
    pub fn rename(&self, name: &str, algorithm: Algorithm) -> Result<SecretKey, KeyError> {
        SecretKey::from_seed(name, algorithm, &self.seed)
    }

    /// The public half.
    #[must_use]
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.verifier_key
    }

    /// The key name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.verifier_key.name()
    }

    /// How the key signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.verifier_key.algorithm()
    }

    /// The 32 secret bytes (RFC 8032 §5.1.5, FIPS 204 §3.6.3).
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The skey text, for a file that only its owner can read.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut material = Zeroizing::new([0; 33]);
        material[0] = self.algorithm().type_byte();
        material[1..].copy_from_slice(self.seed.as_slice());
        let encoded = Zeroizing::new(Base64::encode_string(material.as_slice()));
        let key_id = format!("+{:08x}+", self.verifier_key.key_id());
        let parts = [SECRET_KEY_PREFIX, self.name(), &key_id, encoded.as_str()];
        // Reserved at once: a string that grows would leave copies of the secret behind.
        let mut text = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
        parts.iter().for_each(|part| text.push_str(part));
        text
    }
}

/// Reads the text of an Ed25519 skey, as [`SecretSeed`] does.
impl FromStr for SecretKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<SecretKey, KeyError> {
        let read: SecretSeed = text.parse()?;
        let key = SecretKey::from_seed(&read.name, read.algorithm, &read.seed)?;
        check_key_id(key.verifier_key(), read.key_id)?;
        Ok(key)
    }
}

/// Shows the public half only.
impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, secret withheld)", self.verifier_key)
    }
}

/// Whether `name` may stand in a signature line: not empty, no Unicode space, no `+`, no control character.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c == '+' || c < ' ' || c.is_whitespace())
}

fn check_name(name: &str) -> Result<(), KeyError> {
    if is_name(name) && name.len() <= MAX_NAME_BYTES { Ok(()) } else { Err(KeyError::Name(name.into())) }
}

/// `SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]`.
fn key_id(name: &str, algorithm: Algorithm, public_key: &[u8]) -> u32 {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', algorithm.type_byte()])
        .chain_update(public_key)
        .finalize()
        .into();
    u32::from_be_bytes([a, b, c, d])
}

/// A key that strict verification can use: canonical, and not of small order (such a key verifies anything).
fn ed25519_key(bytes: &[u8]) -> Option<VerifyingKey> {
    let bytes: &[u8; 32] = bytes.try_into().ok()?;
    let key = VerifyingKey::from_bytes(bytes).ok()?;
    (is_canonical_y(bytes) && !key.is_weak()).then_some(key)
}

/// Whether the y coordinate is below 2^255 − 19 (RFC 8032 §5.1.3, step 1).
fn is_canonical_y(bytes: &[u8; 32]) -> bool {
    let middle_is_ones = bytes[1..31].iter().all(|byte| *byte == 0xff);
    !(bytes[31] & 0x7f == 0x7f && middle_is_ones && bytes[0] >= 0xed)
}

/// Name, key ID and material: the base64 of the last part may itself hold a `+`.
fn split_key(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once('+')?;
    let (key_id, material) = rest.split_once('+')?;
    Some((name, key_id, material))
}

fn decode_parts(
    name: &str,
    key_id: &str,
    material: &str,
) -> Result<(u32, Algorithm, Zeroizing<Vec<u8>>), KeyError> {
    check_name(name)?;
    let id = parse_key_id(key_id).ok_or_else(|| KeyError::KeyIdSpelling(key_id.into(), name.into()))?;
    let bytes = Base64::decode_vec(material).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| KeyError::Base64(name.into()))?;
    let (type_byte, key) = bytes.split_first().ok_or_else(|| KeyError::Material(name.into()))?;
    let algorithm = Algorithm::from_type_byte(*type_byte)
        .ok_or_else(|| KeyError::UnknownAlgorithm { name: name.into(), type_byte: *type_byte })?;
    Ok((id, algorithm, Zeroizing::new(key.to_vec())))
}

fn parse_key_id(text: &str) -> Option<u32> {
    let canonical = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if canonical { u32::from_str_radix(text, 16).ok() } else { None }
}

fn check_key_id(key: &VerifierKey, found: u32) -> Result<(), KeyError> {
    let computed = key.key_id();
    if found == computed {
        return Ok(());
    }
    Err(KeyError::KeyIdMismatch { name: key.name().into(), found, computed })
}
