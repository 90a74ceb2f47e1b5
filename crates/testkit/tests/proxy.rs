//! The wire that breaks, with a server behind it that repeats what it hears.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::{Breakage, Proxy, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SOON: Duration = Duration::from_secs(5);

/// A server that counts the bytes it hears and sends them back.
async fn echo() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let heard = Arc::<AtomicUsize>::default();
    let count = heard.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(read @ 1..) = socket.read(&mut buffer).await {
                    count.fetch_add(read, Ordering::SeqCst);
                    if socket.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (port, heard)
}

async fn call(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.expect("a connection")
}

async fn answers(socket: &mut TcpStream) -> std::io::Result<()> {
    socket.write_all(b"hello").await?;
    let mut answer = [0; 5];
    socket.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"hello");
    Ok(())
}

async fn is_silent(socket: &mut TcpStream) -> bool {
    tokio::time::timeout(Duration::from_millis(300), socket.read_u8()).await.is_err()
}

async fn is_reset(socket: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(SOON, socket.read_to_end(&mut rest)).await.expect("an end");
    ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn a_whole_wire_carries_both_ways_and_passes_the_end_on() {
    let (server, heard) = echo().await;
    let proxy = Proxy::to(server).await;
    let mut socket = call(proxy.port()).await;
    answers(&mut socket).await.expect("an answer");
    proxy.inject(b"!");
    assert_eq!(socket.read_u8().await.expect("injected"), b'!');
    drop(socket);
    assert_eq!(heard.load(Ordering::SeqCst), 5, "what is injected is for clients");
    drop(proxy);
}

#[tokio::test]
async fn refused_connections_are_reset_until_it_is_mended() {
    let (server, _) = echo().await;
    let proxy = Proxy::to(server).await;
    let mut socket = call(proxy.port()).await;
    answers(&mut socket).await.expect("an answer");
    proxy.break_it(Breakage::Refuse);
    assert!(is_reset(&mut socket).await);
    assert!(is_reset(&mut call(proxy.port()).await).await);
    proxy.mend();
    answers(&mut call(proxy.port()).await).await.expect("an answer");
}

#[tokio::test]
async fn a_cut_resets_what_is_there_and_nothing_else() {
    let (server, _) = echo().await;
    let proxy = Proxy::to(server).await;
    let mut socket = call(proxy.port()).await;
    answers(&mut socket).await.expect("an answer");
    proxy.cut();
    assert!(is_reset(&mut socket).await);
    answers(&mut call(proxy.port()).await).await.expect("an answer");
}

#[tokio::test]
async fn what_falls_into_a_black_hole_stays_there() {
    let (server, heard) = echo().await;
    let proxy = Proxy::to(server).await;
    let mut socket = call(proxy.port()).await;
    answers(&mut socket).await.expect("an answer");
    let mut idle = call(proxy.port()).await;
    answers(&mut idle).await.expect("an answer");
    proxy.break_it(Breakage::Blackhole);
    socket.write_all(b"hello").await.expect("sent");
    assert!(is_silent(&mut socket).await);
    proxy.mend();
    socket.write_all(b"hello").await.expect("sent");
    assert!(is_silent(&mut socket).await);
    assert_eq!(heard.load(Ordering::SeqCst), 10);
    answers(&mut idle).await.expect("it has lost nothing");
}

#[tokio::test]
async fn a_swallowed_reply_was_a_request_that_arrived() {
    let (server, heard) = echo().await;
    let proxy = Proxy::to(server).await;
    let mut socket = call(proxy.port()).await;
    answers(&mut socket).await.expect("an answer");
    proxy.break_it(Breakage::SwallowReplies);
    for _ in 0..2 {
        socket.write_all(b"hello").await.expect("sent");
        assert!(is_silent(&mut socket).await);
    }
    eventually(SOON, async || heard.load(Ordering::SeqCst) == 15).await;
}

#[tokio::test]
async fn a_delay_is_a_delay() {
    let (server, _) = echo().await;
    let proxy = Proxy::to(server).await;
    let mut socket = call(proxy.port()).await;
    proxy.break_it(Breakage::Delay(Duration::from_millis(150)));
    let begun = Instant::now();
    answers(&mut socket).await.expect("an answer");
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn connections_are_cut_after_so_many_bytes() {
    let (server, heard) = echo().await;
    let proxy = Proxy::to(server).await;
    let mut socket = call(proxy.port()).await;
    answers(&mut socket).await.expect("an answer");
    // Five bytes there, five back, three there.
    proxy.break_it(Breakage::CutAfter(13));
    answers(&mut socket).await.expect("an answer");
    socket.write_all(b"hello").await.expect("sent");
    assert!(is_reset(&mut socket).await);
    // A reset takes along what was not read yet.
    assert!((10..=13).contains(&heard.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn urls_lead_through_it() {
    let (proxy, url) = Proxy::before("amqp://guest:guest@127.0.0.1:5672/%2f").await;
    assert_eq!(url, format!("amqp://guest:guest@127.0.0.1:{}/%2f", proxy.port()));
    let (proxy, url) = Proxy::before("mongodb://127.0.0.1:27017/?replicaSet=rs0").await;
    assert_eq!(url, format!("mongodb://127.0.0.1:{}/?directConnection=true", proxy.port()));
    answers(&mut call(proxy.port()).await).await.expect_err("nobody listens there");
}
