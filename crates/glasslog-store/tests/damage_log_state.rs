//! Log state whose files were damaged, removed or written by a newer version: said so, with file and offset, never
//! gone on from.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use glasslog_core::{LeafIndex, TreeSize, hash::leaf_hash, personality::Identity};
use glasslog_store::{
    LogState,
    disk::{Disk, sim::SimDisk},
    log_state::{Batch, BatchId, CommitOutcome, SegmentLogState, SegmentOptions, Slot, StateError},
};

fn open(disk: &SimDisk) -> Result<SegmentLogState, StateError> {
    let options = SegmentOptions { segment_bytes: 32 << 10, cache_bytes: 8 << 10, background: false };
    SegmentLogState::open(Arc::new(disk.clone()), Path::new("/state"), options)
}

fn commit(state: &SegmentLogState, bytes: Vec<u8>) {
    let head = state.view().unwrap().head;
    let leaf_hash = leaf_hash(&bytes);
    let slots =
        vec![Slot::Entry { bytes: Bytes::from(bytes), leaf_hash, identity: Identity::from_hash(&leaf_hash) }];
    let batch = Batch { id: BatchId([1; 16]), first_index: head.next_index(), slots };
    let outcome = state.turn(TreeSize(head.0)).unwrap().commit(Arc::new(batch), None);
    assert!(matches!(outcome, CommitOutcome::Committed), "{outcome:?}");
}

/// A disk with 30 batches in several segments, one record of 4 KiB each; killed.
fn filled() -> SimDisk {
    let disk = SimDisk::new(1);
    let state = open(&disk).unwrap();
    (0..30_u8).for_each(|turn| commit(&state, vec![turn; 600]));
    disk
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    disk.files().into_iter().map(|(path, _)| path).collect()
}

fn place_of(error: StateError) -> String {
    let StateError::Corrupt { place, .. } = error else { panic!("{error:?}") };
    place
}

#[test]
fn one_flipped_bit_anywhere_is_noticed_or_is_the_tail() {
    let whole = filled();
    for path in segments(&whole) {
        for offset in (0..32 << 10).step_by(509) {
            let disk = whole.killed();
            disk.rot(&path, offset).unwrap();
            match open(&disk) {
                Ok(state) => {
                    // Padding, room that is not used yet, or the very last record, which cannot be told from a torn one.
                    let found = state.batches(LeafIndex(0), usize::MAX).unwrap();
                    assert!(found.len() >= 29, "{} of 30 batches at {path:?} {offset}", found.len());
                }
                Err(error) => {
                    let place = place_of(error);
                    assert!(place.contains("/state/"), "{place}");
                }
            }
        }
    }
}

#[test]
fn a_damaged_record_before_a_valid_one_names_file_and_offset() {
    let disk = filled();
    let last = segments(&disk).into_iter().next_back().unwrap();
    let first = segments(&disk).into_iter().next().unwrap();
    disk.rot(&first, 2 * 4096 + 100).unwrap();
    assert_eq!(place_of(open(&disk).err().unwrap()), "/state/0000000000000001.segment at byte 8192");
    assert!(last > first);
}

#[test]
fn a_missing_segment_is_noticed() {
    let whole = filled();
    let all = segments(&whole);
    assert!(all.len() > 4, "{all:?}");
    // The last two hold the newest batches and the room for the next: without them the log is a shorter one, which
    // the public checkpoint and the witnesses judge.
    for path in &all[..all.len() - 2] {
        let disk = whole.killed();
        disk.remove(path).unwrap();
        let Err(StateError::Corrupt { why, .. }) = open(&disk) else { panic!("{path:?} is not missed") };
        assert!(why.contains("missing"), "{why}");
    }
}

#[test]
fn a_newer_version_is_refused() {
    let disk = SimDisk::new(1);
    drop(open(&disk).unwrap());
    let path = segments(&disk).remove(0);
    let file = disk.open(&path, true).unwrap();
    let mut header = [0; 40];
    file.read_exact_at(&mut header, 0).unwrap();
    header[8] = 2;
    let crc = crc32c::crc32c(&header[..36]);
    header[36..].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&header, 0).unwrap();
    let Err(StateError::Corrupt { why, .. }) = open(&disk) else { panic!("opened") };
    assert!(why.contains("newer"), "{why}");
}

#[test]
fn a_renamed_segment_is_refused() {
    let disk = filled();
    let first = segments(&disk).remove(0);
    disk.rename(&first, Path::new("/state/0000000000000099.segment")).unwrap();
    assert!(place_of(open(&disk).err().unwrap()).contains("0000000000000099.segment at byte 12"));
}

/// Whoever submits entries may put anything into them. (A record with a later number cannot be made without the salt.)
#[test]
fn submitted_bytes_cannot_pass_for_records() {
    let disk = SimDisk::new(1);
    let state = open(&disk).unwrap();
    commit(&state, vec![7; 100]);
    let (_, content) = disk.files().into_iter().next().unwrap();
    let record = &content[8192..12288];
    assert_eq!(&record[..4], b"GLrc");
    // A copy of a record, checksums and all, which falls on a page of the file: 92 bytes precede an entry.
    let mut forged = vec![0; 4096 - 92];
    forged.extend_from_slice(record);
    forged.extend_from_slice(record);
    commit(&state, forged);
    let (_, content) = disk.files().into_iter().next().unwrap();
    assert_eq!(content[4 * 4096..5 * 4096], content[8192..12288], "the copy lies where a record would");
    // The record that carries them is torn: its first page is lost.
    let path = segments(&disk).remove(0);
    disk.rot(&path, 12288).unwrap();
    let state = open(&disk).unwrap();
    assert_eq!(state.view().unwrap().head, TreeSize(1));
}

#[test]
fn what_is_foreign_in_the_directory_is_left_alone() {
    let disk = SimDisk::new(1);
    drop(open(&disk).unwrap());
    for name in ["notes.txt", "1.segment", "0000000000000001.segment.bak"] {
        disk.create_new(&Path::new("/state").join(name)).unwrap();
    }
    drop(open(&disk).unwrap());
    assert_eq!(segments(&disk).len(), 4);
}
