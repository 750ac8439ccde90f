//! Analytics events: those of a recording are kept with it, those that say who somebody is make the person.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::site::{SESSION, Site, gzip, one_snapshot, site, site_with, uuid};

fn event(name: &str, number: u32, session: Option<&str>, more: Value) -> Value {
    let mut properties = json!({ "token": "phc_test", "distinct_id": "visitor", "$window_id": "w1" });
    if let Some(session) = session {
        properties["$session_id"] = json!(session);
    }
    properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "uuid": uuid(200 + number), "event": name, "properties": properties, "timestamp": "2026-11-21T02:07:16.000Z" })
}

async fn send(site: &Site, path: &str, events: Value) {
    let body = json!({ "api_key": "phc_test", "batch": events, "sent_at": "2026-11-21T02:07:17.000Z" });
    let reply = site.post(path, "text/plain", gzip(body.to_string().as_bytes())).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
}

#[tokio::test]
async fn events_of_every_endpoint_are_kept_with_their_recording() {
    let site = site().await;
    site.keep(one_snapshot()).await;
    let paths = ["/e/", "/i/v0/e/", "/batch/", "/capture/", "/engage/", "/track/"];
    for (number, path) in (1..).zip(paths) {
        let name = format!("sent to {path}");
        send(&site, path, json!([event(&name, number, Some(SESSION), json!({ "n": number }))])).await;
    }
    let mut names: Vec<_> =
        site.events(SESSION).await.iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    names.sort();
    let mut expected = paths.map(|path| format!("sent to {path}"));
    expected.sort();
    assert_eq!(names, expected);
    let recording = site.recording(SESSION).await;
    assert_eq!((&recording["analytics_event_count"], &recording["event_count"]), (&6.into(), &2.into()));
}

#[tokio::test]
async fn an_event_keeps_its_time_window_and_properties() {
    let site = site().await;
    site.keep(one_snapshot()).await;
    send(
        &site,
        "/e/",
        json!([event("$pageview", 7, Some(SESSION), json!({ "$current_url": "https://shop.example/a" }))]),
    )
    .await;
    let kept = site.events(SESSION).await;
    assert_eq!(kept[0]["kind"], "event");
    assert_eq!(kept[0]["timestamp"], 1_795_226_836_000_i64);
    assert_eq!(kept[0]["window_id"], "w1");
    assert_eq!(kept[0]["uuid"], uuid(207).replace('-', ""));
    assert_eq!(kept[0]["properties"]["$current_url"], "https://shop.example/a");
}

#[tokio::test]
async fn an_event_may_come_before_anything_of_its_recording() {
    let site = site().await;
    send(&site, "/e/", json!([event("$pageview", 1, Some(SESSION), json!({}))])).await;
    site.store.seal_all().await.unwrap();
    site.keep(one_snapshot()).await;
    assert_eq!(site.events(SESSION).await.len(), 1);
    assert_eq!(site.event_count(SESSION).await, 2);
}

#[tokio::test]
async fn identify_set_and_alias_make_the_person_of_a_recording() {
    let site = site().await;
    site.keep(one_snapshot()).await;
    let without_session = |name: &str, number: u32, more: Value| event(name, number, None, more);
    send(
        &site,
        "/e/",
        json!([
            without_session(
                "$identify",
                1,
                json!({ "distinct_id": "ada", "$anon_distinct_id": "visitor", "$set": { "email": "ada@example.org", "plan": "free" }, "$set_once": { "first": "shop" } })
            ),
            without_session("$create_alias", 2, json!({ "distinct_id": "ada", "alias": "ada-on-the-phone" })),
        ]),
    )
    .await;
    let mut later = event("$set", 3, Some(SESSION), json!({ "distinct_id": "ada" }));
    later["$set"] = json!({ "plan": "paid" });
    later["$set_once"] = json!({ "first": "elsewhere" });
    later["timestamp"] = json!("2026-11-21T02:09:00.000Z");
    send(&site, "/e/", json!([later])).await;
    site.store.seal_all().await.unwrap();
    let person = site.recording(SESSION).await["person"].clone();
    assert_eq!(person["distinct_ids"], json!(["ada", "ada-on-the-phone", "visitor"]));
    assert_eq!(person["properties"], json!({ "email": "ada@example.org", "plan": "paid", "first": "shop" }));
    for who in ["ada", "visitor", "ada@example"] {
        let found = site.read(&format!("/api/recordings?person={who}")).await.json();
        assert_eq!(found["recordings"][0]["id"], SESSION, "{who}");
    }
}

#[tokio::test]
async fn groups_stay_with_the_events_that_name_them() {
    let site = site().await;
    site.keep(one_snapshot()).await;
    let group = json!({ "$group_type": "company", "$group_key": "acme", "$group_set": { "size": 7 } });
    send(&site, "/e/", json!([event("$groupidentify", 1, Some(SESSION), group)])).await;
    let kept = site.events(SESSION).await;
    assert_eq!(kept[0]["properties"]["$group_set"]["size"], 7);
}

#[tokio::test]
async fn events_of_no_recording_are_counted_and_dropped() {
    let site = site().await;
    send(&site, "/e/", json!([event("sale", 1, None, json!({})), event("sale", 2, None, json!({}))])).await;
    assert!(site.metrics().await.contains("reelcase_items_dropped_total{reason=\"no_recording\"} 2"));
    assert_eq!(site.check("dropped_events").await["state"], "ok", "this is nobody's mistake");
}

#[tokio::test]
async fn events_of_no_recording_are_kept_in_the_objects_where_that_is_asked_for() {
    let site = site_with(|options| options.keep_all_events = true).await;
    send(&site, "/e/", json!([event("sale", 1, None, json!({ "amount": 129 }))])).await;
    site.store.seal_all().await.unwrap();
    assert!(!site.metrics().await.contains("no_recording"));
    let mut objects = Vec::new();
    let mut folders = vec![site.dir.path().join("objects")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "reel") {
                objects.push(zstd::decode_all(std::fs::File::open(entry.path()).unwrap()).unwrap());
            }
        }
    }
    let lines = String::from_utf8(objects.concat()).unwrap();
    assert!(lines.contains(r#""event":"sale""#) && lines.contains(r#""amount":129"#), "{lines}");
}
