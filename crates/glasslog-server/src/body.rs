//! Request bodies: bounded before they are believed and while they are read (invariant 10).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::answer::Refusal;

/// How many bytes to reserve for `body`: its Content-Length, or `limit` when it comes without one (chunked).
///
/// # Errors
///
/// 413 when the Content-Length alone exceeds `limit`; nothing has been read then.
pub(crate) fn reservation(body: &Incoming, limit: usize) -> Result<usize, Refusal> {
    match body.size_hint().exact() {
        None => Ok(limit),
        Some(length) => usize::try_from(length)
            .ok()
            .filter(|length| *length <= limit)
            .ok_or_else(|| Refusal::too_long(limit)),
    }
}

/// The whole body, of at most `limit` bytes, in memory of its own: hyper's frames are slices of a connection buffer
/// that an entry of a few hundred bytes would keep alive.
///
/// # Errors
///
/// 413 beyond `limit`, 408 when it takes longer than `within`, 400 when it ends before its Content-Length.
pub(crate) async fn read(
    body: Incoming,
    reserved: usize,
    limit: usize,
    within: Duration,
) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(within, collect(body, reserved, limit)).await {
        Ok(read) => read,
        Err(_) => {
            let message = format!(
                "the body took longer than {} s; send it faster or in smaller parts",
                within.as_secs()
            );
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

async fn collect(mut body: Incoming, reserved: usize, limit: usize) -> Result<Bytes, Refusal> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Refusal::bad_request("the body ended early or is not encoded as its header says"));
        };
        // Trailers say nothing that we need.
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(Refusal::too_long(limit));
        }
        // Of a chunked body the reservation is only its bound, and more may follow.
        if bytes.is_empty() && data.len() == reserved && body.is_end_stream() {
            return Ok(Bytes::copy_from_slice(&data));
        }
        // Never the whole reservation at once: it is only what the client promised to send.
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}
