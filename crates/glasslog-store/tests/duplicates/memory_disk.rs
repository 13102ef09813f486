//! A filesystem in memory without crashes, whose files a test may spoil.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use glasslog_store::disk::{Disk, DiskFile};

type Content = Arc<Mutex<Vec<u8>>>;

#[derive(Default)]
pub(crate) struct MemoryDisk {
    files: Mutex<HashMap<PathBuf, Content>>,
}

impl MemoryDisk {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<PathBuf, Content>) -> T) -> T {
        act(&mut self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A disk that holds the same files.
    pub(crate) fn copy(&self) -> MemoryDisk {
        let copy = |content: &Content| Arc::new(Mutex::new(content.lock().unwrap().clone()));
        let files = self.with(|files| files.iter().map(|(path, content)| (path.clone(), copy(content))).collect());
        MemoryDisk { files: Mutex::new(files) }
    }

    /// Every path and its length, in order.
    pub(crate) fn files(&self) -> Vec<(PathBuf, usize)> {
        let mut all: Vec<_> =
            self.with(|files| files.iter().map(|(path, content)| (path.clone(), content.lock().unwrap().len())).collect());
        all.sort();
        all
    }

    /// Changes the content of a file in place.
    pub(crate) fn spoil(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        self.with(|files| change(&mut files[path].lock().unwrap()));
    }
}

impl Disk for MemoryDisk {
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let content = Content::default();
        match self.with(|files| files.contains_key(path)) {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => {
                self.with(|files| files.insert(path.to_owned(), Arc::clone(&content)));
                Ok(Box::new(MemoryFile(content)))
            }
        }
    }

    fn open(&self, path: &Path, _: bool) -> io::Result<Box<dyn DiskFile>> {
        let content = self.with(|files| files.get(path).cloned()).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile(content)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let content = self.with(|files| files.remove(from)).ok_or(io::ErrorKind::NotFound)?;
        self.with(|files| files.insert(to.to_owned(), content));
        Ok(())
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.with(|files| files.contains_key(to)) {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => self.rename(from, to),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.with(|files| files.remove(path)).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let name = |path: &PathBuf| path.strip_prefix(dir).ok().map(|name| name.to_string_lossy().into_owned());
        Ok(self.with(|files| files.keys().filter_map(name).collect()))
    }
}

struct MemoryFile(Content);

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.0.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let read = content.get(start..start + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(read);
        Ok(())
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.0.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let len = content.len().max(start + buf.len());
        content.resize(len, 0);
        content[start..start + buf.len()].copy_from_slice(buf);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut content = self.0.lock().unwrap();
        let len = content.len().max(usize::try_from(len).unwrap());
        content.resize(len, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
