//! A split-block Bloom filter: 256-bit blocks, one bit in each of a block's eight words, so a question costs one
//! cache line. The layout is that of Apache Parquet's filter; hash and seed are our own.

/// Bits a row. About 1 key in 1,000 that is absent is taken for present.
const BITS_PER_ROW: u64 = 16;
/// Odd multipliers, one per word of a block, that choose a bit of it (those of the Parquet specification).
const SALTS: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 32;

/// Which keys a run may hold.
pub(super) struct Filter {
    /// Random per run: whoever chooses keys cannot choose what they collide with.
    seed: u64,
    blocks: Vec<[u32; 8]>,
}

impl Filter {
    /// An empty filter with room for `rows` keys.
    pub(super) fn with_room_for(seed: u64, rows: u64) -> Filter {
        let blocks =
            rows.saturating_mul(BITS_PER_ROW).div_ceil(8 * BLOCK_BYTES as u64).clamp(1, u64::from(u32::MAX));
        Filter { seed, blocks: vec![[0; 8]; usize::try_from(blocks).unwrap_or(1)] }
    }

    /// An empty filter that `push_bytes` fills with what was stored.
    pub(super) fn to_be_read(seed: u64, blocks: usize) -> Filter {
        Filter { seed, blocks: Vec::with_capacity(blocks) }
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn insert(&mut self, key: &[u8]) {
        let (block, mask) = self.place(key);
        if let Some(block) = self.blocks.get_mut(block) {
            for (word, bit) in block.iter_mut().zip(mask) {
                *word |= bit;
            }
        }
    }

    /// Whether `key` may have been inserted; `false` is certain.
    pub(super) fn may_contain(&self, key: &[u8]) -> bool {
        let (block, mask) = self.place(key);
        let missing =
            |block: &[u32; 8]| block.iter().zip(mask).fold(0, |missing, (word, bit)| missing | (bit & !word));
        self.blocks.get(block).is_some_and(|block| missing(block) == 0)
    }

    /// The stored form of the blocks, little-endian, in pieces that are written one after the other.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Vec<u8>> {
        self.blocks
            .chunks(8192)
            .map(|blocks| blocks.iter().flatten().flat_map(|word| word.to_le_bytes()).collect())
    }

    /// Takes up whole blocks of the stored form.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        for block in bytes.chunks_exact(BLOCK_BYTES) {
            let mut words = [0; 8];
            for (word, bytes) in words.iter_mut().zip(block.as_chunks().0) {
                *word = u32::from_le_bytes(*bytes);
            }
            self.blocks.push(words);
        }
    }

    /// The block of `key` by the upper half of its hash, and its bits in there by the lower half.
    fn place(&self, key: &[u8]) -> (usize, [u32; 8]) {
        let hash = mix(self.seed, key);
        let (_, block) = hash.carrying_mul(self.blocks.len() as u64, 0);
        let low = u32::try_from(hash & 0xffff_ffff).unwrap_or(0);
        (usize::try_from(block).unwrap_or(0), SALTS.map(|salt| 1 << (low.wrapping_mul(salt) >> 27)))
    }
}

/// A cheap keyed hash for keys that are hashes themselves: as uniform as they are, and with a secret `seed` not to be
/// steered by whoever grinds them.
pub(crate) fn mix(seed: u64, key: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |hash: u64, word: [u8; 8]| {
        let (low, high) = (hash ^ u64::from_le_bytes(word)).carrying_mul(MULTIPLIER, 0);
        low ^ high
    };
    let (words, rest) = key.as_chunks();
    let hash = words.iter().fold(seed, |hash, word| step(hash, *word));
    if rest.is_empty() {
        return hash;
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    step(hash, last)
}
