//! Sorted runs: fixed-width rows in immutable files, found by a filter and one page read.
//!
//! A table of random keys in a B-tree dirties one page per key. Here new rows are written together, in order, as a
//! new file (*spill*), and files of like size are merged four at a time in the background, so each row is written
//! about four times in its life, always sequentially (research/storage.md §3).
//!
//! - [`Shape`] says how wide a row is, how many of its leading bytes are its key, and what a merge keeps.
//! - [`RunSet`] is a directory of runs and the manifest that names them: spill, merge, look up, reset.
//! - [`View`] is the runs of one moment: lookups in it never wait for a spill or a merge.
//! - [`PageFile`] and [`PageWriter`] are what a run is made of, for tables whose rows are not of one width.
//!
//! **Durable**: when `spill` or a merge returns success, a power loss does not take it back.
//! **Atomic**: a crash at any point leaves the old or the new set of runs; what neither needs is removed at the
//! next start. **Checked**: every page, filter and manifest carries a CRC-32C, and a page's is bound to its run and
//! its place. What cannot be believed is dropped as a whole, never answered from: whatever uses runs can
//! be rebuilt from the log (invariant 9).

mod fields;
mod file;
mod filter;
mod manifest;
mod merge;
mod pages;
mod set;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use fields::{Fields, TooShort};
pub use merge::{Cancel, MergeRate};
pub use pages::{PAGE_HEADER, PageFile, PageWriter, Rows, RunId, TailCrc, read_file, replace_file};
pub use set::{RunSet, View};

pub(crate) use filter::mix;

/// Bytes of a page: what one lookup reads.
pub const PAGE_BYTES: usize = 4096;

/// What the rows of a set of runs look like. A directory written with another shape is opened empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of a row, 1 to 1,024. Rows are ordered by their bytes.
    pub row_bytes: u16,
    /// How many leading bytes of a row are its key, 1 to `row_bytes`.
    pub key_bytes: u16,
    /// What becomes of several rows with one key.
    pub keep: Keep,
}

/// What becomes of several rows with one key when they meet in a spill or a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of them stay (equal rows are one).
    All,
    /// Only the last in row order stays, so each run holds a key once.
    LastOfKey,
}

impl Shape {
    fn row(self) -> usize {
        usize::from(self.row_bytes)
    }

    fn key(self) -> usize {
        usize::from(self.key_bytes)
    }

    /// The key of `row`.
    fn key_of(self, row: &[u8]) -> &[u8] {
        row.get(..self.key()).unwrap_or(row)
    }

    fn rows_per_page(self) -> usize {
        (PAGE_BYTES - PAGE_HEADER) / self.row()
    }
}

/// Why a set of runs could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What is stored is not what was written. Whoever derives the rows must [`RunSet::reset`] and rebuild.
    #[error("{} is damaged: {why}; it will be rebuilt from the log", .path.display())]
    Corrupt {
        /// The file concerned.
        path: PathBuf,
        /// What is wrong with it, and where.
        why: String,
    },
    /// There is no room. Nothing changed; a later call may succeed.
    #[error("no room to write {}", .path.display())]
    Full {
        /// What was being written.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// It cannot be learned what the disk holds (a failed sync). Every later change is refused: reopen.
    #[error("cannot make {} durable", .path.display())]
    Durability {
        /// What was being written.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Reading failed, or writing did, with nothing changed.
    #[error("cannot access {}", .path.display())]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A row that this table cannot hold.
    #[error("{0}")]
    Row(String),
}

impl RunError {
    fn corrupt(path: &Path, why: impl Into<String>) -> RunError {
        RunError::Corrupt { path: path.to_owned(), why: why.into() }
    }

    fn durability(path: &Path, source: io::Error) -> RunError {
        RunError::Durability { path: path.to_owned(), source }
    }

    /// The error of a read; the files are as long as they should be, so a short one has lost something.
    fn io(path: &Path, source: io::Error) -> RunError {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => RunError::corrupt(path, "it ends too early"),
            _ => RunError::Io { path: path.to_owned(), source },
        }
    }

    /// The error of a write to a file that nothing refers to yet.
    fn unused(path: &Path, source: io::Error) -> RunError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                RunError::Full { path, source }
            }
            _ => RunError::Io { path, source },
        }
    }

    /// The error of a sync of a file that nothing refers to yet. A full disk may show only here; the file is dropped.
    fn unsynced(path: &Path, source: io::Error) -> RunError {
        match RunError::unused(path, source) {
            RunError::Io { path, source } => RunError::Durability { path, source },
            full => full,
        }
    }
}
