//! Everything that a log, or somebody between it and its clients, may try: each attack beside the same file without the one defect.
//!
//! The cases are data too: `docs/spec/vindex-attacks.txt` is what they give, byte for byte, and the verifier in `clients/js` judges that
//! file. `UPDATE_VECTORS=1` writes it anew; what stands there already must not change.

mod cases;

use std::{env, fmt::Write, fs, path::Path};

use base64ct::{Base64, Encoding};
use glasslog_core::LeafIndex;
use glasslog_vindex::{Answer, Key, Lookup};

use crate::log::{Log, ORIGIN};
use crate::reasons::assert_reason;
use cases::Case;

const MAP_FN: &str = "json-field:name";

/// Both judged: the sound file gives an answer, and the attack is refused for its reason.
fn judge(cases: Vec<Case>) -> String {
    let log = Log::new();
    let mut text = String::new();
    for Case { shows, name, sound, attack, refused } in cases {
        let verify = |lookup: &Lookup| {
            let read = Lookup::parse(lookup.to_text().as_bytes()).map_err(|error| error.to_string())?;
            let found = read.verify(&log.pinned(), &Key::of_name(name), 0);
            found.map(|found| found.answer().clone()).map_err(|error| error.to_string())
        };
        let answer = verify(&sound).unwrap_or_else(|error| panic!("{shows}, without the defect: {error}"));
        let Err(error) = verify(&attack) else { panic!("{shows}: accepted") };
        assert_reason(&shows, refused, &error);
        writeln!(text, "{}sound: {}", question(&shows, name), encode(&sound)).unwrap();
        write!(text, "{}lookup: {}\nrefused: {refused}\n\n", said(&answer), encode(&attack)).unwrap();
    }
    text
}

fn encode(lookup: &Lookup) -> String {
    Base64::encode_string(lookup.to_text().as_bytes())
}

fn question(shows: &str, name: &str) -> String {
    let [key] = Log::new().policy.log_keys(ORIGIN).try_into().unwrap();
    let policy = Base64::encode_string(format!("log {key}\nquorum none\n").as_bytes());
    let key = Key::of_name(name);
    format!("shows: {shows}\norigin: {ORIGIN}\npolicy: {policy}\nmap_fn: {MAP_FN}\nnow: 0\nkey: {key}\n")
}

fn said(answer: &Answer) -> String {
    let Answer::Present(present) = answer else { return "answer: absent\n".into() };
    let numbers = |all: &[LeafIndex]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let shown: Vec<LeafIndex> = present.entries.iter().map(|(index, _)| *index).collect();
    let head = format!(
        "answer: present {} {}\nindices: {}\n",
        present.count,
        present.last,
        numbers(&present.indices)
    );
    if shown.is_empty() { head } else { format!("{head}entries: {}\n", numbers(&shown)) }
}

#[test]
fn an_old_anchor_is_refused_under_a_newer_checkpoint() {
    judge(cases::old_anchor());
}

#[test]
fn an_anchor_that_is_not_the_logs_own_word_is_refused() {
    judge(cases::spoofed_anchor());
}

#[test]
fn an_index_of_another_map_function_is_refused() {
    judge(cases::another_map_function());
}

#[test]
fn an_index_left_out_of_a_list_is_refused() {
    judge(cases::omitted_index());
}

#[test]
fn a_proof_of_another_revision_is_refused() {
    judge(cases::swapped_revision());
}

#[test]
fn the_absence_of_a_present_key_is_refused() {
    judge(cases::false_absence());
}

#[test]
fn a_truncated_list_is_refused() {
    judge(cases::truncated_list());
}

#[test]
fn a_newer_anchor_in_the_tail_cannot_be_hidden() {
    judge(cases::hidden_anchor());
}

#[test]
fn an_entry_that_parsers_read_differently_is_found_under_no_name() {
    judge(cases::odd_json());
    judge_accepted();
}

/// What must be accepted.
fn judge_accepted() -> String {
    let log = Log::new();
    let mut text = String::new();
    for (shows, lookup, count) in cases::accepted() {
        let read = Lookup::parse(lookup.to_text().as_bytes()).unwrap();
        let found = read
            .verify(&log.pinned(), &Key::of_name("a"), 0)
            .unwrap_or_else(|error| panic!("{shows}: {error}"));
        let Answer::Present(present) = found.answer() else { panic!("{shows}") };
        assert_eq!(present.count, count, "{shows}");
        write!(text, "{}lookup: {}\n{}\n", question(shows, "a"), encode(&lookup), said(found.answer()))
            .unwrap();
    }
    text
}

const HEAD: &str = "\
# Attacks on lookups (vindex.md §12.12). `lookup` is refused for the reason in `refused`; `sound` is the same file without that defect, and is accepted with `answer`.
";

#[test]
#[expect(clippy::disallowed_methods, reason = "a file of the source tree, written on demand")]
fn the_vectors_beside_the_page() {
    let sections = [
        ("An old anchor under a new checkpoint.", judge(cases::old_anchor())),
        ("A spoofed anchor.", judge(cases::spoofed_anchor())),
        ("Another map function.", judge(cases::another_map_function())),
        ("An omitted index.", judge(cases::omitted_index())),
        ("A swapped revision.", judge(cases::swapped_revision())),
        ("Absence claimed for a present key.", judge(cases::false_absence())),
        ("A truncated list.", judge(cases::truncated_list())),
        ("A tail with a hidden newer anchor.", judge(cases::hidden_anchor())),
        ("JSON that parsers read differently.", judge(cases::odd_json())),
        ("What is accepted.", judge_accepted()),
    ];
    let sections: String = sections.iter().map(|(about, text)| format!("\n# {about}\n\n{text}")).collect();
    let text = format!("{HEAD}{}\n", sections.trim_end());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/vindex-attacks.txt");
    if env::var_os("UPDATE_VECTORS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == text,
        "docs/spec/vindex-attacks.txt is not what these cases give"
    );
}
