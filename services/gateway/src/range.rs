//! The `Range` header (RFC 9110, section 14).

use std::ops::Range;

/// What a request asks of a file of some length.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// No range, or one that may be ignored: several at once, another unit, nonsense.
    All,
    Part(Range<u64>),
    /// Nothing of the file lies in the range.
    Unsatisfiable,
}

/// Reads the header's value for a file of `length` bytes.
pub fn wanted(header: Option<&str>, length: u64) -> Wanted {
    let Some((first, last)) = header.and_then(|h| h.strip_prefix("bytes=")).and_then(|r| r.trim().split_once('-'))
    else {
        return Wanted::All;
    };
    let digits = |text: &str| if text.bytes().all(|b| b.is_ascii_digit()) { text.parse::<u64>().ok() } else { None };
    match (first, last) {
        // The last n bytes.
        ("", last) => match digits(last) {
            None => Wanted::All,
            Some(0) => Wanted::Unsatisfiable,
            Some(_) if length == 0 => Wanted::Unsatisfiable,
            Some(n) => Wanted::Part(length.saturating_sub(n)..length),
        },
        (first, last) => {
            let Some(start) = digits(first) else { return Wanted::All };
            let end = match (last, digits(last)) {
                ("", _) => length,
                (_, None) => return Wanted::All,
                (_, Some(last)) if last < start => return Wanted::All,
                (_, Some(last)) => last.saturating_add(1).min(length),
            };
            if start >= length { Wanted::Unsatisfiable } else { Wanted::Part(start..end) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Wanted::*, wanted};

    #[test]
    fn ranges() {
        for (header, expected) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=0-", Part(0..10)),
            ("bytes=3-5", Part(3..6)),
            ("bytes=3-99", Part(3..10)),
            ("bytes=-4", Part(6..10)),
            ("bytes=-99", Part(0..10)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=5-3", All),
            ("bytes=0-1,3-4", All),
            ("bytes=+1-2", All),
            ("bytes=a-b", All),
            ("lines=0-1", All),
            ("bytes=18446744073709551615-18446744073709551615", Unsatisfiable),
        ] {
            assert_eq!(wanted(Some(header), 10), expected, "{header}");
        }
        assert_eq!(wanted(None, 10), All);
        assert_eq!(wanted(Some("bytes=0-"), 0), Unsatisfiable);
        assert_eq!(wanted(Some("bytes=-1"), 0), Unsatisfiable);
    }
}
