//! The `glasslog` command as a library, so that tests and benches can call its parts.
//!
//! [`cli`] is the whole surface; each command is a module with its arguments, then `run(args, out)`. Results go to
//! stdout through [`output::Output`], log lines to stderr through `tracing`, and every ending is an [`exit::Exit`].
#![forbid(unsafe_code)]

mod age;
pub mod bench;
pub mod cli;
pub mod config;
pub mod demo;
pub mod exit;
pub mod fetch;
pub mod fsck;
mod ground;
pub mod index;
pub mod ingest;
pub mod keys;
pub mod log_dir;
pub mod log_stanza;
pub mod logging;
pub mod lookup;
pub mod output;
pub mod prove;
pub mod recover;
pub mod serve;
pub mod service;
pub mod settings;
pub mod signals;
pub mod verify;
pub mod witness;
pub mod witnesses;
