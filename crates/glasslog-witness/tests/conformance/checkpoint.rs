//! Checks 30–37: the checkpoint's text, rightly signed by the log (tlog-checkpoint.md section Note text).

use crate::{
    check::{Check, Must, Robust},
    framing::strict_base64,
    keys::{ML_DSA_44, Signed, b64, parse_line, signature_line},
    logs::Log,
    session::{Ask, Session, conflict},
    tree::{Tree, sha256},
};

/// The next request, its text remade from (origin, size, root) and signed.
fn with_text(session: &mut Session, text: impl FnOnce(&str, u64, &str) -> String) -> Ask {
    let ask = session.next(3);
    let (size, root) = ask.tree_head().unwrap();
    let text = text(&session.log.origin, size, &b64(&root));
    let line = session.log.a().line(text.as_bytes());
    ask.with_text(text).with_signatures(&[line])
}

type Text = fn(&str, u64, &str) -> String;

fn all_malformed(number: &'static str, title: &'static str, rows: &[(&str, Text)]) {
    let mut check = Check::new(number, title);
    let mut session = Session::at(&mut check, number, 5);
    for (row, text) in rows {
        let ask = with_text(&mut session, text);
        session.refuse(&mut check, strict_base64(row), row, &[400], &ask.bytes());
    }
    check.finish();
}

#[test]
fn check_30_an_empty_origin() {
    all_malformed(
        "30",
        "an empty origin",
        &[("an empty first line", |_, size, root| format!("\n{size}\n{root}\n"))],
    );
}

#[test]
fn check_31_sizes_are_canonical() {
    all_malformed(
        "31",
        "the size line",
        &[
            ("leading zero", |origin, size, root| format!("{origin}\n0{size}\n{root}\n")),
            ("plus", |origin, size, root| format!("{origin}\n+{size}\n{root}\n")),
            ("minus", |origin, size, root| format!("{origin}\n-{size}\n{root}\n")),
            ("a space before it", |origin, size, root| format!("{origin}\n {size}\n{root}\n")),
            ("a space after it", |origin, size, root| format!("{origin}\n{size} \n{root}\n")),
            ("hexadecimal", |origin, size, root| format!("{origin}\n0x{size:x}\n{root}\n")),
            ("an exponent", |origin, size, root| format!("{origin}\n{size}e0\n{root}\n")),
            ("a fraction", |origin, size, root| format!("{origin}\n{size}.0\n{root}\n")),
            ("2^64", |origin, _, root| format!("{origin}\n18446744073709551616\n{root}\n")),
            ("2^64 and the size", |origin, size, root| {
                format!("{origin}\n{}\n{root}\n", (1_u128 << 64) + u128::from(size))
            }),
            ("40 digits", |origin, _, root| format!("{origin}\n{}\n{root}\n", "1234567890".repeat(4))),
            ("fullwidth digits", |origin, _, root| format!("{origin}\n\u{ff18}\n{root}\n")),
            ("a word", |origin, _, root| format!("{origin}\neight\n{root}\n")),
            ("a line that is empty", |origin, _, root| format!("{origin}\n\n{root}\n")),
        ],
    );
}

#[test]
fn check_32_roots_are_32_bytes_of_base64() {
    all_malformed(
        "32",
        "the root line",
        &[
            ("31 bytes", |origin, size, _| format!("{origin}\n{size}\n{}\n", b64(&[7; 31]))),
            ("33 bytes", |origin, size, _| format!("{origin}\n{size}\n{}\n", b64(&[7; 33]))),
            ("no bytes", |origin, size, _| format!("{origin}\n{size}\n=\n")),
            ("no padding", |origin, size, root| {
                format!("{origin}\n{size}\n{}\n", root.trim_end_matches('='))
            }),
            ("too much padding", |origin, size, root| format!("{origin}\n{size}\n{root}=\n")),
            ("a space after it", |origin, size, root| format!("{origin}\n{size}\n{root} \n")),
            ("a space before it", |origin, size, root| format!("{origin}\n{size}\n {root}\n")),
            ("the URL alphabet", |origin, size, _| {
                format!("{origin}\n{size}\n{}\n", b64(&[0xff; 32]).replace('/', "_"))
            }),
            ("hexadecimal", |origin, size, _| format!("{origin}\n{size}\n{}\n", "07".repeat(32))),
            ("a character that is not base64", |origin, size, root| {
                format!("{origin}\n{size}\n!{}\n", &root[1..])
            }),
            ("trailing bits that are not zero", |origin, size, _| {
                format!("{origin}\n{size}\n{}\n", b64(&[0; 32]).replace("A=", "B="))
            }),
        ],
    );
}

#[test]
fn check_33_three_lines() {
    all_malformed(
        "33",
        "fewer than three lines",
        &[
            ("no root", |origin, size, _| format!("{origin}\n{size}\n")),
            ("no size", |origin, _, root| format!("{origin}\n{root}\n")),
            ("the origin alone", |origin, _, _| format!("{origin}\n")),
        ],
    );
}

#[test]
fn check_34_extension_lines_are_not_empty() {
    all_malformed(
        "34",
        "an empty extension line",
        &[
            ("at the end", |origin, size, root| format!("{origin}\n{size}\n{root}\n\n")),
            ("before another", |origin, size, root| format!("{origin}\n{size}\n{root}\n\nextension\n")),
            ("after another", |origin, size, root| format!("{origin}\n{size}\n{root}\nextension\n\n")),
            ("two of them", |origin, size, root| format!("{origin}\n{size}\n{root}\n\n\n")),
            ("before a whole checkpoint", |origin, size, root| {
                format!("{origin}\n{size}\n{root}\n\n{origin}\n{size}\n{root}\n")
            }),
        ],
    );
}

#[test]
fn check_35_extension_lines() {
    let mut check = Check::new("35", "extension lines are refused, or covered");
    let mut session = Session::at(&mut check, "35", 5);
    let mut statuses = Vec::new();
    for extension in ["extension\n", "a\nb\nc\n", " \n", "\u{2014} w.example AAAAAAAA\n"] {
        let ask =
            with_text(&mut session, |origin, size, root| format!("{origin}\n{size}\n{root}\n{extension}"));
        let answer = session.either(&mut check, Must, format!("{extension:?}"), &[400], &ask);
        statuses.push(answer.status);
        if answer.status != 200 {
            continue;
        }
        let (size, hash) = ask.tree_head().unwrap();
        let spoiled =
            String::from_utf8(ask.text.clone()).unwrap().replace(extension, &format!("x{extension}"));
        let other =
            Signed { text: spoiled.as_bytes(), origin: &session.log.origin, start: 0, end: size, hash };
        for line in answer.text().lines() {
            let kind = parse_line(line).ok().and_then(|(name, id, _)| session.witness.key_of(&name, id));
            let found = match kind.map(|vkey| vkey.kind) {
                Some(ML_DSA_44) => {
                    Err("an ML-DSA cosignature, which does not cover the extension lines".into())
                }
                _ if session.witness.cosignature(&other, line).is_ok() => {
                    Err("the cosignature verifies over another extension line".into())
                }
                _ => Ok(()),
            };
            check.row(Robust, format!("{extension:?}"), found);
        }
    }
    let uniform = statuses.windows(2).all(|pair| pair[0] == pair[1]);
    let found = if uniform { Ok(()) } else { Err(format!("answers differ: {statuses:?}")) };
    check.row(Must, "one answer to all of them", found);
    check.finish();
}

#[test]
fn check_36_the_largest_sizes() {
    let mut check = Check::new("36", "sizes of 2^63-1 and more");
    for (name, size) in [("36-a", (1_u64 << 63) - 1), ("36-b", 1 << 63), ("36-c", u64::MAX)] {
        let mut session = Session::new(name);
        let text = session.log.text(size, &sha256(b"some root"));
        let line = session.log.a().line(text.as_bytes());
        let ask = session.ask(0, 1).with_text(text).with_signatures(&[line]);
        let answer = session.either(&mut check, Robust, format!("size {size}"), &[400], &ask);
        if answer.status != 200 {
            continue;
        }
        let small = session.ask(3, 8).bytes();
        let told = conflict(&session.send(&small));
        let found = if told == Ok(size) { Ok(()) } else { Err(format!("{told:?}, expected {size}")) };
        check.row(Robust, format!("the 409 after size {size}"), found);
        let refreshed = ask.with_old(format!("old {size}"));
        session.accept(&mut check, Robust, format!("a refresh at size {size}"), &refreshed);
        let served = session.monitoring();
        if served.status == 200 {
            let line = served.text().lines().nth(1).map(str::to_owned);
            let found = if line == Some(size.to_string()) { Ok(()) } else { Err(format!("is {line:?}")) };
            check.row(Robust, "the size of the served checkpoint", found);
        }
    }
    check.finish();
}

#[test]
fn check_37_origins_are_literal() {
    let mut check = Check::new("37", "odd origins are taken literally");
    for name in ["37-255", "37-words", "37-emoji", "37-dots", "37-percent", "37-sql"] {
        let mut session = Session::new(name);
        session.grow(&mut check, 3);
        let told = session.state();
        check.row(Robust, name, if told == Ok(3) { Ok(()) } else { Err(format!("its state: {told:?}")) });
        session.grow(&mut check, 5);
        let served = session.monitoring();
        if served.status == 200 {
            let line = served.text().lines().next().map(str::to_owned);
            let right = line.as_deref() == Some(&session.log.origin);
            check.row(Robust, name, if right { Ok(()) } else { Err(format!("serves the origin {line:?}")) });
        }
    }
    let bystander = Session::new("37-bystander").state();
    let found = if bystander == Ok(0) { Ok(()) } else { Err(format!("its state: {bystander:?}")) };
    check.row(Robust, "a log that `..` might have led to", found);

    // Nobody can be configured with it: an ML-DSA cosignature has one byte for the length of an origin.
    let origin = "x".repeat(256);
    let log = Log::stranger(&origin);
    let root = Tree::new(&origin).root(1);
    let text = log.text(1, &root);
    let line = signature_line("x", log.a().id(), &log.a().sign(text.as_bytes()));
    let session = Session::new("37-bystander");
    let ask = Ask { old: b"old 0".to_vec(), proof: Vec::new(), text: text.into_bytes(), signatures: line };
    let status = session.send(&ask.bytes()).status;
    let found = if [400, 404].contains(&status) { Ok(()) } else { Err(format!("answered {status}")) };
    check.row(Robust, "an origin of 256 bytes", found);
    check.finish();
}
