//! The tokens of RFC 8259, and where they end.
//!
//! Everything works on a `&str`, so UTF-8 is checked once, and only bytes below 0x80 are ever looked for.

use super::JsonError;

/// A position in a text that is being read from front to back.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// What a number is, by its spelling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Number {
    /// Digits with at most a minus sign, and not `-0`.
    Integer,
    /// Everything else.
    Float,
}

impl<'a> Cursor<'a> {
    /// The beginning of `text`.
    pub(super) fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, at: 0 }
    }

    /// The beginning of `input`, if that is UTF-8.
    pub(super) fn from_bytes(input: &'a [u8]) -> Result<Cursor<'a>, JsonError> {
        match core::str::from_utf8(input) {
            Ok(text) => Ok(Cursor::new(text)),
            Err(error) => Err(JsonError::Malformed { offset: error.valid_up_to(), expected: "UTF-8" }),
        }
    }

    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// What was read since `start`, an earlier [`Cursor::offset`].
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    pub(super) fn skip_space(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        // Mostly there is none, or an indentation.
        if rest.first().is_some_and(space) {
            self.at += rest.iter().position(|byte| !space(byte)).unwrap_or(rest.len());
        }
    }

    /// The next byte that is not white space, which stays unread.
    pub(super) fn peek_token(&mut self, expected: &'static str) -> Result<u8, JsonError> {
        self.skip_space();
        self.peek().ok_or_else(|| self.error(expected))
    }

    /// Reads `byte`, after any white space.
    pub(super) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.peek_token(expected)? != byte {
            return Err(self.error(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// After a member or element: `true` when another follows, `false` when `close` was read.
    pub(super) fn more(&mut self, close: u8, expected: &'static str) -> Result<bool, JsonError> {
        let byte = self.peek_token(expected)?;
        if byte != b',' && byte != close {
            return Err(self.error(expected));
        }
        self.at += 1;
        Ok(byte == b',')
    }

    /// Whether only white space is left.
    pub(super) fn finish(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.peek().is_some() { Err(self.error("the end")) } else { Ok(()) }
    }

    /// Reads `true`, `false` or `null`.
    pub(super) fn literal(&mut self, word: &'static str) -> Result<(), JsonError> {
        for byte in word.bytes() {
            if self.peek() != Some(byte) {
                return Err(self.error(word));
            }
            self.at += 1;
        }
        Ok(())
    }

    /// Reads a number: `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`.
    pub(super) fn number(&mut self) -> Result<Number, JsonError> {
        let negative = self.take(b'-');
        let zero = self.take(b'0');
        if !zero {
            self.digits()?;
        }
        let mut kind = if negative && zero { Number::Float } else { Number::Integer };
        if self.take(b'.') {
            self.digits()?;
            kind = Number::Float;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
            kind = Number::Float;
        }
        Ok(kind)
    }

    /// Reads a string with its quotes, and says whether it holds an escape.
    pub(super) fn string(&mut self) -> Result<bool, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("a string"));
        }
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at = plain_end(self.text.as_bytes(), self.at);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    self.escape()?;
                    escaped = true;
                }
                _ => return Err(self.error("no control character in a string")),
            }
        }
        self.at += 1;
        Ok(escaped)
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.error("four hex digits"));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.error("an escape of JSON")),
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.error("a digit")) } else { Ok(()) }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The error that something else than `expected` stands here.
    pub(super) fn error(&self, expected: &'static str) -> JsonError {
        match self.peek() {
            Some(_) => JsonError::Malformed { offset: self.at, expected },
            None => JsonError::UnexpectedEnd { offset: self.at },
        }
    }
}

/// The first position from `at` on with a quote, a backslash or a control character, else the end.
///
/// Eight bytes at a step: in `x`, the high bit of each byte that is below 0x20, or equal to one of the two, is set.
/// A borrow may also set bits *above* a true one, so only the lowest is believed.
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero_bytes = |x: u64| x.wrapping_sub(ONES) & !x;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let x = u64::from_le_bytes(*chunk);
        let below_space = x.wrapping_sub(ONES * 0x20) & !x;
        let quote = zero_bytes(x ^ (ONES * 0x22));
        let backslash = zero_bytes(x ^ (ONES * 0x5c));
        let found = (below_space | quote | backslash) & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() >> 3) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let stop = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    at + rest.iter().position(stop).unwrap_or(rest.len())
}
