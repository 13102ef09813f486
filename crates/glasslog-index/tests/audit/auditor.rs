//! Who audits a forged log.

use std::{path::Path, sync::Arc};

use glasslog_core::LeafIndex;
use glasslog_index::{
    Binding,
    audit::{Audit, AuditOptions, Inquirer, OpenedAudit, Reading},
};
use glasslog_store::disk::{Disk, sim::SimDisk};
use glasslog_vindex::{Given, JsonField, MapFunction as _};

use crate::{
    forged::{Log, ORIGIN},
    naive,
};

impl Log {
    pub(crate) fn given(&self, index: LeafIndex) -> Given {
        let entry = self.entries[usize::try_from(index.0).unwrap()].clone();
        Given { index, entry, inclusion: self.inclusion(index) }
    }

    pub(crate) fn inquirer(&self) -> Inquirer<'_> {
        Inquirer { origin: ORIGIN, log_keys: &self.keys, map_fn: &self.map_fn }
    }

    /// Hands the entries to `audit`, as far as `size`.
    pub(crate) fn feed(&self, audit: &mut Audit, size: usize) {
        let from = usize::try_from(audit.next().0).unwrap();
        for at in from..size {
            let reading = Reading::of(&self.map_fn, &self.entries[at]);
            audit.entry(LeafIndex(at as u64), self.leaves[at], &reading).unwrap();
        }
        assert_eq!(audit.tree().root(), naive::mth(&self.leaves[..size.max(from)]));
    }

    /// The audit of everything, in a directory of its own.
    pub(crate) fn audited(&self) -> Audit {
        let mut audit = open(&(Arc::new(SimDisk::new(1)) as _), &self.map_fn, AuditOptions::default()).audit;
        self.feed(&mut audit, self.entries.len());
        audit
    }
}

pub(crate) fn open(disk: &Arc<dyn Disk>, map_fn: &JsonField, options: AuditOptions) -> OpenedAudit {
    let binding = Binding { origin: ORIGIN.into(), map_fn: map_fn.name().into() };
    Audit::open(Arc::clone(disk), Path::new("/audit"), &binding, options, true).unwrap()
}
