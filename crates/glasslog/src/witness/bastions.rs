//! The bastions that a witness is reached through (c2sp.org/https-bastion), and the key that they know it by.

use std::path::Path;

use anyhow::Context;
use glasslog_core::note::{Algorithm, SecretKey, VerifierKey};
use glasslog_witness::bastion::{BackendKey, BastionAddress, BastionClient, BastionLimits, Bastions};
use serde::Serialize;

use crate::{
    exit::{Exit, Failed, OrExit},
    keys,
    settings::witness::WitnessSettings,
};

/// The file in a witness's directory that holds its bastion key.
const BASTION_KEY_FILE: &str = "bastion.key";

/// One bastion, as the operator is told.
#[derive(Clone, Debug, Serialize)]
pub struct ToldBastion {
    /// The submission prefix there.
    pub url: String,
    /// What the bastion's operator has to list.
    pub key_hash: String,
}

/// What connects to the bastions of `settings`, if there are any, and what to tell of them. Blocks on the disk. `own` are
/// the keys that the witness signs with.
pub(super) fn bastions(
    settings: &WitnessSettings,
    own: &[VerifierKey],
) -> Result<(Option<Bastions>, Vec<ToldBastion>), Failed> {
    if settings.bastions.is_empty() {
        return Ok((None, Vec::new()));
    }
    let key = bastion_key(settings, own)?;
    // "Generating a separate bastion backend key is preferable" (https-bastion, appendix A): a bastion key lies on more
    // machines, and is replaced more easily.
    if own.iter().any(|own| own.public_key() == key.verifier_key().public_key()) {
        return Err(Failed::usage(
            "the bastion key is a key that the witness signs with; give it one of its own",
        ));
    }
    let key = BackendKey::from_seed(key.seed()).or_exit(Exit::Usage)?;
    let client = BastionClient::new(&key, Vec::new(), BastionLimits::default())?;
    let told =
        |address: &BastionAddress| ToldBastion { url: address.submission_prefix(&key), key_hash: key.hash() };
    let told = settings.bastions.iter().map(told).collect();
    Ok((Some(Bastions { addresses: settings.bastions.clone(), client }), told))
}

/// The key that settings give, or that in the directory, which the first start with a bastion makes.
fn bastion_key(settings: &WitnessSettings, own: &[VerifierKey]) -> Result<SecretKey, Failed> {
    let key = match &settings.bastion_key {
        Some(text) => keys::parse(text).context("WITNESS_BASTION_KEY is not a key").or_exit(Exit::Usage)?,
        None => of_directory(&settings.dir, own)?,
    };
    if key.algorithm() == Algorithm::MlDsa44 {
        return Err(Failed::usage("a bastion key is an Ed25519 key, of type 0x01 or 0x04"));
    }
    Ok(key)
}

fn of_directory(dir: &Path, own: &[VerifierKey]) -> Result<SecretKey, Failed> {
    let path = dir.join(BASTION_KEY_FILE);
    if path.exists() {
        return Ok(keys::load(&path)?);
    }
    let name = own.first().map_or("", VerifierKey::name);
    // A bastion never sees the name. It is for whoever finds the file.
    let key = keys::generate(&format!("{name}/bastion")).or_else(|_| keys::generate("bastion"))?;
    keys::save(&path, &key)?;
    Ok(key)
}
