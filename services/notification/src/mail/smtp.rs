//! Mail by SMTP (RFC 5321), one connection for each mail.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use lettre::transport::smtp::{
    self,
    authentication::{Credentials, Mechanism},
    client::{AsyncSmtpConnection, TlsParameters},
    commands,
    extension::{ClientId, Extension, MailBodyParameter, MailParameter},
};
use percent_encoding::percent_decode_str;
use url::Url;

use super::{Error, message::Message};

/// For a goodbye that nothing depends on.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// A server, and how to speak to it.
#[derive(Debug)]
pub struct Smtp {
    host: String,
    port: u16,
    security: Security,
    credentials: Option<Credentials>,
    hello: ClientId,
}

enum Security {
    Plain,
    /// From the first byte on.
    Tls(TlsParameters),
    /// After a greeting in plain text, or not at all: it is never done without.
    StartTls(TlsParameters),
}

impl Smtp {
    /// Understands a URL; connects to nothing yet.
    pub fn connect(url: &str) -> anyhow::Result<Self> {
        let url = Url::parse(url)?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        ensure!(!host.is_empty(), "a host is expected");
        let tls = || TlsParameters::new(host.clone()).context("TLS");
        let (security, default_port) = match url.scheme() {
            "smtp" => (Security::Plain, 25),
            "smtps" => (Security::Tls(tls()?), 465),
            "smtp+starttls" => (Security::StartTls(tls()?), 587),
            other => bail!("{other}: is no way to speak SMTP"),
        };
        let decode = |text: &str| percent_decode_str(text).decode_utf8().map(String::from);
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, Some(password)) if !user.is_empty() => Some(Credentials::new(decode(user)?, decode(password)?)),
            _ => bail!("a user and a password are expected, or neither"),
        };
        Ok(Self { port: url.port().unwrap_or(default_port), security, credentials, hello: ClientId::default(), host })
    }

    /// Returns when the server has taken the mail, or after `timeout`.
    pub async fn send(&self, message: &Message, timeout: Duration) -> Result<(), Error> {
        let delivered = tokio::time::timeout(timeout, self.deliver(message)).await;
        let mut connection = delivered
            .unwrap_or_else(|_| Err(Error::Transient(format!("the server did not finish within {timeout:?}"))))?;
        // The mail is delivered: nothing may turn that into an error any more.
        let _ = tokio::time::timeout(QUIT_TIMEOUT, connection.quit()).await;
        Ok(())
    }

    async fn deliver(&self, message: &Message) -> Result<AsyncSmtpConnection, Error> {
        let mut connection = self.open().await?;
        let parameters = parameters(&connection, message)?;

        let sender = commands::Mail::new(Some(message.from.clone()), parameters);
        connection.command(sender).await.map_err(ours("the sender"))?;
        let recipient = commands::Rcpt::new(message.to.clone(), Vec::new());
        connection.command(recipient).await.map_err(theirs("the recipient"))?;
        connection.command(commands::Data).await.map_err(theirs("the mail"))?;
        let last_word = connection.message(&message.bytes).await.map_err(theirs("the contents"))?;
        if !last_word.has_code(250) {
            return Err(Error::Transient(format!("the contents were answered with {}", last_word.code())));
        }
        Ok(connection)
    }

    /// A connection over which mail may be sent. Whatever goes wrong here is no mail's fault.
    async fn open(&self) -> Result<AsyncSmtpConnection, Error> {
        let address = (self.host.as_str(), self.port);
        let tls = match &self.security {
            Security::Tls(tls) => Some(tls.clone()),
            Security::Plain | Security::StartTls(_) => None,
        };
        let connection = AsyncSmtpConnection::connect_tokio1(address, None, &self.hello, tls, None).await;
        let mut connection = connection.map_err(ours("the connection"))?;
        if let Security::StartTls(tls) = &self.security {
            connection.starttls(tls.clone(), &self.hello).await.map_err(ours("STARTTLS"))?;
        }
        if let Some(credentials) = &self.credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&mechanisms, credentials).await.map_err(ours("the log-in"))?;
        }
        Ok(connection)
    }
}

/// What the server must know beforehand of a mail that is not all ASCII (RFC 6531).
fn parameters(connection: &AsyncSmtpConnection, message: &Message) -> Result<Vec<MailParameter>, Error> {
    let addresses: [&str; 2] = [message.from.as_ref(), message.to.as_ref()];
    if message.bytes.is_ascii() && addresses.iter().all(|address| address.is_ascii()) {
        return Ok(Vec::new());
    }
    if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
        return Err(Error::Permanent("the server cannot deliver to addresses beyond ASCII".to_owned()));
    }
    Ok(vec![MailParameter::SmtpUtfEight, MailParameter::Body(MailBodyParameter::EightBitMime)])
}

/// For steps that say nothing about the mail: trying again later may help.
fn ours(step: &'static str) -> impl FnOnce(smtp::Error) -> Error {
    move |error| Error::Transient(describe(step, &error))
}

/// For steps in which a lasting refusal means this mail.
fn theirs(step: &'static str) -> impl FnOnce(smtp::Error) -> Error {
    move |error| {
        // RFC 4954, section 6: these mean that we did not log in as we should have.
        let not_logged_in = error.status().is_some_and(|code| matches!(u16::from(code), 530 | 534 | 535 | 538));
        let text = describe(step, &error);
        if error.is_permanent() && !not_logged_in { Error::Permanent(text) } else { Error::Transient(text) }
    }
}

/// Servers like to repeat the address that they refuse; it stays out of our logs.
fn describe(step: &str, error: &smtp::Error) -> String {
    let text = error.to_string();
    let words = text.split_whitespace().map(|word| if word.contains('@') { "[address]" } else { word });
    format!("{step}: {}", words.collect::<Vec<_>>().join(" "))
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Tls(_) => "Tls",
            Self::StartTls(_) => "StartTls",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Security, Smtp};

    #[test]
    fn urls_say_how_to_speak() {
        for (url, host, port, security) in [
            ("smtp://mail.example.com", "mail.example.com", 25, "Plain"),
            ("smtp://127.0.0.1:1025", "127.0.0.1", 1025, "Plain"),
            ("smtps://mail.example.com", "mail.example.com", 465, "Tls"),
            ("smtp+starttls://mail.example.com", "mail.example.com", 587, "StartTls"),
            ("smtp+starttls://[::1]:2525", "::1", 2525, "StartTls"),
        ] {
            let smtp = Smtp::connect(url).expect(url);
            assert_eq!((smtp.host.as_str(), smtp.port), (host, port), "{url}");
            assert_eq!(format!("{:?}", smtp.security), security, "{url}");
            assert!(smtp.credentials.is_none(), "{url}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_not_shown() {
        let smtp = Smtp::connect("smtp+starttls://me%40gmail.com:p%40ss%3Aw%2F%20%25@smtp.gmail.com").expect("a URL");
        assert_eq!(smtp.credentials, Some(Credentials::new("me@gmail.com".into(), "p@ss:w/ %".into())));
        assert!(matches!(smtp.security, Security::StartTls(_)));
        assert!(!format!("{smtp:?}").contains("p@ss"));
    }

    #[test]
    fn faulty_urls() {
        for url in [
            "",
            "mail.example.com:25",
            "smtp://",
            "smtp:///path",
            "http://a.b",
            "smtp://user@a.b",
            "smtp://:pw@a.b",
            "smtp://a.b:99999",
        ] {
            assert!(Smtp::connect(url).is_err(), "{url}");
        }
    }
}
