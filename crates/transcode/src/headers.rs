//! Lengths that FFmpeg keeps to itself: of an AVI, ASF or WAV file that was cut off it shortens or
//! hides what the header says, and with it the proof that something is missing.

use std::time::Duration;

/// AVI: the main header's frames times the length of one (of a large file only its first part's).
pub(crate) fn avi_duration(head: &[u8]) -> Option<Duration> {
    if !(is(head, 0, b"RIFF") && is(head, 8, b"AVI ") && is(head, 24, b"avih")) {
        return None;
    }
    let (micros_per_frame, frames) = (number(head, 32)?, number(head, 48)?);
    let micros = u64::from(micros_per_frame) * u64::from(frames);
    Some(Duration::from_micros(micros))
}

/// WAV of plain samples: the data chunk's bytes at the format's byte rate. Who writes to a pipe
/// cannot know, and puts zero or something near the largest number there.
pub(crate) fn wav_duration(head: &[u8]) -> Option<Duration> {
    const UNKNOWN: u32 = 0x7FFF_0000;
    // Integers, floats, A-law, µ-law, and one of these in the extensible form.
    const PLAIN: [u32; 5] = [1, 3, 6, 7, 0xFFFE];
    if !(is(head, 0, b"RIFF") && is(head, 8, b"WAVE")) {
        return None;
    }
    let (mut at, mut byte_rate) = (12, 0);
    loop {
        let size = number(head, at + 4)?;
        if is(head, at, b"fmt ") && PLAIN.contains(&(number(head, at + 8)? & 0xFFFF)) {
            byte_rate = number(head, at + 16)?;
        }
        if is(head, at, b"data") {
            let known = (1..UNKNOWN).contains(&size) && byte_rate > 0;
            return known.then(|| Duration::from_secs(size.into()) / byte_rate);
        }
        // Chunks begin at even places.
        at += 8 + (size as usize).next_multiple_of(2);
    }
}

fn is(head: &[u8], at: usize, name: &[u8; 4]) -> bool {
    head.get(at..at + 4).is_some_and(|bytes| bytes == name)
}

fn number(head: &[u8], at: usize) -> Option<u32> {
    let bytes = head.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

/// ASF: the file properties object's play duration without its preroll, unless the file says of
/// itself that it was made live and does not know.
pub(crate) fn asf_duration(head: &[u8]) -> Option<Duration> {
    const FILE_PROPERTIES: [u8; 16] =
        [0xA1, 0xDC, 0xAB, 0x8C, 0x47, 0xA9, 0xCF, 0x11, 0x8E, 0xE4, 0x00, 0xC0, 0x0C, 0x20, 0x53, 0x65];
    let at = head.windows(16).position(|guid| guid == FILE_PROPERTIES)?;
    let number = |offset| {
        let bytes = head.get(at + offset..at + offset + 8)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    };
    let (hundred_nanos, preroll_millis, flags) = (number(64)?, number(80)?, number(88)?);
    let is_live = flags & 1 == 1;
    let micros = (hundred_nanos / 10).checked_sub(preroll_millis.checked_mul(1000)?)?;
    (!is_live && micros > 0).then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_avi_header_tells_the_film_s_length() {
        let mut head = b"RIFF\0\0\0\0AVI LIST\0\0\0\0hdrlavih".to_vec();
        assert_eq!(avi_duration(&head), None);
        for number in [56, 40_000, 0, 0, 0, 250_u32] {
            head.extend(number.to_le_bytes());
        }
        assert_eq!(avi_duration(&head), Some(Duration::from_secs(10)));
    }

    #[test]
    fn a_wav_header_tells_the_sound_s_length() {
        let wav = |size: u32| {
            let mut head = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
            head.extend(b"\x01\0\x02\0\x80\xbb\0\0");
            head.extend(192_000_u32.to_le_bytes());
            head.extend(b"\x04\0\x10\0data");
            head.extend(size.to_le_bytes());
            wav_duration(&head)
        };
        assert_eq!(wav(192_000 * 90), Some(Duration::from_secs(90)));
        assert_eq!(wav(0), None);
        assert_eq!(wav(u32::MAX), None);
        assert_eq!(wav_duration(b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\xff"), None);
    }

    #[test]
    fn an_asf_header_tells_the_film_s_length() {
        let mut head = vec![7; 30];
        head.extend([0xA1, 0xDC, 0xAB, 0x8C, 0x47, 0xA9, 0xCF, 0x11, 0x8E, 0xE4, 0x00, 0xC0, 0x0C, 0x20, 0x53, 0x65]);
        head.extend([0; 48]);
        assert_eq!(asf_duration(&head), None);
        for number in [130_000_000_u64, 130_000_000, 3_000, 2] {
            head.extend(number.to_le_bytes());
        }
        assert_eq!(asf_duration(&head), Some(Duration::from_secs(10)));
        let flags = head.len() - 8;
        head[flags] = 3;
        assert_eq!(asf_duration(&head), None);
    }
}
