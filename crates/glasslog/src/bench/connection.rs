//! One keep-alive HTTP/1.1 connection: as little client as possible, so that the log gets the processor.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode, Uri,
    client::conn::http1::{SendRequest, handshake},
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

/// The longest answer that is read, in bytes: a full bundle of the largest entries.
const MAX_ANSWER_BYTES: usize = 17 * 1024 * 1024;

/// What every body is sent as: `/add-batch` demands it, `/add` takes any.
const ENTRIES: HeaderValue = HeaderValue::from_static("application/vnd.glasslog.entries");

/// The index answers with JSON or with a proof; everything else has one form.
const ANYTHING_BUT_PROOFS_FIRST: HeaderValue = HeaderValue::from_static("text/x.tlog.proof, */*;q=0.5");

/// How long an answer may take: `?wait=published` answers after 30 s at the latest.
const PATIENCE: Duration = Duration::from_secs(45);

/// Where requests go, and what they carry.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    url: Url,
    address: String,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// Why nothing came back. The words are what errors are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Broken {
    Connect,
    Connection,
    Body,
    Timeout,
}

/// An open connection, or one to be opened by the next request.
pub(super) struct Connection<'e> {
    endpoint: &'e Endpoint,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Endpoint {
    /// The log at `url`; `token` goes with each request.
    pub(super) fn new(url: &str, token: Option<&str>) -> Result<Endpoint, String> {
        let with_slash = if url.ends_with('/') { url.into() } else { format!("{url}/") };
        let url = Url::parse(&with_slash).map_err(|error| format!("{url}: {error}"))?;
        let host = url.host_str().filter(|_| url.scheme() == "http");
        let host = host.ok_or("bench speaks plain HTTP only: give an http:// address")?.to_owned();
        let address = format!("{host}:{}", url.port().unwrap_or(80));
        let authorization = token.map(|token| HeaderValue::from_str(&format!("Bearer {token}"))).transpose();
        Ok(Endpoint {
            host: HeaderValue::from_str(&address).map_err(|error| error.to_string())?,
            address,
            url,
            authorization: authorization.map_err(|_| "the token holds characters that no header can")?,
        })
    }

    /// The address below the log, as a request line spells it.
    pub(super) fn uri(&self, path: &str) -> Result<Uri, String> {
        format!("{}{path}", self.url.path()).parse().map_err(|error| format!("{path}: {error}"))
    }

    /// A connection that is opened when it is first used.
    pub(super) fn connection(&self) -> Connection<'_> {
        Connection { endpoint: self, sender: None }
    }
}

impl Connection<'_> {
    /// Sends one request and reads its answer whole. A broken connection is opened again by the next request.
    pub(super) async fn send(&mut self, method: Method, uri: &Uri, body: Bytes) -> Result<Answer, Broken> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange(method, uri, body)).await;
        let answer = answer.unwrap_or(Err(Broken::Timeout));
        if answer.is_err() {
            self.sender = None;
        }
        answer
    }

    /// GET.
    pub(super) async fn get(&mut self, uri: &Uri) -> Result<Answer, Broken> {
        self.send(Method::GET, uri, Bytes::new()).await
    }

    async fn exchange(&mut self, method: Method, uri: &Uri, body: Bytes) -> Result<Answer, Broken> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        request.headers_mut().insert(HOST, self.endpoint.host.clone());
        if *request.method() == Method::POST {
            request.headers_mut().insert(CONTENT_TYPE, ENTRIES);
        } else {
            request.headers_mut().insert(ACCEPT, ANYTHING_BUT_PROOFS_FIRST);
        }
        if let Some(authorization) = &self.endpoint.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let sender = self.open().await?;
        let response = sender.send_request(request).await.map_err(|_| Broken::Connection)?;
        let (head, body) = response.into_parts();
        let seconds = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|_| Broken::Body)?.to_bytes();
        Ok(Answer { status: head.status, retry_after: seconds.map(Duration::from_secs), body })
    }

    async fn open(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, Broken> {
        let usable = match self.sender.take() {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let sender = match usable {
            Some(sender) => sender,
            None => self.connect().await.map_err(|_| Broken::Connect)?,
        };
        Ok(self.sender.insert(sender))
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.endpoint.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Its error reaches whoever waits for the answer.
        tokio::spawn(async move { connection.await.ok() });
        Ok(sender)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Broken::Connect => "cannot connect",
            Broken::Connection => "connection broke",
            Broken::Body => "answer cut off",
            Broken::Timeout => "no answer in time",
        })
    }
}
