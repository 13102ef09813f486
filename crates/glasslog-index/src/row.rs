//! The rows of every layer: heads and postings.
//!
//! ```text
//! head      key -> uv count ‖ elements                              if count <= 8
//!                  uv count ‖ uv last ‖ peaks                       otherwise
//! posting   key ‖ be64 start -> uv count ‖ elements                 of a list of more than 8
//! elements  uv first ‖ (uv difference to the one before)*
//! ```
//!
//! `peaks` are the hashes of the compact range over the list, one for each bit of its count: all that it takes to append to
//! the list and to know its value. The posting rows of a list hold its elements from position `start` on, at most 256 each, and
//! together all of them. A head in a newer layer stands for the key's whole list; posting rows of newer layers continue older ones.

use glasslog_core::{Hash, LeafIndex, TreeSize, merkle::CompactRange};
use glasslog_vindex::{Key, List, Value};

use crate::place::precedes;

/// Lists of so many elements stand in their head.
pub(crate) const INLINE: usize = 8;
/// The most elements of a posting row.
pub(crate) const CHUNK: usize = 256;

/// Where a row belongs among those of its kind.
pub(crate) type Place = (Key, u64);

/// Whether a row at `one` comes before a row at `other`.
pub(crate) fn in_order(one: &Place, other: &Place) -> bool {
    precedes(&one.0, &other.0) || (one.0 == other.0 && one.1 < other.1)
}

/// A row of either kind: `start` of a head is 0.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) key: Key,
    pub(crate) start: u64,
    pub(crate) bytes: &'a [u8],
}

impl Row<'_> {
    pub(crate) fn place(&self) -> Place {
        (self.key, self.start)
    }
}

/// A list as its head row says it.
#[derive(Clone)]
pub(crate) enum Head<'a> {
    /// All of it.
    Short { elements: [u64; INLINE], count: usize },
    /// What a value needs.
    Long { count: u64, last: u64, peaks: &'a [[u8; 32]] },
}

impl<'a> Head<'a> {
    /// Reads the head that `bytes` are; `None` if they are none.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Head<'a>> {
        let (count, rest) = take_uv(bytes)?;
        match usize::try_from(count) {
            Ok(0) => None,
            Ok(count @ 1..=INLINE) => {
                let mut elements = [0; INLINE];
                let rest = take_elements(rest, elements.get_mut(..count)?)?;
                rest.is_empty().then_some(Head::Short { elements, count })
            }
            _ => {
                let (last, rest) = take_uv(rest)?;
                let (peaks, rest) = rest.as_chunks::<32>();
                let expected = usize::try_from(count.count_ones()).ok()?;
                (rest.is_empty() && peaks.len() == expected).then_some(Head::Long { count, last, peaks })
            }
        }
    }

    /// How many bytes of `bytes` are the head that they begin with.
    pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
        let (count, mut rest) = take_uv(bytes)?;
        match count {
            0 => return None,
            1..=8 => {
                for _ in 0..count {
                    (_, rest) = take_uv(rest)?;
                }
            }
            _ => {
                (_, rest) = take_uv(rest)?;
                rest = rest.get(usize::try_from(count.count_ones()).ok()? * 32..)?;
            }
        }
        Some(bytes.len() - rest.len())
    }

    pub(crate) fn count(&self) -> u64 {
        match self {
            Head::Short { count, .. } => *count as u64,
            Head::Long { count, .. } => *count,
        }
    }

    /// The elements, if they stand here.
    pub(crate) fn elements(&self) -> Option<&[u64]> {
        match self {
            Head::Short { elements, count } => elements.get(..*count),
            Head::Long { .. } => None,
        }
    }

    /// The list; `None` if it does not ascend.
    pub(crate) fn list(&self) -> Option<List> {
        match self {
            Head::Short { .. } => list_of(&List::new(), self.elements()?),
            Head::Long { count, last, peaks } => {
                let hashes = peaks.iter().map(|hash| Hash(*hash)).collect();
                let range = CompactRange::from_hashes(TreeSize(*count), hashes)?;
                Some(List::resume(range, Some(LeafIndex(*last))))
            }
        }
    }

    /// The value of the list.
    pub(crate) fn value(&self) -> Option<Value> {
        self.list()?.value()
    }
}

/// `list` with `elements` behind it; `None` if they do not ascend.
pub(crate) fn list_of(list: &List, elements: &[u64]) -> Option<List> {
    let mut list = list.clone();
    elements.iter().try_for_each(|index| list.push(LeafIndex(*index))).ok()?;
    Some(list)
}

/// What a list becomes: appends its head to `head`, and hands over its new posting rows. `None` if it does not ascend.
pub(crate) fn append(
    old: Option<&Head<'_>>,
    new: &[u64],
    head: &mut Vec<u8>,
    mut posting: impl FnMut(u64, &[u64]),
) -> Option<()> {
    let before = old.and_then(Head::elements).unwrap_or_default();
    let count = old.map_or(0, Head::count);
    let total = count.checked_add(new.len() as u64)?;
    if total <= INLINE as u64 {
        let mut elements = [0; INLINE];
        let all = elements.get_mut(..before.len() + new.len())?;
        let (first, second) = all.split_at_mut(before.len());
        first.copy_from_slice(before);
        second.copy_from_slice(new);
        put_uv(head, total);
        return put_elements(head, all);
    }
    let old = old.map_or_else(|| Some(List::new()), Head::list)?;
    let list = list_of(&old, new)?;
    put_uv(head, total);
    put_uv(head, list.value()?.last.0);
    list.range().hashes().iter().for_each(|hash| head.extend_from_slice(hash.as_bytes()));
    let (mut start, all) = (count - before.len() as u64, [before, new].concat());
    for chunk in all.chunks(CHUNK) {
        posting(start, chunk);
        start += chunk.len() as u64;
    }
    Some(())
}

/// Appends a posting row's bytes. `None` if the elements do not ascend.
pub(crate) fn put_posting(out: &mut Vec<u8>, elements: &[u64]) -> Option<()> {
    put_uv(out, elements.len() as u64);
    put_elements(out, elements)
}

/// Reads the posting row that `bytes` are, behind what is in `elements`; `None` if they are none.
pub(crate) fn take_posting(bytes: &[u8], elements: &mut Vec<u64>) -> Option<()> {
    let (count, rest) = take_uv(bytes)?;
    let count = usize::try_from(count).ok().filter(|count| (1..=CHUNK).contains(count))?;
    let before = elements.len();
    elements.resize(before + count, 0);
    take_elements(rest, elements.get_mut(before..)?)?.is_empty().then_some(())
}

/// How many bytes of `bytes` are the posting row that they begin with.
pub(crate) fn posting_length(bytes: &[u8]) -> Option<usize> {
    let (count, mut rest) = take_uv(bytes)?;
    if count == 0 || count > CHUNK as u64 {
        return None;
    }
    for _ in 0..count {
        (_, rest) = take_uv(rest)?;
    }
    Some(bytes.len() - rest.len())
}

fn put_elements(out: &mut Vec<u8>, elements: &[u64]) -> Option<()> {
    let mut before = None;
    for &element in elements {
        let difference = match before {
            None => element,
            Some(before) => element.checked_sub(before).filter(|difference| *difference > 0)?,
        };
        put_uv(out, difference);
        before = Some(element);
    }
    Some(())
}

fn take_elements<'a>(mut bytes: &'a [u8], elements: &mut [u64]) -> Option<&'a [u8]> {
    let mut before = None;
    for element in elements {
        let (number, rest) = take_uv(bytes)?;
        *element = match before {
            None => number,
            Some(before) if number > 0 => number.checked_add(before)?,
            Some(_) => return None,
        };
        before = Some(*element);
        bytes = rest;
    }
    Some(bytes)
}

/// Appends `number` as unsigned LEB128.
pub(crate) fn put_uv(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// Reads an unsigned LEB128 number below 2^64.
pub(crate) fn take_uv(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (shift, (at, byte)) in (0..u64::BITS).step_by(7).zip(bytes.iter().enumerate()) {
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if *byte < 0x80 {
            return Some((number, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However a list comes in pieces, its head is that of the whole, and the posting rows hold it.
        #[test]
        fn lists_in_pieces(differences in proptest::collection::vec(1_u64..1 << 40, 1..700), cuts in proptest::collection::vec(0_usize..700, 0..6)) {
            let all: Vec<u64> = differences.iter().scan(0, |sum, difference| { *sum += difference; Some(*sum) }).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(all.len())).chain([0, all.len()]).collect();
            cuts.sort_unstable();
            cuts.dedup();
            let (mut head, mut rows) = (Vec::new(), Vec::new());
            for piece in cuts.windows(2) {
                let old = (!head.is_empty()).then(|| Head::decode(&head).unwrap());
                let mut next = Vec::new();
                append(old.as_ref(), &all[piece[0]..piece[1]], &mut next, |start, elements| {
                    let mut bytes = Vec::new();
                    put_posting(&mut bytes, elements).unwrap();
                    assert_eq!(posting_length(&[&bytes[..], &[1, 2]].concat()), Some(bytes.len()));
                    rows.push((start, bytes));
                }).unwrap();
                head = next;
            }
            let mut list = List::new();
            list.extend(&all.iter().copied().map(LeafIndex).collect::<Vec<_>>()).unwrap();
            let decoded = Head::decode(&head).unwrap();
            prop_assert_eq!(decoded.value(), list.value());
            prop_assert_eq!(Head::length(&[&head[..], &[7]].concat()), Some(head.len()));
            if all.len() <= INLINE {
                prop_assert_eq!(decoded.elements(), Some(&all[..]));
                prop_assert!(rows.is_empty());
            } else {
                let mut read = Vec::new();
                for (start, bytes) in rows {
                    prop_assert_eq!(start, read.len() as u64);
                    take_posting(&bytes, &mut read).unwrap();
                }
                prop_assert_eq!(read, all);
            }
        }

        /// Whatever bytes are there, reading them does not panic, and lengths agree with what is read.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(length) = Head::length(&bytes) {
                prop_assert!(length <= bytes.len());
                let _may_descend = Head::decode(&bytes[..length]);
            }
            if Head::decode(&bytes).is_some() {
                prop_assert_eq!(Head::length(&bytes), Some(bytes.len()));
            }
            if take_posting(&bytes, &mut Vec::new()).is_some() {
                prop_assert_eq!(posting_length(&bytes), Some(bytes.len()));
            }
        }
    }
}
