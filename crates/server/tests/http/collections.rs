//! Collections of recordings in an order, and filters that have a name.

use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::site::{Reply, SECRET, Site, site, site_in, snapshot_of, uuid};

async fn ask(site: &Site, method: &str, path: &str, body: Value) -> Reply {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {SECRET}"));
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    site.send(request.body(body).unwrap()).await
}

async fn a_site_with_three_recordings() -> Site {
    let site = site().await;
    let event = json!([{ "type": 5, "timestamp": 1_795_226_820_000_i64, "data": { "tag": "t", "payload": {} } }]);
    let snapshots: Vec<_> = ["one", "two", "three"]
        .iter()
        .zip(1..)
        .map(|(id, at)| snapshot_of(id, "w1", &uuid(at), event.clone()))
        .collect();
    site.keep(json!(snapshots).to_string()).await;
    site.store.seal_all().await.unwrap();
    site
}

async fn collection(site: &Site, name: &str) -> String {
    let made = ask(site, "POST", "/api/collections", json!({ "name": name })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    made.json()["id"].as_str().unwrap().to_owned()
}

async fn lay(site: &Site, id: &str, body: Value) -> StatusCode {
    ask(site, "POST", &format!("/api/collections/{id}/recordings"), body).await.status
}

async fn members(site: &Site, id: &str) -> Vec<String> {
    let whole = ask(site, "GET", &format!("/api/collections/{id}"), Value::Null).await.json();
    whole["recordings"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// Names of the collections that a query lists, with the number of their recordings.
async fn listed(site: &Site, query: &str) -> Vec<(String, u64)> {
    let list = ask(site, "GET", &format!("/api/collections?{query}"), Value::Null).await.json();
    let named = |of: &Value| (of["name"].as_str().unwrap().to_owned(), of["recording_count"].as_u64().unwrap());
    list["collections"].as_array().unwrap().iter().map(named).collect()
}

#[tokio::test]
async fn recordings_are_collected_in_an_order_that_somebody_chose() {
    let site = a_site_with_three_recordings().await;
    let id = collection(&site, " Checkout ").await;
    for recording in ["two", "one", "two"] {
        assert_eq!(lay(&site, &id, json!({ "recording": recording })).await, StatusCode::OK);
    }
    assert_eq!(members(&site, &id).await, ["two", "one"], "the second time, it stays where it is");
    for (recording, before, order) in [
        ("three", "one", ["two", "three", "one"]),
        ("one", "two", ["one", "two", "three"]),
        ("one", "three", ["two", "one", "three"]),
        ("one", "one", ["two", "one", "three"]),
    ] {
        assert_eq!(lay(&site, &id, json!({ "recording": recording, "before": before })).await, StatusCode::OK);
        assert_eq!(members(&site, &id).await, order, "{recording} before {before}");
    }
    let path = format!("/api/collections/{id}");
    assert_eq!(ask(&site, "PATCH", &path, json!({ "name": "Bugs" })).await.json()["name"], "Bugs");
    collection(&site, "Empty").await;
    assert_eq!(listed(&site, "").await, [("Bugs".to_owned(), 3), ("Empty".to_owned(), 0)]);
    assert_eq!(listed(&site, "recording=two").await, [("Bugs".to_owned(), 3)]);
    let out = format!("{path}/recordings/one");
    assert_eq!(ask(&site, "DELETE", &out, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(&site, "DELETE", &out, Value::Null).await.status, StatusCode::NOT_FOUND);
    assert_eq!(members(&site, &id).await, ["two", "three"]);
    ask(&site, "DELETE", "/api/recordings/three", Value::Null).await;
    assert_eq!(members(&site, &id).await, ["two"], "what is deleted is in no collection");
    assert_eq!(listed(&site, "recording=three").await, []);
    assert_eq!(ask(&site, "DELETE", &path, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(&site, "GET", &path, Value::Null).await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.recordings().await, ["one", "two"], "recordings of a collection that is deleted stay");
}

#[tokio::test]
async fn what_is_wrong_with_a_collection_is_said_and_changes_nothing() {
    let site = a_site_with_three_recordings().await;
    let id = collection(&site, "Checkout").await;
    lay(&site, &id, json!({ "recording": "one" })).await;
    for (body, status) in [
        (json!({ "recording": "none" }), StatusCode::NOT_FOUND),
        (json!({ "recording": "one", "before": "two" }), StatusCode::NOT_FOUND),
        (json!({ "recording": "two", "before": "no id" }), StatusCode::NOT_FOUND),
        (json!({ "recording": "one", "after": "two" }), StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(lay(&site, &id, body.clone()).await, status, "{body}");
    }
    for name in [String::new(), "x".repeat(101), "two\nlines".to_owned()] {
        let named = json!({ "name": name });
        assert_eq!(ask(&site, "POST", "/api/collections", named.clone()).await.status, StatusCode::BAD_REQUEST);
        let path = format!("/api/collections/{id}");
        assert_eq!(ask(&site, "PATCH", &path, named).await.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!((members(&site, &id).await, listed(&site, "").await.len()), (vec!["one".to_owned()], 1));
}

#[tokio::test]
async fn a_filter_has_a_name_and_one_query() {
    let site = site().await;
    for (name, query) in [("To look at", "?errors=1&tag=checkout"), ("Live", "live=1"), ("To look at", "unseen=1")] {
        let saved = ask(&site, "POST", "/api/filters", json!({ "name": name, "query": query })).await;
        assert_eq!(saved.status, StatusCode::CREATED, "{}", saved.text());
    }
    let list = ask(&site, "GET", "/api/filters", Value::Null).await.json();
    let shown: Vec<_> = list["filters"].as_array().unwrap().iter().map(|of| (&of["name"], &of["query"])).collect();
    let (look_at, live) = ((json!("To look at"), json!("unseen=1")), (json!("Live"), json!("live=1")));
    assert_eq!(shown, [(&look_at.0, &look_at.1), (&live.0, &live.1)], "the same name is written over");
    for query in ["a b", "a#b", "a\nb", "ä", &"x".repeat(2_001)] {
        let refused = ask(&site, "POST", "/api/filters", json!({ "name": "Odd", "query": query })).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{query}");
    }
    let path = format!("/api/filters/{}", list["filters"][0]["id"].as_str().unwrap());
    assert_eq!(ask(&site, "DELETE", &path, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(&site, "DELETE", &path, Value::Null).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn collections_and_filters_survive_a_rebuild_and_a_directory_of_objects_alone() {
    let site = a_site_with_three_recordings().await;
    let id = collection(&site, "Checkout").await;
    lay(&site, &id, json!({ "recording": "two" })).await;
    ask(&site, "POST", "/api/filters", json!({ "name": "New", "query": "unseen=1" })).await;
    let dir = site.stop().await;
    reelcase_store::Store::rebuild(dir.path(), "test").await.unwrap();
    let site = site_in(dir, |_| (), |_| ()).await;
    assert_eq!(members(&site, &id).await, ["two"]);
    let dir = site.stop().await;
    for file in std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path()) {
        if file.is_file() {
            std::fs::remove_file(file).unwrap();
        }
    }
    // Its files are now those of another store, which are taken in once: what is deleted then stays deleted.
    reelcase_store::Store::rebuild(dir.path(), "test").await.unwrap();
    let site = site_in(dir, |_| (), |_| ()).await;
    assert_eq!(members(&site, &id).await, ["two"]);
    let filters = ask(&site, "GET", "/api/filters", Value::Null).await.json();
    assert_eq!(filters["filters"][0]["name"], "New");
    ask(&site, "DELETE", &format!("/api/collections/{id}"), Value::Null).await;
    let site = site_in(site.stop().await, |_| (), |_| ()).await;
    assert_eq!(listed(&site, "").await, []);
}

#[tokio::test]
async fn a_file_that_is_damaged_or_lost_is_written_anew_and_one_of_a_newer_release_stays() {
    let site = a_site_with_three_recordings().await;
    let id = collection(&site, "Checkout").await;
    lay(&site, &id, json!({ "recording": "two" })).await;
    let dir = site.stop().await;
    let objects = std::fs::read_dir(dir.path().join("objects")).unwrap().map(|entry| entry.unwrap().path());
    let file = objects.map(|store| store.join("collections.json")).find(|file| file.exists()).unwrap();
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, whole.replace("Checkout", "Chuckout")).unwrap();
    let site = site_in(dir, |_| (), |_| ()).await;
    assert_eq!(listed(&site, "").await, [("Checkout".to_owned(), 1)]);
    assert!(file.with_file_name("collections.json.damaged-1").exists());
    let dir = site.stop().await;
    std::fs::remove_file(&file).unwrap();
    let site = site_in(dir, |_| (), |_| ()).await;
    assert_eq!(listed(&site, "").await, [("Checkout".to_owned(), 1)]);
    assert!(file.exists());
    let dir = site.stop().await;
    let newer = whole.replace("\"version\": 1", "\"version\": 2");
    std::fs::write(&file, &newer).unwrap();
    let site = site_in(dir, |_| (), |_| ()).await;
    for (method, body) in [("GET", Value::Null), ("POST", json!({ "name": "Another" }))] {
        let refused = ask(&site, method, "/api/collections", body).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "newer_document"));
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), newer);
}

#[tokio::test]
async fn there_is_an_end_to_collections_and_filters() {
    let site = site().await;
    for number in 0..200 {
        collection(&site, &format!("number {number}")).await;
        ask(&site, "POST", "/api/filters", json!({ "name": format!("number {number}"), "query": "" })).await;
    }
    for (path, body) in
        [("/api/collections", json!({ "name": "x" })), ("/api/filters", json!({ "name": "x", "query": "" }))]
    {
        let refused = ask(&site, "POST", path, body).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::CONFLICT, "too_many"));
    }
}
