//! Stands between FFmpeg and the caller's reader: keeps what FFmpeg's integer error codes would
//! lose, and makes a seek cost nothing until something is read there.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of the file's beginning kept for a second look at what kind of file it is.
pub(crate) const HEAD: usize = 4096;

/// `Interrupted` means "try again", but a reader that says nothing else has failed.
const INTERRUPTIONS: u32 = 1000;

/// What outlives the reader inside FFmpeg.
#[derive(Default)]
pub(crate) struct Trace {
    error: Option<io::Error>,
    head: Vec<u8>,
}

/// The shared [`Trace`] of one reader.
#[derive(Clone, Default)]
pub(crate) struct TraceHandle(Arc<Mutex<Trace>>);

impl TraceHandle {
    fn lock(&self) -> MutexGuard<'_, Trace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reader's first failure, if it had one.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        self.lock().error.take()
    }

    /// The file's first bytes, at most [`HEAD`] of them.
    pub(crate) fn head(&self) -> Vec<u8> {
        self.lock().head.clone()
    }
}

/// The caller's reader as FFmpeg sees it.
///
/// FFmpeg asks for the size and seeks to and fro much more than it reads; the length is asked for
/// once and positions are plain numbers, so that a reader with a read-ahead does not lose it, and
/// a damaged file that points past its end meets the end of the file rather than an I/O error.
pub(crate) struct Watched<R> {
    inner: R,
    /// Where the next read is to happen, and where `inner` stands.
    position: u64,
    inner_position: u64,
    len: u64,
    failed: bool,
    trace: TraceHandle,
}

impl<R: Read + Seek> Watched<R> {
    pub(crate) fn new(mut inner: R) -> io::Result<(Self, TraceHandle)> {
        let len = guarded(|| inner.seek(SeekFrom::End(0)))?;
        let trace = TraceHandle::default();
        let watched = Self { inner, position: 0, inner_position: len, len, failed: false, trace: trace.clone() };
        Ok((watched, trace))
    }

    fn read_at_position(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.inner_position != self.position {
            let position = SeekFrom::Start(self.position);
            self.inner_position = guarded(|| self.inner.seek(position))?;
            if self.inner_position != self.position {
                return Err(io::Error::other("the reader did not seek where it was told"));
            }
        }
        for _ in 0..INTERRUPTIONS {
            match guarded(|| self.inner.read(buf)) {
                Ok(n) if n > buf.len() => {
                    return Err(io::Error::other("the reader returned too much"));
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
        Err(io::Error::other("the reader was interrupted without end"))
    }
}

/// One reader for two passes, one after the other.
pub(crate) struct Shared<R>(Arc<Mutex<R>>);

impl<R> Shared<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self(Arc::new(Mutex::new(inner)))
    }

    fn lock(&self) -> MutexGuard<'_, R> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Clone for Shared<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Read> Read for Shared<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.lock().read(buf)
    }
}

impl<R: Seek> Seek for Shared<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.lock().seek(to)
    }
}

/// Turns a panic into an error: C code cannot be unwound through.
fn guarded<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        let message = payload
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Err(io::Error::other(format!("the reader panicked: {message}")))
    })
}

impl<R: Read + Seek> Read for Watched<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(ErrorKind::Other.into());
        }
        if self.position >= self.len {
            return Ok(0);
        }
        match self.read_at_position(buf) {
            Ok(0) => {
                // Shorter than it said: the failure is the store's, not the file's.
                self.fail(ErrorKind::UnexpectedEof.into())
            }
            Ok(n) => {
                let mut trace = self.trace.lock();
                let kept = trace.head.len();
                if self.position == kept as u64 && kept < HEAD {
                    let more = n.min(HEAD - kept);
                    trace.head.extend_from_slice(&buf[..more]);
                }
                self.position += n as u64;
                self.inner_position = self.position;
                Ok(n)
            }
            Err(e) => self.fail(e),
        }
    }
}

impl<R> Watched<R> {
    /// Keeps the first error and answers every later call with a failure: FFmpeg sometimes reads
    /// on after one, and what it would make of the rest is no use to anybody.
    fn fail<T>(&mut self, error: io::Error) -> io::Result<T> {
        self.failed = true;
        let code = ErrorKind::Other.into();
        self.trace.lock().error.get_or_insert(error);
        Err(code)
    }
}

impl<R> Seek for Watched<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
        };
        self.position = position.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    struct Always(fn() -> io::Result<usize>);
    impl Read for Always {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            (self.0)()
        }
    }
    impl Seek for Always {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            Ok(match to {
                SeekFrom::Start(n) => n,
                _ => 100,
            })
        }
    }

    fn error_of(read: fn() -> io::Result<usize>) -> String {
        let (mut reader, trace) = Watched::new(Always(read)).expect("opens");
        assert!(reader.read(&mut [0; 10]).is_err());
        assert!(reader.read(&mut [0; 10]).is_err(), "a failure is for good");
        trace.take_error().expect("kept").to_string()
    }

    #[test]
    fn every_way_to_fail_ends_and_is_kept() {
        assert!(error_of(|| Err(ErrorKind::Interrupted.into())).contains("without end"));
        assert!(error_of(|| panic!("at the disco")).contains("at the disco"));
        assert!(error_of(|| Ok(11)).contains("too much"));
        assert_eq!(error_of(|| Err(io::Error::other("cable cut"))), "cable cut");
        assert!(error_of(|| Ok(0)).contains("end of file"));
    }

    #[test]
    fn reads_where_it_was_told_to_and_remembers_the_head() {
        let bytes: Vec<u8> = (0..=255).collect();
        let (mut reader, trace) = Watched::new(Cursor::new(bytes.clone())).expect("opens");
        let mut buf = [0; 16];
        assert_eq!(reader.seek(SeekFrom::End(-16)).expect("seeks"), 240);
        assert_eq!(reader.seek(SeekFrom::Start(1000)).expect("seeks"), 1000);
        assert_eq!(reader.read(&mut buf).expect("reads"), 0);
        reader.seek(SeekFrom::Start(0)).expect("seeks");
        reader.read_exact(&mut buf).expect("reads");
        assert_eq!(buf, bytes[..16]);
        reader.seek(SeekFrom::Current(64)).expect("seeks");
        reader.read_exact(&mut buf).expect("reads");
        assert_eq!(buf, bytes[80..96]);
        assert_eq!(trace.head(), bytes[..16]);
    }
}
