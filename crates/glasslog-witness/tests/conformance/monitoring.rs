//! Checks 64 and 65: what monitors read (tlog-witness.md section Monitor Retrieval Mechanism).

use crate::{
    check::{Check, Must, Robust, Should, lacks},
    http::Answer,
    keys::{Signed, parse_line},
    session::{Cosignature, Session},
    target::witness,
    tree::sha256,
};

fn path(origin: &str) -> String {
    let hash: String = sha256(origin.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("/{hash}/checkpoint")
}

/// The served note holds the log's signature, and the cosignatures just as add-checkpoint gave them.
fn serves(session: &mut Session, answer: &Answer, given: &[Cosignature]) -> Result<(), String> {
    if answer.status != 200 {
        return Err(format!("answered {}, expected 200", answer.status));
    }
    let ask = session.ask(session.st, session.st);
    let text = String::from_utf8(ask.text.clone()).unwrap();
    let note = answer.text();
    let Some(signatures) = note.strip_prefix(&format!("{text}\n")) else {
        return Err(format!("is not the checkpoint of size {}", session.st));
    };
    if !signatures.ends_with('\n') {
        return Err("does not end with a newline".to_owned());
    }
    let key = session.log.a();
    let log_line = String::from_utf8(key.line(&ask.text)).unwrap();
    if !signatures.contains(&log_line) {
        return Err("lacks the log's signature".to_owned());
    }
    for cosignature in given {
        if !signatures.lines().any(|line| line == cosignature.line) {
            return Err(format!("lacks the cosignature of type {:#04x} that was given", cosignature.kind));
        }
    }
    let (size, hash) = ask.tree_head().unwrap();
    let signed = Signed { text: &ask.text, origin: &session.log.origin, start: 0, end: size, hash };
    for line in signatures.lines() {
        let (name, id, _) = parse_line(line)?;
        if (&name, id) == (&key.name, key.id()) {
            continue;
        }
        session.witness.cosignature(&signed, line)?;
    }
    Ok(())
}

#[test]
fn check_64_the_last_checkpoint_is_served() {
    let mut check = Check::new("64", "the last cosigned checkpoint is served");
    if lacks("monitoring") {
        return check.skip("the witness has no monitoring endpoint");
    }
    let mut session = Session::new("64");
    for size in [1, 5, 5, 8, 300] {
        let given = session.grow(&mut check, size);
        let answer = session.monitoring();
        let found = serves(&mut session, &answer, &given);
        check.row(Should, format!("at size {size}"), found);
    }
    // A stranger's signature is not the log's.
    let ask = session.next(2);
    let lines = [session.log.unknown().line(&ask.text), ask.signatures.clone()];
    let given = session.accept(&mut check, Must, "beside an unknown signature", &ask.with_signatures(&lines));
    let answer = session.monitoring();
    let found = serves(&mut session, &answer, &given);
    check.row(Should, "after an unknown signature", found);
    check.finish();
}

#[test]
fn check_65_what_is_not_served() {
    let mut check = Check::new("65", "404 for the rest; headers; sizes never decrease");
    if lacks("monitoring") {
        return check.skip("the witness has no monitoring endpoint");
    }
    let never = Session::new("65");
    let mut session = Session::at(&mut check, "65-grows", 5);
    let right = path(&session.log.origin);
    let hex = &right[1..65];
    let rows = [
        ("known, and never cosigned", path(&never.log.origin)),
        ("unknown", path("stranger.conformance.example")),
        ("upper case", format!("/{}/checkpoint", hex.to_uppercase())),
        ("63 digits", format!("/{}/checkpoint", &hex[..63])),
        ("65 digits", format!("/{hex}0/checkpoint")),
        ("no hex", format!("/{}/checkpoint", "z".repeat(64))),
        ("the origin itself", format!("/{}/checkpoint", session.log.origin)),
        ("a slash after it", format!("{right}/")),
        ("another name", format!("/{hex}/checkpoints")),
    ];
    for (row, path) in rows {
        let status = witness().monitoring.get(&path).status;
        let found = if status == 404 { Ok(()) } else { Err(format!("answered {status}, expected 404")) };
        let level = if row.starts_with("known") { Must } else { Robust };
        check.row(level, row, found);
    }
    let mut last = 0;
    for size in [8, 9, 20] {
        session.grow(&mut check, size);
        let answer = session.monitoring();
        let served = answer.text().lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0);
        let found = if served < last { Err(format!("{last}, then {served}")) } else { Ok(()) };
        check.row(Robust, "the served size", found);
        last = served;
        let cors = answer.header("access-control-allow-origin");
        check.row(
            Robust,
            "Access-Control-Allow-Origin",
            if cors == Some("*") { Ok(()) } else { Err(format!("is {cors:?}")) },
        );
        let cached = answer.header("cache-control").unwrap_or_default();
        let fresh = !cached.contains("immutable");
        check.row(Robust, "Cache-Control", if fresh { Ok(()) } else { Err(format!("is {cached:?}")) });
    }
    let found = not_modified(&mut session, &right, &mut check);
    check.row(Robust, "If-None-Match", found);
    check.finish();
}

/// An ETag, if there is one, changes with the checkpoint.
fn not_modified(session: &mut Session, path: &str, check: &mut Check) -> Result<(), String> {
    let url = &witness().monitoring;
    let first = url.get(path);
    let Some(tag) = first.header("etag") else { return Ok(()) };
    let again = url.request("GET", path, &[("If-None-Match", tag)], b"");
    if ![200, 304].contains(&again.status) {
        return Err(format!("answered {}", again.status));
    }
    session.grow(check, session.st + 1);
    let later = url.request("GET", path, &[("If-None-Match", tag)], b"");
    if later.status == 200 { Ok(()) } else { Err(format!("answered {} after the log grew", later.status)) }
}
