//! Stores on a stick, and stores that become one.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::path::Path;

use common::{Server, corpus, run, text};
use serde_json::{Value, json};

/// What a store lists, by id, without what depends on when it was written.
fn list(data: &Path) -> Vec<Value> {
    let mut rows: Vec<Value> = run(&["ls", "--json", "--data", text(data)])
        .1
        .lines()
        .map(|line| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            for name in ["stored_bytes", "updated_at_ms", "is_live"] {
                row.as_object_mut().unwrap().remove(name);
            }
            row
        })
        .collect();
    rows.sort_by_key(|row| row["id"].to_string());
    rows
}

fn lines(data: &Path, id: &str) -> String {
    run(&["export", id, "--data", text(data), "--format", "jsonl"]).1
}

async fn post(server: &Server, path: &str, body: Value) {
    let url = format!("{}{path}", server.url);
    let reply = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
    assert!(reply.status().is_success());
}

/// One event of a recording, sealed by itself.
async fn send(server: &Server, id: &str, marker: u64) {
    let event =
        json!({ "type": 5, "data": { "tag": "n", "payload": marker }, "timestamp": 1_795_226_820_000 + marker });
    let properties = json!({ "token": "phc_test", "distinct_id": "ada", "$session_id": id, "$window_id": "w",
        "$snapshot_data": [event] });
    let uuid = format!("01a1fbdb-8270-7135-{marker:04x}-{:012x}", id.as_bytes()[0]);
    post(server, "/s/", json!([{ "event": "$snapshot", "uuid": uuid, "properties": properties }])).await;
    server.api(&format!("/api/recordings/{id}")).await;
}

#[tokio::test]
async fn a_store_is_carried_in_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to, packed) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("all.reel"));
    let server = Server::start(&from);
    let manifest: Value = serde_json::from_slice(&std::fs::read(corpus("posthog-js/manifest.json")).unwrap()).unwrap();
    for capture in manifest["captures"].as_array().unwrap().iter().step_by(5) {
        server.send_capture(capture).await;
    }
    send(&server, "mine", 1).await;
    let identify = json!({ "event": "$identify", "uuid": "01a1fbdb-8270-7135-9b23-000000000009", "api_key": "phc_test",
        "properties": { "distinct_id": "ada@example.org", "$anon_distinct_id": "ada", "$set": { "plan": "paid" } } });
    post(&server, "/e/", identify).await;
    server.stop();
    Server::start(&to).stop();

    let (is_ok, said) = run(&["pack", text(&packed), "--data", text(&from)]);
    assert!(is_ok, "{said}");
    assert!(run(&["verify", text(&packed)]).0);
    let (is_ok, said) = run(&["unpack", text(&packed), "--data", text(&to)]);
    assert!(is_ok, "{said}");
    let (sent, came) = (list(&from), list(&to));
    assert!(sent.len() > 8);
    assert_eq!(sent, came);
    for row in &sent {
        let id = row["id"].as_str().unwrap();
        assert!(lines(&from, id) == lines(&to, id), "{id}");
    }
    let mine = came.iter().find(|row| row["id"] == "mine").unwrap();
    assert_eq!(mine["person"]["properties"]["plan"], "paid", "who somebody is was said outside of recordings");
    let (is_ok, said) = run(&["unpack", text(&packed), "--data", text(&to)]);
    assert!(is_ok && said.contains("imported 0 recordings"), "{said}");
    let none = dir.path().join("none.reel");
    let (is_ok, said) = run(&["pack", text(&none), "--data", text(&from), "--where", "url=/nowhere"]);
    assert!(is_ok && said.contains("packed 0 recordings"), "{said}");
}

#[tokio::test]
async fn two_stores_become_one_whichever_had_what_and_however_often() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let server = Server::start(&one);
    send(&server, "a", 1).await;
    send(&server, "a", 2).await;
    send(&server, "b", 1).await;
    server.stop();
    let server = Server::start(&two);
    send(&server, "a", 2).await;
    send(&server, "a", 3).await;
    send(&server, "c", 1).await;
    server.stop();
    let before = list(&two);
    let (is_ok, said) = run(&["merge", text(&two), "--data", text(&one)]);
    assert!(is_ok && said.contains("merged 2 recordings; 0 are there already"), "{said}");
    let merged = list(&one);
    let counts: Vec<_> = merged.iter().map(|row| (row["id"].clone(), row["event_count"].clone())).collect();
    assert_eq!(json!(counts), json!([["a", 3], ["b", 1], ["c", 1]]));
    assert_eq!(lines(&one, "a").lines().count(), 3);
    for again in 0..2 {
        let (is_ok, said) = run(&["merge", text(&two), "--data", text(&one)]);
        assert!(is_ok && said.contains("merged 0 recordings; 2 are there already"), "{again}: {said}");
        assert_eq!(list(&one), merged, "{again}");
    }
    assert_eq!(list(&two), before, "the other store is only read");
    let (is_ok, said) = run(&["merge", text(&one), "--data", text(&two)]);
    assert!(is_ok, "{said}");
    assert_eq!(list(&two), merged, "and the other way round it comes to the same");
}
