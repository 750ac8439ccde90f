//! Limits, each on both sides of it: what is just allowed is kept, what is just past it is refused by name.

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::site::{
    SESSION, Site, compressed, gzip, noise, one_snapshot, roomy_site, site_with, site_with_store, snapshot,
    snapshot_of, upload_of, uuid,
};

/// Insists that `body` is refused for good, and for this.
async fn assert_refused(site: &Site, body: impl Into<Vec<u8>>, status: StatusCode, told: &str) {
    let reply = site.post("/s/", "text/plain", body).await;
    assert_eq!(reply.status, status, "{}", reply.text());
    assert!(reply.text().contains(told), "{told}: {}", reply.text());
}

/// An upload of exactly `bytes` bytes.
fn padded(bytes: usize) -> String {
    let upload = one_snapshot();
    format!("{upload}{}", " ".repeat(bytes - upload.len()))
}

#[tokio::test]
async fn body_bytes() {
    let site = site_with(|options| options.limits.body_bytes_max = 64 << 10).await;
    site.keep(padded(64 << 10)).await;
    assert_refused(&site, padded((64 << 10) + 1), StatusCode::PAYLOAD_TOO_LARGE, "longer than 65536 bytes").await;
}

#[tokio::test]
async fn body_bytes_that_were_announced_are_refused_before_they_are_read() {
    let site = site_with(|options| options.limits.body_bytes_max = 64 << 10).await;
    let answer = site.exchange(b"POST /s/ HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n").await;
    assert_eq!(crate::site::parse(&answer).status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn body_bytes_that_were_not_announced_are_cut_at_the_limit() {
    let site = site_with(|options| options.limits.body_bytes_max = 64 << 10).await;
    let mut stream = site.connect().await;
    stream.write_all(b"POST /s/ HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    let mut sent = 0;
    while sent < 1_000 && stream.write_all(chunk.as_bytes()).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 1_000, "the server would read for ever");
}

#[tokio::test]
async fn inflated_bytes() {
    let site = site_with(|options| options.limits.inflated_bytes_max = 64 << 10).await;
    site.keep(gzip(padded(64 << 10).as_bytes())).await;
    let told = "more than 65536 bytes inflated";
    assert_refused(&site, gzip(padded((64 << 10) + 1).as_bytes()), StatusCode::PAYLOAD_TOO_LARGE, told).await;
    assert_refused(&site, padded((64 << 10) + 1), StatusCode::PAYLOAD_TOO_LARGE, told).await;
}

#[tokio::test]
async fn inflate_ratio() {
    let site = site_with(|options| options.limits.inflate_ratio_max = 20).await;
    site.keep(gzip(padded(1 << 20).as_bytes())).await;
    assert_refused(&site, gzip(padded((1 << 20) + 1).as_bytes()), StatusCode::PAYLOAD_TOO_LARGE, "bytes inflated")
        .await;
}

#[tokio::test]
async fn uploads_that_inflate_to_more_than_ordinary_ones_are_kept_all_the_same() {
    let site = roomy_site().await;
    let noise: String =
        (0..12_u32 << 20).map(|at| char::from(b'a' + (at.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect();
    let event = json!([{ "type": 5, "timestamp": 5, "data": noise }]);
    site.keep(gzip(json!([snapshot_of(SESSION, "w", &uuid(1), event)]).to_string().as_bytes())).await;
    assert_eq!(site.event_count(SESSION).await, 1);
}

/// A mutation of which one part is compressed and inflates to `bytes` bytes.
fn packed_event(bytes: usize) -> Value {
    let part = format!("[{}]", " ".repeat(bytes - 2));
    json!({ "type": 3, "timestamp": 5, "cv": "2024-10", "data": { "source": 0, "adds": compressed(&part) } })
}

/// Whether each stored event is still compressed.
async fn still_compressed(site: &Site) -> Vec<bool> {
    let lines = site.lines(SESSION).await;
    lines.iter().map(|line| serde_json::from_slice::<Value>(line).unwrap()[1].get("cv").is_some()).collect()
}

#[tokio::test]
async fn field_bytes() {
    let site = site_with_store(|_| (), |store| store.limits.field_bytes_max = 1_000).await;
    let events = json!([packed_event(1_000), packed_event(1_001)]);
    site.keep(json!([snapshot_of(SESSION, "w", &uuid(1), events)]).to_string()).await;
    assert_eq!(still_compressed(&site).await, [false, true], "what is too much is kept as it was sent");
    let message = site.check("dropped_events").await["message"].as_str().unwrap().to_owned();
    assert!(message.contains("1 event: kept_compressed"), "{message}");
}

#[tokio::test]
async fn fields_bytes_of_one_upload() {
    let site = site_with_store(|_| (), |store| store.limits.fields_bytes_max = 2_000).await;
    let events = || json!([packed_event(1_000)]);
    let body = json!([
        snapshot_of(SESSION, "w", &uuid(1), events()),
        snapshot_of(SESSION, "w", &uuid(2), events()),
        snapshot_of(SESSION, "w", &uuid(3), events()),
    ]);
    site.keep(body.to_string()).await;
    assert_eq!(still_compressed(&site).await, [false, false, true]);
}

#[tokio::test]
async fn nesting() {
    let site = site_with(|options| options.limits.nesting_max = 20).await;
    // The upload itself is nested four deep: array, event, properties, data.
    let nested =
        |levels: usize| upload_of(SESSION, format!("[{}{}]", "[".repeat(levels), "]".repeat(levels)).as_bytes());
    site.keep(nested(16)).await;
    assert_refused(&site, nested(17), StatusCode::BAD_REQUEST, "nest").await;
}

#[tokio::test]
async fn items() {
    let site = site_with(|options| options.limits.items_max = 3).await;
    let upload =
        |count: u32| json!((1..=count).map(|number| snapshot(SESSION, &uuid(number))).collect::<Vec<_>>()).to_string();
    site.keep(upload(3)).await;
    assert_refused(&site, upload(4), StatusCode::PAYLOAD_TOO_LARGE, "more than 3 items").await;
}

#[tokio::test]
async fn events() {
    let site = site_with(|options| options.limits.events_max = 3).await;
    let event = json!({ "type": 5, "timestamp": 5, "data": {} });
    let upload =
        |count: usize| json!([snapshot_of(SESSION, "w", &uuid(1), json!(vec![event.clone(); count]))]).to_string();
    site.keep(upload(3)).await;
    assert_refused(&site, upload(4), StatusCode::PAYLOAD_TOO_LARGE, "more than 3 rrweb events").await;
}

#[tokio::test]
async fn lengths_of_ids() {
    let site = site_with(|options| options.limits.window_id_bytes_max = 10).await;
    for (session, window, key, is_kept) in
        [(70, 10, 64, true), (71, 10, 64, false), (70, 11, 64, false), (70, 10, 65, false)]
    {
        let event = json!({ "type": 5, "timestamp": 5, "data": {} });
        let upload = json!([snapshot_of(&"s".repeat(session), &"w".repeat(window), &uuid(1), json!([event]))]);
        let upload = upload.to_string().replace("phc_test", &"k".repeat(key));
        let status = site.post("/s/", "text/plain", upload).await.status;
        assert_eq!(status.is_success(), is_kept, "{session} {window} {key}: {status}");
    }
}

#[tokio::test]
async fn pending_items() {
    let site = site_with_store(
        |_| (),
        |store| {
            store.pending_items_max = 1;
            store.seal_age_first_ms = i64::MAX;
        },
    )
    .await;
    site.keep(one_snapshot()).await;
    let second = json!([snapshot("another", &uuid(2))]).to_string();
    let reply = site.post("/s/", "text/plain", second.clone()).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
    site.store.seal_all().await.unwrap();
    site.keep(second).await;
}

#[tokio::test]
async fn inbox_bytes() {
    let site = site_with_store(
        |_| (),
        |store| {
            store.inbox.segment_bytes = 64 << 10;
            store.inbox.inbox_bytes_max = 128 << 10;
            store.seal_age_first_ms = i64::MAX;
            store.seal_bytes = u64::MAX;
        },
    )
    .await;
    let mut kept = 0;
    let refused = loop {
        let mut filling = snapshot(&format!("filling-{kept}"), &uuid(kept));
        filling["properties"]["padding"] = noise(24_000).into();
        let reply = site.post("/s/", "text/plain", json!([filling]).to_string()).await;
        if reply.status != StatusCode::OK {
            break reply;
        }
        kept += 1;
        assert!(kept < 100, "the inbox grows without bounds");
    };
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(site.recordings().await.len(), kept as usize, "everything that was answered 200 is there");
    site.keep(json!([snapshot("room-again", &uuid(99))]).to_string()).await;
}

#[tokio::test]
async fn body_bytes_in_flight() {
    let site = site_with(|options| {
        options.limits.body_bytes_max = 3 << 10;
        options.body_bytes_in_flight_max = 4 << 10;
    })
    .await;
    let mut slow = site.connect().await;
    let half = format!("POST /s/ HTTP/1.1\r\nhost: x\r\ncontent-length: 3072\r\n\r\n{}", " ".repeat(3_071));
    slow.write_all(half.as_bytes()).await.unwrap();
    let reply = loop {
        let reply = site.post("/s/", "text/plain", padded(2 << 10)).await;
        if reply.status != StatusCode::OK {
            break reply;
        }
    };
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "busy"));
    assert!(reply.headers.contains_key("retry-after"));
    drop(slow);
    while site.post("/s/", "text/plain", padded(2 << 10)).await.status != StatusCode::OK {}
}

#[tokio::test]
async fn settings_that_could_never_take_the_largest_upload_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = reelcase_store::Store::open(
        reelcase_store::StoreOptions::new(dir.path()),
        std::sync::Arc::new(reelcase_store::SystemClock),
    )
    .await
    .unwrap();
    let with = |bodies: usize, inflated: usize| reelcase_server::ServerOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        body_bytes_in_flight_max: bodies,
        inflated_bytes_in_flight_max: inflated,
        ..reelcase_server::ServerOptions::default()
    };
    for (options, named) in [
        (with(1 << 20, 80 << 20), "body-bytes-in-flight-max must be at least 27962028 bytes"),
        (with(128 << 20, 63 << 20), "inflated-bytes-in-flight-max must be at least 67108864 bytes"),
    ] {
        let error = reelcase_server::BoundServer::bind(options, store.clone()).await.unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
}
