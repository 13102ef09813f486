//! How new an answer must be: the flags `--max-age` and `--as-of`.

use std::time::Duration;

use clap::Args;
use glasslog_client::verdict::Demand;

/// How new an answer must be.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct AgeArgs {
    /// How old the answer may be, for example 90m or 2d [default: 24h, if witnesses or the log's cosigner say the time]
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    pub max_age: Option<Duration>,
    /// Ask about a time instead of now: an answer as of this time or later will do, for example 2026-11-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "max_age")]
    pub as_of: Option<u64>,
}

impl AgeArgs {
    /// What they ask for.
    #[must_use]
    pub fn demand(&self) -> Demand {
        match (self.as_of, self.max_age) {
            (Some(time), _) => Demand::AsOf(time),
            (None, Some(age)) => Demand::MaxAge(age.as_secs()),
            (None, None) => Demand::Usual,
        }
    }
}

/// `90s`, `15m`, `24h`, `7d`, or a number of seconds.
pub(crate) fn parse_age(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let with_unit = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
    let (number, seconds) = with_unit.unwrap_or((text, 1));
    let number: Option<u64> = number.parse().ok();
    let age = number.and_then(|number| number.checked_mul(seconds)).map(Duration::from_secs);
    age.ok_or_else(|| "expected a number of seconds, or 90s, 15m, 24h, 7d".into())
}

/// RFC 3339, or seconds since 1970.
fn parse_time(text: &str) -> Result<u64, String> {
    let timestamp =
        || text.parse::<jiff::Timestamp>().ok().and_then(|time| u64::try_from(time.as_second()).ok());
    let time = text.parse().ok().or_else(timestamp);
    time.ok_or_else(|| "expected a time such as 2026-11-01T00:00:00Z, or seconds since 1970".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_with_their_unit() {
        for (text, seconds) in
            [("0", 0), ("90", 90), ("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800)]
        {
            assert_eq!(parse_age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "h", "1.5h", "-1", "1w", "99999999999999999999", "18446744073709551615d", "1dd"] {
            assert!(parse_age(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_read_as_rfc_3339_or_seconds() {
        for (text, seconds) in [
            ("0", 0),
            ("1700000000", 1_700_000_000),
            ("2023-11-14T22:13:20Z", 1_700_000_000),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000),
        ] {
            assert_eq!(parse_time(text), Ok(seconds), "{text}");
        }
        for wrong in ["", "-1", "1969-12-31T00:00:00Z", "yesterday", "2023-11-14", "99999999999999999999"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
