//! `docs/spec/conda-entry.md` against the code: every vector of the page, and how many there are.
//!
//! The values of the page were computed by another implementation than this one; leaf hashes, identities and digests
//! are computed here once more with nothing but SHA-256.

use std::{fs, path::Path};

use glasslog_conda::{
    Conda1,
    classify::{Change, Classified, Critical, Known, Revision, classify},
    entry::{Gone, write_tombstone},
    names::{Repo, Subdir},
};
use glasslog_core::{
    Hash,
    hash::leaf_hash,
    merkle::CompactRange,
    personality::{EntryIdentity, Identity, InvalidEntry, Personality},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{Handed, Reading, reading, reading_of};

/// One fenced block of the page: lines of `name: value`, in which `@` may stand for many bytes.
struct Vector {
    lines: Vec<(String, String)>,
}

impl Vector {
    fn parse(block: &str) -> Vector {
        let line = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("not name: value: {line}"));
            (name.to_owned(), value.to_owned())
        };
        Vector { lines: block.lines().map(line).collect() }
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.shows()))
    }

    /// The value of `name`, with `@` filled in as `fill` says.
    fn filled(&self, name: &str) -> String {
        let Some((byte, count)) = self.get("fill").and_then(|fill| fill.split_once(' ')) else {
            return self.text(name).to_owned();
        };
        let filling = char::from(u8::from_str_radix(byte, 16).unwrap()).to_string();
        self.text(name).replace('@', &filling.repeat(count.parse().unwrap()))
    }

    fn shows(&self) -> &str {
        self.get("shows").or(self.get("story")).unwrap_or("a vector")
    }
}

/// The vectors that hold a line `name`, of which the page must have at least `least`.
fn vectors(name: &str, least: usize) -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/conda-entry.md");
    let page = fs::read_to_string(path).unwrap();
    let blocks = page.split("```vector\n").skip(1).map(|block| block.split("```").next().unwrap());
    let found: Vec<Vector> = blocks.map(Vector::parse).filter(|vector| vector.get(name).is_some()).collect();
    assert!(found.len() >= least, "only {} vectors with {name}", found.len());
    found
}

fn validate(entry: &[u8]) -> Result<EntryIdentity, InvalidEntry> {
    Conda1::any_repo().validate(entry)
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

#[test]
fn records_become_these_entries() {
    for vector in vectors("record", 30) {
        let (key, record) = (vector.text("key"), vector.filled("record"));
        let repodata = match vector.text("section").split_once(' ') {
            Some(("v3", extension)) => format!(r#"{{"v3":{{"{extension}":{{"{key}":{record}}}}}}}"#),
            _ => format!(r#"{{"{}":{{"{key}":{record}}}}}"#, vector.text("section")),
        };
        let given = reading_of(vector.text("repo"), vector.text("subdir"), repodata.as_bytes());
        assert_eq!((given.records.len(), &given.error), (1, &None), "{}", vector.shows());
        let entry = String::from_utf8_lossy(&given.records[0].entry).into_owned();
        assert_eq!(entry, vector.filled("entry"), "{}", vector.shows());
    }
}

#[test]
fn entries_have_these_leaf_hashes_and_identities() {
    for vector in vectors("entry", 40) {
        let entry = vector.filled("entry").into_bytes();
        let (leaf, shows) = (sha256(&[&[0], &entry]), vector.shows());
        assert_eq!(const_hex::encode(leaf), vector.text("leaf"), "{shows}");
        assert_eq!(leaf_hash(&entry).0, leaf, "{shows}");
        let (identity, expected) = match vector.get("preimage") {
            Some(preimage) => {
                let hash = sha256(&[preimage.as_bytes()]);
                (hash, EntryIdentity::Named(Identity::from_hash(&Hash(hash))))
            }
            None => (leaf, EntryIdentity::LeafHash),
        };
        assert_eq!(const_hex::encode(identity), vector.text("identity"), "{shows}");
        assert_eq!(validate(&entry), Ok(expected), "{shows}");
        let parsed: Value = serde_json::from_slice(&entry).unwrap();
        assert_eq!(serde_json_canonicalizer::to_vec(&parsed).unwrap(), entry, "{shows}");
    }
}

#[test]
fn snapshots_have_these_digests() {
    for vector in vectors("digest", 4) {
        let mut files: Vec<(&str, Vec<u8>)> = vector
            .all("file")
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(file, leaf)| (file, const_hex::decode(leaf).unwrap()))
            .collect();
        files.sort();
        let leaf_data = |(file, leaf): &(&str, Vec<u8>)| {
            let mut data = varint(file.len());
            data.extend_from_slice(file.as_bytes());
            data.extend_from_slice(leaf);
            data
        };
        let leaves: Vec<Vec<u8>> = files.iter().map(leaf_data).collect();
        let mut range = CompactRange::new();
        leaves.iter().for_each(|data| range.append(leaf_hash(data)));
        assert_eq!(vector.text("count"), leaves.len().to_string(), "{}", vector.shows());
        assert_eq!(const_hex::encode(tree_hash(&leaves)), vector.text("digest"), "{}", vector.shows());
        assert_eq!(range.root().0, tree_hash(&leaves), "{}", vector.shows());
    }
}

/// RFC 6962 §2.1, word for word.
fn tree_hash(leaves: &[Vec<u8>]) -> [u8; 32] {
    match leaves {
        [] => sha256(&[]),
        [leaf] => sha256(&[&[0], leaf]),
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            sha256(&[&[1], &tree_hash(left), &tree_hash(right)])
        }
    }
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

#[test]
fn files_list_these_records() {
    for vector in vectors("repodata", 15) {
        let mut given = reading(vector.text("repodata").as_bytes());
        leave_out_overridden(&mut given.records);
        let shows = vector.shows();
        let paths: Vec<&str> = given.records.iter().map(|record| record.path.as_str()).collect();
        assert_eq!(paths, vector.all("lists").collect::<Vec<_>>(), "{shows}");
        for (record, meta) in given.records.iter().zip(vector.all("meta")) {
            let entry = String::from_utf8_lossy(&record.entry).into_owned();
            assert!(entry.contains(&format!(r#","meta":{meta},"path""#)), "{shows}: {entry}");
        }
        assert_eq!(given.removed, vector.all("removed").collect::<Vec<_>>(), "{shows}");
        assert_eq!(remarks(&given), vector.all("says").collect::<Vec<_>>(), "{shows}");
        let fault = given.error.as_ref().map(|(what, _)| match what.as_str() {
            "truncated" => "truncated",
            _ => "malformed",
        });
        assert_eq!(fault, vector.get("fault"), "{shows}");
        assert!(given.records.iter().all(|record| validate(&record.entry).is_ok()), "{shows}");
    }
}

/// Leaves what would be sent to a log: of a file listed twice, the record that comes last is the one that counts.
fn leave_out_overridden(records: &mut Vec<Handed>) {
    let overriding: Vec<Handed> = records.iter().filter(|record| record.overrides).cloned().collect();
    records.retain(|record| record.overrides || overriding.iter().all(|other| other.path != record.path));
}

/// What was reported, with sections named as repodata names them.
fn remarks(given: &Reading) -> Vec<String> {
    let names =
        [(" in PackagesConda", " in packages.conda"), (" in Packages", " in packages"), (" in V3", " in v3")];
    let named =
        |remark: &String| names.iter().fold(remark.clone(), |text, (from, to)| text.replace(from, to));
    given.remarks.iter().map(named).collect()
}

#[test]
fn a_log_refuses_these_bytes() {
    let text = vectors("refused", 60);
    let refused = text.iter().map(|vector| (vector, vector.filled("refused").into_bytes()));
    let hexadecimal = vectors("refused hex", 2);
    let decoded = |vector: &Vector| const_hex::decode(vector.text("refused hex")).unwrap();
    for (vector, bytes) in refused.chain(hexadecimal.iter().map(|vector| (vector, decoded(vector)))) {
        let shows = vector.shows();
        let Err(InvalidEntry { message, canonical }) = validate(&bytes) else { panic!("{shows}: accepted") };
        let fault = vector.text("fault");
        let says = match fault.split_once(' ') {
            Some(("member", name)) => format!("member \"{name}\""),
            _ if fault == "length" => "no entry has more than 65,535".to_owned(),
            _ if fault == "not an object" => "an entry is a JSON object".to_owned(),
            _ => fault.to_owned(),
        };
        assert!(message.contains(&says), "{shows}: {message}");
        assert_eq!(canonical.as_deref(), vector.get("canonical").map(str::as_bytes), "{shows}");
        if let Some(canonical) = canonical {
            assert!(validate(&canonical).is_ok(), "{shows}");
        }
    }
}

#[test]
fn stories_are_classified_so() {
    for vector in vectors("story", 20) {
        let story = vector.text("story").replace("$A", &"a".repeat(64)).replace("$B", &"b".repeat(64));
        let told: Vec<Value> = serde_json::from_str(&story).unwrap();
        let entries: Vec<Vec<u8>> = told.iter().map(entry_of).collect();
        let (mut latest, mut known, mut last) = (None, Known::default(), None);
        for entry in &entries {
            let revision = Revision::parse(entry).unwrap();
            last = Some(classify(latest.as_ref(), &known, &revision));
            known.learn(&revision);
            latest = Some(revision);
        }
        let Classified { change, critical } = last.unwrap();
        assert_eq!(change_word(change), vector.text("is"), "{story}");
        let words: Vec<&str> = critical.into_iter().map(critical_word).collect();
        assert_eq!(words, vector.all("critical").collect::<Vec<_>>(), "{story}");
    }
}

/// The entry of a record as served, or of a tombstone for null.
fn entry_of(record: &Value) -> Vec<u8> {
    if !record.is_null() {
        let repodata = format!(r#"{{"packages":{{"x-1-0.conda":{record}}}}}"#);
        return reading(repodata.as_bytes()).records.remove(0).entry;
    }
    let (repo, subdir, mut entry) =
        (Repo::parse("sample").unwrap(), Subdir::parse("noarch").unwrap(), Vec::new());
    write_tombstone(&mut entry, (&repo, &subdir, "x-1-0.conda"), None, Gone::Removed).unwrap();
    entry
}

fn change_word(change: Change) -> &'static str {
    match change {
        Change::Unchanged => "unchanged",
        Change::Publish => "publish",
        Change::Patch => "patch",
        Change::Replace => "replace",
        Change::Remove => "remove",
        Change::Reappear => "reappear",
    }
}

fn critical_word(critical: Critical) -> &'static str {
    match critical {
        Critical::Artifact => "artifact",
        Critical::HashDropped => "hash dropped",
        Critical::Name => "name",
        Critical::Version => "version",
        Critical::Build => "build",
        Critical::Subdir => "subdir",
        Critical::IndexedTimestamp => "indexed_timestamp",
        Critical::AttestationsDropped => "attestations dropped",
        Critical::MetaHidden => "meta hidden",
    }
}
