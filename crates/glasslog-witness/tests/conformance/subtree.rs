//! Checks 58–63: sign-subtree, which a witness need not have (tlog-witness.md section sign-subtree).
//!
//! C2SP #346 would take the timestamp out of a subtree's cosignature: [`verify`] is the place.

use crate::{
    check::{Check, Must},
    http::Answer,
    keys::{ED25519_COSIGNATURE, ML_DSA_44, Signed, b64, signature_line},
    logs::Log,
    session::{Cosignature, Session, patiently, short},
    tree::{Hash, sha256},
};

/// A checkpoint that the witness cosigned, and its cosignatures.
struct Reference {
    session: Session,
    size: u64,
    text: Vec<u8>,
    cosignatures: Vec<Cosignature>,
}

/// A request for sign-subtree in the parts that a check may spoil.
#[derive(Clone)]
struct Ask {
    range: String,
    hash: String,
    proof: Vec<String>,
    text: Vec<u8>,
    signatures: Vec<Vec<u8>>,
}

impl Ask {
    fn bytes(&self) -> Vec<u8> {
        let mut control = format!("{}\n{}\n", self.range, self.hash);
        for line in &self.proof {
            control += &format!("{line}\n");
        }
        [control.as_bytes(), b"\n", &self.text, b"\n", &self.signatures.concat()].concat()
    }

    fn with_proof(mut self, proof: &[Hash]) -> Ask {
        self.proof = proof.iter().map(|hash| b64(hash)).collect();
        self
    }
}

impl Reference {
    fn new(check: &mut Check, name: &str, size: u64) -> Reference {
        let mut session = Session::new(name);
        let cosignatures = session.grow(check, size);
        let text = session.ask(size, size).text;
        Reference { session, size, text, cosignatures }
    }

    /// The right request for a subtree.
    fn ask(&mut self, start: u64, end: u64) -> Ask {
        let tree = &mut self.session.tree;
        let proof = tree.subtree_consistency(start, end, self.size);
        let ask = Ask {
            range: format!("subtree {start} {end}"),
            hash: b64(&tree.subtree(start, end)),
            proof: Vec::new(),
            text: self.text.clone(),
            signatures: self.cosignatures.iter().map(|c| format!("{}\n", c.line).into_bytes()).collect(),
        };
        ask.with_proof(&proof)
    }

    fn send(&self, ask: &Ask) -> Answer {
        let bytes = ask.bytes();
        patiently(|| self.session.witness.url.post("/sign-subtree", &bytes))
    }

    /// Whether the witness has sign-subtree at all; says so if not.
    fn offered(&mut self, check: &Check) -> bool {
        let ask = self.ask(0, 1);
        let missing = matches!(self.send(&ask).status, 404 | 405 | 501);
        if missing {
            check.skip("the witness has no sign-subtree");
        }
        !missing
    }

    fn granted(&mut self, check: &mut Check, row: &str, start: u64, end: u64) {
        let ask = self.ask(start, end);
        let answer = self.send(&ask);
        let hash = self.session.tree.subtree(start, end);
        check.row(Must, row, self.verify(&answer, start, end, hash));
    }

    fn verify(&self, answer: &Answer, start: u64, end: u64, hash: Hash) -> Result<(), String> {
        if answer.status != 200 {
            return Err(format!("answered {}, expected 200: {}", answer.status, short(&answer.text())));
        }
        let signed = Signed { text: &self.text, origin: &self.session.log.origin, start, end, hash };
        for cosignature in self.session.witness.cosignatures(&signed, &answer.body)? {
            if cosignature.kind != ML_DSA_44 {
                return Err("a cosignature of a type that knows no subtrees".to_owned());
            }
            if cosignature.timestamp != 0 {
                return Err(format!("its timestamp is {}", cosignature.timestamp));
            }
        }
        Ok(())
    }

    fn refused(&self, check: &mut Check, row: impl std::fmt::Display, expected: &[u16], ask: &Ask) {
        let answer = self.send(ask);
        let found = if expected.contains(&answer.status) {
            let cosigned = answer.text().lines().any(|line| self.session.witness.is_own_line(line));
            if cosigned { Err("the refusal holds a cosignature".to_owned()) } else { Ok(()) }
        } else {
            Err(format!("answered {}, expected {expected:?}: {}", answer.status, short(&answer.text())))
        };
        check.row(Must, row, found);
    }
}

#[test]
fn check_58_a_subtree_is_cosigned() {
    let mut check = Check::new("58", "a subtree is cosigned, by ML-DSA keys, without a time");
    let mut reference = Reference::new(&mut check, "58", 14);
    if reference.offered(&check) {
        for (start, end) in [(8, 13), (8, 14), (8, 12), (4, 8), (12, 14), (13, 14), (0, 8), (0, 5)] {
            reference.granted(&mut check, &format!("[{start}, {end}) of 14"), start, end);
        }
    }
    check.finish();
}

#[test]
fn check_59_malformed_requests() {
    let mut check = Check::new("59", "a malformed range, hash or proof is 400");
    let mut reference = Reference::new(&mut check, "59", 14);
    if !reference.offered(&check) {
        return check.finish();
    }
    let right = reference.ask(8, 13);
    for range in [
        "subtree 08 13",
        "subtree 8 013",
        "subtree 8  13",
        "subtree  8 13",
        "subtree +8 13",
        "subtree 8 +13",
        "subtree 8",
        "subtree",
        "subtree 8 13 14",
        "subtree 8 13 ",
        "subtree 8\t13",
        "Subtree 8 13",
        "old 8 13",
        "subtree 8 18446744073709551629",
        "subtree -8 13",
        "subtree 0x8 13",
    ] {
        let ask = Ask { range: range.to_owned(), ..right.clone() };
        reference.refused(&mut check, format!("{range:?}"), &[400], &ask);
    }
    for (start, end, why) in [
        (13, 8, "end before start"),
        (1, 3, "no subtree: not aligned"),
        (2, 6, "no subtree: not aligned"),
        (5, 13, "no subtree: not aligned"),
        (4, 13, "no subtree: not aligned"),
        (8, 15, "end above the size"),
        (0, u64::MAX, "end above the size"),
    ] {
        let ask = Ask { range: format!("subtree {start} {end}"), ..right.clone() };
        reference.refused(&mut check, format!("[{start}, {end}), {why}"), &[400], &ask);
    }
    // Implementations differ about it: malformed, or the empty tree without a valid proof here.
    let ask = Ask { range: "subtree 8 8".to_owned(), ..right.clone() };
    reference.refused(&mut check, "[8, 8)", &[400, 422], &ask);
    for (row, hash) in
        [("31 bytes", b64(&[7; 31])), ("33 bytes", b64(&[7; 33])), ("no base64", "?".to_owned())]
    {
        let ask = Ask { hash, ..right.clone() };
        reference.refused(&mut check, format!("a hash of {row}"), &[400], &ask);
    }
    let many = right.clone().with_proof(&[[7; 32]; 64]);
    reference.refused(&mut check, "64 proof lines", &[400], &many);
    let mut odd = right.clone();
    odd.proof[0].push(' ');
    reference.refused(&mut check, "a space after a proof line", &[400], &odd);
    check.finish();
}

#[test]
fn check_60_only_what_the_witness_cosigned() {
    let mut check = Check::new("60", "an unknown origin is 404, a checkpoint it did not cosign 403");
    let mut reference = Reference::new(&mut check, "60", 14);
    if !reference.offered(&check) {
        return check.finish();
    }
    let right = reference.ask(8, 13);
    let stranger = Log::stranger("stranger.conformance.example");
    let text = stranger.text(14, &reference.session.tree.root(14)).into_bytes();
    let ask = Ask { text, ..right.clone() };
    reference.refused(&mut check, "unknown origin", &[404], &ask);
    let log_line = reference.session.log.a().line(&right.text);
    let ask = Ask { signatures: vec![log_line], ..right.clone() };
    reference.refused(&mut check, "only the log's signature", &[403], &ask);
    let other = signature_line("other-witness.example", [1, 2, 3, 4], &[7; 8 + 2420]);
    let ask = Ask { signatures: vec![other], ..right.clone() };
    reference.refused(&mut check, "another witness's cosignature", &[403], &ask);
    for vkey in &reference.session.witness.vkeys {
        let length = if vkey.kind == ML_DSA_44 { 8 + 2420 } else { 8 + 64 };
        let ask =
            Ask { signatures: vec![signature_line(&vkey.name, vkey.id, &vec![7; length])], ..right.clone() };
        reference.refused(&mut check, format!("a forged line of type {:#04x}", vkey.kind), &[403], &ask);
    }
    let text = reference.session.log.text(14, &sha256(b"other")).into_bytes();
    let ask = Ask { text, ..right.clone() };
    reference.refused(&mut check, "the cosignatures of another checkpoint", &[403], &ask);
    // One of its own keys cosigned, but that message names no cosigner: either answer.
    let ed25519: Vec<_> = reference
        .cosignatures
        .iter()
        .filter(|c| c.kind == ED25519_COSIGNATURE)
        .map(|c| format!("{}\n", c.line))
        .collect();
    if !ed25519.is_empty() {
        let ask = Ask { signatures: ed25519.into_iter().map(String::into_bytes).collect(), ..right };
        let status = reference.send(&ask).status;
        let found = if [200, 403].contains(&status) { Ok(()) } else { Err(format!("answered {status}")) };
        check.row(Must, "only its Ed25519 cosignature", found);
    }
    check.finish();
}

#[test]
fn check_61_wrong_subtrees() {
    let mut check = Check::new("61", "a wrong hash or proof is 422");
    let mut reference = Reference::new(&mut check, "61", 14);
    if !reference.offered(&check) {
        return check.finish();
    }
    let right = reference.ask(8, 13);
    let proof = reference.session.tree.subtree_consistency(8, 13, 14);
    let mut flipped = proof.clone();
    flipped[1][9] ^= 1;
    for (row, ask) in [
        ("another hash", Ask { hash: b64(&sha256(b"other")), ..right.clone() }),
        (
            "the hash of another subtree",
            Ask { hash: b64(&reference.session.tree.subtree(8, 12)), ..right.clone() },
        ),
        ("no proof", right.clone().with_proof(&[])),
        ("one hash too few", right.clone().with_proof(&proof[1..])),
        ("one hash too many", right.clone().with_proof(&[&proof[..], &[[7; 32]]].concat())),
        ("one bit of the proof", right.clone().with_proof(&flipped)),
        (
            "the proof of another subtree",
            right.with_proof(&reference.session.tree.subtree_consistency(8, 12, 14)),
        ),
    ] {
        reference.refused(&mut check, row, &[422], &ask);
    }
    check.finish();
}

#[test]
fn check_62_old_checkpoints_still_serve() {
    let mut check = Check::new("62", "a checkpoint that was cosigned earlier; the whole tree");
    let mut reference = Reference::new(&mut check, "62", 14);
    if reference.offered(&check) {
        reference.session.grow(&mut check, 40);
        reference.granted(&mut check, "[8, 13) of 14, now that the witness is at 40", 8, 13);
        reference.granted(&mut check, "[0, 14) of 14, with an empty proof", 0, 14);
    }
    check.finish();
}

#[test]
fn check_63_mirror_keys() {
    let check = Check::new("63", "mirror keys and witness keys are not exchanged");
    check.skip("a witness alone has no mirror key");
    check.finish();
}
