//! The engine on the command line beside `ffmpeg` and `lame`, file to file: speed, work and memory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use e2e::Product;
use testkit::{binary, media, workspace_root};

use crate::{
    Bench,
    measure::{Cost, measure},
    report::Report,
};

/// Where `scripts/setup.sh bench` puts the music.
const MUSIC: &str = ".tools/music";

/// The films, each a path: ten minutes and an hour of music and speech.
struct Films {
    folder: PathBuf,
    sound: PathBuf,
}

/// All comparisons.
pub fn compare(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let films = Films::new(&bench.app.path("engine"))?;
    let aac = films.film("ten.mp4", &["-c:a", "aac", "-b:a", "160k"])?;
    let contestants = |film: &Path| {
        vec![
            ("mp3converter".to_owned(), ours(film, &[])),
            ("`ffmpeg -i IN -vn -q:a 2 OUT.mp3`".to_owned(), ffmpeg(film)),
        ]
    };

    let mut all = contestants(&aac);
    all.insert(1, ("mp3converter, on one thread".to_owned(), ours(&aac, &["--threads", "1"])));
    all.insert(2, ("mp3converter --sandbox, as the services convert".to_owned(), ours(&aac, &["--sandbox"])));
    all.push(("`lame -V2`, of a WAV that ffmpeg writes".to_owned(), lame(&aac)));
    run(bench, report, "Ten minutes, MP4 with AAC, index at the end", all)?;

    let hour = films.repeat(&aac, "hour.mkv", 5)?;
    run(bench, report, "An hour, Matroska with AAC", contestants(&hour))?;
    for (title, name, arguments) in [
        ("Ten minutes, WebM with Opus", "ten.webm", &["-c:a", "libopus", "-b:a", "128k"][..]),
        ("Ten minutes, Matroska with AC-3 in 5.1", "ten-51.mkv", &["-c:a", "ac3", "-b:a", "448k", "-ac", "6"]),
    ] {
        run(bench, report, title, contestants(&films.film(name, arguments)?))?;
    }

    let mp3 = films.film("ten-mp3.mkv", &["-c:a", "libmp3lame", "-q:a", "2"])?;
    let mut all = contestants(&mp3);
    all.insert(1, ("mp3converter --quality 2, which encodes again".to_owned(), ours(&mp3, &["--quality", "2"])));
    run(bench, report, "Ten minutes, Matroska with MP3", all)
}

/// The most memory by length: of MP4s, whose index has to be in memory, and of what has none.
pub fn memory(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let films = Films::new(&bench.app.path("engine-memory"))?;
    let ten = films.film("ten.mp4", &["-c:a", "aac", "-b:a", "64k"])?;
    let minute = films.folder.join("minute.mp4");
    ffmpeg_quietly(Command::new("ffmpeg").arg("-i").arg(&ten).args(["-c", "copy", "-t", "60"]).arg(&minute))?;
    let (hour, day) = (films.repeat(&ten, "hour.mp4", 5)?, films.repeat(&ten, "day.mp4", 143)?);
    let streamed = films.repeat(&ten, "day.mkv", 143)?;
    let mut costs = Vec::new();
    for (length, film) in [
        ("1 minute", minute),
        ("10 minutes", ten),
        ("1 hour", hour),
        ("24 hours", day),
        ("24 hours, in Matroska", streamed),
    ] {
        costs.push((length.to_owned(), vec![measure(&mut ours(&film, &[]))?]));
    }
    report.costs("The command line by length of an MP4 with AAC", &costs)
}

/// Each contestant has its turn in each round.
fn run(bench: &Bench, report: &mut Report, title: &str, mut all: Vec<(String, Command)>) -> anyhow::Result<()> {
    let mut rows: Vec<(String, Vec<Cost>)> = all.iter().map(|(name, _)| (name.clone(), Vec::new())).collect();
    for _ in 0..bench.rounds {
        for ((name, command), (_, costs)) in all.iter_mut().zip(&mut rows) {
            costs.push(measure(command).with_context(|| name.clone())?);
        }
    }
    report.costs(title, &rows)
}

fn ours(film: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("mp3converter"));
    command.args(["convert", "--force"]).args(arguments).arg(film).arg(film.with_extension("ours.mp3"));
    command
}

/// What everything is held against.
pub fn ffmpeg(film: &Path) -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-y", "-i"]).arg(film).args(["-vn", "-q:a", "2"]);
    command.arg(film.with_extension("ffmpeg.mp3"));
    command
}

fn lame(film: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ffmpeg -nostdin -loglevel error -i \"$0\" -vn -f wav - | lame --quiet -V2 - \"$1\""]);
    command.arg(film).arg(film.with_extension("lame.mp3"));
    command
}

impl Films {
    /// Ten minutes of sound: the music there is, with a spoken minute behind each piece.
    fn new(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        let music = workspace_root().join(MUSIC);
        let entries = fs::read_dir(&music).with_context(|| format!("no music in {}", music.display()))?;
        let mut pieces = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
        pieces.sort();
        ensure!(!pieces.is_empty(), "no music in {}; run `scripts/setup.sh bench`", music.display());
        let voice = folder.join("voice.wav");
        media::film(&voice, 60.0, &media::Film::default())?;
        let mut command = Command::new("ffmpeg");
        let mut filter = String::new();
        for (number, piece) in pieces.iter().enumerate() {
            command.arg("-i").arg(piece).arg("-i").arg(&voice);
            for input in [2 * number, 2 * number + 1] {
                filter += &format!("[{input}:a]aformat=sample_rates=44100:channel_layouts=stereo[s{input}];");
            }
        }
        let inputs: String = (0..2 * pieces.len()).map(|input| format!("[s{input}]")).collect();
        filter += &format!("{inputs}concat=n={}:v=0:a=1,aloop=-1:2147483647,atrim=end=600[a]", 2 * pieces.len());
        let sound = folder.join("sound.wav");
        ffmpeg_quietly(command.args(["-filter_complex", &filter, "-map", "[a]"]).arg(&sound))?;
        Ok(Self { folder: folder.to_owned(), sound })
    }

    /// A film of ten minutes.
    fn film(&self, name: &str, sound: &[&str]) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(name);
        let mut command = Command::new("ffmpeg");
        command.args(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10:duration=600", "-i"]).arg(&self.sound);
        let is_webm = path.extension().is_some_and(|extension| extension == "webm");
        let video: &[&str] = match is_webm {
            true => &["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"],
            false => &["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"],
        };
        ffmpeg_quietly(command.args(["-map", "0:v", "-map", "1:a"]).args(video).args(sound).arg(&path))?;
        Ok(path)
    }

    /// The same film so many times more.
    fn repeat(&self, film: &Path, name: &str, times: u32) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(name);
        let mut command = Command::new("ffmpeg");
        command.args(["-stream_loop", &times.to_string(), "-i"]).arg(film).args(["-map", "0:a", "-c", "copy"]);
        ffmpeg_quietly(command.arg(&path))?;
        Ok(path)
    }
}

/// Runs an `ffmpeg` that has its arguments, to its end.
pub fn ffmpeg_quietly(command: &mut Command) -> anyhow::Result<()> {
    let status = command.args(["-nostdin", "-loglevel", "error", "-y"]).status()?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}
