//! Links from one document of the repository to another lead somewhere.

use std::path::Path;

use crate::files;

/// Relative links in Markdown files whose target does not exist.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for path in files::below(root, "md")? {
        for target in relative_links(&files::read(&path)?) {
            let file = target.split('#').next().unwrap_or_default();
            let exists = path.parent().is_some_and(|dir| dir.join(file).exists());
            if !exists {
                findings.push(format!("{}: {target} does not exist", path.strip_prefix(root)?.display()));
            }
        }
    }
    Ok(findings)
}

/// The targets of `[text](target)` that are neither an address nor a place in the same file.
fn relative_links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
        .filter(|target| !target.contains("://") && !target.starts_with('#') && !target.contains(' '))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_relative_targets_are_taken() {
        let text = "[a](docs/a.md) [b](https://example.org/b) [c](#c) [d](d.md#part)";
        assert_eq!(super::relative_links(text), ["docs/a.md", "d.md#part"]);
    }
}
