//! A connection that cannot be held open by not reading, and that is closed so that the last answer arrives.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// How long, and for how many bytes, a closing connection goes on reading what the peer still sends.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 4 << 20;

/// Said by a handler that answered without reading the body: on a plain close the kernel would reset the
/// connection, and the peer, still sending, might never see why it was refused.
#[derive(Clone, Debug, Default)]
pub struct UnreadBody(Arc<AtomicBool>);

impl UnreadBody {
    /// Says it.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A socket (any stream of bytes) with a bound on how long the peer may refuse to read.
#[derive(Debug)]
pub(crate) struct PatientStream<S> {
    socket: S,
    write_timeout: Duration,
    /// Runs while a write is waiting.
    timer: Pin<Box<Sleep>>,
    waiting: bool,
    unread_body: UnreadBody,
    drained: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> PatientStream<S> {
    pub(crate) fn new(socket: S, write_timeout: Duration, unread_body: UnreadBody) -> PatientStream<S> {
        let timer = Box::pin(tokio::time::sleep(write_timeout));
        PatientStream { socket, write_timeout, timer, waiting: false, unread_body, drained: 0 }
    }

    /// Passes on what a write came to; an error when it has been pending for too long.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.waiting = false;
            return outcome;
        }
        if !self.waiting {
            self.waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.write_timeout);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads and drops what still comes, until the peer has closed too.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.waiting {
            self.waiting = true;
            self.timer.as_mut().reset(Instant::now() + LINGER);
        }
        let mut space = [0; 8192];
        while self.drained < LINGER_BYTES && self.timer.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            self.drained += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PatientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PatientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.bounded(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.bounded(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
        if self.unread_body.0.load(Ordering::Relaxed) {
            return self.poll_linger(cx);
        }
        Poll::Ready(Ok(()))
    }
}
