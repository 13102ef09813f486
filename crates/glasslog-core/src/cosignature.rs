//! Timestamped cosignatures (c2sp.org/tlog-cosignature): Ed25519 `cosignature/v1` (signature type 0x04) and ML-DSA-44
//! `subtree/v1` (0x06).
//!
//! A cosignature says: at this time, this was the largest consistent checkpoint of the log that the cosigner
//! had seen. The Ed25519 one covers the whole text of the checkpoint, extension lines too, and not the cosigner's name;
//! the ML-DSA one covers the name, origin, size and root, and no extension lines, so none is made over such a text.

use alloc::{format, string::String, vec::Vec};
use core::ops::Range;

use ed25519_dalek::VerifyingKey;

use crate::checkpoint::Checkpoint;
use crate::note::{self, Algorithm, MlDsa44, NoteError, SignError, Signature, Signer, VerifierKey};
use crate::{Hash, TreeSize};

/// The largest timestamp: "It MUST NOT exceed 2^63 - 1".
pub const MAX_TIME: u64 = i64::MAX.unsigned_abs();

/// The length of an ML-DSA-44 signature, in bytes (FIPS 204, table 2).
const ML_DSA_44_SIGNATURE_BYTES: usize = 2420;

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

/// The bytes that an Ed25519 cosigner signs for the checkpoint `text` (a note's text, with its final newline) at `time`.
#[must_use]
pub fn signed_message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// The bytes that an ML-DSA-44 cosigner signs for the subtree `range` of the log `origin` with this root: of a checkpoint,
/// `0..size`. A `time` of 0 says nothing about which tree is the largest. `None` when `cosigner_name` or `origin` has not
/// 1 to 255 bytes.
#[must_use]
pub fn subtree_message(
    cosigner_name: &str,
    time: u64,
    origin: &str,
    range: Range<TreeSize>,
    root: &Hash,
) -> Option<Vec<u8>> {
    let mut message = b"subtree/v1\n\0".to_vec();
    let opaque = |message: &mut Vec<u8>, text: &str| {
        let length = u8::try_from(text.len()).ok().filter(|length| *length > 0)?;
        message.push(length);
        message.extend_from_slice(text.as_bytes());
        Some(())
    };
    opaque(&mut message, cosigner_name)?;
    message.extend_from_slice(&time.to_be_bytes());
    opaque(&mut message, origin)?;
    message.extend_from_slice(&range.start.0.to_be_bytes());
    message.extend_from_slice(&range.end.0.to_be_bytes());
    message.extend_from_slice(root.as_bytes());
    Some(message)
}

/// The same for the checkpoint `text`; `None` when it is none, or has extension lines, which would not be covered.
fn checkpoint_message(cosigner_name: &str, time: u64, text: &str) -> Option<Vec<u8>> {
    let checkpoint = Checkpoint::parse(text).ok().filter(|checkpoint| checkpoint.extensions.is_empty())?;
    let range = TreeSize::ZERO..checkpoint.size;
    subtree_message(cosigner_name, time, &checkpoint.origin, range, &checkpoint.root)
}

/// Cosigns the checkpoint `text` for `time`, in seconds since 1970.
///
/// # Errors
///
/// [`SignError::Algorithm`] unless the key is of type 0x04 or 0x06, [`SignError::Failed`] when `time` is above
/// [`MAX_TIME`], and what the signer says; for 0x06, [`SignError::NotCovered`] when `text` has extension lines.
pub fn cosign(text: &str, time: u64, signer: &dyn Signer) -> Result<Signature, SignError> {
    let key = signer.verifier_key();
    if time > MAX_TIME {
        let reason = format!("the time {time} is above 2^63 - 1");
        return Err(SignError::Failed { name: key.name().into(), reason });
    }
    let message = match key.algorithm() {
        Algorithm::MlDsa44 => checkpoint_message(key.name(), time, text)
            .ok_or_else(|| SignError::NotCovered { name: key.name().into() })?,
        _ => {
            note::check_algorithm(key, Algorithm::CosignatureV1)?;
            signed_message(text, time).into_bytes()
        }
    };
    sign_message(&message, time, signer)
}

/// Cosigns the subtree `range` of the log `origin`, without a time (c2sp.org/tlog-witness, sign-subtree).
///
/// # Errors
///
/// [`SignError::Algorithm`] unless the key is of type 0x06, [`SignError::NotCovered`] for an origin that is too long, and
/// what the signer says.
pub fn cosign_subtree(
    origin: &str,
    range: Range<TreeSize>,
    root: &Hash,
    signer: &dyn Signer,
) -> Result<Signature, SignError> {
    let key = signer.verifier_key();
    note::check_algorithm(key, Algorithm::MlDsa44)?;
    let message = subtree_message(key.name(), 0, origin, range, root)
        .ok_or_else(|| SignError::NotCovered { name: key.name().into() })?;
    sign_message(&message, 0, signer)
}

fn sign_message(message: &[u8], time: u64, signer: &dyn Signer) -> Result<Signature, SignError> {
    let mut blob = time.to_be_bytes().to_vec();
    blob.extend_from_slice(&signer.sign(message)?);
    Ok(Signature::of_key(signer.verifier_key(), blob))
}

/// Checks that `signature` is the cosignature of `key` on the checkpoint `text`.
///
/// # Errors
///
/// [`NoteError::NoKnownSignature`] when it is another key's, or `key` is of type 0x01, or of type 0x06 without anybody
/// to check it;
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

/// The time of a valid `timestamped_signature`: 8 bytes big-endian, then 2,420 bytes of ML-DSA-44.
pub(crate) fn verify_ml_dsa_blob(
    verifier: &dyn MlDsa44,
    public_key: &[u8],
    cosigner_name: &str,
    text: &str,
    blob: &[u8],
) -> Option<u64> {
    let (time, signature): (&[u8; 8], &[u8]) = blob.split_first_chunk()?;
    let time = u64::from_be_bytes(*time);
    let message = checkpoint_message(cosigner_name, time, text).filter(|_| time <= MAX_TIME)?;
    (signature.len() == ML_DSA_44_SIGNATURE_BYTES && verifier.verify(public_key, &message, signature))
        .then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Ed25519Signer, Note, SecretKey};
    use std::string::ToString;

    /// The example of c2sp.org/tlog-cosignature.
    const SPEC_TEXT: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    const SPEC_LINE: &str = "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

    fn cosigner(seed: u8) -> SecretKey {
        SecretKey::from_seed("witness.example/w", Algorithm::CosignatureV1, &[seed; 32]).unwrap()
    }

    /// The specification prints the message for the very checkpoint and time of its example line.
    #[test]
    fn the_example_of_the_specification() {
        let printed = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert_eq!(signed_message(SPEC_TEXT, 1_679_315_147), printed);

        let line = Signature::parse_lines(SPEC_LINE.as_bytes()).unwrap().remove(0);
        assert_eq!((line.name(), line.key_id()), ("witness.example.com/w1", 0x8d66_cf3f));
        assert_eq!(line.bytes().len(), 76 - 4);
        assert_eq!(line.bytes()[..8], 1_679_315_147_u64.to_be_bytes());
    }

    /// Ed25519 of RFC 8032 is deterministic, so a second implementation (dalek 2, by way of `signed_note`) that signs the
    /// message as plain bytes must give the same 64 bytes.
    #[test]
    fn what_is_made_is_what_another_implementation_makes() {
        use signed_note::Signer as _;
        let key = cosigner(9);
        let cosignature = cosign(SPEC_TEXT, 1_679_315_147, &Ed25519Signer::new(&key)).unwrap();
        let plain = key.rename(key.name(), Algorithm::Ed25519).unwrap();
        let other = signed_note::StandardSigner::new(&plain.to_text()).unwrap();
        let signature = other.sign(signed_message(SPEC_TEXT, 1_679_315_147).as_bytes()).unwrap();
        assert_eq!(cosignature.bytes()[8..], signature);

        let verified = verify(SPEC_TEXT, &cosignature, key.verifier_key()).unwrap();
        assert_eq!((verified.key(), verified.time()), (key.verifier_key(), 1_679_315_147));
    }

    #[test]
    fn what_is_covered() {
        let key = cosigner(1);
        let signer = Ed25519Signer::new(&key);
        let text = "o\n1\nroot\nextension\n";
        let good = cosign(text, 5, &signer).unwrap();
        verify(text, &good, key.verifier_key()).unwrap();
        let with_time = |time: u64| {
            let mut blob = good.bytes().to_vec();
            blob[..8].copy_from_slice(&time.to_be_bytes());
            Signature::of_key(key.verifier_key(), blob)
        };
        let wrong = |result| matches!(result, Err(NoteError::BadSignature { .. }));
        assert!(wrong(verify("o\n1\nroot\nextensioN\n", &good, key.verifier_key())), "extension lines");
        assert!(wrong(verify("o\n1\nroot\n", &good, key.verifier_key())), "the whole text");
        assert!(wrong(verify(text, &with_time(6), key.verifier_key())), "the time");
        assert!(wrong(verify(text, &with_time(5 | 1 << 63), key.verifier_key())), "no time above 2^63 - 1");
        for length in [0, 8, 71, 73] {
            let mut blob = good.bytes().to_vec();
            blob.resize(length, 0);
            let cut = Signature::of_key(key.verifier_key(), blob);
            assert!(wrong(verify(text, &cut, key.verifier_key())), "{length} bytes");
        }
    }

    #[test]
    fn who_may_cosign() {
        let key = cosigner(1);
        let good = cosign("t\n", 0, &Ed25519Signer::new(&key)).unwrap();
        assert_eq!(verify("t\n", &good, cosigner(2).verifier_key()), Err(NoteError::NoKnownSignature));
        let plain = key.rename("p", Algorithm::Ed25519).unwrap();
        assert!(matches!(cosign("t\n", 0, &Ed25519Signer::new(&plain)), Err(SignError::Algorithm { .. })));
        let signature = note::sign_line("t\n", &Ed25519Signer::new(&plain)).unwrap();
        assert_eq!(verify("t\n", &signature, plain.verifier_key()), Err(NoteError::NoKnownSignature));

        let latest = cosign("t\n", MAX_TIME, &Ed25519Signer::new(&key)).unwrap();
        assert_eq!(verify("t\n", &latest, key.verifier_key()).unwrap().time(), MAX_TIME);
        assert!(cosign("t\n", MAX_TIME + 1, &Ed25519Signer::new(&key)).is_err());
    }

    /// ML-DSA-44 by another implementation (the `ml-dsa` crate).
    struct Other;

    impl MlDsa44 for Other {
        fn verify(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
            let (Ok(key), Ok(signature)) = (public_key.try_into(), ml_dsa::Signature::try_from(signature))
            else {
                return false;
            };
            ml_dsa::VerifyingKey::<ml_dsa::MlDsa44>::decode(key).verify_with_context(message, &[], &signature)
        }
    }

    fn ml_dsa_key(text: &str) -> VerifierKey {
        text.trim_end().parse::<VerifierKey>().unwrap().checked_by(&Other)
    }

    /// torchwood's vector: a log that signs its checkpoint of size 1 with ML-DSA-44, without a time.
    #[test]
    fn the_ml_dsa_vector_of_torchwood() {
        let key = ml_dsa_key(include_str!("../testdata/ml-dsa-44.vkey"));
        let note = Note::parse(include_bytes!("../testdata/ml-dsa-44.checkpoint")).unwrap();
        let keys = [key.clone()];
        let verified = note.verify(&keys).unwrap();
        assert_eq!(verified.signatures()[0].time, Some(0));
        assert!(verified.unchecked().is_empty());

        let line = &note.signatures()[0];
        assert_eq!(verify(note.text(), line, &key).unwrap().time(), 0);
        let other_text = note.text().replacen("1\n", "2\n", 1);
        assert!(verify(&other_text, line, &key).is_err(), "the size is covered");
        let extended = format!("{}extension\n", note.text());
        assert!(verify(&extended, line, &key).is_err(), "no statement about extension lines");
        for change in [0, 8, line.bytes().len() - 1] {
            let mut blob = line.bytes().to_vec();
            blob[change] ^= 1;
            let changed = Signature::of_key(&key, blob);
            assert!(verify(note.text(), &changed, &key).is_err(), "byte {change}");
        }
        let mut longer = line.bytes().to_vec();
        longer.push(0);
        assert!(verify(note.text(), &Signature::of_key(&key, longer), &key).is_err());
    }

    /// The structure of c2sp.org/tlog-cosignature, "ML-DSA-44 signed message", byte for byte.
    #[test]
    fn the_subtree_message() {
        let root = Hash::from_slice(&[9; 32]).unwrap();
        let message = subtree_message("w", 0x0102, "log", TreeSize(8)..TreeSize(13), &root).unwrap();
        let mut expected = b"subtree/v1\n\0\x01w\0\0\0\0\0\0\x01\x02\x03log".to_vec();
        expected.extend_from_slice(b"\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x0d");
        expected.extend_from_slice(&[9; 32]);
        assert_eq!(message, expected);
        for (name, origin) in [("", "log"), ("w", "")] {
            assert_eq!(subtree_message(name, 0, origin, TreeSize(0)..TreeSize(1), &root), None);
        }
        assert_eq!(subtree_message("w", 0, &"o".repeat(256), TreeSize(0)..TreeSize(1), &root), None);
        assert!(subtree_message("w", 0, &"o".repeat(255), TreeSize(0)..TreeSize(1), &root).is_some());
    }

    /// Of two cosignatures of one key on one checkpoint, both valid, the newer one says when.
    #[test]
    fn the_newest_of_one_key_counts() {
        let key = cosigner(1);
        let signer = Ed25519Signer::new(&key);
        let [old, new] = [3, 8].map(|time| cosign("t\n", time, &signer).unwrap().to_string());
        let note = Note::parse(format!("t\n\n{new}\n{old}\n").as_bytes()).unwrap();
        let keys = [key.verifier_key().clone()];
        let verified = note.verify(&keys).unwrap();
        let times: Vec<_> = verified.signatures().iter().map(|signature| signature.time).collect();
        assert_eq!(times, [Some(8)]);
    }
}
