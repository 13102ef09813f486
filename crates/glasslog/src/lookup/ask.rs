//! Asking a log's index, and believing the answer: verified, weighed, and compared with what was seen of the log before.

use std::borrow::Cow;

use anyhow::Context;
use glasslog_client::{
    lookup::{
        Answered, Inquiry, MAX_ANSWER_BYTES, Wanted,
        list::{ListReader, MAX_PAGE_BYTES, PageError, WholeList},
    },
    pin::Pins,
    verdict::Demand,
};
use glasslog_core::LeafIndex;
use glasslog_vindex::{Answer, Present, VerifiedLookup, keys_of};

use crate::{
    exit::{Exit, Failed, OrExit},
    fetch::{FetchError, HttpSource, Memory, Observed, Source, believe, now, retry_lagging},
    output::Output,
};

/// The form of a proof that says everything.
const PROOF: &str = "text/x.tlog.proof";

/// The form of a page.
const JSON: &str = "application/json";

/// How a log is asked.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    /// The log.
    pub(crate) source: &'a Source,
    /// What is pinned.
    pub(crate) pins: &'a Pins,
    /// What was seen before, if it is remembered.
    pub(crate) memory: Option<&'a Memory>,
    /// How new the answer must be.
    pub(crate) demand: Demand,
    /// Where to speak.
    pub(crate) out: &'a Output,
}

/// An answer that may be rested on.
pub(crate) struct Believed {
    /// The answer and its proof.
    pub(crate) answered: Answered,
    /// Its checkpoint, and what stands behind it.
    pub(crate) observed: Observed,
    /// Where the key is found, all of it, if that was read in pages.
    whole: Option<Vec<LeafIndex>>,
}

impl Asking<'_> {
    /// The answer to `inquiry`; `None` if the log has no index.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 4: the log cannot be asked, or its answer is not believed.
    pub(crate) async fn ask(
        &self,
        inquiry: &Inquiry<'_>,
        wanted: Wanted,
    ) -> Result<Option<Believed>, Failed> {
        let Source::Http(http) = self.source else { return Ok(None) };
        let ask = async || {
            let file = http.ask(&inquiry.path(wanted), PROOF, MAX_ANSWER_BYTES).await;
            let file = file.map_err(|error| refused(error, inquiry))?;
            let Some(file) = file else { return Ok(None) };
            let answered = inquiry.open(&file, now()).context("the log's answer is not believed");
            self.believe(answered.or_exit(Exit::LogFailure)?, None).await.map(Some)
        };
        retry_lagging(ask, is_lagging).await
    }

    /// The same answer with the whole list of its indices, or a newer one: reads pages where not all were shown.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 4, as [`Asking::ask`].
    pub(crate) async fn complete(
        &self,
        inquiry: &Inquiry<'_>,
        believed: Believed,
    ) -> Result<Option<Believed>, Failed> {
        let Source::Http(http) = self.source else { return Ok(None) };
        if believed.is_complete() {
            return Ok(Some(believed));
        }
        let read = async || {
            let list = self.pages(http, inquiry).await?;
            let Some(WholeList { indices, answered }) = list else { return Ok(None) };
            self.believe(answered, Some(indices)).await.map(Some)
        };
        retry_lagging(read, is_lagging).await
    }

    async fn pages(&self, http: &HttpSource, inquiry: &Inquiry<'_>) -> Result<Option<WholeList>, Failed> {
        let bar = self.out.progress(0, "reading the list", "pages");
        let mut lagged = false;
        let mut reader = ListReader::new(inquiry);
        loop {
            let page = http.ask(&reader.path(), JSON, MAX_PAGE_BYTES).await.or_exit(Exit::LogFailure)?;
            let Some(page) = page else { return Ok(None) };
            bar.inc(1);
            match reader.accept(&page, now()) {
                Ok(None) => {}
                Ok(whole) => return Ok(whole),
                // One node of several may be behind the one before it; twice is no accident.
                Err(PageError::Lagging { .. }) if !lagged => {
                    lagged = true;
                    reader = ListReader::new(inquiry);
                }
                Err(error @ PageError::Lagging { .. }) => return Err(error).or_exit(Exit::Stale),
                Err(error) => {
                    return Err(error)
                        .context("the list that the log shows is not believed")
                        .or_exit(Exit::LogFailure);
                }
            }
        }
    }

    async fn believe(&self, answered: Answered, whole: Option<Vec<LeafIndex>>) -> Result<Believed, Failed> {
        heed_disavowals(&answered.verified, self.out)?;
        let checkpoint = answered.verified.checkpoint().clone();
        let observed =
            believe(self.source, self.pins, self.memory, checkpoint, self.demand, self.out).await?;
        Ok(Believed { answered, observed, whole })
    }
}

/// Tells which anchors the log disavows.
///
/// # Errors
///
/// [`Failed`] with 4 if the answer rests on one of them: its root is wrong by the log's own word.
pub(crate) fn heed_disavowals(verified: &VerifiedLookup, out: &Output) -> Result<(), Failed> {
    for index in verified.disavowals() {
        out.warn(format_args!(
            "by its entry {index} the log disavows anchors of its own: what its index said there was wrong"
        ));
    }
    match verified.anchored() {
        Some((anchor, _)) if verified.is_disavowed() => Err(Failed::new(
            Exit::LogFailure,
            format!("the answer rests on the anchor at {anchor}, which the log itself disavows as wrong"),
        )),
        _ => Ok(()),
    }
}

/// The question was not answered. A log that does not understand it may have an index of something else.
fn refused(error: FetchError, inquiry: &Inquiry<'_>) -> Failed {
    let misunderstood = matches!(error, FetchError::Status { status: 400, .. });
    let error = anyhow::Error::new(error);
    let error = if misunderstood {
        let pinned = inquiry.map_fn().name();
        error.context(format!(
            "the log does not understand the question: is its index one of {pinned} (--map-fn)?"
        ))
    } else {
        error
    };
    Failed { exit: Exit::LogFailure, error }
}

fn is_lagging(believed: &Option<Believed>) -> bool {
    believed.as_ref().is_some_and(|believed| believed.observed.lagging)
}

impl Believed {
    /// Of an answer that nobody was asked for: a file.
    pub(crate) fn of_file(answered: Answered, observed: Observed) -> Believed {
        Believed { answered, observed, whole: None }
    }

    /// What the key is found in, if it is found.
    pub(crate) fn present(&self) -> Option<&Present> {
        match self.answered.verified.answer() {
            Answer::Absent => None,
            Answer::Present(present) => Some(present),
        }
    }

    /// The proven indices, ascending: all, or the newest.
    pub(crate) fn indices(&self) -> &[LeafIndex] {
        let shown = self.present().map(|present| present.indices.as_slice()).unwrap_or_default();
        self.whole.as_deref().unwrap_or(shown)
    }

    /// Whether [`Believed::indices`] is all there is.
    pub(crate) fn is_complete(&self) -> bool {
        self.whole.is_some() || self.present().is_none_or(Present::is_complete)
    }

    /// The newest `number` entries, ascending, each with its index.
    ///
    /// # Errors
    ///
    /// As [`Believed::entry`].
    pub(crate) async fn newest(
        &self,
        source: &Source,
        inquiry: &Inquiry<'_>,
        number: usize,
    ) -> Result<Vec<(LeafIndex, Vec<u8>)>, Failed> {
        let indices = self.indices();
        let newest = indices.get(indices.len().saturating_sub(number)..).unwrap_or_default();
        let mut entries = Vec::new();
        for index in newest {
            entries.push((*index, self.entry(source, inquiry, *index).await?.into_owned()));
        }
        Ok(entries)
    }

    /// The entry at one of the proven indices: as it came with the answer, or else read from its bundle and proven under the
    /// same checkpoint.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 4: it cannot be read or proven, or is not of the key.
    pub(crate) async fn entry(
        &self,
        source: &Source,
        inquiry: &Inquiry<'_>,
        index: LeafIndex,
    ) -> Result<Cow<'_, [u8]>, Failed> {
        let shown = self.present().map(|present| present.entries.as_slice()).unwrap_or_default();
        if let Ok(place) = shown.binary_search_by_key(&index, |(index, _)| *index)
            && let Some((_, entry)) = shown.get(place)
        {
            return Ok(Cow::Borrowed(entry));
        }
        let checkpoint = &self.observed.checkpoint;
        let (entry, _) = source.proven_entry(checkpoint, index).await.or_exit(Exit::LogFailure)?;
        if keys_of(inquiry.map_fn(), &entry).contains(inquiry.key()) {
            return Ok(Cow::Owned(entry));
        }
        Err(Failed::new(
            Exit::LogFailure,
            format!(
                "the log's index lists entry {index}, which is of something else: the index is wrong; `glasslog index check` proves it to others"
            ),
        ))
    }
}
