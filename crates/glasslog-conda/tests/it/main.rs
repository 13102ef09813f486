//! Judged from outside: real channels, other implementations, hostile files, the spec page.

mod channels;

mod fixtures;
mod property;
mod support;
