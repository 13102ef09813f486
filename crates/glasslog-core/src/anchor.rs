//! The entries by which a log commits to its verifiable index, so far as every log must know them: bytes of anchor
//! form and disavow entries are refused from submitters, always (FORMATS §2).

use alloc::{format, string::String, vec::Vec};

use crate::json::{self, Member, Value};
use crate::{Hash, LeafIndex, TreeSize};

/// The entry that commits to the index root `root` over the entries below `tree_size`; without a root, a void anchor.
///
/// `tree_size` is the anchor's own position in the log.
#[must_use]
pub fn anchor(map_fn: &str, root: Option<&Hash>, tree_size: TreeSize) -> Vec<u8> {
    let mut entry = b"{\"map_fn\":".to_vec();
    json::write_string(map_fn, &mut entry);
    let root = root.map_or_else(|| "null".into(), |root| format!("\"{root}\""));
    let rest = format!(",\"root\":{root},\"tree_size\":{tree_size},\"type\":\"vindex-root\",\"v\":1}}");
    entry.extend_from_slice(rest.as_bytes());
    entry
}

/// The entry that disavows the anchors at `positions`.
#[must_use]
pub fn disavow(positions: &[LeafIndex]) -> Vec<u8> {
    let mut entry = b"{\"positions\":[".to_vec();
    for (number, position) in positions.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        entry.extend_from_slice(format!("{comma}{position}").as_bytes());
    }
    entry.extend_from_slice(b"],\"type\":\"vindex-disavow\",\"v\":1}");
    entry
}

/// What an entry of anchor form says; whether it is true is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The name of a map function.
    pub map_fn: String,
    /// The root of the index, or none: a void anchor.
    pub root: Option<Hash>,
    /// Its position in the log, if it is a right one; at most 2^53 − 1.
    pub tree_size: TreeSize,
}

/// What `entry` says if it is of anchor form: canonical JSON with exactly the members `map_fn` (any string), `root` (null
/// or 64 lower-case hex digits), `tree_size` (0 to 2^53 − 1), `type` `"vindex-root"` and `v` 1.
#[must_use]
pub fn parse_anchor(entry: &[u8]) -> Option<Anchor> {
    let names = ["map_fn", "root", "tree_size", "type", "v"];
    let [map_fn, root, tree_size, kind, version] = canonical_members(entry, names)?;
    if kind.raw() != "\"vindex-root\"" || version.raw() != "1" {
        return None;
    }
    let root = if root.is_null() { None } else { Some(hex_hash(&root)?) };
    Some(Anchor { map_fn: map_fn.as_str()?.into(), root, tree_size: TreeSize(position(&tree_size)?) })
}

/// Whether `entry` is of anchor form, as [`parse_anchor`] says.
#[must_use]
pub fn is_anchor_form(entry: &[u8]) -> bool {
    parse_anchor(entry).is_some()
}

/// The positions that `entry` disavows if it is of disavow form: canonical JSON with exactly the members `positions` (an array
/// of integers from 0 to 2^53 − 1, any number of them, in any order), `type` `"vindex-disavow"` and `v` 1.
#[must_use]
pub fn parse_disavow(entry: &[u8]) -> Option<Vec<LeafIndex>> {
    let [positions, kind, version] = canonical_members(entry, ["positions", "type", "v"])?;
    if kind.raw() != "\"vindex-disavow\"" || version.raw() != "1" {
        return None;
    }
    positions.as_array()?.elements().map(|element| position(&element).map(LeafIndex)).collect()
}

/// Whether `entry` is of disavow form, as [`parse_disavow`] says.
#[must_use]
pub fn is_disavow_form(entry: &[u8]) -> bool {
    parse_disavow(entry).is_some()
}

/// The values of `names` (in canonical order), if `entry` is a canonical object with exactly these members.
fn canonical_members<'a, const N: usize>(entry: &'a [u8], names: [&str; N]) -> Option<[Value<'a>; N]> {
    // Nearly every entry is answered by its first key, without being read.
    let after_quote = entry.strip_prefix(b"{\"")?;
    if !after_quote.starts_with(names.first()?.as_bytes()) || !json::is_canonical(entry) {
        return None;
    }
    let members: Vec<Member<'_>> = json::scan(entry).ok()?.as_object()?.members().take(N + 1).collect();
    let named = members.iter().zip(names).all(|(member, name)| member.key().as_deref() == Some(name));
    let values: Vec<Value<'_>> = members.iter().map(Member::value).collect();
    if named { values.try_into().ok() } else { None }
}

fn hex_hash(value: &Value<'_>) -> Option<Hash> {
    let digits = value.raw().strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    let mut hash = [0; Hash::LEN];
    if digits.len() != 2 * Hash::LEN {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0, |byte, digit| Some(byte << 4 | lower_hex_digit(*digit)?))?;
    }
    Some(Hash(hash))
}

fn lower_hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn position(value: &Value<'_>) -> Option<u64> {
    value.as_integer().and_then(|position| u64::try_from(position).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;
    use std::string::String;

    const GOOD: &str = r#"{"map_fn":"conda-1","root":null,"tree_size":7,"type":"vindex-root","v":1}"#;

    /// The line of FORMATS §2, with its blanks filled in.
    #[test]
    fn what_is_built_is_of_anchor_form() {
        let root = leaf_hash(b"");
        let entry = anchor("conda-1", Some(&root), TreeSize(7));
        let expected = r#"{"map_fn":"conda-1","root":"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d","tree_size":7,"type":"vindex-root","v":1}"#;
        assert_eq!(String::from_utf8(entry).unwrap(), expected);
        assert_eq!(anchor("conda-1", None, TreeSize(7)), GOOD.as_bytes());
        for map_fn in ["", "json-field:\"name\"", "a\nb\\c", "🪵\u{7f}", "conda-1"] {
            for size in [0, 1, (1 << 53) - 1] {
                assert!(is_anchor_form(&anchor(map_fn, Some(&root), TreeSize(size))), "{map_fn:?}");
                assert!(is_anchor_form(&anchor(map_fn, None, TreeSize(size))));
            }
        }
        assert!(!is_anchor_form(&anchor("conda-1", None, TreeSize(1 << 53))));
        for root in [Some(root), None] {
            let said = Anchor { map_fn: "a\n\u{e9}".into(), root, tree_size: TreeSize(7) };
            assert_eq!(parse_anchor(&anchor("a\n\u{e9}", root.as_ref(), TreeSize(7))), Some(said));
        }
    }

    /// One thing changed in an anchor: it is an ordinary entry then.
    #[test]
    fn what_is_not_of_anchor_form() {
        let hex = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        assert!(is_anchor_form(GOOD.as_bytes()));
        for (what, entry) in [
            ("a space", GOOD.replace(":7", ": 7")),
            ("a final newline", format!("{GOOD}\n")),
            ("a member more", GOOD.replace("\"v\":1", "\"v\":1,\"w\":1")),
            ("a member before", GOOD.replace("{\"map", "{\"a\":1,\"map")),
            ("a member less", GOOD.replace(",\"v\":1", "")),
            (
                "another order",
                GOOD.replace(
                    "\"tree_size\":7,\"type\":\"vindex-root\"",
                    "\"type\":\"vindex-root\",\"tree_size\":7",
                ),
            ),
            ("an escaped name", GOOD.replace("\"v\"", "\"\\u0076\"")),
            ("a map_fn that is no string", GOOD.replace("\"conda-1\"", "1")),
            ("a map_fn with a needless escape", GOOD.replace("conda-1", "conda\\u002d1")),
            ("a short root", GOOD.replace("null", &format!("\"{}\"", &hex[1..]))),
            ("a long root", GOOD.replace("null", &format!("\"{hex}0\""))),
            ("an upper-case root", GOOD.replace("null", &format!("\"{}\"", hex.to_uppercase()))),
            ("a root with a quote", GOOD.replace("null", &format!("\"{}\\\"\"", &hex[2..]))),
            ("an empty root", GOOD.replace("null", "\"\"")),
            ("a root that is true", GOOD.replace("null", "true")),
            ("a negative size", GOOD.replace(":7", ":-7")),
            ("a float", GOOD.replace(":7", ":7.0")),
            ("a large size", GOOD.replace(":7", ":9007199254740992")),
            ("a size as text", GOOD.replace(":7", ":\"7\"")),
            ("another type", GOOD.replace("vindex-root", "vindex-toor")),
            ("another version", GOOD.replace("\"v\":1", "\"v\":2")),
            ("a version as text", GOOD.replace("\"v\":1", "\"v\":\"1\"")),
            ("cut off", GOOD[..GOOD.len() - 1].into()),
            ("inside an array", format!("[{GOOD}]")),
        ] {
            assert!(!is_anchor_form(entry.as_bytes()), "{what}");
        }
        assert!(!is_anchor_form(b"") && !is_anchor_form(b"{}") && !is_anchor_form(b"\xff"));
    }

    #[test]
    fn disavowing() {
        let entry = disavow(&[LeafIndex(3), LeafIndex(70)]);
        assert_eq!(entry, br#"{"positions":[3,70],"type":"vindex-disavow","v":1}"#);
        assert!(is_disavow_form(&entry) && is_disavow_form(&disavow(&[])) && !is_anchor_form(&entry));
        for positions in [&[][..], &[LeafIndex(3), LeafIndex(70)], &[LeafIndex((1 << 53) - 1), LeafIndex(0)]]
        {
            assert_eq!(parse_disavow(&disavow(positions)).as_deref(), Some(positions));
        }
        for entry in [
            r#"{"positions":[3.0],"type":"vindex-disavow","v":1}"#,
            r#"{"positions":[-3],"type":"vindex-disavow","v":1}"#,
            r#"{"positions":["3"],"type":"vindex-disavow","v":1}"#,
            r#"{"positions":[9007199254740992],"type":"vindex-disavow","v":1}"#,
            r#"{"positions":3,"type":"vindex-disavow","v":1}"#,
            r#"{"positions":[3],"type":"vindex-disavow","v":2}"#,
            r#"{"positions":[3],"type":"vindex-disavow"}"#,
            r#"{"positions":[3], "type":"vindex-disavow","v":1}"#,
            r#"{"positions":[3],"type":"vindex-root","v":1}"#,
        ] {
            assert!(!is_disavow_form(entry.as_bytes()), "{entry}");
        }
    }
}
