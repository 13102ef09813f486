//! `docs/spec/vindex.md` against the code: every vector of the page. Its values were computed by another implementation.

use std::{fs, path::Path};

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    anchor::{Anchor, anchor, disavow, is_disavow_form, parse_anchor},
    hash::leaf_hash,
    proof::{TlogProof, TlogProofError},
};
use glasslog_vindex::{
    Absence, JsonField, Key, List, MapFunction, Presence, RootBuilder, Value, is_reserved, keys_of,
};

/// One block: lines of `name: value`.
pub(crate) struct Vector {
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

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_else(|| panic!("{}: no {name}", self.shows()))
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn shows(&self) -> &str {
        self.get("shows").unwrap_or("a vector")
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        const_hex::decode(self.text(name)).unwrap()
    }

    /// `name`, or the bytes of `name hex`.
    fn plain_or_hex(&self, name: &str) -> Vec<u8> {
        match self.get(name) {
            Some(text) => text.as_bytes().to_vec(),
            None => self.bytes(&format!("{name} hex")),
        }
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap()
    }
}

fn spec(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec").join(name)).unwrap()
}

/// The vectors in the section `heading` of the page, of which there must be exactly `count`.
fn vectors(heading: &str, count: usize) -> Vec<Vector> {
    let page = spec("vindex.md");
    let section = page.split("\n### ").find(|section| section.starts_with(heading)).unwrap();
    let blocks = section.split("```vector\n").skip(1).map(|block| block.split("```").next().unwrap());
    let found: Vec<Vector> = blocks.map(Vector::parse).collect();
    assert_eq!(found.len(), count, "{heading}");
    found
}

/// The vectors beside the page.
pub(crate) fn large_vectors() -> Vec<Vector> {
    let text = spec("vindex-vectors.txt");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let blocks = lines.split(|line| line.is_empty()).filter(|block| !block.is_empty());
    blocks.map(|block| Vector::parse(&block.join("\n"))).collect()
}

fn key(hex: &str) -> Key {
    Key(const_hex::decode_to_array(hex).unwrap())
}

fn value(hex: &str) -> Value {
    Value::from_bytes(&const_hex::decode_to_array(hex).unwrap())
}

/// A trie proof begins with a number, so a number can be tried as the first step of one.
#[test]
fn numbers() {
    for vector in vectors("12.1", 15) {
        let bytes = vector.bytes("uv");
        let proof = [bytes.as_slice(), &[0; 32]].concat();
        let decoded = Presence::decode(value(&"00".repeat(48)), &proof);
        let bit = decoded.as_ref().ok().and_then(|proof| proof.steps.as_slice().first()).map(|step| step.bit);
        let expected = vector.get("number").and_then(|number| number.parse::<u8>().ok());
        // Without a byte of its own, the number is the first byte of what follows.
        if !bytes.is_empty() {
            assert_eq!(bit, expected, "{bytes:?}");
        }
    }
}

#[test]
fn keys() {
    for vector in vectors("12.2", 9) {
        let name = vector.text("name");
        let expected = key(vector.text("key"));
        let found = vector.get("kind").map_or(Key::of_name(name), |kind| Key::of_kind(kind, name));
        assert_eq!(found, expected);
        if vector.get("kind").is_none() {
            assert_eq!(JsonField::new("f").unwrap().key(None, name), Ok(expected));
        }
    }
}

#[test]
fn json_field() {
    for vector in vectors("12.3", 93) {
        let map_fn = JsonField::parse(vector.text("map_fn")).unwrap();
        let entry = vector.plain_or_hex("entry");
        let expected: Vec<Key> = vector.get("key").map(key).into_iter().collect();
        assert_eq!(keys_of(&map_fn, &entry), expected, "{}", vector.shows());
        let is_form = vector.get("nothing").is_some_and(|why| why.contains("form"));
        assert_eq!(is_reserved(&entry), is_form, "{}", vector.shows());
    }
    assert_eq!((JsonField::parse("json-field:"), JsonField::parse("conda-1")), (None, None));
    let refused = JsonField::new("f").unwrap().key(Some("path"), "x").unwrap_err();
    assert_eq!(refused.to_string(), "json-field:f has no kind \"path\"; leave the kind out");
}

#[test]
fn values() {
    for vector in vectors("12.5", 12) {
        let value = value(vector.text("value"));
        if vector.get("refused").is_some() {
            assert!(!value.is_possible_at(TreeSize(vector.number("tree_size"))));
            continue;
        }
        let mut list = List::new();
        for index in vector.text("list").split(' ') {
            list.push(LeafIndex(index.parse().unwrap())).unwrap();
        }
        assert_eq!(list.value(), Some(value));
        assert!(value.is_possible_at(value.last.covering_size()));
    }
}

#[test]
fn tries() {
    for vector in vectors("12.6", 8) {
        let mut pairs: Vec<(Key, Value)> = vector
            .all("pair")
            .map(|pair| pair.split_once(' ').unwrap())
            .map(|(k, v)| (key(k), value(v)))
            .collect();
        pairs.sort_by_key(|(key, _)| *key);
        let mut builder = RootBuilder::new();
        pairs.iter().for_each(|(key, value)| builder.push(*key, value).unwrap());
        assert_eq!(builder.finish().to_string(), vector.text("root"));
    }
}

#[test]
fn trie_proofs() {
    for vector in vectors("12.7", 27) {
        let (asked, proof, shows) = (key(vector.text("key")), vector.bytes("proof"), vector.shows());
        let root = match vector.get("value") {
            Some(given) => Presence::decode(value(given), &proof).ok().map(|proof| proof.root(&asked)),
            None => Absence::decode(&proof).ok().and_then(|proof| proof.root(&asked).ok()),
        };
        let root = root.map(|root| root.to_string());
        match (vector.get("root"), vector.get("other root")) {
            (Some(expected), _) => assert_eq!(root.as_deref(), Some(expected), "{shows}"),
            (_, Some(other)) => assert!(root.as_deref().is_some_and(|root| root != other), "{shows}"),
            _ => assert_eq!((root, vector.get("refused").is_some()), (None, true), "{shows}"),
        }
    }
}

#[test]
fn anchors() {
    for vector in vectors("12.8", 7) {
        let entry = vector.plain_or_hex("entry");
        assert_eq!(leaf_hash(&entry).to_string(), vector.text("leaf"));
        assert!(is_reserved(&entry));
        if let Some(positions) = vector.get("positions") {
            let positions = positions.split(' ').filter(|position| !position.is_empty());
            let positions: Vec<LeafIndex> = positions.map(|at| LeafIndex(at.parse().unwrap())).collect();
            assert_eq!((disavow(&positions), is_disavow_form(&entry)), (entry, true));
            continue;
        }
        let map_fn = String::from_utf8(vector.bytes("map_fn hex")).unwrap();
        let root = vector.text("root");
        let root = (root != "null").then(|| Hash(key(root).0));
        let tree_size = TreeSize(vector.number("tree_size"));
        assert_eq!(anchor(&map_fn, root.as_ref(), tree_size), entry);
        assert_eq!(parse_anchor(&entry), Some(Anchor { map_fn, root, tree_size }));
    }
}

#[test]
fn the_longest_file() {
    for vector in vectors("12.11", 2) {
        let (unit, times) = vector.text("fill").split_once(' ').unwrap();
        let lines: String = vector.all("line").flat_map(|line| [line, "\n"]).collect();
        let file = lines.replace('~', &unit.repeat(times.parse().unwrap()));
        let found = TlogProof::parse(file.as_bytes());
        match vector.get("refused") {
            None => assert_eq!(found.unwrap().to_text(), file),
            Some(_) => assert_eq!(found, Err(TlogProofError::TooLong(67_108_865))),
        }
    }
}
