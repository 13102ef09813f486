use std::{format, string::String, string::ToString, vec::Vec};

use super::*;
use crate::checkpoint::CheckpointError;
use crate::note::NoteError;

/// The example of c2sp.org/tlog-witness, "sign-subtree". The specification cuts its signature short, and its hashes prove
/// nothing: it shows the shape.
const SPEC: &str = "subtree 8 13\n\
mbsQCg+dEIMGlpqeGgk94JutQwKKS2Lo5IuDhKmDjiU=\n\
CD82D2LDm0phY0+xKbHyZfq3Hw21lVkuV7Zis5EFg0k=\n\
h/ghL5nyaXTIBAklqDnisM+SFdbA3izoGZ5oRYMZzc0=\n\
8qtnAAU9sTKQx/zt3E4v8Jt2a9IMQUf0QUawvePF9y0=\n\
KuO5BNOmginG34Lm5G3e2GuiWliGo3K0ebzGpvI0fEg=\n\
\n\
example.com/behind-the-sofa\n\
14\n\
/CcKVZM9n65aH7jLaIZuUB4/MSlEFQ4+ldwUC21rDHM=\n\
\n\
— witness.example/w1 LijDAFSpKvDUj+ZtaJ4lUVcnvnooXd1azezGX6o5Vulg\n";

const HASH: &str = "mbsQCg+dEIMGlpqeGgk94JutQwKKS2Lo5IuDhKmDjiU=";

fn parse(body: &str) -> Result<SignSubtreeRequest, RequestError> {
    SignSubtreeRequest::parse(body.as_bytes())
}

#[test]
fn the_example_of_the_specification() {
    let request = parse(SPEC).unwrap();
    assert_eq!(request.subtree().to_string(), "[8, 13)");
    assert_eq!((request.subtree().start(), request.subtree().end()), (LeafIndex(8), TreeSize(13)));
    assert_eq!(
        request.hash().to_string(),
        "99bb100a0f9d108306969a9e1a093de09bad43028a4b62e8e48b8384a9838e25"
    );
    assert_eq!(request.proof.0.len(), 4);
    assert_eq!(request.checkpoint().origin, "example.com/behind-the-sofa");
    assert_eq!(request.checkpoint().size, TreeSize(14));
    assert_eq!(request.note().signatures().len(), 1);
    assert_eq!(request.to_text(), SPEC);
    let unproven = SubtreeError::Proof { subtree: request.subtree(), size: TreeSize(14) };
    assert_eq!(request.verify_proof(), Err(unproven));
}

/// The example with its first line in another shape, and why it is none.
const BAD_RANGES: &[(&str, &str)] = &[
    ("leading zero", "subtree 08 13"),
    ("leading zero of the end", "subtree 8 013"),
    ("two spaces", "subtree  8 13"),
    ("two spaces between the numbers", "subtree 8  13"),
    ("a sign", "subtree +8 13"),
    ("a sign of the end", "subtree 8 +13"),
    ("a negative number", "subtree -8 13"),
    ("a minus before zero", "subtree -0 13"),
    ("one number", "subtree 8"),
    ("no number", "subtree "),
    ("the bare word", "subtree"),
    ("three numbers", "subtree 8 13 14"),
    ("a space at the end", "subtree 8 13 "),
    ("a space at the start", " subtree 8 13"),
    ("a carriage return", "subtree 8 13\r"),
    ("a tab", "subtree\t8\t13"),
    ("another word", "Subtree 8 13"),
    ("hexadecimal", "subtree 0x8 13"),
    ("digits that are not ASCII", "subtree \u{668} 13"),
    ("a number of 2^64", "subtree 0 18446744073709551616"),
    ("a byte order mark", "\u{feff}subtree 8 13"),
    ("NUL", "subtree 8 13\0"),
    ("an empty line", ""),
];

/// The example with its first line naming what is no subtree of the checkpoint.
const NO_SUBTREES: &[&str] = &[
    "subtree 13 8",
    "subtree 1 3",
    "subtree 2 6",
    "subtree 5 13",
    "subtree 8 8",
    "subtree 0 0",
    "subtree 8 15",
    "subtree 16 17",
    "subtree 0 18446744073709551615",
];

#[test]
fn the_range_line() {
    let with_range = |range: &str| parse(&SPEC.replacen("subtree 8 13", range, 1));
    for (why, range) in BAD_RANGES {
        assert!(matches!(with_range(range), Err(RequestError::Line { line: 1, .. })), "{why}");
    }
    for range in NO_SUBTREES {
        assert!(matches!(with_range(range), Err(RequestError::Subtree(_))), "{range}");
    }
    with_range("subtree 0 14").unwrap();
}

#[test]
fn the_hash_lines() {
    let bad = [
        "",
        "mbsQCg+dEIMGlpqeGgk94JutQwKKS2Lo5IuDhKmDjiU",
        "mbsQCg-dEIMGlpqeGgk94JutQwKKS2Lo5IuDhKmDjiU=",
        "mbsQCg+dEIMGlpqeGgk94JutQwKKS2Lo5IuDhKmDjiV=",
        "mbsQCg+dEIMGlpqeGgk94JutQwKKS2Lo5IuDhKmDjg==",
        "mbsQCg+dEIMGlpqeGgk94JutQwKKS2Lo5IuDhKmDjiUA",
        " mbsQCg+dEIMGlpqeGgk94JutQwKKS2Lo5IuDhKmDjiU=",
        "mbsQCg+dEIMGlpqeGgk94JutQwKKS2Lo5IuDhKmDjiU= ",
        "mbsQCg+dEIMGlpqeGgk94JutQwKKS2Lo5IuDhKmDjiU=\r",
        "mbsQCg+dEIMG lpqeGgk94JutQwKKS2Lo5IuDhKmDjiU=",
    ];
    for text in bad {
        let hash = parse(&SPEC.replacen(HASH, text, 1));
        assert!(matches!(hash, Err(RequestError::Line { line: 2, .. })), "{text:?} as the hash");
        if !text.is_empty() {
            let line = parse(&SPEC.replacen(HASH, &format!("{HASH}\n{text}"), 1));
            assert!(matches!(line, Err(RequestError::Line { line: 3, .. })), "{text:?} in the proof");
        }
    }
    let with_lines = |count| {
        let lines: String = core::iter::repeat_n(format!("{HASH}\n"), count).collect();
        let (range, rest) = SPEC.split_once('\n').unwrap();
        let (_, checkpoint) = rest.split_once("\n\n").unwrap();
        parse(&format!("{range}\n{HASH}\n{lines}\n{checkpoint}"))
    };
    for count in [0, 1, MAX_PROOF_LINES] {
        assert_eq!(with_lines(count).unwrap().proof.0.len(), count);
    }
    assert!(matches!(with_lines(MAX_PROOF_LINES + 1), Err(RequestError::Line { line: 66, .. })));
    assert!(matches!(with_lines(20_000), Err(RequestError::Line { line: 66, .. })));
}

#[test]
fn the_checkpoint() {
    let cut = |at: &str| parse(SPEC.split_once(at).unwrap().0);
    assert!(
        matches!(cut("\n\nexample"), Err(RequestError::Line { line: 6, .. })),
        "a line without its newline"
    );
    assert!(matches!(cut("\nexample"), Err(RequestError::Line { line: 7, .. })), "no empty line");
    let note = |result| match result {
        Err(RequestError::Checkpoint(CheckpointError::Note(error))) => Some(error),
        _ => None,
    };
    assert_eq!(note(cut("example")), Some(NoteError::NoSignatures), "no checkpoint");
    assert_eq!(note(cut("— witness")), Some(NoteError::NoSignatures), "no signature");
    assert_eq!(note(parse(SPEC.trim_end())), Some(NoteError::SignatureLine { line: 1 }), "no final newline");
    let extra = format!("{SPEC}\n");
    assert_eq!(note(parse(&extra)), Some(NoteError::NoSignatures), "a line too many");
    let carriage_returns = SPEC.replacen("sofa\n", "sofa\r\n", 1);
    assert!(matches!(note(parse(&carriage_returns)), Some(NoteError::ControlCharacter { .. })));
    let refused = |from, to| match parse(&SPEC.replacen(from, to, 1)) {
        Err(RequestError::Checkpoint(error)) => error,
        other => panic!("{from:?} as {to:?}: {other:?}"),
    };
    assert_eq!(refused("\n14\n", "\n014\n"), CheckpointError::Size("014".into()));
    assert_eq!(refused("example.com/behind-the-sofa", ""), CheckpointError::Origin);
}

#[test]
fn bytes_that_are_not_text() {
    for at in [3, 20, 70, 250] {
        let mut body: Vec<u8> = SPEC.into();
        body[at] = 0xff;
        assert!(SignSubtreeRequest::parse(&body).is_err(), "0xff at {at}");
    }
    assert!(matches!(parse(""), Err(RequestError::Line { line: 1, .. })));
    assert!(matches!(parse("\n"), Err(RequestError::Line { line: 1, .. })));
}

/// Whatever is cut off the end, the rest is refused.
#[test]
fn every_beginning_is_refused() {
    for end in 0..SPEC.len() {
        assert!(SignSubtreeRequest::parse(&SPEC.as_bytes()[..end]).is_err(), "{end} bytes");
    }
}
