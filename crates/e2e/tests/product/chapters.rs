//! One MP3 for each chapter of a film.

use e2e::Product;
use reqwest::{
    Method,
    multipart::{Form, Part},
};
use testkit::media;

pub async fn a_film_becomes_a_zip_of_its_chapters<P: Product>() {
    let app = P::start().await;
    let ada = app.user("ada").await;
    let film = app.path("Reise.mkv");
    media::film(&film, 30.0, &media::Film::default()).expect("a film");
    let plain = ask(&ada, &film).await;
    assert_eq!(plain["state"], "failed", "{plain}");
    assert_eq!(plain["reason"], "this video has no chapters to split it at");

    media::divide(&film, &[("Abfahrt", 12.0), ("Unterwegs: Füße", 8.5), ("Ankunft", 9.5)]).expect("chapters");
    let conversion = ask(&ada, &film).await;
    assert_eq!((&conversion["state"], &conversion["split"]), (&"done".into(), &"chapters".into()), "{conversion}");
    let apart = conversion["duration_s"].as_f64().expect("a length") - 30.0;
    assert!(apart.abs() < 0.1, "{conversion}");

    let fid = conversion["mp3_fid"].as_str().expect("an id");
    let answer = ada.get(&format!("/download?fid={fid}")).await;
    assert_eq!(answer.headers()["content-type"], "application/zip");
    let disposition = answer.headers()["content-disposition"].to_str().expect("text").to_owned();
    assert_eq!(disposition, format!("attachment; filename=\"{fid}.zip\"; filename*=UTF-8''Reise.zip"));
    let zip = answer.bytes().await.expect("a whole body");
    assert_eq!(conversion["mp3_bytes"], zip.len());
    let files = media::unzip(&zip).expect("a zip");
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["01 Abfahrt.mp3", "02 Unterwegs- Füße.mp3", "03 Ankunft.mp3"]);

    // Behind one another they are the film's sound.
    let original = media::reference(&film, 44_100, 2).expect("the film's own sound");
    let mut at = 0;
    for (name, mp3) in &files {
        let mp3 = media::decode_mp3(mp3).expect("an MP3");
        let there = original.samples.iter().map(|plane| plane[at..plane.len().min(at + mp3.frames())].to_vec());
        let likeness = media::compare(&media::Pcm { samples: there.collect(), ..mp3.clone() }, &mp3);
        assert!(likeness.similarity > 0.95 && likeness.lag == 0, "{name}: {likeness:?}");
        at += mp3.frames();
    }
    assert!(at.abs_diff(original.frames()) < 44_100 / 10, "{at} samples");
}

async fn ask(user: &e2e::User, film: &std::path::Path) -> serde_json::Value {
    let bytes = std::fs::read(film).expect("a film");
    let form = Form::new().text("split", "chapters").part("file", Part::bytes(bytes).file_name("Reise.mkv"));
    let request = user.request(Method::POST, "/v1/conversions").multipart(form);
    let answer: serde_json::Value = request.send().await.expect("an answer").json().await.expect("JSON");
    user.outcome(answer["id"].as_str().expect("an id")).await
}
