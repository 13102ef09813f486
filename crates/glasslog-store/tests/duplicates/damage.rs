//! No damage to any file makes the table answer wrongly: it opens empty and says why, or a lookup fails.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use glasslog_core::{LeafIndex, TreeSize, personality::Identity};
use glasslog_store::{
    disk::{Disk, sim::SimDisk},
    duplicates::{Cancel, MergeRate, RunError, Table},
};

use crate::{DIR, identity, open};

/// Every file of a table: the runs, and then the manifest.
type Files = Vec<(PathBuf, Vec<u8>)>;

/// A table of four runs of two pages each with overlapping identities, and what it holds.
fn table() -> (Files, HashMap<Identity, LeafIndex>) {
    let disk = SimDisk::new(1);
    let table = open(&disk).unwrap();
    let mut model = HashMap::new();
    for run in 0..4 {
        let row = |index| (identity(index % 700), LeafIndex(index));
        let rows: Vec<_> = (run * 300..run * 300 + 300).map(row).collect();
        model.extend(rows.iter().copied());
        table.spill(rows, TreeSize(run * 300 + 300)).unwrap();
    }
    let mut files = disk.files();
    files.sort_by_key(|(path, _)| (path.ends_with("manifest"), path.clone()));
    assert_eq!(files.len(), 5);
    (files, model)
}

fn disk_with(files: &Files) -> SimDisk {
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new(DIR)).unwrap();
    for (path, content) in files {
        let file = disk.create_new(path).unwrap();
        file.write_all_at(content, 0).unwrap();
        file.sync().unwrap();
    }
    disk
}

/// Opens what is left of a table and asks it; says whether the damage was noticed.
fn never_wrong(files: &Files, model: &HashMap<Identity, LeafIndex>, asked: usize) -> bool {
    let disk = disk_with(files);
    let table = open(&disk).unwrap();
    if table.covered() == TreeSize::ZERO {
        assert!(table.emptied_because().is_some());
        assert!(model.keys().take(asked).all(|identity| table.latest(identity).unwrap().is_none()));
        assert_eq!(disk.files().len(), 1, "only the new manifest is left");
        return true;
    }
    assert_eq!(table.covered(), TreeSize(1200));
    let ask =
        || model.iter().take(asked).filter(|(identity, index)| fails(&table, identity, **index)).count();
    let before = ask();
    let merged = table.merge_step(MergeRate::Unlimited, &Cancel::default());
    assert!(matches!(merged, Ok(true) | Err(RunError::Corrupt { .. })), "{merged:?}");
    before + ask() > 0 || merged.is_err()
}

/// Whether the lookup fails; if it does not, it gives the right answer.
fn fails(table: &Table, identity: &Identity, index: LeafIndex) -> bool {
    match table.latest(identity) {
        Ok(found) => {
            assert_eq!(found, Some(index));
            false
        }
        Err(RunError::Corrupt { .. }) => true,
        Err(error) => panic!("{error:?}"),
    }
}

/// Every byte of the manifest and of what follows the pages; every 23rd of the pages. A merge reads
/// everything, so nothing goes unnoticed.
#[test]
fn a_changed_byte_is_never_believed() {
    let (mut files, model) = table();
    assert!(!never_wrong(&files, &model, usize::MAX), "the table is sound before it is spoiled");
    // Two of the four runs are enough.
    for which in 2..files.len() {
        let pages = if files[which].0.ends_with("manifest") { 0 } else { 2 * 4096 };
        for at in (0..pages).step_by(23).chain(pages..files[which].1.len()) {
            files[which].1[at] ^= 1 << (at % 8);
            assert!(never_wrong(&files, &model, 3), "byte {at} of {}", files[which].0.display());
            files[which].1[at] ^= 1 << (at % 8);
        }
    }
}

/// A file that is shorter or longer than it was, or missing.
#[test]
fn another_length_is_never_believed() {
    let (files, model) = table();
    for which in 0..files.len() {
        let len = files[which].1.len();
        for wrong in (0..len).step_by(len / 20).chain([len - 1, len + 1, len + 4096]) {
            let mut spoiled = files.clone();
            spoiled[which].1.resize(wrong, 0);
            assert!(
                never_wrong(&spoiled, &model, 3),
                "{wrong} of {len} bytes of {}",
                files[which].0.display()
            );
        }
    }
    for which in 0..4 {
        let mut spoiled = files.clone();
        spoiled.remove(which);
        assert!(never_wrong(&spoiled, &model, 3));
    }
    // Without its manifest a table is like none at all.
    let table = open(&disk_with(&files[..4].to_vec())).unwrap();
    assert_eq!((table.covered(), table.emptied_because()), (TreeSize::ZERO, None));
    assert!(model.keys().all(|identity| table.latest(identity).unwrap().is_none()));
}

/// Sound pages in the wrong place: of another run, or swapped within one.
#[test]
fn a_misplaced_page_is_never_believed() {
    let (files, model) = table();
    let mut spoiled = files.clone();
    let other = spoiled[0].1[..4096].to_vec();
    spoiled[1].1[..4096].copy_from_slice(&other);
    assert!(never_wrong(&spoiled, &model, usize::MAX));

    let mut spoiled = files;
    spoiled[0].1[..8192].rotate_left(4096);
    assert!(never_wrong(&spoiled, &model, usize::MAX));
}

/// A manifest as a later version would write it: a larger format number under a checksum that holds.
#[test]
fn a_newer_format_is_opened_empty() {
    let (mut files, model) = table();
    let manifest = &mut files[4].1;
    manifest[11] += 1;
    let body = manifest.len() - 4;
    let crc = crc32c::crc32c(&manifest[..body]).to_be_bytes();
    manifest[body..].copy_from_slice(&crc);
    let table = open(&disk_with(&files)).unwrap();
    assert!(table.emptied_because().unwrap().contains("format 2"), "{:?}", table.emptied_because());
    assert!(never_wrong(&files, &model, 10));
}

/// What a crash may leave behind is removed; what is not ours stays.
#[test]
fn leftovers_are_removed() {
    let (files, _) = table();
    let disk = disk_with(&files);
    for name in ["0123456789abcdef.run", "manifest.tmp", "notes.txt"] {
        disk.create_new(&Path::new(DIR).join(name)).unwrap();
    }
    assert_eq!(open(&disk).unwrap().covered(), TreeSize(1200));
    let mut expected = files;
    expected.push((Path::new(DIR).join("notes.txt"), Vec::new()));
    expected.sort();
    let mut left = disk.files();
    left.sort();
    assert_eq!(left, expected);
}

/// A cancelled merge changes nothing and leaves nothing.
#[test]
fn a_cancelled_merge_leaves_no_trace() {
    let disk = SimDisk::new(1);
    let table = open(&disk).unwrap();
    let identity = |index: u64| Identity((u128::from(index) << 64).to_be_bytes());
    // Large enough for a merge to reach its first sync, which is where it looks.
    for run in 0..4_u64 {
        let rows = (run * 60_000..(run + 1) * 60_000).map(|index| (identity(index), LeafIndex(index)));
        table.spill(rows.collect(), TreeSize((run + 1) * 60_000)).unwrap();
    }
    let before = disk.files().len();
    let cancel = Cancel::default();
    cancel.cancel();
    assert!(!table.merge_step(MergeRate::BytesPerSecond(1), &cancel).unwrap());
    assert_eq!(disk.files().len(), before);
    assert_eq!(table.view().size(), (240_000, 4));
    assert!(table.merge_step(MergeRate::Unlimited, &Cancel::default()).unwrap());
    assert_eq!(table.latest(&identity(7)).unwrap(), Some(LeafIndex(7)));
}
