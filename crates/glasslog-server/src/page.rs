//! `GET /`: a short page for people. No scripts, nothing from elsewhere, everything escaped.

use std::fmt;

use http::{
    HeaderValue,
    header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY},
};

use crate::{
    answer::{Answer, uncached},
    app::{App, Site},
    metrics::checkpoint_age,
    status::SOFTWARE,
};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1rem/1.55 system-ui,sans-serif;max-width:46rem;margin:2.5rem auto;padding:0 1.25rem}\
h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:2rem}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.25rem}dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}\
code,pre{font:.9em/1.5 ui-monospace,monospace}pre{padding:.8rem 1rem;overflow-x:auto;border:1px solid #8886;border-radius:.4rem}\
a{color:light-dark(#0645ad,#8ab4f8)}footer{margin-top:2.5rem;font-size:.9rem}";

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
    let keys: Vec<_> = vkeys.iter().map(|vkey| format!("<code>{}</code>", Escaped(vkey))).collect();
    let body = format!(
        "<h1>{origin}</h1>\n\
         <p>A transparency log: an append-only list that anyone can audit, so that nobody can be shown a different one.</p>\n\
         <dl>\n<dt>State</dt><dd>{state}</dd>\n<dt>Public entries</dt><dd>{published}</dd>\n\
         <dt>Entries in all</dt><dd>{sequenced}</dd>\n<dt>Checkpoint</dt><dd><a href=\"checkpoint\">{age}</a></dd>\n\
         <dt>Schema</dt><dd>{schema}</dd>\n<dt>Key</dt><dd>{keys}</dd>\n</dl>\n\
         <h2>Verify</h2>\n\
         <p>Keep the key from a source that you trust, not from this page. Then audit the whole log, or one entry:</p>\n\
         <pre>glasslog fsck {url} --vkey '{vkey}'\n\
         curl -sS {url}/proof/0 -o entry.tlog-proof\n\
         glasslog verify proof entry.tlog-proof --entry FILE --vkey '{vkey}'</pre>\n\
         <p>FILE holds the bytes of the entry that you expect at that index.</p>\n\
         <p>Its tiles and checkpoint are those of <a href=\"https://c2sp.org/tlog-tiles\">c2sp.org/tlog-tiles</a>; any \
         client of that can read it. More: <a href=\"log.json\">log.json</a>, <a href=\"ready\">ready</a>, \
         <a href=\"/openapi.json\">openapi.json</a>.</p>",
        state = Escaped(&state),
        published = progress.published,
        sequenced = progress.sequenced,
        schema = site.log.schema().unwrap_or("none: any bytes"),
        keys = keys.join("<br>"),
    );
    html(site.log.origin(), &body)
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
    html("Transparency logs", &format!("<h1>Transparency logs</h1>\n<ul>\n{}\n</ul>", items.join("\n")))
}

fn html(title: &str, body: &str) -> Answer {
    let title = Escaped(title);
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n\
         <footer>{SOFTWARE}</footer>\n</body>\n</html>\n"
    );
    let mut answer = uncached(HTML, page);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

/// Text that means itself, in an element or in a quoted attribute.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_its_place() {
        assert_eq!(
            Escaped("<a href='x' b=\"y\">&").to_string(),
            "&lt;a href=&#39;x&#39; b=&quot;y&quot;&gt;&amp;"
        );
    }
}
