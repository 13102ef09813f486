//! RFC 6962 §2.1 and tlog-tiles word for word, as slow as they are obvious: the judge of everything else here.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use glasslog_core::{
    Hash, TreeSize,
    hash::{leaf_hash, node_hash},
};

pub(crate) type Objects = BTreeMap<String, Vec<u8>>;

/// All the entries that a test's trees are beginnings of.
pub(crate) struct Entries {
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) leaves: Vec<Hash>,
    /// Subtrees hashed before: the only thing here that is not in the RFC.
    known: RefCell<HashMap<Range<usize>, Hash>>,
}

impl Entries {
    /// Entries of many lengths, 0 among them, all but those different.
    pub(crate) fn new(count: usize) -> Entries {
        let entries: Vec<Vec<u8>> =
            (0..count).map(|i| i.to_string().repeat(i * 7 % 11).into_bytes()).collect();
        Entries::of(entries)
    }

    pub(crate) fn of(entries: Vec<Vec<u8>>) -> Entries {
        let leaves = entries.iter().map(|entry| leaf_hash(entry)).collect();
        Entries { entries, leaves, known: RefCell::default() }
    }

    /// MTH(D[n]).
    pub(crate) fn root(&self, n: usize) -> Hash {
        if n == 0 { Hash::EMPTY_ROOT } else { self.mth(0..n) }
    }

    /// MTH of the leaves in `range`, which is not empty.
    pub(crate) fn mth(&self, range: Range<usize>) -> Hash {
        if range.len() == 1 {
            return self.leaves[range.start];
        }
        if let Some(known) = self.known.borrow().get(&range) {
            return *known;
        }
        let (left, right) = split(&range);
        let hash = node_hash(&self.mth(left), &self.mth(right));
        self.known.borrow_mut().insert(range, hash);
        hash
    }

    /// PATH(m, D[n]).
    pub(crate) fn path(&self, m: usize, n: usize) -> Vec<Hash> {
        self.path_in(m, 0..n)
    }

    fn path_in(&self, m: usize, range: Range<usize>) -> Vec<Hash> {
        if range.len() == 1 {
            return vec![];
        }
        let (left, right) = split(&range);
        if left.contains(&m) {
            [self.path_in(m, left), vec![self.mth(right)]].concat()
        } else {
            [self.path_in(m, right), vec![self.mth(left)]].concat()
        }
    }

    /// PROOF(m, D[n]); from the empty tree there is nothing to prove.
    pub(crate) fn consistency(&self, m: usize, n: usize) -> Vec<Hash> {
        if m == 0 { vec![] } else { self.subproof(m, 0..n, true) }
    }

    fn subproof(&self, m: usize, range: Range<usize>, known: bool) -> Vec<Hash> {
        if m == range.end {
            return if known { vec![] } else { vec![self.mth(range)] };
        }
        let (left, right) = split(&range);
        if m <= left.end {
            [self.subproof(m, left, known), vec![self.mth(right)]].concat()
        } else {
            [self.subproof(m, right, false), vec![self.mth(left)]].concat()
        }
    }

    /// Everything that tlog-tiles says a log of the first `n` entries serves: path and content. Paths and framing are
    /// spelt independently of the code under test.
    pub(crate) fn objects(&self, n: usize) -> Objects {
        let mut objects = Objects::new();
        for (index, bundle) in self.entries[..n].chunks(256).enumerate() {
            let framed = bundle.iter().flat_map(|entry| {
                let len =
                    [u8::try_from(entry.len() / 256).unwrap(), u8::try_from(entry.len() % 256).unwrap()];
                [&len[..], entry].concat()
            });
            objects.insert(place("entries", index, bundle.len()), framed.collect());
        }
        let mut step = 1;
        for level in 0..4 {
            let hashes: Vec<Hash> = (0..n / step).map(|i| self.mth(i * step..(i + 1) * step)).collect();
            for (index, tile) in hashes.chunks(256).enumerate() {
                let bytes = tile.iter().flat_map(|hash| hash.0).collect();
                objects.insert(place(&format!("{level}"), index, tile.len()), bytes);
            }
            step *= 256;
        }
        objects
    }
}

pub(crate) fn size(n: usize) -> TreeSize {
    TreeSize(u64::try_from(n).unwrap())
}

/// D[0:k] and D[k:n], k being the largest power of two smaller than n.
fn split(range: &Range<usize>) -> (Range<usize>, Range<usize>) {
    let middle = range.start + range.len().next_power_of_two() / 2;
    (range.start..middle, middle..range.end)
}

fn place(level: &str, index: usize, width: usize) -> String {
    let number = match index {
        0..1000 => format!("{index:03}"),
        _ => format!("x{:03}/{:03}", index / 1000, index % 1000),
    };
    let suffix = if width < 256 { format!(".p/{width}") } else { String::new() };
    format!("tile/{level}/{number}{suffix}")
}
