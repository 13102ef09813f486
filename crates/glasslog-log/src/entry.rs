//! What may become an entry: the checks that need no state, done on the request's own task.

use bytes::Bytes;
use glasslog_core::{
    Hash, MAX_ENTRY_BYTES, anchor,
    hash::BatchHasher,
    personality::{EntryIdentity, Identity, InvalidEntry, Personality},
};

/// An entry that may be added: its size, form and schema are checked, its hashes computed.
#[derive(Clone, Debug)]
pub struct Submission {
    pub(crate) bytes: Bytes,
    pub(crate) leaf_hash: Hash,
    pub(crate) identity: Identity,
}

/// Why bytes can never be an entry of this log.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// 0 bytes (HTTP 400).
    #[error("an entry has at least 1 byte")]
    Empty,
    /// More than 65,535 bytes (HTTP 413).
    #[error("the entry has {0} bytes; at most 65,535 are possible")]
    TooLong(usize),
    /// Anchor form or disavow form: only the log itself writes these (HTTP 422, FORMATS §2).
    #[error("index anchors are written by the log itself and cannot be submitted")]
    AnchorForm,
    /// Not a valid entry of the log's schema (HTTP 422).
    #[error("{}", .0.message)]
    Schema(InvalidEntry),
}

/// Checks and hashes one entry.
pub(crate) fn submission(
    bytes: Bytes,
    personality: Option<&dyn Personality>,
) -> Result<Submission, EntryError> {
    let named = check(&bytes, personality)?;
    let leaf_hash = glasslog_core::hash::leaf_hash(&bytes);
    let identity = identity_of(named, &leaf_hash);
    Ok(Submission { bytes, leaf_hash, identity })
}

/// Checks each of `entries` and hashes them all in one batch.
///
/// # Errors
///
/// The position of the first entry that cannot be one, and why.
pub(crate) fn submissions(
    entries: Vec<Bytes>,
    personality: Option<&dyn Personality>,
    hasher: &dyn BatchHasher,
) -> Result<Vec<Submission>, (usize, EntryError)> {
    let named = entries
        .iter()
        .enumerate()
        .map(|(position, bytes)| check(bytes, personality).map_err(|why| (position, why)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut leaf_hashes = vec![Hash::EMPTY_ROOT; entries.len()];
    hasher.leaves(&entries.iter().map(AsRef::as_ref).collect::<Vec<_>>(), &mut leaf_hashes);
    Ok(entries
        .into_iter()
        .zip(leaf_hashes)
        .zip(named)
        .map(|((bytes, leaf_hash), named)| Submission {
            bytes,
            leaf_hash,
            identity: identity_of(named, &leaf_hash),
        })
        .collect())
}

/// The identity of an entry that the log holds already, for rebuilding what is derived from entries.
pub(crate) fn logged_identity(
    entry: &[u8],
    leaf_hash: &Hash,
    personality: Option<&dyn Personality>,
) -> Identity {
    let named = personality.and_then(|rules| rules.validate(entry).ok()).unwrap_or(EntryIdentity::LeafHash);
    identity_of(named, leaf_hash)
}

fn check(bytes: &Bytes, personality: Option<&dyn Personality>) -> Result<EntryIdentity, EntryError> {
    if bytes.is_empty() {
        return Err(EntryError::Empty);
    }
    if bytes.len() > MAX_ENTRY_BYTES {
        return Err(EntryError::TooLong(bytes.len()));
    }
    // FORMATS §2: refused by every log, always, index or not.
    if anchor::is_anchor_form(bytes) || anchor::is_disavow_form(bytes) {
        return Err(EntryError::AnchorForm);
    }
    match personality {
        Some(rules) => rules.validate(bytes).map_err(EntryError::Schema),
        None => Ok(EntryIdentity::LeafHash),
    }
}

fn identity_of(named: EntryIdentity, leaf_hash: &Hash) -> Identity {
    match named {
        EntryIdentity::Named(identity) => identity,
        EntryIdentity::LeafHash => Identity::from_hash(leaf_hash),
    }
}
