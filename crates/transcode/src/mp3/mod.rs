//! MP3 as bytes: frames, how two streams of them are joined, and the frame in front that tells of
//! the others. Knows neither LAME nor FFmpeg.

pub mod frame;
pub mod info;
pub mod seam;
