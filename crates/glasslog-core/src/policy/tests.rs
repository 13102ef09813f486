use std::string::{String, ToString};
use std::{format, vec, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::cosignature::{cosign, verify};
use crate::hash::leaf_hash;
use crate::note::{Ed25519Signer, SecretKey, sign};
use crate::{Hash, TreeSize};

const ORIGIN: &str = "log.example";
const NOW: u64 = 1_000_000;

fn log_key() -> SecretKey {
    SecretKey::from_seed(ORIGIN, Algorithm::Ed25519, &[255; 32]).unwrap()
}

fn own_cosigner() -> SecretKey {
    SecretKey::from_seed(ORIGIN, Algorithm::CosignatureV1, &[254; 32]).unwrap()
}

fn named(name: &str, seed: u8) -> SecretKey {
    SecretKey::from_seed(name, Algorithm::CosignatureV1, &[seed; 32]).unwrap()
}

/// Witness `n`, whose policy name is `w<n>`.
fn witness(n: u8) -> SecretKey {
    named(&format!("witness.example/{n}"), n)
}

fn witness_lines(count: u8) -> String {
    (0..count).map(|n| format!("witness w{n} {}\n", witness(n).verifier_key())).collect()
}

fn parse(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(text.as_bytes())
}

fn cosigned(key: &SecretKey, time: u64) -> VerifiedCosignature {
    let text = Checkpoint::new(ORIGIN, TreeSize::ZERO, Hash::EMPTY_ROOT).to_text();
    let line = cosign(&text, time, &Ed25519Signer::new(key)).unwrap();
    verify(&text, &line, key.verifier_key()).unwrap()
}

/// The example of c2sp.org/tlog-policy, with keys.
#[test]
fn the_example_of_the_specification() {
    let mut text = format!("log {}\n\n", log_key().verifier_key());
    for (n, name) in ["X1", "X2", "X3", "Y1", "Y2", "Y3"].into_iter().enumerate() {
        let key = witness(u8::try_from(n).unwrap());
        text += &format!("witness {name} {}\n", key.verifier_key());
    }
    text += "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n";
    let policy = parse(&text).unwrap();
    assert_eq!((policy.logs().len(), policy.witnesses().len()), (1, 6));
    for (present, filled) in [
        (&[0, 1, 3][..], true),
        (&[1, 2, 5], true),
        (&[0, 1, 2, 3, 4, 5], true),
        (&[0, 3, 4, 5], false),
        (&[0, 1, 2], false),
        (&[], false),
    ] {
        let cosignatures: Vec<_> = present.iter().map(|n| cosigned(&witness(*n), 7)).collect();
        let evaluation = policy.evaluate(&cosignatures, NOW);
        assert_eq!((evaluation.filled, evaluation.counted.len()), (filled, present.len()), "{present:?}");
    }
}

#[test]
fn what_the_grammar_allows() {
    let lines = witness_lines(2);
    for quorum in [
        "quorum w0\n",
        " \tquorum\t w0 \t\n",
        "# quorum w1\n\t # comment\n\n \t \nquorum w0\n",
        "group g all w0 w1\nquorum g\n",
        "group g 2 w0 w1\nquorum g\n",
        "group none1 any w0\nquorum none1\n",
        "quorum none\n",
        "quorum w0\ngroup later any w1\n",
    ] {
        parse(&format!("{lines}{quorum}")).unwrap();
    }
    // Octets from 0x80 up are opaque, in names, URLs and comments.
    let mut bytes = format!("log {} https://log.example/\n# ", log_key().verifier_key()).into_bytes();
    bytes.extend_from_slice(b"\xff\x80\nwitness \xe2\x84\xaa ");
    bytes.extend_from_slice(format!("{} https://w\u{e4}/\nwitness K ", witness(0).verifier_key()).as_bytes());
    bytes.extend_from_slice(format!("{}\nquorum K\n", witness(1).verifier_key()).as_bytes());
    let policy = Policy::parse(&bytes).unwrap();
    assert_eq!(policy.logs()[0].url.as_deref(), Some("https://log.example/"));
    assert_eq!(policy.witnesses()[0].url.as_deref(), Some("https://wä/"));
}

/// "strongly recommended that an implementation supports at least up to 32 logs, 32 witnesses, and 32 groups"
#[test]
fn thirty_two_of_each() {
    let mut text = witness_lines(32);
    for n in 100..132 {
        let key = SecretKey::from_seed("many.example", Algorithm::Ed25519, &[n; 32]).unwrap();
        text += &format!("log {}\n", key.verifier_key());
    }
    text += "group g0 any w0\n";
    for n in 1..32 {
        text += &format!("group g{n} all g{} w{n}\n", n - 1);
    }
    text += "quorum g31\n";
    let policy = parse(&text).unwrap();
    let all: Vec<_> = (0..32).map(|n| cosigned(&witness(n), u64::from(n) + 5)).collect();
    assert_eq!(policy.evaluate(&all, NOW).as_of, Some(5));
    assert!(!policy.evaluate(&all[1..], NOW).filled);
    assert!(!policy.has_disjoint_quorums());
}

/// One wrong line each, after two witnesses.
#[test]
fn what_the_grammar_refuses() {
    use LineProblem as P;
    let (lines, third, log) = (witness_lines(2), witness(2), log_key());
    let (third, log) = (third.verifier_key(), log.verifier_key());
    let again = named("elsewhere.example", 0);
    let plain = SecretKey::from_seed("plain.example", Algorithm::Ed25519, &[9; 32]).unwrap();
    let logs_own = SecretKey::from_seed("x.example", Algorithm::Ed25519, &[0; 32]).unwrap();
    let cases = vec![
        ("quorum".into(), P::Syntax),
        ("quorum w0 w1".into(), P::Syntax),
        ("quorum w0 # a comment".into(), P::Syntax),
        ("Quorum w0".into(), P::Syntax),
        ("group g any".into(), P::Syntax),
        ("log".into(), P::Syntax),
        (format!("log {log} url more"), P::Syntax),
        (format!("witness {third}"), P::Syntax),
        (format!("witness w2 {third} url more"), P::Syntax),
        ("quorum\u{b}w0".into(), P::Byte(0x0b)),
        ("quorum w0\r".into(), P::Byte(b'\r')),
        ("# \u{7f}".into(), P::Byte(0x7f)),
        ("# \0".into(), P::Byte(0)),
        ("quorum w9".into(), P::UnknownName("w9".into())),
        ("quorum W0".into(), P::UnknownName("W0".into())),
        ("quorum\u{a0}w0".into(), P::Syntax),
        ("group g any g".into(), P::UnknownName("g".into())),
        ("group g any none".into(), P::UnknownName("none".into())),
        ("group g 2 w0 w0".into(), P::MemberTwice("w0".into())),
        ("group w0 any w1".into(), P::NameTaken("w0".into())),
        ("group none any w1".into(), P::NameTaken("none".into())),
        (format!("witness none {third}"), P::NameTaken("none".into())),
        (format!("witness w1 {third}"), P::NameTaken("w1".into())),
        (format!("witness w2 {}", again.verifier_key()), P::DuplicateKey("elsewhere.example".into())),
        (format!("log {}", logs_own.verifier_key()), P::DuplicateKey("x.example".into())),
        (format!("witness w2 {}", plain.verifier_key()), P::NotACosigner("plain.example".into())),
    ];
    for (line, problem) in cases {
        let error = parse(&format!("{lines}{line}\nquorum w0\n")).unwrap_err();
        assert_eq!(error, PolicyError::Line { line: 3, problem }, "{line:?}");
    }
    for threshold in ["0", "3", "-1", "+1", "01", "1.0", "All", "ANY", "99999999999999999999"] {
        let error = parse(&format!("{lines}group g {threshold} w0 w1\nquorum g\n")).unwrap_err();
        let problem = P::Threshold(threshold.into());
        assert_eq!(error, PolicyError::Line { line: 3, problem });
    }
    let whole: [(String, PolicyError); 5] = [
        (String::new(), PolicyError::NoQuorum),
        (lines.clone(), PolicyError::NoQuorum),
        (format!("{lines}quorum w0"), PolicyError::Line { line: 3, problem: P::Unterminated }),
        (format!("{lines}quorum w0\nquorum w0\n"), PolicyError::Line { line: 4, problem: P::SecondQuorum }),
        (
            format!("{lines}group g any w0\ngroup h all g w0\nquorum h\n"),
            PolicyError::Line { line: 4, problem: P::MemberTwice("w0".into()) },
        ),
    ];
    for (text, error) in whole {
        assert_eq!(parse(&text), Err(error));
    }
    assert!(LineProblem::Byte(b'\r').to_string().contains("CRLF"));
}

/// FORMATS §5: a colluder's fresh stamp beside old ones proves nothing, and a stamp from the future does not count.
#[test]
fn the_as_of_time() {
    let policy = parse(&format!("{}group g 2 w0 w1 w2\nquorum g\n", witness_lines(3))).unwrap();
    let as_of = |times: &[(u8, u64)]| {
        let cosignatures: Vec<_> = times.iter().map(|(n, time)| cosigned(&witness(*n), *time)).collect();
        policy.evaluate(&cosignatures, NOW).as_of
    };
    assert_eq!(as_of(&[(0, 10), (1, 20), (2, 30)]), Some(20));
    assert_eq!(as_of(&[(0, 10), (1, 10), (2, NOW)]), Some(10));
    assert_eq!(as_of(&[(0, 10)]), None);
    assert_eq!(as_of(&[(0, 10), (0, 20)]), None);
    assert_eq!(as_of(&[(0, 10), (0, 20), (1, 15)]), Some(15));
    assert_eq!(as_of(&[(0, NOW + MAX_CLOCK_LEAD), (1, NOW + MAX_CLOCK_LEAD)]), Some(NOW + MAX_CLOCK_LEAD));
    assert_eq!(as_of(&[(0, NOW), (1, NOW + MAX_CLOCK_LEAD + 1)]), None);
    assert_eq!(as_of(&[(0, 1), (9, 1)]), None);
}

#[test]
fn a_logs_own_cosigner_tells_the_time_and_does_not_count() {
    let (log, own) = (log_key(), own_cosigner());
    let (log, own_key) = (log.verifier_key(), own.verifier_key());
    let stamp = [cosigned(&own, 50)];
    for text in [
        format!("log {log}\nlog {own_key}\nquorum none\n"),
        format!("log {log}\nwitness own {own_key}\nquorum none\n"),
    ] {
        let evaluation = parse(&text).unwrap().evaluate(&stamp, NOW);
        assert_eq!((evaluation.filled, evaluation.as_of), (true, Some(50)), "{text}");
    }
    let nobody = Policy::without_witnesses(core::slice::from_ref(log)).evaluate(&stamp, NOW);
    assert_eq!((nobody.filled, nobody.as_of), (true, None));

    let with_others =
        format!("witness own {own_key}\n{}log {log}\ngroup g 2 own w0 w1\nquorum g\n", witness_lines(2));
    let policy = parse(&with_others).unwrap();
    let with_one = [cosigned(&own, 50), cosigned(&witness(0), 50)];
    assert!(!policy.evaluate(&with_one, NOW).filled);
    assert_eq!(policy.evaluate(&with_one, NOW).counted, ["w0"]);
    // Which log it is may be said beside the policy.
    let no_log = format!("witness own {own_key}\n{}group q any own w0 w1\nquorum q\n", witness_lines(2));
    let pinned = parse(&no_log).unwrap().for_logs(core::slice::from_ref(log));
    assert!(
        !pinned.evaluate(&stamp, NOW).filled && pinned.evaluate(&[cosigned(&witness(1), 50)], NOW).filled
    );
    assert_eq!(pinned.log_keys(ORIGIN), core::slice::from_ref(log));
    let alone = format!("witness own {own_key}\nlog {log}\nquorum own\n");
    assert_eq!(parse(&alone), Err(PolicyError::Unsatisfiable));
}

/// "Several vkeys under one name, or one URL, are one witness and count once."
#[test]
fn keys_of_one_witness_count_once() {
    let (a, b, other) = (named("one.example", 1), named("one.example", 2), named("two.example", 3));
    let (far, near) = (named("near.example", 4), named("far.example", 5));
    let keys = format!(
        "witness a {}\nwitness b {}\nwitness c {}\nwitness d {} https://w.example/\nwitness e {} https://w.example\n",
        a.verifier_key(),
        b.verifier_key(),
        other.verifier_key(),
        far.verifier_key(),
        near.verifier_key()
    );
    let filled = |rule: &str, present: &[&SecretKey]| {
        let cosignatures: Vec<_> = present.iter().map(|key| cosigned(key, 1)).collect();
        parse(&format!("{keys}{rule}quorum q\n")).map(|policy| policy.evaluate(&cosignatures, NOW).filled)
    };
    let two = "group q 2 a b c d e\n";
    assert_eq!(filled(two, &[&a, &b]), Ok(false));
    assert_eq!(filled(two, &[&far, &near]), Ok(false));
    assert_eq!(filled(two, &[&a, &b, &far]), Ok(true));
    assert_eq!(filled("group q 2 a b\n", &[&a, &b]), Err(PolicyError::Unsatisfiable));
    assert_eq!(filled("group q 4 a b c d e\n", &[]), Err(PolicyError::Unsatisfiable));
    // In different groups, either key may be the one that counts.
    let spread = "group x any a c\ngroup y any b d\ngroup q all x y\n";
    assert_eq!(filled(spread, &[&a, &b]), Ok(false));
    assert_eq!(filled(spread, &[&a, &far]), Ok(true));
    assert_eq!(filled(spread, &[&b, &other]), Ok(true));
    // A witness with many keys in one group costs no search; 13 of them in two groups each are too many.
    let mut text = String::new();
    let (mut left, mut right) = (String::from("group x 7"), String::from("group y 7"));
    for n in 0..13 {
        text += &format!("witness a{n} {}\n", named(&format!("w{n}"), n).verifier_key());
        text += &format!("witness b{n} {}\n", named(&format!("w{n}"), n + 100).verifier_key());
        left += &format!(" a{n}");
        right += &format!(" b{n}");
    }
    let spread = format!("{text}{left}\n{right}\ngroup q any x y\nquorum q\n");
    assert_eq!(parse(&spread), Err(PolicyError::TooComplex));
    let together = format!("{text}{}{}\nquorum q\n", left.replace("group x 7", "group q 13"), &right[9..]);
    assert!(!parse(&together).unwrap().has_disjoint_quorums());
}

#[test]
fn which_policies_allow_two_views() {
    let lines = witness_lines(4);
    for (rule, disjoint) in [
        ("quorum none\n", true),
        ("quorum w0\n", false),
        ("group q any w0 w1\nquorum q\n", true),
        ("group q 2 w0 w1 w2\nquorum q\n", false),
        ("group q 2 w0 w1 w2 w3\nquorum q\n", true),
        ("group q 3 w0 w1 w2 w3\nquorum q\n", false),
        ("group x any w0 w1\ngroup q all x w2\nquorum q\n", false),
        ("group x any w0 w1\ngroup y any w2 w3\ngroup q all x y\nquorum q\n", true),
        ("group x any w0 w1\ngroup y all w2 w3\ngroup q all x y\nquorum q\n", false),
    ] {
        assert_eq!(parse(&format!("{lines}{rule}")).unwrap().has_disjoint_quorums(), disjoint, "{rule}");
    }
}

#[test]
fn opening_a_checkpoint_under_a_policy() {
    let (log, w) = (log_key(), witness(0));
    let text = Checkpoint::new(ORIGIN, TreeSize(1), leaf_hash(b"x")).to_text();
    let mut note = Note::parse(sign(&text, &[&Ed25519Signer::new(&log)]).unwrap().as_bytes()).unwrap();
    note.put(cosign(&text, 77, &Ed25519Signer::new(&w)).unwrap());
    let policy = parse(&format!("log {}\n{}quorum w0\n", log.verifier_key(), witness_lines(1))).unwrap();
    let opened = policy.open(note.to_text().as_bytes()).unwrap();
    assert_eq!(policy.evaluate(opened.cosignatures(), NOW).as_of, Some(77));

    let stranger = parse(&format!("log {}\nquorum none\n", own_cosigner().verifier_key())).unwrap();
    assert!(matches!(stranger.open(note.to_text().as_bytes()), Err(CheckpointError::Note(_))));
    let other = SecretKey::from_seed("other.example", Algorithm::Ed25519, &[3; 32]).unwrap();
    let elsewhere = parse(&format!("log {}\nquorum none\n", other.verifier_key())).unwrap();
    assert_eq!(elsewhere.open(note.to_text().as_bytes()), Err(CheckpointError::UnknownLog(ORIGIN.into())));
}

#[test]
fn external_witnesses() {
    let vkey = |n| witness(n).verifier_key().to_string();
    let odd = named("w=1,", 40).verifier_key().to_string();
    let settings = format!(
        "a=https://a.example/?x=1&y==2={}, b=http://b/={},a=https://a2.example/={},",
        vkey(0),
        vkey(1),
        vkey(2)
    );
    let policy = Policy::from_settings(&[log_key().verifier_key().clone()], &settings, None).unwrap();
    let urls: Vec<_> = policy.witnesses().iter().map(|w| w.url.clone().unwrap()).collect();
    assert_eq!(urls, ["https://a.example/?x=1&y==2", "http://b/", "https://a2.example/"]);
    // `a` has two keys and is one witness: a majority of two is two.
    let evaluate = |present: &[u8]| {
        let cosignatures: Vec<_> = present.iter().map(|n| cosigned(&witness(*n), 1)).collect();
        policy.evaluate(&cosignatures, NOW).filled
    };
    assert_eq!([evaluate(&[0, 2]), evaluate(&[0, 1]), evaluate(&[1, 2])], [false, true, true]);
    assert_eq!(policy.distinct_witnesses(), 2);

    assert_eq!((policy.witnesses().len(), policy.distinct_witnesses()), (3, 2));

    let none = Policy::from_settings(&[], "", None).unwrap();
    assert!(none.is_quorum_none());
    assert!(Policy::from_settings(&[], &settings, Some(0)).unwrap().is_quorum_none());
    let too_many = Policy::from_settings(&[], &settings, Some(3));
    assert_eq!(too_many, Err(PolicyError::QuorumSize { quorum: 3, witnesses: 2 }));

    let problem =
        |setting: &str| match Policy::from_settings(&[log_key().verifier_key().clone()], setting, None) {
            Err(PolicyError::Setting(_, problem)) => problem,
            other => panic!("{setting}: {other:?}"),
        };
    let plain = log_key().verifier_key().to_string();
    let own = own_cosigner().verifier_key().to_string();
    assert_eq!(problem("a"), LineProblem::Setting);
    assert_eq!(problem(&format!("a={}", vkey(0))), LineProblem::Setting);
    assert_eq!(problem(&format!("=https://a/={}", vkey(0))), LineProblem::Setting);
    assert_eq!(problem(&format!("a=={}", vkey(0))), LineProblem::Setting);
    assert_eq!(problem(&format!("a=u={plain}")), LineProblem::NotACosigner(ORIGIN.into()));
    assert_eq!(problem(&format!("a=u={own}")), LineProblem::OwnCosigner(ORIGIN.into()));
    assert!(matches!(problem(&format!("a=u={}x", vkey(0))), LineProblem::Key(_)));
    assert!(matches!(problem(&format!("a=u={}", vkey(0).replace("/0+", "/1+"))), LineProblem::Key(_)));
    assert_eq!(
        problem(&format!("a=u={0},b=v={0}", vkey(0))),
        LineProblem::DuplicateKey("witness.example/0".into())
    );
    assert_eq!(problem(&format!("none=u={}", vkey(0))), LineProblem::NameTaken("none".into()));
    assert_eq!(problem(&format!("a b=u={}", vkey(0))), LineProblem::Blank("a b".into()));
    assert_eq!(problem(&format!("a=u v={}", vkey(0))), LineProblem::Blank("u v".into()));
    let spaced = Policy::from_settings(&[], &format!("a = u = {}", vkey(0)), None).unwrap();
    let witness = &spaced.witnesses()[0];
    assert_eq!((witness.name.as_str(), witness.url.as_deref()), ("a", Some("u")));
    // A key name may hold `=`; a comma always ends the setting.
    assert!(Policy::from_settings(&[], &format!("a=u={}", odd.replace(',', "")), None).is_err());
    let equals = named("w=1", 41).verifier_key().to_string();
    let policy = Policy::from_settings(&[], &format!("a=u=v={equals}"), None).unwrap();
    assert_eq!(policy.witnesses()[0].url.as_deref(), Some("u=v"));
}

/// A random tree over at most 6 witness lines, for the naive model.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(usize),
    Group(usize, Vec<Tree>),
}

impl Tree {
    fn build(mut parts: Vec<Tree>, shapes: &[(u8, u8)]) -> Tree {
        for (take, threshold) in shapes {
            if parts.len() == 1 {
                break;
            }
            let take = 1 + usize::from(*take) % parts.len();
            let rest = parts.split_off(take);
            let threshold = 1 + usize::from(*threshold) % parts.len();
            let group = Tree::Group(threshold, parts);
            parts = rest;
            parts.push(group);
        }
        if parts.len() == 1 { parts.remove(0) } else { Tree::Group(1 + parts.len() / 2, parts) }
    }

    fn write(&self, lines: &mut Vec<String>) -> String {
        match self {
            Tree::Leaf(n) => format!("w{n}"),
            Tree::Group(threshold, members) => {
                let names: Vec<String> = members.iter().map(|member| member.write(lines)).collect();
                let name = format!("g{}", lines.len());
                lines.push(format!("group {name} {threshold} {}\n", names.join(" ")));
                name
            }
        }
    }

    fn filled(&self, present: u32) -> bool {
        match self {
            Tree::Leaf(n) => present >> n & 1 == 1,
            Tree::Group(threshold, members) => {
                members.iter().filter(|member| member.filled(present)).count() >= *threshold
            }
        }
    }
}

/// Whether some set of lines within `present`, at most one of each identity, fills the tree.
fn filled_once(tree: &Tree, identity: &[u8], present: u32) -> bool {
    (0..64_u32).any(|set| {
        let once = |n: usize| (0..n).all(|m| set >> m & 1 == 0 || identity[m] != identity[n]);
        set & !present == 0 && (0..6).all(|n| set >> n & 1 == 0 || once(n)) && tree.filled(set)
    })
}

proptest! {
    /// Every question, against the definition tried over all subsets.
    #[test]
    fn quorums_agree_with_the_naive_model(
        shapes in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..5),
        identity in proptest::collection::vec(0_u8..6, 6),
        times in proptest::collection::vec(proptest::option::of(1_u64..5), 6),
    ) {
        let tree = Tree::build((0..6).map(Tree::Leaf).collect(), &shapes);
        let keys: Vec<SecretKey> =
            (0..6_u8).map(|n| named(&format!("id{}", identity[usize::from(n)]), n)).collect();
        let mut lines: Vec<String> =
            keys.iter().enumerate().map(|(n, key)| format!("witness w{n} {}\n", key.verifier_key())).collect();
        let root = tree.write(&mut lines);
        let parsed = parse(&format!("{}quorum {root}\n", lines.concat()));
        if !filled_once(&tree, &identity, 63) {
            prop_assert_eq!(parsed, Err(PolicyError::Unsatisfiable));
            return Ok(());
        }
        let policy = parsed.unwrap();

        let cosignatures: Vec<_> =
            keys.iter().zip(&times).filter_map(|(key, time)| time.map(|time| cosigned(key, time))).collect();
        let from = |t: u64| (0..6).filter(|n| times[*n].is_some_and(|time| time >= t)).map(|n| 1 << n).sum();
        let expected = (1..5).rev().find(|t| filled_once(&tree, &identity, from(*t)));
        prop_assert_eq!(policy.evaluate(&cosignatures, NOW).as_of, expected);

        let side = |ids: u32| (0..6).filter(|n| ids >> identity[*n] & 1 == 1).map(|n| 1 << n).sum();
        let disjoint =
            (0..64).any(|ids| filled_once(&tree, &identity, side(ids)) && filled_once(&tree, &identity, side(!ids)));
        prop_assert_eq!(policy.has_disjoint_quorums(), disjoint);
    }

    #[test]
    fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100), text in "(log|witness|group|quorum|[ \t\na-z0-9+=])*") {
        let _ = Policy::parse(&bytes);
        let _ = Policy::parse(text.as_bytes());
        let _ = Policy::from_settings(&[], &text, None);
    }
}
