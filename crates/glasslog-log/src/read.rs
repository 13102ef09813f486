//! What a log hands out: its objects, and proofs that were checked before they leave.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    checkpoint::Checkpoint,
    entry_bundle::EntryBundle,
    hash::BatchHasher,
    merkle::{ConsistencyProof, InclusionProof, Node, Span, consistency_spans, inclusion_spans},
    note::Note,
    proof::TlogProof,
    tile::{BundleId, ResourcePath, TileId, TileTree},
};
use glasslog_store::{Objects, log_state::SizedNote, objects::ObjectError};
use quick_cache::sync::Cache;

/// Hashed tiles kept in memory, 16 KiB each.
const CACHED_TREES: usize = 1024;

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What is stored does not hash to what was signed; the writer has been stopped.
    #[error("stored objects contradict the signed root: {0}")]
    Contradiction(String),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] ObjectError),
}

/// Reads and proves below one log.
pub(crate) struct Reader {
    objects: Arc<dyn Objects>,
    hasher: &'static dyn BatchHasher,
    trees: Cache<TileId, Arc<TileTree>>,
    newest: ArcSwapOption<Signed>,
}

/// A public checkpoint, parsed once.
pub(crate) struct Signed {
    pub(crate) note: Bytes,
    pub(crate) text: String,
    pub(crate) checkpoint: Checkpoint,
}

impl Reader {
    pub(crate) fn new(objects: Arc<dyn Objects>, hasher: &'static dyn BatchHasher) -> Reader {
        Reader { objects, hasher, trees: Cache::new(CACHED_TREES), newest: ArcSwapOption::empty() }
    }

    /// The object at `path`, if a tree of `recorded` entries implies it.
    pub(crate) fn object(
        &self,
        path: &ResourcePath,
        recorded: TreeSize,
    ) -> Result<Option<Bytes>, ObjectError> {
        match path {
            ResourcePath::Checkpoint => self.objects.checkpoint(),
            _ if !path.is_within(recorded) => Ok(None),
            _ => self.objects.get(&path.to_string(), None),
        }
    }

    /// The tlog-proof of the entry at `index` under `published`; `None` if it is not covered.
    ///
    /// The proof is checked against the signed root before it leaves. Tiles come from memory where they can.
    pub(crate) fn prove(&self, index: LeafIndex, published: &SizedNote) -> Result<Option<Bytes>, ReadError> {
        let signed = self.signed(published)?;
        let Checkpoint { size, root, .. } = signed.checkpoint;
        if !size.contains(index) {
            return Ok(None);
        }
        let hashes = self.inclusion(index, size, &root)?.0;
        let proof = TlogProof { index, hashes, extra: None, checkpoint: signed.text.clone() };
        Ok(Some(Bytes::from(proof.to_text())))
    }

    /// The proof that the leaf at `index` of the tiles is in the tree of `size` with this `root`, verified.
    pub(crate) fn inclusion(
        &self,
        index: LeafIndex,
        size: TreeSize,
        root: &Hash,
    ) -> Result<InclusionProof, ReadError> {
        match self.inclusion_from_tiles(index, size, root) {
            Err(ReadError::Contradiction(_)) => {
                // Before the log stops for it: is it the disk that is wrong, or only what memory kept?
                self.trees.clear();
                self.inclusion_from_tiles(index, size, root)
            }
            proof => proof,
        }
    }

    fn inclusion_from_tiles(
        &self,
        index: LeafIndex,
        size: TreeSize,
        root: &Hash,
    ) -> Result<InclusionProof, ReadError> {
        let spans = inclusion_spans(index, size).map_err(|why| ReadError::Contradiction(why.to_string()))?;
        let node = |node: Node| self.node(size, node);
        let hashes = spans.iter().map(|span| span.hash(node)).collect::<Result<Vec<_>, _>>()?;
        let leaf = self.node(size, Node { height: 0, index: index.0 })?;
        let proof = InclusionProof(hashes);
        match proof.verify(&leaf, index, size, root) {
            Ok(()) => Ok(proof),
            Err(_) => Err(ReadError::Contradiction(format!(
                "the tiles on the way from index {index} do not lead to the root signed for size {size}"
            ))),
        }
    }

    /// The proof that the tree of `size` with this `root` continues our tree of `old`, verified.
    pub(crate) fn consistency(
        &self,
        old: TreeSize,
        size: TreeSize,
        root: &Hash,
    ) -> Result<ConsistencyProof, ReadError> {
        match self.consistency_from_tiles(old, size, root) {
            Err(ReadError::Contradiction(_)) => {
                // As in `prove`: is it the disk that is wrong, or only what memory kept?
                self.trees.clear();
                self.consistency_from_tiles(old, size, root)
            }
            proof => proof,
        }
    }

    fn consistency_from_tiles(
        &self,
        old: TreeSize,
        size: TreeSize,
        root: &Hash,
    ) -> Result<ConsistencyProof, ReadError> {
        let spans = consistency_spans(old, size).map_err(|why| ReadError::Contradiction(why.to_string()))?;
        let node = |node: Node| self.node(size, node);
        let hashes = spans.iter().map(|span| span.hash(node)).collect::<Result<Vec<_>, _>>()?;
        let proof = ConsistencyProof(hashes);
        match proof.verify(old, &self.root_at(old, size)?, size, root) {
            Ok(()) => Ok(proof),
            Err(_) => Err(ReadError::Contradiction(format!(
                "the tiles do not show that the tree signed for size {size} continues the one of size {old}"
            ))),
        }
    }

    /// The root of our tree at `at`, from the tiles of the tree of `size`, which is no smaller.
    pub(crate) fn root_at(&self, at: TreeSize, size: TreeSize) -> Result<Hash, ReadError> {
        if at == TreeSize::ZERO {
            Ok(Hash::EMPTY_ROOT)
        } else {
            Span::whole(at).hash(|node| self.node(size, node))
        }
    }

    fn node(&self, size: TreeSize, node: Node) -> Result<Hash, ReadError> {
        let missing = || ReadError::Contradiction(format!("a tree of size {size} has no node {node:?}"));
        let tile = TileId::of_node(size, node).ok_or_else(missing)?;
        self.tree(tile)?.node(tile, node).ok_or_else(missing)
    }

    fn tree(&self, tile: TileId) -> Result<Arc<TileTree>, ReadError> {
        if let Some(tree) = self.trees.get(&tile) {
            return Ok(tree);
        }
        let path = ResourcePath::Tile(tile);
        let full = tile.is_partial().then(|| ResourcePath::Tile(tile.full()));
        let bytes = self.get_or_full(path, full)?;
        let bytes = bytes.ok_or_else(|| ReadError::Contradiction(format!("{path} is missing")))?;
        let tree = TileTree::parse(tile, &bytes, self.hasher)
            .ok_or_else(|| ReadError::Contradiction(format!("{path} has {} bytes", bytes.len())))?;
        let tree = Arc::new(tree);
        self.trees.insert(tile, Arc::clone(&tree));
        Ok(tree)
    }

    /// The entries of a bundle of the tree of `size`, with their indices. Nothing is verified.
    pub(crate) fn bundle(&self, bundle: u64, size: TreeSize) -> Result<Vec<(LeafIndex, Bytes)>, ReadError> {
        let unusable = |why: &dyn std::fmt::Display| {
            ReadError::Contradiction(format!("entry bundle {bundle} of a tree of size {size} {why}"))
        };
        let id = BundleId::at(size, bundle).ok_or_else(|| unusable(&"is beyond its end"))?;
        let full = id.is_partial().then(|| ResourcePath::Bundle(id.full()));
        let bytes =
            self.get_or_full(ResourcePath::Bundle(id), full)?.ok_or_else(|| unusable(&"is missing"))?;
        let entries = EntryBundle::parse_cut(&bytes, id.width).map_err(|why| unusable(&why))?;
        let first = id.first_index().ok_or_else(|| unusable(&"is beyond its end"))?;
        Ok((first.0..).map(LeafIndex).zip(entries.iter().map(|entry| bytes.slice_ref(entry))).collect())
    }

    /// The object at `path`. A partial one may have been superseded and removed: the full one at its place begins alike.
    fn get_or_full(
        &self,
        path: ResourcePath,
        full: Option<ResourcePath>,
    ) -> Result<Option<Bytes>, ObjectError> {
        match (self.objects.get(&path.to_string(), None)?, full) {
            (None, Some(full)) => self.objects.get(&full.to_string(), None),
            (found, _) => Ok(found),
        }
    }

    pub(crate) fn signed(&self, published: &SizedNote) -> Result<Arc<Signed>, ReadError> {
        if let Some(signed) = self.newest.load_full().filter(|signed| signed.note == published.note) {
            return Ok(signed);
        }
        let unreadable = |why: &dyn std::fmt::Display| {
            ReadError::Contradiction(format!("the published checkpoint cannot be read: {why}"))
        };
        let note = Note::parse(&published.note).map_err(|why| unreadable(&why))?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|why| unreadable(&why))?;
        let signed = Arc::new(Signed { note: published.note.clone(), text: note.to_text(), checkpoint });
        self.newest.store(Some(Arc::clone(&signed)));
        Ok(signed)
    }
}
