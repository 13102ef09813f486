//! Checks 1–15: the request as bytes (tlog-witness.md section add-checkpoint, signed-note.md section Format), and HTTP.

use std::{io::Write, net::TcpStream};

use crate::{
    check::{Check, Level, Must, Robust, Should, count, full},
    http::read_answer,
    keys::b64,
    session::{Ask, Session},
    target::witness,
};

#[test]
fn check_01_the_first_checkpoint_is_cosigned() {
    let mut check = Check::new("01", "the first checkpoint is cosigned");
    let mut session = Session::new("01");
    let ask = session.ask(0, 1);
    let answer = session.send(&ask.bytes());
    let result = session.accepted(&ask, &answer);
    check.row(Must, "old 0, size 1: one or more lines, each by a key of the witness", result.map(drop));
    let log_line = String::from_utf8(ask.signatures).unwrap();
    let echoed = answer.text().contains(log_line.trim_end());
    check.row(Must, "the log's line", if echoed { Err("is echoed".to_owned()) } else { Ok(()) });
    check.finish();
}

#[test]
fn check_02_every_advertised_key_cosigns() {
    let mut check = Check::new("02", "the answer verifies under every key that the witness advertises");
    let mut session = Session::new("02");
    let cosignatures = session.grow(&mut check, 1);
    for vkey in &session.witness.vkeys {
        let found = cosignatures.iter().filter(|c| c.line.contains(&vkey.name) && c.kind == vkey.kind);
        let found = if found.count() == 1 { Ok(()) } else { Err("not exactly one line".to_owned()) };
        check.row(Must, format!("{} of type {:#04x}", vkey.name, vkey.kind), found);
    }
    check.finish();
}

/// `{}` is the size that the witness holds: a reader that is too kind would go on to cosign.
const OLD_LINES: &[(&str, &str)] = &[
    ("old 0{}", "leading zero"),
    ("old 000{}", "leading zeros"),
    ("old +{}", "a sign is no digit"),
    ("old -{}", "a sign is no digit"),
    ("old -1", "a negative size"),
    ("old {} ", "space after the number"),
    ("old {}\t", "tab after the number"),
    ("old  {}", "two spaces"),
    ("old\t{}", "a tab is no space"),
    ("old\u{a0}{}", "a no-break space is no space"),
    (" old {}", "space before"),
    ("Old {}", "upper case"),
    ("OLD {}", "upper case"),
    ("old{}", "no space"),
    ("size {}", "another word"),
    ("{}", "no word"),
    ("old", "no number, no space"),
    ("old ", "no number"),
    ("old {} 6", "two numbers"),
    ("old {},", "junk after the number"),
    ("old {}junk", "junk after the number"),
    ("old {} junk", "junk after the number"),
    ("old {}\r", "carriage return"),
    ("old 0x{}", "hexadecimal"),
    ("old {}e0", "exponent"),
    ("old {}.0", "fraction"),
    ("old {}_0", "digit separator"),
    ("old \u{665}", "ARABIC-INDIC DIGIT FIVE"),
    ("old \u{ff15}", "FULLWIDTH DIGIT FIVE"),
    ("\u{feff}old {}", "byte order mark first"),
    ("old {}\0", "NUL after the number"),
    ("\0old {}", "NUL first"),
    ("\nold {}", "an empty line first"),
    ("old {}\nold {}", "the line twice"),
];

#[test]
fn check_03_the_old_size_line_is_strict() {
    let mut check = Check::new("03", "a bad old size line");
    let mut session = Session::at(&mut check, "03", 5);
    for (line, why) in OLD_LINES {
        let line = line.replace("{}", &session.st.to_string());
        let ask = session.next(3).with_old(&line);
        session.refuse(&mut check, Must, format!("{line:?} ({why})"), &[400], &ask.bytes());
    }
    let mut unseen = Session::new("03-unseen");
    for line in ["old 00", "old -0", "old +0", "old 0 ", "old ", "old 0x0"] {
        let ask = unseen.next(3).with_old(line);
        unseen.refuse(&mut check, Must, format!("{line:?} at size 0"), &[400], &ask.bytes());
        // Cosigned: the rest would only tell of a wrong old size.
        if unseen.st > 0 {
            break;
        }
    }
    check.finish();
}

#[test]
fn check_04_huge_old_sizes() {
    let mut check = Check::new("04", "huge old sizes");
    let mut session = Session::at(&mut check, "04", 5);
    let forty = "1234567890".repeat(4);
    let sizes = [
        ("9223372036854775807", "2^63-1, above the checkpoint's size"),
        ("9223372036854775808", "2^63, above the checkpoint's size"),
        ("18446744073709551615", "2^64-1, above the checkpoint's size"),
        ("18446744073709551616", "2^64 is no size"),
        // 2^64 + the state: wraps to it.
        ("18446744073709551621", "2^64+5 is no size"),
        (&forty, "40 digits"),
    ];
    for (size, why) in sizes {
        let ask = session.next(3).with_old(format!("old {size}"));
        session.refuse(&mut check, Robust, format!("old {size} ({why})"), &[400], &ask.bytes());
    }
    check.finish();
}

#[test]
fn check_05_bodies_without_their_parts() {
    let mut check = Check::new("05", "no blank line, no note");
    let mut session = Session::at(&mut check, "05", 5);
    let whole = session.next(3);
    let note = whole.note();
    let control = whole.bytes()[..whole.bytes().len() - note.len()].to_vec();
    let rows: [(&str, Vec<u8>); 9] = [
        ("no blank line between proof and note", [&control[..control.len() - 1], &note].concat()),
        ("an empty body", Vec::new()),
        ("only a blank line", b"\n".to_vec()),
        ("two blank lines", b"\n\n".to_vec()),
        ("an old line without its newline", whole.old.clone()),
        ("an old line and nothing else", [&whole.old[..], b"\n"].concat()),
        ("a blank line but no note", control.clone()),
        ("a note without signatures", [&control[..], &whole.text].concat()),
        ("a note with an empty list of signatures", [&control[..], &whole.text, b"\n"].concat()),
    ];
    for (row, body) in rows {
        session.refuse(&mut check, Must, row, &[400], &body);
    }
    session.refuse(&mut check, Must, "only the note", &[400], &note);
    check.finish();
}

fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    bytes.split_inclusive(|byte| *byte == b'\n').fold(Vec::new(), |mut all, line| {
        all.extend_from_slice(&line[..line.len() - 1]);
        all.extend_from_slice(b"\r\n");
        all
    })
}

#[test]
fn check_06_lines_end_in_newline_alone() {
    let mut check = Check::new("06", "CRLF");
    let mut session = Session::at(&mut check, "06", 5);
    let ask = session.next(3);
    session.refuse(&mut check, Must, "everywhere", &[400], &with_crlf(&ask.bytes()));
    let mut spoiled = session.next(3);
    spoiled.old.push(b'\r');
    session.refuse(&mut check, Must, "after the old size", &[400], &spoiled.bytes());
    let mut spoiled = session.next(3);
    spoiled.proof[0].push(b'\r');
    session.refuse(&mut check, Must, "after a proof line", &[400], &spoiled.bytes());
    // The blank line: `\r` where the separator should be.
    let ask = session.next(3);
    let (bytes, note) = (ask.bytes(), ask.note());
    let control = &bytes[..bytes.len() - note.len() - 1];
    session.refuse(&mut check, Must, "in the blank line", &[400], &[control, b"\r\n", &note].concat());
    // Signed as it is: only the carriage returns are wrong.
    let ask = session.next(3);
    let text = with_crlf(&ask.text);
    let line = session.log.a().line(&text);
    let ask = ask.with_text(&text).with_signatures(&[line]);
    session.refuse(&mut check, Must, "in the text", &[400, 404], &ask.bytes());
    let ask = session.next(3);
    let lines = with_crlf(&ask.signatures);
    session.refuse(&mut check, Must, "after a signature", &[400], &ask.with_signatures(&[lines]).bytes());
    check.finish();
}

#[test]
fn check_07_the_note_ends_with_its_last_signature() {
    let mut check = Check::new("07", "the end of the note");
    let mut session = Session::at(&mut check, "07", 5);
    let ask = session.next(3).bytes();
    session.refuse(&mut check, Must, "no newline at the end", &[400], &ask[..ask.len() - 1]);
    for (row, after) in [
        ("an extra newline", &b"\n"[..]),
        ("two extra newlines", b"\n\n"),
        ("a letter", b"x"),
        ("a line of junk", b"junk\n"),
        ("a space", b" "),
        ("a NUL", b"\0"),
    ] {
        let ask = session.next(3).bytes();
        session.refuse(&mut check, Must, format!("{row} after it"), &[400], &[&ask, after].concat());
    }
    check.finish();
}

#[test]
fn check_08_proof_lines_are_strict() {
    let mut check = Check::new("08", "a bad proof line");
    let mut session = Session::at(&mut check, "08", 5);
    type Spoil = fn(&str) -> String;
    let rows: &[(&str, Spoil)] = &[
        ("31 bytes", |_| b64(&[7; 31])),
        ("33 bytes", |_| b64(&[7; 33])),
        ("no padding", |line| line.trim_end_matches('=').to_owned()),
        ("too much padding", |line| format!("{line}=")),
        ("the URL alphabet", |_| b64(&[0xff; 32]).replace('/', "_").replace('+', "-")),
        ("a space inside", |line| format!("{} {}", &line[..9], &line[9..])),
        ("a space after it", |line| format!("{line} ")),
        ("a space before it", |line| format!(" {line}")),
        ("a carriage return after it", |line| format!("{line}\r")),
        ("a carriage return inside", |line| format!("{}\r{}", &line[..9], &line[9..])),
        ("a tab after it", |line| format!("{line}\t")),
        ("two hashes on it", |line| format!("{line}{line}")),
        ("hexadecimal", |_| "07".repeat(32)),
        ("junk", |_| "junk".to_owned()),
        ("a NUL after it", |line| format!("{line}\0")),
        ("trailing bits that are not zero", |line| {
            // The 43rd digit holds four bits of the hash and two that must be zero.
            let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            let last = digits.find(&line[42..43]).unwrap();
            format!("{}{}=", &line[..42], &digits[last + 1..last + 2])
        }),
    ];
    for (row, spoil) in rows {
        let mut ask = session.next(3);
        let line = String::from_utf8(ask.proof[0].clone()).unwrap();
        ask.proof[0] = spoil(&line).into_bytes();
        session.refuse(&mut check, strict_base64(row), row, &[400], &ask.bytes());
    }
    let mut ask = session.next(3);
    ask.proof.insert(1, Vec::new());
    session.refuse(
        &mut check,
        Must,
        "an empty line, so that proof lines begin the note",
        &[400, 404],
        &ask.bytes(),
    );
    check.finish();
}

/// RFC 4648 section 3.5 leaves it to a decoder whether bits that stand for nothing must be zero.
pub(crate) fn strict_base64(row: &str) -> Level {
    if row.starts_with("trailing bits") { Robust } else { Must }
}

#[test]
fn check_09_many_proof_lines() {
    let mut check = Check::new("09", "many proof lines");
    let mut session = Session::at(&mut check, "09", 5);
    let junk = |count: usize| vec![b64(&[7; 32]).into_bytes(); count];
    let mut ask = session.next(3);
    ask.proof = junk(64);
    session.refuse(&mut check, Must, "64 lines", &[400], &ask.bytes());
    let mut ask = session.next(3);
    ask.proof.extend(junk(64 - ask.proof.len()));
    session.refuse(&mut check, Must, "a right proof and lines up to 64", &[400], &ask.bytes());
    let mut ask = session.next(3);
    ask.proof = junk(63);
    session.refuse(&mut check, Robust, "63 lines are a proof, a wrong one", &[422], &ask.bytes());
    let mut ask = session.next(3);
    ask.proof = junk(1_000_000);
    session.refuse(&mut check, Robust, "10^6 lines", &[400, 413, 0], &ask.bytes());
    check.finish();
}

#[test]
fn check_10_text_is_utf8_without_control_characters() {
    let mut check = Check::new("10", "bytes of the text");
    let mut session = Session::at(&mut check, "10", 5);
    let not_utf8: [(&str, &[u8]); 4] = [
        ("a lone 0xFF", b"\xff"),
        ("an overlong slash", b"\xc0\xaf"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("a cut off character", b"\xe2\x80"),
    ];
    let control: [(&str, &[u8]); 6] =
        [("NUL", b"\0"), ("TAB", b"\t"), ("ESC", b"\x1b"), ("FF", b"\x0c"), ("CR", b"\r"), ("0x1F", b"\x1f")];
    for (name, bytes) in not_utf8.into_iter().chain(control) {
        let mut ask = session.next(3);
        ask.old.extend(bytes);
        session.refuse(&mut check, Must, format!("{name} in the control block"), &[400], &ask.bytes());
        let ask = with_extension(&mut session, bytes);
        session.refuse(&mut check, Must, format!("{name} in an extension line"), &[400], &ask.bytes());
        let mut ask = session.next(3);
        ask.text.splice(0..0, bytes.iter().copied());
        let line = session.log.a().line(&ask.text);
        let ask = ask.with_signatures(&[line]);
        // The origin is unknown as well.
        session.refuse(&mut check, Must, format!("{name} in the origin"), &[400, 404], &ask.bytes());
        let mut ask = session.next(3);
        let line = ["\u{2014} ex".as_bytes(), bytes, b"ample AAAAAAAA\n"].concat();
        ask.signatures.extend(line);
        session.refuse(&mut check, Must, format!("{name} in a name of a signature"), &[400], &ask.bytes());
    }
    for (name, bytes) in [("0x7F", "\u{7f}"), ("U+0085", "\u{85}"), ("U+2028", "\u{2028}")] {
        let ask = with_extension(&mut session, bytes.as_bytes());
        let row = format!("{name} in an extension line is allowed and splits nothing");
        session.either(&mut check, Must, row, &[400], &ask);
    }
    check.finish();
}

/// The next checkpoint with a signed extension line that holds these bytes.
fn with_extension(session: &mut Session, bytes: &[u8]) -> Ask {
    let ask = session.next(3);
    let text = [&ask.text[..], b"exten", bytes, b"sion\n"].concat();
    let line = session.log.a().line(&text);
    ask.with_text(text).with_signatures(&[line])
}

/// Signature lines of keys that nobody knows, each of so many bytes with its key ID.
fn strangers(count: u64, bytes: usize) -> Vec<Vec<u8>> {
    let blob = b64(&vec![0xa5; bytes]);
    (0..count).map(|number| format!("\u{2014} stranger{number}.example {blob}\n").into_bytes()).collect()
}

#[test]
fn check_11_sixteen_signatures_are_read() {
    let mut check = Check::new("11", "16 signatures, as large as post-quantum ones are");
    let mut session = Session::at(&mut check, "11", 5);
    for (row, bytes) in
        [("64 bytes", 64), ("2432 bytes (ML-DSA-44)", 2432), ("5000 bytes (\"nearly 5kB\")", 5000)]
    {
        for last in [true, false] {
            let ask = session.next(3);
            let mut lines = strangers(15, bytes);
            lines.insert(if last { 15 } else { 0 }, ask.signatures.clone());
            let place = if last { "after" } else { "before" };
            let row = format!("the log's signature {place} 15 unknown ones of {row}");
            session.accept(&mut check, Should, row, &ask.with_signatures(&lines));
        }
    }
    check.finish();
}

#[test]
fn check_12_more_signatures_get_one_answer() {
    let mut check = Check::new("12", "17 signatures and more");
    let mut session = Session::at(&mut check, "12", 5);
    let mut refused_from = None;
    for total in [17, 32, 64, 100, 101, 500] {
        for _ in 0..2 {
            let ask = session.next(3);
            let mut lines = strangers(total - 1, 64);
            lines.push(ask.signatures.clone());
            let ask = ask.with_signatures(&lines);
            let answer = session.either(&mut check, Robust, format!("{total} signatures"), &[400, 413], &ask);
            match (answer.status, refused_from) {
                (200, Some(limit)) => {
                    let found = Err(format!("cosigned, though {limit} signatures were refused"));
                    check.row(Robust, format!("{total} signatures"), found);
                }
                (200, None) => {}
                _ => refused_from = refused_from.or(Some(total)),
            }
        }
    }
    let ask = session.next(3);
    let lines = vec![ask.signatures.clone(); 1000];
    let ask = ask.with_signatures(&lines);
    session.either(&mut check, Robust, "the log's own line 1000 times", &[400, 413], &ask);
    check.finish();
}

#[test]
fn check_13_large_bodies_end() {
    let mut check = Check::new("13", "large and endless bodies");
    let mut session = Session::at(&mut check, "13", 5);
    for (row, mebibytes) in [("1 MiB", 1_u64), ("64 MiB", 64)] {
        let ask = session.next(3);
        let mut lines = vec![ask.signatures.clone()];
        lines.extend(strangers(mebibytes * 220, 3900));
        let body = ask.with_signatures(&lines).bytes();
        assert!(body.len() as u64 > mebibytes << 20);
        session.refuse(&mut check, Robust, format!("{row} of signatures"), &[400, 413, 0], &body);
    }
    // The length alone: nothing of it is sent, so a server that waits for all of it answers never.
    let url = &witness().url;
    let head = url.head("POST", "/add-checkpoint", &[("Content-Length", "99999999999999")]);
    let mut stream = url.connect();
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let ask = session.next(1);
    session.accept(&mut check, Robust, "served while another announces 100 TB", &ask);
    drop(stream);

    let head = url.head("POST", "/add-checkpoint", &[("Transfer-Encoding", "chunked")]);
    let mut stream = url.connect();
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let chunk = [b"10000\r\n", &vec![b'a'; 0x10000][..], b"\r\n"].concat();
    // 256 MiB without an end.
    let taken = (0..4096).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    let status = if taken < 4096 { read_answer(&mut stream).map_or(0, |answer| answer.status) } else { 200 };
    let found = if matches!(status, 400 | 413 | 0) { Ok(()) } else { Err(format!("answered {status}")) };
    let found = if taken < 4096 { found } else { Err("took 256 MiB and wanted more".to_owned()) };
    check.row(Robust, "chunks without end", found);
    let ask = session.next(1);
    session.accept(&mut check, Robust, "served afterwards", &ask);
    check.finish();
}

#[test]
fn check_14_slow_clients_hold_up_nobody() {
    let mut check = Check::new("14", "slow clients");
    let mut session = Session::at(&mut check, "14", 5);
    let url = &witness().url;
    let ask = session.next(1);
    let head = url.head("POST", "/add-checkpoint", &[]);
    let length = format!("Content-Length: {}\r\n\r\n", ask.bytes().len());
    let body = ask.bytes();
    let beginnings: [(&str, Vec<u8>); 3] = [
        ("nothing", Vec::new()),
        ("half a head", head.as_bytes()[..head.len() / 2].to_vec()),
        ("half a body", [head.as_bytes(), length.as_bytes(), &body[..body.len() / 2]].concat()),
    ];
    let mut slow: Vec<(&str, TcpStream)> = Vec::new();
    for number in 0..count(30, 500) {
        let (what, bytes) = &beginnings[usize::try_from(number).unwrap() % 3];
        let mut stream = url.connect();
        stream.write_all(bytes).unwrap();
        slow.push((what, stream));
    }
    for _ in 0..5 {
        let ask = session.next(1);
        session.accept(&mut check, Robust, format!("served while {} clients hang", slow.len()), &ask);
    }
    // Waiting for the cut takes as long as the witness's limit: half a minute at most.
    if full() {
        for (what, mut stream) in slow {
            stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
            let found = match read_answer(&mut stream) {
                Ok(answer) if answer.status < 500 => Ok(()),
                Ok(answer) => Err(format!("answered {}", answer.status)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    Err("still open after 30 s".to_owned())
                }
                Err(_) => Ok(()),
            };
            check.row(Robust, format!("a client that sent {what} and no more"), found);
        }
    }
    check.finish();
}

#[test]
fn check_15_http() {
    let mut check = Check::new("15", "methods, paths, headers, connections");
    let mut session = Session::at(&mut check, "15", 5);
    let url = &witness().url;
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"] {
        // HEAD announces a body that does not come.
        let answer = url
            .raw(format!("{}Connection: close\r\n\r\n", url.head(method, "/add-checkpoint", &[])).as_bytes());
        let expected: &[u16] = match method {
            "OPTIONS" => &[200, 204, 400, 403, 404, 405],
            "HEAD" => &[0, 200, 204, 400, 404, 405],
            _ => &[404, 405],
        };
        let found = if expected.contains(&answer.status) {
            Ok(())
        } else {
            Err(format!("answered {}, expected {expected:?}", answer.status))
        };
        check.row(Robust, format!("{method} /add-checkpoint"), found);
    }
    for path in ["/add-checkpoint/", "//add-checkpoint", "/Add-Checkpoint", "/add-checkpointx"] {
        let ask = session.next(1).bytes();
        let answer = url.post(path, &ask);
        let found = session.refused(&[400, 404, 301, 307, 308], &answer);
        check.row(Robust, format!("POST {path}"), found);
    }
    let headers: [(&str, &[(&str, &str)]); 6] = [
        ("a Content-Type", &[("Content-Type", "text/plain")]),
        ("an odd Content-Type", &[("Content-Type", "application/x-www-form-urlencoded")]),
        ("a Content-Type that is none", &[("Content-Type", "???;;;")]),
        ("an Accept that nothing fits", &[("Accept", "image/png")]),
        ("Expect: 100-continue", &[("Expect", "100-continue")]),
        ("names of headers in capitals", &[("CONTENT-TYPE", "text/plain"), ("X-FORWARDED-FOR", "::1")]),
    ];
    for (row, headers) in headers {
        let ask = session.next(1);
        let answer = url.request("POST", "/add-checkpoint", headers, &ask.bytes());
        let found = session.accepted(&ask, &answer).map(drop);
        check.row(Robust, row, found);
    }
    let ask = session.next(1);
    let head = url.head("POST", "/add-checkpoint", &[("Transfer-Encoding", "chunked")]);
    let mut bytes = format!("{head}Connection: close\r\n\r\n").into_bytes();
    for chunk in ask.bytes().chunks(50) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend([chunk, b"\r\n"].concat());
    }
    bytes.extend(b"0\r\n\r\n");
    let answer = url.raw(&bytes);
    let found = session.accepted(&ask, &answer).map(drop);
    check.row(Robust, "a chunked body", found);
    check.row(Should, "50 requests on one connection", fifty_on_one_connection(&mut session));
    check.finish();
}

fn fifty_on_one_connection(session: &mut Session) -> Result<(), String> {
    let url = &session.witness.url;
    let mut stream = url.connect();
    for number in 0..50 {
        let ask = session.next(1);
        let body = ask.bytes();
        let head = url.head("POST", "/add-checkpoint", &[]);
        let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        stream
            .write_all(&[head.as_bytes(), &body].concat())
            .map_err(|error| format!("request {number}: {error}"))?;
        let answer = read_answer(&mut stream).map_err(|error| format!("answer {number}: {error}"))?;
        session.accepted(&ask, &answer).map_err(|why| format!("request {number}: {why}"))?;
    }
    Ok(())
}
