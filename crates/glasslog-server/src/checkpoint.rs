//! `GET /checkpoint`: the one mutable resource, answered from memory.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use glasslog_http::{
    answer::{NO_STORE, TEXT},
    etag::{self, etag_matches},
};
use glasslog_log::Log;
use glasslog_store::log_state::SizedNote;
use http::{
    HeaderMap, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use http_body_util::Full;
use tokio::sync::watch;

use crate::answer::{Answer, Refusal};

/// The newest public checkpoint of a log, with the headers it is served with.
pub(crate) struct PublicCheckpoint {
    published: watch::Receiver<Option<SizedNote>>,
    prepared: ArcSwapOption<Prepared>,
}

struct Prepared {
    note: Bytes,
    headers: HeaderMap,
}

impl PublicCheckpoint {
    pub(crate) fn of(log: &Log) -> PublicCheckpoint {
        PublicCheckpoint { published: log.published(), prepared: ArcSwapOption::empty() }
    }

    /// The answer to a request with these headers.
    ///
    /// # Errors
    ///
    /// 404 before the first publication.
    pub(crate) fn answer(&self, request: &HeaderMap) -> Result<Answer, Refusal> {
        let note = self.published.borrow().as_ref().map(|public| public.note.clone());
        let prepared = self.prepared(note.ok_or_else(not_published)?);
        if request.contains_key(IF_NONE_MATCH) && etag_matches(request, prepared.headers.get(ETAG)) {
            return Ok(etag::not_modified(&prepared.headers));
        }
        let mut answer = Response::new(Full::new(prepared.note.clone()));
        *answer.headers_mut() = prepared.headers.clone();
        Ok(answer)
    }

    /// Headers are made once for each note. The note that was prepared is held, so its address is not given to another.
    fn prepared(&self, note: Bytes) -> Arc<Prepared> {
        let known = self.prepared.load_full();
        if let Some(known) =
            known.filter(|known| known.note.as_ptr() == note.as_ptr() && known.note.len() == note.len())
        {
            return known;
        }
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, TEXT),
            (CACHE_CONTROL, NO_STORE),
            (ETAG, etag::of_bytes(&note, "")),
        ]);
        let prepared = Arc::new(Prepared { note, headers });
        self.prepared.store(Some(prepared.clone()));
        prepared
    }
}

#[utoipa::path(
    get,
    path = "/checkpoint",
    responses(
        (status = 200, description = "the newest public checkpoint, a c2sp.org/tlog-checkpoint", body = String, content_type = "text/plain"),
        (status = 304, description = "it is still the one named in If-None-Match"),
    ),
)]
#[expect(dead_code, reason = "carries the description; `PublicCheckpoint::answer` answers")]
fn checkpoint() {}

fn not_published() -> Refusal {
    Refusal::new(http::StatusCode::NOT_FOUND, "this log has not published a checkpoint yet; ask again soon")
}
