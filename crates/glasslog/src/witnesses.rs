//! The witnesses of a log that this process serves: which policy holds, and how they are reached.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use glasslog_client::witness::{MAX_ANSWER_BYTES, Refusal, Witness};
use glasslog_core::{
    checkpoint::VerifiedCheckpoint,
    note::{Algorithm, MAX_SIGNATURES, Note, VerifierKey},
    policy::{LineProblem, Policy, PolicyError},
};
use glasslog_log::{Exchange, Received, Transport, Witnessing};
use reqwest::{
    Client, Response, Url,
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

/// The policy that settings describe for a log with these keys (none yet: what depends on them is not checked), with its
/// text; `None` when no witness is asked for.
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
    for witness in policy.witnesses() {
        check_url(&witness.name, witness.url.as_deref())?;
    }
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

/// Refuses an address at which nobody can be asked, or that holds a secret: `/ready` and `/log.json` show it to everybody.
fn check_url(name: &str, url: Option<&str>) -> Result<(), Failed> {
    let Some(url) = url else { return Ok(()) };
    let plain = Url::parse(url).ok().filter(|url| {
        let is_bare = url.username().is_empty() && url.password().is_none();
        let ends_in_path = url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare && ends_in_path
    });
    if plain.is_some() {
        return Ok(());
    }
    Err(Failed::usage(format!(
        "the URL of witness {name} is not its submission prefix, an http(s) URL without user, query and fragment \
         (https://witness.example/prefix)"
    )))
}

fn from_file(file: &Path, log_keys: &[VerifierKey]) -> Result<(Policy, String), Failed> {
    let bytes = read_bounded(file).map_err(|failed| Failed { exit: Exit::Usage, ..failed })?;
    let named = || format!("{}", file.display());
    let policy = Policy::parse(&bytes).with_context(named).or_exit(Exit::Usage)?;
    let logs = policy.logs();
    let is_known = log_keys.is_empty() || logs.iter().any(|log| log_keys.contains(&log.key));
    if !logs.is_empty() && !is_known {
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
        let name = free_name(&witness.name, |name| names.iter().any(|taken| taken == name));
        text += &format!("witness {name} {} {}\n", witness.key, witness.url.as_deref().unwrap_or_default());
        names.push(name);
    }
    let threshold = quorum.unwrap_or(policy.distinct_witnesses() / 2 + 1);
    if policy.is_quorum_none() || threshold == 0 {
        return text + "quorum none\n";
    }
    let group = free_name("external", |name| names.iter().any(|taken| taken == name));
    text + &format!("group {group} {threshold} {}\nquorum {group}\n", names.join(" "))
}

/// `name`, or the first of `name-2`, `name-3`, … that is not taken.
fn free_name(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut free = name.to_owned();
    for number in 2_u32.. {
        if !is_taken(&free) {
            break;
        }
        free = format!("{name}-{number}");
    }
    free
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

/// Whether others than the log itself, whose keys are named as it is, have signed the checkpoint in `note`.
#[must_use]
pub fn have_cosigned(note: &Note, origin: &str) -> bool {
    note.signatures().iter().any(|line| line.name() != origin)
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

    fn new_vkey(name: &str, algorithm: Algorithm) -> VerifierKey {
        crate::keys::generate_of_type(name, algorithm).unwrap().verifier_key().clone()
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

    /// The independent judge is the reader of policy files: it must find the same quorum in the text.
    #[test]
    fn the_text_of_a_list_of_witnesses_asks_for_what_the_list_asks_for() {
        let log = new_vkey("log.example", Algorithm::Ed25519);
        let [a, b, c] = ["a.example", "b.example", "c.example"]
            .map(|name| [Algorithm::CosignatureV1, Algorithm::MlDsa44].map(|kind| new_vkey(name, kind)));
        let [[a4, a6], [b4, b6], [c4, _]] = [&a, &b, &c];
        for (settings, quorum) in [
            (format!("a=http://a={a4},a=http://a={a6},b=http://b={b4},c=http://c={c4}"), None),
            (format!("a=http://a={a4},a=http://a={a6},b=http://b={b4},c=http://c={c4}"), Some(2)),
            (format!("a=http://a={a4},a=http://a={a6},b=http://b={b4},b=http://b={b6}"), None),
            (format!("a=http://x={a4},b=http://x={b4},c=http://c={c4}"), Some(2)),
            (format!("a=http://a={a4},a=http://a={a6},a-2=http://b={b4},external=http://c={c4}"), Some(3)),
            (format!("a=http://a={a4}"), Some(0)),
        ] {
            let meant = Policy::from_settings(std::slice::from_ref(&log), &settings, quorum).unwrap();
            let text = describe(&meant, std::slice::from_ref(&log), quorum);
            let read = Policy::parse(text.as_bytes()).unwrap();
            let keys = meant.witness_keys();
            assert_eq!(read.witness_keys(), keys);
            for present in 0_u32..1 << keys.len() {
                let held = |key: &VerifierKey| {
                    keys.iter().position(|k| k == key).is_some_and(|n| present >> n & 1 == 1)
                };
                assert_eq!(read.is_filled_by(held), meant.is_filled_by(held), "{present:b} of {text}");
            }
        }
    }

    #[test]
    fn addresses_of_witnesses() {
        for url in ["http://127.0.0.1:2026", "https://w.example/a/b/", "http://[::1]:2026"] {
            assert!(check_url("w", Some(url)).is_ok(), "{url}");
        }
        for url in [
            "ftp://w.example",
            "http://u:p@w.example",
            "https://w.example/?a=1",
            "https://w.example/#a",
            "w.example",
        ] {
            let why = check_url("w1", Some(url)).unwrap_err().error.to_string();
            assert!(why.contains("w1") && !why.contains("u:p"), "{url}: {why}");
        }
        assert!(check_url("w", None).is_ok());
    }
}
