//! Where a key belongs: buckets are the keys that agree in their first bits.

use glasslog_vindex::Key;

/// The fewest bits of a bucket: an index that is still small has 4,096 buckets.
pub(crate) const MIN_BITS: u8 = 12;
/// The most: 2^24 buckets of 16 keys are 270 M keys.
pub(crate) const MAX_BITS: u8 = 24;

/// The first 64 bits.
pub(crate) fn prefix(key: &Key) -> u64 {
    key.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Whether `one` comes before `other`: as `<`, but for keys that are hashes nearly always by one comparison of numbers.
pub(crate) fn precedes(one: &Key, other: &Key) -> bool {
    let (first, second) = (prefix(one), prefix(other));
    first < second || (first == second && one < other)
}

/// The first `bits` bits as a number.
pub(crate) fn cell(key: &Key, bits: u8) -> usize {
    let shifted = prefix(key).checked_shr(64 - u32::from(bits)).unwrap_or(0);
    usize::try_from(shifted).unwrap_or(usize::MAX)
}

/// The prefixes of the keys of a bucket: from the first on and below the second, if there is one.
pub(crate) fn range_of(bucket: usize, bits: u8) -> (u64, Option<u64>) {
    let shift = 64 - u32::from(bits);
    let low = |bucket: usize| (bucket as u64).checked_shl(shift).unwrap_or(0);
    (low(bucket), (bucket + 1 < 1 << bits).then(|| low(bucket + 1)))
}

/// How many bits make buckets of 8 to 16 keys.
pub(crate) fn bits_for(keys: u64) -> u8 {
    let bits = (keys / 8).max(1).ilog2();
    u8::try_from(bits).unwrap_or(MAX_BITS).clamp(MIN_BITS, MAX_BITS)
}
