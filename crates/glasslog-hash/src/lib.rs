//! SHA-256 of many leaves and nodes at once, as fast as this machine can.
//!
//! A Merkle tree hashes small, independent messages. One SHA-256 on its own waits for its own rounds most of the time;
//! two at once fill the waits. [`hasher`] chooses at run time:
//!
//! - on x86-64 with the SHA extensions, two streams interleaved (`sha_ni`);
//! - everywhere else [`ScalarHasher`], the `sha2` crate, which uses the hash instructions of AArch64 itself.
//!
//! A 16-lane AVX-512 implementation for x86-64 without SHA extensions is left out on purpose: no machine of this project
//! could test it.
//!
//! This is the only crate of the project with `unsafe`, and it has one kind of it: calling a function that needs
//! processor features, once they were found.

#[cfg(target_arch = "x86_64")]
mod sha_ni;

use std::sync::LazyLock;

use glasslog_core::hash::{BatchHasher, ScalarHasher};

/// The fastest hasher for this machine; every one gives the same hashes. Chosen at the first call.
#[must_use]
pub fn hasher() -> &'static dyn BatchHasher {
    static FASTEST: LazyLock<&'static dyn BatchHasher> = LazyLock::new(fastest);
    *FASTEST
}

#[cfg(target_arch = "x86_64")]
fn fastest() -> &'static dyn BatchHasher {
    static SHA_NI: LazyLock<Option<sha_ni::ShaNi>> = LazyLock::new(sha_ni::ShaNi::detect);
    SHA_NI.as_ref().map_or(&ScalarHasher, |hasher| hasher)
}

#[cfg(not(target_arch = "x86_64"))]
fn fastest() -> &'static dyn BatchHasher {
    &ScalarHasher
}
