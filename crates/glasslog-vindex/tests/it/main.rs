//! Judged from outside: the spec page, vectors of another implementation, a naive model, and everything an attacker may try.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy spares functions marked #[test], and not what they call"
)]

mod attacks;
mod files;
mod log;
mod naive;
mod page;
mod reasons;
mod shared;
mod trie;
