//! The attacks of the spec page (§12.12) that a log makes on its own index: the audit finds them too.

use std::{collections::BTreeMap, path::Path};

use base64ct::{Base64, Encoding};
use glasslog_core::LeafIndex;
use glasslog_vindex::{Evidence, Key, Lookup, Misbehaviour};

use crate::{
    convict::convict,
    forged::{Log, held},
};

/// The entries that `vindex-attacks.txt` has a log list under a name that only some parsers find in them.
fn odd_entries() -> Vec<(String, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/vindex-attacks.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let value = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap_or_default()
    };
    let of_block = |block: &str| {
        let shows = value(block, "shows: ");
        if !shows.starts_with("a listed entry with ") {
            return None;
        }
        let lookup = Lookup::parse(&Base64::decode_vec(&value(block, "lookup: ")).unwrap()).unwrap();
        let Evidence::Present { entries, .. } = lookup.evidence else { panic!("{shows}: absent") };
        Some((shows, entries[0].entry.clone()))
    };
    text.split("\n\n").filter_map(of_block).collect()
}

#[test]
fn a_log_whose_parser_reads_more_than_the_page_allows_is_convicted() {
    let odd = odd_entries();
    assert!(odd.len() >= 16, "{} odd entries", odd.len());
    for (shows, entry) in odd {
        let log = |listed: bool| {
            let mut log = Log::new();
            log.push(entry.clone());
            log.anchor_with(|index| {
                *index = BTreeMap::new();
                if listed {
                    index.insert(Key::of_name("a"), held(vec![LeafIndex(0)]));
                }
            });
            log
        };
        let (proof, what, _) = convict(&log(true));
        assert_eq!((proof.anchor, what), (LeafIndex(1), Misbehaviour::Foreign), "{shows}");
        let honest = log(false).audited();
        assert_eq!((honest.report().wrong, honest.report().unmapped), (0, 1), "{shows}");
    }
}

/// What only looks like an anchor is an entry, which nothing rests on.
#[test]
fn an_anchor_with_a_space_in_it_is_none() {
    let mut log = Log::new();
    log.name("a");
    log.anchor_with(BTreeMap::clear);
    let anchor = log.entries.pop().unwrap();
    log.leaves.pop();
    log.push([&anchor[..], b" "].concat());
    log.anchor();
    let audit = log.audited();
    assert_eq!((audit.report().wrong, audit.report().anchors), (0, 1));
}
