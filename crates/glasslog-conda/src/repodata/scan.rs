//! The careful way through one JSON value: any size, any depth, a bounded amount of memory.
//!
//! The reader canonicalises a record in its buffer as fast as it can. What that refuses, what does not fit, and
//! what is no record at all goes through here: it is followed to its end by the grammar of RFC 8259, hashed as
//! served, and every reason why it has no canonical form is noted.

use std::{collections::HashSet, io, io::Read};

use glasslog_core::json::MAX_INTEGER;

use super::{MAX_RECORD_BYTES, input::Input};
use crate::entry::{Artifact, MetaRaw, Reason};

/// Levels that are followed at all: one bit is kept for each. Deeper is not JSON that anybody reads.
const MAX_FOLLOWED_DEPTH: usize = 1 << 20;

/// No value that matters here (a hash, a size) is longer, in bytes.
const MAX_CAPTURE: usize = 64;

/// Why a value cannot be followed to its end.
#[derive(Debug)]
pub(super) enum ScanError {
    /// The reader failed.
    Io(io::Error),
    /// The bytes end inside the value.
    Truncated,
    /// The bytes are not JSON.
    Malformed(&'static str),
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> ScanError {
        ScanError::Io(error)
    }
}

/// Text that was read up to a limit.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// The text, unescaped; a lone surrogate stands as U+FFFD.
    pub(super) text: String,
    /// Whether it was longer than the limit.
    pub(super) cut: bool,
    /// Whether it held a lone surrogate.
    pub(super) surrogate: bool,
}

impl Text {
    fn push(&mut self, c: char, limit: usize) {
        if self.text.len() + c.len_utf8() > limit {
            self.cut = true;
        } else if !self.cut {
            self.text.push(c);
        }
    }
}

/// Skips one value, whatever it is.
pub(super) fn skip_value<R: Read>(input: &mut Input<R>) -> Result<(), ScanError> {
    Scan::new(input, None).value()
}

/// Reads one string, of which at most `limit` bytes are kept.
pub(super) fn read_string<R: Read>(input: &mut Input<R>, limit: usize) -> Result<Text, ScanError> {
    Scan::new(input, None).string(limit)
}

/// Skips white space and gives the byte that follows, not used up.
pub(super) fn token<R: Read>(input: &mut Input<R>) -> Result<u8, ScanError> {
    loop {
        match input.peek()? {
            Some(b' ' | b'\t' | b'\n' | b'\r') => input.consume(1),
            Some(byte) => return Ok(byte),
            None => return Err(ScanError::Truncated),
        }
    }
}

/// Follows the object that begins at the input's next byte to its end, says why it has no canonical form, and
/// derives what a file can be held to.
///
/// `max_depth` is how many levels the object may have, itself included.
pub(super) fn scan_record<R: Read>(
    input: &mut Input<R>,
    max_depth: usize,
) -> Result<(MetaRaw, Artifact), ScanError> {
    let begin = input.offset();
    input.start_tap();
    let mut scan = Scan::new(input, Some(max_depth));
    scan.value()?;
    let (faults, members) = (scan.faults, scan.members);
    let size = input.offset() - begin;
    // The order is part of the format: the first that holds is the reason (docs/spec/conda-entry.md).
    let reason = match faults {
        _ if size > MAX_RECORD_BYTES as u64 => Reason::Size,
        Faults { depth: true, .. } => Reason::Depth,
        Faults { surrogate: true, .. } => Reason::Surrogate,
        Faults { duplicate: true, .. } => Reason::Duplicate,
        Faults { integer: true, .. } => Reason::Integer,
        Faults { float: true, .. } => Reason::Float,
        // It has a canonical form, so the entry that holds it was too long.
        _ => Reason::Size,
    };
    let artifact = Artifact::from_texts(members.md5.text(), members.sha256.text(), members.size.number());
    Ok((MetaRaw { reason, sha256: input.stop_tap(), size }, artifact))
}

/// Every reason met so far.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one reason of the format, and any may hold together"
)]
struct Faults {
    depth: bool,
    surrogate: bool,
    duplicate: bool,
    integer: bool,
    float: bool,
}

/// The members of a record that its artifact is derived from.
#[derive(Debug, Default)]
struct Members {
    md5: Member,
    sha256: Member,
    size: Member,
}

#[derive(Debug, Default)]
enum Member {
    #[default]
    Absent,
    Text(String),
    Number(String),
    Other,
    /// It occurs more than once, so what it says is ambiguous.
    Ambiguous,
}

impl Member {
    fn text(&self) -> Option<&str> {
        if let Member::Text(text) = self { Some(text) } else { None }
    }

    fn number(&self) -> Option<&str> {
        if let Member::Number(text) = self { Some(text) } else { None }
    }
}

/// Which of [`Members`] the next value belongs to.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Md5,
    Sha256,
    Size,
}

#[derive(Debug)]
struct Scan<'i, R> {
    input: &'i mut Input<R>,
    begin: u64,
    /// One bit per open container: set for an object.
    open: Vec<u64>,
    depth: usize,
    /// Levels allowed when a record is followed; `None` when a value is only skipped.
    max_depth: Option<usize>,
    /// The names met in each open object, kept while duplicates matter.
    names: Option<Vec<HashSet<String>>>,
    slot: Option<Slot>,
    members: Members,
    faults: Faults,
}

impl<'i, R: Read> Scan<'i, R> {
    fn new(input: &'i mut Input<R>, max_depth: Option<usize>) -> Scan<'i, R> {
        Scan {
            begin: input.offset(),
            input,
            open: Vec::new(),
            depth: 0,
            max_depth,
            names: max_depth.map(|_| Vec::new()),
            slot: None,
            members: Members::default(),
            faults: Faults::default(),
        }
    }

    /// Follows one value of any kind, without recursion.
    fn value(&mut self) -> Result<(), ScanError> {
        loop {
            match token(self.input)? {
                b'{' => {
                    self.open(true)?;
                    if token(self.input)? != b'}' {
                        self.name()?;
                        continue;
                    }
                    self.close();
                }
                b'[' => {
                    self.open(false)?;
                    if token(self.input)? != b']' {
                        continue;
                    }
                    self.close();
                }
                first => self.scalar(first)?,
            }
            if !self.another_value()? {
                return Ok(());
            }
        }
    }

    /// After a value: closes what ends here, and says whether another value begins.
    fn another_value(&mut self) -> Result<bool, ScanError> {
        while self.depth > 0 {
            match (token(self.input)?, self.in_object()) {
                (b',', true) => {
                    self.input.consume(1);
                    token(self.input)?;
                    self.name()?;
                    return Ok(true);
                }
                (b',', false) => {
                    self.input.consume(1);
                    return Ok(true);
                }
                (b'}', true) | (b']', false) => self.close(),
                _ => return Err(ScanError::Malformed("expected a comma or the end of the object or array")),
            }
        }
        Ok(false)
    }

    fn open(&mut self, object: bool) -> Result<(), ScanError> {
        self.input.consume(1);
        self.settle(Member::Other);
        if self.depth >= MAX_FOLLOWED_DEPTH {
            return Err(ScanError::Malformed("more than 1,048,576 levels"));
        }
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        if word == self.open.len() {
            self.open.push(0);
        }
        if let Some(word) = self.open.get_mut(word) {
            *word = if object { *word | bit } else { *word & !bit };
        }
        self.depth += 1;
        if self.max_depth.is_some_and(|max| self.depth > max) {
            self.faults.depth = true;
            self.names = None;
        }
        if let (true, Some(names)) = (object, &mut self.names) {
            names.push(HashSet::new());
        }
        Ok(())
    }

    fn close(&mut self) {
        self.input.consume(1);
        if let (true, Some(names)) = (self.in_object(), &mut self.names) {
            names.pop();
        }
        self.depth -= 1;
    }

    fn in_object(&self) -> bool {
        let innermost = self.depth.wrapping_sub(1);
        self.open.get(innermost / 64).is_some_and(|word| word >> (innermost % 64) & 1 == 1)
    }

    /// Reads the name of a member and the colon after it.
    fn name(&mut self) -> Result<(), ScanError> {
        // A record that grows beyond the limit has its reason already: its names need not be kept.
        if self.input.offset() - self.begin > MAX_RECORD_BYTES as u64 {
            self.names = None;
        }
        let name = self.string(if self.names.is_some() { MAX_RECORD_BYTES } else { MAX_CAPTURE })?;
        if token(self.input)? != b':' {
            return Err(ScanError::Malformed("expected a colon after the name of a member"));
        }
        self.input.consume(1);
        if self.depth == 1 && self.max_depth.is_some() && !name.cut && !name.surrogate {
            self.slot = match name.text.as_str() {
                "md5" => Some(Slot::Md5),
                "sha256" => Some(Slot::Sha256),
                "size" => Some(Slot::Size),
                _ => None,
            };
        }
        if let Some(names) = self.names.as_mut().and_then(|names| names.last_mut()) {
            self.faults.duplicate |= !names.insert(name.text);
        }
        Ok(())
    }

    /// Notes `value` for the member of the artifact that it belongs to, if it belongs to one.
    fn settle(&mut self, value: Member) {
        let member = match self.slot.take() {
            None => return,
            Some(Slot::Md5) => &mut self.members.md5,
            Some(Slot::Sha256) => &mut self.members.sha256,
            Some(Slot::Size) => &mut self.members.size,
        };
        *member = if matches!(member, Member::Absent) { value } else { Member::Ambiguous };
    }

    fn scalar(&mut self, first: u8) -> Result<(), ScanError> {
        let value = match first {
            b'"' => {
                let text = self.string(MAX_CAPTURE)?;
                if text.cut || text.surrogate { Member::Other } else { Member::Text(text.text) }
            }
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.literal(b"true")?,
            b'f' => self.literal(b"false")?,
            b'n' => self.literal(b"null")?,
            _ => return Err(ScanError::Malformed("expected a value")),
        };
        self.settle(value);
        Ok(())
    }

    fn literal(&mut self, word: &[u8]) -> Result<Member, ScanError> {
        let ahead = self.input.ahead(word.len())?;
        if ahead.starts_with(word) {
            self.input.consume(word.len());
            return Ok(Member::Other);
        }
        if word.starts_with(ahead) {
            return Err(ScanError::Truncated);
        }
        Err(ScanError::Malformed("expected true, false or null"))
    }

    /// RFC 8259 §6; what is no integer of at most 2^53−1 is noted and gives [`Member::Other`].
    fn number(&mut self) -> Result<Member, ScanError> {
        let mut kept = Text::default();
        let negative = self.input.peek()? == Some(b'-');
        if negative {
            self.input.consume(1);
        }
        let leading_zero = self.input.peek()? == Some(b'0');
        let digits = self.digits(&mut kept)?;
        if leading_zero && digits > 1 {
            return Err(ScanError::Malformed("a number begins with 0"));
        }
        let mut float = negative && leading_zero;
        if self.input.peek()? == Some(b'.') {
            float = true;
            self.input.consume(1);
            self.digits(&mut Text::default())?;
        }
        if matches!(self.input.peek()?, Some(b'e' | b'E')) {
            float = true;
            self.input.consume(1);
            if matches!(self.input.peek()?, Some(b'+' | b'-')) {
                self.input.consume(1);
            }
            self.digits(&mut Text::default())?;
        }
        let safe = kept.text.parse().is_ok_and(|value: u64| value <= MAX_INTEGER.unsigned_abs());
        self.faults.float |= float;
        self.faults.integer |= !float && (kept.cut || !safe);
        let plain = !float && !negative && !kept.cut && safe;
        Ok(if plain { Member::Number(kept.text) } else { Member::Other })
    }

    /// One or more digits.
    fn digits(&mut self, kept: &mut Text) -> Result<u64, ScanError> {
        let mut count = 0;
        while let Some(byte @ b'0'..=b'9') = self.input.peek()? {
            kept.push(char::from(byte), MAX_CAPTURE);
            self.input.consume(1);
            count += 1;
        }
        match (count, self.input.peek()?) {
            (0, None) => Err(ScanError::Truncated),
            (0, Some(_)) => Err(ScanError::Malformed("expected a digit")),
            _ => Ok(count),
        }
    }

    /// RFC 8259 §7, well-formed UTF-8; at most `limit` bytes of its text are kept.
    fn string(&mut self, limit: usize) -> Result<Text, ScanError> {
        if self.input.peek()? != Some(b'"') {
            return Err(ScanError::Malformed("expected a string"));
        }
        self.input.consume(1);
        let mut text = Text::default();
        loop {
            match self.input.peek()?.ok_or(ScanError::Truncated)? {
                b'"' => {
                    self.input.consume(1);
                    self.faults.surrogate |= text.surrogate;
                    return Ok(text);
                }
                b'\\' => self.escape(&mut text, limit)?,
                0..0x20 => return Err(ScanError::Malformed("a control character in a string")),
                0x80.. => self.multibyte(&mut text, limit)?,
                _ => self.ascii(&mut text, limit),
            }
        }
    }

    /// The run of plain ASCII that comes next.
    fn ascii(&mut self, text: &mut Text, limit: usize) {
        let unread = self.input.unread();
        let plain = |byte: &u8| matches!(byte, 0x20..0x80) && *byte != b'"' && *byte != b'\\';
        let run = unread.iter().position(|byte| !plain(byte)).unwrap_or(unread.len());
        if text.text.len() + run > limit {
            text.cut = true;
        } else if !text.cut {
            text.text.extend(unread.iter().take(run).map(|byte| char::from(*byte)));
        }
        self.input.consume(run);
    }

    fn multibyte(&mut self, text: &mut Text, limit: usize) -> Result<(), ScanError> {
        const NOT_UTF8: ScanError = ScanError::Malformed("a string is not UTF-8");
        let ahead = self.input.ahead(4)?;
        let length = match ahead.first() {
            Some(0xc2..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf4) => 4,
            _ => return Err(NOT_UTF8),
        };
        let bytes = ahead.get(..length).ok_or(ScanError::Truncated)?;
        let c = std::str::from_utf8(bytes).ok().and_then(|s| s.chars().next()).ok_or(NOT_UTF8)?;
        text.push(c, limit);
        self.input.consume(length);
        Ok(())
    }

    fn escape(&mut self, text: &mut Text, limit: usize) -> Result<(), ScanError> {
        let ahead = self.input.ahead(12)?;
        let (c, length) = match ahead.get(1).ok_or(ScanError::Truncated)? {
            b'b' => ('\u{8}', 2),
            b't' => ('\t', 2),
            b'n' => ('\n', 2),
            b'f' => ('\u{c}', 2),
            b'r' => ('\r', 2),
            simple @ (b'"' | b'\\' | b'/') => (char::from(*simple), 2),
            b'u' => match unicode_escape(ahead)? {
                (Some(c), length) => (c, length),
                (None, length) => {
                    text.surrogate = true;
                    (char::REPLACEMENT_CHARACTER, length)
                }
            },
            _ => return Err(ScanError::Malformed("an unknown escape in a string")),
        };
        text.push(c, limit);
        self.input.consume(length);
        Ok(())
    }
}

/// The character that begins with the `\uXXXX` at the start of `bytes`, and the length of its spelling; no
/// character for a lone surrogate.
fn unicode_escape(bytes: &[u8]) -> Result<(Option<char>, usize), ScanError> {
    let first = code_unit(bytes).ok_or_else(|| bad_escape(bytes))?;
    if !(0xd800..0xdc00).contains(&first) {
        return Ok((char::from_u32(first), 6));
    }
    let rest = bytes.get(6..).unwrap_or_default();
    match code_unit(rest) {
        Some(second @ 0xdc00..0xe000) => {
            Ok((char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)), 12))
        }
        _ => Ok((None, 6)),
    }
}

fn bad_escape(bytes: &[u8]) -> ScanError {
    if bytes.len() < 6 {
        ScanError::Truncated
    } else {
        ScanError::Malformed("\\u needs four hexadecimal digits")
    }
}

fn code_unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.get(..6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}
