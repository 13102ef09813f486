//! The way of an entry begins here: `POST /add`.
//!
//! The body is the entry, whatever the Content-Type says. Everything that can be refused is refused before anything
//! larger is done for it: conditions, then the gate, then room in the pool, then the body itself. The answer comes
//! when the entry's index is durable; with `?wait=published`, when a public checkpoint covers it.
//! The way goes on in `glasslog_log`.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use glasslog_core::{LeafIndex, MAX_ENTRY_BYTES, TreeSize};
use glasslog_http::{
    answer::{TEXT, with_status},
    body,
};
use glasslog_log::Ack;
use glasslog_store::log_state::SizedNote;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{
    answer::{Answer, Refusal},
    app::{App, Request, Site},
    proof::proof_answer,
};

const DUPLICATE: HeaderName = HeaderName::from_static("glasslog-duplicate");
const IF_UNCHANGED_SINCE: HeaderName = HeaderName::from_static("if-unchanged-since");

/// Adds the body as one entry.
#[utoipa::path(
    post,
    path = "/add",
    params(
        ("wait" = Option<String>, Query, description = "`published`: answer with a c2sp.org/tlog-proof under a public \
            checkpoint, or with 202 and the index when that takes longer than 30 s"),
        ("If-Unchanged-Since" = Option<u64>, Header, description = "a tree size: 412 if the entry's identity has a newer \
            entry, with other bytes, at or after it"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "the entry, 1 to 65,535 bytes"),
    responses(
        (status = 200, description = "the entry is durable at this index", body = String, content_type = "text/plain",
            headers(("Glasslog-Duplicate" = String, description = "`true` when these bytes were already there"))),
        (status = 202, description = "durable at this index, not public yet", body = String, content_type = "text/plain"),
        (status = "4XX", description = "refused: what was wrong and what to do", body = String, content_type = "text/plain"),
        (status = 503, description = "not now: nothing was added, try again after Retry-After", body = String, content_type = "text/plain"),
    ),
    security((), ("bearer" = [])),
)]
pub(crate) async fn add(app: &App, site: &Site, peer: IpAddr, request: Request) -> Result<Answer, Refusal> {
    let (head, body) = request.into_parts();
    let wait = wait_for(head.uri.query())?;
    let unchanged_since = unchanged_since(&head.headers)?;
    site.refuse_if_frozen()?;
    app.gate.admit_writer(peer, &head.headers)?;

    let reserved = body::reservation(&body, MAX_ENTRY_BYTES)?;
    let permit = site.log.admit(reserved)?;
    let bytes = body::read(body, reserved, MAX_ENTRY_BYTES, app.limits.body_timeout).await?;
    let entry = site.log.submission(bytes)?;

    let added = app.in_time(site.log.add(permit, vec![entry], unchanged_since)).await??;
    // One entry went in, so one acknowledgement comes out.
    let ack = *added.first().ok_or_else(unanswered)?;
    site.metrics.added(&added);
    match wait {
        Wait::Durable => Ok(index_answer(StatusCode::OK, ack)),
        Wait::Published => published_answer(app, site, ack).await,
    }
}

/// What the answer waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    Durable,
    Published,
}

/// A parameter that is not understood is refused: whoever mistypes `published` would take an index for a proof.
fn wait_for(query: Option<&str>) -> Result<Wait, Refusal> {
    match query {
        None | Some("") => Ok(Wait::Durable),
        Some("wait=published") => Ok(Wait::Published),
        Some(_) => Err(Refusal::bad_request("the only parameter here is wait=published")),
    }
}

/// The tree size of `If-Unchanged-Since`.
pub(crate) fn unchanged_since(headers: &HeaderMap) -> Result<Option<TreeSize>, Refusal> {
    let mut values = headers.get_all(IF_UNCHANGED_SINCE).iter();
    let (value, more) = (values.next(), values.next());
    let Some(value) = value else { return Ok(None) };
    let size = value.to_str().ok().filter(|_| more.is_none()).and_then(canonical_number);
    let message = "If-Unchanged-Since must be, once, a tree size in decimal";
    size.map(|size| Some(TreeSize(size))).ok_or_else(|| Refusal::bad_request(message))
}

/// A decimal number in its only spelling: digits, no sign, no leading zero.
pub(crate) fn canonical_number(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    text.parse().ok().filter(|_| canonical)
}

/// A log that acknowledges fewer entries than it was given has a bug; the client is told nothing that may be untrue.
pub(crate) fn unanswered() -> Refusal {
    Refusal::unavailable("the log gave no index for this; send it again", Duration::from_secs(1))
}

fn index_answer(status: StatusCode, ack: Ack) -> Answer {
    let mut answer = with_status(status, TEXT, Bytes::from(format!("{}\n", ack.index)));
    if ack.duplicate {
        answer.headers_mut().insert(DUPLICATE, HeaderValue::from_static("true"));
    }
    answer
}

/// Waits until a public checkpoint covers the entry, and proves it; 202 when that takes too long or the server stops.
async fn published_answer(app: &App, site: &Site, ack: Ack) -> Result<Answer, Refusal> {
    let mut answer = tokio::select! {
        biased;
        () = published(site, ack.index) => match proof_answer(site, ack.index).await? {
            Some(proof) => proof,
            None => index_answer(StatusCode::ACCEPTED, ack),
        },
        () = tokio::time::sleep(app.limits.publish_timeout) => index_answer(StatusCode::ACCEPTED, ack),
        () = app.stopping() => index_answer(StatusCode::ACCEPTED, ack),
    };
    if ack.duplicate {
        answer.headers_mut().insert(DUPLICATE, HeaderValue::from_static("true"));
    }
    Ok(answer)
}

/// Returns when a public checkpoint covers `index`; never, when the log ends before.
async fn published(site: &Site, index: LeafIndex) {
    let mut published = site.log.published();
    let covers =
        |public: &Option<SizedNote>| public.as_ref().is_some_and(|public| public.size.contains(index));
    let log_ended = published.wait_for(covers).await.is_err();
    if log_ended {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        for (text, number) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("00", None),
            ("07", None),
            ("+7", None),
            ("-7", None),
            (" 7", None),
            ("7 ", None),
            ("", None),
            ("0x7", None),
            ("٧", None),
        ] {
            assert_eq!(canonical_number(text), number, "{text:?}");
        }
    }

    #[test]
    fn only_the_known_query_is_taken() {
        assert_eq!(wait_for(None).ok(), Some(Wait::Durable));
        assert_eq!(wait_for(Some("wait=published")).ok(), Some(Wait::Published));
        for query in ["wait=publish", "wait=published&x=1", "wait", "WAIT=published", "x=1"] {
            assert!(wait_for(Some(query)).is_err(), "{query}");
        }
    }
}
