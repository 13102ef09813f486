//! Which log a command reads, and what it pins: from flags, and from the client's own settings file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use glasslog_client::pin::Pins;
use glasslog_core::{note::VerifierKey, policy::Policy};
use serde::Deserialize;

use crate::{
    age::parse_age,
    cli::LogArgs,
    exit::{Exit, Failed, OrExit},
    keys::ML_DSA,
};

/// The longest settings or policy file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// How to pin a log, for whoever did not.
pub const HOW_TO_PIN: &str = "no key is pinned: give --vkey with the log's key (its operator publishes it; `glasslog key show` prints \
     it on the log's machine), or --policy with a tlog-policy file, or set vkey for this log in ~/.config/glasslog/config.toml. \
     A key that the log itself serves proves nothing";

/// A log as a client's settings or flags name it.
#[derive(Debug)]
pub struct Target {
    /// Its address.
    pub url: Option<String>,
    /// What is pinned; `None` if nothing is.
    pub pins: Option<Pins>,
    /// The map function of its index, if the settings pin another than [`crate::lookup::DEFAULT_MAP_FN`].
    pub map_fn: Option<String>,
    /// How old the content of the log may be, if the settings say it.
    pub max_content_age: Option<Duration>,
}

/// `[log.NAME]` of `config.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configured {
    url: Option<String>,
    #[serde(default)]
    vkey: Vec<String>,
    policy: Option<PathBuf>,
    map_fn: Option<String>,
    max_content_age: Option<String>,
}

/// `config.toml`: what a client knows about logs. Other tables are of no concern here.
#[derive(Debug, Default, Deserialize)]
struct ClientSettings {
    #[serde(default)]
    log: std::collections::BTreeMap<String, Configured>,
}

impl Target {
    /// What `args` say, completed by the settings file when they name a log of it. Flags win.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64 for a key or policy that is none or an unknown name, 5 for a file that cannot be read.
    pub fn of(args: &LogArgs) -> Result<Target, Failed> {
        let configured = match &args.log {
            Some(name) => configured(name)?,
            None => Configured::default(),
        };
        let vkeys = if args.vkey.is_empty() { &configured.vkey } else { &args.vkey };
        let policy = args.policy.as_ref().or(configured.policy.as_ref());
        Ok(Target {
            url: args.log_url.clone().or(configured.url),
            pins: pins(vkeys, policy.map(PathBuf::as_path))?,
            map_fn: configured.map_fn,
            max_content_age: configured.max_content_age.as_deref().map(content_age).transpose()?,
        })
    }

    /// The address, from `given` (a positional argument) or the settings.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64 if there is none.
    pub fn url(&self) -> Result<&str, Failed> {
        self.url.as_deref().ok_or_else(|| Failed::usage("which log? Give --log-url URL, or --log NAME"))
    }

    /// The pins.
    ///
    /// # Errors
    ///
    /// [`Failed`] with 64 if there are none.
    pub fn pins(&self) -> Result<&Pins, Failed> {
        self.pins.as_ref().ok_or_else(|| Failed::usage(HOW_TO_PIN))
    }
}

fn content_age(text: &str) -> Result<Duration, Failed> {
    parse_age(text).map_err(|error| Failed::usage(format!("max_content_age of the settings: {error}")))
}

fn pins(vkeys: &[String], policy: Option<&Path>) -> Result<Option<Pins>, Failed> {
    let keys = vkeys
        .iter()
        .map(|text| {
            let key = text.parse::<VerifierKey>().map(|key| key.checked_by(&ML_DSA));
            key.map_err(|error| Failed::usage(format!("--vkey {text}: {error}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let pins = match policy {
        Some(path) => {
            let text = read_bounded(path)?;
            let policy = Policy::parse(&text)
                .map_err(|error| Failed::usage(format!("{}: {error}", path.display())))?;
            Pins::of_policy(policy.checked_by(&ML_DSA), &keys)
        }
        None => Pins::of_keys(&keys),
    };
    if pins.is_empty() && policy.is_some() {
        return Err(Failed::usage("the policy names no log; add a `log <vkey>` line, or give --vkey"));
    }
    Ok((!pins.is_empty()).then_some(pins))
}

fn configured(name: &str) -> Result<Configured, Failed> {
    let path = config_directory().map(|directory| directory.join("config.toml")).ok_or_else(|| {
        Failed::usage("--log needs a settings file, and there is no home directory to look in")
    })?;
    let text = read_bounded(&path)?;
    let text =
        String::from_utf8(text).map_err(|_| Failed::usage(format!("{} is not UTF-8", path.display())))?;
    let mut settings: ClientSettings =
        toml::from_str(&text).map_err(|error| Failed::usage(format!("{}: {error}", path.display())))?;
    let mut found = settings.log.remove(name).ok_or_else(|| {
        let known: Vec<&str> = settings.log.keys().map(String::as_str).collect();
        Failed::usage(format!("{} has no [log.{name}] (it has: {})", path.display(), known.join(", ")))
    })?;
    // A relative policy path means a file beside the settings, wherever the command is run.
    found.policy = found.policy.map(|policy| path.with_file_name("").join(policy));
    Ok(found)
}

/// A small file, whole.
pub(crate) fn read_bounded(path: &Path) -> Result<Vec<u8>, Failed> {
    read_at_most(path, MAX_FILE_BYTES)
}

/// A file whole, unless it is longer than `limit` bytes.
pub(crate) fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, Failed> {
    use std::io::Read;
    let cannot = || anyhow::anyhow!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|error| anyhow::Error::new(error).context(cannot().to_string()))
        .or_exit(Exit::OwnFailure)?;
    if bytes.len() as u64 > limit {
        return Err(Failed::usage(format!("{} is longer than {limit} bytes", path.display())));
    }
    Ok(bytes)
}

/// `$XDG_CONFIG_HOME/glasslog`, by default `~/.config/glasslog`.
fn config_directory() -> Option<PathBuf> {
    xdg("XDG_CONFIG_HOME", ".config")
}

/// `$XDG_STATE_HOME/glasslog`, by default `~/.local/state/glasslog`.
pub(crate) fn state_directory() -> Option<PathBuf> {
    xdg("XDG_STATE_HOME", ".local/state")
}

fn xdg(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(variable).or_else(|| Some(absolute("HOME")?.join(below_home)))?;
    Some(base.join("glasslog"))
}
