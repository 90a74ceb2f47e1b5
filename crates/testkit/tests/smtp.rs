//! The SMTP server against a real client.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use testkit::SmtpServer;
use testkit::smtp::{Fault, Phase, Security};

type Client = AsyncSmtpTransport<Tokio1Executor>;

const PATIENCE: Duration = Duration::from_secs(5);

fn plain(server: &SmtpServer) -> Client {
    Client::builder_dangerous("127.0.0.1").port(server.port()).timeout(Some(Duration::from_secs(2))).build()
}

fn mail() -> anyhow::Result<Message> {
    let ann: Mailbox = "Ann <ann@example.org>".parse()?;
    let message = Message::builder().from(ann).to("bob@example.org".parse()?).message_id(Some("<7@test>".to_owned()));
    // A dot that begins a line, and letters that have to be encoded.
    Ok(message.subject("Grüße, MP3").body("first line\n.second line\nçà et là\n".to_owned())?)
}

#[tokio::test]
async fn a_mail_arrives_whole() -> anyhow::Result<()> {
    let server = SmtpServer::start().await?;
    plain(&server).send(mail()?).await?;
    let mail = server.wait_for_mail(|mail| mail.to == ["bob@example.org"], PATIENCE).await;
    assert_eq!(mail.from, "ann@example.org");
    assert_eq!(mail.subject(), "Grüße, MP3");
    assert_eq!(mail.text().trim_end(), "first line\n.second line\nçà et là");
    assert_eq!(mail.message_id().as_deref(), Some("7@test"));
    assert_eq!(mail.header("To").as_deref(), Some("bob@example.org"));
    assert!(mail.acknowledged && !mail.encrypted);
    Ok(())
}

#[tokio::test]
async fn tls_and_logins_are_recorded() -> anyhow::Result<()> {
    // Which provider does the client's TLS is for the process to say.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for security in [Security::Tls, Security::StartTls] {
        let server = SmtpServer::start_with(security).await?;
        let ca = std::fs::read(server.ca_pem().expect("a certificate"))?;
        let trust = TlsParameters::builder("localhost".to_owned()).add_root_certificate(Certificate::from_pem(&ca)?);
        let trust = trust.build()?;
        let tls = if security == Security::Tls { Tls::Wrapper(trust) } else { Tls::Required(trust) };
        let client = Client::builder_dangerous("localhost")
            .port(server.port())
            .tls(tls)
            .credentials(Credentials::new("ann".into(), "s3cret".into()))
            .build();
        client.send(mail()?).await?;
        let mail = &server.mails()[0];
        let login = mail.credentials.as_ref().expect("a login");
        assert_eq!((login.user.as_str(), login.password.as_str()), ("ann", "s3cret"));
        assert!(mail.encrypted);
        if security == Security::StartTls {
            assert!(plain(&server).send(self::mail()?).await.is_err(), "nothing before STARTTLS");
        }
    }
    Ok(())
}

#[tokio::test]
async fn refusals_are_answered_and_nothing_is_kept() -> anyhow::Result<()> {
    let server = SmtpServer::start().await?;
    let cases = [
        (Phase::Greeting, 421),
        (Phase::Sender, 450),
        (Phase::Recipient, 550),
        (Phase::Data, 451),
        (Phase::Message, 552),
    ];
    for (phase, code) in cases {
        server.set_fault_times(phase, Fault::Answer(code), 1);
        let error = plain(&server).send(mail()?).await.expect_err("a refusal");
        assert_eq!(error.status().map(u16::from), Some(code), "{phase:?}: {error}");
        assert_eq!(error.is_permanent(), code >= 500);
    }
    assert!(server.mails().is_empty());
    plain(&server).send(mail()?).await?;
    assert_eq!(server.mails().len(), 1);
    Ok(())
}

#[tokio::test]
async fn hangs_and_resets_leave_the_client_in_the_dark() -> anyhow::Result<()> {
    let server = SmtpServer::start().await?;
    let mut taken = 0;
    for phase in [Phase::Greeting, Phase::Recipient, Phase::Message] {
        for fault in [Fault::Hang, Fault::Reset] {
            server.set_fault(phase, fault);
            let client = plain(&server);
            let sent = tokio::time::timeout(Duration::from_millis(500), client.send(mail()?)).await;
            let hung = sent.is_err();
            assert_eq!(hung, fault == Fault::Hang, "{phase:?} {sent:?}");
            assert!(hung || sent.is_ok_and(|sent| sent.is_err()));
            taken += usize::from(phase == Phase::Message);
            server.clear_faults();
        }
    }
    // After the dot the mail was taken, though nobody was told.
    assert_eq!(server.mails().len(), taken);
    assert!(server.mails().iter().all(|mail| !mail.acknowledged));
    Ok(())
}
