//! What a new entry means for its path, from what the log holds alone (FORMATS §4).
//!
//! Whoever follows a log keeps, for each path, the newest entry and a [`Known`]: [`classify`] compares a new entry
//! with them, [`Known::learn`] takes it in. The same runs where entries are made, in a monitor and in a witness.

use glasslog_core::json::{Object, scan};

use crate::entry::Artifact;

/// What an entry means for its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The same bytes as before.
    Unchanged,
    /// The first record of the path.
    Publish,
    /// The same file with other metadata: the ordinary hotfix.
    Patch,
    /// Another file under the name of an earlier one: the attack.
    Replace,
    /// The path is no longer listed.
    Remove,
    /// A file that was removed is listed again.
    Reappear,
}

/// What nobody changes honestly, whatever the change is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Critical {
    /// The md5, sha256 or size of the file is another.
    Artifact,
    /// A hash that the file could be held to is gone.
    HashDropped,
    /// The name differs.
    Name,
    /// The version differs.
    Version,
    /// The build string differs.
    Build,
    /// The subdir differs.
    Subdir,
    /// The time at which the server indexed the file differs; CEP 47 forbids it.
    IndexedTimestamp,
    /// The hash of the attestations is gone; CEP 50 forbids it.
    AttestationsDropped,
    /// A record that could be compared is followed by one without canonical form, in which anything may have changed.
    MetaHidden,
}

/// A change, and what about it needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// What it is.
    pub change: Change,
    /// Why it is critical; empty for an ordinary change.
    pub critical: Vec<Critical>,
}

/// The last md5, sha256 and size that the records of a path gave, each from the newest record that had it.
///
/// A tombstone does not clear it: what comes back must be what went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    md5: Option<String>,
    sha256: Option<String>,
    size: Option<u64>,
}

/// An entry about a path, taken apart as far as it matters here.
#[derive(Clone, Debug)]
pub struct Revision<'a> {
    bytes: &'a [u8],
    /// The artifact of a record; nothing for a tombstone.
    artifact: Option<Artifact>,
    /// The metadata of a record that has a canonical form.
    meta: Option<Object<'a>>,
}

impl<'a> Revision<'a> {
    /// Reads a record or tombstone that was accepted by [`crate::Conda1`]; nothing for any other bytes.
    #[must_use]
    pub fn parse(entry: &'a [u8]) -> Option<Revision<'a>> {
        let object = scan(entry).ok()?.as_object()?;
        match object.get("type")?.as_str()?.as_ref() {
            "tombstone" => Some(Revision { bytes: entry, artifact: None, meta: None }),
            "record" => {
                let artifact = object.get("artifact")?.as_object()?;
                let text = |name| artifact.get(name).and_then(|value| value.as_str());
                let size = artifact.get("size").map(|value| value.raw());
                let artifact = Artifact::from_texts(text("md5").as_deref(), text("sha256").as_deref(), size);
                Some(Revision {
                    bytes: entry,
                    artifact: Some(artifact),
                    meta: object.get("meta")?.as_object(),
                })
            }
            _ => None,
        }
    }

    fn member(&self, name: &str) -> Option<&'a str> {
        self.meta.and_then(|meta| meta.get(name)).map(|value| value.raw())
    }
}

impl Known {
    /// Takes in what `revision` says of the file.
    pub fn learn(&mut self, revision: &Revision<'_>) {
        let Some(artifact) = &revision.artifact else { return };
        let keep = |new: Option<&str>, old: &mut Option<String>| {
            if let Some(new) = new {
                *old = Some(new.to_owned());
            }
        };
        keep(artifact.md5(), &mut self.md5);
        keep(artifact.sha256(), &mut self.sha256);
        self.size = artifact.size().or(self.size);
    }

    fn contradicts(&self, artifact: &Artifact) -> bool {
        differ(self.md5.as_deref(), artifact.md5())
            || differ(self.sha256.as_deref(), artifact.sha256())
            || differ(self.size, artifact.size())
    }
}

/// Says what `new` means after `latest`, the newest entry of the path, and all that is `known` of its file.
#[must_use]
pub fn classify(latest: Option<&Revision<'_>>, known: &Known, new: &Revision<'_>) -> Classified {
    if latest.is_some_and(|latest| latest.bytes == new.bytes) {
        return Classified { change: Change::Unchanged, critical: Vec::new() };
    }
    let Some(artifact) = &new.artifact else {
        return Classified { change: Change::Remove, critical: Vec::new() };
    };
    let mut critical = Vec::new();
    if known.contradicts(artifact) {
        critical.push(Critical::Artifact);
    }
    if hash_dropped(latest, known, artifact) {
        critical.push(Critical::HashDropped);
    }
    let change = match latest {
        _ if critical.first() == Some(&Critical::Artifact) => Change::Replace,
        None => Change::Publish,
        Some(latest) if latest.artifact.is_none() => Change::Reappear,
        Some(_) => Change::Patch,
    };
    if let Some(latest) = latest {
        critical.extend(meta_changes(latest, new));
    }
    Classified { change, critical }
}

/// Whether a hash is gone that was there until now: in the newest record, or before it was removed.
fn hash_dropped(latest: Option<&Revision<'_>>, known: &Known, new: &Artifact) -> bool {
    let before = latest.and_then(|latest| latest.artifact.as_ref());
    let (md5, sha256) = match before {
        Some(artifact) => (artifact.md5().is_some(), artifact.sha256().is_some()),
        None => (known.md5.is_some(), known.sha256.is_some()),
    };
    (md5 && new.md5().is_none()) || (sha256 && new.sha256().is_none())
}

/// Members that a patch must leave alone. One that was absent may be added: channels did that to old records.
fn meta_changes(latest: &Revision<'_>, new: &Revision<'_>) -> Vec<Critical> {
    if new.meta.is_none() {
        return latest.meta.map(|_| Critical::MetaHidden).into_iter().collect();
    }
    let fixed = [
        ("name", Critical::Name),
        ("version", Critical::Version),
        ("build", Critical::Build),
        ("subdir", Critical::Subdir),
        ("indexed_timestamp", Critical::IndexedTimestamp),
    ];
    let changed = |name: &str| latest.member(name).is_some_and(|before| new.member(name) != Some(before));
    let present = |value: Option<&str>| value.is_some_and(|value| value != "null");
    let mut found: Vec<Critical> =
        fixed.into_iter().filter(|(name, _)| changed(name)).map(|(_, critical)| critical).collect();
    if present(latest.member("attestations_sha256")) && !present(new.member("attestations_sha256")) {
        found.push(Critical::AttestationsDropped);
    }
    found
}

fn differ<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a != b)
}

#[cfg(test)]
mod tests {
    use super::{Change::*, *};
    use crate::{
        Conda1,
        entry::{Gone, Meta, write_record, write_tombstone},
        names::{Repo, Subdir},
    };
    use glasslog_core::personality::Personality;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    /// The entry of a record with these members, or a tombstone for `-`; `?` before them hides the metadata.
    fn entry(members: &str) -> Vec<u8> {
        let (repo, subdir) = (Repo::parse("sample").unwrap(), Subdir::parse("noarch").unwrap());
        let place = (&repo, &subdir, "a-1-0.conda");
        let mut out = Vec::new();
        if members == "-" {
            write_tombstone(&mut out, place, Some("a"), Gone::Removed).unwrap();
            return out;
        }
        let record = format!("{{{}}}", members.trim_start_matches('?')).replace("$A", A).replace("$B", B);
        let mut meta = Vec::new();
        glasslog_core::json::canonicalize(record.as_bytes(), &mut meta).unwrap();
        let value = scan(&meta).unwrap().as_object().unwrap();
        let text = |name| value.get(name).and_then(|value| value.as_str());
        let size = value.get("size").map(|size| size.raw());
        let artifact = Artifact::from_texts(text("md5").as_deref(), text("sha256").as_deref(), size);
        let raw = crate::entry::MetaRaw { reason: crate::entry::Reason::Float, sha256: [1; 32], size: 9 };
        let meta = if members.starts_with('?') { Meta::Raw(raw) } else { Meta::Canonical(&meta) };
        write_record(&mut out, place, &artifact, meta).unwrap();
        assert!(Conda1::any_repo().validate(&out).is_ok());
        out
    }

    /// The entries of one path in order, and what the last of them is.
    type Story = (&'static [&'static str], Change, &'static [Critical]);

    const STORIES: &[Story] = &[
        (&[r#""sha256":"$A""#], Publish, &[]),
        (&[r#""sha256":"$A""#, r#""sha256":"$A""#], Unchanged, &[]),
        (&[r#""sha256":"$A","depends":[]"#, r#""sha256":"$A","depends":["x"]"#], Patch, &[]),
        (&[r#""sha256":"$A""#, r#""sha256":"$B""#], Replace, &[Critical::Artifact]),
        (&[r#""sha256":"$A","size":1"#, r#""sha256":"$A","size":2"#], Replace, &[Critical::Artifact]),
        (&[r#""sha256":"$A""#, "-"], Remove, &[]),
        (&[r#""sha256":"$A""#, "-", r#""sha256":"$A""#], Reappear, &[]),
        (&[r#""sha256":"$A""#, "-", r#""sha256":"$B""#], Replace, &[Critical::Artifact]),
        // A hash that is added while the common ones agree is a patch; what an older record said still binds.
        (&[r#""size":1"#, r#""size":1,"sha256":"$A""#], Patch, &[]),
        (&[r#""sha256":"$A","size":1"#, r#""size":1"#], Patch, &[Critical::HashDropped]),
        (&[r#""sha256":"$A","size":1"#, r#""size":1"#, r#""size":1,"depends":[]"#], Patch, &[]),
        (&[r#""sha256":"$A","size":1"#, r#""size":1"#, r#""sha256":"$B""#], Replace, &[Critical::Artifact]),
        (&[r#""sha256":"$A""#, "-", r#""size":1"#], Reappear, &[Critical::HashDropped]),
        (&[r#""sha256":"$A""#, "-", r#""size":1"#, "-", r#""sha256":"$B""#], Replace, &[Critical::Artifact]),
        (&["", r#""depends":[]"#], Patch, &[]),
        // Upper case is the same hash.
        (
            &[
                r#""sha256":"$A""#,
                r#""sha256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA""#,
            ],
            Patch,
            &[],
        ),
        (&[r#""name":"a""#, r#""name":"b""#], Patch, &[Critical::Name]),
        (&[r#""name":"a""#, ""], Patch, &[Critical::Name]),
        (&[r#""version":"1""#, r#""version":"2""#], Patch, &[Critical::Version]),
        (&[r#""build":"0""#, r#""build":"1""#], Patch, &[Critical::Build]),
        (&[r#""subdir":"noarch""#, r#""subdir":"linux-64""#], Patch, &[Critical::Subdir]),
        (&["", r#""subdir":"noarch""#], Patch, &[]),
        (&[r#""indexed_timestamp":1"#, r#""indexed_timestamp":2"#], Patch, &[Critical::IndexedTimestamp]),
        (&[r#""timestamp":1"#, r#""timestamp":2"#], Patch, &[]),
        (&[r#""attestations_sha256":"$A""#, ""], Patch, &[Critical::AttestationsDropped]),
        (
            &[r#""attestations_sha256":"$A""#, r#""attestations_sha256":null"#],
            Patch,
            &[Critical::AttestationsDropped],
        ),
        (&[r#""attestations_sha256":"$A""#, r#""attestations_sha256":"$B""#], Patch, &[]),
        (&[r#""sha256":"$A""#, r#"?"sha256":"$A""#], Patch, &[Critical::MetaHidden]),
        (&[r#"?"sha256":"$A""#, r#""sha256":"$A""#], Patch, &[]),
        (&[r#"?"sha256":"$A""#, r#"?"sha256":"$B""#], Replace, &[Critical::Artifact]),
    ];

    #[test]
    fn stories() {
        for (story, change, critical) in STORIES {
            let entries: Vec<Vec<u8>> = story.iter().map(|members| entry(members)).collect();
            let (mut latest, mut known, mut last) = (None, Known::default(), None);
            for entry in &entries {
                let revision = Revision::parse(entry).unwrap();
                last = Some(classify(latest.as_ref(), &known, &revision));
                known.learn(&revision);
                latest = Some(revision);
            }
            assert_eq!(last, Some(Classified { change: *change, critical: critical.to_vec() }), "{story:?}");
        }
    }

    #[test]
    fn other_entries_have_no_path() {
        for bytes in [&b"{}"[..], b"", br#"{"eco":"conda","note":"","repo":"a","type":"epoch","v":1}"#] {
            assert!(Revision::parse(bytes).is_none());
        }
    }
}
