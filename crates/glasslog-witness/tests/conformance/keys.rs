//! Keys, notes and cosignatures, made and verified by hand from signed-note.md and tlog-cosignature.md,
//! with `ed25519-dalek` and `ml-dsa` for the primitives alone.

use base64ct::{Base64, Encoding};
use ed25519_dalek::Signer;
use ml_dsa::{EncodedSignature, EncodedVerifyingKey, ExpandedSigningKey, MlDsa44, Signature, VerifyingKey};

use crate::tree::{Hash, sha256};

pub(crate) const ED25519: u8 = 0x01;
pub(crate) const ED25519_COSIGNATURE: u8 = 0x04;
pub(crate) const ML_DSA_44: u8 = 0x06;

pub(crate) fn b64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

/// `SHA-256(name || 0x0A || type || public key)[:4]`
pub(crate) fn key_id(name: &str, kind: u8, public: &[u8]) -> [u8; 4] {
    let hash = sha256(&[name.as_bytes(), b"\n", &[kind], public].concat());
    [hash[0], hash[1], hash[2], hash[3]]
}

/// `— name base64(key ID || signature)` and a newline.
pub(crate) fn signature_line(name: &str, id: [u8; 4], signature: &[u8]) -> Vec<u8> {
    format!("\u{2014} {name} {}\n", b64(&[&id[..], signature].concat())).into_bytes()
}

fn vkey(name: &str, kind: u8, public: &[u8]) -> String {
    let id: String = key_id(name, kind, public).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}+{id}+{}", b64(&[&[kind], public].concat()))
}

/// An Ed25519 key that signs notes (type 0x01).
#[derive(Clone)]
pub(crate) struct Ed25519Key {
    pub(crate) name: String,
    pub(crate) secret: ed25519_dalek::SigningKey,
}

impl Ed25519Key {
    /// The same key for the same label, for ever: a witness can be configured before the run.
    pub(crate) fn new(name: &str, label: &str) -> Ed25519Key {
        let seed = sha256(format!("glasslog witness conformance\n{label}").as_bytes());
        Ed25519Key { name: name.to_owned(), secret: ed25519_dalek::SigningKey::from_bytes(&seed) }
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.secret.verifying_key().to_bytes()
    }

    pub(crate) fn id(&self) -> [u8; 4] {
        key_id(&self.name, ED25519, &self.public())
    }

    pub(crate) fn vkey(&self) -> String {
        vkey(&self.name, ED25519, &self.public())
    }

    pub(crate) fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.secret.sign(text).to_bytes()
    }

    pub(crate) fn line(&self, text: &[u8]) -> Vec<u8> {
        signature_line(&self.name, self.id(), &self.sign(text))
    }

    /// The line with one bit of the signature changed.
    pub(crate) fn bad_line(&self, text: &[u8]) -> Vec<u8> {
        let mut signature = self.sign(text);
        signature[7] ^= 1;
        signature_line(&self.name, self.id(), &signature)
    }
}

/// An ML-DSA-44 key that signs checkpoints (type 0x06).
pub(crate) struct MlDsaKey {
    pub(crate) name: String,
    secret: ExpandedSigningKey<MlDsa44>,
}

impl MlDsaKey {
    pub(crate) fn new(name: &str, label: &str) -> MlDsaKey {
        let seed = sha256(format!("glasslog witness conformance ML-DSA\n{label}").as_bytes());
        MlDsaKey { name: name.to_owned(), secret: ExpandedSigningKey::from_seed(&seed.into()) }
    }

    pub(crate) fn public(&self) -> Vec<u8> {
        self.secret.verifying_key().encode().to_vec()
    }

    pub(crate) fn id(&self) -> [u8; 4] {
        key_id(&self.name, ML_DSA_44, &self.public())
    }

    pub(crate) fn vkey(&self) -> String {
        vkey(&self.name, ML_DSA_44, &self.public())
    }

    /// Pure ML-DSA with an empty context is domain byte 0 and context length 0 before the message.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_internal(&[&[0, 0], message].concat())
    }

    /// Signs `M'` of FIPS 204, algorithm 7, deterministically.
    pub(crate) fn sign_internal(&self, formatted: &[u8]) -> Vec<u8> {
        self.secret.sign_internal(&[formatted], &[0; 32].into()).encode().to_vec()
    }

    /// The signature line over a checkpoint, with the timestamp in it.
    pub(crate) fn line(&self, origin: &str, size: u64, root: &Hash, timestamp: u64) -> Vec<u8> {
        let message = cosigned_message(&self.name, timestamp, origin, 0, size, root);
        self.timestamped_line(timestamp, &self.sign(&message))
    }

    pub(crate) fn timestamped_line(&self, timestamp: u64, signature: &[u8]) -> Vec<u8> {
        signature_line(&self.name, self.id(), &[&timestamp.to_be_bytes(), signature].concat())
    }
}

/// The `cosigned_message` of tlog-cosignature.md, byte for byte.
pub(crate) fn cosigned_message(
    name: &str,
    timestamp: u64,
    origin: &str,
    start: u64,
    end: u64,
    hash: &Hash,
) -> Vec<u8> {
    let mut message = b"subtree/v1\n\0".to_vec();
    message.push(u8::try_from(name.len()).unwrap());
    message.extend(name.as_bytes());
    message.extend(timestamp.to_be_bytes());
    message.push(u8::try_from(origin.len()).unwrap());
    message.extend(origin.as_bytes());
    message.extend(start.to_be_bytes());
    message.extend(end.to_be_bytes());
    message.extend(hash);
    message
}

/// A key that a witness says it cosigns with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Vkey {
    pub(crate) name: String,
    pub(crate) id: [u8; 4],
    pub(crate) kind: u8,
    pub(crate) public: Vec<u8>,
}

impl Vkey {
    /// Reads `name+hex+base64`. The name ends at the first `+`.
    pub(crate) fn parse(text: &str) -> Result<Vkey, String> {
        let parts = text.split_once('+').and_then(|(name, rest)| Some((name, rest.split_once('+')?)));
        let Some((name, (hex, material))) = parts else { return Err(format!("{text}: not a vkey")) };
        let material = Base64::decode_vec(material).map_err(|error| format!("{text}: {error}"))?;
        let number = u32::from_str_radix(hex, 16).map_err(|error| format!("{text}: {error}"))?;
        let Some((&kind, public)) = material.split_first() else { return Err(format!("{text}: no key")) };
        Ok(Vkey { name: name.to_owned(), id: number.to_be_bytes(), kind, public: public.to_vec() })
    }

    /// The same key with its type byte replaced, for example 0x01 by 0x04.
    pub(crate) fn expected_id(&self) -> [u8; 4] {
        key_id(&self.name, self.kind, &self.public)
    }

    /// Verifies a timestamped signature over `[start, end)` of the log, whose checkpoint text is `text`.
    pub(crate) fn verify(&self, of: &Signed<'_>, timestamp: u64, signature: &[u8]) -> Result<(), String> {
        match self.kind {
            ED25519_COSIGNATURE => {
                let message = [format!("cosignature/v1\ntime {timestamp}\n").as_bytes(), of.text].concat();
                verify_ed25519(&self.public, &message, signature)
            }
            ML_DSA_44 => {
                let message = cosigned_message(&self.name, timestamp, of.origin, of.start, of.end, &of.hash);
                verify_ml_dsa(&self.public, &message, signature)
            }
            kind => Err(format!("keys of type {kind:#04x} make no cosignatures")),
        }
    }
}

/// What a cosignature is about.
#[derive(Clone, Copy)]
pub(crate) struct Signed<'a> {
    /// The whole text of the checkpoint, extension lines too.
    pub(crate) text: &'a [u8],
    pub(crate) origin: &'a str,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) hash: Hash,
}

fn verify_ed25519(public: &[u8], message: &[u8], signature: &[u8]) -> Result<(), String> {
    let public: &[u8; 32] = public.try_into().map_err(|_| "an Ed25519 key has 32 bytes")?;
    let signature: &[u8; 64] = signature.try_into().map_err(|_| "an Ed25519 signature has 64 bytes")?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(public).map_err(|error| error.to_string())?;
    key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature))
        .map_err(|_| "the Ed25519 signature does not verify".to_owned())
}

fn verify_ml_dsa(public: &[u8], message: &[u8], signature: &[u8]) -> Result<(), String> {
    let public: EncodedVerifyingKey<MlDsa44> =
        public.try_into().map_err(|_| "an ML-DSA-44 key has 1312 bytes")?;
    let signature: EncodedSignature<MlDsa44> =
        signature.try_into().map_err(|_| "an ML-DSA-44 signature has 2420 bytes")?;
    let signature = Signature::<MlDsa44>::decode(&signature).ok_or("not an ML-DSA-44 signature")?;
    let key = VerifyingKey::<MlDsa44>::decode(&public);
    if key.verify_with_context(message, b"", &signature) {
        Ok(())
    } else {
        Err("the ML-DSA-44 signature does not verify".to_owned())
    }
}

/// One signature line, taken apart: key name, key ID, signature.
pub(crate) fn parse_line(line: &str) -> Result<(String, [u8; 4], Vec<u8>), String> {
    let what = || format!("not a signature line: {line:?}");
    let rest = line.strip_prefix("\u{2014} ").ok_or_else(what)?;
    let (name, blob) = rest.split_once(' ').ok_or_else(what)?;
    let blob = Base64::decode_vec(blob).map_err(|_| what())?;
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '+') || blob.len() < 5 {
        return Err(what());
    }
    Ok((name.to_owned(), [blob[0], blob[1], blob[2], blob[3]], blob[4..].to_vec()))
}

#[test]
fn the_vector_of_signed_note_verifies() {
    // signed-note.md, section Example.
    let vkey = Vkey::parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k").unwrap();
    assert_eq!(vkey.id, vkey.expected_id());
    let line = "\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=";
    let (name, id, signature) = parse_line(line).unwrap();
    assert_eq!((name, id), (vkey.name.clone(), vkey.id));
    verify_ed25519(&vkey.public, b"This is an example message.\n", &signature).unwrap();
}
