//! Strong ETags made from content, and conditional requests (RFC 9110 §8.8, §13).

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, IF_NONE_MATCH},
};
use http_body_util::Full;
use sha2::{Digest, Sha256};

use crate::answer::Answer;

/// The ETag of `bytes` under an encoding: 16 bytes of their SHA-256, and the encoding's name.
#[must_use]
pub fn of_bytes(bytes: &[u8], encoding: &str) -> HeaderValue {
    let digest = Sha256::digest(bytes);
    let tag = format!("\"{}{encoding}\"", const_hex::encode(&digest[..16]));
    // Hexadecimal digits, letters and quotes always make a header value.
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether `If-None-Match` names `etag` (weak comparison, as the RFC has it for this header) or anything at all.
#[must_use]
pub fn etag_matches(request: &HeaderMap, etag: Option<&HeaderValue>) -> bool {
    let Some(etag) = etag.and_then(|etag| etag.to_str().ok()) else { return false };
    request
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|candidate| candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == etag)
}

/// 304 with the headers that the full answer would have had, but for those that describe a body.
#[must_use]
pub fn not_modified(headers: &HeaderMap) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::NOT_MODIFIED;
    let kept = headers.iter().filter(|(name, _)| *name != CONTENT_TYPE && *name != CONTENT_ENCODING);
    answer.headers_mut().extend(kept.map(|(name, value)| (name.clone(), value.clone())));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_none_match_table() {
        let etag = HeaderValue::from_static("\"abc\"");
        for (lines, expected) in [
            (&[][..], false),
            (&["\"abc\""], true),
            (&["W/\"abc\""], true),
            (&["\"x\", \"abc\""], true),
            (&["\"x\"", "\"abc\""], true),
            (&["*"], true),
            (&["abc"], false),
            (&["\"abc"], false),
            (&["\"x\""], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(IF_NONE_MATCH, line.parse().unwrap());
            }
            assert_eq!(etag_matches(&headers, Some(&etag)), expected, "{lines:?}");
        }
    }
}
