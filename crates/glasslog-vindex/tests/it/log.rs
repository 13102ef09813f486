//! Whole logs with an index, made up at random: what is proven is what a search of the entries finds, and nobody can accuse
//! a log that is honest, nor a log that is not deny it.

use std::collections::BTreeMap;

use glasslog_core::{
    Hash, LeafIndex, TreeSize,
    anchor::anchor,
    checkpoint::Checkpoint,
    hash::leaf_hash,
    merkle::InclusionProof,
    note::{Algorithm, Ed25519Signer, SecretKey, VerifierKey, sign},
    policy::Policy,
};
use glasslog_vindex::{
    Answer, Element, Evidence, Fault, Given, JsonField, Key, List, ListEnd, ListFault, Lookup, LookupError,
    MisbehaviourProof, Pinned, Presence, Proof, Question, Value, find_list_fault,
    lookup::{MAX_TAIL_BYTES, MAX_TAIL_ENTRIES},
    prove,
};
use proptest::prelude::*;

use crate::naive;

pub(crate) const ORIGIN: &str = "log.example/vindex";
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

pub(crate) struct Log {
    pub(crate) entries: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
    map_fn: JsonField,
    signer: Ed25519Signer,
    pub(crate) policy: Policy,
}

/// What comes next in a log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    Name(usize),
    Other,
    Anchor,
    Void,
}

fn any_next() -> impl Strategy<Value = Next> {
    prop_oneof![
        6 => (0..NAMES.len() - 1).prop_map(Next::Name),
        2 => Just(Next::Other),
        2 => Just(Next::Anchor),
        1 => Just(Next::Void),
    ]
}

impl Log {
    pub(crate) fn new() -> Log {
        let key = SecretKey::from_seed(ORIGIN, Algorithm::Ed25519, &[7; 32]).unwrap();
        let policy = Policy::without_witnesses(&[key.verifier_key().clone()]);
        let map_fn = JsonField::new("name").unwrap();
        Log { entries: Vec::new(), leaves: Vec::new(), map_fn, signer: Ed25519Signer::new(&key), policy }
    }

    pub(crate) fn of(story: &[Next]) -> Log {
        let mut log = Log::new();
        for next in story {
            let at = TreeSize(u64::try_from(log.entries.len()).unwrap());
            log.push(match next {
                Next::Name(name) => format!("{{\"at\":{at},\"name\":\"{}\"}}", NAMES[*name]).into_bytes(),
                Next::Other => format!("{at}").into_bytes(),
                Next::Anchor => {
                    anchor("json-field:name", Some(&Hash(naive::root(&log.pairs(log.entries.len())))), at)
                }
                Next::Void => anchor("json-field:name", None, at),
            });
        }
        log
    }

    pub(crate) fn push(&mut self, entry: Vec<u8>) {
        self.leaves.push(leaf_hash(&entry));
        self.entries.push(entry);
    }

    /// Where each key is, below `size`, by the names that the entries were made of.
    pub(crate) fn lists(&self, size: usize) -> BTreeMap<[u8; 32], Vec<u64>> {
        let mut lists = BTreeMap::new();
        for (entry, at) in self.entries[..size].iter().zip(0..) {
            for name in NAMES {
                if entry.ends_with(format!("\"name\":\"{name}\"}}").as_bytes()) {
                    lists.entry(Key::of_name(name).0).or_insert_with(Vec::new).push(at);
                }
            }
        }
        lists
    }

    pub(crate) fn pairs(&self, size: usize) -> naive::Pairs {
        self.lists(size).into_iter().map(|(key, list)| (key, naive::value(&list))).collect()
    }

    fn checkpoint(&self, size: usize) -> String {
        let root = naive::mth(&self.leaves[..size]);
        let text = Checkpoint::new(ORIGIN, TreeSize(u64::try_from(size).unwrap()), root).to_text();
        sign(&text, &[&self.signer]).unwrap()
    }

    pub(crate) fn inclusion(&self, index: usize, size: usize) -> InclusionProof {
        InclusionProof(naive::path(index, &self.leaves[..size]))
    }

    fn given(&self, index: LeafIndex, size: usize) -> Given {
        let at = usize::try_from(index.0).unwrap();
        Given { index, entry: self.entries[at].clone(), inclusion: self.inclusion(at, size) }
    }

    /// The lookup of `name` under the checkpoint of `size` by the anchor at `at`, with the list from `start` on.
    pub(crate) fn lookup(&self, name: &str, size: usize, at: usize, start: Option<usize>) -> Lookup {
        let key = Key::of_name(name);
        let tail = self.entries[at + 1..size].to_vec();
        let evidence = match prove(&typed(&self.pairs(at)), &key) {
            Proof::Absent(trie) => Evidence::Absent { trie, tail },
            Proof::Present(trie) => {
                let indices = indices(&self.lists(at)[&key.0]);
                let list = start.map(|start| list_end(&indices, start % indices.len()));
                let shown = list.as_ref().map_or(&indices[indices.len() - 1..], |list| &list.indices);
                let entries = shown.iter().map(|index| self.given(*index, size)).collect();
                Evidence::Present { trie, list, tail, entries }
            }
        };
        Lookup {
            question: Question::Name { kind: String::new(), name: name.into() },
            checkpoint: self.checkpoint(size),
            anchor: LeafIndex(u64::try_from(at).unwrap()),
            inclusion: self.inclusion(at, size),
            evidence,
        }
    }

    pub(crate) fn pinned(&self) -> Pinned<'_> {
        Pinned { origin: ORIGIN, policy: &self.policy, map_fn: &self.map_fn }
    }

    fn keys(&self) -> Vec<VerifierKey> {
        self.policy.log_keys(ORIGIN)
    }

    /// Whether somebody could believe that the index of the anchor before the last entry is wrong in this way.
    fn is_convicted(&self, at: usize, fault: Fault) -> bool {
        let size = self.entries.len();
        let (checkpoint, inclusion) = (self.checkpoint(size), self.inclusion(at, size));
        let proof =
            MisbehaviourProof { checkpoint, anchor: LeafIndex(u64::try_from(at).unwrap()), inclusion, fault };
        let read = MisbehaviourProof::parse(proof.to_text().as_bytes()).unwrap();
        assert_eq!(read, proof);
        read.verify(ORIGIN, &self.keys(), &self.map_fn).is_ok()
    }
}

pub(crate) fn typed(pairs: &naive::Pairs) -> Vec<(Key, Value)> {
    pairs.iter().map(|(key, value)| (Key(*key), Value::from_bytes(value))).collect()
}

pub(crate) fn indices(list: &[u64]) -> Vec<LeafIndex> {
    list.iter().copied().map(LeafIndex).collect()
}

pub(crate) fn list_end(indices: &[LeafIndex], start: usize) -> ListEnd {
    let mut before = List::new();
    before.extend(&indices[..start]).unwrap();
    ListEnd { before: before.range().clone(), indices: indices[start..].to_vec() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every name, at every size, by every anchor: what is proven is what is there; by an outdated anchor, nothing is.
    #[test]
    fn an_answer_is_what_a_search_finds(story in proptest::collection::vec(any_next(), 1..24), start in any::<Option<u8>>()) {
        let log = Log::of(&story);
        for size in 1..=story.len() {
            for (at, _) in story[..size].iter().enumerate().filter(|(_, next)| matches!(next, Next::Anchor)) {
                let outdated = story[at + 1..size].iter().any(|next| matches!(next, Next::Anchor));
                for name in NAMES {
                    let lookup = log.lookup(name, size, at, start.map(usize::from));
                    prop_assert_eq!(&Lookup::parse(lookup.to_text().as_bytes()).unwrap(), &lookup);
                    let found = lookup.verify(&log.pinned(), &Key::of_name(name), 0);
                    if outdated {
                        prop_assert!(matches!(found, Err(LookupError::NewerAnchor(_))), "{:?}", found);
                        continue;
                    }
                    let (found, key) = (found.unwrap(), Key::of_name(name).0);
                    let value = log.pairs(at).get(&key).map(Value::from_bytes);
                    prop_assert_eq!(found.value(), value.as_ref());
                    check_answer(found.answer(), &log.lists(size).remove(&key).unwrap_or_default(), &log);
                }
            }
            // By nothing else than an anchor.
            for (at, _) in story[..size].iter().enumerate().filter(|(_, next)| !matches!(next, Next::Anchor)) {
                let found = log.lookup("a", size, at, None).verify(&log.pinned(), &Key::of_name("a"), 0);
                prop_assert!(matches!(found, Err(LookupError::Anchor { .. })), "{:?}", found);
            }
        }
    }

    /// Whatever an honest log is accused of, with whichever of its own entries and elements: not proven.
    #[test]
    fn an_honest_log_cannot_be_accused(story in proptest::collection::vec((0..4_usize).prop_map(Next::Name), 1..10)) {
        let mut story = story;
        story.push(Next::Anchor);
        let (log, at) = (Log::of(&story), story.len() - 1);
        let pairs = typed(&log.pairs(at));
        for name in NAMES {
            let key = Key::of_name(name);
            let given = || (0..story.len()).map(|i| log.given(LeafIndex(u64::try_from(i).unwrap()), story.len()));
            for fault in accusations(&prove(&pairs, &key), &log.lists(at).remove(&key.0).unwrap_or_default(), given) {
                let fault = match fault {
                    Ok(fault) => {
                        let Proof::Present(trie) = prove(&pairs, &key) else { continue };
                        Fault::List { key, trie, fault }
                    }
                    Err(entry) => {
                        let Proof::Absent(trie) = prove(&pairs, &key) else { continue };
                        Fault::Omitted { key, trie, entry }
                    }
                };
                prop_assert!(!log.is_convicted(at, fault.clone()), "{:?}", fault);
            }
        }
        let entry = log.entries[at].clone();
        for fault in [Fault::Misplaced { entry: entry.clone() }, Fault::OtherMapFunction { entry }] {
            prop_assert!(!log.is_convicted(at, fault), "the anchor itself");
        }
    }

    /// Whatever list a log commits to that is not the true one, with whatever last: it is proven.
    #[test]
    fn a_wrong_list_is_proven(
        names in proptest::collection::vec(0..2_usize, 1..9),
        claimed in proptest::collection::vec(0..10_u64, 1..6),
        last in prop_oneof![Just(None), (0..10_u64).prop_map(Some)],
    ) {
        let mut log = Log::of(&names.iter().copied().map(Next::Name).collect::<Vec<_>>());
        let (at, key) = (names.len(), Key::of_name("a"));
        let truth = indices(&log.lists(at).remove(&key.0).unwrap_or_default());
        let mut value = Value::from_bytes(&naive::value(&claimed));
        value.last = last.map_or(value.last, LeafIndex);
        let claimed = indices(&claimed);
        let size = TreeSize(u64::try_from(at).unwrap());
        let mut pairs = log.pairs(at);
        pairs.insert(key.0, value.to_bytes());
        log.push(anchor("json-field:name", Some(&Hash(naive::root(&pairs))), size));
        let Proof::Present(trie) = prove(&typed(&pairs), &key) else { panic!("it is there") };
        let fault = find_list_fault(&value, &claimed, &truth, size, |index| Some(log.given(index, at + 1)));
        prop_assert_eq!(fault.is_none(), claimed == truth && claimed.last() == Some(&value.last));
        if let Some(fault) = fault {
            prop_assert!(log.is_convicted(at, Fault::List { key, trie, fault: fault.clone() }), "{:?}", fault);
        }
    }
}

/// What is proven about a name against the list of all its entries.
fn check_answer(answer: &Answer, expected: &[u64], log: &Log) {
    let Answer::Present(present) = answer else { return assert!(expected.is_empty()) };
    let expected = indices(expected);
    assert_eq!(usize::try_from(present.count).unwrap(), expected.len());
    assert_eq!(Some(&present.last), expected.last());
    assert_eq!(present.indices, expected[usize::try_from(present.skipped).unwrap()..]);
    for (index, entry) in &present.entries {
        assert_eq!(*entry, log.entries[usize::try_from(index.0).unwrap()]);
        assert!(expected.contains(index));
    }
    assert_eq!(present.entries.len(), present.indices.len());
}

/// All that can be claimed of a list with these entries and elements; an `Err` claims that the entry is omitted.
fn accusations<I: Iterator<Item = Given>>(
    proof: &Proof,
    list: &[u64],
    given: impl Fn() -> I,
) -> Vec<Result<ListFault, Given>> {
    let list = indices(list);
    let elements: Vec<Element> = (0..list.len()).map(|at| Element::of_list(&list, at).unwrap()).collect();
    let mut all: Vec<Result<ListFault, Given>> = given().map(Err).collect();
    if let Proof::Present(Presence { .. }) = proof {
        all.push(Ok(ListFault::Impossible));
        for element in &elements {
            all.push(Ok(ListFault::WrongLast { element: element.clone() }));
            for second in &elements {
                all.push(Ok(ListFault::Disorder { first: element.clone(), second: second.clone() }));
            }
        }
        for entry in given() {
            all.push(Ok(ListFault::Stale { entry: entry.clone() }));
            for first in &elements {
                let (entry, first) = (entry.clone(), first.clone());
                all.push(Ok(ListFault::SkippedFirst { entry: entry.clone(), first: first.clone() }));
                all.push(Ok(ListFault::Foreign { entry, element: first }));
            }
            for (below, above) in
                elements.iter().flat_map(|below| elements.iter().map(move |above| (below, above)))
            {
                let (below, above) = (below.clone(), above.clone());
                all.push(Ok(ListFault::Skipped { entry: entry.clone(), below, above }));
            }
        }
    }
    all
}

/// A log with an anchor and these entries after it.
fn with_tail(tail: Vec<Vec<u8>>) -> (Log, Lookup) {
    let mut log = Log::of(&[Next::Name(0), Next::Anchor]);
    tail.into_iter().for_each(|entry| log.push(entry));
    // All leaves are hashed by the naive tree, once.
    let lookup = log.lookup("a", log.entries.len(), 1, Some(0));
    (log, lookup)
}

#[test]
fn the_limits_of_the_tail() {
    let verdict = |tail: Vec<Vec<u8>>| {
        let (log, lookup) = with_tail(tail);
        let found = lookup.verify(&log.pinned(), &Key::of_name("a"), 0);
        assert_eq!(Lookup::parse(lookup.to_text().as_bytes()).is_ok(), found.is_ok());
        found.map(|found| found.answer().clone())
    };
    let full = |rest: usize| [vec![vec![b'x'; 65_535]; 64], vec![vec![b'y'; rest]]].concat();
    assert!(64 * 65_535 + 64 == MAX_TAIL_BYTES && verdict(full(64)).is_ok());
    assert_eq!(verdict(full(65)), Err(LookupError::TailTooLong));
    assert!(verdict(vec![b"x".to_vec(); MAX_TAIL_ENTRIES]).is_ok());
    assert_eq!(verdict(vec![b"x".to_vec(); MAX_TAIL_ENTRIES + 1]), Err(LookupError::TailTooLong));
    assert_eq!(verdict(vec![vec![b'x'; 65_536]]), Err(LookupError::TailTooLong));
}

/// A list of a million, whole, and its end alone, in a file.
#[test]
fn a_long_list() {
    let list: Vec<LeafIndex> = (0..1_000_000).map(LeafIndex).collect();
    let mut whole = List::new();
    whole.extend(&list).unwrap();
    let (key, value) = (Key::of_name("a"), whole.value().unwrap());
    let mut lookup = Log::of(&[Next::Anchor]).lookup("a", 1, 0, None);
    let Proof::Present(trie) = prove(&[(key, value)], &key) else { panic!("it is there") };
    for start in [0, 999_999] {
        let list = Some(list_end(&list, start));
        lookup.evidence =
            Evidence::Present { trie: trie.clone(), list, tail: Vec::new(), entries: Vec::new() };
        assert_eq!(Lookup::parse(lookup.to_text().as_bytes()).as_ref(), Ok(&lookup));
    }
}
