//! Trust policies (c2sp.org/tlog-policy): which logs, which witnesses, and how many of them.
//!
//! [`Policy::parse`] reads the whole grammar. [`Policy::evaluate`] counts verified cosignatures as FORMATS §5 says: is the
//! quorum filled, and as of when? Several witness lines whose keys share a name, or that share a URL, are *one*
//! witness and count once. A log's own cosigner, which is named as the log's origin, may stand on a log line or on a
//! witness line; it tells the time with `quorum none`, and never counts towards a quorum of others.

mod quorum;
mod text;

use alloc::{string::String, vec::Vec};

use crate::checkpoint::{CheckpointError, VerifiedCheckpoint};
use crate::cosignature::VerifiedCosignature;
use crate::note::{Algorithm, KeyError, MlDsa44, Note, VerifierKey};
use quorum::Quorum;

/// How far a cosigner's clock may run ahead, in seconds, for its cosignature to count.
pub const MAX_CLOCK_LEAD: u64 = 5 * 60;

/// The most logs, and the most witnesses, and the most groups in one policy; the specification asks for at least 32.
pub const MAX_LINES_OF_A_KIND: usize = 256;

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Something on one line.
    #[error("policy line {line}: {problem}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        problem: LineProblem,
    },
    /// There is no quorum line.
    #[error("policy has no quorum line; `quorum none` asks for no witness")]
    NoQuorum,
    /// Not even all witnesses together fill the quorum.
    #[error(
        "all witnesses together cannot fill the quorum: keys of one name, or one URL, count once, \
         and a cosigner named as the log does not count"
    )]
    Unsatisfiable,
    /// Witnesses of several keys are spread over the groups in too many ways.
    #[error(
        "too many witnesses have several keys in different groups; put the keys of a witness in one `any` group"
    )]
    TooComplex,
    /// One `name=url=vkey` of a list of witnesses.
    #[error("witness {0:?}: {1}")]
    Setting(String, LineProblem),
    /// A quorum that the list of witnesses cannot fill.
    #[error("a quorum of {quorum} needs as many witnesses; there are {witnesses}")]
    QuorumSize {
        /// What was asked for.
        quorum: usize,
        /// How many distinct witnesses there are.
        witnesses: usize,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// A byte that a policy may not hold.
    #[error("byte 0x{0:02x} is not allowed{hint}", hint = if *.0 == b'\r' { "; lines end with a newline alone, not with CRLF" } else { "" })]
    Byte(u8),
    /// The last line.
    #[error("does not end in a newline")]
    Unterminated,
    /// The first word, or the number of words.
    #[error(
        "expected `log <vkey> [<url>]`, `witness <name> <vkey> [<url>]`, `group <name> <k> <name>...` or `quorum <name>`"
    )]
    Syntax,
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key whose text is not UTF-8.
    #[error("the key is not UTF-8")]
    KeyText,
    /// A witness cosigns, so its key is of type 0x04 or 0x06.
    #[error("{0} has signature type 0x01; a witness key has 0x04 or 0x06")]
    NotACosigner(String),
    /// The public key stands on another line already, whatever it is called there.
    #[error("the public key of {0} stands in this policy already")]
    DuplicateKey(String),
    /// The name is taken.
    #[error("the name {0:?} is defined already, or is `none`")]
    NameTaken(String),
    /// The name stands on no line above.
    #[error("{0:?} is not defined above")]
    UnknownName(String),
    /// A name may stand in one group, once.
    #[error("{0:?} is a member of a group already")]
    MemberTwice(String),
    /// The threshold.
    #[error("the threshold {0:?} is not `any`, `all` or a number from 1 to the number of members")]
    Threshold(String),
    /// A policy has one quorum.
    #[error("a second quorum line")]
    SecondQuorum,
    /// A bound.
    #[error("more than {MAX_LINES_OF_A_KIND} lines of this kind")]
    TooMany,
    /// The log's own key, named as its origin.
    #[error("{0} is named as the log itself, whose own cosigner is no external witness")]
    OwnCosigner(String),
    /// A setting is not `name=url=vkey`.
    #[error("expected name=url=vkey")]
    Setting,
    /// A name or URL of a setting that no line of a policy could hold.
    #[error("{0:?} has a space or a control character in it")]
    Blank(String),
}

/// A log that the policy accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key; the key's name is the log's origin.
    pub key: VerifierKey,
    /// Where it is, if the policy says so.
    pub url: Option<String>,
}

/// A witness that the policy knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWitness {
    /// What groups and the quorum call it: the policy's own word.
    pub name: String,
    /// Its key, of type 0x04 or 0x06.
    pub key: VerifierKey,
    /// Where it takes submissions, if the policy says so.
    pub url: Option<String>,
}

/// Which checkpoints to believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    quorum: Option<Quorum>,
}

/// How cosignatures fare under a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// Whether those that count fill the quorum; always so with `quorum none`.
    pub filled: bool,
    /// The as-of time T in seconds since 1970: the largest T such that the counting ones from T on fill the quorum. With
    /// `quorum none`, the newest time of a log's own pinned cosigner. `None`: not filled, or the time is not known.
    pub as_of: Option<u64>,
    /// The names of the witnesses that count, in the order of the policy; none with `quorum none`.
    pub counted: Vec<String>,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    ///
    /// [`PolicyError`], which names the line.
    pub fn parse(file: &[u8]) -> Result<Policy, PolicyError> {
        text::parse(file)
    }

    /// No witnesses are asked for: `quorum none`.
    #[must_use]
    pub fn without_witnesses(log_keys: &[VerifierKey]) -> Policy {
        Policy { logs: Vec::new(), witnesses: Vec::new(), quorum: None }.for_logs(log_keys)
    }

    /// Any `quorum` of the witnesses in `settings`, the value of `EXTERNAL_WITNESSES`: `name=url=vkey`, with commas between
    /// them. `None` asks for a majority; an empty list, or a quorum of 0, for no witness at all.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Setting`] naming the one that is wrong; [`PolicyError::QuorumSize`].
    pub fn from_settings(
        log_keys: &[VerifierKey],
        settings: &str,
        quorum: Option<usize>,
    ) -> Result<Policy, PolicyError> {
        let witnesses = text::parse_settings(settings, log_keys)?;
        let quorum = Quorum::of_distinct(&witnesses, quorum)?;
        Ok(Policy { witnesses, quorum, ..Policy::without_witnesses(log_keys) })
    }

    /// The same policy, in which `verifier` checks what ML-DSA-44 keys sign; without one such cosignatures never count.
    #[must_use]
    pub fn checked_by(mut self, verifier: &'static dyn MlDsa44) -> Policy {
        let logs = self.logs.iter_mut().map(|log| &mut log.key);
        for key in logs.chain(self.witnesses.iter_mut().map(|witness| &mut witness.key)) {
            *key = key.clone().checked_by(verifier);
        }
        self
    }

    /// The same witnesses and quorum for the logs of these keys alone, in place of those that the file accepts. A cosigner that
    /// is named as one of them does not count from now on.
    #[must_use]
    pub fn for_logs(mut self, log_keys: &[VerifierKey]) -> Policy {
        self.logs = log_keys.iter().map(|key| PolicyLog { key: key.clone(), url: None }).collect();
        self
    }

    /// The logs that are accepted, in the order of the file.
    #[must_use]
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses, in the order of the file.
    #[must_use]
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// How many witnesses these are: those that share a name or a URL are one (FORMATS §5).
    #[must_use]
    pub fn distinct_witnesses(&self) -> usize {
        quorum::count_distinct(&self.witnesses)
    }

    /// Whether no witness is asked for.
    #[must_use]
    pub fn is_quorum_none(&self) -> bool {
        self.quorum.is_none()
    }

    /// The keys of the log `origin`.
    #[must_use]
    pub fn log_keys(&self, origin: &str) -> Vec<VerifierKey> {
        self.logs.iter().map(|log| &log.key).filter(|key| key.name() == origin).cloned().collect()
    }

    /// The keys of all witnesses.
    #[must_use]
    pub fn witness_keys(&self) -> Vec<VerifierKey> {
        self.witnesses.iter().map(|witness| witness.key.clone()).collect()
    }

    /// The keys whose lines matter on a checkpoint of the log `origin`: those of the witnesses, without other logs' own cosigners.
    #[must_use]
    pub fn cosigner_keys(&self, origin: &str) -> Vec<VerifierKey> {
        let matters = |key: &&VerifierKey| key.name() == origin || !self.is_own(key);
        self.witnesses.iter().map(|witness| &witness.key).filter(matters).cloned().collect()
    }

    /// Whether two sets of witnesses with nobody in common both fill the quorum. Honest witnesses then cosign two views of
    /// one log, so such a policy needs an explicit override, and `verify` reports it. With `quorum none`: yes.
    #[must_use]
    pub fn has_disjoint_quorums(&self) -> bool {
        self.quorum.as_ref().is_none_or(Quorum::has_disjoint_quorums)
    }

    /// Opens a signed checkpoint of one of the policy's logs, checking every signature of a key that it names. Whether the
    /// quorum is filled is [`Policy::evaluate`]'s to say.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`], as [`VerifiedCheckpoint::open_with_witnesses`].
    pub fn open(&self, note: &[u8]) -> Result<VerifiedCheckpoint, CheckpointError> {
        let parsed = Note::parse(note)?;
        let origin = parsed.text().split('\n').next().unwrap_or_default();
        let log_keys = self.log_keys(origin);
        if log_keys.is_empty() {
            return Err(CheckpointError::UnknownLog(origin.into()));
        }
        VerifiedCheckpoint::open_with_witnesses(note, origin, &log_keys, &self.cosigner_keys(origin))
    }

    /// Counts `cosignatures`, of one checkpoint, at the time `now` in seconds since 1970.
    ///
    /// Those from more than [`MAX_CLOCK_LEAD`] after `now`, those without a time (an ML-DSA-44 cosigner that does not say
    /// that this is the largest tree it saw), and those of keys that are no witness here, do not count.
    #[must_use]
    pub fn evaluate(&self, cosignatures: &[VerifiedCosignature], now: u64) -> Evaluation {
        let in_time = |time: &u64| (1..=now.saturating_add(MAX_CLOCK_LEAD)).contains(time);
        let newest = |key: &VerifierKey| {
            cosignatures
                .iter()
                .filter(|c| c.key() == key)
                .map(VerifiedCosignature::time)
                .filter(in_time)
                .max()
        };
        let Some(quorum) = &self.quorum else {
            return Evaluation {
                filled: true,
                as_of: self.own_cosigners().filter_map(newest).max(),
                counted: Vec::new(),
            };
        };
        let others =
            |witness: &PolicyWitness| if self.is_own(&witness.key) { None } else { newest(&witness.key) };
        let times: Vec<Option<u64>> = self.witnesses.iter().map(others).collect();
        let counted = self.witnesses.iter().zip(&times).filter(|(_, time)| time.is_some());
        let counted = counted.map(|(witness, _)| witness.name.clone()).collect();
        let as_of = quorum.as_of(&times);
        Evaluation { filled: as_of.is_some(), as_of, counted }
    }

    /// Whether the witnesses of whose keys `holds` is true fill the quorum; always so with `quorum none`.
    #[must_use]
    pub fn is_filled_by(&self, holds: impl Fn(&VerifierKey) -> bool) -> bool {
        let Some(quorum) = &self.quorum else { return true };
        let held = |witness: &PolicyWitness| !self.is_own(&witness.key) && holds(&witness.key);
        let times: Vec<Option<u64>> =
            self.witnesses.iter().map(|witness| held(witness).then_some(1)).collect();
        quorum.as_of(&times).is_some()
    }

    /// Whether `key` is named as one of the policy's logs.
    fn is_own(&self, key: &VerifierKey) -> bool {
        self.logs.iter().any(|log| log.key.name() == key.name())
    }

    fn own_cosigners(&self) -> impl Iterator<Item = &VerifierKey> {
        let on_witness_lines =
            self.witnesses.iter().map(|witness| &witness.key).filter(|key| self.is_own(key));
        self.logs.iter().map(|log| &log.key).chain(on_witness_lines)
    }
}

/// Whether `key` can be a witness's.
fn is_cosigner(key: &VerifierKey) -> bool {
    matches!(key.algorithm(), Algorithm::CosignatureV1 | Algorithm::MlDsa44)
}

#[cfg(test)]
mod tests;
