//! Checks 52–57: what a cosignature is (tlog-cosignature.md). Every 200 of the other checks is verified by the same code.

use std::time::{SystemTime, UNIX_EPOCH};

use base64ct::{Base64, Encoding};

use crate::{
    check::{Check, Must, Robust, Should},
    keys::{ED25519_COSIGNATURE, ML_DSA_44, Signed, parse_line},
    session::{Cosignature, Session},
    target::witness,
};

#[test]
fn check_52_key_ids() {
    let mut check = Check::new("52", "key IDs follow from name, type and key");
    for vkey in &witness().vkeys {
        let (row, length) = match vkey.kind {
            ED25519_COSIGNATURE => ("Ed25519 (0x04)", 32),
            ML_DSA_44 => ("ML-DSA-44 (0x06)", 1312),
            kind => {
                check.row(Must, &vkey.name, Err(format!("a key of type {kind:#04x} makes no cosignatures")));
                continue;
            }
        };
        let found =
            if vkey.public.len() == length { Ok(()) } else { Err(format!("{} bytes", vkey.public.len())) };
        check.row(Must, row, found);
        let right = vkey.id == vkey.expected_id();
        check.row(Must, row, if right { Ok(()) } else { Err(format!("the ID is {:02x?}", vkey.id)) });
    }
    check.finish();
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn check_53_timestamps() {
    let mut check = Check::new("53", "timestamps");
    let mut session = Session::at(&mut check, "53", 5);
    let mut last = 0;
    for round in 0..10 {
        let ask = if round % 2 == 0 { session.ask(session.st, session.st) } else { session.next(3) };
        for cosignature in session.accept(&mut check, Must, format!("request {round}"), &ask) {
            let time = cosignature.timestamp;
            let row = format!("request {round}, type {:#04x}", cosignature.kind);
            check.row(Must, &row, length_of(&cosignature));
            let range = (1..=i64::MAX.unsigned_abs()).contains(&time);
            check.row(Must, &row, if range { Ok(()) } else { Err(format!("timestamp {time}")) });
            let close = time.abs_diff(now()) < 60;
            check.row(Robust, &row, if close { Ok(()) } else { Err(format!("{time} at {}", now())) });
            let back = time < last;
            check.row(Robust, &row, if back { Err(format!("{last}, then {time}")) } else { Ok(()) });
            last = last.max(time);
        }
    }
    check.finish();
}

/// Key ID, timestamp, signature; and the one base64 that encodes them.
fn length_of(cosignature: &Cosignature) -> Result<(), String> {
    let expected = if cosignature.kind == ML_DSA_44 { 4 + 8 + 2420 } else { 4 + 8 + 64 };
    let text = cosignature.line.rsplit(' ').next().unwrap_or_default();
    let blob = Base64::decode_vec(text).map_err(|error| error.to_string())?;
    if blob.len() != expected {
        return Err(format!("{} bytes, expected {expected}", blob.len()));
    }
    if Base64::encode_string(&blob) == text { Ok(()) } else { Err("not canonical base64".to_owned()) }
}

/// Verified over the right message, and over no message that differs in one thing.
fn covers_all(number: &'static str, title: &'static str, kind: u8, name: &str) {
    let mut check = Check::new(number, title);
    let mut session = Session::at(&mut check, name, 5);
    let ask = session.next(3);
    let cosignatures = session.accept(&mut check, Must, "the right message", &ask);
    let Some(cosignature) = cosignatures.into_iter().find(|c| c.kind == kind) else {
        check.skip("the witness has no such key");
        return check.finish();
    };
    let (size, hash) = ask.tree_head().unwrap();
    let right = Signed { text: &ask.text, origin: &session.log.origin, start: 0, end: size, hash };
    let longer = [&ask.text[..], b"\n"].concat();
    let shorter = &ask.text[..ask.text.len() - 1];
    let origin = format!("{}x", session.log.origin);
    let others: Vec<(&str, Signed<'_>)> = if kind == ML_DSA_44 {
        vec![
            ("another origin", Signed { origin: &origin, ..right }),
            ("another end", Signed { end: size + 1, ..right }),
            ("a start that is not 0", Signed { start: 1, ..right }),
            ("another hash", Signed { hash: [7; 32], ..right }),
        ]
    } else {
        vec![
            ("the text and the blank line", Signed { text: &longer, ..right }),
            ("the text without its last newline", Signed { text: shorter, ..right }),
        ]
    };
    for (row, other) in others {
        let verifies = session.witness.cosignature(&other, &cosignature.line).is_ok();
        check.row(Must, row, if verifies { Err("verifies".to_owned()) } else { Ok(()) });
    }
    let (name, id, blob) = parse_line(&cosignature.line).unwrap();
    let vkey = session.witness.key_of(&name, id).unwrap();
    let other_time = vkey.verify(&right, cosignature.timestamp + 1, &blob[8..]).is_ok();
    check.row(Must, "another timestamp", if other_time { Err("verifies".to_owned()) } else { Ok(()) });
    check.finish();
}

#[test]
fn check_54_ed25519_message() {
    covers_all("54", "cosignature/v1, the time, the whole text", ED25519_COSIGNATURE, "54");
}

#[test]
fn check_55_ml_dsa_message() {
    covers_all(
        "55",
        "subtree/v1, name, time, origin, 0, size, root; pure ML-DSA, empty context",
        ML_DSA_44,
        "55",
    );
}

#[test]
fn check_56_ml_dsa() {
    let mut check = Check::new("56", "an ML-DSA-44 key");
    let found = witness().vkeys.iter().any(|vkey| vkey.kind == ML_DSA_44);
    check.row(Should, "advertised keys", if found { Ok(()) } else { Err("none of type 0x06".to_owned()) });
    check.finish();
}

#[test]
fn check_57_keys_are_not_shared() {
    let mut check = Check::new("57", "one Ed25519 key, one name");
    let vkeys = &witness().vkeys;
    for (number, vkey) in vkeys.iter().enumerate() {
        let shared = vkeys[..number].iter().find(|other| other.public == vkey.public);
        let found = shared.map_or(Ok(()), |other| Err(format!("is also that of {}", other.name)));
        check.row(Must, format!("the key of {}", vkey.name), found);
    }
    check.finish();
}
