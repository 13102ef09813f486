//! Asking a witness for its cosignature (c2sp.org/tlog-witness): the request, and what its answer is worth.
//!
//! A witness is asked over HTTP by somebody else; this module is handed the answer. Nothing in it is believed before it
//! verifies under the witness's pinned key, over this very checkpoint.

use glasslog_core::{
    TreeSize,
    checkpoint::{Checkpoint, VerifiedCheckpoint},
    cosignature::{self, VerifiedCosignature},
    note::{Note, Signature, VerifierKey},
    policy::{MAX_CLOCK_LEAD, Policy},
    witness::{SIZE_CONTENT_TYPE, origin_hash, parse_size_body},
};

/// The longest answer that is read, in bytes: 16 ML-DSA-44 lines and room to spare.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A witness as it is reached: one address, and every pinned key that may answer there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// What the policy calls it; with several keys, the first line's name.
    pub name: String,
    /// Its submission prefix, without a trailing slash.
    pub url: String,
    /// Its keys.
    pub keys: Vec<VerifierKey>,
}

impl Witness {
    /// The witnesses of a policy that have an address, each address once.
    #[must_use]
    pub fn of_policy(policy: &Policy) -> Vec<Witness> {
        let mut witnesses: Vec<Witness> = Vec::new();
        for line in policy.witnesses() {
            let Some(url) = &line.url else { continue };
            let url = url.trim_end_matches('/');
            match witnesses.iter_mut().find(|known| known.url == url) {
                Some(known) => known.keys.push(line.key.clone()),
                None => witnesses.push(Witness {
                    name: line.name.clone(),
                    url: url.to_owned(),
                    keys: vec![line.key.clone()],
                }),
            }
        }
        witnesses
    }

    /// Where checkpoints are submitted.
    #[must_use]
    pub fn submission_url(&self) -> String {
        format!("{}/add-checkpoint", self.url)
    }

    /// Where the newest checkpoint of the log `origin` that it cosigned is shown, if its monitoring prefix is its
    /// submission prefix.
    #[must_use]
    pub fn monitoring_url(&self, origin: &str) -> String {
        format!("{}/{}/checkpoint", self.url, origin_hash(origin))
    }

    /// What an answer to `add-checkpoint` says about the checkpoint `text` of `size`, at `now` in seconds since 1970.
    ///
    /// `retry_after_s` is the header's value, if the answer has one in seconds.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: no cosignature, and why.
    pub fn judge(
        &self,
        answer: &Answer<'_>,
        text: &str,
        size: TreeSize,
        now: u64,
    ) -> Result<Vec<Cosigned>, Refusal> {
        match answer.status {
            200 => self.cosignatures(answer.body, text, now),
            403 => Err(Refusal::NotTrusted),
            404 => Err(Refusal::UnknownLog),
            409 => Err(conflict(answer, size)),
            422 => Err(Refusal::Inconsistent),
            // Without the header it may only be busy (omniwitness under any concurrency): back-off is enough.
            429 => Err(answer
                .retry_after_s
                .map_or(Refusal::Status(429), |s| Refusal::Budget { retry_after_s: s })),
            300..=399 => Err(Refusal::Redirect),
            status => Err(Refusal::Status(status)),
        }
    }

    /// "The client MUST ignore any cosignatures from unknown keys"; a wrong one of a known key spoils the answer.
    fn cosignatures(&self, body: &[u8], text: &str, now: u64) -> Result<Vec<Cosigned>, Refusal> {
        let lines = Signature::parse_lines(body).map_err(|why| Refusal::Garbage(why.to_string()))?;
        let mut cosigned = Vec::new();
        for line in lines {
            let Some(key) = self.keys.iter().find(|key| line.is_of(key)) else { continue };
            let verified = cosignature::verify(text, &line, key)
                .map_err(|_| Refusal::WrongSignature(key.name().to_owned()))?;
            // "the timestamp MUST NOT be zero"; and one that runs ahead would count for ever.
            if verified.time() == 0 || verified.time() > now.saturating_add(MAX_CLOCK_LEAD) {
                return Err(Refusal::Time(verified.time()));
            }
            cosigned.push(Cosigned { line, verified });
        }
        if cosigned.is_empty() { Err(Refusal::NoCosignature) } else { Ok(cosigned) }
    }

    /// Whether a checkpoint that this witness shows proves that the log signed something else than `ours`: a larger tree,
    /// or one whose root at its size is not `root_at` (which is asked for sizes up to ours only).
    ///
    /// `shown` is what stands at [`Witness::monitoring_url`]; it is evidence only under a key of the log itself.
    ///
    /// # Errors
    ///
    /// What `root_at` says.
    pub fn evidence<E>(
        &self,
        shown: &[u8],
        ours: &Checkpoint,
        log_keys: &[VerifierKey],
        root_at: impl FnOnce(TreeSize) -> Result<glasslog_core::Hash, E>,
    ) -> Result<Option<Evidence>, E> {
        let Ok(shown) = VerifiedCheckpoint::open(shown, &ours.origin, log_keys) else { return Ok(None) };
        let size = shown.size();
        let differs = size > ours.size || root_at(size)? != *shown.root();
        Ok(differs.then(|| Evidence { witness: self.name.clone(), size, note: shown.note().to_text() }))
    }
}

/// An HTTP answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// `Content-Type`, as it came; empty if there is none.
    pub content_type: &'a str,
    /// `Retry-After`, in seconds.
    pub retry_after_s: Option<u64>,
    /// At most [`MAX_ANSWER_BYTES`].
    pub body: &'a [u8],
}

/// A cosignature that was verified, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// As it joins the checkpoint.
    pub line: Signature,
    /// Whose it is, and its time.
    pub verified: VerifiedCosignature,
}

/// Our own valid signature over something that the log, as it stands, never signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Who shows it.
    pub witness: String,
    /// The size of the tree in it.
    pub size: TreeSize,
    /// The note.
    pub note: String,
}

/// Why there is no cosignature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 409: it holds a size up to ours; a consistency proof from there is wanted.
    #[error("it holds size {0}")]
    Holds(TreeSize),
    /// 409: it holds a larger size than the checkpoint has.
    #[error("it says that it holds size {0}, larger than ours")]
    Ahead(TreeSize),
    /// 422: it says that the checkpoint does not continue what it holds.
    #[error("it says that the checkpoint is not consistent with what it holds")]
    Inconsistent,
    /// 403: no signature is of a key that it trusts for the log, or it refuses the log.
    #[error(
        "it answers 403: it trusts none of the keys that sign (was the key changed? tell its operator the new one), or refuses this log"
    )]
    NotTrusted,
    /// 404: it does not know the log.
    #[error(
        "it answers 404: it does not know this log (give its operator what `glasslog log-stanza` prints), or is not at this URL"
    )]
    UnknownLog,
    /// 429 with `Retry-After`: its budget for this log is spent.
    #[error(
        "it asks to be left alone for {retry_after_s} s: the checkpoint interval is shorter than its budget for this log"
    )]
    Budget {
        /// For how long, in seconds.
        retry_after_s: u64,
    },
    /// It redirects, which is not followed: a POST must not become a GET.
    #[error("it answers with a redirect, which is not followed; configure the address it leads to")]
    Redirect,
    /// Any other status.
    #[error("it answers {0}")]
    Status(u16),
    /// A 409 without a size.
    #[error("it answers 409 without a size in text/x.tlog.size")]
    NoSize,
    /// A 200 that is no sequence of signature lines.
    #[error("its answer is not made of signature lines: {0}")]
    Garbage(String),
    /// A 200 with lines of other keys only.
    #[error("its answer has no cosignature of its pinned key")]
    NoCosignature,
    /// A line of its key that does not verify over this checkpoint.
    #[error("the cosignature of {0} is wrong for this checkpoint")]
    WrongSignature(String),
    /// A time that no honest clock says.
    #[error("its cosignature is for the time {0}")]
    Time(u64),
    /// The answer is longer than [`MAX_ANSWER_BYTES`].
    #[error("its answer is longer than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    /// It could not be asked, or did not answer in time.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
}

impl Refusal {
    /// A word for it that does not vary with what a witness sends: the label of a metric.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Refusal::Holds(_) => "conflict",
            Refusal::Ahead(_) => "ahead",
            Refusal::Inconsistent => "inconsistent",
            Refusal::NotTrusted => "not_trusted",
            Refusal::UnknownLog => "unknown_log",
            Refusal::Budget { .. } => "budget",
            Refusal::Redirect => "redirect",
            Refusal::Status(_) => "status",
            Refusal::NoSize => "no_size",
            Refusal::Garbage(_) => "garbage",
            Refusal::NoCosignature => "no_cosignature",
            Refusal::WrongSignature(_) => "wrong_signature",
            Refusal::Time(_) => "time",
            Refusal::TooLong => "too_long",
            Refusal::Unreachable(_) => "unreachable",
        }
    }
}

fn conflict(answer: &Answer<'_>, size: TreeSize) -> Refusal {
    let is_size = answer.content_type == SIZE_CONTENT_TYPE;
    match parse_size_body(answer.body).filter(|_| is_size) {
        None => Refusal::NoSize,
        Some(held) if held > size => Refusal::Ahead(held),
        Some(held) => Refusal::Holds(held),
    }
}

/// The checkpoint `note` (signed by the log alone) with cosignature lines, in the order given: as it is made public.
///
/// A line replaces one of the same key.
///
/// # Errors
///
/// [`glasslog_core::note::NoteError`] when `note` is none.
pub fn with_cosignatures<'a>(
    note: &[u8],
    lines: impl IntoIterator<Item = &'a Signature>,
) -> Result<String, glasslog_core::note::NoteError> {
    let mut note = Note::parse(note)?;
    for line in lines {
        note.put(line.clone());
    }
    Ok(note.to_text())
}

#[cfg(test)]
mod tests;
