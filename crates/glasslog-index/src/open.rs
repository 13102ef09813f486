//! What is found at a start.

use std::{path::Path, sync::Arc};

use glasslog_store::{disk::Disk, runs::RunError};

use crate::{
    Binding,
    buckets::BucketHasher,
    keeper::damaged,
    layers::Layers,
    manifest::{self, Manifest},
    merge::{Cursor, Merged},
    place::MIN_BITS,
    run::{Hashes, Kind, Run},
    slice::{Rows, Slice},
    tree::Tree,
    update::rehash,
};

/// An index as it was found.
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    pub(crate) runs: Vec<Arc<Run>>,
    /// What the spills hold.
    pub(crate) slices: Vec<Arc<Slice>>,
    pub(crate) tree: Tree,
}

impl Loaded {
    fn empty() -> Loaded {
        Loaded {
            manifest: Manifest::default(),
            runs: Vec::new(),
            slices: Vec::new(),
            tree: Tree::new(MIN_BITS),
        }
    }
}

/// Opens what is in `dir`, or nothing together with the reason, and removes what a crash left.
pub(crate) fn open(
    disk: &dyn Disk,
    dir: &Path,
    binding: &Binding,
) -> Result<(Loaded, Option<String>), RunError> {
    disk.create_dir_all(dir).map_err(|source| RunError::Io { path: dir.to_owned(), source })?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        // A process that died may have made the directory and not its name.
        let durability = |source| RunError::Durability { path: parent.to_owned(), source };
        disk.sync_dir(parent).map_err(durability)?;
    }
    let (loaded, emptied_because) = match load(disk, dir, binding) {
        Ok(loaded) => (loaded, None),
        Err(error @ RunError::Corrupt { .. }) => (Loaded::empty(), Some(error.to_string())),
        Err(error) => return Err(error),
    };
    // Written again even if it was read: after a failed sync it may be in the page cache alone (research/storage.md §4).
    manifest::store(disk, dir, binding, &loaded.manifest)?;
    remove_leftovers(disk, dir, &loaded.manifest)?;
    Ok((loaded, emptied_because))
}

fn load(disk: &dyn Disk, dir: &Path, binding: &Binding) -> Result<Loaded, RunError> {
    let Some(manifest) = manifest::load(disk, dir, binding)? else { return Ok(Loaded::empty()) };
    let (mut runs, mut slices, mut of_other_width) = (Vec::new(), Vec::new(), Vec::new());
    let mut tree = Tree::new(manifest.runs.first().map_or(MIN_BITS, |run| run.bits));
    for meta in &manifest.runs {
        let (run, hashes) = Run::open(disk, dir, *meta)?;
        let run = Arc::new(run);
        match hashes {
            Hashes::All(hashes) => {
                tree = Tree::of_buckets(meta.bits, &hashes);
                runs.push(run);
            }
            Hashes::Some(hashes) => {
                let slice = slice_of(&run)?;
                if !hashes.is_sorted_by(|(one, _), (other, _)| one < other) {
                    return Err(run.file.corrupt("its bucket hashes are out of order"));
                }
                if meta.bits == tree.bits() {
                    tree.set(&hashes);
                } else {
                    // The buckets became more just before or after it was written.
                    of_other_width.push(Arc::clone(&slice));
                }
                slices.push(slice);
            }
        }
    }
    let layers = Layers { runs, slices };
    rehash(&layers, &mut tree, &of_other_width)?;
    let Layers { runs, slices } = layers;
    if tree.root() != manifest.state.root {
        let why = format!("its rows give the root {} instead of {}", tree.root(), manifest.state.root);
        return Err(RunError::Corrupt { path: dir.to_owned(), why });
    }
    Ok(Loaded { manifest, runs, slices, tree })
}

fn slice_of(run: &Arc<Run>) -> Result<Arc<Slice>, RunError> {
    let mut heads = Rows::default();
    let mut rows = Merged::new(vec![Cursor::of_run(run, Kind::Heads)?]);
    while let Some(row) = rows.row() {
        heads.push(row.key, |out| out.extend_from_slice(row.bytes));
        rows.advance()?;
    }
    let mut postings = Rows::default();
    let mut rows = Merged::new(vec![Cursor::of_run(run, Kind::Postings)?]);
    while let Some(row) = rows.row() {
        postings.push(row.place(), |out| out.extend_from_slice(row.bytes));
        rows.advance()?;
    }
    Ok(Slice::new(heads, postings))
}

/// The tree over all heads of these layers.
pub(crate) fn hash_all(layers: &Layers, bits: u8, dir: &Path) -> Result<Tree, RunError> {
    let mut hasher = BucketHasher::new(bits);
    let mut heads = Merged::of_layers(&layers.runs, &layers.slices, Kind::Heads)?;
    while let Some(row) = heads.row() {
        hasher.push(row).ok_or_else(|| damaged(dir))?;
        heads.advance()?;
    }
    let (bits, hashes) = hasher.finish(bits).ok_or_else(|| damaged(dir))?;
    Ok(Tree::of_buckets(bits, &hashes))
}

fn remove_leftovers(disk: &dyn Disk, dir: &Path, manifest: &Manifest) -> Result<(), RunError> {
    let io = |path: &Path, source| RunError::Io { path: path.to_owned(), source };
    let named = |name: &String| manifest.runs.iter().any(|run| run.id.file_name() == *name);
    let names = disk.list(dir).map_err(|source| io(dir, source))?;
    for name in names.iter().filter(|name| name.ends_with(".run") && !named(name)) {
        let path = dir.join(name);
        disk.remove(&path).map_err(|source| io(&path, source))?;
    }
    Ok(())
}
