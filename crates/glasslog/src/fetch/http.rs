//! Reading over HTTP: bounded bodies, time limits, few and local redirects, patience with a busy server.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, Response, StatusCode,
    header::{ACCEPT, RETRY_AFTER},
    redirect,
};
use url::Url;

use super::FetchError;

/// How long connecting may take, and then each wait for more bytes.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long an answer that is made for one question may take in all; an object may take longer by what it needs at
/// [`SLOWEST_RATE`], so that a server which sends a byte now and then holds nobody up for ever.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// The slowest transfer of an object that is waited for, in bytes per second.
const SLOWEST_RATE: u64 = 16 * 1024;

/// How much of an error's text is read, in bytes.
const MAX_ERROR_BYTES: usize = 1024;

/// How often an object is asked for before a busy or broken server counts as failed.
const ATTEMPTS: u32 = 4;

/// The pause after the first attempt, unless `Retry-After` says one; it grows fourfold with each.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two attempts, whatever `Retry-After` says.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Redirects that are followed for one object.
const MAX_REDIRECTS: usize = 3;

/// A log behind a URL.
#[derive(Clone, Debug)]
pub struct HttpSource {
    client: Client,
    base: Url,
    answer_deadline: Duration,
    first_pause: Duration,
}

/// What is asked for.
struct Request<'r> {
    path: &'r str,
    limit: usize,
    /// The form that is wanted, of an answer that is made for one question.
    accept: Option<&'static str>,
}

impl HttpSource {
    /// The log at `url`, which is the prefix of `/checkpoint`.
    ///
    /// # Errors
    ///
    /// [`FetchError::NoLog`] unless it is an http(s) URL with a host, [`FetchError::Transport`].
    pub fn new(url: &str) -> Result<HttpSource, FetchError> {
        let no_log = || FetchError::NoLog { target: url.into() };
        let with_slash = if url.ends_with('/') { url.into() } else { format!("{url}/") };
        let base = Url::parse(&with_slash).map_err(|_| no_log())?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(no_log());
        }
        let client = Client::builder()
            .user_agent(concat!("glasslog/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE)
            .redirect(stay_on_host(&base))
            .build()
            .map_err(|source| FetchError::Transport { url: url.into(), source })?;
        Ok(HttpSource { client, base, answer_deadline: ANSWER_DEADLINE, first_pause: FIRST_PAUSE })
    }

    #[cfg(test)]
    pub(super) fn with_answer_deadline(self, answer_deadline: Duration) -> HttpSource {
        HttpSource { answer_deadline, first_pause: Duration::from_millis(1), ..self }
    }

    /// The client, with its limits, for other requests to the same log.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The address of `path` below the log.
    #[must_use]
    pub fn url(&self, path: &str) -> Url {
        // Our paths are relative and plain ASCII, so joining cannot fail; the base alone would be a 404.
        self.base.join(path).unwrap_or_else(|_| self.base.clone())
    }

    /// The object at `path`, of at most `limit` bytes; `None` for 404 and 410.
    ///
    /// # Errors
    ///
    /// [`FetchError`], after a few attempts if the server is busy (429, 5xx) or the connection breaks.
    pub async fn get(&self, path: &str, limit: usize) -> Result<Option<Bytes>, FetchError> {
        self.patiently(Request { path, limit, accept: None }).await
    }

    /// The answer to a question, in the form `accept` and within a time limit; otherwise like [`HttpSource::get`].
    ///
    /// # Errors
    ///
    /// [`FetchError`], as [`HttpSource::get`]; at once when the time is over.
    pub async fn ask(
        &self,
        path: &str,
        accept: &'static str,
        limit: usize,
    ) -> Result<Option<Bytes>, FetchError> {
        self.patiently(Request { path, limit, accept: Some(accept) }).await
    }

    async fn patiently(&self, request: Request<'_>) -> Result<Option<Bytes>, FetchError> {
        let mut attempt = 1;
        loop {
            let (error, asked_pause) = match self.attempt(&request).await {
                Ok(Answer::Body(bytes)) => return Ok(Some(bytes)),
                Ok(Answer::Missing) => return Ok(None),
                Ok(Answer::Busy { error, retry_after }) => (error, retry_after),
                Err(FetchError::Transport { url, source })
                    if !(request.accept.is_some() && source.is_timeout()) =>
                {
                    (FetchError::Transport { url, source }, None)
                }
                Err(error) => return Err(error),
            };
            if attempt == ATTEMPTS {
                return Err(error);
            }
            let pause = asked_pause.unwrap_or(self.first_pause * 4_u32.pow(attempt - 1));
            tokio::time::sleep(pause.min(MAX_PAUSE)).await;
            attempt += 1;
        }
    }

    fn deadline(&self, request: &Request<'_>) -> Duration {
        let transfer = if request.accept.is_some() { 0 } else { request.limit as u64 / SLOWEST_RATE };
        self.answer_deadline + Duration::from_secs(transfer)
    }

    async fn attempt(&self, request: &Request<'_>) -> Result<Answer, FetchError> {
        let url = self.url(request.path);
        // The address is told once.
        let failed = |source: reqwest::Error| FetchError::Transport {
            url: url.to_string(),
            source: source.without_url(),
        };
        let mut asking = self.client.get(url.clone()).timeout(self.deadline(request));
        if let Some(accept) = request.accept {
            asking = asking.header(ACCEPT, accept);
        }
        let response = asking.send().await.map_err(failed)?;
        let status = response.status();
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Answer::Missing),
            _ => {
                let retry_after = retry_after(&response);
                let said = first_line(response).await;
                let error = FetchError::Status { url: url.to_string(), status: status.as_u16(), said };
                let busy = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
                return if busy { Ok(Answer::Busy { error, retry_after }) } else { Err(error) };
            }
        }
        let body = read_body(response, request.limit).await.map_err(failed)?;
        body.map(Answer::Body)
            .ok_or_else(|| FetchError::TooLong { path: request.path.into(), limit: request.limit })
    }
}

enum Answer {
    Body(Bytes),
    Missing,
    Busy { error: FetchError, retry_after: Option<Duration> },
}

/// The body, or `None` if it is longer than `limit`.
async fn read_body(mut response: Response, limit: usize) -> Result<Option<Bytes>, reqwest::Error> {
    let announced = response.content_length().unwrap_or(0);
    if announced > limit as u64 {
        return Ok(None);
    }
    let Some(first) = response.chunk().await? else { return Ok(Some(Bytes::new())) };
    if first.len() as u64 == announced {
        return Ok(Some(first));
    }
    let mut body = BytesMut::with_capacity(usize::try_from(announced).unwrap_or(0).max(first.len()));
    let mut chunk = Some(first);
    while let Some(bytes) = chunk {
        if body.len() + bytes.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&bytes);
        chunk = response.chunk().await?;
    }
    Ok(Some(body.freeze()))
}

/// What a server says about its refusal, if it says it briefly.
async fn first_line(response: Response) -> String {
    let body = read_body(response, MAX_ERROR_BYTES).await.ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&body).lines().next().unwrap_or_default().trim().to_owned()
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// A log answers for itself: a redirect may not lead to another host, nor from https to http.
fn stay_on_host(base: &Url) -> redirect::Policy {
    let (scheme, host) = (base.scheme().to_owned(), base.host_str().map(str::to_owned));
    redirect::Policy::custom(move |attempt| {
        let url = attempt.url();
        let same_host = url.host_str() == host.as_deref();
        let as_safe = url.scheme() == scheme || url.scheme() == "https";
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else if same_host && as_safe {
            attempt.follow()
        } else {
            attempt.error("the log redirects to another host, or away from https")
        }
    })
}
