//! One range of bytes (RFC 9110 §14); several at once are answered with the whole object, which is allowed.

use http::{HeaderMap, header::RANGE};

/// What a request asks of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteRange {
    Whole,
    /// The bytes from `start` to before `end`; at least one.
    Part {
        start: usize,
        end: usize,
    },
    Unsatisfiable,
}

/// What the header `Range` asks of an object of `length` bytes. What is not understood is as if it were not there.
pub(crate) fn byte_range(request: &HeaderMap, length: usize) -> ByteRange {
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return ByteRange::Whole };
    line.to_str().ok().and_then(|line| parse(line, length)).unwrap_or(ByteRange::Whole)
}

fn parse(line: &str, length: usize) -> Option<ByteRange> {
    let (unit, range) = line.split_once('=')?;
    let (first, last) = range.split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (start, end) = match (first.trim(), last.trim()) {
        ("", suffix) => (length.saturating_sub(number(suffix)?), length),
        (first, "") => (number(first)?, length),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            (first, last.saturating_add(1).min(length))
        }
    };
    Some(if start < end { ByteRange::Part { start, end } } else { ByteRange::Unsatisfiable })
}

/// Digits only; a number that does not fit is larger than any object.
fn number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::{ByteRange::*, *};

    #[test]
    fn table() {
        for (line, expected) in [
            ("bytes=0-0", Part { start: 0, end: 1 }),
            ("bytes=2-4", Part { start: 2, end: 5 }),
            ("Bytes=2-", Part { start: 2, end: 10 }),
            ("bytes=-3", Part { start: 7, end: 10 }),
            ("bytes=-30", Part { start: 0, end: 10 }),
            ("bytes=9-100", Part { start: 9, end: 10 }),
            ("bytes=0-18446744073709551615", Part { start: 0, end: 10 }),
            ("bytes=0-99999999999999999999", Part { start: 0, end: 10 }),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-20", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=4-2", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=a-b", Whole),
            ("bytes=-", Whole),
            ("bytes=+1-2", Whole),
            ("lines=0-1", Whole),
            ("bytes", Whole),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, line.parse().unwrap());
            assert_eq!(byte_range(&headers, 10), expected, "{line}");
        }
    }
}
