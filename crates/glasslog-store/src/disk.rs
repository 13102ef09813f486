//! The few filesystem operations that durability is argued from, behind one trait.
//!
//! Everything durable (objects, log state, sorted runs) goes through [`Disk`], so that one test double can record
//! every write, rename and sync and replay every image that a power loss allows. The rule that the callers keep:
//! a file's *content* is durable after `sync` on it, its *name* after `sync_dir` on its directory.

mod real;
#[cfg(any(test, feature = "sim"))]
pub mod sim;

pub use real::RealDisk;

use std::{io, path::Path};

/// A filesystem, as far as durability needs one. All paths are absolute or relative to the process; all calls block.
pub trait Disk: Send + Sync + 'static {
    /// Creates `dir` and its missing parents, and makes the names that it creates durable, or takes them back. About a
    /// directory that is there already it says nothing: another process may have made it and died before its name was
    /// durable ([`sync_ancestors`]).
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Creates a file that must not exist yet, open for reading and writing.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, or the error of the operating system.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that exists, for reading only or for reading and writing.
    ///
    /// # Errors
    ///
    /// `NotFound`, or the error of the operating system.
    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file, replacing what stands at `to`. Durable after `sync_dir`.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames a file unless something stands at `to`. Durable after `sync_dir`.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, or the error of the operating system.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable after `sync_dir`.
    ///
    /// # Errors
    ///
    /// `NotFound`, or the error of the operating system.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory that is empty. Durable after `sync_dir` on its parent.
    ///
    /// # Errors
    ///
    /// `NotFound`, `DirectoryNotEmpty`, or the error of the operating system. `Unsupported` where directories come and
    /// go by themselves: an empty one does no harm.
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let _ = dir;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes the names in `dir` durable.
    ///
    /// # Errors
    ///
    /// The error of the operating system: durability is in doubt from then on.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names in `dir`, in no order; empty if there is no such directory.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// The whole content of a file, at most `max_bytes` of it.
    ///
    /// # Errors
    ///
    /// `NotFound`, `FileTooLarge`, or the error of the operating system.
    fn read(&self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, false)?;
        let len = file.len()?;
        if len > max_bytes {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// An open file. Reads and writes are positional, so that it can be shared.
pub trait DiskFile: Send + Sync {
    /// Length in bytes.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no bytes.
    ///
    /// # Errors
    ///
    /// The error of the operating system.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof`, or the error of the operating system.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buf` at `offset`. Durable after `sync`.
    ///
    /// # Errors
    ///
    /// The error of the operating system, for example `StorageFull`; some of `buf` may have been written.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Reserves `len` bytes of disk, reading as zeros, so that later writes below it cannot find the disk full.
    ///
    /// # Errors
    ///
    /// `StorageFull`, or the error of the operating system.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes the content durable, and the length as far as reading the content needs it (`fdatasync`).
    ///
    /// # Errors
    ///
    /// The error of the operating system. After it, nothing in the file may be believed durable, and a second call
    /// that succeeds proves nothing (the kernel marks the pages clean).
    fn sync(&self) -> io::Result<()>;
}

/// Makes the names of `dir` and of all directories above it durable, whoever made them. For the start of a process.
///
/// # Errors
///
/// The error of the operating system.
pub fn sync_ancestors(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    for parent in dir.ancestors().skip(1) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match disk.sync_dir(parent) {
            // A directory that we may not even read was not made by us.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}
