//! Many short films: what a conversion costs beside the sound itself.

use std::time::Instant;

use anyhow::ensure;
use e2e::{App, Product, Setup};
use testkit::media;

use crate::{Bench, python, report::Report};

const CLIPS: usize = 20;
const SECONDS: f64 = 30.0;

/// Clips through upload, queue and GridFS with two workers, beside the classic pipeline.
pub async fn clips(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let workers = vec![("WORKERS", "2".to_owned())];
    let app = App::start_with(Setup { env: workers, ..Setup::default() }).await;
    let user = app.user("clips").await;
    let clip = app.path("clip.mp4");
    media::film(&clip, SECONDS, &media::Film::default())?;
    let (mut ours, mut classic) = (Vec::new(), Vec::new());
    let a_minute = |seconds: f64| CLIPS as f64 / seconds * 60.0;
    for _ in 0..bench.rounds {
        let started = Instant::now();
        let mut ids = Vec::new();
        for _ in 0..CLIPS {
            ids.push(user.submit(&clip).await);
        }
        for id in ids {
            let conversion = user.outcome(&id).await;
            ensure!(conversion["state"] == "done", "{conversion}");
        }
        ours.push(a_minute(started.elapsed().as_secs_f64()));

        let (uri, count) = (app.mongod.url(), CLIPS.to_string());
        let arguments = [uri.as_ref(), clip.as_os_str(), count.as_ref()];
        classic.push(a_minute(python::seconds(include_str!("classic.py"), &arguments).await?));
    }
    report.compare(
        &format!("{CLIPS} films of {SECONDS} seconds, MP4 with AAC, to VBR V2"),
        "films a minute",
        true,
        vec![
            ("from the first upload to the last entry in the ledger, by two workers", ours),
            ("the classic pipeline: GridFS, a temporary film, ffmpeg to PCM, ffmpeg to MP3, GridFS", classic),
        ],
    );
    Ok(())
}
