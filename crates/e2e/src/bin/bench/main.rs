//! Measures the product beside references, in one run: `make bench`.
//!
//! Every figure is the median of several rounds in which each contestant has its turn, and
//! what counts is the ratio between them: the machine's own speed comes and goes.
//! `BENCH_BYTES` and `BENCH_ROUNDS` make a shorter run; `BENCH_ONLY=upload,memory` makes a part
//! of one (the names are below), whose tables take the place of their predecessors.

mod clips;
mod conversion;
mod engine;
mod measure;
mod python;
mod report;
mod transfer;

use std::path::PathBuf;

use anyhow::Context;
use e2e::{App, Product, Setup, User};
use testkit::media;

/// What all measurements share.
struct Bench {
    app: App,
    user: User,
    rounds: usize,
    bytes: u64,
    film: PathBuf,
}

fn setting(name: &str, default: u64) -> anyhow::Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}: a number is expected")),
        Err(_) => Ok(default),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (bytes, rounds) = (setting("BENCH_BYTES", 1 << 30)?, setting("BENCH_ROUNDS", 3)? as usize);
    let app = App::start_with(Setup { converters: Some(0), ..Setup::default() }).await;
    let user = app.user("bench").await;
    let film = app.path("film.mov");
    media::big_film(&film, bytes)?;
    let mut bench = Bench { app, user, rounds, bytes, film };

    let only = std::env::var("BENCH_ONLY").ok();
    let wanted = |name: &str| only.as_ref().is_none_or(|only| only.split(',').any(|one| one == name));
    let mut report = report::Report::new(only.is_some())?;
    if wanted("engine") {
        engine::compare(&bench, &mut report)?;
    }
    if wanted("engine-memory") {
        engine::memory(&bench, &mut report)?;
    }
    if wanted("upload") {
        transfer::upload(&bench, &mut report).await?;
    }
    if wanted("download") {
        transfer::download(&bench, &mut report).await?;
    }
    if wanted("film") {
        conversion::ten_minutes(&mut bench, &mut report).await?;
    }
    if wanted("reading") {
        conversion::reading(&mut bench, &mut report).await?;
    }
    if wanted("clips") {
        clips::clips(&bench, &mut report).await?;
    }
    if wanted("memory") {
        conversion::memory(&mut bench, &mut report).await?;
    }
    Ok(())
}
