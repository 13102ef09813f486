//! Which bytes a conda log accepts (FORMATS §4, `docs/spec/conda-entry.md`).

use std::collections::BTreeSet;

use glasslog_core::{
    Hash, MAX_ENTRY_BYTES,
    json::{Canonicalizer, Object, Value, canonicalize, scan, write_string},
    personality::{EntryIdentity, Identity, InvalidEntry, Personality},
};
use sha2::{Digest, Sha256};

use crate::{
    entry::{Artifact, Date, PROFILE, decimal},
    names::{Repo, Subdir, split_path},
};

/// The longest origin, in bytes (FORMATS §5).
const MAX_ORIGIN_BYTES: usize = 255;

/// The words of `meta_raw.reason`.
const REASONS: [&str; 7] = ["float", "duplicate", "integer", "surrogate", "depth", "type", "size"];

/// The schema `conda-1`: an entry is exactly one canonical record, tombstone, snapshot, epoch or end.
#[derive(Clone, Debug, Default)]
pub struct Conda1 {
    repos: Option<BTreeSet<String>>,
}

/// Why a list of repos cannot be what a log accepts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepoListError {
    /// Two repos could be taken for each other.
    #[error(
        "the repos {0:?} and {1:?} differ at most in upper and lower case: keep one of them in ENTRY_REPOS"
    )]
    Alike(String, String),
    /// Nothing could ever be logged.
    #[error("ENTRY_REPOS is empty: name a repo, or leave it out to accept every repo")]
    Empty,
}

impl Conda1 {
    /// Accepts entries of every repo.
    #[must_use]
    pub fn any_repo() -> Conda1 {
        Conda1 { repos: None }
    }

    /// Accepts entries of these repos only (`ENTRY_REPOS`).
    ///
    /// # Errors
    ///
    /// [`RepoListError`] when there is none, or two are equal when lower-cased.
    pub fn only(repos: &[Repo]) -> Result<Conda1, RepoListError> {
        if repos.is_empty() {
            return Err(RepoListError::Empty);
        }
        for (position, a) in repos.iter().enumerate() {
            if let Some(b) =
                repos.iter().skip(position + 1).find(|b| a.as_str().eq_ignore_ascii_case(b.as_str()))
            {
                return Err(RepoListError::Alike(a.to_string(), b.to_string()));
            }
        }
        Ok(Conda1 { repos: Some(repos.iter().map(Repo::to_string).collect()) })
    }

    fn accepts(&self, repo: &str) -> bool {
        self.repos.as_ref().is_none_or(|repos| repos.contains(repo))
    }
}

impl Personality for Conda1 {
    fn name(&self) -> &'static str {
        "conda-1"
    }

    fn validate(&self, entry: &[u8]) -> Result<EntryIdentity, InvalidEntry> {
        match self.plain_record(entry) {
            Some(identity) => Ok(identity),
            None => self.any_entry(entry),
        }
    }
}

/// The identity of the records and tombstones of a path: the SHA-256 of `["conda",<repo>,<path>]`.
#[must_use]
pub fn path_identity(repo: &str, path: &str) -> Hash {
    identity_hash(&[repo, path])
}

/// The identity of the snapshots of a subdir and day: the SHA-256 of `["conda",<repo>,<subdir>,<date>]`.
#[must_use]
pub fn snapshot_identity(repo: &str, subdir: &str, date: &str) -> Hash {
    identity_hash(&[repo, subdir, date])
}

/// A canonical JSON array of strings: no two lists of names give the same bytes.
fn identity_hash(names: &[&str]) -> Hash {
    let mut preimage = b"[\"conda\"".to_vec();
    for name in names {
        preimage.push(b',');
        write_string(name, &mut preimage);
    }
    preimage.push(b']');
    Hash(Sha256::digest(preimage).into())
}

fn named(hash: Hash) -> EntryIdentity {
    EntryIdentity::Named(Identity::from_hash(&hash))
}

impl Conda1 {
    /// The quick way for what nearly every entry is: a record with metadata, without escapes in its path.
    ///
    /// One pass: `meta` must be what canonicalising it gives, `artifact` what deriving it from `meta` gives, and
    /// what stands around them is compared. `None` says nothing: [`Conda1::any_entry`] decides.
    fn plain_record(&self, entry: &[u8]) -> Option<EntryIdentity> {
        if entry.len() > MAX_ENTRY_BYTES {
            return None;
        }
        let rest = str::from_utf8(entry).ok()?.strip_prefix("{\"artifact\":")?;
        let (artifact, rest) = rest.split_at_checked(rest.find('}')? + 1)?;
        let rest = rest.strip_prefix(",\"eco\":\"conda\",\"meta\":")?;
        if !rest.starts_with('{') {
            return None;
        }
        let mut canonicalizer = Canonicalizer::inside(1);
        let mut canonical = Vec::with_capacity(rest.len());
        let length = canonicalizer.canonicalize_prefix(rest, &mut canonical).ok()?;
        let (meta, rest) = rest.split_at_checked(length)?;
        if meta.as_bytes() != canonical || !says(artifact, &artifact_of(&canonicalizer, &canonical)) {
            return None;
        }
        let (path, rest) = rest.strip_prefix(",\"path\":\"")?.split_once('"')?;
        let (repo, rest) =
            rest.strip_prefix(",\"profile\":\"conda-repodata-1\",\"repo\":\"")?.split_once('"')?;
        let plain = path.bytes().all(|byte| byte >= 0x20 && byte != b'\\');
        let valid = plain && split_path(path).is_ok() && Repo::parse(repo).is_ok() && self.accepts(repo);
        (valid && rest == ",\"type\":\"record\",\"v\":1}").then(|| named(path_identity(repo, path)))
    }

    /// The careful way: every kind of entry, and an error that says what is wrong and where.
    fn any_entry(&self, entry: &[u8]) -> Result<EntryIdentity, InvalidEntry> {
        if entry.len() > MAX_ENTRY_BYTES {
            return Err(invalid(format!(
                "the entry has {} bytes, and no entry has more than 65,535",
                entry.len()
            )));
        }
        let mut canonical = Vec::with_capacity(entry.len());
        canonicalize(entry, &mut canonical).map_err(|error| invalid(error.to_string()))?;
        let verdict = self.members(&canonical);
        let Some(difference) = first_difference(entry, &canonical) else { return verdict.map_err(invalid) };
        match verdict {
            Err(message) => Err(invalid(format!("{message} (counted in the canonical form)"))),
            Ok(_) => Err(InvalidEntry {
                message: format!(
                    "not in canonical form (RFC 8785), from byte {difference} on: submit the canonical form instead"
                ),
                canonical: Some(canonical),
            }),
        }
    }

    /// Checks a canonical document member by member.
    fn members(&self, canonical: &[u8]) -> Result<EntryIdentity, String> {
        let document = scan(canonical).map_err(|error| error.to_string())?;
        let fields = Fields::of(document, "")?;
        let kind = fields.one_of("type", &["record", "tombstone", "snapshot", "epoch", "end"])?;
        fields.one_of("eco", &["conda"])?;
        let version = fields.get("v")?;
        if version.raw() != "1" {
            return Err(fields.wrong("v", version, "must be the number 1"));
        }
        let repo = fields.string("repo")?;
        Repo::parse(&repo).map_err(|error| fields.wrong_here("repo", &error.to_string()))?;
        if !self.accepts(&repo) {
            return Err(fields.wrong_here("repo", &format!("this log does not accept entries of {repo:?}")));
        }
        match kind.as_str() {
            "record" => record(&fields, &repo),
            "tombstone" => tombstone(&fields, &repo),
            "snapshot" => snapshot(&fields, &repo),
            "epoch" => {
                fields.only(&["eco", "note", "repo", "type", "v"])?;
                fields.string("note").map(|_| EntryIdentity::LeafHash)
            }
            _ => end(&fields),
        }
    }
}

fn record(fields: &Fields<'_>, repo: &str) -> Result<EntryIdentity, String> {
    const MEMBERS: [&str; 9] =
        ["artifact", "eco", "meta", "meta_raw", "path", "profile", "repo", "type", "v"];
    fields.only(&MEMBERS)?;
    fields.one_of("profile", &[PROFILE])?;
    let path = path(fields)?;
    let artifact = Fields::of(fields.get("artifact")?, "artifact.")?;
    let meta = fields.get("meta")?;
    if meta.is_null() {
        meta_raw(&Fields::of(fields.get("meta_raw")?, "meta_raw.")?)?;
        unknown_artifact(&artifact)?;
    } else {
        let meta =
            meta.as_object().ok_or_else(|| fields.wrong("meta", meta, "must be an object, or null"))?;
        if let Some(raw) = fields.object.get("meta_raw") {
            return Err(fields.wrong("meta_raw", raw, "must be left out unless meta is null"));
        }
        derived_artifact(&artifact, meta)?;
    }
    Ok(named(path_identity(repo, &path)))
}

/// The artifact of a record with metadata says exactly what the metadata says.
fn derived_artifact(artifact: &Fields<'_>, meta: Object<'_>) -> Result<(), String> {
    artifact.only(&["md5", "sha256", "size"])?;
    let text = |name| meta.get(name).and_then(|value| value.as_str());
    let size = meta.get("size").map(|value| value.raw());
    let derived = Artifact::from_texts(text("md5").as_deref(), text("sha256").as_deref(), size);
    let quoted = |digits: &str| format!("\"{digits}\"");
    for (name, must) in [
        ("md5", derived.md5().map(quoted)),
        ("sha256", derived.sha256().map(quoted)),
        ("size", derived.size().map(|size| size.to_string())),
    ] {
        match (artifact.object.get(name), must) {
            (Some(value), Some(must)) if value.raw() != must => {
                return Err(artifact.wrong(name, value, &format!("must be {must}, as meta has it")));
            }
            (Some(value), None) => {
                return Err(artifact.wrong(name, value, "must be left out, for meta has no valid one"));
            }
            (None, Some(must)) => {
                return Err(artifact.missing(name, &format!("must be {must}, as meta has it")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The artifact of a record without metadata can only be checked for its form.
fn unknown_artifact(artifact: &Fields<'_>) -> Result<(), String> {
    artifact.only(&["md5", "sha256", "size"])?;
    for (name, digits) in [("md5", 32), ("sha256", 64)] {
        if artifact.object.get(name).is_some() {
            artifact.hex(name, digits)?;
        }
    }
    if artifact.object.get("size").is_some() { artifact.integer("size") } else { Ok(()) }
}

fn meta_raw(raw: &Fields<'_>) -> Result<(), String> {
    raw.only(&["reason", "sha256", "size"])?;
    raw.one_of("reason", &REASONS)?;
    raw.hex("sha256", 64)?;
    raw.integer("size")
}

fn tombstone(fields: &Fields<'_>, repo: &str) -> Result<EntryIdentity, String> {
    fields.only(&["eco", "name", "path", "profile", "reason", "repo", "type", "v"])?;
    fields.one_of("profile", &[PROFILE])?;
    fields.one_of("reason", &["removed", "vanished"])?;
    if fields.object.get("name").is_some() {
        fields.string("name")?;
    }
    Ok(named(path_identity(repo, &path(fields)?)))
}

fn snapshot(fields: &Fields<'_>, repo: &str) -> Result<EntryIdentity, String> {
    fields.only(&["count", "date", "digest", "eco", "profile", "repo", "source", "subdir", "type", "v"])?;
    fields.one_of("profile", &[PROFILE])?;
    fields.integer("count")?;
    fields.hex("digest", 64)?;
    fields.one_of("source", &["json", "shards"])?;
    let date = fields.string("date")?;
    if Date::parse(&date).is_none() {
        return Err(fields.wrong_here("date", "must be a day that exists, as YYYY-MM-DD"));
    }
    let subdir = fields.string("subdir")?;
    Subdir::parse(&subdir).map_err(|error| fields.wrong_here("subdir", &error.to_string()))?;
    Ok(named(snapshot_identity(repo, &subdir, &date)))
}

fn end(fields: &Fields<'_>) -> Result<EntryIdentity, String> {
    fields.only(&["eco", "next", "note", "repo", "type", "v"])?;
    fields.string("note")?;
    if !fields.get("next")?.is_null() {
        let origin = fields.string("next")?;
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if origin.is_empty() || origin.len() > MAX_ORIGIN_BYTES || origin.contains(forbidden) {
            let rule = "must be null or an origin: 1 to 255 bytes without white space and '+'";
            return Err(fields.wrong_here("next", rule));
        }
    }
    Ok(EntryIdentity::LeafHash)
}

fn path(fields: &Fields<'_>) -> Result<String, String> {
    let path = fields.string("path")?;
    split_path(&path).map_err(|error| fields.wrong_here("path", &error.to_string()))?;
    Ok(path)
}

/// The members of one object of an entry, and where to say that they are.
struct Fields<'a> {
    object: Object<'a>,
    prefix: &'static str,
}

impl<'a> Fields<'a> {
    fn of(value: Value<'a>, prefix: &'static str) -> Result<Fields<'a>, String> {
        match value.as_object() {
            Some(object) => Ok(Fields { object, prefix }),
            None if prefix.is_empty() => Err("an entry is a JSON object".to_owned()),
            None => {
                let name = prefix.trim_end_matches('.');
                Err(format!("member {name:?} at byte {}: must be an object", value.offset()))
            }
        }
    }

    fn get(&self, name: &str) -> Result<Value<'a>, String> {
        self.object.get(name).ok_or_else(|| self.missing(name, "is needed"))
    }

    /// Refuses every member that is not in `names`.
    fn only(&self, names: &[&str]) -> Result<(), String> {
        for member in self.object.members() {
            let name = member.key().unwrap_or_default();
            if !names.contains(&name.as_ref()) {
                let rule = format!("is none of {}", names.join(", "));
                return Err(self.wrong(&name, member.raw_key(), &rule));
            }
        }
        Ok(())
    }

    fn string(&self, name: &str) -> Result<String, String> {
        let value = self.get(name)?;
        value.as_str().map(Into::into).ok_or_else(|| self.wrong(name, value, "must be a string"))
    }

    fn one_of(&self, name: &str, words: &[&str]) -> Result<String, String> {
        let found = self.string(name)?;
        if words.contains(&found.as_str()) {
            return Ok(found);
        }
        Err(self.wrong_here(name, &format!("must be {}, not {found:?}", words.join(" or "))))
    }

    fn hex(&self, name: &str, digits: usize) -> Result<(), String> {
        let found = self.string(name)?;
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if found.len() == digits && found.bytes().all(lower) {
            return Ok(());
        }
        Err(self.wrong_here(name, &format!("must be {digits} lower-case hexadecimal digits")))
    }

    fn integer(&self, name: &str) -> Result<(), String> {
        let value = self.get(name)?;
        if decimal(value.raw()).is_some() {
            return Ok(());
        }
        Err(self.wrong(name, value, "must be an integer from 0 to 9007199254740991"))
    }

    fn wrong(&self, name: &str, value: Value<'_>, rule: &str) -> String {
        format!("member {:?} at byte {}: {rule}", format!("{}{name}", self.prefix), value.offset())
    }

    fn wrong_here(&self, name: &str, rule: &str) -> String {
        match self.object.get(name) {
            Some(value) => self.wrong(name, value, rule),
            None => self.missing(name, rule),
        }
    }

    fn missing(&self, name: &str, rule: &str) -> String {
        let at = self.object.value().offset();
        format!(
            "member {:?} is missing from the object at byte {at}: {rule}",
            format!("{}{name}", self.prefix)
        )
    }
}

fn invalid(message: String) -> InvalidEntry {
    InvalidEntry { message, canonical: None }
}

fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let common = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    (common < a.len() || common < b.len()).then_some(common)
}

fn says(text: &str, artifact: &Artifact) -> bool {
    let mut spelt = Vec::with_capacity(text.len());
    artifact.write(&mut spelt);
    spelt == text.as_bytes()
}

/// The artifact of the record that `canonicalizer` wrote to `canonical` last.
pub(crate) fn artifact_of(canonicalizer: &Canonicalizer, canonical: &[u8]) -> Artifact {
    let (mut md5, mut sha256, mut size) = (None, None, None);
    for (key, value) in canonicalizer.outer_members(canonical) {
        match key {
            b"\"md5\"" => md5 = quoted(value),
            b"\"sha256\"" => sha256 = quoted(value),
            b"\"size\"" => size = str::from_utf8(value).ok(),
            _ => {}
        }
    }
    Artifact::from_texts(md5, sha256, size)
}

/// The inside of a canonical string. It may hold escapes, but then it is no hash.
fn quoted(value: &[u8]) -> Option<&str> {
    str::from_utf8(value.strip_prefix(b"\"")?.strip_suffix(b"\"")?).ok()
}
