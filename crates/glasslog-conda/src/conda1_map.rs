//! Which keys of the verifiable index a conda entry is found under (FORMATS §1, `docs/spec/vindex.md` §2.2).

use glasslog_core::{
    json::{Object, scan},
    personality::Personality,
};
use glasslog_vindex::{Key, MapFunction};

use crate::Conda1;

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
