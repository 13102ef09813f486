//! Paths of tiles and bundles, in their one canonical spelling.

use alloc::string::{String, ToString};
use core::fmt;

use super::{BundleId, FULL_WIDTH, MAX_LEVEL, ResourcePath, TileId};

/// The string is not the canonical path of anything that a log serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a canonical tlog-tiles path (such as checkpoint, tile/0/x001/234.p/7 or tile/entries/000)")]
pub struct PathError;

impl TileId {
    /// The canonical path, relative to the log's prefix, such as `tile/0/x001/234.p/7`.
    #[must_use]
    pub fn path(&self) -> String {
        self.to_string()
    }
}

impl BundleId {
    /// The canonical path, relative to the log's prefix, such as `tile/entries/x001/234.p/7`.
    #[must_use]
    pub fn path(&self) -> String {
        self.to_string()
    }
}

impl ResourcePath {
    /// Reads a path relative to the log's prefix, without a leading slash.
    ///
    /// Strict: what does not re-encode to itself is refused (leading zeros, `x000/` in front, `.p/256`).
    ///
    /// # Errors
    ///
    /// [`PathError`].
    pub fn parse(path: &str) -> Result<ResourcePath, PathError> {
        parse(path).ok_or(PathError)
    }
}

impl fmt::Display for ResourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResourcePath::Checkpoint => f.write_str("checkpoint"),
            ResourcePath::Tile(tile) => tile.fmt(f),
            ResourcePath::Bundle(bundle) => bundle.fmt(f),
        }
    }
}

/// The canonical path.
impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        write_place(f, self.index, self.width)
    }
}

/// The canonical path.
impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_place(f, self.index, self.width)
    }
}

/// Groups of three digits, all but the last after an `x`; then the width of a partial one.
fn write_place(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let mut scale = 1;
    while index / scale >= 1000 {
        scale *= 1000;
    }
    while scale > 1 {
        write!(f, "x{:03}/", index / scale % 1000)?;
        scale /= 1000;
    }
    write!(f, "{:03}", index % 1000)?;
    if width < FULL_WIDTH { write!(f, ".p/{width}") } else { Ok(()) }
}

fn parse(path: &str) -> Option<ResourcePath> {
    if path == "checkpoint" {
        return Some(ResourcePath::Checkpoint);
    }
    let (level, place) = path.strip_prefix("tile/")?.split_once('/')?;
    let (digits, width) = match place.split_once(".p/") {
        Some((digits, width)) => (digits, parse_width(width)?),
        None => (place, FULL_WIDTH),
    };
    let index = parse_index(digits)?;
    if level == "entries" {
        return Some(ResourcePath::Bundle(BundleId { index, width }));
    }
    let level = u8::try_from(parse_decimal(level)?).ok().filter(|level| *level <= MAX_LEVEL)?;
    Some(ResourcePath::Tile(TileId { level, index, width }))
}

fn parse_width(text: &str) -> Option<u16> {
    parse_decimal(text).filter(|width| (1..FULL_WIDTH).contains(width))
}

/// A decimal of at most three digits without leading zeros.
fn parse_decimal(text: &str) -> Option<u16> {
    let canonical = text == "0" || !text.starts_with('0');
    if canonical && (1..=3).contains(&text.len()) { parse_digits(text) } else { None }
}

fn parse_index(text: &str) -> Option<u64> {
    let mut index: u64 = 0;
    let mut groups = text.split('/').peekable();
    while let Some(group) = groups.next() {
        let last = groups.peek().is_none();
        let digits = if last { group } else { group.strip_prefix('x')? };
        let value = if digits.len() == 3 { parse_digits(digits)? } else { return None };
        // A leading group of zeros would be a second spelling of the same index.
        if !last && index == 0 && value == 0 {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(u64::from(value))?;
    }
    Some(index)
}

fn parse_digits(text: &str) -> Option<u16> {
    text.bytes().try_fold(0_u16, |value, byte| {
        let digit = char::from(byte).to_digit(10)?;
        value.checked_mul(10)?.checked_add(u16::try_from(digit).ok()?)
    })
}
