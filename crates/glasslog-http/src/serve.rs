//! Accepting connections and speaking HTTP/1.1 on them.

use std::{convert::Infallible, future::Future, io, net::IpAddr, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};

use crate::{
    answer::Answer,
    io::{PatientStream, UnreadBody},
};

/// The head of a request fits in this, or it is answered with 431.
const MAX_HEAD_BYTES: usize = 32 << 10;

/// What answers requests, whatever they came by.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request of `peer`. A handler that leaves the body unread says so to `unread_body`, so that the answer
    /// reaches a peer that is still sending.
    fn answer(
        &self,
        peer: IpAddr,
        request: Request<Incoming>,
        unread_body: &UnreadBody,
    ) -> impl Future<Output = Answer> + Send;

    /// A connection was opened, or one that was has ended.
    fn connection(&self, open: bool) {
        let _ = open;
    }
}

/// Bounds that hold for every connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections that are open at once; later ones wait in the kernel's queue.
    pub connections: usize,
    /// How long a connection may take to send a request's head; so also how long it may idle.
    pub head_timeout: Duration,
    /// How long a peer may refuse to read what was written to it.
    pub write_timeout: Duration,
    /// How long connections may finish their work once the server is asked to stop.
    pub drain_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            connections: 4096,
            head_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Serves until `stop` says so, then lets open connections finish what they are answering.
pub async fn serve<H: Handler>(
    handler: Arc<H>,
    listener: TcpListener,
    limits: ConnectionLimits,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            Some(ended) = connections.join_next() => {
                note_panic(ended);
                continue;
            }
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((socket, peer, permit)) => {
                let (handler, limits, stop) = (handler.clone(), limits.clone(), stop.clone());
                connections.spawn(async move {
                    let _room = permit;
                    // Answers are written whole; waiting for more to send would only delay them.
                    match socket.set_nodelay(true) {
                        Ok(()) => serve_stream(&*handler, socket, peer, &limits, stop).await,
                        Err(error) => tracing::debug!(%error, "a connection ended before its first request"),
                    }
                });
            }
            Err(error) => pause_after(&error).await,
        }
    }
    drop(listener);
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
    };
    if tokio::time::timeout(limits.drain_timeout, drained).await.is_err() {
        tracing::warn!("connections that did not finish in time are closed");
    }
}

/// Speaks HTTP/1.1 on one connection that is there already, until it ends or `stop` says so.
pub async fn serve_stream<H: Handler, S: AsyncRead + AsyncWrite + Unpin + Send>(
    handler: &H,
    stream: S,
    peer: IpAddr,
    limits: &ConnectionLimits,
    mut stop: watch::Receiver<bool>,
) {
    handler.connection(true);
    let unread_body = UnreadBody::default();
    let stream = TokioIo::new(PatientStream::new(stream, limits.write_timeout, unread_body.clone()));
    let service = service_fn(|request| async {
        Ok::<_, Infallible>(handler.answer(peer, request, &unread_body).await)
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_header_size(MAX_HEAD_BYTES)
            .max_buf_size(MAX_HEAD_BYTES.max(64 << 10))
            .serve_connection(stream, service)
    );
    let stopped = async {
        // An error means that the server is gone, which is as good.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection ended");
    }
    handler.connection(false);
}

/// Waits for room first: connections beyond the limit stay in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (socket, peer) = listener.accept().await?;
    Ok((socket, peer.ip(), permit))
}

/// A connection that failed before it was accepted concerns nobody else; running out of descriptors does, and trying
/// again at once would only burn the processor.
async fn pause_after(error: &io::Error) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        return;
    }
    tracing::warn!(%error, "cannot accept connections, trying again");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task failed; this is a bug, please report it");
    }
}
