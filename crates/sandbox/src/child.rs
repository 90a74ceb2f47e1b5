//! The child's side: one job, then the end.

use std::{
    env,
    io::{self, Read, Seek, SeekFrom},
    ops::ControlFlow,
    os::{fd::FromRawFd, unix::net::UnixStream},
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context;
use transcode::{Error, Options, Progress, Sink};

use crate::{
    NAME,
    frames::{self, Kind},
    lifeline::Lifeline,
    lock_down,
    process::serve_forks,
};

/// Is a child, copied for one conversion, or the process that is copied, and ends with the process,
/// if that was started for it; else returns at once.
///
/// To be called first thing in `main`, while there is one thread.
pub fn run_if_child() {
    let mut arguments = env::args_os();
    if arguments.next().is_none_or(|name| name != NAME) {
        return;
    }
    let memory = arguments.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or_default();
    // SAFETY: the parent put its socket in the place of standard input, and nobody else has it.
    let control = unsafe { UnixStream::from_raw_fd(0) };
    // A parent that is gone is told by the socket's end, here as everywhere.
    let ended = match serve_forks(control) {
        Ok(Some(socket)) => run(socket, memory),
        other => other.map(drop),
    };
    let code = i32::from(ended.is_err());
    // SAFETY: _exit may be called at any time. Threads that still encode are not waited for.
    unsafe { libc::_exit(code) }
}

fn run(socket: UnixStream, memory: u64) -> io::Result<()> {
    // Later there is no other way to the socket to be had.
    let outbox = Outbox(Arc::new(Mutex::new(socket.try_clone()?)));
    let theirs = socket.try_clone()?;
    let locked_up = || {
        let lifeline = Lifeline::new(theirs).context("its parent cannot be watched")?;
        lock_down(memory)?;
        lifeline.hold().context("there is no room for a thread")
    };
    if let Err(error) = locked_up() {
        return frames::send(&socket, Kind::Exposed, 0, format!("{error:#}").as_bytes());
    }
    frames::send(&socket, Kind::Ready, 0, &[])?;
    let start = frames::receive(&socket)?;
    let options: Options = serde_json::from_slice(&start.bytes)?;
    let input = Input::new(socket, outbox.clone(), start.number);
    let mut sink = Output(outbox.clone());
    let convert = || transcode::convert(input, &mut sink, &options, &mut |progress| outbox.progress(progress));
    let outcome = panic::catch_unwind(AssertUnwindSafe(convert))
        .unwrap_or_else(|_| Err(Error::Internal("the engine panicked".to_owned())));
    match outcome {
        Ok(summary) => outbox.send(Kind::Done, 0, &serde_json::to_vec(&summary)?),
        Err(error) => outbox.send(Kind::Failed, 0, &serde_json::to_vec(&error)?),
    }
}

/// The way out, for all threads.
#[derive(Clone)]
struct Outbox(Arc<Mutex<UnixStream>>);

impl Outbox {
    fn send(&self, kind: Kind, number: u64, bytes: &[u8]) -> io::Result<()> {
        frames::send(&*self.0.lock().unwrap_or_else(PoisonError::into_inner), kind, number, bytes)
    }

    /// The parent ends a child that is no longer wanted, so this goes on as long as somebody is there.
    fn progress(&self, progress: Progress) -> ControlFlow<()> {
        let sent = serde_json::to_vec(&progress).map_err(io::Error::from);
        match sent.and_then(|json| self.send(Kind::Progress, 0, &json)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// The video, at the parent's.
struct Input {
    inbox: UnixStream,
    outbox: Outbox,
    length: u64,
    position: u64,
    /// Where `window` begins in the video.
    window_at: u64,
    window: Vec<u8>,
    /// A window that was asked for and has not come.
    asked: Option<u64>,
}

impl Input {
    fn new(inbox: UnixStream, outbox: Outbox, length: u64) -> Self {
        Self { inbox, outbox, length, position: 0, window_at: 0, window: Vec::new(), asked: None }
    }

    /// What the window holds from the position on; nothing, if that is elsewhere.
    fn rest(&self) -> &[u8] {
        let offset = self.position.checked_sub(self.window_at).and_then(|offset| usize::try_from(offset).ok());
        offset.and_then(|offset| self.window.get(offset..)).unwrap_or_default()
    }

    /// Puts the window that begins at the position in place.
    fn fetch(&mut self) -> io::Result<()> {
        let goes_on = self.position == self.window_at + self.window.len() as u64;
        if self.asked != Some(self.position) {
            if self.asked.is_some() {
                frames::receive(&self.inbox)?;
            }
            self.ask(self.position)?;
        }
        let answer = frames::receive(&self.inbox)?;
        self.asked = None;
        if answer.kind != Kind::Bytes {
            return Err(io::Error::other(answer.text()));
        }
        (self.window_at, self.window) = (self.position, answer.bytes);
        // Where reading goes straight on, the next window comes while this one is being used.
        let next = self.window_at + self.window.len() as u64;
        if goes_on && next < self.length && !self.window.is_empty() {
            self.ask(next)?;
        }
        Ok(())
    }

    fn ask(&mut self, at: u64) -> io::Result<()> {
        self.asked = Some(at);
        self.outbox.send(Kind::Read, at, &[])
    }
}

impl Read for Input {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.length || buf.is_empty() {
            return Ok(0);
        }
        if self.rest().is_empty() {
            self.fetch()?;
        }
        let rest = self.rest();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (base, by) = match to {
            SeekFrom::Start(position) => (position, 0),
            SeekFrom::End(by) => (self.length, by),
            SeekFrom::Current(by) => (self.position, by),
        };
        self.position = base.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// The MP3, on its way to the parent. The engine gathers small writes itself.
struct Output(Outbox);

impl Sink for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.send(Kind::Write, 0, bytes)
    }

    fn rewrite_head(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.send(Kind::Head, offset, bytes)
    }
}
