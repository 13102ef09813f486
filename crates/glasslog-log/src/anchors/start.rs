//! What the index and the log must agree on before the first slot is reserved.

use std::sync::{Arc, mpsc};

use bytes::Bytes;
use glasslog_core::{
    LeafIndex, TreeSize,
    anchor::{Anchor, anchor, parse_anchor},
};
use glasslog_index::{Binding, Durable, Index, Keeper, Opened};
use glasslog_store::log_state::{Epoch, StateView};

use super::{Anchors, Cuts, IndexConfig, LastAnchor};
use crate::{
    Failure,
    shared::{LogConfig, Stores},
    slots::{self, Slots},
};

/// How many bundles are looked through between two lines about it.
const BUNDLES_PER_LINE: u64 = 4096;

/// An index that may be gone on with.
pub(crate) struct Ready {
    pub(crate) anchors: Arc<Anchors>,
    pub(crate) index: Index,
    pub(crate) keeper: Keeper,
    pub(crate) recorded_anchors: mpsc::Receiver<LeafIndex>,
}

/// Opens the index of a log that has one, and checks that the log's anchors can be its.
pub(crate) fn open(
    config: &LogConfig,
    stores: &Stores,
    view: &StateView,
) -> Result<(Option<Ready>, Cuts), Failure> {
    let Some(indexed) = config.index.as_ref().filter(|index| index.enabled) else {
        return Ok((None, Cuts::default()));
    };
    let slots = Slots::of_stores(config, stores);
    let recorded = recorded(view);
    let cuts = Cuts { last: last_anchor(stores, &slots, indexed, view)?, ..Cuts::default() };
    refuse_another(&slots, indexed, recorded)?;
    let Opened { mut index, keeper, emptied_because, .. } = open_files(config, indexed)?;
    let mut emptied = emptied_because.is_some();
    if let Some(durable) = index.durable()
        && !is_anchored(&slots, indexed, durable, view)?
    {
        say_foreign(durable, view);
        index.reset()?;
        emptied = true;
    }
    if !emptied && index.durable().is_none() && recorded > TreeSize::ZERO {
        tracing::info!(entries = recorded.0, "there is no index on disk: it is built from the entries");
    }
    let last_is_void = cuts.last.is_some_and(|last| last.is_void);
    let (anchors, recorded_anchors) = Anchors::new(indexed, view.unfilled_anchor, last_is_void);
    if emptied {
        anchors.account.emptied();
    }
    Ok((Some(Ready { anchors: Arc::new(anchors), index, keeper, recorded_anchors }), cuts))
}

/// An index becomes durable only after the checkpoint over it is recorded: one that is ahead has seen more of this log than the
/// log itself, and nothing else on this machine may show that. One of as many entries is what was built where the log had no
/// anchor with a root.
fn say_foreign(durable: Durable, view: &StateView) {
    let (size, sequenced) = (durable.size.0, view.head.0);
    if size > sequenced {
        tracing::error!(
            size,
            sequenced,
            "the index on disk has seen more entries than the log holds, and is built again. If the log was restored from a backup, \
             stop it: it gives out indices again that it gave out before (docs/operate.md, Backups)"
        );
    } else {
        tracing::warn!(
            size,
            "the index on disk is not the one that the log has anchored there, and is built again"
        );
    }
}

/// Opens the files of the index, and says if they could not be believed.
pub(crate) fn open_files(config: &LogConfig, indexed: &IndexConfig) -> Result<Opened, Failure> {
    let binding = Binding { origin: config.origin.clone(), map_fn: indexed.map_fn.name().to_owned() };
    let opened = Index::open(indexed.disk.clone(), &indexed.dir, &binding, indexed.options)?;
    if let Some(why) = &opened.emptied_because {
        tracing::warn!(why, "the index is built again");
    }
    Ok(opened)
}

/// Without an index, a slot that was left when it was switched off gets its anchor without a root: it is fixed for ever, so
/// its map function is that of the log's other anchors.
pub(crate) fn fill_what_is_left(
    config: &LogConfig,
    stores: &Stores,
    view: &StateView,
    epoch: Epoch,
) -> Result<(), Failure> {
    let Some(position) = view.unfilled_anchor else { return Ok(()) };
    let of_log = newest_map_fn(&Slots::of_stores(config, stores), recorded(view))?;
    let of_settings = config.index.as_ref().map(|index| index.map_fn.name().to_owned());
    let map_fn = of_log.or(of_settings).ok_or_else(|| {
        Failure::Anchors(format!(
            "index {position} is kept for an anchor, and no map function is known: start the log once as it was, with its \
             index, before switching that off"
        ))
    })?;
    let entry = anchor(&map_fn, None, TreeSize(position.0));
    Ok(stores.state.fill(epoch, position, Bytes::from(entry))?)
}

pub(crate) fn recorded(view: &StateView) -> TreeSize {
    view.recorded.as_ref().map_or(TreeSize::ZERO, |recorded| recorded.size)
}

/// The anchor that the recorded checkpoint ends in.
fn recorded_anchor(slots: &Slots, recorded: TreeSize) -> Result<Option<(LeafIndex, Anchor)>, Failure> {
    let Some(position) = recorded.0.checked_sub(1).map(LeafIndex) else { return Ok(None) };
    let entry = slots.entry(position, recorded)?;
    Ok(entry.and_then(|entry| parse_anchor(&entry)).map(|anchor| (position, anchor)))
}

/// The map function that the newest anchor names, wherever it stands: the log may have been without an index since.
fn newest_map_fn(slots: &Slots, recorded: TreeSize) -> Result<Option<String>, Failure> {
    for bundle in (0..recorded.0.div_ceil(256)).rev() {
        if let Some((_, anchor)) = slots.anchors_of_bundle(bundle, recorded)?.pop() {
            return Ok(Some(anchor.map_fn));
        }
    }
    Ok(None)
}

/// The newest slot that is filled: beyond the recorded checkpoint if its process died before it recorded that, else at its end.
fn last_anchor(
    stores: &Stores,
    slots: &Slots,
    indexed: &IndexConfig,
    view: &StateView,
) -> Result<Option<LastAnchor>, Failure> {
    let recorded = recorded(view);
    let beyond = slots::newest_slot(stores.state.as_ref(), recorded, view.head)?;
    let beyond = beyond.filter(|position| view.unfilled_anchor != Some(*position));
    let at = |position: LeafIndex| {
        Ok::<_, Failure>(slots.at(position, || recorded)?.as_deref().and_then(parse_anchor))
    };
    let Some(position) = beyond.or(recorded.0.checked_sub(1).map(LeafIndex)) else { return Ok(None) };
    let Some(anchor) = at(position)? else { return Ok(None) };
    refuse_foreign(indexed, position, &anchor)?;
    let before = position.0.checked_sub(1).map(LeafIndex);
    let follows_anchor = before.map(at).transpose()?.flatten().is_some();
    Ok(Some(LastAnchor { position, is_void: anchor.root.is_none(), follows_anchor }))
}

/// Refuses an index that is not the one of the log's anchors: by the newest, or by looking through a log that does not end in one.
pub(crate) fn refuse_another(
    slots: &Slots,
    indexed: &IndexConfig,
    recorded: TreeSize,
) -> Result<(), Failure> {
    match recorded_anchor(slots, recorded)? {
        Some((position, anchor)) => refuse_foreign(indexed, position, &anchor),
        None => refuse_foreign_anchors(slots, indexed, recorded),
    }
}

/// Looks through a whole log, before it is indexed or indexed again, for anchors that are not of its index.
fn refuse_foreign_anchors(slots: &Slots, indexed: &IndexConfig, recorded: TreeSize) -> Result<(), Failure> {
    let bundles = recorded.0.div_ceil(256);
    for bundle in 0..bundles {
        if bundle > 0 && bundle % BUNDLES_PER_LINE == 0 {
            tracing::info!(entries = bundle * 256, of = recorded.0, "looking for anchors in the log");
        }
        for (position, anchor) in slots.anchors_of_bundle(bundle, recorded)? {
            refuse_foreign(indexed, position, &anchor)?;
        }
    }
    Ok(())
}

/// FORMATS §2: a log has one map function for ever, and no anchor that its index does not reproduce.
fn refuse_foreign(indexed: &IndexConfig, position: LeafIndex, anchor: &Anchor) -> Result<(), Failure> {
    let asked = indexed.map_fn.name();
    if anchor.map_fn != asked {
        return Err(Failure::Anchors(format!(
            "the entry at index {position} is an anchor of the map function {:?}, and {asked:?} is asked for. The map function of a \
             log cannot change: put the setting back (ENTRY_SCHEMA, VINDEX_KEY_FIELD), switch the index off \
             (VINDEX_ENABLED=false), or begin a new log",
            anchor.map_fn
        )));
    }
    if anchor.tree_size.0 != position.0 {
        return Err(Failure::Anchors(format!(
            "the entry at index {position} is an anchor for the tree size {}, which no index can have made there: this log cannot \
             be indexed (VINDEX_ENABLED=false)",
            anchor.tree_size
        )));
    }
    Ok(())
}

/// Whether the log has anchored this root at this size: then the index is believed.
fn is_anchored(
    slots: &Slots,
    indexed: &IndexConfig,
    durable: Durable,
    view: &StateView,
) -> Result<bool, Failure> {
    let position = LeafIndex(durable.size.0);
    if !view.head.contains(position) {
        return Ok(false);
    }
    let expected = anchor(indexed.map_fn.name(), Some(&durable.root), durable.size);
    Ok(slots.at(position, || recorded(view))?.is_some_and(|entry| *entry == *expected))
}
