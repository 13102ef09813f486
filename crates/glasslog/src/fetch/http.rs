//! Reading over HTTP: bounded bodies, time limits, few and local redirects, patience with a busy server.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Client, Response, StatusCode, header::RETRY_AFTER, redirect};
use url::Url;

use super::FetchError;

/// How long connecting may take, and then each wait for more bytes.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often an object is asked for before a busy or broken server counts as failed.
const ATTEMPTS: u32 = 4;

/// The longest pause between two attempts, whatever `Retry-After` says.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Redirects that are followed for one object.
const MAX_REDIRECTS: usize = 3;

/// A log behind a URL.
#[derive(Clone, Debug)]
pub struct HttpSource {
    client: Client,
    base: Url,
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
        Ok(HttpSource { client, base })
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
        let mut attempt = 1;
        loop {
            let (error, asked_pause) = match self.attempt(path, limit).await {
                Ok(Answer::Body(bytes)) => return Ok(Some(bytes)),
                Ok(Answer::Missing) => return Ok(None),
                Ok(Answer::Busy { error, retry_after }) => (error, retry_after),
                Err(error @ FetchError::Transport { .. }) => (error, None),
                Err(error) => return Err(error),
            };
            if attempt == ATTEMPTS {
                return Err(error);
            }
            let pause = asked_pause.unwrap_or(Duration::from_millis(100) * 4_u32.pow(attempt - 1));
            tokio::time::sleep(pause.min(MAX_PAUSE)).await;
            attempt += 1;
        }
    }

    async fn attempt(&self, path: &str, limit: usize) -> Result<Answer, FetchError> {
        let url = self.url(path);
        let failed = |source| FetchError::Transport { url: url.to_string(), source };
        let response = self.client.get(url.clone()).send().await.map_err(failed)?;
        let status = response.status();
        let error = || FetchError::Status { url: url.to_string(), status: status.as_u16() };
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Answer::Missing),
            StatusCode::TOO_MANY_REQUESTS => {
                return Ok(Answer::Busy { error: error(), retry_after: retry_after(&response) });
            }
            _ if status.is_server_error() => {
                return Ok(Answer::Busy { error: error(), retry_after: retry_after(&response) });
            }
            _ => return Err(error()),
        }
        let body = read_body(response, limit).await.map_err(failed)?;
        body.map(Answer::Body).ok_or_else(|| FetchError::TooLong { path: path.into(), limit })
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
