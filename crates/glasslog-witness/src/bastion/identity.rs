//! Who a backend is to its bastions: an Ed25519 key, in a certificate that it signs itself.

use std::{fmt, sync::Arc};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, PKCS_ED25519, PublicKeyData,
    SignatureAlgorithm, SigningKey,
};
use rustls::{
    crypto::aws_lc_rs::sign::any_eddsa_type,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};

/// Why a seed cannot be used as a backend key.
#[derive(Debug, thiserror::Error)]
#[error("the backend key cannot be used: {0}")]
pub struct BackendKeyError(String);

/// A backend's key, and the certificate that carries it.
///
/// It is to be another key than the witness signs with: "generating a separate bastion backend key is preferable"
/// (https-bastion, appendix A).
#[derive(Clone)]
pub struct BackendKey {
    certified: Arc<CertifiedKey>,
    public_key: [u8; 32],
}

impl BackendKey {
    /// The Ed25519 key of `seed` (RFC 8032 §5.1.5).
    ///
    /// # Errors
    ///
    /// [`BackendKeyError`] when the cryptographic library refuses it.
    pub fn from_seed(seed: &[u8; 32]) -> Result<BackendKey, BackendKeyError> {
        let refused = |why: &dyn fmt::Display| BackendKeyError(why.to_string());
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|why| refused(&why))?;
        let certificate = certificate(&pair).map_err(|why| refused(&why))?;
        // The document is wiped when it is dropped.
        let pkcs8 = pair.to_pkcs8().map_err(|why| refused(&why))?;
        let signer =
            any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_ref())).map_err(|why| refused(&why))?;
        let public_key = pair.public_key().as_ref().try_into().map_err(|why| refused(&why))?;
        Ok(BackendKey { certified: Arc::new(CertifiedKey::new(vec![certificate], signer)), public_key })
    }

    /// The first segment of the path of every request for this backend: "a lowercase hex-encoded SHA-256 hash of a 32-byte
    /// Ed25519 public key".
    #[must_use]
    pub fn hash(&self) -> String {
        const_hex::encode(Sha256::digest(self.public_key))
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }
}

/// The key's hash: nothing secret.
impl fmt::Debug for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackendKey({})", self.hash())
    }
}

/// "The backend certificate MAY be self-signed." Only the key in it means anything, so it holds for all times: there is no
/// clock that could be wrong.
fn certificate(pair: &Ed25519KeyPair) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(1.into());
    params.distinguished_name.push(DnType::CommonName, "Bastion backend");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params.self_signed(&Certifier(pair))?.der().clone())
}

/// Lets rcgen sign with aws-lc-rs, so that it needs no cryptography of its own.
struct Certifier<'a>(&'a Ed25519KeyPair);

impl PublicKeyData for Certifier<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for Certifier<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}
