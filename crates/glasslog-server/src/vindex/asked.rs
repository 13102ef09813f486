//! What a lookup asks for: path and query, read strictly. A name that was read otherwise than it was meant would be answered
//! with a proof about another one.

use glasslog_vindex::{Key, MAX_NAME_BYTES, MapFunction, Question};
use http::StatusCode;

use crate::{add::canonical_number, answer::Refusal};

/// The most elements of a list in one answer.
pub(super) const MAX_LIMIT: usize = 1000;

/// The most entries that are given with one answer.
pub(super) const MAX_ENTRIES: usize = 64;

/// How a path asks for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked<'a> {
    /// The query says the name.
    Query,
    /// The path says the key.
    Key(Key),
    /// The path says the name, percent-encoded, of the default kind.
    Name(&'a str),
}

impl<'a> Asked<'a> {
    /// What a path below a log asks for, if it is one of a lookup.
    pub(crate) fn of(path: &'a str) -> Option<Asked<'a>> {
        match path.strip_prefix("vindex/lookup")? {
            "" => Some(Asked::Query),
            rest => match rest.strip_prefix('/')?.strip_prefix("key/") {
                Some(name) => Some(Asked::Name(name)),
                None => rest.strip_prefix('/').and_then(key).map(Asked::Key),
            },
        }
    }
}

/// 64 lower-case hexadecimal digits.
fn key(digits: &str) -> Option<Key> {
    let mut key = [0; Key::LEN];
    if digits.len() != 2 * Key::LEN || digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = hex_byte(pair)?;
    }
    Some(Key(key))
}

fn hex_byte(pair: &[u8]) -> Option<u8> {
    let &[high, low] = pair else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// A lookup, as far as it can be read without an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// What is asked.
    pub(super) question: Question,
    /// The key of that.
    pub(super) key: Key,
    /// The position of the first element that is wanted.
    pub(super) start: u64,
    /// How many are.
    pub(super) limit: usize,
    /// How many entries are.
    pub(super) entries: usize,
    /// Whether hints are better than nothing.
    pub(super) unverified: bool,
}

impl Wish {
    /// Reads what `asked` and `query` ask of an index of `map_fn`.
    ///
    /// # Errors
    ///
    /// 400 for what is not understood, 414 for a name that no key can be of.
    pub(super) fn read(
        asked: Asked<'_>,
        query: Option<&str>,
        map_fn: &dyn MapFunction,
    ) -> Result<Wish, Refusal> {
        let mut given = Given::default();
        for parameter in
            query.into_iter().filter(|query| !query.is_empty()).flat_map(|query| query.split('&'))
        {
            given.take(parameter, asked)?;
        }
        let (question, key) = match (asked, given.key) {
            (Asked::Key(key), _) => (Question::Key(key), key),
            (Asked::Name(name), _) => named(decoded(name)?, None, map_fn)?,
            (Asked::Query, Some(name)) => named(name, given.kind, map_fn)?,
            (Asked::Query, None) => {
                return Err(Refusal::bad_request("the parameter key is missing: it says what to look up"));
            }
        };
        Ok(Wish {
            question,
            key,
            start: given.start.unwrap_or(0),
            limit: given.limit.unwrap_or(MAX_LIMIT),
            entries: given.entries.unwrap_or(0),
            unverified: given.unverified.is_some(),
        })
    }
}

fn named(name: String, kind: Option<String>, map_fn: &dyn MapFunction) -> Result<(Question, Key), Refusal> {
    if name.len() > MAX_NAME_BYTES {
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "a name has at most 65,535 bytes"));
    }
    let key = map_fn.key(kind.as_deref(), &name).map_err(|why| Refusal::bad_request(why.to_string()))?;
    let kind = kind.or(map_fn.kinds().first().map(|kind| (*kind).to_owned())).unwrap_or_default();
    Ok((Question::Name { kind, name }, key))
}

/// The parameters of a query, each at most once.
#[derive(Default)]
struct Given {
    kind: Option<String>,
    key: Option<String>,
    start: Option<u64>,
    limit: Option<usize>,
    entries: Option<usize>,
    unverified: Option<()>,
}

impl Given {
    fn take(&mut self, parameter: &str, asked: Asked<'_>) -> Result<(), Refusal> {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let by_query = asked == Asked::Query;
        match name {
            "key" if by_query => once(name, &mut self.key, query_text(name, value)?),
            "kind" if by_query => once(name, &mut self.kind, query_text(name, value)?),
            "start" => once(name, &mut self.start, number(name, value, 0, u64::MAX)?),
            "limit" => once(name, &mut self.limit, bounded(name, value, 1, MAX_LIMIT)?),
            "entries" => once(name, &mut self.entries, bounded(name, value, 0, MAX_ENTRIES)?),
            "unverified" if value == "1" => once(name, &mut self.unverified, ()),
            "unverified" => Err(Refusal::bad_request("the only value of unverified is 1")),
            _ if by_query => Err(Refusal::bad_request(
                "the parameters here are kind, key, start, limit, entries and unverified",
            )),
            _ => Err(Refusal::bad_request("the parameters here are start, limit, entries and unverified")),
        }
    }
}

fn once<T>(name: &str, place: &mut Option<T>, value: T) -> Result<(), Refusal> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::bad_request(format!("the parameter {name} is there twice"))),
    }
}

fn number(name: &str, value: &str, least: u64, most: u64) -> Result<u64, Refusal> {
    canonical_number(value).filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        Refusal::bad_request(format!("the parameter {name} is a decimal number from {least} to {most}"))
    })
}

fn bounded(name: &str, value: &str, least: usize, most: usize) -> Result<usize, Refusal> {
    let number = number(name, value, least as u64, most as u64)?;
    // Within a usize on both sides.
    Ok(usize::try_from(number).unwrap_or(most))
}

/// A value of the query. Some clients write a space as `+`, others mean a plus sign by it.
fn query_text(name: &str, value: &str) -> Result<String, Refusal> {
    if value.contains('+') {
        let message = format!("the parameter {name} has a `+`; write %2B for a plus sign, %20 for a space");
        return Err(Refusal::bad_request(message));
    }
    decoded(value)
}

/// What a percent-encoded text means (RFC 3986 §2.1).
fn decoded(text: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            let pair = after.get(..2).and_then(hex_byte);
            bytes.push(pair.ok_or_else(|| {
                Refusal::bad_request(
                    "a `%` in the name is not followed by two hexadecimal digits; write %25 for it",
                )
            })?);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes)
        .map_err(|_| Refusal::bad_request("names are UTF-8, and this one is not once it is percent-decoded"))
}

#[cfg(test)]
mod tests {
    use glasslog_vindex::JsonField;

    use super::*;

    struct Kinds;

    impl MapFunction for Kinds {
        fn name(&self) -> &'static str {
            "kinds"
        }

        fn kinds(&self) -> &'static [&'static str] {
            &["path", "name"]
        }

        fn map(&self, _: &[u8], _: &mut Vec<Key>) {}
    }

    fn read(path: &str, query: Option<&str>, map_fn: &dyn MapFunction) -> Result<Wish, Refusal> {
        Wish::read(Asked::of(path).expect("not a path of a lookup"), query, map_fn)
    }

    #[test]
    fn a_path_has_one_spelling() {
        let hex = "00ff".repeat(16);
        assert_eq!(Asked::of("vindex/lookup"), Some(Asked::Query));
        assert_eq!(
            Asked::of(&format!("vindex/lookup/{hex}")),
            Some(Asked::Key(Key(std::array::from_fn(|n| if n % 2 == 0 { 0 } else { 255 }))))
        );
        assert_eq!(Asked::of("vindex/lookup/key/a/b%20c"), Some(Asked::Name("a/b%20c")));
        assert_eq!(Asked::of("vindex/lookup/key/"), Some(Asked::Name("")));
        for path in [
            "vindex/lookup/".to_owned(),
            "vindex/lookup/key".to_owned(),
            "vindex/lookups".to_owned(),
            "vindex/lookup//".to_owned(),
            "vindex/".to_owned(),
            format!("vindex/lookup/{}", hex.to_uppercase()),
            format!("vindex/lookup/{hex}/"),
            format!("vindex/lookup/{}", &hex[1..]),
            format!("vindex/lookup/{hex}0"),
            format!("vindex/lookup/{}+f", &hex[2..]),
            format!("vindex/lookup/{}é", &hex[2..]),
        ] {
            assert_eq!(Asked::of(&path), None, "{path}");
        }
    }

    #[test]
    fn names_are_decoded_strictly() {
        let field = JsonField::new("f").unwrap();
        let name = |path: &str, query: Option<&str>| match read(path, query, &field) {
            Ok(Wish { question: Question::Name { name, .. }, .. }) => Ok(name),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(refusal.status.as_u16()),
        };
        for (text, expected) in [
            ("", Ok("")),
            ("a", Ok("a")),
            ("a%2Fb%2fc/d", Ok("a/b/c/d")),
            ("%C3%A9%00", Ok("é\0")),
            ("%25", Ok("%")),
            ("%252F", Ok("%2F")),
            ("%", Err(400)),
            ("%4", Err(400)),
            ("%+4", Err(400)),
            ("%zz", Err(400)),
            ("%C3", Err(400)),
            ("%ED%A0%80", Err(400)),
            ("%C0%AF", Err(400)),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(name(&format!("vindex/lookup/key/{text}"), None), expected, "{text}");
            assert_eq!(name("vindex/lookup", Some(&format!("key={text}"))), expected, "{text}");
        }
        assert_eq!(name("vindex/lookup/key/a+b", None), Ok("a+b".into()));
        assert_eq!(name("vindex/lookup", Some("key=a+b")), Err(400));
        assert_eq!(name("vindex/lookup", Some("key=a%2Bb=c")), Ok("a+b=c".into()));
        assert_eq!(name(&format!("vindex/lookup/key/{}", "x".repeat(65_536)), None), Err(414));
        assert_eq!(
            name(&format!("vindex/lookup/key/{}", "x".repeat(65_535)), None).map(|n| n.len()),
            Ok(65_535)
        );
    }

    #[test]
    fn parameters_are_known_and_there_once() {
        let by_name =
            read("vindex/lookup", Some("key=a&kind=name&start=5&limit=7&entries=64&unverified=1"), &Kinds);
        assert_eq!(
            by_name.unwrap(),
            Wish {
                question: Question::Name { kind: "name".into(), name: "a".into() },
                key: Key::of_kind("name", "a"),
                start: 5,
                limit: 7,
                entries: 64,
                unverified: true,
            }
        );
        let by_default = read("vindex/lookup/key/a", None, &Kinds).unwrap();
        assert_eq!(by_default.key, Key::of_kind("path", "a"));
        assert_eq!((by_default.start, by_default.limit, by_default.entries), (0, 1000, 0));
        for query in [
            "",
            "kind=path",
            "key=a&key=a",
            "key=a&kind=path&kind=path",
            "key=a&x=1",
            "key=a&",
            "&key=a",
            "key=a&Start=1",
            "key=a&kind=",
            "key=a&kind=paths",
            "key=a&kind=Path",
            "key=a&start=-1",
            "key=a&start=01",
            "key=a&start=18446744073709551616",
            "key=a&start=",
            "key=a&limit=0",
            "key=a&limit=1001",
            "key=a&entries=65",
            "key=a&unverified=0",
            "key=a&unverified",
        ] {
            assert!(read("vindex/lookup", Some(query), &Kinds).is_err(), "{query}");
        }
        for query in ["key=a", "kind=path", "x"] {
            assert!(read("vindex/lookup/key/a", Some(query), &Kinds).is_err(), "{query}");
        }
        assert!(read("vindex/lookup", Some("key=a&kind="), &JsonField::new("f").unwrap()).is_err());
        assert!(read("vindex/lookup", Some("key=&start=18446744073709551615"), &Kinds).is_ok());
    }
}
