//! `convert`: the engine alone, from file to file.

use std::{
    num::NonZeroUsize,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use jobs::{Channels, Preset, Settings, Split, Unfit};
use sandbox::{Limits, Sandbox};
use transcode::{Options, Progress, Summary};

use crate::target::{STANDARD, Target, open};

/// As shells have it for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;
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
    let stop = stop_on_ctrl_c()?;
    let mut failed = 0;
    for (input, target) in arguments.inputs.iter().zip(&targets) {
        match one(input, target, (arguments, &settings), sandbox.as_ref(), &stop) {
            Ok(()) => {}
            Err(_) if stop.load(Ordering::Relaxed) => {
                eprintln!("mp3converter: stopped; {target} was not made");
                return Ok(ExitCode::from(INTERRUPTED));
            }
            // The others may do better.
            Err(error) => {
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

/// True once Ctrl-C was pressed: the work then ends in order, and leaves no half file.
fn stop_on_ctrl_c() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::<AtomicBool>::default();
    let (runtime, pressed) = (crate::runtime()?, stop.clone());
    // Its own thread, since the engine occupies this one.
    std::thread::spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            pressed.store(true, Ordering::Relaxed);
        }
        // Who presses it again does not want to wait.
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            std::process::exit(INTERRUPTED.into());
        }
    });
    Ok(stop)
}

fn one(
    input: &Path,
    target: &Target,
    (arguments, settings): (&Arguments, &Settings),
    sandbox: Option<&Sandbox>,
    stop: &AtomicBool,
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
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
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
