//! What an operator sees of the index.

use std::sync::Arc;

use glasslog_core::{LeafIndex, TreeSize};
use glasslog_index::Stats;
use parking_lot::Mutex;

/// How far the index of a log is.
#[derive(Clone, Debug)]
pub struct IndexStatus {
    /// The name of its map function.
    pub map_fn: String,
    /// The entries below this are indexed.
    pub next: TreeSize,
    /// A restart begins with the index over so many entries.
    pub durable: TreeSize,
    /// How many sequenced entries are not indexed yet.
    pub lag: u64,
    /// The newest anchor with a root that this process fixed or found right.
    pub anchored: Option<LeafIndex>,
    /// While it is being built anew: how much is done, of how much.
    pub rebuilding: Option<Rebuilding>,
    /// Why anchors are void at present, if the index is what is missing.
    pub behind: Option<Arc<str>>,
    /// Whether there was no room to write it out, or it cannot take in more until that is done.
    pub full: bool,
    /// Entries that were indexed since the start and map to no key.
    pub unmapped: u64,
    /// Anchors without a root that were written since the start.
    pub void_anchors: u64,
    /// How often it was emptied and built again since the start, and at it.
    pub rebuilds: u64,
    /// How large it is.
    pub stats: Stats,
}

/// How far the building of an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuilding {
    /// What is done now.
    pub step: RebuildStep,
    /// How much of that is done: entries, or rows.
    pub done: u64,
    /// Of how much.
    pub of: u64,
}

/// The steps of building an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebuildStep {
    /// Entries are read and mapped.
    Reading,
    /// Rows are sorted, merged and hashed.
    Merging,
}

/// What is told to [`IndexStatus`], by whom it concerns.
#[derive(Default)]
pub(crate) struct Account(Mutex<Told>);

#[derive(Default)]
struct Told {
    index: OfIndex,
    anchored: Option<LeafIndex>,
    rebuilding: Option<Rebuilding>,
    void_anchors: u64,
    /// Void anchors since the last one with a root.
    void_in_a_row: u64,
    rebuilds: u64,
    /// Whether there was no room on the disk when it was last written.
    no_room: bool,
}

/// What the indexer says.
#[derive(Clone, Copy, Default)]
pub(crate) struct OfIndex {
    pub(crate) next: TreeSize,
    pub(crate) durable: TreeSize,
    pub(crate) full: bool,
    pub(crate) unmapped: u64,
    pub(crate) stats: Stats,
}

impl Account {
    pub(crate) fn set_index(&self, index: OfIndex) {
        self.0.lock().index = index;
    }

    pub(crate) fn set_rebuilding(&self, rebuilding: Option<Rebuilding>) {
        self.0.lock().rebuilding = rebuilding;
    }

    /// Whether there was no room on the disk for what was to be written. Gives whether that is news.
    pub(crate) fn set_no_room(&self, no_room: bool) -> bool {
        std::mem::replace(&mut self.0.lock().no_room, no_room) != no_room
    }

    /// The anchor at `position` was found right.
    pub(crate) fn matched(&self, position: LeafIndex) {
        self.0.lock().anchored = Some(position);
    }

    /// The index is emptied, to be built again.
    pub(crate) fn emptied(&self) {
        let mut told = self.0.lock();
        (told.anchored, told.index) = (None, OfIndex::default());
        told.rebuilds += 1;
    }

    /// An anchor was fixed. The first void one of several is an alarm: what is behind never pushes back, so it must be seen.
    pub(crate) fn filled(&self, position: LeafIndex, why_void: Option<&str>) {
        let mut told = self.0.lock();
        match why_void {
            Some(why) => {
                told.void_anchors += 1;
                told.void_in_a_row += 1;
                if told.void_in_a_row == 1 {
                    tracing::warn!(
                        position = position.0,
                        why,
                        "anchors are void: lookups rest on older ones"
                    );
                }
            }
            None => {
                told.anchored = Some(position);
                let void = std::mem::take(&mut told.void_in_a_row);
                if void > 0 {
                    tracing::info!(position = position.0, void, "anchors have roots again");
                }
            }
        }
    }
}

impl super::Anchors {
    /// How far the index of a log of `sequenced` entries is.
    pub(crate) fn status(&self, sequenced: TreeSize) -> IndexStatus {
        let behind = self.told.lock().hopeless.clone();
        let indexed = self.indexed.load(std::sync::atomic::Ordering::Acquire);
        let told = self.account.0.lock();
        IndexStatus {
            map_fn: self.map_fn.name().to_owned(),
            next: told.index.next,
            durable: told.index.durable,
            lag: sequenced.0.saturating_sub(indexed),
            anchored: told.anchored,
            rebuilding: told.rebuilding,
            behind,
            full: told.index.full || told.no_room,
            unmapped: told.index.unmapped,
            void_anchors: told.void_anchors,
            rebuilds: told.rebuilds,
            stats: told.index.stats,
        }
    }
}
