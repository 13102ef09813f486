//! Judge: the framing of c2sp.org/tlog-tiles, written out by hand.

use glasslog_core::entry_bundle::{self, BundleError, EntryBundle};
use proptest::prelude::*;

#[test]
fn framing_by_hand() {
    let bytes = entry_bundle::encode(["ab", "", "c"]).unwrap();
    assert_eq!(bytes, b"\0\x02ab\0\0\0\x01c");
    let bundle = EntryBundle::parse(&bytes, 3).unwrap();
    assert_eq!(bundle.iter().collect::<Vec<_>>(), [&b"ab"[..], b"", b"c"]);
    assert_eq!((bundle.len(), bundle.is_empty(), bundle.as_bytes()), (3, false, &bytes[..]));
    assert!(EntryBundle::parse(b"", 0).unwrap().is_empty());
}

#[test]
fn longest_entry() {
    let longest = vec![7; 65_535];
    let bytes = entry_bundle::encode([&longest]).unwrap();
    assert_eq!(bytes[..3], [0xff, 0xff, 7]);
    assert_eq!(EntryBundle::parse(&bytes, 1).unwrap().iter().next(), Some(&longest[..]));
    let mut unchanged = vec![1, 2];
    let too_long = Err(BundleError::EntryTooLong(65_536));
    assert_eq!(entry_bundle::append(&mut unchanged, &[0; 65_536]), too_long);
    assert_eq!(unchanged, [1, 2]);
}

#[test]
fn refused_bundles() {
    let cases: [(&[u8], u16, BundleError, &str); 8] = [
        (b"", 1, BundleError::Count { expected: 1, got: 0 }, "nothing at all"),
        (b"\0", 1, BundleError::Truncated { position: 0, offset: 0 }, "half a length"),
        (b"\0\x01", 1, BundleError::Truncated { position: 0, offset: 0 }, "a length without its entry"),
        (b"\0\x02a", 1, BundleError::Truncated { position: 0, offset: 0 }, "half an entry"),
        (b"\0\x01a\0\x02b", 2, BundleError::Truncated { position: 1, offset: 3 }, "half a second entry"),
        (b"\0\x01a\0", 1, BundleError::Truncated { position: 1, offset: 3 }, "a byte too many"),
        (b"\0\x01a\0\x01b", 1, BundleError::Count { expected: 1, got: 2 }, "an entry too many"),
        (b"\0\x01a", 2, BundleError::Count { expected: 2, got: 1 }, "an entry too few"),
    ];
    for (bytes, width, error, why) in cases {
        assert_eq!(EntryBundle::parse(bytes, width), Err(error), "{why}");
    }
}

#[test]
fn a_full_bundle_cut_to_a_partial_one() {
    let entries: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
    let full = entry_bundle::encode(&entries).unwrap();
    for width in [1_u16, 7, 255, 256] {
        let cut = EntryBundle::parse_cut(&full, width).unwrap();
        let judge = entry_bundle::encode(&entries[..usize::from(width)]).unwrap();
        assert_eq!((cut.as_bytes(), cut.len()), (&judge[..], usize::from(width)));
        assert!(cut.iter().eq(entries[..usize::from(width)].iter()));
    }
    let partial = entry_bundle::encode(&entries[..7]).unwrap();
    assert_eq!(EntryBundle::parse_cut(&partial, 8), Err(BundleError::Count { expected: 8, got: 7 }));
    let overfull = [full.clone(), partial].concat();
    assert_eq!(
        EntryBundle::parse_cut(&overfull, 7),
        Err(BundleError::Count { expected: 7, got: 263 }),
        "no place has 263 entries"
    );
    assert!(EntryBundle::parse_cut(&full[..full.len() - 1], 7).is_err(), "malformed past the cut");
}

proptest! {
    #[test]
    fn bundles_round_trip(entries: Vec<Vec<u8>>) {
        let bytes = entry_bundle::encode(&entries).unwrap();
        let bundle = EntryBundle::parse_any(&bytes).unwrap();
        prop_assert_eq!(bundle.len(), entries.len());
        prop_assert!(bundle.iter().eq(entries.iter().map(Vec::as_slice)));
    }

    #[test]
    fn what_is_accepted_is_canonical(bytes: Vec<u8>) {
        if let Ok(bundle) = EntryBundle::parse_any(&bytes) {
            prop_assert_eq!(entry_bundle::encode(bundle.iter()).unwrap(), bytes);
        }
    }
}
