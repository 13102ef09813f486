//! What a witness is told.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use glasslog_core::note::{Algorithm, Signer, VerifierKey};
use glasslog_http::{rate::Rate, serve::ConnectionLimits};
use ipnet::IpNet;
use tokio::net::TcpListener;

use crate::{WitnessError, bastion::Bastions, logs::LogTable, state::WitnessState};

/// Tells the time, in seconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The machine's clock.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Everything that a witness runs on.
pub struct WitnessConfig {
    /// Where requests come in.
    pub listener: TcpListener,
    /// A second listener that answers only `/metrics` and `/health`. With it, the first no longer answers `/metrics`.
    pub metrics_listener: Option<TcpListener>,
    /// The bastions that it can be reached through besides, if any.
    pub bastions: Option<Bastions>,
    /// Its keys, of types 0x04 and 0x06, at least one, all different. All of them sign what they can.
    pub signers: Vec<Arc<dyn Signer>>,
    /// What it must not forget.
    pub state: Arc<dyn WitnessState>,
    /// The logs that it knows; the caller keeps a clone to change them while it runs.
    pub logs: LogTable,
    /// What its pages say of it.
    pub about: About,
    /// Bounds of size, time and number.
    pub limits: Limits,
    /// Peers whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Tells the time of cosignatures.
    pub clock: Clock,
}

/// What the pages of a witness say of it, besides its name and keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The submission prefix, without a trailing slash: `https://witness.example/`.
    pub submission_url: Option<String>,
    /// The monitoring prefix, without a trailing slash; `None`: the same.
    pub monitoring_url: Option<String>,
    /// The lists of logs that it takes, by URL.
    pub lists: Vec<String>,
    /// How often it reads them again.
    pub list_interval: Option<Duration>,
    /// Whom to write to.
    pub contact: Option<String>,
}

/// Bounds that hold for every request, whoever sends it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Of connections.
    pub connections: ConnectionLimits,
    /// How long a body may take from its first byte to its last.
    pub body_timeout: Duration,
    /// How long an answer may take once the request is read.
    pub answer_timeout: Duration,
    /// Checkpoints that are decided on at once; later ones wait.
    pub in_flight: usize,
    /// Checkpoints that all logs together may have cosigned; `None`: any number.
    pub global_rate: Option<Rate>,
    /// Requests to `add-checkpoint` of one client, whatever comes of them; `None`: any number.
    pub client_rate: Option<Rate>,
    /// How often idle clients are forgotten, and a state that took no changes is asked again.
    pub sweep_period: Duration,
    /// How many clients' rates are remembered; more than these share one.
    pub rate_buckets: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let connections =
            ConnectionLimits { head_timeout: Duration::from_secs(25), ..ConnectionLimits::default() };
        Limits {
            connections,
            body_timeout: Duration::from_secs(20),
            answer_timeout: Duration::from_secs(30),
            in_flight: 1024,
            global_rate: None,
            client_rate: None,
            sweep_period: Duration::from_secs(10),
            rate_buckets: 65_536,
        }
    }
}

/// The keys of `signers`, in their order, if they can be one witness's.
///
/// # Errors
///
/// [`WitnessError::NoSigner`], [`WitnessError::NotACosigner`], [`WitnessError::SharedKey`].
pub(crate) fn check_signers(signers: &[Arc<dyn Signer>]) -> Result<Vec<VerifierKey>, WitnessError> {
    let keys: Vec<VerifierKey> = signers.iter().map(|signer| signer.verifier_key().clone()).collect();
    if keys.is_empty() {
        return Err(WitnessError::NoSigner);
    }
    for (n, key) in keys.iter().enumerate() {
        if key.algorithm() == Algorithm::Ed25519 {
            return Err(WitnessError::NotACosigner { name: key.name().to_owned() });
        }
        // An Ed25519 cosignature does not cover the name: "the same public key can't be used across multiple cosigners".
        if keys.iter().take(n).any(|other| other.public_key() == key.public_key()) {
            return Err(WitnessError::SharedKey { name: key.name().to_owned() });
        }
    }
    Ok(keys)
}

impl fmt::Debug for WitnessConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.signers.iter().map(|signer| signer.verifier_key()).collect();
        f.debug_struct("WitnessConfig")
            .field("keys", &keys)
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}
