//! How connections begin and end, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use reelcase_server::{BoundServer, ServerOptions, Timeouts};
use reelcase_store::{Store, StoreOptions, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

async fn start(
    timeouts: Timeouts,
) -> (std::net::SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions::new(dir.path()), Arc::new(SystemClock)).await.unwrap();
    let options = ServerOptions { listen: "127.0.0.1:0".parse().unwrap(), timeouts, ..ServerOptions::default() };
    let server = BoundServer::bind(options, store).await.unwrap();
    let address = server.address();
    assert!(server.login_url().starts_with(&format!("http://{address}/?token=")));
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.serve(async { stopped.await.unwrap_or_default() }));
    (address, stop, running, dir)
}

#[tokio::test]
async fn a_request_whose_head_never_ends_is_cut_off() {
    let timeouts = Timeouts { head: Duration::from_millis(50), ..Timeouts::default() };
    let (address, _stop, _running, _dir) = start(timeouts).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut reply = Vec::new();
    // Without the timer this would wait for ever, and fail by the limit of the test.
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut reply)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_body_that_stops_coming_is_answered_503() {
    let timeouts = Timeouts { body_piece: Duration::from_millis(50), ..Timeouts::default() };
    let (address, _stop, _running, _dir) = start(timeouts).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST /s/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[").await.unwrap();
    let mut reply = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut reply)).await.unwrap().unwrap();
    let reply = String::from_utf8(reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 503") && reply.to_lowercase().contains("retry-after"), "{reply}");
}

#[tokio::test]
async fn shutdown_ends_idle_connections_and_returns() {
    let (address, stop, running, _dir) = start(Timeouts::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(10), running).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}
