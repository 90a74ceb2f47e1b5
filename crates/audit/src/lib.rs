//! Hostile input, and what must hold whatever it is. A target takes any bytes, has the product's
//! own code read them, and panics where a promise is broken.
//!
//! Two use them: the fuzzer (`fuzz/`, `make audit`), which looks for bytes that nobody thought of,
//! and the tests here, which give them everything that was ever found (`fuzz/corpus`).

mod engine;
mod form;
mod frames;
mod mp3;
mod text;
mod token;

/// Has the product read the bytes.
pub type Target = fn(&[u8]);

/// All targets, by the names of their corpora.
pub const TARGETS: [(&str, Target); 6] =
    [("engine", engine), ("form", form), ("frames", frames), ("mp3", mp3), ("text", text), ("token", token)];

pub use engine::engine;
pub use form::form;
pub use frames::frames;
pub use mp3::mp3;
pub use text::text;
pub use token::token;
