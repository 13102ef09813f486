//! Reading and writing the binary parts (vindex.md §1): every length is bounded by what is there before it is believed.

use glasslog_core::Hash;

use crate::{Key, Value};

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: expected {expected}")]
pub struct DecodeError {
    /// Where, from 0.
    pub offset: usize,
    /// What belongs there.
    pub expected: &'static str,
}

/// Bytes that are read from front to back.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, length: bytes.len() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn error(&self, expected: &'static str) -> DecodeError {
        DecodeError { offset: self.length - self.rest.len(), expected }
    }

    /// Refuses trailing bytes.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(self.error("the end")) }
    }

    pub(crate) fn take(&mut self, length: usize, expected: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.error(expected))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes these bytes and no others.
    pub(crate) fn exactly(&mut self, bytes: &[u8], expected: &'static str) -> Result<(), DecodeError> {
        let refused = self.error(expected);
        if self.take(bytes.len(), expected)? == bytes { Ok(()) } else { Err(refused) }
    }

    fn array<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.error(expected))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn byte(&mut self, expected: &'static str) -> Result<u8, DecodeError> {
        self.array(expected).map(|[byte]| byte)
    }

    pub(crate) fn be64(&mut self, expected: &'static str) -> Result<u64, DecodeError> {
        self.array(expected).map(u64::from_be_bytes)
    }

    pub(crate) fn key(&mut self) -> Result<Key, DecodeError> {
        self.array("a key of 32 bytes").map(Key)
    }

    pub(crate) fn value(&mut self) -> Result<Value, DecodeError> {
        self.array("a value of 48 bytes").map(|bytes| Value::from_bytes(&bytes))
    }

    pub(crate) fn hash(&mut self) -> Result<Hash, DecodeError> {
        self.array("a hash of 32 bytes").map(Hash)
    }

    /// An unsigned LEB128 number below 2^64, in its shortest spelling.
    pub(crate) fn uv(&mut self) -> Result<u64, DecodeError> {
        const EXPECTED: &str = "a number as unsigned LEB128, below 2^64 and as short as possible";
        let begin = self.error(EXPECTED);
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte(EXPECTED)?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return Err(begin);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(begin)
    }

    /// A number of things of at least `each` bytes (not 0), of which there can be at most `most`.
    pub(crate) fn number(
        &mut self,
        most: usize,
        each: usize,
        expected: &'static str,
    ) -> Result<usize, DecodeError> {
        let refused = self.error(expected);
        let number = usize::try_from(self.uv()?).map_err(|_| refused)?;
        if number <= most && number <= self.rest.len() / each { Ok(number) } else { Err(refused) }
    }

    /// A length of at most `most`, and so many bytes.
    pub(crate) fn sized(&mut self, most: usize, expected: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.number(most, 1, expected)?;
        self.take(length, expected)
    }

    pub(crate) fn hashes(&mut self, number: usize) -> Result<Vec<Hash>, DecodeError> {
        (0..number).map(|_| self.hash()).collect()
    }
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

/// Appends the length of `bytes`, and them.
pub(crate) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uv(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends each hash.
pub(crate) fn put_hashes(out: &mut Vec<u8>, hashes: &[Hash]) {
    hashes.iter().for_each(|hash| out.extend_from_slice(hash.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uv_is_minimal_both_ways() {
        for number in [0, 1, 127, 128, 255, 256, 16383, 16384, u64::MAX / 2, u64::MAX] {
            let mut out = Vec::new();
            put_uv(&mut out, number);
            let mut reader = Reader::new(&out);
            assert_eq!((reader.uv(), reader.is_empty()), (Ok(number), true));
            // The same number with a byte more.
            *out.last_mut().unwrap() |= 0x80;
            out.push(0);
            assert!(Reader::new(&out).uv().is_err(), "{number}");
        }
    }

    /// Every string of up to three bytes: what is read is written back.
    #[test]
    fn all_short_strings() {
        for string in 0..1_u32 << 24 {
            let bytes = &string.to_be_bytes()[1..];
            let mut reader = Reader::new(bytes);
            if let Ok(number) = reader.uv() {
                let mut out = Vec::new();
                put_uv(&mut out, number);
                assert_eq!(out, bytes[..3 - reader.rest.len()]);
            }
        }
    }

    #[test]
    fn numbers_are_held_to_what_is_there() {
        assert!(Reader::new(&[3, 0, 0]).sized(9, "x").is_err());
        assert!(Reader::new(&[2, 0, 0]).sized(1, "x").is_err());
        assert_eq!(Reader::new(&[2, 0, 0]).sized(2, "x"), Ok(&[0, 0][..]));
        assert!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])
                .number(9, 1, "x")
                .is_err()
        );
    }
}
