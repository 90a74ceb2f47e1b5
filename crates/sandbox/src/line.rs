//! The parent's end of the socket, at which it never waits for longer than it may. A child that
//! stops in the middle of a frame, or does not take what it asked for, is as bad as a silent one.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    ops::ControlFlow,
    os::{fd::AsRawFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use transcode::{Error, Progress};

use crate::Limits;

/// How often a caller is asked whether it still wants the MP3.
const TICK: Duration = Duration::from_millis(100);

/// Both directions, for the time of one conversion.
pub struct Line<'a> {
    socket: &'a UnixStream,
    limits: &'a Limits,
    on_progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    /// What the child said last of how far it is.
    pub progress: Progress,
    began: Instant,
    asked: Instant,
    /// When the child was last known to be at work.
    heard: Instant,
    /// Why an `io::Error` was none of the system's.
    verdict: Option<Error>,
}

impl<'a> Line<'a> {
    pub fn new(
        socket: &'a UnixStream,
        limits: &'a Limits,
        on_progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let now = Instant::now();
        let (progress, verdict) = (Progress::default(), None);
        Ok(Self { socket, limits, on_progress, progress, began: now, asked: now, heard: now, verdict })
    }

    /// From here on the child's silence counts: what came before was the store's time.
    pub fn listen(&mut self) {
        self.heard = Instant::now();
    }

    /// Fails once the conversion is to end.
    pub fn check(&mut self) -> io::Result<()> {
        if self.asked.elapsed() >= TICK {
            self.asked = Instant::now();
            if (self.on_progress)(self.progress).is_break() {
                return self.end(Error::Cancelled);
            }
        }
        if self.began.elapsed() > self.limits.time {
            return self.end(Error::Unbearable("it takes too long".to_owned()));
        }
        Ok(())
    }

    /// Why it is to end, if that is what a call has failed for.
    pub fn verdict(&mut self) -> Option<Error> {
        self.verdict.take()
    }

    fn end<T>(&mut self, verdict: Error) -> io::Result<T> {
        self.verdict = Some(verdict);
        Err(ErrorKind::TimedOut.into())
    }

    fn wait_for(&mut self, events: libc::c_short) -> io::Result<()> {
        loop {
            self.check()?;
            let mut socket = libc::pollfd { fd: self.socket.as_raw_fd(), events, revents: 0 };
            // SAFETY: one structure, which lives through the call.
            match unsafe { libc::poll(&mut socket, 1, TICK.as_millis() as libc::c_int) } {
                -1 if io::Error::last_os_error().kind() != ErrorKind::Interrupted => {
                    return Err(io::Error::last_os_error());
                }
                -1 | 0 if self.heard.elapsed() > self.limits.silence => {
                    return self.end(Error::Unbearable("the decoder got stuck in it".to_owned()));
                }
                -1 | 0 => {}
                _ => return Ok(()),
            }
        }
    }

    /// Calls until it need not be waited for.
    fn when_ready<T>(
        &mut self,
        events: libc::c_short,
        mut call: impl FnMut(&UnixStream) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match call(self.socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait_for(events)?,
                other => return other,
            }
            // Who sends a byte now and then is never waited for long, and yet says nothing.
            if self.heard.elapsed() > self.limits.silence {
                return self.end(Error::Unbearable("the decoder got stuck in it".to_owned()));
            }
        }
    }
}

impl Read for Line<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.when_ready(libc::POLLIN, |mut socket| socket.read(buf))
    }
}

impl Write for Line<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.when_ready(libc::POLLOUT, |mut socket| socket.write(buf))
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.when_ready(libc::POLLOUT, |mut socket| socket.write_vectored(bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
