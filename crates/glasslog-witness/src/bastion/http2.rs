//! HTTP/2 over a connection that this side opened: "as if it was a client-initiated connection".

use std::{convert::Infallible, error::Error, future::Future, net::IpAddr, sync::Arc};

use glasslog_http::{UnreadBody, serve::Handler};
use http::{HeaderMap, Request, header::FORWARDED};
use hyper::{body::Incoming, rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use super::{BastionLimits, Ended, unless_stopped};

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The head of a request fits in this.
const MAX_HEAD_BYTES: u32 = 32 << 10;

/// What a bastion may send ahead of the handlers that read it, in bytes: for one request, and for the connection.
const WINDOW_BYTES: (u32, u32) = (256 << 10, 1 << 20);

/// Answers what comes over `stream` from the bastion at `address`, until the connection ends or `stop` says so.
pub(super) async fn serve<H: Handler, S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    handler: Arc<H>,
    stream: S,
    address: IpAddr,
    limits: &BastionLimits,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Ended> {
    handler.connection(true);
    let answering = handler.clone();
    let service = service_fn(move |request| answer(answering.clone(), request, address));
    // Dropped with the connection, and what is still running for it as well.
    let tasks = Tasks::default();
    let mut connection = std::pin::pin!(
        http2::Builder::new(tasks.clone())
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(MAX_HEAD_BYTES)
            .initial_stream_window_size(WINDOW_BYTES.0)
            .initial_connection_window_size(WINDOW_BYTES.1)
            .keep_alive_interval(limits.ping_interval)
            .keep_alive_timeout(limits.ping_timeout)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = match unless_stopped(&mut stop, connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            // What did not finish in time is cut off.
            timeout(limits.drain_timeout, connection).await.unwrap_or(Ok(()))
        }
    };
    handler.connection(false);
    ended.map_err(|error| match error.source() {
        Some(cause) => Ended::Http2(format!("{error}: {cause}")),
        None => Ended::Http2(error.to_string()),
    })
}

async fn answer<H: Handler>(
    handler: Arc<H>,
    mut request: Request<Incoming>,
    bastion: IpAddr,
) -> Result<glasslog_http::answer::Answer, Infallible> {
    let client = client(request.headers(), bastion);
    // Nobody further away is to be believed, whatever proxies the handler trusts.
    request.headers_mut().remove(X_FORWARDED_FOR);
    request.headers_mut().remove(FORWARDED);
    Ok(handler.answer(client, request, &UnreadBody::default()).await)
}

/// Whom the bastion speaks for: it "MUST remove all X-Forwarded-For headers from the request, add a single X-Forwarded-For
/// header with the IP address of the client". One that does otherwise answers for the request itself.
fn client(headers: &HeaderMap, bastion: IpAddr) -> IpAddr {
    let mut lines = headers.get_all(X_FORWARDED_FOR).iter();
    let (first, second) = (lines.next(), lines.next());
    let named = first.filter(|_| second.is_none()).and_then(|line| line.to_str().ok()?.trim().parse().ok());
    named.unwrap_or(bastion).to_canonical()
}

/// The tasks of one connection's requests.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let mut tasks = self.0.lock();
        while let Some(ended) = tasks.try_join_next() {
            if ended.is_err_and(|error| error.is_panic()) {
                tracing::error!("the task of a request failed; this is a bug, please report it");
            }
        }
        tasks.spawn(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_bastion_speaks_for() {
        let bastion = IpAddr::from([192, 0, 2, 1]);
        let table: &[(&[&str], &str)] = &[
            (&["198.51.100.7"], "198.51.100.7"),
            (&["2001:db8::7"], "2001:db8::7"),
            (&["::ffff:198.51.100.7"], "198.51.100.7"),
            (&[], "192.0.2.1"),
            (&["198.51.100.7", "198.51.100.7"], "192.0.2.1"),
            (&["198.51.100.7, 198.51.100.8"], "192.0.2.1"),
            (&["198.51.100.7:4711"], "192.0.2.1"),
            (&["unknown"], "192.0.2.1"),
            (&[""], "192.0.2.1"),
        ];
        for (lines, expected) in table {
            let mut headers = HeaderMap::new();
            for line in *lines {
                headers.append(X_FORWARDED_FOR, line.parse().unwrap());
            }
            assert_eq!(client(&headers, bastion).to_string(), *expected, "{lines:?}");
        }
    }
}
