//! The entries of a bench: a pure function of seed and number, so that a recount can make each of them again.

use super::{BenchArgs, Kind};

/// Sizes of the default mix, in bytes.
const MIX: std::ops::RangeInclusive<u64> = 400..=600;

/// Records of one package name: about what a large channel has.
const RECORDS_PER_NAME: u64 = 50;

/// Makes the entries of one run.
#[derive(Clone, Debug)]
pub(super) struct Entries {
    kind: Kind,
    repo: String,
    seed: u64,
    size: Option<u16>,
}

impl Entries {
    pub(super) fn new(args: &BenchArgs, seed: u64) -> Entries {
        Entries { kind: args.kind, repo: args.repo.clone(), seed, size: args.size }
    }

    /// The entry `number` of the run.
    pub(super) fn make(&self, number: u64) -> Vec<u8> {
        let mut random = Random::new(self.seed, number);
        let size = match self.size {
            Some(size) => usize::from(size),
            None => {
                usize::try_from(MIX.start() + random.next() % (MIX.end() - MIX.start() + 1)).unwrap_or(500)
            }
        };
        match self.kind {
            Kind::Conda => self.record(number, size, &mut random),
            Kind::Raw => self.raw(number, size, &mut random),
        }
    }

    /// A canonical record of the schema conda-1 (FORMATS §4), padded to `size` where it is shorter.
    fn record(&self, number: u64, size: usize, random: &mut Random) -> Vec<u8> {
        let (md5, sha256) = (random.hex(2), random.hex(4));
        let (bytes, build) = (1000 + random.next() % 10_000_000, random.next() % 100);
        let name = format!("bench{:x}-{:x}", self.seed, number / RECORDS_PER_NAME);
        let version = format!("1.{}", number % RECORDS_PER_NAME);
        let before = format!(
            r#"{{"artifact":{{"md5":"{md5}","sha256":"{sha256}","size":{bytes}}},"eco":"conda","meta":{{"build":"h_{build}","build_number":{build},"depends":[],"md5":"{md5}","name":"{name}","sha256":"{sha256}","size":{bytes},"subdir":"noarch","#
        );
        let after = format!(
            r#""version":"{version}"}},"path":"noarch/{name}-{version}-h_{build}.conda","profile":"conda-repodata-1","repo":"{}","type":"record","v":1}}"#,
            self.repo
        );
        let mut entry = before.into_bytes();
        let frame = r#""summary":"","#;
        if let Some(missing) = size.checked_sub(entry.len() + after.len() + frame.len()) {
            entry.extend_from_slice(br#""summary":""#);
            random.letters(missing, &mut entry);
            entry.extend_from_slice(br#"","#);
        }
        entry.extend_from_slice(after.as_bytes());
        entry
    }

    /// Number and seed, then letters; as much of it as fits.
    fn raw(&self, number: u64, size: usize, random: &mut Random) -> Vec<u8> {
        let mut entry = format!("{number:x} {:x} ", self.seed).into_bytes();
        random.letters(size.saturating_sub(entry.len()), &mut entry);
        entry
    }
}

/// splitmix64: fast, and plenty for filler.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64, number: u64) -> Random {
        let mut random = Random(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.next();
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `items`; of none, none.
    pub(super) fn pick<'i, T>(&mut self, items: &'i [T]) -> Option<&'i T> {
        let count = items.len() as u64;
        let pick = if count == 0 { return None } else { self.next() % count };
        items.get(usize::try_from(pick).ok()?)
    }

    fn hex(&mut self, words: usize) -> String {
        let bytes: Vec<u8> = (0..words).flat_map(|_| self.next().to_be_bytes()).collect();
        const_hex::encode(bytes)
    }

    fn letters(&mut self, count: usize, out: &mut Vec<u8>) {
        let end = out.len() + count;
        while out.len() < end {
            let letters = self.next().to_be_bytes().map(|byte| b'a' + byte % 16);
            out.extend_from_slice(&letters);
        }
        out.truncate(end);
    }
}

#[cfg(test)]
impl Entries {
    /// Entries of the usual size, for other tests.
    pub(super) fn of(kind: Kind, seed: u64) -> Entries {
        Entries { kind, repo: "bench".into(), seed, size: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use glasslog_conda::Conda1;
    use glasslog_core::personality::Personality;

    use super::*;

    fn entries(kind: Kind, size: Option<u16>) -> Entries {
        Entries { kind, repo: "bench".into(), seed: 0xdead_beef, size }
    }

    /// Judge: the schema that a log with `ENTRY_SCHEMA=conda-1` applies.
    #[test]
    fn conda_entries_are_valid_unique_and_of_the_usual_size() {
        let (made, mut identities) = (entries(Kind::Conda, None), BTreeSet::new());
        for number in (0..2000).chain([1 << 31, u64::from(u32::MAX)]) {
            let entry = made.make(number);
            let identity = Conda1::any_repo().validate(&entry).unwrap();
            assert!(identities.insert(format!("{identity:?}")), "entry {number} is not unique");
            assert!((400..=660).contains(&entry.len()), "{} bytes", entry.len());
        }
    }

    #[test]
    fn sizes_are_kept_and_entries_come_out_the_same_again() {
        for kind in [Kind::Conda, Kind::Raw] {
            let made = entries(kind, Some(700));
            assert_eq!(made.make(5).len(), 700);
            assert_eq!(made.make(5), made.make(5));
            assert_ne!(made.make(5), made.make(6));
        }
    }
}
