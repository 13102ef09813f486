//! What a log's entries, read newest first, say about one record (FORMATS §4 and §5). Pure.

use glasslog_client::verdict::Verdict;
use glasslog_core::{Hash, LeafIndex, hash::leaf_hash};
use serde::Deserialize;

/// The record that is verified.
pub(super) struct Wanted {
    /// Its channel.
    pub(super) repo: String,
    /// Subdir, slash, file name.
    pub(super) path: String,
    /// Its canonical entry.
    pub(super) entry: Vec<u8>,
}

/// Sees the entries of a log, newest first, until they decide about a record.
pub(super) struct Judge<'w> {
    wanted: &'w Wanted,
    artifact: Artifact,
    /// The path as it is spelt in canonical JSON: whatever does not contain it is of something else.
    needle: memchr::memmem::Finder<'static>,
    latest: Latest,
}

/// What an entry of the path can be.
#[derive(Deserialize)]
struct OfPath<'e> {
    eco: &'e str,
    #[serde(rename = "type")]
    kind: &'e str,
    repo: String,
    path: String,
    #[serde(default)]
    artifact: Artifact,
}

/// What a file can be held to.
#[derive(Clone, Debug, Default, Deserialize)]
struct Artifact {
    md5: Option<String>,
    sha256: Option<String>,
    size: Option<u64>,
}

/// What the newer entries of the path were: none of them decided.
enum Latest {
    Nothing,
    Removed(LeafIndex),
    Patched { latest: LeafIndex, leaf: Hash },
}

impl<'w> Judge<'w> {
    /// Nothing seen yet.
    ///
    /// # Errors
    ///
    /// When the wanted entry is not one of a record.
    pub(super) fn new(wanted: &'w Wanted) -> Result<Judge<'w>, serde_json::Error> {
        let parsed: OfPath<'_> = serde_json::from_slice(&wanted.entry)?;
        let spelt = serde_json::to_vec(&wanted.path)?;
        Ok(Judge {
            wanted,
            artifact: parsed.artifact,
            needle: memchr::memmem::Finder::new(&spelt).into_owned(),
            latest: Latest::Nothing,
        })
    }

    /// Sees the next older entry; a verdict ends the search.
    pub(super) fn see(&mut self, index: LeafIndex, entry: &[u8]) -> Option<Verdict> {
        if entry == self.wanted.entry {
            return Some(match self.latest {
                Latest::Nothing => Verdict::Current { index },
                Latest::Removed(latest) => Verdict::RemovedSince { index, latest },
                Latest::Patched { latest, .. } => Verdict::PatchedSince { index, latest },
            });
        }
        let of_path = self.of_path(entry)?;
        if of_path.kind == "tombstone" {
            if matches!(self.latest, Latest::Nothing) {
                self.latest = Latest::Removed(index);
            }
            return None;
        }
        if of_path.artifact.contradicts(&self.artifact) {
            return Some(self.replaced(index, &of_path.artifact));
        }
        if !matches!(self.latest, Latest::Patched { .. }) {
            self.latest = match self.latest {
                // A record that was patched and then removed is removed.
                Latest::Removed(latest) => Latest::Removed(latest),
                _ => Latest::Patched { latest: index, leaf: leaf_hash(entry) },
            };
        }
        None
    }

    /// The verdict when there are no more entries.
    pub(super) fn end(self) -> Verdict {
        match self.latest {
            Latest::Patched { latest, leaf } => {
                Verdict::Differs { latest, ours: leaf_hash(&self.wanted.entry), theirs: leaf }
            }
            Latest::Nothing | Latest::Removed(_) => Verdict::NotLogged,
        }
    }

    /// What the one entry at `index` says, when nothing else was looked at.
    pub(super) fn only(self, index: LeafIndex, entry: &[u8]) -> Verdict {
        if entry == self.wanted.entry {
            return Verdict::Logged { index };
        }
        match self.of_path(entry) {
            Some(found) if found.artifact.contradicts(&self.artifact) => {
                self.replaced(index, &found.artifact)
            }
            Some(found) if found.kind == "record" => Verdict::Differs {
                latest: index,
                ours: leaf_hash(&self.wanted.entry),
                theirs: leaf_hash(entry),
            },
            _ => Verdict::Elsewhere { index },
        }
    }

    fn replaced(&self, latest: LeafIndex, theirs: &Artifact) -> Verdict {
        Verdict::Replaced { latest, ours: self.artifact.to_string(), theirs: theirs.to_string() }
    }

    /// The entry, if it is a record or tombstone of the wanted path.
    fn of_path<'e>(&self, entry: &'e [u8]) -> Option<OfPath<'e>> {
        self.needle.find(entry)?;
        let parsed: OfPath<'e> = serde_json::from_slice(entry).ok()?;
        let same =
            parsed.eco == "conda" && parsed.repo == self.wanted.repo && parsed.path == self.wanted.path;
        (same && matches!(parsed.kind, "record" | "tombstone")).then_some(parsed)
    }
}

impl Artifact {
    /// Whether both have some member and it differs: then they are two artifacts.
    fn contradicts(&self, other: &Artifact) -> bool {
        fn differ<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
            a.zip(b).is_some_and(|(a, b)| a != b)
        }
        differ(self.sha256.as_ref(), other.sha256.as_ref())
            || differ(self.md5.as_ref(), other.md5.as_ref())
            || differ(self.size.as_ref(), other.size.as_ref())
    }
}

/// The strongest thing that it says.
impl std::fmt::Display for Artifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.sha256, &self.md5, &self.size) {
            (Some(sha256), _, _) => write!(f, "sha256:{sha256}"),
            (None, Some(md5), _) => write!(f, "md5:{md5}"),
            (None, None, Some(size)) => write!(f, "{size} bytes, no hash"),
            (None, None, None) => f.write_str("no hash"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of `path` whose artifact and metadata are told apart by one letter each.
    fn record(path: &str, artifact: char, meta: &str) -> Vec<u8> {
        let sha256 = artifact.to_string().repeat(64);
        format!(
            r#"{{"artifact":{{"sha256":"{sha256}"}},"eco":"conda","meta":{{"sha256":"{sha256}","x":"{meta}"}},"path":"{path}","profile":"conda-repodata-1","repo":"r","type":"record","v":1}}"#
        )
        .into_bytes()
    }

    fn tombstone(path: &str) -> Vec<u8> {
        format!(
            r#"{{"eco":"conda","name":"n","path":"{path}","profile":"conda-repodata-1","reason":"removed","repo":"r","type":"tombstone","v":1}}"#
        )
        .into_bytes()
    }

    const PATH: &str = "noarch/n-1-0.conda";

    /// Each history is written oldest first, as it happened; the record that is verified is artifact `a`, meta `m`.
    #[test]
    fn verdicts_follow_from_the_history() {
        let at = LeafIndex;
        let (ours, patched) = (record(PATH, 'a', "m"), record(PATH, 'a', "patched"));
        let (other, gone) = (record(PATH, 'b', "m"), tombstone(PATH));
        let elsewhere = record("noarch/n-2-0.conda", 'b', PATH);
        let differs = |latest, theirs: &[u8]| Verdict::Differs {
            latest,
            ours: leaf_hash(&ours),
            theirs: leaf_hash(theirs),
        };
        let replaced = |latest| Verdict::Replaced {
            latest,
            ours: format!("sha256:{}", "a".repeat(64)),
            theirs: format!("sha256:{}", "b".repeat(64)),
        };
        let cases: Vec<(&str, Vec<&[u8]>, Verdict)> = vec![
            ("empty log", vec![], Verdict::NotLogged),
            ("other paths only", vec![&elsewhere, b"noarch/n-1-0.conda", b"{"], Verdict::NotLogged),
            ("logged", vec![&elsewhere, &ours, &elsewhere], Verdict::Current { index: at(1) }),
            ("logged, removed, reappeared", vec![&ours, &gone, &ours], Verdict::Current { index: at(2) }),
            ("patched back", vec![&ours, &patched, &ours], Verdict::Current { index: at(2) }),
            ("patched", vec![&ours, &patched], Verdict::PatchedSince { index: at(0), latest: at(1) }),
            (
                "removed",
                vec![&ours, &gone, &elsewhere],
                Verdict::RemovedSince { index: at(0), latest: at(1) },
            ),
            (
                "patched, removed",
                vec![&ours, &patched, &gone],
                Verdict::RemovedSince { index: at(0), latest: at(2) },
            ),
            ("only patched", vec![&patched], differs(at(0), &patched)),
            ("only a tombstone", vec![&gone], Verdict::NotLogged),
            ("replaced", vec![&ours, &other], replaced(at(1))),
            ("replaced, removed", vec![&ours, &other, &gone], replaced(at(1))),
            ("only another artifact", vec![&other], replaced(at(0))),
            ("replaced and then back", vec![&other, &ours], Verdict::Current { index: at(1) }),
        ];
        let wanted = Wanted { repo: "r".into(), path: PATH.into(), entry: ours.clone() };
        for (name, history, expected) in cases {
            let mut judge = Judge::new(&wanted).unwrap();
            let newest_first = (0..).map(LeafIndex).zip(&history).collect::<Vec<_>>().into_iter().rev();
            let decided = newest_first.into_iter().find_map(|(index, entry)| judge.see(index, entry));
            assert_eq!(decided.unwrap_or_else(|| judge.end()), expected, "{name}");
        }
    }

    #[test]
    fn one_entry_alone_says_logged_at_best() {
        let index = LeafIndex(7);
        let wanted = Wanted { repo: "r".into(), path: PATH.into(), entry: record(PATH, 'a', "m") };
        let only = |entry: &[u8]| Judge::new(&wanted).unwrap().only(index, entry);
        assert_eq!(only(&wanted.entry), Verdict::Logged { index });
        assert!(matches!(only(&record(PATH, 'b', "m")), Verdict::Replaced { .. }));
        assert!(matches!(only(&record(PATH, 'a', "p")), Verdict::Differs { .. }));
        assert_eq!(only(&record("noarch/other", 'a', "m")), Verdict::Elsewhere { index });
        assert_eq!(only(b"anything"), Verdict::Elsewhere { index });
        assert_eq!(only(&tombstone(PATH)), Verdict::Elsewhere { index });
    }
}
