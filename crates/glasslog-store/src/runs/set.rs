//! A directory of runs: what is in it, what a crash leaves of it, and who may change it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use glasslog_core::TreeSize;
use parking_lot::Mutex;

use super::{
    Cancel, MergeRate, RunError, Shape,
    file::{Run, RunWriter},
    manifest::{self, Manifest},
    merge,
};
use crate::disk::Disk;

/// Sorted runs in a directory of their own. Shared by reference: readers take a [`View`], one thread spills, one merges.
pub struct RunSet {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    shape: Shape,
    view: ArcSwap<View>,
    /// Held while the set changes.
    changing: Mutex<Changing>,
    /// Held by the one merge at a time.
    merging: Mutex<()>,
}

#[derive(Default)]
struct Changing {
    /// After a sync that failed, only what was there before it is believed, and nothing is changed.
    in_doubt: bool,
}

/// The runs of one moment.
#[derive(Default)]
pub struct View {
    covered: TreeSize,
    /// Oldest first.
    runs: Vec<Arc<Run>>,
}

impl View {
    /// Every row that is due to entries below this is in these runs.
    #[must_use]
    pub fn covered(&self) -> TreeSize {
        self.covered
    }

    /// Whether a row with `key` may be here; `false` is certain. No IO, no locks.
    #[must_use]
    pub fn may_contain(&self, key: &[u8]) -> bool {
        self.runs.iter().rev().any(|run| run.may_contain(key))
    }

    /// The last row, in row order, with `key` in the newest run that holds any. Reads one page of each run
    /// that may hold the key, newest first, until one does.
    ///
    /// # Errors
    ///
    /// [`RunError::Corrupt`], [`RunError::Io`].
    pub fn newest_of_key(&self, key: &[u8]) -> Result<Option<Vec<u8>>, RunError> {
        for run in self.runs.iter().rev().filter(|run| run.may_contain(key)) {
            if let Some(row) = run.last_of_key(key)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// How many runs there are.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// How many rows the runs hold; one key may have rows in several.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.runs.iter().map(|run| run.meta.rows).sum()
    }

    fn manifest(&self) -> Manifest {
        Manifest { covered: self.covered, runs: self.runs.iter().map(|run| run.meta).collect() }
    }
}

impl RunSet {
    /// Opens the runs in `dir`, which is theirs alone, and removes what a crash left there.
    ///
    /// What is missing, damaged, of another shape or of a newer format is opened empty, with the reason unless there simply
    /// was nothing.
    ///
    /// # Errors
    ///
    /// [`RunError::Io`], [`RunError::Full`], [`RunError::Durability`]: the directory cannot be used now. Nothing is lost.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, shape: Shape) -> Result<(RunSet, Option<String>), RunError> {
        disk.create_dir_all(dir).map_err(|source| RunError::unused(dir, source))?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // A process that died may have made the directory and not its name.
            disk.sync_dir(parent).map_err(|source| RunError::durability(parent, source))?;
        }
        let (view, emptied_because) = match load(&*disk, dir, shape) {
            Ok(view) => (view, None),
            Err(error @ RunError::Corrupt { .. }) => (View::default(), Some(error.to_string())),
            Err(error) => return Err(error),
        };
        // Written again even if it was read: after a failed sync it may be in the page cache alone (research/storage.md §4).
        manifest::store(&*disk, dir, shape, &view.manifest())?;
        let set = RunSet {
            disk,
            dir: dir.to_owned(),
            shape,
            view: ArcSwap::from_pointee(view),
            changing: Mutex::default(),
            merging: Mutex::default(),
        };
        set.remove_leftovers()?;
        Ok((set, emptied_because))
    }

    /// The runs as of now.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Calls `ask` with the runs as of now: [`RunSet::view`] without touching its reference count.
    pub fn with_view<T>(&self, ask: impl FnOnce(&View) -> T) -> T {
        ask(&self.view.load())
    }

    /// Adds `rows`, which are in ascending order and at most `at_most`, and from then on covers `up_to`. Durable on return.
    ///
    /// Does nothing if `up_to` is covered already.
    ///
    /// # Errors
    ///
    /// [`RunError::Full`] and [`RunError::Io`] with nothing changed, [`RunError::Durability`], [`RunError::Row`] when there
    /// are more than 1,024 runs because nothing merges them.
    pub fn spill<R: AsRef<[u8]>>(
        &self,
        rows: impl IntoIterator<Item = R>,
        at_most: u64,
        up_to: TreeSize,
    ) -> Result<(), RunError> {
        let mut changing = self.changing.lock();
        let view = self.view();
        if up_to <= view.covered {
            return Ok(());
        }
        if view.runs.len() >= manifest::MAX_RUNS {
            return Err(RunError::Row(format!("{} sorted runs wait to be merged", view.runs.len())));
        }
        let mut rows = rows.into_iter().peekable();
        let mut runs = view.runs.clone();
        if rows.peek().is_some() {
            let write = |writer: &mut RunWriter| {
                rows.try_for_each(|row| writer.push(row.as_ref()).map(drop)).map(|()| true)
            };
            runs.extend(self.write_run(at_most, write)?);
        }
        self.change(&mut changing, View { covered: up_to, runs })
    }

    /// Merges the runs that are due, if any are: `true` if there may be more to do. Takes as long as `rate` says; readers and
    /// spills are not held up. A second call at the same time does nothing.
    ///
    /// # Errors
    ///
    /// [`RunError::Corrupt`], [`RunError::Full`] and [`RunError::Io`] with nothing changed, [`RunError::Durability`].
    pub fn merge_step(&self, rate: MergeRate, cancel: &Cancel) -> Result<bool, RunError> {
        let Some(_merging) = self.merging.try_lock() else { return Ok(false) };
        let view = self.view();
        let sizes: Vec<u64> = view.runs.iter().map(|run| run.meta.rows).collect();
        let Some(range) = merge::due(&sizes) else { return Ok(false) };
        let Some(old) = view.runs.get(range) else { return Ok(false) };
        let at_most = old.iter().map(|run| run.meta.rows).sum();
        let Some(merged) = self.write_run(at_most, |writer| merge::merge(old, writer, rate, cancel))? else {
            return Ok(false);
        };
        self.replace(old, merged)
    }

    /// Forgets everything, durably: nothing is covered any more.
    ///
    /// # Errors
    ///
    /// [`RunError::Full`] and [`RunError::Io`] with nothing changed, [`RunError::Durability`].
    pub fn reset(&self) -> Result<(), RunError> {
        let mut changing = self.changing.lock();
        let old = self.view();
        self.change(&mut changing, View::default())?;
        self.remove(&old.runs);
        Ok(())
    }

    /// Puts `merged` in the place of the `old` runs, unless they are no longer there.
    fn replace(&self, old: &[Arc<Run>], merged: Arc<Run>) -> Result<bool, RunError> {
        let mut changing = self.changing.lock();
        let view = self.view();
        let same = |one: &Arc<Run>, other: &Arc<Run>| one.meta.id == other.meta.id;
        let here = view
            .runs
            .windows(old.len())
            .position(|runs| runs.iter().zip(old).all(|(one, other)| same(one, other)));
        let Some(start) = here else {
            self.remove(&[merged]);
            return Ok(false);
        };
        let mut runs = view.runs.clone();
        runs.splice(start..start + old.len(), [merged]);
        self.change(&mut changing, View { covered: view.covered, runs })?;
        self.remove(old);
        Ok(true)
    }

    /// Writes a run, durable together with its name; nothing names it yet. `None`, and no file, if `write` says `false`.
    fn write_run(
        &self,
        at_most: u64,
        write: impl FnOnce(&mut RunWriter) -> Result<bool, RunError>,
    ) -> Result<Option<Arc<Run>>, RunError> {
        let mut writer = RunWriter::new(&*self.disk, &self.dir, self.shape, at_most)?;
        let path = writer.path().to_owned();
        let written = match write(&mut writer) {
            Ok(true) => writer.finish().and_then(|run| self.sync_dir().map(|()| Some(Arc::new(run)))),
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        if !matches!(written, Ok(Some(_))) {
            // What cannot be removed now is removed at the next start.
            self.disk.remove(&path).ok();
        }
        written
    }

    /// Makes `new` the durable set and then the one that readers see. Runs that are only in `new` are removed if it fails.
    fn change(&self, changing: &mut Changing, new: View) -> Result<(), RunError> {
        let in_doubt = || io::Error::other("an earlier sync failed");
        let stored = if changing.in_doubt {
            Err(RunError::durability(&self.dir, in_doubt()))
        } else {
            manifest::store(&*self.disk, &self.dir, self.shape, &new.manifest())
        };
        match stored {
            Ok(()) => {
                self.view.store(Arc::new(new));
                Ok(())
            }
            Err(error @ RunError::Durability { .. }) => {
                // Either manifest may be the durable one: the files of both must stay.
                changing.in_doubt = true;
                Err(error)
            }
            Err(error) => {
                let old = self.view();
                let unused = |run: &&Arc<Run>| !old.runs.iter().any(|known| known.meta.id == run.meta.id);
                self.remove(new.runs.iter().filter(unused));
                Err(error)
            }
        }
    }

    /// Removes files that no manifest names. What cannot be removed now is removed at the next start.
    fn remove<'a>(&self, runs: impl IntoIterator<Item = &'a Arc<Run>>) {
        for run in runs {
            self.disk.remove(&self.dir.join(run.meta.id.file_name())).ok();
        }
    }

    fn remove_leftovers(&self) -> Result<(), RunError> {
        let view = self.view();
        let named = |name: &String| view.runs.iter().any(|run| run.meta.id.file_name() == *name);
        let names = self.disk.list(&self.dir).map_err(|source| RunError::io(&self.dir, source))?;
        for name in names.iter().filter(|name| name.ends_with(".run") && !named(name)) {
            let path = self.dir.join(name);
            self.disk.remove(&path).map_err(|source| RunError::io(&path, source))?;
        }
        Ok(())
    }

    fn sync_dir(&self) -> Result<(), RunError> {
        self.disk.sync_dir(&self.dir).map_err(|source| RunError::durability(&self.dir, source))
    }
}

/// The runs that the manifest of `dir` names.
fn load(disk: &dyn Disk, dir: &Path, shape: Shape) -> Result<View, RunError> {
    let Some(manifest) = manifest::load(disk, dir, shape)? else { return Ok(View::default()) };
    let open = |meta| Run::open(disk, dir, shape, meta).map(Arc::new);
    Ok(View {
        covered: manifest.covered,
        runs: manifest.runs.into_iter().map(open).collect::<Result<_, _>>()?,
    })
}
