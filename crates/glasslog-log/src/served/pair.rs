//! A public checkpoint with the state of the index that it anchors, and what is read from the two.

use std::{
    collections::{HashMap, VecDeque},
    slice,
    sync::Arc,
};

use bytes::Bytes;
use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    anchor::{anchor, parse_anchor},
    checkpoint::Checkpoint,
    hash::leaf_hash,
    merkle::InclusionProof,
};
use glasslog_index::Revision;
use glasslog_vindex::{
    Evidence, Given, Key, List, ListEnd, Lookup, MapFunction, Proof, Question, Value, keys_of,
    lookup::MAX_TAIL_BYTES,
};

use crate::{
    IndexReadError, ReadError,
    read::{Reader, Signed},
};

/// The most bytes that the given entries of one lookup have together.
const MAX_GIVEN_BYTES: usize = 1 << 20;

/// When so many bytes of bundles have been read for the given entries of one lookup, no further bundle is: 64 full ones would be 1 GiB.
const MAX_BUNDLE_BYTES: usize = 32 << 20;

/// How much a lookup shows beyond the count and the newest index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The end of the list, with at most so many elements.
    pub list: usize,
    /// Entries of the key before the anchor: at most so many of those whose indices are shown, the newest ones, with at most
    /// 1 MiB together; fewer where they are scattered among long ones.
    pub entries: usize,
}

/// A part of a key's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many elements the whole list has.
    pub count: u64,
    /// The final one.
    pub last: Option<LeafIndex>,
    /// The position of the first element of this page, from 0.
    pub start: u64,
    /// The elements from there on, ascending.
    pub indices: Vec<LeafIndex>,
}

impl Page {
    /// The position where the next page begins, if there is one.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        let end = self.start.saturating_add(self.indices.len() as u64);
        (end < self.count).then_some(end)
    }
}

/// A public checkpoint and the state of the index that it anchors.
pub struct Pair {
    signed: Arc<Signed>,
    /// Nothing under the checkpoint of the empty log.
    anchored: Option<Arc<Anchored>>,
    map_fn: Arc<dyn MapFunction>,
    generation: u64,
}

/// A state of the index, and why a tree vouches for it.
pub(super) struct Anchored {
    at: LeafIndex,
    inclusion: InclusionProof,
    revision: Arc<Revision>,
    /// Every entry after the anchor.
    tail: Vec<Vec<u8>>,
    /// Where the keys of the tail are found.
    hits: HashMap<Key, Vec<LeafIndex>>,
}

/// What came of making an [`Anchored`].
pub(super) enum Made {
    Whole(Anchored),
    /// Too many bytes follow the anchor.
    TailTooLong,
    /// Another anchor with a root follows it.
    NewerAnchor(LeafIndex),
}

impl Pair {
    pub(super) fn new(
        signed: Arc<Signed>,
        anchored: Option<Arc<Anchored>>,
        map_fn: Arc<dyn MapFunction>,
        generation: u64,
    ) -> Pair {
        Pair { signed, anchored, map_fn, generation }
    }

    /// The size of the checkpoint's tree.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.signed.checkpoint.size
    }

    /// Where the index is anchored, and its root there; nothing under the checkpoint of the empty log.
    #[must_use]
    pub fn anchor(&self) -> Option<(LeafIndex, Hash)> {
        self.anchored.as_ref().map(|anchored| (anchored.at, anchored.revision.root()))
    }

    /// How many keys the index has there.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.anchored.as_ref().map_or(0, |anchored| anchored.revision.keys())
    }

    pub(super) fn note(&self) -> &Bytes {
        &self.signed.note
    }

    pub(super) fn anchored(&self) -> Option<Arc<Anchored>> {
        self.anchored.clone()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn lookup(
        &self,
        question: Question,
        key: &Key,
        wanted: &Wanted,
        reader: &Reader,
    ) -> Result<Lookup, IndexReadError> {
        let checkpoint = self.signed.text.clone();
        let Some(anchored) = &self.anchored else {
            let (anchor, inclusion) = (LeafIndex(0), InclusionProof::default());
            return Ok(Lookup { question, checkpoint, anchor, inclusion, evidence: Evidence::EmptyLog });
        };
        let tail = anchored.tail.clone();
        let evidence = match prove(&anchored.revision, key)? {
            Proof::Absent(trie) => Evidence::Absent { trie, tail },
            Proof::Present(trie) => {
                let list = list_end(&anchored.revision, key, &trie.value, wanted.list)?;
                let listed = list.as_ref().map_or(slice::from_ref(&trie.value.last), |list| &list.indices);
                let entries = self.given(key, listed, wanted.entries, reader)?;
                Evidence::Present { trie, list, tail, entries }
            }
        };
        let (anchor, inclusion) = (anchored.at, anchored.inclusion.clone());
        Ok(Lookup { question, checkpoint, anchor, inclusion, evidence })
    }

    pub(super) fn page(
        &self,
        key: &Key,
        found: &Lookup,
        start: u64,
        limit: usize,
    ) -> Result<Page, IndexReadError> {
        let Some(anchored) = &self.anchored else {
            return Ok(Page { count: 0, last: None, start, indices: Vec::new() });
        };
        let mut page = match &found.evidence {
            Evidence::Present { trie, list, .. } => {
                page_of_list(&anchored.revision, key, &trie.value, list.as_ref(), start, limit)?
            }
            _ => Page { count: 0, last: None, start, indices: Vec::new() },
        };
        if let Some(hits) = anchored.hits.get(key) {
            let skipped = usize::try_from(start.saturating_sub(page.count)).unwrap_or(usize::MAX);
            let room = limit.saturating_sub(page.indices.len());
            // Hits follow on the final element alone.
            if page.next().is_none() {
                page.indices.extend(hits.iter().skip(skipped).take(room));
            }
            page.count += hits.len() as u64;
            page.last = hits.last().copied().or(page.last);
        }
        Ok(page)
    }

    /// The newest of the `listed` entries, with the proofs that they are in the tree and with that of their map to the key.
    fn given(
        &self,
        key: &Key,
        listed: &[LeafIndex],
        most: usize,
        reader: &Reader,
    ) -> Result<Vec<Given>, IndexReadError> {
        let Checkpoint { size, root, .. } = &self.signed.checkpoint;
        let mut given = VecDeque::new();
        let (mut bytes, mut read) = (0, 0);
        let mut bundle = (u64::MAX, Vec::new());
        for index in listed.iter().rev().take(most) {
            if bundle.0 != index.0 / 256 {
                if read >= MAX_BUNDLE_BYTES {
                    break;
                }
                bundle = (index.0 / 256, reader.bundle(index.0 / 256, *size)?);
                read += bundle.1.iter().map(|(_, entry)| entry.len()).sum::<usize>();
            }
            let entry = bundle.1.iter().find(|(found, _)| found == index);
            let entry = entry.map(|(_, entry)| entry.to_vec()).unwrap_or_default();
            bytes += entry.len();
            if bytes > MAX_GIVEN_BYTES {
                break;
            }
            let inclusion = reader.inclusion(*index, *size, root)?;
            if inclusion.verify(&leaf_hash(&entry), *index, *size, root).is_err() {
                return Err(contradiction(format!(
                    "the entry at {index} in its bundle is not the one in the tree signed for size {size}"
                )));
            }
            if !keys_of(self.map_fn.as_ref(), &entry).contains(key) {
                return Err(IndexReadError::Corrupt(format!(
                    "it lists entry {index} under {key}, which that entry does not map to"
                )));
            }
            given.push_front(Given { index: *index, entry, inclusion });
        }
        Ok(given.into())
    }
}

impl Anchored {
    pub(super) fn at(&self) -> LeafIndex {
        self.at
    }

    pub(super) fn revision(&self) -> &Arc<Revision> {
        &self.revision
    }

    /// Proves that `checkpoint` anchors `revision` at `at`. What `last`, the state served so far, has read of the tail is not
    /// read again.
    pub(super) fn make(
        at: LeafIndex,
        revision: Arc<Revision>,
        checkpoint: &Checkpoint,
        last: Option<&Anchored>,
        map_fn: &dyn MapFunction,
        reader: &Reader,
    ) -> Result<Made, IndexReadError> {
        let (size, root) = (checkpoint.size, &checkpoint.root);
        let leaf = leaf_hash(&anchor(map_fn.name(), Some(&revision.root()), TreeSize(at.0)));
        let inclusion = reader.inclusion(at, size, root)?;
        if revision.size().0 != at.0 || inclusion.verify(&leaf, at, size, root).is_err() {
            return Err(IndexReadError::Corrupt(format!(
                "over {} entries it has a root that is not anchored at {at}",
                revision.size()
            )));
        }
        let last = last.filter(|last| last.at == at);
        let mut tail = last.map_or_else(Vec::new, |last| last.tail.clone());
        let mut hits = last.map_or_else(HashMap::new, |last| last.hits.clone());
        let known: usize = tail.iter().map(Vec::len).sum();
        let from = LeafIndex(at.0 + 1 + tail.len() as u64);
        match entries_from(from, size, MAX_TAIL_BYTES - known, reader)? {
            Ok(entries) => {
                for (index, entry) in entries {
                    for key in keys_of(map_fn, &entry) {
                        hits.entry(key).or_default().push(index);
                    }
                    tail.push(entry.into());
                }
            }
            Err(nothing) => return Ok(nothing),
        }
        let mut tree = inclusion.before(at, size).map_err(|why| contradiction(why.to_string()))?;
        tree.append(leaf);
        tail.iter().for_each(|entry| tree.append(leaf_hash(entry)));
        if tree.root() != *root {
            return Err(contradiction(format!(
                "the entries after {at} in their bundles are not the last ones of the tree signed for size {size}"
            )));
        }
        Ok(Made::Whole(Anchored { at, inclusion, revision, tail, hits }))
    }
}

type Entries = Vec<(LeafIndex, Bytes)>;

/// The entries `[from, size)`, unless they are too long or there is an anchor with a root among them. The newest come first:
/// that is where an anchor is most likely.
fn entries_from(
    from: LeafIndex,
    size: TreeSize,
    most: usize,
    reader: &Reader,
) -> Result<Result<Entries, Made>, IndexReadError> {
    let mut newest_first = Vec::new();
    let mut bytes = 0;
    for bundle in (from.0 / 256..size.0.div_ceil(256)).rev() {
        for (index, entry) in reader.bundle(bundle, size)?.into_iter().rev() {
            if index < from {
                break;
            }
            if parse_anchor(&entry).is_some_and(|anchor| anchor.root.is_some()) {
                return Ok(Err(Made::NewerAnchor(index)));
            }
            bytes += entry.len();
            newest_first.push((index, entry));
        }
        if bytes > most {
            return Ok(Err(Made::TailTooLong));
        }
    }
    newest_first.reverse();
    Ok(Ok(newest_first))
}

/// As [`Pair::page`], for a state of the index that nothing vouches for.
pub(super) fn page_of_revision(
    revision: &Revision,
    key: &Key,
    start: u64,
    limit: usize,
) -> Result<Page, IndexReadError> {
    match prove(revision, key)? {
        Proof::Present(trie) => page_of_list(revision, key, &trie.value, None, start, limit),
        Proof::Absent(_) => Ok(Page { count: 0, last: None, start, indices: Vec::new() }),
    }
}

/// What the trie says, checked against its own root: what does not verify is never served.
fn prove(revision: &Revision, key: &Key) -> Result<Proof, IndexReadError> {
    let proof = revision.prove(key)?;
    let root = match &proof {
        Proof::Present(trie) => trie.root_at(key, revision.size()),
        Proof::Absent(trie) => trie.root_at(key, revision.size()),
    };
    match root {
        Ok(root) if root == revision.root() => Ok(proof),
        Ok(_) => Err(damaged(key, "its trie proof leads to another root")),
        Err(why) => Err(damaged(key, &why.to_string())),
    }
}

/// The end of the list, checked against its value.
fn list_end(
    revision: &Revision,
    key: &Key,
    value: &Value,
    most: usize,
) -> Result<Option<ListEnd>, IndexReadError> {
    if most == 0 {
        return Ok(None);
    }
    let Some(end) = revision.list_end(key, most)? else { return Ok(None) };
    let mut list = List::resume(end.before.clone(), None);
    match list.extend(&end.indices) {
        Ok(()) if list.value() == Some(*value) => Ok(Some(end)),
        _ => Err(damaged(key, "its list is not the one that the trie commits to")),
    }
}

/// A part of the list before the anchor. What lies in `end`, which is verified, comes from there.
fn page_of_list(
    revision: &Revision,
    key: &Key,
    value: &Value,
    end: Option<&ListEnd>,
    start: u64,
    limit: usize,
) -> Result<Page, IndexReadError> {
    let Value { count, last, .. } = *value;
    let expected = usize::try_from(count.saturating_sub(start)).unwrap_or(usize::MAX).min(limit);
    let in_end = end.and_then(|end| start.checked_sub(end.before.size().0).map(|skipped| (end, skipped)));
    let indices = match in_end {
        _ if expected == 0 => Vec::new(),
        Some((end, skipped)) => {
            let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
            end.indices.iter().skip(skipped).take(limit).copied().collect()
        }
        None => revision.page(key, start, limit)?,
    };
    let page = Page { count, last: Some(last), start, indices };
    let ascending = page.indices.is_sorted_by(|a, b| a < b);
    let at_the_end = page.next().is_some() || page.indices.last().is_none_or(|final_one| *final_one == last);
    let below_last = page.indices.last().is_none_or(|final_one| *final_one <= last);
    if page.indices.len() == expected && ascending && at_the_end && below_last {
        Ok(page)
    } else {
        Err(damaged(key, "a part of its list is not as the trie says"))
    }
}

fn contradiction(what: String) -> IndexReadError {
    ReadError::Contradiction(what).into()
}

fn damaged(key: &Key, what: &str) -> IndexReadError {
    IndexReadError::Corrupt(format!("of key {key}: {what}"))
}
