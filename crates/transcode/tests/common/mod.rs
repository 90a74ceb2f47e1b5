//! Media made with `ffmpeg`, `espeak-ng` and `sox`, an MP3 decoder that is not FFmpeg's, and the
//! measures by which sound is compared. A missing program fails the test.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod measure;
pub mod mp3;
pub mod sound;

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use tempfile::TempDir;
use transcode::{Error, HEAD_MAX, Options, Progress, Sink, Split, Summary};

/// Seconds of [`Media::speech`].
pub const SECONDS: u64 = 4;

/// Counts the bytes that are read.
pub struct Counted<R>(pub R, pub Arc<AtomicU64>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buf)?;
        self.1.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// A temporary folder with media in it.
pub struct Media(TempDir);

impl Media {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a program in the folder.
    pub fn run(&self, program: &str, args: &[&str]) {
        let output = Command::new(program)
            .args(args)
            .current_dir(self.0.path())
            .output()
            .unwrap_or_else(|e| panic!("{program} is needed for this test: {e}"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {stderr}");
    }

    /// Runs `ffmpeg`, the arguments split at spaces.
    pub fn ffmpeg(&self, args: &str) {
        let args = format!("-nostdin -v error -y -bitexact {args}");
        self.run("ffmpeg", &args.split_whitespace().collect::<Vec<_>>());
    }

    /// `speech.wav`: 4 s at 48 kHz, one text on the left, another by another voice on the right.
    pub fn speech(&self) -> PathBuf {
        for (side, voice, text) in [
            ("left", "en-us", "The quick brown fox jumps over the lazy dog near the river bank"),
            ("right", "de", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich"),
        ] {
            let wav = format!("{side}.wav");
            self.run("espeak-ng", &["-v", voice, "-s", "150", "-w", &wav, text]);
        }
        self.ffmpeg(
            "-i left.wav -i right.wav -filter_complex \
             [0:a]apad,aresample=48000[l];[1:a]apad,aresample=48000[r];\
             [l][r]join=inputs=2:channel_layout=stereo,atrim=end_sample=192000 \
             -c:a pcm_s16le speech.wav",
        );
        self.path("speech.wav")
    }

    /// `name` with `speech.wav` as its sound and a test picture, made by `args`.
    pub fn film(&self, name: &str, args: &str) -> PathBuf {
        if !self.path("speech.wav").exists() {
            self.speech();
        }
        self.ffmpeg(&format!(
            "-f lavfi -i testsrc=size=160x120:rate=25:duration={SECONDS} -i speech.wav \
             -map 0:v -map 1:a {args} {name}"
        ));
        self.path(name)
    }

    /// The sound of a file as ffmpeg decodes it: the measure for ours.
    pub fn pcm(&self, name: &str, rate: u32, channels: u8) -> Vec<Vec<f32>> {
        self.ffmpeg(&format!("-i {name} -map 0:a:0 -ar {rate} -ac {channels} -f f32le reference.pcm"));
        let bytes = fs::read(self.path("reference.pcm")).expect("reads");
        let samples: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        deinterleave(&samples, channels.into())
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).expect("writes");
        self.path(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("reads")
    }
}

/// A sink into memory that holds its caller to the contract.
#[derive(Default)]
pub struct MemorySink {
    pub bytes: Vec<u8>,
    rewritten: bool,
}

impl Sink for MemorySink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        assert!(!self.rewritten, "nothing is written after the head");
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn rewrite_head(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = offset as usize;
        assert!(!self.rewritten, "the head is rewritten once");
        assert!(offset + bytes.len() <= HEAD_MAX, "within the head");
        self.rewritten = true;
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

/// Converts a file, undisturbed.
pub fn convert(path: &Path, options: &Options) -> Result<(Summary, Vec<u8>), Error> {
    let mut sink = MemorySink::default();
    let file = File::open(path).expect("opens");
    let on_progress = &mut |_| ControlFlow::Continue(());
    let summary = transcode::convert(file, &mut sink, options, on_progress)?;
    assert_eq!(summary.bytes_out, sink.bytes.len() as u64);
    Ok((summary, sink.bytes))
}

/// The name of a file in a zip, and its bytes.
pub type Named = (String, Vec<u8>);

/// Converts a file to a zip with one MP3 for each chapter.
pub fn split(path: &Path, options: &Options) -> Result<(Summary, Vec<Named>), Error> {
    let mut sink = ZipSink::default();
    let options = Options { split: Some(Split::Chapters), ..options.clone() };
    let file = File::open(path).expect("opens");
    let mut last = 0.0;
    let on_progress = &mut |progress: Progress| {
        let percent = progress.percent().unwrap_or(0.0);
        assert!(percent >= last, "{percent} % after {last} %");
        last = percent;
        ControlFlow::Continue(())
    };
    let summary = transcode::convert(file, &mut sink, &options, on_progress)?;
    assert_eq!(summary.bytes_out, sink.0.len() as u64);
    let mut zip = zip::ZipArchive::new(Cursor::new(sink.0)).expect("a zip");
    let count = zip.len();
    let file = |at| {
        let mut file = zip.by_index(at).expect("a file in it");
        let mut bytes = Vec::new();
        // Compares the checksum too.
        file.read_to_end(&mut bytes).expect("whole");
        (file.name().expect("a name").into_owned(), bytes)
    };
    Ok((summary, (0..count).map(file).collect()))
}

/// A sink of which anything may be rewritten.
#[derive(Default)]
struct ZipSink(Vec<u8>);

impl Sink for ZipSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn rewrite_head(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = offset as usize;
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

/// Converts with default options, decodes with symphonia and checks that the two agree.
pub fn convert_and_decode(path: &Path) -> (Summary, Decoded) {
    let (summary, mp3) =
        convert(path, &Options::default()).unwrap_or_else(|e| panic!("{}: {e} ({e:?})", path.display()));
    let decoded = decode(mp3);
    assert_agrees(&summary, &decoded);
    (summary, decoded)
}

/// The summary tells what a gapless decoder really gets.
pub fn assert_agrees(summary: &Summary, decoded: &Decoded) {
    assert_eq!(summary.sample_rate, decoded.rate);
    assert_eq!(usize::from(summary.channels), decoded.planes.len());
    for plane in &decoded.planes {
        assert_eq!(plane.len() as u64, summary.samples, "exact to the sample");
    }
    let seconds = summary.samples as f64 / f64::from(summary.sample_rate);
    assert!((summary.duration.as_secs_f64() - seconds).abs() < 1e-6);
}

/// What an MP3 sounds like.
pub struct Decoded {
    pub rate: u32,
    pub planes: Vec<Vec<f32>>,
}

/// Decodes an MP3 with symphonia, gapless.
pub fn decode(mp3: Vec<u8>) -> Decoded {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(mp3)), Default::default());
    let (format, metadata) = (FormatOptions::default(), MetadataOptions::default());
    let mut format = symphonia::default::get_probe()
        .probe(&Default::default(), stream, format, metadata)
        .expect("symphonia knows it");
    let track = format.default_track(TrackType::Audio).expect("a track");
    let parameters = track.codec_params.as_ref().and_then(|p| p.audio()).expect("sound").clone();
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &AudioDecoderOptions::default().gapless(true))
        .expect("an MP3 decoder");
    let (mut samples, mut chunk) = (Vec::new(), Vec::<f32>::new());
    while let Some(packet) = format.next_packet().expect("every frame parses") {
        let buffer = decoder.decode(&packet).expect("every frame decodes");
        chunk.resize(buffer.samples_interleaved(), 0.0);
        buffer.copy_to_slice_interleaved(&mut chunk);
        samples.extend_from_slice(&chunk);
    }
    let channels = parameters.channels.expect("channels").count();
    Decoded { rate: parameters.sample_rate.expect("a rate"), planes: deinterleave(&samples, channels) }
}

/// Decodes an MP3 with the program `ffmpeg`, gapless too.
pub fn decode_with_ffmpeg(mp3: &[u8], channels: u8) -> Vec<Vec<f32>> {
    let media = Media::new();
    media.write("ours.mp3", mp3);
    media.ffmpeg("-i ours.mp3 -f f32le ours.pcm");
    let bytes = media.read("ours.pcm");
    let samples: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|sample| f32::from_le_bytes(*sample)).collect();
    deinterleave(&samples, channels.into())
}

fn deinterleave(samples: &[f32], channels: usize) -> Vec<Vec<f32>> {
    (0..channels).map(|channel| samples.iter().skip(channel).step_by(channels).copied().collect()).collect()
}
