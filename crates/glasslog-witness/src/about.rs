//! `/` and `/witness.v0.json`: what this witness is, for whoever wants to use it.

use std::time::Duration;

use glasslog_core::note::{Algorithm, VerifierKey};
use glasslog_http::{
    answer::{Answer, json},
    page::{Escaped, html},
};
use serde::Serialize;

use crate::app::App;

const SOFTWARE: &str = concat!("glasslog/", env!("CARGO_PKG_VERSION"));

/// What a witness is. A log's operator pins the keys from a source of their own.
#[derive(Serialize)]
struct Description<'a> {
    name: &'a str,
    submission_url: Option<&'a str>,
    monitoring_url: Option<&'a str>,
    verifier_keys: Vec<String>,
    software: &'static str,
    /// How many logs it knows.
    logs: usize,
    /// The lists of logs that it takes.
    lists: &'a [String],
    list_interval_seconds: Option<u64>,
    contact: Option<&'a str>,
}

pub(crate) fn description(app: &App) -> Answer {
    let about = &app.about;
    json(&Description {
        name: name(app),
        submission_url: about.submission_url.as_deref(),
        monitoring_url: about.monitoring_url.as_deref().or(about.submission_url.as_deref()),
        verifier_keys: app.keys.iter().map(VerifierKey::to_string).collect(),
        software: SOFTWARE,
        logs: app.logs.len(),
        lists: &about.lists,
        list_interval_seconds: about.list_interval.map(|interval| interval.as_secs()),
        contact: about.contact.as_deref(),
    })
}

pub(crate) fn page(app: &App) -> Answer {
    let about = &app.about;
    let name = name(app);
    let url = about.submission_url.as_deref().unwrap_or("URL-OF-THIS-WITNESS");
    let monitoring = about.monitoring_url.as_deref().unwrap_or(url);
    let keys: Vec<_> = app.keys.iter().map(shown).collect();
    let policy = policy(&app.keys, url);
    let body = format!(
        "<h1>{name}</h1>\n\
         <p>A witness of transparency logs: it cosigns a log's checkpoint if it is consistent with every one that it cosigned \
         before, so that a log cannot show different people different histories.</p>\n\
         <dl>\n<dt>Keys</dt><dd>{keys}</dd>\n<dt>Submission prefix</dt><dd>{url}</dd>\n\
         <dt>Monitoring prefix</dt><dd>{monitoring}</dd>\n<dt>Logs</dt><dd>{logs}</dd>\n<dt>Lists</dt><dd>{lists}</dd>\n\
         <dt>Contact</dt><dd>{contact}</dd>\n</dl>\n\
         <h2>Use it</h2>\n\
         <p>Keep the keys from a source that you trust, not from this page. In a \
         <a href=\"https://c2sp.org/tlog-policy\">tlog-policy</a> each is a line, and a group makes them one witness:</p>\n\
         <pre>{policy}</pre>\n\
         <p>A log is added here by its operator's settings or by a list: its origin, its key and how many checkpoints a day it \
         needs cosigned. <code>glasslog log-stanza</code> prints what to send.</p>\n\
         <p>The protocol is <a href=\"https://c2sp.org/tlog-witness\">c2sp.org/tlog-witness</a>. More: \
         <a href=\"witness.v0.json\">witness.v0.json</a>, <a href=\"ready\">ready</a>.</p>",
        name = Escaped(name),
        keys = keys.join("\n"),
        url = Escaped(url),
        monitoring = Escaped(monitoring),
        logs = app.logs.len(),
        lists = lists(&about.lists, about.list_interval),
        contact = Escaped(about.contact.as_deref().unwrap_or("not given")),
        policy = Escaped(&policy),
    );
    html(name, &body, SOFTWARE)
}

/// A key of 1,312 bytes would push everything else off the page.
fn shown(key: &VerifierKey) -> String {
    let class = if key.algorithm() == Algorithm::MlDsa44 { " class=\"long\"" } else { "" };
    format!("<code{class}>{}</code>", Escaped(&key.to_string()))
}

/// The lines of a policy file that make these keys one witness, `w`.
fn policy(keys: &[VerifierKey], url: &str) -> String {
    if let [key] = keys {
        return format!("witness w {key} {url}");
    }
    let mut lines = String::new();
    let mut group = String::from("group w any");
    for (n, key) in (1..).zip(keys) {
        lines += &format!("witness w{n} {key} {url}\n");
        group += &format!(" w{n}");
    }
    lines + &group
}

fn lists(lists: &[String], interval: Option<Duration>) -> String {
    // A list that is a file is its operator's own, and its path nobody else's business.
    if lists.is_empty() {
        return if interval.is_some() { "its operator's own" } else { "none" }.to_owned();
    }
    let lists: Vec<_> = lists.iter().map(|list| Escaped(list).to_string()).collect();
    let every =
        interval.map_or(String::new(), |interval| format!("<br>read again every {} s", interval.as_secs()));
    format!("{}{every}", lists.join("<br>"))
}

/// The name of the witness is that of its keys.
fn name(app: &App) -> &str {
    app.keys.first().map_or("", VerifierKey::name)
}
