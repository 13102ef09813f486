//! The `glasslog` command.

fn main() {}
