//! Repodata as it is served, `.json`, `.json.zst` or `.json.bz2`, to plain JSON.

use std::io::{self, Cursor, Read};

use bzip2::read::MultiBzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

/// The largest zstd window that is accepted, as a power of two: 8 MiB, what RFC 8878 §3.1.1.1.2 asks decoders to
/// support and more than conda's own tools use. It bounds the memory that a hostile file can ask for.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BZIP2_MAGIC: [u8; 3] = *b"BZh";
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// One or more zstd frames.
    Zstd,
    /// One or more bzip2 streams.
    Bzip2,
}

/// Wraps `reader` so that it gives plain JSON, whatever the file is called: the first bytes decide.
///
/// A zstd frame that needs a window of more than 8 MiB fails at the first read.
///
/// # Errors
///
/// When the first bytes cannot be read, or are gzip's (no conda channel serves that): decompress it first.
pub fn decompress<'a, R: Read + 'a>(mut reader: R) -> io::Result<(Compression, Box<dyn Read + 'a>)> {
    let mut head = Vec::with_capacity(ZSTD_MAGIC.len());
    reader.by_ref().take(4).read_to_end(&mut head)?;
    let compression = sniff(&head)?;
    let whole = Cursor::new(head).chain(reader);
    let plain: Box<dyn Read + 'a> = match compression {
        Compression::Plain => Box::new(whole),
        Compression::Bzip2 => Box::new(MultiBzDecoder::new(whole)),
        Compression::Zstd => {
            let mut decoder = ZstdDecoder::new(whole)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    };
    Ok((compression, plain))
}

fn sniff(head: &[u8]) -> io::Result<Compression> {
    if head == ZSTD_MAGIC {
        return Ok(Compression::Zstd);
    }
    if head.starts_with(&BZIP2_MAGIC) {
        return Ok(Compression::Bzip2);
    }
    if head.starts_with(&GZIP_MAGIC) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is gzip-compressed: decompress it first, or take the .zst or .bz2 form",
        ));
    }
    Ok(Compression::Plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn plain(bytes: &[u8]) -> io::Result<(Compression, Vec<u8>)> {
        let (compression, mut reader) = decompress(bytes)?;
        let mut out = Vec::new();
        reader.read_to_end(&mut out)?;
        Ok((compression, out))
    }

    #[test]
    fn every_form_gives_the_same_bytes() {
        let json = b"{\"packages\":{}}".repeat(1000);
        let zst = zstd::encode_all(&json[..], 3).unwrap();
        let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(6));
        bz2.write_all(&json).unwrap();
        let bz2 = bz2.finish().unwrap();
        assert_eq!(plain(&json).unwrap(), (Compression::Plain, json.clone()));
        assert_eq!(plain(&zst).unwrap(), (Compression::Zstd, json.clone()));
        assert_eq!(plain(&bz2).unwrap(), (Compression::Bzip2, json.clone()));
        // Both formats may be concatenated.
        let twice = [json.clone(), json.clone()].concat();
        assert_eq!(plain(&[zst.clone(), zst].concat()).unwrap().1, twice);
        assert_eq!(plain(&[bz2.clone(), bz2].concat()).unwrap().1, twice);
    }

    #[test]
    fn short_files_are_plain() {
        for bytes in [&b""[..], b"{", b"{}", b"BZ", &ZSTD_MAGIC[..3]] {
            assert_eq!(plain(bytes).unwrap(), (Compression::Plain, bytes.to_vec()));
        }
    }

    #[test]
    fn what_is_refused() {
        assert!(plain(&[0x1f, 0x8b, 8, 0]).is_err(), "gzip");
        let cut = zstd::encode_all(&b"abc".repeat(9000)[..], 3).unwrap();
        assert!(plain(&cut[..cut.len() - 3]).is_err(), "a frame that is cut short");
        // A frame header that asks for a window of 2^27 bytes: magic, descriptor 0, exponent 17 (10 + 17 = 27).
        assert!(plain(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 1, 0, 0]).is_err(), "too large a window");
    }
}
