//! Connections that are handed over to WebSocket: bytes pass both ways as they come. Chromium speaks through one in
//! `web/e2e/tee.test.mjs`.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{Request, StatusCode};
use reelcase_server::{Mode, UpstreamOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::site::{PATIENCE, SECRET, Site, site_with};
use crate::standin::Standin;

const ASKED: &[u8] = b"GET /socket HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// Changes the protocol, and then sends back whatever comes. What was asked is the first thing that it says.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = read_until(&mut stream, b"\r\n\r\n").await;
                let agreed = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
                stream.write_all(&[&agreed[..], &head, b"<end of head>"].concat()).await.unwrap();
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    address
}

async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        let some = tokio::time::timeout(PATIENCE, stream.read_buf(&mut read)).await.unwrap().unwrap();
        assert!(some > 0, "ended after {:?}", String::from_utf8_lossy(&read));
    }
    read
}

fn posthog_at(address: SocketAddr) -> UpstreamOptions {
    let hosts = format!("http://{address}").parse().unwrap();
    UpstreamOptions { is_checked: false, ..UpstreamOptions::new(hosts) }
}

async fn site_before(address: SocketAddr, mode: Mode, idle: Duration) -> Site {
    let upstream = UpstreamOptions { mode, ..posthog_at(address) };
    site_with(|options| {
        options.upstream = Some(upstream);
        options.timeouts.idle = idle;
    })
    .await
}

#[tokio::test]
async fn bytes_pass_both_ways_in_every_mode_in_which_posthog_is_asked() {
    for mode in [Mode::Tee, Mode::Mirror, Mode::Pass] {
        let site = site_before(echo().await, mode, PATIENCE).await;
        let mut stream = site.connect().await;
        let cookie = format!("Cookie: reelcase_session=abc; other=1\r\nAuthorization: Bearer {SECRET}\r\n\r\n");
        // With what does not wait for the answer.
        stream.write_all(&[ASKED, cookie.as_bytes(), b"early "].concat()).await.unwrap();
        let answer = String::from_utf8(read_until(&mut stream, b"<end of head>early ").await).unwrap();
        let (reply, asked) = answer.split_once("\r\n\r\n").unwrap();
        let (reply, asked) = (reply.to_ascii_lowercase(), asked.to_ascii_lowercase());
        for line in ["http/1.1 101", "connection: upgrade", "upgrade: websocket", "sec-websocket-accept: s3pplmbi"] {
            assert!(reply.contains(line), "{reply}");
        }
        for line in
            ["connection: upgrade", "upgrade: websocket", "sec-websocket-key: dghl", "x-forwarded-for: 127.0.0.1"]
        {
            assert!(asked.contains(line), "{asked}");
        }
        assert!(!asked.contains("reelcase_session") && !asked.contains(SECRET), "{asked}");
        for size in [1, 70_000, 3] {
            let sent: Vec<u8> = (0..size).map(|number| (number % 251) as u8).collect();
            stream.write_all(&sent).await.unwrap();
            let mut back = vec![0; size];
            tokio::time::timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
            assert_eq!(back, sent);
        }
        stream.shutdown().await.unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, stream.read(&mut [0; 8])).await.unwrap().unwrap(), 0, "both end");
    }
}

#[tokio::test]
async fn a_tunnel_that_nobody_uses_ends_and_one_does_not_outlive_the_server() {
    let site = site_before(echo().await, Mode::Tee, Duration::from_millis(200)).await;
    let mut stream = site.connect().await;
    stream.write_all(&[ASKED, b"\r\n"].concat()).await.unwrap();
    read_until(&mut stream, b"<end of head>").await;
    assert_eq!(tokio::time::timeout(PATIENCE, stream.read(&mut [0; 8])).await.unwrap().unwrap_or(0), 0);

    let site = site_before(echo().await, Mode::Tee, PATIENCE).await;
    let mut stream = site.connect().await;
    stream.write_all(&[ASKED, b"\r\n"].concat()).await.unwrap();
    read_until(&mut stream, b"<end of head>").await;
    site.stop().await;
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn what_posthog_refuses_is_answered_and_other_protocols_are_not_asked_for() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    let ask = |method: &str, protocol: &str| {
        let request = Request::builder().method(method).uri("/socket").header("connection", "upgrade");
        request.header("upgrade", protocol).body(Vec::new()).unwrap()
    };
    let refused = site.send(ask("GET", "websocket")).await;
    assert_eq!((refused.status.is_server_error(), refused.header("x-posthog")), (false, "yes"), "PostHog's to say");
    assert_eq!(posthog.seen().len(), 1);
    for (method, protocol) in [("GET", "h2c"), ("POST", "websocket"), ("GET", "websocket, h2c")] {
        let reply = site.send(ask(method, protocol)).await;
        assert_eq!((reply.status, reply.code().as_str()), (StatusCode::NOT_IMPLEMENTED, "no_upgrade"), "{protocol}");
    }
    assert_eq!(posthog.seen().len(), 1);
    let storing = posthog.site_with(|options| options.mode = Mode::Store).await;
    assert_eq!(storing.send(ask("GET", "websocket")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn as_many_tunnels_as_may_be_then_503_until_one_ends() {
    let upstream = posthog_at(echo().await);
    assert_eq!(upstream.tunnels_max, 1_000, "docs/tee.md says so");
    let upstream = UpstreamOptions { tunnels_max: 3, ..upstream };
    let site = site_with(|options| options.upstream = Some(upstream)).await;
    let asked = [ASKED, b"\r\n"].concat();
    let mut tunnels = Vec::new();
    for _ in 0..3 {
        let mut stream = site.connect().await;
        stream.write_all(&asked).await.unwrap();
        read_until(&mut stream, b"<end of head>").await;
        tunnels.push(stream);
    }
    let mut refused = site.connect().await;
    refused.write_all(&asked).await.unwrap();
    let answer = String::from_utf8(read_until(&mut refused, b"}").await).unwrap().to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 503") && answer.contains("retry-after: 5"), "{answer}");

    for stream in &mut tunnels {
        stream.write_all(b"on").await.unwrap();
        read_until(stream, b"on").await;
    }
    tunnels.pop();
    let again = async {
        loop {
            let mut stream = site.connect().await;
            stream.write_all(&asked).await.unwrap();
            let mut status = [0; b"HTTP/1.1 101".len()];
            stream.read_exact(&mut status).await.unwrap();
            if status == *b"HTTP/1.1 101" {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}
