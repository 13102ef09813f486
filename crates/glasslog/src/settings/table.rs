//! Every setting there is: the one list that flags, environment, file, `config check` and `--help` are made from.

/// One setting. Its name in the environment is `LOG_ORIGIN`, as a flag `--log-origin`, in the file `log_origin`.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the environment (DESIGN §4: operators of such logs know these names).
    pub name: &'static str,
    /// Its flag, when that is not the name in lower case with dashes.
    pub flag: Option<&'static str>,
    /// What stands for the value in `--help`.
    pub value: &'static str,
    /// The value when nobody gives one; `""`: none.
    pub default: &'static str,
    /// One line.
    pub help: &'static str,
    /// Whom it is about.
    pub kind: Kind,
}

/// Whom a setting is about, and how it is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The process: one value, however many logs it serves.
    Process,
    /// The process; several values, of which each has a flag of its own, or with commas between.
    ProcessList,
    /// The process; never shown, and to be had from `NAME_FILE` too.
    ProcessSecret,
    /// Each log; in the file, a `[[log]]` may have its own.
    Log,
    /// One log alone: with several logs, it must stand in each `[[log]]`.
    OneLog,
    /// As [`Kind::OneLog`], never shown, and to be had from `NAME_FILE` too.
    OneLogSecret,
    /// Known to operators of such logs, but this build has nothing behind it. Given, it is refused: never ignored.
    NotYet(&'static str),
}

impl Setting {
    /// The flag without its dashes.
    #[must_use]
    pub fn flag_name(&self) -> String {
        self.flag.map_or_else(|| self.name.to_ascii_lowercase().replace('_', "-"), str::to_owned)
    }

    /// The key in the TOML file.
    #[must_use]
    pub fn key(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// Whether the value is withheld from every output, and may come from a file of its own.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::ProcessSecret | Kind::OneLogSecret)
    }

    /// Whether a `[[log]]` may have its own.
    #[must_use]
    pub fn is_per_log(&self) -> bool {
        matches!(self.kind, Kind::Log | Kind::OneLog | Kind::OneLogSecret)
    }
}

/// The setting of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|setting| setting.name == name)
}

const S3: &str = "keep objects in a bucket";

const fn setting(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    kind: Kind,
    help: &'static str,
) -> Setting {
    Setting { name, flag: None, value, default, help, kind }
}

const fn not_yet(name: &'static str, what: &'static str) -> Setting {
    Setting { name, flag: None, value: "", default: "", help: "", kind: Kind::NotYet(what) }
}

/// In the order in which `config check` explains them.
pub static TABLE: &[Setting] = &[
    Setting {
        name: "LISTEN_ADDR",
        flag: Some("listen"),
        value: "ADDR",
        default: "127.0.0.1:2025",
        help: "Where to listen; port 0: any free one",
        kind: Kind::Process,
    },
    setting("PUBLIC_URL", "URL", "", Kind::Process, "Where the world reaches this server"),
    setting("API_KEY", "TOKEN", "", Kind::ProcessSecret, "Token for writes; several with commas between"),
    setting("ALLOW_PUBLIC_WRITES", "BOOL", "", Kind::Process, "Take writes without a token from any address"),
    setting(
        "RATE_LIMIT_PER_SECOND",
        "N",
        "100",
        Kind::Process,
        "Anonymous requests per client and second; 0: no limit",
    ),
    setting("RATE_LIMIT_BURST_SIZE", "N", "200", Kind::Process, "How many of them at once after a pause"),
    setting("TRUSTED_PROXIES", "CIDRS", "", Kind::Process, "Networks whose forwarding headers are believed"),
    setting(
        "METRICS_LISTEN_ADDR",
        "ADDR",
        "",
        Kind::Process,
        "Answer /metrics here, and no longer to the public",
    ),
    setting("LOG_FORMAT", "text|json", "text", Kind::Process, "Form of the lines on stderr"),
    setting("LOG_ORIGIN", "ORIGIN", "", Kind::OneLog, "Name of the log; a new directory makes its own"),
    setting("LOG_PRIVATE_KEY", "SKEY", "", Kind::OneLogSecret, "Signing key; a new directory makes its own"),
    setting(
        "DATABASE_URL",
        "URL",
        "",
        Kind::OneLog,
        "Where the log state lies: sqlite:PATH or sqlite::memory:",
    ),
    setting("STORAGE_BACKEND", "fs", "fs", Kind::Log, "Where tiles and checkpoint lie"),
    setting("FS_ROOT", "DIR", "", Kind::OneLog, "The public directory, when it is not DIR/public"),
    setting("CHECKPOINT_INTERVAL", "TIME", "1", Kind::Log, "Pause between checkpoints: 2, 50ms, 0"),
    setting("BATCH_MAX_SIZE", "N", "4096", Kind::Log, "Entries that are committed together"),
    setting("BATCH_MAX_AGE_MS", "MS", "0", Kind::Log, "How long a first entry waits for company"),
    setting("DEDUP", "on|off", "on", Kind::Log, "Answer an equal entry with the index it has"),
    setting("POOL_MAX_BYTES", "BYTES", "64MiB", Kind::Log, "Bytes that may wait for their commit"),
    setting("BACKLOG_MAX_BYTES", "BYTES", "256MiB", Kind::Log, "Bytes that may wait to be hashed into tiles"),
    setting("ENTRY_SCHEMA", "NAME", "", Kind::Log, "Refuse what is not a valid entry of it: conda-1"),
    setting("ENTRY_REPOS", "NAMES", "", Kind::Log, "Accept only these repos, with commas between"),
    setting(
        "VINDEX_ENABLED",
        "BOOL",
        "",
        Kind::Log,
        "Keep a verifiable index; by default where ENTRY_SCHEMA or VINDEX_KEY_FIELD says by what",
    ),
    setting("VINDEX_KEY_FIELD", "FIELD", "", Kind::Log, "Index JSON entries by this string member of theirs"),
    setting(
        "VINDEX_SNAPSHOT_INTERVAL",
        "N",
        "32768",
        Kind::Log,
        "Entries after which the index is made durable; a start indexes at most so many again",
    ),
    setting(
        "EXTERNAL_WITNESSES",
        "NAME=URL=VKEY,…",
        "",
        Kind::Log,
        "Witnesses to be asked for cosignatures; with commas between",
    ),
    setting("WITNESS_QUORUM", "N", "", Kind::Log, "How many of them must cosign; a majority by default"),
    Setting {
        name: "WITNESS_POLICY",
        flag: Some("policy"),
        value: "FILE",
        default: "",
        help: "c2sp.org/tlog-policy file with witnesses, their URLs and the quorum, instead of these two",
        kind: Kind::Log,
    },
    setting(
        "WITNESS_TIMEOUT",
        "TIME",
        "10",
        Kind::Log,
        "How long a witness may take, and a checkpoint wait for its quorum before the next is cut",
    ),
    setting(
        "ALLOW_DISJOINT_QUORUMS",
        "BOOL",
        "false",
        Kind::Log,
        "Accept a quorum that two sets of witnesses without a common member fill",
    ),
    setting(
        "START_UNCONFIRMED",
        "BOOL",
        "false",
        Kind::OneLog,
        "Sign before a quorum has confirmed the last checkpoint; forks the log if its state is old",
    ),
    setting(
        "LOG_COSIGNER_KEY",
        "SKEY",
        "",
        Kind::OneLogSecret,
        "Key that timestamps the log's own checkpoints, named as the origin; one of 0x04, one of 0x06",
    ),
    not_yet("S3_BUCKET", S3),
    not_yet("S3_ENDPOINT", S3),
    not_yet("S3_REGION", S3),
    not_yet("S3_ACCESS_KEY", S3),
    not_yet("S3_SECRET_KEY", S3),
];

const fn named(flag: &'static str, setting: Setting) -> Setting {
    Setting { flag: Some(flag), ..setting }
}

/// The settings of a witness, in the file below `[witness]`.
pub static WITNESS_TABLE: &[Setting] = &[
    named(
        "listen",
        setting(
            "LISTEN_ADDR",
            "ADDR",
            "127.0.0.1:2026",
            Kind::Process,
            "Where to listen; port 0: any free one",
        ),
    ),
    setting("PUBLIC_URL", "URL", "", Kind::Process, "Where the world reaches this witness"),
    setting(
        "DATABASE_URL",
        "URL",
        "",
        Kind::Process,
        "The witness's memory: sqlite:PATH (by default DIR/witness.db) or sqlite::memory:",
    ),
    named(
        "private-key",
        setting(
            "WITNESS_PRIVATE_KEY",
            "SKEY",
            "",
            Kind::ProcessSecret,
            "Signing keys (0x04, 0x06) with a comma between; a new directory makes its own",
        ),
    ),
    named(
        "log",
        setting(
            "WITNESS_LOGS",
            "ORIGIN=VKEY",
            "",
            Kind::ProcessList,
            "A log to cosign for; repeatable, also with several keys of one log",
        ),
    ),
    named(
        "log-list",
        setting(
            "WITNESS_LOG_LISTS",
            "FILE|URL",
            "",
            Kind::ProcessList,
            "A logs/v0 list whose logs are added, read again every 15 minutes; repeatable",
        ),
    ),
    named(
        "disable",
        setting(
            "WITNESS_DISABLED_LOGS",
            "ORIGIN",
            "",
            Kind::ProcessList,
            "Refuse this log (403), whoever lists it; repeatable",
        ),
    ),
    setting(
        "RATE_LIMIT_PER_SECOND",
        "N",
        "100",
        Kind::Process,
        "Requests per client and second; 0: no limit",
    ),
    setting("RATE_LIMIT_BURST_SIZE", "N", "200", Kind::Process, "How many of them at once after a pause"),
    setting(
        "WITNESS_RATE_LIMIT_PER_SECOND",
        "N",
        "",
        Kind::Process,
        "Checkpoints a second that all logs together may have cosigned",
    ),
    setting("TRUSTED_PROXIES", "CIDRS", "", Kind::Process, "Networks whose forwarding headers are believed"),
    named(
        "bastion",
        setting(
            "WITNESS_BASTIONS",
            "HOST[:PORT]",
            "",
            Kind::ProcessList,
            "A bastion to be reached through, for a witness without a public address; repeatable",
        ),
    ),
    named(
        "bastion-key",
        setting(
            "WITNESS_BASTION_KEY",
            "SKEY",
            "",
            Kind::ProcessSecret,
            "Ed25519 key that bastions know the witness by; made in DIR when needed",
        ),
    ),
    named(
        "contact",
        setting("WITNESS_CONTACT", "TEXT", "", Kind::Process, "Whom to write to, shown on its page"),
    ),
    setting(
        "METRICS_LISTEN_ADDR",
        "ADDR",
        "",
        Kind::Process,
        "Answer /metrics here, and no longer to the public",
    ),
    setting("LOG_FORMAT", "text|json", "text", Kind::Process, "Form of the lines on stderr"),
];
