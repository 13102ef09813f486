//! `glasslog recover`: a state that is behind goes on from what is public.

use bytes::Bytes;
use glasslog_core::{
    Hash, TreeSize,
    checkpoint::{Checkpoint, VerifiedCheckpoint},
    tile::{BundleId, Edge, ResourcePath, TileId},
};
use glasslog_store::{
    log_state::SizedNote,
    objects::{Existing, NewObject},
};

use crate::{
    Failure,
    recover::{bind_and_read_public, entries_of_bundle},
    shared::{LogConfig, Stores},
};

/// What [`rebuild`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// The head that the state had before.
    pub head_before: TreeSize,
    /// The size that the log goes on from. Indices from here on that were ever acknowledged are lost.
    pub size: TreeSize,
}

/// Makes a state that is behind (or empty) go on from the larger of the public checkpoint and `witnessed`, which a witness
/// shows, once every entry, tile and hash below it is found intact. Missing tiles are written again.
///
/// # Errors
///
/// [`Failure`]; the state is unchanged then.
pub fn rebuild(
    config: &LogConfig,
    stores: &Stores,
    witnessed: Option<VerifiedCheckpoint>,
) -> Result<Rebuilt, Failure> {
    let public = bind_and_read_public(config, stores)?;
    let public = public
        .into_iter()
        .chain(witnessed)
        .max_by_key(VerifiedCheckpoint::size)
        .ok_or_else(|| Failure::System("there is no public checkpoint to recover from".into()))?;
    let view = stores.state.view()?;
    let checkpoint = public.checkpoint();
    if view.recorded.as_ref().is_some_and(|recorded| recorded.size >= checkpoint.size) {
        return Err(Failure::System(format!(
            "the log state is not behind: it has recorded size {}, and size {} is the largest that is public or witnessed",
            view.recorded.map_or(TreeSize::ZERO, |recorded| recorded.size),
            checkpoint.size
        )));
    }
    if view.head > checkpoint.size {
        return Err(Failure::System(format!(
            "the log state holds {} entries, more than the {} that are public, and is not the state that published \
             them. Move it away and run this again; acknowledged entries from index {} on are lost then",
            view.head, checkpoint.size, checkpoint.size
        )));
    }
    regrow(config, stores, checkpoint)?;
    clear_beyond(stores, checkpoint.size)?;
    let epoch = stores.state.lease("glasslog recover")?;
    let note = Bytes::from(public.note().to_text());
    stores.state.adopt(epoch, SizedNote { size: checkpoint.size, note })?;
    stores.state.close()?;
    Ok(Rebuilt { head_before: view.head, size: checkpoint.size })
}

/// Grows the whole tree again from the bundles: what is there must be equal, what is missing is written.
fn regrow(config: &LogConfig, stores: &Stores, checkpoint: &Checkpoint) -> Result<(), Failure> {
    let mut edge = Edge::new();
    while edge.size() < checkpoint.size {
        let entries = entries_of_bundle(stores.objects.as_ref(), edge.size().0 / 256, checkpoint.size)?;
        let entries: Vec<&[u8]> = entries.iter().map(|(_, entry)| entry.as_slice()).collect();
        let mut leaves = vec![Hash::EMPTY_ROOT; entries.len()];
        config.hasher.leaves(&entries, &mut leaves);
        let mut filled = Vec::new();
        edge.grow(&leaves, entries.iter().copied(), config.hasher, &mut filled)?;
        write_again(stores, filled)?;
    }
    if edge.root(config.hasher) != checkpoint.root {
        return Err(Failure::Contradiction(format!(
            "the entry bundles do not hash to the root that is public for size {}",
            checkpoint.size
        )));
    }
    write_again(stores, edge.partials())
}

/// Removes what was integrated and never covered by a public checkpoint: other entries will stand at those indices.
fn clear_beyond(stores: &Stores, size: TreeSize) -> Result<(), Failure> {
    for level in 0..8_u8 {
        let hashes = size.0 >> (8 * u32::from(level));
        for index in hashes / 256.. {
            let tiles = (1..=256).map(|width| ResourcePath::Tile(TileId { level, index, width }));
            let bundles = (1..=256).map(|width| ResourcePath::Bundle(BundleId { index, width }));
            let beyond = tiles.chain(bundles.filter(|_| level == 0)).filter(|path| !path.is_within(size));
            let beyond: Vec<String> = beyond.map(|path| path.to_string()).collect();
            let full = ResourcePath::Tile(TileId { level, index, width: 256 }).to_string();
            let more = stores.objects.get(&full, Some(0..1))?.is_some();
            stores.objects.remove(&beyond)?;
            if !more {
                break;
            }
        }
    }
    Ok(())
}

fn write_again(stores: &Stores, objects: Vec<(ResourcePath, Vec<u8>)>) -> Result<(), Failure> {
    let objects: Vec<_> = objects
        .into_iter()
        .map(|(path, bytes)| NewObject { path: path.to_string(), bytes: Bytes::from(bytes) })
        .collect();
    Ok(stores.objects.create(&objects, Existing::Rewrite)?)
}
