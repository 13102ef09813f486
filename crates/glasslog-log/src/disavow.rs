//! `glasslog index disavow`: the log itself says for ever that some of its anchors are wrong (FORMATS §2).

use std::sync::Arc;

use bytes::Bytes;
use glasslog_core::{
    LeafIndex,
    anchor::{disavow as disavow_entry, is_anchor_form},
    hash::leaf_hash,
    personality::Identity,
};
use glasslog_store::log_state::{Slot, StateError};

use crate::{
    Failure,
    anchors::start::recorded,
    recover::{bind_and_read_public, refuse_if_behind},
    sequence::{new_batch, settle},
    shared::{LogConfig, Stores},
    slots::Slots,
};

/// Appends an entry to a stopped log that disavows the anchors at `positions`, durably; its next start publishes it. Gives the
/// index of that entry.
///
/// # Errors
///
/// [`Failure::Anchors`] for a position where there is no anchor; [`Failure`] when the log is not one that may be appended to.
pub fn disavow(config: &LogConfig, stores: &Stores, positions: &[LeafIndex]) -> Result<LeafIndex, Failure> {
    let public = bind_and_read_public(config, stores)?;
    let view = stores.state.view()?;
    refuse_if_behind(public.as_ref(), &view)?;
    let slots = Slots::of_stores(config, stores);
    let mut positions = positions.to_vec();
    positions.sort_unstable();
    positions.dedup();
    for &position in &positions {
        let entry = slots.at(position, || recorded(&view))?;
        if !entry.is_some_and(|entry| is_anchor_form(&entry)) {
            return Err(Failure::Anchors(format!("there is no anchor at index {position}")));
        }
    }
    let bytes = Bytes::from(disavow_entry(&positions));
    let leaf_hash = leaf_hash(&bytes);
    let turn = stores.state.turn(view.head)?;
    let mut batch = new_batch(turn.head())?;
    let index = batch.first_index;
    batch.slots.push(Slot::Entry { bytes, leaf_hash, identity: Identity::from_hash(&leaf_hash) });
    settle(stores.state.as_ref(), turn, &Arc::new(batch), None)?.map_err(StateError::Refused)?;
    Ok(index)
}
