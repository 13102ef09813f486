//! Usage and exit codes.

use assert_cmd::Command;

fn glasslog() -> Command {
    Command::new(env!("CARGO_BIN_EXE_glasslog"))
}

#[test]
fn usage_errors_are_64() {
    for args in [&["no-such-command"][..], &["serve", "--no-such-flag"], &["ingest", "conda"], &["verify"]] {
        glasslog().args(args).assert().code(64);
    }
}

#[test]
fn help_and_version_are_0() {
    for args in [["--help"], ["--version"]] {
        glasslog().args(args).assert().code(0);
    }
}
