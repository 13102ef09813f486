//! Which keys of the verifiable index a conda entry is found under (FORMATS §1, `docs/spec/vindex.md` §2.2).

use glasslog_core::{
    json::{Object, scan},
    personality::Personality,
};
use glasslog_vindex::{Key, MapFunction};

use crate::{
    Conda1,
    names::{Repo, Subdir, split_path},
};

/// The map function `conda-1`.
///
/// It maps exactly what [`Conda1`] accepts, whatever repo it is of: which repos a log accepts is a setting, and a map
/// function must not change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conda1Map;

impl MapFunction for Conda1Map {
    fn name(&self) -> &str {
        "conda-1"
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["path", "name", "artifact", "subdir", "repo"]
    }

    fn map(&self, entry: &[u8], keys: &mut Vec<Key>) {
        if Conda1::any_repo().validate(entry).is_err() {
            return;
        }
        let Some(object) = scan(entry).ok().and_then(|document| document.as_object()) else { return };
        let mut add = |kind, name: String| keys.push(Key::of_kind(kind, &name));
        let text = |name| text(object, name);
        let Some(repo) = text("repo") else { return };
        match text("type").as_deref() {
            Some("record" | "tombstone") => {
                if let Some(path) = text("path") {
                    add("path", format!("conda/{repo}/{path}"));
                }
                if let Some(package) = package_name(object) {
                    add("name", format!("conda/{repo}/{package}"));
                }
                if let Some(artifact) = artifact(object) {
                    add("artifact", artifact);
                }
            }
            Some("snapshot") => {
                if let Some(subdir) = text("subdir") {
                    add("subdir", format!("conda/{repo}/{subdir}"));
                }
            }
            _ => add("repo", format!("conda/{repo}")),
        }
    }
}

impl Conda1Map {
    /// What names of `kind` look like, if `name` is not one that an entry can have: that it is absent says nothing then.
    #[must_use]
    pub fn form_if_impossible(kind: &str, name: &str) -> Option<&'static str> {
        let rest = name.strip_prefix("conda/");
        let (possible, form) = match kind {
            "path" => (rest.is_some_and(is_repo_and_path), "conda/<repo>/<subdir>/<file>"),
            "name" => (rest.and_then(repo_before).is_some(), "conda/<repo>/<package>"),
            "subdir" => {
                let subdir = rest.and_then(repo_before).is_some_and(|last| Subdir::parse(last).is_ok());
                (subdir, "conda/<repo>/<subdir>")
            }
            "repo" => (rest.is_some_and(|repo| Repo::parse(repo).is_ok()), "conda/<repo>"),
            "artifact" => {
                let is_of = |prefix, digits| {
                    name.strip_prefix(prefix).is_some_and(|hex: &str| {
                        hex.len() == digits && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                    })
                };
                (
                    is_of("sha256:", 64) || is_of("md5:", 32),
                    "sha256:<64 lower-case hexadecimal digits>, or md5:<32>",
                )
            }
            _ => return None,
        };
        (!possible).then_some(form)
    }
}

/// What follows a repo and a slash.
fn repo_before(text: &str) -> Option<&str> {
    let (repo, last) = text.rsplit_once('/')?;
    Repo::parse(repo).ok().map(|_| last)
}

fn is_repo_and_path(text: &str) -> bool {
    let slash = text.rmatch_indices('/').nth(1).map(|(at, _)| at);
    let split = slash.and_then(|at| text.split_at_checked(at));
    split.is_some_and(|(repo, path)| {
        Repo::parse(repo).is_ok() && path.strip_prefix('/').is_some_and(|path| split_path(path).is_ok())
    })
}

fn text(object: Object<'_>, name: &str) -> Option<String> {
    object.get(name)?.as_str().map(Into::into)
}

/// `meta.name` of a record, `name` of a tombstone, unless it has a slash: then a name of one repo could be read as one of
/// another.
fn package_name(object: Object<'_>) -> Option<String> {
    let named = match object.get("meta") {
        Some(meta) => meta.as_object()?,
        None => object,
    };
    text(named, "name").filter(|name| !name.contains('/'))
}

/// What the file of a record can be held to: its sha256, or where there is none its md5.
fn artifact(object: Object<'_>) -> Option<String> {
    let artifact = object.get("artifact")?.as_object()?;
    let sha256 = text(artifact, "sha256").map(|digits| format!("sha256:{digits}"));
    sha256.or_else(|| Some(format!("md5:{}", text(artifact, "md5")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_entry_has_are_told() {
        let digits = "0123456789abcdef".repeat(4);
        let sha256 = format!("sha256:{digits}");
        for (kind, name) in [
            ("path", "conda/conda-forge/noarch/a-1-0.conda"),
            ("path", "conda/c/label/l/linux-64/a file of any name"),
            ("name", "conda/conda-forge/numpy"),
            ("name", "conda/conda-forge/"),
            ("subdir", "conda/conda-forge/linux-64"),
            ("repo", "conda/conda-forge/label/dev"),
            ("artifact", sha256.as_str()),
            ("artifact", &format!("md5:{}", &digits[..32])),
        ] {
            assert_eq!(Conda1Map::form_if_impossible(kind, name), None, "{kind} {name}");
        }
        for (kind, name) in [
            ("path", "a-1-0.conda"),
            ("path", "conda-forge/noarch/a-1-0.conda"),
            ("path", "conda/noarch/a-1-0.conda"),
            ("path", "conda/conda-forge/Noarch/a-1-0.conda"),
            ("path", "conda/conda-forge/noarch/"),
            ("path", ""),
            ("name", "numpy"),
            ("name", "conda/numpy"),
            ("subdir", "conda/linux-64"),
            ("repo", "conda-forge"),
            ("repo", "conda/c/label/main"),
            ("artifact", digits.as_str()),
            ("artifact", &sha256.to_uppercase()),
            ("artifact", &format!("sha256:{}", &digits[..32])),
        ] {
            assert!(Conda1Map::form_if_impossible(kind, name).is_some(), "{kind} {name}");
        }
    }
}
