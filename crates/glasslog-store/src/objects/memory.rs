//! Objects that live and die with the process: for tests.

use core::ops::Range;
use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{CHECKPOINT, Existing, NewObject, ObjectError, Objects, check_path, cut_range};

/// [`Objects`] in memory.
#[derive(Default)]
pub struct MemoryObjects {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryObjects {
    /// An empty store.
    #[must_use]
    pub fn new() -> MemoryObjects {
        MemoryObjects::default()
    }

    /// Everything stored, by path, the checkpoint under `checkpoint`.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, Bytes> {
        self.objects.lock().clone()
    }

    /// Puts `bytes` at `path` whatever stands there: how a test damages a store.
    pub fn overwrite(&self, path: &str, bytes: Option<Bytes>) {
        let mut objects = self.objects.lock();
        match bytes {
            Some(bytes) => objects.insert(path.to_owned(), bytes),
            None => objects.remove(path),
        };
    }
}

impl Objects for MemoryObjects {
    fn create(&self, new: &[NewObject], _existing: Existing) -> Result<(), ObjectError> {
        let mut objects = self.objects.lock();
        new.iter().try_for_each(|object| check_path(&object.path))?;
        for object in new {
            let stored = objects.entry(object.path.clone()).or_insert_with(|| object.bytes.clone());
            if *stored != object.bytes {
                return Err(ObjectError::Conflict { path: object.path.clone() });
            }
        }
        Ok(())
    }

    fn get(&self, path: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>, ObjectError> {
        check_path(path)?;
        let Some(bytes) = self.objects.lock().get(path).cloned() else { return Ok(None) };
        let range = cut_range(range, bytes.len() as u64);
        let at = |offset: u64| usize::try_from(offset).unwrap_or(bytes.len());
        Ok(Some(bytes.slice(at(range.start)..at(range.end))))
    }

    fn remove(&self, paths: &[String]) -> Result<(), ObjectError> {
        paths.iter().try_for_each(|path| check_path(path))?;
        let mut objects = self.objects.lock();
        for path in paths {
            objects.remove(path);
        }
        Ok(())
    }

    fn checkpoint(&self) -> Result<Option<Bytes>, ObjectError> {
        Ok(self.objects.lock().get(CHECKPOINT).cloned())
    }

    fn swap_checkpoint(&self, expected: Option<&[u8]>, note: &[u8]) -> Result<(), ObjectError> {
        let mut objects = self.objects.lock();
        if objects.get(CHECKPOINT).map(AsRef::as_ref) != expected {
            return Err(ObjectError::CheckpointMoved);
        }
        objects.insert(CHECKPOINT.to_owned(), Bytes::copy_from_slice(note));
        Ok(())
    }
}
