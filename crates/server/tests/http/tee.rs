//! In front of PostHog: what reaches it, what comes back, and what is kept on the way.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, StatusCode};
use reelcase_server::{BoundServer, Mode, ServerOptions, UpstreamOptions};
use reelcase_store::{Store, StoreOptions, SystemClock, Unsorted};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::settings::change;
use crate::site::{
    PAGE, PATIENCE, SECRET, SESSION, Site, gzip, one_snapshot, parse, site_in, site_with, snapshot, uuid,
};
use crate::standin::{Manner, SCRIPT, Standin};

/// Waits until the copy of an upload is kept, which happens beside the answer.
pub(crate) async fn kept(site: &Site, session: &str) {
    eventually(|| async { site.read(&format!("/api/recordings/{session}")).await.status == StatusCode::OK }).await;
}

pub(crate) async fn eventually<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < until, "it never happened");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until this many copies were given up for a reason.
pub(crate) async fn not_kept(site: &Site, reason: &str, count: u64) {
    let line = format!("reelcase_copies_not_kept_total{{reason=\"{reason}\"}} {count}");
    eventually(|| async { site.metrics().await.contains(&line) }).await;
}

#[tokio::test]
async fn an_upload_reaches_posthog_byte_for_byte_and_its_reply_comes_back_untouched() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    let body = gzip(one_snapshot().as_bytes());
    let request = Request::post("/s/?compression=gzip-js&_=1795226820022")
        .header("content-type", "text/plain")
        .header("origin", PAGE)
        .header("referer", "https://shop.example/")
        .header("user-agent", "Mozilla/5.0")
        .header("x-request-id", "7")
        .header("x-forwarded-for", "198.51.100.9")
        .header("cookie", "reelcase_session=abc; other=1");
    let reply = site.send(request.body(body.clone()).unwrap()).await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "{\"status\":\"Ok\"}".to_owned()));
    assert_eq!(reply.header("x-posthog"), "yes");
    assert_eq!(reply.headers.get_all("access-control-allow-origin").iter().count(), 1, "{reply:?}");
    assert_eq!(reply.header("access-control-allow-origin"), PAGE);
    assert_eq!(reply.header("strict-transport-security"), "", "that is PostHog's host, not this one");

    let seen = posthog.only();
    assert_eq!(seen.target, "/s/?compression=gzip-js&_=1795226820022");
    assert_eq!(seen.body, body);
    let header = |name: &str| seen.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    assert_eq!(header("host"), posthog.address.to_string());
    assert_eq!(header("content-length"), body.len().to_string());
    assert_eq!(header("content-type"), "text/plain");
    assert_eq!((header("origin"), header("referer")), (PAGE.to_owned(), format!("{PAGE}/")));
    assert_eq!((header("user-agent"), header("x-request-id")), ("Mozilla/5.0".to_owned(), "7".to_owned()));
    assert_eq!(header("x-forwarded-for"), "198.51.100.9, 127.0.0.1");
    assert_eq!((header("x-forwarded-proto"), header("x-real-ip")), ("http".to_owned(), "127.0.0.1".to_owned()));
    assert_eq!(header("x-forwarded-host"), site.address.to_string());
    assert_eq!((header("cookie"), header("connection")), ("other=1".to_owned(), String::new()));
    kept(&site, SESSION).await;
    assert_eq!(site.event_count(SESSION).await, 2);
}

#[tokio::test]
async fn a_copy_is_looked_into_when_somebody_asks() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    site.post("/s/", "text/plain", one_snapshot()).await;
    eventually(|| async { site.store.unsorted().count == 1 }).await;
    assert_eq!(site.store.waiting().1, 0, "nobody knows yet what is in it");
    assert_eq!(site.event_count(SESSION).await, 2);
    assert_eq!(site.store.unsorted().count, 0);
}

#[tokio::test]
async fn copies_that_wait_are_looked_into_by_the_next_process() {
    let posthog = Standin::start().await;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions::new(dir.path()), Arc::new(SystemClock)).await.unwrap();
    let body = vec![gzip(one_snapshot().as_bytes()).into(), b"".as_slice().into()];
    store.lay_by(Unsorted { received_at_ms: 1_795_226_820_000, body, ..Unsorted::default() }).await.unwrap();
    store.lay_by(Unsorted { body: vec![b"{".as_slice().into()], ..Unsorted::default() }).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let upstream = posthog.options();
    let site = site_in(dir, |options| options.upstream = Some(upstream), |_| ()).await;
    assert_eq!(site.event_count(SESSION).await, 2);
    not_kept(&site, "malformed", 1).await;
}

#[tokio::test]
async fn whoever_watches_need_not_wait_for_copies_to_be_looked_into() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    site.post("/s/", "text/plain", one_snapshot()).await;
    kept(&site, SESSION).await;
    let path = format!("/api/recordings/{SESSION}/blocks");
    let version = site.read(&path).await.json()["version"].as_str().unwrap().to_owned();
    // Not as long as copies are left when nobody asks.
    let watching = format!("{path}?after={version}&wait_ms=3000");
    let (news, _) = tokio::join!(site.read(&watching), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        site.post("/s/", "text/plain", json!([snapshot(SESSION, &uuid(9))]).to_string()).await
    });
    assert_ne!(news.json()["version"], version);
}

#[tokio::test]
async fn everything_else_a_client_asks_for_is_posthogs_to_answer() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    let flags = site.post("/flags/?v=2", "text/plain", "{\"token\":\"phc_test\"}").await;
    assert_eq!(flags.json()["flags"]["new-checkout"]["enabled"], true);
    assert!(site.get("/api/surveys/?token=phc_test").await.json()["surveys"].is_array());
    for path in ["/decide/?v=4", "/i/v1/logs?token=phc_test", "/api/early_access_features/?token=x", "/toolbar/x?a=%2F"]
    {
        let reply = site.post(path, "application/json", "{}").await;
        assert_eq!((reply.status, reply.header("x-posthog")), (StatusCode::OK, "yes"), "{path}");
        assert_eq!(posthog.seen().last().unwrap().target, path);
    }
    let preflight = Request::options("/s/").header("origin", PAGE).body(Vec::new()).unwrap();
    assert_eq!(site.send(preflight).await.header("x-posthog"), "yes");
    assert_eq!(site.read("/api/info").await.status, StatusCode::OK, "our own paths stay ours");
    assert_eq!(site.get("/health").await.header("x-posthog"), "");
}

#[tokio::test]
async fn below_a_prefix_posthog_is_asked_without_it() {
    let posthog = Standin::start().await;
    let upstream = posthog.options();
    let site = site_with(|options| {
        options.upstream = Some(upstream);
        options.path_prefix = "/ingest".to_owned();
    })
    .await;
    site.post("/ingest/s/?a=1", "text/plain", one_snapshot()).await;
    assert_eq!(posthog.only().target, "/s/?a=1");
}

#[tokio::test]
async fn redirects_are_handed_back_and_not_followed() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    let reply = site.get("/moved").await;
    assert_eq!(reply.status, StatusCode::FOUND);
    assert_eq!(reply.header("location"), "http://169.254.169.254/latest/meta-data");
    assert_eq!(posthog.seen().len(), 1);
}

const ASK_FOR_STREAM: &[u8] = b"GET /stream HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n";

/// Reads a stream up to its last piece. It never ends, so its first piece comes as it comes or not at all.
async fn listen(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("data: 2\n\n") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await.unwrap().unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn streams_pass_through_as_they_come() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    let mut stream = site.connect().await;
    stream.write_all(ASK_FOR_STREAM).await.unwrap();
    let answer = listen(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("content-type: text/event-stream"), "{answer}");
    assert_eq!(posthog.seen().len(), 1);
}

#[tokio::test]
async fn a_silent_stream_ends_with_its_client() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    let mut leaving = site.connect().await;
    leaving.write_all(ASK_FOR_STREAM).await.unwrap();
    listen(&mut leaving).await;
    // One that only listens hears all that comes.
    let mut listening = site.connect().await;
    listening.write_all(ASK_FOR_STREAM).await.unwrap();
    listening.shutdown().await.unwrap();
    listen(&mut listening).await;
    let mut staying = site.connect().await;
    staying.write_all(ASK_FOR_STREAM).await.unwrap();
    listen(&mut staying).await;
    drop(leaving);
    eventually(|| async { posthog.open_streams() == 1 }).await;
    let ended = tokio::time::timeout(PATIENCE, listening.read(&mut [0; 8])).await.unwrap();
    assert_eq!(ended.unwrap_or(0), 0, "and then its connection ends");
    let silent = tokio::time::timeout(Duration::from_millis(1_500), staying.read(&mut [0; 8])).await;
    assert!(silent.is_err() && posthog.open_streams() == 1, "who stays is not taken for gone");
}

#[tokio::test]
async fn chunked_bodies_go_on_and_are_kept() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    let body = one_snapshot();
    let chunked = format!(
        "POST /s/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(parse(&site.exchange(chunked.as_bytes()).await).status, StatusCode::OK);
    assert_eq!(posthog.only().body, body);
    kept(&site, SESSION).await;
}

#[tokio::test]
async fn our_secret_never_reaches_posthog() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    site.read("/api/no-such-endpoint").await;
    assert!(!posthog.only().headers.contains_key("authorization"));
    assert_eq!(site.get(&format!("/nothing?token={SECRET}")).await.status, StatusCode::NOT_FOUND);
    let theirs = Request::get("/x").header("authorization", "Bearer phx_theirs").body(Vec::new()).unwrap();
    site.send(theirs).await;
    assert_eq!(posthog.seen().last().unwrap().headers["authorization"], "Bearer phx_theirs");
    assert_eq!(posthog.seen().len(), 2);
}

#[tokio::test]
async fn pages_of_posthog_cannot_act_as_ours() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    let page = site.get("/page").await;
    assert_eq!((page.text(), page.header("content-security-policy")), ("<script>alert(1)</script>".into(), "sandbox"));
}

#[tokio::test]
async fn a_body_too_long_for_a_copy_goes_through_and_one_too_long_to_go_on_is_refused() {
    let posthog = Standin::start().await;
    let upstream = posthog.options();
    let site = site_with(|options| {
        options.limits.body_bytes_max = 1_000;
        options.upstream = Some(UpstreamOptions { body_bytes_max: 100_000, ..upstream });
    })
    .await;
    assert_eq!(site.post("/s/", "text/plain", vec![b'x'; 2_000]).await.status, StatusCode::OK);
    assert_eq!(posthog.only().body.len(), 2_000);
    not_kept(&site, "body_too_large", 1).await;
    assert_eq!(site.post("/s/", "text/plain", vec![b'x'; 100_001]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let chunked = Request::post("/e/").header("transfer-encoding", "chunked");
    let body = [b"186a1\r\n".to_vec(), vec![b'x'; 100_001], b"\r\n0\r\n\r\n".to_vec()].concat();
    assert_eq!(site.send(chunked.body(body).unwrap()).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_posthog_that_dies_in_the_middle_is_answered_for() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    posthog.behave(Manner::Dying);
    assert_eq!(site.post("/s/", "text/plain", one_snapshot()).await.code(), "upstream_away");
    kept(&site, SESSION).await;
}

#[tokio::test]
async fn scripts_are_kept_by_their_own_rules_and_served_while_posthog_is_away() {
    let posthog = Standin::start().await;
    let dir = tempfile::tempdir().unwrap();
    let options = || UpstreamOptions { cache_dir: Some(dir.path().to_owned()), is_checked: false, ..posthog.options() };
    let site = site_with(|server| server.upstream = Some(options())).await;
    let first = site.get("/static/array.js").await;
    assert_eq!((first.text(), first.header("access-control-allow-origin")), (SCRIPT.to_owned(), "*"));
    eventually(|| async { !site.get("/static/array.js").await.header("age").is_empty() }).await;
    let asked = posthog.seen().len();
    let again = Request::get("/static/array.js").header("if-none-match", "\"1\"").body(Vec::new()).unwrap();
    assert_eq!(site.send(again).await.status, StatusCode::NOT_MODIFIED);
    assert_eq!(posthog.seen().len(), asked, "it is fresh");
    // Stale at once, so asked for each time; with its tag, once it is known.
    assert_eq!(site.get("/array/phc_test/config.js").await.text(), "config();");
    eventually(|| async {
        assert_eq!(site.get("/array/phc_test/config.js").await.text(), "config();");
        posthog.seen().last().unwrap().headers.contains_key("if-none-match")
    })
    .await;

    let after_a_restart = site_with(|server| server.upstream = Some(options())).await;
    posthog.behave(Manner::Status(503));
    assert_eq!(after_a_restart.get("/array/phc_test/config.js").await.text(), "config();");
    posthog.stop().await;
    let config = after_a_restart.get("/array/phc_test/config.js").await;
    assert_eq!((config.status, config.text()), (StatusCode::OK, "config();".to_owned()));
    assert_eq!(after_a_restart.get("/static/array.js").await.text(), SCRIPT);
    assert_eq!(after_a_restart.get("/static/other.js").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn pass_keeps_nothing_and_store_shows_posthog_nothing() {
    let posthog = Standin::start().await;
    let passing = posthog.site_with(|options| options.mode = Mode::Pass).await;
    assert_eq!(passing.post("/s/", "text/plain", one_snapshot()).await.header("x-posthog"), "yes");
    assert!(passing.recordings().await.is_empty());
    let storing = posthog.site_with(|options| options.mode = Mode::Store).await;
    storing.keep(one_snapshot()).await;
    assert_eq!(storing.get("/array/phc_test/config").await.json()["sessionRecording"]["endpoint"], "/s/");
    assert_eq!(posthog.seen().len(), 1);
}

#[tokio::test]
async fn a_project_can_have_a_mode_of_its_own_from_the_next_request_on_and_after_a_restart() {
    let posthog = Standin::start().await;
    let upstream = posthog.options();
    let site = site_with(|options| {
        options.upstream = Some(upstream.clone());
        options.projects = vec!["phc_test".parse().unwrap(), "phc_other".parse().unwrap()];
    })
    .await;
    let put = |mode: &str| {
        let request = Request::put("/api/projects/phc_test/mode").header("authorization", format!("Bearer {SECRET}"));
        let request = request.header("content-type", "application/json");
        request.body(format!("{{\"mode\":{mode}}}").into_bytes()).unwrap()
    };
    let changed = site.send(put("\"store\"")).await;
    assert_eq!(changed.json(), json!({ "key": "phc_test", "mode": "store", "is_own": true }));
    site.keep(one_snapshot()).await;
    assert!(site.get("/array/phc_test/config.js").await.text().contains("phc_test"));
    assert!(posthog.seen().is_empty(), "{:?}", posthog.seen());
    let other = json!([snapshot("other-session", &uuid(9))]).to_string().replace("phc_test", "phc_other");
    site.keep(gzip(other.as_bytes())).await;
    assert_eq!(posthog.only().body, gzip(other.as_bytes()));
    kept(&site, "other-session").await;
    let flags = site.post("/flags/", "text/plain", "{\"token\":\"phc_test\"}").await;
    assert_eq!(flags.json()["sessionRecording"]["endpoint"], "/s/", "ours");

    let dir = site.stop().await;
    let site = crate::site::site_in(dir, |options| options.upstream = Some(upstream), |_| ()).await;
    let shown = site.read("/api/upstream").await.json();
    assert_eq!((&shown["mode"], &shown["ingest"]), (&json!("tee"), &json!(format!("http://{}", posthog.address))));
    let of = |key: &str| shown["projects"].as_array().unwrap().iter().find(|project| project["key"] == key).cloned();
    assert_eq!(of("phc_test"), Some(json!({ "key": "phc_test", "mode": "store", "is_own": true })));
    assert_eq!(of("phc_other"), Some(json!({ "key": "phc_other", "mode": "tee", "is_own": false })));
    assert_eq!(site.send(put("null")).await.json()["mode"], "tee");
    assert_eq!(site.send(put("\"both\"")).await.status, StatusCode::BAD_REQUEST);
    let stranger = Request::put("/api/projects/phc_test/mode").body(b"{\"mode\":\"pass\"}".to_vec()).unwrap();
    assert_eq!(site.send(stranger).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn where_modes_differ_a_request_is_of_the_first_project_it_names() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    for key in ["phc_test", "phc_other"] {
        change(&site, "POST", "/api/projects", json!({ "name": key, "key": key }), &[]).await;
    }
    change(&site, "PUT", "/api/projects/phc_test/mode", json!({ "mode": "store" }), &[]).await;
    let of = |key: &str, number| {
        let mut upload = snapshot(&format!("session-{number}"), &uuid(number));
        upload["properties"]["token"] = key.into();
        upload
    };
    let stays = json!([of("phc_test", 1), of("phc_other", 2)]).to_string();
    assert_eq!(site.post("/s/", "text/plain", stays).await.header("x-posthog"), "");
    assert!(posthog.seen().is_empty());
    let goes = json!([of("phc_other", 3), of("phc_test", 4)]).to_string();
    assert_eq!(site.post("/s/", "text/plain", goes.clone()).await.header("x-posthog"), "yes");
    assert_eq!(posthog.only().body, goes);
    // Of nobody, so as all others.
    assert_eq!(site.post("/s/", "text/plain", "no upload of any client").await.header("x-posthog"), "yes");
    for number in 1..=4 {
        kept(&site, &format!("session-{number}")).await;
    }
}

#[tokio::test]
async fn without_a_posthog_there_is_no_mode_to_choose() {
    let site = crate::site::site().await;
    assert_eq!(site.read("/api/upstream").await.text(), "null");
    let request = Request::put("/api/projects/phc_test/mode").header("authorization", format!("Bearer {SECRET}"));
    let request = request.header("content-type", "application/json").body(b"{\"mode\":\"tee\"}".to_vec()).unwrap();
    assert_eq!(site.send(request).await.code(), "no_upstream");
}

#[tokio::test]
async fn without_a_posthog_a_project_that_was_to_pass_is_recorded_and_the_doctor_says_so() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    site.keep(one_snapshot()).await;
    kept(&site, SESSION).await;
    let pass = json!({ "mode": "pass" });
    change(&site, "PUT", "/api/projects/phc_test/mode", pass, &[]).await;
    let site = crate::site::site_in(site.stop().await, |_| (), |_| ()).await;
    let check = site.check("settings").await;
    assert!(check["state"] == "warn" && check["message"].as_str().unwrap().contains("its mode is pass"), "{check}");
}

#[tokio::test]
async fn a_posthog_that_is_the_server_itself_is_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions::new(dir.path()), Arc::new(SystemClock)).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let itself = format!("http://{}", listener.local_addr().unwrap());
    let upstream = Some(UpstreamOptions::new(itself.parse().unwrap()));
    let refused = BoundServer::on(listener, ServerOptions { upstream, ..ServerOptions::default() }, store).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains(&itself) && refused.contains("leads back to this server"), "{refused}");
}

#[tokio::test]
async fn a_loop_of_two_servers_is_refused_at_the_start_of_the_second_and_ends_if_it_comes_later() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = format!("http://{}", listener.local_addr().unwrap());
    let ahead = UpstreamOptions { is_checked: false, ..UpstreamOptions::new(second.parse().unwrap()) };
    let first = site_with(|options| options.upstream = Some(ahead)).await;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions::new(dir.path()), Arc::new(SystemClock)).await.unwrap();
    let mut upstream = UpstreamOptions::new(format!("http://{}", first.address).parse().unwrap());
    upstream.is_checked = false;
    let options = || ServerOptions { upstream: Some(upstream.clone()), ..ServerOptions::default() };
    let looping = BoundServer::on(listener, options(), store.clone()).await.unwrap();
    let running = tokio::spawn(looping.serve(std::future::pending()));
    assert_eq!(first.get("/flags/").await.status, StatusCode::LOOP_DETECTED);
    running.abort();
    let _ = running.await;

    let listener = tokio::net::TcpListener::bind(second.trim_start_matches("http://")).await.unwrap();
    upstream.is_checked = true;
    let options = ServerOptions { upstream: Some(upstream), ..ServerOptions::default() };
    let refused = BoundServer::on(listener, options, store).await.unwrap_err().to_string();
    assert!(refused.contains("leads back to this server"), "{refused}");
}

#[tokio::test]
async fn a_copy_under_way_is_kept_before_the_server_ends() {
    let posthog = Standin::start().await;
    let site = posthog.site().await;
    for number in 0..50 {
        let body = json!([snapshot(SESSION, &uuid(number))]).to_string();
        assert_eq!(site.post("/s/", "text/plain", body).await.status, StatusCode::OK);
    }
    let dir = site.stop().await;
    let site = crate::site::site_in(dir, |_| (), |_| ()).await;
    assert_eq!(site.event_count(SESSION).await, 100);
}
