//! Everything that is tested through the real binary and real HTTP, in one test program (linked once).

mod bench;
mod cli;
mod demo;
mod disk_full;
mod fsck;
mod ingest;
mod life_of_an_entry;
mod serve;
mod support;
mod torture;
mod verify;
