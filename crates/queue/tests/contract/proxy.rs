//! A TCP proxy that can fall silent, and can speak to the client in the server's name.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::broadcast,
};

pub struct Proxy {
    port: u16,
    silent: Arc<AtomicBool>,
    injected: broadcast::Sender<Vec<u8>>,
}

impl Proxy {
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let port = listener.local_addr().expect("address").port();
        let (silent, injected) = (Arc::new(AtomicBool::new(false)), broadcast::channel(8).0);
        let (mute, sender) = (silent.clone(), injected.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(upstream) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                let ((client_in, client_out), (server_in, server_out)) = (client.into_split(), upstream.into_split());
                tokio::spawn(pump(client_in, server_out, mute.clone(), None));
                tokio::spawn(pump(server_in, client_out, mute.clone(), Some(sender.subscribe())));
            }
        });
        Self { port, silent, injected }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on (or no longer) every byte is swallowed, both ways.
    pub fn swallow(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    /// Tells every client that the broker takes no messages.
    pub fn block(&self) {
        // connection.blocked (10, 60) with a reason of three bytes.
        self.inject(&[0, 10, 0, 60, 3, b'r', b'a', b'm']);
    }

    pub fn unblock(&self) {
        self.inject(&[0, 10, 0, 61]);
    }

    /// Sends a method on channel 0 to every client. Only between two frames of the server's,
    /// that is while nothing is going on.
    fn inject(&self, method: &[u8]) {
        let mut frame = vec![1, 0, 0];
        frame.extend((method.len() as u32).to_be_bytes());
        frame.extend(method);
        frame.push(0xce);
        self.injected.send(frame).expect("a client is connected");
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    silent: Arc<AtomicBool>,
    mut injected: Option<broadcast::Receiver<Vec<u8>>>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let injection = async {
            match &mut injected {
                Some(injected) => injected.recv().await.ok(),
                None => std::future::pending().await,
            }
        };
        let written = tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(0) | Err(_) => break,
                Ok(_) if silent.load(Ordering::SeqCst) => Ok(()),
                Ok(count) => to.write_all(&buffer[..count]).await,
            },
            Some(frame) = injection => to.write_all(&frame).await,
        };
        if written.is_err() {
            break;
        }
    }
}
