//! What a verified answer is worth: the quorum, the time for which it holds, and the verdicts (FORMATS §5).

use glasslog_core::{Hash, LeafIndex, checkpoint::VerifiedCheckpoint};

use crate::pin::Pins;

/// How old an answer may be and still be called current, in seconds: 24 hours.
pub const DEFAULT_MAX_AGE: u64 = 24 * 60 * 60;

/// What stands behind a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether the counting cosignatures fill the quorum. If not, nothing may rest on this checkpoint.
    pub quorum_filled: bool,
    /// The witnesses that count, by the policy's names.
    pub counted: Vec<String>,
    /// Keys of the policy whose signatures are there and cannot be checked by this program.
    pub unchecked: Vec<String>,
    /// Whether two sets of witnesses without a common member fill the quorum: honest witnesses could then cosign two
    /// views. Always true without witnesses, where it goes without saying.
    pub disjoint_quorums: bool,
    /// For which time it holds.
    pub freshness: Freshness,
}

/// How new an answer has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Demand {
    /// No older than [`DEFAULT_MAX_AGE`], if there is a time at all.
    #[default]
    Usual,
    /// No older than so many seconds.
    MaxAge(u64),
    /// Of this time, in seconds since 1970, or later: nothing is said about now.
    AsOf(u64),
}

impl Demand {
    /// The oldest time, in seconds since 1970, that will do at the time `now`.
    fn oldest(self, now: u64) -> u64 {
        match self {
            Demand::Usual => now.saturating_sub(DEFAULT_MAX_AGE),
            Demand::MaxAge(age) => now.saturating_sub(age),
            Demand::AsOf(time) => time,
        }
    }

    /// Whether somebody asked for it, so that an unknown time will not do.
    #[must_use]
    pub fn is_explicit(self) -> bool {
        self != Demand::Usual
    }
}

/// For which time an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As of a time (seconds since 1970) that is new enough.
    Fresh {
        /// The time.
        as_of: u64,
    },
    /// As of a time that is older.
    Stale {
        /// The time.
        as_of: u64,
    },
    /// Nobody who is pinned has said a time.
    Unknown {
        /// Whether that is not good enough, because one was asked for.
        demanded: bool,
    },
}

impl Standing {
    /// Weighs `checkpoint` at the time `now`, in seconds since 1970.
    #[must_use]
    pub fn new(pins: &Pins, checkpoint: &VerifiedCheckpoint, now: u64, demand: Demand) -> Standing {
        let policy = pins.policy();
        let evaluation = policy.evaluate(checkpoint.cosignatures(), now);
        Standing {
            quorum_filled: evaluation.filled,
            counted: evaluation.counted,
            unchecked: checkpoint.unchecked().iter().map(|key| key.name().to_owned()).collect(),
            disjoint_quorums: policy.has_disjoint_quorums(),
            freshness: Freshness::new(evaluation.as_of, now, demand),
        }
    }
}

impl Freshness {
    fn new(as_of: Option<u64>, now: u64, demand: Demand) -> Freshness {
        match as_of {
            Some(as_of) if as_of >= demand.oldest(now) => Freshness::Fresh { as_of },
            Some(as_of) => Freshness::Stale { as_of },
            None => Freshness::Unknown { demanded: demand.is_explicit() },
        }
    }

    /// Whether the answer is too old, or of unknown age where an age was asked for (exit code 3).
    #[must_use]
    pub fn is_too_old(&self) -> bool {
        matches!(self, Freshness::Stale { .. } | Freshness::Unknown { demanded: true })
    }
}

/// What a log says about one record of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the log. Whether it is the latest was not asked.
    Logged {
        /// Where.
        index: LeafIndex,
    },
    /// It is the latest entry of its path.
    Current {
        /// Where.
        index: LeafIndex,
    },
    /// It is in the log; since then other metadata of the same artifact were logged.
    PatchedSince {
        /// Where.
        index: LeafIndex,
        /// The latest entry of the path.
        latest: LeafIndex,
    },
    /// It is in the log; since then the path was removed.
    RemovedSince {
        /// Where.
        index: LeafIndex,
        /// The tombstone.
        latest: LeafIndex,
    },
    /// It is in the log; a newer record of the path lacks a hash that the file was held to before: nobody drops one
    /// honestly (FORMATS §4).
    HashDropped {
        /// Where.
        index: LeafIndex,
        /// The newest record that lacks one.
        latest: LeafIndex,
    },
    /// The log holds another artifact under the path, or did since the record was logged.
    Replaced {
        /// The newest entry that holds it.
        latest: LeafIndex,
        /// The artifact of the record, as far as it says: sha256, else md5, else size.
        ours: String,
        /// The artifact in the log, likewise.
        theirs: String,
    },
    /// The log holds the artifact under the path, and never with these metadata.
    Differs {
        /// The newest record of the path; a tombstone may have followed.
        latest: LeafIndex,
        /// The leaf hash of the record.
        ours: Hash,
        /// The leaf hash of that entry.
        theirs: Hash,
    },
    /// The entry at the index that was named is of something else.
    Elsewhere {
        /// The index.
        index: LeafIndex,
    },
    /// The log has no record of the path.
    NotLogged,
}

impl Verdict {
    /// Whether the verdict speaks about *now*, so that it is worth no more than the time for which it holds.
    ///
    /// "Patched since" and "removed since" do: each also says that the file was not replaced until then.
    #[must_use]
    pub fn needs_freshness(&self) -> bool {
        match self {
            Verdict::Current { .. }
            | Verdict::PatchedSince { .. }
            | Verdict::RemovedSince { .. }
            | Verdict::HashDropped { .. }
            | Verdict::NotLogged => true,
            Verdict::Logged { .. }
            | Verdict::Replaced { .. }
            | Verdict::Differs { .. }
            | Verdict::Elsewhere { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Demand, Freshness};

    /// FORMATS §5: stale iff T < now − max_age, 24 h by default; "time unknown" fails only when an age was asked for.
    #[test]
    fn freshness_has_its_limits_where_the_rule_says() {
        let now = 1_000_000;
        let cases = [
            (Some(now), None, false),
            (Some(now + 200), None, false),
            (Some(now - 86_400), None, false),
            (Some(now - 86_401), None, true),
            (Some(now - 60), Some(60), false),
            (Some(now - 61), Some(60), true),
            (Some(now - 86_401), Some(100_000), false),
            (Some(0), Some(u64::MAX), false),
            (None, None, false),
            (None, Some(60), true),
        ];
        for (as_of, max_age, too_old) in cases {
            let freshness = Freshness::new(as_of, now, max_age.map_or(Demand::Usual, Demand::MaxAge));
            assert_eq!(freshness.is_too_old(), too_old, "{as_of:?} {max_age:?}");
        }
        // As of a time: what is older than it says nothing of it, however late one asks.
        for (as_of, too_old) in [(Some(5000), false), (Some(4999), true), (Some(now), false), (None, true)] {
            let freshness = Freshness::new(as_of, now, Demand::AsOf(5000));
            assert_eq!(freshness.is_too_old(), too_old, "{as_of:?}");
        }
    }
}
