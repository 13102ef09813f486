//! The witness under test: one of this workspace's own, or any other that the environment names.

use std::sync::OnceLock;

use crate::{http::Url, keys::Vkey};

pub(crate) struct Witness {
    pub(crate) url: Url,
    pub(crate) monitoring: Url,
    pub(crate) vkeys: Vec<Vkey>,
}

/// The one witness of this run.
pub(crate) fn witness() -> &'static Witness {
    static WITNESS: OnceLock<Witness> = OnceLock::new();
    WITNESS.get_or_init(elsewhere_or_own)
}

fn elsewhere_or_own() -> Witness {
    let Ok(url) = std::env::var("WITNESS_CONFORMANCE_URL") else { return own() };
    let monitoring = std::env::var("WITNESS_CONFORMANCE_MONITORING_URL").unwrap_or_else(|_| url.clone());
    let vkeys = std::env::var("WITNESS_CONFORMANCE_VKEYS").unwrap_or_default();
    assert!(!vkeys.is_empty(), "WITNESS_CONFORMANCE_VKEYS: name the witness's vkeys, separated by commas");
    at(&url, &monitoring, vkeys.split(',').map(str::trim))
}

fn at<'a>(url: &str, monitoring: &str, vkeys: impl Iterator<Item = &'a str>) -> Witness {
    let vkeys = vkeys.map(|vkey| Vkey::parse(vkey).unwrap_or_else(|why| panic!("{why}"))).collect();
    Witness { url: Url::parse(url), monitoring: Url::parse(monitoring), vkeys }
}

fn own() -> Witness {
    let (url, vkeys) = crate::own::start();
    at(&url, &url, vkeys.iter().map(String::as_str))
}
