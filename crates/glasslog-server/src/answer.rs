//! Answers: the plain ones, and refusals in one line of text or as `application/problem+json` (RFC 9457).

use std::{borrow::Cow, fmt::Write as _, time::Duration};

use bytes::Bytes;
use glasslog_log::{AddError, EntryError, ReadError};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{
        ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body_util::Full;
use serde::Serialize;
use utoipa::ToSchema;

/// Every body is whole in memory before it is sent: objects are at most 17 MB and shared with the cache.
pub(crate) type Answer = Response<Full<Bytes>>;

pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
pub(crate) const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// 200 with a body that must not be kept by anyone.
pub(crate) fn uncached(content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    with_status(StatusCode::OK, content_type, body)
}

/// Any status with a body that must not be kept by anyone.
pub(crate) fn with_status(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.reserve(8);
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    answer
}

/// 200 with `value` as JSON that must not be kept by anyone.
pub(crate) fn json(value: &impl Serialize) -> Answer {
    json_with_status(StatusCode::OK, value)
}

/// Any status with `value` as JSON that must not be kept by anyone.
pub(crate) fn json_with_status(status: StatusCode, value: &impl Serialize) -> Answer {
    // Our own structures of strings and numbers always serialise.
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    with_status(status, JSON, body)
}

/// A request that is not done: what was wrong and what to do, in one line.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: Cow<'static, str>,
    /// When to try again, rounded up to whole seconds.
    pub(crate) retry_after: Option<Duration>,
    /// The methods that the path has (405).
    pub(crate) allow: Option<&'static str>,
    /// The entry as it would be accepted, when only its spelling differs (422).
    pub(crate) canonical: Option<Vec<u8>>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { status, message: message.into(), retry_after: None, allow: None, canonical: None }
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found() -> Refusal {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "nothing is here; paths are as c2sp.org/tlog-tiles and /openapi.json spell them",
        )
    }

    pub(crate) fn method(allow: &'static str) -> Refusal {
        let message = "this path does not have that method; those it has are named in the header Allow";
        Refusal { allow: Some(allow), ..Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message) }
    }

    pub(crate) fn too_long(limit: usize) -> Refusal {
        let message = format!("the body is longer than the {limit} bytes that are possible here");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    pub(crate) fn unavailable(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Refusal {
        Refusal { retry_after: Some(retry_after), ..Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// The same, saying which line of a batch it is about, counted from 1.
    pub(crate) fn at_line(mut self, line: usize) -> Refusal {
        self.message = format!("line {line}: {}", self.message).into();
        self
    }

    /// The answer: a line of text, or a problem document.
    pub(crate) fn into_answer(self, as_problem: bool) -> Answer {
        let mut answer = if as_problem {
            let mut answer = json_with_status(self.status, &self.problem());
            answer.headers_mut().insert(CONTENT_TYPE, PROBLEM);
            answer
        } else {
            with_status(self.status, TEXT, self.text())
        };
        let headers = answer.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }

    fn text(&self) -> String {
        let hint = match self.canonical {
            Some(_) => "; ask with `Accept: application/problem+json` to be told the canonical form",
            None => "",
        };
        format!("{}{hint}\n", one_line(&self.message))
    }

    fn problem(&self) -> Problem {
        Problem {
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: one_line(&self.message),
            canonical: self.canonical.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}

/// A refusal as RFC 9457 has it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// What was wrong and what to do.
    detail: String,
    /// The entry as it would be accepted, when only its spelling differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical: Option<String>,
}

impl From<EntryError> for Refusal {
    fn from(error: EntryError) -> Refusal {
        let status = match &error {
            EntryError::Empty => StatusCode::BAD_REQUEST,
            EntryError::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let message = error.to_string();
        let canonical = match error {
            EntryError::Schema(invalid) => invalid.canonical,
            _ => None,
        };
        Refusal { canonical, ..Refusal::new(status, message) }
    }
}

impl From<AddError> for Refusal {
    fn from(error: AddError) -> Refusal {
        match error {
            AddError::PushBack { retry_after, .. } => Refusal::unavailable(error.to_string(), retry_after),
            AddError::Changed { latest, .. } => {
                let message = format!(
                    "nothing was added: the entry's identity has a newer entry with other bytes at index {latest}; \
                     fetch the source again"
                );
                Refusal::new(StatusCode::PRECONDITION_FAILED, message)
            }
            AddError::Stopped(_) => Refusal::unavailable(error.to_string(), Duration::from_secs(30)),
        }
    }
}

impl From<ReadError> for Refusal {
    /// What is stored cannot be read or contradicts the signed root: the log's trouble, told to the operator in
    /// the log and to the client as "not now".
    fn from(error: ReadError) -> Refusal {
        tracing::error!(error = &error as &dyn std::error::Error, "a read failed");
        Refusal::unavailable(
            "the log cannot read its storage now; its operator has been told",
            Duration::from_secs(10),
        )
    }
}

/// Retry-After counts whole seconds, and 0 would invite a busy loop.
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).max(1)
}

/// Whether refusals of this request are to be problem documents.
pub(crate) fn wants_problem(request: &HeaderMap) -> bool {
    request
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .any(|kind| {
            kind.eq_ignore_ascii_case("application/problem+json")
                || kind.eq_ignore_ascii_case("application/json")
        })
}

/// Messages may quote outside bytes: what could start another line or colour a terminal is written as an escape.
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() {
            // Writing to a string cannot fail.
            let _ = write!(line, "\\u{:04x}", u32::from(c));
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_rounded_up_and_never_zero() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds, "{millis} ms");
        }
    }

    #[test]
    fn quoted_control_characters_stay_in_the_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m"), "a\\u000ab\\u001b[31m");
    }
}
