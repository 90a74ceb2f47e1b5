//! What goes over the socket: frames of a kind, a number and bytes.

use std::io::{self, IoSlice, Read, Write};

/// Larger frames than this are refused: who sends them may be hostile.
const MAX: usize = 4 * 1024 * 1024;

/// The number's meaning, and the bytes', depends on the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    // From the child:
    /// It is locked up and waits for a job.
    Ready,
    /// It could not be locked up; why.
    Exposed,
    /// It wants a window of the video: from where.
    Read,
    /// More of the MP3.
    Write,
    /// The MP3's beginning again: from where.
    Head,
    /// How far it is: JSON of [`transcode::Progress`].
    Progress,
    /// The MP3 is complete: JSON of [`transcode::Summary`].
    Done,
    /// There is none: JSON of [`transcode::Error`].
    Failed,
    // From the parent:
    /// Begins a job: the video's length, and JSON of [`transcode::Options`].
    Start,
    /// The bytes that were wished for.
    Bytes,
    /// They could not be had; why.
    Broken,
}

impl Kind {
    fn of(number: u8) -> Option<Self> {
        use Kind::*;
        let all = [Ready, Exposed, Read, Write, Head, Progress, Done, Failed, Start, Bytes, Broken];
        all.into_iter().find(|kind| *kind as u8 == number)
    }
}

#[derive(Debug)]
pub struct Frame {
    pub kind: Kind,
    pub number: u64,
    pub bytes: Vec<u8>,
}

impl Frame {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Kind, three empty bytes, length, number.
const HEADER: usize = 16;

pub fn send(mut socket: impl Write, kind: Kind, number: u64, bytes: &[u8]) -> io::Result<()> {
    let mut header = [0; HEADER];
    header[0] = kind as u8;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[8..].copy_from_slice(&number.to_le_bytes());
    // Header and bytes in one call, as nearly always all of it fits.
    let sent = loop {
        match socket.write_vectored(&[IoSlice::new(&header), IoSlice::new(bytes)]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if sent < HEADER {
        socket.write_all(&header[sent..])?;
    }
    socket.write_all(&bytes[sent.saturating_sub(HEADER)..])
}

/// Waits for a frame. `UnexpectedEof`: the other side has ended.
pub fn receive(mut socket: impl Read) -> io::Result<Frame> {
    let mut header = [0; HEADER];
    socket.read_exact(&mut header)?;
    let [kind, _, _, _, a, b, c, d, number @ ..] = header;
    let kind = Kind::of(kind).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no such frame"))?;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too large"));
    }
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes)?;
    Ok(Frame { kind, number: u64::from_le_bytes(number), bytes })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn frames_arrive_as_they_were_sent() {
        let (mut here, mut there) = UnixStream::pair().expect("a pair");
        let large = vec![7; 300_000]; // more than the socket holds
        let sender = std::thread::spawn(move || {
            send(&mut here, Kind::Write, u64::MAX - 1, &large).expect("sent");
            send(&mut here, Kind::Ready, 0, &[]).expect("sent");
        });
        let frame = receive(&mut there).expect("a frame");
        assert_eq!((frame.kind, frame.number, frame.bytes.len()), (Kind::Write, u64::MAX - 1, 300_000));
        assert!(frame.bytes.iter().all(|byte| *byte == 7));
        assert_eq!(receive(&mut there).expect("a frame").kind, Kind::Ready);
        sender.join().expect("it ran");
        assert_eq!(receive(&mut there).expect_err("the end").kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_no_frame_is_refused_before_memory_is_taken_for_it() {
        let mut giant = [0; HEADER];
        giant[0] = Kind::Write as u8;
        giant[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(receive(&giant[..]).expect_err("too large").kind(), io::ErrorKind::InvalidData);
        assert_eq!(receive(&[99; HEADER][..]).expect_err("unknown").kind(), io::ErrorKind::InvalidData);
    }
}
