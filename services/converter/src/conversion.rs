//! The bridge between the engine, which blocks on a thread of its own, and the store.

use std::{
    io,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use blobs::{Blobs, ReadAhead, Stat, Writer};
use jobs::Output;
use sandbox::Sandbox;
use tokio::{
    runtime::Handle,
    sync::mpsc::{self, Receiver, Sender},
};
use transcode::{Options, Progress, Sink, Summary};

use crate::meters::{self, Fault};

/// The MP3 goes to the store in pieces of this size.
const PIECE: usize = 64 * 1024;
/// Pieces that may wait for the store before the engine does.
const WAITING: usize = 8;

/// How an attempt ended without an MP3.
#[derive(Debug)]
pub enum Ended {
    /// This video will never be an MP3; why, in plain words.
    Final(Fault, String),
    /// Something broke that may work another time.
    Broken(Fault, anyhow::Error),
    /// The job is somebody else's now, or nobody's.
    Lost,
    /// This worker is stopping.
    Stopped,
}

impl Ended {
    /// The store did not do what it should.
    pub fn store(error: impl Into<anyhow::Error>) -> Self {
        Self::Broken(Fault::Store, error.into())
    }

    fn engine(error: impl Into<anyhow::Error>) -> Self {
        Self::Broken(Fault::Engine, error.into())
    }
}

/// What the engine and its supervisor tell each other.
pub struct Control {
    pub stop: AtomicBool,
    pub percent: AtomicU8,
}

/// Runs the engine from `video` into `writer`, in the sandbox if there is one. Nothing is left
/// behind by a failure.
pub async fn run(
    sandbox: Option<Arc<Sandbox>>,
    videos: Blobs,
    video: Stat,
    mut writer: Writer,
    options: Options,
    control: Arc<Control>,
) -> Result<Output, Ended> {
    let (sender, mut pieces) = mpsc::channel(WAITING);
    let runtime = Handle::current();
    let engine = tokio::task::spawn_blocking(move || {
        let mut sink = Pieces { sender, piece: Vec::with_capacity(PIECE) };
        let input = ReadAhead::new(videos, video, runtime);
        let mut on_progress = |progress: Progress| {
            if let Some(percent) = progress.percent() {
                // 100 is for the ledger to say, when the result is safe.
                control.percent.store(percent.clamp(0.0, 99.0) as u8, Ordering::Relaxed);
            }
            if control.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let converted = sandbox::convert(sandbox.as_deref(), input, &mut sink, &options, &mut on_progress);
        if sandbox.is_some() {
            meters::memory(sandbox::most_memory());
        }
        let summary = converted?;
        sink.flush().map_err(transcode::Error::Output)?;
        Ok::<Summary, transcode::Error>(summary)
    });

    let stored = store(&mut writer, &mut pieces).await;
    drop(pieces); // after a failure to store, the engine's next piece ends it
    let converted = engine.await.map_err(Ended::engine)?;
    let outcome = match (stored, converted) {
        (Err(error), _) => Err(Ended::store(error)),
        (_, Err(error)) if error.is_final() => Err(Ended::Final(Fault::from(&error), error.to_string())),
        (_, Err(error)) => Err(Ended::Broken(Fault::from(&error), error.into())),
        (Ok(()), Ok(summary)) => Ok(summary),
    };
    match outcome {
        Ok(summary) => {
            if !summary.waveform.is_empty() {
                writer.note_waveform(&summary.waveform);
            }
            let mp3 = writer.finish().await.map_err(Ended::store)?;
            Ok(Output { mp3_fid: mp3.id, mp3_bytes: mp3.length, duration: summary.duration })
        }
        Err(ended) => {
            writer.abort().await;
            Err(ended)
        }
    }
}

enum Piece {
    Next(Vec<u8>),
    Head(u64, Vec<u8>),
}

async fn store(writer: &mut Writer, pieces: &mut Receiver<Piece>) -> Result<(), blobs::Error> {
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Next(bytes) => writer.write(&bytes).await?,
            Piece::Head(offset, bytes) => writer.rewrite(offset, &bytes).await?,
        }
    }
    Ok(())
}

/// The engine's end of the bridge.
struct Pieces {
    sender: Sender<Piece>,
    piece: Vec<u8>,
}

impl Pieces {
    fn send(&self, piece: Piece) -> io::Result<()> {
        self.sender.blocking_send(piece).map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the store gave up"))
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.send(Piece::Next(piece))
    }
}

impl Sink for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn rewrite_head(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.flush()?;
        self.send(Piece::Head(offset, bytes.to_vec()))
    }
}
