//! A source, whole and at rest: a file as it is, a URL as a temporary file. It is read twice, first for its digest, so
//! that nothing of repodata that is older than the last is ever sent.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, anyhow};
use aws_lc_rs::digest;
use reqwest::{Client, Response, header::LAST_MODIFIED};
use url::Url;

use crate::exit::{Exit, Failed, OrExit};

/// The largest source, as served. The largest repodata known has 0.3 GB.
const MAX_BYTES: u64 = 8 << 30;

/// How long connecting may take, and then each wait for more bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a URL is asked for when the connection breaks.
const ATTEMPTS: usize = 3;

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
        .build()?;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match attempt(&client, url).await {
            Ok(fetched) => return Ok(fetched),
            // Only what may pass by itself is tried again.
            Err(error) if error.downcast_ref::<reqwest::Error>().is_some_and(|why| !why.is_status()) => {
                last = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    // The URL itself may carry credentials.
    let host = url.host_str().unwrap_or_default().to_owned();
    Err(last
        .unwrap_or_else(|| anyhow!("no answer"))
        .context(format!("cannot fetch repodata from {host}"))
        .into())
}

async fn attempt(client: &Client, url: &Url) -> anyhow::Result<Fetched> {
    let answer = client.get(url.clone()).send().await;
    // Without the URL: it may carry a token, and ends up on a terminal.
    let mut response = answer.and_then(Response::error_for_status).map_err(reqwest::Error::without_url)?;
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
    Ok(tokio::task::spawn_blocking(move || digested(file, modified)).await??)
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
