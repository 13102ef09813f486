//! One numbered check of the list: rows that hold or not, told together at the end.

use std::fmt::Display;

/// Where a demand comes from.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Level {
    /// A MUST of a specification.
    Must,
    /// A SHOULD of a specification.
    Should,
    /// Inferred: robustness or security.
    Robust,
}

pub(crate) use Level::{Must, Robust, Should};

pub(crate) struct Check {
    number: &'static str,
    title: &'static str,
    rows: usize,
    failures: Vec<String>,
}

impl Check {
    pub(crate) fn new(number: &'static str, title: &'static str) -> Check {
        Check { number, title, rows: 0, failures: Vec::new() }
    }

    /// Counts one row; `found` says what was wrong with it.
    pub(crate) fn row(&mut self, level: Level, row: impl Display, found: Result<(), String>) {
        self.rows += 1;
        let Err(found) = found else { return };
        let told = format!("  check {} [{level:?}] {row}: {found}", self.number);
        if level <= highest_level() {
            self.failures.push(told);
        } else {
            println!("not counted:{told}");
        }
    }

    /// A row that needs something which this witness, or this run, does not have.
    pub(crate) fn skip(&self, why: impl Display) {
        println!("skipped: check {} ({}): {why}", self.number, self.title);
    }

    /// Fails with every row that failed, not the first alone.
    pub(crate) fn finish(self) {
        assert!(
            self.failures.is_empty(),
            "check {} ({}): {} of {} rows failed\n{}",
            self.number,
            self.title,
            self.failures.len(),
            self.rows,
            self.failures.join("\n")
        );
    }
}

/// `WITNESS_CONFORMANCE_LEVEL` is `must`, `should`, or everything.
fn highest_level() -> Level {
    match std::env::var("WITNESS_CONFORMANCE_LEVEL").as_deref() {
        Ok("must") => Must,
        Ok("should") => Should,
        _ => Robust,
    }
}

/// Whether counts are to be the full ones.
pub(crate) fn full() -> bool {
    std::env::var_os("GLASSLOG_TORTURE").is_some_and(|value| value == "1")
}

/// How often something is repeated: `few` in an ordinary run, `many` with `GLASSLOG_TORTURE=1`.
pub(crate) fn count(few: u64, many: u64) -> u64 {
    if full() { many } else { few }
}

/// Whether the operator says that this witness, or its configuration, lacks something.
pub(crate) fn lacks(what: &str) -> bool {
    let listed = std::env::var("WITNESS_CONFORMANCE_LACKS").unwrap_or_default();
    listed.split(',').any(|listed| listed.trim() == what)
}
