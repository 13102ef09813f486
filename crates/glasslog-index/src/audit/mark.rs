//! What an audit must remember beside its index, to go on from a durable position of it.
//!
//! A mark is written before the index may become durable at its size, and removed when the index is durable at a larger one:
//! whatever position the index is found at, its mark is there, or the audit begins anew.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    anchor::{anchor, parse_anchor},
    hash::leaf_hash,
    merkle::CompactRange,
};
use glasslog_store::disk::Disk;
use serde::{Deserialize, Serialize};

use super::{
    AuditError,
    report::{AnchorFault, Disavowal, Finding, Report},
};
use crate::Binding;

/// The longest file of a mark that is read, in bytes: findings are few, and an anchor has 65,535 bytes at most.
const MAX_MARK_BYTES: u64 = 64 << 20;

const FORMAT: u32 = 1;
const PREFIX: &str = "audit-";
const FRESH: &str = "audit.new";

/// The state of an audit over the entries below a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The tree of these entries.
    pub(super) tree: CompactRange,
    /// The index root over them.
    pub(super) root: Hash,
    /// Whether the entry at this size is the right anchor of that root.
    pub(super) anchored: bool,
    /// What was found.
    pub(super) report: Report,
}

/// The marks in a directory.
pub(super) struct Marks {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    binding: Binding,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    origin: String,
    map_fn: String,
    size: u64,
    tree: Vec<[u8; 32]>,
    root: [u8; 32],
    anchored: bool,
    anchors: u64,
    voids: u64,
    unmapped: u64,
    wrong: u64,
    findings: Vec<StoredFinding>,
    disavow_entries: u64,
    disavowals: Vec<(u64, Vec<u64>, u64)>,
    first_map_fn: Option<String>,
    names_pinned: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredFinding {
    position: u64,
    /// The entry itself, which is text.
    said: String,
    root: Option<[u8; 32]>,
    faults: Vec<StoredFault>,
    disavowed_at: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "AnchorFault", rename_all = "kebab-case")]
enum FaultName {
    OtherMapFunction,
    SecondMapFunction,
    Misplaced,
    WrongRoot,
}

#[derive(Serialize, Deserialize)]
struct StoredFault(#[serde(with = "FaultName")] AnchorFault);

impl Marks {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path, binding: &Binding) -> Marks {
        Marks { disk, dir: dir.to_owned(), binding: binding.clone() }
    }

    /// Writes a mark, durable on return.
    pub(super) fn write(&self, mark: &Mark) -> Result<(), AuditError> {
        let json = serde_json::to_vec(&self.stored(mark)).map_err(io::Error::other);
        let json = json.map_err(|source| self.failed(source))?;
        let bytes = [leaf_hash(&json).as_bytes().as_slice(), &json].concat();
        self.replace(&name(mark.tree.size()), &bytes).map_err(|source| self.failed(source))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let fresh = self.dir.join(FRESH);
        ignore_missing(self.disk.remove(&fresh))?;
        let file = self.disk.create_new(&fresh)?;
        file.write_all_at(bytes, 0)?;
        file.sync()?;
        self.disk.rename(&fresh, &self.dir.join(name))?;
        self.disk.sync_dir(&self.dir)
    }

    /// The mark at `size`; none if there is none that can be read and is of this log and map function.
    pub(super) fn read(&self, size: TreeSize) -> Result<Option<Mark>, AuditError> {
        let bytes = match self.disk.read(&self.dir.join(name(size)), MAX_MARK_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge) => {
                return Ok(None);
            }
            Err(source) => return Err(self.failed(source)),
        };
        let mark = bytes.split_at_checked(Hash::LEN).and_then(|(sum, json)| {
            let stored = || serde_json::from_slice::<Stored>(json).ok()?.into_mark(&self.binding);
            if sum == leaf_hash(json).as_bytes() { stored() } else { None }
        });
        Ok(mark.filter(|mark| mark.tree.size() == size))
    }

    /// Removes every mark that is not at `size` or above it; without a size, every one.
    pub(super) fn prune(&self, size: Option<TreeSize>) -> Result<(), AuditError> {
        let names = self.disk.list(&self.dir).map_err(|source| self.failed(source))?;
        for found in names {
            let Some(at) = found.strip_prefix(PREFIX).and_then(|number| number.parse().ok()) else {
                continue;
            };
            if size.is_none_or(|size| TreeSize(at) < size) {
                ignore_missing(self.disk.remove(&self.dir.join(found)))
                    .map_err(|source| self.failed(source))?;
            }
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> AuditError {
        AuditError::Disk { path: self.dir.display().to_string(), source }
    }

    fn stored(&self, mark: &Mark) -> Stored {
        let Report {
            anchors,
            voids,
            unmapped,
            wrong,
            findings,
            disavow_entries,
            disavowals,
            first_map_fn,
            names_pinned,
        } = &mark.report;
        let disavowals = disavowals.iter().map(|disavowal| {
            let positions = disavowal.positions.iter().map(|position| position.0).collect();
            (disavowal.at.0, positions, disavowal.count)
        });
        Stored {
            format: FORMAT,
            origin: self.binding.origin.clone(),
            map_fn: self.binding.map_fn.clone(),
            size: mark.tree.size().0,
            tree: mark.tree.hashes().iter().map(|hash| hash.0).collect(),
            root: mark.root.0,
            anchored: mark.anchored,
            anchors: *anchors,
            voids: *voids,
            unmapped: *unmapped,
            wrong: *wrong,
            findings: findings.iter().map(StoredFinding::new).collect(),
            disavow_entries: *disavow_entries,
            disavowals: disavowals.collect(),
            first_map_fn: first_map_fn.clone(),
            names_pinned: *names_pinned,
        }
    }
}

impl Stored {
    fn into_mark(self, binding: &Binding) -> Option<Mark> {
        if self.format != FORMAT || self.origin != binding.origin || self.map_fn != binding.map_fn {
            return None;
        }
        let tree = self.tree.into_iter().map(Hash).collect();
        let findings = self.findings.into_iter().map(StoredFinding::into_finding);
        let disavowals = self.disavowals.into_iter().map(|(at, positions, count)| Disavowal {
            at: LeafIndex(at),
            positions: positions.into_iter().map(LeafIndex).collect(),
            count,
        });
        Some(Mark {
            tree: CompactRange::from_hashes(TreeSize(self.size), tree)?,
            root: Hash(self.root),
            anchored: self.anchored,
            report: Report {
                anchors: self.anchors,
                voids: self.voids,
                unmapped: self.unmapped,
                wrong: self.wrong,
                findings: findings.collect::<Option<_>>()?,
                disavow_entries: self.disavow_entries,
                disavowals: disavowals.collect(),
                first_map_fn: self.first_map_fn,
                names_pinned: self.names_pinned,
            },
        })
    }
}

impl StoredFinding {
    fn new(finding: &Finding) -> StoredFinding {
        let said = &finding.said;
        let entry = anchor(&said.map_fn, said.root.as_ref(), said.tree_size);
        StoredFinding {
            position: finding.position.0,
            said: String::from_utf8_lossy(&entry).into_owned(),
            root: finding.root.map(|root| root.0),
            faults: finding.faults.iter().copied().map(StoredFault).collect(),
            disavowed_at: finding.disavowed_at.map(|at| at.0),
        }
    }

    fn into_finding(self) -> Option<Finding> {
        Some(Finding {
            position: LeafIndex(self.position),
            said: parse_anchor(self.said.as_bytes())?,
            root: self.root.map(Hash),
            faults: self.faults.into_iter().map(|fault| fault.0).collect(),
            disavowed_at: self.disavowed_at.map(LeafIndex),
        })
    }
}

fn name(size: TreeSize) -> String {
    format!("{PREFIX}{size}")
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use glasslog_core::anchor::Anchor;
    use glasslog_store::disk::sim::SimDisk;

    use super::*;

    fn binding(origin: &str) -> Binding {
        Binding { origin: origin.into(), map_fn: "conda-1".into() }
    }

    fn marks(disk: &SimDisk, origin: &str) -> Marks {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        disk.create_dir_all(Path::new("/work")).unwrap();
        Marks::new(disk, Path::new("/work"), &binding(origin))
    }

    fn mark(size: u64) -> Mark {
        let mut tree = CompactRange::new();
        (0..size).for_each(|index| tree.append(leaf_hash(&index.to_be_bytes())));
        let finding = |faults: &[AnchorFault], root, disavowed_at| Finding {
            position: LeafIndex(3),
            said: Anchor { map_fn: "a \"b\"\n\u{e9}".into(), root, tree_size: TreeSize((1 << 53) - 1) },
            root,
            faults: faults.to_vec(),
            disavowed_at,
        };
        use AnchorFault::{Misplaced, OtherMapFunction, SecondMapFunction, WrongRoot};
        let findings = vec![
            finding(&[OtherMapFunction, SecondMapFunction], None, None),
            finding(&[Misplaced, WrongRoot], Some(leaf_hash(b"root")), Some(LeafIndex(u64::MAX))),
        ];
        let disavowals = vec![Disavowal { at: LeafIndex(9), positions: vec![LeafIndex(3)], count: 1 << 60 }];
        let report = Report {
            anchors: 7,
            voids: 1,
            unmapped: 2,
            wrong: 3,
            findings,
            disavow_entries: 4,
            disavowals,
            first_map_fn: Some("conda-1".into()),
            names_pinned: true,
        };
        Mark { tree, root: leaf_hash(b"index"), anchored: true, report }
    }

    #[test]
    fn what_is_written_is_read_and_old_ones_go() {
        let disk = SimDisk::new(1);
        let marks = marks(&disk, "log");
        for size in [1, 6, 7, 300] {
            marks.write(&mark(size)).unwrap();
            assert_eq!(marks.read(TreeSize(size)).unwrap(), Some(mark(size)));
        }
        assert_eq!(marks.read(TreeSize(2)).unwrap(), None);
        marks.prune(Some(TreeSize(7))).unwrap();
        let left = |size| marks.read(TreeSize(size)).unwrap().is_some();
        assert_eq!([1, 6, 7, 300].map(left), [false, false, true, true]);
        marks.prune(None).unwrap();
        assert!(![7, 300].map(left).contains(&true));
    }

    #[test]
    fn a_mark_of_another_log_or_with_a_changed_bit_is_none() {
        let disk = SimDisk::new(1);
        marks(&disk, "log").write(&mark(7)).unwrap();
        assert_eq!(marks(&disk, "another").read(TreeSize(7)).unwrap(), None);
        let path = Path::new("/work/audit-7");
        let length = disk.files().iter().find(|(found, _)| found == path).unwrap().1.len();
        for offset in 0..length {
            let rotten = SimDisk::new(1);
            marks(&rotten, "log").write(&mark(7)).unwrap();
            rotten.rot(path, offset).unwrap();
            assert_eq!(marks(&rotten, "log").read(TreeSize(7)).unwrap(), None, "byte {offset}");
        }
    }
}
