//! What the mails say.

use std::fmt::Display;

use common::{Id, text::is_visible};

use crate::mail::Mail;

/// Writes the mails of one installation.
#[derive(Clone, Debug)]
pub struct Letters {
    /// What download links begin with, without a slash at its end.
    public_url: Option<String>,
    /// The right half of Message-IDs: the sender's domain.
    domain: String,
}

impl Letters {
    pub fn new(public_url: Option<String>, domain: impl Into<String>) -> Self {
        Self { public_url, domain: domain.into() }
    }

    /// The MP3 is ready. `job` is what tells this conversion from all others.
    pub fn done(&self, job: impl Display, to: &str, mp3_fid: &Id, filename: Option<&str>) -> Mail {
        let of = filename.map_or_else(String::new, |name| format!("It was made from: {}\n\n", one_line(name)));
        let address = self.public_url.as_deref().unwrap_or("http://GATEWAY:8080");
        let link = format!("{address}/download?fid={mp3_fid}");
        let intro = if self.public_url.is_some() {
            format!("Download it here:\n\n  {link}\n\nor")
        } else {
            "Download it".to_owned()
        };
        let body = format!(
            "mp3 file_id: {mp3_fid} is now ready!\n\n\
             {of}{intro} with curl, and the token that you got when you logged in:\n\n  \
             curl -H \"Authorization: Bearer $TOKEN\" -o {mp3_fid}.mp3 \"{link}\"\n",
        );
        self.mail(job, "done", to, "MP3 Download", body)
    }

    /// There will be no MP3, for a reason in plain words.
    pub fn failed(&self, job: impl Display, to: &str, reason: &str, filename: Option<&str>) -> Mail {
        let which = filename.map_or_else(|| "your video".to_owned(), one_line);
        let reason = one_line(reason);
        let body = format!(
            "No MP3 could be made from {which}:\n\n  {reason}\n\n\
             It will not be tried again. You are welcome to upload another file.\n",
        );
        self.mail(job, "failed", to, "MP3 conversion failed", body)
    }

    fn mail(&self, job: impl Display, kind: &str, to: &str, subject: &str, body: String) -> Mail {
        Mail {
            to: to.to_owned(),
            subject: subject.to_owned(),
            body,
            message_id: format!("<{job}.{kind}@{}>", self.domain),
        }
    }
}

/// A name that a stranger chose, without what could pass for lines of ours.
fn one_line(text: &str) -> String {
    let printable: String = text.chars().map(|c| if is_visible(c) { c } else { ' ' }).collect();
    printable.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Id, Letters};

    const FID: &str = "65a1b2c3d4e5f60718293a4b";

    fn fid() -> Id {
        FID.parse().expect("an id")
    }

    #[test]
    fn done_begins_with_the_classic_line_and_says_how_to_fetch_it() {
        let letters = Letters::new(Some("https://mp3.example.com".into()), "example.com");
        let mail = letters.done("42", "a@b.c", &fid(), Some("holiday film.mp4"));
        assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("a@b.c", "MP3 Download"));
        assert_eq!(mail.body.lines().next(), Some("mp3 file_id: 65a1b2c3d4e5f60718293a4b is now ready!"));
        let link = format!("https://mp3.example.com/download?fid={FID}");
        assert!(mail.body.lines().any(|line| line.trim() == link), "{}", mail.body);
        assert!(mail.body.contains("holiday film.mp4"), "{}", mail.body);
        assert_eq!(mail.message_id, "<42.done@example.com>");
    }

    #[test]
    fn without_a_public_url_it_tells_the_command() {
        let mail = Letters::new(None, "localhost").done("42", "a@b.c", &fid(), None);
        assert!(mail.body.contains(&format!("/download?fid={FID}\"")) && mail.body.contains("curl"), "{}", mail.body);
        assert!(!mail.body.contains("here:") && !mail.body.contains("made from"), "{}", mail.body);
    }

    #[test]
    fn failed_says_why_and_which() {
        let letters = Letters::new(None, "example.com");
        let mail =
            letters.failed("42", "a@b.c", "this video has no sound track", Some("silent\r\n\r\nFrom: me\u{7}.mp4"));
        assert_eq!(mail.subject, "MP3 conversion failed");
        assert!(
            mail.body
                .starts_with("No MP3 could be made from silent From: me .mp4:\n\n  this video has no sound track\n"),
            "{}",
            mail.body
        );
        assert_eq!(mail.message_id, "<42.failed@example.com>");
        assert!(
            letters.failed("42", "a@b.c", "too long", None).body.starts_with("No MP3 could be made from your video:")
        );
    }

    #[test]
    fn a_message_id_is_the_same_for_every_try() {
        let letters = Letters::new(None, "example.com");
        assert_eq!(letters.done(fid(), "a@b.c", &fid(), None), letters.done(fid(), "a@b.c", &fid(), None));
    }
}
