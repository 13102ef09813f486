//! A source, whole and at rest: a file as it is, a URL as a temporary file. It is read twice, first for its digest, so
//! that nothing of repodata that is older than the last is ever sent. A URL that is https stays so through redirects.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context;
use aws_lc_rs::digest;
use reqwest::{
    Client, Response, StatusCode,
    header::{LAST_MODIFIED, RETRY_AFTER},
    redirect,
};
use url::Url;

use crate::exit::{Exit, Failed, OrExit};

/// The largest source, as served. The largest repodata known has 0.3 GB.
const MAX_BYTES: u64 = 8 << 30;

/// How long connecting may take, and then each wait for more bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a URL is asked for when the connection breaks or the server is busy.
const ATTEMPTS: usize = 3;

/// The pause before a URL is asked for again, unless the server says how long …
const PAUSE: Duration = Duration::from_secs(1);

/// … and the longest, whatever it says.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Redirects that are followed: mirrors and CDNs need one or two.
const MAX_REDIRECTS: usize = 10;

/// A source at rest.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Its bytes as served, from the beginning.
    pub(super) file: File,
    /// SHA-256 of them.
    pub(super) digest: [u8; 32],
    /// When its owner last changed it, in seconds since the Unix epoch, if that is known.
    pub(super) modified: Option<i64>,
}

/// Fetches a file, a `file:` URL or an http(s) URL.
///
/// # Errors
///
/// [`Failed`] with 5 when it cannot be read, 64 for another sort of URL.
pub(super) async fn fetch(location: &str) -> Result<Fetched, Failed> {
    if !location.contains("://") && !location.starts_with("file:") {
        return open(Path::new(location).to_owned()).await;
    }
    let url =
        Url::parse(location).with_context(|| format!("{location} is not a URL")).or_exit(Exit::Usage)?;
    match url.scheme() {
        "file" => match url.to_file_path() {
            Ok(path) => open(path).await,
            Err(()) => Err(Failed::usage(format!("{location} names no file of this machine"))),
        },
        "http" | "https" => download(&url).await,
        other => Err(Failed::usage(format!(
            "{location}: {other} is not understood; give a file or an http(s) URL"
        ))),
    }
}

async fn open(path: std::path::PathBuf) -> Result<Fetched, Failed> {
    let opened = tokio::task::spawn_blocking(move || {
        let read = || {
            let file = File::open(&path)?;
            if file.metadata()?.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            let modified = file.metadata()?.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let modified = modified.and_then(|at| i64::try_from(at.as_secs()).ok());
            digested(file, modified)
        };
        read().with_context(|| format!("cannot read {}", path.display()))
    });
    Ok(opened.await??)
}

async fn download(url: &Url) -> Result<Fetched, Failed> {
    let client = Client::builder()
        .user_agent(concat!("glasslog/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(PATIENCE)
        .read_timeout(PATIENCE)
        .redirect(redirect::Policy::custom(follow))
        .build()?;
    let mut tries = 1;
    loop {
        let (error, pause) = match attempt(&client, url).await {
            Ok(Attempt::Fetched(fetched)) => return Ok(fetched),
            Ok(Attempt::Busy { error, pause }) => (error, pause),
            // Only what may pass by itself is tried again.
            Err(error) if error.downcast_ref::<reqwest::Error>().is_some_and(may_pass) => (error, PAUSE),
            Err(error) => return Err(cannot_fetch(url, error)),
        };
        if tries == ATTEMPTS {
            return Err(cannot_fetch(url, error));
        }
        tries += 1;
        tokio::time::sleep(pause).await;
    }
}

/// The URL itself may carry credentials, and ends up on a terminal: its host says enough.
fn cannot_fetch(url: &Url, error: anyhow::Error) -> Failed {
    error.context(format!("cannot fetch repodata from {}", url.host_str().unwrap_or_default())).into()
}

fn may_pass(error: &reqwest::Error) -> bool {
    !error.is_status() && !error.is_redirect()
}

/// To any host, as mirrors do, but never from https to http, where anyone on the way could put in other repodata.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let was_safe = attempt.previous().iter().any(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if leaves_https(was_safe, attempt.url()) {
        attempt.error("it redirects from https to http")
    } else {
        attempt.follow()
    }
}

fn leaves_https(was_safe: bool, to: &Url) -> bool {
    was_safe && to.scheme() != "https"
}

/// What one request came to.
enum Attempt {
    Fetched(Fetched),
    /// The server asks for patience.
    Busy {
        error: anyhow::Error,
        pause: Duration,
    },
}

async fn attempt(client: &Client, url: &Url) -> anyhow::Result<Attempt> {
    let response = client.get(url.clone()).send().await.map_err(reqwest::Error::without_url)?;
    let status = response.status();
    let pause = pause_of(&response);
    let mut response = match response.error_for_status().map_err(reqwest::Error::without_url) {
        Ok(response) => response,
        Err(error) if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
            return Ok(Attempt::Busy { error: error.into(), pause });
        }
        Err(error) => return Err(error.into()),
    };
    let modified = response
        .headers()
        .get(LAST_MODIFIED)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| jiff::fmt::rfc2822::parse(text).ok())
        .map(|at| at.timestamp().as_second());
    let mut file = tempfile::tempfile().context("no temporary file")?;
    let mut written = 0;
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        written += chunk.len() as u64;
        anyhow::ensure!(written <= MAX_BYTES, "the source has more than {MAX_BYTES} bytes");
        file.write_all(&chunk).context("cannot write a temporary file")?;
    }
    Ok(Attempt::Fetched(tokio::task::spawn_blocking(move || digested(file, modified)).await??))
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3), within bounds.
fn pause_of(response: &Response) -> Duration {
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    asked.map_or(PAUSE, Duration::from_secs).min(MAX_PAUSE)
}

/// The file with its digest, from the beginning.
fn digested(mut file: File, modified: Option<i64>) -> io::Result<Fetched> {
    file.rewind()?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 256 << 10];
    let mut left = MAX_BYTES;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        left = left.checked_sub(read as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        context.update(buffer.get(..read).unwrap_or_default());
    }
    file.rewind()?;
    let digest = context.finish().as_ref().try_into().map_err(io::Error::other)?;
    Ok(Fetched { file, digest, modified })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        net::TcpListener,
    };

    use super::*;

    /// Gives these answers, one a connection.
    fn web(answers: Vec<&'static str>) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/noarch/repodata.json", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let _head = lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).count();
                let head = format!("HTTP/1.1 {answer}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}");
                stream.write_all(head.as_bytes()).unwrap();
            }
        });
        url.parse().unwrap()
    }

    #[tokio::test]
    async fn a_busy_server_is_asked_again() {
        let busy = ["429 Too Many Requests\r\nRetry-After: 0", "503 Service Unavailable\r\nRetry-After: 0"];
        let mut fetched = download(&web([&busy[..], &["200 OK"]].concat())).await.unwrap();
        let mut text = String::new();
        fetched.file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "{}");
        let failed = download(&web([&busy[..], &busy[..1]].concat())).await.unwrap_err();
        assert!(format!("{:#}", failed.error).contains("429"), "{:#}", failed.error);
        let failed = download(&web(vec!["404 Not Found", "200 OK"])).await.unwrap_err();
        assert!(format!("{:#}", failed.error).contains("404"), "not asked again: {:#}", failed.error);
    }

    #[test]
    fn https_is_never_left() {
        let to = |url: &str| url.parse::<Url>().unwrap();
        assert!(leaves_https(true, &to("http://example.org/")));
        assert!(!leaves_https(true, &to("https://example.org/")));
        assert!(!leaves_https(false, &to("http://example.org/")));
    }
}
