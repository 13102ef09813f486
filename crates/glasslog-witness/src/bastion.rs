//! Serving from behind a bastion (c2sp.org/https-bastion): a witness without a public address connects to one that has
//! it, proves who it is by its backend key, and answers over that connection what clients ask the bastion.
//!
//! Each bastion has a task of its own that connects, serves until the connection ends, and tries again, ever more patiently.

mod address;
mod http2;
mod identity;

use std::{fmt, future::Future, io, net::IpAddr, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use glasslog_http::serve::Handler;
use rustls::{
    ClientConfig, client::Resumption, crypto::CryptoProvider, pki_types::CertificateDer,
    sign::SingleCertAndKey,
};
use rustls_platform_verifier::Verifier;
use tokio::{
    io::AsyncBufReadExt,
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub use address::{AddressError, BastionAddress};
pub use identity::{BackendKey, BackendKeyError};

/// "specifying the ALPN protocol `bastion/0`"
const ALPN: &[u8] = b"bastion/0";

/// Bounds of what a bastion, and whoever it speaks for, can ask of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BastionLimits {
    /// Requests that are answered at once over one connection; a bastion keeps further ones waiting.
    pub streams: u32,
    /// How long connecting may take, TLS and the first word of the bastion included.
    pub connect_timeout: Duration,
    /// How long a connection may be silent before the bastion is asked whether it is still there.
    pub ping_interval: Duration,
    /// How long it may take to say that it is.
    pub ping_timeout: Duration,
    /// The time before connecting anew, at first and at most: it doubles with each failure, and up to as much again is
    /// added at random, so that backends do not all return at once.
    pub retry: (Duration, Duration),
    /// How long requests may be finished once the service is asked to stop.
    pub drain_timeout: Duration,
}

impl Default for BastionLimits {
    fn default() -> Self {
        BastionLimits {
            // More than a stranger's slow bodies fill in their time.
            streams: 512,
            connect_timeout: Duration::from_secs(15),
            ping_interval: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(15),
            retry: (Duration::from_millis(250), Duration::from_secs(60)),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Why nothing can be served through bastions.
#[derive(Debug, thiserror::Error)]
#[error("cannot check the certificates of bastions: install the system's root certificates")]
pub struct RootsError(#[source] rustls::Error);

/// Why a connection to a bastion did not come about, or ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("it cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("it does not speak bastion/0 on this port")]
    NotABastion,
    #[error("it refused the connection ({reason}); has its operator listed the backend key {key_hash}?")]
    Refused { reason: String, key_hash: String },
    #[error("it did not answer within {} s", .0.as_secs())]
    TooSlow(Duration),
    #[error("HTTP/2 failed: {0}")]
    Http2(String),
    #[error("it closed the connection")]
    Closed,
}

/// Bastions, and who this backend is to them.
#[derive(Clone, Debug)]
pub struct Bastions {
    /// Where they are; each once.
    pub addresses: Vec<BastionAddress>,
    /// Connects to them.
    pub client: BastionClient,
}

impl Bastions {
    /// Keeps a connection to each bastion and answers what comes over it, until `stop` says so; then lets requests be
    /// finished. `handler` is told for each request the client's address that the bastion names.
    ///
    /// # Panics
    ///
    /// When the task of a connection does.
    pub async fn serve<H: Handler>(self, handler: Arc<H>, mut stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        for bastion in self.addresses {
            let (client, handler, stop) = (self.client.clone(), handler.clone(), stop.clone());
            tasks.spawn(async move { client.keep_connected(handler, &bastion, stop).await });
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
        // Without bastions too: only `stop` ends this.
        let _ = stop.wait_for(|stop| *stop).await;
    }
}

/// Connects to bastions.
#[derive(Clone)]
pub struct BastionClient {
    connector: TlsConnector,
    key_hash: String,
    limits: BastionLimits,
}

impl BastionClient {
    /// A client that is known to bastions by `key`. Their certificates are checked against the system's roots, to which
    /// `extra_roots` are added.
    ///
    /// # Errors
    ///
    /// [`RootsError`] when there are no roots at all, or one of `extra_roots` is no certificate.
    pub fn new(
        key: &BackendKey,
        extra_roots: Vec<CertificateDer<'static>>,
        limits: BastionLimits,
    ) -> Result<BastionClient, RootsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = tls_config(key, extra_roots, provider).map_err(RootsError)?;
        Ok(BastionClient { connector: TlsConnector::from(Arc::new(tls)), key_hash: key.hash(), limits })
    }

    async fn keep_connected<H: Handler>(
        &self,
        handler: Arc<H>,
        bastion: &BastionAddress,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut delays = self.delays();
        loop {
            let begun = Instant::now();
            let Some(connected) = unless_stopped(&mut stop, self.connect(bastion)).await else { return };
            let ended = match connected {
                Ok((stream, address)) => {
                    tracing::info!(%bastion, "connected");
                    http2::serve(handler.clone(), stream, address, &self.limits, stop.clone()).await
                }
                Err(error) => Err(error),
            };
            if *stop.borrow() {
                return;
            }
            // Bastions are restarted too: one that served for a while is tried anew at once.
            let (_, longest) = self.limits.retry;
            if begun.elapsed() > longest {
                delays = self.delays();
            }
            let delay = delays.next().unwrap_or(longest);
            let reason = ended.err().unwrap_or(Ended::Closed);
            tracing::warn!(%bastion, %reason, retry_ms = delay.as_millis(), "not connected");
            if unless_stopped(&mut stop, tokio::time::sleep(delay)).await.is_none() {
                return;
            }
        }
    }

    fn delays(&self) -> impl Iterator<Item = Duration> + use<> {
        let (shortest, longest) = self.limits.retry;
        ExponentialBuilder::new()
            .with_min_delay(shortest)
            .with_max_delay(longest)
            .with_jitter()
            .without_max_times()
            .build()
    }

    async fn connect(&self, bastion: &BastionAddress) -> Result<(TlsStream<TcpStream>, IpAddr), Ended> {
        let within = self.limits.connect_timeout;
        timeout(within, self.handshake(bastion)).await.map_err(|_| Ended::TooSlow(within))?
    }

    async fn handshake(&self, bastion: &BastionAddress) -> Result<(TlsStream<TcpStream>, IpAddr), Ended> {
        let socket = TcpStream::connect(bastion.endpoint()).await.map_err(Ended::Unreachable)?;
        socket.set_nodelay(true).map_err(Ended::Unreachable)?;
        let address = socket.peer_addr().map_err(Ended::Unreachable)?.ip();
        let name = bastion.server_name().clone();
        let mut stream = self.connector.connect(name, socket).await.map_err(Ended::Tls)?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(Ended::NotABastion);
        }
        // In TLS 1.3 a server judges the client's certificate after the client has finished: whether it took it is known
        // when it begins to speak HTTP/2. Nothing is consumed here.
        let refused = |reason| Ended::Refused { reason, key_hash: self.key_hash.clone() };
        match stream.fill_buf().await {
            Ok([]) => Err(refused("it said nothing".into())),
            Ok(_) => Ok((stream, address)),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

impl fmt::Debug for BastionClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BastionClient")
            .field("key_hash", &self.key_hash)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// "A backend connects to the bastion's backend endpoint with TLS 1.3 […] Other TLS versions MUST be rejected".
fn tls_config(
    key: &BackendKey,
    extra_roots: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<ClientConfig, rustls::Error> {
    let verifier = Verifier::new_with_extra_roots(extra_roots, provider.clone())?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key.certified())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // "The backend MUST present as its client certificate an Ed25519 certificate": in a resumed session it would not.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What `work` comes to, or `None` when it is stopped before.
async fn unless_stopped<T>(stop: &mut watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        // An error means that whoever could stop this is gone, which is as good.
        _ = stop.wait_for(|stop| *stop) => None,
        done = work => Some(done),
    }
}
