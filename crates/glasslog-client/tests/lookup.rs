//! Inquiries and lists in pages, against a forged log: what is there is believed, and nothing else.
#![expect(clippy::unwrap_used, reason = "clippy spares functions marked #[test], and not what they call")]

mod forge;

use forge::{LIST, Log, ORIGIN, page_of};
use glasslog_client::{
    lookup::{
        AnswerError, Answered, AskError, Inquiry, Wanted,
        list::{ListReader, PageError, WholeList},
    },
    pin::Pins,
};
use glasslog_core::{
    LeafIndex, TreeSize,
    anchor::anchor,
    checkpoint::CheckpointError,
    merkle::CompactRange,
    note::{Algorithm, SecretKey},
    policy::Policy,
};
use glasslog_vindex::{Answer, Evidence, JsonField, Key, Lookup, LookupError, MapFunction, Question};

const NOW: u64 = 1_800_000_000;

fn map_fn() -> JsonField {
    JsonField::new("name").unwrap()
}

fn entry(name: &str, number: usize) -> String {
    format!(r#"{{"name":"{name}","n":{number}}}"#)
}

fn question(name: &str) -> Question {
    Question::Name { kind: String::new(), name: name.into() }
}

fn pins(log: &Log<'_>) -> Pins {
    Pins::of_policy(Policy::parse(log.policy().as_bytes()).unwrap(), &[])
}

/// `a` at 0, 2, 4 …, 2(n−1) with others between, an anchor, and `a` once more in the tail.
fn log_of(map_fn: &JsonField, n: usize) -> (Log<'_>, usize) {
    let mut log = Log::new(map_fn);
    for number in 0..n {
        log.push(entry("a", number));
        log.push(entry("b", number));
    }
    let at = log.anchor();
    log.push(entry("a", n));
    (log, at)
}

fn open(log: &Log<'_>, map_fn: &JsonField, name: &str, lookup: &Lookup) -> Result<Answered, AnswerError> {
    let pins = pins(log);
    Inquiry::of_name(&pins, map_fn, None, name).unwrap().open(lookup.to_text().as_bytes(), NOW)
}

fn honest(log: &Log<'_>, name: &str, at: usize) -> Lookup {
    log.lookup(&question(name), log.size(), at, LIST, 64, Some(NOW))
}

#[test]
fn paths_name_what_is_asked() {
    struct Kinds;
    impl MapFunction for Kinds {
        fn name(&self) -> &str {
            "kinds"
        }
        fn kinds(&self) -> &'static [&'static str] {
            &["path", "name"]
        }
        fn map(&self, _: &[u8], _: &mut Vec<Key>) {}
    }
    let fields = map_fn();
    let log = Log::new(&fields);
    let pins = pins(&log);
    let wanted = Wanted { list: 7, entries: 3 };
    let path = |map_fn: &dyn MapFunction, kind, name: &str| {
        Inquiry::of_name(&pins, map_fn, kind, name).map(|inquiry| inquiry.path(wanted))
    };
    assert_eq!(
        path(&fields, None, "a b/ü&"),
        Ok("vindex/lookup?key=a%20b%2F%C3%BC%26&limit=7&entries=3".into())
    );
    assert_eq!(path(&Kinds, None, ""), Ok("vindex/lookup?kind=path&key=&limit=7&entries=3".into()));
    assert_eq!(
        path(&Kinds, Some("name"), "-._~"),
        Ok("vindex/lookup?kind=name&key=-._~&limit=7&entries=3".into())
    );
    assert!(matches!(path(&Kinds, Some("x"), "a"), Err(AskError::Kind(_))));
    assert!(matches!(path(&fields, Some("x"), "a"), Err(AskError::Kind(_))));
    // Too long for an address: the key alone.
    let long = "x".repeat(65_535);
    assert_eq!(
        path(&fields, None, &long),
        Ok(format!("vindex/lookup/{}?limit=7&entries=3", Key::of_name(&long)))
    );
    assert_eq!(path(&fields, None, &"x".repeat(65_536)), Err(AskError::NameTooLong(65_536)));
}

#[test]
fn one_log_is_asked() {
    let fields = map_fn();
    let (log, at) = log_of(&fields, 1);
    let other = SecretKey::from_seed("other.example", Algorithm::Ed25519, &[9; 32]).unwrap();
    let both = [log.vkey().clone(), other.verifier_key().clone()];
    let of = |keys: &[_]| Pins::of_keys(keys);
    assert_eq!(Inquiry::of_name(&of(&both), &fields, None, "a").err(), Some(AskError::ManyLogs));
    let pins = of(&both[1..]);
    let inquiry = Inquiry::of_name(&pins, &fields, None, "a").unwrap();
    let file = honest(&log, "a", at).to_text();
    assert_eq!(
        inquiry.open(file.as_bytes(), NOW).err(),
        Some(AnswerError::Checkpoint(CheckpointError::UnknownLog(ORIGIN.into())))
    );
    assert_eq!(of(&both[..1]).origin(), Some(ORIGIN));
}

#[test]
fn an_answer_is_believed_if_it_is_the_answer() {
    let fields = map_fn();
    let (log, at) = log_of(&fields, 3);
    let found = open(&log, &fields, "a", &honest(&log, "a", at)).unwrap();
    let Answer::Present(present) = found.verified.answer() else { panic!("present") };
    assert_eq!((present.count, present.last), (4, LeafIndex(7)));
    assert_eq!(present.entries.len(), 4);
    assert_eq!(open(&log, &fields, "c", &honest(&log, "c", at)).unwrap().verified.answer(), &Answer::Absent);

    // The question in the file is nobody's proof: it is written as it was asked.
    let mut by_key = honest(&log, "a", at);
    by_key.question = Question::Key(Key::of_name("a"));
    assert_eq!(open(&log, &fields, "a", &by_key).unwrap().lookup.question, question("a"));
    by_key.question = Question::Key(Key::of_name("b"));
    assert!(matches!(
        open(&log, &fields, "a", &by_key),
        Err(AnswerError::Lookup(LookupError::OtherQuestion))
    ));

    // A log's checkpoint without its witness; one with a witness from the future.
    for time in [None, Some(NOW + 301)] {
        let lookup = log.lookup(&question("a"), log.size(), at, LIST, 0, time);
        let found = open(&log, &fields, "a", &lookup);
        assert!(matches!(found, Err(AnswerError::Lookup(LookupError::Quorum { .. }))), "{found:?}");
    }
}

/// Each is what a lying server could send, and is refused for that reason alone.
#[test]
fn lies_are_refused() {
    let fields = map_fn();
    let (mut log, at) = log_of(&fields, 3);
    let refused = |log: &Log<'_>, lookup: &Lookup| match open(log, &fields, "a", lookup).err() {
        Some(AnswerError::Lookup(error)) => error,
        other => panic!("{other:?}"),
    };
    // Absence claimed by the answer to another name.
    let mut absent = honest(&log, "c", at);
    absent.question = question("a");
    assert!(matches!(refused(&log, &absent), LookupError::Trie(_) | LookupError::Anchor { .. }));
    // A list in which something else stands for an element; one that hides how much comes before.
    let mut other = honest(&log, "a", at);
    let Evidence::Present { list: Some(list), .. } = &mut other.evidence else { panic!("present") };
    list.indices[0] = LeafIndex(1);
    assert_eq!(refused(&log, &other), LookupError::List);
    let mut hiding = log.lookup(&question("a"), log.size(), at, 1, 0, Some(NOW));
    if let Evidence::Present { list: Some(list), trie, .. } = &mut hiding.evidence {
        list.before = CompactRange::new();
        trie.value.count = 1;
    }
    assert!(matches!(refused(&log, &hiding), LookupError::Anchor { .. }));
    // The tail without its last entry.
    let mut cut = honest(&log, "a", at);
    if let Evidence::Present { tail, .. } = &mut cut.evidence {
        tail.pop();
    }
    assert!(matches!(refused(&log, &cut), LookupError::TailLength { .. }));
    // An old anchor under a new checkpoint; a new one hidden in the tail is the same.
    log.anchor();
    assert!(matches!(refused(&log, &honest(&log, "a", at)), LookupError::NewerAnchor(_)));
    // The index of another revision.
    let mut other = honest(&log, "a", at);
    other.anchor = LeafIndex(at as u64 + 2);
    other.inclusion = log.inclusion(at + 2, log.size());
    if let Evidence::Present { tail, .. } = &mut other.evidence {
        tail.clear();
    }
    assert!(matches!(refused(&log, &other), LookupError::Anchor { .. }));
    // An index of another map function.
    let mut second = Log::new(&fields);
    second.push(entry("a", 0));
    second.push(anchor("json-field:n", Some(&second.index_root(1)), TreeSize(1)));
    let lookup = second.lookup(&question("a"), 2, 1, LIST, 0, Some(NOW));
    assert!(matches!(refused(&second, &lookup), LookupError::Anchor { .. }));
}

/// Every byte of an answer: altered, it is refused or (where no meaning hangs on it) says the same.
#[test]
fn an_altered_byte_changes_no_answer() {
    let fields = map_fn();
    let (log, at) = log_of(&fields, 2);
    let pins = pins(&log);
    let inquiry = Inquiry::of_name(&pins, &fields, None, "a").unwrap();
    let file = honest(&log, "a", at).to_text().into_bytes();
    let truth = inquiry.open(&file, NOW).unwrap().verified;
    for place in 0..file.len() {
        let mut altered = file.clone();
        altered[place] ^= 1;
        if let Ok(found) = inquiry.open(&altered, NOW) {
            assert_eq!(found.verified.answer(), truth.answer(), "byte {place}");
        }
        assert!(inquiry.open(&file[..place], NOW).is_err(), "cut at {place}");
    }
}

/// Reads pages of `limit` elements until the list is whole, each answered by `answer(start)`.
fn read(
    log: &Log<'_>,
    fields: &JsonField,
    mut answer: impl FnMut(usize) -> String,
) -> Result<WholeList, PageError> {
    let pins = pins(log);
    let inquiry = Inquiry::of_name(&pins, fields, None, "a").unwrap();
    let mut reader = ListReader::new(&inquiry);
    loop {
        let path = reader.path();
        let start = path.split("start=").nth(1).and_then(|rest| rest.split('&').next()).unwrap();
        if let Some(list) = reader.accept(answer(start.parse().unwrap()).as_bytes(), NOW)? {
            return Ok(list);
        }
    }
}

#[test]
fn lists_are_read_in_pages_of_any_length() {
    let fields = map_fn();
    let (log, at) = log_of(&fields, 10);
    let expected: Vec<LeafIndex> = (0..10).map(|n| LeafIndex(2 * n)).chain([LeafIndex(21)]).collect();
    for limit in 1..=12 {
        let whole = read(&log, &fields, |start| {
            log.page(
                &log.lookup(&question("a"), log.size(), at, limit, 0, Some(NOW)),
                log.size(),
                start,
                limit,
            )
        });
        assert_eq!(whole.unwrap().indices, expected, "{limit}");
    }
    // Only in the tail; nowhere.
    let mut tail = Log::new(&fields);
    let at = tail.anchor();
    let page = |log: &Log<'_>, start| {
        log.page(&log.lookup(&question("a"), log.size(), at, LIST, 0, Some(NOW)), log.size(), start, 1)
    };
    assert_eq!(read(&tail, &fields, |start| page(&tail, start)).unwrap().indices, []);
    tail.push(entry("a", 0));
    tail.push(entry("a", 1));
    let whole = read(&tail, &fields, |start| page(&tail, start)).unwrap();
    assert_eq!(whole.indices, [LeafIndex(1), LeafIndex(2)]);
}

/// Every byte of a page: altered, the page is refused, or the list is the same.
#[test]
fn an_altered_byte_changes_no_list() {
    let fields = map_fn();
    let (log, at) = log_of(&fields, 3);
    let pins = pins(&log);
    let inquiry = Inquiry::of_name(&pins, &fields, None, "a").unwrap();
    let page = log.page(&honest(&log, "a", at), log.size(), 0, LIST).into_bytes();
    let read = |page: &[u8]| ListReader::new(&inquiry).accept(page, NOW);
    let truth = read(&page).unwrap().unwrap().indices;
    for place in 0..page.len() {
        let mut altered = page.clone();
        altered[place] ^= 1;
        if let Ok(Some(found)) = read(&altered) {
            assert_eq!(found.indices, truth, "byte {place}");
        }
        assert!(read(&page[..place]).is_err(), "cut at {place}");
    }
}

/// The list grows while it is read: what counts is the last page.
#[test]
fn a_list_may_grow_between_pages() {
    let fields = map_fn();
    let (mut log, at) = log_of(&fields, 5);
    let (small, begin) = (log.size(), at);
    log.push(entry("a", 6));
    let at = log.anchor();
    let page = |start: usize| {
        let (size, at) = if start < 4 { (small, begin) } else { (log.size(), at) };
        log.page(&log.lookup(&question("a"), size, at, LIST, 0, Some(NOW)), size, start, 2)
    };
    let whole = read(&log, &fields, page).unwrap();
    assert_eq!(whole.indices, [0, 2, 4, 6, 8, 11, 12].map(LeafIndex));
    assert_eq!(whole.answered.verified.checkpoint().size().0, log.size() as u64);
    // The other way round a node lags behind.
    let backwards = |start: usize| {
        let (size, at) = if start < 4 { (log.size(), at) } else { (small, begin) };
        log.page(&log.lookup(&question("a"), size, at, LIST, 0, Some(NOW)), size, start, 2)
    };
    assert!(matches!(read(&log, &fields, backwards), Err(PageError::Lagging { .. })));
}

#[test]
fn pages_that_lie_are_refused() {
    let fields = map_fn();
    let (log, at) = log_of(&fields, 3);
    let proof = |name: &str| honest(&log, name, at).to_text();
    let a = proof("a");
    type Case = (&'static str, String, fn(&PageError) -> bool);
    let cases: [Case; 14] = [
        ("nested beyond all measure", "[".repeat(1 << 20), |e| matches!(e, PageError::Malformed(_))),
        ("nothing", page_of(0, "", &a), |e| matches!(e, PageError::Truncated { missing: 4 })),
        ("an element skipped, then too far", page_of(0, "0,4,6,7", &a), |e| *e == PageError::OtherList),
        ("another element", page_of(0, "0,3,4,7", &a), |e| *e == PageError::OtherList),
        ("out of order", page_of(0, "2,0,4,7", &a), |e| *e == PageError::NotAscending),
        ("another hit", page_of(0, "0,2,4,8", &a), |e| *e == PageError::OtherList),
        ("one too many", page_of(0, "0,2,4,7,9", &a), |e| {
            matches!(e, PageError::TooMany { got: 5, count: 4 })
        }),
        ("another position", page_of(1, "2,4,7", &a), |e| matches!(e, PageError::Position { .. })),
        ("another name's proof", page_of(0, "0,2,4,7", &proof("b")), |e| {
            matches!(e, PageError::Answer(AnswerError::Lookup(LookupError::OtherQuestion)))
        }),
        ("no proof", page_of(0, "0", ""), |e| matches!(e, PageError::Answer(AnswerError::File(_)))),
        ("no JSON", "nonsense".into(), |e| matches!(e, PageError::Malformed(_))),
        ("an index below 0", page_of(0, "-1", &a), |e| matches!(e, PageError::Malformed(_))),
        ("no index", page_of(0, "\"1\"", &a), |e| matches!(e, PageError::Malformed(_))),
        ("a page beyond all measure", page_of(0, &vec!["1"; 1001].join(","), &a), |e| {
            matches!(e, PageError::Malformed(_))
        }),
    ];
    for (name, page, expected) in cases {
        let error = read(&log, &fields, |_| page.clone()).unwrap_err();
        assert!(expected(&error), "{name}: {error:?}");
    }
    // No end in sight: the reader stops when the proven count is reached, and not before.
    let mut pages = 0;
    let endless = read(&log, &fields, |start| {
        pages += 1;
        page_of(start, &start.to_string(), &a)
    });
    assert_eq!((endless.map(|list| list.indices).err(), pages), (Some(PageError::OtherList), 4));
}
