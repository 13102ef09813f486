//! The witnesses of a log that this process serves: which policy holds, and how they are reached.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use glasslog_client::witness::{MAX_ANSWER_BYTES, Refusal, Witness};
use glasslog_core::{
    checkpoint::VerifiedCheckpoint,
    note::{Algorithm, MAX_SIGNATURES, VerifierKey},
    policy::{LineProblem, Policy, PolicyError},
};
use glasslog_log::{Exchange, Received, Transport, Witnessing};
use reqwest::{
    Client, Response,
    header::{CONTENT_TYPE, RETRY_AFTER},
    redirect,
};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    exit::{Exit, Failed, OrExit},
    fetch::read_bounded,
    keys::ML_DSA,
    log_dir::REFRESH_INTERVAL,
    output::Output,
    settings::WitnessSettings,
};

/// What a note has room for beside two keys of the log and two of its own cosigners: one line more, and the log itself could
/// not read its public checkpoint any more.
const MOST_WITNESS_KEYS: usize = MAX_SIGNATURES - 4;

/// The policy that settings describe for a log with these keys, with its text; `None` when no witness is asked for.
///
/// # Errors
///
/// [`Failed`] with 64: a file that is no policy, a quorum that those who can be asked cannot fill, or that two disjoint sets
/// of witnesses fill.
pub fn policy(
    settings: &WitnessSettings,
    log_keys: &[VerifierKey],
) -> Result<Option<(Policy, String)>, Failed> {
    let (policy, text) = match (&settings.policy_file, &settings.external) {
        (Some(file), _) => from_file(file, log_keys)?,
        (None, Some(external)) => {
            let policy = Policy::from_settings(log_keys, external, settings.quorum);
            let policy = policy.context("EXTERNAL_WITNESSES").or_exit(Exit::Usage)?;
            if policy.witnesses().is_empty() {
                return Ok(None);
            }
            let text = describe(&policy, log_keys, settings.quorum);
            (policy, text)
        }
        (None, None) => return Ok(None),
    };
    if policy.witnesses().len() > MOST_WITNESS_KEYS {
        return Err(Failed::usage(format!(
            "{} witness keys: a checkpoint with more than {MOST_WITNESS_KEYS} cosignatures is one that nobody reads",
            policy.witnesses().len()
        )));
    }
    let reachable = |key: &VerifierKey| {
        policy.witnesses().iter().any(|witness| witness.key == *key && witness.url.is_some())
    };
    if !policy.is_filled_by(reachable) {
        return Err(Failed::usage(
            "the witnesses of the policy that have a URL cannot fill its quorum: give each witness line its URL",
        ));
    }
    if !policy.is_quorum_none() && policy.has_disjoint_quorums() && !settings.allow_disjoint_quorums {
        return Err(Failed::usage(
            "two sets of witnesses without a common member fill this quorum, so that honest witnesses could cosign two \
             views of the log: ask for a majority, or say ALLOW_DISJOINT_QUORUMS=true",
        ));
    }
    Ok(Some((policy.checked_by(&ML_DSA), text)))
}

fn from_file(file: &Path, log_keys: &[VerifierKey]) -> Result<(Policy, String), Failed> {
    let bytes = read_bounded(file).map_err(|failed| Failed { exit: Exit::Usage, ..failed })?;
    let named = || format!("{}", file.display());
    let policy = Policy::parse(&bytes).with_context(named).or_exit(Exit::Usage)?;
    let logs = policy.logs();
    if !logs.is_empty() && !logs.iter().any(|log| log_keys.contains(&log.key)) {
        return Err(Failed::usage(format!(
            "{} is a policy for other logs: it has no line for this log's key",
            named()
        )));
    }
    let own = |key: &VerifierKey| log_keys.iter().any(|log| log.name() == key.name());
    if let Some(witness) = policy.witnesses().iter().find(|witness| own(&witness.key)) {
        let why =
            PolicyError::Setting(witness.name.clone(), LineProblem::OwnCosigner(witness.key.name().into()));
        return Err(why).with_context(named).or_exit(Exit::Usage);
    }
    Ok((policy, String::from_utf8_lossy(&bytes).into_owned()))
}

/// The list of `EXTERNAL_WITNESSES` as the policy file that asks for the same.
fn describe(policy: &Policy, log_keys: &[VerifierKey], quorum: Option<usize>) -> String {
    let mut text = String::new();
    for key in log_keys {
        text += &format!("log {key}\n");
    }
    let mut names: Vec<String> = Vec::new();
    for witness in policy.witnesses() {
        let taken = names.iter().filter(|name| **name == witness.name).count();
        let name =
            if taken == 0 { witness.name.clone() } else { format!("{}-{}", witness.name, names.len()) };
        text += &format!("witness {name} {} {}\n", witness.key, witness.url.as_deref().unwrap_or_default());
        names.push(name);
    }
    let threshold = quorum.unwrap_or(policy.distinct_witnesses() / 2 + 1);
    if policy.is_quorum_none() || threshold == 0 {
        return text + "quorum none\n";
    }
    text + &format!("group external {threshold} {}\nquorum external\n", names.join(" "))
}

/// The keys of a log's own cosigners: of type 0x04 (a 0x01 text becomes one) or 0x06, named as the log.
///
/// # Errors
///
/// [`Failed`] with 64.
pub fn own_cosigners(texts: &str, log_keys: &[VerifierKey]) -> Result<Vec<crate::keys::KeySigner>, Failed> {
    use glasslog_core::note::Signer;
    let keys =
        crate::keys::parse_several(texts).context("LOG_COSIGNER_KEY is not a key").or_exit(Exit::Usage)?;
    let signers = keys.iter().map(crate::keys::cosigner).collect::<Result<Vec<_>, _>>()?;
    for signer in &signers {
        let key = signer.verifier_key();
        if !log_keys.iter().any(|log| log.name() == key.name()) {
            return Err(Failed::usage(format!(
                "LOG_COSIGNER_KEY is named {}: a log's own cosigner is named as its origin",
                key.name()
            )));
        }
        if log_keys.iter().any(|log| log.public_key() == key.public_key()) {
            return Err(Failed::usage(
                "LOG_COSIGNER_KEY is the key that signs checkpoints: a cosigner has a key of its own (`glasslog key new`)",
            ));
        }
    }
    let count = |algorithm| signers.iter().filter(|s| s.verifier_key().algorithm() == algorithm).count();
    if count(Algorithm::CosignatureV1) > 1 || count(Algorithm::MlDsa44) > 1 {
        return Err(Failed::usage(
            "LOG_COSIGNER_KEY has two keys of one type; give one of 0x04 and one of 0x06",
        ));
    }
    Ok(signers)
}

/// How the witnesses of `policy` (with its text) are asked.
///
/// # Errors
///
/// [`Failed`] as [`HttpTransport::new`].
pub fn witnessing(settings: &WitnessSettings, policy: (Policy, String)) -> Result<Witnessing, Failed> {
    let (policy, policy_text) = policy;
    Ok(Witnessing {
        policy,
        policy_text,
        transport: Arc::new(HttpTransport::new()?),
        timeout: settings.timeout,
        refresh_interval: REFRESH_INTERVAL,
        start_unconfirmed: settings.start_unconfirmed,
    })
}

/// The largest checkpoint of the log that any witness shows, signed by one of `log_keys`: what `glasslog recover` must not
/// fall behind. Blocks; says of each witness what it shows.
///
/// # Errors
///
/// [`Failed`] as [`HttpTransport::new`]; with 4 when a witness does not answer, unless the settings say to go on unconfirmed.
pub fn largest_shown(
    policy: &Policy,
    settings: &WitnessSettings,
    log_keys: &[VerifierKey],
    out: &Output,
) -> Result<Option<VerifiedCheckpoint>, Failed> {
    let transport = HttpTransport::new()?;
    let origin = log_keys.first().map_or("", VerifierKey::name);
    let mut largest: Option<VerifiedCheckpoint> = None;
    let mut silent: Vec<String> = Vec::new();
    for witness in Witness::of_policy(policy) {
        let url = witness.monitoring_url(origin);
        let shown = match transport.exchange(Exchange::Look { url: &url }, settings.timeout) {
            Ok(Received { status: 200, body, .. }) => {
                VerifiedCheckpoint::open(&body, origin, log_keys).map_err(|why| why.to_string())
            }
            Ok(Received { status, .. }) => {
                if status == 429 || status >= 500 {
                    silent.push(witness.name.clone());
                }
                Err(format!("it answers {status} for {url}"))
            }
            Err(refusal) => {
                silent.push(witness.name.clone());
                Err(refusal.to_string())
            }
        };
        match shown {
            Ok(shown) => {
                out.note(format_args!("witness {} has seen size {}", witness.name, shown.size()));
                largest = largest.into_iter().chain([shown]).max_by_key(VerifiedCheckpoint::size);
            }
            Err(why) => {
                out.warn(format_args!("witness {} shows no checkpoint of this log: {why}", witness.name));
            }
        }
    }
    if silent.is_empty() || settings.start_unconfirmed {
        return Ok(largest);
    }
    Err(Failed::new(
        Exit::LogFailure,
        format!(
            "{} cannot be asked what they have seen of this log, and what is recovered without a larger checkpoint that they \
             hold is a fork, with the objects of that checkpoint removed: run this again when they answer, or, if they have \
             seen no more than the others, with --start-unconfirmed true",
            silent.join(", ")
        ),
    ))
}

/// Reaches witnesses over HTTP with connections that are kept.
pub struct HttpTransport {
    client: Client,
    runtime: Handle,
    closed: watch::Sender<bool>,
}

impl HttpTransport {
    /// On the runtime of the caller, which must outlive it.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 5 when there is no runtime, or no HTTP client can be made.
    pub fn new() -> Result<HttpTransport, Failed> {
        let client = Client::builder()
            .user_agent(concat!("glasslog/", env!("CARGO_PKG_VERSION")))
            // A POST must not become a GET, and the operator has named the address.
            .redirect(redirect::Policy::none())
            .build()?;
        let runtime = Handle::try_current()?;
        Ok(HttpTransport { client, runtime, closed: watch::Sender::new(false) })
    }

    async fn send(&self, request: Exchange<'_>) -> Result<Received, Refusal> {
        let request = match request {
            Exchange::Submit { url, body } => self.client.post(url).body(body.to_vec()),
            Exchange::Look { url } => self.client.get(url),
        };
        receive(request.send().await.map_err(unreachable)?).await
    }
}

impl Transport for HttpTransport {
    fn exchange(&self, request: Exchange<'_>, timeout: Duration) -> Result<Received, Refusal> {
        let mut closed = self.closed.subscribe();
        self.runtime.block_on(async {
            tokio::select! {
                answer = tokio::time::timeout(timeout, self.send(request)) => answer.unwrap_or_else(|_| {
                    Err(Refusal::Unreachable(format!("no answer within {} ms", timeout.as_millis())))
                }),
                _ = closed.wait_for(|closed| *closed) => Err(Refusal::Unreachable("this log is stopping".into())),
            }
        })
    }

    fn close(&self) {
        self.closed.send_replace(true);
    }
}

/// The answer, of at most [`MAX_ANSWER_BYTES`].
async fn receive(mut response: Response) -> Result<Received, Refusal> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let mut received = Received {
        status: response.status().as_u16(),
        content_type: header(CONTENT_TYPE).unwrap_or_default().to_owned(),
        retry_after_s: header(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()),
        body: Vec::new(),
    };
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if received.body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Refusal::TooLong);
        }
        received.body.extend_from_slice(&chunk);
    }
    Ok(received)
}

/// The innermost cause says it best: "connection refused".
#[allow(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn unreachable(error: reqwest::Error) -> Refusal {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Refusal::Unreachable(cause.to_string())
}

#[cfg(test)]
mod tests {
    use glasslog_core::note::SecretKey;

    use super::*;

    fn vkey(name: &str, algorithm: Algorithm, seed: u8) -> VerifierKey {
        SecretKey::from_seed(name, algorithm, &[seed; 32]).unwrap().verifier_key().clone()
    }

    #[test]
    fn a_checkpoint_has_room_for_every_witness() {
        let log_keys = [vkey("log.example", Algorithm::Ed25519, 255)];
        let settings = |count: usize| {
            let setting = |n: usize| {
                let key = vkey(&format!("w{n}.example"), Algorithm::CosignatureV1, u8::try_from(n).unwrap());
                format!("w{n}=http://w{n}.example={key}")
            };
            let external = (0..count).map(setting).collect::<Vec<_>>().join(",");
            WitnessSettings { external: Some(external), ..WitnessSettings::default() }
        };
        assert!(policy(&settings(MOST_WITNESS_KEYS), &log_keys).unwrap().is_some());
        let refused = policy(&settings(MOST_WITNESS_KEYS + 1), &log_keys).unwrap_err();
        assert!(refused.error.to_string().contains("97 witness keys"), "{:#}", refused.error);
    }

    /// Verifiers take the policy from `/log.json`: it must ask for what the log asks for.
    #[test]
    fn the_policy_that_is_shown_is_the_one_that_holds() {
        let log_keys = [vkey("log.example", Algorithm::Ed25519, 1)];
        let mut external = String::new();
        for n in 2..5 {
            for seed in [n, n + 100] {
                let key = vkey(&format!("w{n}.example"), Algorithm::CosignatureV1, seed);
                external += &format!("w{n}=http://w{n}.example={key},");
            }
        }
        let settings = WitnessSettings { external: Some(external), ..WitnessSettings::default() };
        let (policy, text) = policy(&settings, &log_keys).unwrap().unwrap();
        let shown = Policy::parse(text.as_bytes()).unwrap();
        for present in 0_u8..64 {
            let is_present = |key: &VerifierKey| {
                let place = policy
                    .witnesses()
                    .iter()
                    .position(|witness| witness.key.public_key() == key.public_key());
                present >> place.unwrap() & 1 == 1
            };
            assert_eq!(
                policy.is_filled_by(is_present),
                shown.is_filled_by(is_present),
                "{present:b}: {text}"
            );
        }
    }
}
