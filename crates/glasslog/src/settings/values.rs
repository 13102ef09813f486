//! What the text of a setting means.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;

use super::LogFormat;

/// Where the log state lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatePlace {
    /// In this directory, or below the log's own when there is none.
    Directory(Option<PathBuf>),
    /// In memory: everything is gone when the process ends.
    Memory,
}

/// `true`, `on`, `yes`, `1` and their opposites.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err("write true or false".into()),
    }
}

/// `text` or `json`.
pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("write text or json".into()),
    }
}

/// A whole number.
pub(super) fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "write a whole number, not too large".into())
}

/// A time: a bare number is seconds, `50ms`, `2s`, `1.5m`, `1h`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "write seconds, or a number with ms, s, m or h: 2, 0.5, 50ms".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let count: f64 = digits.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(count * seconds).map_err(|_| wrong())
}

/// A number of bytes: `1048576`, `64KiB`, `64MiB`, `1GiB`, or with `kB`, `MB`, `GB` in thousands.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "write a number of bytes, or one with KiB, MiB or GiB".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let count: u64 = digits.trim_end().parse().map_err(|_| wrong())?;
    count.checked_mul(unit).ok_or_else(wrong)
}

/// `127.0.0.1:2025`, `[::1]:2025`, `:2025` (every address) or `localhost:2025`.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = || "write ADDRESS:PORT, for example 127.0.0.1:2025 or [::]:2025".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    match host {
        "" => Ok((Ipv4Addr::UNSPECIFIED, port.parse().map_err(|_| wrong())?).into()),
        "localhost" => Ok((Ipv4Addr::LOCALHOST, port.parse().map_err(|_| wrong())?).into()),
        _ => text.parse().map_err(|_| wrong()),
    }
}

/// Networks with commas between; an address alone is a network of one.
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    list(text)
        .map(|part| {
            part.parse::<IpNet>().or_else(|_| part.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
                format!("{part:?} is no network: write 10.0.0.0/8, fd00::/8, with commas between")
            })
        })
        .collect()
}

/// The members of a list with commas between.
pub(crate) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// `http(s)://host[:port][/path]`, without the final slash.
pub(super) fn public_url(text: &str) -> Result<String, String> {
    let wrong = || "write an address that begins with https:// or http://, without query".to_owned();
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if plain { Ok(url.as_str().trim_end_matches('/').to_owned()) } else { Err(wrong()) }
}

/// `DATABASE_URL`, as operators of such logs write it. There is no SQLite behind it: the path names the directory in
/// which the embedded state keeps its segments.
pub(super) fn state_place(text: &str) -> Result<StatePlace, String> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Err("this build keeps the log state in a directory only, not in PostgreSQL yet".into());
    }
    let wrong = || "write sqlite:PATH, sqlite://PATH?mode=rwc or sqlite::memory:".to_owned();
    let rest = text.strip_prefix("sqlite:").ok_or_else(wrong)?;
    if rest == ":memory:" || rest == "//:memory:" {
        return Ok(StatePlace::Memory);
    }
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, query) = rest.split_once('?').unwrap_or((rest, "mode=rwc"));
    match (path, query) {
        ("", _) => Err(wrong()),
        (_, "mode=rwc" | "mode=rw") => Ok(StatePlace::Directory(Some(PathBuf::from(path)))),
        _ => Err("the only parameter that is understood is mode=rwc".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, milliseconds) in
            [("1", 1000), ("0", 0), ("0.5", 500), ("50ms", 50), ("2s", 2000), ("1m", 60_000)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "-1", "1 day", "ms", "1e400", "nan", "inf", "é"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn byte_counts() {
        for (text, count) in
            [("0", 0), ("65535", 65_535), ("64MiB", 64 << 20), ("2 GiB", 2 << 30), ("1kB", 1000)]
        {
            assert_eq!(bytes(text), Ok(count), "{text}");
        }
        for text in ["", "-1", "1.5MiB", "99999999999GiB", "1 mib", "MiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses() {
        for (text, meant) in [
            ("127.0.0.1:2025", "127.0.0.1:2025"),
            ("[::1]:0", "[::1]:0"),
            (":2025", "0.0.0.0:2025"),
            ("localhost:1", "127.0.0.1:1"),
        ] {
            assert_eq!(address(text).map(|address| address.to_string()), Ok(meant.to_owned()));
        }
        for text in ["", "2025", "::1:2025x", "example.org:80", "127.0.0.1", "127.0.0.1:65536"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn database_urls() {
        let dir = |path: &str| Ok(StatePlace::Directory(Some(PathBuf::from(path))));
        for (text, place) in [
            ("sqlite:state.db", dir("state.db")),
            ("sqlite:./siglog.db?mode=rwc", dir("./siglog.db")),
            ("sqlite:///var/lib/log/state?mode=rwc", dir("/var/lib/log/state")),
            ("sqlite::memory:", Ok(StatePlace::Memory)),
            ("sqlite://:memory:", Ok(StatePlace::Memory)),
        ] {
            assert_eq!(state_place(text), place, "{text}");
        }
        for text in
            ["", "sqlite:", "state.db", "postgres://u:p@h/d", "mysql://h", "sqlite:x?mode=ro", "sqlite:x?a=b"]
        {
            assert!(state_place(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_and_public_urls() {
        assert_eq!(networks("10.0.0.0/8, ::1").map(|found| found.len()), Ok(2));
        assert!(networks("10.0.0.0/33").is_err());
        assert_eq!(public_url("https://log.example.org/"), Ok("https://log.example.org".to_owned()));
        for text in ["log.example.org", "ftp://a", "https://u:p@a", "https://a?b"] {
            assert!(public_url(text).is_err(), "{text}");
        }
    }
}
