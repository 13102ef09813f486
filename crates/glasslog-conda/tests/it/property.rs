//! What holds for every record and every change of an entry, and what the schema refuses.

use glasslog_conda::{Conda1, RepoListError, names::Repo, path_identity, snapshot_identity};
use glasslog_core::{
    json::is_canonical,
    personality::{EntryIdentity, Identity, Personality},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::reading;

fn check(entry: &[u8]) -> Result<EntryIdentity, (String, Option<Vec<u8>>)> {
    Conda1::any_repo().validate(entry).map_err(|invalid| (invalid.message, invalid.canonical))
}

fn canonical(value: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).unwrap()
}

fn hex(digit: &str, count: usize) -> String {
    digit.repeat(count)
}

fn record() -> Value {
    json!({
        "artifact": {"md5": hex("a", 32), "sha256": hex("b", 64), "size": 7}, "eco": "conda",
        "meta": {"md5": hex("A", 32), "name": "x", "sha256": hex("b", 64), "size": 7, "depends": ["é", null]},
        "path": "noarch/x-1-0.conda", "profile": "conda-repodata-1", "repo": "sample", "type": "record", "v": 1,
    })
}

fn raw_record() -> Value {
    let mut entry = record();
    entry["meta"] = Value::Null;
    entry["meta_raw"] = json!({"reason": "float", "sha256": hex("c", 64), "size": 100});
    entry
}

fn others() -> [Value; 6] {
    [
        json!({"eco": "conda", "name": "x", "path": "noarch/x-1-0.conda", "profile": "conda-repodata-1",
               "reason": "removed", "repo": "sample", "type": "tombstone", "v": 1}),
        json!({"eco": "conda", "path": "noarch/x-1-0.conda", "profile": "conda-repodata-1",
               "reason": "vanished", "repo": "sample", "type": "tombstone", "v": 1}),
        json!({"count": 0, "date": "2024-02-29", "digest": hex("0", 64), "eco": "conda", "profile": "conda-repodata-1",
               "repo": "sample", "source": "json", "subdir": "noarch", "type": "snapshot", "v": 1}),
        json!({"eco": "conda", "note": "all files until 2024", "repo": "sample", "type": "epoch", "v": 1}),
        json!({"eco": "conda", "next": null, "note": "", "repo": "sample", "type": "end", "v": 1}),
        json!({"eco": "conda", "next": "log.example/2", "note": "", "repo": "sample", "type": "end", "v": 1}),
    ]
}

fn named(preimage: &str) -> EntryIdentity {
    let hash = glasslog_core::Hash(Sha256::digest(preimage).into());
    EntryIdentity::Named(Identity::from_hash(&hash))
}

#[test]
fn every_type_is_accepted_with_its_identity() {
    let path = named(r#"["conda","sample","noarch/x-1-0.conda"]"#);
    let identities = [
        path,
        path,
        named(r#"["conda","sample","noarch","2024-02-29"]"#),
        EntryIdentity::LeafHash,
        EntryIdentity::LeafHash,
        EntryIdentity::LeafHash,
    ];
    assert_eq!(check(&canonical(&record())), Ok(path));
    assert_eq!(check(&canonical(&raw_record())), Ok(path));
    for (entry, identity) in others().iter().zip(identities) {
        assert_eq!(check(&canonical(entry)), Ok(identity), "{entry}");
    }
    assert_eq!(
        named(r#"["conda","a","b/\"c"]"#),
        EntryIdentity::Named(Identity::from_hash(&path_identity("a", "b/\"c")))
    );
    assert_ne!(path_identity("a", "b/c"), snapshot_identity("a", "b", "c"));
}

/// A change of one entry, the member that the error must name, and why it is wrong.
type Wrong = (&'static str, Value, &'static str);

#[test]
fn what_is_wrong_is_named() {
    let record_changes: Vec<Wrong> = vec![
        ("/artifact/md5", json!(hex("A", 32)), "artifact.md5"),
        ("/artifact/md5", Value::Null, "artifact.md5"),
        ("/artifact/sha256", json!(hex("c", 64)), "artifact.sha256"),
        ("/artifact/size", json!(8), "artifact.size"),
        ("/artifact/size", json!("7"), "artifact.size"),
        ("/artifact/sha1", json!("x"), "artifact.sha1"),
        ("/artifact", json!({}), "artifact.md5"),
        ("/artifact", json!([]), "artifact"),
        ("/meta/md5", json!("?"), "artifact.md5"),
        ("/meta/size", json!(-1), "artifact.size"),
        ("/meta", json!([]), "meta"),
        ("/meta", Value::Null, "meta_raw"),
        ("/meta_raw", json!({"reason": "float", "sha256": hex("c", 64), "size": 1}), "meta_raw"),
        ("/meta_raw", Value::Null, "meta_raw"),
        ("/eco", json!("pypi"), "eco"),
        ("/path", json!("noarch/a/b"), "path"),
        ("/path", json!("Noarch/a"), "path"),
        ("/path", json!("noarch/"), "path"),
        ("/path", json!(7), "path"),
        ("/profile", json!("conda-repodata-2"), "profile"),
        ("/repo", json!("https://conda.anaconda.org/x"), "repo"),
        ("/repo", json!("a/label/main"), "repo"),
        ("/type", json!("records"), "type"),
        ("/v", json!(2), "v"),
        ("/v", json!("1"), "v"),
        ("/time", json!("2024"), "time"),
    ];
    let raw_changes: Vec<Wrong> = vec![
        ("/meta_raw/reason", json!("odd"), "meta_raw.reason"),
        ("/meta_raw/sha256", json!(hex("C", 64)), "meta_raw.sha256"),
        ("/meta_raw/size", json!(-1), "meta_raw.size"),
        ("/meta_raw/why", json!(1), "meta_raw.why"),
        ("/meta_raw", json!(1), "meta_raw"),
        ("/artifact/md5", json!(hex("A", 32)), "artifact.md5"),
        ("/artifact/size", json!(-1), "artifact.size"),
        ("/artifact/other", json!(1), "artifact.other"),
    ];
    let [tombstone, _, snapshot, epoch, end, _] = others();
    let other_changes: Vec<(&Value, Vec<Wrong>)> = vec![
        (
            &tombstone,
            vec![
                ("/name", json!(1), "name"),
                ("/reason", json!("gone"), "reason"),
                ("/meta", json!({}), "meta"),
                ("/path", json!("x"), "path"),
            ],
        ),
        (
            &snapshot,
            vec![
                ("/count", json!(-1), "count"),
                ("/count", json!("1"), "count"),
                ("/date", json!("2023-02-29"), "date"),
                ("/date", json!("2024-13-01"), "date"),
                ("/date", json!("2024-1-1"), "date"),
                ("/date", json!("2024-00-10"), "date"),
                ("/digest", json!(hex("0", 63)), "digest"),
                ("/source", json!("xml"), "source"),
                ("/subdir", json!("no arch"), "subdir"),
            ],
        ),
        (&epoch, vec![("/note", Value::Null, "note"), ("/path", json!("noarch/x"), "path")]),
        (
            &end,
            vec![
                ("/next", json!(""), "next"),
                ("/next", json!("a b"), "next"),
                ("/next", json!("a+b"), "next"),
                ("/next", json!("x".repeat(256)), "next"),
                ("/note", json!(1), "note"),
            ],
        ),
    ];
    let (record, raw_record) = (record(), raw_record());
    let all = other_changes.into_iter().chain([(&record, record_changes), (&raw_record, raw_changes)]);
    for (entry, changes) in all {
        for (pointer, value, member) in changes {
            let changed = canonical(&with(entry, pointer, value.clone()));
            let Err((message, canonical)) = check(&changed) else {
                panic!("{pointer} = {value} is accepted")
            };
            assert!(message.contains(&format!("\"{member}\"")), "{pointer} = {value}: {message}");
            assert_eq!(canonical, None, "{pointer} = {value}");
        }
        for member in entry.as_object().unwrap().keys().filter(|member| *member != "name") {
            let mut missing = entry.clone();
            missing.as_object_mut().unwrap().remove(member);
            let Err((message, _)) = check(&canonical(&missing)) else {
                panic!("without {member} it is accepted")
            };
            assert!(message.contains(&format!("\"{member}\"")), "without {member}: {message}");
        }
    }
}

/// `entry` with the value at `pointer` set; its parent is there.
fn with(entry: &Value, pointer: &str, value: Value) -> Value {
    let mut entry = entry.clone();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    entry.pointer_mut(parent).unwrap()[member] = value;
    entry
}

#[test]
fn another_spelling_is_answered_with_the_canonical_one() {
    let right = canonical(&record());
    let text = String::from_utf8(right.clone()).unwrap();
    for (wrong, why) in [
        (serde_json::to_string_pretty(&record()).unwrap(), "white space"),
        (format!("{text}\n"), "a line end"),
        (text.replace("é", "\\u00e9"), "an escape"),
        (text.replace("noarch/x", "noarch\\/x"), "an escaped slash"),
        (text.replace("{\"artifact\"", "{\"v\":1,\"artifact\"").replace(",\"v\":1}", "}"), "another order"),
    ] {
        let Err((message, canonical)) = check(wrong.as_bytes()) else { panic!("{why}") };
        assert!(message.contains("canonical"), "{why}: {message}");
        assert_eq!(canonical.as_deref(), Some(&right[..]), "{why}");
    }
    for (wrong, why) in [
        (text.replace("\"size\":7", "\"size\":7.0"), "a float"),
        (text.replace("{\"artifact\"", "{\"v\":1,\"artifact\""), "a duplicate"),
        (text[..text.len() - 1].to_owned(), "cut off"),
        (text.replace(":1}", ":2} "), "another value besides"),
        (String::new(), "nothing"),
        ("null".to_owned(), "no object"),
    ] {
        let Err((_, canonical)) = check(wrong.as_bytes()) else { panic!("{why}") };
        assert_eq!(canonical, None, "{why}");
    }
    let long = with(&record(), "/meta/summary", json!("x".repeat(65_536)));
    assert!(check(&canonical(&long)).unwrap_err().0.contains("65,535"));
}

#[test]
fn only_the_named_repos() {
    let repos = |names: &[&str]| names.iter().map(|name| Repo::parse(name).unwrap()).collect::<Vec<_>>();
    let schema = Conda1::only(&repos(&["sample", "other"])).unwrap();
    assert!(schema.validate(&canonical(&record())).is_ok());
    for entry in [record(), raw_record()].iter().chain(&others()) {
        for repo in ["Sample", "third"] {
            let refused = schema.validate(&canonical(&with(entry, "/repo", json!(repo))));
            assert!(refused.unwrap_err().message.contains("does not accept"), "{repo}");
        }
    }
    assert_eq!(Conda1::only(&[]).unwrap_err(), RepoListError::Empty);
    assert!(matches!(Conda1::only(&repos(&["a/b", "x", "A/b"])), Err(RepoListError::Alike(..))));
    assert!(matches!(Conda1::only(&repos(&["a", "a"])), Err(RepoListError::Alike(..))));
}

/// Single-byte changes, of every type and at every place: refused, or again a canonical document that says something else.
#[test]
fn a_changed_byte_never_goes_unnoticed() {
    for entry in [record(), raw_record()].iter().chain(&others()) {
        let entry = canonical(entry);
        for position in 0..entry.len() {
            let near = [entry[position] ^ 1, entry[position] ^ 0x20, entry[position] | 0x80];
            for byte in b" \0\x1f\"\\/{}[]:,-+.019aAeElnu\x7f\xc3\xff".iter().copied().chain(near) {
                if byte == entry[position] {
                    continue;
                }
                let mut changed = entry.clone();
                changed[position] = byte;
                match check(&changed) {
                    Ok(_) => assert!(is_canonical(&changed), "{}", String::from_utf8_lossy(&changed)),
                    Err((_, Some(canonical))) => assert!(check(&canonical).is_ok() && canonical != changed),
                    Err((_, None)) => {}
                }
            }
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 53) + 1..1 << 53).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// What is built is accepted, and is what the other canonicaliser makes of it, however it was spelt.
    #[test]
    fn built_entries_are_valid(
        members in prop::collection::btree_map(any::<String>(), any_json(), 0..8),
        file in "[^/]{1,12}",
        size in prop::option::of(0..1_u64 << 53),
        pretty in any::<bool>(),
    ) {
        let mut record = Value::Object(members.into_iter().collect());
        if let Some(size) = size {
            record["size"] = json!(size);
        }
        let repodata = json!({"packages": {file.clone(): record.clone()}});
        let text = if pretty { serde_json::to_string_pretty(&repodata) } else { serde_json::to_string(&repodata) };
        let given = reading(text.unwrap().as_bytes());
        prop_assert_eq!(given.records.len(), 1);
        let entry = &given.records[0].entry;
        prop_assert_eq!(check(entry), Ok(named(&json!(["conda", "sample", format!("noarch/{file}")]).to_string())));
        let parsed: Value = serde_json::from_slice(entry).unwrap();
        prop_assert_eq!(&parsed["meta"], &record);
        prop_assert_eq!(canonical(&parsed), entry.clone());
    }

    /// Nothing that is thrown at the reader or the schema makes them panic.
    #[test]
    fn no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in r#"[{}\[\],:"a0.e\\u-]{0,60}"#) {
        let _ = check(&bytes);
        let _ = check(text.as_bytes());
        let _ = reading(&bytes[..]);
        let _ = reading(format!("{{\"packages\":{{\"a\":{{{text}").as_bytes());
        let _ = reading(format!("{{\"v3\":{text}").as_bytes());
    }
}
