//! `repodata::read`: every entry that comes out is one that the schema accepts, and all that is read is accounted for.
#![no_main]

use std::convert::Infallible;

use glasslog_conda::{
    Conda1,
    names::{Repo, Subdir},
    repodata::{self, Event},
};
use glasslog_core::personality::Personality;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let repo = Repo::parse("conda-forge").expect("a repo");
    let subdir = Subdir::parse("linux-64").expect("a subdir");
    let schema = Conda1::any_repo();
    let mut records = 0;
    let result = repodata::read(bytes, &repo, &subdir, |event| {
        if let Event::Record(record) = event {
            records += 1;
            assert!(record.path.starts_with("linux-64/"));
            if let Err(refused) = schema.validate(record.entry) {
                panic!("{}: {}", refused.message, String::from_utf8_lossy(record.entry));
            }
        }
        Ok::<(), Infallible>(())
    });
    let summary = result.unwrap_or_else(|error| *error.before);
    assert_eq!(summary.records, records);
});
