//! How long a film takes, and how much memory.

use std::{process::Command, time::Instant};

use anyhow::{Context, ensure};
use e2e::Product;
use mongodb::bson::doc;
use serde_json::Value;
use testkit::media;

use crate::{
    Bench,
    engine::{self, ffmpeg_quietly},
    measure::measure,
    report::Report,
    transfer,
};

/// Ten minutes through upload, queue, GridFS and back, beside ffmpeg on a local file.
pub async fn ten_minutes(bench: &mut Bench, report: &mut Report) -> anyhow::Result<()> {
    bench.app.add_converter().await;
    let film = bench.app.path("ten-minutes.mp4");
    media::film(&film, 600.0, &media::Film::default())?;
    let (mut ours, mut worker, mut ffmpeg) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let started = Instant::now();
        let conversion = bench.user.convert(&film).await;
        ours.push(started.elapsed().as_secs_f64());
        ensure!(conversion["state"] == "done", "{conversion}");
        worker.push(last_duration(&bench.app.converters[0].log())?);

        ffmpeg.push(measure(&mut engine::ffmpeg(&film))?.seconds);
    }
    report.compare(
        "A film of ten minutes, MP4 with AAC, to VBR V2",
        "seconds",
        false,
        vec![
            ("the worker: GridFS to GridFS", worker),
            ("the user: upload, queue, conversion, ledger", ours),
            ("`ffmpeg -i IN -vn -q:a 2 OUT.mp3` on a local file", ffmpeg),
        ],
    )
}

/// How much of a film with very large pictures is read for its sound.
pub async fn reading(bench: &mut Bench, report: &mut Report) -> anyhow::Result<()> {
    let (picture, sound) = (bench.app.path("picture.mp4"), bench.app.path("minute.wav"));
    media::film(&sound, 60.0, &media::Film::default())?;
    let words = |text: &'static str| text.split(' ');
    let encoded = words(
        "-f lavfi -i testsrc2=size=3840x2160:rate=25:duration=2,noise=alls=60:allf=t -c:v libx264 -preset ultrafast \
         -b:v 40M -minrate 40M -maxrate 40M -bufsize 20M",
    );
    ffmpeg_quietly(Command::new("ffmpeg").args(encoded).arg(&picture))?;
    let film = bench.app.path("uhd.mp4");
    let mut command = Command::new("ffmpeg");
    command.args(words("-stream_loop -1 -i")).arg(&picture).arg("-i").arg(&sound);
    ffmpeg_quietly(command.args(words("-c:v copy -c:a aac -t 60")).arg(&film))?;

    bench.app.add_converter().await;
    let store = mongodb::Client::with_uri_str(bench.app.mongod.url()).await?;
    let sent = async || {
        let status = store.database("admin").run_command(doc! {"serverStatus": 1}).await?;
        let bytes = status.get_document("network")?.get("bytesOut").context("no count of bytes")?;
        let bytes = bytes.as_i64().or_else(|| bytes.as_i32().map(i64::from)).or_else(|| Some(bytes.as_f64()? as i64));
        anyhow::Ok(bytes.context("not a number")? as f64 / f64::from(1 << 20))
    };
    let before = sent().await?;
    let id = bench.user.submit(&film).await;
    let conversion = bench.user.outcome(&id).await;
    ensure!(conversion["state"] == "done", "{conversion}");
    let read = sent().await? - before;
    report.figures(
        "A minute of UHD, MP4 with 40 Mbit/s, index at the end",
        "MiB",
        &[
            ("the film", film.metadata()?.len() as f64 / f64::from(1 << 20)),
            ("out of GridFS until its MP3 is done", read),
        ],
    )
}

/// What the worker's own log says of its last conversion, in seconds.
fn last_duration(log: &str) -> anyhow::Result<f64> {
    let lines = log.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let last = lines.filter(|line| line["message"] == "converted").find_map(|line| line["duration_ms"].as_f64());
    last.map(|ms| ms / 1e3).ok_or_else(|| anyhow::anyhow!("the log tells of no conversion"))
}

/// The most memory of fresh processes after a film of twice the usual size.
pub async fn memory(bench: &mut Bench, report: &mut Report) -> anyhow::Result<()> {
    bench.app.gateway.restart().await;
    bench.app.converters[0].restart().await;
    std::fs::remove_file(&bench.film)?;
    media::big_film(&bench.film, bench.bytes * 2)?;
    transfer::post(bench).await?;
    let list: Value = bench.user.get("/v1/conversions?limit=1").await.json().await?;
    let id = list["conversions"][0]["id"].as_str().unwrap_or_default().to_owned();
    let conversion = bench.user.outcome(&id).await;
    ensure!(conversion["state"] == "done", "{conversion}");
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let metrics = bench.app.converters[0].metrics().await;
    let child =
        metrics.lines().find_map(|line| line.strip_prefix("conversion_peak_memory_bytes ")?.parse::<f64>().ok());
    let child = child.context("the converter says nothing of its child's memory")? as u64;
    report.figures(
        &format!("Peak memory with a film of {} MiB", bench.bytes >> 19),
        "MiB",
        &[
            ("gateway", mib(bench.app.gateway.peak_memory())),
            ("converter, with the child that converts", mib(bench.app.converters[0].peak_memory() + child)),
        ],
    )
}
