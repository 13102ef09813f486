//! Answers whose body is whole in memory, and what they are made of.

use std::{fmt::Write as _, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::Full;
use serde::Serialize;

/// Every body is whole in memory before it is sent.
pub type Answer = Response<Full<Bytes>>;

/// The content type of plain text.
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The content type of JSON.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The `Cache-Control` of what must not be kept by anyone.
pub const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// The `X-Content-Type-Options` of everything.
pub const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// 200 with a body that must not be kept by anyone.
pub fn uncached(content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    with_status(StatusCode::OK, content_type, body)
}

/// Any status with a body that must not be kept by anyone.
pub fn with_status(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
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
pub fn json(value: &impl Serialize) -> Answer {
    json_with_status(StatusCode::OK, value)
}

/// Any status with `value` as JSON that must not be kept by anyone.
pub fn json_with_status(status: StatusCode, value: &impl Serialize) -> Answer {
    with_status(status, JSON, json_body(value))
}

/// `value` as a line of JSON.
pub fn json_body(value: &impl Serialize) -> Vec<u8> {
    // Our own structures of strings and numbers always serialise.
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    body
}

/// Retry-After counts whole seconds, and 0 would invite a busy loop.
#[must_use]
pub fn whole_seconds(after: Duration) -> u64 {
    after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).max(1)
}

/// Whether refusals of a request with these headers are to be problem documents (RFC 9457).
#[must_use]
pub fn wants_problem(request: &HeaderMap) -> bool {
    accepts(request, "application/problem+json") || accepts(request, "application/json")
}

/// Whether a request with these headers names the media type `kind`, in lower case, among those that it accepts.
#[must_use]
pub fn accepts(request: &HeaderMap, kind: &str) -> bool {
    request
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .any(|named| named.eq_ignore_ascii_case(kind))
}

/// Messages may quote outside bytes: what could start another line or colour a terminal is written as an escape.
#[must_use]
pub fn one_line(message: &str) -> String {
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
