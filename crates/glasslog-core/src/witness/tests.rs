use std::{format, string::String, string::ToString, vec::Vec};

use proptest::prelude::*;

use super::*;

const HASH: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
const NOTE: &str = "o\n1\nx\n\n— o AAAAAAA=\n";

/// The example of c2sp.org/tlog-witness, word for word.
const SPEC: &str = "old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
";

#[test]
fn the_example_of_the_specification() {
    let request = AddCheckpoint::parse(SPEC.as_bytes()).unwrap();
    assert_eq!((request.old_size, request.proof.0.len()), (TreeSize(20_852_014), 4));
    assert!(request.note.starts_with(b"example.com/behind-the-sofa\n20852163\n"));
    assert_eq!(request.to_bytes(), SPEC.as_bytes());
}

#[test]
fn an_old_size_has_one_spelling() {
    for size in ["0", "1", "9223372036854775808", "18446744073709551615"] {
        let request = AddCheckpoint::parse(format!("old {size}\n\n{NOTE}").as_bytes()).unwrap();
        assert_eq!(request.old_size.to_string(), size);
    }
    let wrong = [
        ("a leading zero", "old 05"),
        ("two zeros", "old 00"),
        ("a plus sign", "old +5"),
        ("a minus sign", "old -1"),
        ("minus zero", "old -0"),
        ("a space at the end", "old 5 "),
        ("two spaces", "old  5"),
        ("a tab", "old\t5"),
        ("a space before", " old 5"),
        ("a capital", "Old 5"),
        ("no size", "old"),
        ("an empty size", "old "),
        ("two sizes", "old 5 6"),
        ("CR LF", "old 5\r"),
        ("hexadecimal", "old 0x5"),
        ("an exponent", "old 1e3"),
        ("an underscore", "old 1_0"),
        ("Arabic-Indic digits", "old \u{665}"),
        ("full-width digits", "old \u{ff15}"),
        ("a byte order mark", "\u{feff}old 5"),
        ("NUL", "old 5\0"),
        ("an empty line first", "\nold 5"),
        ("2^64", "old 18446744073709551616"),
        ("forty digits", "old 1111111111111111111111111111111111111111"),
    ];
    for (what, line) in wrong {
        let body = format!("{line}\n\n{NOTE}");
        assert_eq!(AddCheckpoint::parse(body.as_bytes()), Err(OLD_LINE), "{what}");
    }
}

#[test]
fn a_proof_line_has_one_spelling() {
    let cases: Vec<(&str, String)> = [
        ("31 bytes", "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxqw=="),
        ("33 bytes", "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2Ii"),
        ("no padding", "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I"),
        ("loose bits", "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J="),
        ("the URL alphabet", "CsUYapGGPo4dkMgIAUqom_Xajj7h2fB2MPA3j2jxq2I="),
        ("a space inside", "CsUYapGGPo4dkMgIAUqom Xajj7h2fB2MPA3j2jxq2I="),
        ("a space at the end", "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I= "),
        ("CR LF", "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\r"),
        ("hexadecimal", "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62"),
        ("junk", "junk"),
    ]
    .map(|(what, line)| (what, line.into()))
    .into();
    for (what, line) in cases {
        let body = format!("old 3\n{HASH}\n{line}\n\n{NOTE}");
        let found = AddCheckpoint::parse(body.as_bytes());
        assert!(matches!(found, Err(AddCheckpointError::Line { line: 3, .. })), "{what}: {found:?}");
    }
    let not_text = [b"old 3\n".as_slice(), b"\xff\n\n", NOTE.as_bytes()].concat();
    assert!(matches!(AddCheckpoint::parse(&not_text), Err(AddCheckpointError::Line { line: 2, .. })));
}

#[test]
fn a_body_is_bounded_and_whole() {
    let lines = |count: usize| format!("old 3\n{}\n{NOTE}", format!("{HASH}\n").repeat(count));
    assert_eq!(AddCheckpoint::parse(lines(63).as_bytes()).unwrap().proof.0.len(), 63);
    assert_eq!(AddCheckpoint::parse(lines(64).as_bytes()), Err(AddCheckpointError::TooManyProofLines));

    let longest = AddCheckpoint {
        note: std::vec![b'x'; MAX_NOTE_BYTES],
        ..AddCheckpoint::parse(lines(63).as_bytes()).unwrap()
    };
    assert_eq!(AddCheckpoint::parse(&longest.to_bytes()), Ok(longest), "the longest note fits");
    let too_long = std::vec![b'x'; MAX_ADD_CHECKPOINT_BYTES + 1];
    assert_eq!(AddCheckpoint::parse(&too_long), Err(AddCheckpointError::TooLong(too_long.len())));

    for (what, body, line) in [
        ("nothing", "", 1),
        ("an empty line alone", "\n", 1),
        ("no newline", "old 0", 1),
        ("no empty line", "old 0\n", 2),
        ("no empty line after a proof", &format!("old 1\n{HASH}\n"), 3),
        ("no empty line before the checkpoint", &format!("old 0\n{NOTE}"), 2),
        ("the empty line is CR LF", &format!("old 0\r\n\r\n{NOTE}"), 1),
    ] {
        let found = AddCheckpoint::parse(body.as_bytes());
        assert!(
            matches!(found, Err(AddCheckpointError::Line { line: l, .. }) if l == line),
            "{what}: {found:?}"
        );
    }
}

#[test]
fn the_body_of_a_conflict() {
    for size in [0, 1, 10, u64::MAX] {
        let body = size_body(TreeSize(size));
        assert!(body.len() <= MAX_SIZE_BODY_BYTES);
        assert_eq!(parse_size_body(body.as_bytes()), Some(TreeSize(size)));
    }
    for body in [
        "",
        "\n",
        "5",
        "05\n",
        "+5\n",
        "5\r\n",
        " 5\n",
        "5\n\n",
        "5\n6\n",
        "18446744073709551616\n",
        "five\n",
    ] {
        assert_eq!(parse_size_body(body.as_bytes()), None, "{body:?}");
    }
}

/// Judge: `printf %s example.com/behind-the-sofa | sha256sum`.
#[test]
fn an_origin_hash() {
    assert_eq!(
        origin_hash("example.com/behind-the-sofa"),
        "5fd2dc0beb4ce54da5050cf6d5c75248b023abad441c3cecde3976fbe9da4fe4"
    );
}

proptest! {
    #[test]
    fn what_parses_is_written_back(
        old_size: u64,
        hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..5),
        note in proptest::collection::vec(any::<u8>(), 0..40),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let proof = ConsistencyProof(hashes.into_iter().map(Hash).collect());
        let request = AddCheckpoint { old_size: TreeSize(old_size), proof, note };
        let mut body = request.to_bytes();
        prop_assert_eq!(AddCheckpoint::parse(&body).unwrap(), request);
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(changed) = AddCheckpoint::parse(&body) {
            prop_assert_eq!(changed.to_bytes(), body);
        }
    }
}
