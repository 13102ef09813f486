use std::{format, string::String, string::ToString, vec, vec::Vec};

use proptest::prelude::*;
use serde_json::Value as Judge;

use super::*;

fn canonical(input: &str) -> Result<String, JsonError> {
    let mut out = Vec::new();
    canonicalize(input.as_bytes(), &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

/// RFC 8785 §3.2.3: the sorting example of the specification, and its result.
#[test]
fn the_sorting_example_of_rfc_8785() {
    let input = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
    let output = canonical(input).unwrap();
    let values = scan(output.as_bytes()).unwrap().as_object().unwrap();
    let order: Vec<String> = values.members().map(|m| m.value().as_str().unwrap().into_owned()).collect();
    assert_eq!(
        order,
        [
            "Carriage Return",
            "One",
            "Control",
            "Latin Small Letter O With Diaeresis",
            "Euro Sign",
            "Emoji: Grinning Face",
            "Hebrew Letter Dalet With Dagesh"
        ]
    );
}

/// RFC 8785 §3.2.2.2 and appendix: how strings are written.
#[test]
fn strings_are_written_the_shortest_way() {
    for (input, output) in [
        (r#""\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/""#, r#""€$\u000f\nA'B\"\\\\\"/""#),
        (r#""\b\f\n\r\t\u0008\u000c\u000A\u000D\u0009""#, r#""\b\f\n\r\t\b\f\n\r\t""#),
        (r#""\u0000\u001f\u0020\u007F\u0080""#, "\"\\u0000\\u001f \u{7f}\u{80}\""),
        (r#""\ud83e\udeb5""#, "\"🪵\""),
        (r#""\uFFFF\uE000""#, "\"\u{ffff}\u{e000}\""),
        ("\"é\u{2028}\"", "\"é\u{2028}\""),
    ] {
        assert_eq!(canonical(input).as_deref(), Ok(output));
        let text = scan(input.as_bytes()).unwrap().as_str().unwrap().into_owned();
        let mut written = Vec::new();
        write_string(&text, &mut written);
        assert_eq!(written, output.as_bytes());
        assert_eq!(serde_json::from_str::<String>(input).unwrap(), text);
    }
}

#[test]
fn what_has_a_canonical_form() {
    for (input, output) in [
        (" [ 1 , -1, 0 ,true,\tfalse,\r\nnull ] ", "[1,-1,0,true,false,null]"),
        ("{ \"b\" : { \"z\":1, \"y\":[ ] } , \"a\" : { } }", r#"{"a":{},"b":{"y":[],"z":1}}"#),
        (r#"{"\u0062":1,"a":2}"#, r#"{"a":2,"b":1}"#),
        (r#"{"aa":1,"a":2,"":3}"#, r#"{"":3,"a":2,"aa":1}"#),
        ("9007199254740991", "9007199254740991"),
        ("-9007199254740991", "-9007199254740991"),
        (
            r#"{"c":{"b":{"b":1,"a":1},"a":1},"b":[{"b":1,"a":1}],"a":1}"#,
            r#"{"a":1,"b":[{"a":1,"b":1}],"c":{"a":1,"b":{"a":1,"b":1}}}"#,
        ),
    ] {
        assert_eq!(canonical(input).as_deref(), Ok(output));
        assert!(is_canonical(output.as_bytes()) && !is_canonical(input.as_bytes()) || input == output);
    }
    let deep = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert_eq!(canonical(&deep), Ok(deep));
}

/// FORMATS §4: one document for each condition. All of them are JSON.
#[test]
fn what_has_no_canonical_form() {
    use Reason::{Depth, Duplicate, Float, Integer, Surrogate};
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let deep_object = format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65));
    let cases: Vec<(&str, Reason, usize)> = vec![
        ("-0", Float, 0),
        ("1.0", Float, 0),
        ("[1, 1e3]", Float, 4),
        ("1E3", Float, 0),
        ("0e0", Float, 0),
        ("0.0", Float, 0),
        ("1e-1", Float, 0),
        ("9007199254740992", Integer, 0),
        ("[-9007199254740992]", Integer, 1),
        ("18446744073709551616", Integer, 0),
        ("99999999999999999999999999999999999999999999", Integer, 0),
        (r#"{"a":1,"a":1}"#, Duplicate, 7),
        (r#"{"a":1,"\u0061":2}"#, Duplicate, 7),
        (r#"{"b":1,"a":1,"b":1}"#, Duplicate, 13),
        (r#"{"a":{"x":1,"b":2,"x":3}}"#, Duplicate, 18),
        (r#"{"a":{"x":1,"b":2},"a":3}"#, Duplicate, 19),
        (r#"{"":1,"":1}"#, Duplicate, 6),
        (r#""\ud800""#, Surrogate, 0),
        (r#""\udc00""#, Surrogate, 0),
        (r#""\ude00\ud83d""#, Surrogate, 0),
        (r#""\ud83d\u0041""#, Surrogate, 0),
        (r#""\ud83d\n""#, Surrogate, 0),
        (r#""\ud83dx""#, Surrogate, 0),
        (r#"{"\udfff":1}"#, Surrogate, 1),
        (&deep, Depth, 64),
        (&deep_object, Depth, 320),
    ];
    for (input, reason, offset) in cases {
        assert_eq!(canonical(input), Err(JsonError::NoCanonicalForm { reason, offset }), "{input}");
        assert!(scan(input.as_bytes()).is_ok(), "{input}");
    }
}

/// What is no JSON at all, though it may also hold a float or a duplicate.
#[test]
fn what_is_not_json() {
    for (input, offset) in [
        ("1 2", 2),
        ("01", 1),
        ("+1", 0),
        (".5", 0),
        ("1.", 2),
        ("1.e1", 2),
        ("1e", 2),
        ("1e+", 3),
        ("-", 1),
        ("--1", 1),
        ("0x1", 1),
        ("NaN", 0),
        ("Infinity", 0),
        ("tru", 3),
        ("nulL", 3),
        ("True", 0),
        ("", 0),
        (" ", 1),
        ("[", 1),
        ("[1", 2),
        ("[1,", 3),
        ("[1,]", 3),
        ("[,1]", 1),
        ("[1 2]", 3),
        ("[1}", 2),
        ("]", 0),
        ("{", 1),
        ("{\"a\"", 4),
        ("{\"a\":", 5),
        ("{\"a\":1", 6),
        ("{\"a\":1,", 7),
        ("{\"a\":1,}", 7),
        ("{a:1}", 1),
        ("{1:1}", 1),
        ("{\"a\" 1}", 5),
        ("{\"a\":1 \"b\":2}", 7),
        ("{'a':1}", 1),
        ("\"a", 2),
        ("\"\\", 2),
        ("\"\\x\"", 2),
        ("\"\\u12\"", 5),
        ("\"\\u12g4\"", 5),
        ("\"a\nb\"", 2),
        ("\"\t\"", 1),
        ("\u{feff}1", 0),
        ("// comment\n1", 0),
        ("[1.5, 2", 7),
        ("{\"a\":1,\"a\":1", 12),
        ("[-0]x", 4),
    ] {
        for result in [canonical(input).map(drop), scan(input.as_bytes()).map(drop)] {
            match result {
                Err(JsonError::Malformed { offset: at, .. } | JsonError::UnexpectedEnd { offset: at }) => {
                    assert_eq!(at, offset, "{input:?}");
                }
                other => panic!("{input:?}: {other:?}"),
            }
        }
        assert!(serde_json::from_str::<&serde_json::value::RawValue>(input).is_err(), "{input:?}");
    }
    for (bytes, offset) in
        [(&b"\"\xff\""[..], 1), (b"\"\xed\xa0\x80\"", 1), (b"\"\xc0\x80\"", 1), (b"1\xff", 1)]
    {
        assert_eq!(scan(bytes).map(drop), Err(JsonError::Malformed { offset, expected: "UTF-8" }));
        assert!(canonicalize(bytes, &mut Vec::new()).is_err());
    }
}

#[test]
fn a_failure_leaves_the_output_as_it_was() {
    let mut canonicalizer = Canonicalizer::new();
    let mut out = b"before".to_vec();
    for bad in [r#"{"b":1,"a":1.0}"#, r#"{"b":[1,2"#, r#"{"b":1,"a":{"c":1,"c":2}}"#] {
        assert!(canonicalizer.canonicalize(bad.as_bytes(), &mut out).is_err());
        assert_eq!(out, b"before");
    }
    canonicalizer.canonicalize(br#"{"b":1,"a":1}"#, &mut out).unwrap();
    assert_eq!(out, br#"before{"a":1,"b":1}"#);
}

#[test]
fn depth_counts_what_will_stand_around() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let mut inside = Canonicalizer::inside(2);
    assert!(inside.canonicalize(nested(62).as_bytes(), &mut Vec::new()).is_ok());
    let too_deep = inside.canonicalize(nested(63).as_bytes(), &mut Vec::new());
    assert_eq!(too_deep, Err(JsonError::NoCanonicalForm { reason: Reason::Depth, offset: 62 }));
    // The grammar has no limit, and needs no stack.
    assert!(scan(nested(1_000_000).as_bytes()).is_ok());
}

#[test]
fn the_view_of_a_document() {
    let input = r#" {"a\n":[1, {"b":null}, "x"],"d":-7,"d":1.5,"\ud800":true, "s" : "é\u00e9"} "#;
    let value = scan(input.as_bytes()).unwrap();
    assert_eq!((value.kind(), value.offset(), value.raw()), (Kind::Object, 1, input.trim()));
    let object = value.as_object().unwrap();
    let members: Vec<(Option<String>, &str, usize)> = object
        .members()
        .map(|m| (m.key().map(alloc::borrow::Cow::into_owned), m.value().raw(), m.value().offset()))
        .collect();
    assert_eq!(
        members,
        [
            (Some("a\n".into()), r#"[1, {"b":null}, "x"]"#, 8),
            (Some("d".into()), "-7", 33),
            (Some("d".into()), "1.5", 40),
            (None, "true", 53),
            (Some("s".into()), r#""é\u00e9""#, 65),
        ]
    );
    for (_, raw, offset) in members {
        assert_eq!(&input[offset..offset + raw.len()], raw);
    }
    assert_eq!(object.get("s").unwrap().as_str().as_deref(), Some("éé"));
    assert_eq!((object.get("d"), object.get("none")), (None, None));
    let array = object.get("a\n").unwrap().as_array().unwrap();
    let kinds: Vec<Kind> = array.elements().map(|element| element.kind()).collect();
    assert_eq!(kinds, [Kind::Number, Kind::Object, Kind::String]);
    assert_eq!(scan(b"[]").unwrap().as_array().unwrap().elements().count(), 0);
    assert_eq!(scan(b" { } ").unwrap().as_object().unwrap().members().count(), 0);
}

#[test]
fn which_numbers_are_integers() {
    for (input, integer) in [
        ("0", Some(0)),
        ("-0", None),
        ("1.0", None),
        ("1e3", None),
        ("9007199254740991", Some(MAX_INTEGER)),
        ("-9007199254740991", Some(-MAX_INTEGER)),
        ("9007199254740992", None),
        ("99999999999999999999", None),
        ("\"1\"", None),
        ("true", None),
    ] {
        assert_eq!(scan(input.as_bytes()).unwrap().as_integer(), integer, "{input}");
    }
}

#[test]
fn where_a_value_ends() {
    for (text, at, end) in
        [("{\"a\":1},{", 0, 7), ("[1,2] x", 0, 5), ("  \"a\",", 0, 5), ("{\"k\": true}", 5, 10)]
    {
        assert_eq!(value_end(text, at), Ok(end), "{text}");
    }
    assert_eq!(value_end("{\"a\":", 0), Err(JsonError::UnexpectedEnd { offset: 5 }));
    assert_eq!(value_end("[1,}", 1), Ok(2));
    assert_eq!(value_end("1", 2), Err(JsonError::UnexpectedEnd { offset: 1 }));
}

/// The word-at-a-time search against one byte at a time, each special byte at each position of two words.
#[test]
fn plain_end_finds_the_first_special_byte() {
    for special in (0..0x20).chain([b'"', b'\\']) {
        for at in 0..20 {
            for filler in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                let mut bytes = vec![filler; 20];
                bytes[at] = special;
                assert_eq!(lexer::plain_end(&bytes, 0), at, "{special:#x} among {filler:#x}");
                bytes[at] = filler;
                assert_eq!(lexer::plain_end(&bytes, at), 20);
            }
        }
    }
}

/// Any value with a canonical form, as the judge's type.
fn json() -> impl Strategy<Value = Judge> {
    let text =
        || prop_oneof!["[a-c]{0,3}", "\\PC{0,12}", "[\\x00-\\x22\\\\\u{e000}\u{ffff}\u{10000}😀é/]{0,6}"];
    let leaf = prop_oneof![
        Just(Judge::Null),
        any::<bool>().prop_map(Judge::from),
        (-MAX_INTEGER..=MAX_INTEGER).prop_map(Judge::from),
        text().prop_map(Judge::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Judge::from),
            proptest::collection::vec((text(), inner), 0..6)
                .prop_map(|members| Judge::Object(members.into_iter().collect())),
        ]
    })
}

/// `value` in one of its many spellings: members in the order of `picks`, spaces and escapes here and there.
fn spell(value: &Judge, picks: &mut impl Iterator<Item = u8>, out: &mut String) {
    let mut pick = |n: u8| picks.next().unwrap_or(0) % n;
    out.push_str(["", " ", "\n\t"][usize::from(pick(3))]);
    match value {
        Judge::String(text) => spell_string(text, picks, out),
        Judge::Array(elements) => {
            out.push('[');
            for (number, element) in elements.iter().enumerate() {
                out.push_str(if number > 0 { "," } else { "" });
                spell(element, picks, out);
            }
            out.push_str(" ]");
        }
        Judge::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            if !members.is_empty() {
                let count = members.len();
                members.rotate_left(usize::from(pick(6)) % count);
            }
            out.push('{');
            for (number, (key, value)) in members.into_iter().enumerate() {
                out.push_str(if number > 0 { " ," } else { "" });
                spell_string(key, picks, out);
                out.push(':');
                spell(value, picks, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn spell_string(text: &str, picks: &mut impl Iterator<Item = u8>, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        let must = character < ' ' || character == '"' || character == '\\';
        if must || picks.next().unwrap_or(0).is_multiple_of(4) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04X}"));
            }
        } else {
            out.push(character);
        }
    }
    out.push('"');
}

proptest! {
    #[test]
    fn agrees_with_serde_json_canonicalizer(value in json(), picks in proptest::collection::vec(any::<u8>(), 0..200)) {
        let judged = serde_json_canonicalizer::to_string(&value).unwrap();
        let mut spelt = String::new();
        spell(&value, &mut picks.into_iter(), &mut spelt);
        prop_assert_eq!(canonical(&spelt), Ok(judged.clone()));
        prop_assert!(is_canonical(judged.as_bytes()));
        prop_assert_eq!(serde_json::from_str::<Judge>(scan(spelt.as_bytes()).unwrap().raw()).unwrap(), value);
    }

    /// One byte wrong: the same bytes are JSON for both, and what has a canonical form has the same meaning.
    #[test]
    fn agrees_with_serde_json_on_what_is_json(value in json(), at: prop::sample::Index, byte: u8, kind in 0..3) {
        let mut bytes = value.to_string().into_bytes();
        let at = at.index(bytes.len());
        match kind {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => { bytes.remove(at); }
        }
        let judged = core::str::from_utf8(&bytes).is_ok()
            && serde_json::from_slice::<&serde_json::value::RawValue>(&bytes).is_ok();
        prop_assert_eq!(scan(&bytes).is_ok(), judged);
        let mut out = Vec::new();
        match canonicalize(&bytes, &mut out) {
            Ok(()) => prop_assert_eq!(
                serde_json::from_slice::<Judge>(&out).unwrap(),
                serde_json::from_slice::<Judge>(&bytes).unwrap()
            ),
            Err(JsonError::NoCanonicalForm { .. }) => prop_assert!(judged),
            Err(_) => prop_assert!(!judged),
        }
    }

    #[test]
    fn the_view_shows_what_serde_json_reads(value in json()) {
        let text = value.to_string();
        let seen = read(&scan(text.as_bytes()).unwrap());
        prop_assert_eq!(seen, value);
    }
}

/// A document read through the view alone.
fn read(value: &Value<'_>) -> Judge {
    match value.kind() {
        Kind::Null => Judge::Null,
        Kind::Bool => value.as_bool().unwrap().into(),
        Kind::Number => value.as_integer().unwrap().into(),
        Kind::String => value.as_str().unwrap().into(),
        Kind::Array => value.as_array().unwrap().elements().map(|element| read(&element)).collect(),
        Kind::Object => Judge::Object(
            value
                .as_object()
                .unwrap()
                .members()
                .map(|member| (member.key().unwrap().into_owned(), read(&member.value())))
                .collect(),
        ),
    }
}
