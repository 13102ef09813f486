//! The crate table of ARCHITECTURE.md against `cargo metadata`: every crate is listed, and depends only on crates above it.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::files;

/// What the table and the workspace disagree about.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let listed = listed(&files::read(&root.join("ARCHITECTURE.md"))?);
    let actual = actual(root)?;
    let mut findings = Vec::new();
    for name in &listed {
        if !actual.contains_key(name) {
            findings.push(format!("{name} is in the table and not in the workspace"));
        }
    }
    for (name, dependencies) in &actual {
        let Some(place) = listed.iter().position(|listed| listed == name) else {
            findings.push(format!("{name} is not in the table"));
            continue;
        };
        for dependency in dependencies {
            if !listed[..place].contains(dependency) {
                findings.push(format!("{name} depends on {dependency}, which is not above it"));
            }
        }
    }
    Ok(findings)
}

/// The names in the first column, from the top.
fn listed(architecture: &str) -> Vec<String> {
    architecture
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Each crate below `crates/`, and which of them it depends on (not counting what only its tests use).
fn actual(root: &Path) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut crates = BTreeMap::new();
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        if !name.starts_with("glasslog") {
            continue;
        }
        let dependencies = list(&package["dependencies"])
            .iter()
            .filter(|dependency| text(&dependency["kind"]) != "dev")
            .map(|dependency| text(&dependency["name"]))
            .filter(|dependency| dependency.starts_with("glasslog"))
            .collect();
        crates.insert(name, dependencies);
    }
    Ok(crates)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_column_is_read_from_the_top() {
        let text = "x\n| crate | what |\n|---|---|\n| `b` | first |\n| `a` | second |\n| plain | no |\n";
        assert_eq!(super::listed(text), ["b", "a"]);
    }
}
