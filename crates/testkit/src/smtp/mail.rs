//! A mail as the server took it.

use mail_parser::{Message, MessageParser};

/// An account's name and password, as a client gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The account.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// Envelope and message.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The address of `MAIL FROM`.
    pub from: String,
    /// The addresses of `RCPT TO`.
    pub to: Vec<String>,
    /// The message, byte for byte, without the dots that SMTP adds.
    pub raw: Vec<u8>,
    /// Who had logged in.
    pub credentials: Option<Credentials>,
    /// Whether it came over TLS.
    pub encrypted: bool,
    /// Whether the client was told that the mail was taken: not so after a fault at
    /// [`Phase::Message`](super::Phase::Message).
    pub acknowledged: bool,
}

impl Mail {
    /// The `Subject`, decoded; empty when there is none.
    pub fn subject(&self) -> String {
        self.read(|message| message.subject().map(str::to_owned)).unwrap_or_default()
    }

    /// The text body, decoded, lines ending in `\n`; empty when there is none.
    pub fn text(&self) -> String {
        let text = self.read(|message| message.body_text(0).map(|text| text.into_owned()));
        text.unwrap_or_default().replace("\r\n", "\n")
    }

    /// The `Message-ID` without its angle brackets.
    pub fn message_id(&self) -> Option<String> {
        self.read(|message| message.message_id().map(str::to_owned))
    }

    /// A header as it stands in the message, unfolded and trimmed.
    pub fn header(&self, name: &str) -> Option<String> {
        let raw = self.read(|message| message.header_raw(name).map(str::to_owned))?;
        Some(raw.replace("\r\n", "").trim().to_owned())
    }

    fn read<T>(&self, look: impl FnOnce(&Message<'_>) -> Option<T>) -> Option<T> {
        MessageParser::default().parse(&self.raw).as_ref().and_then(look)
    }
}
