//! A small invented channel, for `glasslog demo`, examples and tests.

/// The name of the channel: the repo of its entries.
pub const REPO: &str = "sample";

/// `noarch/repodata.json` of the channel.
pub const NOARCH: &[u8] = include_bytes!("../fixtures/sample-channel/noarch/repodata.json");

/// `linux-64/repodata.json` of the channel.
pub const LINUX_64: &[u8] = include_bytes!("../fixtures/sample-channel/linux-64/repodata.json");

/// Every subdir of the channel, with its repodata.
pub const SUBDIRS: [(&str, &[u8]); 2] = [("noarch", NOARCH), ("linux-64", LINUX_64)];

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{
        names::{Repo, Subdir},
        repodata::{Event, read},
    };

    #[test]
    fn every_sample_record_is_ordinary() {
        let repo = Repo::parse(REPO).unwrap();
        let mut records = 0;
        for (subdir, repodata) in SUBDIRS {
            let summary = read(repodata, &repo, &Subdir::parse(subdir).unwrap(), |event| {
                assert!(matches!(event, Event::Record(record) if !record.hashless && !record.md5_only));
                Ok::<_, Infallible>(())
            })
            .unwrap();
            assert!(summary.is_clean() && summary.meta_raw == 0);
            records += summary.records;
        }
        assert_eq!(records, 60);
    }
}
