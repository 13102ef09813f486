//! The operating system's filesystem.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use rustix::fs::{CWD, FallocateFlags, RenameFlags, fallocate, renameat_with};

use super::{Disk, DiskFile};

/// The filesystem of the machine. A value makes its files either public or private.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealDisk {
    public: bool,
}

impl RealDisk {
    /// New files are readable by their owner alone (0600): log state, sorted runs.
    #[must_use]
    pub fn private() -> RealDisk {
        RealDisk { public: false }
    }

    /// New files are readable by everyone (0644, directories 0755) whatever the umask: a static file server under
    /// another user reads the objects.
    #[must_use]
    pub fn public() -> RealDisk {
        RealDisk { public: true }
    }

    /// Makes one directory; one that is there already is no error (another thread may have made it).
    fn create_dir(self, dir: &Path) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o777).create(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            Ok(()) if self.public => fs::set_permissions(dir, Permissions::from_mode(0o755)),
            other => other,
        }
    }
}

impl Disk for RealDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.is_dir();
        let mut missing: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
        missing.reverse();
        for made in missing {
            self.create_dir(made)?;
            self.sync_dir(parent_of(made)).inspect_err(|_| {
                // Best effort: a name that is there and not durable would be believed by the next process.
                let _stays = fs::remove_dir(made);
            })?;
        }
        Ok(())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mode = if self.public { 0o644 } else { 0o600 };
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)?;
        if self.public {
            // The umask may have taken bits away.
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).write(writable).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(io::Error::from) {
            Err(error) if lacks_no_replace(&error) => {
                // Network and older filesystems: a link never replaces either.
                fs::hard_link(from, to)?;
                fs::remove_file(from)
            }
            other => other,
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        // A name that is not UTF-8 is none of ours; it is listed all the same, so that callers see that it is there.
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, len).map_err(io::Error::from) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.write_zeros(len),
            other => other,
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

impl RealFile {
    /// What `allocate` comes to where the filesystem cannot reserve; never touches bytes that are there.
    fn write_zeros(&self, len: u64) -> io::Result<()> {
        let zeros = vec![0; 1 << 20];
        let mut offset = self.len()?;
        while offset < len {
            let piece = usize::try_from(len - offset).map_or(zeros.len(), |left| left.min(zeros.len()));
            self.0.write_all_at(&zeros[..piece], offset)?;
            offset += piece as u64;
        }
        Ok(())
    }
}

/// The directory that holds `path`; a bare name lies in the current one.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

fn lacks_no_replace(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_hold_whatever_the_umask() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        RealDisk::private().create_new(&dir.path().join("private")).unwrap();
        RealDisk::public().create_new(&dir.path().join("public")).unwrap();
        RealDisk::public().create_dir_all(&dir.path().join("a/b")).unwrap();
        assert_eq!((mode("private"), mode("public"), mode("a/b")), (0o600, 0o644, 0o755));
    }

    #[test]
    fn rename_new_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        let disk = RealDisk::private();
        disk.create_new(&from).unwrap().write_all_at(b"new", 0).unwrap();
        disk.create_new(&to).unwrap().write_all_at(b"old", 0).unwrap();
        assert_eq!(disk.rename_new(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(disk.read(&to, 100).unwrap(), b"old");
        disk.remove(&to).unwrap();
        disk.rename_new(&from, &to).unwrap();
        assert_eq!(disk.read(&to, 100).unwrap(), b"new");
    }

    #[test]
    fn allocated_space_reads_as_zeros_and_keeps_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk::private().create_new(&dir.path().join("file")).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        file.allocate(1 << 16).unwrap();
        let mut bytes = vec![1; 1 << 16];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!((&bytes[..3], file.len().unwrap()), (&b"abc"[..], 1 << 16));
        assert!(bytes[3..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_missing_directory_lists_as_empty_and_reads_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::private();
        assert!(disk.list(&dir.path().join("none")).unwrap().is_empty());
        disk.create_new(&dir.path().join("file")).unwrap().write_all_at(&[1; 10], 0).unwrap();
        assert_eq!(disk.list(dir.path()).unwrap(), ["file"]);
        let error = disk.read(&dir.path().join("file"), 9).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
