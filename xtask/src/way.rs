//! The way of an entry, from the request to a public checkpoint, stays readable in one sitting.

use std::{collections::BTreeMap, path::Path};

use crate::files::{self, Ratchet};

/// In the order in which they are to be read.
const FILES: [&str; 7] = [
    "crates/glasslog-server/src/add.rs",
    "crates/glasslog-log/src/lib.rs",
    "crates/glasslog-log/src/pool.rs",
    "crates/glasslog-log/src/sequence.rs",
    "crates/glasslog-log/src/integrate.rs",
    "crates/glasslog-log/src/publish.rs",
    "crates/glasslog-log/src/recover.rs",
];

/// Prints how long the way is (lines of code; comments, blank lines and unit tests not counted), and finds it grown.
pub(crate) fn check(root: &Path, bless: bool) -> anyhow::Result<Vec<String>> {
    let mut total = 0;
    for file in FILES {
        let path = root.join(file);
        let lines = if path.exists() { code_lines(files::without_tests(&files::read(&path)?)) } else { 0 };
        println!("{lines:>6}  {file}");
        total += lines;
    }
    println!("{total:>6}  lines of code from a request to a public checkpoint");
    let now = BTreeMap::from([("the way of an entry".to_owned(), total)]);
    Ratchet::load(root, "way-of-an-entry.txt")?.check(&now, bless)
}

fn code_lines(text: &str) -> usize {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[cfg(test)]
mod tests {
    #[test]
    fn comments_and_blank_lines_do_not_count() {
        assert_eq!(super::code_lines("//! a\n\nfn a() {\n    // why\n    b(); // how\n}\n"), 3);
    }
}
