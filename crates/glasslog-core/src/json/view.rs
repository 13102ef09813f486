//! Looking into a document without copying it.
//!
//! [`scan`] checks the grammar of the whole document once; what it gives can then be walked without errors.
//! Duplicates, floats and lone surrogates are let through: records that have no canonical form are to be read too.

use alloc::{borrow::Cow, string::String, vec::Vec};

use super::{JsonError, MAX_INTEGER, lexer::Cursor};

/// The value that is all of `input`, white space around it apart.
///
/// # Errors
///
/// [`JsonError::Malformed`] or [`JsonError::UnexpectedEnd`] unless `input` is one RFC 8259 value in UTF-8.
pub fn scan(input: &[u8]) -> Result<Value<'_>, JsonError> {
    let mut cursor = Cursor::from_bytes(input)?;
    cursor.skip_space();
    let start = cursor.offset();
    skip_value(&mut cursor)?;
    let value = Value { raw: cursor.since(start), offset: start };
    cursor.finish()?;
    Ok(value)
}

/// Where the value that begins at `text[at..]`, after any white space, ends. What follows is not looked at.
///
/// # Errors
///
/// As [`scan`]. [`JsonError::UnexpectedEnd`] means that more text could complete it; so could a number that ends
/// with `text`.
pub fn value_end(text: &str, at: usize) -> Result<usize, JsonError> {
    let rest = text.get(at..).ok_or(JsonError::UnexpectedEnd { offset: text.len() })?;
    let mut cursor = Cursor::new(rest);
    cursor.skip_space();
    skip_value(&mut cursor)?;
    Ok(at + cursor.offset())
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number of any spelling.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A value of a scanned document, in the document's own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a str,
    offset: usize,
}

impl<'a> Value<'a> {
    /// Its bytes as they stand in the document, without white space around them.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// Where they begin in the document.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.raw.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        (self.kind() == Kind::Bool).then(|| self.raw == "true")
    }

    /// The string, if it is one and holds no lone surrogate.
    #[must_use]
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        unescape(self.raw)
    }

    /// The integer, if it is a number that is spelt as one (`-0`, `1.0` and `1e3` are not) within ±(2^53 − 1).
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        let spelt_as_integer = self.raw != "-0" && self.raw.bytes().all(|b| b == b'-' || b.is_ascii_digit());
        let value = if spelt_as_integer { self.raw.parse::<i64>().ok()? } else { return None };
        (-MAX_INTEGER..=MAX_INTEGER).contains(&value).then_some(value)
    }

    /// The object, if it is one.
    #[must_use]
    pub fn as_object(&self) -> Option<Object<'a>> {
        (self.kind() == Kind::Object).then_some(Object { value: *self })
    }

    /// The array, if it is one.
    #[must_use]
    pub fn as_array(&self) -> Option<Array<'a>> {
        (self.kind() == Kind::Array).then_some(Array { value: *self })
    }
}

/// An object of a scanned document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object<'a> {
    value: Value<'a>,
}

impl<'a> Object<'a> {
    /// The object as a value.
    #[must_use]
    pub fn value(&self) -> Value<'a> {
        self.value
    }

    /// Its members in the order of the document; a key that stands twice comes twice.
    pub fn members(&self) -> impl Iterator<Item = Member<'a>> + use<'a> {
        let mut items = Items::new(self.value);
        core::iter::from_fn(move || {
            let key = items.next_value()?;
            items.cursor.expect(b':', "':'").ok()?;
            Some(Member { key, value: items.next_value_after_colon()? })
        })
    }

    /// The value of `key`, if it stands in the object exactly once.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let mut found = self.members().filter(|member| member.key().is_some_and(|k| k == key));
        let first = found.next()?;
        found.next().is_none().then_some(first.value)
    }
}

/// A member of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    key: Value<'a>,
    value: Value<'a>,
}

impl<'a> Member<'a> {
    /// The key as it stands in the document, with quotes and escapes.
    #[must_use]
    pub fn raw_key(&self) -> Value<'a> {
        self.key
    }

    /// The key itself, or `None` when it holds a lone surrogate.
    #[must_use]
    pub fn key(&self) -> Option<Cow<'a, str>> {
        self.key.as_str()
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> Value<'a> {
        self.value
    }
}

/// An array of a scanned document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array<'a> {
    value: Value<'a>,
}

impl<'a> Array<'a> {
    /// Its elements, in order.
    pub fn elements(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut items = Items::new(self.value);
        core::iter::from_fn(move || items.next_value())
    }
}

/// Walks what stands between two brackets. The grammar was checked, so an error can only mean the end.
struct Items<'a> {
    cursor: Cursor<'a>,
    base: usize,
}

impl<'a> Items<'a> {
    fn new(container: Value<'a>) -> Items<'a> {
        Items { cursor: Cursor::new(container.raw), base: container.offset }
    }

    /// The next value after `{`, `[` or `,`.
    fn next_value(&mut self) -> Option<Value<'a>> {
        self.cursor.skip_space();
        self.cursor.bump();
        self.next_value_after_colon()
    }

    fn next_value_after_colon(&mut self) -> Option<Value<'a>> {
        self.cursor.skip_space();
        let start = self.cursor.offset();
        skip_value(&mut self.cursor).ok()?;
        Some(Value { raw: self.cursor.since(start), offset: self.base + start })
    }
}

/// Reads one value of any depth: open containers are remembered in a list of bits, not on the stack.
pub(super) fn skip_value(cursor: &mut Cursor<'_>) -> Result<(), JsonError> {
    let mut open: Vec<u8> = Vec::new();
    loop {
        match cursor.peek_token("a value")? {
            bracket @ (b'{' | b'[') => {
                let close = bracket + 2;
                cursor.bump();
                if cursor.peek_token("a value")? == close {
                    cursor.bump();
                } else {
                    open.push(close);
                    if close == b'}' {
                        skip_key(cursor)?;
                    }
                    continue;
                }
            }
            b'"' => drop(cursor.string()?),
            b't' => cursor.literal("true")?,
            b'f' => cursor.literal("false")?,
            b'n' => cursor.literal("null")?,
            b'-' | b'0'..=b'9' => drop(cursor.number()?),
            _ => return Err(cursor.error("a value")),
        }
        loop {
            let Some(close) = open.last().copied() else { return Ok(()) };
            if cursor.more(close, if close == b'}' { "',' or '}'" } else { "',' or ']'" })? {
                if close == b'}' {
                    skip_key(cursor)?;
                }
                break;
            }
            open.pop();
        }
    }
}

fn skip_key(cursor: &mut Cursor<'_>) -> Result<(), JsonError> {
    cursor.skip_space();
    cursor.string()?;
    cursor.expect(b':', "':'")
}

/// The text of the string `raw`, quotes and escapes taken away; `None` when it is no string or has a lone surrogate.
fn unescape(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let mut text = String::with_capacity(inner.len());
    let mut characters = Characters::new(inner);
    while let Some(character) = characters.next_char() {
        text.push(character?);
    }
    Some(Cow::Owned(text))
}

/// The characters of a string's inside, whose grammar was checked.
pub(super) struct Characters<'a> {
    rest: &'a str,
}

impl<'a> Characters<'a> {
    pub(super) fn new(inner: &'a str) -> Characters<'a> {
        Characters { rest: inner }
    }

    /// The next character; `Some(None)` stands for a lone surrogate, after which nothing more is of use.
    pub(super) fn next_char(&mut self) -> Option<Option<char>> {
        let character = self.take_char()?;
        if character != '\\' {
            return Some(Some(character));
        }
        Some(match self.take_char()? {
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'u' => self.unicode_escape(),
            itself => Some(itself),
        })
    }

    fn take_char(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next();
        self.rest = characters.as_str();
        character
    }

    fn unicode_escape(&mut self) -> Option<char> {
        let unit = self.hex4()?;
        if !(0xd800..0xdc00).contains(&unit) {
            return char::from_u32(unit);
        }
        self.rest = self.rest.strip_prefix("\\u")?;
        let low = self.hex4()?;
        if !(0xdc00..0xe000).contains(&low) {
            return None;
        }
        char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
    }

    fn hex4(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        u32::from_str_radix(digits, 16).ok()
    }
}
