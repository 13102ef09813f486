//! Request bodies: bounded before they are believed and while they are read (invariant 10).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

/// Why a body was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is longer than this many bytes, or says that it will be.
    #[error("the body is longer than the {0} bytes that are possible here")]
    TooLong(usize),
    /// It took longer than this.
    #[error("the body took longer than {} s; send it faster or in smaller parts", .0.as_secs())]
    TooSlow(Duration),
    /// It ended before its Content-Length, or its chunks are none.
    #[error("the body ended early or is not encoded as its header says")]
    Broken,
}

impl BodyError {
    /// The status that says so: 413, 408 or 400.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            BodyError::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// How many bytes to reserve for `body`: its Content-Length, or `limit` when it comes without one (chunked).
///
/// # Errors
///
/// [`BodyError::TooLong`] when the Content-Length alone exceeds `limit`; nothing has been read then.
pub fn reservation(body: &Incoming, limit: usize) -> Result<usize, BodyError> {
    match body.size_hint().exact() {
        None => Ok(limit),
        Some(length) => {
            usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(BodyError::TooLong(limit))
        }
    }
}

/// The whole body, of at most `limit` bytes, in memory of its own: hyper's frames are slices of a connection buffer
/// that an entry of a few hundred bytes would keep alive.
///
/// # Errors
///
/// [`BodyError::TooLong`] beyond `limit`, [`BodyError::TooSlow`] when it takes longer than `within`,
/// [`BodyError::Broken`] when it ends before its Content-Length.
pub async fn read(
    body: Incoming,
    reserved: usize,
    limit: usize,
    within: Duration,
) -> Result<Bytes, BodyError> {
    match tokio::time::timeout(within, collect(body, reserved, limit)).await {
        Ok(read) => read,
        Err(_) => Err(BodyError::TooSlow(within)),
    }
}

async fn collect(mut body: Incoming, reserved: usize, limit: usize) -> Result<Bytes, BodyError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(BodyError::Broken);
        };
        // Trailers say nothing that we need.
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(BodyError::TooLong(limit));
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
