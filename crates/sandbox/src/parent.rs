//! The parent's side: feeds a child, takes its MP3, and ends it when it takes too much.

use std::{
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    mem::MaybeUninit,
    num::NonZeroUsize,
    ops::ControlFlow,
    os::unix::{net::UnixStream, process::ExitStatusExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread::{available_parallelism, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use transcode::{Error, HEAD_MAX, MAX_CHAPTERS, Options, Progress, Sink, Summary};

use crate::{
    frames::{self, Frame, Kind},
    line::Line,
    process::{ForkServer, Process, START},
    report::{self, misbehaved},
};

/// Bytes of the video that the child gets at once.
const WINDOW: usize = 64 * 1024;
/// A process whose socket has closed is gone within that, or lives on and is up to something.
const LAST_BREATH: Duration = Duration::from_secs(2);
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

/// [`transcode::convert`] in `sandbox`, or in this process if there is none.
pub fn convert<R: Read + Seek + Send + 'static>(
    sandbox: Option<&Sandbox>,
    input: R,
    sink: &mut dyn Sink,
    options: &Options,
    on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Summary, Error> {
    match sandbox {
        Some(sandbox) => sandbox.convert(input, sink, options, on_progress),
        None => transcode::convert(input, sink, options, on_progress),
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
        let job = Job { options, input, length: 0, sink, input_error: None, written: 0 };
        job.run(&mut child, &self.limits, on_progress)
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

    /// Why it has ended, when its socket says so.
    fn cause_of_death(&mut self) -> Error {
        let began = Instant::now();
        while let Ok(None) = self.process.ended() {
            if began.elapsed() > LAST_BREATH {
                return misbehaved();
            }
            sleep(Duration::from_millis(5));
        }
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
    options: &'a Options,
    input: R,
    /// Of the input.
    length: u64,
    sink: &'a mut dyn Sink,
    /// The reader's own error, of which the child knows the text only.
    input_error: Option<io::Error>,
    written: u64,
}

/// How a conversion stops before its end.
enum Stop {
    /// For this reason.
    For(Error),
    /// Nothing comes from the child any more, nor goes there.
    Socket(io::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::For(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl<R: Read + Seek> Job<'_, R> {
    fn run(
        mut self,
        child: &mut Child,
        limits: &Limits,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Summary, Error> {
        self.length = self.input.seek(SeekFrom::End(0)).map_err(Error::Input)?;
        let mut line = Line::new(&child.socket, limits, on_progress).map_err(internal)?;
        let outcome = self.converse(&mut line);
        let verdict = line.verdict();
        match outcome {
            Ok(summary) => Ok(summary),
            Err(Stop::For(error)) => Err(error),
            Err(Stop::Socket(error)) => Err(match (verdict, error.kind()) {
                (Some(verdict), _) => verdict,
                (None, ErrorKind::InvalidData) => misbehaved(),
                _ => child.cause_of_death(),
            }),
        }
    }

    fn converse(&mut self, line: &mut Line<'_>) -> Result<Summary, Stop> {
        let mut options = self.options.clone();
        // It has no way to find out.
        options.threads = options.threads.or_else(|| available_parallelism().ok()).or(NonZeroUsize::new(1));
        let json = serde_json::to_vec(&options).map_err(|error| Error::Internal(error.to_string()))?;
        heard_or_gone(frames::send(&mut *line, Kind::Start, self.length, &json))?;
        loop {
            line.check()?;
            let frame = frames::receive(&mut *line)?;
            match frame.kind {
                Kind::Progress => line.progress = report::progress(&frame.bytes)?,
                Kind::Done => return Ok(report::summary(&frame.bytes, self.written, self.options)?),
                Kind::Failed => return Err(self.failed(&frame)?.into()),
                _ => self.serve(line, frame)?,
            }
            line.listen();
        }
    }

    fn serve(&mut self, line: &mut Line<'_>, frame: Frame) -> Result<(), Stop> {
        match frame.kind {
            // The end itself may be asked for.
            Kind::Read if frame.number <= self.length => {
                let read = self.read(frame.number);
                line.listen();
                let sent = match read {
                    Ok(bytes) => frames::send(line, Kind::Bytes, frame.number, &bytes),
                    Err(error) => {
                        let why = error.to_string();
                        self.input_error = Some(error);
                        frames::send(line, Kind::Broken, 0, why.as_bytes())
                    }
                };
                heard_or_gone(sent)?;
            }
            Kind::Write => {
                self.written += frame.bytes.len() as u64;
                if self.written > self.most() {
                    return Err(misbehaved().into());
                }
                self.sink.write(&frame.bytes).map_err(Error::Output)?;
            }
            Kind::Head => {
                let end = frame.number.saturating_add(frame.bytes.len() as u64);
                let reach = if self.options.split.is_some() { u64::MAX } else { HEAD_MAX as u64 };
                if end > self.written.min(reach) {
                    return Err(misbehaved().into());
                }
                self.sink.rewrite_head(frame.number, &frame.bytes).map_err(Error::Output)?;
            }
            _ => return Err(misbehaved().into()),
        }
        Ok(())
    }

    /// Bytes that there can be: the engine keeps to its options, but what comes from the
    /// child may not come from the engine.
    fn most(&self) -> u64 {
        let longest = self.options.max_duration.as_secs().saturating_add(60).saturating_mul(BYTES_A_SECOND);
        let heads = if self.options.split.is_some() { MAX_CHAPTERS as u64 } else { 1 } * HEAD_MAX as u64;
        self.options.max_output_bytes.unwrap_or(u64::MAX).min(longest).saturating_add(heads)
    }

    /// As much as there is, at most a window.
    fn read(&mut self, at: u64) -> io::Result<Vec<u8>> {
        self.input.seek(SeekFrom::Start(at))?;
        let mut window = Vec::with_capacity(WINDOW);
        (&mut self.input).take(WINDOW as u64).read_to_end(&mut window)?;
        Ok(window)
    }

    fn failed(&mut self, frame: &Frame) -> Result<Error, Error> {
        Ok(match report::failure(&frame.bytes)? {
            Error::Input(error) => Error::Input(self.input_error.take().unwrap_or(error)),
            other => other,
        })
    }
}

/// One that reads ahead may be done and gone before it has its answer: what it said last is still to
/// be heard.
fn heard_or_gone(sent: io::Result<()>) -> io::Result<()> {
    match sent {
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
        sent => sent,
    }
}

fn internal(error: io::Error) -> Error {
    Error::Internal(error.to_string())
}
