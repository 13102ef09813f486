//! The map function `conda-1` against the vectors of `docs/spec/vindex.md` §12.4, and against what the schema refuses.

use std::{fs, path::Path};

use base64ct::{Base64, Encoding};
use glasslog_conda::Conda1Map;
use glasslog_core::policy::Policy;
use glasslog_vindex::{Answer, Key, Lookup, MapFunction, Pinned, keys_of};

fn blocks(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec").join(page);
    let page = fs::read_to_string(path).unwrap();
    page.split("```vector\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn entries_are_found_under_these_keys() {
    let vectors: Vec<String> =
        blocks("vindex.md").into_iter().filter(|block| block.contains("map_fn: conda-1\n")).collect();
    assert_eq!(vectors.len(), 19);
    for vector in vectors {
        let all = |name| vector.lines().filter_map(move |line| line.strip_prefix(name));
        let mut expected = Vec::new();
        for (maps, key) in all("maps: ").zip(all("key: ")) {
            let (kind, name) = maps.split_once(' ').unwrap();
            let found = Conda1Map.key(Some(kind), name).unwrap();
            assert_eq!(found.to_string(), key);
            expected.push(found);
        }
        expected.sort();
        assert_eq!(expected.is_empty(), all("nothing: ").count() == 1);
        assert_eq!(keys_of(&Conda1Map, all("entry: ").next().unwrap().as_bytes()), expected, "{vector}");
    }
    assert_eq!(Conda1Map.key(None, "x"), Ok(Key::of_kind("path", "x")));
    assert!(Conda1Map.key(Some("file"), "x").is_err() && Conda1Map.key(Some(""), "x").is_err());
}

/// What a log of `conda-1` refuses maps to nothing: every refused vector of the page about entries.
#[test]
fn what_is_no_entry_maps_to_nothing() {
    let mut count = 0;
    // Those that stand for many bytes are tried by the test of that page.
    for vector in blocks("conda-entry.md").into_iter().filter(|vector| !vector.contains("fill: ")) {
        for refused in vector.lines().filter_map(|line| line.strip_prefix("refused: ")) {
            assert_eq!(keys_of(&Conda1Map, refused.as_bytes()), [], "{vector}");
            count += 1;
        }
    }
    assert!(count >= 40, "{count}");
}

/// The lookups of conda-1 beside the page.
#[test]
fn lookups() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/vindex-vectors.txt");
    let text = fs::read_to_string(path).unwrap();
    let blocks: Vec<&str> = text.split("\n\n").filter(|block| block.contains("map_fn: conda-1\n")).collect();
    assert_eq!(blocks.len(), 5);
    for block in blocks {
        let get = |name| block.lines().find_map(|line| line.strip_prefix(name));
        let bytes = |name| Base64::decode_vec(get(name).unwrap()).unwrap();
        let (policy, lookup) =
            (Policy::parse(&bytes("policy: ")).unwrap(), Lookup::parse(&bytes("lookup: ")).unwrap());
        let pinned = Pinned { origin: get("origin: ").unwrap(), policy: &policy, map_fn: &Conda1Map };
        let key = Key(const_hex::decode_to_array(get("key: ").unwrap()).unwrap());
        let found = lookup.verify(&pinned, &key, get("now: ").unwrap().parse().unwrap());
        let answer = found.as_ref().ok().map(|found| match found.answer() {
            Answer::Absent => "absent".to_owned(),
            Answer::Present(present) => format!("present {} {}", present.count, present.last),
        });
        assert_eq!(answer.as_deref(), get("answer: "), "{block}: {found:?}");
    }
}
