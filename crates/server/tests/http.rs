//! What clients and readers are promised, through the front door.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use reelcase_server::{App, Secret, ServerOptions, router};
use reelcase_store::{Clock, Store, StoreOptions};
use serde_json::{Value, json};
use tower::ServiceExt;

const SESSION: &str = "01a1fbdb-5cf7-798e-bff9-d7633f6d7075";
const SECRET: &str = "a-secret-for-tests";

/// A clock that stands still until a test moves it.
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Site {
    router: axum::Router,
    store: Arc<Store>,
    _dir: tempfile::TempDir,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

async fn site_with(change: impl FnOnce(&mut ServerOptions)) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(TestClock(AtomicI64::new(1_795_226_830_000)));
    let store = Store::open(StoreOptions::new(dir.path()), clock.clone()).await.unwrap();
    let mut options = ServerOptions { secret: Some(Secret::new(SECRET).unwrap()), ..Default::default() };
    change(&mut options);
    let app = Arc::new(App::new(options, store.clone(), clock).unwrap());
    Site { router: router(app), store, _dir: dir }
}

async fn site() -> Site {
    site_with(|_| ()).await
}

impl Site {
    async fn send(&self, request: Request<Body>) -> Reply {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        Reply { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes().into() }
    }

    async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Reply {
        let request = Request::post(path).header("content-type", content_type).header("origin", "https://shop.example");
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn read(&self, path: &str) -> Reply {
        let request = Request::get(path).header("authorization", format!("Bearer {SECRET}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn event_count(&self, session: &str) -> Value {
        self.read(&format!("/api/recordings/{session}")).await.json()["event_count"].clone()
    }
}

fn snapshot(session: &str, uuid: &str) -> Value {
    json!({
        "uuid": uuid,
        "event": "$snapshot",
        "properties": {
            "$snapshot_data": [
                { "type": 4, "data": { "href": "https://shop.example/", "width": 8, "height": 6 }, "timestamp": 1_795_226_820_022_i64 },
                { "type": 2, "data": { "node": { "type": 0, "childNodes": [], "id": 1 }, "initialOffset": { "top": 0, "left": 0 } }, "timestamp": 1_795_226_820_030_i64 },
            ],
            "$session_id": session,
            "$window_id": "w1",
            "token": "phc_test",
            "distinct_id": "visitor",
        },
        "timestamp": "2026-11-21T02:07:15.600Z",
    })
}

fn one_snapshot() -> String {
    json!([snapshot(SESSION, "01a1fbdb-8270-7135-9b23-544ab178fe70")]).to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn gzip_as_plain_text_without_any_hint_is_kept_and_answered_200() {
    let site = site().await;
    let reply = site.post("/s/", "text/plain", gzip(one_snapshot().as_bytes())).await;
    assert_eq!((reply.status, reply.json()), (StatusCode::OK, json!({ "status": "Ok" })));
    assert_eq!(reply.headers["access-control-allow-origin"], "https://shop.example");
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
        .header("origin", "https://shop.example")
        .header("access-control-request-headers", "content-type")
        .body(Body::empty());
    let reply = site.send(preflight.unwrap()).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.headers["access-control-allow-headers"], "content-type");
    assert_eq!(reply.headers["access-control-allow-methods"], "GET, POST, OPTIONS");
}

#[tokio::test]
async fn the_same_uuid_again_by_another_path_is_stored_once() {
    let site = site().await;
    site.post("/s/", "application/json", one_snapshot()).await;
    site.store.seal_all().await.unwrap();
    let again = site.post("/e/?beacon=1", "text/plain", gzip(one_snapshot().as_bytes())).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(site.event_count(SESSION).await, 2);
}

#[tokio::test]
async fn two_sessions_in_one_upload_are_two_recordings_and_a_bad_one_costs_neither() {
    let site = site().await;
    let body = json!([
        snapshot(SESSION, "01a1fbdb-8270-7135-9b23-000000000001"),
        snapshot("../escape", "01a1fbdb-8270-7135-9b23-000000000002"),
        snapshot("ios-session", "01a1fbdb-8270-7135-9b23-000000000003"),
    ]);
    assert_eq!(site.post("/s/", "application/json", body.to_string()).await.status, StatusCode::OK);
    site.store.seal_all().await.unwrap();
    let page = site.read("/api/recordings").await.json();
    assert_eq!(page["recordings"].as_array().unwrap().len(), 2);
    let metrics = site.read("/metrics").await.text();
    assert!(metrics.contains("reelcase_items_dropped_total{reason=\"session_id_invalid\"} 1"), "{metrics}");
}

#[tokio::test]
async fn what_can_never_succeed_is_4xx_and_says_why() {
    let site = site_with(|options| options.accept_any_key = Some(false)).await;
    let unknown = site.post("/s/", "application/json", one_snapshot()).await;
    assert_eq!(
        (unknown.status, unknown.json()["error"]["code"].as_str()),
        (StatusCode::UNAUTHORIZED, Some("unknown_key"))
    );
    let personal = site.post("/s/", "application/json", one_snapshot().replace("phc_test", "phx_test")).await;
    assert_eq!(personal.status, StatusCode::UNAUTHORIZED);
    assert!(personal.text().contains("phc_"), "{}", personal.text());
    for body in ["", "[]", "{", "not json"] {
        let reply = site.post("/s/", "application/json", body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body:?}");
    }
}

#[tokio::test]
async fn gzip_bombs_and_bodies_past_the_limit_are_413() {
    let site = site_with(|options| options.limits.body_bytes_max = 64 << 10).await;
    let bomb = gzip(&vec![b' '; 40 << 20]);
    assert_eq!(site.post("/s/", "text/plain", bomb).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let at_the_limit = site.post("/s/", "text/plain", vec![b'{'; 64 << 10]).await;
    assert_eq!(at_the_limit.status, StatusCode::BAD_REQUEST);
    let past = site.post("/s/", "text/plain", vec![b'{'; (64 << 10) + 1]).await;
    assert_eq!(past.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn past_the_byte_budget_clients_are_asked_to_come_back() {
    let site = site_with(|options| {
        options.limits.body_bytes_max = 3 << 10;
        options.body_bytes_in_flight_max = 4 << 10;
    })
    .await;
    let (pieces, unfinished) = futures::channel::mpsc::unbounded();
    pieces.unbounded_send(Ok::<_, std::io::Error>(vec![b' '; 3 << 10])).unwrap();
    let slow = site.post("/s/", "text/plain", Body::from_stream(unfinished));
    let quick = async {
        tokio::task::yield_now().await;
        site.post("/s/", "application/json", vec![b' '; 2 << 10]).await
    };
    let reply = tokio::select! {
        reply = quick => reply,
        _ = slow => panic!("the slow upload never ends"),
    };
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reply.headers.contains_key("retry-after"));
    assert_eq!(reply.headers["access-control-expose-headers"], "Retry-After");
    assert_eq!(site.post("/s/", "application/json", one_snapshot()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn config_is_served_as_script_and_json_and_merged_into_old_replies() {
    let site = site().await;
    let script = site.get("/array/phc_test/config.js").await;
    assert_eq!(script.headers["content-type"], "application/javascript");
    assert_eq!(script.headers["access-control-allow-origin"], "*");
    assert!(script.text().contains(r#"window[k]["phc_test"]={config:{"#), "{}", script.text());
    let config = site.get("/ingest/array/phc_test/config/").await.json();
    assert!(config["sessionRecording"].is_object());
    for path in ["/flags/?v=2", "/flags?v=2&config=true", "/decide/?v=3&ip=0"] {
        let reply = site.post(path, "text/plain", gzip(b"{\"token\":\"phc_test\"}")).await.json();
        assert_eq!((&reply["flags"], &reply["featureFlags"]), (&json!({}), &json!({})), "{path}");
        assert_eq!(reply["sessionRecording"]["endpoint"], "/s/");
    }
    assert_eq!(site.get("/array/bad%20key/config").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(site.get("/array//config").await.status, StatusCode::UNAUTHORIZED);
    let closed = site_with(|options| options.accept_any_key = Some(false)).await;
    assert_eq!(closed.get("/array/phc_unknown/config").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn unknown_scripts_are_404_and_known_ones_may_be_loaded_from_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("1.418.10/dist")).unwrap();
    std::fs::write(dir.path().join("1.418.10/dist/lazy-recorder.js"), "recorder()").unwrap();
    let site = site_with(|options| options.static_dir = Some(dir.path().to_owned())).await;
    let versioned = site.get("/static/1.418.10/lazy-recorder.js").await;
    assert_eq!(versioned.text(), "recorder()");
    assert_eq!(versioned.headers["access-control-allow-origin"], "*");
    assert_eq!(versioned.headers["cross-origin-resource-policy"], "cross-origin");
    assert_eq!(versioned.headers["x-content-type-options"], "nosniff");
    assert!(versioned.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let by_query = site.get("/static/lazy-recorder.js?v=1.418.10").await;
    assert_eq!(by_query.text(), "recorder()");
    assert!(!by_query.headers["cache-control"].to_str().unwrap().contains("immutable"));
    for path in ["/static/9.9.9/lazy-recorder.js", "/static/toolbar.js", "/static/1.418.10/..%2f..%2fsecret.js"] {
        let reply = site.get(path).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
        assert_ne!(reply.headers["content-type"], "text/html");
    }
}

#[tokio::test]
async fn the_read_api_needs_access_and_reflects_no_origin() {
    let site = site().await;
    for path in ["/api/info", "/api/recordings", "/api/doctor", "/metrics"] {
        let reply = site.get(path).await;
        assert_eq!(
            (reply.status, reply.json()["error"]["code"].as_str()),
            (StatusCode::UNAUTHORIZED, Some("no_access"))
        );
        let request = Request::get(path)
            .header("origin", "https://evil.example")
            .header("authorization", format!("Bearer {SECRET}"));
        let reply = site.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        assert!(!reply.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn a_token_is_traded_for_a_cookie_that_opens_the_api() {
    let site = site().await;
    let reply = site.get(&format!("/?token={SECRET}")).await;
    assert_eq!((reply.status, reply.headers["location"].to_str().unwrap()), (StatusCode::SEE_OTHER, "/"));
    let cookie = reply.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let request = Request::get("/api/info").header("cookie", cookie).body(Body::empty()).unwrap();
    assert_eq!(site.send(request).await.status, StatusCode::OK);
    assert_eq!(site.get("/?token=wrong").await.status, StatusCode::UNAUTHORIZED);
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
        let reply = site.send(request.body(Body::empty()).unwrap()).await;
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
    let more = json!([snapshot(SESSION, "01a1fbdb-8270-7135-9b23-00000000000a")]).to_string();
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

#[tokio::test]
async fn pages_carry_their_policies_and_replay_links_lead_to_the_app() {
    let site = site().await;
    let page = site.get("/recordings/some-id").await;
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'self'"));
    assert_eq!(page.headers["referrer-policy"], "no-referrer");
    let player = site.get("/player/frame").await;
    let policy = player.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!policy.contains("http"), "{policy}");
    let link = site.get(&format!("/project/phc_test/replay/{SESSION}?t=12")).await;
    assert_eq!(link.headers["location"], format!("/recordings/{SESSION}?t=12"));
    let odd = site.get(&format!("/project/x/replay/{SESSION}?t=1%0d%0aSet-Cookie")).await;
    assert_eq!(odd.headers["location"], format!("/recordings/{SESSION}"));
}

#[tokio::test]
async fn doctor_says_what_is_missing() {
    let site = site().await;
    let report = site.read("/api/doctor").await.json();
    let uploads = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == "uploads").unwrap();
    assert_eq!(uploads["state"], "warn");
    assert!(uploads["hint"].as_str().unwrap().contains("api_host"));
}

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

fn gunzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut plain)?;
    Ok(plain)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[(bits & 63) as usize]);
    let encode = |chunk: &[u8]| {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        let digits = [digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), digit(bits)];
        let kept = chunk.len() + 1;
        digits.into_iter().enumerate().map(move |(index, digit)| if index < kept { digit } else { '=' })
    };
    bytes.chunks(3).flat_map(encode).collect()
}

fn unzstd(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    zstd::decode_all(bytes)
}
