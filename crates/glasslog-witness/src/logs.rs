//! Which logs a witness knows, and how often each may ask.
//!
//! What an operator sets ([`LogTable::configure`]) is taken as it is. What a list says ([`LogTable::merge_list`]) only adds:
//! it never removes a log, and never changes the keys of one that is known, which would hand the log to whoever wrote the
//! list. It is an alarm instead.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use glasslog_core::note::{MlDsa44, Note, VerifierKey};
use parking_lot::Mutex;

use crate::{decide::LogKeys, list::ListedLog};

/// The most logs that are known at once; a longer list is refused.
pub const MAX_LOGS: usize = 200_000;

/// A log that is known.
#[derive(Clone, Debug)]
pub struct KnownLog {
    /// Its origin and keys.
    pub keys: LogKeys,
    /// How many checkpoints it may have cosigned in a day; `None`: any number.
    pub qpd: Option<NonZeroU32>,
    /// Whether the operator has it refused (403), whoever listed it.
    pub disabled: bool,
    /// Who told of it.
    pub source: Source,
}

/// Who told of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The operator: a flag, a variable or a file.
    Settings,
    /// A list, by its path or URL.
    List(String),
}

/// What came of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Logs that are known from now on.
    pub added: usize,
    /// Logs that were known with these keys.
    pub known: usize,
    /// Alarms: logs whose key on the list is not the one that is trusted. Nothing was changed.
    pub key_changes: Vec<String>,
    /// Entries that were left out, and why.
    pub refused: Vec<String>,
}

/// The logs of a witness. Clones share one table, which can be changed while the witness runs.
#[derive(Clone)]
pub struct LogTable {
    inner: Arc<Inner>,
}

struct Inner {
    /// The witness's own keys: nobody's log.
    own: Vec<VerifierKey>,
    ml_dsa: Option<&'static dyn MlDsa44>,
    logs: ArcSwap<HashMap<String, Arc<Entry>>>,
    /// What is held of logs: a list must name a key that signed it.
    held: Mutex<HashMap<String, Bytes>>,
    /// Taken to change `logs`.
    changing: Mutex<()>,
    key_changes: AtomicU64,
}

/// A known log with what it has used of its budget.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) log: KnownLog,
    pub(crate) growth: Budget,
    pub(crate) refresh: Budget,
    pub(crate) subtree: Budget,
    /// Contradictions that are logged in full: each log has its own, so that no log's drown another's.
    pub(crate) reports: Budget,
}

/// The [`Entry::reports`] of a log in a day, all of which may come at once.
const REPORTS_PER_DAY: NonZeroU32 = NonZeroU32::new(24).unwrap();

/// What a query is for. Each use has a budget of its own: anybody can send a public checkpoint again, or ask for a part of
/// it, so neither must use up what the log needs to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Growth,
    Refresh,
    Subtree,
}

impl Entry {
    pub(crate) fn budget(&self, of: Use) -> &Budget {
        match of {
            Use::Growth => &self.growth,
            Use::Refresh => &self.refresh,
            Use::Subtree => &self.subtree,
        }
    }
}

/// Why the operator's logs were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogTableError {
    /// A log that is the witness itself.
    #[error("the log {origin} is named or signed as this witness itself; a witness does not cosign itself")]
    Own {
        /// The origin.
        origin: String,
    },
    /// Two logs of one origin.
    #[error("the log {0} is given twice; give all of its keys in one place")]
    Twice(String),
    /// More than [`MAX_LOGS`].
    #[error("more than {MAX_LOGS} logs")]
    TooMany,
}

impl LogTable {
    /// A table without logs, for a witness whose own keys are `own`. `ml_dsa` checks the signatures of 0x06 log keys;
    /// without it they do not count.
    #[must_use]
    pub fn new(own: &[VerifierKey], ml_dsa: Option<&'static dyn MlDsa44>) -> LogTable {
        let inner = Inner {
            own: own.to_vec(),
            ml_dsa,
            logs: ArcSwap::default(),
            held: Mutex::default(),
            changing: Mutex::new(()),
            key_changes: AtomicU64::new(0),
        };
        LogTable { inner: Arc::new(inner) }
    }

    /// Replaces all logs that the operator gave before; those of lists stay unless `logs` has them too.
    ///
    /// # Errors
    ///
    /// [`LogTableError`]; nothing was changed then.
    pub fn configure(&self, logs: Vec<KnownLog>) -> Result<(), LogTableError> {
        let _changing = self.inner.changing.lock();
        let known = self.inner.logs.load_full();
        let mut next: HashMap<String, Arc<Entry>> = known
            .iter()
            .filter(|(_, entry)| entry.log.source != Source::Settings)
            .map(|(origin, entry)| (origin.clone(), entry.clone()))
            .collect();
        let mut given = std::collections::HashSet::new();
        for log in logs {
            let origin = log.keys.origin().to_owned();
            if self.inner.is_own(&log.keys) {
                return Err(LogTableError::Own { origin });
            }
            if !given.insert(origin.clone()) {
                return Err(LogTableError::Twice(origin));
            }
            next.insert(origin.clone(), self.inner.entry(log, known.get(&origin)));
        }
        if next.len() > MAX_LOGS {
            return Err(LogTableError::TooMany);
        }
        self.inner.logs.store(Arc::new(next));
        Ok(())
    }

    /// Adds what `list`, a path or URL, says: only logs that are not known yet. Alarms are logged and counted.
    pub fn merge_list(&self, list: &str, logs: Vec<ListedLog>) -> Merged {
        let _changing = self.inner.changing.lock();
        let mut next = HashMap::clone(&self.inner.logs.load());
        let mut merged = Merged::default();
        for listed in logs {
            let origin = listed.keys.origin().to_owned();
            if self.inner.is_own(&listed.keys) {
                merged.refused.push(format!("{origin}: is named or signed as this witness itself"));
            } else if let Some(known) = next.get(&origin) {
                let trusted = listed.keys.keys().iter().all(|key| known.log.keys.keys().contains(key));
                if trusted { merged.known += 1 } else { merged.key_changes.push(origin) }
            } else if !self.inner.signed_what_is_held(&listed.keys) {
                merged.key_changes.push(origin);
            } else if next.len() >= MAX_LOGS {
                merged.refused.push(format!("{origin}: more than {MAX_LOGS} logs"));
            } else {
                let source = Source::List(list.to_owned());
                let log = KnownLog { keys: listed.keys, qpd: Some(listed.qpd), disabled: false, source };
                next.insert(origin, self.inner.entry(log, None));
                merged.added += 1;
            }
        }
        self.inner.logs.store(Arc::new(next));
        self.inner.alarm(list, &merged.key_changes);
        for refused in &merged.refused {
            tracing::warn!(list, %refused, "an entry of a list of logs was left out");
        }
        merged
    }

    /// Every known log, in no order.
    #[must_use]
    pub fn logs(&self) -> Vec<KnownLog> {
        self.inner.logs.load().values().map(|entry| entry.log.clone()).collect()
    }

    /// How many logs are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.logs.load().len()
    }

    /// Whether no log is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often a list named another key than the trusted one, since start.
    #[must_use]
    pub fn key_changes(&self) -> u64 {
        self.inner.key_changes.load(Ordering::Relaxed)
    }

    /// The same keys; those of type 0x06 are checked as the logs' are.
    pub(crate) fn checking(&self, keys: Vec<VerifierKey>) -> Vec<VerifierKey> {
        match self.inner.ml_dsa {
            Some(ml_dsa) => keys.into_iter().map(|key| key.checked_by(ml_dsa)).collect(),
            None => keys,
        }
    }

    pub(crate) fn get(&self, origin: &str) -> Option<Arc<Entry>> {
        self.inner.logs.load().get(origin).cloned()
    }

    /// How many logs the operator has refused.
    pub(crate) fn disabled(&self) -> usize {
        self.inner.logs.load().values().filter(|entry| entry.log.disabled).count()
    }

    /// Notes what is held of a log. A log that a list added before this was known, with a key that did not sign that, is
    /// taken out again: the alarm of [`LogTable::merge_list`], also after a restart.
    pub(crate) fn holds(&self, origin: &str, note: Bytes) {
        let first = self.inner.held.lock().insert(origin.to_owned(), note).is_none();
        let listed = |entry: &Arc<Entry>| matches!(entry.log.source, Source::List(_));
        if !first || !self.get(origin).as_ref().is_some_and(listed) {
            return;
        }
        let _changing = self.inner.changing.lock();
        let known = self.inner.logs.load();
        if let Some(entry) = known.get(origin).filter(|entry| listed(entry))
            && !self.inner.signed_what_is_held(&entry.log.keys)
        {
            let mut next = HashMap::clone(&known);
            next.remove(origin);
            self.inner.logs.store(Arc::new(next));
            self.inner.alarm("at start", &[origin.to_owned()]);
        }
    }
}

impl Inner {
    fn is_own(&self, log: &LogKeys) -> bool {
        self.own.iter().any(|own| {
            let is_key = |key: &VerifierKey| key.name() == own.name() || key.public_key() == own.public_key();
            log.origin() == own.name() || log.keys().iter().any(is_key)
        })
    }

    /// An entry for `log` that goes on with the budget of `former`, if that is of the same size.
    fn entry(&self, mut log: KnownLog, former: Option<&Arc<Entry>>) -> Arc<Entry> {
        if let Some(ml_dsa) = self.ml_dsa {
            log.keys = log.keys.checked_by(ml_dsa);
        }
        let reports = former.map_or(Budget::new(Some(REPORTS_PER_DAY)), |entry| entry.reports.again());
        let former = former.filter(|former| former.log.qpd == log.qpd);
        let budget = |of| former.map_or(Budget::new(log.qpd), |entry| entry.budget(of).again());
        let (growth, refresh, subtree) = (budget(Use::Growth), budget(Use::Refresh), budget(Use::Subtree));
        Arc::new(Entry { growth, refresh, subtree, reports, log })
    }

    /// Whether the keys are those of whoever signed what is held of their log; yes, if nothing is held.
    fn signed_what_is_held(&self, log: &LogKeys) -> bool {
        let Some(note) = self.held.lock().get(log.origin()).cloned() else { return true };
        let log = self.ml_dsa.map_or_else(|| log.clone(), |ml_dsa| log.clone().checked_by(ml_dsa));
        Note::parse(&note).is_ok_and(|note| note.verify(log.keys()).is_ok())
    }

    fn alarm(&self, list: &str, origins: &[String]) {
        for origin in origins {
            self.key_changes.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                list,
                %origin,
                "a list names another key than the one that is trusted for this log; nothing was changed. If the log did \
                 change its key, give the new one in the settings"
            );
        }
    }
}

/// A day's queries, as the generic cell rate algorithm: all of them may come at once, and come back evenly.
#[derive(Debug)]
pub(crate) struct Budget {
    qpd: Option<NonZeroU32>,
    /// When it will be full again, in nanoseconds since some fixed moment.
    full_at: AtomicU64,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Budget {
    pub(crate) fn new(qpd: Option<NonZeroU32>) -> Budget {
        Budget { qpd, full_at: AtomicU64::new(0) }
    }

    fn again(&self) -> Budget {
        Budget { qpd: self.qpd, full_at: AtomicU64::new(self.full_at.load(Ordering::Relaxed)) }
    }

    /// Takes one query, at `now`, the time since some fixed moment.
    ///
    /// # Errors
    ///
    /// How long to wait for the next one.
    pub(crate) fn take(&self, now: Duration) -> Result<(), Duration> {
        let Some(qpd) = self.qpd else { return Ok(()) };
        let each = nanos_each(qpd);
        // 584 years fit, so that no sum here overflows.
        let (now, day) = (nanos(now), each * u64::from(qpd.get()));
        let next = |full_at: u64| Some(full_at.max(now) + each).filter(|next| *next <= now + day);
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.map(|_| ()).map_err(|full_at| Duration::from_nanos(full_at.max(now) + each - now - day))
    }

    /// Puts back one query that was taken and came to nothing.
    pub(crate) fn give_back(&self) {
        if let Some(qpd) = self.qpd {
            let before = |full_at: u64| Some(full_at.saturating_sub(nanos_each(qpd)));
            let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, before);
        }
    }
}

fn nanos_each(qpd: NonZeroU32) -> u64 {
    nanos(DAY) / u64::from(qpd.get())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests;
