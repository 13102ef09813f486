//! The audit of a log's index: every anchored root recomputed from the entries, for monitors and verifying witnesses.
//!
//! Entries are handed in by index order, and nothing of them is kept but the index that they give ([`Audit::entry`]). Whatever
//! is of anchor form, at whatever position and whoever wrote it, is compared with what should stand there: the pinned map
//! function, its own position, the root of the entries before it. The first anchor that is wrong is named, and the audit goes
//! on. Who calls verifies that the entries are the log's: at the end [`Audit::tree`] must have the signed root.
//!
//! What is wrong in the eyes of one auditor is proven to others by a [`glasslog_vindex::MisbehaviourProof`]. Of an anchor that
//! is wrong in itself, [`Finding::proof`] makes one. Of a wrong root, [`compare`] finds a key that shows it, lookup by lookup,
//! while the log still answers under that root, and [`Claim`] makes the proof.

mod inquiry;
mod mark;
mod report;

use std::{path::Path, sync::Arc};

use glasslog_core::{Hash, LeafIndex, TreeSize, anchor::Anchor, merkle::CompactRange};
use glasslog_store::{
    disk::Disk,
    runs::{Cancel, MergeRate},
};
use glasslog_vindex::Key;

pub use inquiry::{Claim, Comparison, Inquirer, InquiryError, MAX_QUESTIONS, compare, first_question};
pub use report::{AnchorFault, Disavowal, Finding, Reading, Report};

use crate::{Binding, Index, IndexError, Keeper, Options, Revision};
use mark::{Mark, Marks};

/// Where the index lies in the directory of an audit.
const INDEX_DIR: &str = "index";

/// How an audit behaves.
#[derive(Clone, Copy, Debug)]
pub struct AuditOptions {
    /// Of its index. A position becomes durable at least every two `snapshot_interval`s of entries.
    pub index: Options,
    /// Findings, and disavow entries, that are kept: all are counted.
    pub keep: usize,
}

impl Default for AuditOptions {
    fn default() -> AuditOptions {
        AuditOptions { index: Options { snapshot_interval: 262_144, ..Options::default() }, keep: 64 }
    }
}

/// Why an audit cannot go on. It says nothing about the log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The directory.
    #[error("cannot use {path} for the audit: {source}")]
    Disk {
        /// The directory.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// An entry was left out.
    #[error("the audit covers {next} entries, and entry {given} was handed in next")]
    Gap {
        /// How many it covers.
        next: TreeSize,
        /// What was handed in.
        given: LeafIndex,
    },
    /// The audit cannot go on from its durable position.
    #[error(
        "the audit was to go on at {position}, where the log had the anchor that its index has, and now has not: these are other entries, or the directory is damaged; begin anew"
    )]
    OtherAnchor {
        /// The position.
        position: LeafIndex,
    },
}

/// An audit under way.
pub struct Audit {
    binding: Binding,
    options: AuditOptions,
    index: Index,
    keeper: Keeper,
    marks: Marks,
    tree: CompactRange,
    report: Report,
    kept: TreeSize,
    /// Where the next entry must be the right anchor: the durable position that was gone on from, if it was such.
    expected_anchor: Option<LeafIndex>,
    newest_wrong: Option<WrongRoot>,
}

/// An audit that was opened.
pub struct OpenedAudit {
    /// It. The first entry that it takes is the one at [`Audit::next`].
    pub audit: Audit,
    /// Why it begins anew though it was to go on, if it does.
    pub anew_because: Option<String>,
}

/// The newest anchor that lookups can rest on, if its root is wrong: what they are compared with.
#[derive(Clone)]
pub struct WrongRoot {
    /// Where it stands.
    pub position: LeafIndex,
    /// The root that it has.
    pub said: Hash,
    /// What the index is there.
    pub revision: Arc<Revision>,
}

/// What an anchor came to.
struct Judged {
    faults: Vec<AnchorFault>,
    revision: Option<Arc<Revision>>,
}

impl Audit {
    /// Opens the audit in `dir`, which is its alone. With `resume` it goes on from the durable position, if what is there is of
    /// this log and map function and whole; without, it begins anew.
    ///
    /// # Errors
    ///
    /// [`AuditError::Index`] and [`AuditError::Disk`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        binding: &Binding,
        options: AuditOptions,
        resume: bool,
    ) -> Result<OpenedAudit, AuditError> {
        let failed = |source| AuditError::Disk { path: dir.display().to_string(), source };
        disk.create_dir_all(dir).map_err(failed)?;
        let opened = Index::open(Arc::clone(&disk), &dir.join(INDEX_DIR), binding, options.index)?;
        let (mut index, marks) = (opened.index, Marks::new(disk, dir, binding));
        let mark = match index.durable().filter(|_| resume) {
            Some(durable) => marks.read(durable.size)?.filter(|mark| mark.root == durable.root),
            None => None,
        };
        let mut anew_because = opened.emptied_because.filter(|_| resume);
        if mark.is_none() {
            if resume && index.next() > TreeSize::ZERO {
                anew_because = Some("what was found so far is not there, or is damaged".into());
            }
            index.reset()?;
            marks.prune(None)?;
        }
        let mark = mark.unwrap_or_else(Mark::of_nothing);
        let kept = mark.tree.size();
        Ok(OpenedAudit {
            audit: Audit {
                binding: binding.clone(),
                options,
                index,
                keeper: opened.keeper,
                marks,
                expected_anchor: mark.anchored.then_some(kept.next_index()),
                tree: mark.tree,
                report: mark.report,
                kept,
                newest_wrong: None,
            },
            anew_because,
        })
    }

    /// The entries below this have been audited.
    #[must_use]
    pub fn next(&self) -> TreeSize {
        self.tree.size()
    }

    /// The tree over what was handed in: compare its root with the signed one before the report is believed.
    #[must_use]
    pub fn tree(&self) -> &CompactRange {
        &self.tree
    }

    /// What was found.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Of the anchors since [`Audit::open`] that have a root and say what they are of and where, the newest, if its root is wrong.
    #[must_use]
    pub fn newest_wrong(&self) -> Option<&WrongRoot> {
        self.newest_wrong.as_ref()
    }

    /// Takes in the next entry: its leaf hash, and what it was read as.
    ///
    /// # Errors
    ///
    /// [`AuditError`]; the audit cannot go on then.
    pub fn entry(&mut self, index: LeafIndex, leaf: Hash, reading: &Reading) -> Result<(), AuditError> {
        let next = self.tree.size();
        if index != next.next_index() {
            return Err(AuditError::Gap { next, given: index });
        }
        let judged = match reading {
            Reading::Anchor(said) => Some(self.judge(index, said)?),
            Reading::Entry(_) | Reading::Disavowal(_) => None,
        };
        let right =
            judged.as_ref().is_some_and(|judged| judged.faults.is_empty() && judged.revision.is_some());
        if self.expected_anchor.take().is_some() && !right {
            return Err(AuditError::OtherAnchor { position: index });
        }
        if self.is_due(right) {
            self.keep(right)?;
        }
        match (reading, judged) {
            (Reading::Anchor(said), Some(judged)) => self.record(index, said, judged),
            (Reading::Disavowal(positions), _) => {
                self.report.disavowal(index, positions, self.options.keep);
            }
            (Reading::Entry(keys), _) => self.report.unmapped += u64::from(keys.is_empty()),
            (Reading::Anchor(_), None) => {}
        }
        self.index.apply(index, reading.keys())?;
        self.tree.append(leaf);
        Ok(())
    }

    /// Compares an anchor with what should stand there (vindex.md §6).
    fn judge(&mut self, position: LeafIndex, said: &Anchor) -> Result<Judged, AuditError> {
        let mut faults = Vec::new();
        let pinned = said.map_fn == self.binding.map_fn;
        if !pinned {
            faults.push(AnchorFault::OtherMapFunction);
        }
        if self.report.first_map_fn.as_ref().is_some_and(|first| *first != said.map_fn) {
            faults.push(AnchorFault::SecondMapFunction);
        }
        if said.tree_size.next_index() != position {
            faults.push(AnchorFault::Misplaced);
        }
        // A root of another map function is not comparable.
        let revision = if pinned && said.root.is_some() { Some(self.index.revision()?) } else { None };
        if revision.as_ref().is_some_and(|revision| said.root != Some(revision.root())) {
            faults.push(AnchorFault::WrongRoot);
        }
        Ok(Judged { faults, revision })
    }

    fn record(&mut self, position: LeafIndex, said: &Anchor, judged: Judged) {
        let Judged { faults, revision } = judged;
        // A lookup can rest on no anchor that says that it stands elsewhere, or is of another map function.
        if let (Some(revision), Some(root)) = (&revision, said.root)
            && !faults.contains(&AnchorFault::Misplaced)
        {
            let wrong = || WrongRoot { position, said: root, revision: Arc::clone(revision) };
            self.newest_wrong = faults.contains(&AnchorFault::WrongRoot).then(wrong);
        }
        let root = revision.map(|revision| revision.root());
        let finding = (!faults.is_empty()).then(|| Finding {
            position,
            said: said.clone(),
            root,
            faults,
            disavowed_at: None,
        });
        self.report.anchor(said, &self.binding.map_fn, finding, self.options.keep);
    }

    /// A right anchor is the best place to go on from; where there is none for long, any place must do.
    fn is_due(&self, right: bool) -> bool {
        let since = self.tree.size().0 - self.kept.0;
        let interval = self.options.index.snapshot_interval.max(1);
        since > 0
            && (self.index.is_full() || since >= if right { interval } else { interval.saturating_mul(2) })
    }

    /// Lets the index become durable at the present position.
    fn keep(&mut self, anchored: bool) -> Result<(), AuditError> {
        let size = self.tree.size();
        let root = self.index.revision()?.root();
        self.marks.write(&Mark { tree: self.tree.clone(), root, anchored, report: self.report.clone() })?;
        // The index may have meant an older revision to become durable, at an anchor without a mark: that one is passed over.
        self.index.keep(size)?;
        self.index.revision()?;
        self.index.keep(size)?;
        let cancel = Cancel::default();
        while self.keeper.step(MergeRate::Unlimited, &cancel)? {}
        self.kept = size;
        if let Some(durable) = self.index.durable() {
            self.marks.prune(Some(durable.size))?;
        }
        Ok(())
    }

    /// Makes the present position durable, and ends.
    ///
    /// # Errors
    ///
    /// [`AuditError::Index`] and [`AuditError::Disk`]; the next audit has more to do again.
    pub fn close(mut self) -> Result<(), AuditError> {
        if self.tree.size() > self.kept {
            self.keep(false)?;
        }
        Ok(self.into_index().close()?)
    }

    /// The index alone: its keeper has ended.
    fn into_index(self) -> Index {
        self.index
    }
}

impl Reading {
    fn keys(&self) -> &[Key] {
        match self {
            Reading::Entry(keys) => keys,
            Reading::Anchor(_) | Reading::Disavowal(_) => &[],
        }
    }
}

impl Mark {
    fn of_nothing() -> Mark {
        Mark { tree: CompactRange::new(), root: Hash::EMPTY_ROOT, anchored: false, report: Report::default() }
    }
}
