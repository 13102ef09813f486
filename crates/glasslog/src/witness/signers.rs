//! The keys of a witness: those that settings give, or those in its directory, which a new one makes.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use glasslog_core::note::{Algorithm, SecretKey, Signer};

use crate::{
    exit::{Exit, Failed, OrExit},
    keys::{self, WITNESS_KEY_FILE, WITNESS_ML_DSA_KEY_FILE},
    settings::witness::WitnessSettings,
};

/// What signs for the witness, 0x04 before 0x06. Blocks on the disk. `is_new`: nothing was ever cosigned here.
pub(super) fn signers(settings: &WitnessSettings, is_new: bool) -> Result<Vec<Arc<dyn Signer>>, Failed> {
    let mut keys = match &settings.private_keys {
        Some(text) => keys::parse_several(text)
            .context("WITNESS_PRIVATE_KEY is not a signing key")
            .or_exit(Exit::Usage)?,
        None => of_directory(&settings.dir, is_new)?,
    };
    keys.sort_by_key(SecretKey::algorithm);
    let name = keys.first().map_or("", SecretKey::name);
    if let Some(other) = keys.iter().find(|key| key.name() != name) {
        return Err(Failed::usage(format!(
            "a witness has one name, and these keys have two: {name} and {}",
            other.name()
        )));
    }
    let signers = keys.iter().map(|key| Ok(Arc::new(keys::cosigner(key)?) as Arc<dyn Signer>));
    let signers = signers.collect::<Result<Vec<_>, Failed>>()?;
    // An Ed25519 cosignature does not cover the name, so no two may share a key (c2sp.org/tlog-cosignature).
    let twice = |(n, signer): &(usize, &Arc<dyn Signer>)| {
        let public_key = signer.verifier_key().public_key();
        signers.iter().take(*n).any(|other| other.verifier_key().public_key() == public_key)
    };
    if let Some((_, signer)) = signers.iter().enumerate().find(twice) {
        return Err(Failed::usage(format!("the key {} is given twice", signer.verifier_key())));
    }
    Ok(signers)
}

/// Both keys, made if this is a new witness. An old one may have one of them only, and never gets a new key for a lost one.
fn of_directory(dir: &Path, is_new: bool) -> Result<Vec<SecretKey>, Failed> {
    let files = [(WITNESS_KEY_FILE, Algorithm::CosignatureV1), (WITNESS_ML_DSA_KEY_FILE, Algorithm::MlDsa44)];
    let mut keys = Vec::new();
    if is_new && files.iter().any(|(file, _)| dir.join(file).exists()) {
        tracing::warn!(
            dir = %dir.display(),
            "there are keys here and no memory of what they cosigned: if this witness has run before, stop it, for it may cosign \
             another history of the same logs; put its memory back, or give it new keys and a new name"
        );
    }
    for (file, algorithm) in files {
        let path = dir.join(file);
        if path.exists() {
            keys.push(keys::load(&path)?);
        } else if is_new {
            let name = match keys.first().map(SecretKey::name) {
                Some(name) => name.to_owned(),
                None => name_of_a_new_witness(dir)?,
            };
            let key = keys::generate_of_type(&name, algorithm)?;
            keys::save(&path, &key)?;
            keys.push(key);
        }
    }
    if keys.is_empty() {
        return Err(Failed::usage(format!(
            "{} holds a witness's memory but not its keys: put {WITNESS_KEY_FILE} back from your backup, or give WITNESS_PRIVATE_KEY_FILE",
            dir.display()
        )));
    }
    Ok(keys)
}

/// A start that was interrupted may have left the second key.
fn name_of_a_new_witness(dir: &Path) -> Result<String, Failed> {
    let second = dir.join(WITNESS_ML_DSA_KEY_FILE);
    if second.exists() {
        return Ok(keys::load(&second)?.name().to_owned());
    }
    let mut random = [0; 6];
    getrandom::fill(&mut random).map_err(keys::KeyFileError::Random)?;
    Ok(format!("glasslog.local/witness/{}", const_hex::encode(random)))
}
