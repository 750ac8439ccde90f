//! What people say of recordings, and what becomes of one that they delete.

use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::site::{Reply, SECRET, SESSION, Site, site, site_with, snapshot_of, uuid};

const T0: i64 = 1_795_226_820_000;

async fn ask(site: &Site, method: &str, path: &str, body: Value) -> Reply {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {SECRET}"));
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    site.send(request.body(body).unwrap()).await
}

fn event(at_ms: i64) -> Value {
    json!({ "type": 5, "timestamp": at_ms, "data": { "tag": "t", "payload": {} } })
}

async fn a_site_with_two_recordings() -> Site {
    let site = site().await;
    let (one, two) = (
        snapshot_of(SESSION, "w1", &uuid(1), json!([event(T0)])),
        snapshot_of("two", "w1", &uuid(2), json!([event(T0 + 1)])),
    );
    site.keep(json!([one, two]).to_string()).await;
    site.store.seal_all().await.unwrap();
    site
}

async fn listed(site: &Site, query: &str) -> Vec<String> {
    let page = ask(site, "GET", &format!("/api/recordings?{query}"), Value::Null).await.json();
    page["recordings"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_recording_is_tagged_pinned_and_seen_and_the_list_is_narrowed_by_that() {
    let site = a_site_with_two_recordings().await;
    let notes = format!("/api/recordings/{SESSION}/notes");
    let none = ask(&site, "GET", &notes, Value::Null).await.json();
    assert_eq!(none, json!({ "comments": [], "tags": [], "is_pinned": false, "seen_at_ms": null }));
    let tagged =
        ask(&site, "PATCH", &notes, json!({ "tags": [" rage ", "checkout", "rage"], "is_pinned": true })).await;
    assert_eq!(tagged.json()["tags"], json!(["checkout", "rage"]), "{}", tagged.text());
    let seen = ask(&site, "PATCH", &notes, json!({ "is_seen": true })).await.json();
    assert!(seen["seen_at_ms"].is_i64() && seen["is_pinned"] == true && seen["tags"] == json!(["checkout", "rage"]));
    for (query, expected) in [
        ("tag=rage", vec![SESSION]),
        ("tag=rag", vec![]),
        ("pinned=true", vec![SESSION]),
        ("pinned=false", vec!["two"]),
        ("seen=false", vec!["two"]),
        ("seen=true&tag=checkout", vec![SESSION]),
        ("commented=true", vec![]),
    ] {
        assert_eq!(listed(&site, query).await, expected, "{query}");
    }
    let row = ask(&site, "GET", &format!("/api/recordings/{SESSION}"), Value::Null).await.json();
    let shown = ["tags", "is_pinned", "is_seen", "comment_count"].map(|name| row[name].clone());
    assert_eq!(shown, [json!(["checkout", "rage"]), json!(true), json!(true), json!(0)]);
    let tags = ask(&site, "GET", "/api/tags?project=phc_test", Value::Null).await.json();
    assert_eq!(tags["tags"][1], json!({ "tag": "rage", "recording_count": 1 }));
    let taken_back =
        ask(&site, "PATCH", &notes, json!({ "tags": [], "is_pinned": false, "is_seen": false })).await.json();
    assert_eq!(taken_back, none);
}

#[tokio::test]
async fn a_moment_is_commented_on_and_the_comment_changed_and_deleted() {
    let site = a_site_with_two_recordings().await;
    let comments = format!("/api/recordings/{SESSION}/comments");
    let late = ask(&site, "POST", &comments, json!({ "text": "Later", "at_ms": T0 + 9 })).await;
    assert_eq!(late.status, StatusCode::CREATED, "{}", late.text());
    let early =
        ask(&site, "POST", &comments, json!({ "text": " Two\nlines ", "at_ms": T0, "author": "Ada" })).await.json();
    assert_eq!((&early["text"], &early["author"]), (&json!("Two\nlines"), &json!("Ada")));
    ask(&site, "POST", &comments, json!({ "text": "Of the whole" })).await;
    let texts = async || {
        let notes = ask(&site, "GET", &format!("/api/recordings/{SESSION}/notes"), Value::Null).await.json();
        notes["comments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|of| of["text"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(texts().await, ["Of the whole", "Two\nlines", "Later"]);
    assert_eq!(listed(&site, "commented=true").await, [SESSION]);
    let of = format!("{comments}/{}", early["id"].as_str().unwrap());
    let changed = ask(&site, "PATCH", &of, json!({ "text": "Better" })).await.json();
    assert!(changed["edited_at_ms"].is_i64() && changed["written_at_ms"] == early["written_at_ms"]);
    assert_eq!(ask(&site, "DELETE", &of, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ask(&site, "DELETE", &of, Value::Null).await.status, StatusCode::NOT_FOUND);
    assert_eq!(texts().await, ["Of the whole", "Later"]);
}

#[tokio::test]
async fn a_moment_is_tagged_with_words_or_without_and_the_list_finds_it() {
    let site = a_site_with_two_recordings().await;
    let comments = format!("/api/recordings/{SESSION}/comments");
    ask(&site, "PATCH", &format!("/api/recordings/{SESSION}/notes"), json!({ "tags": ["checkout"] })).await;
    let tagged = ask(&site, "POST", &comments, json!({ "tags": ["rage", " cart ", "rage"], "at_ms": T0 })).await;
    assert_eq!(tagged.status, StatusCode::CREATED, "{}", tagged.text());
    let tagged = tagged.json();
    assert_eq!((&tagged["text"], &tagged["tags"]), (&json!(""), &json!(["cart", "rage"])));
    for tag in ["cart", "rage", "checkout"] {
        assert_eq!(listed(&site, &format!("tag={tag}")).await, [SESSION], "{tag}");
    }
    let row = ask(&site, "GET", &format!("/api/recordings/{SESSION}"), Value::Null).await.json();
    assert_eq!(row["tags"], json!(["cart", "checkout", "rage"]), "a list shows those of its moments too");
    let of = format!("{comments}/{}", tagged["id"].as_str().unwrap());
    let bare = ask(&site, "PATCH", &of, json!({ "tags": [] })).await;
    assert_eq!(bare.status, StatusCode::BAD_REQUEST, "nothing would be left of it: {}", bare.text());
    let told = ask(&site, "PATCH", &of, json!({ "text": "Twice" })).await.json();
    assert_eq!((&told["text"], &told["tags"]), (&json!("Twice"), &json!(["cart", "rage"])));
    let told = ask(&site, "PATCH", &of, json!({ "tags": ["checkout"] })).await.json();
    assert_eq!((&told["text"], &told["tags"]), (&json!("Twice"), &json!(["checkout"])));
    let tags = ask(&site, "GET", "/api/tags", Value::Null).await.json();
    assert_eq!(tags["tags"], json!([{ "tag": "checkout", "recording_count": 1 }]), "one recording, tagged twice");
}

#[tokio::test]
async fn what_is_said_has_limits() {
    let site = a_site_with_two_recordings().await;
    let (notes, comments) = (format!("/api/recordings/{SESSION}/notes"), format!("/api/recordings/{SESSION}/comments"));
    let many: Vec<_> = (0..50).map(|number| format!("tag {number}")).collect();
    assert_eq!(ask(&site, "PATCH", &notes, json!({ "tags": many })).await.status, StatusCode::OK);
    assert_eq!(ask(&site, "PATCH", &notes, json!({ "tags": ["x".repeat(50)] })).await.status, StatusCode::OK);
    assert_eq!(ask(&site, "POST", &comments, json!({ "text": "x".repeat(4_000) })).await.status, StatusCode::CREATED);
    let tagged = ask(&site, "POST", &comments, json!({ "tags": many[..49] })).await;
    assert_eq!(tagged.status, StatusCode::CREATED, "fifty with the one of the recording: {}", tagged.text());
    let too_many: Vec<_> = (0..51).map(|number| format!("tag {number}")).collect();
    for (method, path, body) in [
        ("PATCH", &notes, json!({ "tags": too_many })),
        ("PATCH", &notes, json!({ "tags": ["x".repeat(51)] })),
        ("PATCH", &notes, json!({ "tags": [" "] })),
        ("PATCH", &notes, json!({ "tags": ["a,b"] })),
        ("PATCH", &notes, json!({ "colour": "red" })),
        ("POST", &comments, json!({ "text": "x".repeat(4_001) })),
        ("POST", &comments, json!({ "text": " \n " })),
        ("POST", &comments, json!({ "at_ms": T0 })),
        ("POST", &comments, json!({ "tags": [] })),
        ("POST", &comments, json!({ "tags": ["a,b"] })),
        ("POST", &comments, json!({ "text": "x", "tags": ["one more"] })),
        ("POST", &comments, json!({ "text": "bell \u{7}" })),
        ("POST", &comments, json!({ "text": "x", "author": "y".repeat(101) })),
    ] {
        let refused = ask(&site, method, path, body.clone()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
    }
    let nobody = ask(&site, "PATCH", "/api/recordings/none/notes", json!({ "is_pinned": true })).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    assert_eq!(site.get(&notes).await.status, StatusCode::UNAUTHORIZED);
    for _ in 2..500 {
        ask(&site, "POST", &comments, json!({ "text": "x" })).await;
    }
    assert_eq!(ask(&site, "POST", &comments, json!({ "text": "x" })).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_deleted_recording_is_gone_from_everywhere_and_stays_away() {
    let site = a_site_with_two_recordings().await;
    let (recording, none) = (format!("/api/recordings/{SESSION}"), Value::Null);
    let link = ask(&site, "POST", &format!("{recording}/shares"), json!({})).await.json();
    ask(&site, "POST", &format!("{recording}/comments"), json!({ "text": "Secret" })).await;
    let blocks = ask(&site, "GET", &format!("{recording}/blocks"), none.clone()).await.json();
    let block = blocks["blocks"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(ask(&site, "GET", &block, none.clone()).await.status, StatusCode::OK);
    assert_eq!(site.send(Request::delete(&recording).body(vec![]).unwrap()).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&site, "DELETE", &recording, none.clone()).await.status, StatusCode::NO_CONTENT);
    for path in ["", "/blocks", "/notes", "/export?format=reel"] {
        let path = format!("{recording}{path}");
        assert_eq!(ask(&site, "GET", &path, none.clone()).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(
        ask(&site, "GET", &block, none.clone()).await.status,
        StatusCode::NOT_FOUND,
        "its bytes are still there"
    );
    assert_eq!(ask(&site, "DELETE", &recording, none.clone()).await.status, StatusCode::NOT_FOUND);
    assert_eq!(listed(&site, "").await, ["two"]);
    assert_eq!(ask(&site, "GET", "/api/shares", none.clone()).await.json(), json!({ "shares": [] }));
    let token = link["url"].as_str().unwrap().rsplit('/').next().unwrap();
    assert_eq!(site.get(&format!("/share/{token}")).await.status, StatusCode::NOT_FOUND);
    // The same upload again, and a new one: the client is told that all is well, because nothing else would make it stop.
    for (number, at_ms) in [(1, T0), (3, T0 + 5)] {
        site.keep(json!([snapshot_of(SESSION, "w1", &uuid(number), json!([event(at_ms)]))]).to_string()).await;
    }
    assert_eq!(listed(&site, "").await, ["two"]);
    assert_eq!(ask(&site, "GET", &recording, none).await.status, StatusCode::NOT_FOUND);
    assert!(site.metrics().await.contains("reelcase_items_dropped_total{reason=\"deleted_recording\"} 2"));
}

#[tokio::test]
async fn what_a_filter_finds_is_counted_and_deleted_in_steps() {
    let site = site().await;
    let snapshots = (0..7).map(|number| {
        snapshot_of(&format!("recording-{number}"), "w1", &uuid(number), json!([event(T0 + i64::from(number))]))
    });
    site.keep(Value::from_iter(snapshots).to_string()).await;
    site.store.seal_all().await.unwrap();
    for number in [0, 1, 2, 4, 6] {
        let notes = format!("/api/recordings/recording-{number}/notes");
        ask(&site, "PATCH", &notes, json!({ "tags": ["spam"] })).await;
    }
    let link = ask(&site, "POST", "/api/recordings/recording-0/shares", json!({})).await;
    assert_eq!(link.status, StatusCode::CREATED);
    let count = ask(&site, "GET", "/api/count?tag=spam", Value::Null).await.json();
    assert_eq!(count["recording_count"], 5);
    for query in ["", "?limit=2", "?person=", "?as_of_ms=1", "?colour=red"] {
        let refused = ask(&site, "DELETE", &format!("/api/recordings{query}"), Value::Null).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{query} names nothing that could be meant");
    }
    let as_of_ms = count["as_of_ms"].as_i64().unwrap();
    let nothing = format!("/api/recordings?tag=spam&as_of_ms={}", as_of_ms - 3_600_000);
    let left = ask(&site, "DELETE", &nothing, Value::Null).await.json();
    assert_eq!((&left["deleted_count"], &left["left_count"]), (&json!(0), &json!(5)), "they grew since the count");
    let (mut steps, mut cursor) = (Vec::new(), String::new());
    loop {
        let step = format!("/api/recordings?tag=spam&limit=2&as_of_ms={as_of_ms}{cursor}");
        let step = ask(&site, "DELETE", &step, Value::Null).await.json();
        steps.push(step["deleted_count"].as_u64().unwrap());
        let Some(next) = step["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(steps, [2, 2, 1]);
    assert_eq!(listed(&site, "").await, ["recording-5", "recording-3"]);
    assert_eq!(ask(&site, "GET", "/api/count?tag=spam", Value::Null).await.json()["recording_count"], 0);
    let links = ask(&site, "GET", "/api/shares", Value::Null).await.json();
    assert_eq!(links["shares"], json!([]), "links to what is deleted end");
    let all = ask(&site, "DELETE", "/api/recordings?project=phc_test", Value::Null).await.json();
    assert_eq!((&all["deleted_count"], &all["next"]), (&json!(2), &Value::Null));
}

#[tokio::test]
async fn what_was_said_comes_with_an_uploaded_file_but_not_to_a_recording_that_was_deleted() {
    let site = a_site_with_two_recordings().await;
    let recording = format!("/api/recordings/{SESSION}");
    ask(&site, "POST", &format!("{recording}/comments"), json!({ "text": "Look", "author": "Ada" })).await;
    for (format, status) in
        [("jsonl", StatusCode::BAD_REQUEST), ("har", StatusCode::BAD_REQUEST), ("html", StatusCode::OK)]
    {
        let export = site.read(&format!("{recording}/export?format={format}&comments=true")).await;
        assert_eq!(export.status, status, "{format}");
        if status != StatusCode::OK {
            let why = format!("{format} has no place for comments and tags: reel has, and html");
            let error = &export.json()["error"];
            assert_eq!((&error["code"], &error["message"]), (&json!("bad_parameter"), &json!(why)));
        }
        assert_eq!(site.read(&format!("{recording}/export?format={format}")).await.status, StatusCode::OK, "{format}");
    }
    let told = site.read(&format!("{recording}/export?format=reel&comments=true")).await.body;
    let import = async |site: &Site| {
        let request = Request::post("/api/import?project=phc_test").header("authorization", format!("Bearer {SECRET}"));
        site.send(request.body(told.clone()).unwrap()).await.json()
    };
    let other = site_with(|options| options.projects = vec!["phc_test".parse().unwrap()]).await;
    for expected in [1, 0] {
        assert_eq!(import(&other).await["said_count"], expected);
    }
    let came = ask(&other, "GET", &format!("{recording}/notes"), Value::Null).await.json();
    let sent = ask(&site, "GET", &format!("{recording}/notes"), Value::Null).await.json();
    assert_eq!(came["comments"], sent["comments"]);

    assert_eq!(ask(&other, "DELETE", &recording, Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(import(&other).await["said_count"], 0);
    assert!(
        other.store.notes(&"phc_test".parse().unwrap(), &SESSION.parse().unwrap()).await.unwrap().comments.is_empty()
    );
}
