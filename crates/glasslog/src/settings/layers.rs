//! Flags over environment over one TOML file: who said what, before anything is interpreted.

use std::{
    collections::BTreeMap,
    fmt,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use toml::Value;
use zeroize::Zeroizing;

use super::{
    SettingsError,
    table::{self, Kind, Setting, TABLE, WITNESS_TABLE},
};

/// The largest settings or secret file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The command whose settings stand in the file itself and in its `[[log]]`; its `--help` lists them.
const SERVE: &str = "serve";

/// The command whose settings stand in the table of this name.
const WITNESS: &str = "witness";

/// Between the values of a flag that was given several times: no value has it in it.
pub(super) const BETWEEN_FLAGS: &str = "\n";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody gave one.
    Default,
    /// The settings file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Environment(name) => write!(f, "${name}"),
            Source::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// A value as it was given. Its text is wiped from memory when it is dropped, since it may be a secret.
#[derive(Clone, Debug)]
pub struct Given {
    /// The text; lists have commas between their members.
    pub text: Zeroizing<String>,
    /// Who gave it.
    pub source: Source,
}

/// What was given, by the name of the setting.
pub type Layer = BTreeMap<&'static str, Given>;

/// A `[[log]]` of the settings file.
#[derive(Debug)]
pub struct LogTable {
    /// `name`: the path prefix it is served under, and by default its directory.
    pub name: String,
    /// `dir`.
    pub dir: Option<PathBuf>,
    /// Its own settings.
    pub layer: Layer,
}

/// Everything that was given.
#[derive(Debug, Default)]
pub struct Layers {
    /// Flags and environment.
    pub given: Layer,
    /// The settings file, outside its `[[log]]`.
    pub file: Layer,
    /// `dir` of the settings file.
    pub dir: Option<PathBuf>,
    /// Each `[[log]]`, in order.
    pub logs: Vec<LogTable>,
}

/// A list of settings, as a type: what flags are made from.
pub trait Table: Clone + Default + fmt::Debug + Send + Sync + 'static {
    /// The list.
    const TABLE: &'static [Setting];
}

/// The settings of `glasslog serve` ([`TABLE`]).
#[derive(Clone, Debug, Default)]
pub struct OfServe;

impl Table for OfServe {
    const TABLE: &'static [Setting] = TABLE;
}

/// The settings of `glasslog witness` ([`WITNESS_TABLE`]).
#[derive(Clone, Debug, Default)]
pub struct OfWitness;

impl Table for OfWitness {
    const TABLE: &'static [Setting] = WITNESS_TABLE;
}

/// One flag for every setting of `glasslog serve`.
pub type SettingFlags = FlagsOf<OfServe>;

/// One flag for every setting of `glasslog witness`.
pub type WitnessFlags = FlagsOf<OfWitness>;

/// One flag for every setting, `--name-file` for every secret. What was given, by the name of the flag.
#[derive(Clone, Debug, Default)]
pub struct FlagsOf<T>(BTreeMap<String, String>, PhantomData<T>);

impl<T: Table> Args for FlagsOf<T> {
    fn augment_args(mut command: Command) -> Command {
        for setting in T::TABLE.iter().filter(|setting| !matches!(setting.kind, Kind::NotYet(_))) {
            let help = match setting.default {
                "" => format!("{} [env: {}]", setting.help, setting.name),
                default => format!("{} [env: {}] [default: {default}]", setting.help, setting.name),
            };
            let repeatable =
                if setting.kind == Kind::ProcessList { ArgAction::Append } else { ArgAction::Set };
            command = command.arg(flag(setting.flag_name(), setting.value, help).action(repeatable));
            if setting.is_secret() {
                let help = format!("Read it from this file [env: {}_FILE]", setting.name);
                command = command.arg(flag(format!("{}-file", setting.flag_name()), "FILE", help));
            }
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(name: String, value: &'static str, help: String) -> Arg {
    Arg::new(name.clone()).long(name).value_name(value).help(help).help_heading("Settings")
}

impl<T: Table> FromArgMatches for FlagsOf<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<FlagsOf<T>, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in T::TABLE {
            for flag in [setting.flag_name(), format!("{}-file", setting.flag_name())] {
                if let Ok(Some(values)) = matches.try_get_many::<String>(&flag) {
                    let values: Vec<&str> = values.map(String::as_str).collect();
                    self.0.insert(flag, values.join(BETWEEN_FLAGS));
                }
            }
        }
        Ok(())
    }
}

impl<T: Table> FlagsOf<T> {
    /// A flag as if it had been given, for callers that are not a command line (the demo, tests).
    #[must_use]
    pub fn with(mut self, flag: &str, value: &str) -> FlagsOf<T> {
        self.0.insert(flag.to_owned(), value.to_owned());
        self
    }

    /// What flags and environment say; an empty variable counts as unset.
    fn over(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Layer, SettingsError> {
        let mut layer = Layer::new();
        for setting in T::TABLE {
            let variable = |name: String| {
                let value = environment(&name).filter(|value| !value.is_empty())?;
                Some((value, Source::Environment(name)))
            };
            let flag = |name: String| self.0.get(&name).map(|value| (value.clone(), Source::Flag(name)));
            let from_environment =
                one_of(setting, variable(setting.name.into()), variable(format!("{}_FILE", setting.name)))?;
            let flag_name = setting.flag_name();
            let from_flags = one_of(setting, flag(flag_name.clone()), flag(format!("{flag_name}-file")))?;
            if let Some(given) = from_flags.or(from_environment) {
                layer.insert(setting.name, given);
            }
        }
        Ok(layer)
    }
}

impl Layers {
    /// Gathers what was given. `file` is the settings file, if there is one; an empty variable counts as unset.
    ///
    /// # Errors
    ///
    /// [`SettingsError`]: a file that cannot be read, an unknown key, a secret given twice, a setting of a later build.
    pub fn collect(
        flags: &SettingFlags,
        environment: &dyn Fn(&str) -> Option<String>,
        file: Option<&Path>,
    ) -> Result<Layers, SettingsError> {
        let mut layers = match file {
            Some(path) => read_file(path)?,
            None => Layers::default(),
        };
        layers.given = flags.over(environment)?;
        let everything =
            layers.given.iter().chain(&layers.file).chain(layers.logs.iter().flat_map(|log| &log.layer));
        for (name, given) in everything {
            refuse_later_ones(name, given)?;
        }
        Ok(layers)
    }

    /// The same for a witness: of the settings file, `[witness]` alone. What the file says of logs is of no concern here.
    ///
    /// # Errors
    ///
    /// [`SettingsError`], as [`Layers::collect`].
    pub fn of_witness(
        flags: &WitnessFlags,
        environment: &dyn Fn(&str) -> Option<String>,
        file: Option<&Path>,
    ) -> Result<Layers, SettingsError> {
        let mut layers = Layers { given: flags.over(environment)?, ..Layers::default() };
        let Some(path) = file else { return Ok(layers) };
        match read_toml(path)?.remove(WITNESS) {
            Some(Value::Table(mut table)) => {
                layers.dir = take_dir(&mut table, path, WITNESS)?;
                layers.file = read_table(&table, path, WITNESS_TABLE, WITNESS, |_| true)?;
            }
            Some(_) => return Err(unknown(path, "witness (write [witness])", WITNESS)),
            None => {}
        }
        Ok(layers)
    }
}

/// Settings of things that this build does not have; `false` and `none` ask for nothing.
fn refuse_later_ones(name: &str, given: &Given) -> Result<(), SettingsError> {
    match table::by_name(name).map(|setting| setting.kind) {
        Some(Kind::NotYet(what)) if !["false", "none", "0", "off"].contains(&given.text.as_str()) => {
            Err(SettingsError::NotYet { name: name.to_owned(), from: given.source.clone(), what })
        }
        _ => Ok(()),
    }
}

/// The value of a setting from one layer: itself, or for a secret the content of its file.
fn one_of(
    setting: &Setting,
    value: Option<(String, Source)>,
    file: Option<(String, Source)>,
) -> Result<Option<Given>, SettingsError> {
    match (value, file.filter(|_| setting.is_secret())) {
        (Some((_, first)), Some((_, second))) => Err(SettingsError::Twice { first, second }),
        (Some((text, source)), None) => Ok(Some(Given { text: Zeroizing::new(text), source })),
        (None, Some((path, source))) => {
            let text = Zeroizing::new(read_text(Path::new(&path))?);
            Ok(Some(Given { text: Zeroizing::new(text.trim_end().to_owned()), source }))
        }
        (None, None) => Ok(None),
    }
}

fn read_toml(path: &Path) -> Result<toml::Table, SettingsError> {
    let text = Zeroizing::new(read_text(path)?);
    text.parse().map_err(|error: toml::de::Error| SettingsError::Toml {
        path: path.to_owned(),
        // Without its excerpt: the line at fault may hold a secret.
        why: error.message().to_owned(),
        line: error
            .span()
            .map_or(0, |span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1),
    })
}

fn read_file(path: &Path) -> Result<Layers, SettingsError> {
    let mut table = read_toml(path)?;
    // A witness on the same machine may be described in the same file.
    table.remove(WITNESS);
    let unknown = |key: &str| unknown(path, key, SERVE);
    let mut layers = Layers::default();
    let logs = match table.remove("log") {
        Some(Value::Array(logs)) => logs,
        Some(_) => return Err(unknown("log (write [[log]])")),
        None => Vec::new(),
    };
    layers.dir = take_dir(&mut table, path, SERVE)?;
    layers.file = read_table(&table, path, TABLE, SERVE, |_| true)?;
    for log in logs {
        let Value::Table(mut log) = log else { return Err(unknown("log (write [[log]])")) };
        let name = match log.remove("name") {
            Some(Value::String(name)) => name,
            Some(_) => return Err(unknown("log.name (it is a text)")),
            None => String::new(),
        };
        let dir = take_dir(&mut log, path, SERVE)?;
        let layer = read_table(&log, path, TABLE, SERVE, Setting::is_per_log)?;
        layers.logs.push(LogTable { name, dir, layer });
    }
    Ok(layers)
}

fn unknown(path: &Path, key: &str, command: &'static str) -> SettingsError {
    SettingsError::UnknownKey { path: path.to_owned(), key: key.to_owned(), command }
}

fn take_dir(
    table: &mut toml::Table,
    path: &Path,
    command: &'static str,
) -> Result<Option<PathBuf>, SettingsError> {
    match table.remove("dir") {
        Some(Value::String(dir)) => Ok(Some(PathBuf::from(dir))),
        Some(_) => Err(unknown(path, "dir (it is a text)", command)),
        None => Ok(None),
    }
}

/// The settings of one table; what is no setting, or not one that may stand here, is refused.
fn read_table(
    table: &toml::Table,
    path: &Path,
    settings: &'static [Setting],
    command: &'static str,
    may_stand_here: fn(&Setting) -> bool,
) -> Result<Layer, SettingsError> {
    let mut layer = Layer::new();
    for (key, value) in table {
        let source = Source::File(path.to_owned());
        let found = settings.iter().find_map(|setting| {
            let by_file = setting.is_secret() && *key == format!("{}_file", setting.key());
            (by_file || *key == setting.key()).then_some((setting, by_file))
        });
        let refused = || unknown(path, key, command);
        let (setting, by_file) = found.filter(|(setting, _)| may_stand_here(setting)).ok_or_else(refused)?;
        let text = as_text(value).ok_or_else(refused)?;
        let (value, file) = if by_file { (None, Some((text, source))) } else { (Some((text, source)), None) };
        if let Some(given) = one_of(setting, value, file)?
            && let Some(first) = layer.insert(setting.name, given)
        {
            return Err(SettingsError::Twice { second: first.source.clone(), first: first.source });
        }
    }
    Ok(layer)
}

/// A text, number, truth value, or list of texts (joined by commas).
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Array(members) => {
            let members: Option<Vec<&str>> = members.iter().map(Value::as_str).collect();
            Some(members?.join(","))
        }
        _ => None,
    }
}

pub(crate) fn read_text(path: &Path) -> Result<String, SettingsError> {
    let failed = |source| SettingsError::File { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MAX_FILE_BYTES {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    std::fs::read_to_string(path).map_err(failed)
}
