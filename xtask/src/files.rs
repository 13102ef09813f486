//! Files of the repository, and the ratchet's marks.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// Every file below `dir` with this extension, sorted; build output and hidden directories left out.
pub(crate) fn below(dir: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !["target", "node_modules", "corpus"].contains(&name.as_str()) {
                    waiting.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The code of a Rust file without its unit tests (`#[cfg(test)]` to the end, where our files keep them).
pub(crate) fn without_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod ").map_or(text, |at| &text[..at])
}

/// Marks of the ratchet: `<number> <name>` a line, in `xtask/<file>`.
pub(crate) struct Ratchet {
    path: PathBuf,
    marks: BTreeMap<String, usize>,
}

impl Ratchet {
    /// Reads the marks; none if the file does not exist.
    pub(crate) fn load(root: &Path, file: &str) -> anyhow::Result<Ratchet> {
        let path = root.join("xtask").join(file);
        let text = if path.exists() { read(&path)? } else { String::new() };
        let mut marks = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (number, name) = line.split_once(' ').with_context(|| format!("bad mark: {line}"))?;
            marks.insert(name.to_owned(), number.parse().with_context(|| format!("bad mark: {line}"))?);
        }
        Ok(Ratchet { path, marks })
    }

    /// Findings where `now` is above its mark (or, when it has none, was not expected at all). Blessing rewrites the marks.
    pub(crate) fn check(self, now: &BTreeMap<String, usize>, bless: bool) -> anyhow::Result<Vec<String>> {
        if bless {
            let mut text = String::from(
                "# Written by `cargo run -p xtask -- tidy --bless`; a mark that grows needs a reason.\n",
            );
            for (name, number) in now {
                text.push_str(&format!("{number} {name}\n"));
            }
            #[expect(clippy::disallowed_methods, reason = "a source file under version control")]
            fs::write(&self.path, text)?;
            return Ok(Vec::new());
        }
        let mut findings = Vec::new();
        for (name, &number) in now {
            match self.marks.get(name) {
                Some(&mark) if number <= mark => {}
                Some(mark) => findings.push(format!("{name}: {number} lines, the mark is {mark}")),
                None => findings.push(format!("{name}: {number} lines, not on the list")),
            }
        }
        Ok(findings)
    }
}
