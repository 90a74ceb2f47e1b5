//! `convert`: the engine alone, from file to file.

use std::{
    io::{self, Write},
    num::NonZeroUsize,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use jobs::{Channels, Preset, Settings, Split, Unfit};
use sandbox::{Limits, Sandbox};
use tokio::signal::unix::{Signal, SignalKind, signal};
use transcode::{Options, Progress, Summary};

use crate::target::{STANDARD, Target, exit, open};

/// Exit codes, as shells have them for a program that a signal ended.
const HUNG_UP: u8 = 128 + 1;
const INTERRUPTED: u8 = 128 + 2;
const TERMINATED: u8 = 128 + 15;
/// Work that was told to stop ends in order within that, or else at once.
const GRACE: Duration = Duration::from_secs(5);
/// Steps of the bar, whose length is not known from the start.
const STEPS: u64 = 1_000;

#[derive(Args, Debug)]
pub struct Arguments {
    /// Films or recordings; - reads standard input
    #[arg(required = true, value_name = "IN")]
    inputs: Vec<PathBuf>,
    /// The MP3 (or zip), or a folder for one of each input; - writes standard output
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Overwrites what is there
    #[arg(short, long)]
    force: bool,
    /// Settings for a purpose; what you set beside it counts more
    #[arg(short, long, value_name = "voice|podcast|music|small")]
    preset: Option<Preset>,
    /// Variable bit rate, from 0 (best) to 9 (smallest) [default: 2]
    #[arg(short, long, value_name = "0-9", conflicts_with = "bitrate")]
    quality: Option<u8>,
    /// Constant bit rate, in kbit/s
    #[arg(short, long, value_name = "KBPS")]
    bitrate: Option<u32>,
    /// One channel or two [default: as the film has, two at the most]
    #[arg(short, long, value_name = "mono|stereo")]
    channels: Option<Channels>,
    /// Sample rate in Hz, one of MP3's [default: as the film has]
    #[arg(long, value_name = "HZ", value_parser = jobs::sample_rate)]
    sample_rate: Option<u32>,
    /// As loud as this, in LUFS (EBU R 128), such as -16; reads the input twice
    #[arg(long, value_name = "LUFS|off", value_parser = jobs::normalize, allow_negative_numbers = true)]
    normalize: Option<String>,
    /// Which sound track: its number, counting from 1, or its language, such as en or deu
    #[arg(long, value_name = "NUMBER|LANGUAGE", value_parser = jobs::stream)]
    stream: Option<String>,
    /// Begins so far into the film: seconds or HH:MM:SS, with a fraction or without
    #[arg(long, value_name = "TIME", value_parser = jobs::seconds)]
    start: Option<f64>,
    /// Ends so far into the film
    #[arg(long, value_name = "TIME", value_parser = jobs::seconds)]
    end: Option<f64>,
    /// One MP3 for each chapter, in a zip
    #[arg(long, value_name = "chapters")]
    split: Option<Split>,
    /// Threads that encode [default: one for each core]
    #[arg(short, long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Reads the film in a process that can do nothing else, as the services do; for what you do not trust
    #[arg(long)]
    sandbox: bool,
    #[command(flatten)]
    tags: Tags,
}

/// Clap's view of [`jobs::Tags`].
#[derive(Args, Debug)]
#[command(next_help_heading = "Tags, where you know better than the film")]
struct Tags {
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    #[arg(long, value_name = "TEXT")]
    artist: Option<String>,
    #[arg(long, value_name = "TEXT")]
    album: Option<String>,
    #[arg(long, value_name = "TEXT")]
    album_artist: Option<String>,
    #[arg(long, value_name = "YYYY")]
    year: Option<String>,
    #[arg(long, value_name = "TEXT")]
    genre: Option<String>,
    #[arg(long, value_name = "N or N/ALL")]
    track: Option<String>,
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

impl Arguments {
    /// Of what is made.
    fn extension(&self) -> &'static str {
        if self.split.is_some() { ".zip" } else { ".mp3" }
    }

    fn settings(&self) -> Result<Settings, Unfit> {
        let &Self { preset, quality, bitrate, channels, sample_rate, start, end, split, .. } = self;
        let mut settings = Settings {
            preset,
            quality,
            bitrate,
            channels,
            sample_rate,
            normalize: self.normalize.clone(),
            stream: self.stream.clone(),
            start,
            end,
            split,
            ..Settings::default()
        };
        let tags = &self.tags;
        for (name, text) in [
            ("title", &tags.title),
            ("artist", &tags.artist),
            ("album", &tags.album),
            ("album_artist", &tags.album_artist),
            ("year", &tags.year),
            ("genre", &tags.genre),
            ("track", &tags.track),
            ("comment", &tags.comment),
        ] {
            settings.note(name, text.as_deref().unwrap_or_default())?;
        }
        settings.check()?;
        Ok(settings)
    }
}

pub fn convert(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let settings = arguments.settings()?;
    let targets = Target::of_each(&arguments.inputs, &arguments.output, arguments.extension())?;
    let sandbox = arguments.sandbox.then(|| converter::lock_up(Limits::default())).transpose()?;
    let stop = stop_on_signals()?;
    let mut failed = 0;
    for (input, target) in arguments.inputs.iter().zip(&targets) {
        match (one(input, target, (arguments, &settings), sandbox.as_ref(), &stop), stop.get()) {
            (Ok(()), _) => {}
            (Err(_), Some(&code)) => {
                // Where the terminal has closed, nobody is left to read it.
                let _ = writeln!(io::stderr(), "mp3converter: stopped; {target} was not made");
                return Ok(ExitCode::from(code));
            }
            // The others may do better.
            (Err(error), None) => {
                eprintln!("mp3converter: {}: {error:#}", input.display());
                failed += 1;
            }
        }
    }
    if failed > 0 && targets.len() > 1 {
        eprintln!("mp3converter: {failed} of {} were not converted", targets.len());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The exit code, once a signal said to stop: the work then ends in order, and leaves no half file.
fn stop_on_signals() -> anyhow::Result<Arc<OnceLock<u8>>> {
    let stop = Arc::<OnceLock<u8>>::default();
    let (runtime, told) = (crate::runtime()?, stop.clone());
    // Here, so that none is missed once there is a draft.
    let mut signals = runtime.block_on(async { Signals::new() })?;
    // Its own thread, since the engine occupies this one.
    std::thread::spawn(move || {
        let code = runtime.block_on(signals.any());
        let _ = told.set(code);
        // Who asks again does not want to wait, and standard input may never end.
        let _ = runtime.block_on(async { tokio::time::timeout(GRACE, signals.any()).await });
        exit(code)
    });
    Ok(stop)
}

/// What says to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<Signal>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: if outlives_terminal() { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    /// The next one's exit code.
    async fn any(&mut self) -> u8 {
        let Self { interrupt, terminate, hang_up } = self;
        tokio::select! {
            _ = interrupt.recv() => INTERRUPTED,
            _ = terminate.recv() => TERMINATED,
            Some(()) = async { hang_up.as_mut()?.recv().await } => HUNG_UP,
        }
    }
}

/// Whether `nohup` started it, which has SIGHUP ignored; assumed where the system does not say.
fn outlives_terminal() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // One bit for each signal, and SIGHUP is the first.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_none_or(|mask| mask & 1 != 0)
}

fn one(
    input: &Path,
    target: &Target,
    (arguments, settings): (&Arguments, &Settings),
    sandbox: Option<&Sandbox>,
    stop: &OnceLock<u8>,
) -> anyhow::Result<()> {
    // Before the work, so that nobody waits for a name that is taken.
    let draft = target.draft(arguments.force)?;
    let file = open(input)?;
    let title = input.file_stem().filter(|_| input.as_os_str() != STANDARD);
    let title_fallback = title.map(|stem| stem.to_string_lossy().into_owned());
    let options = Options { title_fallback, threads: arguments.threads, ..converter::options(settings) };

    let bar = bar(input);
    let started = Instant::now();
    let mut sink = draft.sink()?;
    let mut on_progress = |progress| {
        show(&bar, progress, started.elapsed());
        if stop.get().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let summary = sandbox::convert(sandbox, file, &mut sink, &options, &mut on_progress);
    bar.finish_and_clear();
    // Its own words say what is wrong; what the reader or the disk said stands behind them.
    let summary = summary.map_err(anyhow::Error::new)?;
    draft.finish(arguments.force).context("the MP3 was made, but not kept")?;
    report(input, target, &summary, started.elapsed());
    Ok(())
}

/// Drawn on a terminal only.
fn bar(input: &Path) -> ProgressBar {
    let template = "{prefix}  {wide_bar} {percent:>3}%  {msg}  {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let name = input.file_name().unwrap_or(input.as_os_str()).to_string_lossy().into_owned();
    ProgressBar::new(STEPS).with_style(style).with_prefix(name)
}

fn show(bar: &ProgressBar, progress: Progress, elapsed: Duration) {
    bar.set_message(format!("{:.0}x", speed(progress.done, elapsed)));
    if let Some(percent) = progress.percent() {
        bar.set_position((f64::from(percent) / 100.0 * STEPS as f64) as u64);
    }
}

/// Seconds of sound for each second of work.
fn speed(sound: Duration, work: Duration) -> f64 {
    sound.as_secs_f64() / work.as_secs_f64().max(0.001)
}

fn report(input: &Path, target: &Target, made: &Summary, work: Duration) {
    // Standard output may be the MP3.
    eprintln!(
        "{} → {target}: {} min, {}, in {:.1} s ({:.0} times as fast as it plays)",
        input.display(),
        minutes(made.duration),
        HumanBytes(made.bytes_out),
        work.as_secs_f64(),
        speed(made.duration, work),
    );
    if made.packets_skipped > 0 {
        eprintln!("  {} damaged pieces of sound were left out", made.packets_skipped);
    }
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}
