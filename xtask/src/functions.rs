//! A ratchet on long functions. Small is the habit; one long function that tells one story is fine, and stands on the list.

use std::{collections::BTreeMap, path::Path};

use crate::files::{self, Ratchet};

/// Functions up to this many lines are nobody's business.
const SHORT: usize = 50;

/// Functions above [`SHORT`] lines that are not in `xtask/long-functions.txt`, or have grown beyond their mark there.
pub(crate) fn check(root: &Path, bless: bool) -> anyhow::Result<Vec<String>> {
    let mut long = BTreeMap::new();
    for path in files::below(&root.join("crates"), "rs")? {
        let name = path.strip_prefix(root)?.display().to_string();
        if name.contains("/tests/") || name.ends_with("/tests.rs") {
            continue;
        }
        let text = files::read(&path)?;
        for (function, lines) in functions(files::without_tests(&text)) {
            if lines > SHORT {
                long.insert(format!("{name} {function}"), lines);
            }
        }
    }
    Ratchet::load(root, "long-functions.txt")?.check(&long, bless)
}

/// Name and length of each function of a file that rustfmt has formatted: it ends with a `}` at its own indentation.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = declared(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = lines[start..].iter().position(|line| {
            line.strip_prefix(indent)
                .is_some_and(|rest| rest == "}" || (!rest.starts_with(' ') && rest.ends_with(';')))
        });
        if let Some(length) = end {
            found.push((name, length + 1));
        }
    }
    found
}

/// The name of the function that this line begins to declare.
fn declared(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let qualifiers = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern", "\"C\""];
    let first = words.by_ref().find(|word| !qualifiers.contains(word))?;
    if first != "fn" {
        return None;
    }
    let name = words.next()?.split(['(', '<']).next()?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn functions_are_measured() {
        let text = "impl A {\n    pub(crate) async fn one(\n        &self,\n    ) -> u8 {\n        1\n    }\n\n    fn declared(&self);\n}\n\nfn two() {\n}\n";
        let expected =
            [("one", 5), ("declared", 1), ("two", 2)].map(|(name, lines)| (name.to_owned(), lines));
        assert_eq!(super::functions(text), expected);
    }
}
