//! What servers for posthog-js get wrong: one test for each known trap, in the order of an upload's life.

use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::site::{
    PAGE, SESSION, base64, compressed, gzip, one_snapshot, parse, roomy_site, site, site_with, snapshot, snapshot_of,
    upload_of, uuid,
};

// Answers.

#[tokio::test]
async fn success_is_exactly_200_with_a_body_even_for_beacons() {
    let site = site().await;
    for path in ["/s/", "/e/", "/s/?beacon=1", "/i/v0/e/?beacon=1"] {
        let reply = site.post(path, "text/plain", gzip(one_snapshot().as_bytes())).await;
        assert_eq!((reply.status, reply.json()), (StatusCode::OK, json!({ "status": "Ok" })), "{path}");
    }
}

#[tokio::test]
async fn what_may_succeed_later_is_never_answered_4xx() {
    let site = crate::site::site_with_store(|_| (), |store| store.pending_items_max = 0).await;
    let reply = site.post("/s/", "text/plain", one_snapshot()).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "a 429 would lose it");
    assert!(reply.header("retry-after").parse::<u32>().unwrap() <= 30, "the client waits no longer");
    assert_eq!(reply.header("access-control-expose-headers"), "Retry-After", "or the page could not read it");
}

#[tokio::test]
async fn an_upload_that_was_asked_to_come_back_is_kept_once_when_it_does() {
    let first = crate::site::site_with_store(|_| (), |store| store.pending_items_max = 0).await;
    assert_eq!(first.post("/s/", "text/plain", one_snapshot()).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let second = crate::site::site_in(first.stop().await, |_| (), |_| ()).await;
    for retry in 1..3 {
        let reply = second.post(&format!("/s/?retry_count={retry}"), "text/plain", one_snapshot()).await;
        assert_eq!(reply.status, StatusCode::OK);
    }
    assert_eq!(second.event_count(SESSION).await, 2);
}

#[tokio::test]
async fn probes_of_capture_paths_by_get_are_400_and_carry_data_in_the_query() {
    let site = site().await;
    assert_eq!(site.get("/s/").await.status, StatusCode::BAD_REQUEST);
    let data = base64(one_snapshot().as_bytes()).replace('+', "%2B").replace('/', "%2F");
    assert_eq!(site.get(&format!("/s/?data={data}")).await.status, StatusCode::OK);
}

// Bodies.

#[tokio::test]
async fn gzip_under_text_plain_without_any_hint_is_understood() {
    let site = site().await;
    site.keep(gzip(one_snapshot().as_bytes())).await;
    assert_eq!(site.event_count(SESSION).await, 2);
}

#[tokio::test]
async fn a_content_encoding_that_was_undone_on_the_way_does_not_matter() {
    let site = site().await;
    let request = Request::post("/s/").header("content-encoding", "gzip").body(one_snapshot().into_bytes()).unwrap();
    assert_eq!(site.send(request).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_plus_that_became_a_blank_is_still_base64() {
    let site = site().await;
    // Text whose base64 is full of plus signs.
    let text = one_snapshot().replace("shop.example", "shop.example/>>>???~~~>>>");
    let data = base64(text.as_bytes());
    assert!(data.contains('+'));
    for data in [data.replace('+', "%2B"), data.replace('+', " "), data.clone()] {
        let reply =
            site.post("/s/?compression=base64", "application/x-www-form-urlencoded", format!("data={data}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }
    assert_eq!(site.event_count(SESSION).await, 2);
}

#[tokio::test]
async fn the_oldest_clients_ask_decide_and_send_gzip_by_query() {
    let site = site().await;
    let decide = format!("data={}", base64(br#"{"token":"phc_test","distinct_id":"visitor"}"#));
    let path = "/decide/?v=3&ip=0&_=1795226820022&ver=1.150.0&compression=base64";
    let reply = site.post(path, "application/x-www-form-urlencoded", decide).await;
    assert_eq!(reply.json()["sessionRecording"]["endpoint"], "/s/");
    assert_eq!(reply.json()["supportedCompression"], json!(["gzip", "gzip-js"]));
    let path = "/s/?compression=gzip-js&ip=0&_=1795226820022&ver=1.150.0";
    assert_eq!(site.post(path, "text/plain", gzip(one_snapshot().as_bytes())).await.status, StatusCode::OK);
    assert_eq!(site.event_count(SESSION).await, 2);
}

#[tokio::test]
async fn plain_json_with_a_preflight_is_what_a_bare_config_leads_to() {
    let site = site().await;
    let preflight = Request::options("/s/")
        .header("origin", PAGE)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let reply = site.send(preflight.body(Vec::new()).unwrap()).await;
    assert_eq!((reply.status, reply.header("access-control-allow-headers")), (StatusCode::OK, "content-type"));
    assert_eq!(site.post("/s/", "application/json", one_snapshot()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn base64_forms_are_taken_on_every_endpoint() {
    let site = site().await;
    let form = format!("data={}", base64(one_snapshot().as_bytes()).replace('+', "%2B"));
    for path in ["/e/", "/s/", "/flags/?v=2"] {
        let path = format!("{path}{}compression=base64", if path.contains('?') { '&' } else { '?' });
        let reply = site.post(&path, "application/x-www-form-urlencoded", form.clone()).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text());
    }
    assert_eq!(site.event_count(SESSION).await, 2);
}

#[tokio::test]
async fn compressed_fields_are_latin_1_and_become_what_was_never_compressed() {
    let site = site().await;
    let data = r#"{"node":{"type":0,"childNodes":[{"type":3,"textContent":"Grüße 猫","id":2}],"id":1},"initialOffset":{"left":0,"top":0}}"#;
    let adds = r#"[{"parentId":1,"nextId":null,"node":{"type":3,"textContent":"\u0000é","id":9}}]"#;
    let packed = json!([
        { "type": 2, "data": compressed(data), "timestamp": 1_795_226_820_030_i64, "cv": "2024-10" },
        { "type": 3, "data": { "source": 0, "texts": compressed("[]"), "attributes": compressed("[]"), "removes": compressed("[]"), "adds": compressed(adds) }, "timestamp": 1_795_226_820_040_i64, "cv": "2024-10" },
        { "type": 3, "data": { "source": 8, "id": 4, "adds": compressed(r#"[{"rule":"a{}","index":0}]"#) }, "timestamp": 1_795_226_820_050_i64, "cv": "2024-10" },
    ]);
    site.keep(gzip(json!([snapshot_of(SESSION, "w1", &uuid(1), packed)]).to_string().as_bytes())).await;
    let plain = json!([
        { "type": 2, "data": serde_json::from_str::<Value>(data).unwrap(), "timestamp": 1_795_226_820_030_i64 },
        { "type": 3, "data": { "source": 0, "texts": [], "attributes": [], "removes": [], "adds": serde_json::from_str::<Value>(adds).unwrap() }, "timestamp": 1_795_226_820_040_i64 },
        { "type": 3, "data": { "source": 8, "id": 4, "adds": [{ "rule": "a{}", "index": 0 }] }, "timestamp": 1_795_226_820_050_i64 },
    ]);
    site.keep(json!([snapshot_of("never-compressed", "w1", &uuid(2), plain)]).to_string()).await;
    let parsed = |lines: Vec<Vec<u8>>| -> Vec<Value> {
        lines.iter().map(|line| serde_json::from_slice(line).unwrap()).collect()
    };
    let (unpacked, plain) = (parsed(site.lines(SESSION).await), parsed(site.lines("never-compressed").await));
    assert_eq!(unpacked, plain);
    assert!(unpacked.iter().all(|line| line[1].get("cv").is_none()));
}

#[tokio::test]
async fn lone_surrogates_and_nul_are_kept_byte_for_byte() {
    let site = site().await;
    let events = [
        r#"{"type":5,"timestamp":1795226820022,"data":{"tag":"a","payload":"\ud83d"}}"#,
        r#"{"type":5,"timestamp":1795226820023,"data":{"tag":"b","payload":"\uDE00\ud83d\uDE00"}}"#,
        r#"{"type":5,"timestamp":1795226820024,"data":{"tag":"c","payload":"\u0000"}}"#,
    ];
    site.keep(upload_of(SESSION, format!("[{}]", events.join(",")).as_bytes())).await;
    let expected: Vec<_> = events.iter().map(|event| format!("[\"w1\",{event}]").into_bytes()).collect();
    assert_eq!(site.lines(SESSION).await, expected);
}

#[tokio::test]
async fn a_full_snapshot_of_20_megabytes_arrives_as_one_element() {
    let site = roomy_site().await;
    let text: String =
        (0..20_000_000_u32).map(|at| char::from(b'a' + (at.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect();
    let event = json!({ "type": 2, "timestamp": 1_795_226_820_030_i64, "data": { "node": { "type": 0, "childNodes": [{ "type": 3, "textContent": text, "id": 2 }], "id": 1 } } });
    site.keep(gzip(json!([snapshot_of(SESSION, "w1", &uuid(1), json!([event]))]).to_string().as_bytes())).await;
    let recording = site.recording(SESSION).await;
    assert_eq!((&recording["event_count"], &recording["full_snapshot_count"]), (&1.into(), &1.into()));
    assert!(recording["plain_bytes"].as_u64().unwrap() > 20_000_000);
}

// What an upload holds.

#[tokio::test]
async fn one_array_may_mix_sessions_and_windows() {
    let site = site().await;
    let page = |at: u64| json!([{ "type": 4, "timestamp": at, "data": { "href": "https://shop.example/", "width": 8, "height": 6 } }]);
    let body = json!([
        snapshot_of("before-rotation", "w1", &uuid(1), page(1_795_226_820_000)),
        snapshot_of("after-rotation", "w2", &uuid(2), page(1_795_226_821_000)),
        snapshot_of("before-rotation", "w3", &uuid(3), page(1_795_226_822_000)),
    ]);
    site.keep(body.to_string()).await;
    assert_eq!(site.recordings().await, ["after-rotation", "before-rotation"]);
    let windows = site.recording("before-rotation").await["windows"].clone();
    let ids: Vec<_> = windows.as_array().unwrap().iter().map(|window| window["id"].clone()).collect();
    assert_eq!(ids, ["w1", "w3"]);
}

#[tokio::test]
async fn the_same_uuid_is_stored_once_by_whatever_way_and_in_whatever_batch_it_comes() {
    let site = site().await;
    let (one, two) = (snapshot(SESSION, &uuid(1)), snapshot(SESSION, &uuid(2)));
    site.keep(gzip(json!([one, two]).to_string().as_bytes())).await;
    site.store.seal_all().await.unwrap();
    site.keep(json!([two]).to_string()).await;
    let beacon = format!("data={}", base64(json!([one]).to_string().as_bytes()).replace('+', "%2B"));
    assert_eq!(site.post("/s/?beacon=1", "application/x-www-form-urlencoded", beacon).await.status, StatusCode::OK);
    assert_eq!(site.post("/e/", "text/plain", json!([two, one]).to_string()).await.status, StatusCode::OK);
    assert_eq!(site.event_count(SESSION).await, 4);
    let closed = crate::site::site_in(site.stop().await, |_| (), |_| ()).await;
    closed.keep(json!([one, two]).to_string()).await;
    assert_eq!(closed.event_count(SESSION).await, 4, "restarts make no difference");
}

#[tokio::test]
async fn the_recorded_clock_counts_whatever_offset_and_timestamp_say() {
    let site = site().await;
    let mut timer = snapshot("by-timer", &uuid(1));
    timer.as_object_mut().unwrap().remove("timestamp");
    timer["offset"] = json!(2_997.5);
    let mut beacon = snapshot("by-beacon", &uuid(2));
    beacon["timestamp"] = json!("1999-01-01T00:00:00Z");
    site.keep(json!([timer, beacon]).to_string()).await;
    for session in ["by-timer", "by-beacon"] {
        assert_eq!(site.recording(session).await["start_ms"], 1_795_226_820_022_i64, "{session}");
    }
}

#[tokio::test]
async fn back_dated_markers_are_filed_under_their_own_session_and_make_no_activity() {
    let site = site().await;
    let click = json!({ "type": 3, "timestamp": 1_795_226_900_000_i64, "data": { "source": 2, "type": 2, "id": 1, "x": 1, "y": 1 } });
    let ending =
        json!({ "type": 5, "timestamp": 1_795_226_840_000_i64, "data": { "tag": "$session_ending", "payload": {} } });
    site.keep(json!([snapshot_of("new", "w2", &uuid(1), json!([click]))]).to_string()).await;
    site.keep(json!([snapshot("old", &uuid(2))]).to_string()).await;
    let before = site.recording("old").await["active_ms"].clone();
    site.keep(json!([snapshot_of("old", "w1", &uuid(3), json!([ending]))]).to_string()).await;
    let old = site.recording("old").await;
    assert_eq!((&old["event_count"], &old["active_ms"]), (&3.into(), &before));
    assert_eq!(site.event_count("new").await, 1);
}

#[tokio::test]
async fn client_clocks_may_be_anywhere() {
    let site = site().await;
    for (session, at) in [
        ("long-ago", json!(1_000)),
        ("far-ahead", json!(9_999_999_999_999_i64)),
        ("absurd", json!(1e300)),
        ("broken", json!(1_795_226_820_022.75)),
    ] {
        let page = json!([{ "type": 4, "timestamp": at, "data": { "href": "https://shop.example/", "width": 8, "height": 6 } }]);
        site.keep(json!([snapshot_of(session, "w", &uuid(1), page)]).to_string().replace(&uuid(1), "")).await;
        assert_eq!(site.event_count(session).await, 1, "{session}");
    }
}

#[tokio::test]
async fn a_distinct_id_may_be_a_number_and_change_within_a_session() {
    let site = site().await;
    let mut events = Vec::new();
    for (number, id) in (1..).zip([json!(42), json!(true), json!("visitor"), json!("ada")]) {
        let mut event = snapshot(SESSION, &uuid(number));
        event["properties"]["distinct_id"] = id;
        events.push(event);
    }
    site.keep(json!(events).to_string()).await;
    let ids = site.recording(SESSION).await["person"]["distinct_ids"].clone();
    for id in ["42", "true", "visitor", "ada"] {
        let found = site.read(&format!("/api/recordings?person={id}")).await.json();
        assert_eq!(found["recordings"].as_array().unwrap().len(), 1, "{id}: {ids}");
    }
}

#[tokio::test]
async fn session_ids_need_not_be_uuids_and_windows_need_not_be_named() {
    let site = site().await;
    let mut unnamed = snapshot("bootstrap-by-app-7", &uuid(1));
    unnamed["properties"].as_object_mut().unwrap().remove("$window_id");
    site.keep(json!([unnamed]).to_string()).await;
    assert_eq!(site.recording("bootstrap-by-app-7").await["windows"][0]["id"], "bootstrap-by-app-7");
}

#[tokio::test]
async fn snapshot_data_may_be_a_single_event() {
    let site = site().await;
    let event =
        json!({ "type": 4, "timestamp": 1, "data": { "href": "https://shop.example/", "width": 8, "height": 6 } });
    site.keep(json!([snapshot_of(SESSION, "w", &uuid(1), event)]).to_string()).await;
    assert_eq!(site.event_count(SESSION).await, 1);
}

#[tokio::test]
async fn snapshots_are_recordings_on_whatever_path_they_come() {
    let site = site().await;
    for (number, path) in (1..).zip(["/s/", "/e/", "/batch/", "/capture/", "/i/v0/e/"]) {
        let body = json!({ "api_key": "phc_test", "batch": [snapshot(&format!("by-path-{number}"), &uuid(number))] });
        assert_eq!(site.post(path, "application/json", body.to_string()).await.status, StatusCode::OK, "{path}");
    }
    assert_eq!(site.recordings().await.len(), 5);
}

#[tokio::test]
async fn events_may_come_before_any_config_or_session() {
    let site = site().await;
    let event = json!({ "api_key": "phc_fresh", "batch": [{ "event": "$pageview", "uuid": uuid(1), "properties": { "distinct_id": "d", "$session_id": "first-heard-of", "$window_id": "w" } }] });
    assert_eq!(site.post("/e/", "text/plain", gzip(event.to_string().as_bytes())).await.status, StatusCode::OK);
    assert_eq!(site.events("first-heard-of").await.len(), 1);
}

#[tokio::test]
async fn two_tabs_of_one_session_are_two_windows() {
    let site = site().await;
    let page = |at: u64| json!([{ "type": 4, "timestamp": at, "data": { "href": "https://shop.example/", "width": 8, "height": 6 } }]);
    site.keep(json!([snapshot_of(SESSION, "left", &uuid(1), page(1_795_226_820_000))]).to_string()).await;
    site.keep(json!([snapshot_of(SESSION, "right", &uuid(2), page(1_795_226_820_001))]).to_string()).await;
    let lines: Vec<Value> =
        site.lines(SESSION).await.iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert_eq!((&lines[0][0], &lines[1][0]), (&json!("left"), &json!("right")));
}

#[tokio::test]
async fn unknown_events_fields_and_compressions_pass_through() {
    let site = site().await;
    let events = [
        r#"{"type":99,"timestamp":1795226820022,"data":{"new":[1,{"deep":null}]},"z":1.50}"#,
        r#"{"type":2,"timestamp":1795226820023,"data":"opaque","cv":"2031-01"}"#,
        r#"{"type":3,"timestamp":1795226820024,"data":{"source":77,"what":"ever"}}"#,
    ];
    site.keep(upload_of(SESSION, format!("[{}]", events.join(",")).as_bytes())).await;
    let expected: Vec<_> = events.iter().map(|event| format!("[\"w1\",{event}]").into_bytes()).collect();
    assert_eq!(site.lines(SESSION).await, expected);
}

// Where it is sent, and from where.

#[tokio::test]
async fn every_path_a_page_touches_may_be_used_from_anywhere_with_credentials() {
    let site = site().await;
    for path in [
        "/s/",
        "/e/",
        "/i/v0/e/",
        "/flags/?v=2",
        "/decide/?v=3",
        "/array/phc_test/config",
        "/array/phc_test/config.js",
        "/static/array.js",
        "/static/none.js",
    ] {
        for method in ["GET", "OPTIONS"] {
            let request = Request::builder().method(method).uri(path).header("origin", PAGE);
            let reply = site.send(request.body(Vec::new()).unwrap()).await;
            assert_eq!(
                reply.header("access-control-allow-origin"),
                PAGE,
                "{method} {path}: a star is refused with credentials"
            );
            assert_eq!(reply.header("access-control-allow-credentials"), "true", "{method} {path}");
            assert!(reply.headers.get_all("vary").iter().any(|value| value == "Origin"), "{method} {path}");
            assert_eq!(reply.headers.get_all("access-control-allow-origin").iter().count(), 1);
        }
    }
}

#[tokio::test]
async fn app_headers_are_allowed_as_asked_for() {
    let site = site().await;
    let request = Request::options("/s/")
        .header("origin", PAGE)
        .header("access-control-request-headers", "content-type, x-tenant");
    let reply = site.send(request.body(Vec::new()).unwrap()).await;
    assert_eq!(reply.header("access-control-allow-headers"), "content-type, x-tenant");
}

#[tokio::test]
async fn slashes_may_be_missing_or_doubled_and_a_prefix_may_be_in_front() {
    let site = site_with(|options| options.path_prefix = "/replay".into()).await;
    for prefix in ["", "/replay", "/ingest", "/a/b", "//"] {
        for path in ["/s", "/s/", "//s//", "/e", "/i/v0/e", "/i//v0/e/", "/flags?v=2", "/flags/?v=2", "//flags//?v=2"] {
            let reply = site.post(&format!("{prefix}{path}"), "text/plain", one_snapshot()).await;
            assert_eq!(reply.status, StatusCode::OK, "{prefix}{path}");
        }
    }
    assert_eq!(site.event_count(SESSION).await, 2);
}

#[tokio::test]
async fn links_the_client_makes_lead_to_the_recording() {
    let site = site().await;
    let reply = site.get(&format!("/project/phc_test/replay/{SESSION}?t=12")).await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (StatusCode::SEE_OTHER, &*format!("/recordings/{SESSION}?t=12"))
    );
}

#[tokio::test]
async fn a_connection_is_used_again_after_flags_and_after_refusals() {
    let site = site().await;
    let mut stream = site.connect().await;
    for (body, status) in [("{}", "200"), ("nonsense", "400"), (&*one_snapshot(), "200")] {
        let path = if body == "{}" { "/flags/?v=2" } else { "/s/" };
        let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 16 << 10];
        let length = stream.read(&mut answer).await.unwrap();
        assert_eq!(parse(&answer[..length]).status.as_str(), status, "{body}");
    }
}
