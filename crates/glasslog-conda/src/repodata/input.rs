//! A window over a reader: look ahead as far as the buffer goes, never hold more than it.

use std::io::{self, ErrorKind, Read};

use sha2::{Digest, Sha256};

/// How many bytes are read at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// The bytes of a reader that are not used up yet, and how far into it they lie.
///
/// The buffer is always filled as far as the reader gives: what is parsed does not depend on how the reader
/// splits its bytes.
#[derive(Debug)]
pub(super) struct Input<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
    at_end: bool,
    tap: Option<Sha256>,
}

impl<R: Read> Input<R> {
    pub(super) fn new(reader: R) -> Input<R> {
        Input { reader, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0, offset: 0, at_end: false, tap: None }
    }

    /// What has been read and not used up.
    pub(super) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// How many bytes of the reader were used up.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Uses up `count` bytes, at most what is unread.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        if let Some(hasher) = &mut self.tap {
            hasher.update(&self.buffer[self.start..self.start + count]);
        }
        self.start += count;
        self.offset += count as u64;
    }

    /// Makes more bytes unread, keeping those that are; false when the reader has no more, or `limit` bytes are
    /// unread already.
    pub(super) fn more(&mut self, limit: usize) -> io::Result<bool> {
        if self.at_end || self.end - self.start >= limit {
            return Ok(false);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            let larger = (self.buffer.len() * 2).min(limit.max(BUFFER_BYTES));
            self.buffer.resize(larger, 0);
        }
        let before = self.end;
        while self.end < self.buffer.len() {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(count) => self.end = (self.end + count).min(self.buffer.len()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.end > before)
    }

    /// Gives back what a long record made the buffer grow by.
    pub(super) fn shrink(&mut self) {
        if self.buffer.len() > BUFFER_BYTES && self.end - self.start <= BUFFER_BYTES {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            self.buffer.truncate(BUFFER_BYTES);
            self.buffer.shrink_to_fit();
        }
    }

    /// The next byte, not used up; `None` at the end.
    pub(super) fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.start == self.end && !self.more(1)? {
            return Ok(None);
        }
        Ok(self.buffer.get(self.start).copied())
    }

    /// At least `count` unread bytes if the reader has as many; `count` is small.
    pub(super) fn ahead(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.end - self.start < count {
            self.more(count)?;
        }
        Ok(self.unread())
    }

    /// Hashes what is used up from here on.
    pub(super) fn start_tap(&mut self) {
        self.tap = Some(Sha256::new());
    }

    /// The SHA-256 of what was used up since [`Self::start_tap`].
    pub(super) fn stop_tap(&mut self) -> [u8; 32] {
        self.tap.take().unwrap_or_default().finalize().into()
    }
}
