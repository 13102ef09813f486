//! Judged from outside: real channels, other implementations, hostile files, the spec page.

mod channels;
mod fixtures;
mod page;
mod property;
mod support;
