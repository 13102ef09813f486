//! One writer at a time, whatever the operator starts twice (invariant 8).

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// A file that this process alone holds locked, until it is dropped or the process ends, however it ends.
///
/// A log takes one in its directory, and a second one beside its objects when `FS_ROOT` moves them elsewhere. The lock
/// is `flock(2)`: it holds between processes of one machine; a network filesystem must support it.
#[derive(Debug)]
pub struct LockFile {
    _file: File,
}

/// Why the lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{} is held by another process{}; stop it first, or choose another directory", path.display(), describe(.holder.as_deref()))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The process id that the holder wrote into it.
        holder: Option<String>,
    },
    /// The file cannot be created, locked or written.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl LockFile {
    /// Takes the lock at `path` or fails at once; its directory exists.
    ///
    /// # Errors
    ///
    /// [`LockError::Held`], naming the holder's process id, or [`LockError::Io`].
    pub fn acquire(path: &Path) -> Result<LockFile, LockError> {
        let io = |source| LockError::Io { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { path: path.to_owned(), holder: read_pid(&file) });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        // Only for the message above: the lock does not depend on it, and a full disk must not refuse the start.
        let _best_effort = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()));
        Ok(LockFile { _file: file })
    }
}

fn read_pid(file: &File) -> Option<String> {
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok()?;
    let pid = text.trim();
    (!pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit())).then(|| pid.to_owned())
}

fn describe(holder: Option<&str>) -> String {
    holder.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = LockFile::acquire(&path).unwrap();
        let message = LockFile::acquire(&path).unwrap_err().to_string();
        assert!(message.contains(&format!("(pid {})", std::process::id())), "{message}");
        drop(held);
        LockFile::acquire(&path).unwrap();
    }
}
