//! RFC 6962 §2.1 hashing: `SHA-256(0x00 ‖ entry)` for leaves, `SHA-256(0x01 ‖ left ‖ right)` for nodes.

use core::fmt;

use sha2::{Digest, Sha256};

/// A SHA-256 hash of an entry, a tree node or a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The root of the tree of size 0: the hash of nothing (RFC 6962 §2.1).
    pub const EMPTY_ROOT: Hash = Hash([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
        0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
    ]);

    /// The hash held in `bytes`, or `None` unless there are exactly 32.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Hash> {
        bytes.try_into().ok().map(Hash)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Lower-case hexadecimal, 64 digits.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// The leaf hash of `entry`: `SHA-256(0x00 ‖ entry)`.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// The hash of the node over `left` and `right`: `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut preimage = [0; 65];
    preimage[0] = 1;
    preimage[1..33].copy_from_slice(&left.0);
    preimage[33..].copy_from_slice(&right.0);
    Hash(Sha256::digest(preimage).into())
}

/// Hashes many leaves or nodes at once; every hash of the write path goes through one of these.
///
/// The implementation of `glasslog-hash` interleaves several streams; [`ScalarHasher`] is the reference.
pub trait BatchHasher: Send + Sync {
    /// Writes the leaf hash of each entry to the slot of the same position.
    ///
    /// `entries` and `out` are of the same length; the shorter of the two bounds the work.
    fn leaves(&self, entries: &[&[u8]], out: &mut [Hash]) {
        self.tagged(0, entries, out);
    }

    /// Writes `SHA-256(tag ‖ message)` of each message to the slot of the same position.
    ///
    /// `messages` and `out` are of the same length; the shorter of the two bounds the work.
    fn tagged(&self, tag: u8, messages: &[&[u8]], out: &mut [Hash]);

    /// Writes to `out[i]` the node over `children[2 i]` and `children[2 i + 1]`.
    ///
    /// `children` holds at least twice as many hashes as `out`; the shorter of the two bounds the work.
    fn nodes(&self, children: &[Hash], out: &mut [Hash]);
}

/// One hash after the other, by the portable `sha2` crate.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScalarHasher;

impl BatchHasher for ScalarHasher {
    fn tagged(&self, tag: u8, messages: &[&[u8]], out: &mut [Hash]) {
        for (message, hash) in messages.iter().zip(out) {
            *hash = Hash(Sha256::new().chain_update([tag]).chain_update(message).finalize().into());
        }
    }

    fn nodes(&self, children: &[Hash], out: &mut [Hash]) {
        for (pair, hash) in children.chunks_exact(2).zip(out) {
            *hash = node_hash(&pair[0], &pair[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    /// Judge: the hashes that RFC 6962 implementations publish for the empty leaf and the empty tree.
    #[test]
    fn published_hashes() {
        assert_eq!(Hash::EMPTY_ROOT, Hash(Sha256::digest([]).into()));
        assert_eq!(
            leaf_hash(b"").to_string(),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        assert_eq!(
            node_hash(&leaf_hash(b""), &leaf_hash(b"\0")).to_string(),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        );
    }
}
