//! Which files were listed, in about nine bytes each.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;

use super::{MAX_WATCHED_NAMES, Section};

/// Fourteen bits of a name's hash choose the shard …
const SHARDS: usize = 1 << 14;

/// … and its lower 42 bits are kept, above one bit for v3 and 21 bits of the record's hash.
const NAME_SHIFT: u32 = 22;
const V3_BIT: u64 = 1 << 21;
const RECORD_MASK: u64 = V3_BIT - 1;

/// Fingerprints of names and their records.
///
/// 56 bits of a keyed hash stand for a name: in a file of 600,000 names two are taken for one with a probability of
/// 2·10⁻⁶, which would be reported, and the key is drawn anew for each run.
#[derive(Debug)]
pub(super) struct Names {
    shards: Vec<Vec<u64>>,
    count: usize,
    hasher: DefaultHashBuilder,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// This is the first time.
    First,
    /// It was not remembered: too many others are.
    Unwatched,
    /// With the same record.
    Alike,
    /// With another record.
    Differs {
        /// That one stands in v3.
        in_v3: bool,
    },
}

impl Names {
    pub(super) fn new() -> Names {
        Names { shards: vec![Vec::new(); SHARDS], count: 0, hasher: DefaultHashBuilder::default() }
    }

    /// Notes that `file` is listed with `record`. The first record of v3 takes the place of one outside it.
    pub(super) fn note(&mut self, file: &str, section: Section, record: &[u8]) -> Listed {
        let name = self.hasher.hash_one(file);
        let record = self.hasher.hash_one(record) & RECORD_MASK;
        let shard = usize::try_from(name >> 50).unwrap_or_default() % SHARDS;
        let Some(shard) = self.shards.get_mut(shard) else { return Listed::Unwatched };
        let name = name << NAME_SHIFT;
        if let Some(known) = shard.iter_mut().find(|known| (**known ^ name) >> NAME_SHIFT == 0) {
            let (alike, in_v3) = (*known & RECORD_MASK == record, *known & V3_BIT != 0);
            if section == Section::V3 && !in_v3 {
                *known = (*known & !RECORD_MASK) | V3_BIT | record;
            }
            return if alike { Listed::Alike } else { Listed::Differs { in_v3 } };
        }
        if self.count == MAX_WATCHED_NAMES {
            return Listed::Unwatched;
        }
        if shard.len() == shard.capacity() {
            // A quarter at a time, where doubling would waste half.
            shard.reserve_exact((shard.len() / 4).max(8));
        }
        shard.push(name | if section == Section::V3 { V3_BIT } else { 0 } | record);
        self.count += 1;
        Listed::First
    }
}
