//! Accepting connections and speaking HTTP/1.1 on them.

use std::{convert::Infallible, io, net::IpAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};

use crate::{
    app::App,
    io::{PatientStream, UnreadBody},
};

/// The head of a request fits in this, or it is answered with 431.
const MAX_HEAD_BYTES: usize = 32 << 10;

/// What a listener gives access to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The logs.
    Public,
    /// `/metrics` and `/health` alone.
    Metrics,
}

/// Serves until `stop` says so, then lets open connections finish what they are answering.
pub(crate) async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    access: Access,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(app.limits.connections));
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
                connections.spawn(connection(app.clone(), socket, peer, access, stop.clone(), permit));
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
    if tokio::time::timeout(app.limits.drain_timeout, drained).await.is_err() {
        tracing::warn!("connections that did not finish in time are closed");
    }
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

async fn connection(
    app: Arc<App>,
    socket: TcpStream,
    peer: IpAddr,
    access: Access,
    mut stop: watch::Receiver<bool>,
    _room: OwnedSemaphorePermit,
) {
    // Answers are written whole; waiting for more to send would only delay them.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "a connection ended before its first request");
        return;
    }
    app.metrics.connections.inc();
    let unread_body = UnreadBody::default();
    let stream = TokioIo::new(PatientStream::new(socket, app.limits.write_timeout, unread_body.clone()));
    let service = service_fn(|request| async {
        Ok::<_, Infallible>(app.answer(access, peer, request, &unread_body).await)
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(app.limits.head_timeout)
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
    app.metrics.connections.dec();
}
