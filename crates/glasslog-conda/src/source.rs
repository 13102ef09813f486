//! Where repodata comes from, and what that says about repo and subdir (FORMATS §4).

use crate::names::{NameError, Repo, Subdir};

/// The only host whose URLs say which repo they serve; a mirror of any other name needs `--repo`.
const HOST: &str = "conda.anaconda.org";

/// The systems that begin the name of a conda subdir, as in `linux-64`.
const SYSTEMS: [&str; 8] = ["emscripten", "freebsd", "linux", "osx", "wasi", "win", "zos", "netbsd"];

/// What a URL says about the repodata behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The repo.
    pub repo: Repo,
    /// The subdir, when the URL goes that deep.
    pub subdir: Option<Subdir>,
}

/// Why a URL does not say which repo it serves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The URL is of another host or scheme.
    #[error(
        "{0:?} does not say which repo it serves: only https://conda.anaconda.org/<name>/ does; give --repo"
    )]
    Unmapped(String),
    /// The URL holds a token: it is private and its path names a secret.
    #[error("the URL holds an access token (/t/…): give --repo, and keep the token out of what is logged")]
    Token,
    /// The path is not one of a channel.
    #[error("{0:?} goes deeper than <name>[/label/<label>][/<subdir>[/<file>]]: give --repo and --subdir")]
    TooDeep(String),
    /// A part of the path breaks the grammar.
    #[error("the URL names no valid channel")]
    Name(#[from] NameError),
}

/// Reads repo and subdir from a channel, subdir or repodata URL of `conda.anaconda.org`.
///
/// The label `main` is left out, any other is part of the repo (`c/label/l`). Query and fragment are ignored.
///
/// # Errors
///
/// [`SourceError`] when the URL is of another host, holds a token, or breaks a grammar.
pub fn from_url(url: &str) -> Result<Source, SourceError> {
    let unmapped = || SourceError::Unmapped(url.to_owned());
    let (scheme, rest) = url.split_once("://").ok_or_else(unmapped)?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(unmapped());
    }
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !host.eq_ignore_ascii_case(HOST) {
        return Err(unmapped());
    }
    let parts: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    let (channel, label, rest) = match *parts {
        ["t", ..] => return Err(SourceError::Token),
        [channel, "label", label, ref rest @ ..] => (channel, Some(label), rest),
        [channel, ref rest @ ..] => (channel, None, rest),
        [] => return Err(unmapped()),
    };
    let repo = match label {
        None | Some("main") => Repo::parse(channel)?,
        Some(label) => Repo::parse(&format!("{channel}/label/{label}"))?,
    };
    let subdir = match *rest {
        [] => None,
        [subdir] | [subdir, _] => Some(Subdir::parse(subdir)?),
        _ => return Err(SourceError::TooDeep(url.to_owned())),
    };
    Ok(Source { repo, subdir })
}

/// The subdir that the parent directory of a repodata file names, if it looks like one of conda's.
///
/// `location` is a path or a URL, with `/` or `\` between its parts. Only `noarch` and names that begin with a
/// known system are believed: a file that lies in `downloads/` needs `--subdir`.
#[must_use]
pub fn subdir_of(location: &str) -> Option<Subdir> {
    let location = location.split(['?', '#']).next()?;
    let parent = location.rsplit(['/', '\\']).nth(1)?;
    let known = parent == "noarch"
        || parent.split_once('-').is_some_and(|(system, arch)| SYSTEMS.contains(&system) && !arch.is_empty());
    if known { Subdir::parse(parent).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_say_what_they_are() {
        for (url, repo, subdir) in [
            ("https://conda.anaconda.org/conda-forge", "conda-forge", None),
            ("https://conda.anaconda.org/conda-forge/", "conda-forge", None),
            ("HTTP://Conda.Anaconda.org/conda-forge/noarch", "conda-forge", Some("noarch")),
            (
                "https://conda.anaconda.org/conda-forge/linux-64/repodata.json.zst?x=1",
                "conda-forge",
                Some("linux-64"),
            ),
            (
                "https://conda.anaconda.org/bioconda/label/main/noarch/repodata.json",
                "bioconda",
                Some("noarch"),
            ),
            (
                "https://conda.anaconda.org/pytorch/label/nightly/linux-64",
                "pytorch/label/nightly",
                Some("linux-64"),
            ),
        ] {
            let source = from_url(url).unwrap();
            assert_eq!(source.repo.as_str(), repo, "{url}");
            assert_eq!(source.subdir.as_ref().map(Subdir::as_str), subdir, "{url}");
        }
    }

    #[test]
    fn urls_that_do_not() {
        for (url, why) in [
            ("conda-forge", "no URL"),
            ("file:///srv/conda-forge/noarch/repodata.json", "a file"),
            ("https://repo.prefix.dev/conda-forge", "another host"),
            ("https://conda.anaconda.org.evil.example/conda-forge", "a host that only begins alike"),
            ("https://user@conda.anaconda.org/conda-forge", "credentials"),
            ("https://conda.anaconda.org:8443/conda-forge", "a port"),
            ("https://conda.anaconda.org", "no channel"),
            ("https://conda.anaconda.org/", "no channel"),
            ("https://conda.anaconda.org/t/to-123/private/noarch", "a token"),
            ("https://conda.anaconda.org/a%20b", "an escape"),
            ("https://conda.anaconda.org/a/linux-64/x/y", "too deep"),
            ("https://conda.anaconda.org/a/Linux", "no subdir"),
        ] {
            assert!(from_url(url).is_err(), "{why}");
        }
    }

    #[test]
    fn subdirs_of_files() {
        for (location, subdir) in [
            ("/srv/channel/linux-64/repodata.json", Some("linux-64")),
            ("noarch/repodata.json.zst", Some("noarch")),
            ("C:\\channel\\win-64\\repodata.json", Some("win-64")),
            ("https://host/c/osx-arm64/repodata.json?x=/y", Some("osx-arm64")),
            ("repodata.json", None),
            ("my-downloads/repodata.json", None),
            ("linux-/repodata.json", None),
        ] {
            assert_eq!(subdir_of(location).as_ref().map(Subdir::as_str), subdir, "{location}");
        }
    }
}
