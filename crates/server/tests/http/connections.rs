//! How connections begin, wait and end.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::site::{PATIENCE, SESSION, Site, one_snapshot, parse, site, site_with, snapshot, uuid};
use crate::standin::Standin;
use crate::tee::eventually;

#[tokio::test]
async fn a_request_whose_head_never_ends_is_cut_off() {
    let site = site_with(|options| options.timeouts.head = Duration::from_millis(50)).await;
    let mut stream = site.connect().await;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut reply = Vec::new();
    // Without the timer this would wait for ever, and fail by the limit of the test.
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut reply)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_body_that_stops_coming_is_answered_503() {
    let site = site_with(|options| options.timeouts.body_piece = Duration::from_millis(50)).await;
    let mut stream = site.connect().await;
    stream.write_all(b"POST /s/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[").await.unwrap();
    let mut reply = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut reply)).await.unwrap().unwrap();
    let reply = String::from_utf8(reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 503") && reply.to_lowercase().contains("retry-after"), "{reply}");
}

#[tokio::test]
async fn shutdown_ends_idle_connections_and_returns() {
    let site = site().await;
    let (address, mut stream) = (site.address, site.connect().await);
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    site.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

/// Asks for something small and reads the answer, on a connection that goes on.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await.unwrap().unwrap();
        assert!(read > 0, "the connection ended: {}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(parse(&answer).status, StatusCode::OK);
}

/// Waits until the server has ended a connection, and says when it did not.
async fn assert_ends(stream: &mut TcpStream) {
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
    ended.expect("the server did not end the connection").unwrap();
}

/// Long enough for the head of a request on a machine that does much else.
const HEAD: Duration = Duration::from_millis(800);

#[tokio::test]
async fn an_idle_connection_is_not_closed_while_browsers_and_proxies_may_still_use_it() {
    let site = site_with(|options| options.timeouts.head = HEAD).await;
    let mut stream = site.connect().await;
    ask(&mut stream).await;
    tokio::time::sleep(2 * HEAD).await;
    ask(&mut stream).await;
    // Once the next request has begun, its head has to come soon.
    stream.write_all(b"GET /health HTTP/1.1\r\n").await.unwrap();
    assert_ends(&mut stream).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_sooner_when_few_are_free() {
    let crowded = site_with(|options| {
        options.timeouts.head = HEAD;
        options.connections_max = 4;
    })
    .await;
    let mut first = crowded.connect().await;
    ask(&mut first).await;
    // How long it may be idle is decided a moment after the answer.
    tokio::time::sleep(HEAD / 2).await;
    // The places of those that come next are taken when they are waited for, so the fourth is the last.
    let (mut second, mut third) = (crowded.connect().await, crowded.connect().await);
    ask(&mut second).await;
    ask(&mut third).await;
    assert_ends(&mut third).await;
    ask(&mut first).await;
}

/// Uploads of clients that are gone before they are answered, each of its own recording.
async fn send_and_leave(site: &Site, sessions: u32, filler_bytes: usize) {
    for number in 0..sessions {
        let mut upload = snapshot(&format!("left-{number}"), &uuid(number));
        upload["properties"]["filler"] = "x".repeat(filler_bytes).into();
        let body = json!([upload]).to_string();
        let head = format!("POST /s/ HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut stream = site.connect().await;
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn what_a_page_sent_before_it_was_left_is_kept_though_nobody_waits_for_the_answer() {
    let site = site().await;
    // Longer ones come in pieces, and are decoded on another thread.
    send_and_leave(&site, 20, 100).await;
    eventually(|| async { site.recordings().await.len() == 20 }).await;
    let site = crate::site::site().await;
    send_and_leave(&site, 20, 200_000).await;
    eventually(|| async { site.recordings().await.len() == 20 }).await;

    let posthog = Standin::start().await;
    let tee = posthog.site().await;
    send_and_leave(&tee, 20, 200_000).await;
    eventually(|| async { posthog.seen().len() == 20 && tee.recordings().await.len() == 20 }).await;
}

#[tokio::test]
async fn a_client_that_only_listens_any_more_is_answered() {
    let site = site().await;
    let mut stream = site.connect().await;
    let body = one_snapshot();
    let head = format!("POST /s/ HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(parse(&answer).status, StatusCode::OK);
}

/// How many slow clients there are. Each is a descriptor on both sides.
const SLOW_CLIENTS: usize = 1_200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_dribble_keep_nobody_else_out() {
    let site = site().await;
    let mut slow = Vec::new();
    for number in 0..SLOW_CLIENTS {
        let mut stream = site.connect().await;
        let head: &[u8] = match number % 3 {
            0 => b"POST /s/ HTTP/1.1\r\nhost: x\r\nx-slow: ",
            1 => b"POST /s/ HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n[",
            _ => b"POST /s/ HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\n[\r\n",
        };
        stream.write_all(head).await.unwrap();
        slow.push(stream);
    }
    for round in 0..3 {
        for (number, stream) in slow.iter_mut().enumerate() {
            let drop_of_it: &[u8] = if number % 3 == 2 { b"1\r\n \r\n" } else { b" " };
            stream.write_all(drop_of_it).await.unwrap();
        }
        let upload = one_snapshot().replace(SESSION, &format!("beside-the-slow-{round}"));
        site.keep(upload.replace(&uuid(1), &uuid(round))).await;
    }
    let metrics = site.metrics().await;
    let open = metrics.lines().find_map(|line| line.strip_prefix("reelcase_connections_open ")).unwrap();
    assert!(open.parse::<usize>().unwrap() > SLOW_CLIENTS, "{open}");
    assert_eq!(site.recordings().await.len(), 3);
}

#[tokio::test]
async fn a_body_that_goes_on_too_long_is_answered_503() {
    let site = site_with(|options| options.timeouts.body = Duration::from_millis(200)).await;
    let mut stream = site.connect().await;
    stream.write_all(b"POST /s/ HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let dribbling = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, reading.read_to_end(&mut answer)).await.unwrap();
    dribbling.abort();
    let reply = parse(&answer);
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "slow_body"));
}

#[tokio::test]
async fn connections_past_the_limit_wait_until_another_one_ends() {
    let site = site_with(|options| options.connections_max = 2).await;
    let (first, _second) = (site.connect().await, site.connect().await);
    let mut third = site.connect().await;
    third.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let waiting = tokio::time::timeout(Duration::from_millis(200), third.read_to_end(&mut answer)).await;
    assert!(waiting.is_err(), "it is not served yet");
    drop(first);
    tokio::time::timeout(PATIENCE, third.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(parse(&answer).status, StatusCode::OK);
}

const ASK: &[u8] = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n";

/// Reads until as many answers as asked for are there, whole.
async fn read_answers(stream: &mut TcpStream, count: usize) -> String {
    let mut text = String::new();
    let mut piece = [0; 1024];
    while text.matches(r#"{"status":"ok"}"#).count() < count {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await.unwrap().unwrap();
        assert_ne!(read, 0, "closed after {text}");
        text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    text
}

#[tokio::test]
async fn a_connection_lasts_for_as_long_as_requests_come() {
    let site = site_with(|options| options.timeouts.head = Duration::from_secs(2)).await;
    let mut stream = site.connect().await;
    for _ in 0..4 {
        stream.write_all(ASK).await.unwrap();
        let answer = read_answers(&mut stream, 1).await;
        assert!(!answer.to_lowercase().contains("connection: close"), "{answer}");
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

#[tokio::test]
async fn a_connection_is_closed_when_none_comes_after_an_answer() {
    let site = site_with(|options| options.timeouts.idle = Duration::from_millis(100)).await;
    let mut stream = site.connect().await;
    stream.write_all(ASK).await.unwrap();
    read_answers(&mut stream, 1).await;
    let ended = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
    assert_eq!(ended.unwrap(), 0);
}

#[tokio::test]
async fn requests_that_come_before_the_answers_are_answered_in_turn() {
    let site = site().await;
    let mut stream = site.connect().await;
    let (some, rest) = ASK.split_at(20);
    stream.write_all(&[ASK, ASK, some].concat()).await.unwrap();
    read_answers(&mut stream, 2).await;
    stream.write_all(rest).await.unwrap();
    read_answers(&mut stream, 1).await;
    let many = 40;
    stream.write_all(&ASK.repeat(many)).await.unwrap();
    read_answers(&mut stream, many).await;
}

#[tokio::test]
async fn what_is_left_of_a_body_that_was_refused_is_no_request() {
    let site = site_with(|options| options.timeouts.body_piece = Duration::from_millis(50)).await;
    let mut stream = site.connect().await;
    stream.write_all(b"POST /s/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n[").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    // It may be closed already.
    let _ = stream.write_all(ASK).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(!String::from_utf8_lossy(&answer).contains(r#"{"status":"ok"}"#));
}
