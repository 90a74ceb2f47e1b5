//! The mailer against a real SMTP server, and against one that misbehaves.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use common::{Env, Secret, start::install_crypto};
use notification::{
    Config,
    mail::{Error, Mail, Mailer},
    text::Letters,
};
use testkit::{
    SmtpServer,
    smtp::{self, Credentials, Fault, Phase, Security},
};
use tokio::net::TcpListener;

/// For servers that never answer.
const TIMEOUT: Duration = Duration::from_millis(500);

fn mailer(url: &str) -> Mailer {
    mailer_within(url, Duration::from_secs(10))
}

fn mailer_within(url: &str, timeout: Duration) -> Mailer {
    install_crypto();
    let sender = "MP3 Converter <mp3@example.com>".parse().expect("a sender");
    Mailer::connect(&Secret::new(url), sender, timeout).expect("a good URL")
}

/// The server's URL with an account in it.
fn with_account(server: &SmtpServer, account: &str) -> String {
    server.url().replacen("://", &format!("://{account}@"), 1)
}

fn mail() -> Mail {
    let fid = "65a1b2c3d4e5f60718293a4b".parse().expect("an id");
    let letters = Letters::new(Some("https://mp3.example.com".into()), "example.com");
    letters.done("job1", "owner@example.org", &fid, Some("Größe.mp4"))
}

/// What both backends promise of a mail, in the form in which it arrived.
fn assert_as_it_was_written(got: &smtp::Mail) {
    assert_eq!(got.subject(), "MP3 Download");
    assert_eq!(got.text().trim_end(), mail().body.trim_end());
    assert_eq!(got.text().lines().next(), Some("mp3 file_id: 65a1b2c3d4e5f60718293a4b is now ready!"));
    assert_eq!(got.message_id().as_deref(), Some("job1.done@example.com"));
    assert_eq!(got.header("Auto-Submitted").as_deref(), Some("auto-generated"));
    assert!(got.raw.is_ascii());
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_written() {
    let server = SmtpServer::start().await.expect("a server");
    mailer(&server.url()).send(&mail()).await.expect("sent");
    let mails = server.mails();
    let [got] = mails.as_slice() else { panic!("one mail: {mails:?}") };
    assert_eq!(
        (got.from.as_str(), got.to.as_slice()),
        ("mp3@example.com", ["owner@example.org".to_owned()].as_slice())
    );
    assert_as_it_was_written(got);
    assert!(got.acknowledged && !got.encrypted && got.credentials.is_none());
}

/// What lies in a folder of mails, by name.
fn files(folder: &Path) -> Vec<(String, smtp::Mail)> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let raw = std::fs::read(&path).expect("a file");
        let mail = smtp::Mail {
            raw,
            from: String::new(),
            to: Vec::new(),
            credentials: None,
            encrypted: false,
            acknowledged: true,
        };
        (path.file_name().expect("a name").to_str().expect("text").to_owned(), mail)
    };
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("a folder").map(read).collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

#[tokio::test]
async fn a_mail_becomes_a_file_as_it_was_written() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("all mails");
    let mailer = mailer(&format!("file:{}", folder.display()).replace(' ', "%20"));
    // The same mail again is still one.
    for _ in 0..2 {
        mailer.send(&mail()).await.expect("written");
    }
    let body = format!(".\n..\n{}\nend\n", "long ".repeat(400));
    let other = Mail { message_id: "<job2.done@example.com>".into(), body, ..mail() };
    mailer.send(&other).await.expect("written");
    let files = files(&folder);
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["job1.done@example.com.eml", "job2.done@example.com.eml"]);
    let got = &files[0].1;
    assert_as_it_was_written(got);
    assert_eq!(got.header("To").as_deref(), Some("owner@example.org"));
    assert_eq!(got.header("From").as_deref(), Some("\"MP3 Converter\" <mp3@example.com>"));
    let text = String::from_utf8(got.raw.clone()).expect("text");
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "lines end as in a mail");
    assert_eq!(files[1].1.text().trim_end(), other.body.trim_end());
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_delays_the_mail() {
    let home = tempfile::tempdir().expect("a folder");
    let blocked = home.path().join("mails");
    std::fs::write(&blocked, "a file where the folder should be").expect("written");
    let mailer = mailer(&format!("file:{}", blocked.display()));
    let error = mailer.send(&mail()).await.expect_err("no folder");
    assert!(matches!(error, Error::Transient(_)), "{error}");
    let error = mailer.send(&Mail { to: "nobody".into(), ..mail() }).await.expect_err("no address");
    assert!(matches!(error, Error::Permanent(_)), "{error}");
    std::fs::remove_file(&blocked).expect("removed");
    mailer.send(&mail()).await.expect("written");
}

#[tokio::test]
async fn lines_that_begin_with_a_dot_and_long_ones_survive() {
    let server = SmtpServer::start().await.expect("a server");
    let body = format!(".\n..\n.hidden\n{}\nend\n", "long ".repeat(400));
    mailer(&server.url()).send(&Mail { body: body.clone(), ..mail() }).await.expect("sent");
    assert_eq!(server.mails()[0].text().trim_end(), body.trim_end());
}

#[tokio::test]
async fn an_account_is_used_where_one_is_given() {
    let server = SmtpServer::start().await.expect("a server");
    mailer(&with_account(&server, "me%40gmail.com:p%40ss%20w%2Frd")).send(&mail()).await.expect("sent");
    let expected = Credentials { user: "me@gmail.com".into(), password: "p@ss w/rd".into() };
    assert_eq!(server.mails()[0].credentials, Some(expected));
}

#[tokio::test]
async fn every_mail_has_a_connection_of_its_own() {
    let server = SmtpServer::start().await.expect("a server");
    let mailer = mailer_within(&server.url(), TIMEOUT);
    // Were the connection kept, the second mail would get the first one's late answer.
    server.set_fault_times(Phase::Message, Fault::Hang, 1);
    assert!(matches!(mailer.send(&mail()).await, Err(Error::Transient(_))));
    server.set_fault_times(Phase::Recipient, Fault::Answer(550), 1);
    assert!(matches!(mailer.send(&mail()).await, Err(Error::Permanent(_))));
    mailer.send(&mail()).await.expect("sent");
    assert_eq!(server.mails().iter().filter(|mail| mail.acknowledged).count(), 1);
}

#[tokio::test]
async fn an_address_beyond_ascii_is_announced() {
    let server = SmtpServer::start().await.expect("a server");
    mailer(&server.url()).send(&Mail { to: "jörg@bücher.example".into(), ..mail() }).await.expect("sent");
    assert_eq!(server.mails()[0].to, ["jörg@xn--bcher-kva.example"]);
}

#[tokio::test]
async fn what_is_permanent_and_what_is_not() {
    let server = SmtpServer::start().await.expect("a server");
    let mailer = mailer(&with_account(&server, "me:pw"));
    for (phase, code, permanent) in [
        (Phase::Greeting, 421, false),
        (Phase::Greeting, 554, false), // this machine is unwelcome, whatever the mail
        (Phase::Login, 454, false),
        (Phase::Login, 535, false),
        (Phase::Sender, 421, false),
        (Phase::Sender, 550, false), // MAIL_FROM is wrong, not the mail
        (Phase::Recipient, 421, false),
        (Phase::Recipient, 450, false),
        (Phase::Recipient, 530, false), // not logged in
        (Phase::Recipient, 550, true),
        (Phase::Data, 451, false),
        (Phase::Data, 554, true),
        (Phase::Message, 421, false),
        (Phase::Message, 452, false),
        (Phase::Message, 552, true),
    ] {
        server.set_fault_times(phase, Fault::Answer(code), 1);
        let error = mailer.send(&mail()).await.expect_err("refused");
        assert_eq!(matches!(error, Error::Permanent(_)), permanent, "{phase:?} {code}: {error}");
        assert!(error.to_string().contains(&code.to_string()), "{phase:?} {code}: {error}");
    }
    assert!(server.mails().is_empty());
    mailer.send(&mail()).await.expect("sent");
}

#[tokio::test]
async fn a_server_that_hangs_or_vanishes_is_given_up_in_time() {
    let server = SmtpServer::start().await.expect("a server");
    let mailer = mailer_within(&server.url(), TIMEOUT);
    for phase in [Phase::Greeting, Phase::Sender, Phase::Recipient, Phase::Data, Phase::Message] {
        for fault in [Fault::Hang, Fault::Reset] {
            server.set_fault_times(phase, fault, 1);
            let started = Instant::now();
            let error = mailer.send(&mail()).await.expect_err("not acknowledged");
            assert!(matches!(error, Error::Transient(_)), "{phase:?} {fault:?}: {error}");
            assert!(started.elapsed() < TIMEOUT + Duration::from_secs(1), "{phase:?} {fault:?}");
            server.clear_faults();
        }
    }
    mailer.send(&mail()).await.expect("sent");
}

#[tokio::test]
async fn nobody_there() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    for url in [format!("smtp://{closed}"), "smtp://host.invalid".to_owned(), format!("smtps://{closed}")] {
        let error = mailer(&url).send(&mail()).await.expect_err("nobody there");
        assert!(matches!(error, Error::Transient(_)), "{url}: {error}");
    }
}

#[tokio::test]
async fn starttls_is_never_done_without() {
    let plain = SmtpServer::start().await.expect("a server");
    let url = format!("smtp+starttls://me:pw@127.0.0.1:{}", plain.port());
    let error = mailer(&url).send(&mail()).await.expect_err("no STARTTLS on offer");
    assert!(matches!(error, Error::Transient(_)), "{error}");
    assert!(plain.mails().is_empty());
}

#[tokio::test]
async fn a_certificate_from_nobody_known_is_refused() {
    for security in [Security::Tls, Security::StartTls] {
        let server = SmtpServer::start_with(security).await.expect("a server");
        let error = mailer(&with_account(&server, "me:pw")).send(&mail()).await.expect_err("not trusted");
        assert!(matches!(error, Error::Transient(_)), "{error}");
        assert!(server.mails().is_empty());
    }
}

/// `SSL_CERT_FILE` is read from the environment, which a process cannot safely change under
/// its own threads: the sending is done by the test below, in a process of its own.
#[tokio::test]
async fn tls_trusts_the_authority_of_ssl_cert_file() {
    for security in [Security::Tls, Security::StartTls] {
        let server = SmtpServer::start_with(security).await.expect("a server");
        let mut child = Command::new(std::env::current_exe().expect("this program"));
        child
            .args(["--exact", "sends_one_mail", "--ignored", "--nocapture"])
            .env("SSL_CERT_FILE", server.ca_pem().expect("an authority"))
            .env("SEND_TO", with_account(&server, "me:pw"));
        let output = tokio::task::spawn_blocking(move || child.output()).await.expect("no panic").expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mails = server.mails();
        assert_eq!(mails.len(), 1, "{security:?}");
        assert!(mails[0].encrypted && mails[0].credentials.is_some(), "{security:?}");
    }
}

#[tokio::test]
#[ignore = "the other half of tls_trusts_the_authority_of_ssl_cert_file, which runs it"]
async fn sends_one_mail() {
    let url = std::env::var("SEND_TO").expect("SEND_TO");
    mailer(&url).send(&mail()).await.expect("sent");
}

#[tokio::test]
async fn errors_name_no_addresses() {
    // A server that repeats the address, as most do.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("smtp://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
        let (socket, _) = listener.accept().await.expect("a client");
        let mut wire = BufReader::new(socket);
        wire.write_all(b"220 hello\r\n").await.expect("written");
        let mut line = String::new();
        while wire.read_line(&mut line).await.is_ok_and(|n| n > 0) {
            let refused = line.starts_with("RCPT");
            let answer = if refused { "550 5.1.1 <owner@example.org>: no such user\r\n" } else { "250 ok\r\n" };
            wire.write_all(answer.as_bytes()).await.expect("written");
            line.clear();
        }
    });
    let error = mailer(&url).send(&mail()).await.expect_err("refused").to_string();
    assert!(error.contains("550") && error.contains("no such user"), "{error}");
    assert!(!error.contains("owner@"), "{error}");
}

fn config(vars: &[(&str, &str)]) -> Result<Config, String> {
    let mut env: Env = vars.iter().copied().collect();
    let config = Config::from_env(&mut env);
    env.finish(config).map_err(|faults| faults.to_string())
}

#[test]
fn gmail_needs_two_variables() {
    let config = config(&[("GMAIL_ADDRESS", "me@gmail.com"), ("GMAIL_PASSWORD", "abcd efgh")]).expect("enough");
    assert_eq!(config.smtp_url.expose(), "smtp+starttls://me%40gmail%2Ecom:abcd%20efgh@smtp.gmail.com:587");
    assert_eq!(config.mail_from, "me@gmail.com".parse().expect("a sender"));
    assert_eq!(config.smtp_timeout, Duration::from_secs(30));
    install_crypto();
    Mailer::connect(&config.smtp_url, config.mail_from, config.smtp_timeout).expect("a good URL");
}

#[test]
fn smtp_url_comes_first() {
    let vars = [
        ("GMAIL_ADDRESS", "me@gmail.com"),
        ("SMTP_URL", "smtps://a:b@mail.example.com"),
        ("MAIL_FROM", "MP3 <mp3@example.com>"),
        ("PUBLIC_URL", "https://mp3.example.com/"),
    ];
    let config = config(&vars).expect("a good configuration");
    assert_eq!(config.smtp_url.expose(), "smtps://a:b@mail.example.com");
    assert_eq!(config.mail_from.domain(), "example.com");
    assert_eq!(config.public_url.as_deref(), Some("https://mp3.example.com"));
}

#[test]
fn faults_are_told() {
    for (vars, told) in [
        (&[][..], "SMTP_URL must be set, or GMAIL_ADDRESS and GMAIL_PASSWORD"),
        (&[("GMAIL_ADDRESS", "me@gmail.com")], "belong together"),
        (&[("GMAIL_PASSWORD", "secret")], "belong together"),
        (&[("SMTP_URL", "http://a.b")], "smtp:, smtps:, smtp+starttls: or file:"),
        (&[("SMTP_URL", "smtp://me@a.b")], "a user and a password"),
        (&[("SMTP_URL", "smtp://a.b"), ("MAIL_FROM", "nobody")], "MAIL_FROM: an e-mail address"),
        (&[("SMTP_URL", "smtp://a.b"), ("SMTP_TIMEOUT", "soon")], "SMTP_TIMEOUT"),
        (&[("SMTP_URL", "smtp://a.b"), ("PUBLIC_URL", "mp3.example.com")], "PUBLIC_URL"),
    ] {
        let found = config(vars).expect_err("a fault");
        assert!(found.contains(told) && found.contains("1 fault"), "{found}");
    }
}
