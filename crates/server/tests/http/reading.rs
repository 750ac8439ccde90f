//! What the player and the command line are promised.

use axum::http::{Request, StatusCode};
use serde_json::json;

use crate::site::{SECRET, SESSION, gunzip, one_snapshot, site, snapshot, uuid};

#[test]
fn the_checked_in_description_of_the_api_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let current = reelcase_server::api::openapi_json();
    if std::env::var_os("REELCASE_UPDATE").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(stored == current, "docs/openapi.json is out of date: run the tests with REELCASE_UPDATE=1");
}

#[tokio::test]
async fn doctor_says_what_is_missing() {
    let site = site().await;
    let report = site.read("/api/doctor").await.json();
    let uploads = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "uploads").unwrap();
    assert_eq!(uploads["state"], "warn");
    assert!(uploads["hint"].as_str().unwrap().contains("api_host"));
}

#[tokio::test]
async fn blocks_come_as_stored_or_in_a_coding_the_client_takes() {
    let site = site().await;
    site.post("/s/", "application/json", one_snapshot()).await;
    let list = site.read(&format!("/api/recordings/{SESSION}/blocks")).await.json();
    let url = list["blocks"][0]["url"].as_str().unwrap();
    assert_eq!(list["blocks"][0]["keyframes"][0]["window"], "w1");
    let plain = site.read(url).await;
    assert_eq!(plain.text().lines().count(), 2, "{}", plain.text());
    for (coding, undo) in [("zstd", unzstd as fn(&[u8]) -> std::io::Result<Vec<u8>>), ("gzip", gunzip)] {
        let request =
            Request::get(url).header("authorization", format!("Bearer {SECRET}")).header("accept-encoding", coding);
        let reply = site.send(request.body(Vec::new()).unwrap()).await;
        assert_eq!(reply.headers["content-encoding"], coding);
        assert!(reply.headers["cache-control"].to_str().unwrap().contains("immutable"));
        assert_eq!(undo(&reply.body).unwrap(), plain.body);
    }
}

#[tokio::test]
async fn whoever_follows_a_recording_hears_of_new_blocks() {
    let site = site().await;
    site.post("/s/", "application/json", one_snapshot()).await;
    let path = format!("/api/recordings/{SESSION}/blocks");
    let version = site.read(&path).await.json()["version"].as_str().unwrap().to_owned();
    let more = json!([snapshot(SESSION, &uuid(10))]).to_string();
    let waiting_path = format!("{path}?after={version}&wait_ms=20000");
    let (news, sent) = tokio::join!(site.read(&waiting_path), async {
        tokio::task::yield_now().await;
        site.post("/s/", "application/json", more).await
    });
    assert_eq!(sent.status, StatusCode::OK);
    assert_eq!(news.json()["blocks"].as_array().unwrap().len(), 2);
    let nothing_new = format!("{path}?after={}&wait_ms=1", news.json()["version"].as_str().unwrap());
    assert_eq!(site.read(&nothing_new).await.status, StatusCode::OK);
}

#[tokio::test]
async fn exports_hold_every_line() {
    let site = site().await;
    site.post("/s/", "application/json", one_snapshot()).await;
    let lines = site.read(&format!("/api/recordings/{SESSION}/export?format=jsonl")).await;
    assert_eq!(lines.text().lines().count(), 2);
    assert!(lines.text().starts_with(r#"["w1",{"#), "{}", lines.text());
    let reel = site.read(&format!("/api/recordings/{SESSION}/export?format=reel")).await;
    assert_eq!(reel.status, StatusCode::OK);
    assert_eq!(zstd::decode_all(reel.body.as_slice()).unwrap()[..lines.body.len()], lines.body);
    assert_eq!(
        site.read(&format!("/api/recordings/{SESSION}/export?format=gif")).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(site.read("/api/recordings/unknown/export?format=reel").await.status, StatusCode::NOT_FOUND);
}

fn unzstd(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    zstd::decode_all(bytes)
}
