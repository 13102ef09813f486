//! Strict JSON: the RFC 8785 canonical form, and a borrowed view of a document's members.
//!
//! Two questions are kept apart. *Is this JSON?* is RFC 8259's grammar over UTF-8 ([`scan`]). *Has it a canonical
//! form?* is stricter ([`Canonicalizer`]): no duplicate keys, no floats (`-0`, `1.0` and `1e3` are floats), no integers
//! beyond ±(2^53 − 1), no lone surrogates, no more than [`MAX_DEPTH`] containers inside one another. Within these
//! rules every value has exactly one spelling, which RFC 8785 gives; keys sort by their UTF-16 code units.

mod canonical;
mod lexer;
mod view;

use core::fmt;

pub use canonical::{Canonicalizer, canonicalize, is_canonical, write_string};
pub use view::{Array, Kind, Member, Object, Value, scan, value_end};

/// How many containers (objects and arrays) may be open at once in a value that has a canonical form.
pub const MAX_DEPTH: usize = 64;

/// The largest integer with a canonical form, 2^53 − 1; the smallest is its negation.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// Why bytes have no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The bytes are not one JSON value in UTF-8 (RFC 8259).
    #[error("not JSON at byte {offset}: expected {expected}")]
    Malformed {
        /// Where, from 0.
        offset: usize,
        /// What could stand there.
        expected: &'static str,
    },
    /// The bytes end inside a value.
    #[error("not JSON: ends at byte {offset} inside a value")]
    UnexpectedEnd {
        /// How many bytes there are.
        offset: usize,
    },
    /// The bytes are JSON that is outside the strict rules.
    #[error("no canonical form: {reason} at byte {offset}")]
    NoCanonicalForm {
        /// Which rule.
        reason: Reason,
        /// Where the offending number, string or container begins; of a duplicate, its second key.
        offset: usize,
    },
}

/// Which rule a value breaks. The words of `meta_raw.reason` in a conda entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A number with fraction, exponent or negative zero.
    Float,
    /// A key that stands twice in one object.
    Duplicate,
    /// An integer beyond ±(2^53 − 1).
    Integer,
    /// A `\u` escape that is half of a surrogate pair.
    Surrogate,
    /// More than [`MAX_DEPTH`] containers inside one another.
    Depth,
    /// Something that JSON cannot say. Only readers of other encodings give this.
    Type,
    /// Longer than its place allows. Only callers with a bound give this.
    Size,
}

impl Reason {
    /// The word that entries use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Float => "float",
            Reason::Duplicate => "duplicate",
            Reason::Integer => "integer",
            Reason::Surrogate => "surrogate",
            Reason::Depth => "depth",
            Reason::Type => "type",
            Reason::Size => "size",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
