//! How new the *content* of a subdir is: its newest snapshot, looked up with proof (FORMATS §5). A log can have its checkpoints
//! cosigned for ever and publish nothing new.

use std::time::Duration;

use glasslog_client::{
    lookup::{self, Inquiry},
    verdict::Demand,
};
use glasslog_conda::Conda1Map;
use glasslog_core::{TreeSize, policy::MAX_CLOCK_LEAD};
use serde::Deserialize;

use super::judge::Wanted;
use crate::{
    exit::{Exit, Failed, OrExit},
    fetch::now,
    ground::Content,
    lookup::Asking,
};

/// What is read of a snapshot, which is a valid one: it maps to its subdir.
#[derive(Deserialize)]
struct Snapshot {
    date: String,
}

/// How new the content of the subdir of `wanted` is, where it may be `max_age` old.
///
/// # Errors
///
/// [`Failed`] with 4: the log cannot be asked, or its answer is not believed.
pub(super) async fn of(asking: &Asking<'_>, wanted: &Wanted, max_age: Duration) -> Result<Content, Failed> {
    let subdir = wanted.path.split('/').next().unwrap_or_default();
    let name = format!("conda/{}/{subdir}", wanted.repo);
    let inquiry = Inquiry::of_name(asking.pins, &Conda1Map, Some("subdir"), &name).or_exit(Exit::Usage)?;
    let none = "the log shows no snapshot of this subdir, and --max-content-age asks for one";
    let Some(believed) = asking.ask(&inquiry, lookup::Wanted { list: 1, entries: 1 }).await? else {
        return Ok(Content { date: None, fault: Some(none), tree_size: TreeSize::ZERO });
    };
    let newest = believed.newest(asking.source, &inquiry, 1).await?;
    let date = newest.first().and_then(|(_, entry)| date_of(entry));
    let begin = date.as_deref().and_then(begin_of);
    let fault = begin.map_or(Some(none), |begin| fault(begin, asking.demand, max_age, now()));
    Ok(Content { date, fault, tree_size: believed.observed.checkpoint.size() })
}

/// What is wrong with a newest snapshot of the day that begins at `begin`. A log writes what day it likes, so one of the future
/// says nothing of its age, or it would be new for ever.
fn fault(begin: u64, demand: Demand, max_age: Duration, now: u64) -> Option<&'static str> {
    let asked_about = match demand {
        Demand::AsOf(time) => time,
        Demand::Usual | Demand::MaxAge(_) => now,
    };
    if begin > now.saturating_add(MAX_CLOCK_LEAD) {
        Some("a day that has not begun")
    } else if begin < asked_about.saturating_sub(max_age.as_secs()) {
        Some("too old by --max-content-age")
    } else {
        None
    }
}

fn date_of(entry: &[u8]) -> Option<String> {
    serde_json::from_slice::<Snapshot>(entry).ok().map(|snapshot| snapshot.date)
}

/// When the day begins, in seconds since 1970.
fn begin_of(date: &str) -> Option<u64> {
    let begin: jiff::Timestamp = format!("{date}T00:00:00Z").parse().ok()?;
    u64::try_from(begin.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_as_old_as_its_day() {
        let entry = br#"{"count":1,"date":"2023-11-14","type":"snapshot"}"#;
        assert_eq!(date_of(entry).as_deref().and_then(begin_of), Some(1_699_920_000));
        assert_eq!(date_of(br#"{"type":"epoch"}"#), None);
        assert_eq!(begin_of("1969-12-31"), None);
    }

    #[test]
    fn a_day_is_new_enough_from_its_beginning_until_its_age() {
        let (now, day) = (1_000_000, Duration::from_secs(86_400));
        let of = |begin, demand| fault(begin, demand, day, now);
        assert_eq!(of(now - 86_400, Demand::Usual), None);
        assert!(of(now - 86_401, Demand::MaxAge(1)).is_some_and(|fault| fault.contains("too old")));
        assert_eq!(of(now - 86_401, Demand::AsOf(now - 1)), None);
        assert_eq!(of(now + MAX_CLOCK_LEAD, Demand::Usual), None);
        for demand in [Demand::Usual, Demand::AsOf(0)] {
            assert!(of(now + MAX_CLOCK_LEAD + 1, demand).is_some_and(|fault| fault.contains("not begun")));
        }
    }
}
