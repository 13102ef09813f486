//! A disk that can lose power: the test double that every durability claim is judged by.
//!
//! It keeps, beside what a process reads back, what is *durable* and what is not yet: of a file the writes since its
//! last successful sync, of a directory the name changes since its last successful sync. [`SimDisk::images`] gives disks
//! as they may be found after the power failed now: any subset of unsynced writes, torn at sector boundaries and in no
//! order; any length between the durable and the current one; any subset of unsynced name changes, each directory by
//! itself (a rename across directories may leave the file under both names, or under none). Real filesystems promise more; this is
//! what POSIX promises.
//!
//! **A failed sync** behaves as on Linux (research/storage.md §4): what was to be written is marked clean. It reads
//! back, it is not durable, and a later sync that succeeds does not make it so; only writing it again does.

mod world;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{Disk, DiskFile};
use world::{Kind, World};

/// What goes wrong; see [`SimDisk::fail_at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process dies before the operation: it and everything after it fails.
    Crash,
    /// A sync of a file or of a directory fails.
    SyncError,
    /// A write, an allocation or a new name finds the disk full; of a write the first half is done.
    Full,
    /// A write fails for another reason; its first half is done.
    WriteError,
}

/// A disk in memory. Clones share it. Paths are taken from one root, absolute or not.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<World>>);

impl SimDisk {
    /// An empty disk; `seed` decides what its images keep.
    #[must_use]
    pub fn new(seed: u64) -> SimDisk {
        SimDisk::of(World::new(seed))
    }

    /// `n` disks as they may be found if the power failed now: the first has nothing that was not synced, the second
    /// everything, the others what the seed says. The same call gives the same images.
    pub fn images(&self, n: usize) -> impl Iterator<Item = SimDisk> + use<> {
        let world = self.0.lock().clone();
        (0..n).map(move |which| SimDisk::of(world.image(which)))
    }

    /// The disk as another process finds it after this one was killed *without* loss of power: everything reads back,
    /// and is as durable as it was. Injected faults are over.
    #[must_use]
    pub fn killed(&self) -> SimDisk {
        let mut world = self.0.lock().clone();
        world.revive();
        SimDisk::of(world)
    }

    /// How many operations have changed or synced something so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// Whether an injected crash has happened.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.0.lock().crashed
    }

    /// The number of the operation that a fault struck last.
    #[must_use]
    pub fn struck_at(&self) -> Option<u64> {
        self.0.lock().struck_at
    }

    /// Lets `fault` strike the first operation that it can strike whose number (from 1) is at least `operation`.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.0.lock().faults.push((operation, fault));
    }

    /// From now on the disk is full, or has room again. Writes into what is allocated succeed all the same.
    pub fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }

    /// Flips one bit of a file, durably: rot.
    ///
    /// # Errors
    ///
    /// `NotFound`; `UnexpectedEof` if the file is not that long.
    pub fn rot(&self, path: &Path, offset: usize) -> io::Result<()> {
        self.0.lock().rot(path, offset)
    }

    /// Every file by its path, as a process reads it.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.0.lock().files()
    }

    fn of(world: World) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(world)))
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let made = self.0.lock().make_dirs(dir)?;
        for (position, name) in made.iter().enumerate() {
            let synced = self.sync_dir(name.parent().unwrap_or(Path::new("/")));
            if synced.is_err() {
                made[position..].iter().rev().for_each(|undo| drop(self.remove_dir(undo)));
            }
            synced?;
        }
        Ok(())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.0.lock();
        world.begin(Kind::Name)?;
        let inode = world.create(path)?;
        Ok(Box::new(SimFile { world: Arc::clone(&self.0), inode, writable: true }))
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Box<dyn DiskFile>> {
        let inode = self.0.lock().file(path)?;
        Ok(Box::new(SimFile { world: Arc::clone(&self.0), inode, writable }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.begin(Kind::Name)?;
        world.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.begin(Kind::Name)?;
        if world.exists(to)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.begin(Kind::Remove)?;
        world.remove(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.begin(Kind::Remove)?;
        world.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        let outcome = world.begin(Kind::Sync);
        world.sync_dir(dir, outcome)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.lock().list(dir)
    }
}

struct SimFile {
    world: Arc<Mutex<World>>,
    inode: usize,
    writable: bool,
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.world.lock().content(self.inode)?.len() as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let world = self.world.lock();
        let content = world.content(self.inode)?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(content.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut world = self.world.lock();
        let allocated = world.content(self.inode)?.len() as u64;
        let kind = if offset + buf.len() as u64 <= allocated { Kind::Overwrite } else { Kind::Write };
        let outcome = world.begin(kind);
        world.write(self.inode, buf, offset, outcome)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut world = self.world.lock();
        world.begin(Kind::Name)?;
        world.extend(self.inode, len)
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.world.lock();
        let outcome = world.begin(Kind::Sync);
        world.sync(self.inode, outcome)
    }
}
