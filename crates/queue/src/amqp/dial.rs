//! One attempt at a connection, limited in time and leaving nothing behind when it fails.

use std::{
    fmt, io,
    net::{Shutdown, TcpStream},
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use common::Secret;
use lapin::{
    AsyncTcpStream, Connection, ConnectionProperties,
    tcp::OwnedTLSConfig,
    uri::{AMQPScheme, AMQPUri},
};
use url::{Host, Url};

use super::link::plain;

/// How often either side says that it is alive, in seconds; after two silent intervals the
/// connection counts as lost. `?heartbeat=` in the URL has precedence.
const HEARTBEAT: u16 = 20;

/// Whom to call, and under which name. Neither `Debug` nor `Display` shows the password.
#[derive(Clone)]
pub(super) struct Dialer {
    uri: AMQPUri,
    name: String,
    limit: Duration,
}

impl Dialer {
    pub(super) fn new(url: &Secret, name: &str, limit: Duration) -> anyhow::Result<Self> {
        Ok(Self { uri: parse(url)?, name: name.to_owned(), limit })
    }

    /// The same server for another purpose, which the server's list of connections shows.
    pub(super) fn named(&self, purpose: &str) -> Self {
        Self { name: format!("{} {purpose}", self.name), ..self.clone() }
    }

    pub(super) async fn dial(&self) -> anyhow::Result<(Connection, Socket)> {
        let socket = Socket::default();
        let mut attempt = Attempt(Some(socket.clone()));
        let (kept, limit) = (socket.clone(), self.limit);
        let properties = ConnectionProperties::default().with_connection_name(self.name.as_str().into());
        let runtime = lapin::runtime::default_runtime()?;
        // Runs on a thread of the driver's that no dropped future ends: hence the limit inside.
        let connecting = Connection::connector(
            self.uri.clone(),
            runtime,
            async move |uri: AMQPUri, runtime| {
                let opened = async {
                    // The driver's resolver would do, but takes a type that it does not export.
                    let host = (uri.authority.host.as_str(), uri.authority.port);
                    let addresses: Vec<_> = tokio::net::lookup_host(host).await?.collect();
                    let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
                    if let AsyncTcpStream::Plain(stream) = &stream {
                        kept.keep(stream.get_ref())?;
                    }
                    match uri.scheme {
                        AMQPScheme::AMQP => Ok(stream),
                        AMQPScheme::AMQPS => {
                            stream.into_tls(&uri.authority.host, OwnedTLSConfig::default().as_ref()).await
                        }
                    }
                };
                let opened = tokio::time::timeout(limit, opened).await;
                opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(lapin::Error::from)
            },
            properties,
        );
        match tokio::time::timeout(limit, connecting).await {
            Ok(connection) => {
                let connection = connection.map_err(plain)?;
                attempt.0 = None;
                Ok((connection, socket))
            }
            Err(_) => bail!("no answer within {limit:?}"),
        }
    }
}

impl fmt::Display for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { scheme, authority, vhost, .. } = &self.uri;
        write!(f, "{scheme}://{}:{}", authority.host, authority.port)?;
        if vhost == "/" { Ok(()) } else { write!(f, "/{vhost}") }
    }
}

/// The socket under a connection. The driver runs each connection on a thread that ends with
/// its socket; shutting the socket is the one way to end it that always works, even when the
/// server has stopped answering in the middle of a handshake.
#[derive(Clone, Default)]
pub(super) struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    fn keep(&self, stream: &impl AsFd) -> io::Result<()> {
        let duplicate = stream.as_fd().try_clone_to_owned()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(duplicate.into());
        Ok(())
    }

    pub(super) fn shut(&self) {
        if let Some(stream) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It fails only when the connection is gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Shuts its socket unless it was taken out: for an attempt that failed or was dropped.
struct Attempt(Option<Socket>);

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            socket.shut();
        }
    }
}

/// None of the errors shows any part of the URL: it holds a password.
fn parse(url: &Secret) -> anyhow::Result<AMQPUri> {
    let parsed = Url::parse(url.expose()).context("the queue's URL is not one")?;
    let mut uri: AMQPUri = url
        .expose()
        .parse()
        .map_err(|_| anyhow!("the queue's URL is not of the form amqp://user:password@host:port/vhost"))?;
    // The driver takes IPv6 addresses for no host at all, and then falls back to localhost.
    match parsed.host() {
        Some(Host::Ipv6(address)) => uri.authority.host = address.to_string(),
        Some(_) => {}
        None => bail!("the queue's URL names no host"),
    }
    // `amqp://host/` means, by the letter, a virtual host without a name. Nobody has one.
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialer(url: &str) -> anyhow::Result<Dialer> {
        Dialer::new(&Secret::new(url), "test", Duration::from_millis(200))
    }

    #[test]
    fn shows_no_password() {
        assert_eq!(dialer("amqp://me:hunter2@host/v").expect("URL").to_string(), "amqp://host:5672/v");
        for bad in
            ["amqp:hunter2", "amqp://me:hunter2@host:port/", "amqp://me:hunter2@", "amqp://hunter2@h/?heartbeat=x"]
        {
            let error = dialer(bad).err().expect(bad);
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn understands_what_people_write() {
        let uri = dialer("amqp://u:p%40ss@[::1]:5673/%2f").expect("URL").uri;
        assert_eq!((uri.authority.host.as_str(), uri.authority.port, uri.vhost.as_str()), ("::1", 5673, "/"));
        assert_eq!(uri.authority.userinfo.password, "p@ss");
        assert_eq!(uri.query.heartbeat, Some(HEARTBEAT));
        let uri = dialer("amqps://rabbit/?heartbeat=7").expect("URL").uri;
        assert_eq!((uri.authority.port, uri.vhost.as_str(), uri.query.heartbeat), (5671, "/", Some(7)));
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up_and_let_go() {
        use tokio::io::AsyncReadExt;
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let url = format!("amqp://{}", silent.local_addr().expect("address"));
        let error = dialer(&url).expect("URL").dial().await.err().expect("no answer");
        assert!(error.to_string().contains("no answer"), "{error:#}");
        let (mut stream, _) = silent.accept().await.expect("it did connect");
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut Vec::new())).await;
        read.expect("the socket is closed, not left behind").expect("closed in order");
    }

    #[tokio::test]
    async fn amqps_speaks_tls() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        common::start::install_crypto();
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let url = format!("amqps://localhost:{}", server.local_addr().expect("address").port());
        let dialer = Dialer::new(&Secret::new(url), "test", Duration::from_secs(10)).expect("URL");
        let answer = async {
            let (mut stream, _) = server.accept().await.expect("it connects");
            let mut hello = [0; 3];
            stream.read_exact(&mut hello).await.expect("hello");
            stream.write_all(b"AMQP\x00\x00\x09\x01").await.expect("written");
            hello
        };
        let (dialled, hello) = tokio::join!(dialer.dial(), answer);
        assert_eq!(hello[..2], [0x16, 0x03], "the hello of TLS");
        let error = dialled.err().expect("no TLS from the server").to_string();
        assert!(!error.contains("no answer"), "{error}");
    }
}
