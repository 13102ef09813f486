//! Keys: what the index is asked for (vindex.md §2).

use std::fmt;

use sha2::{Digest, Sha256};

/// A key of the index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The key of `name` for a map function without kinds: its SHA-256.
    #[must_use]
    pub fn of_name(name: &str) -> Key {
        Key(Sha256::digest(name.as_bytes()).into())
    }

    /// The key of `name` among the names of `kind`: `SHA-256(kind ‖ 0x00 ‖ name)`.
    #[must_use]
    pub fn of_kind(kind: &str, name: &str) -> Key {
        Key(Sha256::new().chain_update(kind).chain_update([0]).chain_update(name).finalize().into())
    }

    /// The bit at `place`, 0 being the most significant one of the first byte.
    #[must_use]
    pub fn bit(&self, place: u8) -> bool {
        self.0.get(usize::from(place >> 3)).is_some_and(|byte| byte << (place & 7) & 0x80 != 0)
    }

    /// The first bit at which the two keys differ; none if they are equal.
    #[must_use]
    pub fn first_difference(&self, other: &Key) -> Option<u8> {
        let differing = self.0.iter().zip(&other.0).map(|(a, b)| a ^ b).zip(0..);
        let (bits, byte) = differing.into_iter().find(|(bits, _)| *bits != 0)?;
        u8::try_from(byte * 8 + bits.leading_zeros()).ok()
    }
}

/// Lower-case hexadecimal, 64 digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}
