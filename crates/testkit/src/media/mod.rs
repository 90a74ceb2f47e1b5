//! Films, speech and impostors, made on the spot with ffmpeg and espeak-ng; and a
//! decoder that shares no code with the product, to hear what came out.
//!
//! The makers block: each takes from a tenth of a second to a few seconds.

mod big;
mod chapters;
mod film;
mod impostor;
mod long;
mod pcm;
mod tool;

pub use big::big_film;
pub use chapters::{divide, unzip};
pub use film::{Film, film, silent_film, speech};
pub use impostor::{amr_film, concat_in_disguise, damaged_film, playlist_in_disguise, text_file};
pub use long::long_film;
pub use pcm::{Likeness, Pcm, compare, decode_mp3, reference, similarity};
