//! Repository chores: `cargo run -p xtask -- tidy [--bless]`.
//!
//! `tidy` checks what a linter cannot say. `--bless` accepts the present lengths as the ratchet's new marks.
#![expect(clippy::print_stdout, reason = "a chore speaks to the person who runs it")]

mod crates;
mod files;
mod functions;
mod links;
mod way;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let bless = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => false,
        ["tidy", "--bless"] => true,
        _ => bail!("usage: cargo run -p xtask -- tidy [--bless]"),
    };
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let root = root.parent().context("xtask lies in the workspace")?;
    let checks = [
        ("crate table of ARCHITECTURE.md", crates::check(root)?),
        ("links between documents", links::check(root)?),
        ("long functions", functions::check(root, bless)?),
        ("the way of an entry", way::check(root, bless)?),
    ];
    let mut broken = false;
    for (name, findings) in checks {
        println!("tidy: {name}: {}", if findings.is_empty() { "ok" } else { "NOT ok" });
        for finding in findings {
            println!("  {finding}");
            broken = true;
        }
    }
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
