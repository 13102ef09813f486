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

/// The same for a service that reads few long bodies at once: `leave` is asked once, when more than `small` bytes have come,
/// and what it gives is kept with the body. What a client only promises to send takes nobody's place.
///
/// # Errors
///
/// As [`read`], and what `leave` says.
pub async fn read_with_leave<P, E: From<BodyError>>(
    body: Incoming,
    small: usize,
    limit: usize,
    within: Duration,
    leave: impl FnOnce() -> Result<P, E>,
) -> Result<(Bytes, Option<P>), E> {
    let mut leave = Some(leave);
    let mut given = None;
    let reserved = reservation(&body, limit)?;
    let collecting = collect_with(body, reserved, limit, |length| -> Result<(), E> {
        if length > small
            && let Some(leave) = leave.take()
        {
            given = Some(leave()?);
        }
        Ok(())
    });
    let bytes = tokio::time::timeout(within, collecting).await.map_err(|_| BodyError::TooSlow(within))??;
    Ok((bytes, given))
}

async fn collect(body: Incoming, reserved: usize, limit: usize) -> Result<Bytes, BodyError> {
    collect_with(body, reserved, limit, |_| Ok::<_, BodyError>(())).await
}

/// `may_go_on` is told how long the body is so far, before that is kept.
async fn collect_with<E: From<BodyError>>(
    mut body: Incoming,
    reserved: usize,
    limit: usize,
    mut may_go_on: impl FnMut(usize) -> Result<(), E>,
) -> Result<Bytes, E> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(BodyError::Broken.into());
        };
        // Trailers say nothing that we need.
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(BodyError::TooLong(limit).into());
        }
        may_go_on(bytes.len() + data.len())?;
        // Of a chunked body the reservation is only its bound, and more may follow.
        if bytes.is_empty() && data.len() == reserved && body.is_end_stream() {
            return Ok(Bytes::copy_from_slice(&data));
        }
        // Never the whole reservation at once: it is only what the client promised to send.
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}
