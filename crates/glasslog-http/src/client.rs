//! Whose request is it? The peer's, unless the peer is a proxy that we trust to say for whom it speaks.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, header::FORWARDED};
use ipnet::IpNet;

/// The address that rates are counted by.
///
/// Behind a trusted proxy it is the rightmost forwarded address that is not itself a trusted proxy: everything to its
/// left was written by whoever sent the request. Reading stops at the first element that is not an address. When
/// `X-Forwarded-For` and `Forwarded` name different clients, one of them was passed through unread, and the proxy
/// answers for the request itself.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let listed = rightmost_untrusted(peer, elements(headers, "x-forwarded-for").map(address), trusted);
    let forwarded =
        rightmost_untrusted(peer, elements(headers, FORWARDED.as_str()).map(forwarded_for), trusted);
    match (listed, forwarded) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(address), _) | (None, Some(address)) => address,
        (None, None) => peer,
    }
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

/// `None` when there are no elements. When all are trusted proxies, the one furthest away.
fn rightmost_untrusted(
    peer: IpAddr,
    elements: impl Iterator<Item = Option<IpAddr>>,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let mut furthest = None;
    for element in elements {
        let Some(address) = element else { return Some(furthest.unwrap_or(peer)) };
        furthest = Some(address);
        if !is_trusted(address, trusted) {
            break;
        }
    }
    furthest
}

/// The comma-separated elements of every line of a header, from the last to the first.
fn elements<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    lines.into_iter().rev().flat_map(|line| line.to_str().unwrap_or_default().rsplit(','))
}

/// The `for` parameter of one element of `Forwarded` (RFC 7239 §4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| address(value.trim().trim_matches('"'))).flatten()
    })
}

/// An address with or without a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()))
        .ok()
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines = &'static [(&'static str, &'static str)];

    /// Peer, header lines, expected client; 10/8 and fd00::/8 are trusted.
    const TABLE: &[(&str, Lines, &str)] = &[
        // An untrusted peer is the client, whatever it claims.
        ("192.0.2.9", &[], "192.0.2.9"),
        ("192.0.2.9", &[("x-forwarded-for", "198.51.100.1")], "192.0.2.9"),
        ("192.0.2.9", &[("forwarded", "for=198.51.100.1")], "192.0.2.9"),
        // A trusted proxy speaks for others.
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &[("x-forwarded-for", "198.51.100.1")], "198.51.100.1"),
        ("::ffff:10.0.0.1", &[("x-forwarded-for", "198.51.100.1")], "198.51.100.1"),
        ("fd00::1", &[("x-forwarded-for", "2001:db8::7")], "2001:db8::7"),
        // Only the rightmost untrusted address was written by a proxy.
        ("10.0.0.1", &[("x-forwarded-for", "203.0.113.66, 198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", &[("x-forwarded-for", "203.0.113.66, 198.51.100.1, 10.0.0.2")], "198.51.100.1"),
        (
            "10.0.0.1",
            &[("x-forwarded-for", "203.0.113.66"), ("x-forwarded-for", "198.51.100.1,10.0.0.2")],
            "198.51.100.1",
        ),
        // Everyone on the way is trusted: the furthest of them.
        ("10.0.0.1", &[("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
        // What is not an address ends the reading; the last one believed counts.
        ("10.0.0.1", &[("x-forwarded-for", "198.51.100.1, unknown")], "10.0.0.1"),
        ("10.0.0.1", &[("x-forwarded-for", "198.51.100.1, , 10.0.0.2")], "10.0.0.2"),
        ("10.0.0.1", &[("x-forwarded-for", "")], "10.0.0.1"),
        ("10.0.0.1", &[("x-forwarded-for", "198.51.100.256")], "10.0.0.1"),
        // Ports and brackets.
        ("10.0.0.1", &[("x-forwarded-for", "198.51.100.1:4711")], "198.51.100.1"),
        ("10.0.0.1", &[("x-forwarded-for", "[2001:db8::7]:4711")], "2001:db8::7"),
        ("10.0.0.1", &[("x-forwarded-for", "[2001:db8::7]")], "2001:db8::7"),
        // RFC 7239.
        ("10.0.0.1", &[("forwarded", "for=198.51.100.1")], "198.51.100.1"),
        (
            "10.0.0.1",
            &[("forwarded", "proto=https;For=\"[2001:db8:cafe::17]:4711\";by=10.0.0.1")],
            "2001:db8:cafe::17",
        ),
        (
            "10.0.0.1",
            &[("forwarded", "for=203.0.113.66, for=198.51.100.1;proto=http, for=10.0.0.2")],
            "198.51.100.1",
        ),
        ("10.0.0.1", &[("forwarded", "for=_hidden")], "10.0.0.1"),
        ("10.0.0.1", &[("forwarded", "proto=https")], "10.0.0.1"),
        // Two headers that contradict each other: one was passed through from the client.
        ("10.0.0.1", &[("forwarded", "for=203.0.113.66"), ("x-forwarded-for", "198.51.100.1")], "10.0.0.1"),
        (
            "10.0.0.1",
            &[("forwarded", "for=198.51.100.1"), ("x-forwarded-for", "198.51.100.1")],
            "198.51.100.1",
        ),
    ];

    #[test]
    fn table() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for (peer, lines, expected) in TABLE {
            let mut headers = HeaderMap::new();
            for (name, value) in *lines {
                headers.append(*name, value.parse().unwrap());
            }
            let client = client_address(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        }
    }

    #[test]
    fn nobody_is_trusted_by_default() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "198.51.100.1".parse().unwrap());
        let peer = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(client_address(peer, &headers, &[]), peer);
    }
}
