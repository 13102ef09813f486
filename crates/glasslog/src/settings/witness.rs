//! What a witness was told (`glasslog witness`).

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use glasslog_core::note::VerifierKey;
use glasslog_witness::bastion::{AddressError, BastionAddress};
use ipnet::IpNet;
use zeroize::Zeroizing;

use super::{
    LogFormat, SettingsError, Values, is_for_this_machine,
    layers::{BETWEEN_FLAGS, Given, Layers, Source},
    table::WITNESS_TABLE,
    values::{self, StatePlace},
};

/// Where a witness keeps everything unless told otherwise.
pub const DEFAULT_WITNESS_DIR: &str = "./glasslog-witness";

/// The settings of a witness.
#[derive(Debug)]
pub struct WitnessSettings {
    /// Where it keeps what it was not told.
    pub dir: PathBuf,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to answer `/metrics` instead of there.
    pub metrics_listen: Option<SocketAddr>,
    /// Where the world reaches it.
    pub public_url: Option<String>,
    /// Whom to write to.
    pub contact: Option<String>,
    /// Its key texts, if they were given.
    pub private_keys: Option<Zeroizing<String>>,
    /// The file of its memory; `None`: in memory alone.
    pub database: Option<PathBuf>,
    /// The logs that it was told of, each key of a log by itself.
    pub logs: Vec<(String, VerifierKey)>,
    /// Files and URLs of lists of logs.
    pub lists: Vec<String>,
    /// Origins of logs that are refused.
    pub disabled: Vec<String>,
    /// Requests per client: a second, and at once.
    pub rate: Option<(u32, u32)>,
    /// Checkpoints a second that all logs together may have cosigned.
    pub global_rate: Option<u32>,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Bastions that it is reached through.
    pub bastions: Vec<BastionAddress>,
    /// The text of the key that they know it by, if it was given.
    pub bastion_key: Option<Zeroizing<String>>,
    /// Form of the lines on stderr.
    pub log_format: LogFormat,
}

impl WitnessSettings {
    /// Interprets what was given. `dir` is `--dir`.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] for values that mean nothing.
    pub fn resolve(layers: &Layers, dir: Option<&Path>) -> Result<WitnessSettings, SettingsError> {
        let values = Values(vec![&layers.given, &layers.file], WITNESS_TABLE);
        let dir = dir.or(layers.dir.as_deref()).unwrap_or(Path::new(DEFAULT_WITNESS_DIR)).to_owned();
        let listen = values.required("LISTEN_ADDR", values::address)?;
        let trusted_proxies = values.get("TRUSTED_PROXIES", values::networks)?.unwrap_or_default();
        let public_url = values.get("PUBLIC_URL", values::public_url)?;
        let bastions = values.get("WITNESS_BASTIONS", bastions)?.unwrap_or_default();
        let only_this_machine =
            bastions.is_empty() && is_for_this_machine(listen, &trusted_proxies, &public_url);
        let global_rate = values.get("WITNESS_RATE_LIMIT_PER_SECOND", values::number::<u32>)?;
        Ok(WitnessSettings {
            listen,
            metrics_listen: values.get("METRICS_LISTEN_ADDR", values::address)?,
            contact: values.text("WITNESS_CONTACT").map(|given| given.text.to_string()),
            private_keys: values.text("WITNESS_PRIVATE_KEY").map(|given| given.text.clone()),
            database: database(values.get("DATABASE_URL", place)?, &dir),
            logs: values.get("WITNESS_LOGS", logs)?.unwrap_or_default(),
            lists: members(values.text("WITNESS_LOG_LISTS")),
            disabled: members(values.text("WITNESS_DISABLED_LOGS")),
            rate: values.rate(only_this_machine)?,
            global_rate: global_rate.filter(|rate| *rate > 0),
            bastion_key: values.text("WITNESS_BASTION_KEY").map(|given| given.text.clone()),
            bastions,
            log_format: values.required("LOG_FORMAT", values::log_format)?,
            trusted_proxies,
            public_url,
            dir,
        })
    }
}

fn place(text: &str) -> Result<StatePlace, String> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Err("this build keeps a witness's memory in SQLite only, not in PostgreSQL yet".into());
    }
    values::state_place(text)
}

fn database(place: Option<StatePlace>, dir: &Path) -> Option<PathBuf> {
    match place {
        Some(StatePlace::Memory) => None,
        Some(StatePlace::Directory(Some(path))) => Some(path),
        Some(StatePlace::Directory(None)) | None => Some(dir.join("witness.db")),
    }
}

/// Addresses with commas between.
fn bastions(text: &str) -> Result<Vec<BastionAddress>, String> {
    let mut bastions: Vec<BastionAddress> = Vec::new();
    let members = text.split(BETWEEN_FLAGS).flat_map(|flag| flag.split(',')).map(str::trim);
    for member in members.filter(|member| !member.is_empty()) {
        let bastion = member.parse().map_err(|error: AddressError| error.to_string())?;
        if bastions.contains(&bastion) {
            return Err(format!("{bastion} is given twice"));
        }
        bastions.push(bastion);
    }
    Ok(bastions)
}

/// The members of a list: flags stand each by itself, whatever is in them; elsewhere commas are between.
fn members(given: Option<&Given>) -> Vec<String> {
    let Some(given) = given else { return Vec::new() };
    let between = if matches!(given.source, Source::Flag(_)) { BETWEEN_FLAGS } else { "," };
    let members = given.text.split(between).map(str::trim);
    members.filter(|member| !member.is_empty()).map(str::to_owned).collect()
}

/// `ORIGIN=VKEY` with commas between. An origin may hold commas: a member ends where a key ends.
fn logs(text: &str) -> Result<Vec<(String, VerifierKey)>, String> {
    let mut logs = Vec::new();
    for line in text.split(BETWEEN_FLAGS) {
        let mut rest = line.trim_matches(|c: char| c == ',' || c.is_whitespace());
        while !rest.is_empty() {
            let ends = rest.match_indices(',').map(|(at, _)| at).chain([rest.len()]);
            let mut members = ends.filter_map(|end| rest.get(..end).zip(rest.get(end..)));
            let found = members.find_map(|(member, rest)| Some((origin_and_key(member)?, rest)));
            let (log, after) = found.ok_or_else(|| why_no_log(rest))?;
            logs.push(log);
            rest = after.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        }
    }
    Ok(logs)
}

/// Split where a key begins: origins, key names and base64 may all hold a `=`, and only a key has the right key ID.
fn origin_and_key(text: &str) -> Option<(String, VerifierKey)> {
    text.match_indices('=').find_map(|(at, _)| {
        let (origin, key) = (text.get(..at)?, text.get(at + 1..)?);
        Some((origin.trim().to_owned(), key.trim().parse().ok()?))
    })
}

fn why_no_log(text: &str) -> String {
    let wrong = text.split_once('=').and_then(|(_, key)| key.trim().parse::<VerifierKey>().err());
    let shown: String = text.chars().take(60).collect();
    match wrong {
        Some(wrong) => format!("{shown:?}: {wrong}"),
        None => format!("{shown:?}: write ORIGIN=VKEY"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::settings::WitnessFlags;

    const KEY: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

    fn resolve(
        flags: &[(&str, &str)],
        environment: &[(&str, &str)],
        file: Option<&str>,
    ) -> Result<WitnessSettings, String> {
        let flags =
            flags.iter().fold(WitnessFlags::default(), |flags, (name, value)| flags.with(name, value));
        let environment: HashMap<_, _> = environment.iter().copied().collect();
        let environment = |name: &str| environment.get(name).map(|value| (*value).to_owned());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("glasslog.toml");
        if let Some(text) = file {
            std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), text.as_bytes()).unwrap();
        }
        Layers::of_witness(&flags, &environment, file.map(|_| path.as_path()))
            .and_then(|layers| WitnessSettings::resolve(&layers, None))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_newcomer_meets_the_defaults_of_the_design() {
        let settings = resolve(&[], &[], None).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:2026");
        assert_eq!(settings.dir, Path::new("./glasslog-witness"));
        assert_eq!(settings.database.as_deref(), Some(Path::new("./glasslog-witness/witness.db")));
        assert!(settings.logs.is_empty() && settings.private_keys.is_none() && settings.rate.is_none());
    }

    #[test]
    fn logs_are_split_where_their_keys_end() {
        let of = |text: &str| {
            logs(text).map(|logs| logs.iter().map(|(o, k)| format!("{o}|{}", k.name())).collect::<Vec<_>>())
        };
        let other = crate::keys::generate_of_type("a=b,c", glasslog_core::note::Algorithm::MlDsa44).unwrap();
        let other = other.verifier_key();
        for (text, found) in [
            (format!("example.com/foo={KEY}"), vec!["example.com/foo|sum.golang.org"]),
            (format!("go.sum database tree={KEY}"), vec!["go.sum database tree|sum.golang.org"]),
            (format!("a=b=c={KEY}"), vec!["a=b=c|sum.golang.org"]),
            (
                format!(" one, two={KEY} , three={KEY},"),
                vec!["one, two|sum.golang.org", "three|sum.golang.org"],
            ),
            (format!("x={other},y={KEY}\nz={other}"), vec!["x|a=b,c", "y|sum.golang.org", "z|a=b,c"]),
            (String::new(), vec![]),
        ] {
            assert_eq!(of(&text).unwrap(), found, "{text}");
        }
        for (text, why) in [
            ("x".to_owned(), "ORIGIN=VKEY"),
            ("x=y".to_owned(), "not a verifier key"),
            (format!("x={KEY},y"), "\"y\""),
            (format!("x={}", KEY.replace("033de0ae", "033de0af")), "does not belong"),
        ] {
            let error = of(&text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn bastions_are_addresses_each_once() {
        let of = |text: &str| {
            bastions(text).map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(
            of("b.example:443, [2001:db8::1]:8443,\nc.example"),
            Ok(vec!["b.example".into(), "[2001:db8::1]:8443".into(), "c.example".into()])
        );
        assert_eq!(of(""), Ok(vec![]));
        for (text, why) in
            [("b.example,b.example:443", "given twice"), ("https://b.example", "expected a host name")]
        {
            let error = of(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn flags_go_before_environment_before_the_witness_section() {
        let file = "checkpoint_interval = 3\nno_such = 1\n[witness]\ndir = \"/w\"\nlisten_addr = \":3\"\nwitness_contact = \"me\"\n\
                    witness_disabled_logs = [\"a\", \"b\"]\n";
        let settings = resolve(
            &[("listen", "127.0.0.1:1"), ("disable", "a, b\nc")],
            &[("LISTEN_ADDR", "127.0.0.1:2"), ("WITNESS_LOG_LISTS", "a,https://b/c")],
            Some(file),
        )
        .unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:1");
        assert_eq!(settings.dir, Path::new("/w"));
        assert_eq!(settings.contact.as_deref(), Some("me"));
        assert_eq!(settings.disabled, ["a, b", "c"], "a flag's value is one, whatever is in it");
        assert_eq!(settings.lists, ["a", "https://b/c"]);
        assert_eq!(resolve(&[], &[], Some(file)).unwrap().disabled, ["a", "b"]);
    }

    #[test]
    fn refusals_name_the_setting_and_its_origin() {
        for (environment, file, names) in [
            (&[("WITNESS_LOGS", "a=b")][..], None, "WITNESS_LOGS (from $WITNESS_LOGS)"),
            (&[("DATABASE_URL", "postgres://h/d")], None, "PostgreSQL"),
            (&[], Some("[witness]\ncheckpoint_interval = 1\n"), "`glasslog witness --help` lists"),
            (&[], Some("witness = 1\n"), "[witness]"),
            (&[("WITNESS_PRIVATE_KEY", "a"), ("WITNESS_PRIVATE_KEY_FILE", "/b")], None, "keep one"),
        ] {
            let error = resolve(&[], environment, file).unwrap_err();
            assert!(error.contains(names) && !error.contains('\n'), "{environment:?} {file:?}: {error}");
        }
    }
}
