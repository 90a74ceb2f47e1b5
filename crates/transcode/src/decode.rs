//! Packets in, frames of samples out; what is broken is left out and counted.

use ffmpeg_next::decoder::Opened;
use ffmpeg_next::frame::Audio;
use ffmpeg_next::{Packet, Stream, codec, ffi};

use crate::{Error, whitelist};

/// Most channels libswresample takes.
const MAX_CHANNELS: u16 = 64;

/// Sample rates that are somebody's recording rather than somebody's attack: what is below would
/// be blown up, what is above is nothing but cost.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Samples in a frame; Monkey's Audio has the largest, of a little over a million.
const MAX_SAMPLES: i64 = 1 << 22;

/// A decoder of one sound stream.
pub(crate) struct Decoder {
    inner: Opened,
    frame: Audio,
    /// Packets taken so far, and those of them that gave an error.
    pub(crate) packets: u64,
    pub(crate) skipped: u64,
}

impl Decoder {
    /// Fails with [`Error::UnknownCodec`] where there is no decoder we trust, or it refuses.
    pub(crate) fn open(stream: &Stream<'_>) -> Result<Self, Error> {
        let parameters = stream.parameters();
        let unknown = || Error::UnknownCodec { codec: codec_name(stream) };
        let decoder = whitelist::decoder(parameters.id()).ok_or_else(unknown)?;
        let mut context =
            codec::Context::from_parameters(parameters).map_err(|e| Error::ffmpeg("make a decoder", e.into()))?;
        // SAFETY: the context was just allocated and is not open yet; these are the user's to set.
        unsafe {
            let context = context.as_mut_ptr();
            // Without it the decoder cannot cut what containers mark as priming and padding.
            (*context).pkt_timebase = stream.time_base().into();
            (*context).thread_count = 1;
            (*context).max_samples = MAX_SAMPLES;
        }
        let inner = context.decoder().open_as(decoder).map_err(|_| unknown())?;
        Ok(Self { inner, frame: Audio::empty(), packets: 0, skipped: 0 })
    }

    /// Decodes one packet, or with `None` what the decoder still holds, and hands on each frame.
    pub(crate) fn decode(
        &mut self,
        packet: Option<&Packet>,
        mut each: impl FnMut(&Audio) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let sent = match packet {
            Some(packet) => self.inner.send_packet(packet),
            None => self.inner.send_eof(),
        };
        let mut broken = sent.is_err();
        while !broken {
            match self.inner.receive_frame(&mut self.frame) {
                Ok(()) if is_sound(&self.frame) => each(&self.frame)?,
                Ok(()) => {}
                Err(ffmpeg_next::Error::Eof) => break,
                Err(e) if i32::from(e) == ffi::AVERROR(ffi::EAGAIN) => break,
                Err(_) => broken = true,
            }
        }
        if packet.is_some() {
            self.packets += 1;
            self.skipped += u64::from(broken);
        }
        Ok(())
    }

    /// Forgets the sound so far: what comes next does not follow it.
    pub(crate) fn flush(&mut self) {
        self.inner.flush();
    }
}

/// FFmpeg's name of a stream's codec.
pub(crate) fn codec_name(stream: &Stream<'_>) -> String {
    match stream.parameters().id() {
        codec::Id::None => "unknown".to_owned(),
        id => id.name().to_owned(),
    }
}

fn is_sound(frame: &Audio) -> bool {
    (1..=MAX_CHANNELS).contains(&frame.channels()) && RATES.contains(&frame.rate()) && frame.samples() > 0
}
