//! The self-contained lookup proof (vindex.md §8): a c2sp.org/tlog-proof of the anchor, with the rest in its extra data.

use glasslog_core::{
    LeafIndex, MAX_ENTRY_BYTES, TreeSize,
    merkle::{CompactRange, InclusionProof},
    proof::{TlogProof, TlogProofError},
};

use crate::{
    Absence, DecodeError, Key, KindError, MapFunction, Presence, Value,
    bytes::{Reader, put_hashes, put_sized, put_uv},
    lookup::{Evidence, Given, ListEnd, Lookup, MAX_TAIL_BYTES, MAX_TAIL_ENTRIES},
};

const MAGIC: &[u8] = b"VIX1";
const ABSENT: u8 = 0;
const PRESENT: u8 = 1;
const EMPTY_LOG: u8 = 2;

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 65_535;

/// The longest kind, in bytes.
const MAX_KIND_BYTES: usize = 16;

/// The longest trie proof, in bytes.
const MAX_TRIE_PROOF_BYTES: usize = 16_384;

/// The most hashes of an inclusion proof.
const MAX_INCLUSION_HASHES: usize = 64;

/// The shortest given entry: an index, a length, and one hash with the number of them; the anchor is in the tree too, so none
/// is proven without.
const MIN_GIVEN_BYTES: usize = 35;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// A key, of which nobody says what it is the hash of.
    Key(Key),
    /// A name.
    Name {
        /// Its kind; empty for a map function without kinds.
        kind: String,
        /// It.
        name: String,
    },
}

impl Question {
    /// The key that `map_fn` has for it.
    ///
    /// # Errors
    ///
    /// [`KindError`] unless the kind is one of `map_fn`'s, or empty where it has none.
    pub fn key(&self, map_fn: &dyn MapFunction) -> Result<Key, KindError> {
        match self {
            Question::Key(key) => Ok(*key),
            Question::Name { kind, name } if kind.is_empty() && map_fn.kinds().is_empty() => {
                map_fn.key(None, name)
            }
            Question::Name { kind, name } => map_fn.key(Some(kind), name),
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Question, DecodeError> {
        let form = reader.error("0 and a key, or 1 and a kind and a name");
        match reader.byte("a question")? {
            0 => reader.key().map(Question::Key),
            1 => {
                let kind = text(reader, MAX_KIND_BYTES, "a kind of at most 16 bytes in UTF-8")?;
                let name = text(reader, MAX_NAME_BYTES, "a name of at most 65,535 bytes in UTF-8")?;
                Ok(Question::Name { kind, name })
            }
            _ => Err(form),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Question::Key(key) => {
                out.push(0);
                out.extend_from_slice(&key.0);
            }
            Question::Name { kind, name } => {
                out.push(1);
                put_sized(out, kind.as_bytes());
                put_sized(out, name.as_bytes());
            }
        }
    }
}

/// Why bytes are not a proof file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The file as a tlog-proof.
    #[error(transparent)]
    Proof(#[from] TlogProofError),
    /// There is no extra data, so it proves an entry and says nothing of the index.
    #[error("the proof has no extra data: it is of an entry, not of the index")]
    NoExtra,
    /// The extra data.
    #[error("the extra data of the proof, {0}")]
    Extra(#[from] DecodeError),
}

impl Lookup {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`FileError`] for whatever [`Lookup::to_text`] would not write back byte for byte.
    pub fn parse(file: &[u8]) -> Result<Lookup, FileError> {
        let proof = TlogProof::parse(file)?;
        let extra = proof.extra.ok_or(FileError::NoExtra)?;
        let (question, evidence) = decode_extra(&extra)?;
        let (checkpoint, anchor) = (proof.checkpoint, proof.index);
        Ok(Lookup { question, checkpoint, anchor, inclusion: InclusionProof(proof.hashes), evidence })
    }

    /// The lookup as a file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut extra = MAGIC.to_vec();
        extra.push(match self.evidence {
            Evidence::EmptyLog => EMPTY_LOG,
            Evidence::Absent { .. } => ABSENT,
            Evidence::Present { .. } => PRESENT,
        });
        self.question.encode(&mut extra);
        self.evidence.encode(&mut extra);
        let (hashes, checkpoint) = (self.inclusion.0.clone(), self.checkpoint.clone());
        TlogProof { index: self.anchor, hashes, extra: Some(extra), checkpoint }.to_text()
    }
}

fn decode_extra(extra: &[u8]) -> Result<(Question, Evidence), DecodeError> {
    let mut reader = Reader::new(extra);
    reader.exactly(MAGIC, "VIX1")?;
    let kind = reader.error("0 for absent, 1 for present or 2 for an empty log");
    let form = reader.byte("absent, present or empty")?;
    let question = Question::decode(&mut reader)?;
    let evidence = match form {
        ABSENT => {
            let trie = decode_absence(&mut reader)?;
            Evidence::Absent { trie, tail: decode_tail(&mut reader)? }
        }
        PRESENT => {
            let trie = decode_presence(&mut reader)?;
            let list = decode_list(&mut reader, &trie.value)?;
            let tail = decode_tail(&mut reader)?;
            Evidence::Present { trie, list, tail, entries: decode_entries(&mut reader)? }
        }
        EMPTY_LOG => Evidence::EmptyLog,
        _ => return Err(kind),
    };
    reader.finish()?;
    Ok((question, evidence))
}

impl Evidence {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Evidence::EmptyLog => {}
            Evidence::Absent { trie, tail } => {
                put_sized(out, &trie.encode());
                put_tail(out, tail);
            }
            Evidence::Present { trie, list, tail, entries } => {
                put_presence(out, trie);
                match list {
                    None => out.push(0),
                    Some(list) => {
                        out.push(1);
                        put_uv(out, list.before.size().0);
                        put_hashes(out, list.before.hashes());
                        list.indices.iter().for_each(|index| out.extend_from_slice(&index.0.to_be_bytes()));
                    }
                }
                put_tail(out, tail);
                put_uv(out, entries.len() as u64);
                entries.iter().for_each(|given| put_given(out, given));
            }
        }
    }
}

fn decode_list(reader: &mut Reader<'_>, value: &Value) -> Result<Option<ListEnd>, DecodeError> {
    let form = reader.error("0, or 1 and the end of the list");
    match reader.byte("whether a list follows")? {
        0 => return Ok(None),
        1 => {}
        _ => return Err(form),
    }
    let refused = reader.error("a position in the list, and as many indices as follow it");
    let start = reader.uv()?;
    let hashes = reader.hashes(start.count_ones() as usize)?;
    let before = CompactRange::from_hashes(TreeSize(start), hashes).ok_or(refused)?;
    let following = value.count.checked_sub(start).filter(|following| *following > 0).ok_or(refused)?;
    let following = usize::try_from(following).map_err(|_| refused)?;
    // At most what is there, before any of it is kept.
    let length = following.checked_mul(size_of::<u64>()).ok_or(refused)?;
    let mut elements = Reader::new(reader.take(length, "the indices of the list")?);
    let indices = (0..following).map(|_| elements.be64("an index").map(LeafIndex));
    Ok(Some(ListEnd { before, indices: indices.collect::<Result<_, _>>()? }))
}

fn decode_tail(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, DecodeError> {
    let number = reader.number(MAX_TAIL_ENTRIES, 1, "a tail of at most 4,096 entries")?;
    let mut total = 0;
    let mut tail = Vec::with_capacity(number);
    for _ in 0..number {
        let refused = reader.error("at most 4 MiB of entries in a tail");
        let entry = reader.sized(MAX_ENTRY_BYTES, "an entry of at most 65,535 bytes")?;
        total += entry.len();
        if total > MAX_TAIL_BYTES {
            return Err(refused);
        }
        tail.push(entry.to_vec());
    }
    Ok(tail)
}

fn put_tail(out: &mut Vec<u8>, tail: &[Vec<u8>]) {
    put_uv(out, tail.len() as u64);
    tail.iter().for_each(|entry| put_sized(out, entry));
}

fn decode_entries(reader: &mut Reader<'_>) -> Result<Vec<Given>, DecodeError> {
    let number = reader.number(usize::MAX, MIN_GIVEN_BYTES, "a number of entries that there is room for")?;
    (0..number).map(|_| decode_given(reader)).collect()
}

pub(crate) fn decode_given(reader: &mut Reader<'_>) -> Result<Given, DecodeError> {
    let index = LeafIndex(reader.uv()?);
    let entry = reader.sized(MAX_ENTRY_BYTES, "an entry of at most 65,535 bytes")?.to_vec();
    Ok(Given { index, entry, inclusion: decode_inclusion(reader)? })
}

pub(crate) fn put_given(out: &mut Vec<u8>, given: &Given) {
    put_uv(out, given.index.0);
    put_sized(out, &given.entry);
    put_inclusion(out, &given.inclusion);
}

pub(crate) fn decode_inclusion(reader: &mut Reader<'_>) -> Result<InclusionProof, DecodeError> {
    let number = reader.number(MAX_INCLUSION_HASHES, 32, "an inclusion proof of at most 64 hashes")?;
    reader.hashes(number).map(InclusionProof)
}

pub(crate) fn put_inclusion(out: &mut Vec<u8>, inclusion: &InclusionProof) {
    put_uv(out, inclusion.0.len() as u64);
    put_hashes(out, &inclusion.0);
}

pub(crate) fn decode_presence(reader: &mut Reader<'_>) -> Result<Presence, DecodeError> {
    let value = reader.value()?;
    decode_trie(reader, |proof| Presence::decode(value, proof))
}

pub(crate) fn put_presence(out: &mut Vec<u8>, presence: &Presence) {
    out.extend_from_slice(&presence.value.to_bytes());
    put_sized(out, &presence.encode());
}

pub(crate) fn decode_absence(reader: &mut Reader<'_>) -> Result<Absence, DecodeError> {
    decode_trie(reader, Absence::decode)
}

fn decode_trie<T>(
    reader: &mut Reader<'_>,
    decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let proof = reader.sized(MAX_TRIE_PROOF_BYTES, "a trie proof of at most 16,384 bytes")?;
    // Errors name the place in the whole.
    let begin = reader.error("").offset - proof.len();
    decode(proof).map_err(|error| DecodeError { offset: begin + error.offset, ..error })
}

fn text(reader: &mut Reader<'_>, most: usize, expected: &'static str) -> Result<String, DecodeError> {
    let refused = reader.error(expected);
    let bytes = reader.sized(most, expected)?;
    str::from_utf8(bytes).map(String::from).map_err(|_| refused)
}
