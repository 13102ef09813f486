//! The vectors beside the page: proof files that are accepted, and those that must be refused.

use base64ct::{Base64, Encoding};
use glasslog_core::{LeafIndex, merkle::InclusionProof, note::VerifierKey, policy::Policy};
use glasslog_vindex::{
    Answer, Evidence, FileError, Given, JsonField, Key, Lookup, Misbehaviour, MisbehaviourProof, Pinned,
    Present, VerifiedLookup,
};

use crate::page::{Vector, large_vectors};
use crate::reasons::assert_reason;

fn numbers(text: &str) -> Vec<LeafIndex> {
    text.split(' ').map(|number| LeafIndex(number.parse().unwrap())).collect()
}

fn verified(vector: &Vector, map_fn: &JsonField) -> Result<VerifiedLookup, String> {
    let file = Base64::decode_vec(vector.text("lookup")).unwrap();
    let policy = Policy::parse(&Base64::decode_vec(vector.text("policy")).unwrap()).unwrap();
    let pinned = Pinned { origin: vector.text("origin"), policy: &policy, map_fn };
    let key = Key(const_hex::decode_to_array(vector.text("key")).unwrap());
    let lookup = Lookup::parse(&file).map_err(|error| error.to_string())?;
    assert_eq!(lookup.to_text().as_bytes(), file, "{}", vector.shows());
    let now = vector.text("now").parse().unwrap();
    lookup.verify(&pinned, &key, now).map_err(|error| error.to_string())
}

#[test]
fn lookups() {
    let vectors = large_vectors();
    let mut counts = [0, 0];
    for vector in vectors.iter().filter(|vector| vector.get("lookup").is_some()) {
        // Those of conda-1 are tested where that map function is.
        let Some(map_fn) = JsonField::parse(vector.text("map_fn")) else { continue };
        let (found, shows) = (verified(vector, &map_fn), vector.shows());
        if let Some(refused) = vector.get("refused") {
            assert_reason(shows, refused, &found.expect_err(shows));
            counts[1] += 1;
            continue;
        }
        let found = found.unwrap_or_else(|error| panic!("{shows}: {error}"));
        counts[0] += 1;
        match (vector.text("answer").split(' ').collect::<Vec<_>>()[..].as_ref(), found.answer()) {
            (["absent"], Answer::Absent) => {}
            (["present", count, last], Answer::Present(present)) => {
                check_present(vector, present, count, last);
            }
            (_, other) => panic!("{shows}: {other:?}"),
        }
    }
    assert_eq!(counts, [20, 71]);
}

fn check_present(vector: &Vector, present: &Present, count: &str, last: &str) {
    let shows = vector.shows();
    assert_eq!(
        (present.count.to_string(), present.last.to_string()),
        (count.to_owned(), last.to_owned()),
        "{shows}"
    );
    let indices = numbers(vector.text("indices"));
    assert_eq!(present.indices, indices, "{shows}");
    let skipped = present.count - u64::try_from(indices.len()).unwrap();
    assert_eq!((present.skipped, present.is_complete()), (skipped, skipped == 0), "{shows}");
    let entries: Vec<LeafIndex> = present.entries.iter().map(|(index, _)| *index).collect();
    assert_eq!(entries, vector.get("entries").map(numbers).unwrap_or_default(), "{shows}");
}

#[test]
fn proofs_of_misbehaviour() {
    let vectors = large_vectors();
    let mut counts = [0, 0];
    for vector in vectors.iter().filter(|vector| vector.get("misbehaviour").is_some()) {
        let file = Base64::decode_vec(vector.text("misbehaviour")).unwrap();
        let log: [VerifierKey; 1] = [vector.text("log").parse().unwrap()];
        let map_fn = JsonField::parse(vector.text("map_fn")).unwrap();
        let shows = vector.shows();
        let found = MisbehaviourProof::parse(&file).map_err(|error| error.to_string()).and_then(|proof| {
            assert_eq!(proof.to_text().as_bytes(), file, "{shows}");
            proof.verify(vector.text("origin"), &log, &map_fn).map_err(|error| error.to_string())
        });
        if let Some(refused) = vector.get("refused") {
            assert_reason(shows, refused, &found.expect_err(shows));
            counts[1] += 1;
            continue;
        }
        let found = found.unwrap_or_else(|error| panic!("{shows}: {error}"));
        counts[0] += 1;
        let number = match found.what() {
            Misbehaviour::Omitted => 1,
            Misbehaviour::Stale => 2,
            Misbehaviour::Skipped => 3,
            Misbehaviour::Foreign => 4,
            Misbehaviour::Disorder => 5,
            Misbehaviour::WrongLast => 6,
            Misbehaviour::Impossible => 7,
            Misbehaviour::Misplaced => 8,
            Misbehaviour::OtherMapFunction => 9,
        };
        assert!(vector.text("fault").starts_with(&format!("{number} ")), "{shows}: {found}");
        let entry = found.entry().map(|entry| entry.to_string());
        if found.what() != Misbehaviour::Omitted || entry.is_some() {
            assert_eq!(entry.as_deref(), vector.get("entry"), "{shows}");
        }
        assert_eq!(found.key().is_some(), number < 8, "{shows}");
    }
    assert_eq!(counts, [20, 35]);
}

/// An entry without a hash is never proven, so a number of entries is held to the bytes that proven ones would have: millions
/// of three bytes each would take a gigabyte of memory before the first of them is looked at.
#[test]
fn entries_that_there_is_no_room_for_are_not_read() {
    let vectors = large_vectors();
    let shows = "in the trie and in the tail, with an entry of each";
    let vector = vectors.iter().find(|vector| vector.shows() == shows).unwrap();
    let mut lookup = Lookup::parse(&Base64::decode_vec(vector.text("lookup")).unwrap()).unwrap();
    let Evidence::Present { entries, .. } = &mut lookup.evidence else { panic!("absent") };
    assert_eq!(entries.len(), 1);
    let of_three_bytes =
        |index| Given { index: LeafIndex(index), entry: Vec::new(), inclusion: InclusionProof::default() };
    *entries = (0..100).map(of_three_bytes).collect();
    let refused = Lookup::parse(lookup.to_text().as_bytes()).unwrap_err();
    assert!(matches!(refused, FileError::Extra(error) if error.expected.contains("room")), "{refused}");
}

/// Any one bit of a file flipped, in the extra data, the hashes, the checkpoint or a signature: refused.
#[test]
fn no_bit_of_a_file_can_be_changed() {
    let vectors = large_vectors();
    let of = |shows: &str| vectors.iter().find(|vector| vector.shows() == shows).unwrap();
    for shows in ["in the trie and in the tail, with an entry of each", "absent", "an empty log"] {
        let vector = of(shows);
        let map_fn = JsonField::parse(vector.text("map_fn")).unwrap();
        let policy = Policy::parse(&Base64::decode_vec(vector.text("policy")).unwrap()).unwrap();
        let pinned = Pinned { origin: vector.text("origin"), policy: &policy, map_fn: &map_fn };
        let key = Key(const_hex::decode_to_array(vector.text("key")).unwrap());
        let now = vector.text("now").parse().unwrap();
        let accepted =
            |file: &[u8]| Lookup::parse(file).is_ok_and(|lookup| lookup.verify(&pinned, &key, now).is_ok());
        assert_no_mutation(&Base64::decode_vec(vector.text("lookup")).unwrap(), accepted);
    }
    for shows in [
        "a key left out",
        "a list that passes over an entry",
        "the final element is not last",
        "an anchor for another size",
    ] {
        let vector = of(shows);
        let map_fn = JsonField::parse(vector.text("map_fn")).unwrap();
        let log: [VerifierKey; 1] = [vector.text("log").parse().unwrap()];
        let accepted = |file: &[u8]| {
            MisbehaviourProof::parse(file)
                .is_ok_and(|proof| proof.verify(vector.text("origin"), &log, &map_fn).is_ok())
        };
        assert_no_mutation(&Base64::decode_vec(vector.text("misbehaviour")).unwrap(), accepted);
    }
}

fn assert_no_mutation(file: &[u8], accepted: impl Fn(&[u8]) -> bool) {
    assert!(accepted(file));
    let mut mutated = file.to_vec();
    for place in 0..file.len() * 8 {
        mutated[place / 8] ^= 1 << (place % 8);
        assert!(!accepted(&mutated), "bit {} of byte {}", place % 8, place / 8);
        mutated[place / 8] ^= 1 << (place % 8);
    }
}
