//! Judged from outside: real channels, other implementations, hostile files, the spec page.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy spares functions marked #[test], and not what they call"
)]

mod channels;
mod fixtures;
mod index;
mod page;
mod property;
mod support;
