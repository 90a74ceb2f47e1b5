//! The post: hands a mail to whoever delivers it.

mod eml;
mod message;
mod smtp;

use std::time::Duration;

use common::{Env, Secret};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub use self::message::Sender;
use self::{eml::Folder, message::Message, smtp::Smtp};

/// A mail to one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// An e-mail address.
    pub to: String,
    pub subject: String,
    /// Plain text, lines ending in `\n`.
    pub body: String,
    /// In angle brackets. The same for every try, so that receivers can tell a repetition.
    pub message_id: String,
}

/// Why a mail was not taken. What it says holds nobody's address, and may be logged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody will ever take it: there is no such recipient, or its contents are refused.
    #[error("the mail was refused for good: {0}")]
    Permanent(String),
    /// The network, the server or the configuration is at fault; the mail is not.
    #[error("the mail could not be handed over: {0}")]
    Transient(String),
}

/// Delivers mails. By SMTP each has a connection of its own, which is why none can be taken
/// for another's success.
#[derive(Debug)]
pub struct Mailer {
    backend: Backend,
    sender: Sender,
    timeout: Duration,
}

#[derive(Debug)]
enum Backend {
    Smtp(Box<Smtp>),
    Files(Folder),
}

impl Backend {
    fn connect(url: &Secret) -> anyhow::Result<Self> {
        let scheme = url.expose().split_once(':').map_or("", |(scheme, _)| scheme);
        match scheme {
            "smtp" | "smtps" | "smtp+starttls" => Ok(Self::Smtp(Box::new(Smtp::connect(url.expose())?))),
            "file" => Ok(Self::Files(Folder::connect(url.expose())?)),
            _ => anyhow::bail!("a URL that begins with smtp:, smtps:, smtp+starttls: or file: is expected"),
        }
    }
}

impl Mailer {
    /// Mails from `sender` by way of an `smtp:`, `smtps:` or `smtp+starttls:` URL, or as `.eml`
    /// files into the folder of a `file:/PATH` one (special characters as `%xx`). Connects to
    /// nothing yet; fails only if the URL is faulty.
    pub fn connect(url: &Secret, sender: Sender, timeout: Duration) -> anyhow::Result<Self> {
        Ok(Self { backend: Backend::connect(url)?, sender, timeout })
    }

    /// Returns once the other side has said that it took the mail. After an error that is
    /// [`Error::Transient`] it may have taken it all the same.
    pub async fn send(&self, mail: &Mail) -> Result<(), Error> {
        let message = Message::new(&self.sender, mail)?;
        match &self.backend {
            Backend::Smtp(smtp) => smtp.send(&message, self.timeout).await,
            Backend::Files(folder) => folder.send(&mail.message_id, message, self.timeout).await,
        }
    }

    /// Whom the mails come from.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }
}

/// `SMTP_URL`, or Gmail's with `GMAIL_ADDRESS` and `GMAIL_PASSWORD`.
pub fn url_from_env(env: &mut Env) -> Secret {
    let gmail = (env.optional("GMAIL_ADDRESS"), env.secret("GMAIL_PASSWORD"));
    if env.optional("SMTP_URL").is_some() || env.optional("SMTP_URL_FILE").is_some() {
        let Some(url) = env.secret("SMTP_URL") else { return Secret::new("") };
        if let Err(error) = Backend::connect(&url) {
            env.fault(format!("SMTP_URL: {error:#}"));
        }
        return url;
    }
    match gmail {
        (Some(address), Some(password)) => {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let (user, password) = (encode(&address), encode(password.expose()));
            Secret::new(format!("smtp+starttls://{user}:{password}@smtp.gmail.com:587"))
        }
        (None, None) => {
            env.fault("SMTP_URL must be set, or GMAIL_ADDRESS and GMAIL_PASSWORD");
            Secret::new("")
        }
        (Some(_), None) | (None, Some(_)) => {
            env.fault("GMAIL_ADDRESS and GMAIL_PASSWORD belong together; one of them is not set");
            Secret::new("")
        }
    }
}
