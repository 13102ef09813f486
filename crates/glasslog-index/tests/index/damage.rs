//! No damage to any file makes the index answer wrongly: it opens empty and says why, or what is asked fails.

use std::path::{Path, PathBuf};

use glasslog_core::{LeafIndex, TreeSize};
use glasslog_index::{Index, IndexError, Opened, Options};
use glasslog_store::disk::{Disk, sim::SimDisk};
use glasslog_vindex::{Key, prove};

use crate::{DIR, feed, key, naive::Naive, open, work};

const OPTIONS: Options =
    Options { snapshot_interval: 1, delta_max_bytes: 1 << 20, middle_from_keys: u64::MAX };

type Files = Vec<(PathBuf, Vec<u8>)>;

/// A run of some pages of both kinds, and two spills above it.
fn index() -> (Files, Naive) {
    let entry = |number: u64| {
        let mut keys: Vec<Key> = [number, number % 5 + 1000, 7777].map(key).to_vec();
        keys.sort_unstable();
        keys.dedup();
        keys
    };
    let log = Naive { entries: (0..360).map(entry).collect() };
    let disk = SimDisk::new(1);
    let Opened { mut index, keeper, .. } = open(&disk, OPTIONS).unwrap();
    let mut bulk = index.bulk().unwrap();
    for (at, keys) in (0..).zip(&log.entries[..300]) {
        bulk.push(LeafIndex(at), keys).unwrap();
    }
    bulk.finish(&glasslog_store::runs::Cancel::default(), &mut |_, _| ()).unwrap();
    for end in [330, 360] {
        feed(&mut index, &log, end).unwrap();
        index.revision().unwrap();
        index.keep(index.next()).unwrap();
        work(&keeper).unwrap();
    }
    let files = disk.files();
    assert_eq!(files.len(), 4);
    (files, log)
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

/// What an index says is what `state` says, or that something is damaged; `true` if it said so.
fn fails<T: PartialEq + std::fmt::Debug>(answer: Result<T, IndexError>, expected: &T) -> bool {
    match answer {
        Ok(answer) => {
            assert_eq!(answer, *expected);
            false
        }
        Err(error) => {
            assert!(error.is_corrupt(), "{error:?}");
            true
        }
    }
}

/// Opens what is left of an index, asks it for everything if `thorough`, and merges; says whether the damage was noticed.
fn never_wrong(files: &Files, log: &Naive, thorough: bool) -> bool {
    let disk = disk_with(files);
    let Opened { mut index, emptied_because, .. } = open(&disk, OPTIONS).unwrap();
    if index.next() == TreeSize::ZERO {
        assert!(emptied_because.is_some());
        assert_eq!((index.durable(), index.revision().unwrap().keys()), (None, 0));
        assert_eq!(disk.files().len(), 1, "only the new manifest is left");
        return true;
    }
    assert_eq!((index.next(), emptied_because), (TreeSize(360), None));
    let mut noticed = false;
    if thorough {
        noticed |= ask(&mut index, log);
    }
    noticed | rebuild(&mut index, log)
}

fn ask(index: &mut Index, log: &Naive) -> bool {
    let revision = index.revision().unwrap();
    let mut noticed = false;
    for key in (0..360).step_by(9).chain(1000..1005).chain([7777]).map(key) {
        let list: Vec<LeafIndex> = (0..360_usize)
            .filter(|at| log.entries[*at].contains(&key))
            .map(|at| LeafIndex(at as u64))
            .collect();
        noticed |= fails(revision.page(&key, 0, 1000), &list);
        match revision.prove(&key) {
            Ok(glasslog_vindex::Proof::Present(presence)) => assert_eq!(presence.root(&key), revision.root()),
            Ok(absent) => panic!("{absent:?}"),
            Err(error) => noticed |= fails::<()>(Err(error), &()),
        }
    }
    noticed
}

/// Reads everything, and gives the right root or none.
fn rebuild(index: &mut Index, log: &Naive) -> bool {
    let mut bulk = index.bulk().unwrap();
    bulk.push(LeafIndex(360), &[key(1)]).unwrap();
    let built = bulk.finish(&glasslog_store::runs::Cancel::default(), &mut |_, _| ());
    let mut log = log.clone();
    log.entries.push(vec![key(1)]);
    fails(built.map(|revision| revision.unwrap().root()), &log.root_at(TreeSize(361)))
}

/// Every byte of the manifest, of what follows the pages, and of page headers and some rows. A build reads everything, so
/// nothing goes unnoticed.
#[test]
fn a_changed_byte_is_never_believed() {
    let (mut files, log) = index();
    assert!(!never_wrong(&files, &log, true), "it is sound before it is spoiled");
    for which in 0..files.len() {
        let length = files[which].1.len();
        let is_manifest = files[which].0.ends_with("manifest");
        let pages = if is_manifest { 0 } else { length / 4096 * 4096 };
        // Of the base, nearly all of the tail is hashes of empty buckets.
        let tail = if length - pages % length > 10_000 { 61 } else { 1 };
        let places = (0..pages)
            .step_by(41)
            .chain((0..pages).filter(|at| at % 4096 < 8))
            .chain((pages..length).step_by(tail));
        for at in places {
            files[which].1[at] ^= 1 << (at % 8);
            let noticed = never_wrong(&files, &log, at % 5 == 0);
            assert!(noticed, "byte {at} of {}", files[which].0.display());
            files[which].1[at] ^= 1 << (at % 8);
        }
    }
}

/// A file that is shorter or longer than it was, missing, or another one.
#[test]
fn another_file_is_never_believed() {
    let (files, log) = index();
    for which in 0..files.len() {
        let length = files[which].1.len();
        for wrong in [0, 1, 8, length / 2, length - 1, length + 1, length + 4096] {
            let mut spoiled = files.clone();
            spoiled[which].1.resize(wrong, 0);
            assert!(never_wrong(&spoiled, &log, false), "{wrong} bytes of {}", files[which].0.display());
        }
        if !files[which].0.ends_with("manifest") {
            let mut spoiled = files.clone();
            spoiled.remove(which);
            assert!(never_wrong(&spoiled, &log, false));
        }
        for other in (0..files.len()).filter(|other| *other != which) {
            let mut spoiled = files.clone();
            spoiled[which].1 = files[other].1.clone();
            assert!(never_wrong(&spoiled, &log, false));
        }
    }
    // Without its manifest an index is like none at all.
    let without: Files = files.into_iter().filter(|(path, _)| !path.ends_with("manifest")).collect();
    let opened = open(&disk_with(&without), OPTIONS).unwrap();
    assert_eq!((opened.index.next(), opened.emptied_because), (TreeSize::ZERO, None));
}

/// Rows that a program with a fault, or somebody who can compute checksums, has written: the buckets do not have their hashes.
#[test]
fn rows_under_a_right_checksum_are_held_to_the_hashes() {
    let (files, log) = index();
    let state = log.at(TreeSize(360));
    let expected: Vec<_> =
        (0..360).step_by(5).map(key).map(|key| (key, prove(state.pairs(), &key))).collect();
    let mut noticed = 0;
    for (which, (path, content)) in
        files.iter().enumerate().filter(|(_, (path, _))| !path.ends_with("manifest"))
    {
        let id = u64::from_str_radix(path.file_stem().unwrap().to_str().unwrap(), 16).unwrap();
        // Bytes of rows in the first page: parts of keys, counts, elements.
        for at in (40..4000).step_by(13) {
            let mut spoiled = files.clone();
            let page = &mut spoiled[which].1[..4096];
            page[at] ^= 1;
            let place = crc32c::crc32c_append(crc32c::crc32c(&id.to_be_bytes()), &0_u64.to_be_bytes());
            let crc = crc32c::crc32c_append(place, &page[4..]);
            page[..4].copy_from_slice(&crc.to_be_bytes());
            assert_ne!(&spoiled[which].1, content);
            let Opened { mut index, emptied_because, .. } = open(&disk_with(&spoiled), OPTIONS).unwrap();
            if emptied_because.is_some() {
                noticed += 1;
                continue;
            }
            let revision = index.revision().unwrap();
            for (key, proof) in &expected {
                noticed += usize::from(fails(revision.prove(key), proof));
            }
        }
    }
    assert!(noticed > 100, "{noticed}");
}

/// A manifest as a later version would write it: a larger format number under a checksum that holds.
#[test]
fn a_newer_format_is_opened_empty() {
    let (mut files, _) = index();
    let manifest = files.iter_mut().find(|(path, _)| path.ends_with("manifest")).unwrap();
    manifest.1[11] += 1;
    let body = manifest.1.len() - 4;
    let crc = crc32c::crc32c(&manifest.1[..body]).to_be_bytes();
    manifest.1[body..].copy_from_slice(&crc);
    let why = open(&disk_with(&files), OPTIONS).unwrap().emptied_because.unwrap();
    assert!(why.contains("it is of format 2, this program knows format 1"), "{why}");
}

/// What a crash may leave behind is removed; what is not ours stays.
#[test]
fn leftovers_are_removed() {
    let (files, _) = index();
    let disk = disk_with(&files);
    for name in ["0123456789abcdef.run", "manifest.tmp", "notes.txt"] {
        disk.create_new(&Path::new(DIR).join(name)).unwrap();
    }
    assert_eq!(open(&disk, OPTIONS).unwrap().index.next(), TreeSize(360));
    let mut expected = files;
    expected.push((Path::new(DIR).join("notes.txt"), Vec::new()));
    expected.sort();
    let mut left = disk.files();
    left.sort();
    assert_eq!(left, expected);
}
