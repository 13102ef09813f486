use glasslog_core::note::{Algorithm, SecretKey};
use proptest::prelude::*;

use super::*;

const SUM: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

#[test]
fn a_list_of_two() {
    let other = SecretKey::from_seed("log.example", Algorithm::Ed25519, &[1; 32]).unwrap();
    let text = format!(
        "# a list\n\nlogs/v0\n\n  vkey {SUM}  \norigin go.sum database tree\nqpd 86400\ncontact sumdb on-call\n\n\
         vkey {}\r\n#qpd 5\nqpd\t2147483647\nlater something\n",
        other.verifier_key()
    );
    let list = parse(text.as_bytes()).unwrap();
    assert_eq!(list.skipped, []);
    let [sum, other_log] = &list.logs[..] else { panic!("{list:?}") };
    assert_eq!((sum.keys.origin(), sum.qpd.get()), ("go.sum database tree", 86400));
    assert_eq!(
        (sum.keys.keys()[0].to_string(), sum.contact.as_deref()),
        (SUM.to_owned(), Some("sumdb on-call"))
    );
    assert_eq!((other_log.keys.origin(), other_log.qpd.get()), ("log.example", 2_147_483_647));
    assert_eq!(parse(b"logs/v0\n").unwrap(), LogList::default());
}

#[test]
fn what_is_not_a_list() {
    let stanza = |rest: &str| format!("logs/v0\nvkey {SUM}\n{rest}\n");
    for (what, text, line) in [
        ("empty", String::new(), 1),
        ("only comments", "# logs/v0\n".into(), 1),
        ("another version", "logs/v1\n".into(), 1),
        ("no header", format!("vkey {SUM}\nqpd 1\n"), 1),
        ("no key", "logs/v0\nqpd 1\n".into(), 2),
        ("no qpd", stanza("contact me"), 2),
        ("qpd 0", stanza("qpd 0"), 2),
        ("qpd 2^31", stanza("qpd 2147483648"), 2),
        ("a signed qpd", stanza("qpd +5"), 2),
        ("a fraction", stanza("qpd 0.5"), 2),
        ("two words", stanza("qpd 5 6"), 2),
        ("qpd twice", stanza("qpd 5\nqpd 5"), 4),
        ("origin twice", stanza("origin a\norigin a\nqpd 5"), 4),
        ("a long origin", stanza(&format!("origin {}\nqpd 5", "x".repeat(256))), 2),
        ("a control character", stanza("qpd 5\ncontact \u{1b}[31m"), 4),
        ("an empty origin", stanza("origin\nqpd 5"), 2),
    ] {
        let found = parse(text.as_bytes());
        assert!(matches!(found, Err(ListError::Line { line: l, .. }) if l == line), "{what}: {found:?}");
    }
    assert_eq!(parse(b"logs/v0\n\xff"), Err(ListError::NotUtf8(8)));
    assert!(matches!(parse(&vec![b'#'; MAX_LIST_BYTES + 1]), Err(ListError::TooLong(_))));
}

#[test]
fn a_key_of_an_unknown_type_is_left_out_and_said() {
    // The type byte of the key material is 0x2a.
    let text = format!("logs/v0\nvkey log.example+00000000+KgAA\nqpd 1\nvkey {SUM}\nqpd 1\n");
    let list = parse(text.as_bytes()).unwrap();
    assert_eq!(list.logs.len(), 1);
    assert!(matches!(&list.skipped[..], [(2, why)] if why.contains("0x2a")), "{list:?}");
}

#[test]
fn a_stanza_is_read_back() {
    let key: VerifierKey = SUM.parse().unwrap();
    let qpd = NonZeroU32::new(8640).unwrap();
    for (origin, contact) in [("sum.golang.org", None), ("go.sum database tree", Some("me,\nhere"))] {
        let text = stanza(origin, &key, qpd, contact).unwrap();
        let list = parse(format!("logs/v0\n\n{text}").as_bytes()).unwrap();
        let [log] = &list.logs[..] else { panic!("{text}") };
        assert_eq!((log.keys.origin(), log.keys.keys(), log.qpd), (origin, &[key.clone()][..], qpd));
        assert_eq!(log.contact.as_deref(), contact.map(|_| "me, here"));
    }
    assert!(stanza("two\nlines", &key, qpd, None).is_err());
    let most = stanza("o", &key, NonZeroU32::MAX, None).unwrap();
    assert!(parse(format!("logs/v0\n{most}").as_bytes()).is_ok(), "{most}");
}

proptest! {
    /// One byte of a list is changed: it is refused, or what comes out is written back and read again as it was.
    #[test]
    fn what_parses_is_written_back(at: prop::sample::Index, byte: u8) {
        let text = format!("# c\nlogs/v0\nvkey {SUM}\norigin go.sum\nqpd 86400\ncontact me\n\nvkey {SUM}\nqpd 1\n");
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(list) = parse(&bytes) {
            let stanzas = list.logs.iter().map(|log| {
                stanza(log.keys.origin(), &log.keys.keys()[0], log.qpd, log.contact.as_deref()).unwrap()
            });
            let again = format!("logs/v0\n{}", stanzas.collect::<String>());
            prop_assert_eq!(parse(again.as_bytes()).unwrap().logs, list.logs);
        }
    }
}
