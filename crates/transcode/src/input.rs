//! Opens what somebody sent as media, or says that it is none, and reads packets from it.

use std::ffi::{CStr, c_int};
use std::io::{Read, Seek};
use std::time::Duration;

use ffmpeg_next::format::chapter::Chapter;
use ffmpeg_next::format::context::{Input, StreamIo};
use ffmpeg_next::format::stream::Disposition;
use ffmpeg_next::{Dictionary, Packet, Stream, ffi, format, media};

use crate::Error;
use crate::ffmpeg;
use crate::monitor::Monitor;
use crate::reader::{TraceHandle, Watched};
use crate::whitelist;

/// Read at a time. FFmpeg reads through gaps of up to 32 KiB rather than seek; with as large a
/// buffer little of the pictures is read between two pieces of sound.
const BUFFER: usize = 32 * 1024;

/// What FFmpeg may read to find out about the streams: its own default, said here because it
/// bounds what hostile files cost. The time it may cover stays at FFmpeg's defaults too, which
/// differ by container (5 s; more where streams announce themselves late).
const PROBE_BYTES: usize = 5_000_000;

/// Packets that may be broken one after the other before the file counts as ended.
const BROKEN_IN_A_ROW: u32 = 10_000;

/// A container that was opened. Of its streams only the one given to [`select`](Self::select) is
/// read.
pub(crate) struct Source<'m> {
    context: Input,
    trace: TraceHandle,
    monitor: &'m Monitor<'m>,
    selected: usize,
    /// Streams already told to be silent; containers like MPEG-TS add some as they go.
    streams_known: usize,
    /// The demuxer gave up before the end of the file.
    broke_off: bool,
}

/// Carries the monitor through FFmpeg's `void *`.
struct Interrupt(*const Monitor<'static>);

// SAFETY: FFmpeg calls the interrupt callback from inside the calls made on a `Source`, and that
// is bound to one thread by its `&Monitor`, which is not `Send`.
unsafe impl Send for Interrupt {}

impl Interrupt {
    /// `monitor` has to outlive the context this is given to.
    fn new(monitor: &Monitor<'_>) -> Self {
        Self(std::ptr::from_ref(monitor).cast())
    }

    fn poll(&self) -> bool {
        // SAFETY: the context that polls this is a field of `Source<'m>`, or still local to
        // `Source::open`; neither outlives the `&'m Monitor` beside it.
        unsafe { (*self.0).poll() }
    }
}

impl<'m> Source<'m> {
    /// Probes the container and its streams.
    pub(crate) fn open<R>(reader: R, monitor: &'m Monitor<'m>) -> Result<Self, Error>
    where
        R: Read + Seek + Send + 'static,
    {
        ffmpeg::prepare();
        let (reader, trace) = Watched::new(reader).map_err(Error::Input)?;
        let io = StreamIo::from_read_seek_with_capacity(reader, BUFFER)
            .map_err(|e| Error::ffmpeg("make an input", e.into()))?;

        let mut options = Dictionary::new();
        options.set("format_whitelist", &whitelist::demuxers());
        options.set("codec_whitelist", &whitelist::decoders());
        // No protocol has this name, so nothing the container refers to can be opened.
        options.set("protocol_whitelist", "none");
        options.set("probesize", &PROBE_BYTES.to_string());
        // Frame rates are worth reading video packets for only to those who want the video.
        options.set("fpsprobesize", "0");

        let interrupt = Interrupt::new(monitor);
        let opened = format::input_from_stream_with_interrupt(io, None, Some(options), move || interrupt.poll());
        if monitor.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if let Some(error) = trace.take_error() {
            return Err(Error::Input(error));
        }
        let context = match opened {
            Ok(context) => context,
            Err(_) if ffmpeg::is_known_media(&trace.head()) => {
                return Err(Error::Damaged { read: Duration::ZERO, of: None });
            }
            Err(_) => return Err(Error::NotMedia),
        };
        // Below this FFmpeg itself would ask for more bytes if there were any: text and noise
        // reach it now and then, e.g. by a chance MP3 frame header.
        if context.probe_score() <= ffi::AVPROBE_SCORE_MAX / 4 {
            return Err(Error::NotMedia);
        }
        Ok(Self { context, trace, monitor, selected: usize::MAX, streams_known: 0, broke_off: false })
    }

    pub(crate) fn context(&self) -> &Input {
        &self.context
    }

    /// The file's first bytes, at most [`HEAD`](crate::reader::HEAD) of them.
    pub(crate) fn head(&self) -> Vec<u8> {
        self.trace.head()
    }

    /// FFmpeg's name of the container, e.g. `matroska,webm`.
    pub(crate) fn format_name(&self) -> String {
        self.context.format().name().to_owned()
    }

    /// Reads only this stream from here on.
    pub(crate) fn select(&mut self, stream: usize) {
        self.selected = stream;
        self.streams_known = 0;
        self.discard_others();
    }

    /// The selected stream's next packet; `None` at the end of the file, or where nothing more
    /// can be made of it.
    pub(crate) fn next_packet(&mut self) -> Result<Option<Packet>, Error> {
        let mut broken = 0;
        loop {
            let mut packet = Packet::empty();
            match packet.read(&mut self.context) {
                Ok(()) if packet.stream() == self.selected => return Ok(Some(packet)),
                Ok(()) => self.discard_others(),
                Err(ffmpeg_next::Error::Eof) => {
                    self.check()?;
                    return Ok(None);
                }
                Err(e) => {
                    self.check()?;
                    // The one error a demuxer finds its way back from.
                    if e != ffmpeg_next::Error::InvalidData || broken == BROKEN_IN_A_ROW {
                        self.broke_off = true;
                        return Ok(None);
                    }
                    broken += 1;
                }
            }
        }
    }

    /// Goes to a place at or before `time` of the file. False: it could not, and stands anywhere.
    pub(crate) fn jump(&mut self, time: Duration) -> Result<bool, Error> {
        let guide = self.guide();
        let Some(time_base) = self.context.stream(guide).map(|stream| stream.time_base()) else {
            return Ok(false);
        };
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX).saturating_add(self.start_time());
        // Some demuxers read on until they meet the guide's packets, which must not be left out then.
        self.set_discard(guide, ffi::AVDiscard::AVDISCARD_DEFAULT);
        // SAFETY: the context is open, and `guide` is one of its streams.
        let code = unsafe {
            let ts = ffi::av_rescale_q(micros, ffi::AVRational { num: 1, den: 1_000_000 }, time_base.into());
            ffi::av_seek_frame(self.context.as_mut_ptr(), guide as c_int, ts, ffi::AVSEEK_FLAG_BACKWARD)
        };
        if guide != self.selected {
            self.set_discard(guide, ffi::AVDiscard::AVDISCARD_ALL);
        }
        self.check()?;
        Ok(code >= 0)
    }

    /// The stream whose index to look into: where films have one index for all, it is the picture's.
    fn guide(&self) -> usize {
        if !matches!(self.format_name().as_str(), "matroska,webm" | "flv") {
            return self.selected;
        }
        let is_film = |stream: &Stream<'_>| {
            stream.parameters().medium() == media::Type::Video
                && !stream.disposition().contains(Disposition::ATTACHED_PIC)
        };
        self.context.streams().find(is_film).map_or(self.selected, |stream| stream.index())
    }

    /// Whether the demuxer gave up with more than a twentieth of the file before it.
    pub(crate) fn broke_off(&self) -> bool {
        // SAFETY: an opened context with custom IO has a `pb` for as long as it lives.
        let position = unsafe { (*(*self.context.as_ptr()).pb).pos };
        let size = self.context.io_size().unwrap_or(0);
        self.broke_off && position < size - size / 20
    }

    /// Whether any stream has something at or after `time` of the file. Moves the position: only
    /// for when the selected stream has ended.
    pub(crate) fn reaches(&mut self, time: Duration) -> Result<bool, Error> {
        const PACKETS: usize = 5_000;
        let time = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let target = time.saturating_add(self.start_time());
        for index in 0..self.context.streams().len() {
            self.set_discard(index, ffi::AVDiscard::AVDISCARD_DEFAULT);
        }
        if self.context.seek(target, ..).is_err() {
            self.check()?;
            return Ok(false);
        }
        for _ in 0..PACKETS {
            let mut packet = Packet::empty();
            let read = packet.read(&mut self.context);
            self.check()?;
            if read.is_err() {
                return Ok(false);
            }
            let Some(stream) = self.context.stream(packet.stream()) else {
                continue;
            };
            let micros = |ts| ffmpeg::rescale_to_micros(ts, stream.time_base());
            if packet.pts().or(packet.dts()).map(micros) >= Some(target) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The file's first timestamp in microseconds; what lies before zero is a codec's priming.
    pub(crate) fn start_time(&self) -> i64 {
        // SAFETY: the context is open. FFmpeg's "unknown" is negative.
        unsafe { (*self.context.as_ptr()).start_time }.max(0)
    }

    /// A tag of the container.
    pub(crate) fn file_tag(&self, key: &CStr) -> Option<String> {
        // SAFETY: the context is open and owns its dictionary.
        unsafe { ffmpeg::tag((*self.context.as_ptr()).metadata, key) }
    }

    /// A tag of one stream.
    pub(crate) fn stream_tag(&self, stream: usize, key: &CStr) -> Option<String> {
        let stream = self.context.stream(stream)?;
        // SAFETY: the stream belongs to the open context and owns its dictionary.
        unsafe { ffmpeg::tag((*stream.as_ptr()).metadata, key) }
    }

    /// The cover, as its bytes stand in the file: the first attached picture of a wanted kind.
    pub(crate) fn cover(&self, is_wanted: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
        let is_cover = |stream: &Stream<'_>| {
            // SAFETY: the stream belongs to the open context.
            let disposition = unsafe { (*stream.as_ptr()).disposition };
            // Chapters may have pictures too.
            disposition & ffi::AV_DISPOSITION_ATTACHED_PIC != 0
                && disposition & ffi::AV_DISPOSITION_TIMED_THUMBNAILS == 0
        };
        let bytes = self.context.streams().filter(is_cover).map(|stream| {
            // SAFETY: the packet belongs to the stream, which lives as long as the context, and is
            // set once, while the header is read.
            unsafe {
                let picture = &raw const (*stream.as_ptr()).attached_pic;
                match usize::try_from((*picture).size) {
                    Ok(size) if !(*picture).data.is_null() => std::slice::from_raw_parts((*picture).data, size),
                    _ => &[],
                }
            }
        });
        bytes.into_iter().find(|bytes: &&[u8]| is_wanted(bytes))
    }

    /// Chapters: begin and end in the file, and what they are called.
    pub(crate) fn chapters(&self) -> Vec<(Duration, Duration, Option<String>)> {
        let time = |ts: i64, chapter: &Chapter<'_>| {
            let micros = ffmpeg::rescale_to_micros(ts, chapter.time_base()).saturating_sub(self.start_time());
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        };
        let one = |chapter: Chapter<'_>| {
            // SAFETY: the chapter belongs to the open context and owns its dictionary.
            let title = unsafe { ffmpeg::tag((*chapter.as_ptr()).metadata, c"title") };
            (time(chapter.start(), &chapter), time(chapter.end(), &chapter), title)
        };
        self.context.chapters().map(one).collect()
    }

    /// Why FFmpeg stopped, if that was not FFmpeg's doing.
    fn check(&self) -> Result<(), Error> {
        if self.monitor.poll() {
            return Err(Error::Cancelled);
        }
        match self.trace.take_error() {
            Some(error) => Err(Error::Input(error)),
            None => Ok(()),
        }
    }

    /// Has the demuxer skip the payload of every stream but the selected one, where it can.
    fn discard_others(&mut self) {
        let streams = self.context.streams().len();
        for index in self.streams_known..streams {
            if index != self.selected {
                self.set_discard(index, ffi::AVDiscard::AVDISCARD_ALL);
            }
        }
        self.streams_known = streams;
    }

    fn set_discard(&mut self, index: usize, discard: ffi::AVDiscard) {
        if let Some(mut stream) = self.context.stream_mut(index) {
            // SAFETY: the stream belongs to the open context; the field is the user's to set.
            unsafe { (*stream.as_mut_ptr()).discard = discard };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use std::ops::ControlFlow;

    #[test]
    fn what_a_container_refers_to_is_not_opened() {
        let mut wav = b"RIFF\x24\x20\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        wav.extend(b"\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\x20\0\0");
        wav.extend([0; 0x2000]);
        let on_progress = &mut |_| ControlFlow::Continue(());
        let monitor = Monitor::new(on_progress);
        let mut source = Source::open(Cursor::new(wav), &monitor).expect("opens");
        let exe = std::env::current_exe().expect("a file that is there");
        let path = exe.to_str().expect("UTF-8");
        for url in [path.to_owned(), format!("file:{path}"), format!("data:,{path}")] {
            let url = std::ffi::CString::new(url).expect("no NUL");
            let mut io = std::ptr::null_mut();
            // SAFETY: an open context, called as its demuxers call it.
            let code = unsafe {
                let context = source.context.as_mut_ptr();
                let open = (*context).io_open.expect("FFmpeg sets it");
                open(context, &mut io, url.as_ptr(), ffi::AVIO_FLAG_READ, std::ptr::null_mut())
            };
            assert!(code < 0 && io.is_null(), "{url:?}: {code}");
        }
    }
}
