//! The file of a proof of misbehaviour: a c2sp.org/tlog-proof of the anchor, with the rest in its extra data.

use glasslog_core::{LeafIndex, MAX_ENTRY_BYTES, merkle::InclusionProof, proof::TlogProof};

use super::{Element, Fault, ListFault, MisbehaviourProof};
use crate::{
    DecodeError,
    bytes::{Reader, put_sized, put_uv},
    file::{
        FileError, decode_absence, decode_given, decode_inclusion, decode_presence, put_given, put_inclusion,
        put_presence,
    },
};

const MAGIC: &[u8] = b"VIM1";

impl MisbehaviourProof {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`FileError`] for whatever [`MisbehaviourProof::to_text`] would not write back byte for byte.
    pub fn parse(file: &[u8]) -> Result<MisbehaviourProof, FileError> {
        let proof = TlogProof::parse(file)?;
        let extra = proof.extra.ok_or(FileError::NoExtra)?;
        let mut reader = Reader::new(&extra);
        reader.exactly(MAGIC, "VIM1")?;
        let fault = Fault::decode(&mut reader)?;
        reader.finish()?;
        let (checkpoint, anchor) = (proof.checkpoint, proof.index);
        Ok(MisbehaviourProof { checkpoint, anchor, inclusion: InclusionProof(proof.hashes), fault })
    }

    /// The proof as a file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut extra = MAGIC.to_vec();
        self.fault.encode(&mut extra);
        let (hashes, checkpoint) = (self.inclusion.0.clone(), self.checkpoint.clone());
        TlogProof { index: self.anchor, hashes, extra: Some(extra), checkpoint }.to_text()
    }
}

impl Fault {
    fn decode(reader: &mut Reader<'_>) -> Result<Fault, DecodeError> {
        let refused = reader.error("a fault from 1 to 9");
        match reader.byte("a fault")? {
            1 => {
                let (key, trie) = (reader.key()?, decode_absence(reader)?);
                Ok(Fault::Omitted { key, trie, entry: decode_given(reader)? })
            }
            number @ 2..=7 => {
                let (key, trie) = (reader.key()?, decode_presence(reader)?);
                Ok(Fault::List { key, trie, fault: ListFault::decode(number, reader)? })
            }
            8 => Ok(Fault::Misplaced { entry: decode_entry(reader)? }),
            9 => Ok(Fault::OtherMapFunction { entry: decode_entry(reader)? }),
            _ => Err(refused),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Fault::Omitted { .. } => 1,
            Fault::List { fault, .. } => fault.number(),
            Fault::Misplaced { .. } => 8,
            Fault::OtherMapFunction { .. } => 9,
        });
        match self {
            Fault::Omitted { key, trie, entry } => {
                out.extend_from_slice(&key.0);
                put_sized(out, &trie.encode());
                put_given(out, entry);
            }
            Fault::List { key, trie, fault } => {
                out.extend_from_slice(&key.0);
                put_presence(out, trie);
                fault.encode(out);
            }
            Fault::Misplaced { entry } | Fault::OtherMapFunction { entry } => put_sized(out, entry),
        }
    }
}

fn decode_entry(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    reader.sized(MAX_ENTRY_BYTES, "an entry of at most 65,535 bytes").map(<[u8]>::to_vec)
}

impl ListFault {
    fn number(&self) -> u8 {
        match self {
            ListFault::Stale { .. } => 2,
            ListFault::SkippedFirst { .. } | ListFault::Skipped { .. } => 3,
            ListFault::Foreign { .. } => 4,
            ListFault::Disorder { .. } => 5,
            ListFault::WrongLast { .. } => 6,
            ListFault::Impossible => 7,
        }
    }

    /// Of a number from 2 to 7.
    fn decode(number: u8, reader: &mut Reader<'_>) -> Result<ListFault, DecodeError> {
        Ok(match number {
            2 => ListFault::Stale { entry: decode_given(reader)? },
            3 => {
                let entry = decode_given(reader)?;
                let refused = reader.error("one element or two");
                let elements = reader.byte("one element or two")?;
                let first = Element::decode(reader)?;
                match elements {
                    1 => ListFault::SkippedFirst { entry, first },
                    2 => ListFault::Skipped { entry, below: first, above: Element::decode(reader)? },
                    _ => return Err(refused),
                }
            }
            4 => ListFault::Foreign { entry: decode_given(reader)?, element: Element::decode(reader)? },
            5 => ListFault::Disorder { first: Element::decode(reader)?, second: Element::decode(reader)? },
            6 => ListFault::WrongLast { element: Element::decode(reader)? },
            _ => ListFault::Impossible,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        if let Some(entry) = self.entry() {
            put_given(out, entry);
        }
        match self {
            ListFault::SkippedFirst { first, .. } => {
                out.push(1);
                first.encode(out);
            }
            ListFault::Skipped { below, above, .. } => {
                out.push(2);
                below.encode(out);
                above.encode(out);
            }
            ListFault::Disorder { first, second } => {
                first.encode(out);
                second.encode(out);
            }
            ListFault::Foreign { element, .. } | ListFault::WrongLast { element } => element.encode(out),
            ListFault::Stale { .. } | ListFault::Impossible => {}
        }
    }
}

impl Element {
    fn decode(reader: &mut Reader<'_>) -> Result<Element, DecodeError> {
        let position = reader.uv()?;
        let index = LeafIndex(reader.be64("an index of 8 bytes")?);
        Ok(Element { position, index, inclusion: decode_inclusion(reader)? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_uv(out, self.position);
        out.extend_from_slice(&self.index.0.to_be_bytes());
        put_inclusion(out, &self.inclusion);
    }
}
