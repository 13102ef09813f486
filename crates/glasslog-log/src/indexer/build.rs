//! Building an index from the entries, by sorting them all at once.

use std::sync::Arc;

use glasslog_core::{Hash, LeafIndex, TreeSize};
use glasslog_index::{Index, Revision};
use glasslog_store::runs::{Cancel, MergeRate};
use glasslog_vindex::{MapFunction, keys_of};

use super::Indexer;
use crate::{
    Failure, LogConfig, RebuildStep, Rebuilding, Stores,
    anchors::{
        IndexConfig,
        start::{open_files, recorded, refuse_another},
    },
    recover::{bind_and_read_public, refuse_if_behind},
    slots::Slots,
};

/// What [`rebuild_index`] built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIndex {
    /// How many entries it covers; the next start takes in the rest.
    pub size: TreeSize,
    /// The root over them, if there are any.
    pub root: Option<Hash>,
    /// The anchor that has the same root; none if the log has none with a root.
    pub anchor: Option<LeafIndex>,
}

/// Builds the index of a stopped log anew from its entries, up to its newest anchor with a root, and compares them. Ends soon
/// after `ends` says so, or `cancel`.
///
/// # Errors
///
/// [`Failure::WrongAnchor`] if they differ; [`Failure::Anchors`] for settings that are not this log's; [`Failure`] when entries cannot be read or the index not be written.
pub fn rebuild_index(
    config: &LogConfig,
    stores: &Stores,
    cancel: &Cancel,
    ends: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(Rebuilding),
) -> Result<BuiltIndex, Failure> {
    let indexed = of_settings(config)?;
    let public = bind_and_read_public(config, stores)?;
    let view = stores.state.view()?;
    refuse_if_behind(public.as_ref(), &view)?;
    let recorded = recorded(&view);
    let slots = Slots::of_stores(config, stores);
    refuse_another(&slots, indexed, recorded)?;
    let newest = slots.newest_root(TreeSize::ZERO..recorded, recorded)?;
    let end = newest.map_or(recorded, |(position, _)| TreeSize(position.0));
    let opened = open_files(config, indexed)?;
    let mut index = opened.index;
    index.reset()?;
    if end == TreeSize::ZERO {
        return Ok(BuiltIndex { size: end, root: None, anchor: None });
    }
    let plan = Plan { slots: &slots, map_fn: indexed.map_fn.as_ref(), end, recorded };
    let Some(built) = plan.build(&mut index, cancel, ends, progress)? else {
        return Err(Failure::System("stopped before the index was built: the next start builds it".into()));
    };
    let recomputed = built.root();
    if let Some((position, anchored)) = newest.filter(|(_, anchored)| *anchored != recomputed) {
        index.reset()?;
        return Err(Failure::WrongAnchor { position, anchored, recomputed });
    }
    while opened.keeper.step(MergeRate::Unlimited, cancel)? {}
    index.close()?;
    Ok(BuiltIndex { size: end, root: Some(recomputed), anchor: newest.map(|(position, _)| position) })
}

/// Refuses to call the anchor at one of `positions` wrong when the entries before it give its root. The index is empty
/// afterwards, and the next start builds it.
pub(crate) fn refuse_right_anchors(
    config: &LogConfig,
    slots: &Slots,
    recorded: TreeSize,
    positions: &[(LeafIndex, Hash)],
    progress: &mut dyn FnMut(Rebuilding),
) -> Result<(), Failure> {
    let indexed = of_settings(config)?;
    refuse_another(slots, indexed, recorded)?;
    let mut index = open_files(config, indexed)?.index;
    for &(position, anchored) in positions {
        index.reset()?;
        let end = recorded.min(TreeSize(position.0));
        let plan = Plan { slots, map_fn: indexed.map_fn.as_ref(), end, recorded };
        if end > TreeSize::ZERO {
            plan.build(&mut index, &Cancel::default(), &|| false, progress)?;
        }
        for at in (end.0..position.0).map(LeafIndex) {
            let entry = slots.at(at, || recorded)?;
            let keys = entry.map(|entry| keys_of(plan.map_fn, &entry)).unwrap_or_default();
            index.apply(at, &keys)?;
        }
        if index.revision()?.root() == anchored {
            return Err(Failure::Anchors(format!(
                "the anchor at index {position} is right: its root is what the entries before it give. Nothing is disavowed"
            )));
        }
    }
    Ok(index.reset()?)
}

fn of_settings(config: &LogConfig) -> Result<&IndexConfig, Failure> {
    let indexed = config.index.as_ref().filter(|index| index.enabled);
    indexed.ok_or_else(|| {
        Failure::Anchors(
            "this log has no index: give the settings that it is served with (ENTRY_SCHEMA or VINDEX_KEY_FIELD)"
                .into(),
        )
    })
}

/// From where an index is built, and how far.
struct Plan<'a> {
    slots: &'a Slots,
    map_fn: &'a dyn MapFunction,
    end: TreeSize,
    recorded: TreeSize,
}

impl Plan<'_> {
    /// Takes in every entry below the end that the index does not cover. `None` if `ends` said so meanwhile: it is as it was then.
    fn build(
        &self,
        index: &mut Index,
        cancel: &Cancel,
        ends: &dyn Fn() -> bool,
        progress: &mut dyn FnMut(Rebuilding),
    ) -> Result<Option<Arc<Revision>>, Failure> {
        let from = index.next();
        let of = self.end.0.saturating_sub(from.0);
        let mut bulk = index.bulk()?;
        while bulk.next() < self.end {
            if ends() {
                return Ok(None);
            }
            let next = bulk.next();
            for (at, entry) in self.slots.bundle(next.0 / 256, self.recorded)? {
                if at.0 >= next.0 && self.end.contains(at) {
                    bulk.push(at, &keys_of(self.map_fn, &entry))?;
                }
            }
            progress(Rebuilding { step: RebuildStep::Reading, done: bulk.next().0 - from.0, of });
        }
        Ok(bulk.finish(cancel, &mut |done, of| {
            progress(Rebuilding { step: RebuildStep::Merging, done, of });
        })?)
    }
}

impl Indexer {
    /// Takes in everything up to the newest anchor with a root below `recorded`, so that this is compared next: whether there
    /// may be more.
    pub(super) fn take_in_bulk(&mut self, recorded: TreeSize) -> Result<bool, Failure> {
        self.set_hopeless(Some("the index is being built"));
        // One at the very place where the index stands would bring it no further.
        let newest = self.slots.newest_root(TreeSize(self.at.0 + 1)..recorded, recorded)?;
        let end = newest.map_or(recorded, |(position, _)| TreeSize(position.0));
        tracing::info!(from = self.at.0, to = end.0, "building the index");
        let plan = Plan { slots: &self.slots, map_fn: self.anchors.map_fn.as_ref(), end, recorded };
        let (log, anchors) = (&self.log, &self.anchors);
        let ends = || log.progress.stopped().is_some() || anchors.ended();
        let mut progress = |rebuilding| anchors.account.set_rebuilding(Some(rebuilding));
        let built = plan.build(&mut self.index, &self.cancel, &ends, &mut progress);
        self.anchors.account.set_rebuilding(None);
        let Some(revision) = built? else { return Ok(false) };
        tracing::info!(to = end.0, "the index is built");
        self.log.served.hint(revision);
        self.at = end;
        self.taken.clear();
        self.report();
        Ok(true)
    }
}
