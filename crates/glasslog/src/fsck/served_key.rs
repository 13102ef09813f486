//! The key that a log itself names: in `/log.json`, or in the directory that holds it.

use std::path::{Path, PathBuf};

use glasslog_core::note::{SecretKey, VerifierKey};
use serde::Deserialize;

use crate::fetch::Source;

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
        Source::Directory(public) => of_directory(public).into_iter().collect(),
    })
}

/// `glasslog serve` keeps `log.key` beside `public/`: who may read the secret key may derive the public one.
fn of_directory(public: &Path) -> Option<VerifierKey> {
    let candidates = [Some(public), public.parent()].into_iter().flatten().map(|dir| dir.join("log.key"));
    candidates.filter_map(|path: PathBuf| crate::fetch::read_bounded(&path).ok()).find_map(|text| {
        let key: SecretKey = std::str::from_utf8(&text).ok()?.trim_end().parse().ok()?;
        Some(key.verifier_key().clone())
    })
}
