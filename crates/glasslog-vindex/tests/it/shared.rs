//! The vectors of `../shared/vectors/vindex`, which another implementation made. Skipped, saying so, where they are not.

use std::{fs, path::Path};

use glasslog_core::LeafIndex;
use glasslog_vindex::{Absence, Key, List, Presence, RootBuilder, Value};

use crate::naive;

/// The lines of a file without its comments, or `None` where it is not there.
fn lines(name: &str) -> Option<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let mut found = root.ancestors().skip(1).map(|above| above.join("shared/vectors/vindex").join(name));
    let Some(path) = found.find(|path| path.exists()) else {
        println!("skipped: no ../shared/vectors/vindex/{name}");
        return None;
    };
    let text = fs::read_to_string(path).unwrap();
    Some(text.lines().filter(|line| !line.starts_with('#')).map(String::from).collect())
}

fn key(hex: &str) -> Key {
    Key(const_hex::decode_to_array(hex).unwrap())
}

fn value(hex: &str) -> Value {
    Value::from_bytes(&const_hex::decode_to_array(hex).unwrap())
}

#[test]
fn lists_have_these_values() {
    for line in lines("list-value.txt").unwrap_or_default() {
        let (indices, expected) = line.split_once(' ').unwrap();
        let mut list = List::new();
        for index in indices.split(',') {
            list.push(LeafIndex(index.parse().unwrap())).unwrap();
        }
        assert_eq!(const_hex::encode(list.value().unwrap().to_bytes()), expected);
    }
}

#[test]
fn tries_have_these_roots() {
    let mut pairs = naive::Pairs::new();
    for line in lines("treehash.txt").unwrap_or_default() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["kv", k, v] => {
                pairs.insert(key(k).0, value(v).to_bytes());
            }
            ["hash", expected] => {
                let mut builder = RootBuilder::new();
                for (k, v) in &pairs {
                    builder.push(Key(*k), &Value::from_bytes(v)).unwrap();
                }
                assert_eq!(builder.finish().to_string(), expected);
                assert_eq!(const_hex::encode(naive::root(&pairs)), expected);
                pairs.clear();
            }
            _ => assert_eq!(line, ""),
        }
    }
}

#[test]
fn trie_proofs_verify_or_are_refused() {
    let lines = lines("verify.txt").unwrap_or_default();
    for case in lines.split(String::is_empty).filter(|case| !case.is_empty()) {
        let word = |name: &str| {
            let line = case.iter().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_matches('\'').to_owned()
        };
        let (asked, proof) = (key(&word("key")), const_hex::decode(word("proof")).unwrap());
        let root = match word("val").as_str() {
            "-" => Absence::decode(&proof).ok().and_then(|absence| absence.root(&asked).ok()),
            given => Presence::decode(value(given), &proof).ok().map(|presence| presence.root(&asked)),
        };
        let verifies = root.is_some_and(|root| root.to_string() == word("snap"));
        assert_eq!(verifies.to_string(), word("verify"), "{case:?}");
    }
}
