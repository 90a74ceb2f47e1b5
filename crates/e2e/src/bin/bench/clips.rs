//! Many short films: what a conversion costs beside the sound itself.

use std::{path::Path, time::Instant};

use anyhow::ensure;
use e2e::{App, Product, Setup, User};
use testkit::media;

use crate::{Bench, python, report::Report};

const CLIPS: usize = 20;
const SECONDS: f64 = 30.0;

/// Clips through upload, queue and GridFS with two workers, beside the classic pipeline.
pub async fn clips(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    // Else as it is shipped: tests are more impatient.
    let env = vec![("WORKERS", "2".to_owned()), ("RECONCILE_INTERVAL", "30s".to_owned()), ("LEASE", "60s".to_owned())];
    let mut app = App::start_with(Setup { env, ..Setup::default() }).await;
    let user = app.user("clips").await;
    let clip = app.path("clip.mp4");
    media::film(&clip, SECONDS, &media::Film::default())?;
    let (mut whole, mut queued, mut classic) = (Vec::new(), Vec::new(), Vec::new());
    let a_minute = |seconds: f64| CLIPS as f64 / seconds * 60.0;
    for _ in 0..bench.rounds {
        let started = Instant::now();
        let ids = submit(&user, &clip).await;
        finish(&user, ids).await?;
        whole.push(a_minute(started.elapsed().as_secs_f64()));

        // As the classic one has it: the films are there when the clock starts.
        app.converters[0].signal(libc::SIGSTOP);
        let ids = submit(&user, &clip).await;
        let started = Instant::now();
        app.converters[0].signal(libc::SIGCONT);
        finish(&user, ids).await?;
        queued.push(a_minute(started.elapsed().as_secs_f64()));

        let (uri, count) = (app.mongod.url(), CLIPS.to_string());
        let arguments = [uri.as_ref(), clip.as_os_str(), count.as_ref()];
        classic.push(a_minute(python::seconds(include_str!("classic.py"), &arguments).await?));
    }
    report.compare(
        &format!("{CLIPS} films of {SECONDS} seconds, MP4 with AAC, to VBR V2"),
        "films a minute",
        true,
        vec![
            ("out of the queue and GridFS into GridFS, by two workers", queued),
            ("the same, and uploaded in that time as well", whole),
            ("the classic pipeline: GridFS, a temporary film, ffmpeg to PCM, ffmpeg to MP3, GridFS", classic),
        ],
    )
}

async fn submit(user: &User, clip: &Path) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..CLIPS {
        ids.push(user.submit(clip).await);
    }
    ids
}

/// Waits until the ledger says that all of them are done.
async fn finish(user: &User, ids: Vec<String>) -> anyhow::Result<()> {
    for id in ids {
        let conversion = user.outcome(&id).await;
        ensure!(conversion["state"] == "done", "{conversion}");
    }
    Ok(())
}
