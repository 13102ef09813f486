//! The `glasslog` command: see the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    glasslog::cli::main(std::env::args_os())
}
