//! What is served is judged by `glasslog_vindex::Lookup::verify`, with what a verifier pins, and by a map from names to the
//! indices that the entries got.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says so by failing")]

mod bench;

use std::sync::atomic::{AtomicBool, AtomicUsize};

use glasslog_core::{
    anchor::anchor,
    note::{Algorithm, Ed25519Signer, SecretKey, sign},
};
use glasslog_vindex::{Answer, Evidence, List};
use proptest::prelude::*;

use self::bench::{Bench, key, open_index, verified};
use super::*;

#[tokio::test]
async fn of_an_empty_log_the_checkpoint_says_all() {
    let bench = Bench::new().await;
    assert_eq!((bench.pair().size(), bench.pair().anchor()), (TreeSize::ZERO, None));
    bench.check_all();
    bench.served().withdraw("it is built");
    bench.check_all();
}

/// The publisher and the indexer speak in any order.
#[tokio::test]
async fn an_anchor_and_its_checkpoint_make_a_pair_in_either_order() {
    let mut bench = Bench::new().await;
    bench.add(&["a", "b", "a"]).await;
    bench.is_published().await;
    assert_eq!(bench.pair().size(), TreeSize::ZERO, "nothing is anchored yet");
    let (at, revision) = bench.anchor().await;
    bench.is_published().await;
    assert_eq!(bench.pair().size(), TreeSize::ZERO, "nobody has said what is anchored");
    bench.served().anchored(at, revision);
    assert_eq!((bench.pair().size(), bench.pair().anchor().unwrap().0), (TreeSize(4), LeafIndex(3)));
    bench.check_all();

    bench.add(&["c"]).await;
    let (at, revision) = (bench.next(), bench.revision());
    bench.served().anchored(LeafIndex(at.0), Arc::clone(&revision));
    assert!(bench.pair().anchor().unwrap().0 < LeafIndex(at.0), "it is not public");
    bench.push(vec![anchor("json-field:k", Some(&revision.root()), at)]).await;
    bench.is_published().await;
    assert_eq!(bench.pair().anchor().unwrap().0, LeafIndex(at.0));
    bench.check_all();
}

#[tokio::test]
async fn the_tail_is_served_with_the_anchor_before_it() {
    let mut bench = Bench::new().await;
    bench.add(&["a", "b"]).await;
    bench.anchor_and_tell().await;
    for round in 0..3 {
        bench.add(&["a", "c"]).await;
        bench.void_anchor().await;
        bench.push(vec![format!("no name {round}").into_bytes()]).await;
        bench.is_published().await;
        let pair = bench.pair();
        assert_eq!((pair.size(), pair.anchor().unwrap().0), (bench.next(), LeafIndex(2)));
        bench.check_all();
    }
    bench.anchor_and_tell().await;
    assert_eq!(bench.pair().anchor().unwrap().0.0, bench.next().0 - 1);
    bench.check_all();
}

#[tokio::test]
async fn beyond_the_limits_of_a_tail_the_last_pair_stays() {
    let mut bench = Bench::new().await;
    bench.add(&["a"]).await;
    bench.anchor_and_tell().await;
    let names: Vec<String> = (0..4096).map(|n| format!("n{}", n % 700)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    bench.add(&names).await;
    bench.is_published().await;
    assert_eq!(bench.pair().size(), bench.next(), "4,096 entries are a tail");
    bench.verified(&bench.pair(), "n3", &Wanted { list: 2, entries: 2 });
    let at_the_limit = bench.next();
    bench.add(&["a"]).await;
    bench.is_published().await;
    assert_eq!(bench.pair().size(), at_the_limit, "4,097 are not");
    bench.verified(&bench.pair(), "a", &Wanted::default());
    bench.anchor_and_tell().await;
    assert_eq!(bench.pair().size(), bench.next());
    bench.verified(&bench.pair(), "a", &Wanted { list: 1000, entries: 0 });

    // 64 entries of 65,535 bytes are 64 bytes less than 4 MiB.
    let large = |n: u8| vec![n; 65_535];
    for chunk in (0..64).collect::<Vec<u8>>().chunks(16) {
        bench.push(chunk.iter().copied().map(large).collect()).await;
    }
    bench.push(vec![vec![b'x'; 64]]).await;
    bench.is_published().await;
    assert_eq!(bench.pair().size(), bench.next(), "4 MiB are a tail");
    bench.verified(&bench.pair(), "a", &Wanted::default());
    let at_the_limit = bench.next();
    bench.push(vec![vec![b'x']]).await;
    bench.is_published().await;
    assert_eq!(bench.pair().size(), at_the_limit, "a byte more is not");
    bench.verified(&bench.pair(), "a", &Wanted::default());
}

/// A question costs a bounded number of bytes to read, wherever the entries stand.
#[tokio::test]
async fn entries_among_long_ones_are_given_as_far_as_little_is_read() {
    let mut bench = Bench::new().await;
    for bundle in 0..4_u8 {
        bench.add(&["a"]).await;
        for part in 0..15 {
            let long = (0..17).map(|n| [bundle, part, n].repeat(21_845)).collect();
            bench.push(long).await;
            bench.is_published().await;
        }
    }
    bench.anchor_and_tell().await;
    let verified = bench.verified(&bench.pair(), "a", &Wanted { list: 1000, entries: 64 });
    let Answer::Present(present) = verified.answer() else { panic!("absent") };
    let given: Vec<u64> = present.entries.iter().map(|(index, _)| index.0).collect();
    assert_eq!((&present.indices.len(), given), (&4, vec![256, 512, 768]), "two bundles are not yet 32 MiB");
}

/// Nobody may be shown an old anchor under a tree that has a newer one, whatever the indexer has said so far.
#[tokio::test]
async fn an_older_anchor_is_never_served_under_a_newer_one() {
    let mut bench = Bench::new().await;
    let mut anchors = Vec::new();
    for _ in 0..5 {
        bench.add(&["a", "b"]).await;
        anchors.push(bench.anchor().await);
        bench.void_anchor().await;
    }
    bench.is_published().await;
    let newest = anchors.last().unwrap().0;
    for (at, revision) in anchors {
        assert_eq!(bench.pair().size(), TreeSize::ZERO);
        bench.served().anchored(at, revision);
    }
    assert_eq!((bench.pair().size(), bench.pair().anchor().unwrap().0), (bench.next(), newest));
    bench.check_all();
}

#[tokio::test]
async fn after_a_restart_the_pair_comes_with_its_anchor() {
    let mut bench = Bench::new().await;
    bench.add(&["a", "b"]).await;
    let (at, revision) = bench.anchor().await;
    bench.add(&["a"]).await;
    bench.is_published().await;
    let bench = bench.restarted().await;
    assert!(bench.log.served().is_none());
    bench.served().anchored(at, revision);
    assert_eq!(bench.pair().size(), bench.next());
    bench.check_all();
}

#[tokio::test]
async fn more_cosignatures_change_the_note_alone() {
    let mut bench = Bench::new().await;
    bench.add(&["a"]).await;
    bench.anchor_and_tell().await;
    let before = bench.pair();
    let witness = SecretKey::from_seed("witness.example/w", Algorithm::Ed25519, &[9; 32]).unwrap();
    let note = std::str::from_utf8(before.note()).unwrap();
    let (text, _) = note.split_once("\n\n").unwrap();
    let (own, other) = (Ed25519Signer::new(&key()), Ed25519Signer::new(&witness));
    let signed_twice = sign(&format!("{text}\n"), &[&own, &other]).unwrap();
    assert_ne!(signed_twice, note);
    bench.served().published(SizedNote { size: before.size(), note: signed_twice.clone().into() });
    let after = bench.pair();
    assert_eq!(after.note(), signed_twice.as_bytes());
    assert!(Arc::ptr_eq(&after.anchored().unwrap(), &before.anchored().unwrap()));
    bench.check_all();
    // What is smaller came late.
    bench.served().published(SizedNote { size: TreeSize(1), note: signed_twice.into() });
    assert_eq!(bench.pair().size(), before.size());
}

#[tokio::test]
async fn an_index_that_is_not_the_anchored_one_is_never_served() {
    let mut bench = Bench::new().await;
    bench.add(&["a", "b"]).await;
    bench.anchor_and_tell().await;
    bench.add(&["c"]).await;
    let (at, right) = bench.anchor().await;
    bench.is_published().await;
    let mut other = open_index(&bench.dir, "other");
    for index in 0..at.0 {
        other.apply(LeafIndex(index), &[Key::of_name("a")]).unwrap();
    }
    bench.served().anchored(at, other.revision().unwrap());
    assert!(bench.log.served().is_none());
    assert!(bench.served().take_corruption().unwrap().contains("not anchored at 4"));
    assert!(bench.served().take_corruption().is_none(), "it is told once");
    assert_eq!(bench.log.serving().corruptions, 1);
    bench.served().anchored(at, right);
    assert!(bench.log.serving().withdrawn.is_none());
    bench.check_all();
}

#[tokio::test]
async fn what_a_reader_finds_damaged_is_withdrawn_once() {
    let mut bench = Bench::new().await;
    bench.add(&["a"]).await;
    bench.anchor_and_tell().await;
    let (pair, hints) = (bench.pair(), bench.log.hints());
    assert!(hints.is_some());
    let damaged = || Err::<(), _>(IndexReadError::Corrupt("a bit is flipped".into()));
    let _ = bench.log.reported(pair.generation(), damaged());
    assert!(bench.log.served().is_none() && bench.log.hints().is_none());
    assert_eq!(bench.served().take_corruption().as_deref(), Some("a bit is flipped"));
    assert_eq!(bench.log.serving().withdrawn.as_deref(), Some("a bit is flipped"));
    // Somebody still reads from the former one.
    let _ = bench.log.reported(pair.generation(), damaged());
    assert!(bench.served().take_corruption().is_none());
    assert_eq!(bench.log.serving().corruptions, 1);

    let revision = bench.revision();
    bench.served().hint(revision);
    let hints = bench.log.hints().unwrap();
    let page = bench.log.hinted_page(&hints, &Key::of_name("a"), 0, 10).unwrap();
    assert_eq!((hints.size(), page.indices), (bench.next(), vec![LeafIndex(0)]));
    bench.add(&["a"]).await;
    bench.anchor_and_tell().await;
    bench.check_all();
}

/// Pages of any size, and a client that believes them by the value proven last.
#[tokio::test]
async fn pages_are_the_list() {
    let mut bench = Bench::new().await;
    bench.add(&["a", "b", "a", "a", "a", "b", "a"]).await;
    bench.anchor_and_tell().await;
    bench.add(&["a", "c", "a"]).await;
    bench.is_published().await;
    let pair = bench.pair();
    for name in ["a", "b", "c", "none"] {
        let key = Key::of_name(name);
        let expected = bench.model.get(name).cloned().unwrap_or_default();
        for (limit, list) in [(1, 1), (2, 1), (3, 1000), (10, 2), (1000, 1000), (2, 0)] {
            let found =
                bench.log.lookup(&pair, Question::Key(key), &key, &Wanted { list, entries: 0 }).unwrap();
            let (mut start, mut all, mut folded) = (Some(0), Vec::new(), List::new());
            while let Some(from) = start {
                let page = bench.log.page(&pair, &key, &found, from, limit).unwrap();
                assert_eq!(
                    (page.count, page.last.map(|last| last.0)),
                    (expected.len() as u64, expected.last().copied())
                );
                assert!(page.indices.len() <= limit && page.start == from);
                start = page.next();
                assert!(start.is_none() || page.indices.len() == limit);
                let anchored = page.indices.iter().take_while(|index| index.0 < pair.anchor().unwrap().0.0);
                anchored.for_each(|index| folded.push(*index).unwrap());
                all.extend(page.indices.iter().map(|index| index.0));
            }
            assert_eq!(all, expected, "{name}");
            let value = bench.verified(&pair, name, &Wanted::default()).value().copied();
            assert_eq!(folded.value(), value, "{name}");
            let beyond = bench.log.page(&pair, &key, &found, u64::MAX, limit).unwrap();
            assert_eq!((beyond.indices, beyond.start), (Vec::new(), u64::MAX));
        }
    }
}

#[tokio::test]
async fn entries_come_with_their_proofs() {
    let mut bench = Bench::new().await;
    bench.add(&["a"; 300]).await;
    bench.add(&[""]).await;
    bench.anchor_and_tell().await;
    let pair = bench.pair();
    // Of 300 = 256 + 32 + 8 + 4 elements the last 12 can be shown without reading those before.
    for (list, entries, expected) in [(0, 64, 1), (12, 64, 12), (1000, 64, 64), (1000, 2, 2), (5, 0, 0)] {
        let verified = bench.verified(&pair, "a", &Wanted { list, entries });
        let Answer::Present(present) = verified.answer() else { panic!("absent") };
        assert_eq!(present.entries.len(), expected, "{list} {entries}");
        assert!(present.entries.last().is_none_or(|(index, _)| index.0 == 299), "the newest ones");
    }
    bench.verified(&pair, "", &Wanted { list: 1, entries: 1 });

    // Of 20 with 60,000 bytes each, 17 are at most 1 MiB.
    let long = "x".repeat(60_000);
    let at = bench.next().0;
    bench.model.insert("long".into(), (at..at + 20).collect());
    let entries = (0..20).map(|n| format!("{{\"k\":\"long\",\"n\":{n},\"x\":\"{long}\"}}").into_bytes());
    bench.push(entries.collect()).await;
    bench.anchor_and_tell().await;
    let verified = bench.verified(&bench.pair(), "long", &Wanted { list: 1000, entries: 64 });
    let Answer::Present(present) = verified.answer() else { panic!("absent") };
    assert_eq!(present.entries.len(), 17);
}

/// Readers look up all the time while entries and anchors come: each answer verifies, and the tree never shrinks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_verifies_while_the_log_grows() {
    let mut bench = Bench::new().await;
    bench.add(&["a"]).await;
    bench.anchor_and_tell().await;
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let readers: Vec<_> = ["a", "b", "never"]
        .into_iter()
        .map(|name| {
            let (log, stop, seen) = (bench.log.clone(), Arc::clone(&stop), Arc::clone(&seen));
            std::thread::spawn(move || {
                let (mut size, mut count) = (TreeSize::ZERO, 0);
                while !stop.load(Ordering::Relaxed) {
                    let pair = log.served().unwrap();
                    assert!(pair.size() >= size, "{name}");
                    size = pair.size();
                    let verified = verified(&log, &pair, name, &Wanted { list: 8, entries: 2 });
                    if let Answer::Present(present) = verified.answer() {
                        assert!(present.count >= count);
                        count = present.count;
                    }
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..120 {
        bench.add(&["a", "b", "c"]).await;
        match round % 3 {
            0 => bench.void_anchor().await,
            1 => {
                let (at, revision) = bench.anchor().await;
                bench.served().anchored(at, revision);
            }
            _ => bench.anchor_and_tell().await,
        }
        if round % 10 == 0 {
            let before = seen.load(Ordering::Relaxed);
            while seen.load(Ordering::Relaxed) < before + 3
                && readers.iter().all(|reader| !reader.is_finished())
            {
                tokio::task::yield_now().await;
            }
        }
    }
    bench.is_published().await;
    stop.store(true, Ordering::Relaxed);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    bench.check_all();
}

/// Tiles that do not lead to the signed root stop the log, as they do when a proof is asked for.
#[tokio::test]
async fn a_bundle_that_is_not_in_the_tree_stops_the_log() {
    let mut bench = Bench::new().await;
    bench.add(&["a", "b"]).await;
    bench.anchor_and_tell().await;
    let pair = bench.pair();
    bench.stores.objects.remove(&["tile/entries/000.p/3".into()]).unwrap();
    let (key, wanted) = (Key::of_name("a"), Wanted { list: 1, entries: 1 });
    let read = bench.log.lookup(&pair, Question::Key(key), &key, &wanted);
    assert!(matches!(read, Err(IndexReadError::Read(ReadError::Contradiction(_)))));
    assert!(bench.workers.failed().await.contains("bundle"));
    let without = bench.log.lookup(&pair, Question::Key(key), &key, &Wanted { list: 1, entries: 0 }).unwrap();
    assert!(matches!(without.evidence, Evidence::Present { .. }));
}

/// What may happen to a log with an index.
#[derive(Clone, Copy, Debug)]
enum Event {
    Add(usize),
    Anchor,
    /// The indexer says what is anchored, of which nothing was said so far.
    Tell,
    Void,
    Withdraw,
    Corrupt,
    Restart,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..5_usize).prop_map(Event::Add),
        4 => Just(Event::Anchor),
        4 => Just(Event::Tell),
        2 => Just(Event::Void),
        1 => Just(Event::Withdraw),
        1 => Just(Event::Corrupt),
        1 => Just(Event::Restart),
    ]
}

/// Whatever happens: what is served verifies and is right as of its tree, which shrinks only with the index; and it is the
/// newest public tree once the indexer has said what its newest anchor with a root stands for.
async fn hold_through(events: Vec<Event>) {
    let mut bench = Bench::new().await;
    let (mut anchors, mut told, mut size) = (Vec::new(), 0, TreeSize::ZERO);
    for event in events {
        match event {
            Event::Add(number) => bench.add(&["a", "b", "a", "c"][..number]).await,
            Event::Anchor => {
                let anchor = bench.anchor().await;
                anchors.push(anchor);
            }
            Event::Tell => {
                for (at, revision) in anchors.iter().skip(told) {
                    bench.served().anchored(*at, Arc::clone(revision));
                }
                told = anchors.len();
            }
            Event::Void => bench.void_anchor().await,
            Event::Withdraw => bench.served().withdraw("it is built again"),
            Event::Corrupt => {
                if let Some(pair) = bench.log.served() {
                    let _ = bench
                        .log
                        .reported(pair.generation(), Err::<(), _>(IndexReadError::Corrupt(String::new())));
                }
            }
            Event::Restart => bench = bench.restarted().await,
        }
        if matches!(event, Event::Withdraw | Event::Corrupt | Event::Restart) {
            (told, size) = (0, TreeSize::ZERO);
        }
        bench.is_published().await;
        let served = bench.log.served();
        assert!(served.as_ref().is_none_or(|pair| pair.size() >= size));
        size = served.as_ref().map_or(TreeSize::ZERO, |pair| pair.size());
        if served.is_some() {
            bench.check_all();
        }
        if told == anchors.len() && told > 0 {
            assert_eq!(size, bench.next(), "after {event:?}");
            assert_eq!(bench.pair().anchor().unwrap().0, anchors[told - 1].0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens_what_is_served_is_right(events in prop::collection::vec(any_event(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(hold_through(events));
    }
}
