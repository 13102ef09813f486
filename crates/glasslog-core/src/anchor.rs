//! The entries by which a log commits to its verifiable index, so far as every log must know them: bytes of anchor
//! form and disavow entries are refused from submitters, always (FORMATS §2).

use alloc::{format, vec::Vec};

use crate::json::{self, Kind, Member, Value};
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

/// Whether `entry` is canonical JSON with exactly the members `map_fn` (any string), `root` (null or 64 lower-case hex
/// digits), `tree_size` (0 to 2^53 − 1), `type` `"vindex-root"` and `v` 1.
#[must_use]
pub fn is_anchor_form(entry: &[u8]) -> bool {
    let names = ["map_fn", "root", "tree_size", "type", "v"];
    canonical_members(entry, names).is_some_and(|[map_fn, root, tree_size, kind, version]| {
        map_fn.kind() == Kind::String
            && (root.is_null() || is_hex_hash(&root))
            && is_position(&tree_size)
            && kind.raw() == "\"vindex-root\""
            && version.raw() == "1"
    })
}

/// Whether `entry` is canonical JSON with exactly the members `positions` (an array of integers from 0 to 2^53 − 1, any
/// number of them), `type` `"vindex-disavow"` and `v` 1.
#[must_use]
pub fn is_disavow_form(entry: &[u8]) -> bool {
    canonical_members(entry, ["positions", "type", "v"]).is_some_and(|[positions, kind, version]| {
        positions.as_array().is_some_and(|array| array.elements().all(|element| is_position(&element)))
            && kind.raw() == "\"vindex-disavow\""
            && version.raw() == "1"
    })
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

fn is_hex_hash(value: &Value<'_>) -> bool {
    let digits = value.raw().trim_matches('"');
    value.kind() == Kind::String
        && digits.len() == 2 * Hash::LEN
        && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_position(value: &Value<'_>) -> bool {
    value.as_integer().is_some_and(|position| position >= 0)
}
