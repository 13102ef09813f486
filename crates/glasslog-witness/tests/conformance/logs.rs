//! The family of logs. Each check has logs of its own that no other check touches, with keys that follow from the origin.

use crate::keys::{Ed25519Key, MlDsaKey, b64};
use crate::tree::Hash;

/// Which keys a witness is to trust for a log.
const A: u8 = 1;
const A2: u8 = 2;
const P: u8 = 4;

/// Name of a log, and its keys. A name that is not here has no log.
const FAMILY: &[(&str, u8)] = &[
    ("01", A),
    ("02", A),
    ("03", A),
    ("03-unseen", A),
    ("04", A),
    ("05", A),
    ("06", A),
    ("07", A),
    ("08", A),
    ("09", A),
    ("10", A),
    ("11", A),
    ("12", A),
    ("13", A),
    ("14", A),
    ("15", A),
    ("16", A),
    ("16-other", A),
    ("17", A),
    ("17-p", P),
    ("18", A),
    ("19", A | A2),
    ("20", A),
    ("21", A),
    ("22", A),
    ("23", A),
    ("23-other", A),
    ("24", A),
    ("25", A),
    ("26", A),
    ("27", A),
    ("28", P),
    ("28-ed25519", A | P),
    ("29", A),
    ("30", A),
    ("31", A),
    ("32", A),
    ("33", A),
    ("34", A),
    ("35", A),
    ("36-a", A),
    ("36-b", A),
    ("36-c", A),
    ("37-255", A),
    ("37-words", A),
    ("37-emoji", A),
    ("37-dots", A),
    ("37-percent", A),
    ("37-sql", A),
    ("37-bystander", A),
    ("38", A),
    ("39", A),
    ("40", A),
    ("41", A),
    ("42", A),
    ("42-later", A),
    ("43-0", A),
    ("43-1", A),
    ("43-5", A),
    ("44", A),
    ("45", A),
    ("46", A),
    ("47", A),
    ("47-unseen", A),
    ("48", A),
    ("49", A),
    ("49-other", A),
    ("50", A | A2),
    ("51", A),
    ("53", A),
    ("54", A),
    ("55", A),
    ("58", A),
    ("59", A),
    ("60", A),
    ("60-ed25519", A),
    ("61", A),
    ("62", A),
    ("64", A),
    ("65", A),
    ("65-grows", A),
    ("66", A),
    ("67", A),
    ("68", A),
    ("69", A),
    ("72", A),
    ("75", A),
    ("75-limited", A),
];

/// Queries per day that the list gives to a log; far more than a run needs, but for the log of check 75.
pub(crate) fn queries_per_day(name: &str) -> u32 {
    if name == "75-limited" { 24 } else { 100_000_000 }
}

#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) name: &'static str,
    pub(crate) origin: String,
    key_name: String,
    keys: u8,
}

impl Log {
    pub(crate) fn named(name: &str) -> Log {
        let found = FAMILY.iter().find(|(listed, _)| *listed == name);
        let (name, keys) = *found.unwrap_or_else(|| panic!("no log {name} in the family"));
        let label = label();
        let usual = format!("{label}.conformance.example/{name}");
        let origin = match name {
            "24" => format!("go.sum database tree {label}"),
            "37-255" => format!("{usual}/{}", "x".repeat(254 - usual.len())),
            "37-words" => format!("{usual} with spaces + plus"),
            "37-emoji" => format!("{usual}/\u{1f9ea}\u{fe0f}/e\u{301}"),
            "37-dots" => format!("{usual}/../37-bystander"),
            "37-percent" => format!("{usual}/%2f%00"),
            "37-sql" => format!("{usual}'; DROP TABLE logs; --\""),
            _ => usual.clone(),
        };
        let key_name = if name == "24" { format!("sum.{label}.example") } else { usual };
        Log { name, origin, key_name, keys }
    }

    pub(crate) fn all() -> Vec<Log> {
        FAMILY.iter().map(|(name, _)| Log::named(name)).collect()
    }

    /// A log that no witness was told of.
    pub(crate) fn stranger(origin: &str) -> Log {
        Log { name: "stranger", origin: origin.to_owned(), key_name: "stranger.example".to_owned(), keys: A }
    }

    fn ed25519(&self, role: &str) -> Ed25519Key {
        Ed25519Key::new(&self.key_name, &format!("{role} {}", self.origin))
    }

    pub(crate) fn a(&self) -> Ed25519Key {
        self.ed25519("A")
    }

    pub(crate) fn a2(&self) -> Ed25519Key {
        self.ed25519("A2")
    }

    /// A key under the log's name that nobody trusts.
    pub(crate) fn unknown(&self) -> Ed25519Key {
        self.ed25519("U")
    }

    pub(crate) fn p(&self) -> MlDsaKey {
        MlDsaKey::new(&self.key_name, &self.origin)
    }

    /// Whether A is among its keys, so that the usual requests work.
    pub(crate) fn has_a(&self) -> bool {
        self.keys & A != 0
    }

    pub(crate) fn needs_ml_dsa(&self) -> bool {
        self.keys & P != 0
    }

    pub(crate) fn needs_several_keys(&self) -> bool {
        self.keys.count_ones() > 1
    }

    /// Every vkey that a witness is to trust for it.
    pub(crate) fn vkeys(&self) -> Vec<String> {
        let mut vkeys = Vec::new();
        if self.keys & A != 0 {
            vkeys.push(self.a().vkey());
        }
        if self.keys & A2 != 0 {
            vkeys.push(self.a2().vkey());
        }
        if self.keys & P != 0 {
            vkeys.push(self.p().vkey());
        }
        vkeys
    }

    pub(crate) fn text(&self, size: u64, root: &Hash) -> String {
        format!("{}\n{size}\n{}\n", self.origin, b64(root))
    }
}

/// Part of every origin, so that a witness that remembers an earlier run meets logs it never saw.
fn label() -> String {
    std::env::var("WITNESS_CONFORMANCE_LABEL").unwrap_or_else(|_| "run0".to_owned())
}

/// The family as a witness-network `logs/v0` list.
pub(crate) fn as_list() -> String {
    let mut list = "logs/v0\n".to_owned();
    for log in wanted() {
        for vkey in log.vkeys() {
            let qpd = queries_per_day(log.name);
            list += &format!("\nvkey {vkey}\norigin {}\nqpd {qpd}\ncontact conformance suite\n", log.origin);
        }
    }
    list
}

/// The family as lines of `ORIGIN=VKEY`.
pub(crate) fn as_flags() -> Vec<String> {
    let flags = |log: &Log| log.vkeys().into_iter().map(|vkey| format!("{}={vkey}", log.origin)).collect();
    wanted().iter().flat_map::<Vec<String>, _>(flags).collect()
}

fn wanted() -> Vec<Log> {
    let mut logs = Log::all();
    logs.retain(|log| !(log.needs_ml_dsa() && crate::check::lacks("ml-dsa-logs")));
    logs.retain(|log| !(log.needs_several_keys() && crate::check::lacks("several-keys")));
    logs
}

/// Writes both forms to `$WITNESS_CONFORMANCE_WRITE_LOGS/logs.v0` and `…/logs.txt`.
#[test]
fn write_logs() {
    let Some(dir) = std::env::var_os("WITNESS_CONFORMANCE_WRITE_LOGS") else { return };
    let dir = std::path::PathBuf::from(dir);
    let save = |name: &str, text: &str| {
        use std::io::Write as _;
        std::fs::File::create(dir.join(name)).unwrap().write_all(text.as_bytes()).unwrap();
    };
    std::fs::create_dir_all(&dir).unwrap();
    save("logs.v0", &as_list());
    save("logs.txt", &(as_flags().join("\n") + "\n"));
}
