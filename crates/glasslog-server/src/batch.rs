//! `POST /add-batch`: many entries, all added or none.

use std::{fmt::Write as _, net::IpAddr};

use bytes::Bytes;
use glasslog_http::{
    answer::{TEXT, uncached},
    body,
};
use glasslog_log::{Ack, AddError, Log, Submission};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};

use crate::{
    add::{unanswered, unchanged_since},
    answer::{Answer, Refusal},
    app::{App, Request, Site},
};

/// Adds the entries of the body, all or none.
#[utoipa::path(
    post,
    path = "/add-batch",
    params(
        ("If-Unchanged-Since" = Option<u64>, Header, description = "a tree size: 412 if the identity of any entry has a \
            newer entry, with other bytes, at or after it"),
    ),
    request_body(
        content(
            (String = "application/x-ndjson"),
            (Vec<u8> = "application/vnd.glasslog.entries"),
        ),
        description = "one entry a line (the bytes before each line feed), or each entry after its length in 16 bits, \
            big-endian, as in a c2sp.org/tlog-tiles entry bundle",
    ),
    responses(
        (status = 200, description = "all are durable: one `<index>` or `<index> dup` a line, in order", body = String, content_type = "text/plain"),
        (status = "4XX", description = "nothing was added; the message names the line", body = String, content_type = "text/plain"),
        (status = 503, description = "not now: nothing was added, try again after Retry-After", body = String, content_type = "text/plain"),
    ),
    security((), ("bearer" = [])),
)]
pub(crate) async fn add_batch(
    app: &App,
    site: &Site,
    peer: IpAddr,
    request: Request,
) -> Result<Answer, Refusal> {
    let (head, body) = request.into_parts();
    if head.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Refusal::bad_request("there are no parameters here"));
    }
    let framing = Framing::of(&head.headers)?;
    let unchanged_since = unchanged_since(&head.headers)?;
    site.refuse_if_frozen()?;
    let writer = app.gate.admit_writer(peer, &head.headers)?;

    let limit = app.limits.batch_bytes;
    let reserved = body::reservation(&body, limit)?;
    let permit = site.log.admit(reserved)?;
    let bytes = body::read(body, reserved, limit, app.limits.body_timeout).await?;
    let lines = framing.split(&bytes, app.limits.batch_entries)?;
    app.gate.charge_rest(writer, lines.len())?;
    let entries = check(site.log.clone(), lines).await?;

    let count = entries.len();
    let acks = match app.in_time(site.log.add(permit, entries, unchanged_since)).await? {
        Ok(acks) if acks.len() == count => acks,
        Ok(_) => return Err(unanswered()),
        Err(error @ AddError::Changed { position, .. }) => {
            return Err(Refusal::from(error).at_line(position + 1));
        }
        Err(error) => return Err(error.into()),
    };
    site.metrics.added(&acks);
    Ok(batch_answer(&acks))
}

/// The lines of an acknowledged batch: `<index>` or `<index> dup`, in order.
fn batch_answer(acks: &[Ack]) -> Answer {
    let mut lines = String::with_capacity(acks.len() * 12);
    for ack in acks {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{}{}", ack.index, if ack.duplicate { " dup" } else { "" });
    }
    uncached(TEXT, lines)
}

/// How the entries lie in the body.
#[derive(Clone, Copy, Debug)]
enum Framing {
    /// `application/x-ndjson`: each ends with a line feed, which the last may lack.
    Lines,
    /// `application/vnd.glasslog.entries`: each follows its length in 16 bits, big-endian.
    Lengths,
}

impl Framing {
    fn of(headers: &HeaderMap) -> Result<Framing, Refusal> {
        let content_type =
            headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/x-ndjson") {
            Ok(Framing::Lines)
        } else if essence.eq_ignore_ascii_case("application/vnd.glasslog.entries") {
            Ok(Framing::Lengths)
        } else {
            let message =
                "the Content-Type of a batch is application/x-ndjson or application/vnd.glasslog.entries";
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
        }
    }

    /// The entries of `body`, sharing its memory; between 1 and `limit` of them.
    fn split(self, body: &Bytes, limit: usize) -> Result<Vec<Bytes>, Refusal> {
        let mut entries = Vec::new();
        let mut rest = body.clone();
        while !rest.is_empty() {
            if entries.len() == limit {
                let message = format!("a batch has at most {limit} entries; send the rest in another");
                return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
            }
            let entry = match self {
                Framing::Lines => next_line(&mut rest),
                Framing::Lengths => next_framed(&mut rest).ok_or_else(|| {
                    let message = "the body ends within this entry; each is its length in 16 bits, big-endian, and its bytes";
                    Refusal::bad_request(message).at_line(entries.len() + 1)
                })?,
            };
            entries.push(entry);
        }
        if entries.is_empty() {
            return Err(Refusal::bad_request("the batch has no entries"));
        }
        Ok(entries)
    }
}

/// Takes a line and its line feed off a non-empty `rest`.
fn next_line(rest: &mut Bytes) -> Bytes {
    match rest.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = rest.split_to(end);
            let _line_feed = rest.split_to(1);
            line
        }
        None => std::mem::take(rest),
    }
}

/// Takes a length and as many bytes off `rest`; `None` if they are not there.
fn next_framed(rest: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
    if rest.len() - 2 < length {
        return None;
    }
    let _length = rest.split_to(2);
    Some(rest.split_to(length))
}

/// Checks every entry, away from the threads that answer requests: a full batch takes tens of milliseconds.
async fn check(log: Log, lines: Vec<Bytes>) -> Result<Vec<Submission>, Refusal> {
    const HERE: usize = 64;
    if lines.len() <= HERE {
        return check_now(&log, lines);
    }
    tokio::task::spawn_blocking(move || check_now(&log, lines)).await.map_err(|_| unanswered())?
}

fn check_now(log: &Log, lines: Vec<Bytes>) -> Result<Vec<Submission>, Refusal> {
    let numbered = lines.into_iter().enumerate();
    numbered
        .map(|(n, line)| log.submission(line).map_err(|error| Refusal::from(error).at_line(n + 1)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(framing: Framing, body: &'static [u8]) -> Option<Vec<Bytes>> {
        framing.split(&Bytes::from_static(body), 3).ok()
    }

    #[test]
    fn lines_end_with_a_line_feed_alone() {
        for (body, expected) in [
            (&b"a\nb\n"[..], Some(vec!["a", "b"])),
            (b"a\nb", Some(vec!["a", "b"])),
            (b"a\r\nb\n", Some(vec!["a\r", "b"])),
            (b"a\n\nb\n", Some(vec!["a", "", "b"])),
            (b"\n", Some(vec![""])),
            (b"", None),
            (b"a\nb\nc\n", Some(vec!["a", "b", "c"])),
            (b"a\nb\nc\nd", None),
        ] {
            let expected = expected.map(|lines| lines.into_iter().map(Bytes::from).collect::<Vec<_>>());
            assert_eq!(split(Framing::Lines, body), expected, "{body:?}");
        }
    }

    #[test]
    fn lengths_are_exact() {
        for (body, expected) in [
            (&b"\0\x01a\0\x02bc"[..], Some(vec!["a", "bc"])),
            (b"\0\0\0\x01a", Some(vec!["", "a"])),
            (b"\0\x02a", None),
            (b"\0", None),
            (b"\xff\xffa", None),
            (b"", None),
        ] {
            let expected = expected.map(|entries| entries.into_iter().map(Bytes::from).collect::<Vec<_>>());
            assert_eq!(split(Framing::Lengths, body), expected, "{body:?}");
        }
    }
}
