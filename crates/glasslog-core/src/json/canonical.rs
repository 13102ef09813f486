//! The canonical form (RFC 8785), written while the input is read.
//!
//! Each value goes to the output as it is met. Of an object's members only their places in the output are
//! remembered; when the keys turn out to be in order, as they mostly are, nothing moves a second time.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{
    JsonError, MAX_DEPTH, MAX_INTEGER, Reason,
    lexer::{Cursor, Number, plain_end},
    view::{Characters, scan},
};

/// Appends the canonical form of `input` to `out`. For many documents, keep a [`Canonicalizer`].
///
/// # Errors
///
/// [`JsonError`]; `out` is then as it was.
pub fn canonicalize(input: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    Canonicalizer::new().canonicalize(input, out)
}

/// Whether `input` is its own canonical form, byte for byte.
#[must_use]
pub fn is_canonical(input: &[u8]) -> bool {
    let mut out = Vec::with_capacity(input.len());
    canonicalize(input, &mut out).is_ok() && out == input
}

/// Writes canonical forms, one after the other, with buffers that are used again.
#[derive(Debug, Default)]
pub struct Canonicalizer {
    members: Vec<MemberPlace>,
    scratch: Vec<u8>,
    outer_depth: usize,
}

/// A member in the output: `"key":value`, without comma.
#[derive(Clone, Copy, Debug)]
struct MemberPlace {
    start: usize,
    key_end: usize,
    end: usize,
    /// The key's bytes sort as its UTF-16 code units do: ASCII without escapes.
    plain: bool,
    input_offset: usize,
}

impl Canonicalizer {
    /// For documents that stand alone.
    #[must_use]
    pub fn new() -> Canonicalizer {
        Canonicalizer::default()
    }

    /// For values that will stand inside `depth` containers, which count towards [`MAX_DEPTH`].
    #[must_use]
    pub fn inside(depth: usize) -> Canonicalizer {
        Canonicalizer { outer_depth: depth, ..Canonicalizer::default() }
    }

    /// Appends the canonical form of `input` to `out`.
    ///
    /// # Errors
    ///
    /// [`JsonError::Malformed`] or [`JsonError::UnexpectedEnd`] when `input` is not JSON, whatever else is wrong with
    /// it; [`JsonError::NoCanonicalForm`] otherwise. `out` is then as it was.
    pub fn canonicalize(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
        self.members.clear();
        let begin = out.len();
        let result = self.document(input, out);
        let Err(error) = result else { return Ok(()) };
        out.truncate(begin);
        // A record that is also cut off or misspelt further on is malformed: that is the graver finding.
        scan(input)?;
        Err(error)
    }

    /// Appends the canonical form of the one value that `text` begins with, and says where in `text` it ends.
    ///
    /// Meant for a stream: what follows the value is not looked at.
    ///
    /// # Errors
    ///
    /// The first [`JsonError`] met; `out` is then as it was. [`JsonError::UnexpectedEnd`] means that more text could
    /// complete it; so could a number that ends with `text`.
    pub fn canonicalize_prefix(&mut self, text: &str, out: &mut Vec<u8>) -> Result<usize, JsonError> {
        self.members.clear();
        let begin = out.len();
        let mut cursor = Cursor::new(text);
        match self.value(&mut cursor, self.outer_depth, out) {
            Ok(()) => Ok(cursor.offset()),
            Err(error) => {
                out.truncate(begin);
                Err(error)
            }
        }
    }

    /// The members of the object that was last written to `out`, in order: each key with its quotes, each value.
    ///
    /// Nothing, if that was no object. `out` must still be as the call that wrote it left it.
    pub fn outer_members<'a>(
        &self,
        out: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a, '_> {
        self.members
            .iter()
            .map(|member| (member.key(out), out.get(member.key_end + 1..member.end).unwrap_or_default()))
    }

    fn document(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
        let mut cursor = Cursor::from_bytes(input)?;
        out.reserve(input.len());
        self.value(&mut cursor, self.outer_depth, out)?;
        cursor.finish()
    }

    fn value(&mut self, cursor: &mut Cursor<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let byte = cursor.peek_token("a value")?;
        let start = cursor.offset();
        match byte {
            b'"' => return string(cursor, out),
            b'{' | b'[' if depth >= MAX_DEPTH => return Err(no_form(Reason::Depth, start)),
            b'{' => return self.object(cursor, depth, out),
            b'[' => return self.array(cursor, depth, out),
            b't' => cursor.literal("true")?,
            b'f' => cursor.literal("false")?,
            b'n' => cursor.literal("null")?,
            b'-' | b'0'..=b'9' => integer(cursor)?,
            _ => return Err(cursor.error("a value")),
        }
        out.extend_from_slice(cursor.since(start).as_bytes());
        Ok(())
    }

    fn array(&mut self, cursor: &mut Cursor<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), JsonError> {
        cursor.bump();
        out.push(b'[');
        if cursor.peek_token("a value or ']'")? == b']' {
            cursor.bump();
        } else {
            self.value(cursor, depth + 1, out)?;
            while cursor.more(b']', "',' or ']'")? {
                out.push(b',');
                self.value(cursor, depth + 1, out)?;
            }
        }
        out.push(b']');
        Ok(())
    }

    fn object(&mut self, cursor: &mut Cursor<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), JsonError> {
        cursor.bump();
        out.push(b'{');
        if cursor.peek_token("a key or '}'")? == b'}' {
            cursor.bump();
            out.push(b'}');
            return Ok(());
        }
        let first = self.members.len();
        let mut sorted = true;
        loop {
            let place = self.member(cursor, depth, out)?;
            sorted = sorted && self.follows(first, &place, out)?;
            self.members.push(place);
            if !cursor.more(b'}', "',' or '}'")? {
                break;
            }
            out.push(b',');
        }
        if !sorted {
            self.sort_members(first, out)?;
        }
        // The outermost object's places are kept for `outer_members`.
        if depth > self.outer_depth {
            self.members.truncate(first);
        }
        out.push(b'}');
        Ok(())
    }

    fn member(
        &mut self,
        cursor: &mut Cursor<'_>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<MemberPlace, JsonError> {
        cursor.skip_space();
        let (input_offset, start) = (cursor.offset(), out.len());
        string(cursor, out)?;
        let key_end = out.len();
        let plain = out.get(start..).is_some_and(|key| key.is_ascii() && !key.contains(&b'\\'));
        cursor.expect(b':', "':'")?;
        out.push(b':');
        self.value(cursor, depth + 1, out)?;
        Ok(MemberPlace { start, key_end, end: out.len(), plain, input_offset })
    }

    /// Whether the key of `place` sorts after that of the member before it, if there is one.
    fn follows(&self, first: usize, place: &MemberPlace, out: &[u8]) -> Result<bool, JsonError> {
        let Some(last) = self.members.get(first..).and_then(<[_]>::last) else { return Ok(true) };
        match last.compare(place, out) {
            Ordering::Less => Ok(true),
            Ordering::Equal => Err(no_form(Reason::Duplicate, place.input_offset)),
            Ordering::Greater => Ok(false),
        }
    }

    /// Puts the members from `first` on, which end `out`, in order.
    fn sort_members(&mut self, first: usize, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let members = self.members.get_mut(first..).unwrap_or_default();
        let Some(begin) = members.first().map(|member| member.start) else { return Ok(()) };
        // Stable, so that of two equal keys the second in the document stays second.
        members.sort_by(|a, b| a.compare(b, out));
        for pair in members.windows(2) {
            if let [a, b] = pair
                && a.key(out) == b.key(out)
            {
                return Err(no_form(Reason::Duplicate, b.input_offset));
            }
        }
        self.scratch.clear();
        for (number, member) in members.iter_mut().enumerate() {
            if number > 0 {
                self.scratch.push(b',');
            }
            let start = begin + self.scratch.len();
            self.scratch.extend_from_slice(out.get(member.start..member.end).unwrap_or_default());
            member.key_end = start + (member.key_end - member.start);
            (member.start, member.end) = (start, begin + self.scratch.len());
        }
        out.truncate(begin);
        out.extend_from_slice(&self.scratch);
        Ok(())
    }
}

impl MemberPlace {
    fn compare(&self, other: &MemberPlace, out: &[u8]) -> Ordering {
        let (a, b) = (self.key(out), other.key(out));
        if self.plain && other.plain { inner(a).cmp(inner(b)) } else { compare_keys(a, b) }
    }

    fn key<'a>(&self, out: &'a [u8]) -> &'a [u8] {
        out.get(self.start..self.key_end).unwrap_or_default()
    }
}

/// Appends `text` as a canonical JSON string (RFC 8785 §3.2.2.2).
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let (bytes, mut at) = (text.as_bytes(), 0);
    while at < bytes.len() {
        let end = plain_end(bytes, at);
        out.extend_from_slice(bytes.get(at..end).unwrap_or_default());
        if let Some(byte) = bytes.get(end) {
            write_escape(*byte, out);
        }
        at = end + 1;
    }
    out.push(b'"');
}

/// Appends the escape of a quote, a backslash or a control character: the short form where JSON has one.
fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        b'"' | b'\\' => byte,
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    out.extend([b'\\', short]);
}

fn string(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), JsonError> {
    let start = cursor.offset();
    let escaped = cursor.string()?;
    let raw = cursor.since(start);
    if !escaped {
        out.extend_from_slice(raw.as_bytes());
        return Ok(());
    }
    let inner = raw.get(1..raw.len() - 1).unwrap_or_default();
    let mut characters = Characters::new(inner);
    out.push(b'"');
    while let Some(character) = characters.next_char() {
        match character.ok_or(no_form(Reason::Surrogate, start))? {
            ascii @ ('"' | '\\' | '\0'..'\x20') => write_escape(u8::try_from(ascii).unwrap_or_default(), out),
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
    Ok(())
}

/// Reads a number that has a canonical form, which is then its own spelling.
fn integer(cursor: &mut Cursor<'_>) -> Result<(), JsonError> {
    let start = cursor.offset();
    if cursor.number()? == Number::Float {
        return Err(no_form(Reason::Float, start));
    }
    let value = cursor.since(start).parse::<i64>();
    if !value.is_ok_and(|value| (-MAX_INTEGER..=MAX_INTEGER).contains(&value)) {
        return Err(no_form(Reason::Integer, start));
    }
    Ok(())
}

fn no_form(reason: Reason, offset: usize) -> JsonError {
    JsonError::NoCanonicalForm { reason, offset }
}

/// The order of two canonical keys, with their quotes, by UTF-16 code units (RFC 8785 §3.2.3).
fn compare_keys(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (inner(a), inner(b));
    let common = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (Some(x), Some(y)) = (a.get(common), b.get(common)) else { return a.len().cmp(&b.len()) };
    // An escape begins at the difference, or may span it.
    if *x == b'\\' || *y == b'\\' || a.get(..common).is_some_and(|same| same.contains(&b'\\')) {
        return utf16_units(a).cmp(utf16_units(b));
    }
    // UTF-8 sorts as UTF-16 does, but for one thing: U+E000 to U+FFFF (lead bytes 0xEE, 0xEF) come after the
    // surrogate pairs of what lies above (lead bytes from 0xF0).
    let behind_surrogates = |byte: &u8| matches!(byte, 0xee | 0xef);
    match (behind_surrogates(x), behind_surrogates(y)) {
        (true, false) if *y >= 0xf0 => Ordering::Greater,
        (false, true) if *x >= 0xf0 => Ordering::Less,
        _ => x.cmp(y),
    }
}

fn inner(quoted: &[u8]) -> &[u8] {
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default()
}

fn utf16_units(key: &[u8]) -> impl Iterator<Item = u16> {
    let mut characters = Characters::new(core::str::from_utf8(key).unwrap_or_default());
    core::iter::from_fn(move || characters.next_char().flatten()).flat_map(|character| {
        let mut units = [0; 2];
        let count = character.encode_utf16(&mut units).len();
        units.into_iter().take(count)
    })
}
