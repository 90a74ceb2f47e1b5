//! A wire to the database that a test can cut without either end noticing.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Forwards connections until it is frozen: those then stay open, and dead for good. New
/// ones hang until it thaws.
pub struct Proxy {
    pub port: u16,
    frozen: watch::Sender<bool>,
}

impl Proxy {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (frozen, watch) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, target, watch.clone()));
            }
        });
        Self { port, frozen }
    }

    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    pub fn thaw(&self) {
        self.frozen.send_replace(false);
    }
}

async fn forward(mut client: TcpStream, target: SocketAddr, mut frozen: watch::Receiver<bool>) {
    let mut server = TcpStream::connect(target).await.expect("the target");
    let died = tokio::select! {
        // Gone with the test.
        _ = frozen.wait_for(|frozen| *frozen) => true,
        _ = copy_bidirectional(&mut client, &mut server) => false,
    };
    if died {
        std::future::pending::<()>().await;
    }
}
