//! Objects in a directory that any static file server can serve as it is.

use core::ops::Range;
use std::{
    collections::{BTreeSet, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    CHECKPOINT, Existing, MAX_NOTE_BYTES, MAX_OBJECT_BYTES, NewObject, ObjectError, Objects, check_path,
    cut_range,
};
use crate::disk::{Disk, sync_ancestors};

/// How many files are written and synced at a time: enough for the filesystem to commit several in one go.
const WRITERS: usize = 4;

/// [`Objects`] on a filesystem: `root` holds `checkpoint` and `tile/`, and nothing else.
///
/// An object is written to `tmp`, synced, and renamed to its path unless something stands there; then each directory
/// that was touched is synced once. So a path never shows less than the whole object, and what `create` has acknowledged
/// has both its content and its name on the disk. After a failed sync every later call that writes fails.
pub struct FsObjects {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    tmp: PathBuf,
    /// Directories whose names, up to `root`, this process has made durable.
    durable_dirs: Mutex<HashSet<PathBuf>>,
    next_tmp: AtomicU64,
    checkpoint: Mutex<()>,
    in_doubt: AtomicBool,
}

impl FsObjects {
    /// Opens or creates the store, and clears what an interrupted one left in `tmp`, which must lie on the same
    /// filesystem as `root` and hold nothing else. The caller holds the lock ([`crate::lock::LockFile`]).
    ///
    /// # Errors
    ///
    /// [`ObjectError::Full`], [`ObjectError::Durability`] or [`ObjectError::Io`], naming the directory.
    pub fn open(disk: Arc<dyn Disk>, root: &Path, tmp: &Path) -> Result<FsObjects, ObjectError> {
        let store = FsObjects {
            disk,
            root: root.to_owned(),
            tmp: tmp.to_owned(),
            durable_dirs: Mutex::default(),
            next_tmp: AtomicU64::new(0),
            checkpoint: Mutex::new(()),
            in_doubt: AtomicBool::new(false),
        };
        for dir in [root, tmp] {
            let made = store.disk.create_dir_all(dir).and_then(|()| sync_ancestors(store.disk.as_ref(), dir));
            made.map_err(|source| failed(&dir.to_string_lossy(), source))?;
        }
        let io = |source| ObjectError::Io { path: tmp.to_string_lossy().into_owned(), source };
        // Only what is named as ours: a mistaken setting must not empty somebody else's directory.
        let is_ours = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
        for leftover in store.disk.list(tmp).map_err(io)?.into_iter().filter(is_ours) {
            store.disk.remove(&tmp.join(leftover)).map_err(io)?;
        }
        Ok(store)
    }

    /// Writes one object to its path, unless equal bytes may be left as they are. Its name is not durable yet.
    fn place(&self, object: &NewObject, existing: Existing) -> Result<(), ObjectError> {
        let path = self.root.join(&object.path);
        let present = self.matches(object)?;
        if present && existing == Existing::Trust {
            return Ok(());
        }
        let temporary = self.write_temporary(&object.path, &object.bytes)?;
        let renamed = if present {
            self.disk.rename(&temporary, &path)
        } else {
            self.disk.rename_new(&temporary, &path)
        };
        let Err(source) = renamed else { return Ok(()) };
        self.discard(&temporary);
        // Somebody else was faster: fine if with the same bytes. `create` syncs the directory either way.
        if source.kind() == io::ErrorKind::AlreadyExists && self.matches(object)? {
            return Ok(());
        }
        Err(failed(&object.path, source))
    }

    /// Whether the object's bytes stand at its path already.
    fn matches(&self, object: &NewObject) -> Result<bool, ObjectError> {
        match self.read(&object.path, None, MAX_OBJECT_BYTES)? {
            None => Ok(false),
            Some(bytes) if bytes == object.bytes => Ok(true),
            Some(_) => Err(ObjectError::Conflict { path: object.path.clone() }),
        }
    }

    /// A new file with `bytes`, its content durable.
    fn write_temporary(&self, path: &str, bytes: &[u8]) -> Result<PathBuf, ObjectError> {
        let temporary = self.tmp.join(self.next_tmp.fetch_add(1, Ordering::Relaxed).to_string());
        let written = self.disk.create_new(&temporary).and_then(|file| {
            file.write_all_at(bytes, 0)?;
            Ok(file)
        });
        let synced = match written {
            Ok(file) => file.sync().map_err(|source| self.sync_failed(path, source)),
            Err(source) => Err(failed(path, source)),
        };
        // Nobody has believed this file yet, so that dropping it leaves nothing in doubt.
        synced.inspect_err(|_| self.discard(&temporary))?;
        Ok(temporary)
    }

    /// A failed sync is final, except that a filesystem may find out only then that it is full.
    fn sync_failed(&self, path: &str, source: io::Error) -> ObjectError {
        if is_full(&source) {
            return failed(path, source);
        }
        self.in_doubt.store(true, Ordering::Release);
        ObjectError::Durability { path: path.to_owned(), source }
    }

    /// Best effort: what stays is cleared by the next `open`.
    fn discard(&self, temporary: &Path) {
        if let Err(error) = self.disk.remove(temporary) {
            tracing::debug!(path = %temporary.display(), %error, "a temporary file stays until the next start");
        }
    }

    /// Creates the directories of `dirs` that are missing, and makes their names durable up to the root: also of those
    /// that exist, for the process that made them may have died before it could.
    fn ensure_dirs(&self, dirs: &BTreeSet<PathBuf>) -> Result<(), ObjectError> {
        let unknown: Vec<&PathBuf> = {
            let durable = self.durable_dirs.lock();
            dirs.iter().filter(|dir| !durable.contains(*dir)).collect()
        };
        for dir in unknown {
            // It syncs too, so that anything but a full disk leaves a name in doubt.
            self.disk
                .create_dir_all(dir)
                .map_err(|source| self.sync_failed(&dir.to_string_lossy(), source))?;
            for parent in dir.ancestors().skip(1).take_while(|parent| parent.starts_with(&self.root)) {
                self.sync_dir(parent)?;
            }
            let inner = dir.ancestors().take_while(|inner| inner.starts_with(&self.root)).map(Path::to_owned);
            self.durable_dirs.lock().extend(inner);
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), ObjectError> {
        self.disk.sync_dir(dir).map_err(|source| {
            // Unlike a temporary file, names that are visible may have been believed: even a full disk is in doubt.
            self.in_doubt.store(true, Ordering::Release);
            ObjectError::Durability { path: dir.to_string_lossy().into_owned(), source }
        })
    }

    fn refuse_in_doubt(&self, path: &str) -> Result<(), ObjectError> {
        if !self.in_doubt.load(Ordering::Acquire) {
            return Ok(());
        }
        let source =
            io::Error::other("an earlier sync failed, so that nothing here can be made durable; restart");
        Err(ObjectError::Durability { path: path.to_owned(), source })
    }

    fn read(&self, path: &str, range: Option<Range<u64>>, max: u64) -> Result<Option<Bytes>, ObjectError> {
        match self.read_file(&self.root.join(path), range, max) {
            Ok(bytes) => Ok(Some(Bytes::from(bytes))),
            Err(error) if is_nothing(&error) => Ok(None),
            Err(source) => Err(ObjectError::Io { path: path.to_owned(), source }),
        }
    }

    fn read_file(&self, path: &Path, range: Option<Range<u64>>, max: u64) -> io::Result<Vec<u8>> {
        let file = self.disk.open(path, false)?;
        let range = cut_range(range, file.len()?);
        let len = range.end - range.start;
        if len > max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    }
}

impl Objects for FsObjects {
    fn create(&self, objects: &[NewObject], existing: Existing) -> Result<(), ObjectError> {
        let Some(first) = objects.first() else { return Ok(()) };
        self.refuse_in_doubt(&first.path)?;
        objects.iter().try_for_each(|object| check_path(&object.path))?;
        let parent = |object: &NewObject| self.root.join(&object.path).parent().map(Path::to_owned);
        let dirs: BTreeSet<PathBuf> = objects.iter().filter_map(parent).collect();
        self.ensure_dirs(&dirs)?;
        in_parallel(objects, |object| self.place(object, existing))?;
        // Also for objects that were there: the call that wrote them may have failed before this point.
        let dirs: Vec<PathBuf> = dirs.into_iter().collect();
        in_parallel(&dirs, |dir| self.sync_dir(dir))
    }

    fn get(&self, path: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>, ObjectError> {
        check_path(path)?;
        self.read(path, range, MAX_OBJECT_BYTES)
    }

    fn remove(&self, paths: &[String]) -> Result<(), ObjectError> {
        paths.iter().try_for_each(|path| check_path(path))?;
        let mut partial_dirs = BTreeSet::new();
        for path in paths {
            match self.disk.remove(&self.root.join(path)) {
                Err(error) if !is_nothing(&error) => {
                    return Err(ObjectError::Io { path: path.clone(), source: error });
                }
                _ => {}
            }
            partial_dirs.extend(path.rsplit_once('/').map(|(dir, _)| dir).filter(|dir| dir.ends_with(".p")));
        }
        for dir in partial_dirs {
            // Succeeds with the last partial object; nothing is created there again once the full one is public.
            let dir = self.root.join(dir);
            if self.disk.remove_dir(&dir).is_ok() {
                self.durable_dirs.lock().remove(&dir);
            }
        }
        Ok(())
    }

    fn checkpoint(&self) -> Result<Option<Bytes>, ObjectError> {
        self.read(CHECKPOINT, None, MAX_NOTE_BYTES)
    }

    fn swap_checkpoint(&self, expected: Option<&[u8]>, note: &[u8]) -> Result<(), ObjectError> {
        let _one_at_a_time = self.checkpoint.lock();
        self.refuse_in_doubt(CHECKPOINT)?;
        if self.checkpoint()?.as_deref() != expected {
            return Err(ObjectError::CheckpointMoved);
        }
        let temporary = self.write_temporary(CHECKPOINT, note)?;
        let path = self.root.join(CHECKPOINT);
        let renamed = match expected {
            Some(_) => self.disk.rename(&temporary, &path),
            None => self.disk.rename_new(&temporary, &path),
        };
        if let Err(source) = renamed {
            self.discard(&temporary);
            let moved = source.kind() == io::ErrorKind::AlreadyExists;
            return Err(if moved { ObjectError::CheckpointMoved } else { failed(CHECKPOINT, source) });
        }
        self.sync_dir(&self.root)
    }
}

/// Calls `work` on every item, on up to [`WRITERS`] threads, and stops at the first error.
fn in_parallel<T: Sync>(
    items: &[T],
    work: impl Fn(&T) -> Result<(), ObjectError> + Sync,
) -> Result<(), ObjectError> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let run = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(item) {
                next.store(items.len(), Ordering::Relaxed);
                failure.lock().get_or_insert(error);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..items.len().min(WRITERS) {
            scope.spawn(run);
        }
        run();
    });
    failure.into_inner().map_or(Ok(()), Err)
}

/// The error of an operation after which nothing is in doubt.
fn failed(path: &str, source: io::Error) -> ObjectError {
    let path = path.to_owned();
    if is_full(&source) { ObjectError::Full { path, source } } else { ObjectError::Io { path, source } }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// There is no object at the path: nothing, a directory, or a file where a directory would have to be.
fn is_nothing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    )
}
