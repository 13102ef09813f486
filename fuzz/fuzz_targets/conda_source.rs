//! `source` and `names`: reading a URL or a location never panics, and names read back as themselves.
#![no_main]

use glasslog_conda::{
    names::{Repo, Subdir, split_path},
    source,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(source) = source::from_url(text) {
        let repo = source.repo.as_str();
        assert_eq!(Repo::parse(repo).map(|repo| repo.as_str().to_owned()), Ok(repo.to_owned()));
    }
    if let Some(subdir) = source::subdir_of(text) {
        assert!(Subdir::parse(subdir.as_str()).is_ok());
    }
    if let Ok((subdir, file)) = split_path(text) {
        assert_eq!(format!("{subdir}/{file}"), text);
    }
});
