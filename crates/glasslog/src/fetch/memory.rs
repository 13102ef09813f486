//! What was seen of each log, kept in files: the largest verified checkpoint, and evidence of forks.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use glasslog_client::{pin::Pins, seen::ForkEvidence};
use glasslog_core::{checkpoint::VerifiedCheckpoint, hash::leaf_hash};

use super::target::state_directory;

/// A directory with one file for each log.
#[derive(Clone, Debug)]
pub struct Memory {
    directory: PathBuf,
}

impl Memory {
    /// The memory of the user who runs this; `None` without a home directory.
    #[must_use]
    pub fn of_user() -> Option<Memory> {
        state_directory().map(|directory| Memory { directory })
    }

    /// A memory in `directory`.
    #[must_use]
    pub fn at(directory: &Path) -> Memory {
        Memory { directory: directory.into() }
    }

    /// The checkpoint remembered for `origin`. One that does not verify under `pins` (the log has another key now, or
    /// somebody edited the file) is as good as none.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be read.
    pub fn remembered(&self, origin: &str, pins: &Pins) -> std::io::Result<Option<VerifiedCheckpoint>> {
        match fs::read(self.file("seen", origin)) {
            Ok(note) => Ok(pins.open(&note).ok().filter(|checkpoint| checkpoint.origin() == origin)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Remembers `checkpoint` from now on.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn remember(&self, checkpoint: &VerifiedCheckpoint) -> std::io::Result<()> {
        replace(&self.file("seen", checkpoint.origin()), checkpoint.note().to_text().as_bytes())
    }

    /// Keeps the evidence of a fork and says where. The same evidence is kept once.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn keep_evidence(&self, origin: &str, evidence: &ForkEvidence) -> std::io::Result<PathBuf> {
        let text = evidence.to_string();
        let number = leaf_hash(text.as_bytes()).to_string();
        let file = self.file("forks", &format!("{origin} {number}"));
        replace(&file, text.as_bytes())?;
        Ok(file)
    }

    /// Origins may hold any characters, so the file is named by a hash.
    fn file(&self, kind: &str, name: &str) -> PathBuf {
        self.directory.join(kind).join(leaf_hash(name.as_bytes()).to_string())
    }
}

/// Writes a file that is there whole or as it was before.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
