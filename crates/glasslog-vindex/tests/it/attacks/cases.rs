//! The attacks: which file, and the same without its one defect.

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    anchor::{anchor, disavow},
};
use glasslog_vindex::{Absence, Evidence, Key, ListEnd, Lookup, Presence, Proof, Steps, Value, prove};

use super::MAP_FN;
use crate::log::{Log, Next, indices, list_end, typed};
use crate::naive;

const A: Next = Next::Name(0);
const B: Next = Next::Name(1);
const C: Next = Next::Name(2);

/// One attack on the question for a name.
pub(super) struct Case {
    pub(super) shows: String,
    pub(super) name: &'static str,
    /// The file without the defect.
    pub(super) sound: Lookup,
    pub(super) attack: Lookup,
    /// Why it is refused, in the words of the page's vectors.
    pub(super) refused: &'static str,
}

fn case(shows: &str, name: &'static str, sound: Lookup, attack: Lookup, refused: &'static str) -> Case {
    Case { shows: shows.into(), name, sound, attack, refused }
}

/// a stands at 0, 2 and 5, b at 1 and 7, c at 4; anchors at 3 and 6.
fn log() -> Log {
    Log::of(&[A, B, A, Next::Anchor, C, A, Next::Anchor, B])
}

fn with_tail(lookup: &Lookup, new: Vec<Vec<u8>>) -> Lookup {
    let mut lookup = lookup.clone();
    if let Evidence::Absent { tail, .. } | Evidence::Present { tail, .. } = &mut lookup.evidence {
        *tail = new;
    }
    lookup
}

/// The same lookup, by the index `pairs` of somebody else's.
fn with_index(lookup: &Lookup, name: &str, pairs: &naive::Pairs) -> Lookup {
    let tail = lookup.evidence.tail().to_vec();
    let evidence = match prove(&typed(pairs), &Key::of_name(name)) {
        Proof::Absent(trie) => Evidence::Absent { trie, tail },
        Proof::Present(trie) => Evidence::Present { trie, list: None, tail, entries: Vec::new() },
    };
    Lookup { evidence, ..lookup.clone() }
}

fn with_absence(lookup: &Lookup, trie: Absence) -> Lookup {
    Lookup { evidence: Evidence::Absent { trie, tail: lookup.evidence.tail().to_vec() }, ..lookup.clone() }
}

fn with_list(lookup: &Lookup, new: ListEnd) -> Lookup {
    let mut lookup = lookup.clone();
    if let Evidence::Present { list, entries, .. } = &mut lookup.evidence {
        (*list, *entries) = (Some(new), Vec::new());
    }
    lookup
}

fn presence(log: &Log, name: &str, at: usize) -> Presence {
    let Proof::Present(presence) = prove(&typed(&log.pairs(at)), &Key::of_name(name)) else {
        panic!("it is there")
    };
    presence
}

fn root(log: &Log, at: usize) -> Hash {
    Hash(naive::root(&log.pairs(at)))
}

/// A log whose last entry is `last`, shown as the anchor at the end of the tree.
fn ending_in(last: &[u8]) -> Lookup {
    let mut log = Log::of(&[A, B, A]);
    log.push(last.to_vec());
    log.lookup("a", 4, 3, Some(0))
}

pub(super) fn old_anchor() -> Vec<Case> {
    let log = log();
    let old = log.lookup("c", 8, 3, None);
    let now = log.lookup("c", 8, 6, None);
    let other = |at: usize| format!("{{\"at\":{at}}}").into_bytes();
    vec![
        case(
            "an old anchor under a new checkpoint: c came after it",
            "c",
            log.lookup("c", 4, 3, None),
            old.clone(),
            "a newer anchor with a root is in the tail",
        ),
        case(
            "an old anchor, and no tail",
            "c",
            now.clone(),
            with_tail(&old, Vec::new()),
            "the tail is too short",
        ),
        case(
            "an old anchor, and the tail from the newer one on",
            "c",
            now.clone(),
            with_tail(&old, log.entries[7..].to_vec()),
            "the tail is too short",
        ),
        case(
            "an old anchor, and a tail of other entries",
            "c",
            now,
            with_tail(&old, (4..8).map(other).collect()),
            "the tail is not the end of the tree",
        ),
    ]
}

pub(super) fn spoofed_anchor() -> Vec<Case> {
    let log = log();
    let sound = log.lookup("a", 8, 6, Some(0));
    let without_a: naive::Pairs =
        log.pairs(6).into_iter().filter(|(key, _)| *key != Key::of_name("a").0).collect();
    let right = root(&Log::of(&[A, B, A]), 3);
    let good = ending_in(&anchor(MAP_FN, Some(&right), TreeSize(3)));
    let entry =
        Lookup { anchor: LeafIndex(7), inclusion: log.inclusion(7, 8), ..with_tail(&sound, Vec::new()) };
    let mut again = Log::of(&[A, B, A, Next::Anchor, C]);
    again.push(log.entries[3].clone());
    let (first, second) = (again.lookup("a", 4, 3, None), again.lookup("a", 6, 5, None));
    let second = with_index(&second, "a", &again.pairs(3));
    let spaced = String::from_utf8(anchor(MAP_FN, Some(&right), TreeSize(3))).unwrap().replace(',', ", ");
    vec![
        case(
            "an index that nobody anchored",
            "a",
            sound.clone(),
            with_index(&sound, "a", &without_a),
            "the anchored root is another one",
        ),
        case("an ordinary entry as the anchor", "a", sound.clone(), entry, "not the bytes of the anchor"),
        case("an older anchor, logged once more", "a", first, second, "tree_size is not the index"),
        case(
            "an anchor that says another size",
            "a",
            good.clone(),
            ending_in(&anchor(MAP_FN, Some(&right), TreeSize(2))),
            "tree_size is not the index",
        ),
        case(
            "a void anchor",
            "a",
            good.clone(),
            ending_in(&anchor(MAP_FN, None, TreeSize(3))),
            "the anchor is void",
        ),
        case(
            "an anchor with spaces in it",
            "a",
            good,
            ending_in(spaced.as_bytes()),
            "not the bytes of the anchor",
        ),
    ]
}

pub(super) fn another_map_function() -> Vec<Case> {
    let right = root(&Log::of(&[A, B, A]), 3);
    let anchored = |map_fn: &str| ending_in(&anchor(map_fn, Some(&right), TreeSize(3)));
    vec![
        case(
            "an anchor of another map function",
            "a",
            anchored(MAP_FN),
            anchored("json-field:at"),
            "another map function",
        ),
        case(
            "an anchor of a map function with a longer name",
            "a",
            anchored(MAP_FN),
            anchored("json-field:name2"),
            "another map function",
        ),
    ]
}

pub(super) fn omitted_index() -> Vec<Case> {
    let log = log();
    // Nothing follows the list that could pass for a part of it.
    let sound = with_list(&log.lookup("a", 7, 6, Some(0)), list_end(&indices(&[0, 2, 5]), 0));
    let list = |elements: &[u64]| with_list(&sound, list_end(&indices(elements), 0));
    let mut pairs = log.pairs(6);
    pairs.insert(Key::of_name("a").0, naive::value(&[0, 5]));
    vec![
        case(
            "an index left out of the list",
            "a",
            sound.clone(),
            list(&[0, 5]),
            "the list has fewer elements than count",
        ),
        case(
            "another index in its place",
            "a",
            sound.clone(),
            list(&[0, 1, 5]),
            "the list does not have the root",
        ),
        case("an index twice in its place", "a", sound.clone(), list(&[0, 0, 5]), "the list does not ascend"),
        case(
            "an index left out of list, value and trie",
            "a",
            sound.clone(),
            with_list(&with_index(&sound, "a", &pairs), list_end(&indices(&[0, 5]), 0)),
            "the anchored root is another one",
        ),
    ]
}

pub(super) fn swapped_revision() -> Vec<Case> {
    let log = log();
    let (older, newer) = (log.pairs(3), log.pairs(6));
    let now = |name: &str| log.lookup(name, 8, 6, None);
    let then = |name: &str| log.lookup(name, 6, 3, None);
    let checkpoint =
        Lookup { checkpoint: log.lookup("a", 7, 6, None).checkpoint, ..with_tail(&now("a"), Vec::new()) };
    vec![
        case(
            "presence as of the older revision",
            "a",
            now("a"),
            with_index(&now("a"), "a", &older),
            "the anchored root is another one",
        ),
        case(
            "absence as of the older revision",
            "c",
            now("c"),
            with_index(&now("c"), "c", &older),
            "the anchored root is another one",
        ),
        case(
            "presence as of a newer revision",
            "b",
            then("b"),
            with_index(&then("b"), "b", &newer),
            "the anchored root is another one",
        ),
        case(
            "presence as of a newer revision, of an entry after the anchor",
            "c",
            then("c"),
            with_index(&then("c"), "c", &newer),
            "impossible value",
        ),
        case(
            "the checkpoint of another revision",
            "a",
            log.lookup("a", 7, 6, None),
            checkpoint,
            "the inclusion proof has another length",
        ),
    ]
}

pub(super) fn false_absence() -> Vec<Case> {
    let log = log();
    let (sound, absent) = (log.lookup("a", 8, 6, None), log.lookup("d", 8, 6, None));
    let (a, b) = (presence(&log, "a", 6), presence(&log, "b", 6));
    let claim = |key: Key, value: Value, steps: &Steps| {
        with_absence(&sound, Absence::Other { key, value, steps: steps.clone() })
    };
    let mut near = Key::of_name("a");
    near.0[31] ^= 1;
    let Evidence::Absent { trie: Absence::Other { key, value, steps }, .. } = &absent.evidence else {
        panic!("d is not there")
    };
    vec![
        case(
            "another leaf, and its path",
            "a",
            sound.clone(),
            claim(Key::of_name("b"), b.value, &b.steps),
            "altkey does not equal the key at every listed bit",
        ),
        case(
            "another leaf, and the path of the key",
            "a",
            sound.clone(),
            claim(Key::of_name("b"), b.value, &a.steps),
            "altkey does not equal the key at every listed bit",
        ),
        case(
            "its own leaf",
            "a",
            sound.clone(),
            claim(Key::of_name("a"), a.value, &a.steps),
            "altkey is the key",
        ),
        case(
            "a leaf that is not there, on the path of the key",
            "a",
            sound.clone(),
            claim(near, a.value, &a.steps),
            "the anchored root is another one",
        ),
        case(
            "nothing, as of an empty trie",
            "a",
            sound.clone(),
            with_absence(&sound, Absence::EmptyTrie),
            "the anchored root is another one",
        ),
        case(
            "the proof that another key is absent",
            "a",
            sound.clone(),
            claim(*key, *value, steps),
            "altkey does not equal the key at every listed bit",
        ),
    ]
}

pub(super) fn truncated_list() -> Vec<Case> {
    let log = log();
    let sound = with_list(&log.lookup("a", 7, 6, Some(0)), list_end(&indices(&[0, 2, 5]), 0));
    let last = with_list(&sound, list_end(&indices(&[0, 2, 5]), 2));
    let cut = naive::value(&[0, 2]);
    let mut pairs = log.pairs(6);
    pairs.insert(Key::of_name("a").0, cut);
    let shorter = with_list(&with_index(&sound, "a", &pairs), list_end(&indices(&[0, 2]), 0));
    let as_whole = with_list(&sound, list_end(&indices(&[2, 5]), 0));
    let foreign = list_end(&indices(&[0, 1, 5]), 2);
    let behind = ListEnd { before: list_end(&indices(&[0, 2, 5, 7]), 3).before, indices: Vec::new() };
    vec![
        case("the newest index cut off", "a", sound.clone(), shorter, "the anchored root is another one"),
        case(
            "the end of the list as all of it",
            "a",
            sound.clone(),
            as_whole,
            "the list has fewer elements than count",
        ),
        case(
            "the end of the list after other elements",
            "a",
            last.clone(),
            with_list(&last, foreign),
            "the list does not have the root",
        ),
        case(
            "the end of the list without an element",
            "a",
            last.clone(),
            with_list(&last, behind),
            "start is not below count",
        ),
    ]
}

pub(super) fn hidden_anchor() -> Vec<Case> {
    let log = log();
    let old = log.lookup("c", 8, 3, None);
    let now = log.lookup("c", 8, 6, None);
    let replaced = |by: Vec<u8>| {
        let mut tail = log.entries[4..].to_vec();
        tail[2] = by;
        with_tail(&old, tail)
    };
    let ends_in = |last: &[u8]| {
        let mut log = Log::of(&[A, Next::Anchor, Next::Void, B]);
        log.push(last.to_vec());
        log.lookup("b", 5, 1, None)
    };
    let harmless = ends_in(b"{}");
    let newer = |map_fn: &str, size: u64| ends_in(&anchor(map_fn, Some(&root(&log, 3)), TreeSize(size)));
    let reason = "a newer anchor with a root is in the tail";
    vec![
        case(
            "a void anchor in place of the newer one",
            "c",
            now.clone(),
            replaced(anchor(MAP_FN, None, TreeSize(6))),
            "the tail is not the end of the tree",
        ),
        case(
            "an entry in place of the newer anchor",
            "c",
            now.clone(),
            replaced(b"{\"name\":\"c\"}".to_vec()),
            "the tail is not the end of the tree",
        ),
        case(
            "the newer anchor with a space in it",
            "c",
            now,
            replaced([&log.entries[6][..], b" "].concat()),
            "the tail is not the end of the tree",
        ),
        case("a newer anchor behind a void one", "b", harmless.clone(), newer(MAP_FN, 4), reason),
        case("a newer anchor of another map function", "b", harmless.clone(), newer("conda-1", 4), reason),
        case("a newer anchor that says another size", "b", harmless, newer(MAP_FN, 1), reason),
    ]
}

/// Entries with `"name":"a"` at their end, which some parsers read and others do not, or differently.
fn odd_entries() -> Vec<(&'static str, Vec<u8>)> {
    let plain = |text: &str| text.as_bytes().to_vec();
    let deep = format!("{{\"x\":{}{},\"name\":\"a\"}}", "[".repeat(64), "]".repeat(64));
    vec![
        ("a name twice", plain(r#"{"name":"b","name":"a"}"#)),
        ("a name twice, once with an escape", plain(r#"{"n\u0061me":"b","name":"a"}"#)),
        ("a name twice further down", plain(r#"{"x":{"y":1,"y":2},"name":"a"}"#)),
        ("half of a surrogate pair", plain(r#"{"x":"\ud800","name":"a"}"#)),
        ("a byte order mark", plain("\u{feff}{\"name\":\"a\"}")),
        ("a space that is none of JSON's", plain("\u{a0}{\"name\":\"a\"}")),
        ("two values", plain(r#"{}{"name":"a"}"#)),
        ("a comment", plain(r#"{/**/"name":"a"}"#)),
        ("a comma too many", plain(r#"{"x":1,,"name":"a"}"#)),
        ("single quotes", plain(r#"{'x':1,"name":"a"}"#)),
        ("a number with a leading zero", plain(r#"{"x":01,"name":"a"}"#)),
        ("not a number", plain(r#"{"x":NaN,"name":"a"}"#)),
        ("a tab in a string", plain("{\"x\":\"\t\",\"name\":\"a\"}")),
        ("bytes that are not UTF-8", [&b"{\"x\":\"\xff"[..], b"\",\"name\":\"a\"}"].concat()),
        ("an overlong spelling of a letter", [&b"{\"x\":\"\xc1\xa1"[..], b"\",\"name\":\"a\"}"].concat()),
        ("arrays nested too deep", plain(&deep)),
        ("a name further down", plain(r#"[{"name":"a"}"#)),
    ]
}

/// A log that lists such an entry under the name that some parsers would find: the entry refutes it.
pub(super) fn odd_json() -> Vec<Case> {
    let listed = |entry: &[u8]| {
        let mut log = Log::new();
        log.push(entry.to_vec());
        log.push(anchor(MAP_FN, Some(&root(&log, 1)), TreeSize(1)));
        log.lookup("a", 2, 1, Some(0))
    };
    let sound = listed(br#"{"name":"a"}"#);
    let attack = |(shows, entry): (&str, Vec<u8>)| {
        case(
            &format!("a listed entry with {shows}"),
            "a",
            sound.clone(),
            listed(&entry),
            "the entry is of another key",
        )
    };
    odd_entries().into_iter().map(attack).collect()
}

/// What must be accepted: who refuses it, or reads it otherwise, could be kept from the truth.
pub(super) fn accepted() -> Vec<(&'static str, Lookup, u64)> {
    let with_tail = |tail: Vec<Vec<u8>>| {
        let mut log = Log::of(&[A, Next::Anchor]);
        tail.into_iter().for_each(|entry| log.push(entry));
        log.lookup("a", log.entries.len(), 1, Some(0))
    };
    let plain = |text: &str| text.as_bytes().to_vec();
    let anchor_of = |text: &str| text.replace("ROOT", &root(&Log::of(&[A]), 1).to_string()).into_bytes();
    let odd = odd_entries().into_iter().map(|(_, entry)| entry).collect();
    let fine = [
        r#"{"n\u0061me":"a"}"#,
        r#"{"name":"\u0061"}"#,
        " {\"name\" : \"a\"}\r\n",
        r#"{"x":1e999,"y":-0,"z":123456789012345678901234567890,"name":"a"}"#,
        r#"{"NAME":"b","name":"a"}"#,
        r#"{"x":{"name":"b"},"name":"a"}"#,
    ];
    let no_anchors = [
        r#"{"map_fn":"json-field:name", "root":"ROOT","tree_size":2,"type":"vindex-root","v":1}"#,
        r#"{"map_fn":"json-field:name","root":"ROOT","tree_size":2,"type":"vindex-root","v":2}"#,
        r#"{"map_fn":"json-field:name","root":"ROOT","tree_size":2.0,"type":"vindex-root","v":1}"#,
        r#"{"map_fn":"json-field:name","root":"ROOT","tree_size":9007199254740992,"type":"vindex-root","v":1}"#,
        r#"{"map_fn":"json-field:name","name":"a","root":"ROOT","tree_size":2,"type":"vindex-root","v":1}"#,
        r#"{"root":"ROOT","tree_size":2,"type":"vindex-root","v":1}"#,
    ];
    let silent = vec![
        anchor(MAP_FN, None, TreeSize(2)),
        anchor("conda-1", None, TreeSize(9)),
        disavow(&[LeafIndex(1)]),
    ];
    let all = [
        ("a tail of entries that parsers read differently: none is a hit", odd, 1),
        ("a tail of entries that are spelled oddly, and all mean the same", fine.map(plain).to_vec(), 7),
        (
            "a tail of what only looks like an anchor: one of them is an entry",
            no_anchors.map(anchor_of).to_vec(),
            2,
        ),
        ("void anchors and a disavowal in the tail", silent, 1),
    ];
    all.map(|(shows, tail, count)| (shows, with_tail(tail), count)).to_vec()
}
