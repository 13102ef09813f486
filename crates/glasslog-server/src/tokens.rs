//! Bearer tokens (RFC 6750), compared in constant time.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::answer::Refusal;

/// The tokens that may write. Clones share one list, which can be replaced while the server runs (SIGHUP).
#[derive(Clone, Default)]
pub struct Tokens {
    digests: Arc<ArcSwap<Vec<[u8; 32]>>>,
}

impl Tokens {
    /// Tokens with these secrets. Only their SHA-256 is kept. Empty secrets are left out: an empty `API_KEY` is none.
    pub fn new<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Tokens {
        let tokens = Tokens::default();
        tokens.replace(secrets);
        tokens
    }

    /// Replaces the list for every clone.
    pub fn replace<S: AsRef<[u8]>>(&self, secrets: impl IntoIterator<Item = S>) {
        let digests = secrets
            .into_iter()
            .filter(|secret| !secret.as_ref().is_empty())
            .map(|secret| Sha256::digest(secret).into())
            .collect();
        self.digests.store(Arc::new(digests));
    }

    /// Whether there is no token at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.digests.load().is_empty()
    }

    /// Whether the request carries one of the tokens; `false` when it carries none.
    ///
    /// # Errors
    ///
    /// 401 when it carries something else: a mistyped token must not silently count as anonymous.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> Result<bool, Refusal> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (value, more) = (values.next(), values.next());
        let Some(value) = value else { return Ok(false) };
        let token = match more {
            Some(_) => None,
            None => bearer(value.as_bytes()),
        };
        let Some(token) = token else {
            return Err(unauthorized("the header Authorization must be, once, `Bearer <token>`"));
        };
        if self.contains(token) { Ok(true) } else { Err(unauthorized("this token is not known here")) }
    }

    /// Looks at every token, so that the time says nothing about how near a guess is, nor to which.
    fn contains(&self, token: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let found =
            self.digests.load().iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&digest));
        found.into()
    }
}

/// Says how many there are, never which.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.digests.load().len())
    }
}

pub(crate) fn unauthorized(message: &'static str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, message)
}

/// The token of `Bearer <token>`; the scheme is case-insensitive (RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let token = rest.strip_prefix(b" ")?.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(tokens: &Tokens, values: &[&str]) -> Option<bool> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        tokens.authenticate(&headers).ok()
    }

    #[test]
    fn only_an_exact_token_authenticates() {
        let tokens = Tokens::new(["one", "two", ""]);
        for (values, expected) in [
            (&[][..], Some(false)),
            (&["Bearer one"], Some(true)),
            (&["bearer two"], Some(true)),
            (&["Bearer  one "], Some(true)),
            (&["Bearer on"], None),
            (&["Bearer onee"], None),
            (&["Bearer "], None),
            (&["Bearer"], None),
            (&["Bear"], None),
            (&["Bearerone"], None),
            (&["Basic b25l"], None),
            (&["Bearer one", "Bearer one"], None),
        ] {
            assert_eq!(ask(&tokens, values), expected, "{values:?}");
        }
    }

    #[test]
    fn a_replaced_list_holds_for_clones() {
        let tokens = Tokens::new(["old"]);
        let clone = tokens.clone();
        tokens.replace(["new"]);
        assert_eq!(ask(&clone, &["Bearer new"]), Some(true));
        assert_eq!(ask(&clone, &["Bearer old"]), None);
    }
}
