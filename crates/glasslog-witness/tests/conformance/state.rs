//! Checks 38–51: what a witness holds and what it takes from there (tlog-witness.md section add-checkpoint).

use crate::{
    check::{Check, Must, Robust, Should, lacks},
    keys::b64,
    logs::Log,
    session::{Ask, Session, conflict},
    tree::{Hash, sha256},
};

/// The session's log at `size` with another root, rightly signed.
fn with_root(session: &mut Session, old: u64, size: u64, root: &Hash) -> Ask {
    let ask = session.ask(old, size);
    let text = session.log.text(size, root);
    let line = session.log.a().line(text.as_bytes());
    ask.with_text(text).with_signatures(&[line])
}

#[test]
fn check_38_old_above_size() {
    let mut check = Check::new("38", "an old size above the checkpoint's is 400");
    let mut session = Session::at(&mut check, "38", 5);
    for (old, size, why) in [
        (6, 5, "and not the state either"),
        (9, 8, "and not the state either"),
        (5, 3, "though it is the state"),
        (5, 4, "though it is the state"),
        (5, 0, "though it is the state, and the tree is empty"),
        (1, 0, "and the tree is empty"),
        (100, 1, "and not the state either"),
    ] {
        let ask = session.ask(0, size).with_old(format!("old {old}"));
        session.refuse(&mut check, Must, format!("old {old}, size {size}, {why}"), &[400], &ask.bytes());
    }
    check.finish();
}

#[test]
fn check_39_a_wrong_old_size_is_told_the_right_one() {
    let mut check = Check::new("39", "409, text/x.tlog.size, the size and a newline");
    let mut session = Session::new("39");
    for size in [1, 5, 10, 100, 1000] {
        session.grow(&mut check, size);
        for old in [0, size - 1, size + 1] {
            if old == size {
                continue;
            }
            let ask = session.ask(old, size + 3).bytes();
            let answer = session.refuse(&mut check, Must, format!("old {old} at {size}"), &[409], &ask);
            let told = conflict(&answer);
            let found = if told == Ok(size) { Ok(()) } else { Err(format!("{told:?}, expected {size}")) };
            check.row(Must, format!("the body for old {old} at {size}"), found);
        }
    }
    check.finish();
}

#[test]
fn check_40_a_log_that_was_never_seen_is_at_zero() {
    let mut check = Check::new("40", "a log that was never seen has the size 0");
    let mut session = Session::new("40");
    for (old, size) in [(5, 10), (10, 10), (1, 2)] {
        let ask = session.ask(old, size).bytes();
        let answer = session.refuse(&mut check, Must, format!("old {old}, size {size}"), &[409], &ask);
        check.row(Must, format!("old {old}, size {size}"), conflict(&answer).and_then(is_zero));
    }
    session.grow(&mut check, 10);
    check.finish();
}

fn is_zero(size: u64) -> Result<(), String> {
    if size == 0 { Ok(()) } else { Err(format!("the body is {size}")) }
}

#[test]
fn check_41_the_empty_tree() {
    let mut check = Check::new("41", "the empty tree is cosigned");
    let mut session = Session::new("41");
    for row in ["size 0", "size 0 again"] {
        let ask = session.ask(0, 0);
        session.accept(&mut check, Must, row, &ask);
    }
    session.grow(&mut check, 5);
    session.grow(&mut check, 8);
    check.finish();
}

#[test]
fn check_42_the_empty_tree_has_one_root() {
    let mut check = Check::new("42", "size 0 with another root is 422");
    let roots: [(&str, Hash); 4] = [
        ("all zero", [0; 32]),
        ("any", sha256(b"any")),
        ("the hash of one zero byte", sha256(b"\0")),
        ("the hash of an empty leaf's node", sha256(b"\x01")),
    ];
    let unseen = Session::new("42");
    let later = Session::at(&mut check, "42-later", 0);
    for (mut session, when) in [(unseen, "never seen"), (later, "cosigned at size 0")] {
        for (row, root) in &roots {
            let ask = with_root(&mut session, 0, 0, root).bytes();
            session.refuse(&mut check, Must, format!("root {row}, {when}"), &[422], &ask);
        }
        session.grow(&mut check, 3);
    }
    check.finish();
}

#[test]
fn check_43_no_proof_from_nothing() {
    let mut check = Check::new("43", "old 0 with a proof is 422");
    for (name, size) in [("43-0", 0), ("43-1", 1), ("43-5", 5)] {
        let mut session = Session::new(name);
        let root = session.tree.root(size);
        for (row, proof) in
            [("any hash", vec![[7; 32]]), ("the root", vec![root]), ("two hashes", vec![root; 2])]
        {
            let ask = session.ask(0, size).with_proof(&proof).bytes();
            session.refuse(&mut check, Must, format!("size {size}, {row}"), &[422], &ask);
            // Cosigned: what follows would only tell of a wrong old size.
            if session.st > 0 {
                break;
            }
        }
        session.grow(&mut check, 6);
    }
    check.finish();
}

/// Everything that is not the proof from `old` to `size`.
fn wrong_proofs(session: &mut Session, old: u64, size: u64) -> Vec<(&'static str, Vec<Hash>)> {
    let right = session.tree.consistency(old, size);
    let (old_root, new_root) = (session.tree.root(old), session.tree.root(size));
    let flipped = |at: usize, byte: usize, bit: u8| {
        let mut proof = right.clone();
        proof[at][byte] ^= bit;
        proof
    };
    let mut wrong = vec![
        ("no proof", Vec::new()),
        ("its last hash is missing", right[..right.len() - 1].to_vec()),
        ("its first hash is missing", right[1..].to_vec()),
        ("a hash more at the end", [&right[..], &[[7; 32]]].concat()),
        ("a hash more at the beginning", [&[[7; 32]], &right[..]].concat()),
        ("its last hash twice", [&right[..], &right[right.len() - 1..]].concat()),
        ("reversed", right.iter().rev().copied().collect()),
        ("one bit of its first hash", flipped(0, 0, 0x80)),
        ("one bit of its last hash", flipped(right.len() - 1, 31, 1)),
        ("the old root before it", [&[old_root], &right[..]].concat()),
        ("the new root before it", [&[new_root], &right[..]].concat()),
        ("the old root after it", [&right[..], &[old_root]].concat()),
        ("the new root after it", [&right[..], &[new_root]].concat()),
        ("the old root alone", vec![old_root]),
        ("the new root alone", vec![new_root]),
        ("all zero", vec![[0; 32]; right.len()]),
        ("the proof to one entry more", session.tree.consistency(old, size + 1)),
        ("the proof to one entry less", session.tree.consistency(old, size - 1)),
        ("the proof from one entry more", session.tree.consistency(old + 1, size)),
        ("the proof from one entry less", session.tree.consistency(old - 1, size)),
    ];
    // Reversing one hash changes nothing, and some neighbours share a proof.
    wrong.retain(|(_, proof)| *proof != right);
    wrong
}

#[test]
fn check_44_only_the_proof_will_do() {
    let mut check = Check::new("44", "a proof that does not verify is 422");
    let mut session = Session::new("44");
    for size in [3, 4, 6, 7, 11, 16, 33, 64, 100] {
        if session.st > 0 {
            let old = session.st;
            for (row, proof) in wrong_proofs(&mut session, old, size) {
                let ask = session.ask(old, size).with_proof(&proof).bytes();
                session.refuse(&mut check, Must, format!("{old} to {size}, {row}"), &[422], &ask);
            }
        }
        session.grow(&mut check, size);
    }
    check.finish();
}

#[test]
fn check_45_a_refresh() {
    let mut check = Check::new("45", "the same checkpoint again");
    let mut session = Session::new("45");
    let mut last = 0;
    for ask in [session.ask(0, 5), session.ask(5, 5), session.ask(5, 5)] {
        let cosignatures = session.accept(&mut check, Must, "size 5, again and again", &ask);
        let earliest = cosignatures.iter().map(|c| c.timestamp).min().unwrap_or(last);
        let found = if earliest < last { Err(format!("{last}, then {earliest}")) } else { Ok(()) };
        check.row(Must, "timestamps never go back", found);
        last = cosignatures.iter().map(|c| c.timestamp).max().unwrap_or(last);
    }
    let root = session.tree.root(5);
    for (row, proof) in
        [("any hash", vec![[7; 32]]), ("the root", vec![root]), ("63 hashes", vec![[7; 32]; 63])]
    {
        let ask = session.ask(5, 5).with_proof(&proof).bytes();
        session.refuse(&mut check, Must, format!("the same size with a proof: {row}"), &[422], &ask);
    }
    for (row, root) in [("any", sha256(b"any")), ("all zero", [0; 32]), ("of the empty tree", sha256(b""))] {
        let ask = with_root(&mut session, 5, 5, &root).bytes();
        session.refuse(&mut check, Must, format!("the same size, another root: {row}"), &[422], &ask);
    }
    check.finish();
}

#[test]
fn check_46_the_state_decides() {
    let mut check = Check::new("46", "requests at size 5");
    let mut session = Session::new("46");
    let first = session.ask(0, 5);
    session.accept(&mut check, Must, "the request that made 5", &first);
    let back = session.ask(0, 3).with_old("old 5").bytes();
    session.refuse(&mut check, Must, "old 5, size 3", &[400], &back);
    for (row, ask) in [
        ("old 3, size 5", session.ask(3, 5)),
        ("old 0, size 3", session.ask(0, 3)),
        ("old 3, size 3", session.ask(3, 3)),
        ("old 4, size 8", session.ask(4, 8)),
        ("old 6, size 8", session.ask(6, 8)),
        ("the request that made 5, again", first),
    ] {
        let answer = session.refuse(&mut check, Must, row, &[409], &ask.bytes());
        let told = conflict(&answer);
        check.row(Must, row, if told == Ok(5) { Ok(()) } else { Err(format!("{told:?}, expected 5")) });
    }
    check.finish();
}

#[test]
fn check_47_which_fault_comes_first() {
    let mut check = Check::new("47", "two faults: 404, 403, 400 (old above size), 409, 422 in this order");
    let mut session = Session::at(&mut check, "47", 5);
    let wrong_signature = |log: &Log, text: &[u8]| [log.a().bad_line(text)];
    // Unknown origin, and everything else wrong too.
    let stranger = Log::stranger("stranger.conformance.example");
    let text = stranger.text(3, &[7; 32]);
    let ask = session.ask(5, 8).with_text(&text).with_old("old 9");
    let ask = ask.with_signatures(&wrong_signature(&stranger, text.as_bytes())).bytes();
    session.refuse(&mut check, Must, "unknown origin, and no good signature, old above size", &[404], &ask);
    // Signature, and the rest.
    for (row, ask) in [
        ("no good signature, old above size", session.ask(0, 3).with_old("old 5")),
        ("no good signature, wrong old size", session.ask(3, 8)),
        ("no good signature, wrong proof", session.ask(5, 8).with_proof(&[[7; 32]])),
        ("no good signature, size 0 with another root", with_root(&mut session, 0, 0, &[7; 32])),
    ] {
        let line = wrong_signature(&session.log, &ask.text);
        session.refuse(&mut check, Must, row, &[403], &ask.with_signatures(&line).bytes());
    }
    let above = session.ask(0, 3).with_old("old 9").with_proof(&[[7; 32]]).bytes();
    session.refuse(&mut check, Must, "old above size, wrong old size, wrong proof", &[400], &above);
    for (row, ask) in [
        ("wrong old size, wrong proof", session.ask(3, 8).with_proof(&[[7; 32]])),
        ("wrong old size, another root", with_root(&mut session, 0, 5, &[7; 32])),
        ("wrong old size 0 with a proof", session.ask(0, 8).with_proof(&[[7; 32]])),
        ("wrong old size, size 0 with another root", with_root(&mut session, 0, 0, &[7; 32])),
    ] {
        session.refuse(&mut check, Must, row, &[409], &ask.bytes());
    }
    let mut unseen = Session::new("47-unseen");
    let ask = unseen.ask(3, 8).with_proof(&[[7; 32]]).bytes();
    unseen.refuse(&mut check, Must, "never seen, wrong old size, wrong proof", &[409], &ask);
    check.finish();
}

#[test]
fn check_48_a_refusal_changes_nothing() {
    let mut check = Check::new("48", "a refusal changes nothing and cosigns nothing");
    let mut session = Session::at(&mut check, "48", 5);
    let before = session.monitoring();
    let unsigned = session.next(3);
    let bad_line = session.log.a().bad_line(&unsigned.text);
    let mut malformed = session.next(3);
    malformed.old.push(b'x');
    let rows = [
        ("400, malformed", 400, malformed),
        ("400, old above size", 400, session.ask(0, 3).with_old("old 5")),
        ("403", 403, unsigned.with_signatures(&[bad_line])),
        ("409", 409, session.ask(3, 8)),
        ("422, wrong proof", 422, session.next(3).with_proof(&[[7; 32]])),
        ("422, another root", 422, with_root(&mut session, 5, 5, &[7; 32])),
    ];
    for (row, status, ask) in rows {
        session.refuse(&mut check, Must, row, &[status], &ask.bytes());
    }
    if before.status == 200 {
        let same = session.monitoring().body == before.body;
        check.row(Must, "served checkpoint", if same { Ok(()) } else { Err("has changed".to_owned()) });
    }
    session.grow(&mut check, 8);
    check.finish();
}

#[test]
fn check_49_logs_are_isolated() {
    let mut check = Check::new("49", "one log's requests do not touch another");
    let mut session = Session::at(&mut check, "49", 5);
    let mut other = Session::new("49-other");
    check.row(Robust, "the other log", other.state().and_then(is_zero));
    other.grow(&mut check, 3);
    session.grow(&mut check, 8);
    let told = (session.state(), other.state());
    let found = if told == (Ok(8), Ok(3)) { Ok(()) } else { Err(format!("{told:?}, expected 8 and 3")) };
    check.row(Robust, "both", found);
    // The other log's tree under this log's name.
    let proof = other.tree.consistency(3, 9);
    let root = other.tree.root(9);
    let mixed = with_root(&mut session, 8, 9, &root).with_proof(&proof).bytes();
    session.refuse(&mut check, Robust, "the other log's tree and proof", &[422], &mixed);
    check.finish();
}

#[test]
fn check_50_a_new_key_continues() {
    let mut check = Check::new("50", "another key of the log continues at its size");
    if lacks("several-keys") {
        return check.skip("logs with several keys are not configured");
    }
    let mut session = Session::at(&mut check, "50", 5);
    type Lines = fn(&Log, &[u8]) -> Vec<Vec<u8>>;
    let steps: [(&str, Lines); 3] = [
        ("A and A2 together", |log, text| vec![log.a().line(text), log.a2().line(text)]),
        ("A2 alone", |log, text| vec![log.a2().line(text)]),
        ("A alone again", |log, text| vec![log.a().line(text)]),
    ];
    for (row, lines) in steps {
        let ask = session.next(3);
        let lines = lines(&session.log, &ask.text);
        session.accept(&mut check, Robust, row, &ask.with_signatures(&lines));
    }
    let stale = session.ask(5, 20).bytes();
    session.refuse(&mut check, Robust, "the size from before", &[409], &stale);
    check.finish();
}

#[test]
fn check_51_a_fork_never_advances() {
    let mut check = Check::new("51", "a fork of the log");
    let mut session = Session::at(&mut check, "51", 5);
    let honest = session.tree.clone();
    for at in [0, 2, 4] {
        session.tree = honest.clone().fork(at, "fork");
        for (row, ask, status) in [
            ("the same size", session.ask(5, 5), 422),
            ("the next size, proven within the fork", session.ask(5, 6), 422),
            ("a larger size, proven within the fork", session.ask(5, 40), 422),
            ("from its root", session.ask(0, 6), 409),
            ("from before the fork", session.ask(2, 6), 409),
        ] {
            session.refuse(&mut check, Must, format!("fork at {at}: {row}"), &[status], &ask.bytes());
        }
    }
    session.tree = honest;
    session.grow(&mut check, 6);
    // A fork of which only the part above the state differs is no fork yet.
    session.tree = session.tree.fork(6, "fork");
    session.grow(&mut check, 9);
    let root = b64(&session.tree.root(9));
    let served = session.monitoring();
    if served.status == 200 {
        let found = served.text().lines().nth(2) == Some(&root);
        check.row(Should, "served root", if found { Ok(()) } else { Err("is another".to_owned()) });
    }
    check.finish();
}
