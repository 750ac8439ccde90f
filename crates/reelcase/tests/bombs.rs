//! Bombs cost their sender more than the server: measured on the real process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod common;

use std::io::Write;

use common::Server;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::StatusCode;

/// How much the process may grow while 32 bombs arrive at once. It is a tenth of that, or a third where sealing happens
/// to meet many of them.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
const BOMBS: usize = 32;
/// Events of an upload that hold bombs, four each.
const EVENTS: usize = 4;
const MIB: usize = 1 << 20;

fn gzip_of(pieces: usize, piece: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..pieces {
        encoder.write_all(piece).unwrap();
    }
    encoder.finish().unwrap()
}

/// gzip of half a gigabyte: about half a megabyte.
fn bomb() -> Vec<u8> {
    gzip_of(512, &vec![b' '; MIB])
}

/// A string that inflates to 8 MiB, as PostHog's inner compression would write it. No two are alike, because the gzip
/// around them would make one of many.
fn nested_field(seed: u64) -> String {
    let mut state = seed | 1;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let noise: Vec<u8> = (0..64).flat_map(|_| noise()).collect();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&noise).unwrap();
    (0..8).for_each(|_| encoder.write_all(&vec![b' '; MIB]).unwrap());
    let packed = encoder.finish().unwrap();
    serde_json::to_string(&packed.into_iter().map(char::from).collect::<String>()).unwrap()
}

/// Events whose four fields inflate nearly a thousandfold each.
fn nested_bombs(events: usize) -> Vec<String> {
    let event = |index: usize| {
        let [adds, removes, texts, attributes] = [1, 2, 3, 4].map(|part| nested_field(index as u64 * 977 + part));
        format!(
            r#"{{"type":3,"timestamp":1795226820022,"cv":"2024-10","data":{{"source":0,"adds":{adds},"removes":{removes},"texts":{texts},"attributes":{attributes}}}}}"#
        )
    };
    (0..events).map(event).collect()
}

/// An upload of a page, and of `events`.
fn upload(session: &str, events: &[String]) -> Vec<u8> {
    let page = r#"{"type":4,"timestamp":1795226820021,"data":{"href":"https://shop.example/","width":8,"height":6}}"#;
    let events: String = events.iter().map(|event| format!(",{event}")).collect();
    let upload = format!(
        r#"[{{"event":"$snapshot","properties":{{"token":"phc_test","$session_id":"{session}","$window_id":"w","$snapshot_data":[{page}{events}]}}}}]"#
    );
    gzip_of(1, upload.as_bytes())
}

/// Sends all bodies at once and says how each was answered.
async fn send_all(server: &Server, bodies: Vec<Vec<u8>>) -> Vec<StatusCode> {
    let client = reqwest::Client::new();
    let sending: Vec<_> = bodies
        .into_iter()
        .map(|body| {
            let request = client.post(format!("{}/s/", server.url)).header("content-type", "text/plain").body(body);
            tokio::spawn(async move { request.send().await.unwrap().status() })
        })
        .collect();
    let mut answers = Vec::new();
    for answer in sending {
        answers.push(answer.await.unwrap());
    }
    answers
}

/// A server that has served as many uploads of the same size, so that what those take anyway does not count as growth.
async fn warm_server(data: &std::path::Path, bombs: &[String]) -> Server {
    let server = Server::start(data);
    let harmless: Vec<_> = bombs.iter().map(|event| event.replace("\"cv\"", "\"no\"")).collect();
    let ordinary = (0..BOMBS).map(|index| upload(&format!("warm-{index}"), &harmless)).collect();
    assert!(send_all(&server, ordinary).await.iter().all(|status| status.is_success()));
    for index in 0..BOMBS {
        server.api(&format!("/api/recordings/warm-{index}")).await;
    }
    server
}

#[tokio::test]
async fn bombs_are_refused_without_being_held() {
    let dir = tempfile::tempdir().unwrap();
    let server = warm_server(dir.path(), &nested_bombs(1)).await;
    let before = server.peak_bytes();
    for body in [bomb(), gzip_of(1, &bomb())] {
        let answers = send_all(&server, vec![body; BOMBS]).await;
        assert!(answers.iter().all(|status| *status == StatusCode::PAYLOAD_TOO_LARGE), "{answers:?}");
    }
    let growth = server.peak_bytes() - before;
    println!("{BOMBS} bombs grew the server by {} KiB", growth >> 10);
    assert!(growth <= GROWTH_BYTES_MAX, "{BOMBS} bombs grew the server by {growth} bytes");
}

#[tokio::test]
async fn bombs_within_events_are_kept_as_sent_and_cost_the_others_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bombs = nested_bombs(EVENTS);
    let server = warm_server(dir.path(), &bombs).await;
    let before = server.peak_bytes();
    let bodies = (0..BOMBS).map(|index| upload(&format!("nested-{index}"), &bombs)).collect();
    let answers = send_all(&server, bodies).await;
    assert!(answers.iter().all(|status| status.is_success()), "{answers:?}");
    for index in 0..BOMBS {
        let recording = server.api(&format!("/api/recordings/nested-{index}")).await;
        assert_eq!(recording["event_count"], EVENTS + 1, "all events are there, readable or not");
    }
    let growth = server.peak_bytes() - before;
    println!("{BOMBS} nested bombs grew the server by {} KiB", growth >> 10);
    assert!(growth <= GROWTH_BYTES_MAX, "{BOMBS} nested bombs grew the server by {growth} bytes");
}
