//! Precedence, refusals and defaults, as a user meets them.

use std::{collections::HashMap, path::Path, time::Duration};

use super::{SettingFlags, Settings, layers::Layers, values::StatePlace};

/// Settings from flags, environment and a file's text; the error as it is printed.
fn settings(
    flags: &[(&str, &str)],
    environment: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Settings, String> {
    let flags = flags.iter().fold(SettingFlags::default(), |flags, (name, value)| flags.with(name, value));
    let environment: HashMap<_, _> = environment.iter().copied().collect();
    let dir = tempfile::tempdir().unwrap();
    let path = file.map(|text| {
        let path = dir.path().join("glasslog.toml");
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), text.as_bytes()).unwrap();
        path
    });
    let environment = |name: &str| environment.get(name).map(|value| (*value).to_owned());
    Layers::collect(&flags, &environment, path.as_deref())
        .and_then(|layers| Settings::resolve(&layers, None))
        .map_err(|error| error.to_string())
}

#[test]
fn a_newcomer_meets_the_defaults_of_the_design() {
    let settings = settings(&[], &[], None).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:2025");
    assert!(settings.anonymous_writes);
    assert_eq!(settings.rate, None, "a log on loopback with no proxy starts without limits");
    let log = &settings.logs[0];
    assert_eq!(log.dir, Path::new("./glasslog-data"));
    assert_eq!(log.checkpoint_interval, Duration::from_secs(1));
    assert_eq!((log.batch_max_age, log.batch_max_size), (Duration::ZERO, 4096));
    assert_eq!(log.state, StatePlace::Directory(None));
    assert!(log.dedup && log.origin.is_none() && !log.conda);
}

#[test]
fn flags_go_before_environment_before_file() {
    let file = Some("checkpoint_interval = 3\nbatch_max_size = 30\nbatch_max_age_ms = 300\n");
    let environment = [("CHECKPOINT_INTERVAL", "2"), ("BATCH_MAX_SIZE", "20")];
    let settings = settings(&[("checkpoint-interval", "50ms")], &environment, file).unwrap();
    let log = &settings.logs[0];
    assert_eq!(log.checkpoint_interval, Duration::from_millis(50), "the flag");
    assert_eq!(log.batch_max_size, 20, "the variable");
    assert_eq!(log.batch_max_age, Duration::from_millis(300), "the file");
}

#[test]
fn whoever_can_be_reached_needs_a_token() {
    let listen = ("LISTEN_ADDR", "0.0.0.0:2025");
    assert!(settings(&[], &[listen], None).unwrap_err().contains("API_KEY"));
    assert!(settings(&[], &[listen, ("ALLOW_PUBLIC_WRITES", "false")], None).is_err());
    assert!(settings(&[], &[listen, ("ALLOW_PUBLIC_WRITES", "true")], None).unwrap().anonymous_writes);
    let with_token = settings(&[], &[listen, ("API_KEY", "s3cret")], None).unwrap();
    assert!(!with_token.anonymous_writes);
    assert_eq!(with_token.rate, Some((100, 200)));
    for proxy in [("TRUSTED_PROXIES", "127.0.0.1"), ("PUBLIC_URL", "https://log.example.org")] {
        assert!(settings(&[], &[proxy], None).is_err(), "loopback behind a proxy: {proxy:?}");
    }
    assert!(settings(&[], &[("PUBLIC_URL", "http://localhost:2025")], None).is_ok());
    let both = settings(&[], &[("API_KEY", "a,b")], None).unwrap();
    assert!(!both.anonymous_writes, "a token was given, so it is asked for, on loopback too");
    assert_eq!(both.api_keys.len(), 2);
}

/// Each is refused for the one reason that is named.
#[test]
fn refusals_name_the_setting_and_its_origin() {
    for (environment, file, names) in [
        (&[("CHECKPOINT_INTERVAL", "soon")][..], None, "CHECKPOINT_INTERVAL (from $CHECKPOINT_INTERVAL)"),
        (&[("BATCH_MAX_SIZE", "0")], None, "at least 1"),
        (&[("STORAGE_BACKEND", "s3")], None, "bucket"),
        (&[("S3_BUCKET", "b")], None, "S3_BUCKET is given"),
        (&[("DATABASE_URL", "postgres://h/d")], None, "PostgreSQL"),
        (&[("WITNESS_QUORUM", "2")], None, "EXTERNAL_WITNESSES"),
        (&[("WITNESS_POLICY", "p"), ("WITNESS_QUORUM", "2")], None, "leave EXTERNAL_WITNESSES"),
        (&[("WITNESS_TIMEOUT", "0")], None, "WITNESS_TIMEOUT"),
        (&[("VINDEX_ENABLED", "true")], None, "give VINDEX_KEY_FIELD"),
        (&[("VINDEX_KEY_FIELD", "f"), ("ENTRY_SCHEMA", "conda-1")], None, "leave VINDEX_KEY_FIELD out"),
        (&[("VINDEX_SNAPSHOT_INTERVAL", "0")], None, "at least 1"),
        (&[("ENTRY_SCHEMA", "npm-1")], None, "conda-1"),
        (&[("ENTRY_REPOS", "a")], None, "ENTRY_SCHEMA"),
        (&[("API_KEY", "a"), ("API_KEY_FILE", "/b")], None, "keep one"),
        (&[("API_KEY_FILE", "/does/not/exist")], None, "cannot read /does/not/exist"),
        (&[], Some("listen = \"x\"\n"), "listen is not a setting"),
        (&[], Some("log_origin = [1]\n"), "log_origin is not a setting"),
        (&[], Some("a = \n"), "line 1"),
        (&[], Some("s3_bucket = \"b\"\n"), "S3_BUCKET"),
        (
            &[],
            Some("[[log]]\nlisten_addr = \":1\"\n"),
            "listen_addr is not a setting here; `glasslog serve --help` lists",
        ),
        (&[], Some("[log]\nname = \"a\"\n"), "[[log]]"),
        (&[], Some("api_key = \"a\"\napi_key_file = \"/dev/null\"\n"), "keep one"),
    ] {
        let error = settings(&[], environment, file).unwrap_err();
        assert!(error.contains(names), "{environment:?} {file:?}: {error}");
        assert!(!error.contains('\n'), "one line: {error}");
    }
}

#[test]
fn what_asks_for_nothing_is_no_later_feature() {
    assert!(
        settings(&[], &[("VINDEX_ENABLED", "false"), ("WITNESS_QUORUM", "0"), ("S3_BUCKET", "")], None)
            .is_ok()
    );
}

/// On by default where something says by what entries are indexed.
#[test]
fn the_index_is_on_where_it_can_be() {
    let of = |environment: &[(&str, &str)]| settings(&[], environment, None).unwrap().logs.remove(0).index;
    assert!(!of(&[]).enabled);
    assert_eq!(of(&[]).snapshot_interval, 32_768);
    assert!(of(&[("ENTRY_SCHEMA", "conda-1")]).enabled);
    assert!(!of(&[("ENTRY_SCHEMA", "conda-1"), ("VINDEX_ENABLED", "off")]).enabled);
    let by_field = of(&[("VINDEX_KEY_FIELD", "pkg"), ("VINDEX_SNAPSHOT_INTERVAL", "100")]);
    assert_eq!(by_field.key_field.map(|field| field.field().to_owned()), Some("pkg".into()));
    assert!(by_field.enabled && by_field.snapshot_interval == 100);
    let of_file =
        "entry_schema = \"conda-1\"\n[[log]]\nname = \"a\"\n[[log]]\nname = \"b\"\nvindex_enabled = false\n";
    let both = settings(&[], &[], Some(of_file)).unwrap().logs;
    assert_eq!(both.iter().map(|log| log.index.enabled).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn several_logs_have_their_own_places() {
    let file = "entry_schema = \"conda-1\"\n\
                [[log]]\nname = \"conda-forge\"\nlog_origin = \"example.org/cf\"\n\
                [[log]]\nname = \"bioconda\"\ndir = \"/srv/bio\"\nentry_repos = [\"bioconda\"]\n";
    let both = settings(&[], &[], Some(file)).unwrap();
    assert_eq!(both.logs.len(), 2);
    assert_eq!(both.logs[0].prefix, "/conda-forge");
    assert_eq!(both.logs[0].dir, Path::new("./glasslog-data/conda-forge"));
    assert_eq!(both.logs[0].origin.as_deref(), Some("example.org/cf"));
    assert_eq!(both.logs[1].dir, Path::new("/srv/bio"));
    assert_eq!(both.logs[1].repos, ["bioconda"]);
    assert!(both.logs.iter().all(|log| log.conda), "what stands above them holds for each");

    let error = settings(&[], &[("LOG_ORIGIN", "example.org/x")], Some(file)).unwrap_err();
    assert!(error.contains("LOG_ORIGIN is about one log"), "{error}");
    assert!(
        settings(&[], &[], Some("[[log]]\nname = \"a\"\n[[log]]\nname = \"a\"\n")).is_err(),
        "the same path twice"
    );
    for word in ["tile", "log.json", "openapi.json", "checkpoint"] {
        let named = format!("[[log]]\nname = \"{word}\"\n");
        assert!(settings(&[], &[], Some(&named)).is_err(), "{word} is a path of the API");
    }
    assert!(
        settings(&[], &[], Some("[[log]]\n[[log]]\nname = \"a\"\n")).is_err(),
        "two logs, and one has no path"
    );
}

#[test]
fn flags_and_variables_describe_the_only_log() {
    let file = "batch_max_size = 1\n[[log]]\nlog_origin = \"example.org/file\"\nbatch_max_size = 2\n";
    let only = settings(&[], &[("LOG_ORIGIN", "example.org/variable")], Some(file)).unwrap();
    assert_eq!(only.logs[0].origin.as_deref(), Some("example.org/variable"));
    assert_eq!(only.logs[0].batch_max_size, 2, "the log's own goes before what stands above it");
    assert_eq!(only.logs[0].prefix, "");
}
