//! A mail in the form in which it travels (RFC 5322).

use std::str::FromStr;

use anyhow::Context;
use lettre::{
    Address,
    message::{
        Mailbox, MessageBuilder,
        header::{ContentType, HeaderName, HeaderValue},
    },
};

use super::{Error, Mail};

/// Whom the mails come from: an address, and perhaps a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender(Mailbox);

impl Sender {
    /// Who sends unless `MAIL_FROM` says otherwise.
    pub fn default_from(gmail: Option<&str>) -> Self {
        gmail.and_then(|address| address.parse().ok()).unwrap_or_else(|| {
            let local = Address::new("mp3converter", "localhost").expect("two plain words make an address");
            Self(Mailbox::new(None, local))
        })
    }

    /// What stands after the `@`.
    pub fn domain(&self) -> &str {
        self.0.email.domain()
    }
}

impl FromStr for Sender {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self).map_err(|_| "an e-mail address is expected, or: Name <address>")
    }
}

/// Envelope and text, ready to be handed over.
pub struct Message {
    pub from: Address,
    pub to: Address,
    pub bytes: Vec<u8>,
}

impl Message {
    pub fn new(sender: &Sender, mail: &Mail) -> Result<Self, Error> {
        let to = recipient(&mail.to).map_err(|_| Error::Permanent("the recipient's address is none".to_owned()))?;
        let message = MessageBuilder::new()
            .from(sender.0.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(mail.subject.as_str())
            .message_id(Some(mail.message_id.clone()))
            .header(ContentType::TEXT_PLAIN)
            // Keeps holiday notices from answering (RFC 3834).
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .body(mail.body.clone())
            .map_err(|e| Error::Permanent(format!("no message can be made of it: {e}")))?;
        Ok(Self { from: sender.0.email.clone(), to, bytes: message.formatted() })
    }
}

/// The address in a form that every server understands, where there is one: a domain in
/// letters beyond ASCII has a second name without them.
fn recipient(address: &str) -> anyhow::Result<Address> {
    let address: Address = address.parse()?;
    if address.domain().is_ascii() {
        return Ok(address);
    }
    let domain = url::Host::parse(address.domain()).context("the domain")?;
    Ok(Address::new(address.user(), domain.to_string())?)
}

#[cfg(test)]
mod tests {
    use super::{Error, Mail, Message, Sender};

    fn mail(to: &str, subject: &str, body: &str) -> Mail {
        Mail { to: to.into(), subject: subject.into(), body: body.into(), message_id: "<1.done@example.com>".into() }
    }

    fn headers(mail: &Mail) -> String {
        let sender: Sender = "MP3 Converter <mp3@example.com>".parse().expect("a sender");
        let message = Message::new(&sender, mail).expect("a message");
        let text = String::from_utf8(message.bytes).expect("text");
        assert!(text.is_ascii(), "{text}");
        text.split_once("\r\n\r\n").expect("headers and a body").0.to_owned()
    }

    #[test]
    fn all_headers_are_there() {
        let headers = headers(&mail("a@b.c", "MP3 Download", "text\n"));
        for line in [
            "From: \"MP3 Converter\" <mp3@example.com>",
            "To: a@b.c",
            "Subject: MP3 Download",
            "Message-ID: <1.done@example.com>",
            "Auto-Submitted: auto-generated",
        ] {
            assert!(headers.lines().any(|have| have == line), "{line}: {headers}");
        }
        assert!(headers.contains("Date: ") && headers.contains("text/plain; charset=utf-8"), "{headers}");
    }

    #[test]
    fn line_ends_in_a_subject_add_no_header() {
        let mut mail = mail("a@b.c", "Hello\r\nBcc: x@y.z\n\nboo", "text\n");
        mail.message_id = "<1@b.c>\r\nX-Evil: 1".into();
        let headers = headers(&mail);
        assert!(!headers.lines().any(|line| line.starts_with("Bcc") || line.starts_with("X-Evil")), "{headers}");
    }

    #[test]
    fn what_is_no_address_is_refused_for_good() {
        let sender = Sender::default_from(None);
        for to in ["", "nobody", "a@b.c\r\nRCPT TO:<x@y.z>", "a b@c.d", "<a@b.c>", "a@b.c,x@y.z"] {
            let refused = Message::new(&sender, &mail(to, "s", "b"));
            assert!(matches!(refused, Err(Error::Permanent(_))), "{to:?}");
        }
    }

    #[test]
    fn a_domain_beyond_ascii_travels_in_ascii() {
        let message =
            Message::new(&Sender::default_from(None), &mail("a@bücher.example", "s", "b")).expect("a message");
        assert_eq!(message.to.to_string(), "a@xn--bcher-kva.example");
    }

    #[test]
    fn who_sends() {
        assert_eq!(Sender::default_from(Some("me@gmail.com")).domain(), "gmail.com");
        assert_eq!(Sender::default_from(None).domain(), "localhost");
        assert!("not an address".parse::<Sender>().is_err());
    }
}
