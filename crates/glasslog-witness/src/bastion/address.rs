//! Where a bastion is.

use std::{fmt, str::FromStr};

use http::uri::Authority;
use rustls::pki_types::ServerName;

use super::BackendKey;

/// The port of a bastion that names none.
const HTTPS: u16 = 443;

/// A text that is not where a bastion could be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the address of a bastion: expected a host name, and perhaps a port: bastion.example.com:443"
)]
pub struct AddressError(String);

/// A host name or IP address, and a port: where a bastion takes the connections of backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BastionAddress {
    host: String,
    port: u16,
    server_name: ServerName<'static>,
}

impl BastionAddress {
    /// The submission prefix under which clients reach the backend of `key`, without a final slash, as long as the bastion
    /// takes backends and clients on one port.
    #[must_use]
    pub fn submission_prefix(&self, key: &BackendKey) -> String {
        format!("https://{self}/{}", key.hash())
    }

    /// What a socket connects to.
    pub(super) fn endpoint(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Whom the bastion's certificate must name.
    pub(super) fn server_name(&self) -> &ServerName<'static> {
        &self.server_name
    }
}

/// `HOST`, `HOST:PORT`, an IPv6 address in brackets.
impl FromStr for BastionAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<BastionAddress, AddressError> {
        let parsed = || {
            let authority = text.parse::<Authority>().ok().filter(|_| !text.contains('@'))?;
            let host = authority.host();
            let port = match text.strip_prefix(host)? {
                "" => HTTPS,
                _ => authority.port_u16().filter(|port| *port > 0)?,
            };
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let server_name = ServerName::try_from(bare.to_owned()).ok()?;
            Some(BastionAddress { host: bare.to_owned(), port, server_name })
        };
        parsed().ok_or_else(|| AddressError(text.to_owned()))
    }
}

/// As in a URL: without the port of HTTPS.
impl fmt::Display for BastionAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        match (host.contains(':'), self.port) {
            (false, HTTPS) => write!(f, "{host}"),
            (false, port) => write!(f, "{host}:{port}"),
            (true, HTTPS) => write!(f, "[{host}]"),
            (true, port) => write!(f, "[{host}]:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let table = [
            ("bastion.example.com", "bastion.example.com", ("bastion.example.com", 443)),
            ("bastion.example.com:443", "bastion.example.com", ("bastion.example.com", 443)),
            ("localhost:8443", "localhost:8443", ("localhost", 8443)),
            ("192.0.2.1:8443", "192.0.2.1:8443", ("192.0.2.1", 8443)),
            ("[2001:db8::1]", "[2001:db8::1]", ("2001:db8::1", 443)),
            ("[2001:db8::1]:8443", "[2001:db8::1]:8443", ("2001:db8::1", 8443)),
        ];
        for (text, shown, endpoint) in table {
            let address: BastionAddress = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.endpoint()), (shown, endpoint), "{text}");
            assert_eq!(shown.parse(), Ok(address));
        }
        let none = [
            "",
            ":443",
            "bastion.example.com:",
            "bastion.example.com:0",
            "bastion.example.com:65536",
            "bastion.example.com:https",
            "https://bastion.example.com",
            "bastion.example.com/path",
            "user@bastion.example.com",
            "bastion example.com",
            "bastion.example.com:443:443",
            "2001:db8::1",
            "[bastion.example.com]:443x",
        ];
        for text in none {
            assert!(text.parse::<BastionAddress>().is_err(), "{text:?}");
        }
    }
}
