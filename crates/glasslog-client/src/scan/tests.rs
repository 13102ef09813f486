//! Judge: logs written by the recursive definition of RFC 6962.

use glasslog_core::hash::ScalarHasher;

use super::*;
use crate::testlog::{THREE_LEVELS, TestLog};

type Entries = Vec<(u64, Vec<u8>)>;

/// What a scan hands out, or the object at which it ended and why.
fn scan(log: &TestLog) -> Result<Entries, (String, ScanError)> {
    let mut scan = EntryScan::new(log.size, log.root, &ScalarHasher);
    let mut entries = Vec::new();
    for object in scan_order(log.size) {
        let path = object.to_string();
        let bundle = scan.accept(&object, &log.files[&path]).map_err(|error| (path, error))?;
        let newest_first = bundle.map(|bundle| bundle.newest_first()).unwrap_or_default();
        entries.extend(newest_first.into_iter().map(|(index, entry)| (index.0, entry.to_vec())));
    }
    Ok(entries)
}

#[test]
fn every_entry_comes_once_newest_first() {
    let small = [0, 1, 255, 256, 257, 512].map(TestLog::of_size);
    for log in small.iter().chain([&*THREE_LEVELS]) {
        let expected =
            (0..log.size.0).rev().map(|index| (index, format!("entry {index}").into_bytes())).collect();
        assert_eq!(scan(log), Ok(expected), "size {}", log.size);
    }
}

/// Level-0 tiles of full bundles are not needed: the tile above holds the hash of all of it.
#[test]
fn a_scan_costs_one_object_per_bundle() {
    let objects = scan_order(TreeSize(65_536 + 300)).count();
    assert_eq!(objects, 258 + 1 /* full tile of level 1 */ + 3 /* partial tiles */);
}

#[test]
fn nothing_altered_is_handed_out() {
    let sound = &*THREE_LEVELS;
    let scanned = scan_order(sound.size).map(|object| object.to_string());
    for path in scanned.filter(|path| !path.starts_with("tile/entries/") || path.contains("25")) {
        let mut log = sound.clone();
        *log.files.get_mut(&path).unwrap().last_mut().unwrap() ^= 1;
        let (found, error) = scan(&log).unwrap_err();
        // A wrong partial tile is only noticed when the edge is whole: together they miss the root.
        let named = if error == ScanError::Edge { path.contains(".p/") } else { found == path };
        assert!(named, "{path}: {error}");
    }
}

#[test]
fn objects_out_of_turn_are_refused() {
    let log = TestLog::of_size(300);
    let mut scan = EntryScan::new(log.size, log.root, &ScalarHasher);
    let bundle = BundleId { index: 0, width: 256 };
    let error = scan.accept(&ResourcePath::Bundle(bundle), &log.files[&bundle.path()]).unwrap_err();
    assert!(matches!(error, ScanError::OutOfTurn { .. }));
    assert!(scan.accept(&ResourcePath::Checkpoint, b"").is_err());
}
