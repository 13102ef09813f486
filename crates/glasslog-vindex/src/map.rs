//! Map functions: which keys an entry is found under (vindex.md §2).

use std::{borrow::Cow, collections::HashSet};

use glasslog_core::{
    anchor::{is_anchor_form, is_disavow_form},
    json::{MAX_DEPTH, Object, Value, scan},
};

use crate::Key;

/// A pure function from the bytes of an entry to keys. Once a log has anchors, it can never change.
pub trait MapFunction: Send + Sync {
    /// Its name, as anchors have it: `conda-1`, `json-field:name`.
    fn name(&self) -> &str;

    /// The kinds of name, the default first; none if it has no kinds.
    fn kinds(&self) -> &'static [&'static str];

    /// Appends the keys of `entry`; of one that it cannot read, none. Who has an entry of a log calls [`keys_of`].
    fn map(&self, entry: &[u8], keys: &mut Vec<Key>);

    /// The key of `name` among the names of `kind`; without one, of the default kind.
    ///
    /// # Errors
    ///
    /// [`KindError`] for a kind that the function does not have.
    fn key(&self, kind: Option<&str>, name: &str) -> Result<Key, KindError> {
        match kind.or(self.kinds().first().copied()) {
            None => Ok(Key::of_name(name)),
            Some(kind) if self.kinds().contains(&kind) => Ok(Key::of_kind(kind, name)),
            Some(kind) => {
                Err(KindError { kind: kind.into(), map_fn: self.name().into(), kinds: self.kinds() })
            }
        }
    }
}

/// A kind of name that a map function does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{map_fn} has no kind {kind:?}; {}", kinds_of(.kinds))]
pub struct KindError {
    /// What was asked for.
    pub kind: String,
    /// The map function.
    pub map_fn: String,
    /// The kinds that it has.
    pub kinds: &'static [&'static str],
}

fn kinds_of(kinds: &[&str]) -> String {
    if kinds.is_empty() { "leave the kind out".into() } else { format!("it has {}", kinds.join(", ")) }
}

/// The keys of any entry, ascending and each once: none for what [`is_reserved`] or what `map_fn` cannot read.
#[must_use]
pub fn keys_of(map_fn: &dyn MapFunction, entry: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    if !is_reserved(entry) {
        map_fn.map(entry, &mut keys);
        keys.sort_unstable();
        keys.dedup();
    }
    keys
}

/// Whether `entry` is of anchor form or disavow form: such entries map to nothing under every map function.
#[must_use]
pub fn is_reserved(entry: &[u8]) -> bool {
    is_anchor_form(entry) || is_disavow_form(entry)
}

/// The map function `json-field:<f>`: the one key of an entry is its string member `<f>` (vindex.md §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonField {
    name: String,
}

impl JsonField {
    const PREFIX: &'static str = "json-field:";

    /// The function of the member `field`; none for the empty name.
    #[must_use]
    pub fn new(field: &str) -> Option<JsonField> {
        (!field.is_empty()).then(|| JsonField { name: format!("{}{field}", JsonField::PREFIX) })
    }

    /// The function with this name, if it is `json-field:` and at least one byte.
    #[must_use]
    pub fn parse(name: &str) -> Option<JsonField> {
        name.strip_prefix(JsonField::PREFIX).and_then(JsonField::new)
    }

    /// The name of the member.
    #[must_use]
    pub fn field(&self) -> &str {
        self.name.strip_prefix(JsonField::PREFIX).unwrap_or_default()
    }
}

impl MapFunction for JsonField {
    fn name(&self) -> &str {
        &self.name
    }

    fn kinds(&self) -> &'static [&'static str] {
        &[]
    }

    fn map(&self, entry: &[u8], keys: &mut Vec<Key>) {
        keys.extend(string_member(entry, self.field()).map(|text| Key::of_name(&text)));
    }
}

/// The top-level string `field` of `entry`, if every reader of JSON must read the same there.
fn string_member<'a>(entry: &'a [u8], field: &str) -> Option<Cow<'a, str>> {
    let object = scan(entry).ok()?.as_object()?;
    if is_unambiguous(object.value(), 0) { object.get(field)?.as_str() } else { None }
}

/// No name twice in one object, no lone surrogate, no more than [`MAX_DEPTH`] levels. `outer` containers are around it.
fn is_unambiguous(value: Value<'_>, outer: usize) -> bool {
    if let Some(object) = value.as_object() {
        outer < MAX_DEPTH
            && has_distinct_names(object)
            && object.members().all(|member| is_unambiguous(member.value(), outer + 1))
    } else if let Some(array) = value.as_array() {
        outer < MAX_DEPTH && array.elements().all(|element| is_unambiguous(element, outer + 1))
    } else {
        !value.raw().starts_with('"') || value.as_str().is_some()
    }
}

fn has_distinct_names(object: Object<'_>) -> bool {
    let mut names = HashSet::new();
    object.members().all(|member| member.key().is_some_and(|name| names.insert(name)))
}
