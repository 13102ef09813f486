//! The key that a log itself names: in `/log.json`, or in the directory that holds it.

use std::path::Path;

use glasslog_core::note::{SecretKey, VerifierKey};
use serde::Deserialize;

use crate::{
    fetch::Source,
    keys::{KEY_FILE, rotate::OLD_KEY_FILE},
};

/// What is read of `/log.json`.
#[derive(Deserialize)]
struct LogJson {
    #[serde(default)]
    vkeys: Vec<String>,
}

/// The keys that the log names, those that can be read as keys.
pub(crate) async fn of(source: &Source) -> anyhow::Result<Vec<VerifierKey>> {
    if let Some(json) = source.log_json().await? {
        let described: LogJson = serde_json::from_slice(&json)?;
        return Ok(described.vkeys.iter().filter_map(|text| text.parse().ok()).collect());
    }
    Ok(match source {
        Source::Http(_) => Vec::new(),
        Source::Directory(public) => of_directory(public),
    })
}

/// `glasslog serve` keeps `log.key` beside `public/`, and for a while the one before it: who may read the secret key may
/// derive the public one.
fn of_directory(public: &Path) -> Vec<VerifierKey> {
    let dirs = [Some(public), public.parent()].into_iter().flatten();
    let files = dirs.flat_map(|dir| [KEY_FILE, OLD_KEY_FILE].map(|file| dir.join(file)));
    let key = |text: Vec<u8>| -> Option<VerifierKey> {
        let key: SecretKey = std::str::from_utf8(&text).ok()?.trim_end().parse().ok()?;
        Some(key.verifier_key().clone())
    };
    files.filter_map(|path| crate::fetch::read_bounded(&path).ok()).filter_map(key).collect()
}
