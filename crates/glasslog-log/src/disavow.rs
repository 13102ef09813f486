//! `glasslog index disavow`: the log itself says for ever that some of its anchors are wrong (FORMATS §2).

use std::sync::Arc;

use bytes::Bytes;
use glasslog_core::{
    LeafIndex,
    anchor::{disavow as disavow_entry, parse_anchor},
    hash::leaf_hash,
    personality::Identity,
};
use glasslog_store::log_state::{Slot, StateError};

use crate::{
    Failure, Rebuilding,
    anchors::start::recorded,
    indexer::refuse_right_anchors,
    recover::{bind_and_read_public, refuse_if_behind},
    sequence::{new_batch, settle},
    shared::{LogConfig, Stores},
    slots::Slots,
};

/// Appends an entry to a stopped log that disavows the anchors at `positions`, durably; its next start publishes it. Gives the
/// index of that entry. What is said cannot be taken back, so every root is recomputed first: the index is empty afterwards.
///
/// # Errors
///
/// [`Failure::Anchors`] for a position where there is no anchor, a void one or a right one, and for settings that are not this
/// log's: nothing is appended then; [`Failure`] when the log is not one that may be appended to.
pub fn disavow(
    config: &LogConfig,
    stores: &Stores,
    positions: &[LeafIndex],
    progress: &mut dyn FnMut(Rebuilding),
) -> Result<LeafIndex, Failure> {
    let public = bind_and_read_public(config, stores)?;
    let view = stores.state.view()?;
    refuse_if_behind(public.as_ref(), &view)?;
    let (slots, recorded) = (Slots::of_stores(config, stores), recorded(&view));
    let mut positions = positions.to_vec();
    positions.sort_unstable();
    positions.dedup();
    let mut anchored = Vec::new();
    for &position in &positions {
        let anchor = slots
            .at(position, || recorded)?
            .as_deref()
            .and_then(parse_anchor)
            .ok_or_else(|| Failure::Anchors(format!("there is no anchor at index {position}")))?;
        let root = anchor.root.ok_or_else(|| {
            Failure::Anchors(format!(
                "the anchor at index {position} is void: it has no root that could be wrong"
            ))
        })?;
        anchored.push((position, root));
    }
    refuse_right_anchors(config, &slots, recorded, &anchored, progress)?;
    let bytes = Bytes::from(disavow_entry(&positions));
    let leaf_hash = leaf_hash(&bytes);
    let turn = stores.state.turn(view.head)?;
    let mut batch = new_batch(turn.head())?;
    let index = batch.first_index;
    batch.slots.push(Slot::Entry { bytes, leaf_hash, identity: Identity::from_hash(&leaf_hash) });
    settle(stores.state.as_ref(), turn, &Arc::new(batch), None)?.map_err(StateError::Refused)?;
    Ok(index)
}
