//! How a log starts: every start is a recovery, and goes on with the code that every batch runs.

use bytes::Bytes;
use glasslog_core::{
    LeafIndex, TreeSize,
    checkpoint::{Checkpoint, VerifiedCheckpoint},
    entry_bundle::EntryBundle,
    note::{Note, VerifierKey},
    tile::{BundleId, Edge, ResourcePath},
};
use glasslog_store::{
    Objects,
    duplicates::Recent,
    log_state::{SizedNote, Slot, StateView},
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

pub(crate) fn bind_and_read_public(
    config: &LogConfig,
    stores: &Stores,
) -> Result<Option<VerifiedCheckpoint>, Failure> {
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
pub(crate) fn refuse_if_behind(public: Option<&VerifiedCheckpoint>, view: &StateView) -> Result<(), Failure> {
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
pub(crate) fn get_or_full(objects: &dyn Objects, path: ResourcePath) -> Result<Option<Bytes>, Failure> {
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

pub(crate) fn entries_of_bundle(
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

/// The secret that keeps submitters from choosing identities that collide in memory.
fn random_u64() -> Result<u64, Failure> {
    getrandom::u64().map_err(|why| Failure::other("no random numbers from the system", why))
}
