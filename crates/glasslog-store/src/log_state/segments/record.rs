//! Records: what one durable write holds, byte for byte.
//!
//! ```text
//! record  = magic u32 | payload length u32 | sequence number u64 | payload crc u32 | header crc u32 | payload | zeros
//! payload = (type u8 | length u32 | item)*
//! ```
//!
//! Little endian. A record begins on a page of 4,096 bytes and is padded to one, so that a write never touches a page
//! that holds an older record. One record is one transaction and one write: a torn one has no valid successor. Both
//! checksums are CRC-32C seeded with the segment's number and random salt, so that neither a former life of the file nor
//! submitted bytes can pass for a record.

use bytes::Bytes;
use glasslog_core::{Hash, LeafIndex, TreeSize, personality::Identity};

use super::super::{
    Batch, BatchId, SizedNote, Slot, Watermarks,
    small::{Binding, Change, MAX_BATCH_SLOTS, SmallState},
};

/// Where records begin, and to what they are padded.
pub(super) const PAGE: usize = 4096;
/// Bytes before the payload.
pub(super) const HEADER: usize = 24;
/// The longest payload.
pub(super) const MAX_PAYLOAD: usize = 1 << 30;

const MAGIC: [u8; 4] = *b"GLrc";

const SNAPSHOT: u8 = 1;
const BIND: u8 = 2;
const LEASE: u8 = 3;
const CHECKPOINT: u8 = 4;
const PUBLIC: u8 = 5;
const FILL: u8 = 6;
const WATERMARKS: u8 = 7;
const ADOPT: u8 = 8;
const BATCH: u8 = 9;
const CLOSE: u8 = 10;
const COPIED: u8 = 11;

const SLOT_ANCHOR: u8 = 0;
/// An entry whose identity is the beginning of its leaf hash.
const SLOT_ENTRY: u8 = 1;
/// An entry with another identity, which precedes the leaf hash.
const SLOT_NAMED: u8 = 2;

/// One part of a record, as it is read back.
#[derive(Debug)]
pub(super) enum Item {
    /// The state before the rest of the record. `replaces` is the first of the segments, up to this one, whose
    /// batches are to be found in this segment instead; 0 if there are none.
    Snapshot {
        state: Box<SmallState>,
        replaces: u64,
    },
    Change(Change),
    Batch(Batch),
    /// A batch of a replaced segment: the snapshot counts it already.
    Copied(Batch),
    Close,
}

/// Builds one record after the other in one buffer.
#[derive(Default)]
pub(super) struct Encoder {
    buffer: Vec<u8>,
}

impl Encoder {
    /// Begins a record.
    pub(super) fn begin(&mut self) {
        if self.buffer.capacity() > 32 << 20 {
            // One huge batch must not hold its memory for ever.
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        self.buffer.resize(HEADER, 0);
    }

    /// No less than a record of `batch` alone takes on disk.
    pub(super) fn most_for(batch: &Batch) -> usize {
        (batch.entry_bytes() + batch.slots.len() * 64 + 128).next_multiple_of(PAGE)
    }

    /// Bytes on disk so far.
    pub(super) fn padded_len(&self) -> usize {
        self.buffer.len().next_multiple_of(PAGE)
    }

    pub(super) fn snapshot(&mut self, state: &SmallState, replaces: u64) {
        self.item(SNAPSHOT, |out| {
            put_u64(out, replaces);
            put_u64(out, state.epoch);
            put_bytes(out, state.holder.as_bytes());
            put_u64(out, state.head.0);
            put_watermarks(out, &state.watermarks);
            put_option(out, state.unfilled.as_ref(), |out, index| put_u64(out, index.0));
            put_option(out, state.binding.as_ref(), put_binding);
            put_option(out, state.recorded.as_ref(), put_note);
            put_option(out, state.public.as_ref(), put_note);
            put_count(out, state.fills.len());
            for (position, bytes) in &state.fills {
                put_u64(out, *position);
                put_bytes(out, bytes);
            }
        });
    }

    pub(super) fn change(&mut self, change: &Change) {
        match change {
            Change::Bind(binding) => self.item(BIND, |out| put_binding(out, binding)),
            Change::Lease { epoch, holder } => self.item(LEASE, |out| {
                put_u64(out, *epoch);
                put_bytes(out, holder.as_bytes());
            }),
            Change::Checkpoint(note) => self.item(CHECKPOINT, |out| put_note(out, note)),
            Change::Public(note) => self.item(PUBLIC, |out| put_note(out, note)),
            Change::Fill { position, bytes } => self.item(FILL, |out| {
                put_u64(out, position.0);
                put_bytes(out, bytes);
            }),
            Change::Watermarks(watermarks) => self.item(WATERMARKS, |out| put_watermarks(out, watermarks)),
            Change::Adopt(note) => self.item(ADOPT, |out| put_note(out, note)),
        }
    }

    pub(super) fn batch(&mut self, batch: &Batch) {
        self.batch_as(BATCH, batch);
    }

    pub(super) fn copied(&mut self, batch: &Batch) {
        self.batch_as(COPIED, batch);
    }

    fn batch_as(&mut self, kind: u8, batch: &Batch) {
        self.item(kind, |out| {
            out.extend_from_slice(&batch.id.0);
            put_u64(out, batch.first_index.0);
            put_count(out, batch.slots.len());
            for slot in &batch.slots {
                put_slot(out, slot);
            }
        });
    }

    pub(super) fn close(&mut self) {
        self.item(CLOSE, |_| {});
    }

    /// The record, padded: what is to be written.
    pub(super) fn finish(&mut self, seed: u32, sequence: u64) -> &[u8] {
        let payload = self.buffer.len() - HEADER;
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MAGIC);
        // The caller has compared with MAX_PAYLOAD; a longer one would fail its checksum, not be misread.
        header[4..8].copy_from_slice(&u32::try_from(payload).unwrap_or(u32::MAX).to_le_bytes());
        header[8..16].copy_from_slice(&sequence.to_le_bytes());
        header[16..20].copy_from_slice(&crc32c::crc32c_append(seed, &self.buffer[HEADER..]).to_le_bytes());
        let header_crc = crc32c::crc32c_append(seed, &header[..20]);
        header[20..].copy_from_slice(&header_crc.to_le_bytes());
        self.buffer[..HEADER].copy_from_slice(&header);
        self.buffer.resize(self.padded_len(), 0);
        &self.buffer
    }

    fn item(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        self.buffer.push(kind);
        let length_at = self.buffer.len();
        put_u32(&mut self.buffer, 0);
        write(&mut self.buffer);
        let length = u32::try_from(self.buffer.len() - length_at - 4).unwrap_or(u32::MAX);
        self.buffer[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) payload: usize,
    pub(super) sequence: u64,
    payload_crc: u32,
}

impl Header {
    /// The header in `bytes`, if there is a valid one of this segment.
    pub(super) fn parse(bytes: &[u8; HEADER], seed: u32) -> Option<Header> {
        let mut reader = Reader(Bytes::copy_from_slice(bytes));
        let magic = reader.array::<4>()?;
        let (payload, sequence, payload_crc) = (reader.u32()?, reader.u64()?, reader.u32()?);
        let valid = magic == MAGIC && reader.u32()? == crc32c::crc32c_append(seed, &bytes[..20]);
        let payload = usize::try_from(payload).ok().filter(|payload| *payload <= MAX_PAYLOAD)?;
        valid.then_some(Header { payload, sequence, payload_crc })
    }

    pub(super) fn matches(&self, payload: &[u8], seed: u32) -> bool {
        crc32c::crc32c_append(seed, payload) == self.payload_crc
    }

    /// Bytes on disk.
    pub(super) fn padded_len(&self) -> u64 {
        (HEADER + self.payload).next_multiple_of(PAGE) as u64
    }
}

/// The items of a payload whose checksum is right; `None` if they do not parse all the same. Entries share its memory.
pub(super) fn decode(payload: Bytes) -> Option<Vec<Item>> {
    let mut reader = Reader(payload);
    let mut items = Vec::new();
    while !reader.0.is_empty() {
        let kind = reader.array::<1>()?[0];
        let mut item = Reader(reader.bytes()?);
        items.push(decode_item(kind, &mut item)?);
        if !item.0.is_empty() {
            return None;
        }
    }
    Some(items)
}

fn decode_item(kind: u8, item: &mut Reader) -> Option<Item> {
    Some(match kind {
        SNAPSHOT => decode_snapshot(item)?,
        BIND => Item::Change(Change::Bind(item.binding()?)),
        LEASE => Item::Change(Change::Lease { epoch: item.u64()?, holder: item.text()? }),
        CHECKPOINT => Item::Change(Change::Checkpoint(item.note()?)),
        PUBLIC => Item::Change(Change::Public(item.note()?)),
        FILL => Item::Change(Change::Fill { position: LeafIndex(item.u64()?), bytes: item.owned_bytes()? }),
        WATERMARKS => Item::Change(Change::Watermarks(item.watermarks()?)),
        ADOPT => Item::Change(Change::Adopt(item.note()?)),
        BATCH => Item::Batch(decode_batch(item)?),
        COPIED => Item::Copied(decode_batch(item)?),
        CLOSE => Item::Close,
        _ => return None,
    })
}

fn decode_snapshot(item: &mut Reader) -> Option<Item> {
    let replaces = item.u64()?;
    let mut state = SmallState {
        epoch: item.u64()?,
        holder: item.text()?,
        head: TreeSize(item.u64()?),
        watermarks: item.watermarks()?,
        unfilled: item.option(|item| item.u64().map(LeafIndex))?,
        binding: item.option(Reader::binding)?,
        recorded: item.option(Reader::note)?,
        public: item.option(Reader::note)?,
        ..SmallState::default()
    };
    for _ in 0..item.u32()? {
        state.fills.insert(item.u64()?, item.owned_bytes()?);
    }
    Some(Item::Snapshot { state: Box::new(state), replaces })
}

fn decode_batch(item: &mut Reader) -> Option<Batch> {
    let id = BatchId(item.array()?);
    let first_index = LeafIndex(item.u64()?);
    let count = usize::try_from(item.u32()?).ok()?;
    first_index.0.checked_add(count as u64)?;
    if count == 0 || count > MAX_BATCH_SLOTS || count > item.0.len() {
        return None;
    }
    let mut slots = Vec::with_capacity(count);
    for _ in 0..count {
        slots.push(item.slot()?);
    }
    Some(Batch { id, first_index, slots })
}

fn put_slot(out: &mut Vec<u8>, slot: &Slot) {
    let Slot::Entry { bytes, leaf_hash, identity } = slot else { return out.push(SLOT_ANCHOR) };
    if *identity == Identity::from_hash(leaf_hash) {
        out.push(SLOT_ENTRY);
    } else {
        out.push(SLOT_NAMED);
        out.extend_from_slice(&identity.0);
    }
    out.extend_from_slice(&leaf_hash.0);
    // At most 65,535: the state machine has refused anything longer.
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    put_u32(out, u32::try_from(count).unwrap_or(u32::MAX));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

fn put_note(out: &mut Vec<u8>, note: &SizedNote) {
    put_u64(out, note.size.0);
    put_bytes(out, &note.note);
}

fn put_watermarks(out: &mut Vec<u8>, watermarks: &Watermarks) {
    put_u64(out, watermarks.objects_durable.0);
    put_u64(out, watermarks.trim_below.0);
}

fn put_binding(out: &mut Vec<u8>, binding: &Binding) {
    put_bytes(out, binding.origin.as_bytes());
    put_count(out, binding.vkeys.len());
    for key in &binding.vkeys {
        put_bytes(out, key.as_bytes());
    }
}

/// Takes values from the front of bytes that may be anything.
struct Reader(Bytes);

impl Reader {
    fn take(&mut self, count: usize) -> Option<Bytes> {
        (count <= self.0.len()).then(|| self.0.split_to(count))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.as_ref().try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let count = usize::try_from(self.u32()?).ok()?;
        self.take(count)
    }

    /// A copy: what lives longer than its record must not keep the record's memory.
    fn owned_bytes(&mut self) -> Option<Bytes> {
        self.bytes().map(|bytes| Bytes::copy_from_slice(&bytes))
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.array::<1>()? {
            [0] => Some(None),
            [1] => read(self).map(Some),
            _ => None,
        }
    }

    fn note(&mut self) -> Option<SizedNote> {
        Some(SizedNote { size: TreeSize(self.u64()?), note: self.owned_bytes()? })
    }

    fn watermarks(&mut self) -> Option<Watermarks> {
        Some(Watermarks { objects_durable: TreeSize(self.u64()?), trim_below: TreeSize(self.u64()?) })
    }

    fn binding(&mut self) -> Option<Binding> {
        let origin = self.text()?;
        let vkeys = (0..self.u32()?).map(|_| self.text()).collect::<Option<_>>()?;
        Some(Binding { origin, vkeys })
    }

    fn slot(&mut self) -> Option<Slot> {
        let named = match self.array::<1>()? {
            [SLOT_ANCHOR] => return Some(Slot::Anchor),
            [SLOT_ENTRY] => None,
            [SLOT_NAMED] => Some(Identity(self.array()?)),
            _ => return None,
        };
        let leaf_hash = Hash(self.array()?);
        let length = usize::from(u16::from_le_bytes(self.array()?));
        let bytes = self.take(length).filter(|bytes| !bytes.is_empty())?;
        Some(Slot::Entry { bytes, leaf_hash, identity: named.unwrap_or(Identity::from_hash(&leaf_hash)) })
    }
}
