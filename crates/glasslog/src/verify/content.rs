//! How new the *content* of a subdir is: its newest snapshot, looked up with proof (FORMATS §5). A log can have its checkpoints
//! cosigned for ever and publish nothing new.

use std::time::Duration;

use glasslog_client::{
    lookup::{self, Inquiry},
    verdict::Demand,
};
use glasslog_conda::Conda1Map;
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
    let Some(believed) = asking.ask(&inquiry, lookup::Wanted { list: 1, entries: 1 }).await? else {
        return Ok(Content { date: None, is_new: false });
    };
    let newest = believed.newest(asking.source, &inquiry, 1).await?;
    let date = newest.first().and_then(|(_, entry)| date_of(entry));
    let asked_about = match asking.demand {
        Demand::AsOf(time) => time,
        Demand::Usual | Demand::MaxAge(_) => now(),
    };
    let oldest = asked_about.saturating_sub(max_age.as_secs());
    let is_new = date.as_deref().and_then(begin_of).is_some_and(|begin| begin >= oldest);
    Ok(Content { date, is_new })
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
}
