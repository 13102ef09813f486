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

    /// Of two cosignatures of one key on one checkpoint, both valid, the newer one says when.
    #[test]
    fn the_newest_of_one_key_counts() {
        let key = cosigner(1);
        let signer = Ed25519Signer::new(&key);
        let [old, new] = [3, 8].map(|time| cosign("t\n", time, &signer).unwrap().to_string());
        let note = Note::parse(format!("t\n\n{new}\n{old}\n").as_bytes()).unwrap();
        let keys = [key.verifier_key().clone()];
        let verified = note.verify(&keys).unwrap();
        let times: std::vec::Vec<_> = verified.signatures().iter().map(|signature| signature.time).collect();
        assert_eq!(times, [Some(8)]);
    }
}
