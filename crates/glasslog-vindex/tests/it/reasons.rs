//! What this implementation says where the vectors say why a file is refused: each is refused for that reason and no other.

/// Reasons of the vectors, and a part of the message that belongs to them. Where we say less than the page, several share one.
const REASONS: &[(&[&str], &str)] = &[
    (&["a newer anchor with a root is in the tail"], "there is a newer anchor at"),
    (
        &["the tail is too short", "the tail is too long"],
        "entries are given after the anchor, and the tree has",
    ),
    (&["the tail is not the end of the tree"], "are not the last ones of the tree"),
    (
        &[
            "another map function",
            "tree_size is not the index",
            "the anchor is void",
            "not the bytes of the anchor",
            "the anchor is not at that index",
            "the anchored root is another one",
            "the inclusion proof leads to another root",
            "the entry is not at that index",
            "the entry is not included",
            "the anchor is not included",
            "the anchor is of another map function",
            "the element is not included",
        ],
        "the proof leads to another root",
    ),
    (&["the inclusion proof has another length"], "are needed"),
    (&["T is not below N"], "is outside a tree of size"),
    (&["the list has fewer elements than count"], "expected the indices of the list"),
    (&["the list has more elements than count", "trailing byte"], "expected the end"),
    (&["the list does not have the root", "the final element is not last"], "the list is not the one"),
    (&["the list does not ascend"], "in a list, which must ascend"),
    (&["start is not below count"], "expected a position in the list"),
    (&["impossible value"], "no index over"),
    (&["altkey does not equal the key at every listed bit"], "differs from the key at bit"),
    (&["altkey is the key"], "shows the key itself"),
    (&["another key was asked for"], "about another name"),
    (&["no such kind", "an empty kind"], "a question to an index of another map function"),
    (&["not signed by a pinned key", "not signed by the log"], "not signed by a known key of the log"),
    (&["not signed by the log"], "no signature of a known key"),
    (&["another origin"], ", expected \"vindex.example/log\""),
    (&["the quorum is not filled"], "has not the cosignatures"),
    (&["a signature does not verify"], "is wrong"),
    (&["the index is not among the elements", "the index is not below T"], "not among the list's elements"),
    (&["the entries do not ascend"], "does not come after the one before it"),
    (&["the entry is of another key", "k is not in map(entry)"], "does not map to the key"),
    (&["N is not 0", "N is 0", "index is not 0", "there is a hash"], "whether the log is empty"),
    (&["VIX1 is expected"], "expected VIX1"),
    (&["VIM1 is expected"], "expected VIM1"),
    (&["the form is 0, 1 or 2"], "expected 0 for absent"),
    (&["the question is 0 or 1"], "expected 0 and a key"),
    (&["the list is 0 or 1"], "expected 0, or 1 and the end of the list"),
    (&["cut off"], "expected a key of 32 bytes"),
    (&["cut off", "the tail is longer than 4,096 entries"], "expected a tail of at most 4,096 entries"),
    (&["cut off"], "expected a number of entries"),
    (&["not UTF-8", "the name is too long"], "expected a name of at most 65,535 bytes in UTF-8"),
    (&["uv is not minimal"], "as short as possible"),
    (&["there is no extra data"], "has no extra data"),
    (&["i is not below T"], "does not come before the anchor"),
    (&["last is not below i"], "the list reaches the entry"),
    (&["not neighbours"], "are not neighbours"),
    (&["i is not between"], "does not lie between the elements"),
    (&["the first element is not above i"], "does not come before the first element"),
    (&["one element or two"], "expected one element or two"),
    (&["not at position 0"], "the element is not the first"),
    (&["k is in map(entry)"], "the entry maps to the key"),
    (&["the element is not i"], "the element is another entry"),
    (&["the elements ascend"], "the elements ascend"),
    (&["not at position count - 1"], "the element is not the final one"),
    (&["the element is last"], "the final element is last"),
    (&["the value is possible"], "the value is possible"),
    (&["tree_size is T"], "the anchor is where it says"),
    (&["map_fn is the pinned one"], "names the map function of this log"),
    (&["not of anchor form"], "not of anchor form"),
    (&["the fault is 1 to 9"], "expected a fault from 1 to 9"),
];

/// That `error` is about what the vector `shows` names as the reason.
pub(crate) fn assert_reason(shows: &str, refused: &str, error: &str) {
    let mut messages = REASONS.iter().filter(|(reasons, _)| reasons.contains(&refused)).peekable();
    assert!(messages.peek().is_some(), "no message is known for: {refused}");
    assert!(
        messages.any(|(_, message)| error.contains(message)),
        "{shows}: refused for {refused:?}, and not: {error}"
    );
}
