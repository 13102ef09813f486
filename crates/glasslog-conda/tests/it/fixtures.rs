//! Files that are odd in one way each: what is handed over, what is said, and that nothing is lost.

use std::{fs, io::Read, path::Path};

use glasslog_conda::Conda1;
use glasslog_core::{json::Reason, personality::Personality};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{Handed, Reading, reading};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).unwrap()
}

fn read_fixture(name: &str) -> Reading {
    reading(&fixture(name)[..])
}

impl Reading {
    /// The paths handed over, each with why it has no metadata.
    fn outcome(&self) -> Vec<(&str, Option<Reason>)> {
        self.records.iter().map(|record| (&record.path["noarch/".len()..], record.meta_raw)).collect()
    }

    fn record(&self, file: &str) -> &Handed {
        self.records.iter().find(|record| record.path == format!("noarch/{file}")).unwrap()
    }
}

impl Handed {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.entry).unwrap()
    }
}

#[test]
fn every_entry_of_every_fixture_is_valid() {
    let mut count = 0;
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).unwrap() {
        let path = file.unwrap().path();
        let bytes = if path.is_file() { fs::read(&path).unwrap() } else { continue };
        for record in reading(&bytes[..]).records {
            assert!(Conda1::any_repo().validate(&record.entry).is_ok(), "{}", record.path);
            count += 1;
        }
    }
    assert!(count > 40);
}

#[test]
fn v3_files_get_their_extension() {
    let given = read_fixture("v3.json");
    let paths: Vec<&str> = given.records.iter().map(|record| record.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "noarch/plain-1.0-0.conda",
            "noarch/modern-2.0-0.conda",
            "noarch/old-2.0-0.tar.bz2",
            "noarch/wheel-2.0-py3_none_any_0.whl"
        ]
    );
    assert_eq!(given.removed, ["gone-1.0-0.conda", "gone-1.1-0.tar.bz2"]);
    assert_eq!(given.remarks, [""; 0]);
    assert_eq!((given.summary.packages_conda, given.summary.v3, given.summary.removed), (1, 3, 2));
}

#[test]
fn records_without_hashes_are_logged_and_flagged() {
    let given = read_fixture("hashes.json");
    let flags = |file: &str| {
        let record = given.record(file);
        (record.hashless, record.md5_only, record.json()["artifact"].as_object().unwrap().len())
    };
    for (file, hashless, md5_only, members) in [
        ("both-1-0.tar.bz2", false, false, 3),
        ("md5only-1-0.tar.bz2", false, true, 2),
        ("neither-1-0.tar.bz2", true, false, 0),
        ("nulls-1-0.tar.bz2", true, false, 0),
        ("upper-1-0.tar.bz2", false, false, 3),
        ("invalid-1-0.tar.bz2", true, false, 0),
        ("types-1-0.tar.bz2", true, false, 0),
    ] {
        assert_eq!(flags(file), (hashless, md5_only, members), "{file}");
    }
    let upper = given.record("upper-1-0.tar.bz2").json();
    assert_eq!(upper["meta"]["md5"].as_str().unwrap().to_lowercase(), upper["artifact"]["md5"]);
    assert_ne!(upper["meta"]["md5"], upper["artifact"]["md5"], "meta keeps the spelling");
    assert!(given.record("nulls-1-0.tar.bz2").json()["meta"]["license"].is_null(), "meta keeps nulls");
    assert!(given.summary.is_clean());
    assert_eq!((given.summary.hashless, given.summary.md5_only), (4, 1));
}

#[test]
fn names_and_texts_of_any_script() {
    let given = read_fixture("unicode.json");
    assert_eq!(given.remarks, ["refused escä/ped-1-0.conda: the file name is empty or has a slash"]);
    let paths: Vec<&str> = given.records.iter().map(|record| record.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "noarch/licence-1-0.conda",
            "noarch/naïve-包-1-0.conda",
            "noarch/escäped-1-0.conda",
            "noarch/percent%2Fsign and \"quote\"-1-0.conda"
        ]
    );
    let last = String::from_utf8(given.records[3].entry.clone()).unwrap();
    // By UTF-16 the pair D834 DD1E sorts before FB33, though U+1D11E is the larger character.
    assert!(
        last.contains("\"meta\":{\"a\\u0000b\":\"\\u001f\u{7f}\\b\",\"\u{1d11e}\":2,\"\u{fb33}\":1}"),
        "{last}"
    );
    assert!(last.contains(r#""path":"noarch/percent%2Fsign and \"quote\"-1-0.conda""#), "{last}");
}

#[test]
fn records_without_canonical_form_are_logged_all_the_same() {
    use Reason::{Depth, Duplicate, Float, Integer, Surrogate};
    let given = read_fixture("odd-values.json");
    let reasons = [
        ("float-1-0.conda", Some(Float)),
        ("one-point-nought-1-0.conda", Some(Float)),
        ("minus-nought-1-0.conda", Some(Float)),
        ("exponent-1-0.conda", Some(Float)),
        ("huge-1-0.conda", Some(Integer)),
        ("negative-huge-1-0.conda", Some(Integer)),
        ("largest-1-0.conda", None),
        ("duplicate-1-0.conda", Some(Duplicate)),
        ("duplicate-inside-1-0.conda", Some(Duplicate)),
        ("surrogate-1-0.conda", Some(Surrogate)),
        ("surrogate-key-1-0.conda", Some(Surrogate)),
        ("reversed-pair-1-0.conda", Some(Surrogate)),
        ("depth-63-1-0.conda", None),
        ("depth-64-1-0.conda", Some(Depth)),
        ("depth-65-1-0.conda", Some(Depth)),
        ("all-of-it-1-0.conda", Some(Depth)),
        ("all-but-depth-1-0.conda", Some(Surrogate)),
        ("duplicate-and-numbers-1-0.conda", Some(Duplicate)),
        ("integer-and-float-1-0.conda", Some(Integer)),
        ("plain-1-0.conda", None),
    ];
    assert_eq!(given.outcome(), reasons);
    assert_eq!(given.summary.meta_raw, 17);
    assert!(given.summary.is_clean());

    let float = given.record("float-1-0.conda").json();
    let served = br#"{"name":"float","md5":"@","size":12,"score":0.5}"#;
    let served = String::from_utf8_lossy(served).replace('@', float["artifact"]["md5"].as_str().unwrap());
    assert_eq!(float["meta"], Value::Null);
    assert_eq!(float["meta_raw"]["size"], served.len());
    assert_eq!(float["meta_raw"]["sha256"], const_hex::encode(Sha256::digest(served)));
    assert_eq!(float["artifact"]["size"], 12);

    let artifact = |file: &str| given.record(file).json()["artifact"].to_string();
    assert_eq!(artifact("one-point-nought-1-0.conda"), "{}", "1.0 is no integer");
    assert_eq!(artifact("minus-nought-1-0.conda"), r#"{"size":7}"#);
    assert_eq!(artifact("duplicate-inside-1-0.conda"), r#"{"size":1}"#, "only what is ambiguous is left out");
    assert_eq!(artifact("depth-64-1-0.conda"), r#"{"size":4}"#);
    assert!(artifact("huge-1-0.conda").starts_with(r#"{"sha256":""#));
    let duplicate = artifact("duplicate-1-0.conda");
    assert!(duplicate.contains("md5") && !duplicate.contains("size"), "size stands twice: {duplicate}");
}

/// An entry of 65,535 bytes is the longest; what is longer, or longer than 1 MiB as served, has the reason `size`.
#[test]
fn long_records() {
    let repodata = |record: &str| format!(r#"{{"packages":{{"a-1-0.conda":{record},"b-1-0.conda":{{}}}}}}"#);
    let record = |filling: usize| format!(r#"{{"size":5,"summary":"{}"}}"#, "x".repeat(filling));
    let around = reading(repodata(&record(0)).as_bytes()).records[0].entry.len();
    let fits = reading(repodata(&record(65_535 - around)).as_bytes());
    assert_eq!((fits.records[0].entry.len(), fits.records[0].meta_raw), (65_535, None));
    for filling in [65_536 - around, 300_000, (1 << 20) - 23, 1 << 20, 3 << 20] {
        let served = record(filling);
        let given = reading(repodata(&served).as_bytes());
        assert_eq!(
            given.outcome(),
            [("a-1-0.conda", Some(Reason::Size)), ("b-1-0.conda", None)],
            "{filling}"
        );
        let entry = given.records[0].json();
        assert_eq!(entry["meta_raw"]["sha256"], const_hex::encode(Sha256::digest(&served)));
        assert_eq!(
            (&entry["meta_raw"]["size"], &entry["artifact"]["size"]),
            (&served.len().into(), &5.into())
        );
    }
    // White space is not part of the canonical form, but of the limit of what is read.
    let padded = |padding: usize| repodata(&format!(r#"{{"a":1.0,"b":2{}}}"#, " ".repeat(padding)));
    assert_eq!(reading(padded((1 << 20) - 15).as_bytes()).records[0].meta_raw, Some(Reason::Float));
    assert_eq!(reading(padded((1 << 20) - 14).as_bytes()).records[0].meta_raw, Some(Reason::Size));
    let spaced = |padding: usize| repodata(&format!(r#"{{"a":1{}}}"#, " ".repeat(padding)));
    assert_eq!(reading(spaced((1 << 20) - 7).as_bytes()).records[0].meta_raw, None);
    assert_eq!(reading(spaced((1 << 20) - 6).as_bytes()).records[0].meta_raw, Some(Reason::Size));
    // A name that no entry has room for.
    let long_name = format!(r#"{{"packages":{{"{}":{{}},"b":{{}}}}}}"#, "n".repeat(65_500));
    let given = reading(long_name.as_bytes());
    assert_eq!((given.records.len(), given.summary.refused), (1, 1));
}

#[test]
fn what_is_no_record_is_named() {
    let given = read_fixture("not-records.json");
    assert_eq!(given.outcome(), [("good-1-0.conda", None), ("..", None), ("dot-1-0.", None)]);
    let not_an_object =
        ["string-1-0.conda", "array-1-0.conda", "null-1-0.conda", "true-1-0.conda", "number-1-0.conda"];
    let mut expected: Vec<String> =
        not_an_object.iter().map(|name| format!("refused {name}: the record is not an object")).collect();
    for (name, why) in [
        ("", "the file name is empty or has a slash"),
        ("a/b-1-0.conda", "the file name is empty or has a slash"),
        ("\u{fffd}-1-0.conda", "the file name holds a lone surrogate, which no UTF-8 text can"),
        ("packages.conda", "the section is not an object of records, so what it lists is not known"),
        ("conda", "the section is not an object of records, so what it lists is not known"),
        (".whl", "the file name is empty or has a slash"),
        ("removed", "removed is not a list of file names"),
        ("\u{fffd}", "the file name holds a lone surrogate, which no UTF-8 text can"),
    ] {
        expected.push(format!("refused {name}: {why}"));
    }
    assert_eq!(given.remarks, expected);
    assert_eq!(given.removed, ["ok-1-0.conda"]);
    assert!(!given.summary.is_clean());
}

#[test]
fn keys_that_are_not_known_are_skipped_and_named() {
    let given = read_fixture("unknown-key.json");
    assert_eq!(given.remarks, ["unknown key future", "unknown key zzz"]);
    assert_eq!(given.outcome(), [("a-1-0.conda", None)]);
    assert!(given.summary.is_clean() && given.error.is_none());
}

#[test]
fn a_file_that_is_cut_off_says_where_and_what_came_before() {
    let given = read_fixture("truncated.json");
    let length = fixture("truncated.json").len() as u64;
    assert_eq!(given.error, Some(("truncated".to_owned(), length)));
    assert_eq!(given.outcome(), [("a-1-0.conda", None), ("b-1-0.conda", None)]);
    assert_eq!((given.summary.records, given.summary.bytes), (2, length));
    let whole = fixture("v3.json");
    let end = whole.iter().rposition(|byte| *byte == b'}').unwrap();
    for cut in 0..=end {
        let given = reading(&whole[..cut]);
        assert_eq!(given.error.map(|(what, _)| what), Some("truncated".to_owned()), "at {cut}");
    }
}

#[test]
fn malformed_files() {
    for (json, offset, why) in [
        ("[]", 0, "not an object"),
        ("\u{feff}{}", 0, "a byte order mark"),
        ("{} x", 3, "something after the end"),
        ("{\"a\" 1}", 5, "no colon"),
        ("{\"a\":1,}", 7, "a comma before the end"),
        ("{\"packages\":{},\"packages\":{}}", 26, "a section that stands twice"),
        ("{\"packages\":{\"a\":{\"b\":01}}}", 22, "a leading zero"),
        ("{\"packages\":{\"a\":{\"b\":NaN}}}", 22, "not a number"),
        ("{\"packages\":{\"a\":{\"b\":\"\t\"}}}", 23, "a control character"),
        ("{\"packages\":{\"a\":{\"b\":\"\\x\"}}}", 23, "an unknown escape"),
        ("{\"packages\":{\"a\":{\"b\":[1}}}", 24, "brackets that do not match"),
        ("{\"packages\":{\"a\":{} \"b\":{}}}", 20, "a comma that is missing"),
        ("{\"packages\":{\"a\":{\"b\":1.}}}", 24, "no digits after the point"),
    ] {
        let error = reading(json.as_bytes()).error;
        let near = error.as_ref().is_some_and(|(what, at)| what != "truncated" && at.abs_diff(offset) <= 2);
        assert!(near, "{why}: {error:?}, not near {offset}");
    }
    let not_utf8 = b"{\"packages\":{\"a\":{\"b\":\"\xff\"}}}";
    assert_eq!(reading(&not_utf8[..]).error, Some(("a string is not UTF-8".to_owned(), 23)));
}

#[test]
fn of_two_records_of_a_file_v3s_is_logged() {
    let given = read_fixture("listed-twice.json");
    assert_eq!(
        given.remarks,
        [
            "conflict early-1-0.conda in Packages",
            "conflict same-1-0.conda in Packages",
            "conflict both-1-0.conda in PackagesConda"
        ]
    );
    assert_eq!(given.record("early-1-0.conda").json()["meta"]["name"], "v3");
    assert_eq!((given.records.len(), given.summary.repeated, given.summary.conflicts), (4, 1, 3));

    let given = read_fixture("listed-twice-v3-last.json");
    assert_eq!(given.remarks, ["conflict late-1-0.conda in V3"]);
    let overrides: Vec<bool> = given.records.iter().map(|record| record.overrides).collect();
    assert_eq!(overrides, [false, true]);
    assert!(!given.summary.is_clean());
}

/// What is read does not depend on how the reader splits its bytes, nor on where the buffer ends.
#[test]
fn readers_may_split_their_bytes_anywhere() {
    struct OneByOne<'a>(&'a [u8]);
    impl Read for OneByOne<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer.get_mut(..1).unwrap_or_default())
        }
    }
    for file in [
        "v3.json",
        "odd-values.json",
        "unicode.json",
        "not-records.json",
        "truncated.json",
        "listed-twice.json",
    ] {
        let bytes = fixture(file);
        assert_eq!(reading(OneByOne(&bytes)), reading(&bytes[..]), "{file}");
    }
    // A record moved over the end of the buffer, byte by byte, with every kind of token in it.
    let members = r#""a-1-0.conda" : {"z":"ü\u00e4\ud834\udd1e\n","b":[1,-2,true,null],"md5":"x"} , "b-1-0.conda":{"f":1.5e3}"#;
    let whole = |padding: usize| format!("{{\"packages\":{{{}{members}}}}}", " ".repeat(padding));
    let expected = reading(whole(0).as_bytes());
    let near_the_end = 256 * 1024 - members.len() - 20;
    for padding in near_the_end..near_the_end + members.len() + 30 {
        assert_eq!(reading(whole(padding).as_bytes()).records, expected.records, "{padding}");
    }
}

#[test]
fn junk_is_skipped_without_being_kept() {
    let deep =
        format!(r#"{{"junk":{}1{},"packages":{{"a":{{}}}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(reading(deep.as_bytes()).records.len(), 1);
    let deep_record =
        format!(r#"{{"packages":{{"a":{{"x":{}{}}}}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(reading(deep_record.as_bytes()).outcome(), [("a", Some(Reason::Depth))]);
    let too_deep = "[".repeat(2_000_000);
    let given = reading(format!(r#"{{"junk":{too_deep}"#).as_bytes());
    assert_eq!(given.error.unwrap().0, "more than 1,048,576 levels");
}
