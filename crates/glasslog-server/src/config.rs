//! What the server is told: limits, tokens, where it stands. Defaults are those of DESIGN.md §4.

use std::time::Duration;

use glasslog_http::{rate::Rate, serve::ConnectionLimits};
use glasslog_log::Log;
use ipnet::IpNet;
use tokio::net::TcpListener;

use crate::tokens::Tokens;

/// How a server answers, whatever logs it serves.
#[derive(Debug, Default)]
pub struct ServerConfig {
    /// Where the world reaches this server (`PUBLIC_URL`), without a trailing slash: `https://log.example.org`.
    pub public_url: Option<String>,
    /// Who may write (`API_KEY`).
    pub tokens: Tokens,
    /// Whether writes without a token are taken (`ALLOW_PUBLIC_WRITES`, or a log that only this machine reaches).
    pub anonymous_writes: bool,
    /// What one client without a token may do (`RATE_LIMIT_PER_SECOND`, `RATE_LIMIT_BURST_SIZE`); `None`: anything.
    pub rate: Option<Rate>,
    /// Peers whose forwarding headers are believed (`TRUSTED_PROXIES`).
    pub trusted_proxies: Vec<IpNet>,
    /// Bounds of size, time and number.
    pub limits: Limits,
    /// A second listener that answers only `/metrics` and `/health` (`METRICS_LISTEN_ADDR`). With it, the public
    /// listener no longer answers `/metrics`.
    pub metrics_listener: Option<TcpListener>,
}

/// Bounds that hold for every request, whoever sends it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections that are open at once; later ones wait in the kernel's queue.
    pub connections: usize,
    /// How long a connection may take to send a request's head; so also how long it may idle.
    pub head_timeout: Duration,
    /// How long a body may take from its first byte to its last.
    pub body_timeout: Duration,
    /// How long a peer may refuse to read what was written to it.
    pub write_timeout: Duration,
    /// How long an answer may take once the request is read.
    pub answer_timeout: Duration,
    /// How long `?wait=published` waits before it answers 202.
    pub publish_timeout: Duration,
    /// How long connections may finish their work once the server is asked to stop.
    pub drain_timeout: Duration,
    /// The largest body of `/add-batch`, in bytes.
    pub batch_bytes: usize,
    /// The most entries of one `/add-batch`.
    pub batch_entries: usize,
    /// How many bytes of tiles and bundles, plain and compressed, are kept in memory for each log.
    pub cache_bytes: usize,
    /// How many bytes of lookups, those larger than 64 KiB, are on their way to readers at once.
    pub outgoing_bytes: usize,
    /// How many clients' rates are remembered; more than these share one.
    pub rate_buckets: usize,
}

impl Limits {
    pub(crate) fn connection_limits(&self) -> ConnectionLimits {
        ConnectionLimits {
            connections: self.connections,
            head_timeout: self.head_timeout,
            write_timeout: self.write_timeout,
            drain_timeout: self.drain_timeout,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 4096,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(30),
            publish_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            batch_bytes: 8 << 20,
            batch_entries: 16_384,
            cache_bytes: 32 << 20,
            outgoing_bytes: 128 << 20,
            rate_buckets: 65_536,
        }
    }
}

/// A log and where it stands below the server's root.
#[derive(Clone)]
pub struct Mount {
    /// The log.
    pub log: Log,
    /// The path it stands at: empty, or like `/conda-forge` (a leading slash, none at the end).
    pub prefix: String,
    /// The value of the label `log` of its metrics.
    pub label: String,
    /// Whether the log is closed for ever: writes get 410.
    pub frozen: bool,
    /// The repositories that its schema accepts (`ENTRY_REPOS`); empty: all.
    pub repos: Vec<String>,
}

impl Mount {
    /// An open log at the server's root.
    #[must_use]
    pub fn at_root(log: Log) -> Mount {
        let label = log.origin().to_owned();
        Mount { log, prefix: String::new(), label, frozen: false, repos: Vec::new() }
    }
}
