//! Bodies and paths: every form in which some client sends an upload is understood, and what is none is said why.

use axum::http::{Request, StatusCode};
use serde_json::json;

use crate::site::{PAGE, SESSION, base64, gzip, one_snapshot, site, site_with, snapshot, uuid};

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn gzip_as_plain_text_without_any_hint_is_kept_and_answered_200() {
    let site = site().await;
    let reply = site.post("/s/", "text/plain", gzip(one_snapshot().as_bytes())).await;
    assert_eq!((reply.status, reply.json()), (StatusCode::OK, json!({ "status": "Ok" })));
    assert_eq!(reply.headers["access-control-allow-origin"], PAGE);
    assert_eq!(reply.headers["access-control-allow-credentials"], "true");
    assert_eq!(reply.headers["access-control-expose-headers"], "Retry-After");
    assert_eq!(site.event_count(SESSION).await, 2);
}

#[tokio::test]
async fn every_capture_path_is_answered_below_any_prefix_and_with_any_slashes() {
    let site = site_with(|options| options.path_prefix = "/replay".into()).await;
    for path in ["/s", "/s/", "//s//", "/e/", "/i/v0/e/", "/batch", "/capture/", "/track/", "/engage/"] {
        for prefix in ["", "/replay", "/ingest", "/a/b"] {
            let reply = site.post(&format!("{prefix}{path}?beacon=1"), "application/json", one_snapshot()).await;
            assert_eq!(reply.status, StatusCode::OK, "{prefix}{path}");
        }
    }
    assert_eq!(site.event_count(SESSION).await, 2);
}

#[tokio::test]
async fn base64_forms_are_read_even_where_plus_became_a_blank() {
    let site = site().await;
    let packed = "H4sIAAAAAAACA"; // Not gzip: only here to make the form's value look like base64.
    assert_eq!(site.post("/s/", "application/x-www-form-urlencoded", format!("data={packed}")).await.status, 400);
    let encoded = base64(one_snapshot().as_bytes());
    for data in [encoded.replace('+', "%2B"), encoded.replace('+', " ")] {
        let body = format!("data={data}&compression=base64");
        let reply = site.post("/s/?compression=base64", "application/x-www-form-urlencoded", body).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }
    let by_get = site.get(&format!("/s/?data={}", encoded.replace('+', "%2B").replace('/', "%2F"))).await;
    assert_eq!(by_get.status, StatusCode::OK, "{}", by_get.text());
    assert_eq!(site.event_count(SESSION).await, 2);
}

#[tokio::test]
async fn probes_without_data_get_400_and_preflights_get_200() {
    let site = site().await;
    assert_eq!(site.get("/s/").await.status, StatusCode::BAD_REQUEST);
    let preflight = Request::options("/s/")
        .header("origin", PAGE)
        .header("access-control-request-headers", "content-type")
        .body(Vec::new());
    let reply = site.send(preflight.unwrap()).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.headers["access-control-allow-headers"], "content-type");
    assert_eq!(reply.headers["access-control-allow-methods"], "GET, POST, OPTIONS");
}

#[tokio::test]
async fn what_can_never_succeed_is_4xx_and_says_why() {
    let site = site_with(|options| options.accept_any_key = Some(false)).await;
    let unknown = site.post("/s/", "application/json", one_snapshot()).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (StatusCode::UNAUTHORIZED, "unknown_key"));
    assert!(unknown.text().contains("phc_test… (8 characters)"), "{}", unknown.text());
    assert!(unknown.text().contains("a key looks like phc_"), "{}", unknown.text());
    let personal = site.post("/s/", "application/json", one_snapshot().replace("phc_test", "phx_test")).await;
    assert_eq!(personal.status, StatusCode::UNAUTHORIZED);
    assert!(personal.text().contains("phc_"), "{}", personal.text());
    for body in ["", "[]", "{", "not json"] {
        let reply = site.post("/s/", "application/json", body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body:?}");
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_understood_is_told_what_and_where() {
    let site = site().await;
    for (body, code, told) in [
        ("{\"event\":", "malformed", "at byte 9"),
        ("[{\"event\":\"$snapshot\"} x]", "malformed", "at byte 23"),
        ("hello, world", "malformed", "expected JSON, gzip or base64"),
        ("[]", "no_events", "holds nothing"),
        ("", "empty_body", "no body"),
    ] {
        let reply = site.post("/s/", "application/json", body).await;
        assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_REQUEST, code), "{body}");
        assert!(reply.text().contains(told), "{body}: {}", reply.text());
    }
    let refused = site.metrics().await;
    assert!(refused.contains("reelcase_uploads_refused_total{reason=\"malformed\"} 3"), "{refused}");
}

#[tokio::test]
async fn gzip_is_known_by_its_first_bytes_whatever_the_headers_say() {
    let site = site().await;
    let packed = gzip(one_snapshot().as_bytes());
    for (content_type, coding) in [
        ("text/plain", None),
        ("application/json", Some("gzip")),
        ("application/json; charset=utf-8", Some("gzip")),
        ("application/octet-stream", Some("identity")),
        (FORM, None),
        ("image/png", Some("br")),
    ] {
        let mut request = Request::post("/s/").header("content-type", content_type);
        if let Some(coding) = coding {
            request = request.header("content-encoding", coding);
        }
        let reply = site.send(request.body(packed.clone()).unwrap()).await;
        assert_eq!(reply.status, StatusCode::OK, "{content_type} {coding:?}: {}", reply.text());
    }
    let untyped = Request::post("/s/").body(packed).unwrap();
    assert_eq!(site.send(untyped).await.status, StatusCode::OK, "some beacons have no content type");
    assert_eq!(site.event_count(SESSION).await, 2);
}

#[tokio::test]
async fn a_layer_in_front_may_have_inflated_or_packed_once_more() {
    let site = site().await;
    let request = |body: Vec<u8>| Request::post("/s/").header("content-encoding", "gzip").body(body).unwrap();
    assert_eq!(site.send(request(one_snapshot().into_bytes())).await.status, StatusCode::OK);
    assert_eq!(site.send(request(gzip(&gzip(one_snapshot().as_bytes())))).await.status, StatusCode::OK);
    assert_eq!(site.event_count(SESSION).await, 2);
}

#[tokio::test]
async fn events_come_as_arrays_envelopes_and_single_objects() {
    let site = site().await;
    let one = |number: u32| snapshot(&format!("shape-{number}"), &uuid(number));
    for body in [
        json!([one(1)]),
        json!({ "api_key": "phc_test", "batch": [one(2)], "sent_at": "2026-11-21T02:07:15.755Z" }),
        json!({ "batch": [one(3)], "historical_migration": false, "api_key": "phc_test" }),
        one(4),
    ] {
        assert_eq!(site.post("/batch/", "application/json", body.to_string()).await.status, StatusCode::OK);
    }
    assert_eq!(site.recordings().await, ["shape-1", "shape-2", "shape-3", "shape-4"]);
}

#[tokio::test]
async fn unknown_query_parameters_are_passed_over() {
    let site = site().await;
    let query =
        "compression=gzip-js&ip=0&_=1795226820022&ver=1.150.0&retry_count=3&beacon=1&sent_at=1795226820022&x=%zz";
    let reply = site.post(&format!("/s/?{query}"), "text/plain", gzip(one_snapshot().as_bytes())).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
}

#[tokio::test]
async fn a_closed_server_takes_its_own_projects_and_says_who_else_came() {
    let site = site_with(|options| {
        options.accept_any_key = Some(false);
        options.projects = vec!["phc_test".parse().unwrap()];
    })
    .await;
    site.keep(one_snapshot()).await;
    let other = site.post("/s/", "text/plain", one_snapshot().replace("phc_test", "phc_other")).await;
    assert_eq!(other.code(), "unknown_key");
    let check = site.check("dropped_events").await;
    assert_eq!(check["state"], "warn");
    assert!(check["message"].as_str().unwrap().contains("1 upload: unknown_key"), "{check}");
    assert!(check["hint"].as_str().unwrap().contains("--project KEY"), "{check}");
}

#[tokio::test]
async fn events_of_wrong_types_are_dropped_by_name_and_their_neighbours_kept() {
    let site = site().await;
    let mut upload = vec![json!(7), json!(null), json!({ "event": 9 }), json!({ "properties": {} })];
    let broken = |name: &str, value: serde_json::Value| {
        let mut event = snapshot("broken", &uuid(1));
        event["properties"][name] = value;
        event["api_key"] = json!("phc_test");
        event
    };
    upload.push(broken("$session_id", json!(7)));
    upload.push(broken("$session_id", json!("a/b")));
    upload.push(broken("$session_id", json!("x".repeat(71))));
    upload.push(broken("$window_id", json!("w".repeat(129))));
    upload.push(broken("$snapshot_data", json!("text")));
    upload.push(snapshot("good-one", &uuid(2)));
    let envelope = json!({ "api_key": "phc_test", "batch": upload });
    site.keep(envelope.to_string()).await;
    assert_eq!(site.recordings().await, ["good-one"]);
    let metrics = site.metrics().await;
    for (reason, count) in [
        ("item_not_an_object", 2),
        ("event_name_missing", 2),
        ("session_id_missing", 1),
        ("session_id_invalid", 2),
        ("window_id_too_long", 1),
        ("snapshot_data_missing", 1),
    ] {
        let line = format!("reelcase_items_dropped_total{{reason=\"{reason}\"}} {count}");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn counts_of_what_was_dropped_outlive_the_server() {
    let first = site().await;
    first.keep(json!([snapshot("a b", &uuid(1)), snapshot("good", &uuid(2))]).to_string()).await;
    first.post("/s/", "text/plain", "nonsense").await;
    let dir = first.stop().await;
    let second = crate::site::site_in(dir, |_| (), |_| ()).await;
    let message = second.check("dropped_events").await["message"].as_str().unwrap().to_owned();
    assert!(message.contains("1 event: session_id_invalid") && message.contains("1 upload: malformed"), "{message}");
}
