//! The walk through the file.

use std::io::Read;

use glasslog_core::{MAX_ENTRY_BYTES, json::JsonError};

use super::{
    Event, Fault, MAX_RECORD_BYTES, ReadError, Refusal, Section, Summary,
    emit::{Emitter, MAX_RECORD_DEPTH},
    input::Input,
    scan::{ScanError, read_string, scan_record, skip_value, token},
};
use crate::names::{Repo, Subdir};

/// Reads plain repodata JSON and hands everything that it lists to `visit`, in the order of the file.
///
/// The entries say `repo` and `subdir`, whatever the records say. An error of `visit` ends the reading.
///
/// # Errors
///
/// [`ReadError`] when the file ends too early or is not JSON, when `reader` fails, or when `visit` does. What came
/// before has been handed over.
pub fn read<R, E, V>(reader: R, repo: &Repo, subdir: &Subdir, visit: V) -> Result<Summary, ReadError<E>>
where
    R: Read,
    V: FnMut(Event<'_>) -> Result<(), E>,
{
    let mut walk =
        Walk { input: Input::new(reader), emitter: Emitter::new(repo, subdir, visit), met: [false; 4] };
    let result = walk.file();
    let offset = walk.input.offset();
    walk.emitter.summary.bytes = offset;
    match result {
        Ok(()) => Ok(walk.emitter.summary),
        Err(fault) => Err(ReadError { fault, offset, before: Box::new(walk.emitter.summary) }),
    }
}

struct Walk<'v, R, V> {
    input: Input<R>,
    emitter: Emitter<'v, V>,
    /// Which of `packages`, `packages.conda`, `v3` and `removed` were met.
    met: [bool; 4],
}

impl<E> From<ScanError> for Fault<E> {
    fn from(error: ScanError) -> Fault<E> {
        match error {
            ScanError::Io(error) => Fault::Io(error),
            ScanError::Truncated => Fault::Truncated,
            ScanError::Malformed(what) => Fault::Malformed(what),
        }
    }
}

impl<R: Read, E, V: FnMut(Event<'_>) -> Result<(), E>> Walk<'_, R, V> {
    fn file(&mut self) -> Result<(), Fault<E>> {
        if token(&mut self.input)? != b'{' {
            return Err(Fault::Malformed("repodata begins with {"));
        }
        self.members(Self::top_level)?;
        match token(&mut self.input) {
            Err(ScanError::Truncated) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Err(Fault::Malformed("something follows the end of the repodata")),
        }
    }

    fn top_level(&mut self, key: &str, offset: u64) -> Result<(), Fault<E>> {
        match key {
            "packages" => self.once(0)?.section(Section::Packages, key, offset),
            "packages.conda" => self.once(1)?.section(Section::PackagesConda, key, offset),
            "v3" => self.once(2)?.object(key, offset, Self::extension),
            "removed" => self.once(3)?.removed(offset),
            "info" | "repodata_version" | "signatures" => Ok(skip_value(&mut self.input)?),
            _ => {
                self.emitter.unknown_key(key).map_err(Fault::Visitor)?;
                Ok(skip_value(&mut self.input)?)
            }
        }
    }

    /// Which of two equal keys counts differs between readers, so nobody can say what such a file lists.
    fn once(&mut self, section: usize) -> Result<&mut Self, Fault<E>> {
        if let Some(met) = self.met.get_mut(section) {
            if *met {
                return Err(Fault::Malformed("a section stands twice"));
            }
            *met = true;
        }
        Ok(self)
    }

    /// v3 files its records under their extension, and leaves it out of their names (CEP 48).
    fn extension(&mut self, extension: &str, offset: u64) -> Result<(), Fault<E>> {
        self.emitter.enter(Section::V3, Some(extension));
        self.records(extension, offset)
    }

    fn section(&mut self, section: Section, key: &str, offset: u64) -> Result<(), Fault<E>> {
        self.emitter.enter(section, None);
        self.records(key, offset)
    }

    /// Goes through an object whose values are records, at full speed as long as nothing is unusual.
    fn records(&mut self, key: &str, offset: u64) -> Result<(), Fault<E>> {
        if !self.open_object(key, offset)? {
            return Ok(());
        }
        loop {
            if self.burst()? {
                return Ok(());
            }
            if !self.member(Self::record)? {
                return Ok(());
            }
        }
    }

    /// Takes as many whole, well-behaved members as the buffer holds; true when the object ended with one of them.
    fn burst(&mut self) -> Result<bool, Fault<E>> {
        let text = valid_prefix(self.input.unread());
        let begin = self.input.offset();
        let mut used = 0;
        let mut ended = false;
        while let Some((key, start)) = plain_key(text, used) {
            let Ok(length) = self.emitter.canonicalize(text.get(start..).unwrap_or_default()) else { break };
            let end = start + length;
            let (next, byte) = after_space(text, end);
            let following = match byte {
                Some(b',') => after_space(text, next + 1),
                Some(b'}') => (next + 1, Some(b'"')),
                _ => break,
            };
            let (next, Some(b'"')) = following else { break };
            let served = text.as_bytes().get(start..end).unwrap_or_default();
            let handed = self.emitter.canonical_record(key, served, begin + used as u64);
            used = next;
            ended = byte == Some(b'}');
            if let Err(error) = handed {
                self.input.consume(used);
                return Err(Fault::Visitor(error));
            }
            if ended {
                break;
            }
        }
        self.input.consume(used);
        Ok(ended)
    }

    /// Takes the record that comes next, however long or odd it is.
    fn record(&mut self, key: &str, offset: u64) -> Result<(), Fault<E>> {
        if token(&mut self.input)? != b'{' {
            skip_value(&mut self.input)?;
            return self.emitter.refuse(key, Refusal::NotAnObject, offset).map_err(Fault::Visitor);
        }
        loop {
            let text = valid_prefix(self.input.unread());
            let text = text.get(..text.floor_char_boundary(MAX_RECORD_BYTES)).unwrap_or_default();
            match self.emitter.canonicalize(text) {
                Ok(length) => {
                    let served = text.as_bytes().get(..length).unwrap_or_default();
                    self.emitter.canonical_record(key, served, offset).map_err(Fault::Visitor)?;
                    self.input.consume(length);
                    break;
                }
                Err(JsonError::UnexpectedEnd { .. })
                    if self.input.more(MAX_RECORD_BYTES).map_err(Fault::Io)? => {}
                Err(_) => {
                    let (raw, artifact) = scan_record(&mut self.input, MAX_RECORD_DEPTH)?;
                    self.emitter.raw_record(key, raw, &artifact, offset).map_err(Fault::Visitor)?;
                    break;
                }
            }
        }
        self.input.shrink();
        Ok(())
    }

    fn removed(&mut self, offset: u64) -> Result<(), Fault<E>> {
        if token(&mut self.input)? != b'[' {
            return self.not_a_section("removed", Refusal::RemovedNotNames, offset);
        }
        self.input.consume(1);
        if token(&mut self.input)? == b']' {
            self.input.consume(1);
            return Ok(());
        }
        loop {
            let offset = self.input.offset();
            if token(&mut self.input)? == b'"' {
                let name = read_string(&mut self.input, MAX_ENTRY_BYTES)?;
                let handed = match unusable(name.cut, name.surrogate) {
                    Some(why) => self.emitter.refuse(&name.text, why, offset),
                    None => self.emitter.removed(&name.text),
                };
                handed.map_err(Fault::Visitor)?;
            } else {
                skip_value(&mut self.input)?;
                self.emitter.refuse("removed", Refusal::RemovedNotNames, offset).map_err(Fault::Visitor)?;
            }
            match token(&mut self.input)? {
                b',' => self.input.consume(1),
                b']' => {
                    self.input.consume(1);
                    return Ok(());
                }
                _ => return Err(Fault::Malformed("expected a comma or the end of removed")),
            }
        }
    }

    fn object(
        &mut self,
        key: &str,
        offset: u64,
        visit: impl FnMut(&mut Self, &str, u64) -> Result<(), Fault<E>>,
    ) -> Result<(), Fault<E>> {
        if token(&mut self.input)? == b'{' {
            self.members(visit)
        } else {
            self.open_object(key, offset).map(drop)
        }
    }

    /// Goes through the members of the object that begins here.
    fn members(
        &mut self,
        mut visit: impl FnMut(&mut Self, &str, u64) -> Result<(), Fault<E>>,
    ) -> Result<(), Fault<E>> {
        if !self.open_object("", 0)? {
            return Ok(());
        }
        while self.member(&mut visit)? {}
        Ok(())
    }

    /// Whether an object with a first member begins here, whose name then comes next. Anything else is used up.
    fn open_object(&mut self, key: &str, offset: u64) -> Result<bool, Fault<E>> {
        if token(&mut self.input)? != b'{' {
            self.not_a_section(key, Refusal::SectionNotAnObject, offset)?;
            return Ok(false);
        }
        self.input.consume(1);
        let empty = token(&mut self.input)? == b'}';
        if empty {
            self.input.consume(1);
        }
        Ok(!empty)
    }

    /// Skips what stands where a section should; null lists nothing, so that nothing is lost.
    fn not_a_section(&mut self, key: &str, why: Refusal, offset: u64) -> Result<(), Fault<E>> {
        let null = token(&mut self.input)? == b'n';
        skip_value(&mut self.input)?;
        if null { Ok(()) } else { self.emitter.refuse(key, why, offset).map_err(Fault::Visitor) }
    }

    /// Takes one member, whose name comes next; false when the object ends after it.
    fn member(
        &mut self,
        mut visit: impl FnMut(&mut Self, &str, u64) -> Result<(), Fault<E>>,
    ) -> Result<bool, Fault<E>> {
        token(&mut self.input)?;
        let offset = self.input.offset();
        let name = read_string(&mut self.input, MAX_ENTRY_BYTES)?;
        if token(&mut self.input)? != b':' {
            return Err(Fault::Malformed("expected a colon after the name of a member"));
        }
        self.input.consume(1);
        if let Some(why) = unusable(name.cut, name.surrogate) {
            skip_value(&mut self.input)?;
            self.emitter.refuse(&name.text, why, offset).map_err(Fault::Visitor)?;
        } else {
            token(&mut self.input)?;
            visit(self, &name.text, offset)?;
        }
        let more = match token(&mut self.input)? {
            b',' => true,
            b'}' => false,
            _ => return Err(Fault::Malformed("expected a comma or the end of the object")),
        };
        self.input.consume(1);
        if more {
            token(&mut self.input)?;
        }
        Ok(more)
    }
}

fn unusable(cut: bool, surrogate: bool) -> Option<Refusal> {
    match (cut, surrogate) {
        (_, true) => Some(Refusal::Surrogate),
        (true, false) => Some(Refusal::TooLong),
        (false, false) => None,
    }
}

/// As much of `bytes` as is UTF-8: a character that is cut by the end of the buffer is left out.
fn valid_prefix(bytes: &[u8]) -> &str {
    match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            bytes.get(..error.valid_up_to()).and_then(|b| str::from_utf8(b).ok()).unwrap_or_default()
        }
    }
}

/// At `text[at..]`, a name without escapes, a colon and the beginning of an object: the name, and where that is.
fn plain_key(text: &str, at: usize) -> Option<(&str, usize)> {
    let inside = text.get(at..)?.strip_prefix('"')?;
    let length = inside.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\')?;
    let (key, rest) = inside.split_at_checked(length)?;
    rest.strip_prefix('"')?;
    let (colon, b':') = (after_space(text, at + length + 2).0, after_space(text, at + length + 2).1?) else {
        return None;
    };
    let (start, byte) = after_space(text, colon + 1);
    (byte == Some(b'{')).then_some((key, start))
}

/// The first position from `at` on that is not white space, and what stands there.
fn after_space(text: &str, at: usize) -> (usize, Option<u8>) {
    let rest = text.as_bytes().get(at..).unwrap_or_default();
    let skipped = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    let next = at + skipped.unwrap_or(rest.len());
    (next, text.as_bytes().get(next).copied())
}
