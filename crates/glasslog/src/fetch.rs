//! Reading a log's public files, by URL or from a directory.
//!
//! Everything that comes from outside is bounded before it is believed: each object by what its format allows, each
//! request in time, redirects to the log's own host. What is read is not verified here.

mod http;
mod memory;
mod observe;
mod target;

use std::{
    collections::HashMap,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use anyhow::Context;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use glasslog_client::inclusion::Inclusion;
use glasslog_core::{
    LeafIndex, MAX_ENTRY_BYTES,
    checkpoint::VerifiedCheckpoint,
    entry_bundle::EntryBundle,
    hash::leaf_hash,
    merkle::InclusionProof,
    note::MAX_NOTE_BYTES,
    tile::{BundleId, FULL_WIDTH, ResourcePath, TileId},
};

pub use http::HttpSource;
pub use memory::Memory;
pub use observe::{Observed, believe, now, observe, refuse_fork, retry_lagging, weigh};
pub use target::{HOW_TO_PIN, Target};

pub(crate) use memory::replace;
pub(crate) use target::{read_at_most, read_bounded, state_directory};

/// Tiles that are fetched at once for one proof.
const TILES_AT_ONCE: usize = 8;

/// The longest `/log.json`, in bytes.
const MAX_LOG_JSON_BYTES: usize = 1024 * 1024;

/// Why an object could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is not there.
    #[error("{path} is missing")]
    Missing {
        /// The object.
        path: String,
    },
    /// It is longer than anything of its kind can be.
    #[error("{path} is longer than {limit} bytes, more than such an object can have")]
    TooLong {
        /// The object.
        path: String,
        /// The bound, in bytes.
        limit: usize,
    },
    /// The server answered something else.
    #[error("{url} answered {status}{}", if said.is_empty() { String::new() } else { format!(": {said}") })]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of what it said.
        said: String,
    },
    /// The server could not be asked, or stopped answering.
    #[error("cannot read {url}")]
    Transport {
        /// The address.
        url: String,
        /// The reason.
        source: reqwest::Error,
    },
    /// A file could not be read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: String,
        /// The reason.
        source: std::io::Error,
    },
    /// What was given is neither an address of a log nor a directory that holds one.
    #[error("{target} is neither an http(s) URL nor a directory with a log in it (no checkpoint there)")]
    NoLog {
        /// What was given.
        target: String,
    },
}

/// Where a log's public files are.
#[derive(Clone, Debug)]
pub enum Source {
    /// Behind a URL.
    Http(HttpSource),
    /// Below a directory that holds `checkpoint` and `tile/`.
    Directory(PathBuf),
}

/// Objects that were fetched for a plan.
#[derive(Debug, Default)]
pub struct Tiles(HashMap<TileId, Bytes>);

impl Source {
    /// The log at `target`: an http(s) URL, or a directory that has the log's public files in it or in `public/`.
    ///
    /// # Errors
    ///
    /// [`FetchError::NoLog`], [`FetchError::Transport`] if no HTTP client can be made.
    pub fn open(target: &str) -> Result<Source, FetchError> {
        if target.contains("://") {
            return HttpSource::new(target).map(Source::Http);
        }
        let directory = Path::new(target);
        [directory.join("public"), directory.to_path_buf()]
            .into_iter()
            .find(|candidate| candidate.join("checkpoint").is_file())
            .map(Source::Directory)
            .ok_or_else(|| FetchError::NoLog { target: target.into() })
    }

    /// The newest checkpoint, as served.
    ///
    /// # Errors
    ///
    /// [`FetchError`].
    pub async fn checkpoint(&self) -> Result<Bytes, FetchError> {
        self.required("checkpoint", MAX_NOTE_BYTES).await
    }

    /// What the log says about itself (`/log.json`); `None` if it says nothing.
    ///
    /// # Errors
    ///
    /// [`FetchError`].
    pub async fn log_json(&self) -> Result<Option<Bytes>, FetchError> {
        self.get("log.json", MAX_LOG_JSON_BYTES).await
    }

    /// A tile. A partial one that is gone is cut from the full one at its place (tlog-tiles, "Partial Tiles").
    ///
    /// # Errors
    ///
    /// [`FetchError`].
    pub async fn tile(&self, id: &TileId) -> Result<Bytes, FetchError> {
        let path = id.path();
        if let Some(bytes) = self.get(&path, id.byte_len()).await? {
            return Ok(bytes);
        }
        let full = self.instead_of(id.is_partial(), &path, &id.full().path(), id.full().byte_len()).await?;
        Ok(full.slice(..id.byte_len().min(full.len())))
    }

    /// A bundle, with the same fallback. Bytes that are no bundle come back as they are, for the reader to refuse.
    ///
    /// # Errors
    ///
    /// [`FetchError`].
    pub async fn bundle(&self, id: &BundleId) -> Result<Bytes, FetchError> {
        let path = id.path();
        if let Some(bytes) = self.get(&path, max_bundle_bytes(id.width)).await? {
            return Ok(bytes);
        }
        let (full_path, limit) = (id.full().path(), max_bundle_bytes(FULL_WIDTH));
        let full = self.instead_of(id.is_partial(), &path, &full_path, limit).await?;
        let cut = EntryBundle::parse_cut(&full, id.width).map_or(full.len(), |cut| cut.as_bytes().len());
        Ok(full.slice(..cut))
    }

    /// Whatever a plan names.
    ///
    /// # Errors
    ///
    /// [`FetchError`].
    pub async fn object(&self, object: &ResourcePath) -> Result<Bytes, FetchError> {
        match object {
            ResourcePath::Checkpoint => self.checkpoint().await,
            ResourcePath::Tile(id) => self.tile(id).await,
            ResourcePath::Bundle(id) => self.bundle(id).await,
        }
    }

    /// The entry at `index`, proven to be there under `checkpoint`, and the proof.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being read or proven.
    pub async fn proven_entry(
        &self,
        checkpoint: &VerifiedCheckpoint,
        index: LeafIndex,
    ) -> anyhow::Result<(Vec<u8>, InclusionProof)> {
        let (size, root) = (checkpoint.size(), checkpoint.root());
        let (bundle, position) = BundleId::of_entry(size, index)
            .with_context(|| format!("there is no entry {index} in a tree of size {size}"))?;
        let inclusion = Inclusion::new(index, size)?;
        let tiles = self.tiles(inclusion.tiles()).await?;
        let included = inclusion.finish(root, glasslog_hash::hasher(), |id| tiles.get(id))?;
        included.proof.verify(&included.leaf, index, size, root)?;
        let bytes = self.bundle(&bundle).await?;
        let entries = EntryBundle::parse(&bytes, bundle.width).with_context(|| bundle.path())?;
        let entry = entries.iter().nth(position).filter(|entry| leaf_hash(entry) == included.leaf);
        let entry = entry
            .with_context(|| format!("entry {index} in {} is not the one that is proven", bundle.path()))?;
        Ok((entry.to_vec(), included.proof))
    }

    /// All tiles of a plan, several at once.
    ///
    /// # Errors
    ///
    /// The first [`FetchError`].
    pub async fn tiles(&self, ids: impl IntoIterator<Item = TileId>) -> Result<Tiles, FetchError> {
        let fetches = ids.into_iter().map(|id| async move { Ok((id, self.tile(&id).await?)) });
        stream::iter(fetches).buffer_unordered(TILES_AT_ONCE).try_collect().await.map(Tiles)
    }

    async fn instead_of(
        &self,
        partial: bool,
        path: &str,
        full: &str,
        limit: usize,
    ) -> Result<Bytes, FetchError> {
        let full = if partial { self.get(full, limit).await? } else { None };
        full.ok_or_else(|| FetchError::Missing { path: path.into() })
    }

    async fn required(&self, path: &str, limit: usize) -> Result<Bytes, FetchError> {
        self.get(path, limit).await?.ok_or_else(|| FetchError::Missing { path: path.into() })
    }

    /// The file at `path`, at most `limit` bytes of it; `None` if there is none.
    async fn get(&self, path: &str, limit: usize) -> Result<Option<Bytes>, FetchError> {
        match self {
            Source::Http(http) => http.get(path, limit).await,
            Source::Directory(directory) => read_file(directory, path, limit),
        }
    }
}

impl Tiles {
    /// The bytes of a tile that was asked for.
    #[must_use]
    pub fn get(&self, id: &TileId) -> Option<&[u8]> {
        self.0.get(id).map(Bytes::as_ref)
    }
}

/// The longest bundle of `width` entries.
fn max_bundle_bytes(width: u16) -> usize {
    usize::from(width) * (2 + MAX_ENTRY_BYTES)
}

/// Reads a file whole, or says that it is not there. Blocks: a command that reads a directory has nothing better to do.
fn read_file(directory: &Path, path: &str, limit: usize) -> Result<Option<Bytes>, FetchError> {
    let full_path = directory.join(path);
    let failed = |source| FetchError::Io { path: full_path.display().to_string(), source };
    let mut file = match File::open(&full_path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let length = usize::try_from(file.metadata().map_err(failed)?.len()).unwrap_or(usize::MAX);
    if length > limit {
        return Err(FetchError::TooLong { path: path.into(), limit });
    }
    let mut bytes = Vec::with_capacity(length);
    // The file may be growing while it is read, so the bound is kept here as well.
    (&mut file).take(limit as u64).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes.into()))
}

#[cfg(test)]
mod tests;
