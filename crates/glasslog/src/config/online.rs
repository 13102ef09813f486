//! `glasslog config check --online`: what each witness holds of the log. It is only looked at: nothing is submitted.

use std::time::Instant;

use glasslog_client::witness::Witness;
use glasslog_core::{TreeSize, checkpoint::VerifiedCheckpoint, note::VerifierKey};
use glasslog_log::{Exchange, Transport};
use serde::Serialize;

use crate::{
    exit::{Exit, Failed},
    ground::time,
    log_dir,
    output::{Output, Tone},
    settings::LogSettings,
    witnesses::{self, HttpTransport},
};

/// What was seen of the witnesses of one log.
#[derive(Serialize)]
pub(super) struct Seen {
    origin: String,
    /// The size of the log's own public checkpoint.
    public: Option<u64>,
    witnesses: Vec<Look>,
    /// Whether those that answer are enough.
    quorum: bool,
}

#[derive(Serialize)]
struct Look {
    name: String,
    url: String,
    keys: Vec<String>,
    latency_ms: u64,
    /// The size that it holds.
    size: Option<u64>,
    /// When it cosigned that, in seconds since 1970.
    cosigned: Option<u64>,
    problem: Option<String>,
    /// Whether it answers as a witness that can be asked.
    usable: bool,
}

/// Asks all witnesses of `log` at once. `None`: it has none. Blocks.
///
/// # Errors
///
/// [`Failed`] with 64 for a policy that `serve` would refuse, or a log without a key.
pub(super) fn look(log: &LogSettings) -> Result<Option<Seen>, Failed> {
    let keys: Vec<VerifierKey> =
        log_dir::known_keys(log)?.iter().map(|key| key.verifier_key().clone()).collect();
    let Some(origin) = keys.first().map(|key| key.name().to_owned()) else {
        return Err(Failed::usage(format!(
            "the log in {} has no key yet, so that no witness can be asked about it: start it once",
            log.dir.display()
        )));
    };
    let Some((policy, _)) = witnesses::policy(&log.witnesses, &keys)? else { return Ok(None) };
    let public = log_dir::public_checkpoint(log)?
        .and_then(|note| VerifiedCheckpoint::open(&note, &origin, &keys).ok())
        .map(|checkpoint| checkpoint.size().0);
    let transport = HttpTransport::new()?;
    let asked = Witness::of_policy(&policy);
    let looks: Vec<Look> = std::thread::scope(|scope| {
        let ask = |witness| {
            let (transport, origin, keys) = (&transport, &origin, &keys);
            scope.spawn(move || look_at(witness, origin, keys, transport, log.witnesses.timeout))
        };
        let threads: Vec<_> = asked.iter().map(ask).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let usable = |key: &VerifierKey| {
        asked.iter().zip(&looks).any(|(witness, look)| look.usable && witness.keys.contains(key))
    };
    let quorum = policy.is_filled_by(usable);
    Ok(Some(Seen { origin, public, witnesses: looks, quorum }))
}

fn look_at(
    witness: &Witness,
    origin: &str,
    log_keys: &[VerifierKey],
    transport: &HttpTransport,
    timeout: std::time::Duration,
) -> Look {
    let url = witness.monitoring_url(origin);
    let started = Instant::now();
    let answer = transport.exchange(Exchange::Look { url: &url }, timeout);
    let latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (held, problem, usable) = match answer {
        Ok(answer) if answer.status == 200 => match judge(&answer.body, origin, log_keys, witness) {
            Ok(held) => (Some(held), None, true),
            Err(why) => (None, Some(why), false),
        },
        // New to it, or it shows nothing at its submission prefix: many do not.
        Ok(answer) if answer.status == 404 => {
            let why = "it shows no checkpoint of this log: it has cosigned none yet, does not know it, or shows none at this address";
            (None, Some(why.to_owned()), true)
        }
        Ok(answer) => (None, Some(format!("it answers {} for {url}", answer.status)), false),
        Err(refusal) => (None, Some(refusal.to_string()), false),
    };
    Look {
        name: witness.name.clone(),
        url: witness.url.clone(),
        keys: witness.keys.iter().map(ToString::to_string).collect(),
        latency_ms,
        size: held.map(|(size, _)| size.0),
        cosigned: held.map(|(_, time)| time),
        problem,
        usable,
    }
}

/// Size and time of what it shows, if log and witness signed it with the keys that are pinned.
fn judge(
    shown: &[u8],
    origin: &str,
    log_keys: &[VerifierKey],
    witness: &Witness,
) -> Result<(TreeSize, u64), String> {
    let shown = VerifiedCheckpoint::open_with_witnesses(shown, origin, log_keys, &witness.keys)
        .map_err(|why| format!("what it shows is not believed: {why}"))?;
    let time = shown.cosignatures().iter().map(glasslog_core::cosignature::VerifiedCosignature::time).max();
    let time = time.ok_or("what it shows has no cosignature of its pinned key: compare the key in your settings with the one it publishes")?;
    Ok((shown.size(), time))
}

impl Seen {
    pub(super) fn tell(&self, out: &Output) {
        let public =
            self.public.map_or("nothing public yet".to_owned(), |size| format!("public: size {size}"));
        out.line("");
        out.line(out.paint(Tone::Strong, format!("witnesses of {} ({public})", self.origin)));
        for look in &self.witnesses {
            let Look { name, url, latency_ms, .. } = look;
            out.line(format_args!("  {name}  {url}  {latency_ms} ms"));
            for key in &look.keys {
                out.line(format_args!("    {}  {}", out.paint(Tone::Faint, "key  "), shortened(key)));
            }
            if let (Some(size), Some(cosigned)) = (look.size, look.cosigned) {
                let ahead = if self.public.is_some_and(|public| size > public) {
                    ", larger than what is public here"
                } else {
                    ""
                };
                let holds = out.paint(Tone::Good, "holds");
                out.line(format_args!("    {holds}  size {size}{ahead}, cosigned {}", time(cosigned)));
            }
            if let Some(problem) = &look.problem {
                let tone = if look.usable { Tone::Warn } else { Tone::Bad };
                out.line(format_args!("    {}", out.paint(tone, problem)));
            }
        }
        let (tone, word) = if self.quorum {
            (Tone::Good, "those that answer fill the quorum")
        } else {
            (Tone::Bad, "those that answer cannot fill the quorum: nothing would be published")
        };
        out.line(format_args!("  {}", out.paint(tone, word)));
    }

    /// 4 when nothing would be published.
    pub(super) fn exit(&self) -> Exit {
        if self.quorum { Exit::Ok } else { Exit::LogFailure }
    }
}

/// A key as far as a person compares it: an ML-DSA key is longer than a screen is wide.
fn shortened(vkey: &str) -> String {
    const SHOWN: usize = 120;
    match vkey.char_indices().nth(SHOWN).and_then(|(end, _)| vkey.get(..end)) {
        Some(beginning) => format!("{beginning}…"),
        None => vkey.to_owned(),
    }
}
