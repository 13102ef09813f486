//! A log, the witness, and what the log knows about the witness's state.

use crate::{
    check::{Check, Level, Must},
    http::{Answer, moment},
    keys::{Signed, Vkey, b64, parse_line},
    logs::Log,
    target::{Witness, witness},
    tree::{Hash, Tree, sha256},
};

/// A request for add-checkpoint, in the parts that a check may spoil.
#[derive(Clone)]
pub(crate) struct Ask {
    /// Without its newline.
    pub(crate) old: Vec<u8>,
    /// Without their newlines.
    pub(crate) proof: Vec<Vec<u8>>,
    pub(crate) text: Vec<u8>,
    /// Whole lines.
    pub(crate) signatures: Vec<u8>,
}

impl Ask {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&self.old[..], b"\n"].concat();
        for line in &self.proof {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        bytes.push(b'\n');
        bytes.extend(self.note());
        bytes
    }

    pub(crate) fn note(&self) -> Vec<u8> {
        [&self.text[..], b"\n", &self.signatures].concat()
    }

    pub(crate) fn with_old(mut self, old: impl AsRef<[u8]>) -> Ask {
        self.old = old.as_ref().to_vec();
        self
    }

    pub(crate) fn with_proof(mut self, proof: &[Hash]) -> Ask {
        self.proof = proof.iter().map(|hash| b64(hash).into_bytes()).collect();
        self
    }

    /// Another text, and no signature yet.
    pub(crate) fn with_text(mut self, text: impl AsRef<[u8]>) -> Ask {
        self.text = text.as_ref().to_vec();
        self.signatures.clear();
        self
    }

    pub(crate) fn with_signatures(mut self, signatures: &[Vec<u8>]) -> Ask {
        self.signatures = signatures.concat();
        self
    }

    /// Size and root of the text as it stands, if it is a checkpoint.
    pub(crate) fn tree_head(&self) -> Option<(u64, Hash)> {
        use base64ct::{Base64, Encoding};
        let text = std::str::from_utf8(&self.text).ok()?;
        let mut lines = text.lines().skip(1);
        let size = lines.next()?.parse().ok()?;
        let root = Base64::decode_vec(lines.next()?).ok()?;
        Some((size, root.try_into().ok()?))
    }
}

/// A cosignature that verified.
#[derive(Debug, Clone)]
pub(crate) struct Cosignature {
    pub(crate) line: String,
    pub(crate) kind: u8,
    pub(crate) timestamp: u64,
}

pub(crate) struct Session {
    pub(crate) witness: &'static Witness,
    pub(crate) log: Log,
    pub(crate) tree: Tree,
    /// The size that the witness last cosigned.
    pub(crate) st: u64,
    probe: Vec<u8>,
}

/// A size that no check uses as the state of a witness.
const PROBE: u64 = 4095;

impl Session {
    /// A session with the family's log of this name, which the witness has not seen yet.
    pub(crate) fn new(name: &str) -> Session {
        Session::with(Log::named(name))
    }

    pub(crate) fn with(log: Log) -> Session {
        let mut tree = Tree::new(&log.origin);
        let probe = correct(&log, &mut tree, PROBE, PROBE + 1).bytes();
        Session { witness: witness(), log, tree, st: 0, probe }
    }

    /// A session with a log that the witness already cosigned at `size`.
    pub(crate) fn at(check: &mut Check, name: &str, size: u64) -> Session {
        let mut session = Session::new(name);
        session.grow(check, size);
        session
    }

    /// The right request from `old` to `size`.
    pub(crate) fn ask(&mut self, old: u64, size: u64) -> Ask {
        correct(&self.log, &mut self.tree, old, size)
    }

    /// The right request for `more` entries.
    pub(crate) fn next(&mut self, more: u64) -> Ask {
        self.ask(self.st, self.st + more)
    }

    pub(crate) fn send(&self, body: &[u8]) -> Answer {
        patiently(|| self.witness.url.post("/add-checkpoint", body))
    }

    /// Sends a right request for the size, which must be cosigned.
    pub(crate) fn grow(&mut self, check: &mut Check, size: u64) -> Vec<Cosignature> {
        let ask = self.ask(self.st, size);
        self.accept(check, Must, format!("{} grows to {size}", self.log.name), &ask)
    }

    /// Sends a request that must be cosigned; all that it gives is verified.
    pub(crate) fn accept(
        &mut self,
        check: &mut Check,
        level: Level,
        row: impl std::fmt::Display,
        ask: &Ask,
    ) -> Vec<Cosignature> {
        let answer = self.send(&ask.bytes());
        let result = self.accepted(ask, &answer);
        let cosignatures = result.clone().unwrap_or_default();
        check.row(level, row, result.map(drop));
        cosignatures
    }

    /// Sends a request that may be cosigned, then rightly, or refused with one of `refusals`. Gives what it was.
    pub(crate) fn either(
        &mut self,
        check: &mut Check,
        level: Level,
        row: impl std::fmt::Display,
        refusals: &[u16],
        ask: &Ask,
    ) -> Answer {
        let answer = self.send(&ask.bytes());
        let found = match answer.status {
            200 => self.accepted(ask, &answer).map(drop),
            _ => self.refused(refusals, &answer),
        };
        check.row(level, row, found);
        answer
    }

    /// What a 200 gave, verified; the state follows.
    pub(crate) fn accepted(&mut self, ask: &Ask, answer: &Answer) -> Result<Vec<Cosignature>, String> {
        if answer.status != 200 {
            self.st = self.state().unwrap_or(self.st);
            return Err(format!("answered {}, expected 200: {}", answer.status, short(&answer.text())));
        }
        let Some((size, hash)) = ask.tree_head() else { return Err("cosigned no checkpoint".to_owned()) };
        self.st = size;
        let signed = Signed { text: &ask.text, origin: &self.log.origin, start: 0, end: size, hash };
        self.witness.cosignatures(&signed, &answer.body)
    }

    /// Sends a request that must be refused with one of `expected`, and (check 48) change nothing and cosign nothing.
    pub(crate) fn refuse(
        &mut self,
        check: &mut Check,
        level: Level,
        row: impl std::fmt::Display,
        expected: &[u16],
        body: &[u8],
    ) -> Answer {
        let answer = self.send(body);
        let found = self.refused(expected, &answer);
        check.row(level, row, found);
        answer
    }

    /// The same about an answer that is already there.
    pub(crate) fn refused(&mut self, expected: &[u16], answer: &Answer) -> Result<(), String> {
        let state = self.state();
        let before = self.st;
        self.st = state.clone().unwrap_or(before);
        if !expected.contains(&answer.status) {
            let text = short(&answer.text());
            return Err(format!("answered {}, expected {expected:?}: {text}", answer.status));
        }
        // What an unseen log's state is, only a 409 says.
        match state {
            Ok(now) if now != before => return Err(format!("the refused request moved the state to {now}")),
            Err(why) => return Err(why),
            Ok(_) => {}
        }
        let cosigned = answer.text().lines().any(|line| self.witness.is_own_line(line));
        if answer.status != 200 && cosigned {
            return Err("the refusal holds a cosignature".to_owned());
        }
        Ok(())
    }

    /// The size that the witness holds, from a 409.
    pub(crate) fn state(&self) -> Result<u64, String> {
        let answer = self.send(&self.probe);
        conflict(&answer).map_err(|why| format!("asked for its state, it {why}"))
    }

    pub(crate) fn monitoring(&self) -> Answer {
        let hash: String = sha256(self.log.origin.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        self.witness.monitoring.get(&format!("/{hash}/checkpoint"))
    }
}

/// A witness may push back for a moment (429); that is no answer to what was asked.
pub(crate) fn patiently(mut send: impl FnMut() -> Answer) -> Answer {
    for _ in 0..400 {
        let answer = send();
        if answer.status != 429 {
            return answer;
        }
        moment();
    }
    send()
}

fn correct(log: &Log, tree: &mut Tree, old: u64, size: u64) -> Ask {
    let root = tree.root(size);
    let proof = if 0 < old && old < size { tree.consistency(old, size) } else { Vec::new() };
    let text = log.text(size, &root).into_bytes();
    let signatures =
        if log.has_a() { log.a().line(&text) } else { log.p().line(&log.origin, size, &root, 0) };
    Ask { old: format!("old {old}").into_bytes(), proof: Vec::new(), text, signatures }.with_proof(&proof)
}

/// The size in a 409, if it is one as tlog-witness.md demands it.
pub(crate) fn conflict(answer: &Answer) -> Result<u64, String> {
    if answer.status != 409 {
        return Err(format!("answered {}, expected 409: {}", answer.status, short(&answer.text())));
    }
    if answer.header("content-type") != Some("text/x.tlog.size") {
        return Err(format!("answered 409 with Content-Type {:?}", answer.header("content-type")));
    }
    let text = answer.text();
    let size = text.strip_suffix('\n').and_then(|size| size.parse::<u64>().ok());
    match size {
        Some(size) if format!("{size}\n") == text => Ok(size),
        _ => Err(format!("answered 409 with the body {text:?}")),
    }
}

pub(crate) fn short(text: &str) -> String {
    let line = text.trim_end().chars().take(120).collect::<String>();
    format!("{line:?}")
}

impl Witness {
    pub(crate) fn key_of(&self, name: &str, id: [u8; 4]) -> Option<&Vkey> {
        self.vkeys.iter().find(|vkey| vkey.name == name && vkey.id == id)
    }

    /// Whether a line claims to be by this witness.
    pub(crate) fn is_own_line(&self, line: &str) -> bool {
        parse_line(line).is_ok_and(|(name, id, _)| self.key_of(&name, id).is_some())
    }

    /// Every line of an answer must be a cosignature, by a key that the witness advertises, and verify.
    pub(crate) fn cosignatures(&self, of: &Signed<'_>, body: &[u8]) -> Result<Vec<Cosignature>, String> {
        let text = std::str::from_utf8(body).map_err(|_| "the answer is not UTF-8".to_owned())?;
        let Some(lines) = text.strip_suffix('\n') else {
            return Err(format!("the answer does not end with a newline: {}", short(text)));
        };
        lines.split('\n').map(|line| self.cosignature(of, line)).collect()
    }

    pub(crate) fn cosignature(&self, of: &Signed<'_>, line: &str) -> Result<Cosignature, String> {
        let (name, id, signature) = parse_line(line)?;
        let Some(vkey) = self.key_of(&name, id) else {
            return Err(format!("a line that is of none of the witness's keys: {}", short(line)));
        };
        let Some((timestamp, signature)) = signature.split_first_chunk::<8>() else {
            return Err(format!("no timestamp: {}", short(line)));
        };
        let timestamp = u64::from_be_bytes(*timestamp);
        vkey.verify(of, timestamp, signature).map_err(|why| format!("{why}: {}", short(line)))?;
        Ok(Cosignature { line: line.to_owned(), kind: vkey.kind, timestamp })
    }
}
