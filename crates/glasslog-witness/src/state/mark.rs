//! How far a state was, in a small file beside it, so that a restored backup is noticed.
//!
//! The state counts its changes. The mark is written after some of them, never ahead of what is durable: a state that is
//! behind its mark was replaced by an older one. What cannot be noticed: state and mark restored together, and changes
//! younger than the last mark.

use std::{
    io,
    path::{Path, PathBuf},
};

use glasslog_store::disk::Disk;

const HEADER: &str = "glasslog-witness-mark v1";

/// No mark is longer.
const MAX_BYTES: u64 = 128;

/// Which state it is, and how many changes it had seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Made when the state was.
    pub(super) instance: [u8; 16],
    /// The number of the last change.
    pub(super) changes: u64,
}

impl Mark {
    /// The mark at `path`, `None` if there is none.
    ///
    /// # Errors
    ///
    /// `InvalidData` when the file is something else, or the error of the operating system.
    pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Mark>> {
        match disk.read(path, MAX_BYTES) {
            Ok(bytes) => Mark::parse(&bytes).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the mark at `path`; durable on return.
    ///
    /// # Errors
    ///
    /// The error of the operating system; the old mark, or the new one, is there then.
    pub(super) fn write(self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        let (temporary, dir) = (with_suffix(path, ".tmp"), parent(path));
        match disk.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create_new(&temporary)?;
        file.write_all_at(self.to_text().as_bytes(), 0)?;
        file.sync()?;
        disk.rename(&temporary, path)?;
        disk.sync_dir(dir)
    }

    fn to_text(self) -> String {
        format!("{HEADER} {} {}\n", const_hex::encode(self.instance), self.changes)
    }

    fn parse(bytes: &[u8]) -> Option<Mark> {
        let line =
            std::str::from_utf8(bytes).ok()?.strip_prefix(HEADER)?.strip_prefix(' ')?.strip_suffix('\n')?;
        let (instance, changes) = line.split_once(' ')?;
        let instance = const_hex::decode(instance).ok()?.try_into().ok()?;
        Some(Mark { instance, changes: changes.parse().ok()? })
    }
}

/// `path` with `suffix` after its last character.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The directory of a file.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasslog_store::disk::RealDisk;

    #[test]
    fn a_mark_is_read_back_and_nothing_else_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mark");
        assert_eq!(Mark::read(&RealDisk::private(), &path).unwrap(), None);
        for changes in [0, 7, u64::MAX] {
            let mark = Mark { instance: [9; 16], changes };
            mark.write(&RealDisk::private(), &path).unwrap();
            assert_eq!(Mark::read(&RealDisk::private(), &path).unwrap(), Some(mark));
        }
        for (what, text) in [
            ("empty", ""),
            ("cut", "glasslog-witness-mark v1 09090909090909090909090909090909 7"),
            ("another version", "glasslog-witness-mark v2 09090909090909090909090909090909 7\n"),
            ("a short instance", "glasslog-witness-mark v1 0909 7\n"),
            ("no number", "glasslog-witness-mark v1 09090909090909090909090909090909 x\n"),
        ] {
            assert_eq!(Mark::parse(text.as_bytes()), None, "{what}");
        }
    }
}
