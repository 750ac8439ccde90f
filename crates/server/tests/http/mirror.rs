//! Uploads that are answered here and sent on from here: what PostHog gets, when, and in which order.

use std::time::{Duration, Instant};

use axum::http::{Request, StatusCode};
use reelcase_server::{Mode, ServerOptions, UpstreamOptions};
use reelcase_store::{SpoolOptions, StoreOptions};
use serde_json::json;

use crate::site::{PAGE, SESSION, Site, gzip, noise, one_snapshot, site_in, snapshot, uuid};
use crate::standin::{Manner, Standin};
use crate::tee::{eventually, kept, not_kept};

async fn site(posthog: &Standin) -> Site {
    site_again(tempfile::tempdir().unwrap(), posthog.options()).await
}

/// A server on a directory that may have a spool already.
async fn site_again(dir: tempfile::TempDir, upstream: UpstreamOptions) -> Site {
    site_with(dir, upstream, |_| ()).await
}

async fn site_with(dir: tempfile::TempDir, upstream: UpstreamOptions, change: impl FnOnce(&mut StoreOptions)) -> Site {
    let upstream = UpstreamOptions { mode: Mode::Mirror, is_checked: false, ..upstream };
    let options = |options: &mut ServerOptions| options.upstream = Some(upstream);
    let store = |store: &mut StoreOptions| {
        store.spool = Some(SpoolOptions::default());
        change(store);
    };
    site_in(dir, options, store).await
}

async fn upload(site: &Site, session: &str, number: u32) {
    site.keep(json!([snapshot(session, &uuid(number))]).to_string()).await;
}

/// The ids of the client's in what PostHog got, in the order in which it came.
fn arrived(posthog: &Standin, session: &str) -> Vec<String> {
    let bodies = posthog.seen().into_iter().map(|seen| String::from_utf8(seen.body.to_vec()).unwrap());
    let of_session = bodies.filter(|body| body.contains(session));
    of_session.map(|body| body.split("\"uuid\":\"").nth(1).unwrap()[..36].to_owned()).collect()
}

fn waiting(site: &Site) -> u64 {
    site.store.spool_stats().records.iter().sum()
}

async fn drained(site: &Site) {
    eventually(|| async { waiting(site) == 0 }).await;
}

#[tokio::test]
async fn an_upload_is_answered_here_and_reaches_posthog_byte_for_byte() {
    let posthog = Standin::start().await;
    let site = site(&posthog).await;
    let body = gzip(one_snapshot().as_bytes());
    let request = Request::post("/s/?compression=gzip-js").header("content-type", "text/plain").header("origin", PAGE);
    let request = request.header("user-agent", "Mozilla/5.0").header("x-forwarded-for", "198.51.100.9");
    let reply = site.send(request.header("cookie", "a=1").body(body.clone()).unwrap()).await;
    assert_eq!((reply.status, reply.json()), (StatusCode::OK, json!({ "status": "Ok" })));
    assert_eq!((reply.header("x-posthog"), reply.header("access-control-allow-origin")), ("", PAGE));
    drained(&site).await;
    let seen = posthog.only();
    assert_eq!((seen.target.as_str(), &seen.body[..]), ("/s/?compression=gzip-js", &body[..]));
    let header = |name: &str| seen.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    assert_eq!((header("content-type"), header("origin")), ("text/plain".to_owned(), PAGE.to_owned()));
    assert_eq!((header("user-agent"), header("cookie")), ("Mozilla/5.0".to_owned(), String::new()));
    assert_eq!(header("x-forwarded-for"), "198.51.100.9, 127.0.0.1");
    assert_eq!(header("content-length"), body.len().to_string());
    kept(&site, SESSION).await;
}

#[tokio::test]
async fn config_and_flags_are_posthogs_to_answer_at_once_and_preflights_are_ours() {
    let posthog = Standin::start().await;
    let site = site(&posthog).await;
    assert_eq!(site.post("/flags/?v=2", "text/plain", "{}").await.header("x-posthog"), "yes");
    assert_eq!(site.get("/static/array.js").await.header("x-posthog"), "yes");
    let preflight = site.send(Request::options("/e/").header("origin", PAGE).body(Vec::new()).unwrap()).await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (StatusCode::OK, PAGE));
    assert_eq!(posthog.seen().len(), 2);
}

#[tokio::test]
async fn an_upload_that_announces_more_than_the_inbox_takes_goes_straight_on() {
    let posthog = Standin::start().await;
    let upstream = UpstreamOptions { mode: Mode::Mirror, ..posthog.options() };
    let site = crate::site::site_with(|options| {
        options.limits.body_bytes_max = 1_000;
        options.upstream = Some(upstream);
    })
    .await;
    let reply = site.post("/s/", "text/plain", vec![b'x'; 1_001]).await;
    assert_eq!((reply.status, reply.header("x-posthog")), (StatusCode::OK, "yes"));
    assert_eq!((posthog.only().body.len(), waiting(&site)), (1_001, 0));
    not_kept(&site, "body_too_large", 1).await;
    // How long one is that comes in chunks shows when it is too late to send it on.
    let chunked = Request::post("/s/").header("transfer-encoding", "chunked");
    let body = [b"3e9\r\n".to_vec(), vec![b'x'; 1_001], b"\r\n0\r\n\r\n".to_vec()].concat();
    assert_eq!(site.send(chunked.body(body).unwrap()).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(posthog.seen().len(), 1);
}

#[tokio::test]
async fn an_outage_of_posthog_loses_nothing_over_a_restart_and_each_recording_keeps_its_order() {
    let posthog = Standin::start().await;
    let upstream = posthog.options();
    let site = site_again(tempfile::tempdir().unwrap(), upstream.clone()).await;
    let address = posthog.stop().await;
    for number in 0..40 {
        upload(&site, &format!("session-{}", number % 4), number).await;
    }
    // Sealed and played here, while they wait there.
    assert_eq!(site.event_count("session-1").await, 20);
    let dir = site.stop().await;
    let site = site_again(dir, upstream).await;
    assert_eq!(waiting(&site), 40);
    assert_eq!(site.check("upstream").await["name"], "upstream");
    let posthog = Standin::start_on(address).await;
    drained(&site).await;
    for session in 0..4 {
        let expected: Vec<_> = (0..40).filter(|number| number % 4 == session).map(uuid).collect();
        assert_eq!(arrived(&posthog, &format!("session-{session}")), expected);
    }
    assert_eq!(site.event_count("session-1").await, 20, "and nothing is here twice");
    let dir = site.stop().await;
    let site = site_again(dir, posthog.options()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((waiting(&site), posthog.seen().len()), (0, 40), "nothing is sent again");
}

#[tokio::test]
async fn the_oldest_are_given_up_for_posthog_when_too_much_waits_and_stay_here() {
    let posthog = Standin::start().await;
    let upstream = posthog.options();
    posthog.stop().await;
    let small = |store: &mut StoreOptions| {
        store.inbox.segment_bytes = 64 << 10;
        store.spool = Some(SpoolOptions { disk_bytes_max: 3 * (64 << 10), ..SpoolOptions::default() });
    };
    let site = site_with(tempfile::tempdir().unwrap(), upstream, small).await;
    for number in 0..40 {
        let mut long = snapshot("long-session", &uuid(number));
        long["properties"]["padding"] = noise(24_000).into();
        site.keep(json!([long]).to_string()).await;
    }
    eventually(|| async { site.store.spool_stats().segments <= 3 }).await;
    let stats = site.store.spool_stats();
    assert!(stats.crowded_out >= 25 && stats.records[0] + stats.crowded_out == 40, "{stats:?}");
    let check = site.check("spool").await;
    assert!(check["state"] == "warn" && check["message"].as_str().unwrap().contains("will not get"), "{check}");
    assert_eq!(site.event_count("long-session").await, 80);
}

#[tokio::test]
async fn what_is_too_old_is_given_up_for_posthog() {
    let posthog = Standin::start().await;
    let upstream = posthog.options();
    posthog.stop().await;
    let short = |store: &mut StoreOptions| {
        store.spool = Some(SpoolOptions { age_max_ms: 1, ..SpoolOptions::default() });
    };
    let site = site_with(tempfile::tempdir().unwrap(), upstream, short).await;
    upload(&site, SESSION, 1).await;
    eventually(|| async { site.store.spool_stats().expired == 1 }).await;
    assert_eq!(waiting(&site), 0);
    kept(&site, SESSION).await;
}

#[tokio::test]
async fn no_more_are_on_their_way_at_once_than_they_may() {
    let posthog = Standin::start().await;
    let slow = Duration::from_millis(100);
    posthog.behave(Manner::Slow(slow));
    let upstream = UpstreamOptions { spool_requests_max: 2, ..posthog.options() };
    let site = site_again(tempfile::tempdir().unwrap(), upstream).await;
    let since = Instant::now();
    for number in 0..8 {
        upload(&site, &format!("session-{number}"), number).await;
    }
    drained(&site).await;
    assert!(since.elapsed() >= 4 * slow, "two by two: {:?}", since.elapsed());
}

#[tokio::test]
async fn sending_keeps_to_its_rate() {
    let posthog = Standin::start().await;
    let upstream = UpstreamOptions { spool_rate_max: 50, ..posthog.options() };
    let address = posthog.stop().await;
    let site = site_again(tempfile::tempdir().unwrap(), upstream).await;
    for number in 0..30 {
        upload(&site, &format!("session-{number}"), number).await;
    }
    let since = Instant::now();
    let _posthog = Standin::start_on(address).await;
    drained(&site).await;
    // Five may go at once, the others 20 ms apart.
    assert!(since.elapsed() >= Duration::from_millis(20 * 20), "{:?}", since.elapsed());
}
