//! `glasslog lookup`, `prove`, `verify proof` and `verify record` by the index, against servers that say the truth and
//! servers that lie.

use std::{collections::BTreeMap, path::Path};

use glasslog_conda::Conda1Map;
use glasslog_core::{Hash, LeafIndex, TreeSize, anchor::anchor};
use glasslog_vindex::{Evidence, Fault, Lookup, MapFunction, MisbehaviourProof, Proof, Question, prove};
use serde_json::Value;

use crate::{
    fake::{Fake, Reply},
    forge::{self, LIST, Log},
    support::{home, run, write},
};

const PATH: &str = "conda/mine/noarch/a-1-0.conda";

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// The repodata that lists package `a`; its sha256 is made of `digit`, `license` is metadata.
fn channel(digit: char, license: &str) -> String {
    format!(
        r#"{{"info":{{"subdir":"noarch"}},"packages.conda":{{"a-1-0.conda":{{{}}}}}}}"#,
        meta(digit, license)
    )
}

fn meta(digit: char, license: &str) -> String {
    let sha256 = digit.to_string().repeat(64);
    format!(
        r#""build":"0","build_number":0,"license":"{license}","name":"a","sha256":"{sha256}","size":1,"version":"1""#
    )
}

/// The canonical entry of that record, of any file name.
fn record(file: &str, digit: char, license: &str) -> String {
    let sha256 = digit.to_string().repeat(64);
    format!(
        r#"{{"artifact":{{"sha256":"{sha256}","size":1}},"eco":"conda","meta":{{{}}},"path":"noarch/{file}","profile":"conda-repodata-1","repo":"mine","type":"record","v":1}}"#,
        meta(digit, license)
    )
}

fn tombstone() -> String {
    r#"{"eco":"conda","name":"a","path":"noarch/a-1-0.conda","profile":"conda-repodata-1","reason":"removed","repo":"mine","type":"tombstone","v":1}"#.into()
}

fn question(kind: &str, name: &str) -> Question {
    Question::Name { kind: kind.into(), name: name.into() }
}

/// A log of these entries and an anchor after them.
fn log_of(entries: &[String]) -> (Log<'static>, usize) {
    let mut log = Log::new(&Conda1Map);
    entries.iter().for_each(|entry| {
        log.push(entry.as_bytes());
    });
    let at = log.anchor();
    (log, at)
}

/// How an honest server of `log` at `size` with the anchor at `at` answers, showing at most `list` and `entries`.
#[derive(Clone, Copy)]
struct Shown {
    size: usize,
    at: usize,
    list: usize,
    entries: usize,
    time: Option<u64>,
}

impl Shown {
    fn all(log: &Log<'_>, at: usize) -> Shown {
        Shown { size: log.size(), at, list: LIST, entries: 64, time: Some(now()) }
    }
}

fn honest(log: Log<'static>, shown: Shown) -> Fake {
    let Shown { size, at, list, entries, time } = shown;
    let files = log.files(size, time);
    Fake::start(move |path| {
        if let Some(file) = files.get(path.trim_start_matches('/')) {
            return Reply::ok(file.clone());
        }
        let Some(asked) = Asked::parse(path) else { return Reply::missing() };
        let entries = entries.min(asked.number("entries").unwrap_or(0));
        let lookup = log.lookup(&asked.question, size, at, list, entries, time);
        Reply::ok(match asked.number("start") {
            None => lookup.to_text(),
            Some(start) => log.page(&lookup, size, start, list),
        })
    })
}

/// A lookup's address, read as a server reads it.
struct Asked {
    question: Question,
    query: BTreeMap<String, String>,
}

impl Asked {
    fn parse(path: &str) -> Option<Asked> {
        let url = url::Url::parse(&format!("http://x{path}")).unwrap();
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let question = match url.path().strip_prefix("/vindex/lookup")? {
            "" => question(query.get("kind")?, query.get("key")?),
            hex => {
                let key = const_hex::decode_to_array(hex.strip_prefix('/')?).ok()?;
                Question::Key(glasslog_vindex::Key(key))
            }
        };
        Some(Asked { question, query })
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.query.get(name)?.parse().ok()
    }
}

/// A server that has nothing but this answer to lookups, and the files of the log.
fn answering(log: &Log<'_>, size: usize, reply: Reply) -> Fake {
    let files = log.files(size, Some(now()));
    Fake::start(move |path| {
        if path.starts_with("/vindex/") {
            return reply.clone();
        }
        files.get(path.trim_start_matches('/')).map_or_else(Reply::missing, |file| Reply::ok(file.clone()))
    })
}

/// A home with the log's policy in it.
fn home_of(log: &Log<'_>) -> tempfile::TempDir {
    let home = home();
    write(home.path(), "policy", log.policy().as_bytes());
    home
}

/// A command with `--json` and the policy: exit code, the document, stderr.
fn ask(home: &Path, url: &str, args: &[&str]) -> (i32, Value, String) {
    let pinned = ["--policy", "policy", "--log-url", url, "--json"];
    let (code, stdout, stderr) = run(home, &[args, &pinned[..]].concat());
    let report = if stdout.is_empty() { Value::Null } else { serde_json::from_str(&stdout).unwrap() };
    (code, report, stderr)
}

/// `verify record` of package `a` as it is with this artifact and metadata.
fn verify(home: &Path, url: &str, digit: char, license: &str, more: &[&str]) -> (i32, Value, String) {
    write(home, "mine.json", channel(digit, license).as_bytes());
    let record = ["verify", "record", "--repo", "mine", "--subdir", "noarch", "--file", "a-1-0.conda"];
    ask(home, url, &[&record[..], &["--repodata", "mine.json"], more].concat())
}

#[test]
fn what_is_there_is_found_and_what_is_not_is_absent() {
    let (mut log, at) = log_of(&[record("a-1-0.conda", 'a', "MIT"), record("b-1-0.conda", 'b', "MIT")]);
    log.push(record("a-1-0.conda", 'a', "GPL"));
    let home = home_of(&log);
    let (home, last) = (home.path(), log.entries[3].clone());
    let server = honest(log, Shown { size: 4, at, list: LIST, entries: 64, time: Some(now()) });
    let look = |more: &[&str]| ask(home, &server.url, &[&["lookup"], more].concat());

    let (code, found, stderr) = look(&[PATH]);
    assert_eq!(
        (code, &found["found"], &found["count"], &found["last"]),
        (0, &true.into(), &2.into(), &3.into()),
        "{stderr}"
    );
    assert_eq!((&found["indices"], &found["kind"]), (&serde_json::json!([0, 3]), &"path".into()));
    assert_eq!(
        (&found["anchor"], &found["size"], &found["witnesses"]),
        (&2.into(), &4.into(), &serde_json::json!(["w"]))
    );
    assert_eq!((&found["freshness"], &found["entries"]), (&"fresh".into(), &serde_json::json!([])));
    let (_, found, _) = look(&[PATH, "--entries", "1"]);
    assert_eq!(
        found["entries"],
        serde_json::json!([{"index": 3, "entry": String::from_utf8(last).unwrap()}])
    );
    let (_, found, _) = look(&[PATH, "--entries", "2", "--all"]);
    assert_eq!(found["entries"].as_array().map(Vec::len), Some(2));
    let (code, found, _) = look(&["--kind", "name", "conda/mine/a"]);
    assert_eq!((code, &found["indices"]), (0, &serde_json::json!([0, 1, 3])));
    let artifact = format!("sha256:{}", "b".repeat(64));
    assert_eq!(look(&["--kind", "artifact", &artifact]).1["indices"], serde_json::json!([1]));
    let key = Conda1Map.key(None, PATH).unwrap().to_string();
    let (code, found, _) = look(&["--hex", &key]);
    assert_eq!((code, &found["key"], &found["count"]), (0, &key.into(), &2.into()));

    let (code, absent, _) = look(&["conda/mine/noarch/z-1-0.conda"]);
    assert_eq!((code, &absent["found"], &absent["indices"]), (2, &false.into(), &serde_json::json!([])));
    assert_eq!(look(&[""]).0, 2, "a name may be empty");
    assert_eq!(look(&[&"ü".repeat(32_000)]).0, 2, "and long");

    for wrong in [
        &["--kind", "file", "x"][..],
        &["--hex", "abc"],
        &["--map-fn", "conda-2", "x"],
        &[],
        &["--entries", "65", "x"],
    ] {
        assert_eq!(look(wrong).0, 64, "{wrong:?}");
    }
    let (code, _, stderr) = run(home, &["lookup", PATH, "--log-url", &server.url]);
    assert_eq!((code, stderr.contains("--vkey") && stderr.contains("--policy")), (64, true), "{stderr}");
    let (code, text, _) = run(home, &["lookup", PATH, "--log-url", &server.url, "--policy", "policy"]);
    assert_eq!(
        (
            code,
            text.starts_with("found path conda/mine/noarch/a-1-0.conda: 2 entries, the newest at index 3\n")
        ),
        (0, true),
        "{text}"
    );
    assert!(text.contains("index anchored at 2, as of ") && text.contains("witnesses: w"), "{text}");
}

/// A file names what was asked: nobody's word, and no line of its own.
#[test]
fn a_name_cannot_pass_for_a_result() {
    let (log, at) = log_of(&[record("a-1-0.conda", 'a', "MIT")]);
    let home = home_of(&log);
    let name = format!("x\nfound path {PATH}: 1 entry, the newest at index 0\u{1b}[2K");
    let lookup = log.lookup(&question("path", &name), log.size(), at, LIST, 0, Some(now()));
    write(home.path(), "f", lookup.to_text().as_bytes());
    let (code, stdout, stderr) = run(home.path(), &["verify", "proof", "f", "--policy", "policy"]);
    assert_eq!((code, stdout.lines().count()), (2, 2), "{stdout}{stderr}");
    assert!(stdout.starts_with("ABSENT path x\\nfound") && !stdout.contains('\u{1b}'), "{stdout}");
}

/// FORMATS §5: what is said of a time is worth no more than the time.
#[test]
fn an_old_answer_is_stale_unless_that_time_is_asked_about() {
    let (log, at) = log_of(&[record("a-1-0.conda", 'a', "MIT")]);
    let (home, then) = (home_of(&log), now() - 2 * 86_400);
    let home = home.path();
    let server = honest(log, Shown { size: 2, at, list: LIST, entries: 64, time: Some(then) });
    let absent = "conda/mine/noarch/z-1-0.conda";
    let as_of = then.to_string();
    let later = (then + 1).to_string();
    for (more, stale) in [
        (&[][..], true),
        (&["--max-age", "1d"], true),
        (&["--max-age", "3d"], false),
        (&["--as-of", &as_of], false),
        (&["--as-of", &later], true),
    ] {
        let expected = |code| if stale { 3 } else { code };
        for (name, code) in [(PATH, 0), (absent, 2)] {
            let (found, report, _) = ask(home, &server.url, &[&["lookup", name], more].concat());
            assert_eq!((found, report["freshness"] == "stale"), (expected(code), stale), "{name} {more:?}");
        }
        assert_eq!(verify(home, &server.url, 'a', "MIT", more).0, expected(0), "{more:?}");
        assert_eq!(verify(home, &server.url, 'e', "MIT", more).0, 1, "replaced at any time: {more:?}");
    }
    assert_eq!(ask(home, &server.url, &["lookup", PATH, "--as-of", "1", "--max-age", "1d"]).0, 64);
}

/// What is no answer at all has its code, and never a verdict.
#[test]
fn a_server_that_does_not_answer_is_a_failure() {
    let (log, _) = log_of(&[record("a-1-0.conda", 'a', "MIT")]);
    let home = home_of(&log);
    let busy = Reply::Of(503, "Retry-After: 0\r\n", b"the index is being rebuilt: 5 of 9\n".to_vec());
    for (name, reply, why) in [
        ("no index", Reply::missing(), "has no index"),
        ("rebuilding", busy, "answered 503: the index is being rebuilt: 5 of 9"),
        ("refused", Reply::Of(400, "", b"no such kind\n".to_vec()), "one of conda-1 (--map-fn)?: "),
        ("garbage", Reply::ok("garbage"), "not believed"),
        ("nothing", Reply::ok(""), "not believed"),
        ("JSON", Reply::ok(r#"{"found":false,"verified":false}"#), "not believed"),
        ("huge", Reply::ok(vec![b'x'; 9 << 20]), "longer than"),
        ("endless", Reply::Endless, "longer than"),
    ] {
        let server = answering(&log, 2, reply);
        let (code, report, stderr) = ask(home.path(), &server.url, &["lookup", PATH]);
        assert_eq!((code, stderr.contains(why), report), (4, true, Value::Null), "{name}: {stderr}");
        // A log without an index is searched; whatever else it says is no reason to.
        let (code, report, stderr) = verify(home.path(), &server.url, 'a', "MIT", &[]);
        if name == "no index" {
            assert_eq!((code, &report["verdict"]), (0, &"current".into()), "{stderr}");
            assert!(stderr.contains("searching"), "{stderr}");
            let (_, quiet, stderr) = verify(home.path(), &server.url, 'a', "MIT", &["--search"]);
            assert_eq!((&quiet["verdict"], stderr.as_str()), (&"current".into(), ""));
        } else {
            assert_eq!((code, stderr.contains(why), report), (4, true, Value::Null), "{name}: {stderr}");
        }
        assert_eq!(stderr.contains("--search"), stderr.contains("answered 503"), "{name}: {stderr}");
    }
}

/// Each of the attacks of the issue, in every command that asks: 4 with the reason, and no verdict.
#[test]
fn lies_are_refused_by_every_command() {
    let records = [
        record("a-1-0.conda", 'a', "MIT"),
        record("a-1-0.conda", 'a', "GPL"),
        record("b-1-0.conda", 'b', "MIT"),
    ];
    let asked = question("path", PATH);
    let (mut log, at) = log_of(&records);
    let honest = |log: &Log<'_>, at| log.lookup(&asked, log.size(), at, LIST, 64, Some(now()));
    let mut lies: Vec<(&str, Log<'static>, Lookup)> = Vec::new();
    let fresh = || log_of(&records).0;

    let mut absent = log.lookup(&question("path", "x"), log.size(), at, LIST, 64, Some(now()));
    absent.question = asked.clone();
    lies.push(("absence claimed by the answer to another name", fresh(), absent));
    lies.push((
        "the answer to another name",
        fresh(),
        log.lookup(&question("path", "conda/mine/noarch/b-1-0.conda"), 4, at, LIST, 64, Some(now())),
    ));
    let mut truncated = honest(&log, at);
    if let Evidence::Present { list: Some(list), entries, .. } = &mut truncated.evidence {
        *list = forge::list_end(&[LeafIndex(0), LeafIndex(2)], 0);
        entries.clear();
    }
    lies.push(("another list", fresh(), truncated));
    let mut foreign = honest(&log, at);
    if let Evidence::Present { entries, .. } = &mut foreign.evidence {
        *entries = vec![log.given(LeafIndex(2), 4)];
    }
    lies.push(("an entry of something else", fresh(), foreign));
    let mut other_entry = honest(&log, at);
    if let Evidence::Present { entries, .. } = &mut other_entry.evidence {
        entries[0].entry = record("a-1-0.conda", 'e', "MIT").into_bytes();
    }
    lies.push(("an entry that is not in the log", fresh(), other_entry));
    let mut unsigned = honest(&log, at);
    unsigned.checkpoint = log.checkpoint(4, None);
    lies.push(("a checkpoint without its witness", fresh(), unsigned));

    // An old anchor under a new checkpoint, whose tail hides the record that replaced the file.
    let mut more = fresh();
    more.push(record("a-1-0.conda", 'e', "MIT"));
    let newer = more.anchor();
    lies.push((
        "an old anchor under a new checkpoint",
        {
            let mut copy = fresh();
            copy.entries.clone_from(&more.entries);
            copy
        },
        honest(&more, at),
    ));
    let mut hidden = honest(&more, at);
    if let Evidence::Present { tail, .. } = &mut hidden.evidence {
        tail.clear();
    }
    let mut copy = fresh();
    copy.entries.clone_from(&more.entries);
    lies.push(("a tail left out", copy, hidden));
    let mut swapped = honest(&more, at);
    swapped.anchor = LeafIndex(newer as u64);
    swapped.inclusion = more.inclusion(newer, more.size());
    if let Evidence::Present { tail, .. } = &mut swapped.evidence {
        tail.clear();
    }
    let mut copy = fresh();
    copy.entries.clone_from(&more.entries);
    lies.push(("another revision than the anchor's", copy, swapped));

    // An index that another map function made.
    let root = log.index_root(log.size());
    let other = log.push(anchor("json-field:path", Some(&root), TreeSize(4)));
    let lookup = honest(&log, other);
    lies.push(("an index of another map function", log, lookup));

    for (name, log, lookup) in &lies {
        let home = home_of(log);
        let server = answering(log, log.size(), Reply::ok(lookup.to_text()));
        let (code, report, stderr) = ask(home.path(), &server.url, &["lookup", PATH]);
        assert_eq!((code, &report), (4, &Value::Null), "lookup, {name}: {stderr}");
        assert!(stderr.contains("not believed"), "{name}: {stderr}");
        let (code, report, stderr) = verify(home.path(), &server.url, 'a', "GPL", &[]);
        assert_eq!((code, &report), (4, &Value::Null), "verify record, {name}: {stderr}");
        let (code, _, stderr) = ask(home.path(), &server.url, &["prove", PATH, "-o", "p.tlog-proof"]);
        assert_eq!((code, home.path().join("p.tlog-proof").exists()), (4, false), "prove, {name}: {stderr}");
        write(home.path(), "lie.tlog-proof", lookup.to_text().as_bytes());
        let args = ["verify", "proof", "--offline", "lie.tlog-proof", "--policy", "policy", "--key", PATH];
        let (code, stdout, stderr) = run(home.path(), &args);
        let expected = if *name == "the answer to another name" { 1 } else { 4 };
        assert_eq!((code, stdout.as_str()), (expected, ""), "verify proof, {name}: {stderr}");
    }
}

/// A policy of several logs does not say which one is asked: whatever the way, another could answer in its place.
#[test]
fn another_log_of_the_policy_answers_nothing() {
    let mut other = Log::named("log.example/other", 9, &Conda1Map);
    other.push(record("a-1-0.conda", 'a', "MIT"));
    let (asked, _) = log_of(&[]);
    let home = home_of(&asked);
    let home = home.path();
    let policy = format!("{}log {}\n", asked.policy(), other.vkey());
    write(home, "policy", policy.as_bytes());
    let server = answering(&other, 1, Reply::missing());
    let search = &["--search"][..];
    for way in [&[][..], search, &["--index", "0"]] {
        let (code, report, stderr) = verify(home, &server.url, 'a', "MIT", way);
        let told = stderr.contains("several logs are pinned");
        assert_eq!((code, report, told), (64, Value::Null, true), "{way:?}: {stderr}");
        let vkey = asked.vkey().to_string();
        let (code, report, stderr) =
            verify(home, &server.url, 'a', "MIT", &[way, &["--vkey", &vkey]].concat());
        assert_eq!((code, report), (4, Value::Null), "{way:?}: {stderr}");
    }
    let (code, _, stderr) = ask(home, &server.url, &["prove", "--index", "0", "-o", "p"]);
    assert_eq!((code, home.join("p").exists()), (64, false), "{stderr}");
    let vkey = other.vkey().to_string();
    assert_eq!(
        verify(home, &server.url, 'a', "MIT", &["--search", "--vkey", &vkey]).0,
        0,
        "the one that is named"
    );
}

/// An index that is wrong and anchored all the same: a client cannot see what it omits, and does see what does not belong.
#[test]
fn an_index_that_lists_something_else_gives_no_verdict() {
    let records = [record("a-1-0.conda", 'a', "MIT"), record("b-1-0.conda", 'b', "MIT")];
    let mut log = Log::new(&Conda1Map);
    records.iter().for_each(|entry| {
        log.push(entry.as_bytes());
    });
    let key = Conda1Map.key(None, PATH).unwrap();
    let wrong = [LeafIndex(0), LeafIndex(1)];
    let mut pairs = log.pairs(2);
    pairs.iter_mut().find(|(found, _)| *found == key).unwrap().1 = forge::value(&wrong);
    log.push(anchor("conda-1", Some(&forge::root_of(&pairs)), TreeSize(2)));
    let Proof::Present(trie) = prove(&pairs, &key) else { panic!("it is there") };
    let mut lookup = log.lookup(&question("path", PATH), 3, 2, LIST, 0, Some(now()));
    lookup.evidence = Evidence::Present {
        trie,
        list: Some(forge::list_end(&wrong, 0)),
        tail: Vec::new(),
        entries: Vec::new(),
    };
    let home = home_of(&log);
    let server = answering(&log, 3, Reply::ok(lookup.to_text()));
    let (code, report, stderr) = verify(home.path(), &server.url, 'a', "MIT", &[]);
    assert_eq!((code, report, stderr.contains("the index is wrong")), (4, Value::Null, true), "{stderr}");
    // Where the file itself is not looked at, the answer is what the index says.
    assert_eq!(ask(home.path(), &server.url, &["lookup", PATH]).0, 0);
    assert_eq!(ask(home.path(), &server.url, &["lookup", PATH, "--entries", "2"]).0, 4);
}

/// FORMATS §5: behind what was seen before is 3; another history is a fork, and 4.
#[test]
fn a_smaller_checkpoint_is_lag_and_another_history_a_fork() {
    let (mut log, at) = log_of(&[record("a-1-0.conda", 'a', "MIT")]);
    log.push(record("b-1-0.conda", 'b', "MIT"));
    let newer = log.anchor();
    let home = home_of(&log);
    let home = home.path();
    let copy = |entries: &[Vec<u8>]| {
        let mut copy = Log::new(&Conda1Map);
        copy.entries = entries.to_vec();
        copy
    };
    let whole = honest(copy(&log.entries), Shown::all(&log, newer));
    assert_eq!(ask(home, &whole.url, &["lookup", PATH]).0, 0, "size 4 is remembered");

    // The node has the tiles of the larger tree, by which it shows that it only lags.
    let (files, lagging) = (log.files(4, None), copy(&log.entries));
    let behind = Fake::start(move |path| match Asked::parse(path) {
        Some(asked) => Reply::ok(lagging.lookup(&asked.question, 2, at, LIST, 64, Some(now())).to_text()),
        None => files
            .get(path.trim_start_matches('/'))
            .map_or_else(Reply::missing, |file| Reply::ok(file.clone())),
    });
    let (code, report, stderr) = ask(home, &behind.url, &["lookup", PATH]);
    assert_eq!((code, &report["lagging"]), (3, &true.into()), "{stderr}");
    let times = behind.asked().iter().filter(|path| path.starts_with("/vindex/")).count();
    assert!(times > 1, "it is asked again: {times}");

    let (mut other, _) = log_of(&[record("a-1-0.conda", 'e', "MIT")]);
    other.push(record("b-1-0.conda", 'b', "MIT"));
    let at = other.anchor();
    let shown = Shown::all(&other, at);
    let file = other.lookup(&question("path", PATH), 4, at, LIST, 64, Some(now())).to_text();
    let forked = honest(other, shown);
    let (code, report, stderr) = ask(home, &forked.url, &["lookup", PATH]);
    assert_eq!((code, report, stderr.contains("FORKED")), (4, Value::Null, true), "{stderr}");
    let (code, report, stderr) = verify(home, &forked.url, 'e', "MIT", &[]);
    assert_eq!((code, report, stderr.contains("FORKED")), (4, Value::Null, true), "{stderr}");
    // A file is compared too, as far as that needs nobody.
    write(home, "f.tlog-proof", file.as_bytes());
    let (code, _, stderr) = run(home, &["verify", "proof", "f.tlog-proof", "--policy", "policy"]);
    assert_eq!((code, stderr.contains("FORKED")), (4, true), "{stderr}");
}

#[test]
fn long_lists_are_read_in_pages_and_truncated_ones_refused() {
    let records: Vec<String> = (0..25).map(|n| record(&format!("a-{n}-0.conda"), 'a', "MIT")).collect();
    let (mut log, at) = log_of(&records);
    log.push(record("a-25-0.conda", 'a', "MIT"));
    let home = home_of(&log);
    let name = ["lookup", "--kind", "name", "conda/mine/a"];
    let shown = Shown { list: 10, ..Shown::all(&log, at) };
    let expected: Vec<u64> = (0..25).chain([26]).collect();
    let mut copy = Log::new(&Conda1Map);
    copy.entries.clone_from(&log.entries);
    let server = honest(copy, shown);
    let (code, found, _) = ask(home.path(), &server.url, &name);
    assert_eq!((code, &found["skipped"], &found["count"]), (0, &15.into(), &26.into()));
    assert_eq!(found["indices"], serde_json::json!(expected[15..]));
    let (code, found, stderr) =
        ask(home.path(), &server.url, &[&name[..], &["--all", "--entries", "20"]].concat());
    assert_eq!((code, &found["indices"]), (0, &serde_json::json!(expected)), "{stderr}");
    assert_eq!(
        found["entries"].as_array().map(Vec::len),
        Some(20),
        "those that were not shown are read and proven"
    );
    // A server shows what it can without the elements before: of a long list, that may be one.
    let mut copy = Log::new(&Conda1Map);
    copy.entries.clone_from(&log.entries);
    let short = honest(copy, Shown { list: 1, ..shown });
    let (code, found, stderr) = ask(home.path(), &short.url, &[&name[..], &["--entries", "5"]].concat());
    assert_eq!((code, found["entries"].as_array().map(Vec::len)), (0, Some(5)), "{stderr}");
    let (_, text, _) =
        run(home.path(), &[&name[..], &["--all", "--log-url", &server.url, "--policy", "policy"]].concat());
    assert!(text.contains("indices: 0, 1, 2,"), "{text}");

    for (what, skip, most) in [("ends too early", 0, 20), ("leaves one out", 1, 26), ("says nothing", 0, 0)] {
        let mut copy = Log::new(&Conda1Map);
        copy.entries.clone_from(&log.entries);
        let expected = expected.clone();
        let server = Fake::start(move |path| {
            let Some(asked) = Asked::parse(path) else { return Reply::missing() };
            let proof = copy.lookup(&asked.question, copy.size(), at, 10, 0, Some(now())).to_text();
            let Some(start) = asked.number("start") else { return Reply::ok(proof) };
            let left: Vec<String> =
                expected.iter().skip(skip).take(most).skip(start).map(u64::to_string).collect();
            Reply::ok(forge::page_of(start, &left.join(","), &proof))
        });
        let (code, report, stderr) = ask(home.path(), &server.url, &[&name[..], &["--all"]].concat());
        assert_eq!((code, report), (4, Value::Null), "{what}: {stderr}");
    }
}

/// Each verdict of FORMATS §5, with the proof that the index gives.
#[test]
fn a_record_is_judged_by_its_proven_history() {
    let ours = || record("a-1-0.conda", 'a', "MIT");
    let (patched, other) = (record("a-1-0.conda", 'a', "GPL"), record("a-1-0.conda", 'e', "MIT"));
    let elsewhere = record("b-1-0.conda", 'e', "MIT");
    for (history, code, verdict) in [
        (vec![ours()], 0, "current"),
        (vec![ours(), elsewhere.clone(), patched.clone()], 0, "patched-since"),
        (vec![ours(), tombstone()], 0, "removed-since"),
        (vec![ours(), elsewhere.clone(), other.clone()], 1, "replaced"),
        (vec![ours(), other.clone(), tombstone()], 1, "replaced"),
        (vec![patched.clone()], 1, "differs"),
        (vec![elsewhere.clone()], 2, "not-logged"),
        (vec![], 2, "not-logged"),
    ] {
        // The last entries before the anchor, after it, and not yet listed at all.
        for tail in 0..=history.len() {
            let (mut log, at) = log_of(&history[..history.len() - tail]);
            history[history.len() - tail..].iter().for_each(|entry| {
                log.push(entry.as_bytes());
            });
            let home = home_of(&log);
            let shown = Shown::all(&log, at);
            let server = honest(log, shown);
            let (found, report, stderr) = verify(home.path(), &server.url, 'a', "MIT", &[]);
            assert_eq!((found, &report["verdict"]), (code, &verdict.into()), "{history:?} {tail} {stderr}");
            assert_eq!(report["anchor"], at, "by the index");
            if verdict == "replaced" {
                assert_eq!(report["ours"], format!("sha256:{}", "a".repeat(64)));
                assert_eq!(report["theirs"], format!("sha256:{}", "e".repeat(64)));
            }
            let files = server.asked().iter().filter(|path| path.starts_with("/tile/entries")).count();
            assert_eq!(files, 0, "all that is needed came with the answer");
        }
    }
}

fn day(seconds: u64) -> String {
    let time = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
    time.to_string().split('T').next().unwrap().to_owned()
}

fn snapshot(date: &str, subdir: &str) -> String {
    format!(
        r#"{{"count":1,"date":"{date}","digest":"{}","eco":"conda","profile":"conda-repodata-1","repo":"mine","source":"json","subdir":"{subdir}","type":"snapshot","v":1}}"#,
        "0".repeat(64)
    )
}

/// FORMATS §5: fresh cosignatures on old content.
#[test]
fn content_can_be_asked_to_be_new() {
    let (today, before) = (day(now()), day(now() - 5 * 86_400));
    let ours = || record("a-1-0.conda", 'a', "MIT");
    for (entries, stale) in [
        (vec![ours(), snapshot(&before, "noarch"), snapshot(&today, "noarch")], false),
        (vec![snapshot(&before, "noarch"), ours(), snapshot(&today, "linux-64")], true),
        (vec![ours()], true),
        // A log writes what day it likes: one of the future would be new for ever.
        (vec![ours(), snapshot("9999-12-31", "noarch")], true),
    ] {
        let (log, at) = log_of(&entries);
        let home = home_of(&log);
        let shown = Shown::all(&log, at);
        let server = honest(log, shown);
        let check = |digit, more: &[&str]| verify(home.path(), &server.url, digit, "MIT", more);
        let (code, report, stderr) = check('a', &["--max-content-age", "3d"]);
        assert_eq!((code, &report["verdict"]), (if stale { 3 } else { 0 }, &"current".into()), "{stderr}");
        assert_eq!(report["content_date"] == today, !stale, "{report}");
        assert_eq!(check('e', &["--max-content-age", "3d"]).0, 1, "replaced at any time");
        assert_eq!(check('a', &[]).0, 0, "only where it is asked for");
        // The settings may ask for it, and pin the map function.
        let settings = |map_fn| {
            let url = &server.url;
            format!(
                "[log.l]\nurl = \"{url}\"\npolicy = \"p\"\nmap_fn = \"{map_fn}\"\nmax_content_age = \"3d\"\n"
            )
        };
        write(home.path(), ".config/glasslog/config.toml", settings("conda-1").as_bytes());
        std::fs::copy(home.path().join("policy"), home.path().join(".config/glasslog/p")).unwrap();
        let args = ["verify", "record", "--repo", "mine", "--subdir", "noarch", "--file", "a-1-0.conda"];
        let (code, text, stderr) =
            run(home.path(), &[&args[..], &["--repodata", "mine.json", "--log", "l"]].concat());
        assert_eq!(code, if stale { 3 } else { 0 }, "{text}{stderr}");
        assert_eq!(text.contains("snapshot"), stale, "{text}");
        assert_eq!(run(home.path(), &["lookup", PATH, "--log", "l"]).0, 0);
        write(home.path(), ".config/glasslog/config.toml", settings("json-field:path").as_bytes());
        assert_eq!(run(home.path(), &["lookup", PATH, "--log", "l"]).0, 4, "another index than is pinned");
        assert_eq!(run(home.path(), &["lookup", PATH, "--log", "l", "--map-fn", "conda-1"]).0, 0);
    }
}

/// What is said of a record is no older than the snapshot that makes its log's content new.
#[test]
fn new_content_does_not_vouch_for_an_older_tree() {
    let (mut log, at) = log_of(&[record("a-1-0.conda", 'a', "MIT")]);
    log.push(record("a-1-0.conda", 'e', "MIT"));
    log.push(snapshot(&day(now()), "noarch"));
    let newer = log.anchor();
    let home = home_of(&log);
    let files = log.files(log.size(), Some(now()));
    let server = Fake::start(move |path| match Asked::parse(path) {
        Some(Asked { question, .. }) => {
            let of_path = matches!(&question, Question::Name { kind, .. } if kind == "path");
            let (size, at) = if of_path { (2, at) } else { (log.size(), newer) };
            Reply::ok(log.lookup(&question, size, at, LIST, 64, Some(now())).to_text())
        }
        None => files
            .get(path.trim_start_matches('/'))
            .map_or_else(Reply::missing, |file| Reply::ok(file.clone())),
    });
    let (code, report, stderr) = verify(home.path(), &server.url, 'a', "MIT", &["--max-content-age", "3d"]);
    assert_eq!((code, &report["lagging"]), (3, &true.into()), "{report} {stderr}");
}

/// A history that no answer shows whole: the entries that are left out are read from bundles, the list from pages.
#[test]
fn a_long_history_is_judged_to_its_beginning() {
    let mut history: Vec<String> = (0..40).map(|n| record("a-1-0.conda", 'a', &format!("L{n}"))).collect();
    history.push(tombstone());
    let (log, at) = log_of(&history);
    let home = home_of(&log);
    let shown = Shown { list: 10, entries: 5, ..Shown::all(&log, at) };
    let mut copy = Log::new(&Conda1Map);
    copy.entries.clone_from(&log.entries);
    let server = honest(copy, shown);
    for (license, index, pages) in [("L39", 39, 0), ("L33", 33, 0), ("L0", 0, 5)] {
        let before = server.asked().len();
        let (code, report, stderr) = verify(home.path(), &server.url, 'a', license, &[]);
        assert_eq!((code, &report["verdict"]), (0, &"removed-since".into()), "{license} {stderr}");
        assert_eq!((&report["index"], &report["latest"]), (&index.into(), &40.into()));
        let read = server.asked()[before..].iter().filter(|path| path.contains("start=")).count();
        assert_eq!(read, pages, "{license}");
    }
    let (code, report, _) = verify(home.path(), &server.url, 'e', "L0", &[]);
    assert_eq!((code, &report["verdict"]), (1, &"replaced".into()));
    // A bundle that is not what the root commits to.
    let (mut files, copy) = (log.files(log.size(), Some(now())), log);
    let bundle = files.iter_mut().find(|(path, _)| path.starts_with("tile/entries/")).unwrap().1;
    let place = bundle.windows(5).position(|window| window == b"\"L20\"").unwrap();
    bundle[place + 1] = b'M';
    let server = Fake::start(move |path| match Asked::parse(path) {
        Some(asked) => {
            let lookup = copy.lookup(&asked.question, copy.size(), at, LIST, 5, Some(now()));
            Reply::ok(lookup.to_text())
        }
        None => files
            .get(path.trim_start_matches('/'))
            .map_or_else(Reply::missing, |file| Reply::ok(file.clone())),
    });
    let (code, report, stderr) = verify(home.path(), &server.url, 'a', "L0", &[]);
    assert_eq!((code, report), (4, Value::Null), "{stderr}");
}

#[test]
fn a_lookup_is_proven_in_a_file_and_verified_offline() {
    let (mut log, at) = log_of(&[record("a-1-0.conda", 'a', "MIT")]);
    log.push(record("a-1-0.conda", 'a', "GPL"));
    let home = home_of(&log);
    let (home, then) = (home.path(), now());
    let vkey = log.vkey().to_string();
    let shown = Shown::all(&log, at);
    let server = honest(log, shown);
    let absent = "conda/mine/noarch/z-1-0.conda";
    for (name, file) in [(PATH, "found.tlog-proof"), (absent, "absent.tlog-proof")] {
        let (code, report, stderr) = ask(home, &server.url, &["prove", name, "-o", file, "--entries", "2"]);
        assert_eq!((code, &report["file"]), (0, &file.into()), "{stderr}");
    }
    drop(server);
    let check = |file: &str, more: &[&str]| {
        let args = ["verify", "proof", "--offline", file, "--policy", "policy", "--json"];
        let (code, stdout, stderr) = run(home, &[&args[..], more].concat());
        (code, serde_json::from_str(&stdout).unwrap_or(Value::Null), stderr)
    };
    let (code, found, stderr) = check("found.tlog-proof", &[]);
    assert_eq!(
        (code, &found["name"], &found["indices"]),
        (0, &PATH.into(), &serde_json::json!([0, 2])),
        "{stderr}"
    );
    assert_eq!(found["entries"].as_array().map(Vec::len), Some(2));
    let (code, found, _) = check("absent.tlog-proof", &[]);
    assert_eq!((code, &found["name"], &found["kind"]), (2, &absent.into(), &"path".into()));

    assert_eq!(check("found.tlog-proof", &["--key", PATH]).0, 0);
    assert_eq!(check("found.tlog-proof", &["--key", PATH, "--kind", "path"]).0, 0);
    let key = Conda1Map.key(None, PATH).unwrap().to_string();
    assert_eq!(check("found.tlog-proof", &["--key", &key, "--hex"]).0, 0);
    let (code, _, stderr) = check("absent.tlog-proof", &["--key", PATH]);
    assert_eq!((code, stderr.contains(absent)), (1, true), "an absence of something else: {stderr}");
    assert_eq!(check("found.tlog-proof", &["--key", PATH, "--kind", "name"]).0, 1);
    assert_eq!(check("found.tlog-proof", &["--map-fn", "json-field:path"]).0, 4);
    assert_eq!(check("found.tlog-proof", &["--kind", "path"]).0, 64);
    assert_eq!(check("found.tlog-proof", &["--entry", "policy"]).0, 1, "another kind of proof");
    assert_eq!(run(home, &["verify", "proof", "found.tlog-proof"]).0, 64, "nothing is pinned");
    assert_eq!(run(home, &["verify", "proof", "found.tlog-proof", "--vkey", &vkey]).0, 0, "time unknown");
    assert_eq!(run(home, &["verify", "proof", "found.tlog-proof", "--vkey", &vkey, "--max-age", "1d"]).0, 3);
    assert_eq!(check("found.tlog-proof", &["--as-of", &(then + 3600).to_string()]).0, 3);
    assert_eq!(check("found.tlog-proof", &["--as-of", &(then - 3600).to_string()]).0, 0);

    let text = std::fs::read_to_string(home.join("found.tlog-proof")).unwrap();
    let second_log = format!("{}\nlog {}\n", std::fs::read_to_string(home.join("policy")).unwrap(), {
        let (_, vkey, _) = run(home, &["key", "new", "other.example"]);
        vkey.trim().to_owned()
    });
    write(home, "two", second_log.as_bytes());
    let (code, _, stderr) = run(home, &["verify", "proof", "found.tlog-proof", "--policy", "two"]);
    assert_eq!((code, stderr.contains("several logs are pinned")), (64, true), "{stderr}");
    let two = ["verify", "proof", "found.tlog-proof", "--policy", "two", "--vkey", &vkey];
    assert_eq!(run(home, &two).0, 0, "the one that is named");
    for place in (0..text.len()).step_by(17) {
        let mut altered = text.clone().into_bytes();
        altered[place] ^= 1;
        write(home, "altered.tlog-proof", &altered);
        let (code, stdout, stderr) =
            run(home, &["verify", "proof", "altered.tlog-proof", "--policy", "policy", "--key", PATH]);
        assert!([1, 4, 5].contains(&code) && stdout.is_empty(), "byte {place}: {code} {stdout}{stderr}");
    }
}

#[test]
fn an_entry_is_proven_in_a_file() {
    let (log, at) = log_of(&[record("a-1-0.conda", 'a', "MIT")]);
    let home = home_of(&log);
    let home = home.path();
    let first = log.entries[0].clone();
    let shown = Shown::all(&log, at);
    let server = honest(log, shown);
    let (code, report, stderr) =
        ask(home, &server.url, &["prove", "--index", "0", "-o", "e.tlog-proof", "--entry", "e"]);
    assert_eq!((code, &report["verdict"]), (0, &"logged".into()), "{stderr}");
    assert_eq!(std::fs::read(home.join("e")).unwrap(), first);
    let args = ["verify", "proof", "--offline", "e.tlog-proof", "--entry", "e", "--policy", "policy"];
    assert_eq!(run(home, &args).0, 0);
    assert_eq!(run(home, &[&args[..], &["--key", PATH]].concat()).0, 1, "another kind of proof");
    assert_eq!(ask(home, &server.url, &["prove", "--index", "2", "-o", "x"]).0, 2);
    assert_eq!(ask(home, &server.url, &["prove", "-o", "x"]).0, 64);
    assert_eq!(ask(home, &server.url, &["prove", PATH, "--index", "1", "-o", "x"]).0, 64);
    assert_eq!(ask(home, &server.url, &["prove", PATH]).0, 64);
    assert!(!home.join("x").exists());
    // A directory has no index, and its entries can be proven all the same.
    for (path, bytes) in log_files() {
        write(&home.join("public"), &path, &bytes);
    }
    assert_eq!(ask(home, "public", &["prove", "--index", "1", "-o", "d.tlog-proof"]).0, 0);
    let (code, _, stderr) = ask(home, "public", &["lookup", PATH]);
    assert_eq!((code, stderr.contains("no index")), (4, true), "{stderr}");
}

fn log_files() -> BTreeMap<String, Vec<u8>> {
    let (log, _) = log_of(&[record("a-1-0.conda", 'a', "MIT")]);
    log.files(log.size(), Some(now()))
}

/// vindex.md §9: proven, it is told and 4; a file that accuses an honest log proves nothing, and is 1.
#[test]
fn misbehaviour_is_told_when_it_is_proven() {
    let key = Conda1Map.key(None, PATH).unwrap();
    let mut log = Log::new(&Conda1Map);
    log.push(record("a-1-0.conda", 'a', "MIT"));
    // An index that says nothing of the record's path.
    let mut pairs = log.pairs(1);
    pairs.retain(|(found, _)| *found != key);
    log.push(anchor("conda-1", Some(&forge::root_of(&pairs)), TreeSize(1)));
    let Proof::Absent(trie) = prove(&pairs, &key) else { panic!("it is not there") };
    let accusation = |fault| MisbehaviourProof {
        checkpoint: log.checkpoint(2, None),
        anchor: LeafIndex(1),
        inclusion: log.inclusion(1, 2),
        fault,
    };
    let proof = accusation(Fault::Omitted { key, trie, entry: log.given(LeafIndex(0), 2) });
    let home = home_of(&log);
    let home = home.path();
    write(home, "m.tlog-proof", proof.to_text().as_bytes());
    let vkey = log.vkey().to_string();
    let check =
        |more: &[&str]| run(home, &[&["verify", "proof", "m.tlog-proof", "--vkey", &vkey], more].concat());
    let (code, told, stderr) = check(&[]);
    assert_eq!((code, told.starts_with("MISBEHAVIOUR log.example/forged")), (4, true), "{told}{stderr}");
    let (code, json, _) = check(&["--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["anchor"], &json["entry"]), (4, &1.into(), &0.into()));
    assert_eq!(check(&["--map-fn", "json-field:x"]).0, 1, "another index than the log's");
    assert_eq!(check(&["--key", PATH, "--entry", "policy"]).0, 4, "whatever else was asked");
    let honest = accusation(Fault::Misplaced { entry: log.entries[1].clone() });
    write(home, "m.tlog-proof", honest.to_text().as_bytes());
    let (code, told, stderr) = check(&[]);
    assert_eq!((code, told.as_str(), stderr.contains("proves no misbehaviour")), (1, "", true), "{stderr}");
    let mut other = accusation(honest.fault);
    other.inclusion.0 = vec![Hash::EMPTY_ROOT];
    write(home, "m.tlog-proof", other.to_text().as_bytes());
    assert_eq!(check(&[]).0, 1);
    write(home, "m.tlog-proof", &proof.to_text().into_bytes()[..400]);
    assert_eq!(check(&[]).0, 5);
}

/// A disavowal is never passed over in silence, and what the log itself calls wrong is no ground for a verdict.
#[test]
fn disavowed_anchors_are_reported_and_not_rested_on() {
    for (disavowed, is_ours) in [(0, false), (1, true)] {
        let (mut log, at) = log_of(&[record("a-1-0.conda", 'a', "MIT")]);
        log.push(glasslog_core::anchor::disavow(&[LeafIndex(disavowed)]));
        let home = home_of(&log);
        let file = log.lookup(&question("path", PATH), 3, at, LIST, 64, Some(now())).to_text();
        write(home.path(), "d.tlog-proof", file.as_bytes());
        let shown = Shown::all(&log, at);
        let server = honest(log, shown);
        let offline = run(home.path(), &["verify", "proof", "d.tlog-proof", "--policy", "policy", "--json"]);
        let document = serde_json::from_str(&offline.1).unwrap_or(Value::Null);
        for (code, report, stderr) in [
            ask(home.path(), &server.url, &["lookup", PATH]),
            verify(home.path(), &server.url, 'a', "MIT", &[]),
            ask(home.path(), &server.url, &["prove", PATH, "-o", "p.tlog-proof"]),
            (offline.0, document, offline.2),
        ] {
            assert!(stderr.contains("by its entry 2 the log disavows"), "{stderr}");
            assert_eq!((code, report.is_null()), if is_ours { (4, true) } else { (0, false) }, "{stderr}");
            if !is_ours && !report["disavowals"].is_null() {
                assert_eq!(report["disavowals"], serde_json::json!([2]));
            }
        }
        assert_eq!(home.path().join("p.tlog-proof").exists(), !is_ours);
    }
}
