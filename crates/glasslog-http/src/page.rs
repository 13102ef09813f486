//! Short pages for people. No scripts, nothing from elsewhere, everything escaped.

use std::fmt;

use http::{
    HeaderValue,
    header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY},
};

use crate::answer::{Answer, uncached};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1rem/1.55 system-ui,sans-serif;max-width:46rem;margin:2.5rem auto;padding:0 1.25rem}\
h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:2rem}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.25rem}dt{font-weight:600}dd{margin:0;min-width:0;overflow-wrap:anywhere}\
.long{display:block;overflow-x:auto;white-space:nowrap}\
code,pre{font:.9em/1.5 ui-monospace,monospace}pre{padding:.8rem 1rem;overflow-x:auto;border:1px solid #8886;border-radius:.4rem}\
a{color:light-dark(#0645ad,#8ab4f8)}footer{margin-top:2.5rem;font-size:.9rem}";

/// The page with this title, text, that goes around `body`, HTML; `software` stands at its foot. An element of class `long`
/// is one line that scrolls.
#[must_use]
pub fn html(title: &str, body: &str, software: &str) -> Answer {
    let (title, software) = (Escaped(title), Escaped(software));
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n\
         <footer>{software}</footer>\n</body>\n</html>\n"
    );
    let mut answer = uncached(HTML, page);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

/// Text that means itself, in an element or in a quoted attribute.
pub struct Escaped<'a>(pub &'a str);

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
