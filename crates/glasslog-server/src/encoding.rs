//! Which compression a client asks for (RFC 9110 §12.5.3), and doing it.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, header::ACCEPT_ENCODING};

/// What the bytes of an answer are wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// The client's favourite; among equals zstd, then gzip. A client that forbids all three gets identity: better
    /// bytes it may not want than none.
    pub(crate) fn asked_for(headers: &HeaderMap) -> Encoding {
        let mut lines =
            headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok()).peekable();
        if lines.peek().is_none() {
            return Encoding::Identity;
        }
        let wishes = Wishes::parse(lines.flat_map(|line| line.split(',')));
        let gzip = (wishes.weight(wishes.gzip, 0), Encoding::Gzip);
        let zstd = (wishes.weight(wishes.zstd, 0), Encoding::Zstd);
        // Identity is acceptable unless it, or everything, is forbidden; unmentioned it is wanted least.
        let identity = (wishes.identity.unwrap_or(0), Encoding::Identity);
        let (weight, best) =
            [identity, gzip, zstd].into_iter().max_by_key(|(weight, _)| *weight).unwrap_or(identity);
        if weight == 0 { Encoding::Identity } else { best }
    }

    /// The value of Content-Encoding; identity has none.
    pub(crate) fn header(self) -> Option<HeaderValue> {
        match self {
            Encoding::Identity => None,
            Encoding::Gzip => Some(HeaderValue::from_static("gzip")),
            Encoding::Zstd => Some(HeaderValue::from_static("zstd")),
        }
    }

    /// What distinguishes the strong ETags of the same object under different encodings.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Encoding::Identity => "",
            Encoding::Gzip => "-gzip",
            Encoding::Zstd => "-zstd",
        }
    }

    /// Wraps `bytes`. Takes milliseconds for a full bundle: not for a thread that answers requests.
    pub(crate) fn compress(self, bytes: &Bytes) -> io::Result<Bytes> {
        match self {
            Encoding::Identity => Ok(bytes.clone()),
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::new(6));
                encoder.write_all(bytes)?;
                encoder.finish().map(Bytes::from)
            }
            Encoding::Zstd => zstd::bulk::compress(bytes, 6).map(Bytes::from),
        }
    }
}

/// Weights in thousandths, as far as they were given.
#[derive(Default)]
struct Wishes {
    gzip: Option<u16>,
    zstd: Option<u16>,
    identity: Option<u16>,
    any: Option<u16>,
}

impl Wishes {
    fn parse<'a>(elements: impl Iterator<Item = &'a str>) -> Wishes {
        let mut wishes = Wishes::default();
        for element in elements {
            let (coding, parameters) = element.split_once(';').unwrap_or((element, ""));
            let weight = weight(parameters);
            match coding.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => wishes.gzip = Some(weight),
                "zstd" => wishes.zstd = Some(weight),
                "identity" => wishes.identity = Some(weight),
                "*" => wishes.any = Some(weight),
                _ => {}
            }
        }
        wishes
    }

    fn weight(&self, named: Option<u16>, otherwise: u16) -> u16 {
        named.or(self.any).unwrap_or(otherwise)
    }
}

/// `q=0.5` is 500. What is not a weight forbids the coding: nothing is sent that was perhaps not wanted.
fn weight(parameters: &str) -> u16 {
    let parameters = parameters.trim();
    if parameters.is_empty() {
        return 1000;
    }
    let Some(value) = parameters.strip_prefix("q=").or_else(|| parameters.strip_prefix("Q=")) else {
        return 0;
    };
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return 0;
    }
    let thousandths = format!("{decimals:0<3}").parse::<u16>().unwrap_or(0);
    match whole {
        "0" => thousandths,
        "1" if thousandths == 0 => 1000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn negotiation_table() {
        use Encoding::{Gzip, Identity, Zstd};
        for (lines, expected) in [
            (&[][..], Identity),
            (&[""], Identity),
            (&["gzip"], Gzip),
            (&["GZIP"], Gzip),
            (&["gzip, zstd"], Zstd),
            (&["gzip;q=1.0, zstd;q=0.9"], Gzip),
            (&["gzip;q=0.5", "zstd;q=0.501"], Zstd),
            (&["gzip;q=0"], Identity),
            (&["gzip;q=0, *"], Zstd),
            (&["*;q=0"], Identity),
            (&["*"], Zstd),
            (&["identity, gzip;q=0.5"], Identity),
            (&["identity;q=0.5, gzip"], Gzip),
            (&["br, deflate"], Identity),
            (&["gzip, deflate, br"], Gzip),
            (&["gzip, deflate, br, zstd"], Zstd),
            (&["gzip;q=1.1"], Identity),
            (&["gzip;q=0.1234"], Identity),
            (&["gzip;q=x"], Identity),
            (&["gzip; q=0.2"], Gzip),
            (&["identity;q=0"], Identity),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(ACCEPT_ENCODING, line.parse().unwrap());
            }
            assert_eq!(Encoding::asked_for(&headers), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_compressed_unpacks_to_the_same() {
        let bytes = Bytes::from(vec![b'x'; 10_000]);
        let gzip = Encoding::Gzip.compress(&bytes).unwrap();
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, bytes);
        let zstd = Encoding::Zstd.compress(&bytes).unwrap();
        assert_eq!(zstd::bulk::decompress(&zstd, 10_000).unwrap(), bytes);
        assert!(gzip.len() < 1000 && zstd.len() < 1000);
    }
}
