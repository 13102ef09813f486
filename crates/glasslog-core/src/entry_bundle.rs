//! Entry bundles: entries one after the other, each after its length in 16 bits, big-endian (c2sp.org/tlog-tiles).

use alloc::vec::Vec;

use crate::tile::FULL_WIDTH;

/// Bytes of the length in front of each entry.
const PREFIX_LEN: usize = 2;

/// Why entries or bytes are not a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The length does not fit in its 16 bits.
    #[error("an entry of {0} bytes does not fit in a bundle; at most 65,535 are possible")]
    EntryTooLong(usize),
    /// The bytes end within an entry.
    #[error("the bundle ends within entry {position}, which begins at byte {offset}")]
    Truncated {
        /// Number of the entry in the bundle, from 0.
        position: usize,
        /// Where its length stands.
        offset: usize,
    },
    /// There are fewer or more entries than the path says.
    #[error("the bundle holds {got} entries instead of {expected}")]
    Count {
        /// How many there must be.
        expected: usize,
        /// How many there are.
        got: usize,
    },
}

/// Entries in the framing of a bundle, whole and of a known number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryBundle<'a> {
    bytes: &'a [u8],
    len: usize,
}

/// Encodes `entries`, of 0 to 65,535 bytes each, in their order.
///
/// # Errors
///
/// [`BundleError::EntryTooLong`].
pub fn encode<E: AsRef<[u8]>>(entries: impl IntoIterator<Item = E>) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    for entry in entries {
        append(&mut bytes, entry.as_ref())?;
    }
    Ok(bytes)
}

/// Appends one entry to a bundle that is being written.
///
/// # Errors
///
/// [`BundleError::EntryTooLong`], with `bundle` unchanged.
pub fn append(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), BundleError> {
    let len = u16::try_from(entry.len()).map_err(|_| BundleError::EntryTooLong(entry.len()))?;
    bundle.extend_from_slice(&len.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

impl<'a> EntryBundle<'a> {
    /// Reads a bundle of exactly `width` entries, with nothing after them.
    ///
    /// # Errors
    ///
    /// [`BundleError::Truncated`] and [`BundleError::Count`].
    pub fn parse(bytes: &'a [u8], width: u16) -> Result<EntryBundle<'a>, BundleError> {
        let bundle = EntryBundle::parse_any(bytes)?;
        bundle.expect_len(width.into())
    }

    /// Reads the first `width` entries of a bundle that may be a wider one of the same place, up to the full one: a
    /// log may delete a partial bundle once the full one is there.
    ///
    /// # Errors
    ///
    /// [`BundleError::Truncated`] and [`BundleError::Count`]; the entries past the cut must be well-formed too.
    pub fn parse_cut(bytes: &'a [u8], width: u16) -> Result<EntryBundle<'a>, BundleError> {
        let whole = EntryBundle::parse_any(bytes)?;
        let width = usize::from(width);
        if whole.len < width || whole.len > usize::from(FULL_WIDTH) {
            return whole.expect_len(width);
        }
        let cut = whole.iter().take(width).map(|entry| PREFIX_LEN + entry.len()).sum();
        Ok(EntryBundle { bytes: bytes.get(..cut).unwrap_or(bytes), len: width })
    }

    /// Reads entries in this framing, however many there are.
    ///
    /// # Errors
    ///
    /// [`BundleError::Truncated`].
    pub fn parse_any(bytes: &'a [u8]) -> Result<EntryBundle<'a>, BundleError> {
        let (mut rest, mut len) = (bytes, 0);
        while !rest.is_empty() {
            let offset = bytes.len() - rest.len();
            (_, rest) = split_entry(rest).ok_or(BundleError::Truncated { position: len, offset })?;
            len += 1;
        }
        Ok(EntryBundle { bytes, len })
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none. No log serves an empty bundle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The encoded entries.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let (entry, after) = split_entry(rest)?;
            rest = after;
            Some(entry)
        })
    }

    fn expect_len(self, expected: usize) -> Result<EntryBundle<'a>, BundleError> {
        if self.len == expected { Ok(self) } else { Err(BundleError::Count { expected, got: self.len }) }
    }
}

/// The first entry of `bytes`, and what comes after it.
fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (prefix, rest) = bytes.split_first_chunk::<PREFIX_LEN>()?;
    rest.split_at_checked(u16::from_be_bytes(*prefix).into())
}
