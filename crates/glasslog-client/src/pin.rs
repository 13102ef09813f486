//! What a reader trusts: keys and a policy from its own configuration, never from the log's answers.

use glasslog_core::{
    checkpoint::{CheckpointError, VerifiedCheckpoint},
    note::VerifierKey,
    policy::Policy,
};

/// The pinned keys of one or more logs, and which witnesses must have cosigned.
#[derive(Clone, Debug)]
pub struct Pins {
    log_keys: Vec<VerifierKey>,
    policy: Policy,
}

impl Pins {
    /// The keys of logs alone: no witness is asked for.
    #[must_use]
    pub fn of_keys(log_keys: &[VerifierKey]) -> Pins {
        Pins { log_keys: log_keys.to_vec(), policy: Policy::without_witnesses(log_keys) }
    }

    /// A policy. If `log_keys` are given too, only they are accepted: the policy then says no more than which witnesses.
    #[must_use]
    pub fn of_policy(policy: Policy, log_keys: &[VerifierKey]) -> Pins {
        if !log_keys.is_empty() {
            return Pins { log_keys: log_keys.to_vec(), policy: policy.for_logs(log_keys) };
        }
        Pins { log_keys: policy.logs().iter().map(|log| log.key.clone()).collect(), policy }
    }

    /// Whether any log at all is accepted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.log_keys.is_empty()
    }

    /// The one log that is pinned; `None` if it is none, or one of several: then an answer could be of another log than was
    /// asked.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        let first = self.log_keys.first()?.name();
        self.log_keys.iter().all(|key| key.name() == first).then_some(first)
    }

    /// The pinned keys of the log `origin`.
    #[must_use]
    pub fn log_keys(&self, origin: &str) -> Vec<VerifierKey> {
        self.log_keys.iter().filter(|key| key.name() == origin).cloned().collect()
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Opens a checkpoint of a pinned log; the witnesses' signatures are checked with it, and counted by
    /// [`crate::verdict::Standing`].
    ///
    /// # Errors
    ///
    /// [`CheckpointError`]: another log, another key, a wrong signature of any pinned key, or no checkpoint at all.
    pub fn open(&self, note: &[u8]) -> Result<VerifiedCheckpoint, CheckpointError> {
        // The origin only selects the keys; `open_with_witnesses` reads it again from the verified text.
        let origin = note.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let origin = String::from_utf8_lossy(origin);
        let keys = self.log_keys(&origin);
        if keys.is_empty() {
            // A pinned key of another name does not do: what was seen of a log is remembered by its origin, and a log
            // that could sign under a fresh one would never be compared with its past.
            return Err(CheckpointError::UnknownLog(origin.into_owned()));
        }
        VerifiedCheckpoint::open_with_witnesses(note, &origin, &keys, &self.policy.cosigner_keys(&origin))
    }
}
