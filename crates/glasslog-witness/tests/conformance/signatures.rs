//! Checks 16–29: whose signatures count (tlog-witness.md section add-checkpoint, signed-note.md section Signatures).

use crate::{
    check::{Check, Level, Must, Robust, lacks},
    framing::strict_base64,
    keys::{
        ED25519, ED25519_COSIGNATURE, ML_DSA_44, b64, cosigned_message, key_id, parse_line, signature_line,
    },
    logs::Log,
    oddities,
    session::{Ask, Session},
    tree::{Hash, sha256},
};

fn status_is(expected: &[u16], status: u16) -> Result<(), String> {
    if expected.contains(&status) { Ok(()) } else { Err(format!("answered {status}, expected {expected:?}")) }
}

#[test]
fn check_16_unknown_origins() {
    let mut check = Check::new("16", "an unknown origin is 404");
    let known = Log::named("16");
    let session = Session::new("16");
    let emoji = Log::named("37-emoji");
    let rows = [
        ("a log that nobody told of", "stranger.conformance.example".to_owned(), Log::stranger("stranger")),
        ("a key that is known, under another origin", format!("{}/x", known.origin), known.clone()),
        ("upper case", known.origin.to_uppercase(), known.clone()),
        ("a space after it", format!("{} ", known.origin), known.clone()),
        ("a space before it", format!(" {}", known.origin), known.clone()),
        ("a dot after it", format!("{}.", known.origin), known.clone()),
        ("only its beginning", known.origin[..known.origin.len() - 1].to_owned(), known.clone()),
        ("https:// before it", format!("https://{}", known.origin), known.clone()),
        ("a wildcard", "%".to_owned(), known.clone()),
        ("normalised otherwise (NFC)", emoji.origin.replace("e\u{301}", "\u{e9}"), emoji),
    ];
    for (row, origin, signer) in rows {
        let text = format!("{origin}\n1\n{}\n", b64(&[7; 32]));
        let line = signer.a().line(text.as_bytes());
        let ask =
            Ask { old: b"old 0".to_vec(), proof: Vec::new(), text: text.into_bytes(), signatures: line };
        let answer = session.send(&ask.bytes());
        check.row(Must, row, status_is(&[404], answer.status));
        let echoed = answer.text().lines().any(|line| session.witness.is_own_line(line));
        check.row(Must, row, if echoed { Err("got a cosignature".to_owned()) } else { Ok(()) });
    }
    let state = session.state().and_then(|st| if st == 0 { Ok(()) } else { Err(format!("is {st}")) });
    check.row(Must, "the state of the log that is known", state);
    check.finish();
}

/// A request that is right but for its signature lines.
fn signed(session: &mut Session, lines: impl FnOnce(&Log, &[u8]) -> Vec<Vec<u8>>) -> Ask {
    let ask = session.next(3);
    let lines = lines(&session.log, &ask.text);
    ask.with_signatures(&lines)
}

fn forbidden(
    check: &mut Check,
    session: &mut Session,
    level: Level,
    row: &str,
    lines: impl FnOnce(&Log, &[u8]) -> Vec<Vec<u8>>,
) {
    let ask = signed(session, lines);
    session.refuse(check, level, row, &[403], &ask.bytes());
}

fn cosigned(
    check: &mut Check,
    session: &mut Session,
    level: Level,
    row: &str,
    lines: impl FnOnce(&Log, &[u8]) -> Vec<Vec<u8>>,
) {
    let ask = signed(session, lines);
    session.accept(check, level, row, &ask);
}

#[test]
fn check_17_no_trusted_key() {
    let mut check = Check::new("17", "no signature of a trusted key is 403");
    let mut session = Session::at(&mut check, "17", 5);
    forbidden(&mut check, &mut session, Must, "an unknown key under the log's name", |log, text| {
        vec![log.unknown().line(text)]
    });
    forbidden(&mut check, &mut session, Must, "an unknown key under another name", |_, text| {
        vec![Log::stranger("x").a().line(text)]
    });
    if lacks("ml-dsa-logs") {
        check.skip("logs with ML-DSA keys are not configured");
    } else {
        let mut session = Session::at(&mut check, "17-p", 5);
        forbidden(
            &mut check,
            &mut session,
            Must,
            "an Ed25519 key under the ML-DSA key's name",
            |log, text| vec![log.a().line(text)],
        );
        forbidden(
            &mut check,
            &mut session,
            Must,
            "the ML-DSA key's ID before an Ed25519 signature",
            |log, text| vec![signature_line(&log.p().name, log.p().id(), &log.a().sign(text))],
        );
    }
    check.finish();
}

#[test]
fn check_18_a_trusted_key_whose_signature_fails() {
    let mut check = Check::new("18", "a trusted key's signature that does not verify is 403");
    let mut session = Session::at(&mut check, "18", 5);
    forbidden(&mut check, &mut session, Must, "one bit of it changed", |log, text| {
        vec![log.a().bad_line(text)]
    });
    type Spoil = fn(&[u8; 64]) -> Vec<u8>;
    let rows: [(&str, Spoil); 5] = [
        ("63 bytes", |signature| signature[..63].to_vec()),
        ("65 bytes", |signature| [&signature[..], &[0]].concat()),
        ("one byte", |_| vec![7]),
        ("all zero", |_| vec![0; 64]),
        ("all ones", |_| vec![0xff; 64]),
    ];
    for (row, spoil) in rows {
        forbidden(&mut check, &mut session, Must, row, |log, text| {
            let key = log.a();
            vec![signature_line(&key.name, key.id(), &spoil(&key.sign(text)))]
        });
    }
    type Other = fn(&[u8]) -> Vec<u8>;
    let others: [(&str, Other); 3] = [
        ("over another text", |_| b"another text\n".to_vec()),
        ("over the text and the blank line", |text| [text, b"\n"].concat()),
        ("over the text without its last newline", |text| text[..text.len() - 1].to_vec()),
    ];
    for (row, other) in others {
        forbidden(&mut check, &mut session, Must, row, |log, text| {
            let key = log.a();
            vec![signature_line(&key.name, key.id(), &key.sign(&other(text)))]
        });
    }
    check.finish();
}

#[test]
fn check_19_one_good_one_bad() {
    let mut check = Check::new("19", "one trusted key verifies, another fails: 403");
    if lacks("several-keys") {
        return check.skip("logs with several keys are not configured");
    }
    let mut session = Session::at(&mut check, "19", 5);
    forbidden(&mut check, &mut session, Must, "good A, then bad A2", |log, text| {
        vec![log.a().line(text), log.a2().bad_line(text)]
    });
    forbidden(&mut check, &mut session, Must, "bad A2, then good A", |log, text| {
        vec![log.a2().bad_line(text), log.a().line(text)]
    });
    forbidden(&mut check, &mut session, Must, "bad A, then good A2", |log, text| {
        vec![log.a().bad_line(text), log.a2().line(text)]
    });
    cosigned(&mut check, &mut session, Must, "both good", |log, text| {
        vec![log.a().line(text), log.a2().line(text)]
    });
    check.finish();
}

#[test]
fn check_20_unknown_lines_are_ignored() {
    let mut check = Check::new("20", "lines of unknown keys are ignored");
    let mut session = Session::at(&mut check, "20", 5);
    let garbage = |name: &str, id: [u8; 4]| signature_line(name, id, &[0x5a; 64]);
    cosigned(&mut check, &mut session, Must, "good A, then garbage of an unknown key", |log, text| {
        vec![log.a().line(text), garbage("u.example", [1, 2, 3, 4])]
    });
    cosigned(&mut check, &mut session, Must, "garbage of an unknown key, then good A", |log, text| {
        vec![garbage("u.example", [1, 2, 3, 4]), log.a().line(text)]
    });
    cosigned(&mut check, &mut session, Must, "an unknown signature of one byte", |log, text| {
        vec![log.a().line(text), signature_line("u.example", [1, 2, 3, 4], &[1])]
    });
    let other = |log: &Log| garbage(&log.a().name, [!log.a().id()[0], 2, 3, 4]);
    cosigned(&mut check, &mut session, Must, "good A, and A's name with another ID", |log, text| {
        vec![log.a().line(text), other(log)]
    });
    forbidden(&mut check, &mut session, Must, "A's name with another ID alone", |log, _| vec![other(log)]);
    forbidden(&mut check, &mut session, Must, "A's own signature under another ID", |log, text| {
        vec![signature_line(&log.a().name, [1, 2, 3, 4], &log.a().sign(text))]
    });
    check.finish();
}

#[test]
fn check_21_an_id_under_another_name() {
    let mut check = Check::new("21", "a trusted key's ID under another name is unknown");
    let mut session = Session::at(&mut check, "21", 5);
    for name in ["other.example", "\u{e9}.example"] {
        cosigned(&mut check, &mut session, Must, &format!("good A, and A's ID of {name}"), |log, text| {
            vec![log.a().line(text), signature_line(name, log.a().id(), &[0x5a; 64])]
        });
        forbidden(&mut check, &mut session, Must, &format!("A's ID of {name} alone"), |log, text| {
            vec![signature_line(name, log.a().id(), &log.a().sign(text))]
        });
    }
    forbidden(&mut check, &mut session, Must, "A's name in capitals", |log, text| {
        vec![signature_line(&log.a().name.to_uppercase(), log.a().id(), &log.a().sign(text))]
    });
    check.finish();
}

#[test]
fn check_22_a_line_twice() {
    let mut check = Check::new("22", "a trusted key with two lines");
    let mut session = Session::at(&mut check, "22", 5);
    // C2SP #327 may forbid it: either answer, but always the same.
    let mut seen = None;
    for _ in 0..5 {
        let ask = signed(&mut session, |log, text| vec![log.a().line(text); 2]);
        let answer = session.either(&mut check, Robust, "good A, and the same line again", &[400, 403], &ask);
        let found = match seen {
            Some(status) if status != answer.status => Err(format!("{status}, then {}", answer.status)),
            _ => Ok(()),
        };
        seen = Some(answer.status);
        check.row(Robust, "the same answer each time", found);
        if answer.status == 200 {
            let lines = answer.text().lines().count();
            let keys = session.witness.vkeys.len();
            let found = if lines > keys { Err(format!("{lines} lines of {keys} keys")) } else { Ok(()) };
            check.row(Robust, "one cosignature by each key at most", found);
        }
    }
    // Two lines of one key are malformed as a whole for a reader that forbids them (400); else the bad one decides.
    let ask = signed(&mut session, |log, text| vec![log.a().line(text), log.a().bad_line(text)]);
    session.refuse(&mut check, Must, "good A, then bad A", &[400, 403], &ask.bytes());
    let ask = signed(&mut session, |log, text| vec![log.a().bad_line(text), log.a().line(text)]);
    session.refuse(&mut check, Must, "bad A, then good A", &[400, 403], &ask.bytes());
    check.finish();
}

#[test]
fn check_23_keys_belong_to_one_log() {
    let mut check = Check::new("23", "a key that is trusted for another log is 403");
    let mut session = Session::at(&mut check, "23", 5);
    let other = Log::named("23-other");
    let line = other.a();
    forbidden(&mut check, &mut session, Must, "under its own name", |_, text| vec![line.line(text)]);
    forbidden(&mut check, &mut session, Must, "under this log's name", |log, text| {
        let id = key_id(&log.a().name, ED25519, &line.public());
        vec![signature_line(&log.a().name, id, &line.sign(text))]
    });
    cosigned(
        &mut check,
        &mut session,
        Must,
        "beside this log's key it is ignored, even when bad",
        |log, text| vec![log.a().line(text), line.bad_line(text)],
    );
    check.finish();
}

#[test]
fn check_24_a_key_name_that_is_not_the_origin() {
    let mut check = Check::new("24", "the key's name need not be the origin");
    let mut session = Session::at(&mut check, "24", 5);
    session.grow(&mut check, 8);
    check.finish();
}

#[test]
fn check_25_malformed_signature_lines() {
    let mut check = Check::new("25", "a malformed signature line is 400, whatever stands beside it");
    let mut session = Session::at(&mut check, "25", 5);
    let blob = b64(&[0x5a; 68]);
    let rows = [
        ("an empty name", format!("\u{2014}  {blob}")),
        ("a plus in the name", format!("\u{2014} a+b {blob}")),
        ("a no-break space in the name", format!("\u{2014} a\u{a0}b {blob}")),
        ("an ideographic space in the name", format!("\u{2014} a\u{3000}b {blob}")),
        ("an em space in the name", format!("\u{2014} a\u{2003}b {blob}")),
        ("a next line (U+0085) in the name", format!("\u{2014} a\u{85}b {blob}")),
        ("two spaces after the dash", format!("\u{2014}  ab {blob}")),
        ("two spaces after the name", format!("\u{2014} ab  {blob}")),
        ("three words", format!("\u{2014} a b {blob}")),
        ("a space at the end", format!("\u{2014} ab {blob} ")),
        ("no space after the dash", format!("\u{2014}ab {blob}")),
        ("a no-break space after the dash", format!("\u{2014}\u{a0}ab {blob}")),
        ("a hyphen for the dash", format!("- ab {blob}")),
        ("an en dash", format!("\u{2013} ab {blob}")),
        ("two hyphens", format!("-- ab {blob}")),
        ("a space before the dash", format!(" \u{2014} ab {blob}")),
        ("no signature", "\u{2014} ab".to_owned()),
        ("an empty signature", "\u{2014} ab ".to_owned()),
        ("a key ID and nothing after it", format!("\u{2014} ab {}", b64(&[1, 2, 3, 4]))),
        ("three bytes", format!("\u{2014} ab {}", b64(&[1, 2, 3]))),
        ("no padding", format!("\u{2014} ab {}", blob.trim_end_matches('='))),
        ("too much padding", format!("\u{2014} ab {blob}=")),
        ("the URL alphabet", format!("\u{2014} ab {}", b64(&[0xff; 69]).replace('/', "_"))),
        ("a character that is not base64", format!("\u{2014} ab {}!===", &blob[..64])),
        ("trailing bits that are not zero", format!("\u{2014} ab {}", b64(&[0; 68]).replace("A=", "B="))),
        ("a line of text", "text".to_owned()),
    ];
    for (row, line) in rows {
        for first in [true, false] {
            let bad = format!("{line}\n").into_bytes();
            let ask = signed(&mut session, |log, text| {
                let good = log.a().line(text);
                if first { vec![bad, good] } else { vec![good, bad] }
            });
            let place = if first { "before" } else { "after" };
            session.refuse(
                &mut check,
                strict_base64(row),
                format!("{row}, {place} good A"),
                &[400],
                &ask.bytes(),
            );
        }
    }
    check.finish();
}

#[test]
fn check_26_a_forged_line_of_the_witness_itself() {
    let mut check = Check::new("26", "a forged line under the witness's own name and key ID");
    let mut session = Session::at(&mut check, "26", 5);
    let forged: Vec<Vec<u8>> = session
        .witness
        .vkeys
        .iter()
        .map(|vkey| {
            let length = if vkey.kind == ML_DSA_44 { 8 + 2420 } else { 8 + 64 };
            signature_line(&vkey.name, vkey.id, &vec![0x5a; length])
        })
        .collect();
    cosigned(&mut check, &mut session, Robust, "good A, then forged lines of the witness", |log, text| {
        [vec![log.a().line(text)], forged.clone()].concat()
    });
    let ask = signed(&mut session, |log, text| [forged.clone(), vec![log.a().line(text)]].concat());
    session.accept(&mut check, Robust, "forged lines of the witness, then good A", &ask);
    let answer = session.monitoring();
    if answer.status == 200 {
        let note = answer.text();
        let signatures = note.rsplit_once("\n\n").map(|(_, signatures)| signatures).unwrap_or_default();
        let kept = forged.iter().any(|line| note.contains(String::from_utf8_lossy(line).trim_end()));
        check.row(Robust, "served checkpoint", if kept { Err("holds a forged line".into()) } else { Ok(()) });
        let bad = signatures.lines().find(|line| parse_line(line).is_err());
        check.row(Robust, "served checkpoint", bad.map_or(Ok(()), |line| Err(format!("holds {line:?}"))));
    } else {
        check.skip("no monitoring endpoint to look at");
    }
    session.grow(&mut check, 20);
    check.finish();
}

#[test]
fn check_27_odd_ed25519_signatures() {
    let mut check = Check::new("27", "Ed25519 signatures that verifiers disagree about");
    let mut session = Session::at(&mut check, "27", 5);
    for (row, forge) in oddities::ED25519 {
        forbidden(&mut check, &mut session, Robust, row, |log, text| {
            let key = log.a();
            vec![signature_line(&key.name, key.id(), &forge(&key.secret, text))]
        });
    }
    // Only the holder of the key can make it, and RFC 8032 accepts it: nobody is deceived either way.
    let ask = signed(&mut session, |log, text| {
        let key = log.a();
        vec![signature_line(&key.name, key.id(), &oddities::identity_r(&key.secret, text))]
    });
    session.either(&mut check, Robust, "R is the identity", &[403], &ask);
    check.finish();
}

/// The next request of a log with an ML-DSA key, signed by `sign` over the checkpoint's size and root.
fn signed_by_p(session: &mut Session, sign: impl FnOnce(&Log, u64, &Hash) -> Vec<u8>) -> Ask {
    let ask = session.next(3);
    let (size, root) = ask.tree_head().unwrap();
    let line = sign(&session.log, size, &root);
    ask.with_signatures(&[line])
}

#[test]
fn check_28_ml_dsa_signatures_of_logs() {
    let mut check = Check::new("28", "ML-DSA-44 signatures of a log");
    if lacks("ml-dsa-logs") {
        return check.skip("logs with ML-DSA keys are not configured");
    }
    let mut session = Session::at(&mut check, "28", 5);
    for timestamp in [0, 1, 1_700_000_000, (1 << 63) - 1] {
        let ask =
            signed_by_p(&mut session, |log, size, root| log.p().line(&log.origin, size, root, timestamp));
        session.accept(&mut check, Robust, format!("timestamp {timestamp}"), &ask);
    }
    for timestamp in [1 << 63, u64::MAX] {
        let ask =
            signed_by_p(&mut session, |log, size, root| log.p().line(&log.origin, size, root, timestamp));
        session.refuse(&mut check, Robust, format!("timestamp {timestamp}"), &[403], &ask.bytes());
    }
    for (row, spoil) in oddities::ML_DSA {
        let ask = signed_by_p(&mut session, |log, size, root| {
            let message = cosigned_message(&log.p().name, 7, &log.origin, 0, size, root);
            log.p().timestamped_line(7, &spoil(&log.p(), &message))
        });
        session.refuse(&mut check, Robust, row, &[403], &ask.bytes());
    }
    type Message = fn(&Log, u64, &Hash) -> Vec<u8>;
    let messages: [(&str, Message); 6] = [
        ("another timestamp", |log, n, root| cosigned_message(&log.p().name, 8, &log.origin, 0, n, root)),
        ("another name", |log, n, root| cosigned_message("x.example", 7, &log.origin, 0, n, root)),
        ("another origin", |log, n, root| cosigned_message(&log.p().name, 7, "x.example", 0, n, root)),
        ("another size", |log, n, root| cosigned_message(&log.p().name, 7, &log.origin, 0, n - 1, root)),
        ("a start that is not 0", |log, n, root| cosigned_message(&log.p().name, 7, &log.origin, 1, n, root)),
        ("another root", |log, n, _| cosigned_message(&log.p().name, 7, &log.origin, 0, n, &sha256(b"x"))),
    ];
    for (row, message) in messages {
        let ask = signed_by_p(&mut session, |log, size, root| {
            log.p().timestamped_line(7, &log.p().sign(&message(log, size, root)))
        });
        session.refuse(&mut check, Robust, format!("a signature over {row}"), &[403], &ask.bytes());
    }
    if lacks("several-keys") {
        check.skip("logs with several keys are not configured");
    } else {
        beside_ed25519(&mut check);
    }
    check.finish();
}

fn beside_ed25519(check: &mut Check) {
    let mut session = Session::at(check, "28-ed25519", 5);
    for (good, row) in [(true, "good A, then good P"), (false, "good A, then bad P")] {
        let ask = session.next(3);
        let (size, root) = ask.tree_head().unwrap();
        let of = if good { root } else { sha256(b"x") };
        let line = session.log.p().line(&session.log.origin, size, &of, 7);
        let lines = [ask.signatures.clone(), line];
        let ask = ask.with_signatures(&lines);
        if good {
            session.accept(check, Must, row, &ask);
        } else {
            session.refuse(check, Must, row, &[403], &ask.bytes());
        }
    }
}

#[test]
fn check_29_signature_types_are_not_exchanged() {
    let mut check = Check::new("29", "a signature of one type under the ID of another");
    let mut session = Session::at(&mut check, "29", 5);
    forbidden(
        &mut check,
        &mut session,
        Robust,
        "a note signature under the 0x04 ID of the key",
        |log, text| {
            let key = log.a();
            let id = key_id(&key.name, ED25519_COSIGNATURE, &key.public());
            vec![signature_line(&key.name, id, &key.sign(text))]
        },
    );
    let timestamped = |log: &Log, text: &[u8]| {
        let message = [&b"cosignature/v1\ntime 1700000000\n"[..], text].concat();
        [&1_700_000_000_u64.to_be_bytes()[..], &log.a().sign(&message)].concat()
    };
    forbidden(&mut check, &mut session, Robust, "a cosignature under the 0x04 ID of the key", |log, text| {
        let key = log.a();
        let id = key_id(&key.name, ED25519_COSIGNATURE, &key.public());
        vec![signature_line(&key.name, id, &timestamped(log, text))]
    });
    forbidden(&mut check, &mut session, Robust, "a cosignature under the 0x01 ID of the key", |log, text| {
        vec![signature_line(&log.a().name, log.a().id(), &timestamped(log, text))]
    });
    forbidden(&mut check, &mut session, Robust, "without its timestamp, under the 0x01 ID", |log, text| {
        vec![signature_line(&log.a().name, log.a().id(), &timestamped(log, text)[8..])]
    });
    check.finish();
}
