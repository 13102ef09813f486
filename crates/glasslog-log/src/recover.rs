//! How a log starts: every start is a recovery, and goes on with the code that every batch runs.

use bytes::Bytes;
use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    checkpoint::{Checkpoint, VerifiedCheckpoint},
    entry_bundle::EntryBundle,
    note::{Note, VerifierKey},
    tile::{BundleId, Edge, ResourcePath, TileId},
};
use glasslog_store::{
    Objects,
    duplicates::Recent,
    log_state::{SizedNote, Slot, StateView},
    objects::{Existing, NewObject},
    runs::{Cancel, MergeRate},
};

use crate::{
    Failure,
    entry::logged_identity,
    latest::ROWS_PER_SPILL,
    shared::{LogConfig, Stores},
};

/// How much is read from the log state at once.
const READ_BYTES: usize = 8 << 20;

/// What a log goes on from, checked.
pub(crate) struct Recovered {
    pub(crate) view: StateView,
    /// What stands at the public path.
    pub(crate) public: Option<Bytes>,
    pub(crate) edge: Edge,
    /// Every entry that the duplicates table does not cover.
    pub(crate) recent: Recent,
    /// Bytes that are sequenced and not yet integrated.
    pub(crate) backlog_bytes: u64,
}

/// What [`rebuild`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// The head that the state had before.
    pub head_before: TreeSize,
    /// The size that the log goes on from. Indices from here on that were ever acknowledged are lost.
    pub size: TreeSize,
}

/// Checks that state and objects belong together and to `config`, and loads what the log goes on from.
pub(crate) fn recover(config: &LogConfig, stores: &Stores) -> Result<Recovered, Failure> {
    let public = bind_and_read_public(config, stores)?;
    let view = stores.state.view()?;
    refuse_if_behind(public.as_ref(), &view)?;
    let edge = match &view.recorded {
        None => Edge::new(),
        Some(recorded) => load_edge(config, stores, &parse(recorded)?)?,
    };
    let (recent, backlog_bytes) = load_recent(config, stores, &view, edge.size())?;
    let public = stores.objects.checkpoint()?;
    Ok(Recovered { view, public, edge, recent, backlog_bytes })
}

/// Makes a state that is behind (or empty) go on from the public checkpoint, once every entry, tile and hash below it
/// is found intact. Missing tiles are written again.
///
/// # Errors
///
/// [`Failure`]; the state is unchanged then.
pub fn rebuild(config: &LogConfig, stores: &Stores) -> Result<Rebuilt, Failure> {
    let public = bind_and_read_public(config, stores)?
        .ok_or_else(|| Failure::System("there is no public checkpoint to recover from".into()))?;
    let view = stores.state.view()?;
    let checkpoint = public.checkpoint();
    if view.recorded.as_ref().is_some_and(|recorded| recorded.size >= checkpoint.size) {
        return Err(Failure::System(format!(
            "the log state is not behind: it has recorded size {} and size {} is public",
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
    let note = stores.objects.checkpoint()?.unwrap_or_default();
    stores.state.adopt(epoch, SizedNote { size: checkpoint.size, note })?;
    stores.state.close()?;
    Ok(Rebuilt { head_before: view.head, size: checkpoint.size })
}

fn bind_and_read_public(config: &LogConfig, stores: &Stores) -> Result<Option<VerifiedCheckpoint>, Failure> {
    let keys: Vec<VerifierKey> = config.signers.iter().map(|signer| signer.verifier_key().clone()).collect();
    stores.state.bind(&config.origin, &keys.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    stores
        .objects
        .checkpoint()?
        .map(|note| VerifiedCheckpoint::open(&note, &config.origin, &keys))
        .transpose()
        .map_err(Failure::ForeignCheckpoint)
}

/// Invariant 6: whoever goes on from a state that is behind what was published forks the log.
fn refuse_if_behind(public: Option<&VerifiedCheckpoint>, view: &StateView) -> Result<(), Failure> {
    let Some(public) = public else { return Ok(()) };
    let (size, root) = (public.size(), public.root());
    let evidence = match &view.recorded {
        None => format!("size {size} is public, and the state has recorded no checkpoint at all"),
        Some(recorded) if recorded.size < size => {
            format!("size {size} is public, and the state has recorded only size {}", recorded.size)
        }
        Some(recorded) if recorded.size == size && parse(recorded)?.root != *root => {
            format!("at size {size} another root is public than the state has recorded")
        }
        Some(_) => return Ok(()),
    };
    Err(Failure::Behind { evidence })
}

fn parse(recorded: &SizedNote) -> Result<Checkpoint, Failure> {
    let unreadable = |why: &dyn std::fmt::Display| {
        Failure::Contradiction(format!(
            "the recorded checkpoint of size {} cannot be read: {why}",
            recorded.size
        ))
    };
    let note = Note::parse(&recorded.note).map_err(|why| unreadable(&why))?;
    Checkpoint::parse(note.text()).map_err(|why| unreadable(&why))
}

/// The edge of the tree that was signed last; a tile that does not lead to its root refuses the start (invariant 5).
fn load_edge(config: &LogConfig, stores: &Stores, recorded: &Checkpoint) -> Result<Edge, Failure> {
    let mut objects = Vec::new();
    for path in Edge::objects_at(recorded.size) {
        if let Some(bytes) = get_or_full(stores.objects.as_ref(), path)? {
            objects.push((path, bytes));
        }
    }
    Ok(Edge::from_objects(recorded.size, &recorded.root, config.hasher, |wanted| {
        objects.iter().find(|(path, _)| path == wanted).map(|(_, bytes)| bytes.clone())
    })?)
}

/// A partial object may have been superseded; the full one at its place begins alike.
fn get_or_full(objects: &dyn Objects, path: ResourcePath) -> Result<Option<Bytes>, Failure> {
    let full = match path {
        ResourcePath::Tile(tile) => ResourcePath::Tile(tile.full()),
        ResourcePath::Bundle(bundle) => ResourcePath::Bundle(bundle.full()),
        ResourcePath::Checkpoint => path,
    };
    Ok(match objects.get(&path.to_string(), None)? {
        None => objects.get(&full.to_string(), None)?,
        found => found,
    })
}

/// Every entry that the duplicates table does not cover, from the batches that are kept, or, where the table is
/// missing or behind, from the bundles (invariant 9: nothing derived is precious).
fn load_recent(
    config: &LogConfig,
    stores: &Stores,
    view: &StateView,
    integrated: TreeSize,
) -> Result<(Recent, u64), Failure> {
    if stores.duplicates.covered() > view.head {
        tracing::warn!("the duplicates table is ahead of the log and is rebuilt");
        stores.duplicates.reset()?;
    }
    let mut at = stores.duplicates.covered();
    let mut recent = Recent::new(random_u64()?, at);
    let mut backlog_bytes = 0;
    while at < view.head {
        let batches = stores.state.batches(at.next_index(), READ_BYTES)?;
        let first_kept = batches.first().map_or(view.head, |batch| TreeSize(batch.first_index.0));
        if first_kept > at {
            if first_kept > integrated {
                return Err(Failure::Contradiction(format!(
                    "indices {at} to {first_kept} are neither in the log state nor below the recorded checkpoint"
                )));
            }
            tracing::info!(from = at.0, to = first_kept.0, "reading identities from the entry bundles");
            at = recall(config, stores, &mut recent, at, first_kept, integrated)?;
            continue;
        }
        for batch in &batches {
            for (index, slot) in batch.indexed().filter(|(index, _)| index.0 >= at.0) {
                let Slot::Entry { bytes, leaf_hash, identity } = slot else { continue };
                recent.insert(*identity, index, *leaf_hash);
                backlog_bytes += if integrated.contains(index) { 0 } else { bytes.len() as u64 };
            }
            at = at.max(batch.end());
        }
    }
    Ok((recent, backlog_bytes))
}

/// Reads the identities of the entries `[from, to)` from their bundles; what has become numerous goes to the table.
fn recall(
    config: &LogConfig,
    stores: &Stores,
    recent: &mut Recent,
    from: TreeSize,
    to: TreeSize,
    integrated: TreeSize,
) -> Result<TreeSize, Failure> {
    let mut at = from;
    while at < to {
        for (index, entry) in entries_of_bundle(stores.objects.as_ref(), at.0 / 256, integrated)? {
            if index.0 < at.0 || index.0 >= to.0 {
                continue;
            }
            let leaf_hash = glasslog_core::hash::leaf_hash(&entry);
            let identity = logged_identity(&entry, &leaf_hash, config.personality.as_deref());
            recent.insert(identity, index, leaf_hash);
        }
        at = TreeSize((at.0 / 256 + 1) * 256).min(to);
        if recent.len() >= ROWS_PER_SPILL {
            let frozen = recent.freeze_below(at);
            stores.duplicates.spill(frozen.rows(), at)?;
            recent.drop_frozen(at);
            while stores.duplicates.merge_step(MergeRate::Unlimited, &Cancel::default())? {}
        }
    }
    Ok(to)
}

fn entries_of_bundle(
    objects: &dyn Objects,
    bundle: u64,
    size: TreeSize,
) -> Result<Vec<(LeafIndex, Vec<u8>)>, Failure> {
    let unusable = |why: &dyn std::fmt::Display| {
        Failure::Contradiction(format!("entry bundle {bundle} of a tree of size {size} {why}"))
    };
    let id = BundleId::at(size, bundle).ok_or_else(|| unusable(&"is beyond its end"))?;
    let bytes = get_or_full(objects, ResourcePath::Bundle(id))?.ok_or_else(|| unusable(&"is missing"))?;
    let entries = EntryBundle::parse_cut(&bytes, id.width).map_err(|why| unusable(&why))?;
    let first = bundle * 256;
    Ok((first..).map(LeafIndex).zip(entries.iter().map(<[u8]>::to_vec)).collect())
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

/// The secret that keeps submitters from choosing identities that collide in memory.
fn random_u64() -> Result<u64, Failure> {
    getrandom::u64().map_err(|why| Failure::other("no random numbers from the system", why))
}
