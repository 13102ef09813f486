//! What a log's entries, read newest first, say about one record (FORMATS §4 and §5). Pure.

use glasslog_client::verdict::Verdict;
use glasslog_conda::{
    Conda1,
    classify::{Critical, Known, Revision, classify},
};
use glasslog_core::{LeafIndex, hash::leaf_hash, personality::Personality};
use serde::Deserialize;

/// The most bytes of newer entries of the path that are kept to be judged in order: far more than any package has.
const MAX_KEPT_BYTES: usize = 64 * 1024 * 1024;

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
    ours: Revision<'w>,
    /// What our record says of the file.
    known: Known,
    schema: Conda1,
    /// The path as it is spelt in canonical JSON: whatever does not contain it is of something else.
    needle: memchr::memmem::Finder<'static>,
    /// The entries of the path that were seen, newest first: none of them decided.
    newer: Vec<(LeafIndex, Vec<u8>)>,
    kept_bytes: usize,
}

/// Why a record cannot be judged.
#[derive(Debug, thiserror::Error)]
pub(super) enum JudgeError {
    /// What is verified is no record of a conda repodata.
    #[error("what is to be verified is no conda record")]
    NoRecord,
    /// The log was filled with entries of one path.
    #[error(
        "the log holds more than {MAX_KEPT_BYTES} bytes of newer entries of this path: too many to be judged"
    )]
    TooMany,
}

/// What an entry of the path says of itself.
#[derive(Deserialize)]
struct OfPath<'e> {
    #[serde(rename = "type")]
    kind: &'e str,
    repo: String,
    path: String,
    #[serde(default)]
    artifact: Artifact,
}

/// What a file can be held to.
#[derive(Debug, Default, Deserialize)]
struct Artifact {
    md5: Option<String>,
    sha256: Option<String>,
    size: Option<u64>,
}

impl<'w> Judge<'w> {
    /// Nothing seen yet.
    ///
    /// # Errors
    ///
    /// [`JudgeError::NoRecord`] when the wanted entry is not one of a record.
    pub(super) fn new(wanted: &'w Wanted) -> Result<Judge<'w>, JudgeError> {
        let ours = Revision::parse(&wanted.entry).ok_or(JudgeError::NoRecord)?;
        let spelt = serde_json::to_vec(&wanted.path).map_err(|_| JudgeError::NoRecord)?;
        let mut known = Known::default();
        known.learn(&ours);
        Ok(Judge {
            wanted,
            ours,
            known,
            schema: Conda1::any_repo(),
            needle: memchr::memmem::Finder::new(&spelt).into_owned(),
            newer: Vec::new(),
            kept_bytes: 0,
        })
    }

    /// Sees the next older entry; a verdict ends the search.
    ///
    /// # Errors
    ///
    /// [`JudgeError::TooMany`].
    pub(super) fn see(&mut self, index: LeafIndex, entry: &[u8]) -> Result<Option<Verdict>, JudgeError> {
        if entry == self.wanted.entry {
            return Ok(Some(self.since(index)));
        }
        if self.of_path(entry).is_none() {
            return Ok(None);
        }
        if self.contradicts_ours(entry) {
            return Ok(Some(self.replaced(index, entry)));
        }
        self.kept_bytes += entry.len();
        if self.kept_bytes > MAX_KEPT_BYTES {
            return Err(JudgeError::TooMany);
        }
        self.newer.push((index, entry.to_vec()));
        Ok(None)
    }

    /// The verdict when there are no more entries.
    pub(super) fn end(self) -> Verdict {
        let newest = self.newer.iter().find(|(_, entry)| self.is_record(entry));
        newest.map_or(Verdict::NotLogged, |(latest, entry)| self.differs(*latest, entry))
    }

    /// What the one entry at `index` says, when nothing else was looked at.
    pub(super) fn only(self, index: LeafIndex, entry: &[u8]) -> Verdict {
        if entry == self.wanted.entry {
            return Verdict::Logged { index };
        }
        match self.of_path(entry) {
            Some(_) if self.contradicts_ours(entry) => self.replaced(index, entry),
            Some(found) if found.kind == "record" => self.differs(index, entry),
            _ => Verdict::Elsewhere { index },
        }
    }

    /// What became of the record since it was logged at `index`: the newer entries, oldest first, each compared with
    /// all that was known of the file by then. No newer one contradicts ours by itself, but they may among themselves.
    fn since(&self, index: LeafIndex) -> Verdict {
        let Some((latest, newest)) = self.newer.first() else { return Verdict::Current { index } };
        let (mut before, mut known) = (self.ours.clone(), self.known.clone());
        let (mut replaced, mut dropped) = (None, None);
        for (at, entry) in self.newer.iter().rev() {
            let Some(revision) = Revision::parse(entry) else { continue };
            let critical = classify(Some(&before), &known, &revision).critical;
            if critical.contains(&Critical::Artifact) {
                replaced = Some((*at, entry));
            }
            if critical.contains(&Critical::HashDropped) {
                dropped = Some(*at);
            }
            known.learn(&revision);
            before = revision;
        }
        match (replaced, dropped) {
            (Some((latest, entry)), _) => self.replaced(latest, entry),
            (None, Some(latest)) => Verdict::HashDropped { index, latest },
            (None, None) if self.is_record(newest) => Verdict::PatchedSince { index, latest: *latest },
            (None, None) => Verdict::RemovedSince { index, latest: *latest },
        }
    }

    /// The artifact that `entry` holds under the path, if it is another than ours.
    pub(super) fn other_artifact(&self, entry: &[u8]) -> Option<String> {
        let of_path = self.of_path(entry)?;
        self.contradicts_ours(entry).then(|| of_path.artifact.to_string())
    }

    fn contradicts_ours(&self, entry: &[u8]) -> bool {
        Revision::parse(entry).is_some_and(|revision| {
            classify(None, &self.known, &revision).critical.contains(&Critical::Artifact)
        })
    }

    fn replaced(&self, latest: LeafIndex, entry: &[u8]) -> Verdict {
        let artifact =
            |entry| self.of_path(entry).map(|of_path| of_path.artifact).unwrap_or_default().to_string();
        Verdict::Replaced { latest, ours: artifact(&self.wanted.entry), theirs: artifact(entry) }
    }

    fn differs(&self, latest: LeafIndex, entry: &[u8]) -> Verdict {
        Verdict::Differs { latest, ours: leaf_hash(&self.wanted.entry), theirs: leaf_hash(entry) }
    }

    fn is_record(&self, entry: &[u8]) -> bool {
        self.of_path(entry).is_some_and(|of_path| of_path.kind == "record")
    }

    /// The entry, if it is a record or tombstone of the wanted path. Whatever is not a valid entry says nothing: on a
    /// log that accepts any bytes everyone could write what looks like one (FORMATS §1).
    fn of_path<'e>(&self, entry: &'e [u8]) -> Option<OfPath<'e>> {
        self.needle.find(entry)?;
        self.schema.validate(entry).ok()?;
        let parsed: OfPath<'e> = serde_json::from_slice(entry).ok()?;
        let same = parsed.repo == self.wanted.repo && parsed.path == self.wanted.path;
        (same && matches!(parsed.kind, "record" | "tombstone")).then_some(parsed)
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
        let repatched = record(PATH, 'a', "again");
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
            ("only patched, then removed", vec![&patched, &gone], differs(at(0), &patched)),
            ("patched twice, then removed", vec![&patched, &repatched, &gone], differs(at(1), &repatched)),
            ("only a tombstone", vec![&gone], Verdict::NotLogged),
            ("replaced", vec![&ours, &other], replaced(at(1))),
            ("replaced, removed", vec![&ours, &other, &gone], replaced(at(1))),
            ("only another artifact", vec![&other], replaced(at(0))),
            ("replaced and then back", vec![&other, &ours], Verdict::Current { index: at(1) }),
        ];
        let wanted = Wanted { repo: "r".into(), path: PATH.into(), entry: ours.clone() };
        for (name, history, expected) in cases {
            assert_eq!(judged(&wanted, &history), expected, "{name}");
        }
    }

    /// A record of [`PATH`] with the members of `meta` (canonical, in order), and `artifact` as they give it.
    fn with(artifact: &str, meta: &str) -> Vec<u8> {
        let entry = format!(
            r#"{{"artifact":{{{artifact}}},"eco":"conda","meta":{{{meta}}},"path":"{PATH}","profile":"conda-repodata-1","repo":"r","type":"record","v":1}}"#
        );
        assert!(Conda1::any_repo().validate(entry.as_bytes()).is_ok(), "{entry}");
        entry.into_bytes()
    }

    /// FORMATS §4: what binds a record is the last md5, sha256 and size that any record before it gave.
    #[test]
    fn newer_records_are_held_to_all_that_was_known_before_them() {
        let hash =
            |name: &str, digit: char, length| format!(r#""{name}":"{}""#, digit.to_string().repeat(length));
        let (md5, s1, s2) = (hash("md5", 'c', 32), hash("sha256", '1', 64), hash("sha256", '2', 64));
        let both = format!("{md5},{s1}");
        let (ours, chain, swapped) = (with(&md5, &md5), with(&both, &both), with(&s2, &s2));
        let (gone, bare) = (tombstone(PATH), with("", ""));
        let fewer = with(&md5, &format!(r#"{md5},"x":"z""#));
        let back = with(&both, &format!(r#"{both},"x":"y""#));
        let index = LeafIndex(0);
        let replaced = |latest| Verdict::Replaced {
            latest: LeafIndex(latest),
            ours: format!("md5:{}", "c".repeat(32)),
            theirs: format!("sha256:{}", "2".repeat(64)),
        };
        let dropped = |latest| Verdict::HashDropped { index, latest: LeafIndex(latest) };
        let cases: Vec<(&str, Vec<&[u8]>, Verdict)> = vec![
            ("a hash is added", vec![&ours, &chain], Verdict::PatchedSince { index, latest: LeafIndex(1) }),
            ("replaced over a chain", vec![&ours, &chain, &swapped], replaced(2)),
            ("across a tombstone", vec![&ours, &chain, &gone, &swapped], replaced(3)),
            ("then removed", vec![&ours, &chain, &swapped, &gone], replaced(2)),
            ("every hash dropped", vec![&ours, &bare], dropped(1)),
            ("one hash dropped", vec![&ours, &chain, &fewer], dropped(2)),
            ("dropped, then removed", vec![&ours, &bare, &gone], dropped(1)),
            ("dropped after removal", vec![&ours, &gone, &bare], dropped(2)),
            (
                "removed, back with more",
                vec![&ours, &gone, &back],
                Verdict::PatchedSince { index, latest: LeafIndex(2) },
            ),
        ];
        let wanted = Wanted { repo: "r".into(), path: PATH.into(), entry: ours.clone() };
        for (name, history, expected) in cases {
            assert_eq!(judged(&wanted, &history), expected, "{name}");
        }
    }

    /// The verdict of a history that is written oldest first.
    fn judged(wanted: &Wanted, history: &[&[u8]]) -> Verdict {
        let mut judge = Judge::new(wanted).unwrap();
        let oldest_first: Vec<_> = (0..).map(LeafIndex).zip(history).collect();
        let decided =
            oldest_first.into_iter().rev().find_map(|(index, entry)| judge.see(index, entry).unwrap());
        decided.unwrap_or_else(|| judge.end())
    }

    /// FORMATS §1: bytes that are no valid entry map to nothing. Each of these is one byte or member away from one.
    #[test]
    fn what_only_looks_like_an_entry_says_nothing() {
        let ours = record(PATH, 'a', "m");
        let wanted = Wanted { repo: "r".into(), path: PATH.into(), entry: ours.clone() };
        let text = |entry: Vec<u8>| String::from_utf8(entry).unwrap();
        let (evil, gone) = (text(record(PATH, 'b', "m")), text(tombstone(PATH)));
        let escape = evil.replacen(&"b".repeat(64), "\\u001b[2J", 1);
        for forged in [
            format!("{evil} "),
            format!(" {gone}"),
            evil.replace(r#""v":1"#, r#""v":2"#),
            evil.replacen(&"b".repeat(64), &"c".repeat(64), 1),
            gone.replace("removed", "because"),
            escape,
        ] {
            let verdict = judged(&wanted, &[&ours, forged.as_bytes()]);
            assert_eq!(verdict, Verdict::Current { index: LeafIndex(0) }, "{forged}");
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
