//! A server makes exports by itself: only what is new, past kills, and with what went wrong said where one looks.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Server, files_below};
use reqwest::Method;
use serde_json::{Value, json};

async fn send(server: &Server, id: &str) {
    let body = format!(
        r#"[{{"event":"$snapshot","properties":{{"$session_id":"{id}","$window_id":"w","token":"phc_scheduled",
        "distinct_id":"d","$snapshot_data":[{{"type":5,"data":{{"tag":"t","payload":1}},"timestamp":1795226820022}}]}}}}]"#
    );
    let sent = reqwest::Client::new().post(format!("{}/s/", server.url)).body(body).send().await.unwrap();
    assert_eq!(sent.status(), 200);
}

async fn call(server: &Server, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = reqwest::Client::new().request(method, format!("{}/api/exports{path}", server.url));
    let reply = request.bearer_auth(&server.token).json(&body).send().await.unwrap();
    let status = reply.status().as_u16();
    (status, serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap_or_default())
}

/// Waits until the last run of an export is as it should be.
async fn run_that(server: &Server, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let since = Instant::now();
    loop {
        let list = server.api("/api/exports").await;
        let one = list["exports"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
        if one["is_running"] == false && is_it(&one["last_run"]) {
            return one["last_run"].clone();
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{one}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn exported(dir: &Path) -> Vec<String> {
    let files = files_below(dir);
    let names = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".reel")).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_export_is_made_by_itself_when_it_is_asked_for_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut server = Server::start(&data);
    send(&server, "one").await;
    let schedule = json!({ "to": "deep/nightly", "format": "reel", "every_s": 86_400, "is_on": true });
    assert_eq!(call(&server, Method::PUT, "/nightly", schedule.clone()).await.0, 200);
    let first = run_that(&server, "nightly", |run| run["exported_count"] == 1).await;
    assert_eq!((&first["error"], &first["unchanged_count"]), (&Value::Null, &json!(0)));
    let to = data.join("exports/deep/nightly");
    assert_eq!(exported(&to), ["one.reel"]);

    send(&server, "two").await;
    let (status, asked) = call(&server, Method::POST, "/nightly/run", Value::Null).await;
    assert_eq!((status, &asked["is_running"]), (202, &json!(true)));
    let second = run_that(&server, "nightly", |run| run["unchanged_count"] == 1).await;
    assert_eq!(second["exported_count"], 1, "what waited to be sealed is exported too");
    assert_eq!(exported(&to), ["one.reel", "two.reel"]);

    server.kill();
    let server = Server::start(&data);
    let kept = server.api("/api/exports").await["exports"][0].clone();
    assert_eq!((&kept["schedule"]["to"], &kept["last_run"]), (&json!("deep/nightly"), &second));
    let planned_ms = second["started_at_ms"].as_i64().unwrap() + 86_400_000;
    assert_eq!(kept["next_run_at_ms"].as_i64(), Some(planned_ms), "a restart is no reason to export again");
    // One that is off is made when somebody asks.
    let off =
        json!({ "to": "off", "format": "parquet", "filter": { "url": "nowhere" }, "every_s": 60, "is_on": false });
    assert_eq!(call(&server, Method::PUT, "/off", off).await.0, 200);
    assert_eq!(call(&server, Method::POST, "/off/run", Value::Null).await.0, 202);
    run_that(&server, "off", |run| run["exported_count"] == 0).await;
    assert_eq!(call(&server, Method::DELETE, "/nightly", Value::Null).await.0, 204);
    assert_eq!(exported(&to).len(), 2, "what was exported stays");
    server.stop();
}

#[tokio::test]
async fn what_cannot_be_exported_says_why_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data);
    send(&server, "one").await;
    std::fs::create_dir_all(data.join("exports")).unwrap();
    std::fs::write(data.join("exports/taken"), "a file").unwrap();
    let schedule = json!({ "to": "taken", "format": "jsonl", "every_s": 86_400, "is_on": true });
    assert_eq!(call(&server, Method::PUT, "/a", schedule).await.0, 200);
    let run = run_that(&server, "a", |run| run["error"].is_string()).await;
    let error = run["error"].as_str().unwrap();
    assert!(error.contains("cannot make") && error.contains("taken"), "{error}");
    std::fs::remove_file(data.join("exports/taken")).unwrap();
    assert_eq!(call(&server, Method::POST, "/a/run", Value::Null).await.0, 202);
    run_that(&server, "a", |run| run["exported_count"] == 1 && run["error"].is_null()).await;
}

#[tokio::test]
async fn what_no_export_can_be_is_refused_in_plain_words() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("data"));
    let good = json!({ "to": "a", "format": "reel", "filter": {}, "every_s": 60, "is_on": false });
    for (field, value, said) in [
        ("to", json!("/etc"), "write a folder below"),
        ("to", json!("../a"), "write a folder below"),
        ("to", json!("s3://"), "write a folder below"),
        ("format", json!("doc"), "there is no format"),
        ("every_s", json!(59), "60 to 2678400 seconds"),
        ("filter", json!({ "colour": "red" }), "colour"),
        ("filter", json!({ "limit": "1" }), "limit is no condition"),
        ("more", json!(1), "unknown field"),
    ] {
        let mut schedule = good.clone();
        schedule[field] = value;
        let (status, reply) = call(&server, Method::PUT, "/a", schedule).await;
        let message = reply["error"]["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(said), "{status} {message}");
    }
    assert_eq!(call(&server, Method::PUT, "/A%20b", good.clone()).await.0, 400);
    assert_eq!(call(&server, Method::DELETE, "/a", Value::Null).await.0, 404);
    assert_eq!(call(&server, Method::POST, "/a/run", Value::Null).await.0, 404);
    let stranger = reqwest::get(format!("{}/api/exports", server.url)).await.unwrap();
    assert_eq!(stranger.status(), 401);
    assert_eq!(server.api("/api/exports").await["exports"], json!([]));
}
