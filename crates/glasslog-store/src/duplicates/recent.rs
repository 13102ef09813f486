//! The part in memory: what was sequenced lately and is not in the table yet.

use std::{collections::VecDeque, sync::Arc};

use glasslog_core::{Hash, LeafIndex, TreeSize, personality::Identity};
use hashbrown::HashTable;

use crate::runs::mix;

/// The latest entry of every identity among the entries from [`Recent::from`] on.
///
/// Owned by one thread. Entries are inserted in the order of their indices; from time to time everything so far is frozen
/// ([`Recent::freeze_below`]), spilled to the table by another thread, and dropped here when that is durable
/// ([`Recent::drop_frozen`]). Until then the frozen part still answers.
///
/// Costs: 56 bytes an entry and about 10 for finding it; 100 to 300 ns a call, most of it cache misses.
pub struct Recent {
    seed: u64,
    from: TreeSize,
    active: Part,
    /// Oldest first.
    frozen: VecDeque<Arc<Frozen>>,
}

/// Entries that wait to be spilled.
pub struct Frozen {
    part: Part,
    up_to: TreeSize,
}

#[derive(Default)]
struct Part {
    /// Ascending by index. An identity may stand here several times; the table points to the last.
    entries: Vec<Entry>,
    positions: HashTable<u32>,
}

#[derive(Clone, Copy)]
struct Entry {
    identity: Identity,
    index: LeafIndex,
    leaf_hash: Hash,
}

impl Frozen {
    /// What [`Table::spill`](super::Table::spill) takes; to be called on the thread that spills.
    #[must_use]
    pub fn rows(&self) -> Vec<(Identity, LeafIndex)> {
        self.part.entries.iter().map(|entry| (entry.identity, entry.index)).collect()
    }

    /// Every entry of [`Frozen::rows`] is below this.
    #[must_use]
    pub fn up_to(&self) -> TreeSize {
        self.up_to
    }
}

impl Recent {
    /// Nothing yet; it will hold the entries from `from` on, which is what the table covers. `seed` is random and
    /// secret, so that nobody can choose identities that collide.
    #[must_use]
    pub fn new(seed: u64, from: TreeSize) -> Recent {
        Recent { seed, from, active: Part::default(), frozen: VecDeque::new() }
    }

    /// All entries from this index on are known here; older ones must be looked up in the table.
    #[must_use]
    pub fn from(&self) -> TreeSize {
        self.from
    }

    /// How many entries are held, superseded ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.active.entries.len() + self.frozen.iter().map(|frozen| frozen.part.entries.len()).sum::<usize>()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries the next [`Recent::freeze_below`] can take: when to call it.
    #[must_use]
    pub fn active_len(&self) -> usize {
        self.active.entries.len()
    }

    /// Notes that the entry at `index`, above all indices so far, is the latest of `identity`.
    pub fn insert(&mut self, identity: Identity, index: LeafIndex, leaf_hash: Hash) {
        self.active.insert(self.seed, Entry { identity, index, leaf_hash });
    }

    /// The latest entry of `identity`, if it is one of those held here.
    #[must_use]
    pub fn get(&self, identity: &Identity) -> Option<(LeafIndex, Hash)> {
        let hash = mix(self.seed, &identity.0);
        let parts = core::iter::once(&self.active).chain(self.frozen.iter().rev().map(|frozen| &frozen.part));
        parts.filter_map(|part| part.get(hash, identity)).next().map(|entry| (entry.index, entry.leaf_hash))
    }

    /// Freezes the entries below `up_to`, to be spilled and then dropped. Costs what is held at or above it.
    pub fn freeze_below(&mut self, up_to: TreeSize) -> Arc<Frozen> {
        let split = self.active.entries.partition_point(|entry| up_to.contains(entry.index));
        let kept = self.active.entries.split_off(split);
        // An identity that has an entry among those kept is no longer found in the frozen part. Nobody asks there: the
        // newer entry answers first for as long as the older one is held.
        let part = std::mem::replace(&mut self.active, Part::with_capacity(split));
        for entry in kept {
            self.active.insert(self.seed, entry);
        }
        let frozen = Arc::new(Frozen { part, up_to });
        self.frozen.push_back(Arc::clone(&frozen));
        frozen
    }

    /// Drops the frozen entries below `up_to`, once the table covers it.
    pub fn drop_frozen(&mut self, up_to: TreeSize) {
        while let Some(oldest) = self.frozen.front().filter(|oldest| oldest.up_to <= up_to) {
            self.from = self.from.max(oldest.up_to);
            self.frozen.pop_front();
        }
    }
}

impl Part {
    fn with_capacity(entries: usize) -> Part {
        Part { entries: Vec::with_capacity(entries), positions: HashTable::with_capacity(entries) }
    }

    fn get(&self, hash: u64, identity: &Identity) -> Option<&Entry> {
        let at = |position: u32| self.entries.get(usize::try_from(position).ok()?);
        let found = self
            .positions
            .find(hash, |&position| at(position).is_some_and(|entry| entry.identity == *identity));
        found.and_then(|&position| at(position))
    }

    fn insert(&mut self, seed: u64, entry: Entry) {
        let position = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(entry);
        let entries = &self.entries;
        let at = |position: u32| usize::try_from(position).ok().and_then(|at| entries.get(at));
        let hash_at = |&position: &u32| at(position).map_or(0, |entry| mix(seed, &entry.identity.0));
        let same = |&position: &u32| at(position).is_some_and(|other| other.identity == entry.identity);
        *self.positions.entry(mix(seed, &entry.identity.0), same, hash_at).or_insert(position).get_mut() =
            position;
    }
}
