//! Films with people who speak: other words in every channel, so that a swapped
//! channel, a wrong speed or a lost second can be told.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, ensure};

use super::tool::{ffmpeg, run};

/// What a film is like. The container follows from the path's extension.
#[derive(Clone, Debug)]
pub struct Film {
    /// ffmpeg's name of the audio encoder; `None` for what is usual in the container.
    pub audio: Option<&'static str>,
    /// 1, 2, 6 (5.1) or 8 (7.1).
    pub channels: usize,
    /// Samples a second.
    pub rate: u32,
    /// Tags, for instance `("title", "A day out")`.
    pub tags: Vec<(&'static str, String)>,
    /// Other arguments for ffmpeg's output, for instance `-movflags +faststart`.
    pub arguments: Vec<&'static str>,
}

impl Default for Film {
    fn default() -> Self {
        Self { audio: None, channels: 2, rate: 44_100, tags: Vec::new(), arguments: Vec::new() }
    }
}

/// Speaks `words` into a WAV file: mono, 22,050 samples a second.
///
/// # Errors
/// When espeak-ng fails.
pub fn speech(words: &str, path: &Path) -> anyhow::Result<()> {
    speak(words, 50, path)
}

/// Makes a film of `seconds`: a moving test picture, and a voice in each channel. With
/// an extension for sound alone (`m4a`, `mp3`, `ogg`, …) there is no picture.
///
/// # Errors
/// When espeak-ng or ffmpeg fails, or the extension is unknown.
pub fn film(path: &Path, seconds: f64, film: &Film) -> anyhow::Result<()> {
    let container = Container::of(path)?;
    let voices = tempfile::tempdir()?;
    let mut inputs: Vec<OsString> = Vec::new();
    for channel in 0..film.channels {
        let voice = voices.path().join(format!("{channel}.wav"));
        speak(&numbers(channel, seconds), 30 + 8 * channel, &voice)?;
        inputs.extend(["-i".into(), voice.into()]);
    }
    let sound = film.audio.unwrap_or(container.audio);
    let mut output = words(&["-c:a", sound, "-ar", &film.rate.to_string()]);
    for (name, value) in &film.tags {
        output.extend(words(&["-metadata", &format!("{name}={value}")]));
    }
    output.extend(words(&film.arguments));
    make(path, seconds, &container, inputs, &join(film.channels)?, output)
}

/// Makes a film of `seconds` that has no sound track at all.
///
/// # Errors
/// When ffmpeg fails, or the extension is unknown.
pub fn silent_film(path: &Path, seconds: f64) -> anyhow::Result<()> {
    let container = Container::of(path)?;
    ensure!(container.video.is_some(), "{} would hold nothing at all", path.display());
    make(path, seconds, &container, Vec::new(), &[], words(&["-an"]))
}

fn make(
    path: &Path,
    seconds: f64,
    container: &Container,
    inputs: Vec<OsString>,
    filter: &[OsString],
    output: Vec<OsString>,
) -> anyhow::Result<()> {
    let mut call = inputs;
    // The voices come first, so that their numbers do not depend on a picture.
    let picture = call.len() / 2;
    if let Some(video) = container.video {
        let source = format!("testsrc2=size={}:rate=25", container.size);
        call.extend(words(&["-f", "lavfi", "-i", &source, "-map", &format!("{picture}:v"), "-c:v", video]));
        call.extend(words(&["-pix_fmt", "yuv420p"]));
        call.extend(words(container.video_arguments));
    }
    call.extend(filter.iter().cloned());
    call.extend(output);
    // Experimental encoders, such as the one for DTS, have to be allowed.
    call.extend(words(&["-strict", "-2", "-t", &seconds.to_string()]));
    call.push(path.into());
    ffmpeg(call).map(drop)
}

/// What is usual in a kind of file.
struct Container {
    video: Option<&'static str>,
    video_arguments: &'static [&'static str],
    size: &'static str,
    audio: &'static str,
}

impl Container {
    fn of(path: &Path) -> anyhow::Result<Self> {
        const QUICK_X264: &[&str] = &["-preset", "ultrafast", "-g", "50"];
        const QUICK_VPX: &[&str] = &["-deadline", "realtime", "-cpu-used", "8"];
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let (video, video_arguments, audio): (_, &[&str], _) = match extension.as_str() {
            "mp4" | "m4v" | "mov" => (Some("libx264"), QUICK_X264, "aac"),
            "mkv" => (Some("libx264"), QUICK_X264, "ac3"),
            "webm" => (Some("libvpx"), QUICK_VPX, "libopus"),
            "avi" => (Some("mpeg4"), &[], "libmp3lame"),
            "ts" => (Some("mpeg2video"), &[], "aac"),
            "mpg" | "mpeg" => (Some("mpeg2video"), &[], "mp2"),
            "wmv" | "asf" => (Some("wmv2"), &[], "wmav2"),
            "flv" => (Some("flv"), &[], "libmp3lame"),
            "3gp" => (Some("h263"), &[], "aac"),
            "m4a" | "aac" => (None, &[], "aac"),
            "mp3" => (None, &[], "libmp3lame"),
            "ogg" => (None, &[], "libvorbis"),
            "opus" => (None, &[], "libopus"),
            "flac" => (None, &[], "flac"),
            "wav" => (None, &[], "pcm_s16le"),
            other => anyhow::bail!("no film can be made with the extension {other:?}"),
        };
        // H.263 knows but a few sizes.
        let size = if extension == "3gp" { "176x144" } else { "320x180" };
        Ok(Self { video, video_arguments, size, audio })
    }
}

/// The filter that puts the first `channels` inputs side by side, and its mapping.
fn join(channels: usize) -> anyhow::Result<Vec<OsString>> {
    let layout = match channels {
        1 => "mono",
        2 => "stereo",
        6 => "5.1",
        8 => "7.1",
        other => anyhow::bail!("no layout for {other} channels"),
    };
    let pads: String = (0..channels).map(|input| format!("[{input}:a]")).collect();
    // Padded, since the last word may end before the film does.
    let graph = format!("{pads}join=inputs={channels}:channel_layout={layout},apad[sound]");
    Ok(words(&["-filter_complex", &graph, "-map", "[sound]"]))
}

/// Numbers to be read aloud for at least `seconds`; none comes twice within 20 minutes.
fn numbers(channel: usize, seconds: f64) -> String {
    let mut text = String::new();
    let mut spoken = 0.0;
    let mut step = 0;
    while spoken < seconds + 2.0 {
        // 377 has no factor in common with 900, so every number has its turn.
        text += &format!("{} ", 100 + (channel * 131 + step * 377) % 900);
        step += 1;
        // "three hundred and forty" takes no less.
        spoken += 0.9;
    }
    text
}

fn speak(words: &str, pitch: usize, path: &Path) -> anyhow::Result<()> {
    let pitch = pitch.to_string();
    // Text can be longer than a command line may be.
    let text = tempfile::NamedTempFile::new()?;
    std::fs::write(text.path(), words)?;
    let arguments =
        ["-v".as_ref(), "en".as_ref(), "-p".as_ref(), pitch.as_ref(), "-f".as_ref(), text.path().as_os_str()];
    run("espeak-ng", arguments.into_iter().chain(["-w".as_ref(), path.as_os_str()])).context("speech").map(drop)
}

pub(super) fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}
