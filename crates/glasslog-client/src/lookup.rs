//! What a log's index holds about a name: the request, and its answer, verified.
//!
//! An [`Inquiry`] knows the one pinned log, the pinned map function and the key, which it computes itself. It names the path
//! to ask for and opens what comes back. Lists that are too long for one answer are read by a
//! [`ListReader`](list::ListReader), page by page.

pub mod list;

use glasslog_core::{checkpoint::CheckpointError, note::MAX_NOTE_BYTES};
use glasslog_vindex::{
    FileError, Key, KindError, Lookup, LookupError, MAX_NAME_BYTES, MapFunction, Question, VerifiedLookup,
    lookup::MAX_TAIL_BYTES,
};

use crate::pin::Pins;

/// The most elements of a list that one answer shows.
pub const MAX_LIST: u16 = 1000;

/// The most entries before the anchor that one answer shows.
pub const MAX_ENTRIES: u8 = 64;

/// The longest answer, in bytes: a full tail and 1 MiB of entries with their proofs in base64, and a checkpoint.
pub const MAX_ANSWER_BYTES: usize = (MAX_TAIL_BYTES + 2 * 1024 * 1024) / 3 * 4 + MAX_NOTE_BYTES;

/// The longest path that is asked for, in bytes: longer names are asked for by their key.
const MAX_PATH_BYTES: usize = 2048;

/// Why something cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Which log is asked has to be known before it answers.
    #[error("several logs are pinned, so the answer could be another log's: say which one with its key")]
    ManyLogs,
    /// The map function has no such kind of name.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// No log has an entry that long.
    #[error("a name has at most {MAX_NAME_BYTES} bytes, and this one has {0}")]
    NameTooLong(usize),
}

/// Why an answer is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is no lookup proof file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its checkpoint is not one of a pinned log.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Its checkpoint is of another log than was asked.
    #[error("the answer is of the log {0:?}, which was not asked")]
    OtherLog(String),
    /// It proves something else, or nothing.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

/// How much an answer is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Elements of the list, the newest ones: 1 to [`MAX_LIST`].
    pub list: u16,
    /// Entries before the anchor, the newest ones: 0 to [`MAX_ENTRIES`].
    pub entries: u8,
}

/// A question to one pinned log.
#[derive(Clone)]
pub struct Inquiry<'a> {
    pins: &'a Pins,
    origin: &'a str,
    map_fn: &'a dyn MapFunction,
    question: Question,
    key: Key,
}

/// An answer that was verified, with the proof that it came from.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The proof, which can be kept as a file. What was asked is written in it as it was asked here.
    pub lookup: Lookup,
    /// What it proves.
    pub verified: VerifiedLookup,
}

impl<'a> Inquiry<'a> {
    /// Asks the one log of `pins` for `name`, of the default kind of `map_fn` if none is said.
    ///
    /// # Errors
    ///
    /// [`AskError`].
    pub fn of_name(
        pins: &'a Pins,
        map_fn: &'a dyn MapFunction,
        kind: Option<&str>,
        name: &str,
    ) -> Result<Inquiry<'a>, AskError> {
        if name.len() > MAX_NAME_BYTES {
            return Err(AskError::NameTooLong(name.len()));
        }
        let key = map_fn.key(kind, name)?;
        let kind = kind.or(map_fn.kinds().first().copied()).unwrap_or_default();
        let question = Question::Name { kind: kind.into(), name: name.into() };
        Inquiry::new(pins, map_fn, question, key)
    }

    /// Asks for a key, whatever it is the hash of.
    ///
    /// # Errors
    ///
    /// [`AskError::ManyLogs`].
    pub fn of_key(pins: &'a Pins, map_fn: &'a dyn MapFunction, key: Key) -> Result<Inquiry<'a>, AskError> {
        Inquiry::new(pins, map_fn, Question::Key(key), key)
    }

    fn new(
        pins: &'a Pins,
        map_fn: &'a dyn MapFunction,
        question: Question,
        key: Key,
    ) -> Result<Inquiry<'a>, AskError> {
        let origin = pins.origin().ok_or(AskError::ManyLogs)?;
        Ok(Inquiry { pins, origin, map_fn, question, key })
    }

    /// What is asked.
    #[must_use]
    pub fn question(&self) -> &Question {
        &self.question
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The pinned map function.
    #[must_use]
    pub fn map_fn(&self) -> &'a dyn MapFunction {
        self.map_fn
    }

    /// Where to ask, below the log's address; `Accept: text/x.tlog.proof` gives what [`Inquiry::open`] takes.
    #[must_use]
    pub fn path(&self, wanted: Wanted) -> String {
        self.path_with(&format!("limit={}&entries={}", wanted.list, wanted.entries))
    }

    fn path_with(&self, more: &str) -> String {
        if let Question::Name { kind, name } = &self.question {
            let kind = if kind.is_empty() { String::new() } else { format!("kind={kind}&") };
            let path = format!("vindex/lookup?{kind}key={}&{more}", percent_encoded(name));
            if path.len() <= MAX_PATH_BYTES {
                return path;
            }
        }
        format!("vindex/lookup/{}?{more}", self.key)
    }

    /// Opens an answer: a lookup proof file, verified at the time `now`, in seconds since 1970, to be the answer to this
    /// question by this log.
    ///
    /// # Errors
    ///
    /// [`AnswerError`]; nothing in it is then to be believed.
    pub fn open(&self, file: &[u8], now: u64) -> Result<Answered, AnswerError> {
        let mut lookup = Lookup::parse(file)?;
        let verified = verify(&lookup, self.pins, self.origin, self.map_fn, &self.key, now)?;
        lookup.question = self.question.clone();
        Ok(Answered { lookup, verified })
    }
}

/// Verifies `lookup` as the answer of the pinned log `origin` to the question of `key`, at the time `now` in seconds since
/// 1970. How old it may be is for [`crate::verdict::Standing`] to say.
///
/// # Errors
///
/// [`AnswerError`].
pub fn verify(
    lookup: &Lookup,
    pins: &Pins,
    origin: &str,
    map_fn: &dyn MapFunction,
    key: &Key,
    now: u64,
) -> Result<VerifiedLookup, AnswerError> {
    let checkpoint = pins.open(lookup.checkpoint.as_bytes())?;
    if checkpoint.origin() != origin {
        return Err(AnswerError::OtherLog(checkpoint.origin().into()));
    }
    let evaluation = pins.policy().evaluate(checkpoint.cosignatures(), now);
    Ok(lookup.verify_under(checkpoint, evaluation, map_fn, key)?)
}

/// RFC 3986 §2: what is not unreserved, as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => {
                let digit =
                    |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0').to_ascii_uppercase();
                encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    encoded
}
