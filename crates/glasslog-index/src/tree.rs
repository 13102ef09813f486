//! The hashes of the buckets, and the trie above them.
//!
//! A bucket is the subtree of the trie with all keys that begin with the same `bits` bits; its hash is that of its keys. Above
//! it, the node at depth d over two buckets' ancestors is the trie's own inner node for bit d, if both sides hold keys, and the
//! side that does otherwise (vindex.md §4).
//!
//! In memory: chunks of six levels, of which every other is kept (so 43 bytes a bucket, and one more hash for two levels), shared
//! between the versions of the tree until one of them changes.

use std::sync::Arc;

use glasslog_core::Hash;
use glasslog_vindex::{Key, Step, trie::inner};

use crate::layers::hash_all;

/// What stands for a subtree without keys. No subtree with keys has this hash.
pub(crate) const NONE: Hash = Hash::EMPTY_ROOT;

/// Levels of a chunk.
const LEVELS: u8 = 6;
/// Its nodes at level 6.
const LEAVES: usize = 1 << LEVELS;
/// Buckets of which a new tree takes the hashes at once.
const PIECE: usize = 1 << 14;
/// Where the nodes of its levels 0, 2, 4 and 6 begin.
const LEVEL_AT: [usize; 4] = [0, 1, 5, 21];

#[derive(Clone)]
struct Chunk([Hash; 85]);

/// A version of the tree. A clone costs one count for each chunk.
#[derive(Clone)]
pub(crate) struct Tree {
    bits: u8,
    /// From the buckets up to the one chunk of the root; `tiers[t]` has a chunk for each node of level `6 (t + 1)` from below.
    tiers: Vec<Vec<Arc<Chunk>>>,
}

impl Tree {
    /// The tree without keys, of `bits` bits (1 to 24).
    pub(crate) fn new(bits: u8) -> Tree {
        let none = Arc::new(Chunk([NONE; 85]));
        let tiers = bits.div_ceil(LEVELS);
        let chunks = |tier: u8| 1_usize << bits.saturating_sub(LEVELS * (tier + 1));
        Tree { bits, tiers: (0..tiers).map(|tier| vec![Arc::clone(&none); chunks(tier)]).collect() }
    }

    /// The tree over the hashes of all buckets.
    pub(crate) fn of_buckets(bits: u8, hashes: &[Hash]) -> Tree {
        let mut tree = Tree::new(bits);
        // In pieces: what is hashed together takes 200 bytes a bucket.
        for (piece, first) in hashes.chunks(PIECE).zip((0..).step_by(PIECE)) {
            let there = piece.iter().copied().zip(first..).filter(|(hash, _)| *hash != NONE);
            tree.set(&there.map(|(hash, bucket)| (bucket, hash)).collect::<Vec<_>>());
        }
        tree
    }

    pub(crate) fn bits(&self) -> u8 {
        self.bits
    }

    /// The root of the trie.
    pub(crate) fn root(&self) -> Hash {
        self.tiers
            .last()
            .and_then(|top| top.first())
            .and_then(|chunk| chunk.0.first())
            .copied()
            .unwrap_or(NONE)
    }

    /// The hash of a bucket.
    pub(crate) fn bucket(&self, bucket: usize) -> Hash {
        let chunk = self.tiers.first().and_then(|tier| tier.get(bucket / LEAVES));
        chunk.and_then(|chunk| chunk.0.get(LEVEL_AT[3] + bucket % LEAVES)).copied().unwrap_or(NONE)
    }

    /// Bytes of memory that this version has for itself at most.
    pub(crate) fn memory(&self) -> usize {
        self.tiers.iter().map(|tier| tier.len() * (size_of::<Chunk>() + 24)).sum()
    }

    /// Gives buckets, in ascending order, other hashes.
    pub(crate) fn set(&mut self, hashes: &[(u32, Hash)]) {
        let (pad, tiers) = (padding(self.bits), self.tiers.len());
        let mut changed = hashes.to_vec();
        let mut joins = Joins::default();
        for (number, tier) in self.tiers.iter_mut().enumerate() {
            let mut touched = put(tier, &changed);
            let above = (tiers - number - 1) * usize::from(LEVELS);
            for level in (0..3).rev() {
                climb(tier, &mut touched, level, Depth { above: above + 2 * level, pad }, &mut joins);
            }
            let root = |chunk: u32| Some((chunk, tier.get(usize::try_from(chunk).ok()?)?.0[0]));
            changed = touched.into_iter().filter_map(|(chunk, _)| root(chunk)).collect();
        }
    }

    /// Walks down from the root by the bits of `key`, where a node has two sides, to a bucket that holds keys: it, and the
    /// steps passed, from the top. `None` without any keys.
    pub(crate) fn descend(&self, key: &Key) -> Option<(usize, Vec<Step>)> {
        if self.root() == NONE {
            return None;
        }
        let pad = padding(self.bits);
        let (mut at, mut steps) = (0, Vec::with_capacity(usize::from(self.bits) + 12));
        for (number, tier) in self.tiers.iter().enumerate().rev() {
            let chunk = tier.get(at)?;
            let mut local = 0;
            for level in 0..3 {
                let above = (self.tiers.len() - number - 1) * usize::from(LEVELS) + 2 * level;
                let depth = Depth { above, pad };
                let start = LEVEL_AT.get(level + 1)? + 4 * local;
                let &[a, b, c, d] = chunk.0.get(start..start + 4)?.as_array()?;
                let right = depth.side(key, [a, b], [c, d], &mut steps);
                let [low, high] = if right { [c, d] } else { [a, b] };
                let right_below = depth.below().side(key, [low], [high], &mut steps);
                local = 4 * local + 2 * usize::from(right) + usize::from(right_below);
            }
            at = LEAVES * at + local;
        }
        Some((at, steps))
    }
}

/// Chunks, and of each the nodes that have changed, a bit for each.
type Touched = Vec<(u32, u64)>;

/// Gives nodes of the lowest level of these chunks, in ascending order, other hashes.
fn put(tier: &mut [Arc<Chunk>], hashes: &[(u32, Hash)]) -> Touched {
    let mut touched: Touched = Vec::new();
    for (node, hash) in hashes {
        let (number, node) = (node / 64, usize::try_from(node % 64).unwrap_or(0));
        let Some(chunk) = usize::try_from(number).ok().and_then(|at| tier.get_mut(at)) else { continue };
        Arc::make_mut(chunk).0[LEVEL_AT[3] + node] = *hash;
        match touched.last_mut() {
            Some((last, nodes)) if *last == number => *nodes |= 1 << node,
            _ => touched.push((number, 1 << node)),
        }
    }
    touched
}

/// Hashes the nodes at `level` (0, 1 or 2 for depths 0, 2 and 4) of chunks again whose grandchildren have changed: those of all
/// chunks together.
fn climb(tier: &mut [Arc<Chunk>], touched: &mut Touched, level: usize, depth: Depth, joins: &mut Joins) {
    let mut nodes = Vec::new();
    for (number, touched) in touched {
        let Some(at) = usize::try_from(*number).ok().filter(|at| *at < tier.len()) else { continue };
        let mut above = 0;
        while *touched != 0 {
            let node = touched.trailing_zeros() / 4;
            *touched &= !(0xf << (4 * node));
            above |= 1 << node;
            let node = usize::try_from(node).unwrap_or(0);
            let &[a, b, c, d] =
                tier[at].0[LEVEL_AT[level + 1] + 4 * node..].first_chunk().unwrap_or(&[NONE; 4]);
            joins.push(depth.below(), a, b);
            joins.push(depth.below(), c, d);
            nodes.push((at, node));
        }
        *touched = above;
    }
    for pair in joins.finish().as_chunks().0 {
        let [left, right] = *pair;
        joins.push(depth, left, right);
    }
    for ((at, node), hash) in nodes.into_iter().zip(joins.finish()) {
        Arc::make_mut(&mut tier[at]).0[LEVEL_AT[level] + node] = hash;
    }
}

/// Nodes that are hashed together.
#[derive(Default)]
struct Joins {
    hashes: Vec<Hash>,
    /// Which of them have two sides.
    waiting: Vec<usize>,
    /// `uv(bit) ‖ left ‖ right` of those (vindex.md §4); a bit above the buckets is below 128, one byte.
    messages: Vec<[u8; 65]>,
    done: Vec<Hash>,
}

impl Joins {
    fn push(&mut self, depth: Depth, left: Hash, right: Hash) {
        if left == NONE || right == NONE {
            self.hashes.push(if left == NONE { right } else { left });
            return;
        }
        let mut message = [depth.bit(); 65];
        message[1..33].copy_from_slice(&left.0);
        message[33..].copy_from_slice(&right.0);
        self.waiting.push(self.hashes.len());
        self.hashes.push(NONE);
        self.messages.push(message);
    }

    /// The nodes that were pushed, in their order.
    fn finish(&mut self) -> Vec<Hash> {
        hash_all(1, &self.messages, &mut self.done);
        for (at, hash) in self.waiting.iter().zip(&self.done) {
            self.hashes[*at] = *hash;
        }
        self.waiting.clear();
        self.messages.clear();
        std::mem::take(&mut self.hashes)
    }
}

/// The depth of a node in a tree whose bits were filled up to whole chunks: on the levels that were added, only the left side
/// is there.
#[derive(Clone, Copy)]
struct Depth {
    above: usize,
    pad: usize,
}

impl Depth {
    fn below(self) -> Depth {
        Depth { above: self.above + 1, ..self }
    }

    fn bit(self) -> u8 {
        u8::try_from(self.above.saturating_sub(self.pad)).unwrap_or(u8::MAX)
    }

    fn join(self, left: Hash, right: Hash) -> Hash {
        if right == NONE {
            left
        } else if left == NONE {
            right
        } else {
            inner(self.bit(), &left, &right)
        }
    }

    /// Whether to go right at a node whose sides are over these nodes; notes the step if there are two.
    fn side<const N: usize>(
        self,
        key: &Key,
        left: [Hash; N],
        right: [Hash; N],
        steps: &mut Vec<Step>,
    ) -> bool {
        let holds = |side: &[Hash; N]| side.iter().any(|hash| *hash != NONE);
        if !(holds(&left) && holds(&right)) {
            return holds(&right);
        }
        let goes_right = key.bit(self.bit());
        let other = if goes_right { left } else { right };
        let sibling = other.into_iter().reduce(|one, two| self.below().join(one, two)).unwrap_or(NONE);
        steps.push(Step { bit: self.bit(), sibling });
        goes_right
    }
}

fn padding(bits: u8) -> usize {
    usize::from(bits.div_ceil(LEVELS) * LEVELS - bits)
}

/// The hashes of buckets of `bits` bits from those of `bits + 1`.
pub(crate) fn halve(bits: u8, hashes: &[Hash]) -> Vec<Hash> {
    let depth = Depth { above: bits.into(), pad: 0 };
    hashes.as_chunks().0.iter().map(|[left, right]| depth.join(*left, *right)).collect()
}
