//! Who may write: no foreign web page, only known tokens, not too often.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use glasslog_http::{
    client::client_address,
    rate::{Client, Limited, Limiter},
};
use http::{HeaderMap, StatusCode, Uri, header::ORIGIN};
use ipnet::IpNet;

use crate::{
    answer::Refusal,
    config::ServerConfig,
    tokens::{Tokens, unauthorized},
};

/// Someone who passed the gate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Writer {
    /// Carries a token, which has no rate.
    Token,
    /// Carries none: each entry counts.
    Anonymous(Client),
}

/// The rules of the gate.
#[derive(Debug)]
pub(crate) struct Gate {
    tokens: Tokens,
    anonymous_writes: bool,
    own_origins: Vec<String>,
    trusted_proxies: Vec<IpNet>,
    limiter: Option<Limiter>,
    started: Instant,
}

impl Gate {
    pub(crate) fn new(config: &ServerConfig, listening: SocketAddr) -> Gate {
        let here = format!("http://{listening}");
        let own_origins = [Some(&here), config.public_url.as_ref()].into_iter().flatten();
        Gate {
            tokens: config.tokens.clone(),
            anonymous_writes: config.anonymous_writes,
            own_origins: own_origins.filter_map(|url| web_origin(url)).collect(),
            trusted_proxies: config.trusted_proxies.clone(),
            limiter: config.rate.map(|rate| Limiter::new(rate, config.limits.rate_buckets)),
            started: Instant::now(),
        }
    }

    /// Lets a writer in and counts the first entry.
    ///
    /// # Errors
    ///
    /// 403 for a foreign web page, 401 for a wrong or missing token, 429 for too many writes.
    pub(crate) fn admit_writer(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Writer, Refusal> {
        self.refuse_foreign_pages(headers)?;
        if self.tokens.authenticate(headers)? {
            return Ok(Writer::Token);
        }
        if !self.anonymous_writes {
            return Err(unauthorized(
                "writing here needs a token: send the header `Authorization: Bearer <token>`",
            ));
        }
        let client = Client::from(client_address(peer, headers, &self.trusted_proxies));
        self.take(client, 1)?;
        Ok(Writer::Anonymous(client))
    }

    /// Counts the entries of a batch beyond the first.
    ///
    /// # Errors
    ///
    /// 429, or 413 when the batch is larger than a burst and so could never pass.
    pub(crate) fn charge_rest(&self, writer: Writer, entries: usize) -> Result<(), Refusal> {
        let (Writer::Anonymous(client), Some(limiter)) = (writer, &self.limiter) else { return Ok(()) };
        match u32::try_from(entries) {
            Ok(entries) if entries <= limiter.burst() => self.take(client, entries.saturating_sub(1)),
            _ => Err(larger_than_burst(limiter)),
        }
    }

    /// Counts a read that costs work (a proof, a lookup), unless it carries a token.
    ///
    /// # Errors
    ///
    /// 401 for a wrong token, 429 for too many.
    pub(crate) fn admit_reader(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.limiter.is_none() || self.tokens.authenticate(headers)? {
            return Ok(());
        }
        self.take(Client::from(client_address(peer, headers, &self.trusted_proxies)), 1)
    }

    /// Forgets clients that have been idle long enough.
    pub(crate) fn forget_idle(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.forget_idle(self.started.elapsed());
        }
    }

    /// How many clients are remembered.
    pub(crate) fn remembered_clients(&self) -> usize {
        self.limiter.as_ref().map_or(0, Limiter::buckets)
    }

    /// A browser names the page that makes it write. A page of another site must not write to a log on its reader's
    /// own machine, and `Host` proves nothing: it is the attacker's own name after a DNS rebinding.
    fn refuse_foreign_pages(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let foreign = headers.get_all(ORIGIN).iter().any(|origin| {
            !self.own_origins.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
        });
        if foreign {
            let message =
                "web pages of other sites may not write to this log; set PUBLIC_URL if the page is its own";
            return Err(Refusal::new(StatusCode::FORBIDDEN, message));
        }
        Ok(())
    }

    fn take(&self, client: Client, cells: u32) -> Result<(), Refusal> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        match limiter.take(client, cells, self.started.elapsed()) {
            Ok(()) => Ok(()),
            Err(Limited::After(wait)) => Err(too_many(wait)),
            Err(Limited::Never) => Err(larger_than_burst(limiter)),
        }
    }
}

fn larger_than_burst(limiter: &Limiter) -> Refusal {
    let burst = limiter.burst();
    let message =
        format!("without a token at most {burst} entries can be sent at once; send smaller batches");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

fn too_many(wait: Duration) -> Refusal {
    let message = "too many requests from this address; wait as long as the header Retry-After says";
    Refusal { retry_after: Some(wait), ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, message) }
}

/// The web origin (RFC 6454) of a URL, as a browser sends it: scheme and host in lower case, no default port.
fn web_origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let default_port = match scheme {
        "https" => 443,
        _ => 80,
    };
    let port = authority.port_u16().filter(|port| *port != default_port);
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{scheme}://{}{port}", authority.host()).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_send_them() {
        for (url, origin) in [
            ("https://log.example.org", Some("https://log.example.org")),
            ("https://Log.Example.org:443/conda", Some("https://log.example.org")),
            ("http://log.example.org:80/", Some("http://log.example.org")),
            ("http://log.example.org:443/", Some("http://log.example.org:443")),
            ("http://[::1]:2025/x", Some("http://[::1]:2025")),
            ("/relative", None),
        ] {
            assert_eq!(web_origin(url).as_deref(), origin, "{url}");
        }
    }
}
