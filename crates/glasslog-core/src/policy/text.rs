//! The two spellings of a policy: the file of c2sp.org/tlog-policy, and the list of `EXTERNAL_WITNESSES`.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use super::quorum::{Quorum, Rule};
use super::{LineProblem, MAX_LINES_OF_A_KIND, Policy, PolicyError, PolicyLog, PolicyWitness, is_cosigner};
use crate::note::VerifierKey;

/// Reads a policy file.
pub(super) fn parse(file: &[u8]) -> Result<Policy, PolicyError> {
    let mut reader = Reader::default();
    for (index, line) in file.split_inclusive(|byte| *byte == b'\n').enumerate() {
        reader.line(line).map_err(|problem| PolicyError::Line { line: index + 1, problem })?;
    }
    let policy = Policy { logs: reader.logs, witnesses: reader.witnesses, quorum: None };
    let quorum = match reader.quorum.ok_or(PolicyError::NoQuorum)? {
        None => None,
        Some(rule) => Some(Quorum::new(&rule, &policy.witnesses, |key| !policy.is_own(key))?),
    };
    Ok(Policy { quorum, ..policy })
}

/// What the lines so far have defined. Names are opaque octets.
#[derive(Default)]
struct Reader {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: usize,
    names: Vec<Definition>,
    /// The outer `None`: no quorum line yet; the inner one: `quorum none`.
    quorum: Option<Option<Rule>>,
}

struct Definition {
    name: Vec<u8>,
    /// Taken away when the name becomes a member of a group: it may be that once.
    rule: Rule,
    is_member: bool,
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<(), LineProblem> {
        let line = line.strip_suffix(b"\n").ok_or(LineProblem::Unterminated)?;
        if let Some(byte) = line.iter().find(|byte| matches!(byte, 0..=0x08 | 0x0b..=0x1f | 0x7f)) {
            return Err(LineProblem::Byte(*byte));
        }
        let words: Vec<&[u8]> = line.split(|b| matches!(b, b' ' | b'\t')).filter(|w| !w.is_empty()).collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key] => self.log(key, None),
            [b"log", key, url] => self.log(key, Some(url)),
            [b"witness", name, key] => self.witness(name, key, None),
            [b"witness", name, key, url] => self.witness(name, key, Some(url)),
            [b"group", name, threshold, members @ ..] if !members.is_empty() => {
                self.group(name, threshold, members)
            }
            [b"quorum", name] => self.quorum(name),
            _ => Err(LineProblem::Syntax),
        }
    }

    fn log(&mut self, key: &[u8], url: Option<&[u8]>) -> Result<(), LineProblem> {
        check_count(self.logs.len())?;
        let key = self.key(key)?;
        self.logs.push(PolicyLog { key, url: url.map(display) });
        Ok(())
    }

    fn witness(&mut self, name: &[u8], key: &[u8], url: Option<&[u8]>) -> Result<(), LineProblem> {
        check_count(self.witnesses.len())?;
        let key = self.key(key)?;
        if !is_cosigner(&key) {
            return Err(LineProblem::NotACosigner(key.name().to_owned()));
        }
        self.define(name, Rule::Witness(self.witnesses.len()))?;
        self.witnesses.push(PolicyWitness { name: display(name), key, url: url.map(display) });
        Ok(())
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], members: &[&[u8]]) -> Result<(), LineProblem> {
        check_count(self.groups)?;
        let threshold = match threshold {
            b"any" => 1,
            b"all" => members.len(),
            number => parse_threshold(number)
                .filter(|k| (1..=members.len()).contains(k))
                .ok_or_else(|| LineProblem::Threshold(display(number)))?,
        };
        let members = members.iter().map(|member| self.member(member)).collect::<Result<_, _>>()?;
        self.define(name, Rule::Group { threshold, members })?;
        self.groups += 1;
        Ok(())
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), LineProblem> {
        if self.quorum.is_some() {
            return Err(LineProblem::SecondQuorum);
        }
        let rule = if name == b"none" { None } else { Some(self.defined(name)?.rule.clone()) };
        self.quorum = Some(rule);
        Ok(())
    }

    /// "Each defined name can be listed as a group member at most once."
    fn member(&mut self, name: &[u8]) -> Result<Rule, LineProblem> {
        let definition = self.defined(name)?;
        if core::mem::replace(&mut definition.is_member, true) {
            return Err(LineProblem::MemberTwice(display(name)));
        }
        Ok(definition.rule.clone())
    }

    fn defined(&mut self, name: &[u8]) -> Result<&mut Definition, LineProblem> {
        let found = self.names.iter_mut().find(|definition| definition.name == name);
        found.ok_or_else(|| LineProblem::UnknownName(display(name)))
    }

    /// Witnesses and groups share one name space, in which `none` is taken.
    fn define(&mut self, name: &[u8], rule: Rule) -> Result<(), LineProblem> {
        if name == b"none" || self.defined(name).is_ok() {
            return Err(LineProblem::NameTaken(display(name)));
        }
        self.names.push(Definition { name: name.to_vec(), rule, is_member: false });
        Ok(())
    }

    /// A vkey whose public key is new here, whether a log's or a witness's: keys are distinct (FORMATS §5).
    fn key(&self, text: &[u8]) -> Result<VerifierKey, LineProblem> {
        let text = core::str::from_utf8(text).map_err(|_| LineProblem::KeyText)?;
        let key: VerifierKey = text.parse()?;
        let known = self.logs.iter().map(|log| &log.key).chain(self.witnesses.iter().map(|w| &w.key));
        check_distinct(&key, known)?;
        Ok(key)
    }
}

/// Reads `name=url=vkey,…`.
pub(super) fn parse_settings(
    settings: &str,
    log_keys: &[VerifierKey],
) -> Result<Vec<PolicyWitness>, PolicyError> {
    let mut witnesses: Vec<PolicyWitness> = Vec::new();
    for setting in settings.split(',').map(str::trim).filter(|setting| !setting.is_empty()) {
        let refused = |problem| PolicyError::Setting(setting.into(), problem);
        check_count(witnesses.len()).map_err(refused)?;
        let witness = parse_setting(setting).map_err(refused)?;
        let known = log_keys.iter().chain(witnesses.iter().map(|witness| &witness.key));
        check_distinct(&witness.key, known).map_err(refused)?;
        if log_keys.iter().any(|log| log.name() == witness.key.name()) {
            return Err(refused(LineProblem::OwnCosigner(witness.key.name().into())));
        }
        witnesses.push(witness);
    }
    Ok(witnesses)
}

/// The name ends at the first `=`. URL and key name may hold more of them, so the vkey is the end that *is* one: its key ID
/// depends on where the name begins.
fn parse_setting(setting: &str) -> Result<PolicyWitness, LineProblem> {
    let (name, rest) = setting.split_once('=').ok_or(LineProblem::Setting)?;
    let name = name.trim();
    if name == "none" {
        return Err(LineProblem::NameTaken(name.into()));
    }
    let mut problem = LineProblem::Setting;
    for (at, _) in rest.match_indices('=').filter(|(at, _)| *at > 0) {
        match rest[at + 1..].trim().parse::<VerifierKey>() {
            Ok(key) if !is_cosigner(&key) => return Err(LineProblem::NotACosigner(key.name().into())),
            Ok(key) if !name.is_empty() => {
                let url = rest[..at].trim();
                // What is asked for can be written as a policy file too, for verifiers.
                let is_blank = |c: char| c.is_whitespace() || c.is_control();
                return match [name, url].iter().find(|word| word.contains(is_blank)) {
                    Some(word) => Err(LineProblem::Blank((*word).into())),
                    None => Ok(PolicyWitness { name: name.into(), key, url: Some(url.into()) }),
                };
            }
            Ok(_) => return Err(LineProblem::Setting),
            Err(error) => problem = closer(problem, error),
        }
    }
    Err(problem)
}

/// Of the errors of several readings, the first that comes from a text in the shape of a key is the one to show.
fn closer(old: LineProblem, new: crate::note::KeyError) -> LineProblem {
    match (&old, &new) {
        (LineProblem::Setting, crate::note::KeyError::NotAVerifierKey) => old,
        (LineProblem::Setting, _) => LineProblem::Key(new),
        _ => old,
    }
}

fn check_distinct<'a>(
    key: &VerifierKey,
    mut known: impl Iterator<Item = &'a VerifierKey>,
) -> Result<(), LineProblem> {
    if known.any(|old| old.public_key() == key.public_key()) {
        return Err(LineProblem::DuplicateKey(key.name().into()));
    }
    Ok(())
}

fn check_count(lines: usize) -> Result<(), LineProblem> {
    if lines < MAX_LINES_OF_A_KIND { Ok(()) } else { Err(LineProblem::TooMany) }
}

/// "If k is given numerically, it must be written in decimal": no sign, no leading zero.
fn parse_threshold(word: &[u8]) -> Option<usize> {
    let text = core::str::from_utf8(word).ok()?;
    crate::checkpoint::parse_decimal(text).and_then(|k| usize::try_from(k).ok())
}

/// Names and URLs may hold any octets from 0x80 up. They are compared as they are, and shown as well as can be.
fn display(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
