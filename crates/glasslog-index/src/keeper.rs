//! The files of an index, and the one who writes them in the background.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use glasslog_core::Hash;
use glasslog_store::{
    disk::Disk,
    runs::{Cancel, MergeRate, RunError},
};
use parking_lot::{Condvar, Mutex};

use crate::{
    Binding, IndexError,
    buckets::BucketHasher,
    manifest::{self, MAX_RUNS, Manifest, State},
    merge::{Joiner, Merged},
    row::Row,
    run::{Hashes, Kind, Run, RunMeta, RunWriter},
    slice::Slice,
    tree::{NONE, Tree},
};

/// How long a slow merge sleeps at most before it looks whether something else is due.
const NAP: Duration = Duration::from_millis(50);

/// What an index and its keeper share.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) binding: Binding,
    /// Held while files are changed; never taken while holding `desk`.
    pub(crate) files: Mutex<Files>,
    pub(crate) desk: Mutex<Desk>,
    changed: Condvar,
    /// How many runs the manifest names, and how many bytes they have: for whoever does not want to wait for `files`.
    totals: Mutex<(usize, u64)>,
    /// The index wants `files`: a merge under way is given up.
    wanted: AtomicBool,
}

/// What the directory holds.
pub(crate) struct Files {
    pub(crate) manifest: Manifest,
    /// After a sync that failed, only what was there before it is believed, and nothing is changed.
    in_doubt: bool,
}

/// What the index asks for, and what has become of it.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) spill: Option<Arc<Spill>>,
    pub(crate) merge: Option<Arc<Merge>>,
    pub(crate) spilled: Option<Spilled>,
    pub(crate) merged: Option<Done>,
    /// Something was asked for since the keeper last looked.
    is_new: bool,
}

/// Slices to be written out: with them the index is durable as of `state`.
pub(crate) struct Spill {
    pub(crate) state: State,
    pub(crate) slices: Vec<Arc<Slice>>,
    pub(crate) bits: u8,
    /// The hashes of the buckets that they touched.
    pub(crate) hashes: Vec<(u32, Hash)>,
}

/// A spill that is durable.
#[derive(Clone, Copy)]
pub(crate) struct Spilled {
    pub(crate) state: State,
    /// Its file; none if it had no rows.
    pub(crate) run: Option<RunMeta>,
}

/// Layers to be made one.
pub(crate) struct Merge {
    /// Older runs that stay.
    pub(crate) below: Vec<Arc<Run>>,
    /// Runs to be merged, in front of the slices.
    pub(crate) runs: Vec<Arc<Run>>,
    pub(crate) slices: Vec<Arc<Slice>>,
    /// The spills that hold the slices, oldest first.
    pub(crate) spills: Vec<RunMeta>,
    /// How wide the buckets are to be.
    pub(crate) bits: u8,
    pub(crate) into: Into,
}

/// What a merge makes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    /// A run that is read from disk.
    Run,
    /// One spill instead of many; the slices stay in memory.
    Spill,
}

/// What a merge has made.
pub(crate) enum Done {
    /// Instead of the merged runs and slices; with the tree over it, if all buckets were hashed.
    Run(Arc<Run>, Option<Tree>),
    /// Instead of the spills.
    Spill(RunMeta),
}

/// Why a run was not written to its end.
pub(crate) enum Stop {
    /// It was not to be.
    Cancelled,
    Failed(RunError),
}

impl From<RunError> for Stop {
    fn from(error: RunError) -> Stop {
        Stop::Failed(error)
    }
}

impl Shared {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, binding: &Binding, manifest: Manifest) -> Shared {
        let totals = totals_of(&manifest);
        Shared {
            disk,
            dir: dir.to_owned(),
            binding: binding.clone(),
            files: Mutex::new(Files { manifest, in_doubt: false }),
            desk: Mutex::default(),
            changed: Condvar::new(),
            totals: Mutex::new(totals),
            wanted: AtomicBool::new(false),
        }
    }

    /// How many runs there are, and how many bytes they have.
    pub(crate) fn totals(&self) -> (usize, u64) {
        *self.totals.lock()
    }

    /// Hands work to the keeper.
    pub(crate) fn hand_over(&self, work: impl FnOnce(&mut Desk)) {
        let mut desk = self.desk.lock();
        work(&mut desk);
        desk.is_new = true;
        drop(desk);
        self.changed.notify_all();
    }

    /// Does something with the files while the keeper does not; a merge under way is given up.
    pub(crate) fn with_files<T>(&self, act: impl FnOnce(&mut Files) -> T) -> T {
        self.wanted.store(true, Ordering::Release);
        let mut files = self.files.lock();
        self.wanted.store(false, Ordering::Release);
        act(&mut files)
    }

    /// Makes the state of a spill durable.
    pub(crate) fn spill(&self, files: &mut Files, spill: &Spill) -> Result<Spilled, RunError> {
        let mut manifest = Manifest { state: spill.state, runs: files.manifest.runs.clone() };
        if manifest.runs.len() >= MAX_RUNS {
            return Err(RunError::Row(format!("{MAX_RUNS} runs of the index wait to be merged")));
        }
        let mut spilled = Spilled { state: spill.state, run: None };
        if !spill.slices.is_empty() {
            let run = self.write_run(|writer| {
                write_rows(writer, &self.dir, &[], &spill.slices, None, &mut |_| Ok(()))?;
                Ok((spill.bits, Hashes::Some(spill.hashes.clone())))
            });
            spilled.run = Some(never_cancelled(run)?.meta);
        }
        manifest.runs.extend(spilled.run);
        self.change(files, manifest)?;
        Ok(spilled)
    }

    fn merge(
        &self,
        files: &mut Files,
        merge: &Merge,
        rate: MergeRate,
        cancel: &Cancel,
    ) -> Result<Option<Done>, RunError> {
        let begun = Instant::now();
        let newest = files.manifest.runs.iter().rfind(|run| !run.is_spill).copied();
        let known = self.known_hashes(newest, merge)?;
        let mut tree = None;
        let written = self.write_run(|writer| {
            let mut hasher = known.is_none().then(|| BucketHasher::new(merge.bits));
            write_rows(writer, &self.dir, &merge.runs, &merge.slices, hasher.as_mut(), &mut |written| {
                self.pause(files, begun + rate.time_for(written), cancel)
            })?;
            let hashed = hasher.map(|hasher| hasher.finish(merge.bits).ok_or_else(|| damaged(&self.dir)));
            if let Some((bits, hashes)) = hashed.transpose()? {
                tree = Some(Tree::of_buckets(bits, &hashes));
                return Ok((bits, Hashes::All(hashes)));
            }
            Ok((merge.bits, known.unwrap_or(Hashes::Some(Vec::new()))))
        });
        let run = match written {
            Ok(run) => run,
            Err(Stop::Cancelled) => return Ok(None),
            Err(Stop::Failed(error)) => return Err(error),
        };
        let below = merge.below.iter().map(|run| run.meta);
        let merged = |run: &RunMeta| merge.spills.iter().any(|spill| spill.id == run.id);
        let newer = files.manifest.runs.iter().filter(|run| run.is_spill && !merged(run)).copied();
        let runs = below.chain([run.meta]).chain(newer).collect();
        self.change(files, Manifest { state: files.manifest.state, runs })?;
        Ok(Some(if merge.into == Into::Run { Done::Run(Arc::new(run), tree) } else { Done::Spill(run.meta) }))
    }

    /// The bucket hashes after a merge, if no bucket of it has to be hashed again for them: those of the newest run, with those
    /// of the spills. `None` if they are of different widths.
    fn known_hashes(&self, newest: Option<RunMeta>, merge: &Merge) -> Result<Option<Hashes>, RunError> {
        if newest.iter().chain(&merge.spills).any(|run| run.bits != merge.bits) {
            return Ok(None);
        }
        let mut all = vec![NONE; 1 << merge.bits];
        if let Some(newest) = newest
            && let (_, Hashes::All(hashes)) = Run::open(&*self.disk, &self.dir, newest)?
        {
            all = hashes;
        }
        let mut touched = Vec::new();
        for spill in &merge.spills {
            let (_, hashes) = Run::open(&*self.disk, &self.dir, *spill)?;
            let Hashes::Some(hashes) = hashes else { continue };
            for (bucket, hash) in hashes {
                if let Some(known) = usize::try_from(bucket).ok().and_then(|bucket| all.get_mut(bucket)) {
                    *known = hash;
                    touched.push(bucket);
                }
            }
        }
        if merge.into == Into::Run {
            return Ok(Some(Hashes::All(all)));
        }
        touched.sort_unstable();
        touched.dedup();
        let hash = |bucket: u32| usize::try_from(bucket).ok().and_then(|bucket| all.get(bucket)).copied();
        Ok(Some(Hashes::Some(
            touched.into_iter().filter_map(|bucket| Some((bucket, hash(bucket)?))).collect(),
        )))
    }

    /// Waits as the rate of a merge asks for, and meanwhile spills what is to be durable.
    fn pause(&self, files: &mut Files, until: Instant, cancel: &Cancel) -> Result<(), Stop> {
        loop {
            self.spill_if_due(files)?;
            let nap = until.min(Instant::now() + NAP);
            if cancel.wait_until(nap) || self.wanted.load(Ordering::Acquire) {
                return Err(Stop::Cancelled);
            }
            if nap >= until {
                return Ok(());
            }
        }
    }

    fn spill_if_due(&self, files: &mut Files) -> Result<bool, RunError> {
        let Some(spill) = self.desk.lock().spill.clone() else { return Ok(false) };
        if files.manifest.runs.len() >= MAX_RUNS {
            // It waits for the merge that makes them fewer.
            return Ok(false);
        }
        let spilled = self.spill(files, &spill)?;
        let mut desk = self.desk.lock();
        desk.spill = None;
        desk.spilled = Some(spilled);
        Ok(true)
    }

    /// Writes a run, durable together with its name; nothing names it yet. No file stays if `write` fails.
    pub(crate) fn write_run(
        &self,
        write: impl FnOnce(&mut RunWriter) -> Result<(u8, Hashes), Stop>,
    ) -> Result<Run, Stop> {
        let mut writer = RunWriter::create(&*self.disk, &self.dir, true)?;
        let path = writer.path().to_owned();
        let written = write(&mut writer).and_then(|(bits, hashes)| {
            let run = writer.finish(bits, &hashes)?;
            self.disk
                .sync_dir(&self.dir)
                .map_err(|source| RunError::Durability { path: self.dir.clone(), source })?;
            Ok(run)
        });
        if written.is_err() {
            // What cannot be removed now is removed at the next start.
            self.disk.remove(&path).ok();
        }
        written
    }

    /// Makes `new` the durable manifest and removes the files that it does not name any more, or, if that fails, those that
    /// only it names.
    pub(crate) fn change(&self, files: &mut Files, new: Manifest) -> Result<(), RunError> {
        let stored = if files.in_doubt {
            let source = io::Error::other("an earlier sync failed");
            Err(RunError::Durability { path: self.dir.clone(), source })
        } else {
            manifest::store(&*self.disk, &self.dir, &self.binding, &new)
        };
        let (unused, used, changed) = match stored {
            Ok(()) => {
                *self.totals.lock() = totals_of(&new);
                let old = std::mem::replace(&mut files.manifest, new);
                (old.runs, &files.manifest.runs, Ok(()))
            }
            Err(error @ RunError::Durability { .. }) => {
                // Either manifest may be the durable one: the files of both must stay.
                files.in_doubt = true;
                return Err(error);
            }
            Err(error) => (new.runs, &files.manifest.runs, Err(error)),
        };
        for run in unused.iter().filter(|run| !used.iter().any(|other| other.id == run.id)) {
            // What cannot be removed now is removed at the next start.
            self.disk.remove(&self.dir.join(run.id.file_name())).ok();
        }
        changed
    }
}

/// Writes the rows of layers as those of one, and counts heads into `hasher`. `pause` is told how much is written whenever
/// that has just been synced.
fn write_rows(
    writer: &mut RunWriter,
    dir: &Path,
    runs: &[Arc<Run>],
    slices: &[Arc<Slice>],
    mut hasher: Option<&mut BucketHasher>,
    pause: &mut dyn FnMut(u64) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut heads = Merged::of_layers(runs, slices, Kind::Heads)?;
    while let Some(row) = heads.row() {
        if let Some(hasher) = &mut hasher {
            hasher.push(row).ok_or_else(|| damaged(dir))?;
        }
        if writer.push(Kind::Heads, row)? {
            pause(writer.written())?;
        }
        heads.advance()?;
    }
    let mut postings = Merged::of_layers(runs, slices, Kind::Postings)?;
    let mut joiner = Joiner::new(dir);
    let mut put = |row: Row<'_>| -> Result<(), Stop> {
        if writer.push(Kind::Postings, row)? { pause(writer.written()) } else { Ok(()) }
    };
    while let Some(row) = postings.row() {
        joiner.push(row, &mut put)?;
        postings.advance()?;
    }
    joiner.finish(&mut put)
}

fn totals_of(manifest: &Manifest) -> (usize, u64) {
    (manifest.runs.len(), manifest.runs.iter().map(RunMeta::bytes).sum())
}

pub(crate) fn damaged(dir: &Path) -> RunError {
    RunError::Corrupt {
        path: dir.to_owned(),
        why: "the layers of the index hold a list that cannot be".into(),
    }
}

fn never_cancelled(run: Result<Run, Stop>) -> Result<Run, RunError> {
    run.map_err(|stop| match stop {
        Stop::Failed(error) => error,
        Stop::Cancelled => RunError::Row("a spill was given up".into()),
    })
}

/// Writes out and merges in the background what an [`crate::Index`] has handed over: for a thread of its own.
///
/// [`RunError::Durability`] means that it cannot be learned what the disk holds: the keeper and the index refuse every later change
/// of their files; the process has to be stopped, and started again. [`RunError::Full`] changes nothing, and the work stays to be
/// done.
pub struct Keeper {
    pub(crate) shared: Arc<Shared>,
}

impl Keeper {
    /// Does the work that is due, if any is: `true` if there may be more. Readers and the index are not held up.
    ///
    /// # Errors
    ///
    /// [`IndexError::Runs`].
    pub fn step(&self, rate: MergeRate, cancel: &Cancel) -> Result<bool, IndexError> {
        let Some(mut files) = self.shared.files.try_lock() else { return Ok(false) };
        self.shared.desk.lock().is_new = false;
        if self.shared.spill_if_due(&mut files)? {
            return Ok(true);
        }
        let Some(merge) = self.shared.desk.lock().merge.clone() else { return Ok(false) };
        let Some(done) = self.shared.merge(&mut files, &merge, rate, cancel)? else { return Ok(false) };
        let mut desk = self.shared.desk.lock();
        desk.merge = None;
        desk.merged = Some(done);
        Ok(true)
    }

    /// Waits until work is handed over that no step has seen yet, or until `timeout` has passed: then what could not be done
    /// may be tried again.
    pub fn wait(&self, timeout: Duration) {
        let mut desk = self.shared.desk.lock();
        if !desk.is_new {
            self.shared.changed.wait_for(&mut desk, timeout);
        }
    }
}
