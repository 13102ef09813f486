//! Policies and checkpoints under them, as data: `docs/spec/policy-vectors.txt` is what these cases give, byte for byte. The verifier
//! in `clients/js` reads that file. `UPDATE_VECTORS=1` writes it anew; what stands there already must not change.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "clippy spares functions marked #[test], and not what they call"
)]

use std::{env, fmt::Write, fs, path::Path};

use base64ct::{Base64, Encoding};
use glasslog_core::{
    Hash, TreeSize,
    checkpoint::Checkpoint,
    cosignature::cosign,
    hash::leaf_hash,
    note::{Algorithm, Ed25519Signer, SecretKey, sign},
    policy::Policy,
};

const ORIGIN: &str = "log.example/policy";
const NOW: u64 = 1_764_072_000;

const HEAD: &str = "\
# Vectors of policy.md.
#
# `checkpoint` is a signed checkpoint, judged at the time `now` by somebody who pins `origin` and `policy`; both are base64 of a file. `as_of` is the time as of which it
# holds, or `unknown`; `splits` says whether two sets of witnesses without a common member fill the quorum (left out with `quorum none`). `refused` is why the checkpoint
# is not believed, `policy refused` why the policy is no policy: then nothing else is wrong.
";

/// A signature line: by whom, and when (of type 0x01: never).
type Line<'a> = (&'a SecretKey, u64);

/// What must come out.
enum Verdict {
    AsOf(Option<u64>),
    Refused(&'static str),
    NoPolicy(&'static str),
}
use Verdict::{AsOf, NoPolicy, Refused};

fn key(name: &str, algorithm: Algorithm, seed: u8) -> SecretKey {
    SecretKey::from_seed(name, algorithm, &[seed; 32]).unwrap()
}

/// Those that sign.
struct Cast {
    log: SecretKey,
    own: SecretKey,
    other_log: SecretKey,
    other_own: SecretKey,
    /// `w0.example` to `w2.example`, then two keys each of `a.example` and `b.example`.
    witnesses: Vec<SecretKey>,
}

impl Cast {
    fn new() -> Cast {
        let cosigner = |(name, seed): (&str, u8)| key(name, Algorithm::CosignatureV1, seed);
        let names =
            ["w0.example", "w1.example", "w2.example", "a.example", "a.example", "b.example", "b.example"];
        Cast {
            log: key(ORIGIN, Algorithm::Ed25519, 101),
            own: key(ORIGIN, Algorithm::CosignatureV1, 102),
            other_log: key("other.example", Algorithm::Ed25519, 103),
            other_own: key("other.example", Algorithm::CosignatureV1, 104),
            witnesses: names.into_iter().zip(1..).map(cosigner).collect(),
        }
    }

    /// `{log}`, `{own}`, `{other_log}`, `{other_own}` and `{0}` to `{6}` become vkeys.
    fn policy(&self, template: &str) -> String {
        let named = [
            ("{log}", &self.log),
            ("{own}", &self.own),
            ("{other_log}", &self.other_log),
            ("{other_own}", &self.other_own),
        ];
        let policy = named.iter().fold(template.to_owned(), |text, (name, key)| {
            text.replace(name, &key.verifier_key().to_string())
        });
        let witnesses = self.witnesses.iter().enumerate();
        witnesses
            .fold(policy, |text, (n, key)| text.replace(&format!("{{{n}}}"), &key.verifier_key().to_string()))
    }
}

fn text(size: u64) -> String {
    Checkpoint::new(ORIGIN, TreeSize(size), if size == 0 { Hash::EMPTY_ROOT } else { leaf_hash(b"x") })
        .to_text()
}

/// A checkpoint with these lines; `wrong` are made over another text.
fn checkpoint(lines: &[Line<'_>], wrong: &[Line<'_>]) -> String {
    let mut note = format!("{}\n", text(1));
    for (lines, over) in [(lines, text(1)), (wrong, text(2))] {
        for (key, time) in lines {
            let signer = Ed25519Signer::new(key);
            let line = match key.verifier_key().algorithm() {
                Algorithm::Ed25519 => {
                    sign(&over, &[&signer]).unwrap().rsplit_once("\n\n").unwrap().1.to_owned()
                }
                _ => format!("{}\n", cosign(&over, *time, &signer).unwrap()),
            };
            note.push_str(&line);
        }
    }
    note
}

struct Book {
    cast: Cast,
    text: String,
}

impl Book {
    fn case(&mut self, shows: &str, policy: &str, note: &str, verdict: &Verdict) {
        let policy = self.cast.policy(policy);
        let found = judge(&policy, note);
        let out = &mut self.text;
        let encode = |text: &str| Base64::encode_string(text.as_bytes());
        write!(out, "\nshows: {shows}\norigin: {ORIGIN}\npolicy: {}\n", encode(&policy)).unwrap();
        if let NoPolicy(why) = verdict {
            assert!(matches!(found, Found::NoPolicy), "{shows}");
            writeln!(out, "policy refused: {why}").unwrap();
            return;
        }
        write!(out, "now: {NOW}\ncheckpoint: {}\n", encode(note)).unwrap();
        match (verdict, found) {
            (Refused(why), Found::Refused) => writeln!(out, "refused: {why}").unwrap(),
            (AsOf(expected), Found::AsOf(found, splits)) => {
                assert_eq!(found, *expected, "{shows}");
                let expected = expected.map_or("unknown".to_owned(), |time| time.to_string());
                writeln!(out, "as_of: {expected}").unwrap();
                if let Some(splits) = splits {
                    writeln!(out, "splits: {}", if splits { "yes" } else { "no" }).unwrap();
                }
            }
            (_, found) => panic!("{shows}: {found:?}"),
        }
    }

    fn section(&mut self, about: &str) {
        write!(self.text, "\n# {about}\n").unwrap();
    }
}

#[derive(Debug)]
enum Found {
    AsOf(Option<u64>, Option<bool>),
    Refused,
    NoPolicy,
}

fn judge(policy: &str, note: &str) -> Found {
    let Ok(policy) = Policy::parse(policy.as_bytes()) else { return Found::NoPolicy };
    let Ok(opened) = policy.open(note.as_bytes()) else { return Found::Refused };
    let evaluation = policy.evaluate(opened.cosignatures(), NOW);
    let splits = (!policy.is_quorum_none()).then(|| policy.has_disjoint_quorums());
    if evaluation.filled { Found::AsOf(evaluation.as_of, splits) } else { Found::Refused }
}

const LOG: &str = "log {log}\n";
const THREE: &str = "witness w0 {0}\nwitness w1 {1}\nwitness w2 {2}\n";
const TWO_OF_THREE: &str = "group q 2 w0 w1 w2\nquorum q\n";
const ONE_NAME: &str = "witness w0 {0}\nwitness a {3}\nwitness a2 {4}\n";

/// `quorum none`, and what a log says of itself.
fn own_cosigners(book: &mut Book) {
    let Cast { log, own, other_own, witnesses, .. } = &Cast::new();
    let both = checkpoint(&[(log, 0), (own, NOW - 50), (&witnesses[0], NOW)], &[]);
    book.section("A log's own cosigner.");
    book.case("quorum none: nobody pinned says the time", "log {log}\nquorum none\n", &both, &AsOf(None));
    for line in ["log {own}\n", "witness own {own}\n"] {
        let policy = format!("{LOG}{line}quorum none\n");
        let shows = format!(
            "quorum none: the own cosigner on a {} line says the time",
            line.split_once(' ').unwrap().0
        );
        book.case(&shows, &policy, &both, &AsOf(Some(NOW - 50)));
    }
    let alone = checkpoint(&[(own, NOW - 50)], &[]);
    book.case(
        "on a log line its signature is the log's",
        "log {log}\nlog {own}\nquorum none\n",
        &alone,
        &AsOf(Some(NOW - 50)),
    );
    let on_witness_line = "log {log}\nwitness own {own}\nquorum none\n";
    book.case("on a witness line it is not", on_witness_line, &alone, &Refused("no signature of the log"));
    let future = checkpoint(&[(log, 0), (own, NOW + 301)], &[]);
    book.case("quorum none: a time in the future is no time", on_witness_line, &future, &AsOf(None));

    let beside = format!("{LOG}log {{own}}\nwitness w0 {{0}}\nquorum w0\n");
    let note = checkpoint(&[(log, 0), (own, NOW), (&witnesses[0], NOW - 9)], &[]);
    book.case("beside a quorum its time says nothing", &beside, &note, &AsOf(Some(NOW - 9)));
    let among = format!("{LOG}{THREE}witness own {{own}}\ngroup q 2 own w0 w1 w2\nquorum q\n");
    book.case("it does not count towards a quorum", &among, &note, &Refused("the quorum is not filled"));
    let two = checkpoint(&[(log, 0), (&witnesses[1], NOW), (&witnesses[0], NOW - 9)], &[]);
    book.case("others fill that quorum", &among, &two, &AsOf(Some(NOW - 9)));
    let another = format!(
        "{LOG}log {{other_log}}\n{THREE}witness own {{other_own}}\ngroup q 2 own w0 w1 w2\nquorum q\n"
    );
    let note = checkpoint(&[(log, 0), (other_own, NOW), (&witnesses[0], NOW)], &[]);
    book.case(
        "nor does that of another log of the policy",
        &another,
        &note,
        &Refused("the quorum is not filled"),
    );
    let anothers = "log {log}\nlog {other_log}\nwitness own {other_own}\nquorum none\n";
    let note = checkpoint(&[(log, 0), (other_own, NOW)], &[]);
    book.case("quorum none: that of another log says nothing of this one", anothers, &note, &AsOf(None));
    let note = checkpoint(&[(log, 0)], &[(other_own, NOW)]);
    book.case("its line is passed over, also a wrong one", anothers, &note, &AsOf(None));
    book.case(
        "a quorum of nobody else",
        "log {log}\nwitness own {own}\nquorum own\n",
        "",
        &NoPolicy("the quorum cannot be filled"),
    );
    book.case(
        "witness lines may stand above the log's",
        "witness own {own}\nlog {log}\nquorum own\n",
        "",
        &NoPolicy("the quorum cannot be filled"),
    );
}

/// Who is one witness.
fn one_witness(book: &mut Book) {
    let Cast { log, witnesses, .. } = &Cast::new();
    let by = |who: &[usize]| {
        let lines = who.iter().map(|n| (&witnesses[*n], NOW));
        checkpoint(&[(log, 0)].into_iter().chain(lines).collect::<Vec<_>>(), &[])
    };
    let not_filled = Refused("the quorum is not filled");
    let filled = AsOf(Some(NOW));
    book.section("Several keys of one witness.");
    let two = format!("{LOG}{ONE_NAME}group q 2 w0 a a2\nquorum q\n");
    book.case("two keys of one name count once", &two, &by(&[3, 4]), &not_filled);
    book.case("either key of one name counts", &two, &by(&[0, 4]), &filled);
    let urls = |first: &str, second: &str| {
        format!(
            "{LOG}witness w0 {{0}}\nwitness w1 {{1}} {first}\nwitness w2 {{2}} {second}\ngroup q 2 w0 w1 w2\nquorum q\n"
        )
    };
    book.case(
        "two names at one URL count once",
        &urls("https://w.example/x", "https://w.example/x"),
        &by(&[1, 2]),
        &not_filled,
    );
    book.case(
        "slashes at the end of a URL mean nothing",
        &urls("https://w.example/x/", "https://w.example/x"),
        &by(&[1, 2]),
        &not_filled,
    );
    book.case(
        "two URLs are two witnesses",
        &urls("https://w.example/x", "https://w.example/y"),
        &by(&[1, 2]),
        &filled,
    );
    let chain = format!(
        "{LOG}witness w0 {{0}}\nwitness a {{3}}\nwitness a2 {{4}} https://w.example\nwitness b {{5}} https://w.example\ngroup q 2 w0 a a2 b\nquorum q\n"
    );
    book.case("one by name, and one by URL, are one by way of the third", &chain, &by(&[3, 5]), &not_filled);
    book.case(
        "a threshold above the number of witnesses",
        &format!("{LOG}{ONE_NAME}group q 3 w0 a a2\nquorum q\n"),
        "",
        &NoPolicy("the quorum cannot be filled"),
    );

    let spread = format!(
        "{LOG}witness w0 {{0}}\nwitness w1 {{1}}\nwitness a {{3}}\nwitness a2 {{4}}\ngroup x any a w0\ngroup y any a2 w1\ngroup q all x y\nquorum q\n"
    );
    book.case("in two groups it counts in one of them", &spread, &by(&[3, 4]), &not_filled);
    book.case("it counts in the first group", &spread, &by(&[3, 1]), &filled);
    book.case("it counts in the second group", &spread, &by(&[4, 0]), &filled);
    let old_and_new = format!(
        "{LOG}witness a {{3}}\nwitness b {{5}}\nwitness a2 {{4}}\nwitness b2 {{6}}\ngroup old 2 a b\ngroup new 2 a2 b2\ngroup q any old new\nquorum q\n"
    );
    book.case("old keys or new ones", &old_and_new, &by(&[4, 6]), &filled);
    book.case("neither all old keys nor all new ones", &old_and_new, &by(&[4, 5]), &not_filled);
    let many = |count: u8| {
        let (mut lines, mut left, mut right) =
            (LOG.to_owned(), "group x 1".to_owned(), "group y 1".to_owned());
        for n in 0..count {
            for (prefix, seed) in [("a", 30), ("b", 150)] {
                let key = key(&format!("w{n}.example"), Algorithm::CosignatureV1, n + seed);
                writeln!(lines, "witness {prefix}{n} {}", key.verifier_key()).unwrap();
            }
            write!(left, " a{n}").unwrap();
            write!(right, " b{n}").unwrap();
        }
        format!("{lines}{left}\n{right}\ngroup q any x y\nquorum q\n")
    };
    let first = key("w0.example", Algorithm::CosignatureV1, 30);
    let note = checkpoint(&[(log, 0), (&first, NOW)], &[]);
    book.case("twelve witnesses in two groups each: 4,096 ways", &many(12), &note, &filled);
    book.case("thirteen witnesses in two groups each: 8,192 ways", &many(13), "", &NoPolicy("too many ways"));
}

/// When cosignatures count, and as of when a checkpoint holds.
fn times(book: &mut Book) {
    let Cast { log, witnesses, .. } = &Cast::new();
    let at = |times: &[(usize, u64)]| {
        let lines = times.iter().map(|(n, time)| (&witnesses[*n], *time));
        checkpoint(&[(log, 0)].into_iter().chain(lines).collect::<Vec<_>>(), &[])
    };
    let not_filled = Refused("the quorum is not filled");
    let policy = format!("{LOG}{THREE}{TWO_OF_THREE}");
    book.section("Times.");
    book.case(
        "the second newest of two of three",
        &policy,
        &at(&[(0, NOW - 30), (1, NOW - 10), (2, NOW - 20)]),
        &AsOf(Some(NOW - 20)),
    );
    book.case(
        "one fresh time beside old ones",
        &policy,
        &at(&[(0, NOW), (1, NOW - 90_000), (2, NOW - 90_000)]),
        &AsOf(Some(NOW - 90_000)),
    );
    book.case(
        "300 seconds ahead of the clock",
        &policy,
        &at(&[(0, NOW + 300), (1, NOW + 300)]),
        &AsOf(Some(NOW + 300)),
    );
    book.case("301 seconds ahead of the clock", &policy, &at(&[(0, NOW), (1, NOW + 301)]), &not_filled);
    book.case("the time 0 is no time", &policy, &at(&[(0, NOW), (1, 0)]), &not_filled);
    book.case(
        "of two lines of one key the newer stands",
        &policy,
        &at(&[(0, NOW - 30), (0, NOW - 5), (1, NOW - 10)]),
        &AsOf(Some(NOW - 10)),
    );
    book.case(
        "also when the newer does not count",
        &policy,
        &at(&[(0, NOW - 5), (0, NOW + 301), (1, NOW)]),
        &not_filled,
    );
}

/// What spoils a checkpoint, and what is passed over.
fn wrong_signatures(book: &mut Book) {
    let Cast { log, other_log, witnesses, .. } = &Cast::new();
    let one = format!("{LOG}{THREE}quorum w0\n");
    let right = [(log, 0), (&witnesses[0], NOW)];
    let wrong = Refused("a signature does not verify");
    book.section("Wrong signatures.");
    book.case(
        "a wrong signature of the log beside a right one",
        &one,
        &checkpoint(&right, &[(log, 0)]),
        &wrong,
    );
    book.case(
        "a wrong signature of a witness that is not needed",
        &one,
        &checkpoint(&right, &[(&witnesses[2], NOW)]),
        &wrong,
    );
    let outside = format!("{LOG}{THREE}quorum none\n");
    book.case(
        "a wrong signature of a witness, with quorum none",
        &outside,
        &checkpoint(&[(log, 0)], &[(&witnesses[2], NOW)]),
        &wrong,
    );
    book.case(
        "a wrong signature of a key that nobody knows",
        &one,
        &checkpoint(&right, &[(&witnesses[3], NOW)]),
        &AsOf(Some(NOW)),
    );
    let same_name = key("w0.example", Algorithm::CosignatureV1, 77);
    book.case(
        "a wrong signature of an unknown key with a known name",
        &one,
        &checkpoint(&right, &[(&same_name, NOW)]),
        &AsOf(Some(NOW)),
    );
    let two_logs = format!("{LOG}log {{other_log}}\n{THREE}quorum w0\n");
    book.case(
        "a wrong signature of another log of the policy",
        &two_logs,
        &checkpoint(&right, &[(other_log, 0)]),
        &AsOf(Some(NOW)),
    );
    book.case(
        "no signature of the log",
        &one,
        &checkpoint(&[(&witnesses[0], NOW)], &[]),
        &Refused("no signature of the log"),
    );
    book.case(
        "no log of that origin",
        "log {other_log}\nquorum none\n",
        &checkpoint(&right, &[]),
        &Refused("another origin"),
    );
    let strange = |name: &str| {
        format!("{}\u{2014} {name} {}\n", checkpoint(&right, &[]), Base64::encode_string(&[7; 68]))
    };
    let passed = AsOf(Some(NOW));
    book.case("a line of a name with the character U+0080", &one, &strange("w\u{80}.example"), &passed);
    book.case("a line of a name of 300 bytes", &one, &strange(&"w".repeat(300)), &passed);
    let no_line = Refused("a line is no signature line");
    book.case("a line of a name with a plus sign", &one, &strange("w+x.example"), &no_line);
    book.case("a line of a name with the space U+2003", &one, &strange("w\u{2003}x.example"), &no_line);
    let bare = format!("{}\u{2014} w.example AAAAAA==\n", checkpoint(&right, &[]));
    book.case("a line with nothing but a key ID", &one, &bare, &no_line);
}

/// Files that are no policy.
fn files(book: &mut Book) {
    let Cast { log, .. } = &Cast::new();
    let note = checkpoint(&[(log, 0)], &[]);
    book.section("The file.");
    book.case(
        "tabs, comments and empty lines",
        "# \u{e9}\n\n \tlog \t{log} https://log.example/ \n\t# x\nquorum none\n",
        &note,
        &AsOf(None),
    );
    for (shows, policy, why) in [
        ("the last line has no newline", "log {log}\nquorum none", "a line does not end in a newline"),
        (
            "a comment as the last line, without newline",
            "log {log}\nquorum none\n# x",
            "a line does not end in a newline",
        ),
        ("lines end in CRLF", "log {log}\r\nquorum none\r\n", "a control character"),
        ("no quorum", "log {log}\n", "no quorum"),
        (
            "one public key of a log and a witness",
            "log {own}\nwitness w {own}\nquorum none\n",
            "a public key twice",
        ),
        (
            "a witness with a key of type 0x01",
            "witness w {log}\nquorum none\n",
            "a witness with a key of type 0x01",
        ),
    ] {
        book.case(shows, policy, "", &NoPolicy(why));
    }
}

#[test]
fn the_vectors_of_the_page() {
    let mut book = Book { cast: Cast::new(), text: HEAD.into() };
    own_cosigners(&mut book);
    one_witness(&mut book);
    times(&mut book);
    wrong_signatures(&mut book);
    files(&mut book);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/policy-vectors.txt");
    if env::var_os("UPDATE_VECTORS").is_some() {
        fs::write(&path, &book.text).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == book.text,
        "docs/spec/policy-vectors.txt is not what these cases give"
    );
}
