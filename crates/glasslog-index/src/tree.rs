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

/// What stands for a subtree without keys. No subtree with keys has this hash.
pub(crate) const NONE: Hash = Hash::EMPTY_ROOT;

/// Levels of a chunk.
const LEVELS: u8 = 6;
/// Its nodes at level 6.
const LEAVES: usize = 1 << LEVELS;
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
        let there = hashes.iter().copied().zip(0..).filter(|(hash, _)| *hash != NONE);
        tree.set(&there.map(|(hash, bucket)| (bucket, hash)).collect::<Vec<_>>());
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
        let (bits, tiers) = (self.bits, self.tiers.len());
        let mut changed = hashes.to_vec();
        for (number, tier) in self.tiers.iter_mut().enumerate() {
            let depth = Depth { above: (tiers - number - 1) * usize::from(LEVELS), pad: padding(bits) };
            let mut above = Vec::new();
            for same in changed.chunk_by(|(one, _), (other, _)| one / 64 == other / 64) {
                let Some((first, _)) = same.first() else { continue };
                let Some(chunk) = usize::try_from(first / 64).ok().and_then(|at| tier.get_mut(at)) else {
                    continue;
                };
                let chunk = Arc::make_mut(chunk);
                chunk.set(same, depth);
                above.push((first / 64, chunk.0[0]));
            }
            changed = above;
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

impl Chunk {
    /// Gives nodes of level 6, by their number modulo 64, other hashes, and those above them theirs.
    fn set(&mut self, hashes: &[(u32, Hash)], depth: Depth) {
        let mut touched = 0_u64;
        for (node, hash) in hashes {
            let node = usize::try_from(node % 64).unwrap_or(0);
            self.0[LEVEL_AT[3] + node] = *hash;
            touched |= 1 << node;
        }
        for level in (0..3).rev() {
            let depth = Depth { above: depth.above + 2 * level, ..depth };
            let mut above = 0;
            while touched != 0 {
                let node = touched.trailing_zeros() / 4;
                touched &= !(0xf << (4 * node));
                above |= 1 << node;
                let node = usize::try_from(node).unwrap_or(0);
                let start = LEVEL_AT[level + 1] + 4 * node;
                let &[a, b, c, d] = self.0[start..].first_chunk().unwrap_or(&[NONE; 4]);
                let below = depth.below();
                self.0[LEVEL_AT[level] + node] = depth.join(below.join(a, b), below.join(c, d));
            }
            touched = above;
        }
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
