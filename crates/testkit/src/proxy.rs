//! A wire to a server that can be broken in many ways while it is in use.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;
use url::Url;

/// What the wire does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// All connections are reset, and new ones as soon as they are made.
    Refuse,
    /// Whatever is read is passed on so much later.
    Delay(Duration),
    /// Nothing arrives any more, at either end. A connection that has lost bytes stays open, and
    /// dead, even when the wire is whole again.
    Blackhole,
    /// The client is heard, and the server's replies are lost, as above.
    SwallowReplies,
    /// Each connection is reset after so many bytes from now on, both ways taken together.
    CutAfter(u64),
}

/// Forwards TCP connections from a port of its own to another on loopback. Ends when dropped,
/// with all its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    line: watch::Sender<Line>,
    injected: broadcast::Sender<Vec<u8>>,
    accepting: AbortHandle,
}

/// How the wire is.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    broken: Option<Breakage>,
    /// Counts how often it was broken or mended.
    change: u64,
    /// Counts how often all connections were reset.
    cuts: u64,
}

impl Proxy {
    /// A proxy before whatever listens, or will listen, on the port `server` of 127.0.0.1.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (line, _) = watch::channel(Line::default());
        let (injected, _) = broadcast::channel(8);
        let accepting = tokio::spawn(accept(listener, server, line.clone(), injected.clone())).abort_handle();
        Self { port, line, injected, accepting }
    }

    /// A proxy before the server that `url` names, and the URL by which to go through it. A client
    /// of MongoDB is kept from asking the server for its real address.
    ///
    /// # Panics
    /// When the URL has no port.
    pub async fn before(url: &str) -> (Self, String) {
        let mut url = Url::parse(url).expect("a URL");
        let proxy = Self::to(url.port().expect("a port")).await;
        url.set_port(Some(proxy.port)).expect("it has a host");
        if url.scheme() == "mongodb" {
            url.set_query(Some("directConnection=true"));
        }
        (proxy, url.into())
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on.
    pub fn break_it(&self, how: Breakage) {
        self.line.send_modify(|line| {
            line.broken = Some(how);
            line.change += 1;
            line.cuts += u64::from(how == Breakage::Refuse);
        });
    }

    /// The wire is whole again.
    pub fn mend(&self) {
        self.line.send_modify(|line| {
            line.broken = None;
            line.change += 1;
        });
    }

    /// Resets all connections, once.
    pub fn cut(&self) {
        self.line.send_modify(|line| line.cuts += 1);
    }

    /// Says something to every client in the server's name. Only between two messages of the
    /// server's, that is while nothing is going on.
    ///
    /// # Panics
    /// When nobody is connected.
    pub fn inject(&self, bytes: &[u8]) {
        self.injected.send(bytes.to_vec()).expect("a client is connected");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: u16, line: watch::Sender<Line>, injected: broadcast::Sender<Vec<u8>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let connection = Connection::on(line.subscribe());
        connections.spawn(connection.run(client, server, injected.subscribe()));
        while connections.try_join_next().is_some() {}
    }
}

struct Connection {
    line: watch::Receiver<Line>,
    /// It has lost bytes: whatever came after them could not be understood.
    dead: AtomicBool,
    /// The last change of the line that was noticed, and the bytes since.
    change: AtomicU64,
    carried: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Reply,
}

impl Connection {
    fn on(line: watch::Receiver<Line>) -> Self {
        Self { line, dead: AtomicBool::default(), change: AtomicU64::default(), carried: AtomicU64::default() }
    }

    async fn run(self, mut client: TcpStream, server: u16, injected: broadcast::Receiver<Vec<u8>>) {
        if self.line.borrow().broken == Some(Breakage::Refuse) {
            let _ = client.set_zero_linger();
            return;
        }
        let cuts = self.line.borrow().cuts;
        let mut line = self.line.clone();
        // Without a server the client's connection ends as well.
        let Ok(mut upstream) = TcpStream::connect(("127.0.0.1", server)).await else { return };
        let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
        let was_cut = {
            let ((from_client, to_client), (from_server, to_server)) = (client.split(), upstream.split());
            tokio::select! {
                _ = line.wait_for(|line| line.cuts > cuts) => true,
                was_cut = self.pump(from_client, to_server, Direction::Request, None) => was_cut,
                was_cut = self.pump(from_server, to_client, Direction::Reply, Some(injected)) => was_cut,
            }
        };
        if was_cut {
            // Closing then sends RST, as a crash or a firewall does, not a polite FIN.
            let _ = (client.set_zero_linger(), upstream.set_zero_linger());
        }
    }

    /// Carries bytes one way until an end closes; true if the connection is to be reset.
    async fn pump(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        direction: Direction,
        mut injected: Option<broadcast::Receiver<Vec<u8>>>,
    ) -> bool {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let injection = async {
                match &mut injected {
                    Some(injected) => injected.recv().await.ok(),
                    None => std::future::pending().await,
                }
            };
            let count = tokio::select! {
                read = from.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return false,
                    Ok(count) => count,
                },
                Some(bytes) = injection => {
                    if to.write_all(&bytes).await.is_err() {
                        return false;
                    }
                    continue;
                }
            };
            let now = *self.line.borrow();
            if self.change.swap(now.change, Relaxed) != now.change {
                self.carried.store(0, Relaxed);
            }
            let carried = self.carried.fetch_add(count as u64, Relaxed);
            let mut passed = count;
            match now.broken {
                Some(Breakage::Delay(time)) => tokio::time::sleep(time).await,
                Some(Breakage::Blackhole) => self.dead.store(true, Relaxed),
                Some(Breakage::SwallowReplies) if direction == Direction::Reply => {
                    self.dead.store(true, Relaxed);
                }
                Some(Breakage::CutAfter(most)) => passed = count.min(most.saturating_sub(carried) as usize),
                _ => {}
            }
            // Requests are still heard while only the replies are lost.
            let heard = now.broken == Some(Breakage::SwallowReplies) && direction == Direction::Request;
            if self.dead.load(Relaxed) && !heard {
                continue;
            }
            if to.write_all(&buffer[..passed]).await.is_err() {
                return false;
            }
            if passed < count {
                return true;
            }
        }
    }
}
