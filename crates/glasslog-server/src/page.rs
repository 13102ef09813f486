//! `GET /`: a short page for people.

use glasslog_http::page::{Escaped, html};

use crate::{
    answer::Answer,
    app::{App, Site},
    metrics::checkpoint_age,
    status::SOFTWARE,
    vindex::IndexSummary,
};

/// The page of one log.
#[utoipa::path(
    get,
    path = "/",
    responses((status = 200, description = "a page for people", body = String, content_type = "text/html")),
)]
pub(crate) fn log_page(app: &App, site: &Site) -> Answer {
    let progress = site.log.progress();
    let origin = Escaped(site.log.origin());
    let url = app.url_of(site).unwrap_or_else(|| "URL-OF-THIS-LOG".to_owned());
    let (url, vkeys) = (Escaped(&url), site.log.vkeys());
    let vkey = Escaped(vkeys.first().map_or("", String::as_str));
    let state = match (&progress.refusing, site.mount.frozen) {
        (_, true) => "closed for ever".to_owned(),
        (Some(reason), _) => format!("refusing entries: {reason}"),
        (None, _) => "taking entries".to_owned(),
    };
    let age = checkpoint_age(&progress).map_or("none yet".to_owned(), |age| format!("{age} s old"));
    let index = IndexSummary::of(&site.log).map_or(String::new(), |index| index.as_html(&site.log));
    let asked = site.log.map_fn().map_or(String::new(), |map_fn| ask(map_fn.name(), &url, &vkey));
    let keys: Vec<_> = vkeys.iter().map(|vkey| format!("<code>{}</code>", Escaped(vkey))).collect();
    let body = format!(
        "<h1>{origin}</h1>\n\
         <p>A transparency log: an append-only list that anyone can audit, so that nobody can be shown a different one.</p>\n\
         <dl>\n<dt>State</dt><dd>{state}</dd>\n<dt>Public entries</dt><dd>{published}</dd>\n\
         <dt>Entries in all</dt><dd>{sequenced}</dd>\n<dt>Checkpoint</dt><dd><a href=\"checkpoint\">{age}</a></dd>\n\
         <dt>Schema</dt><dd>{schema}</dd>\n{index}<dt>Key</dt><dd>{keys}</dd>\n</dl>\n\
         <h2>Verify</h2>\n\
         <p>Keep the key from a source that you trust, not from this page. Then audit the whole log, or one entry:</p>\n\
         <pre>glasslog fsck {url} --vkey '{vkey}'\n\
         curl -sS {url}/proof/0 -o entry.tlog-proof\n\
         glasslog verify proof entry.tlog-proof --entry FILE --vkey '{vkey}'</pre>\n\
         <p>FILE holds the bytes of the entry that you expect at that index.</p>\n{asked}\
         <p>Its tiles and checkpoint are those of <a href=\"https://c2sp.org/tlog-tiles\">c2sp.org/tlog-tiles</a>; any \
         client of that can read it. More: <a href=\"log.json\">log.json</a>, <a href=\"ready\">ready</a>, \
         <a href=\"/openapi.json\">openapi.json</a>.</p>",
        state = Escaped(&state),
        published = progress.published,
        sequenced = progress.sequenced,
        schema = site.log.schema().unwrap_or("none: any bytes"),
        keys = keys.join("<br>"),
    );
    html(site.log.origin(), &body, SOFTWARE)
}

/// How its index is asked, and audited.
fn ask(map_fn: &str, url: &Escaped<'_>, vkey: &Escaped<'_>) -> String {
    let (name, pinned) = match map_fn {
        "conda-1" => ("conda/REPO/SUBDIR/FILE", String::new()),
        other => ("NAME", format!(" --map-fn '{}'", Escaped(other))),
    };
    format!(
        "<p>Or ask what it holds about a name, with proof, also that it holds nothing; and audit every such answer:</p>\n\
         <pre>glasslog lookup {name} --log-url {url} --vkey '{vkey}'{pinned}\n\
         glasslog index check {url} --vkey '{vkey}'{pinned}</pre>\n"
    )
}

/// The page of a server that has no log at its root.
pub(crate) fn index_page(sites: &[Site]) -> Answer {
    let items: Vec<_> = sites
        .iter()
        .map(|site| {
            let (prefix, origin) = (Escaped(&site.mount.prefix), Escaped(site.log.origin()));
            format!("<li><a href=\"{prefix}/\">{origin}</a></li>")
        })
        .collect();
    html(
        "Transparency logs",
        &format!("<h1>Transparency logs</h1>\n<ul>\n{}\n</ul>", items.join("\n")),
        SOFTWARE,
    )
}
