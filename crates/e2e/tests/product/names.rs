//! Names of files that are meant to do harm.

use std::time::Duration;

use e2e::{Product, User};
use reqwest::Method;
use serde_json::Value;
use testkit::media;

const SOON: Duration = Duration::from_secs(30);

/// An upload whose name stands in the form exactly as it is given; `None`: it was refused as no
/// form at all.
async fn upload(user: &User, name: &str, film: &[u8]) -> Option<Value> {
    let head = format!("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n");
    let body = [head.as_bytes(), film, b"\r\n--b--\r\n"].concat();
    let request =
        user.request(Method::POST, "/v1/conversions").header("content-type", "multipart/form-data; boundary=b");
    let answer = request.body(body).send().await.expect("an answer");
    if answer.status() == 400 {
        return None;
    }
    assert_eq!(answer.status(), 202, "{name:?}: {}", answer.text().await.unwrap_or_default());
    Some(answer.json().await.expect("JSON"))
}

pub async fn a_name_stays_a_name<P: Product>() {
    let app = P::start().await;
    let ada = app.user("ada").await;
    let (good, silent) = (app.path("film.mp4"), app.path("silent.mp4"));
    media::film(&good, 1.0, &media::Film::default()).expect("a film");
    media::silent_film(&silent, 1.0).expect("a silent film");
    let (good, silent) = (std::fs::read(&good).expect("a film"), std::fs::read(&silent).expect("a film"));
    let names = [
        "a\r\nX-Evil: 1\r\nBcc: victim@example.com.mp4",
        "a\u{b}\u{1b}[31mred\u{7f}.mp4",
        "x\\\"; filename=\\\"evil.exe",
        "..\\\\..\\\\autoexec.mp4",
        "../../etc/passwd",
        "\u{202e}4pm.elif\u{2066}\u{200f}.mp4",
        "line\u{2028}Bcc: victim@example.com\u{85}X-Evil: 1.mp4",
        "<img src=x onerror=alert(1)>.mp4",
        "映画 über 'quotes' & %0d%0aX-Evil: 1;.mp4",
        "=?utf-8?q?=0d=0aBcc:_victim=40example.com?=.mp4",
    ];
    let mut count = 0;
    for name in names {
        for film in [&good, &silent] {
            let Some(accepted) = upload(&ada, name, film).await else { continue };
            count += 1;
            let over = ada.outcome(accepted["id"].as_str().expect("an id")).await;
            let kept = over["filename"].as_str().unwrap_or_default();
            let hidden = |c: char| {
                c.is_control()
                    || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            };
            assert!(!kept.contains(hidden) && !kept.contains(['/', '\\']), "{name:?} became {kept:?}");

            if let Some(fid) = over["mp3_fid"].as_str() {
                let answer = ada.get(&format!("/download?fid={fid}")).await;
                assert_eq!(
                    (answer.status().as_u16(), &answer.headers()["content-type"]),
                    (200, &"audio/mpeg".parse().expect("text"))
                );
                let disposition = answer.headers()["content-disposition"].to_str().expect("plain ASCII").to_owned();
                let extended = disposition.strip_prefix(&format!("inline; filename=\"{fid}.mp3\"; filename*=UTF-8''"));
                let extended = extended.unwrap_or_else(|| panic!("{disposition}"));
                assert!(!extended.contains(['"', ';', ' ', '<', '\'', '\\', '/']), "{disposition}");
                assert!(answer.headers().get("x-evil").is_none() && answer.headers().get("bcc").is_none());
            }
        }
    }
    assert!(count >= 14, "most of them are names: {count}");
    // Each has had its mail, to nobody but its owner, and none says more than it should.
    testkit::eventually(SOON, async || app.smtp().mails().len() >= count).await;
    for mail in app.smtp().mails() {
        assert_eq!(mail.to, ["ada@example.com"]);
        assert!(matches!(mail.subject().as_str(), "MP3 Download" | "MP3 conversion failed"), "{}", mail.subject());
        let raw = String::from_utf8_lossy(&mail.raw).into_owned();
        let head = raw.split("\r\n\r\n").next().expect("a head").to_lowercase();
        // Not anywhere in it: an id is hexadecimal, and has its own bcc now and then.
        assert!(!head.contains("victim"), "{head}");
        assert!(!head.lines().any(|line| line.starts_with("bcc") || line.starts_with("x-evil")), "{head}");
        assert!(!mail.text().contains(['\u{202e}', '\u{2066}', '\u{2028}', '\u{1b}']), "{}", mail.text());
        assert!(
            !mail.text().lines().any(|line| line.starts_with("Bcc") || line.starts_with("X-Evil")),
            "{}",
            mail.text()
        );
    }
}
