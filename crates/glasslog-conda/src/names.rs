//! The names that an entry is filed under: repo, subdir and file (FORMATS §4, `docs/spec/conda-entry.md` §2).

use std::fmt;

/// The longest repo name, in bytes.
pub const MAX_REPO_BYTES: usize = 200;

/// A repo: `[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*`, at most 200 bytes, never a URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repo(String);

/// The subdir of the source: `[a-z0-9_-]+`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subdir(String);

/// Why a string is not a repo, a subdir or a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The repo is too long.
    #[error("a repo has at most 200 bytes, this one has {0}")]
    RepoTooLong(usize),
    /// The repo does not follow the grammar.
    #[error(
        "{0:?} is not a repo: names of letters, digits, '.', '_' and '-' that begin with a letter or digit, \
         joined by single slashes (conda-forge, bioconda/label/test), never a URL"
    )]
    Repo(String),
    /// The label `main` is what a channel without a label means.
    #[error("{0:?} names the label main, which is left out: write {1:?}")]
    LabelMain(String, String),
    /// The subdir does not follow the grammar.
    #[error("{0:?} is not a subdir: one or more of a-z, 0-9, '_' and '-' (noarch, linux-64)")]
    Subdir(String),
    /// The path is not a subdir, one slash and a file name.
    #[error("{0:?} is not a path: a subdir, exactly one slash, and a file name that is not empty")]
    Path(String),
}

impl Repo {
    /// Accepts `text` if it is a repo.
    ///
    /// # Errors
    ///
    /// [`NameError`] when it is too long, breaks the grammar, or names the label `main`.
    pub fn parse(text: &str) -> Result<Repo, NameError> {
        if text.len() > MAX_REPO_BYTES {
            return Err(NameError::RepoTooLong(text.len()));
        }
        if !text.split('/').all(is_repo_part) {
            return Err(NameError::Repo(text.to_owned()));
        }
        if let Some(channel) = text.strip_suffix("/label/main") {
            return Err(NameError::LabelMain(text.to_owned(), channel.to_owned()));
        }
        Ok(Repo(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Subdir {
    /// Accepts `text` if it is a subdir.
    ///
    /// # Errors
    ///
    /// [`NameError::Subdir`] when it breaks the grammar.
    pub fn parse(text: &str) -> Result<Subdir, NameError> {
        if is_subdir(text) { Ok(Subdir(text.to_owned())) } else { Err(NameError::Subdir(text.to_owned())) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Splits a path into its subdir and its file name, both checked.
///
/// # Errors
///
/// [`NameError::Path`] unless there is exactly one slash and something after it, [`NameError::Subdir`] when
/// what stands before it is not a subdir.
pub fn split_path(path: &str) -> Result<(&str, &str), NameError> {
    let (subdir, file) = path.split_once('/').ok_or_else(|| NameError::Path(path.to_owned()))?;
    if !is_file_name(file) {
        return Err(NameError::Path(path.to_owned()));
    }
    if !is_subdir(subdir) {
        return Err(NameError::Subdir(subdir.to_owned()));
    }
    Ok((subdir, file))
}

/// Whether `text` can be the file name of a path: not empty, without a slash, otherwise anything.
#[must_use]
pub fn is_file_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

fn is_subdir(text: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    !text.is_empty() && text.bytes().all(allowed)
}

fn is_repo_part(part: &str) -> bool {
    part.starts_with(|first: char| first.is_ascii_alphanumeric())
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Subdir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repos() {
        for good in ["conda-forge", "a", "0", "bioconda/label/test", "x.y_z-1", "a/b/c"] {
            assert!(Repo::parse(good).is_ok(), "{good}");
        }
        assert!(Repo::parse(&"a".repeat(200)).is_ok());
        let bad = [
            ("", "empty"),
            ("-a", "begins with a dash"),
            (".a", "begins with a dot"),
            ("a//b", "an empty part"),
            ("/a", "a leading slash"),
            ("a/", "a trailing slash"),
            ("a b", "a space"),
            ("é", "not ASCII"),
            ("https://conda.anaconda.org/conda-forge", "a URL"),
            ("conda-forge/label/main", "the label main is left out"),
        ];
        for (text, why) in bad {
            assert!(Repo::parse(text).is_err(), "{why}");
        }
        assert_eq!(Repo::parse(&"a".repeat(201)), Err(NameError::RepoTooLong(201)));
    }

    #[test]
    fn paths() {
        assert_eq!(split_path("noarch/x-1-0.conda"), Ok(("noarch", "x-1-0.conda")));
        assert_eq!(split_path("linux-64/ü %2F.conda"), Ok(("linux-64", "ü %2F.conda")));
        for (path, why) in [
            ("", "empty"),
            ("noarch", "no slash"),
            ("noarch/", "no file"),
            ("/x", "no subdir"),
            ("noarch/a/b", "two slashes"),
            ("Noarch/a", "an upper-case subdir"),
        ] {
            assert!(split_path(path).is_err(), "{why}");
        }
    }
}
