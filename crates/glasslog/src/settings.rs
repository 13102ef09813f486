//! Settings: flags over environment over one TOML file, interpreted once, before anything starts.
//!
//! [`table`] lists every setting, [`layers`] gathers who said what, [`values`] says what a text means; here the result
//! becomes types, and what cannot be meant is refused with the name of the setting and of who gave it.

pub mod layers;
pub mod table;
pub mod values;
pub mod witness;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use glasslog_vindex::JsonField;
use ipnet::IpNet;
use zeroize::Zeroizing;

use layers::{Given, Layer, Layers, Source};
pub use layers::{SettingFlags, WitnessFlags};
use table::{Kind, Setting, TABLE};
use values::StatePlace;

/// The settings file that is read when it lies in the current directory and `--config` names no other.
pub const DEFAULT_FILE: &str = "glasslog.toml";

/// Where a log keeps everything unless told otherwise.
pub const DEFAULT_DIR: &str = "./glasslog-data";

/// Why settings cannot be used. All end in exit code 64.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A settings or secret file.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The settings file is no TOML.
    #[error("{}, line {line}: {why}", path.display())]
    Toml {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A key that is no setting, or may not stand there, or has a value of the wrong sort.
    #[error("{}: {key} is not a setting here; `glasslog {command} --help` lists those there are", path.display())]
    UnknownKey {
        /// Which file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Whose settings are meant.
        command: &'static str,
    },
    /// One value from two places of the same rank.
    #[error("{first} and {second} are both given; keep one")]
    Twice {
        /// One place.
        first: Source,
        /// The other.
        second: Source,
    },
    /// A value that means nothing.
    #[error("{name} (from {from}): {why}")]
    Invalid {
        /// The setting.
        name: &'static str,
        /// Who gave it.
        from: Source,
        /// What to write instead.
        why: String,
    },
    /// A setting of something that this build does not have.
    #[error(
        "{name} is given (from {from}), but this build cannot {what} yet: remove it, or wait for the release that can"
    )]
    NotYet {
        /// The setting.
        name: String,
        /// Who gave it.
        from: Source,
        /// What it cannot do.
        what: &'static str,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Together(String),
}

/// Form of the lines on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What a process that serves logs was told.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to answer `/metrics` instead of there.
    pub metrics_listen: Option<SocketAddr>,
    /// Where the world reaches this server.
    pub public_url: Option<String>,
    /// Tokens for writes.
    pub api_keys: Vec<Zeroizing<String>>,
    /// Whether writes without a token are taken.
    pub anonymous_writes: bool,
    /// Anonymous requests per client: a second, and at once.
    pub rate: Option<(u32, u32)>,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Form of the lines on stderr.
    pub log_format: LogFormat,
    /// At least one.
    pub logs: Vec<LogSettings>,
}

/// What was said about one log.
#[derive(Debug)]
pub struct LogSettings {
    /// Below which path it is served: empty, or `/name`.
    pub prefix: String,
    /// Where it keeps everything.
    pub dir: PathBuf,
    /// Its origin, if it was given.
    pub origin: Option<String>,
    /// Its signing key, if it was given.
    pub private_key: Option<Zeroizing<String>>,
    /// Where its state lies.
    pub state: StatePlace,
    /// Its public directory, when that is not `DIR/public`.
    pub fs_root: Option<PathBuf>,
    /// Pause between checkpoints; zero: as soon as the last publication is done.
    pub checkpoint_interval: Duration,
    /// Entries of one commit.
    pub batch_max_size: usize,
    /// How long a first entry waits for company.
    pub batch_max_age: Duration,
    /// Whether an equal entry gets the index it has.
    pub dedup: bool,
    /// Bytes that may wait for their commit.
    pub pool_max_bytes: u64,
    /// Bytes that may wait to be hashed into tiles.
    pub backlog_max_bytes: u64,
    /// Whether only conda entries are taken (`ENTRY_SCHEMA=conda-1`).
    pub conda: bool,
    /// The repos that are taken; empty: all.
    pub repos: Vec<String>,
    /// Its verifiable index.
    pub index: IndexSettings,
    /// Who cosigns its checkpoints.
    pub witnesses: WitnessSettings,
    /// Keys of its own cosigners, if any were given.
    pub cosigner_key: Option<Zeroizing<String>>,
}

/// What was said about the verifiable index of one log.
#[derive(Clone, Debug)]
pub struct IndexSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Whether that was said, and does not only follow from what there is to index by.
    pub is_said: bool,
    /// The member by which JSON entries are indexed; without it and with a schema, the map function is the schema's.
    pub key_field: Option<JsonField>,
    /// It becomes durable at least every so many entries.
    pub snapshot_interval: u64,
}

/// What was said about the witnesses of one log.
#[derive(Clone, Debug, Default)]
pub struct WitnessSettings {
    /// `EXTERNAL_WITNESSES`.
    pub external: Option<String>,
    /// How many of them; a majority if it was not said.
    pub quorum: Option<usize>,
    /// A policy file instead.
    pub policy_file: Option<PathBuf>,
    /// How long a witness may take.
    pub timeout: Duration,
    /// Whether two disjoint sets may fill the quorum.
    pub allow_disjoint_quorums: bool,
    /// Whether to sign before a quorum has confirmed the state.
    pub start_unconfirmed: bool,
}

impl Settings {
    /// Interprets what was given. `dir` is `--dir`.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] for values that mean nothing and settings that do not go together.
    pub fn resolve(layers: &Layers, dir: Option<&Path>) -> Result<Settings, SettingsError> {
        let common = Values(vec![&layers.given, &layers.file], TABLE);
        let listen = common.required("LISTEN_ADDR", values::address)?;
        let api_keys: Vec<_> = common
            .text("API_KEY")
            .map(|given| values::list(&given.text).map(|key| Zeroizing::new(key.to_owned())).collect())
            .unwrap_or_default();
        let trusted_proxies = common.get("TRUSTED_PROXIES", values::networks)?.unwrap_or_default();
        let public_url = common.get("PUBLIC_URL", values::public_url)?;
        let only_this_machine = is_for_this_machine(listen, &trusted_proxies, &public_url);
        let public_writes = common.get("ALLOW_PUBLIC_WRITES", values::truth)?;
        if api_keys.is_empty() && public_writes != Some(true) && !only_this_machine {
            return Err(SettingsError::Together(format!(
                "others can reach {}: give API_KEY (or --api-key-file), or say ALLOW_PUBLIC_WRITES=true to take \
                 writes from anyone",
                public_url.as_deref().map_or_else(|| listen.to_string(), str::to_owned)
            )));
        }
        Ok(Settings {
            listen,
            metrics_listen: common.get("METRICS_LISTEN_ADDR", values::address)?,
            anonymous_writes: public_writes.unwrap_or(api_keys.is_empty() && only_this_machine),
            rate: common.rate(only_this_machine)?,
            public_url,
            api_keys,
            trusted_proxies,
            log_format: common.required("LOG_FORMAT", values::log_format)?,
            logs: logs(layers, dir)?,
        })
    }
}

/// Whether nobody else can be meant to come here.
fn is_for_this_machine(listen: SocketAddr, proxies: &[IpNet], public_url: &Option<String>) -> bool {
    listen.ip().is_loopback() && proxies.is_empty() && !leads_here(public_url)
}

/// Whether a public address is more than this machine's own: then a proxy we were not told of may stand before us.
fn leads_here(public_url: &Option<String>) -> bool {
    let host =
        public_url.as_deref().and_then(|url| url::Url::parse(url).ok()).and_then(|url| match url.host()? {
            url::Host::Domain(name) => Some(name != "localhost"),
            url::Host::Ipv4(address) => Some(!address.is_loopback()),
            url::Host::Ipv6(address) => Some(!address.is_loopback()),
        });
    host.unwrap_or(false)
}

/// Each `[[log]]`, or the only log.
fn logs(layers: &Layers, dir: Option<&Path>) -> Result<Vec<LogSettings>, SettingsError> {
    let base = dir.or(layers.dir.as_deref()).unwrap_or(Path::new(DEFAULT_DIR));
    if layers.logs.is_empty() {
        return Ok(vec![one_log(
            &Values(vec![&layers.given, &layers.file], TABLE),
            String::new(),
            base.to_owned(),
        )?]);
    }
    let several = layers.logs.len() > 1;
    let misplaced = |setting: &&Setting| {
        let shared = matches!(setting.kind, Kind::Log);
        let given = setting.is_per_log() && layers.given.contains_key(setting.name);
        given || (setting.is_per_log() && !shared && layers.file.contains_key(setting.name))
    };
    if several && let Some(setting) = TABLE.iter().find(misplaced) {
        return Err(SettingsError::Together(format!(
            "{} is about one log, and the settings file has several: say it in the [[log]] that is meant",
            setting.name
        )));
    }
    let mut names = BTreeMap::new();
    let mut logs = Vec::new();
    for table in &layers.logs {
        let prefix = prefix(&table.name, several)?;
        if names.insert(table.name.as_str(), ()).is_some() {
            return Err(SettingsError::Together(format!("two [[log]] are called {:?}", table.name)));
        }
        // Flags and variables describe the only log; where there are several, `misplaced` has left none.
        let values = Values(vec![&layers.given, &table.layer, &layers.file], TABLE);
        let dir = table
            .dir
            .clone()
            .unwrap_or_else(|| if several { base.join(&table.name) } else { base.to_owned() });
        logs.push(one_log(&values, prefix, dir)?);
    }
    Ok(logs)
}

/// `/name`: one segment of a path that cannot be taken for one of the API.
fn prefix(name: &str, needed: bool) -> Result<String, SettingsError> {
    let spelled = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let reserved = [
        "add",
        "add-batch",
        "checkpoint",
        "health",
        "log.json",
        "metrics",
        "openapi.json",
        "proof",
        "ready",
        "tile",
        "vindex",
    ];
    match name {
        "" if !needed => Ok(String::new()),
        _ if spelled && !name.starts_with('.') && !reserved.contains(&name) => Ok(format!("/{name}")),
        _ => Err(SettingsError::Together(format!(
            "[[log]] name {name:?}: it becomes the log's path, so write letters, digits, '-', '_' or '.', not a word of the API"
        ))),
    }
}

fn one_log(values: &Values<'_>, prefix: String, dir: PathBuf) -> Result<LogSettings, SettingsError> {
    values.required("STORAGE_BACKEND", |text| match text {
        "fs" => Ok(()),
        "s3" => Err("this build keeps objects in a directory only, not in a bucket yet".into()),
        _ => Err("write fs".into()),
    })?;
    let conda = values.get("ENTRY_SCHEMA", |text| match text {
        "conda-1" => Ok(()),
        _ => Err("the only schema of this build is conda-1".into()),
    })?;
    let repos = values.get("ENTRY_REPOS", |text| Ok(values::list(text).map(str::to_owned).collect()))?;
    if repos.is_some() && conda.is_none() {
        return Err(SettingsError::Together(
            "ENTRY_REPOS needs ENTRY_SCHEMA: other entries have no repo".into(),
        ));
    }
    Ok(LogSettings {
        prefix,
        dir,
        origin: values.text("LOG_ORIGIN").map(|given| given.text.to_string()),
        private_key: values.text("LOG_PRIVATE_KEY").map(|given| given.text.clone()),
        state: values.get("DATABASE_URL", values::state_place)?.unwrap_or(StatePlace::Directory(None)),
        fs_root: values.text("FS_ROOT").map(|given| PathBuf::from(given.text.as_str())),
        checkpoint_interval: values.required("CHECKPOINT_INTERVAL", values::time)?,
        batch_max_size: values.required("BATCH_MAX_SIZE", |text| match values::number(text)? {
            0 => Err("at least 1".into()),
            size => Ok(size),
        })?,
        batch_max_age: values
            .required("BATCH_MAX_AGE_MS", |text| values::number(text).map(Duration::from_millis))?,
        dedup: values.required("DEDUP", values::truth)?,
        pool_max_bytes: values.required("POOL_MAX_BYTES", values::bytes)?,
        backlog_max_bytes: values.required("BACKLOG_MAX_BYTES", values::bytes)?,
        conda: conda.is_some(),
        repos: repos.unwrap_or_default(),
        index: index(values, conda.is_some())?,
        witnesses: witnesses(values)?,
        cosigner_key: values.text("LOG_COSIGNER_KEY").map(|given| given.text.clone()),
    })
}

fn index(values: &Values<'_>, has_schema: bool) -> Result<IndexSettings, SettingsError> {
    let field = |text: &str| JsonField::new(text).ok_or_else(|| "write the name of a member".to_owned());
    let key_field = values.get("VINDEX_KEY_FIELD", field)?;
    if key_field.is_some() && has_schema {
        return Err(SettingsError::Together(
            "ENTRY_SCHEMA says by what entries are indexed: leave VINDEX_KEY_FIELD out".into(),
        ));
    }
    let has_map_fn = key_field.is_some() || has_schema;
    let said = values.get("VINDEX_ENABLED", values::truth)?;
    let enabled = said.unwrap_or(has_map_fn);
    if enabled && !has_map_fn {
        return Err(SettingsError::Together(
            "VINDEX_ENABLED needs to know by what: give VINDEX_KEY_FIELD (the member of JSON entries that is looked up), or \
             ENTRY_SCHEMA"
                .into(),
        ));
    }
    let snapshot_interval =
        values.required("VINDEX_SNAPSHOT_INTERVAL", |text| match values::number(text)? {
            0 => Err("at least 1".into()),
            entries => Ok(entries),
        })?;
    Ok(IndexSettings { enabled, is_said: said.is_some(), key_field, snapshot_interval })
}

fn witnesses(values: &Values<'_>) -> Result<WitnessSettings, SettingsError> {
    let quorum = values.get("WITNESS_QUORUM", values::number)?;
    let external = values.text("EXTERNAL_WITNESSES").map(|given| given.text.to_string());
    let policy_file = values.text("WITNESS_POLICY").map(|given| PathBuf::from(given.text.as_str()));
    if policy_file.is_some() && (external.is_some() || quorum.is_some()) {
        return Err(SettingsError::Together(
            "WITNESS_POLICY says which witnesses and how many: leave EXTERNAL_WITNESSES and WITNESS_QUORUM out".into(),
        ));
    }
    if quorum.is_some_and(|quorum: usize| quorum > 0) && external.is_none() {
        return Err(SettingsError::Together("WITNESS_QUORUM needs EXTERNAL_WITNESSES".into()));
    }
    Ok(WitnessSettings {
        external,
        quorum,
        policy_file,
        timeout: values.required("WITNESS_TIMEOUT", |text| match values::time(text)? {
            Duration::ZERO => Err("a witness needs some time to answer".into()),
            timeout => Ok(timeout),
        })?,
        allow_disjoint_quorums: values.required("ALLOW_DISJOINT_QUORUMS", values::truth)?,
        start_unconfirmed: values.required("START_UNCONFIRMED", values::truth)?,
    })
}

/// Layers in the order in which they are asked, and the table with the defaults.
struct Values<'a>(Vec<&'a Layer>, &'static [Setting]);

impl Values<'_> {
    fn text(&self, name: &str) -> Option<&Given> {
        self.0.iter().find_map(|layer| layer.get(name))
    }

    fn given(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// The value, if somebody gave one.
    fn get<T>(
        &self,
        name: &'static str,
        meaning: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SettingsError> {
        let invalid = |given: &Given, why| SettingsError::Invalid { name, from: given.source.clone(), why };
        self.text(name).map(|given| meaning(given.text.trim()).map_err(|why| invalid(given, why))).transpose()
    }

    /// Requests per client: a second, and at once. On this machine alone there is no limit unless one was asked for.
    fn rate(&self, only_this_machine: bool) -> Result<Option<(u32, u32)>, SettingsError> {
        let unasked = !self.given("RATE_LIMIT_PER_SECOND") && !self.given("RATE_LIMIT_BURST_SIZE");
        let per_second: u32 = self.required("RATE_LIMIT_PER_SECOND", values::number)?;
        let burst: u32 = self.required("RATE_LIMIT_BURST_SIZE", values::number)?;
        Ok((per_second > 0 && !(unasked && only_this_machine)).then_some((per_second, burst.max(1))))
    }

    /// The value, or the default of the table.
    fn required<T>(
        &self,
        name: &'static str,
        meaning: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, SettingsError> {
        if let Some(value) = self.get(name, &meaning)? {
            return Ok(value);
        }
        let default =
            self.1.iter().find(|setting| setting.name == name).map_or("", |setting| setting.default);
        meaning(default).map_err(|why| SettingsError::Invalid { name, from: Source::Default, why })
    }
}

#[cfg(test)]
mod tests;
