//! The parent's side: feeds a child, takes its MP3, and ends it when it takes too much.

use std::{
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    mem::MaybeUninit,
    num::NonZeroUsize,
    ops::ControlFlow,
    os::{
        fd::AsRawFd,
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread::available_parallelism,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use transcode::{Error, HEAD_MAX, Options, Progress, Sink, Summary};

use crate::{
    frames::{self, Frame, Kind},
    process::{ForkServer, Process, START},
};

/// Bytes of the video that the child gets at once.
const WINDOW: usize = 64 * 1024;
/// How often a caller is asked whether it still wants the MP3.
const TICK: Duration = Duration::from_millis(100);
/// No film is split into more MP3s.
const CHAPTERS: u64 = 1_000;
/// No MP3 has more bytes a second.
const BYTES_A_SECOND: u64 = 40_000;

/// What one conversion may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of memory of its own.
    pub memory: u64,
    /// From its beginning to its end.
    pub time: Duration,
    /// Without reading, writing or saying anything.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 1 << 30, time: Duration::from_secs(12 * 3_600), silence: Duration::from_secs(120) }
    }
}

/// Where conversions take place.
#[derive(Debug)]
pub struct Sandbox {
    program: PathBuf,
    limits: Limits,
    server: Mutex<ForkServer>,
}

impl Sandbox {
    /// `program`'s `main` begins with [`run_if_child`](crate::run_if_child). A first child is
    /// started here, for a trial.
    ///
    /// # Errors
    /// When it cannot be, or the system does not let it be locked up.
    pub fn new(program: impl Into<PathBuf>, limits: Limits) -> anyhow::Result<Self> {
        let program = program.into();
        let server = start(&program, &limits)?;
        let sandbox = Self { program, limits, server: Mutex::new(server) };
        sandbox.child()?;
        Ok(sandbox)
    }

    /// [`transcode::convert`], in a child. `on_progress` is asked even while the child does not
    /// answer; what the child makes of a file that brings it down, or takes more than the limits
    /// allow, is [`Error::Unbearable`].
    pub fn convert<R: Read + Seek>(
        &self,
        input: R,
        sink: &mut dyn Sink,
        options: &Options,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        let mut child = self.child().map_err(|error| Error::Internal(format!("{error:#}")))?;
        let job = Job { limits: &self.limits, options, input, sink, on_progress, input_error: None, written: 0 };
        job.run(&mut child)
    }

    /// A child that waits for a job.
    fn child(&self) -> anyhow::Result<Child> {
        let mut child = self.fork().context("the child that converts could not be started")?;
        child.wait_until_ready()?;
        Ok(child)
    }

    fn fork(&self) -> anyhow::Result<Child> {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let (process, socket) = match server.fork() {
            Ok(child) => child,
            // It was ended; that says nothing about its successor.
            Err(error) => {
                tracing::warn!(%error, "the process that is copied for conversions is started anew");
                *server = start(&self.program, &self.limits)?;
                server.fork()?
            }
        };
        socket.set_read_timeout(Some(self.limits.silence.max(START)))?;
        Ok(Child { process, socket })
    }
}

fn start(program: &Path, limits: &Limits) -> anyhow::Result<ForkServer> {
    ForkServer::start(program, limits.memory).context("the child that converts could not be started")
}

/// The most memory, in bytes, that any child had so far; of those that have ended.
pub fn most_memory() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the structure lives through the call, and zeros are plain numbers to it.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    usage.ru_maxrss as u64 * unit
}

/// A process that ends with this, and what it says.
#[derive(Debug)]
struct Child {
    process: Process,
    socket: UnixStream,
}

impl Child {
    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let frame = frames::receive(&self.socket).context("the child that converts did not start")?;
        match frame.kind {
            Kind::Ready => Ok(()),
            Kind::Exposed => bail!("the child that converts cannot be locked up: {}", frame.text()),
            _ => bail!("the child that converts did not begin as it should"),
        }
    }

    /// Waits a moment for a frame to begin.
    fn speaks(&self) -> io::Result<bool> {
        let mut socket = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, which lives through the call.
        match unsafe { libc::poll(&mut socket, 1, TICK.as_millis() as libc::c_int) } {
            -1 => {
                let error = io::Error::last_os_error();
                if error.kind() == ErrorKind::Interrupted { Ok(false) } else { Err(error) }
            }
            count => Ok(count > 0),
        }
    }

    /// Why it has ended, when its socket says so.
    fn cause_of_death(&mut self) -> Error {
        // It may have closed the socket only.
        match self.process.end().map(|status| (status.signal(), status.code())) {
            // The system's way to get memory back, most likely; or an operator's.
            Ok((Some(libc::SIGKILL | libc::SIGTERM | libc::SIGINT | libc::SIGHUP), _)) => {
                Error::Internal("the conversion was killed".to_owned())
            }
            Ok((Some(signal), _)) => Error::Unbearable(format!("the decoder broke down over it (signal {signal})")),
            Ok((_, code)) => Error::Internal(format!("the conversion ended by itself ({code:?})")),
            Err(error) => Error::Internal(format!("the conversion is lost: {error}")),
        }
    }
}

/// One conversion.
struct Job<'a, R> {
    limits: &'a Limits,
    options: &'a Options,
    input: R,
    sink: &'a mut dyn Sink,
    on_progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    /// The reader's own error, of which the child knows the text only.
    input_error: Option<io::Error>,
    written: u64,
}

impl<R: Read + Seek> Job<'_, R> {
    fn run(mut self, child: &mut Child) -> Result<Summary, Error> {
        let length = self.input.seek(SeekFrom::End(0)).map_err(Error::Input)?;
        let mut options = self.options.clone();
        // It has no way to find out.
        options.threads = options.threads.or_else(|| available_parallelism().ok()).or(NonZeroUsize::new(1));
        let json = serde_json::to_vec(&options).map_err(|error| Error::Internal(error.to_string()))?;
        if frames::send(&child.socket, Kind::Start, length, &json).is_err() {
            return Err(child.cause_of_death());
        }
        let (began, mut heard, mut asked) = (Instant::now(), Instant::now(), Instant::now());
        let mut progress = Progress::default();
        loop {
            if asked.elapsed() >= TICK {
                asked = Instant::now();
                if (self.on_progress)(progress).is_break() {
                    return Err(Error::Cancelled);
                }
            }
            if began.elapsed() > self.limits.time {
                return Err(Error::Unbearable("it takes too long".to_owned()));
            }
            if !child.speaks().map_err(internal)? {
                if heard.elapsed() > self.limits.silence {
                    return Err(Error::Unbearable("the decoder got stuck in it".to_owned()));
                }
                continue;
            }
            let frame = match frames::receive(&child.socket) {
                Ok(frame) => frame,
                Err(error) if error.kind() == ErrorKind::InvalidData => return Err(misbehaved()),
                Err(_) => return Err(child.cause_of_death()),
            };
            match frame.kind {
                Kind::Progress => progress = parse(&frame)?,
                Kind::Done => return self.done(&frame),
                Kind::Failed => return Err(self.failed(&frame)?),
                _ => self.serve(child, frame)?,
            }
            // The store's time is not the child's.
            heard = Instant::now();
        }
    }

    fn serve(&mut self, child: &mut Child, frame: Frame) -> Result<(), Error> {
        match frame.kind {
            Kind::Read => {
                let sent = match self.read(frame.number) {
                    Ok(bytes) => frames::send(&child.socket, Kind::Bytes, frame.number, &bytes),
                    Err(error) => {
                        let why = error.to_string();
                        self.input_error = Some(error);
                        frames::send(&child.socket, Kind::Broken, 0, why.as_bytes())
                    }
                };
                sent.map_err(|_| child.cause_of_death())
            }
            Kind::Write => {
                self.written += frame.bytes.len() as u64;
                if self.written > self.most() {
                    return Err(misbehaved());
                }
                self.sink.write(&frame.bytes).map_err(Error::Output)
            }
            Kind::Head => {
                let end = frame.number.saturating_add(frame.bytes.len() as u64);
                let reach = if self.options.split.is_some() { u64::MAX } else { HEAD_MAX as u64 };
                if end > self.written.min(reach) {
                    return Err(misbehaved());
                }
                self.sink.rewrite_head(frame.number, &frame.bytes).map_err(Error::Output)
            }
            _ => Err(misbehaved()),
        }
    }

    /// Bytes that there can be: the engine keeps to its options, but what comes from the
    /// child may not come from the engine.
    fn most(&self) -> u64 {
        let longest = self.options.max_duration.as_secs().saturating_add(60).saturating_mul(BYTES_A_SECOND);
        let heads = if self.options.split.is_some() { CHAPTERS } else { 1 } * HEAD_MAX as u64;
        self.options.max_output_bytes.unwrap_or(u64::MAX).min(longest).saturating_add(heads)
    }

    /// As much as there is, at most a window.
    fn read(&mut self, at: u64) -> io::Result<Vec<u8>> {
        self.input.seek(SeekFrom::Start(at))?;
        let mut window = Vec::with_capacity(WINDOW);
        (&mut self.input).take(WINDOW as u64).read_to_end(&mut window)?;
        Ok(window)
    }

    fn done(&self, frame: &Frame) -> Result<Summary, Error> {
        let summary: Summary = parse(frame)?;
        if summary.bytes_out == self.written { Ok(summary) } else { Err(misbehaved()) }
    }

    fn failed(&mut self, frame: &Frame) -> Result<Error, Error> {
        Ok(match parse(frame)? {
            Error::Input(error) => Error::Input(self.input_error.take().unwrap_or(error)),
            other => other,
        })
    }
}

fn parse<T: serde::de::DeserializeOwned>(frame: &Frame) -> Result<T, Error> {
    serde_json::from_slice(&frame.bytes).map_err(|_| misbehaved())
}

/// Somebody else's code may be running in the child.
fn misbehaved() -> Error {
    Error::Unbearable("it led the decoder astray".to_owned())
}

fn internal(error: io::Error) -> Error {
    Error::Internal(error.to_string())
}
