//! Lists of logs in the `logs/v0` format of the witness network (witness-network.org).
//!
//! ```text
//! # comment
//! logs/v0
//!
//! vkey sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8
//! origin go.sum database tree
//! qpd 86400
//! contact sumdb on-call
//! ```
//!
//! One stanza for each log, begun by its `vkey`. Without `origin` the log is named as its key. Lines are trimmed; words
//! that are not known are skipped, so that a later format can say more.

use std::{fmt::Write as _, num::NonZeroU32};

use glasslog_core::note::VerifierKey;

use crate::decide::{LogKeys, LogKeysError};

/// The longest list that is read, in bytes.
pub const MAX_LIST_BYTES: usize = 32 << 20;

/// The first line of a list.
const HEADER: &str = "logs/v0";

/// The smallest number that is no `qpd` any more.
const QPD_END: u32 = 1 << 31;

/// A log as a list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedLog {
    /// Its origin and its one key.
    pub keys: LogKeys,
    /// How many checkpoints it may have cosigned in a day, 1 to 2^31 - 1.
    pub qpd: NonZeroU32,
    /// Whom to ask about it, in the list's own words.
    pub contact: Option<String>,
}

/// A list as far as it was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogList {
    /// Its logs, in its order.
    pub logs: Vec<ListedLog>,
    /// Stanzas that were left out because of their key: the line of the key, and why.
    pub skipped: Vec<(usize, String)>,
}

/// Why bytes are not a list of logs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The list is longer than [`MAX_LIST_BYTES`].
    #[error("list of {0} bytes; at most {MAX_LIST_BYTES} are read")]
    TooLong(usize),
    /// Lists are text.
    #[error("list is not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// A line is not what the format wants there.
    #[error("line {line} of the list: {why}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

/// Reads a list.
///
/// A stanza whose key is of a type that is not known here is left out, and said; any other mistake refuses the whole list.
///
/// # Errors
///
/// [`ListError`].
pub fn parse(bytes: &[u8]) -> Result<LogList, ListError> {
    if bytes.len() > MAX_LIST_BYTES {
        return Err(ListError::TooLong(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| ListError::NotUtf8(error.valid_up_to()))?;
    let lines = text.split('\n').map(str::trim).enumerate().map(|(n, line)| (n + 1, line));
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    match lines.next() {
        Some((_, HEADER)) => {}
        Some((line, _)) => return Err(wrong(line, "the first line of a list is `logs/v0`")),
        None => return Err(wrong(1, "the list is empty; its first line is `logs/v0`")),
    }
    let mut list = LogList::default();
    let mut open: Option<Stanza<'_>> = None;
    for (line, text) in lines {
        let (word, value) =
            text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()));
        if value.contains(char::is_control) {
            return Err(wrong(line, "a control character"));
        }
        if word == "vkey" {
            open.take().map_or(Ok(()), |stanza| stanza.finish(&mut list))?;
            open = Some(Stanza { line, vkey: value, origin: None, qpd: None, contact: None });
            continue;
        }
        let stanza = open.as_mut().ok_or_else(|| wrong(line, "a stanza begins with its `vkey`"))?;
        let slot = match word {
            "origin" => &mut stanza.origin,
            "qpd" => &mut stanza.qpd,
            "contact" => &mut stanza.contact,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(wrong(line, &format!("a second `{word}` in one stanza")));
        }
    }
    open.map_or(Ok(()), |stanza| stanza.finish(&mut list))?;
    Ok(list)
}

/// The stanza that a log's operator sends in to be listed.
///
/// # Errors
///
/// [`LogKeysError`] when `origin` cannot be one.
pub fn stanza(
    origin: &str,
    key: &VerifierKey,
    qpd: NonZeroU32,
    contact: Option<&str>,
) -> Result<String, LogKeysError> {
    LogKeys::new(origin, vec![key.clone()])?;
    let mut text = format!("vkey {key}\n");
    // Writing to a string cannot fail.
    if origin != key.name() {
        let _ = writeln!(text, "origin {origin}");
    }
    let _ = writeln!(text, "qpd {}", qpd.get().min(QPD_END - 1));
    if let Some(contact) = contact {
        let _ = writeln!(text, "contact {}", contact.replace(char::is_control, " ").trim());
    }
    Ok(text)
}

struct Stanza<'a> {
    line: usize,
    vkey: &'a str,
    origin: Option<&'a str>,
    qpd: Option<&'a str>,
    contact: Option<&'a str>,
}

impl Stanza<'_> {
    fn finish(self, list: &mut LogList) -> Result<(), ListError> {
        let key: VerifierKey = match self.vkey.parse() {
            Ok(key) => key,
            Err(error) => {
                list.skipped.push((self.line, error.to_string()));
                return Ok(());
            }
        };
        let no_qpd = || wrong(self.line, "this log has no `qpd`, a decimal number from 1 to 2147483647");
        let qpd = self.qpd.and_then(parse_qpd).ok_or_else(no_qpd)?;
        let keys = LogKeys::new(self.origin.unwrap_or_else(|| key.name()), vec![key.clone()]);
        let keys = keys.map_err(|error| wrong(self.line, &error.to_string()))?;
        list.logs.push(ListedLog { keys, qpd, contact: self.contact.map(str::to_owned) });
        Ok(())
    }
}

fn parse_qpd(text: &str) -> Option<NonZeroU32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<u32>().ok().filter(|number| digits && *number < QPD_END)?;
    NonZeroU32::new(number)
}

fn wrong(line: usize, why: &str) -> ListError {
    ListError::Line { line, why: why.to_owned() }
}

#[cfg(test)]
mod tests;
