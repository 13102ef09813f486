//! One suite for every implementation of `Objects`, judged by its contract in prose.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use glasslog_store::{
    Objects,
    disk::{Disk, RealDisk, sim::Fault, sim::SimDisk},
    objects::{Existing, FsObjects, MemoryObjects, NewObject, ObjectError},
};

fn object(path: &str, content: &str) -> NewObject {
    NewObject { path: path.to_owned(), bytes: Bytes::copy_from_slice(content.as_bytes()) }
}

fn on(disk: &SimDisk) -> FsObjects {
    FsObjects::open(Arc::new(disk.clone()), Path::new("/log/public"), Path::new("/log/tmp")).unwrap()
}

fn for_each_store(test: impl Fn(&dyn Objects)) {
    println!("memory");
    test(&MemoryObjects::new());
    println!("simulated disk");
    test(&on(&SimDisk::new(1)));
    println!("real disk");
    let dir = tempfile::tempdir().unwrap();
    let (public, tmp) = (dir.path().join("public"), dir.path().join("tmp"));
    test(&FsObjects::open(Arc::new(RealDisk::public()), &public, &tmp).unwrap());
    assert_eq!(std::fs::read_dir(tmp).unwrap().count(), 0, "no temporary file is left");
}

#[test]
fn what_is_created_can_be_read_whole_and_in_part() {
    for_each_store(|store| {
        assert_eq!(store.get("tile/0/000", None).unwrap(), None);
        let objects: Vec<NewObject> =
            (0..40).map(|n| object(&format!("tile/{}/{n:03}", n % 3), &format!("content {n}"))).collect();
        store.create(&objects, Existing::Trust).unwrap();
        for object in &objects {
            assert_eq!(store.get(&object.path, None).unwrap().unwrap(), object.bytes);
        }
        let part = |range| store.get("tile/0/000", Some(range)).unwrap().unwrap();
        assert_eq!(part(0..7), "content");
        assert_eq!(part(8..100), "0");
        assert_eq!(part(100..200), "");
        assert_eq!(store.get("tile/0", None).unwrap(), None, "a directory is not an object");
        assert_eq!(store.get("tile/0/000/1", None).unwrap(), None);
        store.create(&[], Existing::Trust).unwrap();
    });
}

#[test]
fn equal_content_succeeds_and_other_content_conflicts() {
    for_each_store(|store| {
        store.create(&[object("tile/0/000", "first")], Existing::Trust).unwrap();
        store.create(&[object("tile/0/000", "first")], Existing::Trust).unwrap();
        store.create(&[object("tile/0/000", "first")], Existing::Rewrite).unwrap();
        for existing in [Existing::Trust, Existing::Rewrite] {
            let error = store.create(&[object("tile/0/000", "other")], existing).unwrap_err();
            assert!(matches!(error, ObjectError::Conflict { ref path } if path == "tile/0/000"), "{error}");
        }
        let twice = [object("tile/0/001", "a"), object("tile/0/001", "b")];
        assert!(matches!(store.create(&twice, Existing::Trust), Err(ObjectError::Conflict { .. })));
        assert_eq!(store.get("tile/0/000", None).unwrap().unwrap(), "first");
    });
}

#[test]
fn only_paths_of_immutable_objects_are_taken() {
    for_each_store(|store| {
        let bad = [
            "",
            "/",
            "checkpoint",
            "../lock",
            "tile/../../lock",
            "tile//0",
            "/tile/0",
            "tile/0/",
            ".",
            "a/./b",
            "tile/.0",
            "Tile/0",
            "tile/0\\1",
            "tile/0\0",
            "täle",
        ];
        for path in bad {
            let refused =
                matches!(store.create(&[object(path, "x")], Existing::Trust), Err(ObjectError::Io { .. }));
            assert!(
                refused && store.get(path, None).is_err() && store.remove(&[path.to_owned()]).is_err(),
                "{path}"
            );
        }
        let long = "a".repeat(201);
        assert!(store.create(&[object(&long, "x")], Existing::Trust).is_err());
    });
}

#[test]
fn removed_objects_are_gone_and_their_places_can_be_used_again() {
    for_each_store(|store| {
        let partial = ["tile/0/000.p/1".to_owned(), "tile/0/000.p/2".to_owned(), "tile/0/001.p/3".to_owned()];
        let objects: Vec<NewObject> = partial.iter().map(|path| object(path, "x")).collect();
        store.create(&objects, Existing::Trust).unwrap();
        store.remove(&partial[..2]).unwrap();
        store.remove(&partial[..2]).unwrap();
        assert_eq!(store.get(&partial[0], None).unwrap(), None);
        assert_eq!(store.get(&partial[2], None).unwrap().unwrap(), "x");
        store.create(&objects[..1], Existing::Trust).unwrap();
        assert_eq!(store.get(&partial[0], None).unwrap().unwrap(), "x");
    });
}

#[test]
fn the_checkpoint_is_compared_and_swapped() {
    for_each_store(|store| {
        assert_eq!(store.checkpoint().unwrap(), None);
        let moved = |expected: Option<&[u8]>| {
            matches!(store.swap_checkpoint(expected, b"bad"), Err(ObjectError::CheckpointMoved))
        };
        assert!(moved(Some(b"zero")));
        store.swap_checkpoint(None, b"one").unwrap();
        assert!(moved(None) && moved(Some(b"zero")));
        store.swap_checkpoint(Some(b"one"), b"two").unwrap();
        assert!(moved(Some(b"one")));
        assert_eq!(store.checkpoint().unwrap().unwrap(), "two");
    });
}

#[test]
fn leftovers_are_cleared_at_open() {
    let disk = SimDisk::new(1);
    drop(on(&disk));
    disk.create_new(Path::new("/log/tmp/17")).unwrap();
    drop(on(&disk));
    assert!(disk.files().is_empty());
}

#[test]
fn an_empty_partial_directory_goes_with_its_last_object() {
    let disk = SimDisk::new(1);
    let store = on(&disk);
    store.create(&[object("tile/0/000.p/1", "x")], Existing::Trust).unwrap();
    store.remove(&["tile/0/000.p/1".to_owned()]).unwrap();
    assert!(disk.list(Path::new("/log/public/tile/0")).unwrap().is_empty());
}

#[test]
fn a_full_disk_is_told_apart_and_passes() {
    let disk = SimDisk::new(1);
    let store = on(&disk);
    disk.set_full(true);
    let objects = [object("tile/0/000", "a"), object("tile/1/000", "b")];
    assert!(matches!(store.create(&objects, Existing::Trust), Err(ObjectError::Full { .. })));
    assert!(matches!(store.swap_checkpoint(None, b"note"), Err(ObjectError::Full { .. })));
    disk.set_full(false);
    store.create(&objects, Existing::Trust).unwrap();
    store.swap_checkpoint(None, b"note").unwrap();
    let image = disk.images(1).next().unwrap();
    assert_eq!(on(&image).get("tile/1/000", None).unwrap().unwrap(), "b");
}

#[test]
fn after_a_failed_sync_nothing_more_is_written() {
    // A failure of a file's sync, then of a directory's: whichever it is, the store stops.
    for later in 1..30 {
        let disk = SimDisk::new(1);
        let store = on(&disk);
        disk.fail_at(disk.operations() + later, Fault::SyncError);
        let first = store.create(&[object("tile/0/000", "a")], Existing::Trust);
        if first.is_ok() {
            break;
        }
        assert!(matches!(first, Err(ObjectError::Durability { .. })), "{first:?}");
        let second = store.create(&[object("tile/0/001", "a")], Existing::Trust);
        let swap = store.swap_checkpoint(None, b"note");
        let stopped = matches!(second, Err(ObjectError::Durability { .. }))
            && matches!(swap, Err(ObjectError::Durability { .. }));
        assert!(stopped, "{second:?} {swap:?}");
    }
}
