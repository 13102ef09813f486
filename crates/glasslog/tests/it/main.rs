//! Everything that is tested through the real binary and real HTTP, in one test program (linked once).

mod cli;
mod demo;
mod ingest;
mod life_of_an_entry;
mod serve;
mod support;
mod torture;
