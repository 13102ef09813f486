//! Everything that is tested through the real binary and real HTTP, in one test program (linked once).

mod cli;
